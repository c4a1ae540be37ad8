//! Keeping a lease, and losing it (RFC 8415 §14.2, §18.2.4, §18.2.5, §18.2.7, §18.2.8, §18.2.10.1).

use super::*;

/// T1: the server is asked; T2: any server; the end: from the beginning. D6-8415-18.2.5-a
#[test]
fn a_server_that_is_gone() {
    let mut bench = Bench::bound();
    let given = bench.now;
    let at = |bench: &Bench| given.until(bench.now).as_secs();
    let renew = bench.send(MessageType::Renew);
    assert_eq!(at(&bench), 50);
    assert_eq!(codes(&renew), [1, 2, 3, 8, 6, 20]);
    assert_eq!(subject(&renew), [format!("{}/128", address(1))]);
    bench.send(MessageType::Renew);
    assert_eq!(at(&bench), 60, "REN_TIMEOUT");
    let rebind = bench.send(MessageType::Rebind);
    assert_eq!(at(&bench), 80, "T2");
    assert!(!codes(&rebind).contains(&code::SERVER_ID));
    let mut last = at(&bench);
    loop {
        bench.now = bench.client.next_deadline().expect("there is a lease");
        let Some(message) = bench.poll() else { continue };
        if message.kind == MessageType::Solicit {
            break;
        }
        assert_eq!(message.kind, MessageType::Rebind);
        last = at(&bench);
    }
    assert!(last < 200);
    assert_eq!(at(&bench), 200, "the lease has ended");
    let configuration = bench.client.configuration();
    assert_eq!(
        (configuration.leases, configuration.options),
        (vec![], vec![]),
        "and with it what came with it"
    );
}

/// What the Reply to a Renew does. D6-8415-18.2.10.1-c, -d, D6-8415-18.2.10-a, D6-8415-21.4-a
#[test]
fn replies_to_a_renew() {
    let zero = Lease { preferred_lifetime: 0, valid_lifetime: 0, ..lease(1) };
    let reversed = Lease { preferred_lifetime: 300, ..lease(2) };
    let late = IdentityAssociation { iaid: IAID, t1: 90, t2: 80, leases: vec![lease(2)], status: None };
    let link_local = Lease { prefix: "fe80::2/128".parse().expect("a literal"), ..lease(2) };
    for (row, option, addresses, asking, refused) in [
        ("extended", Some(ia(lease(1))), &[1][..], None, &[][..]),
        ("another one besides", Some(ia(lease(2))), &[1, 2], None, &[]),
        ("valid no longer", Some(ia(zero)), &[], Some(MessageType::Solicit), &[]),
        ("no binding", Some(ia_status(StatusCode::NoBinding)), &[1], Some(MessageType::Request), &[]),
        ("not a word", None, &[1], Some(MessageType::Renew), &[]),
        ("preferred longer than valid", Some(ia(reversed)), &[1], None, &["preferred-after-valid"]),
        ("T1 after T2", Some(DhcpOption::IaNa(late)), &[1], None, &["t1-after-t2"]),
        ("a link-local address", Some(ia(link_local)), &[1], None, &["lease-prefix"]),
    ] {
        let mut bench = Bench::bound();
        bench.send(MessageType::Renew);
        let answer = bench.answer(MessageType::Reply);
        let answer = option.into_iter().fold(answer, Answer::with);
        assert_eq!(bench.try_hear(&answer), Ok(refused.into()), "{row}");
        let expected: Vec<_> = addresses.iter().map(|number| address(*number)).collect();
        assert_eq!(bench.addresses(), expected, "{row}");
        assert_eq!(bench.client.asking(), asking, "{row}");
        let kept = matches!(asking, Some(MessageType::Request | MessageType::Renew));
        assert_eq!(
            bench.client.configuration().options.len(),
            usize::from(kept),
            "{row}: DNS was not said again"
        );
    }
}

/// D6-8415-14.2-a: when to ask where the server does not say.
#[test]
fn own_times() {
    for (t1, t2, preferred, expected) in [
        (0, 0, 100, Some((50, 80))),
        (0, 0, 4, Some((10, 10))),
        (0, 0, u32::MAX, None),
        (0, 30, 100, Some((30, 30))),
        (60, 0, 100, Some((60, 80))),
        (90, 0, 100, Some((90, 90))),
        (u32::MAX, u32::MAX, 100, None),
        (50, 80, 100, Some((50, 80))),
    ] {
        let valid = preferred.saturating_mul(2);
        let lease = Lease { preferred_lifetime: preferred, valid_lifetime: valid, ..lease(1) };
        let association = IdentityAssociation { iaid: IAID, t1, t2, leases: vec![lease], status: None };
        let mut leases = super::super::Leases::default();
        leases.update(&association, START, &mut |error| panic!("{error}")).expect("taken");
        let seconds = |at: Deadline| at.remaining(START).map(|left| left.as_secs());
        let found = seconds(leases.t1()).zip(seconds(leases.t2()));
        assert_eq!(found, expected, "{t1} {t2} {preferred}");
    }
}

#[test]
fn there_is_a_most() {
    let all = (0..70).map(|number| lease(number + 1)).collect();
    let association = IdentityAssociation { iaid: IAID, leases: all, ..Default::default() };
    let mut leases = super::super::Leases::default();
    let mut refused = 0;
    leases.update(&association, START, &mut |_| refused += 1).expect("taken");
    assert_eq!((leases.iter().count(), refused), (super::super::lease::LEASES, 6));
}

/// D6-8415-18.2.10.1-b: an address that another host has is declined and not used.
#[test]
fn an_address_that_is_in_use() {
    let mut bench = Bench::bound();
    bench.client.decline(address(9), bench.now, &mut || 5);
    assert_eq!(bench.client.asking(), None, "not ours");
    bench.client.decline(address(1), bench.now, &mut || 5);
    assert_eq!(bench.addresses(), [] as [Ipv6Addr; 0], "at once");
    let decline = bench.send(MessageType::Decline);
    assert_eq!(codes(&decline), [1, 2, 3, 8]);
    assert_eq!(subject(&decline), [format!("{}/128", address(1))]);
    // Any status ends it (§18.2.10.3).
    bench.hear(bench.answer(MessageType::Reply).with(ia_status(StatusCode::NoBinding)));
    bench.send(MessageType::Solicit);
}

#[test]
fn a_decline_that_nobody_answers() {
    let mut bench = Bench::bound();
    bench.client.decline(address(1), bench.now, &mut || 5);
    for _ in 0..4 {
        bench.send(MessageType::Decline);
    }
    bench.send(MessageType::Solicit);
}

/// D6-8415-18.2.7-a: gone first, sent then.
#[test]
fn release() {
    for answered in [true, false] {
        let mut bench = Bench::bound();
        bench.client.release(bench.now, &mut || 5);
        assert_eq!(bench.addresses(), [] as [Ipv6Addr; 0]);
        let release = bench.send(MessageType::Release);
        assert_eq!(codes(&release), [1, 2, 3, 8]);
        if answered {
            bench.hear(bench.answer(MessageType::Reply).status(StatusCode::NoBinding));
        } else {
            for _ in 0..3 {
                bench.send(MessageType::Release);
            }
            bench.now = bench.client.next_deadline().expect("the last answer is waited for");
            assert_eq!(bench.poll(), None);
        }
        assert_eq!((bench.client.next_deadline(), bench.client.asking()), (None, None), "{answered}");
    }
}
