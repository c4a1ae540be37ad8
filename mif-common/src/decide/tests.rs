//! Every branch of the decision functions, one row each.

extern crate std;

use core::net::Ipv6Addr;
use std::{format, string::String, vec::Vec};

use super::*;
use crate::abi::{FOREVER, NO_PVD, SocketState, decision_flags};

mod packets;
mod routers;
mod sockets;

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
