//! The vectors of RFC 6724 §10.2 to §10.7 and more.

use std::net::IpAddr;

use super::*;
use crate::{
    family::mapped,
    select::{
        policy_table::{DefaultTable, Row},
        rfc6724::{Candidate, Privacy, Target, select as select_source},
    },
};

/// (ID, circumstances, sources, destinations in the order given, expected order with the rule between neighbours).
///
/// Circumstances: `table-10.3` to `table-10.7`: rows that the RFC's section has; `update`: the table of the update draft.
/// Sources: `ADDRESS/LEN FLAG...`. Destinations: `unreachable` and `encapsulated` as flags. Expected: `DESTINATION SOURCE`,
/// and between two the number of the rule.
#[rustfmt::skip]
const VECTORS: &[(&str, &str, &str, &str, &str)] = &[
    ("D01", "", "2001:db8:1::2/64, fe80::1/64, 169.254.13.78/16",
        "2001:db8:1::1, 198.51.100.121",
        "2001:db8:1::1 2001:db8:1::2, 2, 198.51.100.121 169.254.13.78"),
    ("D02", "", "fe80::1/64, 198.51.100.117/24",
        "2001:db8:1::1, 198.51.100.121",
        "198.51.100.121 198.51.100.117, 2, 2001:db8:1::1 fe80::1"),
    ("D03", "", "2001:db8:1::2/64, fe80::1/64, 10.1.2.4/24",
        "2001:db8:1::1, 10.1.2.3",
        "2001:db8:1::1 2001:db8:1::2, 6, 10.1.2.3 10.1.2.4"),
    ("D04", "", "2001:db8:1::2/64, fe80::2/64",
        "2001:db8:1::1, fe80::1",
        "fe80::1 fe80::2, 8, 2001:db8:1::1 2001:db8:1::2"),
    ("D05", "", "2001:db8:1::2/64 care-of, 2001:db8:3::1/64 home, fe80::2/64 care-of",
        "2001:db8:1::1, fe80::1",
        "2001:db8:1::1 2001:db8:3::1, 4, fe80::1 fe80::2"),
    ("D06", "", "2001:db8:1::2/64, fe80::2/64 deprecated",
        "2001:db8:1::1, fe80::1",
        "2001:db8:1::1 2001:db8:1::2, 3, fe80::1 fe80::2"),
    ("D07", "", "2001:db8:1::2/64, 2001:db8:3f44::2/64, fe80::2/64",
        "2001:db8:1::1, 2001:db8:3ffe::1",
        "2001:db8:1::1 2001:db8:1::2, 9, 2001:db8:3ffe::1 2001:db8:3f44::2"),
    ("D08", "", "2002:c633:6401::2/64, fe80::2/64",
        "2002:c633:6401::1, 2001:db8:1::1",
        "2002:c633:6401::1 2002:c633:6401::2, 5, 2001:db8:1::1 2002:c633:6401::2"),
    ("D09", "", "2002:c633:6401::2/64, 2001:db8:1::2/64, fe80::2/64",
        "2002:c633:6401::1, 2001:db8:1::1",
        "2001:db8:1::1 2001:db8:1::2, 6, 2002:c633:6401::1 2002:c633:6401::2"),
    ("D10", "table-10.3", "2001:db8::2/64, fe80::1/64, 10.1.2.4/24",
        "2001:db8::1, 10.1.2.3",
        "10.1.2.3 10.1.2.4, 6, 2001:db8::1 2001:db8::2"),
    ("D11", "table-10.3", "2001:db8::2/64, fe80::1/64, 169.254.13.78/16",
        "2001:db8::1, 198.51.100.121",
        "2001:db8::1 2001:db8::2, 2, 198.51.100.121 169.254.13.78"),
    ("D12", "table-10.4", "2001:db8::2/64, fe80::2/64",
        "2001:db8::1, fe80::1",
        "2001:db8::1 2001:db8::2, 6, fe80::1 fe80::2"),
    ("D13", "table-10.4", "2001:db8::2/64 deprecated, fe80::2/64",
        "2001:db8::1, fe80::1",
        "fe80::1 fe80::2, 3, 2001:db8::1 2001:db8::2"),
    ("D14", "", "2001:db8:1aaa::a/64, 2001:db8:70aa::a/64, fe80::a/64",
        "2001:db8:1bbb::b, 2001:db8:70bb::b",
        "2001:db8:70bb::b 2001:db8:70aa::a, 9, 2001:db8:1bbb::b 2001:db8:1aaa::a"),
    ("D15", "", "2001:db8:1aaa::a/64, 2001:db8:70aa::a/64, fe80::a/64",
        "2001:db8:1ccc::c, 2001:db8:6ccc::c",
        "2001:db8:1ccc::c 2001:db8:1aaa::a, 9, 2001:db8:6ccc::c 2001:db8:70aa::a"),
    ("D16", "table-10.5", "2001:db8:1aaa::a/64, 2001:db8:70aa::a/64, fe80::a/64",
        "2001:db8:1bbb::b, 2001:db8:70bb::b",
        "2001:db8:1bbb::b 2001:db8:1aaa::a, 6, 2001:db8:70bb::b 2001:db8:70aa::a"),
    ("D17", "table-10.5", "2001:db8:1aaa::a/64, 2001:db8:70aa::a/64, fe80::a/64",
        "2001:db8:1ccc::c, 2001:db8:6ccc::c",
        "2001:db8:6ccc::c 2001:db8:70aa::a, 9, 2001:db8:1ccc::c 2001:db8:70aa::a"),
    ("D18", "", "2001:db8:1::1/64, fd11:1111:1111:1::1/64",
        "2001:db8:2::2, fd22:2222:2222:2::2",
        "2001:db8:2::2 2001:db8:1::1, 6, fd22:2222:2222:2::2 fd11:1111:1111:1::1"),
    ("D19", "table-10.6", "2001:db8:1::1/64, fd11:1111:1111:1::1/64",
        "2001:db8:2::2, fd11:1111:1111:2::2",
        "fd11:1111:1111:2::2 fd11:1111:1111:1::1, 6, 2001:db8:2::2 2001:db8:1::1"),
    ("D20", "", "2002:c633:6401::2/64, 10.1.2.3/24",
        "2001:db8:1::1, 203.0.113.1",
        "203.0.113.1 10.1.2.3, 5, 2001:db8:1::1 2002:c633:6401::2"),
    ("D21", "table-10.7", "2002:c633:6401:1::1/64, 10.1.2.3/24",
        "2002:c633:6401:2::2, 203.0.113.1",
        "2002:c633:6401:2::2 2002:c633:6401:1::1, 6, 203.0.113.1 10.1.2.3"),
    ("D22", "", "2002:c633:6401:1::1/64, 10.1.2.3/24",
        "2002:c633:6401:2::2, 203.0.113.1",
        "203.0.113.1 10.1.2.3, 6, 2002:c633:6401:2::2 2002:c633:6401:1::1"),
    ("D23", "", "10.1.2.4/24",
        "2001:db8:1::1, 10.1.2.3",
        "10.1.2.3 10.1.2.4, 1, 2001:db8:1::1 none"),
    ("D24", "", "2001:db8:1::2/64, 10.1.2.4/24",
        "2001:db8:1::1 unreachable, 10.1.2.3",
        "10.1.2.3 10.1.2.4, 1, 2001:db8:1::1 2001:db8:1::2"),
    ("D25", "", "fd11::2/64, 10.1.2.4/24",
        "2001:db8:1::1, 203.0.113.1",
        "203.0.113.1 10.1.2.4, 5, 2001:db8:1::1 fd11::2"),
    ("D26", "", "fd11::2/64, 10.1.2.4/24",
        "fd22::1, 203.0.113.1",
        "203.0.113.1 10.1.2.4, 6, fd22::1 fd11::2"),
    ("D27", "update", "fd11::2/64, 10.1.2.4/24",
        "fd22::1, 203.0.113.1",
        "fd22::1 fd11::2, 6, 203.0.113.1 10.1.2.4"),
    ("D28", "", "::1/128, 127.0.0.1/8",
        "127.0.0.1, ::1",
        "::1 ::1, 6, 127.0.0.1 127.0.0.1"),
    ("D29", "", "2001:db8:1::2/64",
        "2001:db8:1::99, 2001:db8:1::22",
        "2001:db8:1::99 2001:db8:1::2, 10, 2001:db8:1::22 2001:db8:1::2"),
    ("D30", "", "2001:db8:1::2/64",
        "2001:db8:1::22, 2001:db8:1::99",
        "2001:db8:1::22 2001:db8:1::2, 10, 2001:db8:1::99 2001:db8:1::2"),
    ("D31", "", "2001:db8:1::2/64, 10.1.2.4/24",
        "203.0.113.1, 10.1.2.3, 2001:db8:9::1",
        "2001:db8:9::1 2001:db8:1::2, 6, 10.1.2.3 10.1.2.4, 9, 203.0.113.1 10.1.2.4"),
    ("D32", "", "2001:db8:1::2/64",
        "2001:db8:7::1 encapsulated, 2001:db8:9::1",
        "2001:db8:9::1 2001:db8:1::2, 7, 2001:db8:7::1 2001:db8:1::2"),
    ("D33", "", "2001:db8:1::2/64 deprecated, 10.1.2.4/24",
        "2001:db8:9::1, 203.0.113.1",
        "203.0.113.1 10.1.2.4, 3, 2001:db8:9::1 2001:db8:1::2"),
    ("D33, what the kernel calls a deprecated IPv4 address", "", "2001:db8:1::2/64 deprecated, 10.1.2.4/24 deprecated",
        "2001:db8:9::1, 203.0.113.1",
        "203.0.113.1 10.1.2.4, 3, 2001:db8:9::1 2001:db8:1::2"),
    ("D34", "", "2001:db8:1::2/64, 10.1.2.4/24",
        "203.0.113.1, 64:ff9b::cb00:7101",
        "64:ff9b::cb00:7101 2001:db8:1::2, 6, 203.0.113.1 10.1.2.4"),
    ("D35", "", "2001:0:53aa:64c::1/64, 10.1.2.4/24",
        "2001:db8:9::1, 203.0.113.1",
        "203.0.113.1 10.1.2.4, 5, 2001:db8:9::1 2001:0:53aa:64c::1"),
    ("the update draft: a ULA of the site", "update known-local", "2001:db8:1::1/64, fd11:1111:1111:1::1/64",
        "2001:db8:2::2, fd22::1, fd11:1111:1111:2::2, 192.0.2.1",
        "fd11:1111:1111:2::2 fd11:1111:1111:1::1, 6, 2001:db8:2::2 2001:db8:1::1, 5, \
         fd22::1 fd11:1111:1111:1::1, 1, 192.0.2.1 none"),
];

fn address(text: &str) -> Ipv6Addr {
    mapped(text.parse::<IpAddr>().unwrap_or_else(|error| panic!("{text}: {error}")))
}

/// A prefix length as it counts in the 128-bit space.
fn length(address: Ipv6Addr, text: &str) -> u8 {
    let len: u8 = text.parse().expect("a length");
    if Family::of(address) == Family::Ipv4 { len + 96 } else { len }
}

/// `ADDRESS/LEN FLAG...`; all on one interface.
fn candidate(text: &str) -> Candidate {
    let mut words = text.split_whitespace();
    let (head, len) = words.next().and_then(|word| word.split_once('/')).expect("ADDRESS/LEN");
    let address = address(head);
    let mut candidate = Candidate {
        address,
        prefix_len: length(address, len),
        ifindex: 1,
        deprecated: false,
        temporary: false,
        mobility: Mobility::CareOf,
        advertisers: Vec::new(),
    };
    for word in words {
        match word {
            "deprecated" => candidate.deprecated = true,
            "care-of" => {}
            "home" => candidate.mobility = Mobility::Home,
            _ => panic!("unknown flag {word}"),
        }
    }
    candidate
}

fn table(name: &str) -> PolicyTable {
    let rows: &[(&str, u8, u8, u8)] = match name.split_whitespace().next().unwrap_or_default() {
        "" => &[],
        "table-10.3" => &[("::ffff:0:0", 96, 100, 4)],
        "table-10.4" => &[("fe80::", 10, 33, 1)],
        "table-10.5" => &[("2001:db8:1aaa::", 48, 43, 6), ("2001:db8:1bbb::", 48, 43, 6)],
        "table-10.6" => &[("fd11:1111:1111::", 48, 45, 14)],
        "table-10.7" => &[("2002:c633:6401::", 48, 45, 14)],
        "update" => {
            let known = name.contains("known-local").then_some(Row {
                prefix: Prefix::new(address("fd11:1111:1111::"), 48),
                precedence: 45,
                label: 14,
            });
            return DefaultTable::Rfc6724Update.table().clone().with_automatic(known);
        }
        _ => panic!("unknown table {name}"),
    };
    PolicyTable::new(PolicyTable::rfc6724().rows().iter().copied().chain(rows.iter().map(
        |(prefix, len, precedence, label)| Row {
            prefix: Prefix::new(prefix.parse().expect("a literal"), *len),
            precedence: *precedence,
            label: *label,
        },
    )))
}

/// Source(D) by the source rules, among the candidates of the destination's family.
fn source(destination: Ipv6Addr, candidates: &[Candidate], policy: &PolicyTable) -> Option<Source> {
    let target = Target { destination, ifindex: 1, next_hop: None, policy, privacy: Privacy::default() };
    let of_family = candidates.iter().filter(|c| Family::of(c.address) == Family::of(destination));
    let best = *select_source(&target, of_family).best.first()?;
    Some(Source {
        address: best.address,
        prefix_len: best.prefix_len,
        deprecated: best.deprecated,
        mobility: best.mobility,
    })
}

fn shown(address: Ipv6Addr) -> String {
    crate::family::shown(address).to_string()
}

#[test]
fn vectors() {
    for (id, circumstances, sources, destinations, expected) in VECTORS {
        let policy = table(circumstances);
        let candidates: Vec<Candidate> = sources.split(", ").map(candidate).collect();
        let destinations: Vec<Destination> = destinations
            .split(", ")
            .map(|text| {
                let mut words = text.split_whitespace();
                let address = address(words.next().expect("an address"));
                let flags: Vec<&str> = words.collect();
                Destination {
                    address,
                    source: source(address, &candidates, &policy),
                    reachable: !flags.contains(&"unreachable"),
                    encapsulated: flags.contains(&"encapsulated"),
                }
            })
            .collect();
        let found: Vec<String> = order(&destinations, &policy)
            .iter()
            .flat_map(|placed| {
                let source = placed.destination.source.map_or("none".into(), |s| shown(s.address));
                let rule = placed.before_next.map(|rule| rule.number().to_string());
                [Some(format!("{} {source}", shown(placed.destination.address))), rule]
            })
            .flatten()
            .collect();
        assert_eq!(found.join(", "), *expected, "{id}");
    }
}

#[test]
fn numbers_are_those_of_the_rfc() {
    assert!(Rule::ALL.is_sorted());
    assert_eq!(Rule::ALL.map(Rule::number), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
}

fn plain(text: &str, source: &str) -> Destination {
    let (head, len) = source.split_once('/').expect("ADDRESS/LEN");
    let of = address(head);
    Destination {
        address: address(text),
        source: Some(Source {
            address: of,
            prefix_len: length(of, len),
            deprecated: false,
            mobility: Mobility::CareOf,
        }),
        reachable: true,
        encapsulated: false,
    }
}

/// Three that do not compare transitively: see the module. All have one precedence and match in label and scope.
#[test]
fn a_cycle_of_pairs_has_an_order() {
    let everything = PolicyTable::new([Row { prefix: Prefix::ALL, precedence: 40, label: 1 }]);
    let a = plain("2001:db8:ffff::1", "2001:db8:1::2/64");
    let b = plain("192.0.2.1", "192.0.2.2/24");
    let c = plain("2001:db8:1::1", "2001:db8:1::2/64");
    for (given, expected) in [
        // Only what rule 9 asks for moves, and it moves behind.
        (vec![a, b, c], vec![(b, Some(10)), (c, Some(9)), (a, None)]),
        (vec![a, c, b], vec![(c, Some(9)), (a, Some(10)), (b, None)]),
        (vec![b, a, c], vec![(b, Some(10)), (c, Some(9)), (a, None)]),
        (vec![b, c, a], vec![(b, Some(10)), (c, Some(9)), (a, None)]),
        (vec![c, b, a], vec![(c, Some(10)), (b, Some(10)), (a, None)]),
        (vec![a, b], vec![(a, Some(10)), (b, None)]),
        (vec![b, c], vec![(b, Some(10)), (c, None)]),
        (vec![a, c], vec![(c, Some(9)), (a, None)]),
    ] {
        let placed = order(&given, &everything);
        let found: Vec<_> =
            placed.iter().map(|p| (*p.destination, p.before_next.map(Rule::number))).collect();
        assert_eq!(found, expected, "{given:?}");
    }
}

#[test]
fn of_nothing_and_of_one() {
    assert_eq!(order(&[], PolicyTable::rfc6724()), []);
    let one = plain("2001:db8::1", "2001:db8::2/64");
    let expected = Placed { destination: &one, was: 0, before_next: None };
    assert_eq!(order(&[one], PolicyTable::rfc6724()), [expected]);
}

/// A table without `::/0`: what no row covers has the least precedence and matches nothing.
#[test]
fn without_a_row() {
    let ula = Row { prefix: Prefix::new(address("fc00::"), 7), precedence: 0, label: 1 };
    let table = PolicyTable::new([ula]);
    let given = [plain("2001:db8::1", "2001:db8::2/64"), plain("fd11::1", "fd11::2/64")];
    let placed = order(&given, &table);
    assert_eq!((placed[0].was, placed[0].before_next), (1, Some(Rule::MatchingLabel)));
}

/// RFC 7078 §3.3: each destination by the table of the PvD that leads there.
#[test]
fn a_table_for_each() {
    let low = PolicyTable::new([Row { prefix: Prefix::ALL, precedence: 1, label: 1 }]);
    let given = [plain("2001:db8:a::1", "2001:db8:a::2/64"), plain("2001:db8:b::1", "2001:db8:b::2/64")];
    for (first, tables) in [(1, [&low, PolicyTable::rfc6724()]), (0, [PolicyTable::rfc6724(), &low])] {
        let placed = order_by(&given, |place| tables[place]);
        assert_eq!((placed[0].was, placed[0].before_next), (first, Some(Rule::HigherPrecedence)));
    }
}
