//! Router Solicitations: a [`Solicitor`] for each interface of ours that is up.

use std::collections::{BTreeMap, BTreeSet};

use mif_core::{
    pvd::event::Link,
    solicit::Solicitor,
    time::Time,
    wire::{NdOption, RouterAdvertisement},
};

/// The solicitors.
#[derive(Debug, Default)]
pub struct Soliciting {
    up: BTreeMap<u32, Solicitor>,
    with_default: BTreeSet<u32>,
}

impl Soliciting {
    /// An interface of ours is as `link` says now.
    pub fn link(&mut self, link: &Link, now: Time) {
        if !link.up || link.loopback {
            self.gone(link.ifindex);
        } else {
            self.up.entry(link.ifindex).or_insert_with(|| {
                let mut solicitor = Solicitor::new(MULTICAST);
                solicitor.on_link_up(now, random());
                solicitor
            });
        }
    }

    /// An interface is gone.
    pub fn gone(&mut self, ifindex: u32) {
        self.up.remove(&ifindex);
        self.with_default.remove(&ifindex);
    }

    /// A valid advertisement came.
    pub fn heard(&mut self, ifindex: u32, advertisement: &RouterAdvertisement) {
        if let Some(solicitor) = self.up.get_mut(&ifindex) {
            solicitor.on_router_advertisement(gives_default_route(advertisement));
        }
    }

    /// These interfaces have a default router now; those that lost theirs solicit again.
    pub fn default_routers(&mut self, interfaces: BTreeSet<u32>, now: Time) {
        for lost in self.with_default.difference(&interfaces) {
            if let Some(solicitor) = self.up.get_mut(lost) {
                solicitor.on_no_default_router(now, random());
            }
        }
        self.with_default = interfaces;
    }

    /// The next time that something is to be sent.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Time> {
        self.up.values().filter_map(Solicitor::next_deadline).min()
    }

    /// The interfaces to solicit on now.
    pub fn due(&mut self, now: Time) -> Vec<u32> {
        self.up
            .iter_mut()
            .filter_map(|(ifindex, solicitor)| solicitor.poll(now, random()).then_some(*ifindex))
            .collect()
    }
}

/// Ethernet, and the tunnels that carry multicast. An interface without multicast gets no advertisement from us.
const MULTICAST: bool = true;

/// Whether a host gets a default route by this: the effective header's lifetime (RFC 8801 §3.4), or a Route Information
/// option for `::/0` (RFC 4191 §3.1).
fn gives_default_route(advertisement: &RouterAdvertisement) -> bool {
    let is_default = |option: &NdOption| matches!(option, NdOption::RouteInformation(route) if route.prefix.prefix_len() == 0 && route.route_lifetime != 0);
    let pvd = advertisement.options.iter().find_map(|option| match option {
        NdOption::Pvd(pvd) => Some(pvd),
        _ => None,
    });
    let header = pvd.and_then(|pvd| pvd.header).unwrap_or(advertisement.header);
    let nested = pvd.map_or(&[][..], |pvd| &pvd.options);
    header.router_lifetime != 0 || advertisement.options.iter().chain(nested).any(is_default)
}

/// The solicitations of hosts must not fall together, which wants no secret: the hasher that the standard library seeds
/// from the kernel does.
fn random() -> u32 {
    use std::hash::{BuildHasher as _, RandomState};
    RandomState::new().hash_one(0u8) as u32
}
