//! What happens to a host, in the words of the kernel's netlink messages and of Router Advertisements. Addresses of both
//! families stand in the one form of [`crate::family`].
//!
//! Events serialise, so that a recorded session replays.

use std::net::Ipv6Addr;

use ipnet::Ipv6Net;
use serde::{Deserialize, Serialize};

use crate::{
    dhcpv6::Configuration,
    family::as_written,
    time::Deadline,
    wire::{RouterAdvertisement, RouterPreference},
};

/// Something that happened.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// A valid Router Advertisement (RFC 4861 §6.1.2) arrived.
    RouterAdvertisement {
        /// The interface it arrived on.
        ifindex: u32,
        /// Its source, a link-local address.
        router: Ipv6Addr,
        /// What it said.
        advertisement: RouterAdvertisement,
    },
    /// An interface appeared or changed (RTM_NEWLINK).
    Link(Link),
    /// An interface is gone (RTM_DELLINK), and all that was on it.
    LinkGone {
        /// Which.
        ifindex: u32,
    },
    /// An address appeared or changed (RTM_NEWADDR).
    Address(Address),
    /// An address is gone (RTM_DELADDR).
    AddressGone(Address),
    /// A route appeared or changed (RTM_NEWROUTE).
    Route(KernelRoute),
    /// The route that an [`Event::Route`] is about to tell took the place of another one of its destination and metric
    /// (RTM_NEWROUTE with NLM_F_REPLACE). Of that one's end the kernel says nothing (`fib_table_insert`, `fib6_add_rt2node`).
    RouteReplaced(KernelRoute),
    /// A route is gone (RTM_DELROUTE).
    RouteGone(KernelRoute),
    /// What is known of a router's reachability changed (RTM_NEWNEIGH, RFC 4861 §7.3).
    Neighbour {
        /// The interface.
        ifindex: u32,
        /// The neighbour.
        #[serde(with = "as_written::address")]
        address: Ipv6Addr,
        /// False once neighbour unreachability detection gave up on it (NUD_FAILED).
        reachable: bool,
    },
    /// The kernel is asking a neighbour (NUD_INCOMPLETE): it says nothing of it, so what was known of it stays, also after a dump.
    NeighbourAsked {
        /// The interface.
        ifindex: u32,
        /// The neighbour.
        #[serde(with = "as_written::address")]
        address: Ipv6Addr,
    },
    /// What the DHCPv6 client of an interface has now, all of it; what was there before is replaced. To be told whenever
    /// [`Client::configuration`] is not what it was, and once more when the link was down and the client has confirmed what it
    /// has (RFC 8415 §18.2.12): with the link goes what was said on it.
    ///
    /// [`Client::configuration`]: crate::dhcpv6::Client::configuration
    Dhcpv6 {
        /// The interface.
        ifindex: u32,
        /// The source of the server's message, a link-local address: the server's, or its relay's.
        server: Ipv6Addr,
        /// What it gave.
        configuration: Configuration,
    },
    /// The DHCPv6 client of an interface has nothing any more: released, switched off, or its last lease has ended.
    Dhcpv6Gone {
        /// The interface.
        ifindex: u32,
    },
    /// A netlink dump begins: what it does not repeat before [`Event::ResyncEnd`] is gone.
    ResyncBegin,
    /// The dump is complete.
    ResyncEnd,
}

/// An interface.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct Link {
    /// Its index.
    pub ifindex: u32,
    /// Its name.
    pub name: String,
    /// Administratively up with carrier (`IFF_UP` and `IFF_LOWER_UP`).
    pub up: bool,
    /// The loopback interface (`IFF_LOOPBACK`), or one of a VRF, for which other tables route: never a PvD.
    pub loopback: bool,
    /// Its MTU, octets.
    pub mtu: u32,
}

/// An address of an interface, as netlink tells it. Host-local ones (loopback, link-local) may come too.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct Address {
    /// The interface.
    pub ifindex: u32,
    /// The address.
    #[serde(with = "as_written::address")]
    pub address: Ipv6Addr,
    /// Its prefix length, in the 128-bit space.
    pub prefix_len: u8,
    /// The far end (IFA_ADDRESS beside IFA_LOCAL, `ip address ... peer`). In IPv4 the prefix is then that one's.
    #[serde(default, with = "as_written::optional")]
    pub peer: Option<Ipv6Addr>,
    /// IFA_F_TENTATIVE without IFA_F_OPTIMISTIC.
    pub tentative: bool,
    /// IFA_F_OPTIMISTIC: in duplicate detection, usable meanwhile (RFC 4429).
    pub optimistic: bool,
    /// IFA_F_DADFAILED
    pub dad_failed: bool,
    /// IFA_F_DEPRECATED
    pub deprecated: bool,
    /// IFA_F_TEMPORARY (RFC 8981), of IPv6.
    pub temporary: bool,
    /// IFA_F_SECONDARY, which is the same bit in IPv4.
    #[serde(default)]
    pub secondary: bool,
    /// IFA_F_PERMANENT: set by hand, without lifetimes.
    pub permanent: bool,
    /// IFA_CACHEINFO `ifa_valid`.
    pub valid_until: Deadline,
    /// IFA_CACHEINFO `ifa_prefered`.
    pub preferred_until: Deadline,
}

impl Address {
    /// An address of which nothing else is said, valid for ever.
    #[must_use]
    pub const fn new(ifindex: u32, address: Ipv6Addr, prefix_len: u8) -> Self {
        Self {
            ifindex,
            address,
            prefix_len,
            peer: None,
            tentative: false,
            optimistic: false,
            dad_failed: false,
            deprecated: false,
            temporary: false,
            secondary: false,
            permanent: false,
            valid_until: Deadline::NEVER,
            preferred_until: Deadline::NEVER,
        }
    }
}

/// A route of the kernel, of any table that the main lookup reaches (main and local are; tables behind foreign rules are not).
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct KernelRoute {
    /// RTA_DST, a default route without it.
    #[serde(with = "as_written::net")]
    pub prefix: Ipv6Net,
    /// RTA_OIF, 0 for routes without an interface (blackhole and its kind).
    pub ifindex: u32,
    /// RTA_GATEWAY; RTA_VIA where an IPv4 route leads to an IPv6 router (RFC 8950).
    #[serde(with = "as_written::optional")]
    pub gateway: Option<Ipv6Addr>,
    /// RTA_PRIORITY
    pub metric: u32,
    /// RTA_PREF (RFC 4191)
    pub preference: RouterPreference,
    /// RTA_PREFSRC
    #[serde(with = "as_written::optional")]
    pub preferred_source: Option<Ipv6Addr>,
    /// RTM protocol.
    pub protocol: RouteProtocol,
    /// RTN_BLACKHOLE, RTN_UNREACHABLE, RTN_PROHIBIT, RTN_THROW: refuses or passes on. Or RTN_LOCAL, by hand: leads to this host.
    pub refuses: bool,
    /// RTA_EXPIRES / `rta_cacheinfo.rta_expires`.
    pub valid_until: Deadline,
}

/// Who put a route into the kernel (`rtm_protocol`), as far as it matters.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RouteProtocol {
    /// RTPROT_KERNEL: the prefix of an address.
    Kernel,
    /// RTPROT_DHCP: an IPv4 route of a lease (networkd, NetworkManager).
    Dhcp,
    /// RTPROT_RA: the kernel from a Router Advertisement; also networkd's and NetworkManager's from theirs.
    RouterAdvertisement,
    /// `mif` itself (`mif_common::limits` names the number): its own routes are no input.
    Mif,
    /// Anybody else: the administrator, by hand or by a daemon (static, boot, bgp, ...).
    Other(u8),
}
