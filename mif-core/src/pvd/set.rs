//! The machine: events in, changes out.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    net::Ipv6Addr,
};

use ipnet::Ipv6Net;
use mif_common::abi::PvdIndex;

use super::{
    change::{Change, Journal, What},
    event::{Address, Event, KernelRoute},
    find::{FindError, find},
    index::Indices,
    key::PvdKey,
    learnt::Pvd,
    limits::{EXPLICIT_PVDS_PER_LINK, LINKS, Limits, ROUTERS_PER_LINK, Refused, RefusedReason},
    link::LinkState,
    ra::{Circumstances, Heard},
    refresh::{PolicyOfHost, Stale},
    settle::Unsettled,
    timers::{Timer, Timers},
    world::is_assigned,
};
use crate::{family::IPV4, time::Time, wire::RouterAdvertisement};

/// The provisioning domains of a host.
///
/// Tell it everything that happens with [`PvdSet::apply`], call [`PvdSet::expire`] at [`PvdSet::next_deadline`], and ask
/// [`PvdSet::world`] what selection should go by. `now` must not run backwards.
///
/// A dump of the kernel's tables between [`Event::ResyncBegin`] and [`Event::ResyncEnd`] should tell links, addresses,
/// routes and neighbours in this order: of neighbours only the next hops of known routes and routers are remembered.
#[derive(Debug)]
pub struct PvdSet {
    pub(super) links: BTreeMap<u32, LinkState>,
    pub(super) indices: Indices,
    pub(super) timers: Timers,
    pub(super) refused: Refused,
    /// The interfaces that have an address which can be a source.
    pub(super) holders: BTreeMap<Ipv6Addr, BTreeSet<u32>>,
    /// Kernel routes of all links.
    pub(super) kernel_routes: usize,
    /// Addresses of all links.
    pub(super) addresses: usize,
    /// Number of the dump that is under way or was last.
    pub(super) dump: u64,
    pub(super) dumping: bool,
    /// Names of interfaces whose IPv4 belongs to their IPv6 PvD.
    pub(super) merge_ipv4: BTreeSet<String>,
    /// What is not as it was at the last [`PvdSet::refresh`].
    pub(super) stale: Stale,
    /// The policy of the host then.
    pub(super) policy: PolicyOfHost,
    /// Which route ended, nobody can tell but the kernel.
    pub(super) unsure: bool,
}

impl PvdSet {
    /// A set that knows nothing yet.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            links: BTreeMap::new(),
            indices: Indices::new(limits),
            timers: Timers::default(),
            refused: Refused::default(),
            holders: BTreeMap::new(),
            kernel_routes: 0,
            addresses: 0,
            dump: 0,
            dumping: false,
            merge_ipv4: BTreeSet::new(),
            stale: Stale::default(),
            policy: PolicyOfHost::default(),
            unsure: false,
        }
    }

    /// Takes in an event that happened `now`. Nothing that a network sends can make this fail; what does not fit is
    /// counted in [`PvdSet::refused`].
    pub fn apply(&mut self, event: Event, now: Time) -> Vec<Change> {
        let mut journal = Journal::default();
        self.let_time_pass(now, &mut journal);
        self.outdate(&event);
        let journal_ref = &mut journal;
        match event {
            Event::RouterAdvertisement { ifindex, router, advertisement } => {
                self.on_advertisement(ifindex, router, &advertisement, now, journal_ref);
            }
            Event::Link(link) => self.on_link(link, now, journal_ref),
            Event::LinkGone { ifindex } => self.drop_link(ifindex, journal_ref),
            Event::Address(address) => self.on_address(address, now, journal_ref),
            Event::AddressGone(address) => self.on_address_gone(&address, now, journal_ref),
            Event::Route(route) => self.on_route(route, now, journal_ref),
            Event::RouteReplaced(route) => self.on_route_replaced(&route, now, journal_ref),
            Event::RouteGone(route) => {
                self.on_route_gone(route.ifindex, (&route).into(), now, journal_ref);
            }
            Event::Neighbour { ifindex, address, reachable } => {
                self.on_neighbour(ifindex, address, reachable, journal_ref);
            }
            Event::NeighbourAsked { ifindex, address } => self.on_neighbour_asked(ifindex, address),
            Event::Dhcpv6 { ifindex, server, configuration } => {
                self.on_dhcpv6(ifindex, server, &configuration, now, journal_ref);
            }
            Event::Dhcpv6Gone { ifindex } => self.on_dhcpv6_gone(ifindex, now, journal_ref),
            Event::ResyncBegin => {
                self.dump += 1;
                self.dumping = true;
            }
            Event::ResyncEnd => self.sweep(now, journal_ref),
        }
        journal.into_changes()
    }

    /// Lets lifetimes end that have ended `now`.
    pub fn expire(&mut self, now: Time) -> Vec<Change> {
        let mut journal = Journal::default();
        self.let_time_pass(now, &mut journal);
        journal.into_changes()
    }

    /// When the next lifetime ends, if any does. After [`PvdSet::expire`] it lies in the future.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Time> {
        self.timers.next()
    }

    /// What was not taken in since the set was made, and how often.
    #[must_use]
    pub const fn refused(&self) -> &Refused {
        &self.refused
    }

    /// Whether a dump is needed to know which routes there are, which this call takes as asked for: one of several that are alike
    /// ended without a word.
    pub fn wants_resync(&mut self) -> bool {
        std::mem::take(&mut self.unsure)
    }

    /// The PvD of an id, of an index, or the only one whose id begins so (case does not matter).
    ///
    /// # Errors
    /// When there is none, or several.
    pub fn find(&self, wanted: &str) -> Result<PvdIndex, FindError> {
        let known: Vec<(PvdIndex, String)> =
            self.indices.iter().filter_map(|(index, key)| Some((index, self.id(key)?))).collect();
        find(&known, wanted)
    }

    /// Keeps the numbers that PvDs had before a restart for them, so that counters by number stay theirs.
    pub fn reserve(&mut self, numbers: impl IntoIterator<Item = (PvdKey, PvdIndex)>) {
        for (key, index) in numbers {
            self.indices.reserve(key, index);
        }
    }

    /// Gives up room that is not needed; for when there is time.
    pub fn pack(&mut self) {
        for link in self.links.values_mut() {
            link.packed_routes.pack(&mut link.routes);
        }
    }

    /// How many PvDs there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.indices.iter().count()
    }

    /// What the routers of an interface ask hosts to do by DHCPv6, all PvDs of it together: addresses (M), and other
    /// configuration (O). M without O is both (RFC 4861 §4.2).
    #[must_use]
    pub fn asks_for_dhcpv6(&self, ifindex: u32) -> (bool, bool) {
        let routers = self
            .links
            .get(&ifindex)
            .into_iter()
            .flat_map(|link| link.pvds.values())
            .flat_map(|pvd| pvd.routers.values());
        routers.fold((false, false), |(managed, other), router| {
            (managed | router.managed, other | router.other_config | router.managed)
        })
    }

    /// Whether the kernel has a route by this router on the interface, whoever put it there.
    #[must_use]
    pub fn has_kernel_route_by(&self, ifindex: u32, router: Ipv6Addr) -> bool {
        let by_router = |(route, _): &(KernelRoute, u64)| route.gateway == Some(router);
        self.links.get(&ifindex).is_some_and(|link| link.routes.values().any(by_router))
    }

    /// Whether a PvD of the interface has this router, or a route of the kernel leads there.
    #[must_use]
    pub fn is_next_hop(&self, ifindex: u32, address: &Ipv6Addr) -> bool {
        self.links.get(&ifindex).is_some_and(|link| link.is_next_hop(address))
    }

    /// The interface's address in the subnet of an IPv4 neighbour.
    #[must_use]
    pub fn beside(&self, ifindex: u32, neighbour: Ipv6Addr) -> Option<Ipv6Addr> {
        let range = IPV4.network()..=IPV4.broadcast();
        let mut addresses = self.links.get(&ifindex)?.addresses.range(range).map(|(_, (address, _))| address);
        let has_neighbour = |address: &&Address| {
            Ipv6Net::new(address.address, address.prefix_len).is_ok_and(|subnet| subnet.contains(&neighbour))
        };
        addresses.find(has_neighbour).map(|address| address.address)
    }

    /// Whether a next hop is known not to answer.
    #[must_use]
    pub fn is_unreachable(&self, ifindex: u32, address: &Ipv6Addr) -> bool {
        self.links.get(&ifindex).is_some_and(|link| !link.is_reachable(address))
    }

    /// Whether an interface has an address in a prefix.
    #[must_use]
    pub fn has_address_in(&self, ifindex: u32, prefix: &Ipv6Net) -> bool {
        let range = prefix.network()..=prefix.broadcast();
        self.links.get(&ifindex).is_some_and(|link| link.addresses.range(range).next().is_some())
    }

    /// Whether there is no PvD.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What people call the PvD of a number.
    #[must_use]
    pub fn id_of(&self, index: PvdIndex) -> Option<String> {
        self.id(self.indices.key(index)?)
    }

    /// What people call a PvD.
    fn id(&self, key: &PvdKey) -> Option<String> {
        self.links.get(&key.ifindex()).map(|link| link.id(key))
    }

    /// The interface on which an address is a source: of those that have it one that is up, where duplicate detection
    /// let it pass, with the lowest index.
    pub(super) fn holder(&self, address: &Ipv6Addr, now: Time) -> Option<u32> {
        let rank = |ifindex: &u32| {
            let link = self.links.get(ifindex)?;
            let (held, _) = link.addresses.get(address)?;
            let usable = !link.link.loopback && !held.valid_until.passed(now);
            usable.then_some((link.link.up, is_assigned(held), Reverse(*ifindex)))
        };
        let best = self.holders.get(address)?.iter().filter_map(rank).max()?;
        Some(best.2.0)
    }

    /// Whether more than one interface has an address. That one of them is down, or the address a duplicate there, changes
    /// nothing: the kernel may still route by either.
    pub(super) fn is_on_several_interfaces(&self, address: &Ipv6Addr, now: Time) -> bool {
        let has = |ifindex: &&u32| {
            self.links.get(ifindex).is_some_and(|link| {
                let held = link.addresses.get(address);
                !link.link.loopback && held.is_some_and(|(held, _)| !held.valid_until.passed(now))
            })
        };
        self.holders.get(address).is_some_and(|holders| holders.iter().filter(has).nth(1).is_some())
    }

    /// A link, made up on the spot if netlink has not told of it yet; `None` and counted if there are too many.
    pub(super) fn link_mut(&mut self, ifindex: u32) -> Option<&mut LinkState> {
        if !self.links.contains_key(&ifindex) {
            if self.links.len() >= LINKS {
                self.refused.count(RefusedReason::Links);
                return None;
            }
            self.links.insert(ifindex, LinkState::unnamed(ifindex, self.dump));
        }
        self.links.get_mut(&ifindex)
    }

    fn on_advertisement(
        &mut self,
        ifindex: u32,
        router: Ipv6Addr,
        advertisement: &RouterAdvertisement,
        now: Time,
        journal: &mut Journal,
    ) {
        if !router.is_unicast_link_local() {
            return self.refused.count(RefusedReason::RouterNotLinkLocal);
        }
        let heard = Heard::new(router, advertisement);
        let key = heard.key(ifindex);
        let Some(link) = self.link_mut(ifindex) else { return };
        if link.link.loopback {
            return;
        }
        if link.addresses.contains_key(&router) {
            return self.refused.count(RefusedReason::OwnAdvertisement);
        }
        if let Some(reason) = self.refusal(&key, router) {
            return self.refused.count(reason);
        }
        let Some(link) = self.links.get_mut(&ifindex) else { return };
        // What this router now says of this PvD it no longer says of another (RFC 8801 §3.4).
        let mut moved = BTreeMap::new();
        let mut losers = Vec::new();
        let claimed = heard.claimed_prefixes();
        for (other, pvd) in &mut link.pvds {
            if *other != key && pvd.routers.contains_key(&router) {
                let given = pvd.give_up(router, &claimed);
                if !given.is_empty() {
                    pvd.forget_silent_routers();
                    losers.push(other.clone());
                    moved.extend(given);
                }
            }
        }
        let mut pvd = link.pvds.remove(&key).unwrap_or_default();
        let circumstances = Circumstances {
            now,
            link_mtu: link.link.mtu,
            addresses: &link.addresses,
            moved,
            refused: &mut self.refused,
        };
        let what = pvd.hear(&heard, circumstances);
        let news = link.heard.insert(router) || what.iter().any(|what| what.concerns_ownership());
        if pvd.is_placed() {
            self.timers.arm(Timer::Pvd(pvd.index), pvd.next_deadline(now));
            link.pvds.insert(key.clone(), pvd);
            self.touch(&key, what, journal);
        } else if !pvd.is_silent() {
            self.place(key, pvd, now, journal);
        }
        for loser in losers {
            self.touch(&loser, [What::Prefixes], journal);
            self.arm_pvd(&loser, now);
        }
        if news {
            self.settle(ifindex, Unsettled::Everything, now, journal);
        }
    }

    /// Why an advertisement cannot be taken in, if so. What it could say about PvDs that are kept is said by routers
    /// that are kept, so nothing is lost of these.
    fn refusal(&self, key: &PvdKey, router: Ipv6Addr) -> Option<RefusedReason> {
        let link = self.links.get(&key.ifindex())?;
        if !link.link.up {
            // It came before the link went down, or netlink is behind; the next one counts.
            return Some(RefusedReason::LinkDown);
        }
        let pvd = link.pvds.get(key);
        if pvd.is_some_and(|pvd| pvd.routers.contains_key(&router) || (pvd.is_silent() && key.is_implicit()))
        {
            return None;
        }
        if link.router_pairs() >= ROUTERS_PER_LINK {
            return Some(RefusedReason::Routers);
        }
        if pvd.is_some() {
            return None;
        }
        let explicit = || link.pvds.keys().filter(|key| key.is_explicit()).count();
        if key.is_explicit() && explicit() >= EXPLICIT_PVDS_PER_LINK {
            return Some(RefusedReason::ExplicitPvds);
        }
        (!self.indices.has_room_for(key)).then_some(RefusedReason::Pvds)
    }

    fn arm_pvd(&mut self, key: &PvdKey, now: Time) {
        let pvd = self.links.get(&key.ifindex()).and_then(|link| link.pvds.get(key));
        if let Some(pvd) = pvd.filter(|pvd| pvd.is_placed()) {
            self.timers.arm(Timer::Pvd(pvd.index), pvd.next_deadline(now));
        }
    }

    fn let_time_pass(&mut self, now: Time, journal: &mut Journal) {
        let mut links = BTreeSet::new();
        while let Some(timer) = self.timers.pop(now) {
            match timer {
                Timer::Pvd(index) => {
                    let Some(key) = self.indices.key(index).cloned() else { continue };
                    self.stale.links.insert(key.ifindex());
                    let pvd = self.links.get_mut(&key.ifindex()).and_then(|link| link.pvds.get_mut(&key));
                    let what = pvd.map(|pvd: &mut Pvd| pvd.expire(now)).unwrap_or_default();
                    self.touch(&key, what, journal);
                    self.arm_pvd(&key, now);
                    links.insert(key.ifindex());
                }
                Timer::Address(ifindex, address) => {
                    self.outdate_address(ifindex, address);
                    self.on_address_aged(ifindex, address, now, journal);
                }
                Timer::Dhcpv6(ifindex) => {
                    self.stale.links.insert(ifindex);
                    self.on_dhcpv6_aged(ifindex, now, journal);
                }
                Timer::Route(ifindex, id) => {
                    self.stale.links.insert(ifindex);
                    self.on_route_aged(ifindex, id, now, journal);
                }
            }
        }
        for ifindex in links {
            self.settle(ifindex, Unsettled::Everything, now, journal);
        }
    }
}

#[cfg(test)]
mod tests;
