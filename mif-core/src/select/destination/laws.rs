//! What holds for every order of destinations.

use proptest::{collection::vec, prelude::*, sample::select};

use super::*;
use crate::select::policy_table::{DefaultTable, Row};

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
                    Entry { was: 0, destination: one.destination, policy: &table },
                    Entry { was: 0, destination: other.destination, policy: &table },
                );
                let same_family = Family::of(a.destination.address) == Family::of(b.destination.address);
                let by = Rule::ALL[..9].iter().find(|rule| {
                    let mut set = vec![a, b];
                    rule.keep(&mut set);
                    set.len() == 1
                });
                match by {
                    Some(rule) => {
                        let mut set = vec![a, b];
                        rule.keep(&mut set);
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
