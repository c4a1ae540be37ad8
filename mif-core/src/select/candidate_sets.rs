//! The vectors of candidate sets (RFC 6724 §4, RFC 7556 §5.2.2), from a world to what a hook answers. C06 and C07, whose
//! destinations hooks leave alone, are among the vectors of `rfc6724`; C11 is what is left alone here.

use std::net::Ipv6Addr;

use mif_common::{
    Addr,
    abi::Mode,
    decide::{Outcome, Rule, Socket, Verdict, bind, connect},
};

use super::{compile, host::HostTables, testing::world};

/// A row of [`VECTORS`].
type Vector = (&'static str, &'static str, (u32, Mode), &'static str, &'static str, u64, &'static str);

/// (ID, world, view and mode, the source that the application bound, the destination, the time, what connect does).
///
/// Outcomes: `from SOURCE by INTERFACE`, `by INTERFACE` where the application's source stays, `as it is` where nothing is to
/// do, and else the reason, refusals with an exclamation mark.
#[rustfmt::skip]
const VECTORS: &[Vector] = &[
    ("C01", TWO, (1, Mode::Strict), "2001:db8:b::2", "2001:db8:5::1", 0, "vetoed!"),
    ("C01, of nobody", TWO, (1, Mode::Strict), "2001:db8:c::2", "2001:db8:5::1", 0, "vetoed!"),
    ("C01, where no policy limits the set", TWO, (0, Mode::Prefer), "2001:db8:b::2", "2001:db8:5::1", 0, "by 12"),
    ("C02", "pvd 1 11\nsource 2001:db8:a::1/64\nsource 2001:db8:a::2/64 deprecated\nroute ::/0 via fe80::a",
        (0, Mode::Prefer), "2001:db8:a::2", "2001:db8:5::1", 0, "by 11"),
    ("C02, the other way", "pvd 1 11\nsource 2001:db8:a::1/64\nsource 2001:db8:a::2/64 deprecated\nroute ::/0 via fe80::a",
        (0, Mode::Prefer), "", "2001:db8:5::1", 0, "from 2001:db8:a::1 by 11"),
    ("C03", "pvd 1 11\nsource 2001:db8:a::1/64 tentative\nroute ::/0 via fe80::a",
        (0, Mode::Prefer), "", "2001:db8:5::1", 0, "no-decision"),
    ("C03, strict", "pvd 1 11\nsource 2001:db8:a::1/64 tentative\nroute ::/0 via fe80::a\nview 1 1",
        (1, Mode::Strict), "", "2001:db8:5::1", 0, "unreachable!"),
    ("C04, C05", "pvd 1 11\nsource 2001:db8:a::1/64 deprecated\nroute ::/0 via fe80::a",
        (0, Mode::Prefer), "", "2001:db8:5::1", 0, "from 2001:db8:a::1 by 11"),
    ("C09", "pvd 1 11\nroute ::/0 via fe80::a\npvd 2 12\nsource 2001:db8:b::1/64\nroute ::/0 via fe80::b\nview 1 1",
        (1, Mode::Strict), "", "2001:db8:5::1", 0, "unreachable!"),
    ("C09, as a preference", "pvd 1 11\nroute ::/0 via fe80::a\npvd 2 12\nsource 2001:db8:b::1/64\nroute ::/0 via fe80::b\nview 1 1",
        (1, Mode::Prefer), "", "2001:db8:5::1", 0, "no-decision"),
    ("C10, before", "pvd 1 11\nsource 2001:db8:a::1/64 until 7\nroute ::/0 via fe80::a",
        (0, Mode::Prefer), "", "2001:db8:5::1", 6, "from 2001:db8:a::1 by 11"),
    ("C10", "pvd 1 11\nsource 2001:db8:a::1/64 until 7\nroute ::/0 via fe80::a",
        (0, Mode::Prefer), "", "2001:db8:5::1", 7, "expired"),
    ("C10, strict", "pvd 1 11\nsource 2001:db8:a::1/64 until 7\nroute ::/0 via fe80::a\nview 1 1",
        (1, Mode::Strict), "", "2001:db8:5::1", 7, "unreachable!"),
    ("C10, bound", "pvd 1 11\nsource 2001:db8:a::1/64 until 7\nroute ::/0 via fe80::a",
        (0, Mode::Prefer), "2001:db8:a::1", "2001:db8:5::1", 7, "expired"),
    ("C11", TWO, (0, Mode::Prefer), "", "fe80::9", 0, "not-ours"),
    ("S53", TWO, (1, Mode::Strict), "", "2001:db8:b::9", 0, "from 2001:db8:a::2 by 11"),
];

/// Two providers, and a view that has the first one only.
const TWO: &str = "pvd 1 11\nsource 2001:db8:a::2/64\nroute ::/0 via fe80::a\nroute 2001:db8:a::/64
     pvd 2 12\nsource 2001:db8:b::2/64\nroute ::/0 via fe80::b\nroute 2001:db8:b::/64
     view 1 1";

fn addr(text: &str) -> Addr {
    text.parse::<Ipv6Addr>().unwrap_or_else(|error| panic!("{text}: {error}")).into()
}

fn short(outcome: &Outcome) -> String {
    match outcome.verdict {
        Verdict::Apply if outcome.source.is_unspecified() => format!("by {}", outcome.ifindex),
        Verdict::Apply => format!("from {} by {}", Ipv6Addr::from(outcome.source), outcome.ifindex),
        Verdict::Pass => outcome.reason.name().to_owned(),
        Verdict::Refuse => format!("{}!", outcome.reason.name()),
    }
}

#[test]
fn vectors() {
    for (id, text, (view, mode), bound, destination, now, expected) in VECTORS {
        let tables = HostTables { tables: compile(&world(text)), now: *now, ..HostTables::default() };
        let rule = Rule { view: *view, mode: *mode, cgroup: u64::from(*view) };
        let mut socket = Socket { destination: addr(destination), ..Socket::default() };
        if !bound.is_empty() {
            socket.source = addr(bound);
            socket.has_port = true;
        }
        assert_eq!(short(&connect(&tables, &rule, &socket)), *expected, "{id}");
    }
}

/// C01 where the application can still choose: at bind.
#[test]
fn what_may_be_bound() {
    let tables = HostTables { tables: compile(&world(TWO)), ..HostTables::default() };
    for (view, mode, address, expected) in [
        (1, Mode::Strict, "2001:db8:a::2", Verdict::Pass),
        (1, Mode::Strict, "2001:db8:b::2", Verdict::Refuse),
        (1, Mode::Prefer, "2001:db8:b::2", Verdict::Pass),
        (0, Mode::Prefer, "2001:db8:b::2", Verdict::Pass),
    ] {
        let rule = Rule { view, mode, cgroup: 1 };
        assert_eq!(bind(&tables, &rule, &addr(address)).verdict, expected, "{view} {mode:?} {address}");
    }
}
