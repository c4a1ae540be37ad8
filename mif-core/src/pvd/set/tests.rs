//! Names, numbers, floods.

use super::*;
use crate::pvd::{
    event::Event,
    testing::{Host, address, learnt, permanent, pio, prefixes, pvd, ra, route, says},
};

#[test]
fn find() {
    let mut host = Host::new(&[2, 3]);
    host.tell_all([
        Event::Address(permanent(2, "fd00::1")),
        says(2, "fe80::1", ra(60, vec![])),
        says(2, "fe80::12", ra(60, vec![])),
        says(3, "fe80::1", ra(60, vec![pvd("Example.org", None, vec![])])),
    ]);
    let unknown = |wanted: &str| {
        let known = ["eth2", "eth2/fe80::1", "eth2/fe80::12", "example.org%eth3"].map(str::to_owned).to_vec();
        Err(FindError::Unknown { wanted: wanted.into(), known })
    };
    let ambiguous = |wanted: &str, candidates: &[&str]| {
        let candidates = candidates.iter().map(|id| (*id).to_owned()).collect();
        Err(FindError::Ambiguous { wanted: wanted.into(), candidates })
    };
    for (wanted, found) in [
        ("eth2", Ok(1)),
        ("eth2/fe80::1", Ok(2)),
        ("eth2/fe80::12", Ok(3)),
        ("4", Ok(4)),
        ("example.org", Ok(4)),
        ("EXAMPLE.ORG%eth3", Ok(4)),
        ("eth2/", ambiguous("eth2/", &["eth2/fe80::1", "eth2/fe80::12"])),
        ("e", ambiguous("e", &["eth2", "eth2/fe80::1", "eth2/fe80::12", "example.org%eth3"])),
        ("0", unknown("0")),
        ("5", unknown("5")),
        ("", unknown("")),
        ("eth2/fe80::123", unknown("eth2/fe80::123")),
        ("é", unknown("é")),
    ] {
        assert_eq!(host.set.find(wanted), found, "{wanted}");
    }
    let error = host.set.find("eth2/").expect_err("ambiguous").to_string();
    assert_eq!(error, "\"eth2/\" can be any of eth2/fe80::1, eth2/fe80::12; say more of it");
}

#[test]
fn numbers_are_stable_and_come_back() {
    let mut host = Host::new(&[2]);
    host.tell(says(2, "fe80::1", ra(10, vec![])));
    host.tell(says(2, "fe80::2", ra(99, vec![])));
    assert_eq!(host.wait(10), ["PvD 1 eth2/fe80::1 removed"]);
    assert_eq!(host.tell(says(2, "fe80::3", ra(99, vec![]))), ["PvD 1 eth2/fe80::3 added"]);
    assert_eq!(host.set.find("eth2/fe80::2"), Ok(2));
}

/// 10,000 routers, unnamed and named: what is kept is bounded, refusals are counted, and those that were there first
/// keep working. RA-4861-6.3.4-h: at least two routers are kept.
#[test]
fn floods() {
    const FLOOD: u16 = 10_000;
    let router = |number: u16| format!("fe80::1:{number:x}");
    for (what, named, kept, reason) in [
        ("routers", false, ROUTERS_PER_LINK, RefusedReason::Routers),
        ("names", true, EXPLICIT_PVDS_PER_LINK, RefusedReason::ExplicitPvds),
    ] {
        let mut host = Host::new(&[2]);
        for number in 0..FLOOD {
            let options = prefixes(&[pio("2001:db8::/64", 600, 600)]);
            let name = format!("pvd{number}.example");
            let options = if named { vec![pvd(&name, None, options)] } else { options };
            host.tell(says(2, &router(number), ra(1800, options)));
        }
        assert_eq!(host.snapshot().len(), kept, "{what}");
        assert_eq!(host.set.refused().of(reason), u64::from(FLOOD) - kept as u64, "{what}");
        assert_eq!(host.set.links[&2].heard.len(), kept, "{what}");
        let withdrawn = host.tell(says(2, &router(0), ra(60, vec![])));
        assert_eq!(withdrawn.len(), 1, "{what}: the first router still counts");
    }
}

/// Routers that withdraw what they never said leave nothing behind.
#[test]
fn empty_words() {
    let mut host = Host::new(&[2]);
    for number in 0..10_000 {
        host.tell(says(2, &format!("fe80::{number:x}"), ra(0, vec![])));
    }
    assert!(host.set.links[&2].heard.is_empty() && host.ids().is_empty());
    assert_eq!(host.set.refused().iter().count(), 0);
}

#[test]
fn numbers_run_out() {
    let mut host = Host::limited(&[2, 3, 4], Limits { max_pvds: 4 });
    for number in 1..=4 {
        host.tell(says(2, &format!("fe80::{number}"), ra(600, vec![])));
    }
    assert_eq!(host.ids().len(), 3, "networks leave a share to the administrator");
    for (ifindex, count) in [(3, 4), (4, 4)] {
        host.tell(Event::Address(permanent(ifindex, &format!("fd00::{ifindex}"))));
        assert_eq!(host.ids().len(), count);
    }
    assert_eq!(host.set.refused().of(RefusedReason::Pvds), 2);
    host.tell(Event::LinkGone { ifindex: 3 });
    host.tell(Event::Route(route(4, "fd00:4::/32", None)));
    assert_eq!(host.set.find("eth4"), Ok(4), "tried again with the next event");
}

/// Kernel routes of the protocol RA cannot make more PvDs than routers could.
#[test]
fn provisional_pvds_are_capped() {
    let mut host = Host::new(&[2]);
    for number in 0..100 {
        host.tell(Event::Route(learnt(2, "::/0", Some(&format!("fe80::{number:x}")))));
    }
    assert_eq!(host.ids().len(), ROUTERS_PER_LINK);
    assert!(host.set.refused().of(RefusedReason::Routers) > 0);
    host.tell(says(2, "fe80::5", ra(60, vec![])));
    assert!(!host.pvd("eth2/fe80::5").provisional, "a router whose place is kept takes it");
}

/// A raw socket hears what a daemon on this very host advertises.
#[test]
fn own_advertisements_are_not_heard() {
    let mut host = Host::new(&[2]);
    host.tell(Event::Address(address(2, "fe80::1")));
    host.tell(says(2, "fe80::1", ra(1800, prefixes(&[pio("2001:db8:1::/64", 600, 600)]))));
    assert_eq!(host.ids(), Vec::<String>::new());
    assert_eq!(host.set.refused().of(RefusedReason::OwnAdvertisement), 1);
}
