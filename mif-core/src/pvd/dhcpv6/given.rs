//! What a DHCPv6 client has, as facts with an end.

use core::time::Duration;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv6Addr,
};

use ipnet::Ipv6Net;

use super::super::{
    change::What,
    key::PvdName,
    learnt::{EncryptedResolver, LearntRoute},
    limits::{
        DHCPV6_ROUTES_PER_PVD, DNS_SERVERS_PER_PVD, ENCRYPTED_DNS_PER_PVD, EXPLICIT_PVDS_PER_LINK,
        NTP_SERVERS_PER_PVD, POLICY_ROWS_PER_PVD, RDNSS_SELECTIONS_PER_PVD, Refused, RefusedReason,
        SEARCH_NAMES_PER_PVD,
    },
    routes::{DEFAULT_ROUTE, is_unannounceable},
};
use crate::{
    dhcpv6::{Configuration, HeldLease, lease::LEASES},
    select::world,
    time::{Deadline, Time},
    wire::{
        DomainName, RouterPreference,
        dhcpv6::{AddressSelection, DhcpOption, NtpServer, RdnssSelection, RoutePrefix},
    },
};

/// How long what has no lease holds after it was to be refreshed, as a multiple of what was to pass until then. RFC 8415 §21.23
/// says when to ask again and not what happens when nobody answers: a resolver is better than none while the server is away
/// for a night, and should not be for ever where it is gone for good.
const UNREFRESHED: u32 = 1;

/// How long an address selection policy outlives its refresh time: for the question (up to one second late, then 1, 2, 4, 8, ...
/// seconds apart) and the answer. RFC 7078 §3.2 wants it gone when the refresh time has passed or the server is silent.
const POLICY_GRACE: Duration = Duration::from_secs(60);

/// All that a client has.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in super::super) struct Given {
    /// The source of the server's message.
    pub server: Ipv6Addr,
    /// Addresses (128 bits) and delegated prefixes.
    pub leases: BTreeMap<Ipv6Net, HeldLease>,
    /// What stands outside of containers.
    pub general: Options,
    /// What is said of PvDs by name (draft-ietf-mif-mpvd-dhcp-support).
    pub contained: BTreeMap<PvdName, Options>,
}

impl Default for Given {
    fn default() -> Self {
        Self {
            server: Ipv6Addr::UNSPECIFIED,
            leases: BTreeMap::new(),
            general: Options::default(),
            contained: BTreeMap::new(),
        }
    }
}

/// Configuration other than leases, as it counts for one PvD.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(in super::super) struct Options {
    /// How long all of it holds that has no end of its own.
    pub valid_until: Deadline,
    /// In order of preference.
    pub dns_servers: Vec<Ipv6Addr>,
    pub search_list: Vec<DomainName>,
    pub encrypted_dns: Vec<EncryptedResolver>,
    pub rdnss_selection: Vec<RdnssSelection>,
    pub ntp_servers: Vec<NtpServer>,
    pub captive_portal: Option<String>,
    /// With its own end.
    pub address_selection: Option<(AddressSelection, Deadline)>,
    /// By destination and next hop.
    pub routes: BTreeMap<(Ipv6Net, world::NextHop), LearntRoute>,
}

/// When it was said and by whom, and until when it holds.
struct Circumstances<'a> {
    server: Ipv6Addr,
    received: Time,
    now: Time,
    valid_until: Deadline,
    policy_until: Deadline,
    refused: &'a mut Refused,
}

impl Given {
    pub fn new(server: Ipv6Addr, configuration: &Configuration, now: Time, refused: &mut Refused) -> Self {
        let received = configuration.received.unwrap_or(now);
        let mut given = Self { server, ..Self::default() };
        for lease in configuration.leases.iter().filter(|lease| !lease.valid_until.passed(now)) {
            if given.leases.len() >= LEASES {
                refused.count(RefusedReason::Leases);
            } else {
                given.leases.insert(lease.prefix, *lease);
            }
        }
        // §18.2.5: with the last lease goes what came with it.
        let leased = given.leases.values().map(|lease| lease.valid_until).max();
        let refresh = configuration.refresh_at.time();
        let unleased =
            refresh.map(|at| Deadline::at(at.after(received.until(at).saturating_mul(UNREFRESHED))));
        let policy = refresh.map(|at| Deadline::at(at.after(POLICY_GRACE)));
        let mut circumstances = Circumstances {
            server,
            received,
            now,
            valid_until: leased.or(unleased).unwrap_or(Deadline::NEVER),
            policy_until: leased.or(policy).unwrap_or(Deadline::NEVER),
            refused,
        };
        given.general = Options::new(&configuration.options, &mut circumstances);
        for option in &configuration.options {
            let DhcpOption::Pvd(container) = option else { continue };
            let Some(name) = container.identity.name().map(|name| PvdName::from(&name)) else {
                circumstances.refused.count(RefusedReason::PvdIdentity);
                continue;
            };
            if given.contained.len() >= EXPLICIT_PVDS_PER_LINK && !given.contained.contains_key(&name) {
                circumstances.refused.count(RefusedReason::ExplicitPvds);
                continue;
            }
            let options = Options::new(&container.options, &mut circumstances);
            // One container for each PvD; of several the first counts.
            if !options.is_empty() {
                given.contained.entry(name).or_insert(options);
            }
        }
        given
    }

    /// Drops what has ended.
    pub fn expire(&mut self, now: Time) {
        self.leases.retain(|_, lease| !lease.valid_until.passed(now));
        self.general.expire(now);
        self.contained.values_mut().for_each(|options| options.expire(now));
        self.contained.retain(|_, options| !options.is_empty());
    }

    /// The routers that it has routes by.
    pub fn next_hops(&self) -> impl Iterator<Item = Ipv6Addr> {
        let options = std::iter::once(&self.general).chain(self.contained.values());
        options.flat_map(|options| options.routes.keys()).filter_map(|(_, next_hop)| match next_hop {
            world::NextHop::Router(router) => Some(*router),
            world::NextHop::OnLink => None,
        })
    }

    pub fn is_empty(&self) -> bool {
        self.leases.is_empty() && self.general.is_empty() && self.contained.is_empty()
    }

    pub fn next_deadline(&self, now: Time) -> Option<Deadline> {
        let leases = self.leases.values().map(|lease| lease.valid_until);
        let options = std::iter::once(&self.general).chain(self.contained.values());
        leases.chain(options.flat_map(Options::deadlines)).filter(|deadline| !deadline.passed(now)).min()
    }
}

impl Options {
    fn new(options: &[DhcpOption], circumstances: &mut Circumstances<'_>) -> Self {
        let mut all = Self { valid_until: circumstances.valid_until, ..Self::default() };
        let mut sntp = Vec::new();
        for option in options {
            let refused = &mut *circumstances.refused;
            match option {
                DhcpOption::DnsServers(servers) => {
                    let room = (DNS_SERVERS_PER_PVD, RefusedReason::DnsServers);
                    servers.iter().for_each(|server| take(&mut all.dns_servers, *server, room, refused));
                }
                DhcpOption::DomainSearchList(names) => {
                    let room = (SEARCH_NAMES_PER_PVD, RefusedReason::SearchNames);
                    names.iter().for_each(|name| take(&mut all.search_list, name.clone(), room, refused));
                }
                DhcpOption::EncryptedDns(resolver) => {
                    let room = (ENCRYPTED_DNS_PER_PVD, RefusedReason::EncryptedDns);
                    take(&mut all.encrypted_dns, resolver.into(), room, refused);
                }
                DhcpOption::RdnssSelection(selection) => {
                    let room = (RDNSS_SELECTIONS_PER_PVD, RefusedReason::RdnssSelections);
                    take(&mut all.rdnss_selection, selection.clone(), room, refused);
                }
                DhcpOption::NtpServer(server) => {
                    let room = (NTP_SERVERS_PER_PVD, RefusedReason::NtpServers);
                    take(&mut all.ntp_servers, server.clone(), room, refused);
                }
                DhcpOption::SntpServers(servers) => sntp.extend(servers),
                DhcpOption::CaptivePortal(uri) => all.captive_portal = Some(uri.clone()),
                DhcpOption::AddressSelection(policy) if policy.rows.len() > POLICY_ROWS_PER_PVD => {
                    refused.count(RefusedReason::PolicyRows);
                }
                DhcpOption::AddressSelection(policy) => {
                    all.address_selection = Some((policy.clone(), circumstances.policy_until));
                }
                DhcpOption::NextHop(hop) => {
                    // `::` stands for the sender of the message.
                    let hop_address =
                        if hop.address.is_unspecified() { circumstances.server } else { hop.address };
                    let next_hop = world::NextHop::Router(hop_address);
                    if hop.routes.is_empty() {
                        // Without a destination a default route, which holds as long as the rest.
                        let until = circumstances.valid_until;
                        all.route(DEFAULT_ROUTE, next_hop, RouterPreference::default(), until, circumstances);
                    }
                    for route in &hop.routes {
                        all.announced(route, next_hop, circumstances);
                    }
                }
                DhcpOption::RoutePrefix(route) => all.announced(route, world::NextHop::OnLink, circumstances),
                // Leases are told apart, and containers are no part of what is outside of them. The rest is of the exchange.
                _ => {}
            }
        }
        for server in sntp {
            // RFC 5908 §7: the older option adds nothing to what the newer one says.
            let room = (NTP_SERVERS_PER_PVD, RefusedReason::NtpServers);
            take(&mut all.ntp_servers, NtpServer::Address(server), room, circumstances.refused);
        }
        all.expire(circumstances.now);
        all
    }

    fn announced(
        &mut self,
        route: &RoutePrefix,
        next_hop: world::NextHop,
        circumstances: &mut Circumstances<'_>,
    ) {
        let until = Deadline::from_lifetime(route.lifetime, circumstances.received);
        self.route(route.prefix.trunc(), next_hop, route.preference, until, circumstances);
    }

    fn route(
        &mut self,
        prefix: Ipv6Net,
        next_hop: world::NextHop,
        preference: RouterPreference,
        valid_until: Deadline,
        circumstances: &mut Circumstances<'_>,
    ) {
        let key = (prefix, next_hop);
        let full = self.routes.len() >= DHCPV6_ROUTES_PER_PVD && !self.routes.contains_key(&key);
        // Everything is on-link nowhere but on a link to one neighbour, of which the kernel knows.
        let nowhere = match next_hop {
            world::NextHop::OnLink => prefix == DEFAULT_ROUTE,
            world::NextHop::Router(router) => router.is_unspecified(),
        };
        if full || nowhere || is_unannounceable(prefix) {
            return circumstances.refused.count(RefusedReason::Dhcpv6Routes);
        }
        self.routes.insert(key, LearntRoute { preference, valid_until });
    }

    fn expire(&mut self, now: Time) {
        self.routes.retain(|_, route| !route.valid_until.passed(now));
        self.address_selection = self.address_selection.take().filter(|(_, until)| !until.passed(now));
        if self.valid_until.passed(now) {
            let Self { address_selection, routes, .. } = std::mem::take(self);
            *self = Self { address_selection, routes, ..Self::default() };
        }
    }

    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        !self.has_general() && self.address_selection.is_none() && self.routes.is_empty()
    }

    /// Whether there is anything without an end of its own.
    fn has_general(&self) -> bool {
        !(self.dns_servers.is_empty()
            && self.search_list.is_empty()
            && self.encrypted_dns.is_empty()
            && self.rdnss_selection.is_empty()
            && self.ntp_servers.is_empty()
            && self.captive_portal.is_none())
    }

    /// All that it has.
    pub fn all(&self) -> BTreeSet<What> {
        self.differences(&Self { valid_until: self.valid_until, ..Self::default() })
    }

    /// What is not the same.
    pub fn differences(&self, other: &Self) -> BTreeSet<What> {
        let until = |options: &Self| {
            let policy = options.address_selection.as_ref().map(|(_, until)| *until);
            let routes: Vec<_> = options.routes.values().map(|route| route.valid_until).collect();
            (options.valid_until, options.deadlines().max(), policy, routes)
        };
        let policy = |options: &Self| options.address_selection.as_ref().map(|(policy, _)| policy.clone());
        let routes = |options: &Self| -> Vec<_> {
            options.routes.iter().map(|(key, route)| (*key, route.preference)).collect()
        };
        [
            (self.dns_servers != other.dns_servers, What::DnsServers),
            (self.search_list != other.search_list, What::SearchList),
            (self.encrypted_dns != other.encrypted_dns, What::EncryptedDns),
            (self.rdnss_selection != other.rdnss_selection, What::RdnssSelection),
            (self.ntp_servers != other.ntp_servers, What::NtpServers),
            (self.captive_portal != other.captive_portal, What::CaptivePortal),
            (policy(self) != policy(other), What::AddressSelection),
            (routes(self) != routes(other), What::Routes),
            (until(self) != until(other), What::Lifetimes),
        ]
        .into_iter()
        .filter(|(differs, _)| *differs)
        .map(|(_, what)| what)
        .collect()
    }

    /// When parts of it end.
    pub fn deadlines(&self) -> impl Iterator<Item = Deadline> {
        let general = self.has_general().then_some(self.valid_until);
        let policy = self.address_selection.as_ref().map(|(_, until)| *until);
        general.into_iter().chain(policy).chain(self.routes.values().map(|route| route.valid_until))
    }
}

/// Takes something into a list in which it is not yet.
fn take<T: PartialEq>(list: &mut Vec<T>, item: T, room: (usize, RefusedReason), refused: &mut Refused) {
    if list.contains(&item) {
        return;
    }
    if list.len() >= room.0 {
        return refused.count(room.1);
    }
    list.push(item);
}
