//! What becomes of a packet at tc egress.

use super::*;

#[test]
fn packets() {
    let tables = tables();
    let prefer = Config { mode: Mode::Prefer as u32, ..Config::default() };
    let strict_exists = Config { flags: config_flags::STRICT, ..prefer };
    let strict_host = Config { mode: Mode::Strict as u32, ..prefer };
    for (config, rule, source, destination, ifindex, expected) in [
        // Exempt, also for strict cgroups.
        (&strict_exists, &STRICT, "b::1", "fe80::9", 12, "not-ours 0"),
        (&strict_exists, &STRICT, "b::1", "::ffff:224.0.0.1", 12, "not-ours 0"),
        (&strict_exists, &STRICT, "b::1", "ff02::1", 12, "not-ours 0"),
        // No source, or one of the link: not under a strict policy, except to neighbours.
        (&strict_exists, &STRICT, "::", "a::9", 12, "vetoed 0 refuse"),
        (&strict_exists, &STRICT, "fe80::1", "a::9", 12, "vetoed 0 refuse"),
        (&strict_exists, &STRICT, "fe80::1", "a::9", 11, "vetoed 0 refuse"),
        (&strict_exists, &STRICT, "fe80::1", "2::9", 11, "not-ours 0"),
        (&strict_exists, &STRICT, "fe80::1", "2::9", 12, "vetoed 0 refuse"),
        (&strict_exists, &STRICT, "::ffff:169.254.0.1", "a::9", 12, "vetoed 0 refuse"),
        (&strict_exists, &PREFER, "fe80::1", "a::9", 12, "not-ours 0"),
        (&strict_host, &STRICT_ALL, "::", "a::9", 12, "not-ours 0"),
        // The host itself, by an interface that the application bound.
        (&strict_exists, &STRICT, "b::1", "9::9", 12, "vetoed 2 refuse"),
        (&strict_exists, &STRICT, "7::7", "9::9", 12, "vetoed 0 refuse"),
        (&strict_exists, &STRICT, "a::1", "9::9", 12, "vetoed 1 refuse"),
        (&strict_exists, &STRICT, "a::1", "9::9", 11, "not-ours 0"),
        (&strict_exists, &PREFER, "b::1", "9::9", 11, "not-ours 0"),
        // The kernel decides, by an interface that the view does not have: the source decides.
        (&strict_exists, &STRICT, "a::1", "e::9", 12, "redirected 1 on 11 to fe80::1"),
        (&strict_exists, &STRICT, "a::1", "e::9", 11, "consistent 1"),
        // Where it belongs; the rule is not asked for.
        (&prefer, &STRICT, "a::1", "b::9", 11, "consistent 1"),
        (&prefer, &STRICT, "7::7", "b::9", 11, "unknown-source 0"),
        // Elsewhere.
        (&prefer, &PREFER, "a::1", "b::9", 12, "redirected 1 on 11 to fe80::1"),
        (&prefer, &PREFER, "a::1", "a::9", 12, "redirected 1 on 11 to a::9"),
        (&prefer, &PREFER, "a::1", "a:0:0:1::9", 12, "redirected 1 on 11 to fe80::1"),
        (&prefer, &PREFER, "a::1", "7::9", 12, "redirected 1 on 11 to fe80::1"),
        (&prefer, &OBSERVE, "a::1", "b::9", 12, "observed 1"),
        (&prefer, &PREFER, "c::1", "b::9", 12, "expired 1"),
        (&prefer, &PREFER, "a::1", "d::9", 12, "administrator 2"),
        (&prefer, &PREFER, "b::1", "e::9", 11, "administrator 1"),
        // Strict cgroups, though most packets are where they belong.
        (&strict_exists, &STRICT, "a::1", "b::9", 11, "consistent 1"),
        (&strict_exists, &STRICT, "a::1", "b::9", 12, "redirected 1 on 11 to fe80::1"),
        (&strict_exists, &STRICT, "b::1", "b::9", 12, "vetoed 2 refuse"),
        (&strict_exists, &STRICT, "b::1", "e::9", 11, "vetoed 2 refuse"),
        (&strict_exists, &STRICT, "7::7", "b::9", 12, "vetoed 0 refuse"),
        (&strict_exists, &STRICT, "c::1", "b::9", 12, "vetoed 1 refuse"),
        (&strict_exists, &STRICT, "5::1", "5::9", 12, "consistent 2"),
        (&strict_exists, &STRICT, "5::1", "a::9", 12, "vetoed 2 refuse"),
        (&strict_exists, &PREFER, "7::7", "b::9", 12, "unknown-source 0"),
        (&strict_exists, &PREFER, "b::1", "b::9", 12, "consistent 2"),
        (&strict_host, &STRICT_ALL, "b::1", "a::9", 12, "consistent 2"),
        (&strict_host, &STRICT_ALL, "7::7", "a::9", 12, "unknown-source 0"),
        (&strict_host, &OBSERVE, "7::7", "a::9", 12, "unknown-source 0"),
    ] {
        let packet = Packet { source: addr(source), destination: addr(destination), ifindex };
        assert_eq!(
            text(egress(&tables, config, &packet, || *rule)),
            expected,
            "{config:?} {rule:?} {packet:?}"
        );
    }
}

/// Without strict policies the packets that are where they belong cost no cgroup walk.
#[test]
fn the_rule_is_asked_for_only_where_it_matters() {
    let config = Config { mode: Mode::Prefer as u32, ..Config::default() };
    for (source, ifindex) in [("a::1", 11), ("7::7", 11), ("fe80::1", 12)] {
        let packet = Packet { source: addr(source), destination: addr("b::9"), ifindex };
        let outcome = egress(&tables(), &config, &packet, || panic!("asked for {packet:?}"));
        assert_eq!(outcome.verdict, Verdict::Pass);
    }
}

/// One address on two interfaces (11 and 12): the kernel's choice between them stands, except for a strict policy.
#[test]
fn addresses_on_several_interfaces() {
    let mut tables = tables();
    tables.sources[0].1.flags |= source_flags::SEVERAL_INTERFACES;
    let config = Config { flags: config_flags::STRICT, mode: Mode::Prefer as u32, ..Config::default() };
    for (rule, ifindex, packet, socket) in [
        (PREFER, 11, "consistent 1", "several-interfaces 1"),
        (PREFER, 12, "several-interfaces 1", "several-interfaces 1"),
        (STRICT, 11, "consistent 1", "consistent 1"),
        (STRICT, 12, "redirected 1 on 11 to fe80::1", "vetoed 1 refuse"),
        (STRICT, 0, "redirected 1 on 11 to fe80::1", "followed-source 1 on 11"),
    ] {
        let leaving = Packet { source: addr("a::1"), destination: addr("b::9"), ifindex };
        assert_eq!(text(egress(&tables, &config, &leaving, || rule)), packet, "{rule:?} {ifindex}");
        let bound = self::socket("b::9", "a::1", ifindex);
        assert_eq!(text(connect(&tables, &rule, &bound)), socket, "{rule:?} {ifindex}");
    }
}

/// The address of an interface that is down (11) goes with no other provider.
#[test]
fn a_stranded_source() {
    let mut tables = tables();
    let flags = source_flags::STRANDED;
    tables.sources[0].1 = Source { ifindex: 11, flags, valid_until: FOREVER, ..Source::default() };
    let config = Config { flags: config_flags::STRICT, mode: Mode::Prefer as u32, ..Config::default() };
    for (rule, ifindex, packet, socket) in [
        (PREFER, 12, "unreachable 0 refuse", "unreachable 0 refuse"),
        (PREFER, 11, "consistent 0", "consistent 0"),
        (OBSERVE, 12, "observed 0", "observed 0"),
        (STRICT, 12, "vetoed 0 refuse", "vetoed 0 refuse"),
    ] {
        let leaving = Packet { source: addr("a::1"), destination: addr("b::9"), ifindex };
        assert_eq!(text(egress(&tables, &config, &leaving, || rule)), packet, "{rule:?} {ifindex}");
        let bound = self::socket("b::9", "a::1", ifindex);
        assert_eq!(text(connect(&tables, &rule, &bound)), socket, "{rule:?} {ifindex}");
    }
    assert_eq!(text(connect(&tables, &PREFER, &socket("b::9", "a::1", 0))), "unreachable 0 refuse");
    let neighbour = Packet { source: addr("a::1"), destination: addr("fe80::9"), ifindex: 12 };
    assert_eq!(text(egress(&tables, &config, &neighbour, || PREFER)), "not-ours 0");
    // A service may start while the interface is down.
    assert_eq!(text(bind(&tables, &STRICT, &addr("a::1"))), "unknown-source 0");
}

/// By an interface without a tc hook (13) nothing can be sent where it belongs.
#[test]
fn guarded() {
    let tables = tables();
    for (rule, source, destination, ifindex, expected) in [
        (STRICT, "a::1", "f::9", 13, "vetoed 1 refuse"),
        (STRICT, "b::1", "f::9", 13, "vetoed 2 refuse"),
        (STRICT, "9::9", "f::9", 13, "vetoed 0 refuse"),
        (STRICT, "::", "f::9", 13, "vetoed 0 refuse"),
        // at home, and what has no provider
        (STRICT, "a::1", "f::9", 11, "consistent 1"),
        (STRICT, "a::1", "fe80::9", 13, "not-ours 0"),
        (STRICT, "9::9", "ff02::9", 13, "not-ours 0"),
        // what the administrator routes, but not there
        (STRICT, "a::1", "e::9", 13, "vetoed 1 refuse"),
        (STRICT, "a::1", "e::9", 11, "consistent 1"),
    ] {
        let packet = Packet { source: addr(source), destination: addr(destination), ifindex };
        assert_eq!(text(guard(&tables, &rule, &packet)), expected, "{source} {destination} {ifindex}");
    }
}

#[test]
fn what_the_kernel_would_not_do() {
    for (rule, expected) in [
        (PREFER, "bind-failed 1"),
        (OBSERVE, "bind-failed 1"),
        (STRICT, "bind-failed 1 refuse"),
        (STRICT_ALL, "bind-failed 1 refuse"),
    ] {
        assert_eq!(text(rule.failed(Reason::BindFailed, 1)), expected, "{rule:?}");
    }
}

/// An echo request without a source of its own: source, interface and next hop of the view's decision, or nothing to change.
#[test]
fn echo_requests_without_a_source() {
    let tables = tables();
    for (source, destination, expected) in [
        ("b::1", "a::9", Some("readdressed 1 from a::1 on 11 to fe80::1")),
        ("b::1", "5::9", Some("readdressed 1 from 5::1 on 11 to fe80::1")),
        // not reached by the view; a route of the administrator
        ("b::1", "f::9", None),
        ("b::1", "e::9", None),
        // written by the application itself
        ("7::7", "a::9", None),
        // as it should be; on the link
        ("a::1", "a::9", None),
        ("b::1", "ff02::1", None),
    ] {
        let packet = Packet { source: addr(source), destination: addr(destination), ifindex: 12 };
        let outcome = readdress(&tables, &STRICT, &packet).map(text);
        assert_eq!(outcome.as_deref(), expected, "{packet:?}");
    }
    // a neighbour; an answer that has outlived its lifetime
    for (flags, valid_until, expected) in
        [(decision_flags::ON_LINK, FOREVER, Some("readdressed 1 from a::1 on 11 to a::9")), (0, NOW, None)]
    {
        let mut tables = self::tables();
        for (_, _, _, decision) in &mut tables.decisions {
            (decision.flags, decision.valid_until) = (flags, valid_until);
        }
        let packet = Packet { source: addr("b::1"), destination: addr("a::9"), ifindex: 12 };
        let outcome = readdress(&tables, &STRICT, &packet).map(text);
        assert_eq!(outcome.as_deref(), expected, "{flags}");
    }
}
