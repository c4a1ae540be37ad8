//! Next hops that die and come back: see [`mif_core::nud`].

use std::{net::Ipv6Addr, time::Duration};

use mif_core::{
    family::{self, Family},
    nud::{Ask, Neighbour, NextHop},
    pvd::event::Event,
    time::Time,
};
use tracing::{debug, warn};

use super::{conf, run::Daemon};
use crate::{
    clock,
    net::{arp, neighbour, ra::RaSocket},
};

/// The kernel's default for `router_probe_interval`, and what RFC 4191 §3.2 asks for at least.
const ROUTER_PROBE_INTERVAL: Duration = Duration::from_secs(60);

impl Daemon<'_> {
    /// The kernel says something of a router.
    pub(super) fn neighbour(&mut self, news: Neighbour) {
        let (ifindex, address) = news.next_hop;
        if !self.filter.takes(ifindex) {
            return;
        }
        let (reachable, ask) = if self.owner.set.is_next_hop(ifindex, &address) {
            let (keeps, interval) = (self.keeps(ifindex, address), self.probe_interval(ifindex));
            self.next_hops.hear(&news, keeps, interval, clock::now())
        } else {
            self.next_hops.forget(news.next_hop);
            (news.reachable(), None)
        };
        self.event(Event::Neighbour { ifindex, address, reachable });
        if let Some(ask) = ask {
            self.ask(news.next_hop, &ask);
        }
    }

    /// Whether the entry of a next hop is kept should it be dead.
    ///
    /// In IPv4 where the kernel has a route by it. In IPv6 that would take the choice among routers from the kernel, which passes over
    /// those that do not answer; so only where that choice means nothing, because tc egress makes it by the source.
    fn keeps(&self, ifindex: u32, address: Ipv6Addr) -> bool {
        let family = Family::of(address);
        self.owner.enforces(family)
            && match family {
                Family::Ipv4 => self.owner.set.has_kernel_route_by(ifindex, address),
                Family::Ipv6 => self.owner.chooses_routers(ifindex, address),
            }
    }

    /// A router of an interface has advertised something.
    pub(super) fn advertises(&self, next_hop: NextHop) {
        if let Some(ask) = self.next_hops.advertises(next_hop) {
            self.ask(next_hop, &ask);
        }
    }

    /// How long a dead router is left alone.
    fn probe_interval(&self, ifindex: u32) -> Duration {
        let seconds = self.filter.name(ifindex).and_then(|name| conf::setting(name, "router_probe_interval"));
        seconds.filter(|seconds| *seconds > 0).map_or(ROUTER_PROBE_INTERVAL, Duration::from_secs)
    }

    /// Asks the dead ones whose time has come.
    pub(super) fn ask_dead_next_hops(&mut self, advertisements: &RaSocket, now: Time) {
        if !self.next_hops.next_deadline().passed(now) {
            return;
        }
        let traffic = self.owner.packets().unwrap_or_else(|error| {
            warn!("whether there is traffic cannot be read: {error}");
            now.0
        });
        let mut next_hops = std::mem::take(&mut self.next_hops);
        for (next_hop, ask) in next_hops.due(now, traffic, |ifindex| self.probe_interval(ifindex)) {
            if self.owner.set.is_unreachable(next_hop.0, &next_hop.1) {
                match (&ask, Family::of(next_hop.1)) {
                    (Ask::Probe(_), Family::Ipv4) if self.ask_all_by_arp(next_hop) => {}
                    (Ask::Probe(_), Family::Ipv6) => {
                        self.ask(next_hop, &ask);
                        self.ask_all(advertisements, next_hop);
                    }
                    _ => self.ask(next_hop, &ask),
                }
            } else {
                next_hops.forget(next_hop);
            }
        }
        self.next_hops = next_hops;
    }

    /// Asks all on the link for an IPv6 router, after a probe: another machine may have its address now.
    fn ask_all(&self, advertisements: &RaSocket, (ifindex, address): NextHop) {
        if let Err(error) = advertisements.send_ns(ifindex, address) {
            debug!("{address} on {}: {error}", self.filter.name(ifindex).unwrap_or("?"));
        }
    }

    /// The same for an IPv4 gateway; says whether that was possible. Not together with a probe: for a second after that the kernel
    /// believes no other link-layer address (`neigh/*/locktime`).
    fn ask_all_by_arp(&self, (ifindex, address): NextHop) -> bool {
        let own = self.owner.set.beside(ifindex, address).and_then(|own| own.to_ipv4_mapped());
        let (Some(own), Some(gateway)) = (own, address.to_ipv4_mapped()) else { return false };
        arp::request(ifindex, own, gateway).unwrap_or_else(|error| {
            debug!("{gateway} on {}: {error}", self.filter.name(ifindex).unwrap_or("?"));
            false
        })
    }

    fn ask(&self, (ifindex, address): NextHop, ask: &Ask) {
        let shown = family::shown(address);
        let asked = match ask {
            Ask::Keep(link_layer) => neighbour::keep(ifindex, shown, link_layer),
            Ask::Probe(link_layer) => neighbour::probe(ifindex, shown, link_layer),
            Ask::Resolve => neighbour::resolve(ifindex, shown),
        };
        if let Err(error) = asked {
            debug!("{shown} on {}: {error}", self.filter.name(ifindex).unwrap_or("?"));
        }
    }
}
