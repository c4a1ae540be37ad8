//! Advertisements in, facts out.

use super::*;
use crate::{
    pvd::SaidBy,
    pvd::event::{Event, Link},
    pvd::testing::{Host, header, ip, link, name, net, pio, prefixes, pvd, ra, rio, route_text, says, until},
    wire::{DnsSearchList, EncryptedDns, Pref64, RecursiveDnsServers},
};

const R: &str = "fe80::1";
const ID: &str = "eth2/fe80::1";

fn dns(servers: &[&str], lifetime: u32) -> NdOption {
    let servers = servers.iter().map(|server| ip(server)).collect();
    NdOption::RecursiveDnsServers(RecursiveDnsServers { lifetime, servers })
}

/// Routes as text, each with the second at which it ends.
fn routes(host: &Host, id: &str) -> Vec<(String, Deadline)> {
    let ids = host.ids();
    if !ids.iter().any(|known| known == id) {
        return Vec::new();
    }
    let routes = host.pvd(id).routes;
    routes.iter().map(|route| (route_text(&route.route), route.route.valid_until)).collect()
}

#[test]
fn routes_of_one_router() {
    use RouterPreference::{High, Low, Medium};
    let preferred =
        |lifetime, preference, options| RouterAdvertisement { header: header(lifetime, preference), options };
    let pio_of = |on_link, valid| {
        let option = PrefixInformation { on_link, ..pio("2001:db8::/64", valid, 0) };
        NdOption::PrefixInformation(option)
    };
    type Row = (&'static str, Vec<(u64, RouterAdvertisement)>, u64, Vec<(&'static str, u64)>);
    let via = "::/0 via fe80::1";
    let corporate = "2001:db8:1::/48 via fe80::1";
    let on_link = "2001:db8::/64 on-link";
    let unknown = |kind| NdOption::Unknown { kind, data: vec![0; 6] };
    let behind = rio("2001:db8:1::/48", Medium, 60);
    let table: Vec<Row> = vec![
        ("RA-4861-6.3.4-a", vec![(0, ra(1800, vec![]))], 0, vec![(via, 1800)]),
        ("RA-4861-6.3.4-b", vec![(0, ra(1800, vec![])), (10, ra(600, vec![]))], 10, vec![(via, 610)]),
        ("RA-4861-6.3.4-c", vec![(0, ra(1800, vec![])), (10, ra(0, vec![]))], 10, vec![]),
        ("RA-4861-6.3.5-a", vec![(0, ra(1800, vec![]))], 1800, vec![]),
        ("RA-8319-4-a", vec![(0, ra(65_535, vec![]))], 0, vec![(via, 65_535)]),
        ("RT-4191-2.2-a", vec![(0, ra(1800, vec![])), (1, preferred(0, High, vec![]))], 1, vec![]),
        (
            "RT-4191-2.3-e",
            vec![
                (0, ra(0, vec![rio("2001:db8:1::/48", High, 600)])),
                (1, ra(0, vec![rio("2001:db8:1::/48", High, 0)])),
            ],
            1,
            vec![],
        ),
        (
            "RT-4191-3.1-a",
            vec![(0, preferred(100, Medium, vec![rio("::/0", Low, 200)]))],
            0,
            vec![(via, 200)],
        ),
        ("RT-4191-3.1-b", vec![(0, ra(0, vec![rio("::/0", Low, 200)]))], 0, vec![(via, 200)]),
        ("RIO ::/0 withdraws", vec![(0, ra(1800, vec![rio("::/0", Low, 0)]))], 0, vec![]),
        (
            "the later RIO counts",
            vec![(0, ra(0, vec![rio("2001:db8:1::/48", Low, 5), rio("2001:db8:1::/48", High, 60)]))],
            0,
            vec![(corporate, 60)],
        ),
        (
            "RA-4861-9-b for routes",
            vec![(0, ra(0, vec![rio("2001:db8:1::/48", High, 600)])), (5, ra(60, vec![]))],
            5,
            vec![(via, 65), (corporate, 600)],
        ),
        (
            "RA-4861-6.3.4-l",
            vec![(0, ra(0, vec![pio_of(true, 600)])), (1, ra(0, vec![pio_of(false, 60)]))],
            1,
            vec![(on_link, 600)],
        ),
        (
            "RA-4861-6.3.4-m",
            vec![(0, ra(0, vec![pio_of(true, 86_400)])), (1, ra(0, vec![pio_of(true, 0)]))],
            1,
            vec![],
        ),
        ("RA-4861-6.3.4-n", vec![(0, ra(0, prefixes(&[pio("fe80::/64", 600, 600)])))], 0, vec![]),
        (
            "SL-4862-5.5.3-c: on-link, whether or not it fits the interface IDs",
            vec![(0, ra(0, prefixes(&[pio("2001:db8:1::/48", 600, 600)])))],
            0,
            vec![("2001:db8:1::/48 on-link", 600)],
        ),
        (
            "RA-4861-6.1.2-h, RA-4861-6.1.2-i",
            vec![(0, ra(0, vec![pio_of(true, 600), unknown(250), unknown(2), unknown(4), behind]))],
            0,
            vec![(corporate, 60), (on_link, 600)],
        ),
    ];
    for (id, advertisements, then, expected) in table {
        let mut host = Host::new(&[2]);
        for (seconds, advertisement) in advertisements {
            host.wait(seconds);
            host.tell(says(2, R, advertisement));
        }
        host.wait(then);
        let expected: Vec<_> =
            expected.into_iter().map(|(text, end)| (text.to_owned(), until(end))).collect();
        assert_eq!(routes(&host, ID), expected, "{id}");
    }
}

#[test]
fn preferences_of_routes() {
    use RouterPreference::{High, Low, Medium};
    for (header_preference, options, expected) in [
        (High, vec![], High),
        (Medium, vec![rio("::/0", Low, 200)], Low),
        (High, vec![rio("2001:db8::/32", Low, 200)], High),
    ] {
        let mut host = Host::new(&[2]);
        host.tell(says(2, R, RouterAdvertisement { header: header(100, header_preference), options }));
        assert_eq!(host.pvd(ID).routes[0].route.preference, expected);
    }
}

/// RA-4861-6.3.4-p: bits past the length do not make another prefix.
#[test]
fn host_bits_are_masked() {
    let mut host = Host::new(&[2]);
    let sloppy = PrefixInformation { prefix: net("2001:db8::1/64"), ..pio("2001:db8::/64", 600, 600) };
    host.tell(says(2, R, ra(0, prefixes(&[sloppy, pio("2001:db8::/64", 600, 60)]))));
    assert_eq!(
        host.pvd(ID).prefixes.iter().map(|known| known.prefix).collect::<Vec<_>>(),
        [net("2001:db8::/64")]
    );
}

#[test]
fn mtu() {
    for (id, options, expected) in [
        ("RA-4861-6.3.4-i too small", vec![1279], None),
        ("RA-4861-6.3.4-i too large", vec![1501], None),
        ("RA-4861-6.3.4-i", vec![1280], Some(1280)),
        ("as the link's", vec![1500], Some(1500)),
        ("a bad one changes nothing", vec![1400, 1], Some(1400)),
    ] {
        let mut host = Host::new(&[2]);
        host.tell(says(2, R, ra(600, options.into_iter().map(NdOption::Mtu).collect())));
        assert_eq!(host.pvd(ID).mtu(), expected.map(|mtu| (mtu, ip(R))), "{id}");
    }
}

/// DN-8106-5.1-c, DN-8106-6.1-a, RA-4861-4.2-b, RA-4861-9-b, P6-8781-4-c, DR-9463-6.1-c.
#[test]
fn resolution() {
    let encrypted = |priority, lifetime| {
        NdOption::EncryptedDns(EncryptedDns {
            service_priority: priority,
            lifetime,
            authentication_domain_name: name("dns.example"),
            endpoint: None,
        })
    };
    let search =
        |suffix, lifetime| NdOption::DnsSearchList(DnsSearchList { lifetime, suffixes: vec![name(suffix)] });
    let pref64 = |lifetime| NdOption::Pref64(Pref64 { prefix: net("64:ff9b::/96"), lifetime });
    type Row = (&'static str, Vec<(u64, RouterAdvertisement)>, u64, [usize; 4]);
    let all = || {
        let servers = dns(&["2001:db8::53", "fe80::53"], 600);
        vec![servers, search("a.example", 700), pref64(800), encrypted(2, 900), encrypted(1, 900)]
    };
    let table: Vec<Row> = vec![
        ("RA-4861-4.2-b", vec![(0, ra(0, all()))], 0, [2, 1, 1, 2]),
        ("DN-8106-6.1-a", vec![(0, ra(100, all()))], 100, [2, 1, 1, 2]),
        ("RA-4861-9-b", vec![(0, ra(0, all())), (1, ra(1800, vec![]))], 1, [2, 1, 1, 2]),
        ("DN-8106-5.1-c", vec![(0, ra(0, all())), (1, ra(0, vec![dns(&["fe80::53"], 0)]))], 1, [1, 1, 1, 2]),
        (
            "DNSSL lifetime 0",
            vec![(0, ra(0, all())), (1, ra(0, vec![search("A.example", 0)]))],
            1,
            [2, 0, 1, 2],
        ),
        ("P6-8781-4-c", vec![(0, ra(0, all())), (1, ra(0, vec![pref64(0)]))], 1, [2, 1, 0, 2]),
        ("DR-9463-6.1-c", vec![(0, ra(0, all())), (1, ra(0, vec![encrypted(1, 0)]))], 1, [2, 1, 1, 1]),
        ("each its own end", vec![(0, ra(0, all()))], 700, [0, 0, 1, 2]),
    ];
    for (id, advertisements, then, expected) in table {
        let mut host = Host::new(&[2]);
        for (seconds, advertisement) in advertisements {
            host.wait(seconds);
            host.tell(says(2, R, advertisement));
        }
        host.wait(then);
        let pvd = host.pvd(ID);
        let got = [pvd.dns_servers.len(), pvd.search_list.len(), pvd.pref64.len(), pvd.encrypted_dns.len()];
        assert_eq!(got, expected, "{id}");
        assert!(pvd.encrypted_dns.is_sorted_by_key(|fact| fact.value.service_priority), "DR-9463-3.1.7-a");
    }
}

/// CP-8910-2.3-a, and: the last thing that holds takes the PvD, and what has no lifetime, along.
#[test]
fn portal_lives_as_long_as_its_router() {
    let mut host = Host::new(&[2]);
    let portal = NdOption::CaptivePortal("https://cap.example/api".into());
    assert_eq!(host.tell(says(2, R, ra(0, vec![portal.clone()]))), [""; 0], "nothing of it would ever end");
    host.tell(says(2, R, ra(60, vec![portal])));
    assert_eq!(host.pvd(ID).captive_portal(), Some(("https://cap.example/api", SaidBy::Router(ip(R)))));
    assert_eq!(host.wait(60), ["PvD 1 eth2/fe80::1 removed"]);
    assert_eq!(host.set.next_deadline(), None);
}

#[test]
fn changes_say_what() {
    let mut host = Host::new(&[2]);
    let one = || prefixes(&[pio("2001:db8::/64", 600, 600)]);
    let deprecated = prefixes(&[pio("2001:db8::/64", 600, 0)]);
    let managed = RouterAdvertisement {
        header: RaHeader { managed: true, ..header(1800, RouterPreference::Medium) },
        options: vec![],
    };
    for (seconds, advertisement, expected) in [
        (0, ra(1800, one()), "PvD 1 eth2/fe80::1 added"),
        (0, ra(1800, one()), ""),
        (1, ra(1800, one()), "PvD 1 eth2/fe80::1 changed: lifetimes"),
        (1, ra(1800, deprecated), "PvD 1 eth2/fe80::1 changed: prefixes"),
        (1, managed, "PvD 1 eth2/fe80::1 changed: flags"),
        (1, ra(1800, vec![dns(&["fe80::53"], 60)]), "PvD 1 eth2/fe80::1 changed: flags dns-servers"),
        (1, ra(0, vec![]), "PvD 1 eth2/fe80::1 changed: routers routes lifetimes"),
    ] {
        host.wait(seconds);
        assert_eq!(host.tell(says(2, R, advertisement)).join("; "), expected);
    }
}

#[test]
fn pvd_options() {
    let outer = || prefixes(&[pio("2001:db8:cafe::/64", 6000, 6000)]);
    let nested = || prefixes(&[pio("2001:db8:f00d::/64", 6000, 6000)]);
    let inner = |lifetime| Some(header(lifetime, RouterPreference::Medium));
    let with = |lifetime, mut options: Vec<NdOption>, option| {
        options.push(option);
        ra(lifetime, options)
    };
    type Row =
        (&'static str, Vec<(&'static str, RouterAdvertisement)>, Vec<(&'static str, Vec<&'static str>)>);
    let (cafe, f00d) = ("2001:db8:cafe::/64 on-link", "2001:db8:f00d::/64 on-link");
    let (via, via2) = ("::/0 via fe80::1", "::/0 via fe80::2");
    let table: Vec<Row> = vec![
        ("PV-8801-3.4-f", vec![(R, ra(6000, outer()))], vec![(ID, vec![cafe, via])]),
        (
            "PV-8801-3.4-e, RFC 8801 §5.1",
            vec![(R, with(6000, outer(), pvd("Example.org", None, nested())))],
            vec![("example.org%eth2", vec![cafe, f00d, via])],
        ),
        (
            "PV-8801-3.4-a",
            vec![(R, ra(60, vec![pvd("a.example", None, vec![]), pvd("b.example", None, nested())]))],
            vec![("a.example%eth2", vec![via])],
        ),
        (
            "PV-8801-3.4-b",
            vec![(R, with(0, vec![], pvd("a.example", inner(1600), vec![])))],
            vec![("a.example%eth2", vec![via])],
        ),
        (
            "PV-8801-3.4-c",
            vec![(R, with(6000, outer(), pvd("a.example", inner(0), vec![])))],
            vec![("a.example%eth2", vec![cafe])],
        ),
        (
            "RFC 8801 §5.2",
            vec![
                (R, with(6000, outer(), pvd("foo.example.org", inner(0), vec![]))),
                ("fe80::2", ra(0, vec![pvd("bar.example.org", inner(1600), nested())])),
            ],
            vec![("bar.example.org%eth2", vec![f00d, via2]), ("foo.example.org%eth2", vec![cafe])],
        ),
        (
            "PV-8801-3.4-g, one PvD of two routers",
            vec![
                (R, with(60, outer(), pvd("EXAMPLE.org", None, vec![]))),
                ("fe80::2", with(60, outer(), pvd("example.ORG", None, vec![]))),
            ],
            vec![("example.org%eth2", vec![cafe, via, via2])],
        ),
        (
            "PV-8801-3.2-a",
            vec![
                (R, ra(60, vec![])),
                (R, ra(60, vec![pvd("a.example", None, vec![])])),
                (R, ra(60, vec![pvd("b.example", None, vec![])])),
            ],
            vec![("a.example%eth2", vec![via]), ("b.example%eth2", vec![via]), (ID, vec![via])],
        ),
        (
            "PV-8801-3.2-b",
            vec![
                (R, ra(60, vec![pvd("a.example", None, nested())])),
                (R, ra(60, vec![pvd("a.example", None, vec![])])),
            ],
            vec![("a.example%eth2", vec![f00d, via])],
        ),
        (
            "PV-8801-3.4-h",
            vec![
                (R, ra(60, vec![pvd("a.example", None, outer())])),
                (R, ra(60, vec![pvd("b.example", None, outer())])),
            ],
            vec![("a.example%eth2", vec![via]), ("b.example%eth2", vec![cafe, via])],
        ),
    ];
    for (id, advertisements, expected) in table {
        let mut host = Host::new(&[2]);
        for (router, advertisement) in advertisements {
            host.tell(says(2, router, advertisement));
        }
        let got: Vec<_> = host.ids().into_iter().map(|id| (id.clone(), host.routes(&id))).collect();
        let expected: Vec<_> = expected
            .into_iter()
            .map(|(id, routes)| (id.to_owned(), routes.into_iter().map(str::to_owned).collect::<Vec<_>>()))
            .collect();
        assert_eq!(got, expected, "{id}");
    }
}

/// PV-8801-3.4-b, PV-8801-3.4-c: in a named PvD the default route lasts as long as the header inside the option says.
#[test]
fn header_inside_pvd_option() {
    for (outer, inner, expected) in [
        (0, Some(1600), Some(1600)),
        (6000, Some(600), Some(600)),
        (6000, None, Some(6000)),
        (6000, Some(0), None),
    ] {
        let mut host = Host::new(&[2]);
        let inner_header = inner.map(|lifetime| header(lifetime, RouterPreference::Medium));
        host.tell(says(2, R, ra(outer, vec![pvd("a.example", inner_header, vec![])])));
        let expected: Vec<_> =
            expected.map(|end| ("::/0 via fe80::1".to_owned(), until(end))).into_iter().collect();
        assert_eq!(routes(&host, "a.example%eth2"), expected, "{outer} {inner:?}");
        assert_eq!(routes(&host, ID), [], "{outer} {inner:?}");
    }
}

/// PV-8801-3.1-a: the option's own words are kept for each router.
#[test]
fn pvd_flags() {
    let mut host = Host::new(&[2]);
    for (router, sequence) in [(R, 123), ("fe80::2", 7)] {
        let option = PvdOption {
            id: name("example.org"),
            http: true,
            legacy: true,
            delay: 1,
            sequence,
            header: None,
            options: vec![],
        };
        host.tell(says(2, router, ra(60, vec![NdOption::Pvd(option)])));
    }
    let flags: Vec<_> = host.pvd("example.org%eth2").routers.iter().map(|router| router.said.pvd).collect();
    let said = |sequence| Some(PvdFlags { http: true, legacy: true, delay: 1, sequence });
    assert_eq!(flags, [said(123), said(7)]);
}

/// A prefix that moves takes its lifetime along: the two-hour rule protects the address, not the PvD.
#[test]
fn moved_prefix_keeps_its_lifetime() {
    let mut host = Host::new(&[2]);
    host.tell(says(2, R, ra(60, prefixes(&[pio("2001:db8::/64", 86_400, 86_400)]))));
    host.tell(says(2, R, ra(60, vec![pvd("b.example", None, prefixes(&[pio("2001:db8::/64", 0, 0)]))])));
    assert_eq!(host.pvd(ID).prefixes, []);
    assert_eq!(host.pvd("b.example%eth2").prefixes[0].meaning.valid_until, until(7200));
}

#[test]
fn caps_of_one_pvd() {
    let many =
        |count: u128| (0..count).map(|number| Ipv6Addr::from_bits((0x2001_0db8 << 96) | (number << 64)));
    let count = 10_000;
    let options = |make: fn(Ipv6Addr) -> NdOption| many(count).map(make).collect::<Vec<_>>();
    let pios = options(|address| {
        let prefix = Ipv6Net::new(address, 64).expect("64 is a length");
        NdOption::PrefixInformation(PrefixInformation { prefix, ..pio("::/64", 600, 600) })
    });
    let rios = options(|address| rio(&format!("{address}/64"), RouterPreference::Low, 600));
    let servers = options(|address| dns(&[&address.to_string()], 600));
    for (what, options, room, reason) in [
        ("prefixes", pios, PREFIXES_PER_PVD, RefusedReason::Prefixes),
        // The default route of the header takes one place and asks for none.
        ("routes", rios, ROUTES_PER_PVD - 1, RefusedReason::Routes),
        ("servers", servers, DNS_SERVERS_PER_PVD, RefusedReason::DnsServers),
    ] {
        let mut host = Host::new(&[2]);
        host.tell(says(2, R, ra(1800, options)));
        let pvd = host.pvd(ID);
        let kept = match reason {
            RefusedReason::Prefixes => pvd.prefixes.len(),
            RefusedReason::Routes => pvd.routes.len() - 1,
            _ => pvd.dns_servers.len(),
        };
        assert_eq!(kept, room, "{what}");
        assert_eq!(host.set.refused().of(reason), count as u64 - room as u64, "{what}");
        assert_eq!(host.routes(ID).iter().filter(|route| *route == "::/0 via fe80::1").count(), 1);
    }
}

/// A default route is one a router and finds a place where routes for more do not.
#[test]
fn default_route_has_a_place() {
    let mut host = Host::new(&[2]);
    let rios = (0..=ROUTES_PER_PVD)
        .map(|number| rio(&format!("2001:db8:{number:x}::/48"), RouterPreference::Low, 60));
    host.tell(says(2, R, ra(0, rios.collect())));
    assert_eq!((host.routes(ID).len(), host.set.refused().of(RefusedReason::Routes)), (ROUTES_PER_PVD, 1));
    host.tell(says(2, R, ra(60, vec![])));
    assert!(host.routes(ID).contains(&"::/0 via fe80::1".to_owned()));
}

#[test]
fn bad_arrivals() {
    let mut host = Host::new(&[2]);
    host.tell(Event::Link(Link { up: false, ..link(3) }));
    let good = || ra(1800, prefixes(&[pio("2001:db8::/64", 600, 600)]));
    for (ifindex, router, reason) in [
        (2, "2001:db8::1", Some(RefusedReason::RouterNotLinkLocal)),
        (3, R, Some(RefusedReason::LinkDown)),
        (1, R, None),
    ] {
        assert!(host.tell(says(ifindex, router, good())).is_empty(), "{ifindex} {router}");
        assert!(reason.is_none_or(|reason| host.set.refused().of(reason) == 1), "{reason:?}");
    }
    assert!(host.ids().is_empty());
}

#[test]
fn a_prefix_preferred_for_longer_than_it_is_valid_is_counted() {
    for (autonomous, valid, preferred, counted) in
        [(true, 60, 61, 1), (true, 60, 60, 0), (true, 0, u32::MAX, 1), (false, 60, 61, 0)]
    {
        let mut host = Host::new(&[2]);
        let mut option = pio("2001:db8:1::/64", valid, preferred);
        option.autonomous = autonomous;
        host.tell(says(2, "fe80::1", ra(1800, prefixes(&[option]))));
        let found = host.set.refused().of(RefusedReason::PreferredOverValid);
        assert_eq!(found, counted, "{autonomous} {valid} {preferred}");
    }
}
