//! Whose the IPv4 of an interface is.
//!
//! DHCPv4 and static configuration name no provisioning domain, and the kernel does not say which router a lease came from. So
//! the IPv4 addresses and routes of an interface are one PvD of their own, unless somebody says that they belong to an IPv6
//! PvD of the interface: an explicit PvD by its L flag (RFC 8801 §3.4.2), if it is the only one, or the administrator
//! (`ipv4 = "merge"`), if there is only one to merge with.

use super::{
    change::{Journal, What},
    key::PvdKey,
    learnt::Pvd,
    link::LinkState,
    ownership,
    set::PvdSet,
};
use crate::{family::IPV4, time::Time};

/// The PvD that the interface's IPv4 belongs to, if it had any.
pub(super) fn home(link: &LinkState) -> PvdKey {
    let ifindex = link.link.ifindex;
    if link.link.loopback {
        return link.own_key();
    }
    let only = |wanted: &dyn Fn(&PvdKey, &Pvd) -> bool| {
        let mut found = link.pvds.iter().filter(|(key, pvd)| wanted(key, pvd)).map(|(key, _)| key);
        found.next().filter(|_| found.next().is_none()).cloned()
    };
    let named = only(&|key, pvd| key.is_explicit() && asks_for_ipv4(pvd));
    let merged = || {
        let ipv6 = only(&|key, _| !matches!(key, PvdKey::Ipv4 { .. }));
        link.merge_ipv4.then_some(ipv6).flatten()
    };
    named.or_else(merged).unwrap_or(PvdKey::Ipv4 { ifindex })
}

/// RFC 8801 §3.1, the L flag.
fn asks_for_ipv4(pvd: &Pvd) -> bool {
    pvd.routers.values().any(|router| router.pvd.is_some_and(|flags| flags.legacy))
}

/// Whether the interface has an IPv4 address that can be a source, or a route.
fn is_present(link: &LinkState, now: Time) -> bool {
    let mut addresses =
        link.addresses.range(IPV4.network()..=IPV4.broadcast()).map(|(_, (address, _))| address);
    !link.sorted.ipv4.is_empty() || addresses.any(|address| ownership::is_source(link, address, now))
}

impl PvdSet {
    /// The interfaces whose IPv4 the administrator counts to their IPv6 PvD, by name. To be said before anything happens.
    pub fn merge_ipv4(&mut self, interfaces: impl IntoIterator<Item = String>) {
        self.merge_ipv4 = interfaces.into_iter().collect();
    }

    /// The interface's IPv4 belongs to one PvD, which exists as long as there is something to belong.
    pub(super) fn settle_ipv4(&mut self, ifindex: u32, now: Time, journal: &mut Journal) {
        let Some(link) = self.links.get_mut(&ifindex) else { return };
        link.merge_ipv4 = self.merge_ipv4.contains(&link.link.name);
        let home = is_present(link, now).then(|| home(link));
        let own = PvdKey::Ipv4 { ifindex };
        let (wanted, exists) = (home.as_ref() == Some(&own), link.pvds.contains_key(&own));
        let before = std::mem::replace(&mut link.ipv4, home.clone());
        match (wanted, exists) {
            (true, false) => {
                self.place(own, Pvd::default(), now, journal);
            }
            (false, true) => self.remove_pvd(&own, journal),
            _ => {}
        }
        if before != home {
            for key in before.iter().chain(&home) {
                self.touch(key, [What::Sources, What::Routes], journal);
            }
        }
    }

    /// Notes a change of the PvD that the interface's IPv4 belongs to.
    pub(super) fn touch_ipv4(&self, ifindex: u32, what: What, journal: &mut Journal) {
        if let Some(key) = self.links.get(&ifindex).and_then(|link| link.ipv4.as_ref()) {
            self.touch(key, [what], journal);
        }
    }
}

#[cfg(test)]
mod tests;
