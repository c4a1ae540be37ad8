//! The regions and cells of one view.

use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};

use mif_common::abi::{Decision, PvdIndex};

use super::{Groups, Pvds, boundaries, contest::Contest};
use crate::{
    family::IPV4,
    packed::Packed,
    select::{
        candidate::{Answer, of_route},
        literal::is_nowhere,
        prefix::Prefix,
        world::Pvd,
    },
};

/// A prefix of the decision table to be.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct CellKey {
    pub prefix: Prefix,
    pub kind: Kind,
    /// The length of the prefix of the base cell that it belongs to; a base cell belongs to itself.
    base_len: u8,
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
        Self { prefix, kind, base_len: prefix.len() }
    }

    /// The first key that cells of a prefix can have.
    pub const fn first(prefix: Prefix) -> Self {
        Self { prefix, kind: Kind::Host, base_len: 0 }
    }

    /// The last one.
    pub const fn last(prefix: Prefix) -> Self {
        Self { prefix, kind: Kind::Part, base_len: u8::MAX }
    }

    /// The base cell it belongs to, which covers it.
    pub const fn base_prefix(&self) -> Prefix {
        Prefix::from_bits(self.prefix.bits(), self.base_len)
    }
}

/// What a cell says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cell {
    pub decision: Decision,
    /// It stands in the table.
    pub written: bool,
    /// What it says may not be what stands there.
    pub fresh: bool,
    /// The region that it was of is being evaluated again; unless it comes back it goes.
    doomed: bool,
}

impl Cell {
    const fn new(decision: Decision) -> Self {
        Self { decision, written: false, fresh: true, doomed: false }
    }
}

/// A route that offers candidates.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Offer {
    /// Whose candidates are asked first: two for each group, reachable before unreachable routers.
    tier: u32,
    pvd: PvdIndex,
    /// Its place in the PvD's routes.
    route: u32,
}

/// The offers of one prefix, and its region if it is one.
#[derive(Debug, Default)]
struct Place {
    offers: Vec<Offer>,
    /// The earliest of the offers.
    tier: Option<u32>,
    region: Option<Region>,
    /// The offers, or what they offer, are not those that the region was evaluated with.
    touched: bool,
}

/// A prefix that decides for what no longer region covers.
#[derive(Debug)]
struct Region {
    /// Of the offers that count.
    tier: u32,
    /// Its cells beside that of its own prefix: what boundaries cut out of it, and parts.
    cells: Box<[CellKey]>,
}

impl Region {
    fn cuts(&self) -> impl Iterator<Item = Prefix> {
        self.cells.iter().filter(|key| key.kind == Kind::Base).map(|key| key.prefix)
    }
}

/// The offers, regions and cells of a view.
#[derive(Debug)]
pub(super) struct ViewCells {
    pub groups: Groups,
    /// By family, then prefix.
    places: [BTreeMap<Prefix, Place>; 2],
    /// Where each PvD's offers are.
    of_pvd: BTreeMap<PvdIndex, Box<[Prefix]>>,
    hosts: Vec<Prefix>,
    pub cells: BTreeMap<CellKey, Cell>,
    /// Where cells came, went or say something else since the last [`Self::write`].
    pub affected: Vec<Prefix>,
    /// What stood then where it may not stand any more.
    pub before: BTreeMap<Prefix, Decision>,
    packed_places: [Packed; 2],
    packed_cells: Packed,
}

impl Default for ViewCells {
    fn default() -> Self {
        let ipv4 = Prefix::from(IPV4);
        Self {
            groups: Groups::These(Vec::new()),
            places: Default::default(),
            of_pvd: BTreeMap::new(),
            hosts: Vec::new(),
            cells: BTreeMap::from([(CellKey::base(ipv4, Kind::Ipv4), Cell::new(Answer::NONE.into()))]),
            affected: vec![ipv4],
            before: BTreeMap::new(),
            packed_places: Default::default(),
            packed_cells: Packed::default(),
        }
    }
}

impl ViewCells {
    /// Whether it has not been told of any address yet.
    pub fn is_new(&self) -> bool {
        self.hosts.is_empty()
    }

    /// Gives up room that is not needed.
    pub fn pack(&mut self) {
        for (packed, places) in self.packed_places.iter_mut().zip(&mut self.places) {
            packed.pack(places);
        }
        self.packed_cells.pack(&mut self.cells);
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
        let gone = self.hosts.iter().filter(|prefix| hosts.binary_search(prefix).is_err());
        for gone in gone.copied().collect::<Vec<_>>() {
            self.remove(key(&gone));
        }
        for prefix in hosts {
            self.put(key(prefix), Answer::LOCAL.into());
        }
        self.hosts = hosts.into();
    }

    /// PvDs came, went or changed.
    pub fn touch(&mut self, pvds: &BTreeSet<PvdIndex>, world: &Pvds<'_>) {
        for index in pvds {
            for prefix in self.of_pvd.remove(index).into_iter().flatten() {
                if let Some(place) = self.places[family(prefix)].get_mut(&prefix) {
                    place.offers.retain(|offer| offer.pvd != *index);
                    place.tier = place.offers.iter().map(|offer| offer.tier).min();
                    place.touched = true;
                }
            }
            if let Some(pvd) = world.get(*index) {
                let mut prefixes = BTreeSet::new();
                for group in self.groups_of(pvd) {
                    self.offer(pvd, group, &mut prefixes);
                }
                self.of_pvd.insert(*index, prefixes.into_iter().collect());
            }
        }
    }

    /// The places of the groups that a PvD is in.
    fn groups_of(&self, pvd: &Pvd) -> Vec<u32> {
        match &self.groups {
            Groups::All => vec![0],
            Groups::These(groups) if is_nowhere(pvd) => (0..).zip(groups).map(|(place, _)| place).collect(),
            Groups::These(groups) => {
                let has = |(place, group): (u32, &Vec<PvdIndex>)| group.contains(&pvd.index).then_some(place);
                (0..).zip(groups).filter_map(has).collect()
            }
        }
    }

    fn offer(&mut self, pvd: &Pvd, group: u32, prefixes: &mut BTreeSet<Prefix>) {
        for (number, route) in (0..).zip(&pvd.routes) {
            if of_route(pvd, route).next().is_none() {
                continue;
            }
            let prefix = route.prefix.into();
            let place = self.places[family(prefix)].entry(prefix).or_default();
            let tier = 2 * group + u32::from(!route.reachable);
            // Nearly all prefixes have one offer.
            place.offers.reserve_exact(usize::from(place.offers.is_empty()));
            place.offers.push(Offer { tier, pvd: pvd.index, route: number });
            place.tier = Some(place.tier.map_or(tier, |earliest| earliest.min(tier)));
            place.touched = true;
            prefixes.insert(prefix);
        }
    }

    /// Finds the regions and evaluates those that are not what they were.
    pub fn evaluate(&mut self, world: &Pvds<'_>) {
        let [ipv4, ipv6] = boundaries(world.world);
        for (family, boundaries) in [ipv4, ipv6].iter().enumerate() {
            let changed = regions(&self.places[family], boundaries);
            // All that may go is marked before anything comes: a cell of one region may have the key of another's.
            let mut doomed = Vec::new();
            for (prefix, _) in &changed {
                self.doom(family, *prefix, &mut doomed);
            }
            for (prefix, found) in changed {
                match found {
                    Some(found) => self.insert(family, prefix, found, world),
                    None => self.drop_if_empty(family, prefix),
                }
            }
            for key in doomed {
                if self.cells.get(&key).is_some_and(|cell| cell.doomed) {
                    self.remove(key);
                }
            }
        }
    }

    /// Takes a region away; its cells stay for now, because most will come back.
    fn doom(&mut self, family: usize, prefix: Prefix, doomed: &mut Vec<CellKey>) {
        let Some(place) = self.places[family].get_mut(&prefix) else { return };
        place.touched = false;
        let Some(region) = place.region.take() else { return };
        for key in region.cells.into_iter().chain([CellKey::base(prefix, Kind::Base)]) {
            if let Some(cell) = self.cells.get_mut(&key) {
                cell.doomed = true;
                doomed.push(key);
            }
        }
    }

    /// Puts a region's cells in.
    fn insert(&mut self, family: usize, prefix: Prefix, Found { tier, cuts }: Found, world: &Pvds<'_>) {
        let Some(place) = self.places[family].get(&prefix) else { return };
        let of_tier = place.offers.iter().filter(|offer| offer.tier == tier);
        let route = |offer: &Offer| {
            let pvd = world.get(offer.pvd)?;
            Some((pvd, pvd.routes.get(offer.route as usize)?))
        };
        let mut contest =
            Contest::between(of_tier.filter_map(route).flat_map(|(pvd, route)| of_route(pvd, route)));
        let mut cells = Vec::new();
        for cut in cuts.into_iter().chain([prefix]) {
            contest.decide(cut, &mut |at, candidate| {
                let kind = if at == cut { Kind::Base } else { Kind::Part };
                let key = CellKey { prefix: at, kind, base_len: cut.len() };
                if at != prefix {
                    cells.push(key);
                }
                self.put(key, candidate.answer().into());
            });
        }
        if let Some(place) = self.places[family].get_mut(&prefix) {
            place.region = Some(Region { tier, cells: cells.into() });
        }
    }

    /// A cell says this.
    fn put(&mut self, key: CellKey, decision: Decision) {
        match self.cells.entry(key) {
            Entry::Vacant(place) => {
                place.insert(Cell::new(decision));
            }
            Entry::Occupied(mut place) => {
                let cell = place.get_mut();
                cell.doomed = false;
                if cell.decision == decision {
                    return;
                }
                if cell.written {
                    self.before.entry(key.prefix).or_insert(cell.decision);
                }
                (cell.decision, cell.fresh) = (decision, true);
            }
        }
        self.affected.push(key.prefix);
    }

    fn remove(&mut self, key: CellKey) {
        let Some(cell) = self.cells.remove(&key) else { return };
        if cell.written {
            self.before.entry(key.prefix).or_insert(cell.decision);
        }
        self.affected.push(key.prefix);
    }

    fn drop_if_empty(&mut self, family: usize, prefix: Prefix) {
        if self.places[family].get(&prefix).is_some_and(|place| place.offers.is_empty()) {
            self.places[family].remove(&prefix);
        }
    }
}

/// The place of a prefix's family in [`ViewCells::places`].
fn family(prefix: Prefix) -> usize {
    usize::from(!Prefix::from(IPV4).covers(prefix))
}

/// A region as it is to be.
struct Found {
    tier: u32,
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
    let mut around: Vec<(Prefix, u32)> = Vec::new();
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
            (Some(region), Some(tier)) => region.tier == tier && region.cuts().eq(cuts.iter().copied()),
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
