//! From nothing to a lease, and how questions are repeated (RFC 8415 §15, §18.2.1 to §18.2.3, §18.2.9, §18.2.12).

use super::*;

/// D6-8415-18.2.1-a, D6-8415-16.1-a, D6-8415-21.9-a, D6-8415-21.23-a
#[test]
fn a_solicit_is_repeated() {
    let mut bench = Bench::new(stateful());
    bench.draw = 0;
    let first = bench.send(MessageType::Solicit);
    assert_eq!(
        codes(&first),
        [1, 3, 8, 6, 20],
        "client id, association, elapsed time, request, Reconfigure Accept; no server id"
    );
    assert_eq!(elapsed(&first), Some(0));
    assert!(asked(&first).contains(&code::SOL_MAX_RT) && !asked(&first).contains(&32), "{first:?}");
    assert!(bench.seconds_left() > 1.0, "the first interval is longer than IRT: {}", bench.seconds_left());
    let second = bench.send(MessageType::Solicit);
    assert_eq!(second.transaction_id, first.transaction_id);
    assert_eq!(elapsed(&second), Some(100));
    while elapsed(&bench.send(MessageType::Solicit)) != Some(u16::MAX) {}
    for _ in 0..6 {
        bench.send(MessageType::Solicit);
    }
    assert!((3240.0..3960.1).contains(&bench.seconds_left()), "SOL_MAX_RT: {}", bench.seconds_left());
}

/// D6-8415-18.2.1-b: which offer is taken, and when.
#[test]
fn offers() {
    type Row = (&'static str, &'static [([u8; 10], Option<u8>)], bool, [u8; 10]);
    let rows: [Row; 6] = [
        ("preference 255", &[(SERVER, Some(255))], true, SERVER),
        ("waits for others", &[(SERVER, Some(10))], false, SERVER),
        ("the higher preference", &[(SERVER, Some(10)), (OTHER, Some(11))], false, OTHER),
        ("none is 0", &[(OTHER, None), (SERVER, Some(1))], false, SERVER),
        ("of equal ones the first", &[(OTHER, None), (SERVER, Some(0))], false, OTHER),
        ("255 ends the wait", &[(OTHER, Some(254)), (SERVER, Some(255))], true, SERVER),
    ];
    for (row, offers, at_once, chosen) in rows {
        let mut bench = Bench::new(stateful());
        bench.send(MessageType::Solicit);
        let sent = bench.now;
        for (server, preference) in offers {
            let mut answer = bench.answer(MessageType::Advertise).from(*server).with(ia(lease(1)));
            if let Some(preference) = preference {
                answer = answer.with(DhcpOption::Preference(*preference));
            }
            bench.hear(answer);
        }
        let request = bench.send(MessageType::Request);
        assert_eq!(sent == bench.now, at_once, "{row}: {:?}", sent.until(bench.now));
        assert!(request.options.contains(&DhcpOption::ServerId(chosen.into())), "{row}: {request:?}");
        assert_eq!(subject(&request), [format!("{}/128", address(1))], "{row}");
    }
}

#[test]
fn the_first_offer_after_the_first_interval_is_taken() {
    let mut bench = Bench::new(stateful());
    bench.send(MessageType::Solicit);
    bench.send(MessageType::Solicit);
    bench.hear(bench.answer(MessageType::Advertise).with(ia(lease(1))));
    let now = bench.now;
    bench.send(MessageType::Request);
    assert_eq!(now, bench.now, "at once");
}

/// D6-8415-18.2.9-a, D6-8415-21.24-b
#[test]
fn sol_max_rt() {
    for (row, said, expected) in [
        ("none", &[][..], 3600.0),
        ("one", &[7200], 7200.0),
        ("too small", &[59], 3600.0),
        ("too large", &[86_401], 3600.0),
        ("the least", &[60], 60.0),
        ("two that agree", &[7200, 7200], 7200.0),
        ("two that do not", &[7200, 60], 3600.0),
    ] {
        let mut bench = Bench::new(stateful());
        bench.send(MessageType::Solicit);
        let before = bench.seconds_left();
        for seconds in said {
            let answer = bench.answer(MessageType::Advertise).status(StatusCode::NoAddrsAvail);
            assert_eq!(
                bench.try_hear(&answer.with(DhcpOption::SolMaxRt(*seconds))),
                Err("no-lease"),
                "{row}"
            );
        }
        assert_eq!(bench.seconds_left(), before, "{row}: the timer goes on");
        for _ in 0..16 {
            bench.send(MessageType::Solicit);
        }
        assert!((bench.seconds_left() - expected).abs() < 1.0, "{row}: {}", bench.seconds_left());
    }
}

#[test]
fn rapid_commit() {
    for (row, asked, carried, bound) in
        [("both", true, true, true), ("not carried", true, false, false), ("not asked", false, true, false)]
    {
        let mut bench = Bench::new(Settings { rapid_commit: asked, ..stateful() });
        let solicit = bench.send(MessageType::Solicit);
        assert_eq!(codes(&solicit).contains(&code::RAPID_COMMIT), asked, "{row}");
        let mut reply = bench.answer(MessageType::Reply).with(ia(lease(1)));
        if carried {
            reply = reply.with(DhcpOption::RapidCommit);
        }
        let expected = if bound { Ok(vec![]) } else { Err("no-rapid-commit") };
        assert_eq!(bench.try_hear(&reply), expected, "{row}");
        assert_eq!(bench.addresses().len(), usize::from(bound), "{row}");
    }
}

/// A Request is given up after ten (REQ_MAX_RC), and looking for a server begins again.
#[test]
fn a_server_that_offers_and_falls_silent() {
    let mut bench = Bench::new(stateful());
    bench.send(MessageType::Solicit);
    bench.hear(bench.answer(MessageType::Advertise).with(DhcpOption::Preference(255)).with(ia(lease(1))));
    let begun = bench.now;
    for _ in 0..10 {
        bench.send(MessageType::Request);
    }
    bench.send(MessageType::Solicit);
    // 1 + 2 + 4 + 8 + 16 and five times 30 s.
    assert_eq!(begun.until(bench.now).as_secs(), 181);
}

/// One that offers and refuses is asked less and less often.
#[test]
fn a_server_that_offers_and_refuses() {
    let mut bench = Bench::new(stateful());
    let mut pauses = Vec::new();
    for _ in 0..6 {
        bench.send(MessageType::Solicit);
        bench.hear(bench.answer(MessageType::Advertise).with(DhcpOption::Preference(255)).with(ia(lease(1))));
        bench.send(MessageType::Request);
        bench.hear(bench.answer(MessageType::Reply).with(ia_status(StatusCode::NoAddrsAvail)));
        pauses.push(bench.seconds_left());
    }
    assert_eq!(pauses, [1.0, 2.0, 4.0, 8.0, 16.0, 32.0]);
}

/// D6-8415-18.2.12-a: what is asked when the link came back, and what the answer does.
#[test]
fn the_link_comes_back() {
    let mut bench = Bench::bound();
    bench.client.link_down();
    assert_eq!(bench.addresses(), [address(1)], "leases go on");
    bench.client.link_up(bench.now, &mut || bench.draw);
    let confirm = bench.send(MessageType::Confirm);
    assert_eq!(codes(&confirm), [1, 3, 8], "no server id, no request");
    assert_eq!(subject(&confirm), [format!("{}/128", address(1))]);
    bench.hear(bench.answer(MessageType::Reply).status(StatusCode::Success));
    assert_eq!((bench.client.asking(), bench.addresses().len()), (None, 1));

    bench.client.link_up(bench.now, &mut || bench.draw);
    bench.send(MessageType::Confirm);
    bench.hear(bench.answer(MessageType::Reply).status(StatusCode::NotOnLink));
    assert_eq!(bench.addresses(), [] as [Ipv6Addr; 0], "another link");
    bench.send(MessageType::Solicit);
}

/// CNF_MAX_RD: after ten seconds without an answer the leases are kept (§18.2.3).
#[test]
fn nobody_confirms() {
    let mut bench = Bench::bound();
    bench.client.link_up(bench.now, &mut || bench.draw);
    bench.send(MessageType::Confirm);
    let first = bench.now;
    let next = loop {
        let message = bench.step();
        if message.kind != MessageType::Confirm {
            break message;
        }
        assert!(first.until(bench.now) < Duration::from_secs(10));
    };
    assert_eq!((next.kind, bench.addresses().len()), (MessageType::Renew, 1));
}

/// §18.2.12: with a delegated prefix any server is asked, with the timing of a Confirm.
#[test]
fn the_link_comes_back_with_a_prefix() {
    let mut bench = Bench::new(Settings { addresses: false, prefix: Some(56), ..stateful() });
    let solicit = bench.send(MessageType::Solicit);
    assert_eq!(subject(&solicit), ["::/56"], "a wish for a length");
    bench.hear(
        bench
            .answer(MessageType::Advertise)
            .with(DhcpOption::Preference(255))
            .with(delegated("2001:db8:8000::/56")),
    );
    bench.send(MessageType::Request);
    bench.hear(bench.answer(MessageType::Reply).with(delegated("2001:db8:8000::/56")));
    bench.client.link_up(bench.now, &mut || bench.draw);
    let rebind = bench.send(MessageType::Rebind);
    assert!(!codes(&rebind).contains(&code::SERVER_ID));
    assert_eq!(bench.seconds_left(), 1.0, "CNF_TIMEOUT");
}
