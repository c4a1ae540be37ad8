//! Which interfaces are ours.
//!
//! An interface that is not ours offers no source, but it is still there: its addresses are this host, and what the
//! administrator routes through it stays routed through it.

use std::collections::{BTreeMap, BTreeSet};

use mif_core::{
    family::{Family, is_default_route},
    pvd::event::{Event, KernelRoute, RouteProtocol},
};

/// The filter, with the names it has seen.
#[derive(Debug)]
pub struct Filter {
    only: BTreeSet<String>,
    ignored: BTreeSet<String>,
    names: BTreeMap<u32, String>,
}

impl Filter {
    /// `only` (all if empty) less `ignored`.
    #[must_use]
    pub fn new(only: &[String], ignored: &[String]) -> Self {
        Self {
            only: only.iter().cloned().collect(),
            ignored: ignored.iter().cloned().collect(),
            names: BTreeMap::new(),
        }
    }

    /// Whether an interface has this name now.
    #[must_use]
    pub fn exists(&self, name: &str) -> bool {
        self.names.values().any(|present| present == name)
    }

    /// Whether an interface is ours. One that was never announced is not.
    #[must_use]
    pub fn takes(&self, ifindex: u32) -> bool {
        self.names.get(&ifindex).is_some_and(|name| self.takes_name(name))
    }

    /// The name of an interface.
    #[must_use]
    pub fn name(&self, ifindex: u32) -> Option<&str> {
        self.names.get(&ifindex).map(String::as_str)
    }

    /// Whether there may be routes like this one that the rest of the program was not told of.
    #[must_use]
    pub fn hides(&self, route: &KernelRoute) -> bool {
        is_default_route(route.prefix) && !(self.only.is_empty() && self.ignored.is_empty())
    }

    fn takes_name(&self, name: &str) -> bool {
        (self.only.is_empty() || self.only.contains(name)) && !self.ignored.contains(name)
    }

    /// What is left of an event.
    pub fn pass(&mut self, event: Event) -> Option<Event> {
        match event {
            Event::Link(link) => {
                self.names.insert(link.ifindex, link.name.clone());
                Some(Event::Link(link))
            }
            Event::LinkGone { ifindex } => {
                self.names.remove(&ifindex);
                Some(Event::LinkGone { ifindex })
            }
            Event::Address(mut address) => {
                // Of this host, so no destination of ours; never a source of ours: that is what tentative means.
                address.tentative |= !self.takes(address.ifindex);
                Some(Event::Address(address))
            }
            Event::Route(route) => self.route(route).map(Event::Route),
            Event::RouteGone(route) => self.route(route).map(Event::RouteGone),
            Event::RouterAdvertisement { ifindex, .. }
            | Event::Neighbour { ifindex, .. }
            | Event::NeighbourAsked { ifindex, .. }
            | Event::Dhcpv6 { ifindex, .. }
                if !self.takes(ifindex) =>
            {
                None
            }
            event => Some(event),
        }
    }

    /// A route through an interface that is not ours is the administrator's; its default route is no offer to us.
    fn route(&self, mut route: KernelRoute) -> Option<KernelRoute> {
        if route.refuses || self.takes(route.ifindex) {
            return Some(route);
        }
        if is_default_route(route.prefix) {
            return None;
        }
        let by_network = matches!(route.protocol, RouteProtocol::RouterAdvertisement | RouteProtocol::Dhcp);
        if by_network || Family::of_net(route.prefix) == Family::Ipv4 {
            route.protocol = RouteProtocol::Other(0);
        }
        Some(route)
    }
}

#[cfg(test)]
mod tests {
    use mif_core::{
        pvd::event::{Address, Link},
        time::Deadline,
        wire::RouterPreference,
    };

    use super::*;

    fn link(ifindex: u32, name: &str) -> Event {
        Event::Link(Link { ifindex, name: name.into(), up: true, loopback: false, mtu: 1500 })
    }

    fn route(ifindex: u32, prefix: &str) -> Event {
        Event::Route(KernelRoute {
            prefix: prefix.parse().expect("a literal"),
            ifindex,
            gateway: None,
            metric: 1024,
            preference: RouterPreference::Medium,
            preferred_source: None,
            protocol: RouteProtocol::Other(4),
            refuses: false,
            valid_until: Deadline::NEVER,
        })
    }

    fn is_source(event: Option<Event>) -> bool {
        matches!(event, Some(Event::Address(address)) if !address.tentative)
    }

    fn address(ifindex: u32) -> Event {
        Event::Address(Address {
            permanent: true,
            ..Address::new(ifindex, "2001:db8::1".parse().expect("a literal"), 64)
        })
    }

    #[test]
    fn interfaces_that_are_not_ours_keep_what_the_administrator_gave_them() {
        // only, ignored, whether eth0 (2) and docker0 (3) are ours
        for (only, ignored, eth0, docker0) in [
            (&[][..], &[][..], true, true),
            (&["eth0"], &[], true, false),
            (&[], &["docker0"], true, false),
            (&["eth0", "docker0"], &["docker0"], true, false),
            (&["eth9"], &[], false, false),
        ] {
            let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
            let mut filter = Filter::new(&names(only), &names(ignored));
            for event in [link(2, "eth0"), link(3, "docker0")] {
                assert!(filter.pass(event).is_some());
            }
            for (ifindex, ours) in [(2, eth0), (3, docker0)] {
                assert_eq!(filter.takes(ifindex), ours, "{only:?} {ignored:?}");
                assert_eq!(is_source(filter.pass(address(ifindex))), ours);
                assert_eq!(filter.pass(route(ifindex, "::/0")).is_some(), ours);
                assert!(filter.pass(route(ifindex, "2001:db8:1::/64")).is_some());
            }
            assert!(filter.exists("eth0") && !filter.exists("eth9"));
        }
    }
}
