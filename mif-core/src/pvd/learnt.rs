//! What routers said about one PvD.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv6Addr,
};

use ipnet::Ipv6Net;
use mif_common::abi::{NO_PVD, PvdIndex};
use serde::{Deserialize, Serialize};

use super::{
    change::What,
    fact::{Effect, Facts},
    prefix::Prefix,
};
use crate::{
    time::{Deadline, Time},
    wire::{DomainName, EncryptedDns, EncryptedDnsEndpoint, RouterPreference, dhcpv6},
};

/// What one router of a PvD said about itself. It is kept as long as anything that it said holds.
#[derive(Clone, Debug, Default, Eq, PartialEq, Deserialize, Serialize)]
pub struct Router {
    /// End of the Router Lifetime; `None` where the header does not offer a default route (RFC 4861 §6.3.4). A Route
    /// Information Option for `::/0` may still (RFC 4191 §3.1).
    pub default_until: Option<Deadline>,
    /// Prf of the header (RFC 4191 §2.2).
    pub preference: RouterPreference,
    /// M: addresses by DHCPv6.
    pub managed: bool,
    /// O, redundant with M: other information by DHCPv6.
    pub other_config: bool,
    /// The MTU, octets, from 1280 to that of the link. Without a lifetime of its own.
    pub mtu: Option<u32>,
    /// The URI of the captive portal's API (RFC 8910 §2.3). Without a lifetime of its own.
    pub captive_portal: Option<String>,
    /// What the PvD option said, for explicit PvDs.
    pub pvd: Option<PvdFlags>,
}

/// The PvD option's own words (RFC 8801 §3.1), kept for each router because routers may disagree on the sequence.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct PvdFlags {
    /// H: additional information may be fetched.
    pub http: bool,
    /// L: the interface's DHCPv4 belongs here.
    pub legacy: bool,
    /// 0..=15, meaningful with H.
    pub delay: u8,
    /// Meaningful with H.
    pub sequence: u16,
}

/// An encrypted resolver (RFC 9463 §6.1) without its lifetime, which is the fact's.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct EncryptedResolver {
    /// The lower the better.
    pub service_priority: u16,
    /// The name to check the certificate against.
    pub authentication_domain_name: DomainName,
    /// `None` in ADN-only mode.
    pub endpoint: Option<EncryptedDnsEndpoint>,
}

impl From<&EncryptedDns> for EncryptedResolver {
    fn from(option: &EncryptedDns) -> Self {
        Self {
            service_priority: option.service_priority,
            authentication_domain_name: option.authentication_domain_name.clone(),
            endpoint: option.endpoint.clone(),
        }
    }
}

impl From<&dhcpv6::EncryptedResolver> for EncryptedResolver {
    fn from(option: &dhcpv6::EncryptedResolver) -> Self {
        Self {
            service_priority: option.service_priority,
            authentication_domain_name: option.authentication_domain_name.clone(),
            endpoint: option.endpoint.clone(),
        }
    }
}

/// A route by way of a router, from its header or a Route Information Option.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct LearntRoute {
    pub preference: RouterPreference,
    pub valid_until: Deadline,
}

/// The facts of a PvD that routers announced; none for PvDs of the administrator and for provisional ones.
#[derive(Clone, Debug, Default)]
pub(super) struct Pvd {
    /// Its number, [`NO_PVD`] until it has one.
    pub index: PvdIndex,
    pub routers: BTreeMap<Ipv6Addr, Router>,
    /// By prefix and router.
    pub prefixes: BTreeMap<(Ipv6Net, Ipv6Addr), Prefix>,
    /// By destination and router.
    pub routes: BTreeMap<(Ipv6Net, Ipv6Addr), LearntRoute>,
    pub dns_servers: Facts<Ipv6Addr>,
    pub search_list: Facts<DomainName>,
    pub pref64: Facts<Ipv6Net>,
    pub encrypted_dns: Facts<EncryptedResolver>,
}

impl Pvd {
    pub fn new(index: PvdIndex) -> Self {
        Self { index, ..Self::default() }
    }

    /// Whether the set holds it.
    pub fn is_placed(&self) -> bool {
        self.index != NO_PVD
    }

    /// Whether no router says anything.
    pub fn is_silent(&self) -> bool {
        self.routers.is_empty()
    }

    /// A router asks hosts to get addresses by DHCPv6.
    pub fn is_managed(&self) -> bool {
        self.routers.values().any(|router| router.managed)
    }

    /// A router asks hosts to get other information by DHCPv6, or addresses and so that information too (RFC 4861 §4.2).
    pub fn asks_for_dhcpv6(&self) -> bool {
        self.routers.values().any(|router| router.managed || router.other_config)
    }

    /// Whether a route of this PvD leads to `prefix` by way of `gateway`, or on the link itself without one.
    pub fn announces(&self, prefix: Ipv6Net, gateway: Option<Ipv6Addr>, now: Time) -> bool {
        match gateway {
            Some(router) => self.routes.contains_key(&(prefix, router)),
            None => self.records_of(prefix).any(|record| record.is_on_link(now)),
        }
    }

    /// What routers said about exactly this prefix.
    pub fn records_of(&self, prefix: Ipv6Net) -> impl Iterator<Item = &Prefix> {
        let all = (prefix, Ipv6Addr::UNSPECIFIED)..=(prefix, Ipv6Addr::from_bits(u128::MAX));
        self.prefixes.range(all).map(|(_, record)| record)
    }

    /// Takes out what `router` said about any of `prefixes`: it says so of another PvD now (RFC 8801 §3.4).
    pub fn give_up(&mut self, router: Ipv6Addr, prefixes: &BTreeSet<Ipv6Net>) -> BTreeMap<Ipv6Net, Prefix> {
        let moved: Vec<_> = self
            .prefixes
            .keys()
            .filter(|key| key.1 == router && prefixes.contains(&key.0))
            .copied()
            .collect();
        moved.into_iter().filter_map(|key| Some((key.0, self.prefixes.remove(&key)?))).collect()
    }

    /// Drops what has ended, and routers of whose words nothing holds.
    pub fn expire(&mut self, now: Time) -> BTreeSet<What> {
        let mut changes = Changes::default();
        let sizes = (self.prefixes.len(), self.routes.len());
        for record in self.prefixes.values_mut() {
            let before = *record;
            record.expire(now);
            if *record != before || !record.is_preferred(now) {
                changes.note(Effect::Changed, What::Prefixes);
            }
        }
        self.prefixes.retain(|_, record| record.holds(now));
        self.routes.retain(|_, route| !route.valid_until.passed(now));
        for router in self.routers.values_mut() {
            if router.default_until.is_some_and(|until| until.passed(now)) {
                router.default_until = None;
                changes.note(Effect::Changed, What::Routers);
            }
        }
        changes.note_if(self.prefixes.len() != sizes.0, What::Prefixes);
        changes.note_if(self.routes.len() != sizes.1, What::Routes);
        changes.note(self.dns_servers.expire(now), What::DnsServers);
        changes.note(self.search_list.expire(now), What::SearchList);
        changes.note(self.pref64.expire(now), What::Pref64);
        changes.note(self.encrypted_dns.expire(now), What::EncryptedDns);
        changes.note_if(self.forget_silent_routers(), What::Routers);
        changes.0
    }

    /// Drops routers of whose words nothing holds; true if there were any.
    pub fn forget_silent_routers(&mut self) -> bool {
        let speakers: BTreeSet<Ipv6Addr> = self
            .prefixes
            .keys()
            .map(|key| key.1)
            .chain(self.routes.keys().map(|key| key.1))
            .chain(self.dns_servers.iter().filter_map(|fact| fact.said_by.router()))
            .chain(self.search_list.iter().filter_map(|fact| fact.said_by.router()))
            .chain(self.pref64.iter().filter_map(|fact| fact.said_by.router()))
            .chain(self.encrypted_dns.iter().filter_map(|fact| fact.said_by.router()))
            .collect();
        let before = self.routers.len();
        self.routers.retain(|address, router| router.default_until.is_some() || speakers.contains(address));
        self.routers.len() != before
    }

    /// When the next of its facts ends.
    pub fn next_deadline(&self, now: Time) -> Option<Deadline> {
        self.deadlines().filter(|deadline| !deadline.passed(now)).min()
    }

    /// When the last of its facts ends.
    pub fn last_deadline(&self) -> Option<Deadline> {
        self.deadlines().max()
    }

    fn deadlines(&self) -> impl Iterator<Item = Deadline> {
        self.prefixes
            .values()
            .flat_map(Prefix::deadlines)
            .chain(self.routes.values().map(|route| route.valid_until))
            .chain(self.routers.values().filter_map(|router| router.default_until))
            .chain(self.dns_servers.iter().map(|fact| fact.valid_until))
            .chain(self.search_list.iter().map(|fact| fact.valid_until))
            .chain(self.pref64.iter().map(|fact| fact.valid_until))
            .chain(self.encrypted_dns.iter().map(|fact| fact.valid_until))
    }
}

/// Collects what changed.
#[derive(Debug, Default)]
pub(super) struct Changes(pub BTreeSet<What>);

impl Changes {
    /// Notes that something had this effect on `what`.
    pub fn note(&mut self, effect: Effect, what: What) {
        match effect {
            Effect::Nothing => {}
            Effect::Lifetimes => {
                self.0.insert(What::Lifetimes);
            }
            Effect::Changed => {
                self.0.insert(what);
            }
        }
    }

    /// Notes a change, if it is one.
    pub fn note_if(&mut self, changed: bool, what: What) {
        if changed {
            self.0.insert(what);
        }
    }
}
