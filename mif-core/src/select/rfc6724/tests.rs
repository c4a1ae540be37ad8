//! The vectors of RFC 6724 §10.1 and more, on the rules; `tables` has them on what the kernel looks at. S53, whose candidates a
//! PvD limits, is among the `candidate_sets`.

use super::*;
use crate::select::policy_table::Row;

mod tables;

/// Interfaces of the vectors.
const E0: u32 = 1;
const E1: u32 = 2;
const LO: u32 = 3;

/// A row of [`VECTORS`].
type Vector = (&'static str, &'static str, &'static str, &'static str, &'static str, &'static str);

/// (ID, destination, circumstances, candidates, best, lost).
///
/// Circumstances: `strong`: only addresses of the outgoing interface are candidates (RECOMMENDED in §4), otherwise
/// those of all interfaces; `e1`, `lo`: the outgoing interface, otherwise e0; `via`: the next hop; `public`: the
/// Privacy Preference; `table-10.5`, `table-10.6`: rows that the RFC's section adds.
#[rustfmt::skip]
const VECTORS: &[Vector] = &[
    ("S01", "2001:db8:1::1", "",
        "2001:db8:3::1/64, fe80::1/64",
        "2001:db8:3::1", "fe80::1 by 2"),
    ("S02", "ff05::1", "",
        "2001:db8:3::1/64, fe80::1/64",
        "2001:db8:3::1", "fe80::1 by 2"),
    ("S03", "2001:db8:1::1", "",
        "2001:db8:1::1/64 deprecated, 2001:db8:2::1/64",
        "2001:db8:1::1", "2001:db8:2::1 by 1"),
    ("S04", "fe80::1", "",
        "fe80::2/64 deprecated, 2001:db8:1::1/64",
        "fe80::2", "2001:db8:1::1 by 2"),
    ("S05", "2001:db8:1::1", "",
        "2001:db8:1::2/64, 2001:db8:3::2/64",
        "2001:db8:1::2", "2001:db8:3::2 by 8"),
    ("S06", "2001:db8:1::1", "",
        "2001:db8:1::2/64 care-of, 2001:db8:3::2/64 home",
        "2001:db8:3::2", "2001:db8:1::2 by 4"),
    ("S07", "2002:c633:6401::1", "",
        "2002:c633:6401::d5e3:7953:13eb:22e8/64 temporary, 2001:db8:1::2/64",
        "2002:c633:6401:0:d5e3:7953:13eb:22e8", "2001:db8:1::2 by 6"),
    ("S08", "2001:db8:1::d5e3:0:0:1", "",
        "2001:db8:1::2/64, 2001:db8:1::d5e3:7953:13eb:22e8/64 temporary",
        "2001:db8:1:0:d5e3:7953:13eb:22e8", "2001:db8:1::2 by 7"),
    ("S09", "fd22:2222:2222:2::2", "",
        "2001:db8:1::1/64, fd11:1111:1111:1::1/64",
        "fd11:1111:1111:1::1", "2001:db8:1::1 by 6"),
    ("S10", "2001:db8:2::2", "",
        "2001:db8:1::1/64, fd11:1111:1111:1::1/64",
        "2001:db8:1::1", "fd11:1111:1111:1::1 by 6"),
    ("S11", "2001:db8:2::2", "",
        "2001:db8:1::1/64, fd11:1111:1111:1::1/64 temporary",
        "2001:db8:1::1", "fd11:1111:1111:1::1 by 6"),
    ("S12", "ff0e::1", "",
        "2001:db8:1::1/64, fd11:1111:1111:1::1/64",
        "2001:db8:1::1", "fd11:1111:1111:1::1 by 6"),
    ("S13", "ff02::1", "",
        "fe80::1/64, 2001:db8:1::1/64",
        "fe80::1", "2001:db8:1::1 by 2"),
    ("S14", "ff02::1", "strong",
        "fe80::1/64, fe80::2/64 e1",
        "fe80::1", ""),
    ("S15", "fe80::9", "strong e1",
        "fe80::1/64, 2001:db8:1::1/64 e1",
        "2001:db8:1::1", ""),
    ("S16", "ff05::2", "",
        "fe80::1/64, fec0::1/64, 2001:db8:1::1/64",
        "fec0::1", "fe80::1 by 2, 2001:db8:1::1 by 2"),
    ("S17", "ff08::1", "",
        "fec0::1/64, 2001:db8:1::1/64",
        "2001:db8:1::1", "fec0::1 by 2"),
    ("S18", "ff04::1", "",
        "fe80::1/64, fec0::1/64",
        "fec0::1", "fe80::1 by 2"),
    ("S19", "ff01::1", "",
        "fe80::1/64, 2001:db8:1::1/64",
        "fe80::1", "2001:db8:1::1 by 2"),
    ("S20", "2001:db8:9::1", "",
        "2001:db8:1::1/64 deprecated, fe80::1/64",
        "2001:db8:1::1", "fe80::1 by 2"),
    ("S21", "2001:db8:1::1", "",
        "2001:db8:1::2/64 deprecated, 2001:db8:3::2/64",
        "2001:db8:3::2", "2001:db8:1::2 by 3"),
    ("S22", "2001:db8:1::1", "",
        "2001:db8:a::1/64 deprecated, 2001:db8:b::1/64 e1",
        "2001:db8:b::1", "2001:db8:a::1 by 3"),
    ("S23", "2001:db8:1::1", "strong",
        "2001:db8:a::1/64 deprecated, 2001:db8:b::1/64 e1",
        "2001:db8:a::1", ""),
    ("S24", "2001:db8:b::99", "",
        "2001:db8:a::1/64, 2001:db8:b::1/64 e1",
        "2001:db8:a::1", "2001:db8:b::1 by 5"),
    ("S25", "fd22::2", "",
        "2001:db8:a::1/64, fd11::1/64 e1",
        "2001:db8:a::1", "fd11::1 by 5"),
    ("S26", "2001:db8:b::99", "via fe80::a",
        "2001:db8:a::1/64 from-fe80::a, 2001:db8:b::1/64 from-fe80::b",
        "2001:db8:a::1", "2001:db8:b::1 by 5.5"),
    ("S27", "2001:db8:b::99", "via fe80::b",
        "2001:db8:a::1/64 from-fe80::a, 2001:db8:b::1/64 from-fe80::b",
        "2001:db8:b::1", "2001:db8:a::1 by 5.5"),
    ("S28", "fd22::2", "via fe80::a",
        "2001:db8:a::1/64 from-fe80::a, fd11::1/64 from-fe80::b",
        "2001:db8:a::1", "fd11::1 by 5.5"),
    ("S29", "2001:db8:b::99", "via fe80::a",
        "2001:db8:a::1/64 from-fe80::a, 2001:db8:a::2/64 from-fe80::a, 2001:db8:b::1/64 temporary from-fe80::b",
        "2001:db8:a::1, 2001:db8:a::2", "2001:db8:b::1 by 5.5"),
    ("S30", "2001:db8:b::99", "via fe80::a",
        "2001:db8:a::1/64 from-fe80::a from-fe80::b, 2001:db8:b::1/64 from-fe80::a from-fe80::b",
        "2001:db8:b::1", "2001:db8:a::1 by 8"),
    ("S31", "2001:db8:b::99", "via fe80::a",
        "2001:db8:a::1/64 from-fe80::a, 2001:db8:b::1/64",
        "2001:db8:b::1", "2001:db8:a::1 by 8"),
    ("S32", "2001:db8:1::1", "",
        "2001:db8:3::2/64 temporary, 2001:db8:3::3/64",
        "2001:db8:3::2", "2001:db8:3::3 by 7"),
    ("S33", "2001:db8:1::1", "public",
        "2001:db8:3::2/64 temporary, 2001:db8:3::3/64",
        "2001:db8:3::3", "2001:db8:3::2 by 7"),
    ("S34", "2001:db8:1::1", "",
        "2001:db8:3::2/64 temporary, 2001:db8:1::3/64",
        "2001:db8:3::2", "2001:db8:1::3 by 7"),
    ("S35", "2001:db8:1:1::1:1", "",
        "2001:db8:1:1::ff/64, 2001:db8:1:1::1/64",
        "2001:db8:1:1::ff, 2001:db8:1:1::1", ""),
    ("S36", "2001:db8:1:1::99", "",
        "2001:db8::1/32, 2001:db8:1:1::1/64",
        "2001:db8:1:1::1", "2001:db8::1 by 8"),
    ("S37", "2001:db8::99", "",
        "2001:db8::1/32, 2001:db8:1:1::1/64",
        "2001:db8:1:1::1", "2001:db8::1 by 8"),
    ("S38", "2001:db8:1:1::9", "",
        "2001:db8:1:1::5/128, 2001:db8:1:1::aaaa/64",
        "2001:db8:1:1::5", "2001:db8:1:1::aaaa by 8"),
    ("S39", "2001:db8:77::7", "",
        "2001:db8:77::7/64 deprecated temporary e1, 2001:db8:1::1/64",
        "2001:db8:77::7", "2001:db8:1::1 by 1"),
    ("S40", "::1", "lo",
        "::1/128 lo, fe80::1/64, 2001:db8:1::1/64",
        "::1", "fe80::1 by 1, 2001:db8:1::1 by 1"),
    ("S41", "2001:0:5ef5:79fd::1", "",
        "2001:0:53aa:64c::1/64, 2001:db8:1::1/64",
        "2001:0:53aa:64c::1", "2001:db8:1::1 by 6"),
    ("S42", "2002:c633:6401::1", "",
        "2001:db8:1::2/64, fd11::1/64",
        "2001:db8:1::2", "fd11::1 by 8"),
    ("S43", "2001:db8:2::2", "",
        "2002:c633:6401:1::1/64, fd11::1/64",
        "2002:c633:6401:1::1", "fd11::1 by 8"),
    ("S44", "64:ff9b::c633:6401", "",
        "2001:db8:1::1/64, fd11::1/64",
        "2001:db8:1::1", "fd11::1 by 6"),
    ("S45", "64:ff9b::c633:6401", "",
        "fd11::1/64, fe80::1/64",
        "fd11::1", "fe80::1 by 2"),
    ("S46", "2001:db8:1bbb::b", "table-10.5",
        "2001:db8:1aaa::a/64, 2001:db8:70aa::a/64, fe80::a/64",
        "2001:db8:1aaa::a", "fe80::a by 2, 2001:db8:70aa::a by 6"),
    ("S47", "2001:db8:1ccc::c", "table-10.5",
        "2001:db8:1aaa::a/64, 2001:db8:70aa::a/64, fe80::a/64",
        "2001:db8:70aa::a", "fe80::a by 2, 2001:db8:1aaa::a by 6"),
    ("S48", "2001:db8:1ccc::c", "",
        "2001:db8:1aaa::a/64, 2001:db8:70aa::a/64, fe80::a/64",
        "2001:db8:1aaa::a", "fe80::a by 2, 2001:db8:70aa::a by 8"),
    ("S49", "fd11:1111:1111:2::2", "table-10.6",
        "2001:db8:1::1/64, fd11:1111:1111:1::1/64",
        "fd11:1111:1111:1::1", "2001:db8:1::1 by 6"),
    ("S50", "fd22:2222:2222:2::2", "table-10.6",
        "2001:db8:1::1/64, fd11:1111:1111:1::1/64",
        "fd11:1111:1111:1::1", "2001:db8:1::1 by 8"),
    ("S51", "2001:db8:2::99", "",
        "fe80::a/64, fd11::a/64, 2001:db8:1::a/64 temporary, 2001:db8:1::b/64, 2001:db8:2::a/64 deprecated",
        "2001:db8:1::a", "fe80::a by 2, 2001:db8:2::a by 3, fd11::a by 6, 2001:db8:1::b by 7"),
    ("S52", "2001:db8:1::1", "",
        "2001:db8:1::2/64 optimistic, 2001:db8:3::2/64",
        "2001:db8:3::2", "2001:db8:1::2 by 3"),
    ("S54", "2001:db8:1::1", "",
        "2001:db8:a::1/64 at-home, 2001:db8:b::1/64 home",
        "2001:db8:a::1", "2001:db8:b::1 by 4"),
    ("S55", "fec0::5", "",
        "fec0::1/64, fe80::1/64, 2001:db8:1::1/64",
        "fec0::1", "fe80::1 by 2, 2001:db8:1::1 by 2"),
    // Candidate sets, as far as they are this function's: e1 is on the link of e0 (C06).
    ("C04", "2001:db8:9::1", "",
        "2001:db8:1::1/64 deprecated",
        "2001:db8:1::1", ""),
    ("C05", "2001:db8:9::1", "",
        "2001:db8:1::1/64 optimistic",
        "2001:db8:1::1", ""),
    ("C06", "ff02::fb", "",
        "2001:db8:1::1/64, fe80::2/64 e1",
        "fe80::2", "2001:db8:1::1 by 2"),
    ("C06", "ff02::fb", "",
        "fe80::1/64, fe80::2/64 e1",
        "fe80::1", "fe80::2 by 5"),
    ("C07", "ff02::fb", "",
        "2001:db8:1::1/64",
        "2001:db8:1::1", ""),
];

fn address(text: &str) -> Ipv6Addr {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// `ADDRESS/LEN FLAG...`
fn candidate(text: &str) -> Candidate {
    let mut words = text.split_whitespace();
    let (head, len) = words.next().and_then(|word| word.split_once('/')).expect("ADDRESS/LEN");
    let mut candidate = Candidate {
        address: address(head),
        prefix_len: len.parse().expect("a length"),
        ifindex: E0,
        deprecated: false,
        temporary: false,
        mobility: Mobility::CareOf,
        advertisers: Vec::new(),
    };
    for word in words {
        match word {
            "deprecated" | "optimistic" => candidate.deprecated = true,
            "temporary" => candidate.temporary = true,
            "care-of" => candidate.mobility = Mobility::CareOf,
            "home" => candidate.mobility = Mobility::Home,
            "at-home" => candidate.mobility = Mobility::HomeAndCareOf,
            "e1" => candidate.ifindex = E1,
            "lo" => candidate.ifindex = LO,
            _ => match word.strip_prefix("from-") {
                Some(router) => candidate.advertisers.push(address(router)),
                None => panic!("unknown flag {word}"),
            },
        }
    }
    candidate
}

/// The default table and the rows that a section of the RFC adds.
fn table(name: &str) -> PolicyTable {
    let rows: &[(&str, u8, u8, u8)] = match name {
        "table-10.5" => &[("2001:db8:1aaa::", 48, 43, 6), ("2001:db8:1bbb::", 48, 43, 6)],
        "table-10.6" => &[("fd11:1111:1111::", 48, 45, 14)],
        _ => &[],
    };
    PolicyTable::new(PolicyTable::rfc6724().rows().iter().copied().chain(rows.iter().map(
        |(prefix, len, precedence, label)| Row {
            prefix: Prefix::new(address(prefix), *len),
            precedence: *precedence,
            label: *label,
        },
    )))
}

const fn number(rule: Rule) -> &'static str {
    match rule {
        Rule::SameAddress => "1",
        Rule::AppropriateScope => "2",
        Rule::AvoidDeprecated => "3",
        Rule::HomeAddress => "4",
        Rule::OutgoingInterface => "5",
        Rule::AdvertisedByNextHop => "5.5",
        Rule::MatchingLabel => "6",
        Rule::TemporaryAddress => "7",
        Rule::LongestMatchingPrefix => "8",
    }
}

#[test]
fn vectors() {
    for (id, destination, circumstances, candidates, best, lost) in VECTORS {
        let policy = table(circumstances);
        let mut target = Target {
            destination: address(destination),
            ifindex: E0,
            next_hop: None,
            policy: &policy,
            privacy: Privacy::default(),
        };
        let mut strong = false;
        let mut words = circumstances.split_whitespace();
        while let Some(word) = words.next() {
            match word {
                "strong" => strong = true,
                "e1" => target.ifindex = E1,
                "lo" => target.ifindex = LO,
                "via" => target.next_hop = words.next().map(address),
                "public" => target.privacy = Privacy::Public,
                "table-10.5" | "table-10.6" => {}
                _ => panic!("{id}: unknown circumstance {word}"),
            }
        }
        let candidates: Vec<Candidate> = candidates.split(", ").map(candidate).collect();
        let selection = select(&target, candidates.iter().filter(|c| !strong || c.ifindex == target.ifindex));
        let found_best: Vec<String> = selection.best.iter().map(|c| c.address.to_string()).collect();
        let found_lost: Vec<String> =
            selection.lost.iter().map(|(c, rule)| format!("{} by {}", c.address, number(*rule))).collect();
        assert_eq!((found_best.join(", ").as_str(), found_lost.join(", ").as_str()), (*best, *lost), "{id}");
    }
}

#[test]
fn the_order_of_the_candidates_does_not_matter() {
    for (id, destination, _, candidates, ..) in VECTORS {
        let target = Target {
            destination: address(destination),
            ifindex: E0,
            next_hop: Some(address("fe80::a")),
            policy: PolicyTable::rfc6724(),
            privacy: Privacy::default(),
        };
        let candidates: Vec<Candidate> = candidates.split(", ").map(candidate).collect();
        let sorted = |selection: Selection<'_>| {
            let mut best: Vec<Ipv6Addr> = selection.best.iter().map(|c| c.address).collect();
            best.sort();
            best
        };
        assert_eq!(
            sorted(select(&target, &candidates)),
            sorted(select(&target, candidates.iter().rev())),
            "{id}"
        );
    }
}

#[test]
fn no_candidates() {
    let target = Target {
        destination: address("2001:db8::1"),
        ifindex: E0,
        next_hop: None,
        policy: PolicyTable::rfc6724(),
        privacy: Privacy::default(),
    };
    assert_eq!(select(&target, []), Selection { best: Vec::new(), lost: Vec::new() });
}

/// Three pairs that do not compare transitively under rules 5.5 and 8: A is advertised by the next hop, B by another
/// router, C by nobody known. 5.5 prefers A to B; rule 8 prefers B to C and C to A.
#[test]
fn a_cycle_of_pairs_has_a_winner() {
    let a = candidate("2001:db8:a::1/64 from-fe80::a");
    let b = candidate("2001:db8:b:0::1/64 from-fe80::b");
    let c = candidate("2001:db8:b:8000::1/64");
    let target = Target {
        destination: address("2001:db8:b::99"),
        ifindex: E0,
        next_hop: Some(address("fe80::a")),
        policy: PolicyTable::rfc6724(),
        privacy: Privacy::default(),
    };
    for (set, winner) in [
        (vec![&a, &b], &a),
        (vec![&b, &c], &b),
        (vec![&c, &a], &c),
        (vec![&a, &b, &c], &c),
        (vec![&c, &b, &a], &c),
    ] {
        assert_eq!(select(&target, set.iter().copied()).best, [winner], "{set:?}");
    }
}
