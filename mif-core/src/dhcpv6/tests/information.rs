//! Configuration without leases (RFC 8415 §18.2.6, §21.23).

use super::*;

/// D6-8415-18.2.6-a, D6-8415-15-a
#[test]
fn an_information_request_is_repeated() {
    let mut bench = Bench::new(information());
    assert_eq!(bench.seconds_left(), 0.5, "a random part of INF_MAX_DELAY");
    let first = bench.send(MessageType::InformationRequest);
    assert_eq!(codes(&first), [1, 8, 6, 20], "no association, no server id");
    assert_eq!(asked(&first), [23, 24, 31, 32, 56, 83, 84, 103, 144]);
    for expected in [1.0, 2.0, 4.0, 8.0] {
        assert_eq!(bench.seconds_left(), expected);
        bench.send(MessageType::InformationRequest);
    }
    for _ in 0..12 {
        bench.send(MessageType::InformationRequest);
    }
    assert_eq!(bench.seconds_left(), 3600.0, "INF_MAX_RT");
}

/// D6-8415-21.23-b: when to ask again.
#[test]
fn refresh_times() {
    for (said, expected) in [
        (None, Some(86_400)),
        (Some(0), Some(600)),
        (Some(1), Some(600)),
        (Some(599), Some(600)),
        (Some(600), Some(600)),
        (Some(3600), Some(3600)),
        (Some(u32::MAX), None),
    ] {
        let mut bench = Bench::new(information());
        bench.send(MessageType::InformationRequest);
        let mut answer = bench.answer(MessageType::Reply).with(dns());
        if let Some(seconds) = said {
            answer = answer.with(DhcpOption::InformationRefreshTime(seconds));
        }
        bench.hear(answer);
        assert_eq!(bench.client.configuration().options, [dns()], "{said:?}");
        let next = bench.client.next_deadline().map(|at| bench.now.until(at).as_secs());
        assert_eq!(next, expected, "{said:?}");
        if expected.is_some() {
            let heard = bench.now;
            bench.send(MessageType::InformationRequest);
            let waited = heard.until(bench.now).as_secs_f64();
            assert_eq!(waited, next.unwrap_or_default() as f64 + 0.5, "{said:?}: and a random delay");
            bench.hear(bench.answer(MessageType::Reply));
            assert_eq!(bench.client.configuration().options, [], "{said:?}: what is not said again is gone");
        }
    }
}

/// D6-8415-18.2.12-a
#[test]
fn the_link_comes_back() {
    let mut bench = Bench::new(information());
    bench.send(MessageType::InformationRequest);
    bench.hear(bench.answer(MessageType::Reply).with(dns()));
    bench.client.link_down();
    assert_eq!(bench.client.next_deadline(), None);
    bench.client.link_up(bench.now, &mut || bench.draw);
    bench.send(MessageType::InformationRequest);
}

#[test]
fn prefixes_that_change_are_a_reason_to_ask_twice_a_minute() {
    let mut bench = Bench::new(information());
    bench.send(MessageType::InformationRequest);
    for (waited, asks) in [(0, true), (1, false), (28, false), (2, true)] {
        if bench.client.asking().is_some() {
            bench.hear(bench.answer(MessageType::Reply).with(dns()));
        }
        bench.wait(waited);
        bench.client.prefixes_changed(bench.now, &mut || 0);
        assert_eq!(bench.client.asking().is_some(), asks, "{waited}");
        if asks {
            bench.draw = 0;
            bench.send(MessageType::InformationRequest);
        }
    }
}

/// Drafts and RDNSS Selection are asked for where they are configured.
#[test]
fn what_is_asked_for() {
    let codes = DraftCodes { next_hop: Some(242), pvd: Some(65_001), ..DraftCodes::default() };
    let mut bench = Bench::new(Settings { codes, rdnss_selection: true, ..information() });
    let message = bench.send(MessageType::InformationRequest);
    assert_eq!(asked(&message), [23, 24, 31, 32, 56, 74, 83, 84, 103, 144, 242, 65_001]);
}
