//! Everything that is known of the PvDs, for people and programs.

use std::net::Ipv6Addr;

use ipnet::Ipv6Net;
use mif_common::abi::PvdIndex;
use serde::{Deserialize, Serialize};

pub use super::fact::SaidBy;
use super::{
    dhcpv6::{Options, Share},
    fact::Fact,
    key::PvdKey,
    learnt::{EncryptedResolver, Router},
    link::LinkState,
    prefix::Prefix,
    set::PvdSet,
    world::{Portrait, Preferences},
};
use crate::{
    dhcpv6::HeldLease,
    select::{
        policy_table::in_force,
        world::{self, Origin, Route, Source},
    },
    time::{Deadline, Time},
    wire::{
        DomainName,
        dhcpv6::{AddressSelection, NtpServer, RdnssSelection},
    },
};

/// A PvD, complete.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct PvdSnapshot {
    /// Its number.
    pub index: PvdIndex,
    /// What people call it.
    pub id: String,
    /// What makes it itself.
    pub key: PvdKey,
    /// Its interface's name.
    pub link: String,
    /// Its interface.
    pub ifindex: u32,
    /// Whether the interface is up; a PvD of an interface that is down is not used.
    pub up: bool,
    /// Who configures it.
    pub origin: Origin,
    /// Made from the kernel's routes; the router has not spoken to us yet.
    pub provisional: bool,
    /// Its routers.
    pub routers: Vec<RouterSnapshot>,
    /// What routers said about prefixes.
    pub prefixes: Vec<PrefixSnapshot>,
    /// Its addresses. That they exist is always the kernel's word.
    pub sources: Vec<Source>,
    /// Its routes, on-link prefixes included.
    pub routes: Vec<RouteSnapshot>,
    /// Leases by DHCPv6: addresses (128 bits) and delegated prefixes.
    pub leases: Vec<LeaseSnapshot>,
    /// DNS servers in order of preference: DHCPv6's before routers' (RFC 8106 §5.3.1). One that both name stands twice.
    pub dns_servers: Vec<Fact<Ipv6Addr>>,
    /// Search domains in order of preference, as above.
    pub search_list: Vec<Fact<DomainName>>,
    /// Resolvers and the domains they know (RFC 6731).
    pub rdnss_selection: Vec<Fact<RdnssSelection>>,
    /// Time sources (RFC 5908).
    pub ntp_servers: Vec<Fact<NtpServer>>,
    /// The captive portal's API by DHCPv6; what routers say of it stands with them.
    pub dhcpv6_portal: Option<Fact<String>>,
    /// The address selection policy that its network gave (RFC 7078).
    pub address_selection: Option<Fact<AddressSelection>>,
    /// The one in force, where it is not the default one.
    pub policy: Option<Box<in_force::Policy>>,
    /// NAT64 prefixes (RFC 8781).
    pub pref64: Vec<Fact<Ipv6Net>>,
    /// Encrypted resolvers, the preferred first (RFC 9463).
    pub encrypted_dns: Vec<Fact<EncryptedResolver>>,
    /// How long any of it holds.
    pub valid_until: Deadline,
}

/// A router of a PvD.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct RouterSnapshot {
    /// Its link-local address.
    pub address: Ipv6Addr,
    /// False once the kernel found that it does not answer.
    pub reachable: bool,
    /// What it said about itself.
    #[serde(flatten)]
    pub said: Router,
}

/// A lease of a PvD.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct LeaseSnapshot {
    /// Who gave it.
    pub said_by: SaidBy,
    /// The lease.
    #[serde(flatten)]
    pub lease: HeldLease,
}

/// A prefix of a PvD.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct PrefixSnapshot {
    /// The prefix.
    pub prefix: Ipv6Net,
    /// The router that announced it.
    pub said_by: Ipv6Addr,
    /// What it means.
    #[serde(flatten)]
    pub meaning: Prefix,
}

/// A route of a PvD.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct RouteSnapshot {
    /// Who said so.
    pub said_by: SaidBy,
    /// The route.
    #[serde(flatten)]
    pub route: Route,
}

impl PvdSnapshot {
    fn of(link: &LinkState, portrait: Portrait<'_>) -> Self {
        let Portrait { key, pvd, .. } = portrait;
        let (origin, valid_until) = (portrait.origin(), portrait.valid_until());
        let given = ByDhcpv6::of(&portrait.share);
        let mut encrypted_dns = given.all(|options| &options.encrypted_dns);
        encrypted_dns.extend(pvd.encrypted_dns.iter().cloned());
        encrypted_dns.sort_by_key(|fact| fact.value.service_priority);
        let dns_servers = given.all(|options| &options.dns_servers);
        let search_list = given.all(|options| &options.search_list);
        Self {
            index: pvd.index,
            id: link.id(key),
            key: key.clone(),
            link: link.name(),
            ifindex: key.ifindex(),
            up: link.link.up,
            origin,
            provisional: key.is_implicit() && pvd.is_silent(),
            routers: pvd
                .routers
                .iter()
                .map(|(address, router)| RouterSnapshot {
                    address: *address,
                    reachable: link.is_reachable(address),
                    said: router.clone(),
                })
                .collect(),
            prefixes: pvd
                .prefixes
                .iter()
                .map(|((prefix, router), meaning)| PrefixSnapshot {
                    prefix: *prefix,
                    said_by: *router,
                    meaning: *meaning,
                })
                .collect(),
            sources: portrait.sources,
            routes: portrait
                .routes
                .into_iter()
                .map(|(route, said_by)| RouteSnapshot { said_by, route })
                .collect(),
            leases: given.leases(),
            dns_servers: dns_servers.into_iter().chain(pvd.dns_servers.iter().cloned()).collect(),
            search_list: search_list.into_iter().chain(pvd.search_list.iter().cloned()).collect(),
            rdnss_selection: given.all(|options| &options.rdnss_selection),
            ntp_servers: given.all(|options| &options.ntp_servers),
            dhcpv6_portal: given.all(|options| &options.captive_portal).into_iter().next(),
            address_selection: given.address_selection(),
            policy: portrait.policy.clone(),
            pref64: pvd.pref64.iter().cloned().collect(),
            encrypted_dns,
            valid_until,
        }
    }

    /// The PvD as selection sees it; `None` while its interface is down. With these, [`crate::select::literal::explain`] tells
    /// why the tables are as they are.
    #[must_use]
    pub fn for_selection(&self) -> Option<world::Pvd> {
        self.up.then(|| world::Pvd {
            index: self.index,
            ifindex: self.ifindex,
            origin: self.origin,
            explicit: self.key.is_explicit(),
            no_internet: false,
            policy: self.policy.clone(),
            sources: self.sources.clone(),
            routes: self.routes.iter().map(|snapshot| snapshot.route.clone()).collect(),
            valid_until: self.valid_until,
        })
    }

    /// The MTU, octets: the smallest that a router announced, and that router.
    #[must_use]
    pub fn mtu(&self) -> Option<(u32, Ipv6Addr)> {
        self.routers.iter().filter_map(|router| Some((router.said.mtu?, router.address))).min()
    }

    /// The captive portal's API and who announced it: DHCPv6 (RFC 8910 §3), else of several routers the one with the lowest
    /// address.
    #[must_use]
    pub fn captive_portal(&self) -> Option<(&str, SaidBy)> {
        let announced = || {
            self.routers.iter().find_map(|router| {
                Some((router.said.captive_portal.as_deref()?, SaidBy::Router(router.address)))
            })
        };
        let given = self.dhcpv6_portal.as_ref().map(|fact| (fact.value.as_str(), fact.said_by));
        given.or_else(announced)
    }
}

/// What a PvD has by DHCPv6, as facts.
struct ByDhcpv6<'a> {
    said_by: SaidBy,
    share: &'a Share<'a>,
}

impl<'a> ByDhcpv6<'a> {
    fn of(share: &'a Share<'a>) -> Self {
        Self { said_by: SaidBy::Dhcpv6(share.server.unwrap_or(Ipv6Addr::UNSPECIFIED)), share }
    }

    /// All of one kind; the same thing said twice is one fact.
    fn all<T: Clone + PartialEq + 'a, L: 'a>(&self, list: impl Fn(&'a Options) -> &'a L) -> Vec<Fact<T>>
    where
        &'a L: IntoIterator<Item = &'a T>,
    {
        let mut facts: Vec<Fact<T>> = Vec::new();
        for options in &self.share.options {
            for value in list(options) {
                if !facts.iter().any(|fact| fact.value == *value) {
                    let (said_by, valid_until) = (self.said_by, options.valid_until);
                    facts.push(Fact { value: value.clone(), said_by, valid_until });
                }
            }
        }
        facts
    }

    fn leases(&self) -> Vec<LeaseSnapshot> {
        let said_by = self.said_by;
        self.share.leases.iter().map(|lease| LeaseSnapshot { said_by, lease: **lease }).collect()
    }

    fn address_selection(&self) -> Option<Fact<AddressSelection>> {
        let (policy, valid_until) = self.share.policy()?;
        Some(Fact { value: policy.clone(), said_by: self.said_by, valid_until })
    }
}

impl PvdSet {
    /// All PvDs by number, those of links that are down included.
    #[must_use]
    pub fn snapshot(&self, now: Time, preferences: &Preferences) -> Vec<PvdSnapshot> {
        let mut all: Vec<_> = self
            .links
            .values()
            .flat_map(|link| {
                let portraits = self.portraits(link, now, preferences);
                portraits.into_iter().map(|portrait| PvdSnapshot::of(link, portrait))
            })
            .collect();
        all.sort_unstable_by_key(|snapshot| snapshot.index);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pvd::{
        event::Event,
        testing::{Host, explicit, learnt, name, permanent, pio, prefixes, pvd, ra, rio, route, says, until},
    };
    use crate::wire::{DnsSearchList, NdOption, RouterPreference};

    fn host() -> Host {
        let mut host = Host::new(&[2, 3]);
        let mut options = prefixes(&[pio("2001:db8::/64", 600, 300)]);
        options.push(rio("2001:db8:1::/48", RouterPreference::High, 60));
        options.push(NdOption::CaptivePortal("https://cap.example/api".into()));
        options
            .push(NdOption::DnsSearchList(DnsSearchList { lifetime: 60, suffixes: vec![name("a.example")] }));
        host.tell_all([
            Event::Address(permanent(3, "fd00::1")),
            Event::Route(route(3, "::/0", Some("fe80::3"))),
            Event::Route(learnt(2, "::/0", Some("fe80::2"))),
            says(2, "fe80::1", ra(1800, vec![pvd("a.example", None, options)])),
        ]);
        host
    }

    #[test]
    fn says_who_said_what_and_for_how_long() {
        let host = host();
        let named = host.pvd("a.example%eth2");
        assert_eq!(
            (named.key, named.provisional, named.origin),
            (explicit(2, "a.example"), false, Origin::Network)
        );
        let said: Vec<_> = named
            .routes
            .iter()
            .map(|route| (route.route.prefix.to_string(), route.said_by.to_string(), route.route.valid_until))
            .collect();
        let row = |prefix: &str, seconds| (prefix.to_owned(), "fe80::1".to_owned(), until(seconds));
        assert_eq!(said, [row("::/0", 1800), row("2001:db8:1::/48", 60), row("2001:db8::/64", 600)]);
        assert_eq!(named.prefixes[0].meaning.preferred_until, until(300));
        assert_eq!(named.search_list[0].valid_until, until(60));
        assert_eq!((named.valid_until, named.routers.len()), (until(1800), 1));

        let own = host.pvd("eth3");
        assert_eq!((own.origin, own.routes[0].said_by), (Origin::Administrator, SaidBy::Kernel));
        assert!(host.pvd("eth2/fe80::2").provisional);
    }

    #[test]
    fn survives_json() {
        let host = host();
        let all = host.snapshot();
        let json = serde_json::to_string(&all).expect("a snapshot is plain data");
        assert_eq!(serde_json::from_str::<Vec<PvdSnapshot>>(&json).expect("its own output"), all);
    }
}
