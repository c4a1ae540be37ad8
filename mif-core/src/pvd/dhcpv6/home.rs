//! Whose something by DHCPv6 is.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv6Addr,
};

use ipnet::Ipv6Net;

use super::super::{event::Address, key::PvdKey, learnt::Pvd, link::LinkState};
use crate::{family::Family, time::Time};

/// Which PvDs of a link have what.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(in super::super) struct Homes {
    /// What stands outside of containers.
    pub general: BTreeSet<PvdKey>,
    /// Each lease.
    pub leases: BTreeMap<Ipv6Net, BTreeSet<PvdKey>>,
}

impl Homes {
    pub fn is_empty(&self) -> bool {
        self.general.is_empty() && self.leases.is_empty()
    }

    /// RFC 8801 §3.4.1: what comes without leases, and beside them, is of every PvD whose routers ask for it; a lease is of the
    /// PvD that asks for leases and has a prefix around it. Failing that, of all implicit PvDs. Where no advertisement made a
    /// PvD, of the interface's own (RFC 7556 §2.2).
    pub fn of(link: &LinkState, now: Time) -> Self {
        let Some(given) = &link.dhcpv6 else { return Self::default() };
        let own = || BTreeSet::from([link.own_key()]);
        let or_own = |keys: BTreeSet<PvdKey>| if keys.is_empty() { own() } else { keys };
        let general = if given.general.is_empty() {
            BTreeSet::new()
        } else {
            let asking = keys(link, |_, pvd| pvd.asks_for_dhcpv6());
            or_own(if asking.is_empty() { keys(link, |key, _| key.is_implicit()) } else { asking })
        };
        let leases = given.leases.values().map(|lease| {
            let homes = match lease.address() {
                Some(address) => of_address(link, address),
                None => of_delegated(link, lease.prefix, now),
            };
            (lease.prefix, or_own(homes.into_iter().cloned().collect()))
        });
        Self { general, leases: leases.collect() }
    }

    /// Whether the interface's own PvD has any of it.
    pub fn include(&self, key: &PvdKey) -> bool {
        self.general.contains(key) || self.leases.values().any(|homes| homes.contains(key))
    }
}

/// Whether a router of the link asks for what comes without leases.
pub(super) fn is_asked_for(link: &LinkState) -> bool {
    link.pvds.values().any(Pvd::asks_for_dhcpv6)
}

fn keys(link: &LinkState, wanted: impl Fn(&PvdKey, &Pvd) -> bool) -> BTreeSet<PvdKey> {
    link.pvds.iter().filter(|(key, pvd)| wanted(key, pvd)).map(|(key, _)| key.clone()).collect()
}

/// Whether an address is a DHCPv6 lease: `mif`'s own, or that of another client, which sets it as a /128 (RFC 8415 §18.2.10.1).
pub(in super::super) fn is_leased(link: &LinkState, address: &Address) -> bool {
    Family::of(address.address) == Family::Ipv6
        && (!address.permanent && address.prefix_len == 128 || holds(link, address.address))
}

/// Whether `mif` has leased an address. One without an end looks to the kernel as if it was set by hand.
pub(in super::super) fn holds(link: &LinkState, address: Ipv6Addr) -> bool {
    link.dhcpv6.as_ref().is_some_and(|given| given.leases.contains_key(&Ipv6Net::from(address)))
}

/// The PvDs made by routers that have a leased address.
pub(in super::super) fn of_address(link: &LinkState, address: Ipv6Addr) -> Vec<&PvdKey> {
    let claimants: Vec<&PvdKey> =
        link.claims.longest(address).into_iter().flat_map(|(_, keys)| keys).collect();
    of_claimants(link, claimants)
}

/// The PvDs made by routers that have a delegated prefix.
fn of_delegated(link: &LinkState, prefix: Ipv6Net, now: Time) -> Vec<&PvdKey> {
    let claims = |pvd: &Pvd| {
        let mut around = pvd.prefixes.iter().filter(|((announced, _), _)| announced.contains(&prefix));
        around.any(|(_, record)| record.claims(now))
    };
    of_claimants(link, link.pvds.iter().filter(|(_, pvd)| claims(pvd)).map(|(key, _)| key).collect())
}

/// Of the PvDs with a prefix around a lease those that ask for leases; else implicit ones, of which those with the prefix know
/// its router; else all. Without any, explicit ones that asked for leases: it is theirs rather than nobody's.
fn of_claimants<'a>(link: &'a LinkState, claimants: Vec<&'a PvdKey>) -> Vec<&'a PvdKey> {
    let managed = |key: &PvdKey| link.pvds.get(key).is_some_and(Pvd::is_managed);
    let all = || link.pvds.keys();
    let first = |keys: Vec<&'a PvdKey>| (!keys.is_empty()).then_some(keys);
    first(claimants.iter().copied().filter(|key| managed(key)).collect())
        .or_else(|| first(claimants.iter().copied().filter(|key| key.is_implicit()).collect()))
        .or_else(|| first(all().filter(|key| key.is_implicit()).collect()))
        .or_else(|| first(claimants))
        .unwrap_or_else(|| all().filter(|key| key.is_explicit() && managed(key)).collect())
}
