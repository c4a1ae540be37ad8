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
//!
//! A [`Compiler`] keeps the regions and cells of the world before. When a PvD changes, only the regions at its own prefixes
//! are evaluated again, and the entries looked at again are those of cells that say something else, and in them. The entries
//! themselves are kept nowhere else: an update says what it changed.
//!
//! * `view`: the offers, regions and cells of one view.
//! * `contest`: who wins in a region's cells.
//! * `table`: from the cells to the entries.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, Ipv6Addr},
};

use ipnet::Ipv6Net;
use mif_common::abi::{DEFAULT_VIEW, Decision, PvdIndex};

use super::{
    diff::diff,
    literal::host_addresses,
    owners,
    policy_table::{PolicyTable, SCOPE_BOUNDARIES},
    prefix::Prefix,
    tables::{Op, Tables},
    world::{Pvd, World},
};
use crate::family::IPV4;

mod contest;
mod table;
mod view;

use view::ViewCells;

/// Compiles the tables of a world: the answer of [`super::literal::answer`] for every view and destination that is
/// not exempt is the longest match in [`Tables::decisions`], or [`super::candidate::Answer::NONE`] without a match.
///
/// The tables depend on the world only, not on the order of anything in it.
///
/// An answer of nobody is stored in one place only, where IPv4 has no default route and IPv6 has: what covers a
/// destination of the same family also covers all below it, so nothing longer has to hide a shorter prefix's answer.
#[must_use]
pub fn compile(world: &World) -> Tables {
    let mut compiler = Compiler::default();
    compiler.update(world, &Touched::All);
    compiler.tables()
}

/// What may be different from the world before.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Touched {
    /// Anything.
    All,
    /// These PvDs, which came, went or changed; and the views and the host's addresses.
    Pvds(BTreeSet<PvdIndex>),
}

/// The tables of a world that changes.
#[derive(Debug, Default)]
pub struct Compiler {
    /// With the decisions.
    views: BTreeMap<u32, ViewCells>,
    /// Every address of the host, in order.
    hosts: Vec<Prefix>,
    /// SOURCE, PVD and VIEW.
    others: Tables,
}

/// What an update changes.
#[derive(Debug, Default)]
pub struct Update {
    /// The changes, to be applied in order.
    pub ops: Vec<Op>,
    /// What they replace or delete, and the rest of SOURCE, PVD and VIEW, as it was.
    pub before: Tables,
}

impl Compiler {
    /// The tables as of the last [`Self::update`].
    #[must_use]
    pub fn tables(&self) -> Tables {
        let decisions = self.decisions().map(|(key, decision)| (key, *decision)).collect();
        Tables { decisions, ..self.others.clone() }
    }

    /// DECISION as of the last [`Self::update`], in no order.
    pub fn decisions(&self) -> impl Iterator<Item = ((u32, Ipv6Net), &Decision)> {
        self.views.iter().flat_map(|(id, view)| {
            let written = view.cells.iter().filter(|(_, cell)| cell.written);
            written.map(|(key, cell)| ((*id, key.prefix.into()), &cell.decision))
        })
    }

    /// PVD as of the last [`Self::update`].
    #[must_use]
    pub const fn pvds(&self) -> &BTreeMap<PvdIndex, mif_common::abi::Pvd> {
        &self.others.pvds
    }

    /// SOURCE as of the last [`Self::update`].
    #[must_use]
    pub const fn sources(&self) -> &BTreeMap<Ipv6Addr, mif_common::abi::Source> {
        &self.others.sources
    }

    /// Gives up room that is not needed; for when there is time.
    pub fn pack(&mut self) {
        self.views.values_mut().for_each(ViewCells::pack);
    }

    /// Brings the tables to a world. What is not `touched` must be as in the call before.
    pub fn update(&mut self, world: &World, touched: &Touched) -> Update {
        let world = Pvds::of(world);
        let mut hosts: Vec<Prefix> = host_addresses(world.world).map(Prefix::host).collect();
        hosts.sort_unstable();
        hosts.dedup();
        let moved = hosts != self.hosts;
        self.hosts = hosts;
        let (mut before, mut after) = (BTreeMap::new(), BTreeMap::new());
        if *touched == Touched::All {
            before.extend(self.decisions().map(|(key, decision)| (key, *decision)));
            self.views.clear();
        }
        let views = views(&world);
        let gone: BTreeSet<u32> = self.views.keys().filter(|id| !views.contains_key(id)).copied().collect();
        before.extend(
            self.decisions().filter(|((id, _), _)| gone.contains(id)).map(|(key, decision)| (key, *decision)),
        );
        self.views.retain(|id, _| !gone.contains(id));
        for (id, groups) in views {
            let view = self.views.entry(id).or_default();
            let anew = view.groups != groups;
            if anew {
                view.set_groups(groups, &world);
            } else if let Touched::Pvds(touched) = touched {
                view.touch(touched, &world);
            }
            if moved || view.is_new() {
                view.set_hosts(&self.hosts);
            }
            view.evaluate(&world);
            let entries = view.write();
            let key = |(prefix, decision): (Prefix, Decision)| ((id, prefix.into()), decision);
            before.extend(entries.before.into_iter().map(key));
            after.extend(entries.after.into_iter().map(key));
        }
        let others = Tables {
            decisions: after,
            sources: owners::sources(world.world),
            pvds: owners::pvds(world.world),
            members: owners::members(world.world),
        };
        let before = Tables { decisions: before, ..std::mem::replace(&mut self.others, others) };
        let ops = diff(&before, &self.others);
        self.others.decisions = BTreeMap::new();
        Update { ops, before }
    }
}

/// The groups of each view, as indices of PvDs in their order. The default view has all PvDs in one.
fn views(world: &Pvds<'_>) -> BTreeMap<u32, Groups> {
    let default = Groups::All;
    let views = world.world.views.iter().filter(|view| view.id != DEFAULT_VIEW);
    views.map(|view| (view.id, Groups::These(view.groups.clone()))).chain([(DEFAULT_VIEW, default)]).collect()
}

/// The groups of a view.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Groups {
    /// All PvDs in one.
    All,
    /// These, some of which may not exist.
    These(Vec<Vec<PvdIndex>>),
}

/// A world whose PvDs are found by their index.
struct Pvds<'w> {
    world: &'w World,
    by_index: BTreeMap<PvdIndex, &'w Pvd>,
}

impl<'w> Pvds<'w> {
    fn of(world: &'w World) -> Self {
        Self { world, by_index: world.pvds.iter().map(|pvd| (pvd.index, pvd)).collect() }
    }

    fn get(&self, index: PvdIndex) -> Option<&'w Pvd> {
        self.by_index.get(&index).copied()
    }
}

/// Where scope or label of destinations change by any PvD's policy table, except where all that follows is exempt; those in IPv4
/// and the others. Where IPv4 begins is a cell of its own.
fn boundaries(world: &World) -> [Vec<Prefix>; 2] {
    let ipv4 = Prefix::from(IPV4);
    let of_networks = world.pvds.iter().filter_map(|pvd| Some(&pvd.policy.as_ref()?.table));
    let tables = std::iter::once(PolicyTable::rfc6724()).chain(of_networks);
    let rows = tables.flat_map(|table| table.rows()).map(|row| row.prefix);
    let scopes = SCOPE_BOUNDARIES.iter().map(|(prefix, _)| *prefix);
    let cuts = |prefix: &Prefix| !all_exempt(*prefix) && *prefix != ipv4;
    let all: BTreeSet<Prefix> = rows.chain(scopes).filter(cuts).collect();
    let (within, others) = all.into_iter().partition(|prefix| ipv4.covers(*prefix));
    [within, others]
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
