//! The plan of addresses: what each provider is called, owns and advertises. All of it is 2001:db8::/32 (RFC 3849) and
//! 198.18.0.0/15 (RFC 2544).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};
use mif_core::wire::{NdOption, PrefixInformation, RaHeader, RouterAdvertisement};

/// A provider: a router with a prefix of its own.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Isp {
    /// Name of its router and, at the host, of the uplink to it.
    pub name: &'static str,
    /// Tells it from the others in link-layer and link-local addresses.
    pub number: u16,
    /// What it owns: sources that its router lets pass.
    pub prefix: Ipv6Net,
    /// What it advertises on the link to the host.
    pub lan: Ipv6Net,
    /// What it owns in IPv4.
    pub prefix_ipv4: Ipv4Net,
    /// The subnet of that on the link to the host.
    pub lan_ipv4: Ipv4Net,
}

/// The first provider.
pub const ISP_A: Isp = Isp::new("isp-a", 0xa);
/// The second provider.
pub const ISP_B: Isp = Isp::new("isp-b", 0xb);

/// Seconds that a router stays a default router: radvd's default, three times its longest interval.
const ROUTER_LIFETIME: u16 = 1800;
/// Seconds that addresses stay valid: radvd's default, one day.
const VALID_LIFETIME: u32 = 86_400;
/// Seconds that addresses stay preferred: radvd's default, four hours.
const PREFERRED_LIFETIME: u32 = 14_400;

impl Isp {
    /// The provider that owns 2001:db8:`number`::/48 and 198.18.`number`.0/24, and gives the host its IPv6 subnet 1 and the lower
    /// half of its IPv4 prefix. `number` is at most 63: the lab has a cable for so many.
    pub const fn new(name: &'static str, number: u16) -> Self {
        Self {
            name,
            number,
            prefix: Ipv6Net::new_assert(Ipv6Addr::new(0x2001, 0xdb8, number, 0, 0, 0, 0, 0), 48),
            lan: Self::subnet(number, 1),
            prefix_ipv4: Ipv4Net::new_assert(Ipv4Addr::new(198, 18, number as u8, 0), 24),
            lan_ipv4: Ipv4Net::new_assert(Ipv4Addr::new(198, 18, number as u8, 0), 25),
        }
    }

    const fn subnet(number: u16, subnet: u16) -> Ipv6Net {
        Ipv6Net::new_assert(Ipv6Addr::new(0x2001, 0xdb8, number, subnet, 0, 0, 0, 0), 64)
    }

    /// The same provider, with another of its /64 on the host's link: what renumbering does.
    #[must_use]
    pub const fn renumbered(self, subnet: u16) -> Self {
        Self { lan: Self::subnet(self.number, subnet), ..self }
    }

    /// The address of its router on the host's link that the host has as next hop.
    pub const fn link_local(&self) -> Ipv6Addr {
        Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, self.number)
    }

    /// What `mif` calls its implicit PvD at the host's interface `link`.
    #[must_use]
    pub fn pvd(&self, link: &str) -> String {
        format!("{link}/{}", self.link_local())
    }

    /// The global address of its router on the host's link.
    pub fn router_address(&self) -> Ipv6Addr {
        const ROUTER: u128 = 1;
        (u128::from(self.lan.network()) | ROUTER).into()
    }

    /// The IPv4 address of its router on the host's link. Its last octet is the provider's number, so that two routers fit into
    /// one subnet.
    pub fn gateway_ipv4(&self) -> Ipv4Addr {
        (u32::from(self.lan_ipv4.network()) | u32::from(self.number)).into()
    }

    /// The address that its DHCP server gives to the host.
    pub fn host_ipv4(&self) -> Ipv4Addr {
        const HOST: u32 = 100;
        (u32::from(self.lan_ipv4.network()) | HOST).into()
    }

    /// Whether its router lets this source pass.
    pub fn owns(&self, source: impl Into<IpAddr>) -> bool {
        match source.into().to_canonical() {
            IpAddr::V4(source) => self.prefix_ipv4.contains(&source),
            IpAddr::V6(source) => self.prefix.contains(&source),
        }
    }

    /// What its router advertises when all is well: itself as default router, and its prefix for SLAAC.
    pub fn advertisement(&self) -> RouterAdvertisement {
        RouterAdvertisement {
            header: RaHeader { cur_hop_limit: 64, router_lifetime: ROUTER_LIFETIME, ..RaHeader::default() },
            options: vec![NdOption::PrefixInformation(PrefixInformation {
                prefix: self.lan,
                on_link: true,
                autonomous: true,
                router_address: false,
                valid_lifetime: VALID_LIFETIME,
                preferred_lifetime: PREFERRED_LIFETIME,
            })],
        }
    }
}
