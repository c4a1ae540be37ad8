//! Whose an address is, and who carries it.
//!
//! Routers say which prefixes they account for, the kernel says which addresses exist. Who owns an address follows
//! from the two whenever it is asked for; the order of advertisements leaves no trace, so alternating advertisements
//! of two routers with one prefix cannot make an address flap.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    net::Ipv6Addr,
};

use ipnet::Ipv6Net;

use super::{
    dhcpv6::{self, Share},
    event::Address,
    key::PvdKey,
    learnt::Pvd,
    link::LinkState,
    prefix::Prefix,
    routes::{DEFAULT_ROUTE, RouteId, is_candidate},
};
use crate::{family::Family, select::world::NextHop, time::Time, wire::RouterPreference};

/// Which PvDs of an interface account for which prefixes.
#[derive(Debug, Default)]
pub(super) struct Claims {
    /// By prefix length, the longest first.
    lengths: BTreeMap<Reverse<u8>, BTreeMap<Ipv6Net, BTreeSet<PvdKey>>>,
}

impl Claims {
    pub fn of(pvds: &BTreeMap<PvdKey, Pvd>, now: Time) -> Self {
        let mut lengths: BTreeMap<_, BTreeMap<_, BTreeSet<_>>> = BTreeMap::new();
        for (key, pvd) in pvds {
            for ((prefix, _), _) in pvd.prefixes.iter().filter(|(_, record)| record.claims(now)) {
                let prefixes = lengths.entry(Reverse(prefix.prefix_len())).or_default();
                prefixes.entry(*prefix).or_default().insert(key.clone());
            }
        }
        Self { lengths }
    }

    /// The longest prefix that covers the address, and the PvDs that account for it. Longest, because an address is
    /// made from one prefix: a shorter one around it, perhaps of another router, says less.
    pub fn longest(&self, address: Ipv6Addr) -> Option<(Ipv6Net, &BTreeSet<PvdKey>)> {
        self.lengths.iter().find_map(|(Reverse(length), prefixes)| {
            let prefix = Ipv6Net::new(address, *length).ok()?.trunc();
            Some((prefix, prefixes.get(&prefix)?))
        })
    }
}

/// The PvDs made by routers that own an address.
fn network_owners<'a>(link: &'a LinkState, address: &Address) -> Vec<&'a PvdKey> {
    if !dhcpv6::is_leased(link, address) {
        if let Some((_, keys)) = link.claims.longest(address.address) {
            return keys.iter().collect();
        }
        if address.permanent {
            return Vec::new();
        }
    }
    // Of no announced prefix it looks like a lease.
    dhcpv6::of_address(link, address.address)
}

/// Whether the administrator has set an address. A lease without an end looks so to the kernel, too.
pub(super) fn is_by_hand(link: &LinkState, address: &Address) -> bool {
    address.permanent && !dhcpv6::holds(link, address.address)
}

/// Whether an address can be a source on this interface.
pub(super) fn is_source(link: &LinkState, address: &Address, now: Time) -> bool {
    !link.link.loopback && is_candidate(&address.address) && !address.valid_until.passed(now)
}

/// Whether an address belongs (also) to the interface's own PvD: nobody else accounts for it, or it was set by hand
/// and the administrator has routes there.
pub(super) fn is_own(link: &LinkState, address: &Address, now: Time) -> bool {
    is_source(link, address, now)
        && Family::of(address.address) == Family::Ipv6
        && ((is_by_hand(link, address) && !link.sorted.administrator.is_empty())
            || network_owners(link, address).is_empty())
}

/// The PvDs that own an address, in the order of their keys.
pub(super) fn owners<'a>(link: &'a LinkState, address: &Address, now: Time) -> Vec<&'a PvdKey> {
    if !is_source(link, address, now) {
        return Vec::new();
    }
    if Family::of(address.address) == Family::Ipv4 {
        let home = link.ipv4.as_ref().and_then(|home| link.pvds.get_key_value(home));
        return home.map(|(key, _)| key).into_iter().collect();
    }
    let own = is_own(link, address, now).then(|| link.pvds.get_key_value(&link.own_key())).flatten();
    own.map(|(key, _)| key).into_iter().chain(network_owners(link, address)).collect()
}

/// How fit a PvD is to carry packets; the greater the better.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Standing {
    /// One of its routers is not known to be dead.
    pub reachable: bool,
    /// By way of that router it has a default route.
    pub default_route: bool,
    /// The administrator made that route.
    pub administrator: bool,
    /// That router's preference.
    pub preference: RouterPreference,
}

impl Standing {
    /// Of the PvD's routers, the best.
    pub fn of<'a>(link: &'a LinkState, key: &PvdKey, pvd: &Pvd, now: Time) -> Self {
        let at = |router: &Ipv6Addr, preference: Option<RouterPreference>| Self {
            reachable: link.is_reachable(router),
            default_route: preference.is_some(),
            administrator: false,
            preference: preference.unwrap_or_default(),
        };
        let nothing = Self {
            reachable: true,
            default_route: false,
            administrator: false,
            preference: RouterPreference::default(),
        };
        let defaults = |ids: &'a BTreeSet<RouteId>| {
            ids.iter()
                .take_while(|id| id.prefix == DEFAULT_ROUTE)
                .filter(|id| !id.refuses)
                .filter_map(|id| Some(&link.routes.get(id)?.0))
        };
        let share = Share::of(link, key);
        let by_dhcpv6 =
            share.options.iter().flat_map(|options| &options.routes).filter_map(|(route, said)| {
                let (DEFAULT_ROUTE, NextHop::Router(router)) = route else { return None };
                (!said.valid_until.passed(now)).then(|| at(router, Some(said.preference)))
            });
        match key {
            PvdKey::Interface { .. } => defaults(&link.sorted.administrator)
                .map(|route| Self {
                    reachable: route.gateway.is_none_or(|gateway| link.is_reachable(&gateway)),
                    default_route: true,
                    administrator: true,
                    preference: route.preference,
                })
                .chain(by_dhcpv6)
                .max()
                .unwrap_or(nothing),
            PvdKey::Implicit { router, .. } if pvd.is_silent() => {
                let ids = link.sorted.learnt.get(router);
                let known = at(router, ids.and_then(|ids| defaults(ids).map(|route| route.preference).max()));
                by_dhcpv6.chain([known]).max().unwrap_or(nothing)
            }
            _ => pvd
                .routers
                .keys()
                .map(|router| {
                    let route = pvd.routes.get(&(DEFAULT_ROUTE, *router));
                    let live = route.filter(|route| !route.valid_until.passed(now));
                    at(router, live.map(|route| route.preference))
                })
                .chain(by_dhcpv6)
                .max()
                .unwrap_or(nothing),
        }
    }
}

/// Of the owners of an address the one that carries it: a reachable router first, then one with a default route, then
/// one that has not withdrawn the prefix, then the administrator's, then the preferred router, then the lowest key.
pub(super) fn carrier<'a>(
    link: &LinkState,
    owners: &[&'a PvdKey],
    standings: &BTreeMap<&PvdKey, Standing>,
    address: &Address,
    now: Time,
) -> Option<&'a PvdKey> {
    let fitness = |key: &PvdKey| {
        let standing = standings.get(key)?;
        let kept = link.pvds.get(key).is_none_or(|pvd| keeps(link, pvd, address, now));
        let Standing { reachable, default_route, administrator, preference } = *standing;
        Some((reachable, default_route, kept, administrator, preference))
    };
    owners.iter().copied().max_by_key(|key| (fitness(key), Reverse(*key)))
}

/// Whether the PvD's routers still want an address to be used: false once all that announced its prefix set the
/// preferred lifetime to zero.
pub(super) fn keeps(link: &LinkState, pvd: &Pvd, address: &Address, now: Time) -> bool {
    let Some((prefix, _)) = link.claims.longest(address.address) else { return true };
    let autoconfigured = !address.permanent && address.prefix_len == prefix.prefix_len();
    let mut records =
        pvd.records_of(prefix).filter(|record| record.autonomous && record.claims(now)).peekable();
    !autoconfigured || records.peek().is_none() || records.any(|record: &Prefix| record.is_preferred(now))
}

#[cfg(test)]
mod tests;
