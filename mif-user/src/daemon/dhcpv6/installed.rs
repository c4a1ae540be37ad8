//! What `mif` puts into the kernel of what a link's client has: leased addresses, routes, and what keeps delegated prefixes from
//! looping.
//!
//! A packet to a part of a delegated prefix that is on no link behind this host would go back to where the prefix came from, by the
//! default route, and come again (RFC 7084 §4.3, WPD-5): the whole prefix is unreachable, and what is assigned of it is more specific.

use std::{collections::BTreeMap, io, net::Ipv6Addr};

use ipnet::Ipv6Net;
use mif_core::{
    dhcpv6::Configuration,
    time::{Deadline, Time},
    wire::{
        RouterPreference,
        dhcpv6::{DhcpOption, RoutePrefix},
    },
};

use crate::net::configure::{self, Lifetimes, OwnRoute};

/// Behind the kernel's own routes from Router Advertisements (IP6_RT_PRIO_USER, 1024); the interface's index is added, because
/// routes of one metric and several interfaces become one of several ways (rt6_qualify_for_ecmp), which PvDs are not.
const ROUTE_METRIC: u32 = 2048;

/// Behind everything.
const UNREACHABLE_METRIC: u32 = u32::MAX;

/// What should be in the kernel, each with its end.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Wanted {
    /// When each stops being preferred, and when it ends.
    pub addresses: BTreeMap<Ipv6Addr, (Deadline, Deadline)>,
    /// Routes.
    pub routes: BTreeMap<OwnRoute, Deadline>,
}

impl Wanted {
    /// What a configuration that came from `server` by an interface makes of the kernel.
    #[must_use]
    pub fn of(ifindex: u32, server: Ipv6Addr, configuration: &Configuration, now: Time) -> Self {
        let mut wanted = Self::default();
        for lease in configuration.leases.iter().filter(|lease| !lease.valid_until.passed(now)) {
            match lease.address() {
                Some(address) => {
                    wanted.addresses.insert(address, (lease.preferred_until, lease.valid_until));
                }
                None => {
                    wanted.routes.insert(unreachable(lease.prefix), lease.valid_until);
                }
            }
        }
        let received = configuration.received.unwrap_or(now);
        let mut add = |gateway: Option<Ipv6Addr>, route: &RoutePrefix| {
            let until = Deadline::from_lifetime(route.lifetime, received);
            let network = route.prefix.addr();
            if until.passed(now) || network.is_multicast() || network.is_unicast_link_local() {
                return;
            }
            let route = OwnRoute {
                prefix: route.prefix.trunc(),
                ifindex: Some(ifindex),
                gateway,
                metric: ROUTE_METRIC.saturating_add(ifindex),
                preference: route.preference,
            };
            wanted.routes.insert(route, until);
        };
        for option in &configuration.options {
            match option {
                DhcpOption::NextHop(hop) => {
                    // `::` is whoever sent the message; no route is a default route.
                    let router = if hop.address.is_unspecified() { server } else { hop.address };
                    if hop.routes.is_empty() {
                        add(Some(router), &DEFAULT);
                    }
                    hop.routes.iter().for_each(|route| add(Some(router), route));
                }
                DhcpOption::RoutePrefix(route) => add(None, route),
                _ => {}
            }
        }
        wanted
    }

    /// When the first route ends. Leases are the client's to watch.
    #[must_use]
    pub fn next_route_end(&self) -> Option<Time> {
        self.routes.values().filter_map(|until| until.time()).min()
    }
}

const DEFAULT: RoutePrefix = RoutePrefix {
    prefix: Ipv6Net::new_assert(Ipv6Addr::UNSPECIFIED, 0),
    preference: RouterPreference::Medium,
    lifetime: u32::MAX,
};

fn unreachable(prefix: Ipv6Net) -> OwnRoute {
    let preference = RouterPreference::Medium;
    OwnRoute { prefix, ifindex: None, gateway: None, metric: UNREACHABLE_METRIC, preference }
}

/// What was put there.
#[derive(Clone, Debug, Default)]
pub struct Installed {
    there: Wanted,
}

/// What the kernel did not do.
#[derive(Debug)]
pub struct Refused {
    /// A short stable name for counters.
    pub name: &'static str,
    /// What it was.
    pub what: String,
    /// Why.
    pub error: io::Error,
}

impl Installed {
    /// Takes what is not wanted from the kernel and, where `may_add`, puts there what is. What the kernel refuses is tried again
    /// with the next change.
    pub fn bring_to(&mut self, ifindex: u32, wanted: &Wanted, may_add: bool, now: Time) -> Vec<Refused> {
        let mut refused = Vec::new();
        let mut note = |name, what: String, error| refused.push(Refused { name, what, error });
        self.there.routes.retain(|route, _| {
            let goes = !wanted.routes.contains_key(route);
            if goes && let Err(error) = configure::remove_route(route) {
                note("route-not-removed", route.prefix.to_string(), error);
            }
            !goes
        });
        self.there.addresses.retain(|address, _| {
            let goes = !wanted.addresses.contains_key(address);
            if goes && let Err(error) = configure::remove_address(ifindex, *address) {
                note("address-not-removed", address.to_string(), error);
            }
            !goes
        });
        if !may_add {
            return refused;
        }
        for (address, lease) in &wanted.addresses {
            if self.there.addresses.get(address) == Some(lease) {
                continue;
            }
            let lifetimes = Lifetimes { preferred: seconds(lease.0, now), valid: seconds(lease.1, now) };
            match configure::put_address(ifindex, *address, lifetimes) {
                Ok(()) => drop(self.there.addresses.insert(*address, *lease)),
                Err(error) => note("address-not-taken-by-kernel", address.to_string(), error),
            }
        }
        for (route, until) in &wanted.routes {
            if self.there.routes.get(route) == Some(until) {
                continue;
            }
            match configure::put_route(route, seconds(*until, now)) {
                Ok(()) => drop(self.there.routes.insert(*route, *until)),
                Err(error) => note("route-not-taken-by-kernel", route.prefix.to_string(), error),
            }
        }
        refused
    }

    /// An address that a daemon before this one put there.
    pub fn adopt(&mut self, address: Ipv6Addr) {
        self.there.addresses.entry(address).or_insert((Deadline::NEVER, Deadline::NEVER));
    }

    /// Whether an address was put there.
    #[must_use]
    pub fn has(&self, address: &Ipv6Addr) -> bool {
        self.there.addresses.contains_key(address)
    }

    /// Whether a route was put there.
    #[must_use]
    pub fn has_route(&self, route: &OwnRoute) -> bool {
        self.there.routes.keys().any(|own| OwnRoute { preference: route.preference, ..*own } == *route)
    }

    /// Somebody else took an address away.
    pub fn forget(&mut self, address: &Ipv6Addr) {
        self.there.addresses.remove(address);
    }
}

/// Whole seconds that are left, as the kernel counts; a started one counts, so that the kernel is not the first to let go.
fn seconds(until: Deadline, now: Time) -> u32 {
    let Some(left) = until.remaining(now) else { return u32::MAX };
    let started = u64::from(left.subsec_nanos() > 0);
    u32::try_from(left.as_secs() + started).unwrap_or(u32::MAX).min(u32::MAX - 1)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use mif_core::{dhcpv6::HeldLease, wire::dhcpv6::NextHop};

    use super::*;

    const NOW: Time = Time(1_000_000_000_000);

    fn net(text: &str) -> Ipv6Net {
        text.parse().expect(text)
    }

    fn after(seconds: u64) -> Deadline {
        Deadline::at(NOW.after(Duration::from_secs(seconds)))
    }

    #[test]
    fn a_configuration_in_the_kernel() {
        let lease = |prefix, preferred, valid| HeldLease {
            prefix: net(prefix),
            preferred_until: after(preferred),
            valid_until: after(valid),
        };
        let route = |prefix, lifetime| RoutePrefix {
            prefix: net(prefix),
            preference: RouterPreference::High,
            lifetime,
        };
        let (server, router): (Ipv6Addr, Ipv6Addr) =
            ("fe80::5".parse().expect("a literal"), "fe80::9".parse().expect("a literal"));
        let hop = |address, routes| DhcpOption::NextHop(NextHop { address, routes });
        let configuration = Configuration {
            server: vec![1],
            leases: vec![
                lease("2001:db8:1::7/128", 10, 20),
                lease("2001:db8:1::8/128", 0, 0),
                lease("2001:db8:99::/56", 10, 30),
            ],
            options: vec![
                hop(router, vec![route("2001:db8:77::/48", 60), route("2001:db8:78::/48", 0)]),
                hop(Ipv6Addr::UNSPECIFIED, vec![]),
                DhcpOption::RoutePrefix(route("2001:db8:5::/64", u32::MAX)),
                DhcpOption::RoutePrefix(route("ff00::/8", u32::MAX)),
            ],
            received: Some(NOW),
            refresh_at: Deadline::NEVER,
        };
        let wanted = Wanted::of(3, server, &configuration, NOW);
        assert_eq!(
            wanted.addresses,
            BTreeMap::from([("2001:db8:1::7".parse().expect("a literal"), (after(10), after(20)))])
        );
        let way = |prefix, gateway, preference| OwnRoute {
            prefix: net(prefix),
            ifindex: Some(3),
            gateway,
            metric: 2051,
            preference,
        };
        assert_eq!(
            wanted.routes,
            BTreeMap::from([
                (way("::/0", Some(server), RouterPreference::Medium), Deadline::NEVER),
                (way("2001:db8:5::/64", None, RouterPreference::High), Deadline::NEVER),
                (way("2001:db8:77::/48", Some(router), RouterPreference::High), after(60)),
                (unreachable(net("2001:db8:99::/56")), after(30)),
            ])
        );
        assert_eq!(wanted.next_route_end(), after(30).time());
        let later = Wanted::of(3, server, &configuration, after(60).time().expect("an instant"));
        assert_eq!((later.addresses.len(), later.routes.len()), (0, 2), "what has ended is not wanted");
    }

    #[test]
    fn lifetimes() {
        for (until, expected) in [
            (Deadline::NEVER, u32::MAX),
            (after(0), 0),
            (after(1), 1),
            (Deadline::at(NOW.after(Duration::from_millis(1))), 1),
            (after(u64::from(u32::MAX)), u32::MAX - 1),
        ] {
            assert_eq!(seconds(until, NOW), expected, "{until}");
        }
    }
}
