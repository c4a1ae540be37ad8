//! What netlink tells: links, addresses, routes, neighbours, and dumps of all of them.

use std::{collections::BTreeSet, net::Ipv6Addr};

use super::{
    change::{Journal, What},
    event::{Address, KernelRoute, Link},
    limits::{ADDRESSES, ADDRESSES_PER_LINK, KERNEL_ROUTES, RefusedReason, UNREACHABLE_PER_LINK},
    ownership,
    routes::{DEFAULT_ROUTE, RouteId, is_candidate},
    set::PvdSet,
    settle::Unsettled,
    timers::Timer,
};
use crate::time::{Deadline, Time};

impl PvdSet {
    pub(super) fn on_link(&mut self, new: Link, now: Time, journal: &mut Journal) {
        let (ifindex, dump) = (new.ifindex, self.dump);
        let leading = if new.up { BTreeSet::new() } else { self.sources_that_lead_on(ifindex, now) };
        let Some(state) = self.link_mut(ifindex) else { return };
        state.seen = dump;
        let old = std::mem::replace(&mut state.link, new);
        let new = &state.link;
        if old == *new {
            return;
        }
        let (renamed, toggled) = (old.name != new.name, (old.up, old.loopback) != (new.up, new.loopback));
        let shrunk = new.mtu != 0 && (old.mtu == 0 || new.mtu < old.mtu);
        let forgets = toggled && (!new.up || new.loopback);
        if forgets {
            state.forget_routers();
        }
        if toggled {
            state.stranded = leading;
        }
        let mtu = state.link.mtu;
        for pvd in state.pvds.values_mut().filter(|_| shrunk) {
            for router in pvd.routers.values_mut() {
                router.mtu = router.mtu.filter(|announced| *announced <= mtu);
            }
        }
        if forgets {
            self.timers.stop(&Timer::Dhcpv6(ifindex));
        }
        for (changed, what) in [(renamed, What::Name), (toggled, What::Link), (shrunk, What::Mtu)] {
            if changed {
                self.touch_all(ifindex, what, journal, |_, _| true);
            }
        }
        self.settle(ifindex, Unsettled::Everything, now, journal);
    }

    pub(super) fn drop_link(&mut self, ifindex: u32, journal: &mut Journal) {
        let Some(link) = self.links.get(&ifindex) else { return };
        for key in link.pvds.keys().cloned().collect::<Vec<_>>() {
            self.remove_pvd(&key, journal);
        }
        let Some(link) = self.links.remove(&ifindex) else { return };
        if !link.addresses.is_empty() {
            journal.local_addresses();
        }
        for address in link.addresses.keys() {
            self.forget_address(ifindex, address);
            self.touch_holders(ifindex, address, journal);
        }
        self.timers.stop(&Timer::Dhcpv6(ifindex));
        for id in link.routes.keys() {
            self.timers.stop(&Timer::Route(ifindex, *id));
        }
        self.kernel_routes -= link.routes.len();
        self.addresses -= link.shadowed.len();
    }

    /// An address that counts (see `addresses`) appeared or changed.
    pub(super) fn hold_address(&mut self, new: Address, now: Time, journal: &mut Journal) {
        let (ifindex, address, dump, total) = (new.ifindex, new.address, self.dump, self.addresses);
        let Some(link) = self.link_mut(ifindex) else { return };
        let known = link.addresses.contains_key(&address);
        if !known && (link.addresses.len() >= ADDRESSES_PER_LINK || total >= ADDRESSES) {
            return self.refused.count(RefusedReason::Addresses);
        }
        link.seen = dump;
        let deadline = next_deadline(&new, now);
        let valid = !new.valid_until.passed(now);
        let old = link.addresses.get(&address).map(|(old, _)| old.clone());
        if old.as_ref() == Some(&new) {
            link.addresses.insert(address, (new, dump));
            return;
        }
        let what = match &old {
            Some(old) if same_but_for_lifetimes(old, &new) => What::Lifetimes,
            _ => What::Sources,
        };
        // Its owners until now hear of it, too.
        self.touch_owners(ifindex, address, what, now, journal);
        let Some(link) = self.links.get_mut(&ifindex) else { return };
        link.addresses.insert(address, (new, dump));
        self.timers.arm(Timer::Address(ifindex, address), deadline);
        if old.is_some_and(|old| !old.valid_until.passed(now)) != valid {
            journal.local_addresses();
        }
        if !known {
            self.addresses += 1;
            self.note_holder(ifindex, address);
            self.touch_holders(ifindex, &address, journal);
        }
        self.settle(ifindex, Unsettled::Address(address), now, journal);
        self.touch_owners(ifindex, address, what, now, journal);
    }

    fn note_holder(&mut self, ifindex: u32, address: Ipv6Addr) {
        if !is_candidate(&address) {
            return;
        }
        let holders = self.holders.entry(address).or_default();
        holders.insert(ifindex);
        let links = &self.links;
        let counts = |ifindex: &&u32| links.get(ifindex).is_some_and(|link| !link.link.loopback);
        if holders.iter().filter(counts).count() > 1 {
            self.refused.count(RefusedReason::DuplicateAddress);
        }
    }

    /// Notes that an address came to or went from another interface than `ifindex` has it on.
    fn touch_holders(&self, ifindex: u32, address: &Ipv6Addr, journal: &mut Journal) {
        let others = self.holders.get(address).into_iter().flatten();
        for other in others.filter(|other| **other != ifindex) {
            self.touch_all(*other, What::Sources, journal, |_, _| true);
        }
    }

    fn forget_address(&mut self, ifindex: u32, address: &Ipv6Addr) {
        self.addresses -= 1;
        self.timers.stop(&Timer::Address(ifindex, *address));
        if let Some(holders) = self.holders.get_mut(address) {
            holders.remove(&ifindex);
            if holders.is_empty() {
                self.holders.remove(address);
            }
        }
    }

    /// Nothing is left of an address.
    pub(super) fn drop_address(&mut self, ifindex: u32, address: Ipv6Addr, now: Time, journal: &mut Journal) {
        self.touch_owners(ifindex, address, What::Sources, now, journal);
        let Some(link) = self.links.get_mut(&ifindex) else { return };
        if link.addresses.remove(&address).is_none() {
            return;
        }
        self.forget_address(ifindex, &address);
        self.touch_holders(ifindex, &address, journal);
        journal.local_addresses();
        self.settle(ifindex, Unsettled::Address(address), now, journal);
    }

    /// A lifetime of an address ended: it is deprecated or invalid now, whether or not the kernel has said so yet.
    pub(super) fn on_address_aged(
        &mut self,
        ifindex: u32,
        address: Ipv6Addr,
        now: Time,
        journal: &mut Journal,
    ) {
        let Some(link) = self.links.get(&ifindex) else { return };
        let Some((aged, _)) = link.addresses.get(&address) else { return };
        if aged.valid_until.passed(now) {
            journal.local_addresses();
        }
        self.timers.arm(Timer::Address(ifindex, address), next_deadline(aged, now));
        for key in link.pvds.keys().cloned().collect::<Vec<_>>() {
            self.touch(&key, [What::Sources], journal);
        }
        self.settle(ifindex, Unsettled::Address(address), now, journal);
    }

    fn touch_owners(&self, ifindex: u32, address: Ipv6Addr, what: What, now: Time, journal: &mut Journal) {
        // Also those on other interfaces: which one an address is a source on, and that it is on several, concerns all.
        let others = self.holders.get(&address).into_iter().flatten().filter(|other| **other != ifindex);
        for link in others.chain([&ifindex]).filter_map(|ifindex| self.links.get(ifindex)) {
            if let Some((address, _)) = link.addresses.get(&address) {
                for key in ownership::owners(link, address, now) {
                    self.touch(key, [what], journal);
                }
            }
        }
    }

    pub(super) fn on_route(&mut self, new: KernelRoute, now: Time, journal: &mut Journal) {
        let (ifindex, id, dump, total) = (new.ifindex, RouteId::from(&new), self.dump, self.kernel_routes);
        let Some(link) = self.link_mut(ifindex) else { return };
        let old = link.routes.get(&id).map(|(old, _)| old.clone());
        if old.is_none() && total >= KERNEL_ROUTES {
            return self.refused.count(RefusedReason::KernelRoutes);
        }
        link.seen = dump;
        let deadline = new.valid_until;
        let what = match &old {
            Some(old) if *old == new => None,
            Some(old) if (KernelRoute { valid_until: deadline, ..old.clone() }) == new => {
                Some(What::Lifetimes)
            }
            _ => Some(What::Routes),
        };
        link.routes.insert(id, (new, dump));
        let Some(what) = what else { return };
        self.kernel_routes += usize::from(old.is_none());
        let pending = (!deadline.passed(now)).then_some(deadline);
        self.timers.arm(Timer::Route(ifindex, id), pending);
        self.touch_route(ifindex, &id, what, journal);
        self.settle(ifindex, Unsettled::Route(id), now, journal);
        self.touch_route(ifindex, &id, what, journal);
    }

    pub(super) fn on_route_gone(&mut self, ifindex: u32, id: RouteId, now: Time, journal: &mut Journal) {
        self.touch_route(ifindex, &id, What::Routes, journal);
        let Some(link) = self.links.get_mut(&ifindex) else { return };
        if link.routes.remove(&id).is_none() {
            return;
        }
        self.kernel_routes -= 1;
        self.timers.stop(&Timer::Route(ifindex, id));
        self.settle(ifindex, Unsettled::Route(id), now, journal);
    }

    /// The kernel put a route in the place of one of the same destination and metric, on whatever interface. Where there are
    /// several, the first of them went (`fib_table_insert`; in IPv6 it hangs on their kind, `fib6_add_rt2node`), and that order is
    /// the kernel's.
    pub(super) fn on_route_replaced(&mut self, new: &KernelRoute, now: Time, journal: &mut Journal) {
        let first = RouteId::first(new.prefix.trunc(), new.metric);
        let alike = |id: &RouteId| (id.prefix, id.metric) == (first.prefix, first.metric);
        let mut known = self.links.iter().flat_map(|(ifindex, link)| {
            link.routes.range(first..).map(|(id, _)| *id).take_while(alike).map(|id| (*ifindex, id))
        });
        let (old, another) = (known.next(), known.next());
        if another.is_some() || self.kernel_routes >= KERNEL_ROUTES {
            self.unsure = true;
            return;
        }
        if let Some((ifindex, id)) = old.filter(|old| *old != (new.ifindex, RouteId::from(new))) {
            self.stale.links.insert(ifindex);
            self.on_route_gone(ifindex, id, now, journal);
        }
    }

    /// The lifetime of a route ended by what the kernel said of it last.
    pub(super) fn on_route_aged(&mut self, ifindex: u32, id: RouteId, now: Time, journal: &mut Journal) {
        self.touch_route(ifindex, &id, What::Routes, journal);
        self.settle(ifindex, Unsettled::Route(id), now, journal);
    }

    /// Notes a change of the PvDs that a kernel route matters to.
    fn touch_route(&self, ifindex: u32, id: &RouteId, what: What, journal: &mut Journal) {
        let Some(link) = self.links.get(&ifindex).filter(|link| link.routes.contains_key(id)) else { return };
        let own = link.own_key();
        let administrator = link.sorted.administrator.contains(id);
        // A default route gives its metric to whatever is learnt on the link.
        let all = id.prefix == DEFAULT_ROUTE || link.sorted.on_link.contains(id);
        if link.sorted.ipv4.contains(id) {
            return self.touch_ipv4(ifindex, what, journal);
        }
        let learnt =
            id.gateway.filter(|router| link.sorted.learnt.get(router).is_some_and(|ids| ids.contains(id)));
        self.touch_all(ifindex, what, journal, |key, pvd| {
            all || (administrator && *key == own)
                || learnt.is_some_and(|router| {
                    pvd.routers.contains_key(&router)
                        || matches!(key, super::PvdKey::Implicit { router: other, .. } if *other == router)
                })
        });
    }

    pub(super) fn on_neighbour(
        &mut self,
        ifindex: u32,
        address: Ipv6Addr,
        reachable: bool,
        journal: &mut Journal,
    ) {
        let dump = self.dump;
        let Some(link) = self.links.get_mut(&ifindex) else { return };
        let known = link.unreachable.contains_key(&address);
        if reachable {
            link.unreachable.remove(&address);
        } else if known || link.is_next_hop(&address) {
            if !known && link.unreachable.len() >= UNREACHABLE_PER_LINK {
                return self.refused.count(RefusedReason::Neighbours);
            }
            link.unreachable.insert(address, dump);
        }
        let changed = known != link.unreachable.contains_key(&address);
        if changed {
            self.touch_all(ifindex, What::Reachability, journal, |_, _| true);
        }
    }

    /// The end of a dump: what it did not confirm is gone. What routers said stays, unless their link is gone.
    pub(super) fn sweep(&mut self, now: Time, journal: &mut Journal) {
        if !std::mem::take(&mut self.dumping) {
            return;
        }
        let dump = self.dump;
        let gone: Vec<_> =
            self.links.iter().filter(|(_, link)| link.seen != dump).map(|(index, _)| *index).collect();
        for ifindex in gone {
            self.drop_link(ifindex, journal);
        }
        for ifindex in self.links.keys().copied().collect::<Vec<_>>() {
            let Some(link) = self.links.get(&ifindex) else { continue };
            let stale = |seen: u64| seen != dump;
            // The shadowed first: none of them may take the place of one that is gone as well.
            let addresses: Vec<_> = link
                .shadowed
                .values()
                .chain(link.addresses.values())
                .filter(|(_, seen)| stale(*seen))
                .map(|(address, _)| address.clone())
                .collect();
            let routes: Vec<_> =
                link.routes.iter().filter(|(_, held)| stale(held.1)).map(|(id, _)| *id).collect();
            let neighbours: Vec<_> = link
                .unreachable
                .iter()
                .filter(|(_, seen)| stale(**seen))
                .map(|(address, _)| *address)
                .collect();
            for address in addresses {
                self.on_address_gone(&address, now, journal);
            }
            for id in routes {
                self.on_route_gone(ifindex, id, now, journal);
            }
            for address in neighbours {
                self.on_neighbour(ifindex, address, true, journal);
            }
        }
    }
}

/// When an address changes by itself next.
fn next_deadline(address: &Address, now: Time) -> Option<Deadline> {
    [address.preferred_until, address.valid_until].into_iter().filter(|deadline| !deadline.passed(now)).min()
}

fn same_but_for_lifetimes(old: &Address, new: &Address) -> bool {
    let Address { valid_until, preferred_until, .. } = *old;
    Address { valid_until, preferred_until, ..new.clone() } == *old
}

#[cfg(test)]
mod tests;
