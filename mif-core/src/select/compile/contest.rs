//! Who wins in the cells of a region.

use crate::select::{
    candidate::{Candidate, Criterion, administrator_wins},
    longest_match::Field,
    policy_table::{PolicyTable, Scope},
    prefix::Prefix,
    rfc6724::rule_6,
};

/// The candidates of a region, and what the cells of it have in common.
///
/// The criteria before rule 8 know of a cell its scope and which sources have its label, nothing else. A region is cut at every
/// row of the policy table, but few of its cells differ in that: the criteria are asked once for all that do not.
pub(super) struct Contest<'w> {
    pairs: Vec<Candidate<'w>>,
    /// The best of the routes that the kernel decides.
    route: Option<Candidate<'w>>,
    /// The scopes and labels that there are among the sources, each with the policy table that says so.
    kinds: Vec<(Scope, Option<u8>, &'w PolicyTable)>,
    /// What the criteria left so far.
    left: Vec<(Likeness, Left<'w>)>,
}

/// What two cells must have in common to be treated alike: scope and, for each kind of source, whether it has the label. Among
/// sources of one kind neither tells anything.
type Likeness = Option<(Scope, Vec<bool>)>;

/// What the criteria left.
enum Left<'w> {
    /// The kernel decides.
    Route(Candidate<'w>),
    /// Rule 8 does.
    Pairs(Field<'w>),
}

impl<'w> Contest<'w> {
    /// Between these.
    pub fn between(candidates: impl Iterator<Item = Candidate<'w>>) -> Self {
        let (pairs, mut routes): (Vec<_>, Vec<_>) =
            candidates.partition(|candidate| candidate.source.is_some());
        for criterion in Criterion::OF_ROUTES.into_iter().chain([Criterion::TieBreak]) {
            criterion.keep(Prefix::ALL, &mut routes, |_| ());
        }
        let mut kinds = Vec::new();
        for (pvd, source) in pairs.iter().filter_map(|pair| Some((pair.pvd, pair.source?))) {
            let (host, table) = (Prefix::host(source.address), pvd.policy_table());
            let kind = (Scope::of(host), table.label(host), table);
            let alike = |known: &(_, _, &PolicyTable)| {
                (known.0, known.1) == (kind.0, kind.1) && (std::ptr::eq(known.2, kind.2) || known.2 == kind.2)
            };
            if !kinds.iter().any(alike) {
                kinds.push(kind);
            }
        }
        Self { pairs, route: routes.pop(), kinds, left: Vec::new() }
    }

    /// Calls `emit` with the winner of a cell and of the parts that rule 8 gives to others.
    pub fn decide(&mut self, cell: Prefix, emit: &mut impl FnMut(Prefix, Candidate<'w>)) {
        let likeness = self.likeness(cell);
        let place = self.left.iter().position(|(known, _)| *known == likeness).unwrap_or_else(|| {
            let left = self.judge(cell);
            self.left.push((likeness, left));
            self.left.len() - 1
        });
        match &self.left[place].1 {
            Left::Route(route) => emit(cell, *route),
            Left::Pairs(field) => field.divide(cell, emit),
        }
    }

    fn likeness(&self, cell: Prefix) -> Likeness {
        (self.kinds.len() > 1).then(|| {
            let matches = self.kinds.iter().map(|(_, source, table)| rule_6(*source, table.label(cell)));
            (Scope::of(cell), matches.collect())
        })
    }

    fn judge(&self, cell: Prefix) -> Left<'w> {
        let mut pairs = self.pairs.clone();
        for criterion in Criterion::OF_PAIRS {
            criterion.keep(cell, &mut pairs, |_| ());
        }
        match (pairs.first(), self.route) {
            // The pairs that are left have one metric, so the route beats all of them or none.
            (Some(pair), Some(route)) if administrator_wins(&route, pair) => Left::Route(route),
            (None, Some(route)) => Left::Route(route),
            _ => Left::Pairs(Field::of(&pairs)),
        }
    }
}
