//! Routers and the kernel speak; whose is what?

use super::*;
use crate::{
    pvd::{
        RefusedReason,
        event::Event,
        testing::{
            Host, address, at, explicit, header, implicit, ip, net, permanent, pio, prefixes, pvd, ra, route,
            says, until,
        },
    },
    wire::{RaHeader, RouterAdvertisement},
};

const A: &str = "fe80::a";
const B: &str = "fe80::b";
const PREFIX: &str = "2001:db8::/64";

fn announce(lifetime: u16, preference: RouterPreference, preferred: u32) -> RouterAdvertisement {
    RouterAdvertisement {
        header: header(lifetime, preference),
        options: prefixes(&[pio(PREFIX, 86_400, preferred)]),
    }
}

fn usual() -> RouterAdvertisement {
    announce(1800, RouterPreference::Medium, 600)
}

fn neighbour(router: &str, reachable: bool) -> Event {
    Event::Neighbour { ifindex: 2, address: ip(router), reachable }
}

/// What happens, then what each PvD has.
type Row = (&'static str, Vec<Event>, Vec<(&'static str, Vec<&'static str>)>);

/// Checks sources; `-` marks those that another PvD carries.
fn check(table: Vec<Row>) {
    for (id, events, expected) in table {
        let mut host = Host::new(&[2, 3]);
        host.tell_all(events);
        let got: Vec<_> = host.ids().into_iter().map(|id| (id.clone(), host.sources(&id))).collect();
        let own = |sources: Vec<&str>| sources.into_iter().map(str::to_owned).collect();
        let expected: Vec<(String, Vec<String>)> =
            expected.into_iter().map(|(id, sources)| (id.to_owned(), own(sources))).collect();
        assert_eq!(got, expected, "{id}");
    }
}

#[test]
fn owners() {
    let slaac = || Event::Address(address(2, "2001:db8::5"));
    let dhcp = || Event::Address(Address { prefix_len: 128, ..address(2, "2001:db8:d::5") });
    let by_hand = || Event::Address(permanent(2, "2001:db8::1"));
    let elsewhere = || Event::Address(permanent(2, "fd00::1"));
    let managed = |option| RouterAdvertisement {
        header: RaHeader { managed: true, ..header(600, RouterPreference::Medium) },
        options: vec![option],
    };
    let unmanaged = pvd("b.example", None, vec![]);
    check(vec![
        ("nobody accounts for it", vec![slaac()], vec![("eth2", vec!["2001:db8::5"])]),
        ("one router", vec![slaac(), says(2, A, usual())], vec![("eth2/fe80::a", vec!["2001:db8::5"])]),
        (
            "another prefix, and yet: an implicit PvD takes what it finds",
            vec![slaac(), says(2, A, ra(600, prefixes(&[pio("2001:db8:f::/64", 600, 600)])))],
            vec![("eth2/fe80::a", vec!["2001:db8::5"])],
        ),
        (
            "PV-8801-3.4.1-c: DHCPv6 without a prefix, all implicit PvDs",
            vec![dhcp(), says(2, B, usual()), says(2, A, usual())],
            vec![("eth2/fe80::a", vec!["2001:db8:d::5"]), ("eth2/fe80::b", vec!["-2001:db8:d::5"])],
        ),
        (
            "without implicit ones, the explicit ones with M",
            vec![
                dhcp(),
                says(2, A, managed(pvd("a.example", None, vec![]))),
                says(2, A, ra(600, vec![unmanaged])),
            ],
            vec![("a.example%eth2", vec!["2001:db8:d::5"]), ("b.example%eth2", vec![])],
        ),
        (
            "PV-8801-3.4.1-b: inside a prefix",
            vec![
                Event::Address(Address { prefix_len: 128, ..address(2, "2001:db8::5") }),
                says(2, B, ra(600, vec![])),
                says(2, A, usual()),
            ],
            vec![("eth2/fe80::a", vec!["2001:db8::5"]), ("eth2/fe80::b", vec![])],
        ),
        (
            "the longest prefix accounts",
            vec![
                slaac(),
                says(2, A, ra(600, prefixes(&[pio("2001:db8::/48", 600, 600)]))),
                says(2, B, usual()),
            ],
            vec![("eth2/fe80::a", vec![]), ("eth2/fe80::b", vec!["2001:db8::5"])],
        ),
        (
            "set by hand inside a prefix: the router's",
            vec![by_hand(), says(2, A, usual())],
            vec![("eth2/fe80::a", vec!["2001:db8::1"])],
        ),
        (
            "set by hand, outside: the administrator's",
            vec![elsewhere(), says(2, A, usual())],
            vec![("eth2", vec!["fd00::1"]), ("eth2/fe80::a", vec![])],
        ),
        (
            "set by hand, and routes by hand: both",
            vec![by_hand(), slaac(), Event::Route(route(2, "fd00::/8", Some(B))), says(2, A, usual())],
            vec![("eth2", vec!["-2001:db8::1"]), ("eth2/fe80::a", vec!["2001:db8::1", "2001:db8::5"])],
        ),
        (
            "the administrator's default route carries",
            vec![
                by_hand(),
                Event::Route(route(2, "::/0", Some(B))),
                says(2, A, announce(600, RouterPreference::High, 9)),
            ],
            vec![("eth2", vec!["2001:db8::1"]), ("eth2/fe80::a", vec!["-2001:db8::1"])],
        ),
        (
            "until the last of these routes goes",
            vec![
                Event::Route(route(2, "fd00::/8", Some(B))),
                by_hand(),
                says(2, A, usual()),
                Event::RouteGone(route(2, "fd00::/8", Some(B))),
            ],
            vec![("eth2/fe80::a", vec!["2001:db8::1"])],
        ),
        (
            "routes by hand take no dynamic address",
            vec![slaac(), Event::Route(route(2, "fd00::/8", Some(A))), says(2, A, usual())],
            vec![("eth2", vec![]), ("eth2/fe80::a", vec!["2001:db8::5"])],
        ),
        (
            "loopback and link-local addresses are nobody's",
            vec![Event::Address(permanent(1, "2001:db8::53")), Event::Address(address(2, "fe80::5"))],
            vec![],
        ),
        (
            "on two interfaces: one of them",
            vec![by_hand(), Event::Address(permanent(3, "2001:db8::1"))],
            vec![("eth2", vec!["2001:db8::1"]), ("eth3", vec![])],
        ),
        (
            "on two interfaces: where duplicate detection let it pass",
            vec![
                Event::Address(Address { dad_failed: true, ..permanent(2, "2001:db8::1") }),
                Event::Address(permanent(3, "2001:db8::1")),
            ],
            vec![("eth2", vec![]), ("eth3", vec!["2001:db8::1"])],
        ),
    ]);
}

/// Two unlabelled routers with one prefix (redundant gateways): both own the address, one carries it.
#[test]
fn carriers() {
    use RouterPreference::{High, Low, Medium};
    type Row = (&'static str, RouterAdvertisement, RouterAdvertisement, Vec<Event>, &'static str);
    let table: Vec<Row> = vec![
        ("equal: the lowest key", usual(), usual(), vec![], A),
        ("the preferred router", usual(), announce(1800, High, 600), vec![], B),
        ("RT-4191-3.2-a", announce(1800, Low, 600), usual(), vec![], B),
        (
            "RA-4861-6.3.6-a",
            announce(1800, High, 600),
            announce(1800, Low, 600),
            vec![neighbour(A, false)],
            B,
        ),
        ("both dead", announce(1800, Low, 600), usual(), vec![neighbour(A, false), neighbour(B, false)], B),
        ("it answers again", usual(), usual(), vec![neighbour(A, false), neighbour(A, true)], A),
        ("a default route counts more", announce(0, High, 600), announce(1800, Low, 600), vec![], B),
        ("the prefix withdrawn by one", announce(1800, High, 0), announce(1800, Medium, 600), vec![], B),
    ];
    for (id, a, b, events, carrier) in table {
        for flipped in [false, true] {
            let mut host = Host::new(&[2]);
            host.tell(Event::Address(address(2, "2001:db8::5")));
            let mut heard = vec![says(2, A, a.clone()), says(2, B, b.clone())];
            if flipped {
                heard.reverse();
            }
            host.tell_all(heard);
            host.tell_all(events.clone());
            let expected = BTreeMap::from([("2001:db8::5".to_owned(), format!("eth2/{carrier}"))]);
            assert_eq!(host.carriers(), expected, "{id}, flipped {flipped}");
            let all: Vec<_> = host.world().pvds.iter().map(|pvd| pvd.sources.len()).collect();
            assert_eq!(all, [1, 1], "{id}: both own it");
        }
    }
}

/// Alternating advertisements of two routers with one prefix change nothing but lifetimes.
#[test]
fn no_flapping() {
    let mut host = Host::new(&[2]);
    host.tell(Event::Address(address(2, "2001:db8::5")));
    host.tell_all([says(2, B, usual()), says(2, A, usual())]);
    let carriers = host.carriers();
    for second in 1..100 {
        host.wait(second);
        let router = if second % 2 == 0 { A } else { B };
        let changes = host.tell(says(2, router, usual()));
        assert!(changes.iter().all(|change| change.ends_with("changed: lifetimes")), "{changes:?}");
        assert_eq!(host.carriers(), carriers, "after {second} s");
    }
}

/// PV-8801-3.4-h, and the address with it.
#[test]
fn address_moves_with_its_prefix() {
    let mut host = Host::new(&[2]);
    host.tell(Event::Address(address(2, "2001:db8::5")));
    let labelled = |id| ra(60, vec![pvd(id, None, prefixes(&[pio(PREFIX, 600, 600)]))]);
    for (id, owner) in
        [("a.example", "a.example%eth2"), ("b.example", "b.example%eth2"), ("a.example", "a.example%eth2")]
    {
        host.tell(says(2, A, labelled(id)));
        assert_eq!(host.carriers(), BTreeMap::from([("2001:db8::5".to_owned(), owner.to_owned())]));
    }
}

/// AR-7556-7.1-a: the same name on two links makes two PvDs.
#[test]
fn names_are_not_trusted_across_links() {
    let mut host = Host::new(&[2, 3]);
    for ifindex in [2, 3] {
        host.tell(says(ifindex, A, ra(60, vec![pvd("a.example", None, vec![])])));
    }
    assert_eq!(host.ids(), ["a.example%eth2", "a.example%eth3"]);
}

#[test]
fn duplicates_are_counted() {
    let mut host = Host::new(&[2, 3]);
    host.tell_all([2, 3, 3].map(|ifindex| Event::Address(permanent(ifindex, "2001:db8::1"))));
    assert_eq!(host.set.refused().of(RefusedReason::DuplicateAddress), 1);
}

fn pvd_with(prefixes: &[&str]) -> Pvd {
    let record = Prefix {
        valid_until: until(100),
        preferred_until: until(100),
        on_link_until: None,
        autonomous: true,
    };
    let prefixes = prefixes.iter().map(|prefix| ((net(prefix), ip("fe80::1")), record)).collect();
    Pvd { prefixes, ..Pvd::new(1) }
}

#[test]
fn longest_claim() {
    let (a, b) = (implicit(2, "fe80::a"), explicit(2, "b.example"));
    let pvds = BTreeMap::from([
        (a.clone(), pvd_with(&["2001:db8:a::/64", "2001:db8:c::/64"])),
        (b.clone(), pvd_with(&["2001:db8::/32", "2001:db8:c::/64"])),
    ]);
    let claims = Claims::of(&pvds, at(0));
    for (address, prefix, keys) in [
        ("2001:db8:a::1", "2001:db8:a::/64", vec![&a]),
        ("2001:db8:b::1", "2001:db8::/32", vec![&b]),
        ("2001:db8:c::1", "2001:db8:c::/64", vec![&b, &a]),
    ] {
        let (found, owners) = claims.longest(ip(address)).expect("claimed");
        assert_eq!((found, owners.iter().collect::<Vec<_>>()), (net(prefix), keys), "{address}");
    }
    assert_eq!(claims.longest(ip("2001:db9::1")), None);
    assert_eq!(Claims::of(&pvds, at(100)).longest(ip("2001:db8:a::1")), None);
}

#[test]
fn standings_compare_in_order() {
    let standing = |reachable, default_route, administrator, preference| Standing {
        reachable,
        default_route,
        administrator,
        preference,
    };
    let ascending = [
        standing(false, true, true, RouterPreference::High),
        standing(true, false, true, RouterPreference::High),
        standing(true, true, false, RouterPreference::Low),
        standing(true, true, false, RouterPreference::High),
        standing(true, true, true, RouterPreference::Low),
    ];
    assert!(ascending.is_sorted());
}
