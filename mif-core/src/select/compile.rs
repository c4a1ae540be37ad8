//! The tables that hold the literal procedure's answer for every possible destination.
//!
//! # Why a few prefixes are enough
//! The best candidates are those of the longest route that covers the destination, reachable routers first, earlier
//! groups before later ones. So each prefix of a route either decides for all that it covers, save what longer ones
//! decide, or never: see `regions`. Within such a region the criteria up to rule 7 depend on the destination only by
//! its scope and label, hence the region is cut into cells at the rows of the policy table and the boundaries of
//! scopes, and each cell goes through the criteria once. Rule 8 then divides the cell among the pairs that are left:
//! see `longest_match`. Rule 1 asks for nothing: a destination that equals a source is the host itself.
//!
//! # Two families
//! IPv4 lies within the space of IPv6, so `::/0` would cover it. Regions are found for each family by itself, and a cell at
//! `::ffff:0:0/96`, which says "nobody" unless an IPv4 default route says something, keeps the two apart.
//!
//! # What it costs
//! Each region looks at the candidates of its own prefix only, n candidates in all regions, m of them in those that
//! boundaries cut (a dozen rows): O((n + m) log n) unless the sources nest deeply, whatever the number of PvDs that
//! offer the same.

use std::{
    collections::HashMap,
    net::{Ipv4Addr, Ipv6Addr},
};

use ipnet::Ipv6Net;
use mif_common::abi::{DEFAULT_VIEW, Decision, PvdIndex};

use super::{
    candidate::{Answer, Candidate, Criterion, administrator_wins, of_route},
    literal::{groups, host_addresses},
    longest_match::longest_match,
    owners,
    policy_table::{PolicyTable, SCOPE_BOUNDARIES},
    prefix::Prefix,
    tables::Tables,
    world::{Pvd, Route, World},
};
use crate::family::{Family, IPV4};

/// Compiles the tables of a world: the answer of [`super::literal::answer`] for every view and destination that is
/// not exempt is the longest match in [`Tables::decisions`], or [`Answer::NONE`] without a match.
///
/// The tables depend on the world only, not on the order of anything in it.
///
/// An answer [`Answer::NONE`] is stored in one place only, where IPv4 has no default route and IPv6 has: what covers a
/// destination of the same family also covers all below it, so nothing longer has to hide a shorter prefix's answer.
#[must_use]
pub fn compile(world: &World) -> Tables {
    let mut hosts: Vec<Prefix> = host_addresses(world).map(Prefix::host).collect();
    hosts.sort_unstable();
    hosts.dedup();
    let boundaries = boundaries();
    let mut decisions = Vec::new();
    let mut views: Vec<u32> = world.views.iter().map(|view| view.id).chain([DEFAULT_VIEW]).collect();
    views.sort_unstable();
    views.dedup();
    let by_index: HashMap<PvdIndex, &Pvd> = world.pvds.iter().map(|pvd| (pvd.index, pvd)).collect();
    for view in views {
        let groups = groups(world, view, |index| by_index.get(&index).copied());
        let offers = Family::ALL.map(|family| offers(&groups, family));
        let cells = cells(&offers, &hosts, &boundaries);
        decisions.extend(table(cells).map(|(prefix, decision)| ((view, Ipv6Net::from(prefix)), decision)));
    }
    Tables {
        decisions: decisions.into_iter().collect(),
        sources: owners::sources(world),
        pvds: owners::pvds(world),
        members: owners::members(world),
    }
}

/// A route that offers candidates.
#[derive(Clone, Copy)]
struct Offer<'w> {
    prefix: Prefix,
    /// Whose candidates are asked first: two for each group, reachable before unreachable routers.
    tier: usize,
    pvd: &'w Pvd,
    route: &'w Route,
}

/// What the groups of a view offer in a family, by prefix, then tier.
fn offers<'w>(groups: &[Vec<&'w Pvd>], family: Family) -> Vec<Offer<'w>> {
    let mut offers = Vec::new();
    for (place, group) in groups.iter().enumerate() {
        for &pvd in group {
            for route in pvd.routes.iter().filter(|route| Family::of_net(route.prefix) == family) {
                if of_route(pvd, route).next().is_some() {
                    let tier = 2 * place + usize::from(!route.reachable);
                    offers.push(Offer { prefix: route.prefix.into(), tier, pvd, route });
                }
            }
        }
    }
    offers.sort_unstable_by_key(|offer| (offer.prefix, offer.tier));
    offers
}

/// A prefix that decides for what no longer region covers.
struct Region<'o, 'w> {
    prefix: Prefix,
    /// Its offers, all of one tier.
    offers: &'o [Offer<'w>],
}

/// The regions, in depth-first order.
///
/// A prefix is none where an earlier tier has one that covers it: then that, or something longer of that tier,
/// decides everywhere in it. Otherwise the longest region that covers a destination is of the earliest tier that
/// covers it at all, and the longest of that tier.
fn regions<'o, 'w>(offers: &'o [Offer<'w>]) -> Vec<Region<'o, 'w>> {
    let mut regions = Vec::new();
    // The prefixes around the current one, each with the earliest tier that covers it.
    let mut around: Vec<(Prefix, usize)> = Vec::new();
    for offers in offers.chunk_by(|a, b| a.prefix == b.prefix) {
        let (prefix, tier) = (offers[0].prefix, offers[0].tier);
        while around.pop_if(|(outer, _)| !outer.covers(prefix)).is_some() {}
        let earliest = around.last().map_or(tier, |(_, earliest)| tier.min(*earliest));
        if earliest == tier {
            let end = offers.partition_point(|offer| offer.tier == tier);
            regions.push(Region { prefix, offers: &offers[..end] });
        }
        around.push((prefix, earliest));
    }
    regions
}

/// Where scope or label of destinations change, except where all that follows is exempt. Within IPv4 there are none, and
/// where IPv4 begins is a cell of its own.
fn boundaries() -> Vec<Prefix> {
    let rows = PolicyTable::rfc6724().rows().iter().map(|row| row.prefix);
    let scopes = SCOPE_BOUNDARIES.iter().map(|(prefix, _)| *prefix);
    let cuts = |prefix: &Prefix| !all_exempt(*prefix) && !Prefix::from(IPV4).covers(*prefix);
    let mut boundaries: Vec<Prefix> = rows.chain(scopes).filter(cuts).collect();
    boundaries.sort_unstable();
    boundaries.dedup();
    boundaries
}

/// A prefix of the decision table to be.
struct Cell {
    prefix: Prefix,
    /// Which base cell it belongs to; a base cell belongs to itself.
    base: u32,
    kind: Kind,
    decision: Decision,
}

/// In the order in which cells of one prefix hide each other.
#[derive(Clone, Copy, Eq, Ord, PartialEq, PartialOrd)]
enum Kind {
    /// An address of the host: a base cell.
    Host,
    /// A region, or what a boundary cuts out of one: a base cell.
    Base,
    /// Where IPv4 begins: a base cell.
    Ipv4,
    /// A part of a base cell, by rule 8. It holds only where no longer base cell does.
    Part,
}

/// The cells of a view, in no order.
fn cells(offers: &[Vec<Offer<'_>>], hosts: &[Prefix], boundaries: &[Prefix]) -> Vec<Cell> {
    let mut cells = Vec::new();
    let mut bases = 0..;
    let mut next_base = || bases.next().expect("fewer prefixes than numbers");
    for &prefix in hosts {
        cells.push(Cell { prefix, base: next_base(), kind: Kind::Host, decision: Answer::LOCAL.into() });
    }
    cells.push(Cell {
        prefix: IPV4.into(),
        base: next_base(),
        kind: Kind::Ipv4,
        decision: Answer::NONE.into(),
    });
    let regions: Vec<Region<'_, '_>> = offers.iter().flat_map(|offers| regions(offers)).collect();
    for (region, cuts) in regions.iter().zip(cuts(&regions, boundaries)) {
        let candidates: Vec<Candidate<'_>> =
            region.offers.iter().flat_map(|offer| of_route(offer.pvd, offer.route)).collect();
        for cut in cuts.into_iter().chain([region.prefix]) {
            let base = next_base();
            evaluate(cut, &candidates, &mut |prefix, candidate| {
                let kind = if prefix == cut { Kind::Base } else { Kind::Part };
                cells.push(Cell { prefix, base, kind, decision: candidate.answer().into() });
            });
        }
    }
    cells
}

/// What the boundaries cut out of each region: each out of the longest around it, unless it is a region itself.
fn cuts(regions: &[Region<'_, '_>], boundaries: &[Prefix]) -> Vec<Vec<Prefix>> {
    let mut cuts = vec![Vec::new(); regions.len()];
    for &boundary in boundaries {
        let around = regions.iter().enumerate().filter(|(_, region)| region.prefix.covers(boundary));
        if let Some((place, region)) = around.max_by_key(|(_, region)| region.prefix.len())
            && region.prefix != boundary
        {
            cuts[place].push(boundary);
        }
    }
    cuts
}

/// Calls `emit` with the winner of a cell and of the parts that rule 8 gives to others.
fn evaluate<'w>(cell: Prefix, candidates: &[Candidate<'w>], emit: &mut impl FnMut(Prefix, Candidate<'w>)) {
    let (mut pairs, mut routes): (Vec<_>, Vec<_>) = candidates.iter().partition(|c| c.source.is_some());
    for criterion in Criterion::OF_PAIRS {
        criterion.keep(cell, &mut pairs, |_| ());
    }
    for criterion in Criterion::OF_ROUTES.into_iter().chain([Criterion::TieBreak]) {
        criterion.keep(cell, &mut routes, |_| ());
    }
    match (pairs.first(), routes.first()) {
        // The pairs that are left have one metric, so the route beats all of them or none.
        (Some(pair), Some(route)) if administrator_wins(route, pair) => emit(cell, *route),
        (None, Some(route)) => emit(cell, *route),
        _ => longest_match(cell, &pairs, emit),
    }
}

/// The longest-prefix table of the cells, in depth-first order, without entries equal to their parents and without
/// those that no destination asks for.
fn table(mut cells: Vec<Cell>) -> impl Iterator<Item = (Prefix, Decision)> {
    cells.sort_unstable_by_key(|cell| (cell.prefix, cell.kind));
    // The cells around the current one: prefix, the innermost base, the answer.
    let mut around: Vec<(Prefix, u32, Decision)> = Vec::new();
    cells.into_iter().filter_map(move |cell| {
        while around.pop_if(|(outer, ..)| !outer.covers(cell.prefix)).is_some() {}
        let parent = around.last();
        let hidden = match cell.kind {
            Kind::Host | Kind::Base | Kind::Ipv4 => parent.is_some_and(|(outer, ..)| *outer == cell.prefix),
            Kind::Part => parent.is_none_or(|(_, base, _)| *base != cell.base),
        };
        if hidden || all_exempt(cell.prefix) {
            return None;
        }
        let same = parent.map_or(Decision::from(Answer::NONE), |(.., decision)| *decision) == cell.decision;
        around.push((cell.prefix, cell.base, cell.decision));
        (!same).then_some((cell.prefix, cell.decision))
    })
}

/// What [`mif_common::decide::exempt`] exempts: loopback, link-local, multicast, and what means the own link or host.
const EXEMPT: [Prefix; 8] = [
    Prefix::new(Ipv6Addr::UNSPECIFIED, 127),
    ipv4([0, 0, 0, 0], 32),
    ipv4([127, 0, 0, 0], 8),
    ipv4([169, 254, 0, 0], 16),
    ipv4([224, 0, 0, 0], 4),
    ipv4([255, 255, 255, 255], 32),
    Prefix::new(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10),
    Prefix::new(Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8),
];

const fn ipv4([a, b, c, d]: [u8; 4], len: u8) -> Prefix {
    Prefix::new(Ipv4Addr::new(a, b, c, d).to_ipv6_mapped(), 96 + len)
}

/// Whether every destination of a prefix is exempt: the hooks do not ask for them.
fn all_exempt(prefix: Prefix) -> bool {
    EXEMPT.iter().any(|exempt| exempt.covers(prefix))
}

#[cfg(test)]
mod tests;
