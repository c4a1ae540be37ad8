//! Every branch of the decision functions, one row each.

extern crate std;

use core::net::Ipv6Addr;
use std::{format, string::String, vec::Vec};

use super::*;
use crate::abi::{FOREVER, NO_PVD, SocketState, decision_flags};

/// The clock of the tables.
const NOW: u64 = 10;

/// The strict and the other views of the rules below: PvD 1 only.
const FIRST_ONLY: u32 = 1;

fn addr(text: &str) -> Addr {
    text.parse::<Ipv6Addr>().unwrap_or_else(|error| panic!("{text}: {error}")).into()
}

fn show(address: Addr) -> String {
    format!("{}", Ipv6Addr::from(address))
}

/// Tables as lists.
#[derive(Default)]
struct Lists {
    policies: Vec<(u64, Policy)>,
    decisions: Vec<(u32, Addr, u32, Decision)>,
    sources: Vec<(Addr, Source)>,
    members: Vec<(u32, PvdIndex)>,
}

impl Tables for Lists {
    fn now(&self) -> u64 {
        NOW
    }

    fn policy(&self, cgroup: u64) -> Option<&Policy> {
        self.policies.iter().find(|(id, _)| *id == cgroup).map(|(_, policy)| policy)
    }

    fn decision(&self, view: u32, destination: &Addr) -> Option<&Decision> {
        self.decisions
            .iter()
            .filter(|(of, prefix, bits, _)| *of == view && prefix.shares_prefix(destination, *bits))
            .max_by_key(|(_, _, bits, _)| *bits)
            .map(|(.., decision)| decision)
    }

    fn source(&self, address: &Addr) -> Option<&Source> {
        self.sources.iter().find(|(of, _)| of == address).map(|(_, source)| source)
    }

    fn permits(&self, view: u32, pvd: PvdIndex) -> bool {
        self.members.contains(&(view, pvd))
    }

    fn permits_interface(&self, view: u32, ifindex: u32) -> bool {
        self.members.iter().any(|(of, pvd)| *of == view && 10 + pvd == ifindex)
    }
}

/// Three PvDs on the interfaces 11, 12 and 13 with the sources a::1, b::1 and, expired, c::1. The address 5::1 is of
/// PvD 1 as well, but PvD 2 carries it.
///
/// Destinations: a::/16, b::/16, c::/16 are reached by their PvDs (c's answer has expired), d::/16 by a static route
/// of PvD 2, e::/16 by one that the kernel decides, f::/16 by nobody, 5::/16 with the shared address, 9::9 is the host
/// itself. View 1 has PvD 1 only.
fn tables() -> Lists {
    let mut lists = Lists::default();
    let mut decide = |views: &[u32], prefix: &str, bits, decision: Decision| {
        for view in views {
            lists.decisions.push((*view, addr(prefix), bits, decision));
        }
    };
    let take = |pvd: PvdIndex, source: &str, flags, valid_until| Decision {
        valid_until,
        source: addr(source),
        next_hop: addr("fe80::1"),
        ifindex: 10 + pvd,
        pvd,
        verdict: Stored::Use as u32,
        flags,
    };
    let both = &[DEFAULT_VIEW, FIRST_ONLY];
    decide(both, "a::", 16, take(1, "a::1", 0, FOREVER));
    decide(&[DEFAULT_VIEW], "b::", 16, take(2, "b::1", 0, FOREVER));
    decide(both, "c::", 16, take(1, "a::1", 0, NOW));
    decide(&[DEFAULT_VIEW], "d::", 16, take(2, "b::1", decision_flags::ADMINISTRATOR, FOREVER));
    decide(both, "5::", 16, take(1, "5::1", 0, FOREVER));
    decide(both, "::ffff:192.0.2.0", 96 + 24, take(1, "::ffff:192.0.2.1", 0, FOREVER));
    decide(&[DEFAULT_VIEW], "::ffff:0:0", 96, take(2, "::ffff:198.51.100.1", 0, FOREVER));
    let pass = |flags, pvd| Decision { pvd, flags, verdict: Stored::Pass as u32, ..Decision::default() };
    decide(both, "e::", 16, pass(decision_flags::ADMINISTRATOR, 1));
    decide(both, "9::9", 128, pass(decision_flags::LOCAL, NO_PVD));
    let near = Decision { flags: decision_flags::ON_LINK, ifindex: 11, ..Decision::default() };
    decide(&[FIRST_ONLY], "2::", 16, near);
    decide(both, "f::", 16, Decision { verdict: Stored::None as u32, ..Decision::default() });
    for (address, pvd, valid_until) in
        [("a::1", 1, FOREVER), ("b::1", 2, FOREVER), ("c::1", 1, NOW), ("5::1", 2, FOREVER)]
    {
        lists.sources.push((
            addr(address),
            Source {
                valid_until,
                next_hop: addr("fe80::1"),
                ifindex: 10 + pvd,
                pvd,
                on_link_bits: 64,
                flags: source_flags::LEADS_ON,
            },
        ));
    }
    let shared = &mut lists.sources[3].1;
    shared.flags |= source_flags::SHARED;
    lists.members.push((FIRST_ONLY, 1));
    lists
}

const PREFER: Rule = Rule { view: DEFAULT_VIEW, mode: Mode::Prefer, cgroup: 0 };
const OBSERVE: Rule = Rule { view: DEFAULT_VIEW, mode: Mode::Observe, cgroup: 0 };
const STRICT: Rule = Rule { view: FIRST_ONLY, mode: Mode::Strict, cgroup: 7 };
const STRICT_ALL: Rule = Rule { view: DEFAULT_VIEW, mode: Mode::Strict, cgroup: 0 };

/// `REASON PVD`, and what there is to do: `refuse` or `[from SOURCE] [on IFINDEX] [to NEXT_HOP]`.
fn text(outcome: Outcome) -> String {
    let mut text = format!("{} {}", outcome.reason.name(), outcome.pvd);
    match outcome.verdict {
        Verdict::Pass => {}
        Verdict::Refuse => text.push_str(" refuse"),
        Verdict::Apply => {
            if !outcome.source.is_unspecified() {
                text.push_str(&format!(" from {}", show(outcome.source)));
            }
            if outcome.ifindex != 0 {
                text.push_str(&format!(" on {}", outcome.ifindex));
            }
            if !outcome.next_hop.is_unspecified() {
                text.push_str(&format!(" to {}", show(outcome.next_hop)));
            }
            return text;
        }
    }
    let nothing = Outcome { ifindex: 0, source: Addr::UNSPECIFIED, next_hop: Addr::UNSPECIFIED, ..outcome };
    assert_eq!(outcome, nothing, "only Apply names what to set");
    text
}

/// A socket on its way to a destination; `source` and `ifindex` may be empty (`::`, 0).
fn socket(destination: &str, source: &str, ifindex: u32) -> Socket {
    Socket { destination: addr(destination), source: addr(source), ifindex, ..Socket::default() }
}

#[test]
fn sockets() {
    let tables = tables();
    for (rule, socket, connected, sent) in [
        // Exempt destinations.
        (&STRICT, socket("::ffff:127.0.0.9", "::", 0), "not-ours 0", "not-ours 0"),
        (&STRICT, socket("::ffff:0.0.0.0", "::", 0), "not-ours 0", "not-ours 0"),
        (&STRICT, socket("::ffff:169.254.0.9", "::", 0), "not-ours 0", "not-ours 0"),
        (&STRICT, socket("::ffff:224.0.0.251", "::", 0), "not-ours 0", "not-ours 0"),
        (&STRICT, socket("::ffff:255.255.255.255", "::", 0), "not-ours 0", "not-ours 0"),
        (&STRICT, socket("::", "::", 0), "not-ours 0", "not-ours 0"),
        (&STRICT, socket("::1", "::", 0), "not-ours 0", "not-ours 0"),
        (&STRICT, socket("fe80::9", "::", 0), "not-ours 0", "not-ours 0"),
        (&STRICT, socket("ff02::1", "::", 0), "not-ours 0", "not-ours 0"),
        (&STRICT, socket("9::9", "b::1", 0), "not-ours 0", "not-ours 0"),
        // Nothing chosen yet.
        (&PREFER, socket("a::9", "::", 0), "applied 1 from a::1 on 11", "applied 1 from a::1 on 11"),
        (&PREFER, socket("b::9", "::", 0), "applied 2 from b::1 on 12", "applied 2 from b::1 on 12"),
        (&STRICT, socket("a::9", "::", 0), "applied 1 from a::1 on 11", "applied 1 from a::1 on 11"),
        (&OBSERVE, socket("a::9", "::", 0), "observed 1", "observed 1"),
        // Nobody reaches it, by an entry and without one.
        (&PREFER, socket("f::9", "::", 0), "no-decision 0", "no-decision 0"),
        (&STRICT, socket("f::9", "::", 0), "unreachable 0 refuse", "unreachable 0 refuse"),
        (&PREFER, socket("7::9", "::", 0), "no-decision 0", "no-decision 0"),
        (&STRICT, socket("b::9", "::", 0), "unreachable 0 refuse", "unreachable 0 refuse"),
        (&OBSERVE, socket("f::9", "::", 0), "no-decision 0", "no-decision 0"),
        // IPv4, in the same tables.
        (
            &PREFER,
            socket("::ffff:192.0.2.9", "::", 0),
            "applied 1 from ::ffff:192.0.2.1 on 11",
            "applied 1 from ::ffff:192.0.2.1 on 11",
        ),
        (&STRICT, socket("::ffff:198.51.100.9", "::", 0), "unreachable 0 refuse", "unreachable 0 refuse"),
        // The answer has expired.
        (&PREFER, socket("c::9", "::", 0), "expired 1", "expired 1"),
        (&STRICT, socket("c::9", "::", 0), "unreachable 1 refuse", "unreachable 1 refuse"),
        // The application bound an interface.
        (&PREFER, socket("a::9", "::", 11), "applied 1 from a::1", "applied 1 from a::1"),
        (&PREFER, socket("a::9", "::", 12), "application-device 1", "application-device 1"),
        (&STRICT, socket("a::9", "::", 12), "vetoed 1 refuse", "vetoed 1 refuse"),
        (&STRICT, socket("a::9", "::", 11), "applied 1 from a::1", "applied 1 from a::1"),
        // An interface of the view, though another one of it is better: tc egress sees to the source.
        (&STRICT, socket("5::9", "::", 13), "vetoed 1 refuse", "vetoed 1 refuse"),
        (&STRICT_ALL, socket("a::9", "::", 12), "application-device 1", "application-device 1"),
        // The administrator decides.
        (&PREFER, socket("e::9", "::", 0), "administrator 1", "administrator 1"),
        (&STRICT, socket("e::9", "::", 0), "administrator 1", "administrator 1"),
        (&PREFER, socket("e::9", "b::1", 0), "administrator 1", "administrator 1"),
        (&PREFER, socket("e::9", "7::7", 0), "administrator 1", "administrator 1"),
        (&PREFER, socket("d::9", "::", 0), "applied 2 from b::1 on 12", "applied 2 from b::1 on 12"),
        (&PREFER, socket("d::9", "a::1", 0), "administrator 2", "administrator 2"),
        (&PREFER, socket("d::9", "b::1", 0), "followed-source 2 on 12", "consistent 2"),
        // A source that the view does not have, wherever the packets go.
        (&STRICT, socket("a::9", "b::1", 0), "vetoed 2 refuse", "vetoed 2 refuse"),
        (&STRICT, socket("e::9", "b::1", 0), "vetoed 2 refuse", "vetoed 2 refuse"),
        (&STRICT, socket("a::9", "7::7", 0), "vetoed 0 refuse", "vetoed 0 refuse"),
        (&STRICT, socket("e::9", "7::7", 0), "vetoed 0 refuse", "vetoed 0 refuse"),
        (&STRICT_ALL, socket("a::9", "b::1", 0), "followed-source 2 on 12", "consistent 2"),
        // It has a source of its own.
        (&STRICT, socket("e::9", "a::1", 0), "administrator 1", "administrator 1"),
        (&PREFER, socket("b::9", "a::1", 0), "followed-source 1 on 11", "consistent 1"),
        (&PREFER, socket("f::9", "a::1", 0), "followed-source 1 on 11", "consistent 1"),
        (&STRICT, socket("b::9", "a::1", 0), "followed-source 1 on 11", "consistent 1"),
        (&OBSERVE, socket("b::9", "a::1", 0), "observed 1", "consistent 1"),
        (&PREFER, socket("b::9", "a::1", 11), "consistent 1", "consistent 1"),
        (&PREFER, socket("b::9", "a::1", 12), "application-device 1", "application-device 1"),
        (&STRICT, socket("b::9", "a::1", 12), "vetoed 1 refuse", "vetoed 1 refuse"),
        (&PREFER, socket("b::9", "7::7", 0), "unknown-source 0", "unknown-source 0"),
        (&PREFER, socket("b::9", "c::1", 0), "expired 1", "expired 1"),
        (&STRICT, socket("b::9", "c::1", 0), "vetoed 1 refuse", "vetoed 1 refuse"),
        // An address of PvD 1 that PvD 2 carries: the view has it where its own decision names it.
        (&STRICT, socket("5::9", "::", 0), "applied 1 from 5::1 on 11", "applied 1 from 5::1 on 11"),
        (&STRICT, socket("5::9", "5::1", 12), "consistent 2", "consistent 2"),
        (&STRICT, socket("a::9", "5::1", 12), "vetoed 2 refuse", "vetoed 2 refuse"),
        // With a port the source cannot be bound any more; a datagram can still be given one.
        (
            &PREFER,
            Socket { has_port: true, ..socket("a::9", "::", 0) },
            "interface-only 1 on 11",
            "applied 1 from a::1 on 11",
        ),
        (
            &PREFER,
            Socket { has_port: true, ..socket("a::9", "::", 11) },
            "consistent 1",
            "applied 1 from a::1",
        ),
        (&PREFER, Socket { has_port: true, ..socket("f::9", "::", 0) }, "no-decision 0", "no-decision 0"),
        (&OBSERVE, Socket { has_port: true, ..socket("a::9", "::", 0) }, "observed 1", "observed 1"),
        // A hook bound the interface: no choice of the application's.
        (
            &STRICT,
            Socket {
                ours: SocketState { ifindex: 12, ..SocketState::default() },
                ..socket("a::9", "::", 12)
            },
            "applied 1 from a::1 on 11",
            "applied 1 from a::1 on 11",
        ),
        (
            &PREFER,
            Socket {
                ours: SocketState { ifindex: 12, ..SocketState::default() },
                ..socket("b::9", "a::1", 12)
            },
            "followed-source 1 on 11",
            "consistent 1",
        ),
        // A hook bound the source: it is chosen anew while the socket has no port, else it is followed.
        (
            &PREFER,
            Socket { ours: SocketState { source: addr("a::1"), ifindex: 11 }, ..socket("b::9", "a::1", 0) },
            "applied 2 from b::1 on 12",
            "applied 2 from b::1 on 12",
        ),
        (
            &PREFER,
            Socket {
                has_port: true,
                ours: SocketState { source: addr("a::1"), ifindex: 11 },
                ..socket("b::9", "a::1", 11)
            },
            "consistent 1",
            "consistent 1",
        ),
    ] {
        assert_eq!(text(connect(&tables, rule, &socket)), connected, "connect {rule:?} {socket:?}");
        assert_eq!(text(sendmsg(&tables, rule, &socket)), sent, "sendmsg {rule:?} {socket:?}");
    }
}

/// What a hook is taken to have done, where no note says so: `SOURCE IFINDEX`; whether a note is needed from now on, and whether
/// the interface may be taken back.
/// What IP_UNICAST_IF or IPV6_UNICAST_IF chooses counts like what SO_BINDTODEVICE binds, where nothing is bound.
#[test]
fn interfaces_that_are_chosen_without_binding() {
    let chosen = |unicast_if, socket| Socket { unicast_if, ..socket };
    let ours = SocketState { source: Addr::UNSPECIFIED, ifindex: 11 };
    for (rule, socket, connected, sent) in [
        (
            &PREFER,
            chosen(11, socket("a::9", "::", 0)),
            "applied 1 from a::1 on 11",
            "applied 1 from a::1 on 11",
        ),
        (&PREFER, chosen(12, socket("a::9", "::", 0)), "application-device 1", "application-device 1"),
        (
            &STRICT,
            chosen(11, socket("a::9", "::", 0)),
            "applied 1 from a::1 on 11",
            "applied 1 from a::1 on 11",
        ),
        (&STRICT, chosen(12, socket("a::9", "::", 0)), "vetoed 1 refuse", "vetoed 1 refuse"),
        // Bound besides: the kernel does not heed it.
        (&PREFER, chosen(12, socket("a::9", "::", 11)), "applied 1 from a::1", "applied 1 from a::1"),
        // Bound by a hook, which gives it back.
        (
            &PREFER,
            Socket { ours, ..chosen(12, socket("a::9", "::", 11)) },
            "application-device 1",
            "application-device 1",
        ),
        // With a source: of that interface, of another one.
        (&STRICT, chosen(11, socket("b::9", "a::1", 0)), "followed-source 1 on 11", "consistent 1"),
        (&PREFER, chosen(12, socket("b::9", "a::1", 0)), "application-device 1", "application-device 1"),
        (&STRICT, chosen(12, socket("b::9", "a::1", 0)), "vetoed 1 refuse", "vetoed 1 refuse"),
    ] {
        assert_eq!(text(connect(&tables(), rule, &socket)), connected, "{rule:?} {socket:?}");
        assert_eq!(text(sendmsg(&tables(), rule, &socket)), sent, "{rule:?} {socket:?}");
    }
}

#[test]
fn presumptions() {
    let tables = tables();
    let with_port = |socket| Socket { has_port: true, ..socket };
    for (socket, ours, alone, interface) in [
        (socket("a::9", "::", 0), ":: 0", true, false),
        // The application bound an interface and nothing else.
        (socket("a::9", "::", 12), ":: 0", false, false),
        (with_port(socket("a::9", "::", 0)), ":: 0", false, false),
        // A source without a port, after a connect that failed or was taken back: a hook's, and the interface with it.
        (socket("a::9", "b::1", 12), "b::1 12", true, true),
        (socket("a::9", "b::1", 0), "b::1 0", true, false),
        (socket("a::9", "7::7", 12), "7::7 12", true, true),
        // Bound after a connect that was taken back: the application's.
        (socket("a::9", "b::1", 11), "b::1 0", false, false),
        // With a port, after a connect: the source stays; the interface is a hook's if it is the source's.
        (with_port(socket("a::9", "b::1", 12)), ":: 0", false, true),
        (with_port(socket("a::9", "b::1", 11)), ":: 0", false, false),
        (with_port(socket("a::9", "7::7", 12)), ":: 0", false, false),
        (with_port(socket("a::9", "b::1", 0)), ":: 0", false, false),
    ] {
        let mut presumed = socket;
        presumed.presume_ours(&tables);
        assert_eq!(format!("{} {}", show(presumed.ours.source), presumed.ours.ifindex), ours, "{socket:?}");
        assert_eq!(presumed.is_ours_alone(), alone, "{socket:?}");
        assert_eq!(presumed.has_our_interface(&tables, false), interface, "{socket:?}");
        // With a note that says that nothing is ours, nothing is.
        assert!(!socket.has_our_interface(&tables, true), "{socket:?}");
    }
    // A connect that failed is tried again, by another PvD: nothing of the first is in the way.
    let mut again = socket("b::9", "a::1", 11);
    again.presume_ours(&tables);
    assert_eq!(text(connect(&tables, &PREFER, &again)), "applied 2 from b::1 on 12");
}

#[test]
fn binds() {
    let tables = tables();
    for (rule, address, expected) in [
        (&STRICT, "::", "not-ours 0"),
        (&STRICT, "::1", "not-ours 0"),
        (&STRICT, "::ffff:127.0.0.1", "not-ours 0"),
        (&STRICT, "a::1", "consistent 1"),
        (&STRICT, "b::1", "vetoed 2 refuse"),
        (&STRICT, "7::7", "unknown-source 0"),
        // PvD 2 carries it, PvD 1 may use it.
        (&STRICT, "5::1", "consistent 2"),
        (&STRICT_ALL, "b::1", "consistent 2"),
        (&PREFER, "b::1", "consistent 2"),
        (&OBSERVE, "b::1", "consistent 2"),
    ] {
        assert_eq!(text(bind(&tables, rule, &addr(address))), expected, "{rule:?} {address}");
    }
}

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

/// The ancestors of a process's cgroup, from the root.
struct Path(&'static [u64]);

impl Cgroups for Path {
    fn ancestor(&self, level: u32) -> u64 {
        self.0.get(level as usize).copied().unwrap_or(0)
    }
}

#[test]
fn rules() {
    let mut tables = tables();
    let strict = Policy { view: 1, mode: Mode::Strict as u32 };
    let observe = Policy { view: 2, mode: Mode::Observe as u32 };
    // The deepest level that is looked at, and one below it.
    static DEEP: [u64; 26] = {
        let mut path = [1000; 26];
        path[limits::CGROUP_LEVELS as usize - 1] = 23;
        path[limits::CGROUP_LEVELS as usize] = 24;
        path
    };
    tables.policies.extend([(5, strict), (6, observe), (23, strict), (24, observe)]);
    tables.policies.push((8, Policy { view: 3, mode: 99 }));
    let rule = |view, mode, cgroup| Rule { view, mode, cgroup };
    let default = rule(0, Mode::Prefer, 0);
    for (flags, path, expected) in [
        (config_flags::POLICIES, &[1, 2, 3][..], default),
        (config_flags::POLICIES, &[], default),
        (config_flags::POLICIES, &[1, 5, 3], rule(1, Mode::Strict, 5)),
        // The nearest decides.
        (config_flags::POLICIES, &[1, 5, 6], rule(2, Mode::Observe, 6)),
        (config_flags::POLICIES, &[1, 6, 5, 3], rule(1, Mode::Strict, 5)),
        (config_flags::POLICIES, &DEEP, rule(1, Mode::Strict, 23)),
        // A mode of a newer version.
        (config_flags::POLICIES, &[8], rule(3, Mode::Observe, 8)),
        // No policies at all.
        (0, &[1, 5, 3], default),
        // Foreign rules: the default only observes, a policy stays what it is.
        (config_flags::FOREIGN_RULES_IPV6, &[1], rule(0, Mode::Observe, 0)),
        (config_flags::FOREIGN_RULES_IPV6 | config_flags::POLICIES, &[5], rule(1, Mode::Strict, 5)),
        // Those of the other family are none of ours.
        (config_flags::FOREIGN_RULES_IPV4, &[1], default),
    ] {
        let config = Config { mode: Mode::Prefer as u32, flags, ..Config::default() };
        assert_eq!(Rule::of(&tables, &config, &addr("a::9"), &Path(path)), expected, "{flags} {path:?}");
    }
    for (flags, mode) in
        [(config_flags::FOREIGN_RULES_IPV4, Mode::Observe), (config_flags::FOREIGN_RULES_IPV6, Mode::Prefer)]
    {
        let config = Config { mode: Mode::Prefer as u32, flags, ..Config::default() };
        assert_eq!(Rule::default_of(&config, &addr("::ffff:192.0.2.9")).mode, mode, "{flags}");
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
