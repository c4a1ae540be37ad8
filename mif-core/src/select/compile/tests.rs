use std::collections::BTreeSet;

use mif_common::{
    abi::{self, Decision},
    decide::exempt,
};
use proptest::prelude::*;

use super::*;
use crate::select::{
    candidate::Answer,
    literal,
    testing::{
        random::{self, boundary_destinations, shuffled},
        world,
    },
};

/// Compares the tables with the procedure at every destination that could differ.
fn check(world: &World, also: &[Ipv6Addr]) -> Result<(), TestCaseError> {
    let tables = compile(world);
    let destinations = boundary_destinations(world, &tables);
    for view in world.views.iter().map(|view| view.id).chain([DEFAULT_VIEW]) {
        for destination in destinations.iter().chain(also) {
            if exempt(&(*destination).into()).is_some() {
                continue;
            }
            let literal = Decision::from(literal::answer(world, view, *destination));
            let found = tables.lookup(view, *destination);
            let decision = found.map_or(Decision::from(Answer::NONE), |(_, decision)| *decision);
            prop_assert_eq!(
                decision,
                literal,
                "view {} destination {} matched {:?}",
                view,
                destination,
                found.map(|(prefix, _)| prefix)
            );
        }
    }
    Ok(())
}

proptest! {
    /// The heart of selection: whatever the world, a lookup finds what the procedure says.
    #[test]
    fn tables_hold_the_literal_answer(
        world in random::world(6),
        also in prop::collection::vec(random::address(), 0..8),
    ) {
        check(&world, &also)?;
    }

    #[test]
    fn tables_do_not_depend_on_the_order_of_anything(world in random::world(6), seed: u64) {
        prop_assert_eq!(compile(&world), compile(&shuffled(&world, seed)));
    }

    #[test]
    fn no_entry_is_superfluous(world in random::world(6)) {
        let tables = compile(&world);
        for (key @ (view, prefix), decision) in &tables.decisions {
            // Only where IPv4 has to be kept from IPv6.
            let none = decision.verdict == abi::Verdict::None as u32;
            prop_assert!(!none || *prefix == IPV4, "{:?}", key);
            prop_assert!(!all_exempt((*prefix).into()), "{:?}", key);
            prop_assert_eq!(*prefix, prefix.trunc());
            let parent = prefix.supernet().and_then(|around| {
                (0..=around.prefix_len())
                    .rev()
                    .find_map(|len| {
                        let around = Ipv6Net::from(Prefix::new(prefix.addr(), len));
                        tables.decisions.get(&(*view, around))
                    })
            });
            prop_assert_ne!(Some(decision), parent, "{:?}", key);
        }
    }
}

/// The PvDs that two worlds do not have in common.
fn touched(before: &World, after: &World) -> Touched {
    let differs = |one: &World, other: &World| -> BTreeSet<PvdIndex> {
        one.pvds.iter().filter(|pvd| !other.pvds.contains(pvd)).map(|pvd| pvd.index).collect()
    };
    Touched::Pvds(&differs(before, after) | &differs(after, before))
}

/// A history of worlds: each has most of the PvDs of the one before it.
fn history() -> impl Strategy<Value = Vec<World>> {
    let step = (random::world(6), prop::collection::vec(prop::bool::weighted(0.7), 6), any::<(bool, bool)>());
    prop::collection::vec(step, 1..5).prop_map(|steps| {
        let mut worlds: Vec<World> = Vec::new();
        for (mut world, kept, (views, addresses)) in steps {
            if let Some(before) = worlds.last() {
                for (place, pvd) in before.pvds.iter().enumerate().filter(|(place, _)| kept[*place]) {
                    match world.pvds.get_mut(place) {
                        Some(other) => *other = pvd.clone(),
                        None => world.pvds.push(pvd.clone()),
                    }
                }
                let mut seen = BTreeSet::new();
                world.pvds.retain(|pvd| seen.insert(pvd.index));
                if views {
                    world.views.clone_from(&before.views);
                }
                if addresses {
                    world.local_addresses.clone_from(&before.local_addresses);
                }
            }
            worlds.push(world);
        }
        worlds
    })
}

proptest! {
    /// Whatever came before, the tables are those of the world.
    #[test]
    fn the_past_leaves_no_trace(worlds in history()) {
        let mut compiler = Compiler::default();
        let (mut before, mut stored) = (World::default(), Tables::default());
        for world in worlds {
            let update = compiler.update(&world, &touched(&before, &world));
            let tables = compile(&world);
            prop_assert_eq!(compiler.tables(), tables.clone());
            // What an update says it changed is what differs, and what it says was there was there.
            prop_assert_eq!(&update.ops, &diff(&stored, &tables));
            for (key, decision) in &update.before.decisions {
                prop_assert_eq!(stored.decisions.get(key), Some(decision));
            }
            (before, stored) = (world, tables);
        }
    }
}

proptest! {
    // Fewer of them: the procedure takes its time with many candidates.
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 16 + 1, ..ProptestConfig::default() })]

    #[test]
    fn tables_of_large_worlds_hold_the_literal_answer(world in random::world(40)) {
        check(&world, &[])?;
    }
}

/// The decision table of a view: prefix, then PvD or what else is stored.
fn decisions(tables: &Tables, view: u32) -> Vec<String> {
    let of_view = tables.decisions.iter().filter(|((of, _), _)| *of == view);
    of_view
        .map(|((_, prefix), decision)| {
            let source = Ipv6Addr::from(decision.source);
            let next_hop = Ipv6Addr::from(decision.next_hop);
            match (decision.pvd, decision.flags) {
                (0, abi::decision_flags::LOCAL) => format!("{prefix} local"),
                (pvd, flags) => format!("{prefix} {pvd} {source} {next_hop} {flags}"),
            }
        })
        .collect()
}

#[test]
fn two_uplinks() {
    let tables = compile(&world(
        "pvd 1 2
         source 2001:db8:a::1/64
         route ::/0 via fe80::a
         route 2001:db8:a::/64
         pvd 2 3
         source 2001:db8:b::1/64
         route ::/0 via fe80::b
         route 2001:db8:b::/64
         local fe80::1
         view 1 2",
    ));
    // The /48: rule 8, behind the bit at which a and b part.
    let default = [
        "::/0 1 2001:db8:a::1 fe80::a 0",
        "::ffff:0.0.0.0/96 0 :: :: 0",
        "2001:db8:a::/64 1 2001:db8:a::1 :: 2",
        "2001:db8:a::1/128 local",
        "2001:db8:b::/48 2 2001:db8:b::1 fe80::b 0",
        "2001:db8:b::/64 2 2001:db8:b::1 :: 2",
        "2001:db8:b::1/128 local",
    ];
    assert_eq!(decisions(&tables, 0), default);
    let second_only = [
        "::/0 2 2001:db8:b::1 fe80::b 0",
        "::ffff:0.0.0.0/96 0 :: :: 0",
        "2001:db8:a::1/128 local",
        "2001:db8:b::/64 2 2001:db8:b::1 :: 2",
        "2001:db8:b::1/128 local",
    ];
    assert_eq!(decisions(&tables, 1), second_only);
    let interface = abi::Member::interface(1, 3).pvd;
    assert_eq!(tables.members.into_iter().collect::<Vec<_>>(), [((1, 2), 0), ((1, interface), 0)]);
    assert_eq!(tables.pvds.keys().copied().collect::<Vec<_>>(), [1, 2]);
}

/// IPv4 has PvDs, routes and groups of its own: IPv6's default route, or its better group, says nothing about it.
#[test]
fn two_families() {
    let tables = compile(&world(
        "pvd 1 2
         source 2001:db8:a::1/64
         route ::/0 via fe80::a
         pvd 2 2
         source 192.0.2.5/24 secondary from 192.0.2.1
         source 192.0.2.7/24 from 192.0.2.1
         source 198.51.100.5/24
         route 0.0.0.0/0 via 192.0.2.1
         route 192.0.2.0/24 src 192.0.2.7
         pvd 3 3
         source 203.0.113.5/24
         route 0.0.0.0/0 via 203.0.113.1 metric 5
         view 1 1 | 3",
    ));
    let ipv4 = |view| {
        let all = decisions(&tables, view);
        all.into_iter()
            .filter(|row| row.starts_with("::ffff:") && !row.ends_with("local"))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        ipv4(0),
        [
            "::ffff:0.0.0.0/96 2 ::ffff:192.0.2.7 ::ffff:192.0.2.1 0",
            "::ffff:192.0.2.0/120 2 ::ffff:192.0.2.7 :: 2",
        ][..]
    );
    assert_eq!(ipv4(1), ["::ffff:0.0.0.0/96 3 ::ffff:203.0.113.5 ::ffff:203.0.113.1 0"]);
}

#[test]
fn nothing_in_nothing_out() {
    assert_eq!(compile(&World::default()), Tables::default());
}

#[test]
fn the_exempt_prefixes_are_those_of_the_hooks() {
    for prefix in EXEMPT {
        let first = prefix.bits();
        let last = first | u128::MAX.checked_shr(prefix.len().into()).unwrap_or(0);
        for (bits, expected) in
            [(first, true), (last, true), (first.wrapping_sub(1), false), (last.wrapping_add(1), false)]
        {
            let address = Ipv6Addr::from_bits(bits);
            // ff00::/8 ends where ::/127 begins.
            let expected = expected || EXEMPT.iter().any(|other| other.covers(Prefix::host(address)));
            assert_eq!(exempt(&address.into()).is_some(), expected, "{address}");
        }
    }
}
