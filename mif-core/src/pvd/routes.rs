//! Routes of the kernel: what they are, and what they mean here.

use std::net::Ipv6Addr;

use ipnet::Ipv6Net;

use super::event::{KernelRoute, RouteProtocol};
use crate::family::{self, Family, IPV4};

/// `::/0`
pub(super) const DEFAULT_ROUTE: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::UNSPECIFIED, 0);

/// Metric of a route that nobody gave one: `IP6_RT_PRIO_USER`, which the kernel also gives to routes from Router
/// Advertisements (Linux, include/net/ip6_route.h).
pub(super) const DEFAULT_METRIC: u32 = 1024;

/// `RTPROT_REDIRECT` (linux/rtnetlink.h): an ICMPv6 redirect's. The kernel follows redirects by itself.
const RTPROT_REDIRECT: u8 = 1;

/// What makes a route of one interface another route. A destination may have several of one metric: in IPv6 each has a next hop
/// of its own (`rt6_duplicate_nexthop`), in IPv4 they may differ in nothing but source or protocol (`fib_find_info`).
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct RouteId {
    /// First, so that the routes of one destination lie together.
    pub prefix: Ipv6Net,
    pub metric: u32,
    pub gateway: Option<Ipv6Addr>,
    pub refuses: bool,
    /// Of IPv4.
    pub preferred_source: Option<Ipv6Addr>,
    /// Of IPv4; else the first, which says nothing.
    pub protocol: RouteProtocol,
}

impl RouteId {
    /// The first of all that a destination can have with this metric or a larger one.
    pub const fn first(prefix: Ipv6Net, metric: u32) -> Self {
        let protocol = RouteProtocol::Kernel;
        Self { prefix, metric, gateway: None, refuses: false, preferred_source: None, protocol }
    }
}

impl From<&KernelRoute> for RouteId {
    fn from(route: &KernelRoute) -> Self {
        let KernelRoute { prefix, metric, gateway, refuses, preferred_source, protocol, .. } = *route;
        let id = Self { gateway, refuses, ..Self::first(prefix.trunc(), metric) };
        match Family::of_net(prefix) {
            Family::Ipv4 => Self { preferred_source, protocol, ..id },
            Family::Ipv6 => id,
        }
    }
}

/// What a kernel route is to us.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum RouteKind {
    /// Nothing new: ours, of no interest, or what an advertisement says anyway.
    Ignored,
    /// The on-link prefix of addresses.
    OnLink,
    /// From an advertisement of this router.
    Learnt(Ipv6Addr),
    /// The administrator's.
    Administrator,
    /// Of IPv4, whoever made it.
    Ipv4,
}

impl RouteKind {
    /// What a route is. `loopback`: it is of the loopback interface or of none. `announced`: advertisements announce
    /// the same route, so whoever installed it (NetworkManager, networkd, dhcpcd) did so on their behalf.
    pub fn of(route: &KernelRoute, loopback: bool, announced: bool) -> Self {
        if is_exempt(route.prefix) {
            return Self::Ignored;
        }
        let ipv4 = Family::of_net(route.prefix) == Family::Ipv4;
        match (route.protocol, route.gateway) {
            (RouteProtocol::Mif | RouteProtocol::Other(RTPROT_REDIRECT), _) => Self::Ignored,
            // The kernel's own refusal is what it does without a route.
            (RouteProtocol::Kernel | RouteProtocol::RouterAdvertisement, _) if loopback || route.refuses => {
                Self::Ignored
            }
            (RouteProtocol::Other(_) | RouteProtocol::Dhcp, _) if loopback || route.refuses => {
                Self::Administrator
            }
            _ if ipv4 => Self::Ipv4,
            (RouteProtocol::Kernel | RouteProtocol::RouterAdvertisement, None) => Self::OnLink,
            (RouteProtocol::Kernel, Some(_)) => Self::Ignored,
            (RouteProtocol::RouterAdvertisement, Some(router)) => Self::Learnt(router),
            // No advertisement names a source: who does means more than the advertisement.
            (RouteProtocol::Other(_) | RouteProtocol::Dhcp, _)
                if announced && route.preferred_source.is_none() =>
            {
                Self::Ignored
            }
            (RouteProtocol::Other(_) | RouteProtocol::Dhcp, _) => Self::Administrator,
        }
    }
}

/// Destinations that selection leaves alone: link-local, multicast, loopback.
pub(super) fn is_exempt(prefix: Ipv6Net) -> bool {
    let address = prefix.network();
    if let (Family::Ipv4, Some(address)) = (Family::of_net(prefix), address.to_ipv4_mapped()) {
        return match family::shown_len(Family::Ipv4, prefix.prefix_len()) {
            32 if address.is_broadcast() => true,
            16.. if address.is_link_local() => true,
            8.. => address.is_loopback() || address.is_multicast(),
            4.. => address.is_multicast(),
            _ => false,
        };
    }
    match prefix.prefix_len() {
        128.. => address.is_loopback() || address.is_unicast_link_local() || address.is_multicast(),
        10.. => address.is_unicast_link_local() || address.is_multicast(),
        8.. => address.is_multicast(),
        _ => false,
    }
}

/// What no router may announce as a prefix or a route: what is exempt, and IPv4, which looks like IPv6 here.
pub(super) fn is_unannounceable(prefix: Ipv6Net) -> bool {
    is_exempt(prefix) || IPV4.contains(&prefix)
}

/// Addresses that can be the source of a flow beyond the link.
pub(super) fn is_candidate(address: &Ipv6Addr) -> bool {
    if let Some(address) = address.to_ipv4_mapped() {
        return !(address.is_unspecified()
            || address.is_loopback()
            || address.is_multicast()
            || address.is_link_local());
    }
    !(address.is_unspecified()
        || address.is_loopback()
        || address.is_multicast()
        || address.is_unicast_link_local())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pvd::testing::{ip, net, route};

    #[test]
    fn kinds() {
        use RouteKind::{Administrator, Ignored, Ipv4, Learnt, OnLink};
        use RouteProtocol::{Dhcp, Kernel, Mif, Other, RouterAdvertisement};
        const STATIC: u8 = 4;
        let router = Some("fe80::1");
        for (protocol, prefix, gateway, refuses, loopback, announced, kind) in [
            (Kernel, "2001:db8::/64", None, false, false, false, OnLink),
            (RouterAdvertisement, "2001:db8::/64", None, false, false, false, OnLink),
            (RouterAdvertisement, "::/0", router, false, false, false, Learnt(ip("fe80::1"))),
            (Other(STATIC), "::/0", router, false, false, false, Administrator),
            (Other(STATIC), "::/0", router, false, false, true, Ignored),
            (Other(STATIC), "2001:db8:1::/48", None, false, false, false, Administrator),
            (Other(STATIC), "2001:db8:1::/48", None, true, true, false, Administrator),
            (Other(STATIC), "2001:db8:1::/48", None, true, false, true, Administrator),
            (Kernel, "::/0", None, true, true, false, Ignored),
            (Mif, "::/0", router, false, false, false, Ignored),
            (Other(1), "2001:db8::1/128", router, false, false, false, Ignored),
            (Other(STATIC), "fe80::/64", None, false, false, false, Ignored),
            (Kernel, "ff00::/8", None, false, false, false, Ignored),
            (Kernel, "::ffff:192.0.2.0/120", None, false, false, false, Ipv4),
            (Dhcp, "::ffff:0:0/96", Some("::ffff:192.0.2.1"), false, false, false, Ipv4),
            (Other(STATIC), "::ffff:10.0.0.0/104", Some("::ffff:192.0.2.1"), false, false, false, Ipv4),
            (Other(STATIC), "::ffff:10.0.0.0/104", None, true, true, false, Administrator),
            (Kernel, "::ffff:169.254.0.0/112", None, false, false, false, Ignored),
            (Mif, "::ffff:0:0/96", Some("::ffff:192.0.2.1"), false, false, false, Ignored),
        ] {
            let route = KernelRoute { refuses, protocol, ..route(2, prefix, gateway) };
            assert_eq!(RouteKind::of(&route, loopback, announced), kind, "{protocol:?} {prefix} {gateway:?}");
        }
    }

    #[test]
    fn exempt_prefixes() {
        for (prefix, exempt) in [
            ("::/0", false),
            ("fe80::/9", false),
            ("fe80::/10", true),
            ("fe80::/64", true),
            ("ff00::/8", true),
            ("ff02::1/128", true),
            ("::1/128", true),
            ("2001:db8::/64", false),
            ("::ffff:0:0/96", false),
            ("::ffff:127.0.0.0/104", true),
            ("::ffff:169.254.0.0/112", true),
            ("::ffff:169.254.0.0/111", false),
            ("::ffff:224.0.0.0/100", true),
            ("::ffff:240.0.0.0/100", false),
            ("::ffff:255.255.255.255/128", true),
            ("::ffff:192.0.2.0/120", false),
        ] {
            assert_eq!(is_exempt(net(prefix)), exempt, "{prefix}");
        }
    }
}
