use netlink_packet_core::{DefaultNla, Emitable, NLM_F_CREATE};
use netlink_packet_route::{
    address::CacheInfo,
    route::{RouteCacheInfo, RouteNextHop, RouteProtocol as Protocol},
};

use super::*;

const NOW: Time = Time(50_000_000_000);

fn emit(body: &impl Emitable) -> Vec<u8> {
    let mut bytes = vec![0; body.buffer_len()];
    body.emit(&mut bytes);
    bytes
}

fn read(kind: u16, body: &[u8]) -> Vec<Change> {
    changes(kind, 0, body, NOW).expect("readable")
}

fn ip(text: &str) -> Ipv6Addr {
    text.parse().expect("a literal")
}

fn after(seconds: u64) -> Deadline {
    Deadline::at(NOW.after(Duration::from_secs(seconds)))
}

/// `ifinfomsg` and attributes, as the kernel lays them out.
fn link_message(family: u8, flags: u32, attributes: &[(u16, &[u8])]) -> Vec<u8> {
    let mut bytes = vec![family, 0, 1, 0];
    for word in [7, flags, 0] {
        bytes.extend(u32::to_ne_bytes(word));
    }
    for (kind, value) in attributes {
        bytes.extend(emit(&[DefaultNla::new(*kind, value.to_vec())].as_slice()));
    }
    bytes
}

#[test]
fn links() {
    let (up, lower_up, loopback) = (1, 1 << 16, 1 << 3);
    let name = (libc::IFLA_IFNAME, &b"wan0\0"[..]);
    let mtu = (libc::IFLA_MTU, &1400u32.to_ne_bytes()[..]);
    // An attribute that we have no use for may have any form.
    let odd = (libc::IFLA_STATS64, &[1, 2, 3][..]);
    let info = |kind: u16, value: &[u8]| emit(&[DefaultNla::new(kind, value.to_vec())].as_slice());
    let infos = [
        (libc::IFLA_INFO_KIND, "vrf\0"),
        (IFLA_INFO_SLAVE_KIND, "vrf\0"),
        (IFLA_INFO_SLAVE_KIND, "bridge\0"),
    ];
    let [vrf, in_vrf, in_bridge] = &infos.map(|(kind, value)| info(kind, value.as_bytes()));
    let [vrf, in_vrf, in_bridge] = [vrf, in_vrf, in_bridge].map(|info| (libc::IFLA_LINKINFO, &info[..]));
    let bridge = u8::try_from(libc::AF_BRIDGE).expect("7");
    for (row, family, flags, attributes, expected) in [
        ("up with carrier", 0, up | lower_up, &[name, odd, mtu][..], Some((true, false))),
        ("up, no carrier", 0, up, &[name, mtu], Some((false, false))),
        ("carrier, down", 0, lower_up, &[name, mtu], Some((false, false))),
        ("loopback", 0, up | lower_up | loopback, &[name, mtu], Some((true, true))),
        ("a wireless event", 0, up | lower_up, &[name], None),
        ("a VRF", 0, up | lower_up, &[name, mtu, vrf], Some((true, true))),
        ("of a VRF", 0, up | lower_up, &[name, mtu, in_vrf], Some((true, true))),
        ("of a bridge", 0, up | lower_up, &[name, mtu, in_bridge], Some((true, false))),
        ("a bridge port", bridge, up | lower_up, &[name, mtu], None),
    ] {
        let expected = expected.map(|(up, loopback)| {
            Change::Event(Event::Link(Link { ifindex: 7, name: "wan0".into(), up, loopback, mtu: 1400 }))
        });
        let got = read(libc::RTM_NEWLINK, &link_message(family, flags, attributes));
        assert_eq!(got, Vec::from_iter(expected), "{row}");
    }
    let gone = Change::Event(Event::LinkGone { ifindex: 7 });
    assert_eq!(read(libc::RTM_DELLINK, &link_message(0, 0, &[name])), [gone]);
    assert_eq!(read(libc::RTM_DELLINK, &link_message(bridge, 0, &[name])), [], "a port left its bridge");
}

fn v4(octets: [u8; 4]) -> IpAddr {
    std::net::Ipv4Addr::from(octets).into()
}

fn address_message(flags: AddressFlags, valid: u32, preferred: u32) -> AddressMessage {
    let mut body = AddressMessage::default();
    body.header.family = AddressFamily::Inet6;
    body.header.index = 7;
    body.header.prefix_len = 64;
    let mut info = CacheInfo::default();
    (info.ifa_valid, info.ifa_preferred) = (valid, preferred);
    body.attributes = vec![
        AddressAttribute::Address(ip("2001:db8::7").into()),
        AddressAttribute::CacheInfo(info),
        AddressAttribute::Flags(flags),
    ];
    body
}

#[test]
fn addresses() {
    let plain = Address {
        valid_until: after(3600),
        preferred_until: after(1800),
        ..Address::new(7, ip("2001:db8::7"), 64)
    };
    let never = Deadline::NEVER;
    let (tentative, optimistic) = (AddressFlags::Tentative, AddressFlags::Optimistic);
    for (flags, valid, preferred, expected) in [
        (AddressFlags::Managetempaddr, 3600, 1800, plain.clone()),
        (tentative, 3600, 1800, Address { tentative: true, ..plain.clone() }),
        (tentative | optimistic, 3600, 1800, Address { optimistic: true, ..plain.clone() }),
        (AddressFlags::Dadfailed, 3600, 1800, Address { dad_failed: true, ..plain.clone() }),
        (AddressFlags::Secondary, 3600, 1800, Address { temporary: true, ..plain.clone() }),
        (
            AddressFlags::Deprecated,
            3600,
            0,
            Address { deprecated: true, preferred_until: after(0), ..plain.clone() },
        ),
        (
            AddressFlags::Permanent,
            u32::MAX,
            u32::MAX,
            Address { permanent: true, valid_until: never, preferred_until: never, ..plain.clone() },
        ),
    ] {
        let body = emit(&address_message(flags, valid, preferred));
        assert_eq!(read(libc::RTM_NEWADDR, &body), [Change::Event(Event::Address(expected))], "{flags:?}");
    }

    let mut with_peer = address_message(AddressFlags::empty(), 3600, 1800);
    with_peer.attributes.push(AddressAttribute::Local(ip("2001:db8::8").into()));
    let peer = Some(ip("2001:db8::7"));
    let gone =
        Change::Event(Event::AddressGone(Address { address: ip("2001:db8::8"), peer, ..plain.clone() }));
    assert_eq!(read(libc::RTM_DELADDR, &emit(&with_peer)), [gone]);

    let mut ipv4 = address_message(AddressFlags::empty(), 3600, 1800);
    ipv4.header.family = AddressFamily::Inet;
    assert_eq!(read(libc::RTM_NEWADDR, &emit(&ipv4)), [], "an address of the other family");
    let (ours, peer) = (v4([192, 0, 2, 7]), v4([192, 0, 2, 8]));
    ipv4.header.prefix_len = 24;
    ipv4.attributes = vec![
        AddressAttribute::Address(peer),
        AddressAttribute::Local(ours),
        AddressAttribute::Flags(AddressFlags::Secondary),
    ];
    let expected = Address {
        address: mapped(ours),
        prefix_len: 96 + 24,
        peer: Some(mapped(peer)),
        secondary: true,
        valid_until: never,
        preferred_until: never,
        ..plain
    };
    assert_eq!(read(libc::RTM_NEWADDR, &emit(&ipv4)), [Change::Event(Event::Address(expected))]);
}

fn route_message(kind: RouteType, attributes: Vec<RouteAttribute>) -> RouteMessage {
    let mut body = RouteMessage::default();
    body.header.address_family = AddressFamily::Inet6;
    body.header.destination_prefix_length = 48;
    body.header.table = RouteHeader::RT_TABLE_MAIN;
    body.header.protocol = Protocol::Static;
    body.header.kind = kind;
    body.attributes =
        vec![RouteAttribute::Destination(RouteAddress::Inet6(ip("2001:db8:5::"))), RouteAttribute::Oif(7)];
    body.attributes.extend(attributes);
    body
}

/// The same attributes, IPv4 in the one form; and RTA_VIA, an IPv6 router of an IPv4 route (RFC 8950).
#[test]
fn ipv4_routes() {
    let octets = |octets: [u8; 4]| std::net::Ipv4Addr::from(octets);
    let one_form = |address: [u8; 4]| octets(address).to_ipv6_mapped();
    let message = |attributes: Vec<RouteAttribute>| {
        let mut body = RouteMessage::default();
        body.header.address_family = AddressFamily::Inet;
        body.header.table = RouteHeader::RT_TABLE_MAIN;
        body.header.protocol = Protocol::Dhcp;
        body.header.kind = RouteType::Unicast;
        body.attributes = attributes;
        body
    };
    let plain = KernelRoute {
        prefix: mif_core::family::IPV4,
        ifindex: 7,
        gateway: Some(one_form([192, 0, 2, 1])),
        metric: 100,
        preference: RouterPreference::Medium,
        preferred_source: Some(one_form([192, 0, 2, 7])),
        protocol: RouteProtocol::Dhcp,
        refuses: false,
        valid_until: Deadline::NEVER,
    };
    let attributes = vec![
        RouteAttribute::Oif(7),
        RouteAttribute::Priority(100),
        RouteAttribute::Gateway(RouteAddress::Inet(octets([192, 0, 2, 1]))),
        RouteAttribute::PrefSource(RouteAddress::Inet(octets([192, 0, 2, 7]))),
    ];
    let mut subnet = message(attributes.clone());
    subnet.header.destination_prefix_length = 24;
    subnet.attributes.push(RouteAttribute::Destination(RouteAddress::Inet(octets([198, 51, 100, 0]))));
    let mut via = message(attributes.clone());
    via.attributes[2] = RouteAttribute::Via(RouteVia::Inet6(ip("fe80::1")));
    let prefix = "::ffff:198.51.100.0/120".parse().expect("a literal");
    for (body, expected) in [
        (message(attributes), plain.clone()),
        (subnet, KernelRoute { prefix, ..plain.clone() }),
        (via, KernelRoute { gateway: Some(ip("fe80::1")), ..plain }),
    ] {
        assert_eq!(
            read(libc::RTM_NEWROUTE, &emit(&body)),
            [Change::Event(Event::Route(expected))],
            "{body:?}"
        );
    }
}

fn expires(ticks: i32) -> RouteAttribute {
    let mut info = RouteCacheInfo::parse(&[0; 32]).expect("its size");
    info.expires = ticks.cast_unsigned();
    RouteAttribute::CacheInfo(info)
}

#[test]
fn one_route() {
    let plain = KernelRoute {
        prefix: "2001:db8:5::/48".parse().expect("a literal"),
        ifindex: 7,
        gateway: None,
        metric: 0,
        preference: RouterPreference::Medium,
        preferred_source: None,
        protocol: RouteProtocol::Other(4),
        refuses: false,
        valid_until: Deadline::NEVER,
    };
    let router = ip("fe80::1");
    let ticks = i32::try_from(ticks_per_second()).expect("small");
    for (attribute, expected) in [
        (
            RouteAttribute::Gateway(RouteAddress::Inet6(router)),
            KernelRoute { gateway: Some(router), ..plain.clone() },
        ),
        (RouteAttribute::Priority(1024), KernelRoute { metric: 1024, ..plain.clone() }),
        (
            RouteAttribute::PrefSource(RouteAddress::Inet6(ip("2001:db8::7"))),
            KernelRoute { preferred_source: Some(ip("2001:db8::7")), ..plain.clone() },
        ),
        (
            RouteAttribute::Preference(RoutePreference::Low),
            KernelRoute { preference: RouterPreference::Low, ..plain.clone() },
        ),
        (RouteAttribute::Preference(RoutePreference::Invalid), plain.clone()),
        (expires(0), plain.clone()),
        (expires(1800 * ticks), KernelRoute { valid_until: after(1800), ..plain.clone() }),
        (expires(-5), KernelRoute { valid_until: after(0), ..plain.clone() }),
        (RouteAttribute::Table(254), plain.clone()),
    ] {
        let body = emit(&route_message(RouteType::Unicast, vec![attribute.clone()]));
        assert_eq!(
            read(libc::RTM_NEWROUTE, &body),
            [Change::Event(Event::Route(expected.clone()))],
            "{attribute:?}"
        );
        assert_eq!(
            read(libc::RTM_DELROUTE, &body),
            [Change::Event(Event::RouteGone(expected))],
            "{attribute:?}"
        );
    }

    for (protocol, expected) in [
        (2, RouteProtocol::Kernel),
        (9, RouteProtocol::RouterAdvertisement),
        (ROUTE_PROTOCOL_MIF, RouteProtocol::Mif),
        (16, RouteProtocol::Dhcp),
        (17, RouteProtocol::Other(17)),
    ] {
        let mut body = route_message(RouteType::Unicast, Vec::new());
        body.header.protocol = protocol.into();
        let expected = KernelRoute { protocol: expected, ..plain.clone() };
        assert_eq!(
            read(libc::RTM_NEWROUTE, &emit(&body)),
            [Change::Event(Event::Route(expected))],
            "{protocol}"
        );
    }

    for kind in [RouteType::BlackHole, RouteType::Unreachable, RouteType::Prohibit, RouteType::Throw] {
        let expected = KernelRoute { refuses: true, ifindex: 0, ..plain.clone() };
        let body = emit(&route_message(kind, Vec::new()));
        assert_eq!(read(libc::RTM_NEWROUTE, &body), [Change::Event(Event::Route(expected))], "{kind:?}");
    }
}

#[test]
fn routes_that_are_none_of_ours() {
    type Change = fn(&mut RouteMessage);
    let cases: [(&str, Change); 7] = [
        ("IPv4", |route| {
            route.header.address_family = AddressFamily::Inet;
            route.attributes.clear();
        }),
        ("cloned", |route| route.header.flags = RouteFlags::Cloned),
        ("the local table", |route| route.header.table = 255),
        ("a table past 255", |route| route.attributes.push(RouteAttribute::Table(51820))),
        ("multicast", |route| route.header.kind = RouteType::Multicast),
        ("anycast", |route| route.header.kind = RouteType::Anycast),
        ("from a source prefix", |route| route.header.source_prefix_length = 48),
    ];
    for (row, change) in cases {
        let mut body = route_message(RouteType::Unicast, Vec::new());
        change(&mut body);
        assert_eq!(read(libc::RTM_NEWROUTE, &emit(&body)), [], "{row}");
    }
}

#[test]
fn a_route_of_many_paths_is_many_routes() {
    let hop = |ifindex, gateway: Option<&str>| {
        let mut hop = RouteNextHop::default();
        hop.interface_index = ifindex;
        hop.attributes =
            gateway.map(|text| RouteAttribute::Gateway(RouteAddress::Inet6(ip(text)))).into_iter().collect();
        hop
    };
    let hops = vec![hop(7, Some("fe80::1")), hop(8, Some("fe80::2")), hop(9, None)];
    let body =
        route_message(RouteType::Unicast, vec![RouteAttribute::Priority(5), RouteAttribute::MultiPath(hops)]);
    let got: Vec<_> = read(libc::RTM_NEWROUTE, &emit(&body))
        .into_iter()
        .map(|change| match change {
            Change::Event(Event::Route(route)) => (route.ifindex, route.gateway, route.metric),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(got, [(7, Some(ip("fe80::1")), 5), (8, Some(ip("fe80::2")), 5), (9, None, 5)]);
}

#[test]
fn replacing_routes() {
    let hops = [8, 9].map(|ifindex| {
        let mut hop = RouteNextHop::default();
        hop.interface_index = ifindex;
        hop
    });
    let single = emit(&route_message(RouteType::Unicast, vec![]));
    let multiple = emit(&route_message(RouteType::Unicast, vec![RouteAttribute::MultiPath(hops.to_vec())]));
    let local = route_message(RouteType::Local, vec![RouteAttribute::Table(libc::RT_TABLE_LOCAL.into())]);
    let local = emit(&local);
    for (row, kind, flags, body, expected) in [
        ("new", libc::RTM_NEWROUTE, NLM_F_CREATE, &single, "route"),
        ("replacing", libc::RTM_NEWROUTE, NLM_F_REPLACE, &single, "replaced route"),
        ("replacing by several", libc::RTM_NEWROUTE, NLM_F_REPLACE, &multiple, "unsure route route"),
        ("of the local table", libc::RTM_NEWROUTE, NLM_F_REPLACE, &local, "route"),
        ("gone", libc::RTM_DELROUTE, NLM_F_REPLACE, &single, "gone"),
    ] {
        let changes = changes(kind, flags, body, NOW).expect("readable");
        let words: Vec<_> = changes
            .iter()
            .map(|change| match change {
                Change::Event(Event::Route(_)) => "route",
                Change::Event(Event::RouteReplaced(_)) => "replaced",
                Change::Event(Event::RouteGone(_)) => "gone",
                Change::Unsure => "unsure",
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(words.join(" "), expected, "{row}");
    }
}

#[test]
fn neighbours() {
    let link_layer = || Some(vec![2, 0, 0, 0, 0, 1]);
    for (state, expected) in [
        (NeighbourState::None, None),
        (NeighbourState::Incomplete, None),
        (NeighbourState::Reachable, Some(State::Reachable)),
        (NeighbourState::Stale, Some(State::Stale)),
        (NeighbourState::Delay, Some(State::Stale)),
        (NeighbourState::Probe, Some(State::Probe)),
        (NeighbourState::Permanent, Some(State::Static)),
        (NeighbourState::Noarp, Some(State::Static)),
        (NeighbourState::Failed, Some(State::Failed)),
    ] {
        for (text, flags, unicast) in
            [("fe80::1", NeighbourFlags::Router, true), ("ff02::1", NeighbourFlags::empty(), false)]
        {
            let mut body = NeighbourMessage::default();
            body.header.family = AddressFamily::Inet6;
            body.header.ifindex = 7;
            body.header.state = state;
            body.header.flags = flags;
            body.attributes = vec![NeighbourAttribute::Destination(NeighbourAddress::Inet6(ip(text)))];
            body.attributes.extend(link_layer().map(NeighbourAttribute::LinkLayerAddress));
            let change = |state| {
                let news = Neighbour { next_hop: (7, ip(text)), state, link_layer: link_layer() };
                unicast.then_some(Change::Neighbour { news, router: true })
            };
            // That it is being asked says nothing of it, also of one that was dead.
            let asked = (state == NeighbourState::Incomplete && unicast)
                .then_some(Change::Asked { next_hop: (7, ip(text)), router: true });
            assert_eq!(
                read(libc::RTM_NEWNEIGH, &emit(&body)),
                Vec::from_iter(expected.and_then(change).or(asked)),
                "{text} {state:?}"
            );
            // A forgotten entry takes what it said with it, whatever state it was last in.
            assert_eq!(
                read(libc::RTM_DELNEIGH, &emit(&body)),
                Vec::from_iter(change(State::Gone)),
                "forgotten: {text} {state:?}"
            );
        }
    }
}
