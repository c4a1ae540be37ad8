//! Router Advertisements and Neighbor Discovery options: owned values, `parse` and `emit`.

use std::net::Ipv6Addr;

use ipnet::Ipv6Net;
use serde::{Deserialize, Serialize};

/// RFC 4191 §2.1.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RouterPreference {
    /// 11
    Low,
    /// 00
    #[default]
    Medium,
    /// 01
    High,
}

/// An RFC 1035 name, uncompressed, without the trailing dot, compared without regard to ASCII case.
#[derive(Clone, Debug, Eq, Deserialize, Serialize)]
#[serde(transparent)]
pub struct DomainName(String);

impl PartialEq for DomainName {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

/// The header (RFC 4861 §4.2).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Deserialize, Serialize)]
pub struct RaHeader {
    /// 0: unspecified.
    pub cur_hop_limit: u8,
    /// M
    pub managed: bool,
    /// O
    pub other_config: bool,
    /// H (RFC 6275)
    pub home_agent: bool,
    /// Prf (RFC 4191 §2.2)
    pub preference: RouterPreference,
    /// P (RFC 4389)
    pub proxy: bool,
    /// SNAC router
    pub snac: bool,
    /// Seconds; 0: not a default router.
    pub router_lifetime: u16,
    /// Milliseconds; 0: unspecified.
    pub reachable_time: u32,
    /// Milliseconds; 0: unspecified.
    pub retrans_timer: u32,
}

/// A Router Advertisement.
#[derive(Clone, Debug, Default, Eq, PartialEq, Deserialize, Serialize)]
pub struct RouterAdvertisement {
    /// The header.
    pub header: RaHeader,
    /// The options in order.
    pub options: Vec<NdOption>,
}

/// An option.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum NdOption {
    /// Type 1 (RFC 4861 §4.6.1): the link-layer address, whole units less two octets.
    SourceLinkLayerAddress(Vec<u8>),
    /// Type 3
    PrefixInformation(PrefixInformation),
    /// Type 5 (RFC 4861 §4.6.4)
    Mtu(u32),
    /// Type 21
    Pvd(PvdOption),
    /// Type 24
    RouteInformation(RouteInformation),
    /// Type 25
    RecursiveDnsServers(RecursiveDnsServers),
    /// Type 31
    DnsSearchList(DnsSearchList),
    /// Type 37 (RFC 8910 §2.3): the URI.
    CaptivePortal(String),
    /// Type 38
    Pref64(Pref64),
    /// Type 144
    EncryptedDns(EncryptedDns),
    /// Any other type, kept as it came: `data` is what follows type and length.
    Unknown {
        /// Type
        kind: u8,
        /// The octets behind type and length.
        data: Vec<u8>,
    },
}

/// Type 3 (RFC 4861 §4.6.2).
#[derive(Clone, Copy, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct PrefixInformation {
    /// The prefix, bits past its length zero.
    pub prefix: Ipv6Net,
    /// L
    pub on_link: bool,
    /// A
    pub autonomous: bool,
    /// R (RFC 6275)
    pub router_address: bool,
    /// Seconds, `u32::MAX` for ever.
    pub valid_lifetime: u32,
    /// Seconds, `u32::MAX` for ever.
    pub preferred_lifetime: u32,
}

/// Type 24 (RFC 4191 §2.3).
#[derive(Clone, Copy, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct RouteInformation {
    /// The prefix, bits past its length zero.
    pub prefix: Ipv6Net,
    /// Prf
    pub preference: RouterPreference,
    /// Seconds, `u32::MAX` for ever, 0 removes.
    pub route_lifetime: u32,
}

/// Type 25 (RFC 8106 §5.1).
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct RecursiveDnsServers {
    /// Seconds, `u32::MAX` for ever, 0: no longer to be used.
    pub lifetime: u32,
    /// At least one.
    pub servers: Vec<Ipv6Addr>,
}

/// Type 31 (RFC 8106 §5.2).
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct DnsSearchList {
    /// Seconds, `u32::MAX` for ever, 0: no longer to be used.
    pub lifetime: u32,
    /// At least one.
    pub suffixes: Vec<DomainName>,
}

/// Type 38 (RFC 8781 §4).
#[derive(Clone, Copy, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct Pref64 {
    /// Of length 32, 40, 48, 56, 64 or 96.
    pub prefix: Ipv6Net,
    /// Seconds, a multiple of 8, at most 65528.
    pub lifetime: u16,
}

/// Type 144 (RFC 9463 §6.1).
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct EncryptedDns {
    /// The lower the better.
    pub service_priority: u16,
    /// Seconds, `u32::MAX` for ever, 0: no longer to be used.
    pub lifetime: u32,
    /// The name to check the certificate against.
    pub authentication_domain_name: DomainName,
    /// `None` in ADN-only mode.
    pub endpoint: Option<EncryptedDnsEndpoint>,
}

/// Addresses and parameters of an [`EncryptedDns`] resolver.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct EncryptedDnsEndpoint {
    /// At least one.
    pub addresses: Vec<Ipv6Addr>,
    /// (key, value) in ascending order of keys (RFC 9460 §2.2).
    pub parameters: Vec<(u16, Vec<u8>)>,
}

/// Type 21 (RFC 8801 §3.1).
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct PvdOption {
    /// The PvD ID.
    pub id: DomainName,
    /// H
    pub http: bool,
    /// L
    pub legacy: bool,
    /// 0..=15, meaningful with H.
    pub delay: u8,
    /// Meaningful with H.
    pub sequence: u16,
    /// The inner header, present with R.
    pub header: Option<RaHeader>,
    /// The nested options; none of them is a PvD option.
    pub options: Vec<NdOption>,
}
