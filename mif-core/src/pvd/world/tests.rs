//! Routers and the kernel speak; what does selection see?

use crate::{
    pvd::{
        event::{Address, Event, KernelRoute},
        testing::{
            Host, STATIC, address, header, ip, kernel_prefix, learnt, permanent, pio, prefixes, pvd, ra,
            route, says, until,
        },
    },
    select::world::AddressState,
    time::Deadline,
    wire::{NdOption, PrefixInformation, RouterAdvertisement, RouterPreference},
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

/// What happens, then what each PvD has.
type Row = (&'static str, Vec<Event>, Vec<(&'static str, Vec<&'static str>)>);

/// SL-4862-5.5.3-j, SL-4862-5.5.4-a, RT-8475-3-a, SS C05: the state of an address, before the kernel has followed.
#[test]
fn states() {
    use AddressState::{Deprecated, Preferred, Tentative};
    let base = || address(2, "2001:db8::5");
    type Row = (&'static str, Address, Vec<RouterAdvertisement>, Option<AddressState>);
    let table: Vec<Row> = vec![
        ("as it is", base(), vec![usual()], Some(Preferred)),
        ("preferred 0", base(), vec![usual(), announce(1800, RouterPreference::Medium, 0)], Some(Deprecated)),
        ("and back", base(), vec![announce(1800, RouterPreference::Medium, 0), usual()], Some(Preferred)),
        (
            "valid 0: the two-hour rule keeps it",
            base(),
            vec![usual(), ra(1800, prefixes(&[pio(PREFIX, 0, 0)]))],
            Some(Deprecated),
        ),
        (
            "DHCPv6 has its own lifetimes",
            Address { prefix_len: 128, ..base() },
            vec![announce(1800, RouterPreference::Medium, 0)],
            Some(Preferred),
        ),
        (
            "set by hand",
            permanent(2, "2001:db8::5"),
            vec![announce(1800, RouterPreference::Medium, 0)],
            Some(Preferred),
        ),
        ("the kernel's flag", Address { deprecated: true, ..base() }, vec![usual()], Some(Deprecated)),
        (
            "the kernel's lifetime",
            Address { preferred_until: until(0), ..base() },
            vec![usual()],
            Some(Deprecated),
        ),
        ("optimistic", Address { optimistic: true, ..base() }, vec![usual()], Some(Deprecated)),
        ("tentative", Address { tentative: true, ..base() }, vec![usual()], Some(Tentative)),
        ("duplicate", Address { dad_failed: true, ..base() }, vec![usual()], Some(Tentative)),
        ("SL-4862-5.5.4-b", Address { valid_until: until(0), ..base() }, vec![usual()], None),
    ];
    for (id, address, advertisements, state) in table {
        let mut host = Host::new(&[2]);
        host.tell(Event::Address(address));
        host.tell_all(advertisements.into_iter().map(|advertisement| says(2, A, advertisement)));
        assert_eq!(host.pvd("eth2/fe80::a").sources.first().map(|source| source.state), state, "{id}");
    }
}

#[test]
fn prefix_lengths() {
    let dhcp = || Address { prefix_len: 128, ..address(2, "2001:db8::5") };
    type Row = (&'static str, Address, Vec<Event>, u8);
    let table: Vec<Row> = vec![
        (
            "the announced prefix",
            dhcp(),
            vec![says(2, A, ra(60, prefixes(&[pio("2001:db8::/56", 60, 60)])))],
            56,
        ),
        ("the kernel's", Address { prefix_len: 48, ..dhcp() }, vec![], 48),
        (
            "the on-link prefix around a /128",
            dhcp(),
            vec![Event::Route(kernel_prefix(2, "2001:db8::/60"))],
            60,
        ),
        ("its own /128 route is none", dhcp(), vec![Event::Route(kernel_prefix(2, "2001:db8::5/128"))], 64),
        ("nothing known", dhcp(), vec![], 64),
    ];
    for (id, address, events, length) in table {
        let mut host = Host::new(&[2]);
        host.tell(Event::Address(address));
        host.tell_all(events);
        assert_eq!(host.world().pvds[0].sources[0].prefix_len, length, "{id}");
    }
}

/// RT-8028-2.1-a: a prefix with neither flag still says which router carries it.
#[test]
fn advertisers() {
    let mut host = Host::new(&[2]);
    host.tell(Event::Address(address(2, "2001:db8::5")));
    let quiet = PrefixInformation { on_link: false, autonomous: false, ..pio(PREFIX, 600, 600) };
    for router in [B, A] {
        host.tell(says(2, router, ra(60, vec![pvd("a.example", None, prefixes(&[quiet]))])));
    }
    assert_eq!(host.world().pvds[0].sources[0].advertisers, [ip(A), ip(B)]);
    assert_eq!(host.routes("a.example%eth2"), ["::/0 via fe80::a", "::/0 via fe80::b"]);
}

#[test]
fn routes() {
    let bridge = || Event::Address(permanent(2, "fd00::1"));
    let on_link = || Event::Route(kernel_prefix(2, "fd00::/64"));
    let refusing = |ifindex| KernelRoute { refuses: true, ..route(ifindex, "2001:db8:bad::/48", None) };
    let slaac = || Event::Address(address(2, "2001:db8::5"));
    let kernels = || Event::Route(kernel_prefix(2, PREFIX));
    let with_metric = |metric| Event::Route(KernelRoute { metric, ..route(2, "::/0", Some(A)) });
    let table: Vec<Row> = vec![
        ("a bridge", vec![on_link(), bridge()], vec![("eth2", vec!["fd00::/64 on-link"])]),
        ("an on-link prefix alone makes no PvD", vec![on_link()], vec![]),
        (
            "the far end of a point-to-point link",
            vec![
                Event::Address(Address { prefix_len: 128, permanent: true, ..address(2, "2001:db8:5::1") }),
                Event::Route(kernel_prefix(2, "2001:db8:5::2/128")),
            ],
            vec![("eth2", vec!["2001:db8:5::2/128 on-link"])],
        ),
        (
            "a tunnel with a static route",
            vec![bridge(), Event::Route(route(2, "2001:db8:c::/48", None))],
            vec![("eth2", vec!["2001:db8:c::/48 on-link"])],
        ),
        (
            "a route over an interface without an address",
            vec![Event::Route(route(3, "2001:db8:c::/48", Some(A)))],
            vec![("eth3", vec!["2001:db8:c::/48 via fe80::a"])],
        ),
        ("blackhole", vec![Event::Route(refusing(1))], vec![("lo", vec!["2001:db8:bad::/48 on-link"])]),
        (
            "blackhole without an interface",
            vec![Event::Route(refusing(0))],
            vec![("#0", vec!["2001:db8:bad::/48 on-link"])],
        ),
        (
            "an RA's default route installed as static (NetworkManager)",
            vec![Event::Route(route(2, "::/0", Some(A))), slaac(), says(2, A, usual())],
            vec![("eth2/fe80::a", vec!["2001:db8::/64 on-link", "::/0 via fe80::a"])],
        ),
        (
            "a metric for the kernel's default route, before the router has spoken to us",
            vec![slaac(), with_metric(50), Event::Route(learnt(2, "::/0", Some(A)))],
            vec![("eth2/fe80::a", vec!["::/0 via fe80::a"])],
        ),
        (
            "the other way round",
            vec![Event::Route(learnt(2, "::/0", Some(A))), with_metric(50), slaac()],
            vec![("eth2/fe80::a", vec!["::/0 via fe80::a"])],
        ),
        (
            "a source of its own for everything stays the administrator's word",
            vec![
                slaac(),
                says(2, A, usual()),
                Event::Route(KernelRoute {
                    preferred_source: Some(ip("2001:db8::99")),
                    ..route(2, "::/0", Some(A))
                }),
            ],
            vec![
                ("eth2", vec!["::/0 via fe80::a"]),
                ("eth2/fe80::a", vec!["2001:db8::/64 on-link", "::/0 via fe80::a"]),
            ],
        ),
        (
            "the kernel's default route goes, the administrator's stays",
            vec![
                Event::Route(learnt(2, "::/0", Some(A))),
                with_metric(50),
                Event::RouteGone(learnt(2, "::/0", Some(A))),
            ],
            vec![("eth2", vec!["::/0 via fe80::a"])],
        ),
        (
            "a static default route with a source of its own",
            vec![
                Event::Route(KernelRoute {
                    preferred_source: Some(ip("2001:db8::99")),
                    metric: 50,
                    ..route(2, "::/0", Some(A))
                }),
                slaac(),
                Event::Address(permanent(2, "2001:db8::99")),
                says(2, A, usual()),
            ],
            vec![
                ("eth2", vec!["::/0 via fe80::a"]),
                ("eth2/fe80::a", vec!["2001:db8::/64 on-link", "::/0 via fe80::a"]),
            ],
        ),
        (
            "a static default route by way of another router",
            vec![Event::Route(route(2, "::/0", Some(B))), slaac(), says(2, A, usual())],
            vec![
                ("eth2", vec!["::/0 via fe80::b"]),
                ("eth2/fe80::a", vec!["2001:db8::/64 on-link", "::/0 via fe80::a"]),
            ],
        ),
        (
            "the kernel's prefix route adds nothing",
            vec![kernels(), slaac(), says(2, A, usual())],
            vec![("eth2/fe80::a", vec!["2001:db8::/64 on-link", "::/0 via fe80::a"])],
        ),
        (
            "withdrawn: on-link no more, although the kernel has not followed",
            vec![kernels(), slaac(), says(2, A, usual()), says(2, A, ra(0, prefixes(&[pio(PREFIX, 0, 0)])))],
            vec![("eth2/fe80::a", vec![])],
        ),
        (
            "unless the administrator set an address of the prefix",
            vec![
                kernels(),
                Event::Address(permanent(2, "2001:db8::1")),
                says(2, A, usual()),
                says(2, A, ra(0, prefixes(&[pio(PREFIX, 0, 0)]))),
            ],
            vec![("eth2/fe80::a", vec!["2001:db8::/64 on-link"])],
        ),
        (
            "networkd's prefix route is an on-link prefix",
            vec![Event::Route(learnt(2, "fd00::/64", None)), bridge()],
            vec![("eth2", vec!["fd00::/64 on-link"])],
        ),
    ];
    for (id, events, expected) in table {
        let mut host = Host::new(&[2, 3]);
        host.tell_all(events);
        let got: Vec<_> = host.ids().into_iter().map(|id| (id.clone(), host.routes(&id))).collect();
        let own = |routes: Vec<&str>| routes.into_iter().map(str::to_owned).collect::<Vec<_>>();
        let expected: Vec<_> =
            expected.into_iter().map(|(id, routes)| (id.to_owned(), own(routes))).collect();
        assert_eq!(got, expected, "{id}");
    }
}

#[test]
fn kernel_decides() {
    let with_source =
        |source| KernelRoute { preferred_source: Some(ip(source)), ..route(2, "2001:db8:c::/48", Some(A)) };
    for (id, route, decides) in [
        ("plain", route(2, "2001:db8:c::/48", Some(A)), false),
        ("src of the interface", with_source("fd00::1"), false),
        ("src of another", with_source("2001:db8::53"), true),
        ("unreachable", KernelRoute { refuses: true, ..route(2, "2001:db8:c::/48", None) }, true),
        ("to loopback", route(1, "2001:db8:c::/48", None), true),
    ] {
        let mut host = Host::new(&[2]);
        host.tell_all([Event::Address(permanent(2, "fd00::1")), Event::Route(route)]);
        let routes: Vec<_> = host.world().pvds.into_iter().flat_map(|pvd| pvd.routes).collect();
        assert_eq!(routes.iter().map(|route| route.kernel_decides).collect::<Vec<_>>(), [decides], "{id}");
    }
}

/// The owner of the kernel's routes orders the uplinks by their metrics; the configuration outranks it.
#[test]
fn metrics() {
    let default = |gateway, metric, protocol| {
        Event::Route(KernelRoute { metric, protocol, ..route(2, "::/0", Some(gateway)) })
    };
    let ra_protocol = learnt(2, "::/0", None).protocol;
    for (id, routes, configured, metric) in [
        ("nobody said", vec![], None, 1024),
        ("the kernel's own route", vec![default(A, 512, ra_protocol)], None, 512),
        ("NetworkManager's static one", vec![default(A, 100, STATIC)], None, 100),
        ("of another router there", vec![default(B, 600, STATIC)], None, 600),
        ("of this router first", vec![default(B, 50, STATIC), default(A, 600, STATIC)], None, 600),
        ("configured", vec![default(A, 100, STATIC)], Some(7), 7),
    ] {
        let mut host = Host::new(&[2]);
        host.preferences.metrics.extend(configured.map(|metric| ("eth2".to_owned(), metric)));
        host.tell_all(routes);
        host.tell(says(2, A, usual()));
        assert_eq!(metric_of_default(&host), Some(metric), "{id}");
    }
    // As long as only the kernel knows the router.
    let mut host = Host::new(&[2]);
    host.tell_all([default(A, 1024, ra_protocol), default(A, 50, STATIC)]);
    assert_eq!(metric_of_default(&host), Some(50));
}

fn metric_of_default(host: &Host) -> Option<u32> {
    let routes = host.pvd("eth2/fe80::a").routes;
    routes.iter().find(|route| route.route.prefix.prefix_len() == 0).map(|route| route.route.metric)
}

#[test]
fn world_has_no_link_that_is_down_and_every_address() {
    let mut host = Host::new(&[2, 3]);
    host.tell_all([
        Event::Address(permanent(1, "::1")),
        Event::Address(permanent(3, "fd00::1")),
        Event::Address(Address { tentative: true, ..address(2, "2001:db8::5") }),
        Event::Address(address(2, "fe80::5")),
        Event::Link(crate::pvd::event::Link { up: false, ..crate::pvd::testing::link(3) }),
        says(2, A, usual()),
    ]);
    let world = host.world();
    assert_eq!(world.pvds.iter().map(|pvd| pvd.ifindex).collect::<Vec<_>>(), [2]);
    assert_eq!(host.ids(), ["eth2/fe80::a", "eth3"], "known, but not used");
    assert_eq!(world.local_addresses, ["::1", "2001:db8::5", "fd00::1", "fe80::5"].map(ip));
    assert_eq!(world.pvds[0].valid_until, Deadline::NEVER);
}

/// The PvD option alone, without anything that holds, makes no PvD.
#[test]
fn nothing_said_is_no_pvd() {
    let mut host = Host::new(&[2]);
    let mut options = prefixes(&[pio(PREFIX, 0, 0)]);
    options.push(NdOption::Mtu(1400));
    options.push(pvd("a.example", None, vec![]));
    assert!(host.tell(says(2, A, ra(0, options))).is_empty());
    assert_eq!(host.set.next_deadline(), None);
}
