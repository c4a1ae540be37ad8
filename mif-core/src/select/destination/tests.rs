//! The vectors of RFC 6724 §10.2 to §10.7 and more, and the laws that every order has.

use std::net::IpAddr;

use proptest::{collection::vec, prelude::*, sample::select};

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

/// Addresses of all kinds, of both families, some near each other.
fn any_address() -> impl Strategy<Value = Ipv6Addr> {
    const BASES: [&str; 12] = [
        "2001:db8:1:1::",
        "2001:db8:8000::",
        "2001:0:53aa:64c::",
        "2002:c633:6401::",
        "fd11:1111:1111:1::",
        "fec0::",
        "fe80::",
        "ff0e::",
        "::1",
        "::ffff:192.0.2.0",
        "::ffff:169.254.1.0",
        "::192.0.2.1",
    ];
    let near = (select(&BASES[..]), 0..4u128, 0..128u32).prop_map(|(base, low, flip)| {
        let base: Ipv6Addr = base.parse().expect("a literal");
        Ipv6Addr::from_bits((base.to_bits() | low) ^ (u128::from(flip < 80) << flip))
    });
    prop_oneof![4 => near, 1 => any::<u128>().prop_map(Ipv6Addr::from_bits)]
}

fn any_destination() -> impl Strategy<Value = Destination> {
    let mobility = select(&[Mobility::CareOf, Mobility::Home, Mobility::HomeAndCareOf][..]);
    let source = (any_address(), any::<u8>(), prop::bool::weighted(0.2), mobility).prop_map(
        |(address, prefix_len, deprecated, mobility)| Source { address, prefix_len, deprecated, mobility },
    );
    (any_address(), prop::option::weighted(0.8, source), prop::bool::weighted(0.8), prop::bool::weighted(0.2))
        .prop_map(|(address, source, reachable, encapsulated)| Destination {
            address,
            source,
            reachable,
            encapsulated,
        })
}

/// Some that differ little, so that the later rules get to decide.
fn any_destinations() -> impl Strategy<Value = Vec<Destination>> {
    let alike = (vec(any_destination(), 1..4), vec((0..4usize, any_address(), 0..4u8), 0..9)).prop_map(
        |(models, made)| {
            made.into_iter()
                .map(|(model, address, what)| {
                    let mut one = models[model % models.len()];
                    match what {
                        0 => one.address = address,
                        1 => one.encapsulated = !one.encapsulated,
                        2 => one.address = Ipv6Addr::from_bits(one.address.to_bits() ^ 1),
                        _ => {}
                    }
                    one
                })
                .collect()
        },
    );
    prop_oneof![vec(any_destination(), 0..9), alike]
}

fn any_table() -> impl Strategy<Value = PolicyTable> {
    let row = (any_address(), 0..=128u8, 0..4u8, 0..3u8).prop_map(|(address, len, precedence, label)| Row {
        prefix: Prefix::new(address, len),
        precedence,
        label,
    });
    prop_oneof![
        Just(DefaultTable::Rfc6724.table().clone()),
        Just(DefaultTable::Rfc6724Update.table().clone()),
        vec(row, 0..5).prop_map(PolicyTable::new),
    ]
}

fn places(placed: &[Placed<'_>]) -> Vec<usize> {
    placed.iter().map(|placed| placed.was).collect()
}

proptest! {
    #[test]
    fn every_order_is_lawful(given in any_destinations(), table in any_table()) {
        let placed = order(&given, &table);

        // A permutation, and what is said of each is true.
        let mut sorted = places(&placed);
        sorted.sort_unstable();
        prop_assert_eq!(sorted, (0..given.len()).collect::<Vec<_>>());
        for (index, place) in placed.iter().enumerate() {
            prop_assert_eq!(place.destination, &given[place.was]);
            prop_assert_eq!(place.before_next.is_none(), index + 1 == placed.len());
        }

        // Rules 1 to 8 rank one destination, so no pair is in the wrong order by them; nor by rule 9, within a family.
        // What is alike by all of these keeps its order within the family.
        for (index, one) in placed.iter().enumerate() {
            for other in &placed[index + 1..] {
                let (a, b) = (
                    Entry { was: 0, destination: one.destination },
                    Entry { was: 0, destination: other.destination },
                );
                let same_family = Family::of(a.destination.address) == Family::of(b.destination.address);
                let by = Rule::ALL[..9].iter().find(|rule| {
                    let mut set = vec![a, b];
                    rule.keep(&mut set, &table);
                    set.len() == 1
                });
                match by {
                    Some(rule) => {
                        let mut set = vec![a, b];
                        rule.keep(&mut set, &table);
                        prop_assert_eq!(set[0].destination, a.destination, "{:?}", rule);
                    }
                    None if same_family => prop_assert!(one.was < other.was),
                    None => {}
                }
            }
        }

        // Neighbours: the rule that is said is the first that tells them apart, and rule 10 is true.
        for pair in placed.windows(2) {
            if pair[0].before_next == Some(Rule::Unchanged) {
                prop_assert!(pair[0].was < pair[1].was);
            }
        }

        // Usable before unusable; then matching in scope before not.
        let usable = |p: &Placed<'_>| rule_1(p.destination);
        prop_assert!(placed.is_sorted_by_key(|p| !usable(p)));
        let matching = |p: &&Placed<'_>| p.destination.source.is_some_and(|s| rule_2(p.destination, &s));
        prop_assert!(placed.iter().filter(|p| usable(p)).is_sorted_by_key(|p| !matching(&p)));
    }

    /// An order given again stays.
    #[test]
    fn an_order_stays(given in any_destinations(), table in any_table()) {
        let once: Vec<Destination> = order(&given, &table).iter().map(|p| *p.destination).collect();
        prop_assert_eq!(places(&order(&once, &table)), (0..once.len()).collect::<Vec<_>>());
    }

    /// Of one family the order is total: what differs by a rule stands alike, however it was given.
    #[test]
    fn of_one_family_only_rule_10_depends_on_the_input(given in any_destinations(), table in any_table()) {
        let ranks = |placed: &[Placed<'_>]| {
            let classes: Vec<_> = placed.iter().map(|p| (p.destination.address, p.destination.source)).collect();
            let ties: Vec<bool> = placed.iter().map(|p| p.before_next == Some(Rule::Unchanged)).collect();
            (classes, ties)
        };
        for family in Family::ALL {
            let mut of: Vec<Destination> =
                given.iter().filter(|d| Family::of(d.address) == family).copied().collect();
            let (forth, forth_ties) = ranks(&order(&of, &table));
            of.reverse();
            let (back, back_ties) = ranks(&order(&of, &table));
            prop_assert_eq!(&forth_ties, &back_ties);
            // Between two rules that decide stands the same set.
            let mut begin = 0;
            for end in 0..forth.len() {
                if !forth_ties[end] {
                    let set = |list: &[(Ipv6Addr, Option<Source>)]| {
                        let mut texts: Vec<String> =
                            list[begin..=end].iter().map(|one| format!("{one:?}")).collect();
                        texts.sort();
                        texts
                    };
                    prop_assert_eq!(set(&forth), set(&back));
                    begin = end + 1;
                }
            }
        }
    }
}
