//! The same vectors on what the kernel looks at: a world with the vector's addresses is compiled, and the hook's own function
//! decides on the tables. Nothing is left out in silence: what cannot be said so, and where the outcome is another one, is listed.

use std::collections::BTreeMap;

use mif_common::{
    Reason,
    abi::Mode,
    decide::{self, Outcome, Socket},
};

use super::*;
use crate::select::{
    candidate::Criterion,
    compile,
    host::HostTables,
    literal,
    policy_table::in_force::{Policy, PolicyOrigin},
    testing::world,
    world::World,
};

/// Where a world has what the vector has, but the outcome is another one: the vector, what is chosen, and why.
const DEVIATIONS: &[(&str, &str, &str)] = &[
    (
        "S22",
        "2001:db8:a::1",
        "no route of a PvD goes with a source of another interface: the set that §4 recommends (S23)",
    ),
    (
        "S28",
        "fd11::1",
        "rule 6 stands before 5.5: where both routers are of one PvD, any of its sources may use any of them",
    ),
];

/// Why a vector says nothing about the tables.
fn inexpressible(id: &str, destination: Ipv6Addr) -> Option<&'static str> {
    if decide::exempt(&destination.into()).is_some() {
        return Some("the hooks leave such destinations alone");
    }
    match id {
        "S06" | "S54" => Some("no kernel interface tells of home addresses (rule 4)"),
        _ => None,
    }
}

/// How the routers of a link become PvDs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Routers {
    /// All of the interface are one PvD, as those that announce one name.
    OnePvd,
    /// Each is its own PvD, as those that announce none; what no router announced is in a PvD without a route.
    PvdEach,
}

/// A world in which the destination has the vector's outgoing interface and next hop, and no other: all that the interface has
/// is in the way of nothing else. Link-local addresses are no sources of PvDs.
fn world_of(circumstances: &str, candidates: &[Candidate], routers: Routers) -> World {
    let next_hop =
        circumstances.split_whitespace().skip_while(|word| *word != "via").nth(1).unwrap_or("fe80::a");
    // By interface and router, "" where it does not matter or nobody knows.
    let mut pvds: BTreeMap<(u32, String), Vec<String>> = BTreeMap::new();
    let via = if routers == Routers::OnePvd { String::new() } else { next_hop.to_owned() };
    pvds.entry((E0, via.clone())).or_default();
    for candidate in candidates.iter().filter(|candidate| !candidate.address.is_unicast_link_local()) {
        let Candidate { address, prefix_len, ifindex, deprecated, temporary, advertisers, .. } = candidate;
        let mut line = format!("source {address}/{prefix_len}");
        line += if *deprecated { " deprecated" } else { "" };
        line += if *temporary { " temporary" } else { "" };
        line.extend(advertisers.iter().map(|router| format!(" from {router}")));
        let said_by: Vec<String> = match routers {
            Routers::PvdEach if !advertisers.is_empty() => {
                advertisers.iter().map(ToString::to_string).collect()
            }
            _ => vec![String::new()],
        };
        for (place, router) in said_by.into_iter().enumerate() {
            let shared = if place > 0 { " shared" } else { "" };
            pvds.entry((*ifindex, router)).or_default().push(format!("{line}{shared}"));
        }
    }
    let mut text = String::new();
    for (index, ((ifindex, router), sources)) in (1..).zip(pvds) {
        text += &format!("pvd {index} {ifindex}\n{}\n", sources.join("\n"));
        if (ifindex, &router) == (E0, &via) {
            text += &format!("route ::/0 via {next_hop}\n");
        }
    }
    let mut world = world(&text);
    let privacy = if circumstances.contains("public") { Privacy::Public } else { Privacy::default() };
    let policy = Policy { origin: PolicyOrigin::Administrator, table: table(circumstances), privacy };
    for pvd in &mut world.pvds {
        pvd.policy = Some(Box::new(policy.clone()));
    }
    world
}

/// The rule that a criterion stands for.
fn rule_of(criterion: Criterion) -> &'static str {
    match criterion {
        Criterion::Scope => "2",
        Criterion::Deprecation => "3",
        Criterion::Label => "6",
        Criterion::Advertiser => "5.5",
        Criterion::Temporary => "7",
        Criterion::LongestMatch => "8",
        Criterion::TieBreak => "tie",
        _ => "none of the RFC's",
    }
}

/// What connect(2) does: by the hook's function on the compiled tables.
fn connect(world: &World, destination: Ipv6Addr) -> Outcome {
    let tables = HostTables { tables: compile(world), ..HostTables::default() };
    let rule = decide::Rule { view: 0, mode: Mode::Prefer, cgroup: 0 };
    decide::connect(&tables, &rule, &Socket { destination: destination.into(), ..Socket::default() })
}

/// Checks a vector in one of the ways to make a world of it.
fn check(routers: Routers, (id, destination, circumstances, candidates, best, lost): &Vector) {
    let destination = address(destination);
    let candidates: Vec<Candidate> = candidates.split(", ").map(candidate).collect();
    let world = world_of(circumstances, &candidates, routers);
    let outcome = connect(&world, destination);
    if candidates.iter().any(|candidate| candidate.address == destination) {
        // Rule 1, whatever the interface: the host itself, which the kernel reaches with that address.
        assert_eq!((outcome.reason, *best), (Reason::NotOurs, destination.to_string().as_str()), "{id}");
        return;
    }
    assert_eq!(outcome.reason, Reason::Applied, "{id}");
    let found = Ipv6Addr::from(outcome.source).to_string();
    // Where the rules leave a choice, the tables hold one of them.
    assert!(best.split(", ").any(|best| best == found), "{id}: {found}");
    // All that lost by a rule that two sources of one PvD can differ by lost by that rule.
    let explanation = literal::explain(&world, 0, destination);
    for ranked in &explanation.ranked {
        let (Some(source), Some(by)) = (ranked.candidate.source, ranked.lost_by) else { continue };
        let by = format!("{} by {}", source.address, rule_of(by));
        let tie = by.ends_with("by tie") && best.contains(&source.address.to_string());
        assert!(tie || lost.split(", ").any(|lost| lost == by), "{id}: {by}");
    }
}

#[test]
fn vectors() {
    let mut left_out = Vec::new();
    for vector in VECTORS {
        let (id, destination, circumstances, ..) = vector;
        if inexpressible(id, address(destination)).is_some() {
            left_out.push(*id);
            continue;
        }
        match DEVIATIONS.iter().find(|(deviating, ..)| deviating == id) {
            None => check(Routers::OnePvd, vector),
            Some((_, chosen, _)) => {
                let candidates: Vec<Candidate> = vector.3.split(", ").map(candidate).collect();
                let outcome =
                    connect(&world_of(circumstances, &candidates, Routers::OnePvd), address(destination));
                assert_eq!(
                    (outcome.reason, Ipv6Addr::from(outcome.source)),
                    (Reason::Applied, address(chosen)),
                    "{id}"
                );
            }
        }
    }
    assert_eq!(left_out.join(" "), "S02 S04 S06 S12 S13 S14 S15 S16 S17 S18 S19 S40 S54 C06 C06 C07");
}

/// Two routers that announce no name are two PvDs, and then the source follows the next hop before anything else is asked.
#[test]
fn rule_5_5_between_pvds() {
    for vector in VECTORS {
        // S31's second address was announced by nobody: it is of the interface, which has no router.
        if ["S26", "S27", "S28", "S29"].contains(&vector.0) {
            check(Routers::PvdEach, vector);
        }
    }
}
