//! A Router Advertisement, applied to the PvD that it belongs to (RFC 4861 §6.3.4, RFC 4191 §3.1, RFC 8801 §3.4).

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv6Addr,
};

use ipnet::Ipv6Net;

use super::{
    change::What,
    event::Address,
    fact::{Admission, Effect},
    key::{PvdKey, PvdName},
    learnt::{Changes, EncryptedResolver, LearntRoute, Pvd, PvdFlags, Router},
    limits::{
        DNS_SERVERS_PER_PVD, ENCRYPTED_DNS_PER_PVD, PREF64_PER_PVD, PREFIXES_PER_PVD, ROUTES_PER_PVD,
        Refused, RefusedReason, SEARCH_NAMES_PER_PVD,
    },
    prefix::Prefix,
    routes::{DEFAULT_ROUTE, is_unannounceable},
};
use crate::{
    family::IPV4,
    time::{Deadline, Time},
    wire::{NdOption, PrefixInformation, PvdOption, RaHeader, RouterAdvertisement, RouterPreference},
};

/// The least MTU of IPv6 (RFC 8200 §5); less in an MTU option is ignored (RFC 4861 §6.3.4).
const LEAST_MTU: u32 = 1280;

const DNS_SERVERS: Admission =
    Admission { room: DNS_SERVERS_PER_PVD, reason: RefusedReason::DnsServers, newest_first: true };
const SEARCH_NAMES: Admission =
    Admission { room: SEARCH_NAMES_PER_PVD, reason: RefusedReason::SearchNames, newest_first: true };
const PREF64: Admission =
    Admission { room: PREF64_PER_PVD, reason: RefusedReason::Pref64, newest_first: false };
const ENCRYPTED_DNS: Admission =
    Admission { room: ENCRYPTED_DNS_PER_PVD, reason: RefusedReason::EncryptedDns, newest_first: false };

/// An advertisement as a PvD-aware host reads it: the first PvD option names the PvD and its inner header replaces the
/// outer one; other PvD options do not exist (RFC 8801 §3.4).
#[derive(Clone, Copy, Debug)]
pub(super) struct Heard<'a> {
    pub router: Ipv6Addr,
    header: &'a RaHeader,
    outer: &'a [NdOption],
    pvd: Option<&'a PvdOption>,
}

impl<'a> Heard<'a> {
    pub fn new(router: Ipv6Addr, advertisement: &'a RouterAdvertisement) -> Self {
        let pvd = advertisement.options.iter().find_map(|option| match option {
            NdOption::Pvd(pvd) => Some(pvd),
            _ => None,
        });
        let header = pvd.and_then(|pvd| pvd.header.as_ref()).unwrap_or(&advertisement.header);
        Self { router, header, outer: &advertisement.options, pvd }
    }

    /// The PvD that all of it belongs to.
    pub fn key(&self, ifindex: u32) -> PvdKey {
        match self.pvd {
            Some(pvd) => PvdKey::Explicit { ifindex, name: PvdName::from(&pvd.id) },
            None => PvdKey::Implicit { ifindex, router: self.router },
        }
    }

    /// The options, nested ones behind outer ones, so that they win where only one can.
    fn options(&self) -> impl Iterator<Item = &'a NdOption> + use<'a> {
        self.outer.iter().chain(self.pvd.into_iter().flat_map(|pvd| &pvd.options))
    }

    /// The prefixes that count.
    fn prefixes(&self) -> impl Iterator<Item = PrefixInformation> + use<'a> {
        self.options().filter_map(|option| match option {
            NdOption::PrefixInformation(option) if !is_unannounceable(option.prefix) => {
                Some(PrefixInformation { prefix: option.prefix.trunc(), ..*option })
            }
            _ => None,
        })
    }

    /// The prefixes of which the router says something about addresses.
    pub fn claimed_prefixes(&self) -> BTreeSet<Ipv6Net> {
        self.prefixes()
            .filter(|option| option.preferred_lifetime <= option.valid_lifetime)
            .map(|option| option.prefix)
            .collect()
    }

    /// Preference and lifetime (seconds, 0 removes) of the routes. The header comes first, so that an option for
    /// `::/0` overrides it, and of two options for one prefix the later counts (RFC 4191 §3.1).
    fn routes(&self) -> BTreeMap<Ipv6Net, (RouterPreference, u32)> {
        let header = (self.header.preference, u32::from(self.header.router_lifetime));
        let options = self.options().filter_map(|option| match option {
            NdOption::RouteInformation(route) if !IPV4.contains(&route.prefix) => {
                Some((route.prefix.trunc(), (route.preference, route.route_lifetime)))
            }
            _ => None,
        });
        std::iter::once((DEFAULT_ROUTE, header)).chain(options).collect()
    }
}

/// What else there is to know when an advertisement comes in.
#[derive(Debug)]
pub(super) struct Circumstances<'a> {
    pub now: Time,
    /// MTU of the link, octets; 0 where it is not known yet.
    pub link_mtu: u32,
    /// The interface's addresses.
    pub addresses: &'a BTreeMap<Ipv6Addr, (Address, u64)>,
    /// What the router said about prefixes until now, of another PvD.
    pub moved: BTreeMap<Ipv6Net, Prefix>,
    pub refused: &'a mut Refused,
}

impl Pvd {
    /// Applies an advertisement. What it does not mention stays as it is (RFC 4861 §6.2.3: routers may send different
    /// subsets each time).
    pub fn hear(&mut self, heard: &Heard<'_>, mut circumstances: Circumstances<'_>) -> BTreeSet<What> {
        let mut changes = Changes::default();
        let end = self.last_deadline();
        self.hear_router(heard, &circumstances, &mut changes);
        for option in heard.prefixes() {
            self.hear_prefix(heard.router, &option, &mut circumstances, &mut changes);
        }
        self.hear_routes(heard, &mut circumstances, &mut changes);
        self.hear_resolution(heard, &mut circumstances, &mut changes);
        changes.note_if(self.forget_silent_routers(), What::Routers);
        changes.note_if(self.last_deadline() != end, What::Lifetimes);
        changes.0
    }

    fn hear_router(&mut self, heard: &Heard<'_>, circumstances: &Circumstances<'_>, changes: &mut Changes) {
        let now = circumstances.now;
        let lifetime = heard.header.router_lifetime;
        let known = self.routers.get(&heard.router);
        let before = known.cloned().unwrap_or_default();
        changes.note_if(known.is_none(), What::Routers);
        let mut router = Router {
            default_until: (lifetime != 0).then(|| Deadline::from_lifetime(lifetime.into(), now)),
            preference: heard.header.preference,
            managed: heard.header.managed,
            other_config: heard.header.other_config,
            pvd: heard.pvd.map(|pvd| PvdFlags {
                http: pvd.http,
                legacy: pvd.legacy,
                delay: pvd.delay,
                sequence: pvd.sequence,
            }),
            ..before.clone()
        };
        for option in heard.options() {
            match option {
                NdOption::Mtu(mtu)
                    if *mtu >= LEAST_MTU
                        && (circumstances.link_mtu == 0 || *mtu <= circumstances.link_mtu) =>
                {
                    router.mtu = Some(*mtu);
                }
                NdOption::CaptivePortal(uri) => router.captive_portal = Some(uri.clone()),
                _ => {}
            }
        }
        changes.note_if(router.default_until.is_some() != before.default_until.is_some(), What::Routers);
        changes.note_if(router.default_until != before.default_until, What::Lifetimes);
        changes.note_if(
            (router.managed, router.other_config, router.pvd)
                != (before.managed, before.other_config, before.pvd),
            What::Flags,
        );
        changes.note_if(router.mtu != before.mtu, What::Mtu);
        changes.note_if(router.captive_portal != before.captive_portal, What::CaptivePortal);
        self.routers.insert(heard.router, router);
    }

    fn hear_prefix(
        &mut self,
        router: Ipv6Addr,
        option: &PrefixInformation,
        circumstances: &mut Circumstances<'_>,
        changes: &mut Changes,
    ) {
        let now = circumstances.now;
        if option.autonomous && option.preferred_lifetime > option.valid_lifetime {
            circumstances.refused.count(RefusedReason::PreferredOverValid);
        }
        let key = (option.prefix, router);
        let here = self.prefixes.get(&key).copied();
        let moved = circumstances.moved.remove(&option.prefix);
        if moved.is_some() {
            changes.note(Effect::Changed, What::Prefixes);
        }
        if here.is_none() && self.prefixes.len() >= PREFIXES_PER_PVD {
            circumstances.refused.count(RefusedReason::Prefixes);
            return;
        }
        let assigned = assigned_until(circumstances.addresses, option.prefix);
        match (here, Prefix::after(here.or(moved), assigned, option, now)) {
            (None, None) => {}
            (None, Some(after)) => {
                self.prefixes.insert(key, after);
                changes.note(Effect::Changed, What::Prefixes);
            }
            (Some(_), None) => {
                self.prefixes.remove(&key);
                changes.note(Effect::Changed, What::Prefixes);
            }
            (Some(before), Some(after)) => {
                self.prefixes.insert(key, after);
                changes.note(after.effect(&before, now), What::Prefixes);
            }
        }
    }

    fn hear_routes(
        &mut self,
        heard: &Heard<'_>,
        circumstances: &mut Circumstances<'_>,
        changes: &mut Changes,
    ) {
        for (prefix, (preference, lifetime)) in heard.routes() {
            let key = (prefix, heard.router);
            if lifetime == 0 {
                changes.note_if(self.routes.remove(&key).is_some(), What::Routes);
                continue;
            }
            let known = self.routes.get(&key).copied();
            // The default route always has a place: it is one a router, and routers are capped.
            if known.is_none() && prefix != DEFAULT_ROUTE && self.routes.len() >= ROUTES_PER_PVD {
                circumstances.refused.count(RefusedReason::Routes);
                continue;
            }
            let route =
                LearntRoute { preference, valid_until: Deadline::from_lifetime(lifetime, circumstances.now) };
            changes.note_if(known.map(|known| known.preference) != Some(preference), What::Routes);
            changes
                .note_if(known.is_some_and(|known| known.valid_until != route.valid_until), What::Lifetimes);
            self.routes.insert(key, route);
        }
    }

    fn hear_resolution(
        &mut self,
        heard: &Heard<'_>,
        circumstances: &mut Circumstances<'_>,
        changes: &mut Changes,
    ) {
        let (mut servers, mut names, mut pref64, mut encrypted) = (vec![], vec![], vec![], vec![]);
        for option in heard.options() {
            match option {
                NdOption::RecursiveDnsServers(option) => {
                    servers.extend(option.servers.iter().map(|server| (*server, option.lifetime)));
                }
                NdOption::DnsSearchList(option) => {
                    names.extend(option.suffixes.iter().map(|suffix| (suffix.clone(), option.lifetime)));
                }
                NdOption::Pref64(option) => pref64.push((option.prefix.trunc(), u32::from(option.lifetime))),
                NdOption::EncryptedDns(option) => {
                    encrypted.push((EncryptedResolver::from(option), option.lifetime));
                }
                _ => {}
            }
        }
        let (router, now, refused) = (heard.router, circumstances.now, &mut *circumstances.refused);
        changes.note(self.dns_servers.announce(router, servers, DNS_SERVERS, now, refused), What::DnsServers);
        changes.note(self.search_list.announce(router, names, SEARCH_NAMES, now, refused), What::SearchList);
        changes.note(self.pref64.announce(router, pref64, PREF64, now, refused), What::Pref64);
        changes.note(
            self.encrypted_dns.announce(router, encrypted, ENCRYPTED_DNS, now, refused),
            What::EncryptedDns,
        );
    }
}

/// The last end of the autoconfigured addresses of a prefix.
fn assigned_until(addresses: &BTreeMap<Ipv6Addr, (Address, u64)>, prefix: Ipv6Net) -> Option<Deadline> {
    addresses
        .range(prefix.network()..=prefix.broadcast())
        .map(|(_, (address, _))| address)
        .filter(|address| !address.permanent && address.prefix_len == prefix.prefix_len())
        .map(|address| address.valid_until)
        .max()
}

#[cfg(test)]
mod tests;
