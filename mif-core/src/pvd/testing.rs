//! Short hands for tests.

use std::{collections::BTreeMap, net::Ipv6Addr};

use ipnet::Ipv6Net;
use serde::Serialize;

use super::{
    event::{Address, Event, KernelRoute, Link, RouteProtocol},
    key::{PvdKey, PvdName},
    limits::Limits,
    set::PvdSet,
    snapshot::PvdSnapshot,
    world::Preferences,
};
use crate::{
    family::{mapped, mapped_net, shown, shown_net},
    select::world::{self, World},
    time::{Deadline, Time},
    wire::{
        DomainName, NdOption, PrefixInformation, PvdOption, RaHeader, RouteInformation, RouterAdvertisement,
        RouterPreference,
    },
};

/// `RTPROT_STATIC` (linux/rtnetlink.h).
pub(super) const STATIC: RouteProtocol = RouteProtocol::Other(4);

/// This many seconds after boot.
pub(super) fn at(seconds: u64) -> Time {
    Time(seconds * 1_000_000_000)
}

/// The deadline this many seconds after boot.
pub(super) fn until(seconds: u64) -> Deadline {
    Deadline::at(at(seconds))
}

pub(super) fn ip(text: &str) -> Ipv6Addr {
    mapped(text.parse().expect("an address"))
}

pub(super) fn net(text: &str) -> Ipv6Net {
    mapped_net(text.parse().expect("a prefix"))
}

pub(super) fn name(text: &str) -> DomainName {
    text.parse().expect("a name")
}

/// How a unit variant serialises.
pub(super) fn text(value: &impl Serialize) -> String {
    struct Shown<'a, T>(&'a T);
    impl<T: Serialize> std::fmt::Display for Shown<'_, T> {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            self.0.serialize(f)
        }
    }
    Shown(value).to_string()
}

pub(super) fn implicit(ifindex: u32, router: &str) -> PvdKey {
    PvdKey::Implicit { ifindex, router: ip(router) }
}

pub(super) fn explicit(ifindex: u32, text: &str) -> PvdKey {
    PvdKey::Explicit { ifindex, name: PvdName::from(&name(text)) }
}

/// L and A set.
pub(super) fn pio(prefix: &str, valid: u32, preferred: u32) -> PrefixInformation {
    PrefixInformation {
        prefix: net(prefix),
        on_link: true,
        autonomous: true,
        router_address: false,
        valid_lifetime: valid,
        preferred_lifetime: preferred,
    }
}

pub(super) fn rio(prefix: &str, preference: RouterPreference, route_lifetime: u32) -> NdOption {
    NdOption::RouteInformation(RouteInformation { prefix: net(prefix), preference, route_lifetime })
}

pub(super) fn header(router_lifetime: u16, preference: RouterPreference) -> RaHeader {
    RaHeader { router_lifetime, preference, ..RaHeader::default() }
}

/// An advertisement of Medium preference.
pub(super) fn ra(router_lifetime: u16, options: Vec<NdOption>) -> RouterAdvertisement {
    RouterAdvertisement { header: header(router_lifetime, RouterPreference::Medium), options }
}

pub(super) fn prefixes(prefixes: &[PrefixInformation]) -> Vec<NdOption> {
    prefixes.iter().copied().map(NdOption::PrefixInformation).collect()
}

pub(super) fn pvd(id: &str, header: Option<RaHeader>, options: Vec<NdOption>) -> NdOption {
    NdOption::Pvd(PvdOption {
        id: name(id),
        http: false,
        legacy: false,
        delay: 0,
        sequence: 0,
        header,
        options,
    })
}

pub(super) fn link(ifindex: u32) -> Link {
    Link { ifindex, name: format!("eth{ifindex}"), up: true, loopback: false, mtu: 1500 }
}

pub(super) fn loopback() -> Link {
    Link { loopback: true, name: "lo".into(), mtu: 65_536, ..link(1) }
}

/// An autoconfigured /64 address, valid for ever.
pub(super) fn address(ifindex: u32, text: &str) -> Address {
    Address::new(ifindex, ip(text), 64)
}

/// An IPv4 address set by hand, with its subnet's length.
pub(super) fn ipv4(ifindex: u32, text: &str) -> Address {
    let (plain, _) = text.split_once('/').expect("ADDRESS/LENGTH");
    let prefix_len = text.parse::<ipnet::Ipv4Net>().expect("ADDRESS/LENGTH").prefix_len() + 96;
    Address { prefix_len, ..permanent(ifindex, plain) }
}

pub(super) fn permanent(ifindex: u32, text: &str) -> Address {
    Address { permanent: true, ..address(ifindex, text) }
}

/// A static route.
pub(super) fn route(ifindex: u32, prefix: &str, gateway: Option<&str>) -> KernelRoute {
    KernelRoute {
        prefix: net(prefix),
        ifindex,
        gateway: gateway.map(ip),
        metric: 1024,
        preference: RouterPreference::Medium,
        preferred_source: None,
        protocol: STATIC,
        refuses: false,
        valid_until: Deadline::NEVER,
    }
}

pub(super) fn learnt(ifindex: u32, prefix: &str, gateway: Option<&str>) -> KernelRoute {
    KernelRoute { protocol: RouteProtocol::RouterAdvertisement, ..route(ifindex, prefix, gateway) }
}

pub(super) fn kernel_prefix(ifindex: u32, prefix: &str) -> KernelRoute {
    KernelRoute { protocol: RouteProtocol::Kernel, metric: 256, ..route(ifindex, prefix, None) }
}

pub(super) fn says(ifindex: u32, router: &str, advertisement: RouterAdvertisement) -> Event {
    Event::RouterAdvertisement { ifindex, router: ip(router), advertisement }
}

/// A host that is told things and asked about them.
pub(super) struct Host {
    pub set: PvdSet,
    pub now: Time,
    pub preferences: Preferences,
}

impl Host {
    /// With a loopback interface and these links, all up.
    pub fn new(links: &[u32]) -> Self {
        Self::limited(links, Limits::default())
    }

    pub fn limited(links: &[u32], limits: Limits) -> Self {
        let mut host = Self { set: PvdSet::new(limits), now: at(0), preferences: Preferences::default() };
        host.tell(Event::Link(loopback()));
        for ifindex in links {
            host.tell(Event::Link(link(*ifindex)));
        }
        host
    }

    /// Tells an event; the changes as texts.
    pub fn tell(&mut self, event: Event) -> Vec<String> {
        self.set.apply(event, self.now).iter().map(ToString::to_string).collect()
    }

    pub fn tell_all(&mut self, events: impl IntoIterator<Item = Event>) {
        for event in events {
            self.tell(event);
        }
    }

    /// Lets time pass until this many seconds after boot.
    pub fn wait(&mut self, seconds: u64) -> Vec<String> {
        self.now = at(seconds);
        self.set.expire(self.now).iter().map(ToString::to_string).collect()
    }

    pub fn world(&self) -> World {
        self.set.world(self.now, &self.preferences)
    }

    pub fn snapshot(&self) -> Vec<PvdSnapshot> {
        self.set.snapshot(self.now, &self.preferences)
    }

    /// The ids of all PvDs, in order.
    pub fn ids(&self) -> Vec<String> {
        let mut ids: Vec<_> = self.snapshot().into_iter().map(|pvd| pvd.id).collect();
        ids.sort_unstable();
        ids
    }

    pub fn pvd(&self, id: &str) -> PvdSnapshot {
        let mut all = self.snapshot().into_iter();
        all.find(|pvd| pvd.id == id).unwrap_or_else(|| panic!("no PvD {id}, only {:?}", self.ids()))
    }

    /// The routes of a PvD: `prefix via router` or `prefix on-link`, in order.
    pub fn routes(&self, id: &str) -> Vec<String> {
        let mut routes: Vec<_> = self.pvd(id).routes.iter().map(|route| route_text(&route.route)).collect();
        routes.sort_unstable();
        routes
    }

    /// The sources of a PvD: addresses, in order; with `-` those that another PvD carries.
    pub fn sources(&self, id: &str) -> Vec<String> {
        let mark = |carried| if carried { "" } else { "-" };
        self.pvd(id)
            .sources
            .iter()
            .map(|source| format!("{}{}", mark(source.carried), shown(source.address)))
            .collect()
    }

    /// Who carries each address.
    pub fn carriers(&self) -> BTreeMap<String, String> {
        let all = self.snapshot();
        let carried = |pvd: &PvdSnapshot| {
            let sources = pvd.sources.iter().filter(|source| source.carried);
            sources.map(|source| (shown(source.address).to_string(), pvd.id.clone())).collect::<Vec<_>>()
        };
        all.iter().flat_map(carried).collect()
    }
}

pub(super) fn route_text(route: &world::Route) -> String {
    let prefix = shown_net(route.prefix);
    match route.next_hop {
        world::NextHop::OnLink => format!("{prefix} on-link"),
        world::NextHop::Router(router) => format!("{prefix} via {}", shown(router)),
    }
}
