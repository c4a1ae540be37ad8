//! What holds whatever happens, in whatever order.

use std::collections::{BTreeMap, BTreeSet};

use proptest::{prelude::*, sample::select};

use super::{
    event::{Address, Event, KernelRoute, Link, RouteProtocol},
    limits::{
        DHCPV6_ROUTES_PER_PVD, DNS_SERVERS_PER_PVD, EXPLICIT_PVDS_PER_LINK, Limits, PREFIXES_PER_PVD,
        ROUTERS_PER_LINK, ROUTES_PER_PVD,
    },
    set::PvdSet,
    snapshot::PvdSnapshot,
    testing::{address, ip, link, loopback, name, net, pio, pvd, rio, says},
    world::Preferences,
};
use crate::{
    dhcpv6::{Configuration, HeldLease},
    select::world::World,
    time::{Deadline, Time},
    wire::{
        NdOption, PrefixInformation, PvdOption, RaHeader, RecursiveDnsServers, RouterAdvertisement,
        RouterPreference,
        dhcpv6::{AddressSelection, DhcpOption, NextHop, PolicyRow, PvdContainer, PvdIdentity, RoutePrefix},
    },
};

const ROUTERS: [&str; 4] = ["fe80::1", "fe80::2", "fe80::3", "fe80::4"];
/// An IPv4 gateway among them.
const GATEWAYS: [&str; 4] = ["fe80::1", "fe80::2", "192.0.2.1", "fe80::4"];
const PREFIXES: [&str; 9] = [
    "2001:db8:a::/64",
    "2001:db8:b::/64",
    "2001:db8::/32",
    "fd00::/64",
    "fe80::/64",
    "::/0",
    "0.0.0.0/0",
    "192.0.2.0/24",
    "169.254.0.0/16",
];
const ADDRESSES: [&str; 9] = [
    "2001:db8:a::5",
    "2001:db8:a::6",
    "2001:db8:b::5",
    "fd00::1",
    "fe80::5",
    "2001:db9::9",
    "192.0.2.5",
    "198.51.100.5",
    "169.254.0.5",
];
const NAMES: [&str; 2] = ["a.example", "b.example"];
/// Few places, so that they run out.
const LIMITS: Limits = Limits { max_pvds: 6 };

fn preference() -> impl Strategy<Value = RouterPreference> {
    select(vec![RouterPreference::Low, RouterPreference::Medium, RouterPreference::High])
}

/// Seconds, with those at which rules change among them.
fn lifetime() -> impl Strategy<Value = u32> {
    select(vec![0, 1, 50, 600, 7199, 7200, 7201, 86_400, u32::MAX])
}

fn deadline() -> impl Strategy<Value = Deadline> {
    prop_oneof![3 => Just(Deadline::NEVER), 1 => (0..100_u64).prop_map(super::testing::until)]
}

fn prefix_information() -> impl Strategy<Value = NdOption> {
    (select(&PREFIXES[..]), any::<(bool, bool)>(), lifetime(), lifetime()).prop_map(
        |(prefix, (on_link, autonomous), valid, preferred)| {
            NdOption::PrefixInformation(PrefixInformation {
                on_link,
                autonomous,
                ..pio(prefix, valid, preferred)
            })
        },
    )
}

fn option() -> impl Strategy<Value = NdOption> {
    prop_oneof![
        3 => prefix_information(),
        2 => (select(&PREFIXES[..]), preference(), lifetime())
            .prop_map(|(prefix, preference, lifetime)| rio(prefix, preference, lifetime)),
        1 => (lifetime(), 0..12_u16).prop_map(|(lifetime, number)| {
            let servers = vec![ip(&format!("2001:db8::{number:x}"))];
            NdOption::RecursiveDnsServers(RecursiveDnsServers { lifetime, servers })
        }),
    ]
}

fn header() -> impl Strategy<Value = RaHeader> {
    (select(vec![0, 1, 50, 1800, u16::MAX]), preference(), any::<bool>()).prop_map(
        |(router_lifetime, preference, managed)| RaHeader {
            router_lifetime,
            preference,
            managed,
            ..RaHeader::default()
        },
    )
}

fn advertisement() -> impl Strategy<Value = RouterAdvertisement> {
    let named = (
        select(&NAMES[..]),
        any::<bool>(),
        prop::option::of(header()),
        prop::collection::vec(option(), 0..3),
    )
        .prop_map(|(name, legacy, header, options)| match pvd(name, header, options) {
            NdOption::Pvd(option) => NdOption::Pvd(PvdOption { legacy, ..option }),
            other => other,
        });
    (header(), prop::collection::vec(option(), 0..4), prop::option::of(named)).prop_map(
        |(header, mut options, named)| {
            options.extend(named);
            RouterAdvertisement { header, options }
        },
    )
}

fn link_event() -> impl Strategy<Value = Event> {
    (1..4_u32, prop::bool::weighted(0.8)).prop_map(|(ifindex, up)| {
        Event::Link(if ifindex == 1 { loopback() } else { Link { up, ..link(ifindex) } })
    })
}

fn address_event() -> impl Strategy<Value = Event> {
    let flags = any::<(bool, bool, bool, bool)>();
    (1..4_u32, select(&ADDRESSES[..]), flags, select(vec![64, 120, 128]), deadline(), deadline()).prop_map(
        |(ifindex, text, (permanent, tentative, deprecated, temporary), prefix_len, valid, preferred)| {
            Event::Address(Address {
                prefix_len,
                permanent,
                tentative,
                deprecated,
                temporary,
                valid_until: valid,
                preferred_until: preferred,
                ..address(ifindex, text)
            })
        },
    )
}

fn kernel_route() -> impl Strategy<Value = KernelRoute> {
    let protocol = select(vec![
        RouteProtocol::Kernel,
        RouteProtocol::RouterAdvertisement,
        RouteProtocol::Mif,
        RouteProtocol::Dhcp,
        RouteProtocol::Other(4),
    ]);
    let source = prop::option::of(select(&ADDRESSES[..]));
    let gateway = prop::option::of(select(&GATEWAYS[..]));
    let metric = select(vec![100, 1024]);
    (
        0..4_u32,
        select(&PREFIXES[..]),
        gateway,
        metric,
        protocol,
        source,
        prop::bool::weighted(0.2),
        deadline(),
    )
        .prop_map(|(ifindex, prefix, gateway, metric, protocol, source, refuses, valid_until)| {
            KernelRoute {
                prefix: net(prefix),
                ifindex,
                gateway: gateway.map(ip),
                metric,
                preference: RouterPreference::Medium,
                preferred_source: source.map(ip),
                protocol,
                refuses,
                valid_until,
            }
        })
}

/// Seconds from boot, or for ever.
fn held_lease() -> impl Strategy<Value = HeldLease> {
    let prefix =
        select(vec!["2001:db8:a::5/128", "2001:db8:b::5/128", "2001:db9::9/128", "2001:db8:d000::/56"]);
    (prefix, deadline(), deadline()).prop_map(|(prefix, valid_until, preferred_until)| HeldLease {
        prefix: net(prefix),
        preferred_until,
        valid_until,
    })
}

fn route_prefix() -> impl Strategy<Value = RoutePrefix> {
    (select(&PREFIXES[..]), preference(), lifetime()).prop_map(|(prefix, preference, lifetime)| RoutePrefix {
        prefix: net(prefix),
        preference,
        lifetime,
    })
}

fn dhcp_option() -> impl Strategy<Value = DhcpOption> {
    let hop = (
        select(vec!["::", "fe80::1", "fe80::9", "2001:db8:a::1"]),
        prop::collection::vec(route_prefix(), 0..3),
    );
    let row = (select(&PREFIXES[..]), any::<(u8, u8)>())
        .prop_map(|(prefix, (precedence, label))| PolicyRow { prefix: net(prefix), precedence, label });
    prop_oneof![
        (0..12_u16).prop_map(|number| DhcpOption::DnsServers(vec![ip(&format!("2001:db8::{number:x}"))])),
        hop.prop_map(|(address, routes)| DhcpOption::NextHop(NextHop { address: ip(address), routes })),
        route_prefix().prop_map(DhcpOption::RoutePrefix),
        prop::collection::vec(row, 0..3).prop_map(|rows| DhcpOption::AddressSelection(AddressSelection {
            rows,
            ..AddressSelection::default()
        })),
    ]
}

fn dhcpv6_event() -> impl Strategy<Value = Event> {
    let container =
        (select(&NAMES[..]), prop::collection::vec(dhcp_option(), 0..3)).prop_map(|(text, options)| {
            let identity = PvdIdentity::of_name(&name(text));
            DhcpOption::Pvd(PvdContainer { identity, signed: false, options })
        });
    let options = (prop::collection::vec(dhcp_option(), 0..4), prop::collection::vec(container, 0..2))
        .prop_map(|(mut options, containers)| {
            options.extend(containers);
            options
        });
    let configuration = (prop::collection::vec(held_lease(), 0..3), options, deadline()).prop_map(
        |(leases, options, refresh_at)| Configuration {
            leases,
            options,
            refresh_at,
            ..Configuration::default()
        },
    );
    (1..4_u32, select(vec!["fe80::1", "fe80::9"]), configuration).prop_map(
        |(ifindex, server, configuration)| Event::Dhcpv6 { ifindex, server: ip(server), configuration },
    )
}

fn neighbour_event() -> impl Strategy<Value = Event> {
    (2..4_u32, select(&GATEWAYS[..]), any::<bool>())
        .prop_map(|(ifindex, router, reachable)| Event::Neighbour { ifindex, address: ip(router), reachable })
}

fn event() -> impl Strategy<Value = Event> {
    let heard = (1..4_u32, select(&ROUTERS[..]), advertisement());
    prop_oneof![
        8 => heard.prop_map(|(ifindex, router, advertisement)| says(ifindex, router, advertisement)),
        2 => link_event(),
        1 => (1..4_u32).prop_map(|ifindex| Event::LinkGone { ifindex }),
        5 => address_event(),
        1 => address_event().prop_map(|event| match event {
            Event::Address(address) => Event::AddressGone(address),
            other => other,
        }),
        5 => kernel_route().prop_map(Event::Route),
        1 => kernel_route().prop_map(Event::RouteReplaced),
        2 => kernel_route().prop_map(Event::RouteGone),
        2 => neighbour_event(),
        4 => dhcpv6_event(),
        1 => (1..4_u32).prop_map(|ifindex| Event::Dhcpv6Gone { ifindex }),
        1 => Just(Event::ResyncBegin),
        1 => Just(Event::ResyncEnd),
    ]
}

/// Events, each some seconds after the one before.
fn history() -> impl Strategy<Value = Vec<(u64, Event)>> {
    prop::collection::vec((select(vec![0, 0, 0, 1, 20, 3600]), event()), 0..60)
}

/// What a dump of the kernel tells, in its order.
fn dump() -> impl Strategy<Value = Vec<Event>> {
    let links = any::<(bool, bool)>().prop_map(|(second, third)| {
        vec![
            Event::Link(loopback()),
            Event::Link(Link { up: second, ..link(2) }),
            Event::Link(Link { up: third, ..link(3) }),
        ]
    });
    let addresses = prop::collection::vec(address_event(), 0..8);
    let routes = prop::collection::vec(kernel_route().prop_map(Event::Route), 0..12);
    let neighbours = prop::collection::vec(neighbour_event(), 0..4);
    (links, addresses, routes, neighbours).prop_map(|(links, addresses, routes, neighbours)| {
        links.into_iter().chain(addresses).chain(routes).chain(neighbours).collect()
    })
}

fn world(set: &PvdSet, now: Time) -> World {
    set.world(now, &Preferences::default())
}

/// What there is, without the numbers, which depend on who came first.
fn unnumbered(set: &PvdSet, now: Time) -> Vec<PvdSnapshot> {
    let mut all = set.snapshot(now, &Preferences::default());
    for pvd in &mut all {
        pvd.index = 0;
    }
    all.sort_by(|a, b| a.id.cmp(&b.id));
    all
}

/// Everything that must hold between two events.
fn check(set: &PvdSet, now: Time) -> Result<(), TestCaseError> {
    prop_assert!(set.next_deadline().is_none_or(|deadline| deadline > now), "a deadline was left behind");

    let (world, snapshot) = (world(set, now), set.snapshot(now, &Preferences::default()));
    let indices: BTreeSet<_> = snapshot.iter().map(|pvd| pvd.index).collect();
    prop_assert_eq!(indices.len(), snapshot.len());
    prop_assert!(indices.iter().all(|index| (1..=LIMITS.max_pvds).contains(index)));
    let network = snapshot.iter().filter(|pvd| pvd.key.is_network()).count();
    prop_assert!(network <= LIMITS.network_pvds() as usize);

    // What readers of a snapshot make of it is what selection saw.
    prop_assert_eq!(&snapshot.iter().filter_map(PvdSnapshot::for_selection).collect::<Vec<_>>(), &world.pvds);

    let mut carried: BTreeMap<_, usize> = BTreeMap::new();
    for source in world.pvds.iter().flat_map(|pvd| &pvd.sources) {
        *carried.entry(source.address).or_default() += usize::from(source.carried);
        prop_assert!(world.local_addresses.contains(&source.address));
    }
    prop_assert!(carried.values().all(|times| *times == 1), "carried: {carried:?}");

    for pvd in &snapshot {
        prop_assert_eq!(set.find(&pvd.id), Ok(pvd.index));
        prop_assert!(pvd.prefixes.len() <= PREFIXES_PER_PVD);
        prop_assert!(pvd.routers.len() <= ROUTERS_PER_LINK);
        // By routers, by DHCPv6, and in a container of that.
        prop_assert!(pvd.dns_servers.len() <= 3 * DNS_SERVERS_PER_PVD);
        let learnt =
            pvd.routes.iter().filter(|route| route.said_by != super::snapshot::SaidBy::Kernel).count();
        prop_assert!(
            learnt <= ROUTES_PER_PVD + ROUTERS_PER_LINK + PREFIXES_PER_PVD + 2 * DHCPV6_ROUTES_PER_PVD
        );
        prop_assert!(!pvd.valid_until.passed(now), "{} holds nothing any more", pvd.id);
    }
    for link in set.links.values() {
        prop_assert!(link.pvds.keys().filter(|key| key.is_explicit()).count() <= EXPLICIT_PVDS_PER_LINK);
    }
    let counted = (set.kernel_routes, set.addresses);
    let sizes = |size: fn(&super::link::LinkState) -> usize| set.links.values().map(size).sum::<usize>();
    prop_assert_eq!(
        counted,
        (sizes(|link| link.routes.len()), sizes(|link| link.addresses.len() + link.shadowed.len()))
    );
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// No event and no order of events breaks anything.
    #[test]
    fn any_history(history in history()) {
        let mut set = PvdSet::new(LIMITS);
        let mut now = Time(0);
        for (seconds, event) in history {
            now = now.after(std::time::Duration::from_secs(seconds));
            set.apply(event, now);
            check(&set, now)?;
        }
    }

    /// Between events the world changes at deadlines only, and when nothing is left to end it changes no more.
    #[test]
    fn deadlines_are_complete(history in history()) {
        let mut set = PvdSet::new(LIMITS);
        let mut now = Time(0);
        for (seconds, event) in history {
            now = now.after(std::time::Duration::from_secs(seconds));
            set.apply(event, now);
        }
        let mut before = world(&set, now);
        while let Some(deadline) = set.next_deadline() {
            prop_assert_eq!(&world(&set, Time(deadline.0 - 1)), &before);
            set.expire(deadline);
            check(&set, deadline)?;
            before = world(&set, deadline);
            now = deadline;
        }
        prop_assert_eq!(world(&set, now.after(std::time::Duration::from_secs(1 << 33))), before);
    }

    /// Whatever changes the world is reported.
    #[test]
    fn changes_are_complete(history in history()) {
        let mut set = PvdSet::new(LIMITS);
        let mut now = Time(0);
        let mut before = world(&set, now);
        for (seconds, event) in history {
            now = now.after(std::time::Duration::from_secs(seconds));
            let changes = set.apply(event.clone(), now);
            let after = world(&set, now);
            if after != before {
                prop_assert!(
                    changes.iter().any(super::Change::concerns_selection),
                    "unreported: {event:?}\n{before:#?}\n{after:#?}\n{changes:?}"
                );
            }
            before = after;
        }
    }

    /// A world that is kept up to date is the world, and says of each PvD that is not what it was.
    #[test]
    fn refreshing_is_complete(history in history()) {
        let mut set = PvdSet::new(LIMITS);
        let mut now = Time(0);
        let mut kept = World::default();
        for (place, (seconds, event)) in history.into_iter().enumerate() {
            now = now.after(std::time::Duration::from_secs(seconds));
            set.apply(event.clone(), now);
            // Several events between two looks, too.
            if place % 3 == 1 {
                continue;
            }
            let before = kept.clone();
            let touched = set.refresh(&mut kept, now, &Preferences::default());
            prop_assert_eq!(&kept, &world(&set, now), "{:?}", event);
            let differs = |one: &World, other: &World| -> Vec<_> {
                one.pvds.iter().filter(|pvd| !other.pvds.contains(pvd)).map(|pvd| pvd.index).collect()
            };
            for index in differs(&before, &kept).into_iter().chain(differs(&kept, &before)) {
                prop_assert!(touched.contains(&index), "{index} is not reported: {event:?}");
            }
        }
    }

    /// The order in which routers speak leaves no trace (one advertisement each, all at one time).
    #[test]
    fn order_of_routers(
        kernel in dump(),
        heard in prop::collection::btree_map((2..4_u32, select(&ROUTERS[..])), advertisement(), 0..8),
        order in any::<prop::sample::Index>(),
    ) {
        let roomy = Limits { max_pvds: 100 };
        let now = Time(0);
        let (mut forward, mut rotated) = (PvdSet::new(roomy), PvdSet::new(roomy));
        // Resolvers are in the order of arrival by RFC 8106 §6.2.
        let heard: Vec<_> = heard
            .into_iter()
            .map(|((ifindex, router), mut advertisement)| {
                let resolver = |option: &NdOption| matches!(option, NdOption::RecursiveDnsServers(_));
                for option in &mut advertisement.options {
                    if let NdOption::Pvd(pvd) = option {
                        pvd.options.retain(|option| !resolver(option));
                    }
                }
                advertisement.options.retain(|option| !resolver(option));
                says(ifindex, router, advertisement)
            })
            .collect();
        let middle = if heard.is_empty() { 0 } else { order.index(heard.len()) };
        let (first, last) = heard.split_at(middle);
        for event in kernel.iter().chain(first).chain(last) {
            forward.apply(event.clone(), now);
        }
        for event in kernel.iter().chain(last.iter().rev()).chain(first.iter().rev()) {
            rotated.apply(event.clone(), now);
        }
        prop_assert_eq!(unnumbered(&forward, now), unnumbered(&rotated, now));
    }

    /// After a dump the kernel's past leaves no trace.
    #[test]
    fn dumps_replace_the_past(past in dump(), present in dump()) {
        let roomy = Limits { max_pvds: 100 };
        let now = Time(0);
        let (mut old, mut young) = (PvdSet::new(roomy), PvdSet::new(roomy));
        for event in past {
            old.apply(event, now);
        }
        let dump = || [Event::ResyncBegin].into_iter().chain(present.clone()).chain([Event::ResyncEnd]);
        for event in dump() {
            old.apply(event, now);
        }
        for event in dump() {
            young.apply(event, now);
        }
        prop_assert_eq!(unnumbered(&old, now), unnumbered(&young, now));
        prop_assert_eq!(world(&old, now).local_addresses, world(&young, now).local_addresses);
    }
}
