//! One interface: what the kernel says of it, and the PvDs on it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv6Addr,
};

use super::{
    addresses::AddressId,
    dhcpv6::{self, Given, Homes},
    event::{Address, KernelRoute, Link, RouteProtocol},
    key::{PvdKey, PvdName},
    learnt::Pvd,
    ownership::Claims,
    routes::{DEFAULT_METRIC, DEFAULT_ROUTE, RouteId, RouteKind},
};
use crate::{packed::Packed, time::Time};

/// The loopback interface of every network namespace (Linux, include/net/net_namespace.h).
const LOOPBACK_IFINDEX: u32 = 1;

/// An interface. Kernel facts carry the number of the dump that confirmed them last (see `ResyncBegin`).
#[derive(Debug)]
pub(super) struct LinkState {
    /// What netlink says; without a name until it has.
    pub link: Link,
    pub seen: u64,
    pub addresses: BTreeMap<Ipv6Addr, (Address, u64)>,
    /// What else the kernel has of these addresses, in IPv4: see `addresses`.
    pub shadowed: BTreeMap<AddressId, (Address, u64)>,
    pub routes: BTreeMap<RouteId, (KernelRoute, u64)>,
    /// The addresses whose PvD led beyond the link when it went down, until it is up.
    pub stranded: BTreeSet<Ipv6Addr>,
    pub packed_routes: Packed,
    /// Next hops that do not answer.
    pub unreachable: BTreeMap<Ipv6Addr, u64>,
    /// Routers that spoke since the link is up and are behind PvDs or kernel routes: their words count, not what is
    /// left of them in the kernel.
    pub heard: BTreeSet<Ipv6Addr>,
    pub pvds: BTreeMap<PvdKey, Pvd>,
    /// Derived: who accounts for which prefix.
    pub claims: Claims,
    /// Derived: addresses that the interface's own PvD has.
    pub own: BTreeSet<Ipv6Addr>,
    /// Derived: the routes that mean something.
    pub sorted: SortedRoutes,
    /// The configuration lets IPv4 belong to the interface's IPv6 PvD.
    pub merge_ipv4: bool,
    /// Derived: the PvD that IPv4 belongs to, if it has anything.
    pub ipv4: Option<PvdKey>,
    /// What DHCPv6 gave. Most interfaces of a host with thousands (containers) have none.
    pub dhcpv6: Option<Box<Given>>,
    /// Derived: which PvDs have it.
    pub dhcpv6_homes: Homes,
}

/// Kernel routes by what they mean.
#[derive(Debug, Default)]
pub(super) struct SortedRoutes {
    pub administrator: BTreeSet<RouteId>,
    pub on_link: BTreeSet<RouteId>,
    pub learnt: BTreeMap<Ipv6Addr, BTreeSet<RouteId>>,
    pub ipv4: BTreeSet<RouteId>,
}

impl SortedRoutes {
    fn remove(&mut self, id: &RouteId) {
        self.administrator.remove(id);
        self.on_link.remove(id);
        self.ipv4.remove(id);
        if let Some(router) = id.gateway
            && let Some(ids) = self.learnt.get_mut(&router)
        {
            ids.remove(id);
            if ids.is_empty() {
                self.learnt.remove(&router);
            }
        }
    }

    fn insert(&mut self, id: RouteId, kind: RouteKind) {
        match kind {
            RouteKind::Ignored => {}
            RouteKind::OnLink => {
                self.on_link.insert(id);
            }
            RouteKind::Learnt(router) => {
                self.learnt.entry(router).or_default().insert(id);
            }
            RouteKind::Administrator => {
                self.administrator.insert(id);
            }
            RouteKind::Ipv4 => {
                self.ipv4.insert(id);
            }
        }
    }
}

impl LinkState {
    /// An interface of which something was heard before netlink told of itself: up, until told otherwise. Index 0 is
    /// no interface; it holds routes that need none, and counts as loopback.
    pub fn unnamed(ifindex: u32, seen: u64) -> Self {
        let link =
            Link { ifindex, name: String::new(), up: true, loopback: ifindex <= LOOPBACK_IFINDEX, mtu: 0 };
        Self {
            link,
            seen,
            addresses: BTreeMap::new(),
            shadowed: BTreeMap::new(),
            routes: BTreeMap::new(),
            stranded: BTreeSet::new(),
            packed_routes: Packed::default(),
            unreachable: BTreeMap::new(),
            heard: BTreeSet::new(),
            pvds: BTreeMap::new(),
            claims: Claims::default(),
            own: BTreeSet::new(),
            sorted: SortedRoutes::default(),
            merge_ipv4: false,
            ipv4: None,
            dhcpv6: None,
            dhcpv6_homes: Homes::default(),
        }
    }

    /// Its name, or `#7` while that is not known.
    pub fn name(&self) -> String {
        if self.link.name.is_empty() { format!("#{}", self.link.ifindex) } else { self.link.name.clone() }
    }

    /// What people call a PvD of it.
    pub fn id(&self, key: &PvdKey) -> String {
        key.id(&self.name())
    }

    /// The key of the interface's own PvD.
    pub const fn own_key(&self) -> PvdKey {
        PvdKey::Interface { ifindex: self.link.ifindex }
    }

    /// (PvD, router) pairs; a provisional PvD counts as one.
    pub fn router_pairs(&self) -> usize {
        self.pvds.iter().filter(|(key, _)| key.is_network()).map(|(_, pvd)| pvd.routers.len().max(1)).sum()
    }

    /// Whether a PvD of the interface has this router, or a route of the kernel leads there.
    pub fn is_next_hop(&self, address: &Ipv6Addr) -> bool {
        let by_dhcpv6 =
            || self.dhcpv6.iter().flat_map(|given| given.next_hops()).any(|next_hop| next_hop == *address);
        self.pvds.values().any(|pvd| pvd.routers.contains_key(address))
            || by_dhcpv6()
            || self.routes.keys().any(|id| id.gateway == Some(*address))
    }

    /// Whether a next hop is not known to be dead (RFC 4191 §3.2: no information means reachable).
    pub fn is_reachable(&self, next_hop: &Ipv6Addr) -> bool {
        !self.unreachable.contains_key(next_hop)
    }

    /// Whether an implicit PvD stands on what the kernel learnt from a router that has not spoken to us yet.
    pub fn is_provisional(&self, router: &Ipv6Addr) -> bool {
        self.link.up && !self.heard.contains(router) && self.sorted.learnt.contains_key(router)
    }

    /// Whether all that the interface's own PvD has is what DHCPv6 gave.
    pub fn is_own_by_dhcpv6(&self) -> bool {
        let leased = |address: &Ipv6Addr| dhcpv6::holds(self, *address);
        self.dhcpv6_homes.include(&self.own_key())
            && self.sorted.administrator.is_empty()
            && self.own.iter().all(leased)
    }

    /// Whether DHCPv6 said something of the PvD of this name.
    pub fn names_by_dhcpv6(&self, name: &PvdName) -> bool {
        self.dhcpv6.as_ref().is_some_and(|given| given.contained.contains_key(name))
    }

    /// Sorts one route anew, after it changed, and those whose meaning hangs on it.
    pub fn sort_route(&mut self, id: &RouteId, now: Time) {
        self.sorted.remove(id);
        let alike: Vec<_> = self.alike(id).map(|(other, _)| *other).filter(|other| other != id).collect();
        for id in alike.iter().chain([id]) {
            if let Some((route, _)) = self.routes.get(id) {
                let kind = self.kind(route, now);
                self.sorted.remove(id);
                self.sorted.insert(*id, kind);
            }
        }
    }

    /// Sorts all routes anew.
    pub fn sort_routes(&mut self, now: Time) {
        let mut sorted = SortedRoutes::default();
        for (id, (route, _)) in &self.routes {
            sorted.insert(*id, self.kind(route, now));
        }
        self.sorted = sorted;
    }

    fn kind(&self, route: &KernelRoute, now: Time) -> RouteKind {
        // The kernel prolongs routes of its own without a word, so one that has ended by our clock stays known (its
        // metric counts), but is not used.
        if route.valid_until.passed(now) {
            return RouteKind::Ignored;
        }
        let announced =
            || self.pvds.values().any(|pvd| pvd.announces(route.prefix.trunc(), route.gateway, now));
        // What the kernel learnt from a router that has not spoken to us yet was announced as well.
        let learnt = || {
            self.alike(&RouteId::from(route)).any(|(_, (other, _))| {
                other.protocol == RouteProtocol::RouterAdvertisement && !other.valid_until.passed(now)
            })
        };
        RouteKind::of(route, self.link.loopback, announced() || learnt())
    }

    /// The routes to one prefix by one gateway: they differ in the metric, and in who made them.
    fn alike<'a>(&'a self, id: &'a RouteId) -> impl Iterator<Item = (&'a RouteId, &'a (KernelRoute, u64))> {
        let first = RouteId::first(id.prefix, 0);
        let of_prefix = self.routes.range(first..).take_while(|(other, _)| other.prefix == id.prefix);
        of_prefix.filter(|(other, _)| id.gateway.is_some() && other.gateway == id.gateway)
    }

    /// The metric of routes learnt from a router: that of the kernel's default route by way of it, else of any
    /// default route of the interface. Whoever owns these routes (NetworkManager, networkd, the kernel's
    /// `ra_defrtr_metric`) expresses the user's order of uplinks by them.
    pub fn metric(&self, router: Option<Ipv6Addr>) -> u32 {
        let defaults = || {
            self.routes
                .iter()
                .take_while(|(id, _)| id.prefix == DEFAULT_ROUTE)
                .filter(|(id, (route, _))| !id.refuses && route.protocol != RouteProtocol::Mif)
                .filter(|(_, (route, _))| route.preferred_source.is_none())
                .map(|(id, _)| id)
        };
        defaults()
            .filter(|id| router.is_some() && id.gateway == router)
            .chain(defaults())
            .map(|id| id.metric)
            .next()
            .unwrap_or(DEFAULT_METRIC)
    }

    /// Forgets what routers said: the link went down, and what comes up may be another network (RFC 7556 §2.1).
    pub fn forget_routers(&mut self) {
        self.heard.clear();
        self.dhcpv6 = None;
        self.unreachable.clear();
        for pvd in self.pvds.values_mut() {
            *pvd = Pvd::new(pvd.index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pvd::testing::{at, ip, route};

    #[test]
    fn metrics_of_learnt_routes() {
        let default = |gateway, metric| KernelRoute { metric, ..route(2, "::/0", Some(gateway)) };
        let a = default("fe80::a", 100);
        let b = default("fe80::b", 600);
        let refusing = KernelRoute { refuses: true, gateway: None, ..default("fe80::a", 1) };
        let ours = KernelRoute { protocol: RouteProtocol::Mif, ..default("fe80::a", 2) };
        let elsewhere = KernelRoute { metric: 3, ..route(2, "2001:db8::/32", Some("fe80::a")) };
        let none: &[&KernelRoute] = &[];
        for (routes, router, metric) in [
            (none, Some("fe80::a"), 1024),
            (&[&a, &b], Some("fe80::a"), 100),
            (&[&a, &b], Some("fe80::b"), 600),
            (&[&b], Some("fe80::a"), 600),
            (&[&a, &b], None, 100),
            (&[&refusing, &ours, &elsewhere], Some("fe80::a"), 1024),
            (&[&refusing, &ours, &elsewhere, &b], Some("fe80::a"), 600),
        ] {
            let mut link = LinkState::unnamed(2, 0);
            link.routes.extend(routes.iter().map(|route| (RouteId::from(*route), ((*route).clone(), 0))));
            assert_eq!(link.metric(router.map(ip)), metric, "{router:?}");
        }
    }

    #[test]
    fn ended_routes_keep_their_metric_only() {
        let mut link = LinkState::unnamed(2, 0);
        let route = KernelRoute {
            protocol: RouteProtocol::RouterAdvertisement,
            metric: 50,
            valid_until: crate::pvd::testing::until(10),
            ..route(2, "::/0", Some("fe80::1"))
        };
        link.routes.insert(RouteId::from(&route), (route, 0));
        for (now, provisional) in [(at(9), true), (at(10), false)] {
            link.sort_routes(now);
            assert_eq!(link.is_provisional(&ip("fe80::1")), provisional);
            assert_eq!(link.metric(Some(ip("fe80::1"))), 50);
        }
    }
}
