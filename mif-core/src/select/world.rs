//! What selection looks at: a snapshot of the PvDs, free of how they came to be.

use std::net::Ipv6Addr;

use ipnet::Ipv6Net;
use mif_common::abi::PvdIndex;
use serde::{Deserialize, Serialize};

use super::{
    policy_table::{
        PolicyTable,
        in_force::{Policy, PolicyOrigin},
    },
    rfc6724::Privacy,
};
use crate::{family::as_written, time::Deadline, wire::RouterPreference};

/// All that a selection depends on.
#[derive(Clone, Debug, Default, Eq, PartialEq, Deserialize, Serialize)]
pub struct World {
    /// The PvDs, in any order; their indices differ.
    pub pvds: Vec<Pvd>,
    /// Every address of the host, also tentative ones: destinations that are the host itself.
    #[serde(with = "as_written::addresses")]
    pub local_addresses: Vec<Ipv6Addr>,
    /// Addresses of the host whose interface, which stands beside each, went down while their PvD led beyond its link. Nothing that has
    /// them may leave by another PvD.
    #[serde(default)]
    pub stranded: Vec<(Ipv6Addr, u32)>,
    /// The views with groups of their own. View 0, which has all PvDs in one group, is not listed.
    pub views: Vec<View>,
}

/// A PvD as selection sees it.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct Pvd {
    /// Its place in the PVD array, not 0.
    pub index: PvdIndex,
    /// Its interface.
    pub ifindex: u32,
    /// What the administrator configured; see [`Origin`].
    pub origin: Origin,
    /// Named by its network (RFC 8801).
    pub explicit: bool,
    /// RFC 8801 §4.3 `noInternet`: its default routes are not offered.
    pub no_internet: bool,
    /// Its sources.
    pub sources: Vec<Source>,
    /// Its routes, on-link prefixes included.
    pub routes: Vec<Route>,
    /// Its address selection policy, where it is not the default one.
    #[serde(default)]
    pub policy: Option<Box<Policy>>,
    /// How long any fact of it holds.
    pub valid_until: Deadline,
}

impl Pvd {
    /// The policy table that its pairs are compared by.
    #[must_use]
    pub fn policy_table(&self) -> &PolicyTable {
        self.policy.as_ref().map_or(PolicyTable::rfc6724(), |policy| &policy.table)
    }

    /// The Privacy Preference that its pairs are compared by.
    #[must_use]
    pub fn privacy(&self) -> Privacy {
        self.policy.as_ref().map_or_else(Privacy::default, |policy| policy.privacy)
    }

    /// Whose that table is.
    #[must_use]
    pub fn policy_origin(&self) -> PolicyOrigin {
        self.policy.as_ref().map_or_else(PolicyOrigin::default, |policy| policy.origin)
    }
}

/// Who configures a PvD or a route.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// A router, by its advertisements, or a DHCP server.
    Network,
    /// The administrator: a static route, an address set by hand, a bridge, a tunnel.
    Administrator,
}

/// RFC 4862 §2, as far as selection cares.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum AddressState {
    /// For new flows.
    Preferred,
    /// Only if there is nothing better; also optimistic addresses (RFC 4429 §2.1).
    Deprecated,
    /// Not assigned yet, or a duplicate: never a candidate.
    Tentative,
}

/// A local address as a candidate source.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct Source {
    /// The address, not link-local.
    #[serde(with = "as_written::address")]
    pub address: Ipv6Addr,
    /// For rule 8: the length of the part that is not interface ID (RFC 6724 §2.2).
    pub prefix_len: u8,
    /// Its state.
    pub state: AddressState,
    /// A temporary address (RFC 8981), for rule 7.
    pub temporary: bool,
    /// An IPv4 address beside the first of its subnet (IFA_F_SECONDARY), which the kernel does not choose by itself.
    pub secondary: bool,
    /// When it becomes invalid.
    pub valid_until: Deadline,
    /// Of the PvDs that own this address, this one carries its packets (exactly one PvD says so).
    pub carried: bool,
    /// Other interfaces have the address too.
    #[serde(default)]
    pub several_interfaces: bool,
    /// The routers that advertised a prefix of it, for rule 5.5; empty where unknown. An IPv4 gateway stands for the
    /// subnet that it is in.
    #[serde(with = "as_written::addresses")]
    pub advertisers: Vec<Ipv6Addr>,
}

/// Where a route leads.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum NextHop {
    /// To the destination itself.
    OnLink,
    /// To this router.
    Router(#[serde(with = "as_written::address")] Ipv6Addr),
}

/// A route of a PvD.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct Route {
    /// The destinations.
    #[serde(with = "as_written::net")]
    pub prefix: Ipv6Net,
    /// Where to.
    pub next_hop: NextHop,
    /// RFC 4191 §2.1; Medium where nobody said.
    pub preference: RouterPreference,
    /// The smaller the better: the configured metric of the interface, else that of the kernel's route; equal where
    /// nobody expressed an order.
    pub metric: u32,
    /// False once the router is known not to answer (RFC 4191 §3.2); true where nothing is known.
    pub reachable: bool,
    /// Who says so.
    pub origin: Origin,
    /// A route that refuses or that names a source which the PvD does not have (blackhole, unreachable, prohibit, `src`):
    /// the kernel's answer stands, whatever PvDs could do.
    pub kernel_decides: bool,
    /// The one source that goes with this route (RTA_PREFSRC), if it names one.
    #[serde(with = "as_written::optional")]
    pub preferred_source: Option<Ipv6Addr>,
    /// When it ends.
    pub valid_until: Deadline,
}

/// What one policy may use.
#[derive(Clone, Debug, Default, Eq, PartialEq, Deserialize, Serialize)]
pub struct View {
    /// Its number, not 0.
    pub id: u32,
    /// Groups in order of preference; a PvD of an earlier group that reaches the destination wins.
    pub groups: Vec<Vec<PvdIndex>>,
}
