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

/// Whether a host gets a default route by this: the last Route Information option for `::/0`, those in the PvD option
/// counting as later, or without one the Router Lifetime of the header that counts (RFC 4191 §3.1, RFC 8801 §3.4).
fn gives_default_route(advertisement: &RouterAdvertisement) -> bool {
    let pvd = advertisement.options.iter().find_map(|option| match option {
        NdOption::Pvd(pvd) => Some(pvd),
        _ => None,
    });
    let nested = pvd.map_or(&[][..], |pvd| &pvd.options);
    let mut by_option = advertisement.options.iter().chain(nested).filter_map(|option| match option {
        NdOption::RouteInformation(route) if route.prefix.prefix_len() == 0 => Some(route.route_lifetime),
        _ => None,
    });
    let header = pvd.and_then(|pvd| pvd.header).unwrap_or(advertisement.header);
    by_option.next_back().unwrap_or(header.router_lifetime.into()) != 0
}

/// The solicitations of hosts must not fall together, which wants no secret: the hasher that the standard library seeds
/// from the kernel does.
pub(super) fn random() -> u32 {
    use std::hash::{BuildHasher as _, RandomState};
    RandomState::new().hash_one(0u8) as u32
}

#[cfg(test)]
mod tests {
    use mif_core::wire::{PvdOption, RaHeader, RouteInformation, RouterPreference};

    use super::*;

    fn route(prefix: &str, route_lifetime: u32) -> NdOption {
        NdOption::RouteInformation(RouteInformation {
            prefix: prefix.parse().expect("a prefix"),
            preference: RouterPreference::Medium,
            route_lifetime,
        })
    }

    fn header(router_lifetime: u16) -> RaHeader {
        RaHeader { router_lifetime, ..RaHeader::default() }
    }

    fn pvd(header: Option<RaHeader>, options: Vec<NdOption>) -> NdOption {
        let id = "a.example".parse().expect("a name");
        NdOption::Pvd(PvdOption { id, http: false, legacy: false, delay: 0, sequence: 0, header, options })
    }

    /// RS-7559-2.1-a: which advertisements end the soliciting. As PvDs have it: RT-4191-3.1-b, PV-8801-3.4-b, -c.
    #[test]
    fn default_routes() {
        for (row, router_lifetime, options, expected) in [
            ("lifetime", 1800, vec![], true),
            ("no lifetime", 0, vec![], false),
            ("a route to elsewhere", 0, vec![route("2001:db8::/32", 600)], false),
            ("RT-4191-3.1-b", 0, vec![route("::/0", 600)], true),
            ("withdrawn by the option", 1800, vec![route("::/0", 0)], false),
            ("the later option counts", 1800, vec![route("::/0", 0), route("::/0", 600)], true),
            ("PV-8801-3.4-b", 0, vec![pvd(Some(header(1600)), vec![])], true),
            ("PV-8801-3.4-c", 6000, vec![pvd(Some(header(0)), vec![])], false),
            ("PvD without a header", 6000, vec![pvd(None, vec![])], true),
            ("option inside the PvD", 0, vec![pvd(None, vec![route("::/0", 600)])], true),
            (
                "the one inside counts",
                1800,
                vec![pvd(None, vec![route("::/0", 0)]), route("::/0", 60)],
                false,
            ),
        ] {
            let advertisement = RouterAdvertisement { header: header(router_lifetime), options };
            assert_eq!(gives_default_route(&advertisement), expected, "{row}");
        }
    }
}
