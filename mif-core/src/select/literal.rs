//! The procedure of selection, word by word, for one destination. What the tables must hold (`compile`) and what
//! `mif explain` tells.

use std::net::Ipv6Addr;

use mif_common::{
    abi::{DEFAULT_VIEW, PvdIndex},
    decide::exempt,
};

use super::{
    candidate::{Answer, Candidate, Criterion, administrator_wins, of_route},
    prefix::Prefix,
    world::{Pvd, World},
};
use crate::family;

/// An answer and how it came about.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Explanation<'w> {
    /// The answer.
    pub answer: Answer,
    /// The place of the view's group that it comes from, 0 being the first; `None` without candidates.
    pub group: Option<usize>,
    /// The candidates of that group, the winner first, then in the reverse order of their elimination.
    pub ranked: Vec<Ranked<'w>>,
}

impl Explanation<'_> {
    fn without_candidates(answer: Answer) -> Self {
        Self { answer, group: None, ranked: Vec::new() }
    }

    /// What decided between the best two, `None` if there were no two.
    #[must_use]
    pub fn decided_by(&self) -> Option<Criterion> {
        self.ranked.get(1)?.lost_by
    }
}

/// A candidate of an [`Explanation`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Ranked<'w> {
    /// The candidate.
    pub candidate: Candidate<'w>,
    /// What it lost by, `None` for the winner.
    pub lost_by: Option<Criterion>,
}

/// The answer for a destination in a view (0 for the default view). A view that the world does not have reaches
/// nothing.
#[must_use]
pub fn answer(world: &World, view: u32, destination: Ipv6Addr) -> Answer {
    explain(world, view, destination).answer
}

/// As [`answer`], with what else was considered.
#[must_use]
pub fn explain(world: &World, view: u32, destination: Ipv6Addr) -> Explanation<'_> {
    if exempt(&destination.into()).is_some() {
        return Explanation::without_candidates(Answer::EXEMPT);
    }
    if host_addresses(world).any(|address| address == destination) {
        return Explanation::without_candidates(Answer::LOCAL);
    }
    let cell = Prefix::host(destination);
    let find = |index| world.pvds.iter().find(|pvd| pvd.index == index);
    for (place, group) in groups(world, view, find).into_iter().enumerate() {
        let candidates: Vec<Candidate<'_>> = group
            .into_iter()
            .flat_map(|pvd| pvd.routes.iter().map(move |route| (pvd, route)))
            .filter(|(_, route)| family::covers(route.prefix, destination))
            .flat_map(|(pvd, route)| of_route(pvd, route))
            .collect();
        if let Some(ranked) = rank(cell, candidates) {
            let answer = ranked[0].candidate.answer();
            return Explanation { answer, group: Some(place), ranked };
        }
    }
    Explanation::without_candidates(Answer::NONE)
}

/// Every address of the host: what the world lists, and the sources of its PvDs, which are addresses of the host too.
pub(super) fn host_addresses(world: &World) -> impl Iterator<Item = Ipv6Addr> {
    let sources = world.pvds.iter().flat_map(|pvd| &pvd.sources).map(|source| source.address);
    world.local_addresses.iter().copied().chain(sources)
}

/// The groups of a view, in order, with the PvDs that `find` finds. The default view has all PvDs in one.
pub(super) fn groups<'w>(
    world: &'w World,
    view: u32,
    find: impl Fn(PvdIndex) -> Option<&'w Pvd>,
) -> Vec<Vec<&'w Pvd>> {
    if view == DEFAULT_VIEW {
        return vec![world.pvds.iter().collect()];
    }
    let view = world.views.iter().find(|candidate| candidate.id == view);
    let groups = view.into_iter().flat_map(|view| &view.groups);
    let refusing = || world.pvds.iter().filter(|pvd| is_nowhere(pvd));
    let members = |group: &'w Vec<PvdIndex>| {
        let chosen = group.iter().filter_map(|index| find(*index)).filter(|pvd| !is_nowhere(pvd));
        chosen.chain(refusing()).collect()
    };
    groups.map(members).collect()
}

/// Whether it is the PvD of the routes that refuse and so need no interface (blackhole and its kind): the administrator's
/// word, which holds in every group of every view.
pub(super) const fn is_nowhere(pvd: &Pvd) -> bool {
    pvd.ifindex == 0
}

/// The candidates from best to worst, `None` if there are none. Elimination criterion by criterion rather than a sort:
/// see [`super::rfc6724`].
fn rank<'w>(cell: Prefix, mut set: Vec<Candidate<'w>>) -> Option<Vec<Ranked<'w>>> {
    let mut lost = Vec::new();
    eliminate(&[Criterion::Reachability, Criterion::RouteLength], cell, &mut set, &mut lost);
    let (mut pairs, mut routes): (Vec<_>, Vec<_>) = set.into_iter().partition(|c| c.source.is_some());
    eliminate(&Criterion::OF_PAIRS, cell, &mut pairs, &mut lost);
    eliminate(&[Criterion::LongestMatch, Criterion::TieBreak], cell, &mut pairs, &mut lost);
    eliminate(&Criterion::OF_ROUTES, cell, &mut routes, &mut lost);
    eliminate(&[Criterion::TieBreak], cell, &mut routes, &mut lost);
    let winner = match (pairs.first(), routes.first()) {
        (Some(&pair), Some(&route)) => {
            let (winner, loser, by) = if administrator_wins(&route, &pair) {
                (route, pair, Criterion::Administrator)
            } else {
                (pair, route, Criterion::Metric)
            };
            // The other finalist is the second, whatever it lost by.
            lost.push(Ranked { candidate: loser, lost_by: Some(by) });
            winner
        }
        (Some(&only), None) | (None, Some(&only)) => only,
        (None, None) => return None,
    };
    // `lost` is in the order of elimination for pairs and for routes; the stable sort merges the two.
    let second = lost.pop_if(|_| pairs.len() + routes.len() > 1);
    lost.sort_by_key(|ranked| ranked.lost_by);
    lost.extend(second);
    lost.push(Ranked { candidate: winner, lost_by: None });
    lost.reverse();
    Some(lost)
}

/// Goes through the criteria and appends what loses, the worst of each criterion first.
fn eliminate<'w>(
    criteria: &[Criterion],
    cell: Prefix,
    set: &mut Vec<Candidate<'w>>,
    lost: &mut Vec<Ranked<'w>>,
) {
    for &criterion in criteria {
        let before = lost.len();
        criterion.keep(cell, set, |candidate| {
            lost.push(Ranked { candidate: *candidate, lost_by: Some(criterion) });
        });
        lost[before..].sort_by_key(|ranked| std::cmp::Reverse(ranked.candidate.tie_break()));
    }
}

#[cfg(test)]
mod tests;
