//! Every cap on what a network, or a kernel full of routes, can make the set hold. At a cap what is new is refused and
//! counted; what is there keeps working.

use std::{collections::BTreeMap, fmt};

use mif_common::{abi::PvdIndex, limits};
use serde::{Deserialize, Serialize};

/// (PvD, router) pairs of one link. RFC 4861 §6.3.4 asks for at least two routers; a link with redundant gateways has
/// up to four, each perhaps in several explicit PvDs. More than this is a flood of made-up routers.
pub const ROUTERS_PER_LINK: usize = 32;

/// Explicit PvDs of one link. RFC 8801 §5 shows two; a retail network with a PvD for each provider and service has
/// fewer than ten. Below [`ROUTERS_PER_LINK`], so that invented names cannot use up the unlabelled routers' places.
pub const EXPLICIT_PVDS_PER_LINK: usize = 16;

/// (prefix, router) records of one PvD. The kernel makes addresses from no more than 16 prefixes of an interface
/// (`max_addresses`); this leaves room for prefixes that are on-link only.
pub const PREFIXES_PER_PVD: usize = 64;

/// Routes of one PvD that routers announced. RFC 4191 §4 expects few; a corporate network may announce its sites.
pub const ROUTES_PER_PVD: usize = 256;

/// DNS servers of one PvD. RFC 8106 §5.3.1 recommends room for three; resolvers in use look at no more.
pub const DNS_SERVERS_PER_PVD: usize = 8;

/// Search domains of one PvD; glibc reads no more than 6 before 2.26, the rest is room.
pub const SEARCH_NAMES_PER_PVD: usize = 16;

/// NAT64 prefixes of one PvD. RFC 7050 §3 knows of several at a time, for load sharing; more than four is unheard of.
pub const PREF64_PER_PVD: usize = 8;

/// Encrypted resolvers of one PvD, each up to 2,040 octets long (one option).
pub const ENCRYPTED_DNS_PER_PVD: usize = 8;

/// Time sources of one PvD by DHCPv6. ntpd and chrony use four to ten; more serve nobody.
pub const NTP_SERVERS_PER_PVD: usize = 8;

/// RDNSS Selection options of one PvD, each with a resolver and the domains it knows.
pub const RDNSS_SELECTIONS_PER_PVD: usize = 8;

/// Routes of one PvD by DHCPv6: a reply in one datagram of 1,280 octets has room for some 40.
pub const DHCPV6_ROUTES_PER_PVD: usize = 64;

/// Rows of a policy table by DHCPv6. RFC 6724 §2.1 has nine; a network adds some of its own. Each row can cut the tables, so that
/// a server must not make them large.
pub const POLICY_ROWS_PER_PVD: usize = 64;

/// Links. Only the kernel makes them; a host with thousands of containers has as many veth interfaces.
pub const LINKS: usize = 16_384;

/// Addresses of one link. A network can cause 16 (`max_addresses`); the rest is the administrator's, as on a web host
/// with an address per site.
pub const ADDRESSES_PER_LINK: usize = 16_384;

/// Addresses of the host: as many as the SOURCE table holds.
pub const ADDRESSES: usize = limits::SOURCES as usize;

/// Routes of the kernel. A host with uplinks has tens; a full BGP table (some 200,000 routes) belongs to a router,
/// which this software is not for, and would make every compilation take seconds.
pub const KERNEL_ROUTES: usize = 16_384;

/// Unreachable next hops remembered for one link; only addresses that are next hops of something count.
pub const UNREACHABLE_PER_LINK: usize = 256;

/// One part in this many of the PvDs is kept for what the administrator configured, whatever networks announce.
const ADMINISTRATOR_SHARE: PvdIndex = 4;

const _: () = {
    assert!(ROUTERS_PER_LINK >= 2, "RFC 4861 §6.3.4");
    assert!(DNS_SERVERS_PER_PVD >= 3 && SEARCH_NAMES_PER_PVD >= 3, "RFC 8106 §5.3.1");
    assert!(EXPLICIT_PVDS_PER_LINK < ROUTERS_PER_LINK, "names leave room for routers without");
};

/// What the configuration may choose.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct Limits {
    /// PvDs in total; indices run from 1 to this. The PVD array needs one element more, because 0 is "none".
    pub max_pvds: PvdIndex,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_pvds: limits::PVDS }
    }
}

impl Limits {
    /// How many of the PvDs may be made by networks.
    #[must_use]
    pub const fn network_pvds(self) -> PvdIndex {
        self.max_pvds - self.max_pvds / ADMINISTRATOR_SHARE
    }
}

macro_rules! refused_reasons {
    ($($name:ident, $key:literal, $text:literal;)*) => {
        /// Why something was not taken in.
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Deserialize, Serialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum RefusedReason { $(#[doc = $text] $name,)* }

        impl RefusedReason {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The name used by the CLI, in JSON and in metrics.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $key,)* }
            }

            /// One sentence for people.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

refused_reasons! {
    RouterNotLinkLocal, "router-not-link-local", "an advertisement whose source is not link-local (RFC 4861 §6.1.2)";
    OwnAdvertisement, "own-advertisement", "an advertisement of this host itself, which a raw socket hears too (accept_ra_from_local)";
    LinkDown, "link-down", "what routers or DHCPv6 servers say on a link that is down; the next word counts";
    Pvds, "pvds", "no place is left for another PvD";
    Routers, "routers", "the link has as many routers as are kept";
    ExplicitPvds, "explicit-pvds", "the link has as many named PvDs as are kept";
    PreferredOverValid, "preferred-over-valid",
        "a prefix preferred for longer than it is valid: it gives no addresses (RFC 4862 §5.5.3 c)";
    Prefixes, "prefixes", "the PvD has as many prefixes as are kept";
    Routes, "routes", "the PvD has as many routes as are kept";
    DnsServers, "dns-servers", "the PvD has as many DNS servers as are kept; the soonest to expire left";
    SearchNames, "search-names", "the PvD has as many search domains as are kept; the soonest to expire left";
    Pref64, "pref64", "the PvD has as many NAT64 prefixes as are kept";
    EncryptedDns, "encrypted-dns", "the PvD has as many encrypted resolvers as are kept";
    NtpServers, "ntp-servers", "the PvD has as many time sources as are kept";
    RdnssSelections, "rdnss-selections", "the PvD has as many RDNSS Selection options as are kept";
    Dhcpv6Routes, "dhcpv6-routes", "the PvD has as many routes by DHCPv6 as are kept, or nobody may announce this one";
    PolicyRows, "policy-rows", "an address selection policy of more rows than are kept: none of it is";
    PolicyConflict, "policy-conflict",
        "networks gave the host different address selection policies: none of them counts (RFC 7078 §3.3)";
    Leases, "leases", "the link has as many leases as are kept";
    PvdIdentity, "pvd-identity", "a PvD container by DHCPv6 whose identity is no domain name";
    Dhcpv6Unasked, "dhcpv6-unasked",
        "DHCPv6 data that no advertisement asks for (M, O), and that the unnamed PvDs of the link have (RFC 8801 §3.4.1)";
    Links, "links", "the host has as many links as are kept";
    Addresses, "addresses", "the link or the host has as many addresses as are kept";
    DuplicateAddress, "duplicate-address", "the address is on another interface too; only one of them is a source";
    KernelRoutes, "kernel-routes", "the kernel has more routes than are kept";
    Neighbours, "neighbours", "the link has as many unreachable next hops as are kept";
}

impl fmt::Display for RefusedReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How often what was refused, since the set was made.
#[derive(Clone, Debug, Default, Eq, PartialEq, Deserialize, Serialize)]
#[serde(transparent)]
pub struct Refused(BTreeMap<RefusedReason, u64>);

impl Refused {
    /// The counters that are not zero.
    pub fn iter(&self) -> impl Iterator<Item = (RefusedReason, u64)> {
        self.0.iter().map(|(reason, count)| (*reason, *count))
    }

    /// How often for this reason.
    #[must_use]
    pub fn of(&self, reason: RefusedReason) -> u64 {
        self.0.get(&reason).copied().unwrap_or(0)
    }

    pub(super) fn count(&mut self, reason: RefusedReason) {
        self.add(reason, 1);
    }

    pub(super) fn add(&mut self, reason: RefusedReason, times: usize) {
        if times > 0 {
            let count = self.0.entry(reason).or_default();
            *count = count.saturating_add(times as u64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn administrator_keeps_a_share() {
        for (max_pvds, network) in [(255, 192), (8, 6), (4, 3), (1, 1)] {
            assert_eq!(Limits { max_pvds }.network_pvds(), network, "{max_pvds}");
        }
    }

    #[test]
    fn names_are_those_of_serde() {
        for reason in RefusedReason::ALL {
            assert_eq!(crate::pvd::testing::text(reason), reason.name());
        }
    }

    #[test]
    fn counts() {
        let mut refused = Refused::default();
        refused.add(RefusedReason::Routes, 0);
        assert_eq!(refused.iter().count(), 0);
        refused.count(RefusedReason::Routes);
        refused.add(RefusedReason::Routes, 2);
        assert_eq!(refused.iter().collect::<Vec<_>>(), [(RefusedReason::Routes, 3)]);
        assert_eq!((refused.of(RefusedReason::Routes), refused.of(RefusedReason::Links)), (3, 0));
    }
}
