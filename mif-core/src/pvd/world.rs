//! The set as selection sees it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv6Addr,
};

use serde::{Deserialize, Serialize};

use super::{
    dhcpv6::{Policies, Share},
    event::{Address, KernelRoute, RouteProtocol},
    fact::SaidBy,
    key::PvdKey,
    learnt::Pvd,
    link::LinkState,
    ownership::{self, Standing},
    routes::{RouteId, is_exempt},
    set::PvdSet,
};
use crate::{
    family::{Family, IPV4},
    select::{
        owners::leads_on,
        policy_table::in_force,
        world::{AddressState, NextHop, Origin, Route, Source, View, World},
    },
    time::{Deadline, Time},
    wire::RouterPreference,
};

/// What the configuration says about the world.
#[derive(Clone, Debug, Default, Eq, PartialEq, Deserialize, Serialize)]
pub struct Preferences {
    /// Metrics of interfaces by name, in place of those of the kernel's routes. The smaller the better.
    pub metrics: BTreeMap<String, u32>,
    /// The views with groups of their own; they go into the world as they are.
    pub views: Vec<View>,
    /// Whose address selection policies count.
    #[serde(default)]
    pub address_selection: in_force::Settings,
}

/// A PvD with its derived parts: sources and routes.
pub(super) struct Portrait<'a> {
    pub key: &'a PvdKey,
    pub pvd: &'a Pvd,
    pub sources: Vec<Source>,
    pub routes: Vec<(Route, SaidBy)>,
    /// What it has by DHCPv6.
    pub share: Share<'a>,
    /// Its address selection policy, where it is not the default one.
    pub policy: Option<Box<in_force::Policy>>,
    /// What it has beside that of routers is of leases.
    leased: bool,
}

impl Portrait<'_> {
    /// How long any fact of it holds.
    pub fn valid_until(&self) -> Deadline {
        let sources = self.sources.iter().map(|source| source.valid_until);
        let routes = self.routes.iter().map(|(route, _)| route.valid_until);
        let said = self.pvd.last_deadline().into_iter().chain(self.share.last_deadline());
        sources.chain(routes).chain(said).max().unwrap_or(Deadline::NEVER)
    }

    /// Who configures it.
    pub fn origin(&self) -> Origin {
        if self.key.is_network() || self.leased { Origin::Network } else { Origin::Administrator }
    }
}

impl PvdSet {
    /// A snapshot for selection. PvDs of links that are down are not in it. It stays the same until an event or
    /// [`PvdSet::next_deadline`].
    #[must_use]
    pub fn world(&self, now: Time, preferences: &Preferences) -> World {
        let mut pvds: Vec<_> =
            self.links.values().flat_map(|link| self.pvds_of(link, now, preferences)).collect();
        pvds.sort_unstable_by_key(|pvd| pvd.index);
        World {
            pvds,
            local_addresses: self.local_addresses(now),
            stranded: self.stranded(now),
            views: preferences.views.clone(),
        }
    }

    /// The PvDs of a link, none if it is down.
    pub(super) fn pvds_of(
        &self,
        link: &LinkState,
        now: Time,
        preferences: &Preferences,
    ) -> Vec<crate::select::world::Pvd> {
        if !link.link.up {
            return Vec::new();
        }
        let pvd = |portrait: Portrait<'_>| {
            let (origin, valid_until) = (portrait.origin(), portrait.valid_until());
            // Exactly as much room as they need: this is kept, and collected in place they would keep a portrait's.
            let routes = portrait.routes.iter().map(|(route, _)| route.clone()).collect();
            let mut sources = portrait.sources;
            sources.shrink_to_fit();
            crate::select::world::Pvd {
                index: portrait.pvd.index,
                ifindex: portrait.key.ifindex(),
                origin,
                explicit: portrait.key.is_explicit(),
                no_internet: false,
                policy: portrait.policy,
                valid_until,
                sources,
                routes,
            }
        };
        self.portraits(link, now, preferences).into_iter().map(pvd).collect()
    }

    /// Every address of the host that is valid.
    pub(super) fn local_addresses(&self, now: Time) -> Vec<Ipv6Addr> {
        let addresses = self.links.values().flat_map(|link| link.addresses.values());
        let local: BTreeSet<_> = addresses
            .filter(|(address, _)| !address.valid_until.passed(now))
            .map(|(address, _)| address.address)
            .collect();
        local.into_iter().collect()
    }

    /// The addresses that stayed on interfaces that went down, each with its interface.
    pub(super) fn stranded(&self, now: Time) -> Vec<(Ipv6Addr, u32)> {
        let of_link = |link: &LinkState| {
            let ifindex = link.link.ifindex;
            let held = |address: &Ipv6Addr| {
                link.addresses.contains_key(address) && self.holder(address, now) == Some(ifindex)
            };
            link.stranded.iter().copied().filter(held).map(|address| (address, ifindex)).collect::<Vec<_>>()
        };
        self.links.values().flat_map(of_link).collect()
    }

    /// The sources of a link whose PvD leads beyond it.
    pub(super) fn sources_that_lead_on(&self, ifindex: u32, now: Time) -> BTreeSet<Ipv6Addr> {
        let Some(link) = self.links.get(&ifindex) else { return BTreeSet::new() };
        let pvds = self.pvds_of(link, now, &Preferences::default());
        let leading = |pvd: &crate::select::world::Pvd| {
            let leads = |source: &&Source| leads_on(pvd, Family::of(source.address));
            pvd.sources.iter().filter(leads).map(|source| source.address).collect::<Vec<_>>()
        };
        pvds.iter().flat_map(leading).collect()
    }

    /// The PvDs of a link; those of a link that is down have neither sources nor routes.
    pub(super) fn portraits<'a>(
        &'a self,
        link: &'a LinkState,
        now: Time,
        preferences: &Preferences,
    ) -> Vec<Portrait<'a>> {
        let configured = preferences.metrics.get(&link.link.name).copied();
        let builder = Builder { set: self, link, now, configured };
        let policies = Policies::of(self, now, &preferences.address_selection);
        let mut portraits: BTreeMap<&PvdKey, Portrait<'a>> = link
            .pvds
            .iter()
            .map(|(key, pvd)| {
                let leased = match key {
                    PvdKey::Ipv4 { .. } => is_ipv4_leased(link, now),
                    PvdKey::Interface { .. } => link.is_own_by_dhcpv6(),
                    PvdKey::Explicit { .. } | PvdKey::Implicit { .. } => false,
                };
                let share = Share::of(link, key);
                let policy = policies.of_pvd(link, key, &share, now);
                (key, Portrait { key, pvd, sources: Vec::new(), routes: Vec::new(), share, policy, leased })
            })
            .collect();
        if link.link.up {
            builder.sources(&mut portraits);
            for portrait in portraits.values_mut() {
                builder.learnt_routes(portrait);
                builder.given_routes(portrait);
                builder.kernel_routes(portrait);
                builder.kernel_prefixes(portrait);
            }
            if let Some(portrait) = link.ipv4.as_ref().and_then(|home| portraits.get_mut(home)) {
                builder.ipv4_routes(portrait);
            }
        }
        portraits.into_values().collect()
    }
}

/// Fills portraits of one link.
struct Builder<'a> {
    set: &'a PvdSet,
    link: &'a LinkState,
    now: Time,
    /// The configured metric.
    configured: Option<u32>,
}

impl<'a> Builder<'a> {
    fn sources(&self, portraits: &mut BTreeMap<&'a PvdKey, Portrait<'a>>) {
        let standings: BTreeMap<_, _> = self
            .link
            .pvds
            .iter()
            .map(|(key, pvd)| (key, Standing::of(self.link, key, pvd, self.now)))
            .collect();
        for (address, _) in self.link.addresses.values() {
            let owners = ownership::owners(self.link, address, self.now);
            if owners.is_empty()
                || self.set.holder(&address.address, self.now) != Some(self.link.link.ifindex)
            {
                continue;
            }
            let carrier = ownership::carrier(self.link, &owners, &standings, address, self.now);
            for key in owners {
                if let Some(portrait) = portraits.get_mut(key) {
                    let source = self.source(portrait.pvd, address, carrier == Some(key));
                    portrait.sources.push(source);
                }
            }
        }
    }

    fn source(&self, pvd: &Pvd, address: &Address, carried: bool) -> Source {
        let state = if !is_assigned(address) {
            AddressState::Tentative
        } else if Family::of(address.address) == Family::Ipv4 {
            // RFC 6724 §3.2
            AddressState::Preferred
        } else if address.deprecated
            || address.optimistic
            || address.preferred_until.passed(self.now)
            // The router's word counts before the kernel has told that it heeds it.
            || !ownership::keeps(self.link, pvd, address, self.now)
        {
            AddressState::Deprecated
        } else {
            AddressState::Preferred
        };
        let advertisers: BTreeSet<Ipv6Addr> = pvd
            .prefixes
            .iter()
            .filter(|((prefix, _), record)| prefix.contains(&address.address) && record.claims(self.now))
            .map(|((_, router), _)| *router)
            .collect();
        Source {
            address: address.address,
            prefix_len: self.prefix_len(address),
            state,
            temporary: address.temporary,
            secondary: address.secondary,
            valid_until: address.valid_until,
            carried,
            several_interfaces: self.set.is_on_several_interfaces(&address.address, self.now),
            advertisers: advertisers.into_iter().collect(),
        }
    }

    /// The length of the part that is not interface ID: that of the announced prefix, else what the kernel says, unless
    /// it is a /128 as DHCPv6 clients set it; then that of the on-link prefix around it, else 64.
    fn prefix_len(&self, address: &Address) -> u8 {
        if let Some((prefix, _)) = self.link.claims.longest(address.address) {
            return prefix.prefix_len();
        }
        if address.prefix_len < 128 || Family::of(address.address) == Family::Ipv4 {
            return address.prefix_len;
        }
        let around = |id: &&RouteId| id.prefix.prefix_len() < 128 && id.prefix.contains(&address.address);
        let on_link = self.link.sorted.on_link.iter().filter(around).map(|id| id.prefix.prefix_len());
        on_link.max().unwrap_or(USUAL_PREFIX_LEN)
    }

    /// What routers announced: default routes, more specific ones, and prefixes that are on-link.
    fn learnt_routes(&self, portrait: &mut Portrait<'_>) {
        for ((prefix, router), route) in &portrait.pvd.routes {
            if !route.valid_until.passed(self.now) {
                let route = Route {
                    prefix: *prefix,
                    next_hop: NextHop::Router(*router),
                    preference: route.preference,
                    metric: self.metric(self.link.metric(Some(*router))),
                    reachable: self.link.is_reachable(router),
                    origin: Origin::Network,
                    kernel_decides: false,
                    preferred_source: None,
                    valid_until: route.valid_until,
                };
                portrait.routes.push((route, SaidBy::Router(*router)));
            }
        }
        // Of several routers of the PvD that call a prefix on-link the last to end counts.
        let mut on_link: BTreeMap<_, (Deadline, Ipv6Addr)> = BTreeMap::new();
        for ((prefix, router), record) in &portrait.pvd.prefixes {
            if let Some(until) = record.on_link_until.filter(|until| !until.passed(self.now)) {
                let longest = on_link.entry(*prefix).or_insert((until, *router));
                *longest = (*longest).max((until, *router));
            }
        }
        for (prefix, (valid_until, router)) in on_link {
            let route =
                Route { valid_until, ..self.on_link(prefix, Origin::Network, self.link.metric(None)) };
            portrait.routes.push((route, SaidBy::Router(router)));
        }
    }

    /// What DHCPv6 gave. A route that a router announced as well is its: it says so again before it ends.
    fn given_routes(&self, portrait: &mut Portrait<'_>) {
        let Some(server) = portrait.share.server else { return };
        let all = portrait.share.options.iter().flat_map(|options| &options.routes);
        for ((prefix, next_hop), said) in all.filter(|(_, said)| !said.valid_until.passed(self.now)) {
            let alike = |route: &Route| (route.prefix, route.next_hop) == (*prefix, *next_hop);
            if portrait.routes.iter().any(|(route, _)| alike(route)) {
                continue;
            }
            let router = match next_hop {
                NextHop::Router(router) => Some(*router),
                NextHop::OnLink => None,
            };
            let route = Route {
                prefix: *prefix,
                next_hop: *next_hop,
                preference: said.preference,
                metric: self.metric(self.link.metric(router)),
                reachable: router.is_none_or(|router| self.link.is_reachable(&router)),
                origin: Origin::Network,
                kernel_decides: false,
                preferred_source: None,
                valid_until: said.valid_until,
            };
            portrait.routes.push((route, SaidBy::Dhcpv6(server)));
        }
    }

    /// Routes that the kernel has and no advertisement explains: the administrator's, and those of a router that has
    /// not spoken to us yet.
    fn kernel_routes(&self, portrait: &mut Portrait<'_>) {
        let (ids, origin) = match portrait.key {
            PvdKey::Interface { .. } => (Some(&self.link.sorted.administrator), Origin::Administrator),
            PvdKey::Implicit { router, .. } if portrait.pvd.is_silent() => {
                (self.link.sorted.learnt.get(router), Origin::Network)
            }
            _ => return,
        };
        for (route, _) in ids.into_iter().flatten().filter_map(|id| self.link.routes.get(id)) {
            if !route.valid_until.passed(self.now) {
                let mut known = self.kernel_route(route, origin, &portrait.sources);
                if origin == Origin::Network {
                    // As when the router will have spoken.
                    known.metric = self.metric(self.link.metric(route.gateway));
                }
                portrait.routes.push((known, SaidBy::Kernel));
            }
        }
    }

    /// The interface's IPv4 routes. A gateway stands for the subnet that it is in, as a router for the prefixes that it
    /// advertises (rule 5.5): that is how the kernel finds the source of a route that names none (`fib_info_update_nhc_saddr`).
    fn ipv4_routes(&self, portrait: &mut Portrait<'_>) {
        let mut gateways = BTreeSet::new();
        for id in &self.link.sorted.ipv4 {
            let Some((route, _)) = self.link.routes.get(id) else { continue };
            // What comes with a lease or an address is the network's where that is.
            let origin = match route.protocol {
                RouteProtocol::Other(_) => Origin::Administrator,
                RouteProtocol::Kernel => portrait.origin(),
                _ => Origin::Network,
            };
            gateways.extend(route.gateway);
            let route = self.kernel_route(route, origin, &portrait.sources);
            portrait.routes.push((route, SaidBy::Kernel));
        }
        for source in portrait.sources.iter_mut().filter(|source| IPV4.contains(&source.address)) {
            let subnet = ipnet::Ipv6Net::new(source.address, source.prefix_len).ok();
            let inside = |gateway: &&Ipv6Addr| subnet.is_some_and(|subnet| subnet.contains(*gateway));
            source.advertisers = gateways.iter().filter(inside).copied().collect();
        }
    }

    fn kernel_route(&self, route: &KernelRoute, origin: Origin, sources: &[Source]) -> Route {
        Route {
            prefix: route.prefix.trunc(),
            next_hop: route.gateway.map_or(NextHop::OnLink, NextHop::Router),
            preference: route.preference,
            metric: self.metric(route.metric),
            reachable: route.gateway.is_none_or(|gateway| self.link.is_reachable(&gateway)),
            origin,
            kernel_decides: self.kernel_decides(route, origin, sources),
            preferred_source: route.preferred_source.filter(|_| !is_ipv6_learnt(origin, route)),
            valid_until: route.valid_until,
        }
    }

    /// A route that refuses, that names a source which the PvD does not have, or that leads to loopback.
    fn kernel_decides(&self, route: &KernelRoute, origin: Origin, sources: &[Source]) -> bool {
        if is_ipv6_learnt(origin, route) {
            return false;
        }
        let foreign = |wanted| !sources.iter().any(|source| source.address == wanted);
        route.refuses || self.link.link.loopback || route.preferred_source.is_some_and(foreign)
    }

    /// On-link prefixes of the kernel belong to the PvDs that own addresses of them.
    fn kernel_prefixes(&self, portrait: &mut Portrait<'_>) {
        let origin = portrait.origin();
        for id in &self.link.sorted.on_link {
            let Some((kernel, _)) = self.link.routes.get(id) else { continue };
            // A /128 leads to the address itself, or to the far end of a point-to-point link (`ip address ... peer`).
            let is_host = id.prefix.prefix_len() == 128;
            let is_self = is_host && self.link.addresses.contains_key(&id.prefix.network());
            let idle = kernel.valid_until.passed(self.now) || is_self || is_exempt(id.prefix);
            let known = portrait
                .routes
                .iter()
                .any(|(route, _)| route.prefix == id.prefix && route.next_hop == NextHop::OnLink);
            let is_peer = is_host && !portrait.key.is_network() && !portrait.sources.is_empty();
            let owned = is_peer || portrait.sources.iter().any(|source| id.prefix.contains(&source.address));
            if !idle && !known && owned && self.is_kernels_word(id) {
                let metric = if portrait.key.is_network() { self.link.metric(None) } else { id.metric };
                let route =
                    Route { valid_until: kernel.valid_until, ..self.on_link(id.prefix, origin, metric) };
                portrait.routes.push((route, SaidBy::Kernel));
            }
        }
    }

    /// Whether the kernel's word about an on-link prefix counts: routers said nothing about it, or the administrator
    /// set an address of it by hand. Otherwise a withdrawn prefix would stay until the kernel has followed.
    fn is_kernels_word(&self, id: &RouteId) -> bool {
        let announced = self.link.pvds.values().any(|pvd| pvd.records_of(id.prefix).next().is_some());
        let by_hand = || {
            self.link
                .addresses
                .range(id.prefix.network()..=id.prefix.broadcast())
                .any(|(_, (address, _))| address.permanent && address.prefix_len == id.prefix.prefix_len())
        };
        !announced || by_hand()
    }

    fn on_link(&self, prefix: ipnet::Ipv6Net, origin: Origin, metric: u32) -> Route {
        Route {
            prefix,
            next_hop: NextHop::OnLink,
            preference: RouterPreference::default(),
            metric: self.metric(metric),
            reachable: true,
            origin,
            kernel_decides: false,
            preferred_source: None,
            valid_until: Deadline::NEVER,
        }
    }

    fn metric(&self, kernel: u32) -> u32 {
        self.configured.unwrap_or(kernel)
    }
}

/// A route in the place of an advertisement that we have not heard yet: it says what that will say, and no more.
fn is_ipv6_learnt(origin: Origin, route: &KernelRoute) -> bool {
    origin == Origin::Network && Family::of_net(route.prefix) == Family::Ipv6
}

/// Whether the interface has an IPv4 address that nobody set by hand, or a route that DHCP brought.
fn is_ipv4_leased(link: &LinkState, now: Time) -> bool {
    let mut addresses = link.addresses.range(IPV4.network()..=IPV4.broadcast());
    let mut routes = link.sorted.ipv4.iter().filter_map(|id| link.routes.get(id));
    addresses.any(|(_, (address, _))| !address.permanent && ownership::is_source(link, address, now))
        || routes.any(|(route, _)| route.protocol == RouteProtocol::Dhcp)
}

/// The prefix length of an address of which nothing better is known: that of stateless autoconfiguration on all common
/// links (RFC 4862 §5.5.3 d, RFC 7421).
const USUAL_PREFIX_LEN: u8 = 64;

/// Whether duplicate detection has let an address pass, or pass for now.
pub(super) fn is_assigned(address: &Address) -> bool {
    !address.tentative && !address.dad_failed
}

#[cfg(test)]
mod tests;
