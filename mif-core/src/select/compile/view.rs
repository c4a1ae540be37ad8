//! The regions and cells of one view.

use std::collections::{BTreeMap, BTreeSet};

use mif_common::abi::{Decision, PvdIndex};

use super::{Groups, Pvds, boundaries};
use crate::{
    family::{Family, IPV4},
    select::{
        candidate::{Answer, Candidate, Criterion, administrator_wins, of_route},
        literal::is_nowhere,
        longest_match::longest_match,
        prefix::Prefix,
        world::Pvd,
    },
};

/// A prefix of the decision table to be.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct CellKey {
    pub prefix: Prefix,
    pub kind: Kind,
    /// The base cell it belongs to; a base cell belongs to itself.
    pub base: Prefix,
}

/// In the order in which cells of one prefix hide each other.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Kind {
    /// An address of the host: a base cell.
    Host,
    /// A region, or what a boundary cuts out of one: a base cell.
    Base,
    /// Where IPv4 begins: a base cell.
    Ipv4,
    /// A part of a base cell, by rule 8. It holds only where no longer base cell does.
    Part,
}

impl CellKey {
    const fn base(prefix: Prefix, kind: Kind) -> Self {
        Self { prefix, kind, base: prefix }
    }
}

/// What a cell says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cell {
    pub decision: Decision,
    /// It stands in the table, with this.
    pub written: Option<Decision>,
}

/// A route that offers candidates.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Offer {
    /// Whose candidates are asked first: two for each group, reachable before unreachable routers.
    tier: usize,
    pvd: PvdIndex,
    /// Its place in the PvD's routes.
    route: usize,
}

/// The offers of one prefix, and its region if it is one.
#[derive(Debug, Default)]
struct Place {
    offers: Vec<Offer>,
    /// The earliest of the offers.
    tier: Option<usize>,
    region: Option<Region>,
    /// The offers, or what they offer, are not those that the region was evaluated with.
    touched: bool,
}

/// A prefix that decides for what no longer region covers.
#[derive(Debug)]
struct Region {
    /// Of the offers that count.
    tier: usize,
    /// What boundaries cut out of it.
    cuts: Box<[Prefix]>,
    /// The parts of its cells.
    parts: Box<[CellKey]>,
}

/// The offers, regions and cells of a view.
#[derive(Debug)]
pub(super) struct ViewCells {
    pub groups: Groups,
    /// By family, then prefix.
    places: [BTreeMap<Prefix, Place>; 2],
    /// Where each PvD's offers are.
    of_pvd: BTreeMap<PvdIndex, BTreeSet<(usize, Prefix)>>,
    hosts: Vec<Prefix>,
    pub cells: BTreeMap<CellKey, Cell>,
    /// Entries of cells that are gone.
    pub unwritten: Vec<Prefix>,
}

impl Default for ViewCells {
    fn default() -> Self {
        let ipv4 = Cell { decision: Answer::NONE.into(), written: None };
        Self {
            groups: Groups::These(Vec::new()),
            places: Default::default(),
            of_pvd: BTreeMap::new(),
            hosts: Vec::new(),
            cells: BTreeMap::from([(CellKey::base(IPV4.into(), Kind::Ipv4), ipv4)]),
            unwritten: Vec::new(),
        }
    }
}

impl ViewCells {
    /// Whether it has not been told of any address yet.
    pub fn is_new(&self) -> bool {
        self.hosts.is_empty()
    }

    /// Other groups: all offers are others.
    pub fn set_groups(&mut self, groups: Groups, world: &Pvds<'_>) {
        self.groups = groups;
        let known = self.of_pvd.keys().chain(world.by_index.keys()).copied().collect();
        self.touch(&known, world);
    }

    /// The host's addresses, in order.
    pub fn set_hosts(&mut self, hosts: &[Prefix]) {
        let key = |prefix: &Prefix| CellKey::base(*prefix, Kind::Host);
        for gone in self.hosts.iter().filter(|prefix| hosts.binary_search(prefix).is_err()) {
            if let Some(Cell { written: Some(_), .. }) = self.cells.remove(&key(gone)) {
                self.unwritten.push(*gone);
            }
        }
        for prefix in hosts {
            let local = Cell { decision: Answer::LOCAL.into(), written: None };
            self.cells.entry(key(prefix)).or_insert(local);
        }
        self.hosts = hosts.into();
    }

    /// PvDs came, went or changed.
    pub fn touch(&mut self, pvds: &BTreeSet<PvdIndex>, world: &Pvds<'_>) {
        for index in pvds {
            for (family, prefix) in self.of_pvd.remove(index).into_iter().flatten() {
                if let Some(place) = self.places[family].get_mut(&prefix) {
                    place.offers.retain(|offer| offer.pvd != *index);
                    place.tier = place.offers.iter().map(|offer| offer.tier).min();
                    place.touched = true;
                }
            }
            if let Some(pvd) = world.get(*index) {
                for group in self.groups_of(pvd) {
                    self.offer(pvd, group);
                }
            }
        }
    }

    /// The places of the groups that a PvD is in.
    fn groups_of(&self, pvd: &Pvd) -> Vec<usize> {
        match &self.groups {
            Groups::All => vec![0],
            Groups::These(groups) if is_nowhere(pvd) => (0..groups.len()).collect(),
            Groups::These(groups) => {
                let has =
                    |(place, group): (usize, &Vec<PvdIndex>)| group.contains(&pvd.index).then_some(place);
                groups.iter().enumerate().filter_map(has).collect()
            }
        }
    }

    fn offer(&mut self, pvd: &Pvd, group: usize) {
        for (number, route) in pvd.routes.iter().enumerate() {
            if of_route(pvd, route).next().is_none() {
                continue;
            }
            let family = usize::from(Family::of_net(route.prefix) == Family::Ipv6);
            let prefix = route.prefix.into();
            let place = self.places[family].entry(prefix).or_default();
            let tier = 2 * group + usize::from(!route.reachable);
            place.offers.push(Offer { tier, pvd: pvd.index, route: number });
            place.tier = Some(place.tier.map_or(tier, |earliest| earliest.min(tier)));
            place.touched = true;
            self.of_pvd.entry(pvd.index).or_default().insert((family, prefix));
        }
    }

    /// Finds the regions and evaluates those that are not what they were.
    pub fn evaluate(&mut self, world: &Pvds<'_>) {
        let boundaries = boundaries();
        for family in 0..self.places.len() {
            let changed = regions(&self.places[family], &boundaries);
            // All that goes before anything comes: a cell of one region may have the key of another's.
            let mut old = BTreeMap::new();
            for (prefix, _) in &changed {
                self.remove(family, *prefix, &mut old);
            }
            for (prefix, found) in changed {
                match found {
                    Some(found) => self.insert(family, prefix, found, world, &mut old),
                    None => self.drop_if_empty(family, prefix),
                }
            }
            self.unwritten.extend(old.iter().filter(|(_, entry)| entry.is_some()).map(|(key, _)| key.prefix));
        }
    }

    /// Takes a region's cells out, and notes what of them stands in the table.
    fn remove(&mut self, family: usize, prefix: Prefix, old: &mut BTreeMap<CellKey, Option<Decision>>) {
        let Some(place) = self.places[family].get_mut(&prefix) else { return };
        place.touched = false;
        let Some(Region { cuts, parts, .. }) = place.region.take() else { return };
        let bases = cuts.iter().chain([&prefix]).map(|cut| CellKey::base(*cut, Kind::Base));
        for key in bases.chain(parts.iter().copied()) {
            if let Some(cell) = self.cells.remove(&key) {
                old.insert(key, cell.written);
            }
        }
    }

    /// Puts a region's cells in.
    fn insert(
        &mut self,
        family: usize,
        prefix: Prefix,
        Found { tier, cuts }: Found,
        world: &Pvds<'_>,
        old: &mut BTreeMap<CellKey, Option<Decision>>,
    ) {
        let Some(place) = self.places[family].get_mut(&prefix) else { return };
        let of_tier = place.offers.iter().filter(|offer| offer.tier == tier);
        let route = |offer: &Offer| {
            let pvd = world.get(offer.pvd)?;
            Some((pvd, pvd.routes.get(offer.route)?))
        };
        let candidates: Vec<Candidate<'_>> =
            of_tier.filter_map(route).flat_map(|(pvd, route)| of_route(pvd, route)).collect();
        let mut parts = Vec::new();
        for cut in cuts.iter().copied().chain([prefix]) {
            evaluate(cut, &candidates, &mut |at, candidate| {
                let kind = if at == cut { Kind::Base } else { Kind::Part };
                let key = CellKey { prefix: at, kind, base: cut };
                if kind == Kind::Part {
                    parts.push(key);
                }
                let written = old.remove(&key).flatten();
                self.cells.insert(key, Cell { decision: candidate.answer().into(), written });
            });
        }
        place.region = Some(Region { tier, cuts: cuts.into(), parts: parts.into() });
    }

    fn drop_if_empty(&mut self, family: usize, prefix: Prefix) {
        if self.places[family].get(&prefix).is_some_and(|place| place.offers.is_empty()) {
            self.places[family].remove(&prefix);
        }
    }
}

/// A region as it is to be.
struct Found {
    tier: usize,
    cuts: Vec<Prefix>,
}

/// The prefixes whose region is not what it was, each with what it is now.
///
/// A prefix is no region where an earlier tier has one that covers it: then that, or something longer of that tier,
/// decides everywhere in it. Otherwise the longest region that covers a destination is of the earliest tier that
/// covers it at all, and the longest of that tier.
///
/// Each boundary is cut out of the longest region around it, unless it is a region itself.
fn regions(places: &BTreeMap<Prefix, Place>, boundaries: &[Prefix]) -> Vec<(Prefix, Option<Found>)> {
    let mut changed = Vec::new();
    // The prefixes around the current one, each with the earliest tier that covers it.
    let mut around: Vec<(Prefix, usize)> = Vec::new();
    let cuts = cuts(places, boundaries);
    for (prefix, place) in places {
        while around.pop_if(|(outer, _)| !outer.covers(*prefix)).is_some() {}
        let tier = place.tier;
        let outer = around.last().map(|(_, earliest)| *earliest);
        let earliest = tier.into_iter().chain(outer).min();
        let found = tier.filter(|tier| Some(*tier) == earliest);
        if let Some(earliest) = earliest {
            around.push((*prefix, earliest));
        }
        let cuts = cuts.get(prefix).map_or(&[][..], Vec::as_slice);
        let same = match (&place.region, found) {
            (Some(region), Some(tier)) => region.tier == tier && *region.cuts == *cuts,
            (None, None) => true,
            _ => false,
        };
        if place.touched || !same {
            changed.push((*prefix, found.map(|tier| Found { tier, cuts: cuts.into() })));
        }
    }
    changed
}

/// The boundaries in each region.
fn cuts(places: &BTreeMap<Prefix, Place>, boundaries: &[Prefix]) -> BTreeMap<Prefix, Vec<Prefix>> {
    let mut cuts: BTreeMap<Prefix, Vec<Prefix>> = BTreeMap::new();
    for boundary in boundaries {
        // From the shortest prefix around the boundary to the boundary itself, as in `regions`.
        let mut earliest = None;
        let mut region = None;
        for len in 0..=boundary.len() {
            let prefix = Prefix::from_bits(boundary.bits(), len);
            let Some(tier) = places.get(&prefix).and_then(|place| place.tier) else { continue };
            if earliest.is_none_or(|earliest| tier <= earliest) {
                earliest = Some(tier);
                region = Some(prefix);
            }
        }
        if let Some(region) = region.filter(|region| region != boundary) {
            cuts.entry(region).or_default().push(*boundary);
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
