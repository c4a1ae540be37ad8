//! What `mif` itself puts into the kernel's configuration: addresses that it leased, and routes that came with them. All of it
//! bears `mif`'s own number ([`ROUTE_PROTOCOL_MIF`], [`ADDRESS_PROTOCOL_MIF`]), so that it can be told from what others put there.

use std::{io, net::Ipv6Addr};

use ipnet::Ipv6Net;
use mif_core::wire::RouterPreference;
use netlink_packet_core::{NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_REPLACE, NLM_F_REQUEST};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressFlags, AddressMessage, AddressProtocol, CacheInfo},
    route::{
        RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RoutePreference, RouteProtocol, RouteScope,
        RouteType,
    },
};

use super::{ADDRESS_PROTOCOL_MIF, ROUTE_PROTOCOL_MIF, ask::ask};

/// Bits of an address.
const BITS: u8 = 128;

/// How long an address holds, seconds; `u32::MAX`: for ever.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Lifetimes {
    /// New flows may use it.
    pub preferred: u32,
    /// It is ours.
    pub valid: u32,
}

/// A route of ours.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct OwnRoute {
    /// The destinations.
    pub prefix: Ipv6Net,
    /// The interface; `None`: they are unreachable.
    pub ifindex: Option<u32>,
    /// The router; `None`: on the link itself.
    pub gateway: Option<Ipv6Addr>,
    /// The smaller the better.
    pub metric: u32,
    /// What the kernel chooses by among routes of one metric (RFC 4191 §2.1).
    pub preference: RouterPreference,
}

/// Gives an interface an address, or new lifetimes to one that it has. The kernel looks for duplicates by itself. No prefix is on
/// the link because of it (RFC 8415 §18.2.10.1): it has all 128 bits, and no route of its own (IFA_F_NOPREFIXROUTE).
///
/// # Errors
/// The kernel's: ENODEV, or EACCES where IPv6 is off on the interface.
pub fn put_address(ifindex: u32, address: Ipv6Addr, lifetimes: Lifetimes) -> io::Result<()> {
    let mut message = of_address(ifindex, address);
    let mut cache = CacheInfo::default();
    (cache.ifa_preferred, cache.ifa_valid) = (lifetimes.preferred, lifetimes.valid);
    message.attributes.extend([
        AddressAttribute::Flags(AddressFlags::Noprefixroute),
        AddressAttribute::CacheInfo(cache),
        // Linux 5.18; before that, the kernel passes over it.
        AddressAttribute::Protocol(AddressProtocol::Other(ADDRESS_PROTOCOL_MIF)),
    ]);
    let flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE;
    ask(RouteNetlinkMessage::NewAddress(message), flags).map(drop)
}

/// Takes an address from an interface. One that is gone already is no error.
///
/// # Errors
/// The kernel's.
pub fn remove_address(ifindex: u32, address: Ipv6Addr) -> io::Result<()> {
    let message = RouteNetlinkMessage::DelAddress(of_address(ifindex, address));
    gone_is_fine(ask(message, NLM_F_REQUEST | NLM_F_ACK))
}

fn of_address(ifindex: u32, address: Ipv6Addr) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = AddressFamily::Inet6;
    message.header.prefix_len = BITS;
    message.header.index = ifindex;
    message.attributes.push(AddressAttribute::Address(address.into()));
    message
}

/// Puts a route into the main table, in the place of one of its destination and metric, for so many seconds.
///
/// # Errors
/// The kernel's: ENODEV, EHOSTUNREACH where the router is on no link.
pub fn put_route(route: &OwnRoute, seconds: u32) -> io::Result<()> {
    let mut message = of_route(route);
    if seconds != u32::MAX {
        // A daemon that died takes nothing back.
        message.attributes.push(RouteAttribute::Expires(seconds));
    }
    let flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE;
    ask(RouteNetlinkMessage::NewRoute(message), flags).map(drop)
}

/// Removes a route. One that is gone already is no error.
///
/// # Errors
/// The kernel's.
pub fn remove_route(route: &OwnRoute) -> io::Result<()> {
    gone_is_fine(ask(RouteNetlinkMessage::DelRoute(of_route(route)), NLM_F_REQUEST | NLM_F_ACK))
}

fn of_route(route: &OwnRoute) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = AddressFamily::Inet6;
    message.header.destination_prefix_length = route.prefix.prefix_len();
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = RouteProtocol::from(ROUTE_PROTOCOL_MIF);
    message.header.scope = RouteScope::Universe;
    message.header.kind = if route.ifindex.is_some() { RouteType::Unicast } else { RouteType::Unreachable };
    let preference = match route.preference {
        RouterPreference::Low => RoutePreference::Low,
        RouterPreference::Medium => RoutePreference::Medium,
        RouterPreference::High => RoutePreference::High,
    };
    let attributes = &mut message.attributes;
    attributes.push(RouteAttribute::Destination(RouteAddress::Inet6(route.prefix.network())));
    attributes.push(RouteAttribute::Priority(route.metric));
    attributes.extend(route.gateway.map(|router| RouteAttribute::Gateway(RouteAddress::Inet6(router))));
    attributes.extend(route.ifindex.map(RouteAttribute::Oif));
    attributes.push(RouteAttribute::Preference(preference));
    message
}

/// What is there of ours: addresses with their interfaces. Before Linux 5.18 they cannot be told from others.
///
/// # Errors
/// When the kernel refuses to list them.
pub fn own_addresses() -> io::Result<Vec<(u32, Ipv6Addr)>> {
    let mut request = AddressMessage::default();
    request.header.family = AddressFamily::Inet6;
    let answers = ask(RouteNetlinkMessage::GetAddress(request), NLM_F_REQUEST | NLM_F_DUMP)?;
    let own = |answer| match answer {
        RouteNetlinkMessage::NewAddress(message) => own_address(&message),
        _ => None,
    };
    Ok(answers.into_iter().filter_map(own).collect())
}

fn own_address(message: &AddressMessage) -> Option<(u32, Ipv6Addr)> {
    let mut address = None;
    let mut own = false;
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Address(std::net::IpAddr::V6(found)) => address = Some(*found),
            AddressAttribute::Protocol(protocol) => own = u8::from(*protocol) == ADDRESS_PROTOCOL_MIF,
            _ => {}
        }
    }
    address.filter(|_| own).map(|address| (message.header.index, address))
}

/// The routes of ours, of all tables, as the kernel tells them.
///
/// # Errors
/// When the kernel refuses to list them.
pub fn own_routes() -> io::Result<Vec<RouteMessage>> {
    let mut request = RouteMessage::default();
    request.header.address_family = AddressFamily::Inet6;
    let answers = ask(RouteNetlinkMessage::GetRoute(request), NLM_F_REQUEST | NLM_F_DUMP)?;
    let own = |answer| match answer {
        RouteNetlinkMessage::NewRoute(route) => {
            (route.header.protocol == RouteProtocol::from(ROUTE_PROTOCOL_MIF)).then_some(route)
        }
        _ => None,
    };
    Ok(answers.into_iter().filter_map(own).collect())
}

/// A route of ours as the kernel told it; nothing for one that we never make.
#[must_use]
pub fn read_route(message: &RouteMessage) -> Option<OwnRoute> {
    let mut destination = Ipv6Addr::UNSPECIFIED;
    let (mut ifindex, mut gateway, mut metric) = (None, None, 0);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(RouteAddress::Inet6(found)) => destination = *found,
            RouteAttribute::Gateway(RouteAddress::Inet6(found)) => gateway = Some(*found),
            RouteAttribute::Oif(found) => ifindex = Some(*found),
            RouteAttribute::Priority(found) => metric = *found,
            _ => {}
        }
    }
    match message.header.kind {
        RouteType::Unicast => {}
        // The kernel puts the loopback interface there (ip6_route_info_create).
        RouteType::Unreachable => ifindex = None,
        _ => return None,
    }
    let prefix = Ipv6Net::new(destination, message.header.destination_prefix_length).ok()?;
    Some(OwnRoute { prefix, ifindex, gateway, metric, preference: RouterPreference::Medium })
}

/// Removes a route as the kernel told it. One that is gone already is no error.
///
/// # Errors
/// The kernel's.
pub fn remove_told_route(route: RouteMessage) -> io::Result<()> {
    gone_is_fine(ask(RouteNetlinkMessage::DelRoute(route), NLM_F_REQUEST | NLM_F_ACK))
}

fn gone_is_fine<T>(result: io::Result<T>) -> io::Result<()> {
    match result.map(drop) {
        Err(error)
            if matches!(
                error.raw_os_error(),
                Some(libc::ESRCH | libc::EADDRNOTAVAIL | libc::ENODEV | libc::ENXIO | libc::ENOENT)
            ) =>
        {
            Ok(())
        }
        result => result,
    }
}
