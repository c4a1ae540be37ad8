//! A thousand PvDs as networks announce them: routers on links, each with a prefix and more specific routes.

use std::net::Ipv6Addr;

use anyhow::Result;
use ipnet::Ipv6Net;
use mif_core::wire::{
    NdOption, PrefixInformation, RaHeader, RouteInformation, RouterAdvertisement, RouterPreference,
};

/// Links. With [`mif_core::pvd::Limits`] as they are a link has at most 32 routers.
pub const LINKS: u32 = 32;

/// More specific routes that a router announces; with its default route and its prefix, ten routes.
const ROUTES: u16 = 8;

/// Places for PvDs: three in four are for networks.
pub const PLACES: u32 = 2048;

/// One of the routers.
#[derive(Clone, Copy, Debug)]
pub struct Router(pub u16);

impl Router {
    /// The first `count` of them.
    pub fn first(count: u16) -> impl Iterator<Item = Self> {
        (0..count).map(Self)
    }

    /// The number of its link.
    pub fn link(self) -> u32 {
        u32::from(self.0) % LINKS
    }

    /// Its address on the link.
    pub fn address(self) -> Ipv6Addr {
        Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0x6d, self.0 + 1)
    }

    /// Its prefix.
    pub fn prefix(self) -> Ipv6Net {
        Ipv6Net::new_assert(Ipv6Addr::new(0x2001, 0xdb8, self.0, 0, 0, 0, 0, 0), 64)
    }

    /// The address that the host has of it.
    pub fn host(self) -> Ipv6Addr {
        Ipv6Addr::from_bits(self.prefix().network().to_bits() | 2)
    }

    /// What it says. One of its routes is another one in each version.
    pub fn says(self, version: u16) -> RouterAdvertisement {
        const DAY: u32 = 86_400;
        let prefix = PrefixInformation {
            prefix: self.prefix(),
            on_link: true,
            autonomous: true,
            router_address: false,
            valid_lifetime: 30 * DAY,
            preferred_lifetime: 7 * DAY,
        };
        let route = |place: u16| {
            // The first one has the version in it.
            let place = if place == 0 { ROUTES + version } else { place };
            let network = Ipv6Addr::new(0x2400, self.0, place, 0, 0, 0, 0, 0);
            let prefix = Ipv6Net::new_assert(network, 48);
            let preference = RouterPreference::Medium;
            NdOption::RouteInformation(RouteInformation { prefix, preference, route_lifetime: 7 * DAY })
        };
        // The longest lifetime of a default router (RFC 8319 §4).
        let header = RaHeader { cur_hop_limit: 64, router_lifetime: u16::MAX, ..RaHeader::default() };
        let options = [NdOption::PrefixInformation(prefix)].into_iter().chain((0..ROUTES).map(route));
        RouterAdvertisement { header, options: options.collect() }
    }

    /// The message.
    pub fn message(self, version: u16) -> Result<Vec<u8>> {
        Ok(self.says(version).emit()?)
    }
}
