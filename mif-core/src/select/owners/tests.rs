use super::*;
use crate::select::testing::world;

/// The SOURCE entry of `2001:db8:a::1` in short: `PVD NEXT_HOP ON_LINK_BITS VALID_UNTIL`.
fn entry(text: &str) -> Option<String> {
    let sources = sources(&world(text));
    let source = sources.get(&"2001:db8:a::1".parse::<Ipv6Addr>().expect("a literal"))?;
    let next_hop = Ipv6Addr::from(source.next_hop);
    let valid_until = if source.valid_until == abi::FOREVER { 0 } else { source.valid_until };
    Some(format!("{} {next_hop} {} {valid_until}", source.pvd, source.on_link_bits))
}

#[test]
fn where_packets_of_a_source_go() {
    for (source, routes, expected) in [
        ("", "", "1 :: 0 0"),
        ("until 7", "", "1 :: 0 7"),
        ("deprecated", "", "1 :: 0 0"),
        // The longest on-link prefix that has the address.
        ("", "route 2001:db8:a::/64", "1 :: 64 0"),
        ("", "route 2001:db8:a::/64\nroute 2001:db8::/32\nroute 2001:db8:b::/80", "1 :: 64 0"),
        ("", "route 2001:db8:a::/64 kernel", "1 :: 0 0"),
        // Default routes before others, then reachable ones, advertisers of the source, metric, preference.
        ("", "route ::/0 via fe80::a", "1 fe80::a 0 0"),
        ("", "route 2400::/16 via fe80::a", "1 fe80::a 0 0"),
        ("", "route 2400::/16 via fe80::a\nroute ::/0 via fe80::b unreachable", "1 fe80::b 0 0"),
        ("", "route ::/0 via fe80::a unreachable\nroute ::/0 via fe80::b metric 5 low", "1 fe80::b 0 0"),
        ("from fe80::b", "route ::/0 via fe80::a high\nroute ::/0 via fe80::b metric 5 low", "1 fe80::b 0 0"),
        ("", "route ::/0 via fe80::a high metric 5\nroute ::/0 via fe80::b low", "1 fe80::b 0 0"),
        ("", "route ::/0 via fe80::a\nroute ::/0 via fe80::b high", "1 fe80::b 0 0"),
        ("", "route ::/0 via fe80::b\nroute ::/0 via fe80::a", "1 fe80::a 0 0"),
        // A tunnel's default route needs no router; the kernel decides where its routes say so.
        ("", "route ::/0\nroute 2400::/16 via fe80::a", "1 :: 0 0"),
        ("", "route ::/0 via fe80::a kernel", "1 :: 0 0"),
    ] {
        let text = format!("pvd 1 2\nsource 2001:db8:a::1/64 {source}\n{routes}");
        assert_eq!(entry(&text).as_deref(), Some(expected), "{text}");
    }
}

/// A gateway that does not answer: the other one takes over if it is in the same subnet.
#[test]
fn ipv4_gateways() {
    for (advertisers, expected) in [
        ("from 198.18.10.1", "::ffff:198.18.10.1"),
        ("from 198.18.10.1 from 198.18.10.2", "::ffff:198.18.10.2"),
        ("from 198.18.10.2", "::ffff:198.18.10.2"),
    ] {
        let text = format!(
            "pvd 1 2\nsource 198.18.10.9/24 {advertisers}
             route 0.0.0.0/0 via 198.18.10.1 unreachable
             route 0.0.0.0/0 via 198.18.10.2 metric 5"
        );
        let sources = sources(&world(&text));
        let next_hops: Vec<_> =
            sources.values().map(|row| Ipv6Addr::from(row.next_hop).to_string()).collect();
        assert_eq!(next_hops, [expected], "{text}");
    }
}

#[test]
fn who_carries_a_source() {
    for (text, expected) in [
        ("pvd 1 2\nsource 2001:db8:a::1/64 tentative", None),
        ("pvd 1 2\nsource 2001:db8:a::1/64 shared", None),
        ("pvd 1 2\nsource 2001:db8:a::1/64 shared\npvd 2 2\nsource 2001:db8:a::1/64", Some("2 :: 0 0")),
        // Its default route is not offered, but what has its source is its own.
        ("pvd 1 2 no-internet\nsource 2001:db8:a::1/64\nroute ::/0 via fe80::a", Some("1 fe80::a 0 0")),
        // Against the contract: the smaller interface.
        ("pvd 1 3\nsource 2001:db8:a::1/64\npvd 2 2\nsource 2001:db8:a::1/64", Some("2 :: 0 0")),
    ] {
        assert_eq!(entry(text).as_deref(), expected, "{text}");
    }
}

#[test]
fn addresses_on_several_interfaces_are_told() {
    for (address, shown) in [("2001:db8:a::1", "2001:db8:a::1/64"), ("::ffff:192.0.2.1", "192.0.2.1/24")] {
        for (flag, expected) in [("", 0), ("several", source_flags::SEVERAL_INTERFACES)] {
            let sources = sources(&world(&format!("pvd 1 2\nsource {shown} {flag}")));
            let source = sources[&address.parse::<Ipv6Addr>().expect("a literal")];
            assert_eq!(source.flags & source_flags::SEVERAL_INTERFACES, expected, "{shown} {flag}");
        }
    }
}

/// An address that a PvD has is not stranded, whatever else is said of it.
#[test]
fn stranded_addresses() {
    let address = |text: &str| text.parse::<Ipv6Addr>().expect("a literal");
    let mut world = world("pvd 1 2\nsource 2001:db8:a::1/64");
    world.stranded = vec![(address("2001:db8:a::1"), 3), (address("2001:db8:b::1"), 3)];
    let sources = sources(&world);
    for (text, expected) in [("2001:db8:a::1", (2, 1, 0)), ("2001:db8:b::1", (3, 0, source_flags::STRANDED))]
    {
        let source = sources[&address(text)];
        assert_eq!((source.ifindex, source.pvd, source.flags), expected, "{text}");
    }
}

#[test]
fn pvds_and_members() {
    let world = world(
        "pvd 1 2 explicit
         pvd 7 3 admin
         view 1 7 9 | 1 7
         view 2",
    );
    let pvds: Vec<(u32, u32, u32)> =
        pvds(&world).into_iter().map(|(index, pvd)| (index, pvd.ifindex, pvd.flags)).collect();
    let present = pvd_flags::PRESENT;
    assert_eq!(pvds, [(1, 2, present | pvd_flags::EXPLICIT), (7, 3, present | pvd_flags::ADMINISTRATOR)]);
    let members: Vec<((u32, PvdIndex), u32)> = members(&world).into_iter().collect();
    let interface = |ifindex| Member::interface(1, ifindex).pvd;
    assert_eq!(members, [((1, 1), 1), ((1, 7), 0), ((1, interface(2)), 1), ((1, interface(3)), 0)]);
}

/// RFC 8028 §3.2: only where routers share a link does a packet need to be told its router.
#[test]
fn links_with_several_routers() {
    const ONE: &str = "pvd 1 2\nsource 2001:db8:a::1/64 from fe80::a\nroute ::/0 via fe80::a";
    for (others, expected) in [
        ("", 0),
        ("pvd 2 2\nroute ::/0 via fe80::a", 0),
        ("pvd 2 3\nroute ::/0 via fe80::b", 0),
        ("pvd 2 2\nroute ::/0 via fe80::b", source_flags::NEXT_HOP),
        ("route 2400::/16 via fe80::b", source_flags::NEXT_HOP),
        ("route 2400::/16 via fe80::b kernel", 0),
    ] {
        let sources = sources(&world(&format!("{ONE}\n{others}")));
        let flags: Vec<u32> = sources.values().map(|source| source.flags & source_flags::NEXT_HOP).collect();
        assert_eq!(flags, [expected], "{others}");
    }
    // nobody said whose it is
    let unknown = ONE.replace("from fe80::a", "");
    for (others, expected) in [("", 0), ("pvd 2 2\nroute ::/0 via fe80::b", source_flags::SHARED_LINK)] {
        let sources = sources(&world(&format!("{unknown}\n{others}")));
        let both = source_flags::NEXT_HOP | source_flags::SHARED_LINK;
        let flags: Vec<u32> = sources.values().map(|source| source.flags & both).collect();
        assert_eq!(flags, [expected], "{others}");
    }
}

/// A service address on a dummy interface and a prefix that only serves a LAN lead nowhere.
#[test]
fn what_leads_beyond_its_link() {
    for (routes, expected) in [
        ("", false),
        ("route 2001:db8:a::/64", false),
        ("route ::/0 via fe80::a kernel", false),
        ("route 2400::/16 via fe80::a", true),
        ("route ::/0 via fe80::a", true),
        ("route ::/0", true),
    ] {
        let sources = sources(&world(&format!("pvd 1 2\nsource 2001:db8:a::1/64\n{routes}")));
        let leads: Vec<bool> =
            sources.values().map(|source| source.flags & source_flags::LEADS_ON != 0).collect();
        assert_eq!(leads, [expected], "{routes}");
    }
}
