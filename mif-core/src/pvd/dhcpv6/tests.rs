//! What DHCPv6 gave, whose it is, and until when.

use super::super::{
    Event, PvdKey, RefusedReason, SaidBy,
    event::{Address, Link},
    limits::{DNS_SERVERS_PER_PVD, NTP_SERVERS_PER_PVD, POLICY_ROWS_PER_PVD},
    testing::{
        Host, address, at, ip, link, name, net, permanent, pio, prefixes, pvd, ra, route, says, until,
    },
};
use crate::{
    dhcpv6::{Configuration, HeldLease},
    select::{compile, world::Origin},
    time::{Deadline, INFINITE_LIFETIME},
    wire::{
        NdOption, RaHeader, RecursiveDnsServers, RouterAdvertisement, RouterPreference,
        dhcpv6::{
            AddressSelection, DhcpOption, EncryptedResolver, NextHop, NtpServer, PolicyRow, PvdContainer,
            PvdIdentity, RdnssSelection, RoutePrefix,
        },
    },
};

const A: &str = "fe80::a";
const B: &str = "fe80::b";
const SERVER: &str = "fe80::547";
const ADDRESS: &str = "2001:db8::5";
const LEASE: &str = "2001:db8::5/128";
const DELEGATED: &str = "2001:db8:d000::/56";

/// Which flags a header has.
#[derive(Clone, Copy, Debug)]
enum Asks {
    Not,
    ForOther,
    ForLeases,
}
use Asks::{ForLeases, ForOther, Not};

/// An advertisement with a default route, with a prefix or without.
fn advertises(asks: Asks, prefix: Option<&str>) -> RouterAdvertisement {
    let options = prefix.map(|prefix| prefixes(&[pio(prefix, 86_400, 86_400)])).unwrap_or_default();
    RouterAdvertisement { header: flags(asks), options }
}

fn flags(asks: Asks) -> RaHeader {
    let (managed, other_config) = match asks {
        Not => (false, false),
        ForOther => (false, true),
        ForLeases => (true, false),
    };
    RaHeader { managed, other_config, ..super::super::testing::header(9000, RouterPreference::Medium) }
}

/// The same for a named PvD, with the flags in the inner header.
fn names(id: &str, asks: Asks, prefix: Option<&str>) -> RouterAdvertisement {
    let options = advertises(asks, prefix).options;
    ra(9000, vec![pvd(id, Some(flags(asks)), options)])
}

fn dns(server: &str) -> DhcpOption {
    DhcpOption::DnsServers(vec![ip(server)])
}

/// A lease until then, preferred half as long.
fn lease(prefix: &str, seconds: u64) -> HeldLease {
    HeldLease { prefix: net(prefix), preferred_until: until(seconds / 2), valid_until: until(seconds) }
}

fn configuration(leases: &[HeldLease], options: Vec<DhcpOption>) -> Configuration {
    Configuration { leases: leases.to_vec(), options, received: Some(at(0)), ..Configuration::default() }
}

fn given(leases: &[HeldLease], options: Vec<DhcpOption>) -> Event {
    Event::Dhcpv6 { ifindex: 2, server: ip(SERVER), configuration: configuration(leases, options) }
}

/// Without leases, to be refreshed after so many seconds.
fn information(refresh: u64, options: Vec<DhcpOption>) -> Event {
    let configuration = Configuration { refresh_at: until(refresh), ..configuration(&[], options) };
    Event::Dhcpv6 { ifindex: 2, server: ip(SERVER), configuration }
}

const GONE: Event = Event::Dhcpv6Gone { ifindex: 2 };

/// The PvDs that have any DNS server.
fn resolving(host: &Host) -> Vec<String> {
    let all = host.snapshot().into_iter().filter(|pvd| !pvd.dns_servers.is_empty());
    let mut ids: Vec<_> = all.map(|pvd| pvd.id).collect();
    ids.sort_unstable();
    ids
}

/// The PvDs that have any lease.
fn leasing(host: &Host) -> Vec<String> {
    let mut ids: Vec<_> =
        host.snapshot().into_iter().filter(|pvd| !pvd.leases.is_empty()).map(|pvd| pvd.id).collect();
    ids.sort_unstable();
    ids
}

/// RFC 8801 §3.4.1: configuration is of the PvDs whose routers ask for it.
#[test]
fn whose_configuration_is() {
    let table: Vec<(&str, Vec<Event>, Vec<&str>)> = vec![
        ("PV-8801-3.4.1-a: O", vec![says(2, A, advertises(ForOther, None))], vec!["eth2/fe80::a"]),
        ("M implies O", vec![says(2, A, advertises(ForLeases, None))], vec!["eth2/fe80::a"]),
        (
            "not those that do not ask",
            vec![says(2, A, advertises(ForOther, None)), says(2, B, advertises(Not, None))],
            vec!["eth2/fe80::a"],
        ),
        (
            "all that ask, named or not",
            vec![
                says(2, A, advertises(ForOther, None)),
                says(2, B, names("b.example", ForOther, None)),
                says(2, B, names("c.example", Not, None)),
            ],
            vec!["b.example%eth2", "eth2/fe80::a"],
        ),
        (
            "the inner header counts",
            vec![
                says(2, A, {
                    let mut said = names("a.example", Not, None);
                    said.header.other_config = true;
                    said
                }),
                says(2, B, advertises(ForOther, None)),
            ],
            vec!["eth2/fe80::b"],
        ),
        (
            "nobody asks: the unnamed ones",
            vec![says(2, A, advertises(Not, None)), says(2, B, names("b.example", Not, None))],
            vec!["eth2/fe80::a"],
        ),
        ("no advertisement: the interface's own", vec![], vec!["eth2"]),
        (
            "only named ones that do not ask: the same",
            vec![says(2, B, names("b.example", Not, None))],
            vec!["eth2"],
        ),
        ("another link says nothing", vec![says(3, A, advertises(ForOther, None))], vec!["eth2"]),
    ];
    for (row, heard, expected) in table {
        for first in [true, false] {
            let mut host = Host::new(&[2, 3]);
            let reply = information(3600, vec![dns("2001:db8::53")]);
            if first {
                host.tell(reply.clone());
            }
            host.tell_all(heard.clone());
            if !first {
                host.tell(reply);
            }
            assert_eq!(resolving(&host), expected, "{row}, told first: {first}");
            host.tell(GONE);
            assert_eq!(resolving(&host), [""; 0], "{row}");
        }
    }
}

/// RFC 8801 §3.4.1: a lease is of the PvD that asks for leases and has a prefix around it.
#[test]
fn whose_leases_are() {
    let inside = Some("2001:db8::/64");
    let table: Vec<(&str, Vec<Event>, Vec<&str>)> = vec![
        (
            "PV-8801-3.4.1-b: M and the prefix",
            vec![says(2, A, advertises(ForLeases, inside)), says(2, B, advertises(ForLeases, None))],
            vec!["eth2/fe80::a"],
        ),
        (
            "of two with the prefix the one with M",
            vec![says(2, A, advertises(Not, inside)), says(2, B, names("b.example", ForLeases, inside))],
            vec!["b.example%eth2"],
        ),
        (
            "none with both: of the unnamed ones that with the prefix",
            vec![says(2, A, advertises(Not, inside)), says(2, B, advertises(ForLeases, None))],
            vec!["eth2/fe80::a"],
        ),
        (
            "PV-8801-3.4.1-c: no prefix around it: the unnamed ones",
            vec![
                says(2, A, advertises(Not, None)),
                says(2, B, advertises(Not, None)),
                says(2, B, names("b.example", ForLeases, None)),
            ],
            vec!["eth2/fe80::a", "eth2/fe80::b"],
        ),
        (
            "a name with the prefix and without M comes after unnamed ones",
            vec![says(2, A, names("a.example", Not, inside)), says(2, B, advertises(ForLeases, None))],
            vec!["eth2/fe80::b"],
        ),
        (
            "no unnamed ones: the name with the prefix",
            vec![
                says(2, A, names("a.example", Not, inside)),
                says(2, B, names("b.example", ForLeases, None)),
            ],
            vec!["a.example%eth2"],
        ),
        ("no advertisement: the interface's own", vec![], vec!["eth2"]),
    ];
    for (row, heard, expected) in table {
        // An infinite lease looks to the kernel as if it was set by hand.
        for permanent in [false, true] {
            let mut host = Host::new(&[2]);
            host.tell(given(&[lease(LEASE, 600)], vec![]));
            host.tell_all(heard.clone());
            host.tell(Event::Address(Address { prefix_len: 128, permanent, ..address(2, ADDRESS) }));
            assert_eq!(leasing(&host), expected, "{row}");
            let mut sourced: Vec<_> =
                host.snapshot().into_iter().filter(|pvd| !pvd.sources.is_empty()).map(|pvd| pvd.id).collect();
            sourced.sort_unstable();
            assert_eq!(sourced, expected, "{row}: the address, permanent: {permanent}");
        }
    }
}

#[test]
fn whose_delegated_prefixes_are() {
    let table: Vec<(&str, Vec<Event>, Vec<&str>)> = vec![
        (
            "inside a prefix of the one with M",
            vec![
                says(2, A, advertises(Not, None)),
                says(2, B, names("b.example", ForLeases, Some("2001:db8::/32"))),
            ],
            vec!["b.example%eth2"],
        ),
        (
            "as usual, inside of none: the unnamed ones",
            vec![
                says(2, A, advertises(ForLeases, Some("2001:db8::/64"))),
                says(2, B, names("b.example", ForLeases, None)),
            ],
            vec!["eth2/fe80::a"],
        ),
        (
            "without these, the named ones with M",
            vec![says(2, A, names("a.example", Not, None)), says(2, B, names("b.example", ForLeases, None))],
            vec!["b.example%eth2"],
        ),
        ("no advertisement", vec![], vec!["eth2"]),
    ];
    for (row, heard, expected) in table {
        let mut host = Host::new(&[2]);
        host.tell(given(&[lease(DELEGATED, 600)], vec![]));
        host.tell_all(heard);
        assert_eq!(leasing(&host), expected, "{row}");
    }
}

/// Flags and prefixes that change move what was given.
#[test]
fn it_follows_the_advertisements() {
    let mut host = Host::new(&[2]);
    host.tell(given(&[lease(LEASE, 6000)], vec![dns("2001:db8::53")]));
    assert_eq!((resolving(&host), leasing(&host)), (vec!["eth2".into()], vec!["eth2".into()]));
    let changes = host.tell(says(2, A, advertises(ForOther, None)));
    assert_eq!(changes, ["PvD 2 eth2/fe80::a added", "PvD 1 eth2 removed"]);
    assert_eq!(resolving(&host), ["eth2/fe80::a"]);
    host.tell(says(2, B, advertises(Not, Some("2001:db8::/64"))));
    assert_eq!(
        (resolving(&host), leasing(&host)),
        (vec!["eth2/fe80::a".into()], vec!["eth2/fe80::b".into()])
    );
    let changes = host.tell(says(2, B, advertises(ForLeases, None)));
    assert_eq!(changes, ["PvD 1 eth2/fe80::b changed: flags dns-servers lifetimes"]);
    let changes = host.tell(says(2, A, advertises(Not, None)));
    assert_eq!(changes, ["PvD 2 eth2/fe80::a changed: flags dns-servers lifetimes"]);
    assert_eq!(resolving(&host), ["eth2/fe80::b"]);
}

/// Everything says who said it and until when.
#[test]
fn who_said_what_and_until_when() {
    let resolver = EncryptedResolver {
        service_priority: 1,
        authentication_domain_name: name("dns.example"),
        endpoint: None,
    };
    let selection = RdnssSelection {
        server: ip("2001:db8::54"),
        preference: RouterPreference::High,
        default: false,
        domains: vec![name("corp.example")],
    };
    let policy = AddressSelection { privacy_preference: true, ..AddressSelection::default() };
    let options = vec![
        dns("2001:db8::53"),
        DhcpOption::DomainSearchList(vec![name("example.org")]),
        DhcpOption::NtpServer(NtpServer::Name(name("ntp.example"))),
        DhcpOption::SntpServers(vec![ip("2001:db8::123")]),
        DhcpOption::CaptivePortal("https://cap.example/api".into()),
        DhcpOption::EncryptedDns(resolver),
        DhcpOption::RdnssSelection(selection.clone()),
        DhcpOption::AddressSelection(policy.clone()),
    ];
    // With leases all of it ends with the last of them; without, after twice the refresh time, and the policy soon after that.
    for (reply, end, policy_end) in [
        (given(&[lease(LEASE, 100), lease(DELEGATED, 200)], options.clone()), 200, 200),
        (information(600, options), 1200, 660),
    ] {
        let mut host = Host::new(&[2]);
        host.tell(says(2, A, advertises(ForLeases, None)));
        host.tell(reply);
        let said = host.pvd("eth2/fe80::a");
        let by = SaidBy::Dhcpv6(ip(SERVER));
        macro_rules! is {
            ($field:ident, $($value:expr),*) => {
                let facts: Vec<_> = said.$field.iter().map(|fact| (fact.value.clone(), fact.said_by, fact.valid_until)).collect();
                assert_eq!(facts, [$(($value, by, until(end))),*], stringify!($field));
            };
        }
        is!(dns_servers, ip("2001:db8::53"));
        is!(search_list, name("example.org"));
        is!(ntp_servers, NtpServer::Name(name("ntp.example")), NtpServer::Address(ip("2001:db8::123")));
        is!(dhcpv6_portal, "https://cap.example/api".to_owned());
        is!(rdnss_selection, selection.clone());
        assert_eq!(said.captive_portal(), Some(("https://cap.example/api", by)));
        let resolver = &said.encrypted_dns[0];
        assert_eq!((resolver.said_by, resolver.valid_until), (by, until(end)));
        let fact = said.address_selection.expect("a policy");
        assert_eq!((fact.value, fact.said_by, fact.valid_until), (policy.clone(), by, until(policy_end)));

        host.wait(end - 1);
        assert!(!host.pvd("eth2/fe80::a").dns_servers.is_empty());
        assert_eq!(host.pvd("eth2/fe80::a").address_selection.is_some(), policy_end == end);
        let changes = host.wait(end);
        assert!(changes.iter().any(|change| change.contains("dns-servers")), "{changes:?}");
        let left = host.pvd("eth2/fe80::a");
        assert!(left.dns_servers.is_empty() && left.leases.is_empty() && left.captive_portal().is_none());
        assert_eq!(host.set.next_deadline(), Some(at(9000)));
    }
}

/// Leases end one by one.
#[test]
fn leases_end() {
    let mut host = Host::new(&[2]);
    host.tell(says(2, A, advertises(ForLeases, None)));
    host.tell(given(&[lease(LEASE, 100), lease(DELEGATED, 200)], vec![dns("2001:db8::53")]));
    let prefixes = |host: &Host| -> Vec<_> {
        host.pvd("eth2/fe80::a").leases.iter().map(|held| held.lease.prefix.to_string()).collect()
    };
    assert_eq!(prefixes(&host), [LEASE, DELEGATED]);
    assert_eq!(host.wait(100), ["PvD 1 eth2/fe80::a changed: leases lifetimes"]);
    assert_eq!(prefixes(&host), [DELEGATED]);
    // Renewed.
    assert_eq!(
        host.tell(given(&[lease(DELEGATED, 400)], vec![dns("2001:db8::53")])),
        ["PvD 1 eth2/fe80::a changed: lifetimes"]
    );
    host.wait(399);
    assert_eq!(resolving(&host), ["eth2/fe80::a"]);
    // RFC 8415 §18.2.10: what the next Reply lacks is not used any more.
    assert_eq!(
        host.tell(given(&[lease(DELEGATED, 400)], vec![])),
        ["PvD 1 eth2/fe80::a changed: dns-servers lifetimes"]
    );
    assert_eq!(host.wait(400), ["PvD 1 eth2/fe80::a changed: leases lifetimes"]);
    let ended = Configuration { refresh_at: until(10), ..configuration(&[], vec![dns("2001:db8::53")]) };
    host.tell(Event::Dhcpv6 { ifindex: 2, server: ip(SERVER), configuration: ended });
    assert_eq!(resolving(&host), [""; 0], "replayed too late");
}

/// What routers say as well is not lost when one of the two ends.
#[test]
fn said_by_both() {
    let mut host = Host::new(&[2]);
    let announced = |lifetime| {
        let servers = RecursiveDnsServers { lifetime, servers: vec![ip("2001:db8::53")] };
        let mut said = advertises(ForOther, None);
        said.options.push(NdOption::RecursiveDnsServers(servers));
        says(2, A, said)
    };
    let reply = || information(3600, vec![dns("2001:db8::53")]);
    let said = |host: &Host| -> Vec<_> {
        host.pvd("eth2/fe80::a").dns_servers.iter().map(|fact| fact.said_by.to_string()).collect()
    };
    host.tell_all([announced(600), reply()]);
    assert_eq!(said(&host), ["DHCPv6 fe80::547", A], "RFC 8106 §5.3.1");
    host.tell(announced(0));
    assert_eq!(said(&host), ["DHCPv6 fe80::547"]);
    host.tell(announced(600));
    host.tell(GONE);
    assert_eq!(said(&host), [A]);
    // A router that is gone takes nothing of the server's with it.
    host.tell_all([reply(), says(2, B, advertises(ForOther, None))]);
    host.wait(600);
    assert_eq!(said(&host), ["DHCPv6 fe80::547"]);
}

/// With the link goes what was said on it (RFC 7078 §3.2, RFC 8415 §18.2.12).
#[test]
fn the_link_goes_down() {
    let mut host = Host::new(&[2]);
    host.tell(given(&[lease(LEASE, 600)], vec![dns("2001:db8::53")]));
    host.tell(Event::Link(Link { up: false, ..link(2) }));
    assert_eq!((resolving(&host), host.set.next_deadline()), (vec![], None));
    host.tell(given(&[lease(LEASE, 600)], vec![dns("2001:db8::53")]));
    assert_eq!(host.set.refused().of(RefusedReason::LinkDown), 1);
    host.tell(Event::Link(link(2)));
    assert_eq!(resolving(&host), [""; 0]);
    host.tell(given(&[lease(LEASE, 600)], vec![dns("2001:db8::53")]));
    assert_eq!(resolving(&host), ["eth2"]);
    host.tell(Event::LinkGone { ifindex: 2 });
    assert_eq!((host.ids(), host.set.next_deadline()), (vec![], None));
}

/// D6-8415-18.2.10.1-a: an address is one address. Nothing around it is on-link, and no route is made of it.
#[test]
fn an_address_is_no_prefix() {
    for (heard, sources) in
        [(vec![], "eth2"), (vec![says(2, A, advertises(ForLeases, None))], "eth2/fe80::a")]
    {
        let mut host = Host::new(&[2]);
        host.tell_all(heard);
        host.tell(given(&[lease(LEASE, 600)], vec![]));
        host.tell(Event::Address(Address { prefix_len: 128, ..address(2, ADDRESS) }));
        host.tell(Event::Route(super::super::testing::kernel_prefix(2, LEASE)));
        let of = host.pvd(sources);
        assert_eq!(host.sources(sources), [ADDRESS]);
        assert!(of.routes.iter().all(|route| route.route.prefix.prefix_len() == 0), "{:?}", of.routes);
        assert!(of.prefixes.is_empty());
        let world = host.world();
        assert_eq!(compile(&world).sources[&ip(ADDRESS)].on_link_bits, 0, "nobody is its neighbour");
    }
}

#[test]
fn the_interfaces_own_pvd() {
    let mut host = Host::new(&[2]);
    assert_eq!(host.tell(information(3600, vec![dns("2001:db8::53")])), ["PvD 1 eth2 added"]);
    let own = host.pvd("eth2");
    assert_eq!(
        (own.key, own.origin, own.valid_until),
        (PvdKey::Interface { ifindex: 2 }, Origin::Network, until(7200))
    );
    // With something of the administrator's it is the administrator's.
    host.tell(Event::Address(permanent(2, "fd00::1")));
    assert_eq!(host.pvd("eth2").origin, Origin::Administrator);
    assert_eq!(host.tell(GONE), ["PvD 1 eth2 changed: dns-servers lifetimes"]);
    assert_eq!(host.ids(), ["eth2"]);
}

fn to(prefix: &str, lifetime: u32) -> RoutePrefix {
    RoutePrefix { prefix: net(prefix), preference: RouterPreference::High, lifetime }
}

fn by(router: &str, routes: Vec<RoutePrefix>) -> DhcpOption {
    DhcpOption::NextHop(NextHop { address: ip(router), routes })
}

/// draft-ietf-mif-dhcpv6-route-option.
#[test]
fn routes() {
    let mut host = Host::new(&[2]);
    host.tell(says(2, A, advertises(ForLeases, None)));
    host.tell(given(
        &[lease(LEASE, 600)],
        vec![
            by("fe80::9", vec![to("2001:db8:1::/48", 300), to("fe80::/64", 300), to("2001:db8:4::/48", 0)]),
            by("::", vec![to("2001:db8:2::/48", INFINITE_LIFETIME)]),
            by("fe80::8", vec![]),
            by(A, vec![to("::/0", 300)]),
            DhcpOption::RoutePrefix(to("2001:db8:3::/64", 300)),
            DhcpOption::RoutePrefix(to("::/0", 300)),
        ],
    ));
    let said = |host: &Host| -> Vec<(String, String, Deadline)> {
        let routes = host.pvd("eth2/fe80::a").routes.into_iter();
        let row = |route: super::super::snapshot::RouteSnapshot| {
            (
                super::super::testing::route_text(&route.route),
                route.said_by.to_string(),
                route.route.valid_until,
            )
        };
        routes.map(row).collect()
    };
    let dhcpv6 = |text: &str, end| (text.to_owned(), "DHCPv6 fe80::547".to_owned(), end);
    let announced = ("::/0 via fe80::a".to_owned(), A.to_owned(), until(9000));
    assert_eq!(
        said(&host),
        [
            announced.clone(),
            dhcpv6("::/0 via fe80::8", until(600)),
            dhcpv6("2001:db8:1::/48 via fe80::9", until(300)),
            dhcpv6("2001:db8:2::/48 via fe80::547", Deadline::NEVER),
            dhcpv6("2001:db8:3::/64 on-link", until(300)),
        ]
    );
    assert_eq!(host.set.refused().of(RefusedReason::Dhcpv6Routes), 2, "link-local, and everything on-link");
    // Unreachable next hops count as with routers.
    host.tell(Event::Neighbour { ifindex: 2, address: ip("fe80::9"), reachable: false });
    assert!(host.pvd("eth2/fe80::a").routes.iter().any(|route| !route.route.reachable));
    assert_eq!(host.wait(300), ["PvD 1 eth2/fe80::a changed: routes lifetimes"]);
    assert_eq!(said(&host).len(), 3);
    host.tell(GONE);
    assert_eq!(said(&host), [announced]);
}

/// A default route by DHCPv6 makes a PvD fit to carry its addresses.
#[test]
fn a_default_route_carries() {
    let mut host = Host::new(&[2]);
    host.tell(Event::Route(route(2, "fd00::/8", Some(B))));
    host.tell(given(&[lease(LEASE, 600)], vec![by("fe80::9", vec![])]));
    host.tell(Event::Address(Address { prefix_len: 128, ..address(2, ADDRESS) }));
    let world = host.world();
    assert_eq!(compile(&world).sources[&ip(ADDRESS)].next_hop, ip("fe80::9").into());
}

fn container(identity: PvdIdentity, options: Vec<DhcpOption>) -> DhcpOption {
    DhcpOption::Pvd(PvdContainer { identity, signed: false, options })
}

/// draft-ietf-mif-mpvd-dhcp-support: what is in a container is of the PvD that it names, and of no other.
#[test]
fn containers() {
    let named = |text: &str| PvdIdentity::of_name(&name(text));
    let mut host = Host::new(&[2]);
    host.tell(says(2, A, advertises(ForOther, None)));
    let reply = information(
        3600,
        vec![
            dns("2001:db8::1"),
            container(named("Inner.Example"), vec![dns("2001:db8::2"), by("fe80::9", vec![])]),
            container(named("inner.example"), vec![dns("2001:db8::3")]),
            container(PvdIdentity { kind: 1, value: vec![7; 16] }, vec![dns("2001:db8::4")]),
        ],
    );
    assert_eq!(
        host.tell(reply.clone()),
        ["PvD 2 inner.example%eth2 added", "PvD 1 eth2/fe80::a changed: dns-servers lifetimes"]
    );
    assert_eq!(host.set.refused().of(RefusedReason::PvdIdentity), 1);
    let servers = |host: &Host, id: &str| -> Vec<_> {
        host.pvd(id).dns_servers.iter().map(|fact| fact.value.to_string()).collect()
    };
    assert_eq!(servers(&host, "eth2/fe80::a"), ["2001:db8::1"]);
    assert_eq!(servers(&host, "inner.example%eth2"), ["2001:db8::2"]);
    assert_eq!(host.routes("inner.example%eth2"), ["::/0 via fe80::9"]);
    assert!(!host.pvd("inner.example%eth2").provisional);
    // Routers may name it as well; then it is one PvD, which lasts as long as either speaks of it.
    host.tell(says(2, B, names("inner.example", ForOther, Some("2001:db8::/64"))));
    assert_eq!(servers(&host, "inner.example%eth2"), ["2001:db8::2", "2001:db8::1"]);
    host.tell(GONE);
    assert_eq!(host.ids(), ["eth2/fe80::a", "inner.example%eth2"]);
    host.tell(reply);
    host.tell(says(
        2,
        B,
        RouterAdvertisement {
            header: RaHeader::default(),
            options: vec![pvd("inner.example", None, prefixes(&[pio("2001:db8::/64", 0, 0)]))],
        },
    ));
    assert_eq!(servers(&host, "inner.example%eth2"), ["2001:db8::2"]);
    host.tell(GONE);
    // Two hours are the least that a withdrawn prefix keeps (RFC 4862 §5.5.3 e).
    host.wait(7200);
    assert_eq!(host.ids(), ["eth2/fe80::a"]);
}

#[test]
fn there_is_a_most() {
    let many = |most: usize| (0..=most as u16).map(|number| ip(&format!("2001:db8::{number:x}")));
    let row = PolicyRow { prefix: net("::/0"), precedence: 1, label: 1 };
    let leases: Vec<_> = (0..=crate::dhcpv6::lease::LEASES)
        .map(|number| lease(&format!("2001:db8:{number:x}::/48"), 9))
        .collect();
    let mut host = Host::new(&[2]);
    let policy = AddressSelection { rows: vec![row; POLICY_ROWS_PER_PVD + 1], ..AddressSelection::default() };
    host.tell(given(
        &leases,
        vec![
            DhcpOption::DnsServers(many(DNS_SERVERS_PER_PVD).collect()),
            DhcpOption::SntpServers(many(NTP_SERVERS_PER_PVD).collect()),
            DhcpOption::AddressSelection(policy),
        ],
    ));
    let own = host.pvd("eth2");
    assert_eq!(
        (own.dns_servers.len(), own.ntp_servers.len(), own.leases.len(), own.address_selection),
        (DNS_SERVERS_PER_PVD, NTP_SERVERS_PER_PVD, crate::dhcpv6::lease::LEASES, None)
    );
    for reason in [
        RefusedReason::DnsServers,
        RefusedReason::NtpServers,
        RefusedReason::PolicyRows,
        RefusedReason::Leases,
    ] {
        assert_eq!(host.set.refused().of(reason), 1, "{reason}");
    }
}

/// A journal can keep what was given.
#[test]
fn survives_json() {
    let reply = given(&[lease(LEASE, 600)], vec![dns("2001:db8::53"), by("::", vec![to("::/0", 3)])]);
    let json = serde_json::to_string(&reply).expect("an event is plain data");
    assert_eq!(serde_json::from_str::<Event>(&json).expect("its own output"), reply);
}
