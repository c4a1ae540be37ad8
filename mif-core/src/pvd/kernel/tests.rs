//! Links come and go, dumps confirm or not, and routers that only the kernel knows.

use super::*;
use crate::{
    pvd::{
        event::Event,
        testing::{
            Host, address, ip, kernel_prefix, learnt, link, loopback, permanent, pio, prefixes, ra, route,
            says, until,
        },
    },
    wire::NdOption,
};

const A: &str = "fe80::a";

fn uplink() -> Vec<Event> {
    vec![
        Event::Address(address(2, "2001:db8::5")),
        Event::Route(kernel_prefix(2, "2001:db8::/64")),
        Event::Route(learnt(2, "::/0", Some(A))),
    ]
}

fn advertisement() -> Event {
    says(2, A, ra(1800, prefixes(&[pio("2001:db8::/64", 86_400, 600)])))
}

/// A daemon that starts late enforces what the kernel learnt before, until the router speaks.
#[test]
fn provisional_pvd() {
    let mut host = Host::new(&[2]);
    host.tell_all(uplink());
    let pvd = host.pvd("eth2/fe80::a");
    assert!(pvd.provisional);
    assert_eq!(host.sources("eth2/fe80::a"), ["2001:db8::5"]);
    assert_eq!(host.routes("eth2/fe80::a"), ["2001:db8::/64 on-link", "::/0 via fe80::a"]);
    assert_eq!(host.tell(advertisement()), ["PvD 2 eth2/fe80::a changed: routers prefixes routes lifetimes"]);
    let confirmed = host.pvd("eth2/fe80::a");
    assert!(!confirmed.provisional);
    assert_eq!((confirmed.index, host.ids()), (pvd.index, vec!["eth2/fe80::a".to_owned()]));
}

/// What the router says counts, not what is left of it in the kernel.
#[test]
fn provisional_pvd_ends() {
    let gone = || Event::RouteGone(learnt(2, "::/0", Some(A)));
    let labelled = || says(2, A, ra(60, vec![crate::pvd::testing::pvd("a.example", None, vec![])]));
    let withdrawn = || says(2, A, ra(0, vec![]));
    let down = || Event::Link(Link { up: false, ..link(2) });
    for (id, events, left) in [
        ("the kernel's route goes", vec![gone()], vec!["eth2"]),
        ("the router gives up, the kernel has not followed", vec![withdrawn()], vec!["eth2"]),
        ("so after having spoken", vec![advertisement(), withdrawn(), withdrawn()], vec!["eth2/fe80::a"]),
        ("the router has a name", vec![labelled()], vec!["a.example%eth2", "eth2"]),
        ("the link goes down", vec![down()], vec!["eth2"]),
        ("and up", vec![down(), Event::Link(link(2))], vec!["eth2/fe80::a"]),
    ] {
        let mut host = Host::new(&[2]);
        host.tell_all(uplink());
        host.tell_all(events);
        assert_eq!(host.ids(), left, "{id}");
        assert!(host.ids().iter().all(|id| host.pvd(id).routes.iter().all(|route| {
            route.route.prefix.prefix_len() != 0 || host.pvd(id).provisional || id.starts_with("a.example")
        })));
    }
}

#[test]
fn provisional_pvd_ends_with_its_route() {
    let mut host = Host::new(&[2]);
    host.tell(Event::Route(KernelRoute { valid_until: until(30), ..learnt(2, "::/0", Some(A)) }));
    assert_eq!(host.set.next_deadline(), until(30).time());
    assert_eq!(host.wait(29), [""; 0]);
    assert_eq!(host.wait(30), ["PvD 1 eth2/fe80::a removed"]);
}

#[test]
fn links() {
    let down = || Event::Link(Link { up: false, ..link(2) });
    let renamed = || Event::Link(Link { name: "wan".into(), ..link(2) });
    let confirmed = || vec![Event::Address(address(2, "2001:db8::5")), advertisement()];
    for (id, events, left) in [
        ("as it is", vec![], vec!["eth2/fe80::a"]),
        ("down: what routers said is forgotten", vec![down()], vec!["eth2"]),
        ("down and up: it has to be said again", vec![down(), Event::Link(link(2))], vec!["eth2"]),
        ("and is", vec![down(), Event::Link(link(2)), advertisement()], vec!["eth2/fe80::a"]),
        ("renamed", vec![renamed()], vec!["wan/fe80::a"]),
        ("gone", vec![Event::LinkGone { ifindex: 2 }], vec![]),
        ("it was loopback", vec![Event::Link(Link { ifindex: 2, ..loopback() })], vec![]),
    ] {
        let mut host = Host::new(&[2]);
        host.tell_all(confirmed());
        host.tell_all(events);
        assert_eq!(host.ids(), left, "{id}");
    }
}

/// What stays on an interface that goes down is nobody's any more, and nobody else's, if its PvD led anywhere.
#[test]
fn stranded_addresses() {
    let down = || Event::Link(Link { up: false, ..link(2) });
    let up = || Event::Link(link(2));
    let here = || Event::Address(address(2, "2001:db8::5"));
    let uplink = || vec![here(), advertisement()];
    let served = || vec![here()];
    let elsewhere = || Event::Address(address(3, "2001:db8::5"));
    for (row, before, events, stranded) in [
        ("up", uplink(), vec![], 0),
        ("down", uplink(), vec![down()], 1),
        ("still down", uplink(), vec![down(), Event::Link(Link { up: false, mtu: 1400, ..link(2) })], 1),
        ("up again", uplink(), vec![down(), up()], 0),
        ("without a router", served(), vec![down()], 0),
        ("on another interface as well", uplink(), vec![elsewhere(), down()], 0),
        ("gone", uplink(), vec![down(), Event::AddressGone(address(2, "2001:db8::5"))], 0),
        ("and with its interface", uplink(), vec![down(), Event::LinkGone { ifindex: 2 }], 0),
    ] {
        let mut host = Host::new(&[2, 3]);
        host.tell_all(before);
        let mut world = host.world();
        host.set.refresh(&mut world, host.now, &host.preferences);
        for event in events {
            host.tell(event);
            host.set.refresh(&mut world, host.now, &host.preferences);
        }
        assert_eq!(host.world().stranded.len(), stranded, "{row}");
        assert_eq!(world, host.world(), "{row}");
    }
}

/// An advertisement or an address may overtake the message about its link.
#[test]
fn unknown_link() {
    let mut host = Host::new(&[]);
    host.tell(advertisement());
    assert_eq!(host.ids(), ["#2/fe80::a"]);
    assert_eq!(host.tell(Event::Link(link(2))), ["PvD 1 eth2/fe80::a changed: name mtu"]);
}

#[test]
fn mtu_follows_the_link() {
    let mut host = Host::new(&[2]);
    host.tell(says(2, A, ra(60, vec![NdOption::Mtu(1500)])));
    assert_eq!(host.pvd("eth2/fe80::a").mtu(), Some((1500, ip(A))));
    host.tell(Event::Link(Link { mtu: 1400, ..link(2) }));
    assert_eq!(host.pvd("eth2/fe80::a").mtu(), None);
}

#[test]
fn resync_sweeps_what_was_not_confirmed() {
    let everything = || {
        let mut all = vec![Event::Link(loopback()), Event::Link(link(2)), Event::Link(link(3))];
        all.extend(uplink());
        all.push(Event::Address(permanent(3, "fd00::1")));
        all.push(Event::Route(route(3, "fd00:1::/32", Some("fe80::3"))));
        all.push(Event::Neighbour { ifindex: 3, address: ip("fe80::3"), reachable: false });
        all
    };
    let without =
        |wanted: fn(&Event) -> bool| everything().into_iter().filter(|event| !wanted(event)).collect();
    let table: Vec<(&str, Vec<Event>, Vec<&str>, bool)> = vec![
        ("all confirmed", everything(), vec!["eth2/fe80::a", "eth3"], false),
        (
            "a link",
            without(|event| {
                matches!(
                    event,
                    Event::Link(Link { ifindex: 3, .. })
                        | Event::Address(Address { ifindex: 3, .. })
                        | Event::Route(KernelRoute { ifindex: 3, .. })
                )
            }),
            vec!["eth2/fe80::a"],
            false,
        ),
        (
            "an address and a route",
            without(|event| {
                matches!(
                    event,
                    Event::Address(Address { ifindex: 3, .. }) | Event::Route(KernelRoute { ifindex: 3, .. })
                )
            }),
            vec!["eth2/fe80::a"],
            false,
        ),
        (
            "a neighbour",
            without(|event| matches!(event, Event::Neighbour { .. })),
            vec!["eth2/fe80::a", "eth3"],
            true,
        ),
        ("what routers said needs no confirmation", vec![Event::Link(link(2))], vec!["eth2/fe80::a"], false),
        ("its link does", vec![Event::Link(link(3))], vec![], false),
    ];
    for (id, dump, left, reachable) in table {
        let mut host = Host::new(&[]);
        host.tell_all(everything());
        host.tell(advertisement());
        assert!(!host.pvd("eth3").routes[0].route.reachable);
        let before = host.world();
        host.tell(Event::ResyncBegin);
        host.tell_all(dump);
        assert_eq!(host.tell(Event::ResyncEnd).is_empty(), id == "all confirmed", "{id}");
        assert_eq!(host.ids(), left, "{id}");
        assert_eq!(host.world() == before, id == "all confirmed", "{id}");
        if left.contains(&"eth3") {
            assert_eq!(host.pvd("eth3").routes[0].route.reachable, reachable, "{id}");
        }
    }
}

#[test]
fn resync_end_without_begin_sweeps_nothing() {
    let mut host = Host::new(&[2]);
    host.tell_all(uplink());
    let before = host.world();
    assert_eq!(host.tell(Event::ResyncEnd), [""; 0]);
    assert_eq!(host.world(), before);
}

/// Only next hops are remembered: a scan of the link makes thousands of neighbours that do not answer.
#[test]
fn neighbours() {
    let mut host = Host::new(&[2]);
    host.tell_all(uplink());
    for suffix in 0x1000..0x2000_u16 {
        let address = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, suffix);
        assert_eq!(host.tell(Event::Neighbour { ifindex: 2, address, reachable: false }), [""; 0]);
    }
    assert!(host.set.links[&2].unreachable.is_empty());
    let router = |reachable| Event::Neighbour { ifindex: 2, address: ip(A), reachable };
    for (reachable, changes) in [(false, 1), (false, 0), (true, 1), (true, 0)] {
        assert_eq!(host.tell(router(reachable)).len(), changes, "{reachable}");
        assert_eq!(host.world().pvds[0].routes.iter().any(|route| !route.reachable), !reachable);
    }
}

/// A dead router that the kernel asks anew while everything is listed again is dead still; one that it has forgotten is not.
#[test]
fn a_dead_neighbour_that_is_being_asked() {
    for (asked, dead) in [(true, true), (false, false)] {
        let mut host = Host::new(&[2]);
        host.tell_all(uplink());
        host.tell(Event::Neighbour { ifindex: 2, address: ip(A), reachable: false });
        host.tell(Event::ResyncBegin);
        host.tell(Event::Link(link(2)));
        host.tell_all(uplink());
        for address in asked.then_some(ip(A)).into_iter().chain([ip("fe80::99")]) {
            assert_eq!(host.tell(Event::NeighbourAsked { ifindex: 2, address }), [""; 0]);
        }
        host.tell(Event::ResyncEnd);
        assert_eq!(host.set.is_unreachable(2, &ip(A)), dead, "asked: {asked}");
        assert!(!host.set.is_unreachable(2, &ip("fe80::99")), "nobody said that it is dead");
    }
}

#[test]
fn repeated_messages_change_nothing() {
    let mut host = Host::new(&[2]);
    host.tell_all(uplink());
    for event in uplink().into_iter().chain([Event::Link(link(2)), Event::LinkGone { ifindex: 9 }]) {
        assert_eq!(host.tell(event), [""; 0]);
    }
    for gone in [Event::AddressGone(address(2, "2001:db8::5")), Event::RouteGone(learnt(2, "::/0", Some(A)))]
    {
        assert_ne!(host.tell(gone.clone()), [""; 0]);
        assert_eq!(host.tell(gone), [""; 0]);
    }
}

#[test]
fn lifetimes_of_addresses() {
    let mut host = Host::new(&[2]);
    let first = Address { preferred_until: until(10), valid_until: until(20), ..address(2, "2001:db8::5") };
    host.tell(Event::Address(first.clone()));
    for (seconds, changes) in [
        (9, vec![]),
        (10, vec!["PvD 1 eth2 changed: sources"]),
        (20, vec!["local addresses changed", "PvD 1 eth2 removed"]),
    ] {
        assert_eq!(host.wait(seconds), changes, "{seconds}");
    }
    let refreshed = Address { preferred_until: until(40), valid_until: until(50), ..first };
    assert_eq!(host.tell(Event::Address(refreshed)), ["local addresses changed", "PvD 1 eth2 added"]);
}

/// The kernel tells of a replacing route, and not what it replaced: the one that there was, on whatever interface. Of several
/// only the kernel knows.
#[test]
fn replaced_routes() {
    let by = |ifindex, metric| KernelRoute { metric, ..route(ifindex, "10.0.0.0/8", Some("192.0.2.1")) };
    let from = |source| KernelRoute { preferred_source: Some(ip(source)), ..by(2, 100) };
    let elsewhere = KernelRoute { metric: 100, ..route(2, "10.0.0.0/9", Some("192.0.2.1")) };
    let v6 = |gateway| route(2, "2001:db8::/32", Some(gateway));
    for (row, known, new, left, unsure) in [
        ("nothing known", vec![], by(2, 100), 1, false),
        ("itself", vec![by(2, 100)], by(2, 100), 1, false),
        ("by another interface", vec![by(3, 100)], by(2, 100), 1, false),
        ("from another source", vec![by(2, 100)], from("192.0.2.7"), 1, false),
        ("of another metric", vec![by(2, 200)], by(2, 100), 2, false),
        ("of another length", vec![elsewhere], by(2, 100), 2, false),
        ("one of two", vec![from("192.0.2.7"), from("192.0.2.8")], by(2, 100), 3, true),
        ("another router, in IPv6", vec![v6("fe80::1")], v6("fe80::2"), 1, false),
        ("one of two, in IPv6", vec![v6("fe80::1"), v6("fe80::2")], v6("fe80::2"), 2, true),
    ] {
        let mut host = Host::new(&[2, 3]);
        host.tell_all(known.into_iter().map(Event::Route));
        host.tell_all([Event::RouteReplaced(new.clone()), Event::Route(new)]);
        assert_eq!((host.set.kernel_routes, host.set.wants_resync()), (left, unsure), "{row}");
        assert!(!host.set.wants_resync(), "{row}: asked for once");
    }
}

/// What is another route to the kernel goes by itself.
#[test]
fn routes_that_differ_in_little() {
    let plain = route(2, "10.0.0.0/8", Some("192.0.2.1"));
    let from = |source| KernelRoute { preferred_source: Some(ip(source)), ..plain.clone() };
    let leased = KernelRoute { protocol: crate::pvd::event::RouteProtocol::Dhcp, ..plain.clone() };
    let all = [plain.clone(), from("192.0.2.7"), from("192.0.2.8"), leased];
    for gone in 0..all.len() {
        let mut host = Host::new(&[2]);
        host.tell_all(all.iter().cloned().map(Event::Route));
        host.tell(Event::RouteGone(all[gone].clone()));
        let left: Vec<_> = host.set.links[&2].routes.values().map(|(route, _)| route.clone()).collect();
        assert_eq!(left.len(), all.len() - 1);
        assert!(!left.contains(&all[gone]), "{gone}");
    }
    // In IPv6 the next hop makes the route.
    let plain = route(2, "2001:db8::/32", Some(A));
    let from = KernelRoute { preferred_source: Some(ip("2001:db8::5")), ..plain.clone() };
    let mut host = Host::new(&[2]);
    host.tell_all([Event::Route(from), Event::Route(plain.clone())]);
    assert_eq!(
        host.set.links[&2].routes.values().map(|(route, _)| route.clone()).collect::<Vec<_>>(),
        [plain]
    );
}

/// A full routing table, and a flood of addresses, cost what the caps say.
#[test]
fn caps() {
    let mut host = Host::new(&[2]);
    let addresses = || (0..).map(|number: u128| Ipv6Addr::from_bits((0x2001_0db8 << 96) | number));
    for address in addresses().take(KERNEL_ROUTES + 10) {
        let prefix = ipnet::Ipv6Net::new(address, 128).expect("128 is a length");
        host.tell(Event::Route(KernelRoute { prefix, valid_until: until(50), ..route(2, "::/0", Some(A)) }));
    }
    for address in addresses().take(ADDRESSES_PER_LINK + 10) {
        host.tell(Event::Address(Address { address, valid_until: until(60), ..permanent(2, "::") }));
    }
    let pvd = host.pvd("eth2");
    assert_eq!((pvd.routes.len(), pvd.sources.len()), (KERNEL_ROUTES, ADDRESSES_PER_LINK));
    for reason in [RefusedReason::KernelRoutes, RefusedReason::Addresses] {
        assert_eq!(host.set.refused().of(reason), 10, "{reason}");
    }
    host.tell(Event::LinkGone { ifindex: 2 });
    assert_eq!((host.set.kernel_routes, host.set.addresses, host.set.next_deadline()), (0, 0, None));
}
