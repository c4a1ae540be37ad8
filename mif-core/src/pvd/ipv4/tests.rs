use crate::{
    pvd::{
        event::{Address, Event, KernelRoute, RouteProtocol},
        testing::{
            Host, explicit, ip, ipv4, kernel_prefix, link, pio, prefixes, pvd, ra, route, says, until,
        },
    },
    select::world::{AddressState, Origin},
    wire::{NdOption, PvdOption, RouterAdvertisement},
};

/// A lease as networkd and NetworkManager configure it.
fn leased(ifindex: u32, text: &str) -> Address {
    Address { permanent: false, valid_until: until(3600), ..ipv4(ifindex, text) }
}

fn dhcp(ifindex: u32, prefix: &str, gateway: &str, source: &str, metric: u32) -> KernelRoute {
    KernelRoute {
        metric,
        protocol: RouteProtocol::Dhcp,
        preferred_source: Some(ip(source)),
        ..route(ifindex, prefix, Some(gateway))
    }
}

/// An interface with an IPv6 router and an IPv4 lease.
fn dual() -> Host {
    let mut host = Host::new(&[2]);
    host.tell_all([
        Event::Address(leased(2, "192.0.2.5/24")),
        Event::Route(KernelRoute { metric: 0, ..kernel_prefix(2, "192.0.2.0/24") }),
        Event::Route(dhcp(2, "0.0.0.0/0", "192.0.2.1", "192.0.2.5", 100)),
        says(2, "fe80::1", ra(1800, prefixes(&[pio("2001:db8::/64", 600, 300)]))),
    ]);
    host
}

#[test]
fn a_lease_is_a_pvd_of_its_own() {
    let host = dual();
    assert_eq!(host.ids(), ["eth2/fe80::1", "eth2/ipv4"]);
    assert_eq!(host.routes("eth2/ipv4"), ["0.0.0.0/0 via 192.0.2.1", "192.0.2.0/24 on-link"]);
    assert_eq!(host.sources("eth2/ipv4"), ["192.0.2.5"]);
    let pvd = host.pvd("eth2/ipv4");
    assert_eq!(
        (pvd.origin, pvd.valid_until, pvd.provisional),
        (Origin::Network, crate::time::Deadline::NEVER, false)
    );
    let source = &pvd.sources[0];
    assert_eq!((source.prefix_len, &source.advertisers[..]), (96 + 24, &[ip("192.0.2.1")][..]));
    let default = &pvd.routes[0].route;
    assert_eq!((default.metric, default.kernel_decides), (100, false));
}

#[test]
fn it_comes_and_goes_with_the_kernels_word() {
    let mut host = Host::new(&[2]);
    let address = leased(2, "192.0.2.5/24");
    let route = dhcp(2, "0.0.0.0/0", "192.0.2.1", "192.0.2.5", 100);
    assert_eq!(
        host.tell(Event::Address(address.clone())),
        ["local addresses changed", "PvD 1 eth2/ipv4 added"]
    );
    assert_eq!(host.tell(Event::Route(route.clone())), ["PvD 1 eth2/ipv4 changed: routes"]);
    host.tell(Event::AddressGone(address.clone()));
    assert_eq!(host.ids(), ["eth2/ipv4"], "a route is left");
    host.tell(Event::RouteGone(route));
    assert_eq!(host.ids(), Vec::<String>::new());
    host.tell(Event::Address(address));
    assert_eq!(host.ids(), ["eth2/ipv4"]);
    host.wait(3600);
    assert_eq!(host.ids(), Vec::<String>::new(), "its lease is over");
}

#[test]
fn what_is_no_pvd() {
    let mut host = Host::new(&[2]);
    host.tell_all([
        Event::Address(ipv4(1, "127.0.0.1/8")),
        Event::Address(ipv4(2, "169.254.7.7/16")),
        Event::Route(kernel_prefix(2, "169.254.0.0/16")),
    ]);
    assert_eq!(host.ids(), Vec::<String>::new());
    // A refusal needs no interface and belongs to none.
    host.tell(Event::Route(KernelRoute { refuses: true, ..route(0, "10.0.0.0/8", None) }));
    assert_eq!(host.ids(), ["#0"]);
    assert!(host.pvd("#0").routes[0].route.kernel_decides);
}

#[test]
fn set_by_hand_it_is_the_administrators() {
    let mut host = Host::new(&[2]);
    host.tell_all([
        Event::Address(ipv4(2, "192.0.2.5/24")),
        Event::Address(Address { secondary: true, deprecated: true, ..ipv4(2, "192.0.2.6/24") }),
        Event::Route(kernel_prefix(2, "192.0.2.0/24")),
        Event::Route(route(2, "10.0.0.0/8", Some("192.0.2.9"))),
        Event::Route(KernelRoute {
            preferred_source: Some(ip("198.51.100.1")),
            ..route(2, "11.0.0.0/8", None)
        }),
    ]);
    let pvd = host.pvd("eth2/ipv4");
    assert_eq!(pvd.origin, Origin::Administrator);
    assert!(pvd.routes.iter().all(|route| route.route.origin == Origin::Administrator));
    let decided: Vec<bool> = pvd.routes.iter().map(|route| route.route.kernel_decides).collect();
    assert_eq!(decided, [false, true, false], "the source of one is elsewhere");
    let second = &pvd.sources[1];
    assert_eq!((second.secondary, second.state), (true, AddressState::Preferred), "RFC 6724 §3.2");
}

/// `ra` of an explicit PvD with the L flag or without.
fn named(name: &str, legacy: bool) -> RouterAdvertisement {
    let options = prefixes(&[pio("2001:db8::/64", 600, 300)]);
    let option = match pvd(name, None, options) {
        NdOption::Pvd(option) => NdOption::Pvd(PvdOption { legacy, ..option }),
        other => other,
    };
    ra(1800, vec![option])
}

/// PV-8801-3.4.2: the one PvD with the L flag has the lease, of two neither.
#[test]
fn the_l_flag_takes_the_lease() {
    let mut host = dual();
    host.tell(says(2, "fe80::2", named("a.example", false)));
    assert_eq!(host.sources("eth2/ipv4"), ["192.0.2.5"]);
    let changes = host.tell(says(2, "fe80::2", named("a.example", true)));
    assert!(changes.contains(&"PvD 1 eth2/ipv4 removed".to_owned()), "{changes:?}");
    assert_eq!(host.sources("a.example%eth2"), ["192.0.2.5"]);
    assert!(host.routes("a.example%eth2").contains(&"0.0.0.0/0 via 192.0.2.1".to_owned()));
    host.tell(says(2, "fe80::3", named("b.example", true)));
    assert_eq!(host.sources("a.example%eth2"), Vec::<String>::new());
    assert_eq!(host.sources("eth2/ipv4"), ["192.0.2.5"]);
    host.tell(says(2, "fe80::3", named("b.example", false)));
    assert_eq!(host.sources("a.example%eth2"), ["192.0.2.5"]);
    // Its end gives the lease back.
    host.wait(1800);
    assert_eq!(host.sources("eth2/ipv4"), ["192.0.2.5"]);
    assert!(!host.set.links[&2].pvds.contains_key(&explicit(2, "a.example")));
}

#[test]
fn the_administrator_merges() {
    let mut host = Host::new(&[]);
    host.set.merge_ipv4(["eth2".to_owned()]);
    host.tell_all([
        Event::Link(link(2)),
        Event::Link(link(3)),
        Event::Address(leased(2, "192.0.2.5/24")),
        Event::Address(leased(3, "198.51.100.5/24")),
    ]);
    assert_eq!(host.ids(), ["eth2/ipv4", "eth3/ipv4"], "nothing to merge with");
    for (router, ids, sources) in [
        ("fe80::1", &["eth2/fe80::1", "eth3/ipv4"][..], Some("eth2/fe80::1")),
        // Two of them: nobody said which.
        ("fe80::2", &["eth2/fe80::1", "eth2/fe80::2", "eth2/ipv4", "eth3/ipv4"], Some("eth2/ipv4")),
    ] {
        host.tell(says(2, router, ra(1800, vec![])));
        assert_eq!(host.ids(), ids);
        if let Some(home) = sources {
            assert_eq!(host.sources(home), ["192.0.2.5"]);
        }
    }
}

/// A router cannot announce IPv4 by the form that it has here.
#[test]
fn routers_have_no_word_in_it() {
    use crate::pvd::testing::rio;
    let mut host = Host::new(&[2]);
    let mut options = prefixes(&[pio("192.0.2.0/24", 600, 300)]);
    options.push(rio("0.0.0.0/0", crate::wire::RouterPreference::High, 600));
    host.tell_all([Event::Address(ipv4(2, "192.0.2.5/24")), says(2, "fe80::1", ra(1800, options))]);
    assert_eq!(host.routes("eth2/fe80::1"), ["::/0 via fe80::1"]);
    assert_eq!(host.sources("eth2/fe80::1"), Vec::<String>::new());
    assert_eq!(host.pvd("eth2/fe80::1").prefixes, []);
    assert_eq!(host.sources("eth2/ipv4"), ["192.0.2.5"]);
}
