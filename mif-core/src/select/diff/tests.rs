use std::net::Ipv6Addr;

use mif_common::abi;
use proptest::prelude::*;

use super::*;
use crate::select::{
    compile,
    fake::{FakeError, FakeStore},
    tables::TableStore as _,
    testing::{
        random::{self, boundary_destinations},
        world,
    },
    world::World,
};

/// Two worlds of which the second has some of the first's PvDs, some changed, some new.
fn related_worlds() -> impl Strategy<Value = (World, World)> {
    (random::world(6), random::world(6), prop::collection::vec(any::<bool>(), 6)).prop_map(
        |(one, mut two, keep)| {
            for (place, pvd) in two.pvds.iter_mut().enumerate() {
                if let (true, Some(old)) = (keep[place], one.pvds.get(place)) {
                    *pvd = old.clone();
                }
            }
            if keep[0] {
                two.views.clone_from(&one.views);
            }
            (one, two)
        },
    )
}

proptest! {
    #[test]
    fn applied_to_the_old_it_gives_the_new((one, two) in related_worlds()) {
        let (old, new) = (compile(&one), compile(&two));
        let mut store = FakeStore::holding(old.clone());
        for op in diff(&old, &new) {
            prop_assert_eq!(store.apply(&op), Ok(()));
        }
        prop_assert_eq!(&store.tables, &new);
        prop_assert_eq!(diff(&new, &new), []);
    }

    /// Make before break: while the changes are applied, a destination has its old answer, then its new one.
    #[test]
    fn no_destination_sees_a_third_answer((one, two) in related_worlds()) {
        let (old, new) = (compile(&one), compile(&two));
        let mut destinations = boundary_destinations(&one, &old);
        destinations.extend(boundary_destinations(&two, &new));
        let ops = diff(&old, &new);
        let views: Vec<u32> = one.views.iter().chain(&two.views).map(|view| view.id).chain([0]).collect();
        let answer = |tables: &Tables, view, destination: &Ipv6Addr| {
            tables.lookup(view, *destination).map(|(_, decision)| *decision)
        };
        // (view, destination, its old answer, whether it has the new one).
        let mut seen: Vec<_> = views
            .iter()
            .flat_map(|view| destinations.iter().map(|destination| (*view, *destination)))
            .map(|(view, destination)| (view, destination, answer(&old, view, &destination), false))
            .collect();
        let mut store = FakeStore::holding(old);
        for op in &ops {
            let (Op::PutDecision(of, prefix, _) | Op::DeleteDecision(of, prefix)) = op else { continue };
            store.apply(op).expect("it was not told to fail");
            // A change of a decision concerns the destinations of its prefix.
            for (view, destination, before, changed) in &mut seen {
                if view != of || !prefix.contains(&*destination) {
                    continue;
                }
                let now = answer(&store.tables, *view, destination);
                let after = answer(&new, *view, destination);
                if now == after {
                    *changed = true;
                } else {
                    prop_assert_eq!(now, *before, "{} {} after {:?}", view, destination, op);
                    prop_assert!(!*changed, "{} {} went back after {:?}", view, destination, op);
                }
            }
        }
    }

    /// Decisions name only what is there, at every moment.
    #[test]
    fn what_decisions_name_is_there((one, two) in related_worlds()) {
        let (old, new) = (compile(&one), compile(&two));
        let mut store = FakeStore::holding(old.clone());
        for op in diff(&old, &new) {
            store.apply(&op).expect("it was not told to fail");
            for decision in store.tables.decisions.values().filter(|decision| decision.pvd != abi::NO_PVD) {
                prop_assert!(store.tables.pvds.contains_key(&decision.pvd), "{:?} after {:?}", decision, op);
            }
        }
    }

    /// A change that failed is made up for by the next difference.
    #[test]
    fn a_failure_heals((one, two) in related_worlds(), after in 0..40usize) {
        let (old, new) = (compile(&one), compile(&two));
        let mut store = FakeStore { fail_after: Some(after), ..FakeStore::holding(old.clone()) };
        let ops = diff(&old, &new);
        let first = ops.iter().try_for_each(|op| store.apply(op));
        prop_assert_eq!(first, ops.get(after).map_or(Ok(()), |op| Err(FakeError::Refused(*op))));
        store.fail_after = None;
        let stored = store.load().expect("readable");
        for op in diff(&stored, &new) {
            prop_assert_eq!(store.apply(&op), Ok(()));
        }
        prop_assert_eq!(store.tables, new);
    }
}

fn member(pvd: u32) -> String {
    match pvd.checked_sub(abi::Member::INTERFACE) {
        Some(ifindex) => format!("interface {ifindex}"),
        None => pvd.to_string(),
    }
}

#[test]
fn the_order_of_changes() {
    let old = compile(&world(
        "pvd 1 2
         source 2001:db8:a::1/64
         route ::/0 via fe80::a
         route 2001:db8:a::/64
         view 1 1",
    ));
    let new = compile(&world(
        "pvd 1 2
         source 2001:db8:c::1/64
         route 2001:db8:c::/64
         pvd 2 3
         source 2001:db8:b::1/64
         route ::/0 via fe80::b
         view 1 2",
    ));
    let found: Vec<String> = diff(&old, &new)
        .iter()
        .map(|op| match op {
            Op::PutPvd(pvd, _) => format!("put pvd {pvd}"),
            Op::PutSource(address, _) => format!("put source {address}"),
            Op::PutMember(view, pvd, _) => format!("put member {view} {}", member(*pvd)),
            Op::PutDecision(view, prefix, decision) => format!("put {view} {prefix} {}", decision.pvd),
            Op::DeletePvd(pvd) => format!("delete pvd {pvd}"),
            Op::DeleteSource(address) => format!("delete source {address}"),
            Op::DeleteMember(view, pvd) => format!("delete member {view} {}", member(*pvd)),
            Op::DeleteDecision(view, prefix) => format!("delete {view} {prefix}"),
        })
        .collect();
    let expected = [
        "put pvd 2",
        "put source 2001:db8:b::1",
        "put source 2001:db8:c::1",
        "put member 1 2",
        "put member 1 interface 3",
        "put 0 2001:db8:b::1/128 0",
        "put 0 2001:db8:c::1/128 0",
        "put 1 2001:db8:b::1/128 0",
        "put 1 2001:db8:c::1/128 0",
        "put 0 2001:db8:c::/64 1",
        "put 0 ::/0 2",
        "put 1 ::/0 2",
        "delete 0 2001:db8:a::/64",
        "delete 1 2001:db8:a::/64",
        "delete 0 2001:db8:a::1/128",
        "delete 1 2001:db8:a::1/128",
        "delete member 1 1",
        "delete member 1 interface 2",
        "delete source 2001:db8:a::1",
    ];
    assert_eq!(found, expected);
}

#[test]
fn an_unreadable_store() {
    let store = FakeStore { unreadable: true, ..FakeStore::default() };
    assert_eq!(store.load(), Err(FakeError::Unreadable));
}

#[test]
fn deleting_what_is_not_there() {
    let mut store = FakeStore::default();
    for op in [
        Op::DeletePvd(1),
        Op::DeleteMember(1, 1),
        Op::DeleteSource(Ipv6Addr::LOCALHOST),
        Op::DeleteDecision(0, ipnet::Ipv6Net::default()),
    ] {
        assert_eq!(store.apply(&op), Err(FakeError::Missing(op)));
    }
    assert_eq!(store.applied, []);
}
