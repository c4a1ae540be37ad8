//! After an event: which PvDs there are now, and what of the derived state must follow.

use std::net::Ipv6Addr;

use super::{
    change::{Journal, What},
    key::PvdKey,
    learnt::Pvd,
    limits::{EXPLICIT_PVDS_PER_LINK, ROUTERS_PER_LINK, RefusedReason},
    ownership::{self, Claims},
    routes::RouteId,
    set::PvdSet,
    timers::Timer,
};
use crate::time::Time;

/// What an event can have unsettled on a link. One address or one route costs the logarithm of their number; only
/// when routers say something new all of the link's addresses and routes are looked at.
#[derive(Clone, Copy, Debug)]
pub(super) enum Unsettled {
    /// One address.
    Address(Ipv6Addr),
    /// One route.
    Route(RouteId),
    /// What routers say, or the link itself.
    Everything,
}

impl PvdSet {
    /// Creates and removes the PvDs of a link until they are those that its facts ask for.
    pub(super) fn settle(&mut self, ifindex: u32, unsettled: Unsettled, now: Time, journal: &mut Journal) {
        let Some(link) = self.links.get_mut(&ifindex) else { return };
        match unsettled {
            Unsettled::Address(address) => {
                let own = link
                    .addresses
                    .get(&address)
                    .is_some_and(|(address, _)| ownership::is_own(link, address, now));
                if own {
                    link.own.insert(address);
                } else {
                    link.own.remove(&address);
                }
            }
            Unsettled::Route(id) => {
                let administered = link.sorted.administrator.is_empty();
                link.sort_route(&id, now);
                let administration = administered != link.sorted.administrator.is_empty();
                let provisional = id
                    .gateway
                    .is_some_and(|router| self.settle_provisional(ifindex, router, now, journal).changed);
                if provisional || administration {
                    self.settle_addresses(ifindex, now);
                }
            }
            Unsettled::Everything => {
                link.sort_routes(now);
                let (pvds, learnt) = (&link.pvds, &link.sorted.learnt);
                link.heard.retain(|router| {
                    learnt.contains_key(router) || pvds.values().any(|pvd| pvd.routers.contains_key(router))
                });
                self.settle_network_pvds(ifindex, now, journal);
                self.settle_addresses(ifindex, now);
            }
        }
        self.settle_dhcpv6(ifindex, now, journal);
        self.settle_own_pvd(ifindex, now, journal);
        self.settle_ipv4(ifindex, now, journal);
    }

    fn settle_network_pvds(&mut self, ifindex: u32, now: Time, journal: &mut Journal) {
        let Some(link) = self.links.get(&ifindex) else { return };
        let silent = |(key, pvd): (&PvdKey, &Pvd)| {
            let known = match key {
                PvdKey::Implicit { router, .. } => link.is_provisional(router),
                PvdKey::Explicit { name, .. } => link.names_by_dhcpv6(name),
                PvdKey::Interface { .. } | PvdKey::Ipv4 { .. } => true,
            };
            (pvd.is_silent() && !known).then(|| key.clone())
        };
        let ended: Vec<_> = link.pvds.iter().filter_map(silent).collect();
        let awaited: Vec<_> =
            link.sorted.learnt.keys().filter(|router| link.is_provisional(router)).copied().collect();
        let explicit = link.pvds.keys().filter(|key| key.is_explicit()).count();
        let named = link.dhcpv6.iter().flat_map(|given| given.contained.keys());
        let named: Vec<_> = named
            .map(|name| PvdKey::Explicit { ifindex, name: name.clone() })
            .filter(|key| !link.pvds.contains_key(key))
            .collect();
        let room = EXPLICIT_PVDS_PER_LINK
            .saturating_sub(explicit - ended.iter().filter(|key| key.is_explicit()).count());
        for key in ended {
            self.remove_pvd(&key, journal);
        }
        self.refused.add(RefusedReason::ExplicitPvds, named.len().saturating_sub(room));
        for key in named.into_iter().take(room) {
            self.place(key, Pvd::default(), now, journal);
        }
        for router in awaited {
            if self.settle_provisional(ifindex, router, now, journal).refused {
                break;
            }
        }
    }

    /// Creates or removes the PvD of a router that only the kernel knows.
    fn settle_provisional(
        &mut self,
        ifindex: u32,
        router: Ipv6Addr,
        now: Time,
        journal: &mut Journal,
    ) -> Provisional {
        let Some(link) = self.links.get(&ifindex) else { return Provisional::default() };
        let key = PvdKey::Implicit { ifindex, router };
        match (link.pvds.get(&key), link.is_provisional(&router)) {
            (Some(pvd), false) if pvd.is_silent() => {
                self.remove_pvd(&key, journal);
                Provisional { changed: true, refused: false }
            }
            (None, true) => {
                let full = link.router_pairs() >= ROUTERS_PER_LINK;
                if full {
                    self.refused.count(RefusedReason::Routers);
                }
                let placed = !full && self.place(key, Pvd::default(), now, journal);
                Provisional { changed: placed, refused: !placed }
            }
            _ => Provisional::default(),
        }
    }

    fn settle_addresses(&mut self, ifindex: u32, now: Time) {
        let Some(link) = self.links.get_mut(&ifindex) else { return };
        link.claims = Claims::of(&link.pvds, now);
        let addresses = link.addresses.values().map(|(address, _)| address);
        let own = addresses.filter(|address| ownership::is_own(link, address, now));
        link.own = own.map(|address| address.address).collect();
    }

    /// The interface's own PvD exists as long as it has addresses or routes.
    fn settle_own_pvd(&mut self, ifindex: u32, now: Time, journal: &mut Journal) {
        let Some(link) = self.links.get(&ifindex) else { return };
        let key = link.own_key();
        let given = link.dhcpv6_homes.include(&key);
        let wanted = given || !link.own.is_empty() || !link.sorted.administrator.is_empty();
        match (wanted, link.pvds.contains_key(&key)) {
            (true, false) => {
                self.place(key, Pvd::default(), now, journal);
            }
            (false, true) => self.remove_pvd(&key, journal),
            _ => {}
        }
    }

    /// Puts a PvD into the set; false and counted if there is no number for it.
    pub(super) fn place(&mut self, key: PvdKey, mut pvd: Pvd, now: Time, journal: &mut Journal) -> bool {
        let ifindex = key.ifindex();
        let Some(link) = self.links.get_mut(&ifindex) else { return false };
        let Some(index) = self.indices.take(&key) else {
            self.refused.count(RefusedReason::Pvds);
            return false;
        };
        pvd.index = index;
        self.timers.arm(Timer::Pvd(index), pvd.next_deadline(now));
        journal.added(index, link.id(&key));
        link.pvds.insert(key, pvd);
        true
    }

    /// Takes a PvD out of the set.
    pub(super) fn remove_pvd(&mut self, key: &PvdKey, journal: &mut Journal) {
        let Some(link) = self.links.get_mut(&key.ifindex()) else { return };
        if let Some(pvd) = link.pvds.remove(key) {
            self.timers.stop(&Timer::Pvd(pvd.index));
            self.indices.release(pvd.index);
            journal.removed(pvd.index, link.id(key));
        }
    }

    /// Notes changes of a PvD.
    pub(super) fn touch(&self, key: &PvdKey, what: impl IntoIterator<Item = What>, journal: &mut Journal) {
        let Some(link) = self.links.get(&key.ifindex()) else { return };
        if let Some(pvd) = link.pvds.get(key).filter(|pvd| pvd.is_placed()) {
            for what in what {
                journal.changed(pvd.index, || link.id(key), what);
            }
        }
    }

    /// Notes a change of all PvDs of a link that `wanted` picks.
    pub(super) fn touch_all(
        &self,
        ifindex: u32,
        what: What,
        journal: &mut Journal,
        wanted: impl Fn(&PvdKey, &Pvd) -> bool,
    ) {
        let Some(link) = self.links.get(&ifindex) else { return };
        for (key, pvd) in link.pvds.iter().filter(|(key, pvd)| wanted(key, pvd)) {
            journal.changed(pvd.index, || link.id(key), what);
        }
    }
}

/// What became of a provisional PvD.
#[derive(Clone, Copy, Debug, Default)]
struct Provisional {
    changed: bool,
    refused: bool,
}
