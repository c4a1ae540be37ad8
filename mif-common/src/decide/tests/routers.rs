//! Packets where routers share a link, or lead nowhere.

use super::*;

/// A tunnel or a PvD without router: the kernel's routes of the interface know the next hop.
#[test]
fn sources_without_a_router() {
    let mut tables = tables();
    tables.sources[0].1.next_hop = Addr::UNSPECIFIED;
    tables.sources[0].1.on_link_bits = 0;
    let packet = Packet { source: addr("a::1"), destination: addr("f::9"), ifindex: 12 };
    let config = Config { mode: Mode::Prefer as u32, ..Config::default() };
    assert_eq!(text(egress(&tables, &config, &packet, || PREFER)), "redirected 1 on 11");
}

/// RFC 8028 §3.2: on a link with several routers a packet goes to that of its source.
#[test]
fn links_with_several_routers() {
    let mut tables = tables();
    let source = &mut tables.sources[0].1;
    (source.flags, source.next_hop, source.on_link_bits) =
        (source_flags::NEXT_HOP | source_flags::LEADS_ON, addr("fe80::a"), 0);
    let config = Config { mode: Mode::Prefer as u32, ..Config::default() };
    // rule, destination, interface that the packet is about to leave by
    for (rule, destination, ifindex, expected) in [
        // reached by the PvD's own route, which names the router
        (PREFER, "a::9", 11, "next-hop 1 on 11 to fe80::1"),
        // reached by another PvD, or by none: the source decides
        (PREFER, "b::9", 11, "next-hop 1 on 11 to fe80::a"),
        (PREFER, "f::9", 11, "next-hop 1 on 11 to fe80::a"),
        (PREFER, "f::9", 12, "redirected 1 on 11 to fe80::a"),
        // the administrator's route stands where it leads, the host itself is not ours
        (PREFER, "d::9", 12, "administrator 2"),
        (PREFER, "d::9", 11, "next-hop 1 on 11 to fe80::a"),
        (PREFER, "9::9", 11, "not-ours 0"),
        (OBSERVE, "f::9", 11, "observed 1"),
    ] {
        let packet = Packet { source: addr("a::1"), destination: addr(destination), ifindex };
        let outcome = egress(&tables, &config, &packet, || rule);
        assert_eq!(text(outcome), expected, "{destination} by {ifindex}");
    }
    // a neighbour: the kernel sends to it directly, as it should; also in the prefix of another PvD of the link
    let on_link = Decision {
        ifindex: 11,
        pvd: 3,
        verdict: Stored::Use as u32,
        flags: decision_flags::ON_LINK,
        valid_until: FOREVER,
        ..Decision::default()
    };
    tables.decisions.push((DEFAULT_VIEW, addr("2::"), 16, on_link));
    tables.sources[0].1.on_link_bits = 16;
    for destination in ["a::9", "2::9"] {
        let packet = Packet { source: addr("a::1"), destination: addr(destination), ifindex: 11 };
        assert_eq!(text(egress(&tables, &config, &packet, || PREFER)), "consistent 1", "{destination}");
    }
    // an address that two gateways share, in the view that has only the one that does not carry it; an outdated route
    for (place, router, valid_until) in [(1, "fe80::b", FOREVER), (2, "fe80::c", NOW)] {
        let decision = Decision {
            valid_until,
            source: addr("5::1"),
            next_hop: addr(router),
            ifindex: 12,
            pvd: 1,
            verdict: Stored::Use as u32,
            flags: 0,
        };
        tables.decisions.push((FIRST_ONLY, Addr::from_words([place, 0, 0, 0]), 32, decision));
    }
    tables.sources[3].1.flags = source_flags::NEXT_HOP | source_flags::LEADS_ON;
    let strict = Config { flags: config_flags::STRICT, ..config };
    for (place, expected) in [(1, "next-hop 2 on 12 to fe80::b"), (2, "vetoed 2 refuse")] {
        let destination = Addr::from_words([place, 0, 0, 9]);
        let packet = Packet { source: addr("5::1"), destination, ifindex: 12 };
        assert_eq!(text(egress(&tables, &strict, &packet, || STRICT)), expected, "{place}");
    }
}

/// A PvD of two prefixes with a router for each, as an interface's IPv4 with two gateways: the PvD's route to a destination is
/// for sources of the prefix that it was chosen with.
#[test]
fn a_pvd_with_a_router_for_each_prefix() {
    let mut tables = tables();
    let of_first = tables.sources[0].1;
    // address, its router, where its packets go
    for (source, router, expected) in [
        ("a::2", "fe80::c", "next-hop 1 on 11 to fe80::1"),
        ("4::1", "fe80::a", "next-hop 1 on 11 to fe80::a"),
    ] {
        let flags = source_flags::NEXT_HOP | source_flags::LEADS_ON;
        let row = Source { flags, next_hop: addr(router), on_link_bits: 16, ..of_first };
        tables.sources.push((addr(source), row));
        let packet = Packet { source: addr(source), destination: addr("c::9"), ifindex: 11 };
        tables.decisions.push((
            DEFAULT_VIEW,
            addr("c::9"),
            128,
            Decision {
                valid_until: FOREVER,
                source: addr("a::1"),
                next_hop: addr("fe80::1"),
                ifindex: 11,
                pvd: 1,
                verdict: Stored::Use as u32,
                flags: 0,
            },
        ));
        let config = Config { mode: Mode::Prefer as u32, ..Config::default() };
        assert_eq!(text(egress(&tables, &config, &packet, || PREFER)), expected, "{source}");
    }
}

/// A source that no router announced (DHCPv6, by hand) on a link with two: it goes to the router of the view, for those that have
/// one; a strict one sends nothing to a router that it does not name.
#[test]
fn a_source_that_nobody_announced() {
    const PINNED: Rule = Rule { mode: Mode::Prefer, ..STRICT };
    let mut tables = tables();
    let source = &mut tables.sources[0].1;
    (source.flags, source.next_hop, source.on_link_bits) =
        (source_flags::SHARED_LINK | source_flags::LEADS_ON, addr("fe80::a"), 0);
    // Chosen with a source of an announced prefix, by the router that announced it.
    let of_prefix = Decision { source: addr("6::1"), ..tables.decisions[0].3 };
    tables.decisions.push((FIRST_ONLY, addr("6::"), 16, of_prefix));
    // A static route by one router of the link.
    let administrator = Decision { flags: decision_flags::ADMINISTRATOR, ..of_prefix };
    tables.decisions.push((FIRST_ONLY, addr("8::"), 16, administrator));
    let config = Config {
        flags: config_flags::POLICIES | config_flags::STRICT,
        mode: Mode::Prefer as u32,
        ..Config::default()
    };
    // rule, destination, the router of the source's PvD, what becomes of it
    for (rule, destination, router, expected) in [
        (STRICT, "a::9", "fe80::a", "next-hop 1 on 11 to fe80::1"),
        (STRICT, "6::9", "fe80::a", "next-hop 1 on 11 to fe80::1"),
        (STRICT, "8::9", "fe80::a", "next-hop 1 on 11 to fe80::1"),
        // the view reaches it by no route: only by the router of the PvD that carries the source, which the view has
        (STRICT, "f::9", "fe80::a", "next-hop 1 on 11 to fe80::a"),
        (STRICT, "f::9", "::", "unreachable 1 refuse"),
        (STRICT, "2::9", "::", "consistent 1"),
        (PINNED, "a::9", "fe80::a", "next-hop 1 on 11 to fe80::1"),
        (PINNED, "8::9", "fe80::a", "administrator 1"),
        (PINNED, "f::9", "fe80::a", "next-hop 1 on 11 to fe80::a"),
        (PREFER, "a::9", "fe80::a", "consistent 1"),
        (STRICT_ALL, "a::9", "fe80::a", "consistent 1"),
    ] {
        tables.sources[0].1.next_hop = addr(router);
        let packet = Packet { source: addr("a::1"), destination: addr(destination), ifindex: 11 };
        assert_eq!(
            text(egress(&tables, &config, &packet, || rule)),
            expected,
            "{rule:?} {destination} {router}"
        );
    }
    // Not the view's, but for where the view's own answer has it.
    tables.sources[0].1.pvd = 2;
    for (destination, expected) in [("a::9", "next-hop 2 on 11 to fe80::1"), ("6::9", "vetoed 2 refuse")] {
        let packet = Packet { source: addr("a::1"), destination: addr(destination), ifindex: 11 };
        assert_eq!(text(egress(&tables, &config, &packet, || STRICT)), expected, "{destination}");
    }
    // Without strict policies the rule of a prefer policy is asked for all the same.
    let config = Config { flags: config_flags::POLICIES, ..config };
    let packet = Packet { source: addr("a::1"), destination: addr("a::9"), ifindex: 11 };
    assert_eq!(text(egress(&tables, &config, &packet, || PINNED)), "next-hop 2 on 11 to fe80::1");
}

/// A service address on a dummy interface, a prefix that only serves a LAN: nothing leads from there to elsewhere, and the
/// kernel's routes are left alone.
#[test]
fn sources_that_lead_nowhere() {
    let mut tables = tables();
    tables.sources[0].1.flags = 0;
    let config = Config { mode: Mode::Prefer as u32, ..Config::default() };
    let bound =
        |destination| Socket { destination: addr(destination), source: addr("a::1"), ..Socket::default() };
    for (rule, destination, packet, socket) in [
        (PREFER, "b::9", "no-decision 1", "no-decision 1"),
        (STRICT_ALL, "b::9", "unreachable 1 refuse", "unreachable 1 refuse"),
        (STRICT, "7::9", "unreachable 1 refuse", "unreachable 1 refuse"),
        // its own neighbours, and what the tables reach by it
        (PREFER, "a::9", "redirected 1 on 11 to a::9", "followed-source 1 on 11"),
    ] {
        tables.sources[0].1.on_link_bits = 64;
        let leaving = Packet { source: addr("a::1"), destination: addr(destination), ifindex: 12 };
        assert_eq!(text(egress(&tables, &config, &leaving, || rule)), packet, "{destination}");
        assert_eq!(text(connect(&tables, &rule, &bound(destination))), socket, "{destination}");
    }
}

/// The provider took its default route back and left the address: on a link with another router the kernel would send there.
#[test]
fn pinned_at_home_but_leading_nowhere() {
    let mut tables = tables();
    tables.sources[0].1.flags = 0;
    let config = Config { flags: config_flags::STRICT, mode: Mode::Prefer as u32, ..Config::default() };
    for (rule, destination, expected) in [
        (STRICT, "f::9", "unreachable 1 refuse"),
        // a neighbour, what the tables reach, what the administrator routes
        (STRICT, "a::9", "consistent 1"),
        (STRICT, "a:0:0:1::9", "consistent 1"),
        (STRICT, "e::9", "consistent 1"),
        (PREFER, "f::9", "consistent 1"),
        (STRICT_ALL, "f::9", "consistent 1"),
    ] {
        let packet = Packet { source: addr("a::1"), destination: addr(destination), ifindex: 11 };
        assert_eq!(text(egress(&tables, &config, &packet, || rule)), expected, "{rule:?} {destination}");
    }
}
