//! From one kernel message to what it changes. Pure: bytes in, values out.

use std::{
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

use ipnet::{IpNet, Ipv6Net};
use mif_core::{
    family::{Family, mapped, mapped_net},
    nud::{Neighbour, NextHop, State},
    pvd::event::{Address, Event, KernelRoute, Link, RouteProtocol},
    time::{Deadline, Time},
    wire::RouterPreference,
};
use netlink_packet_core::{DecodeError, NLM_F_REPLACE, NlasIterator, Parseable, parse_string, parse_u32};
use netlink_packet_route::{
    AddressFamily,
    address::{AddressAttribute, AddressFlags, AddressMessage},
    link::{LinkFlags, LinkHeader},
    neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState},
    route::{
        RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RoutePreference,
        RouteProtocol as RouteProtocolNumber, RouteType, RouteVia,
    },
    rule::RuleMessage,
};
use nix::unistd::{SysconfVar, sysconf};

use super::super::ROUTE_PROTOCOL_MIF;

/// What a message changes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Change {
    /// As it is.
    Event(Event),
    /// A neighbour's state, for whoever knows whether it matters.
    Neighbour {
        news: Neighbour,
        /// NTF_ROUTER: it said so in a Neighbor or Router Advertisement.
        router: bool,
    },
    /// The kernel is asking a neighbour, and says nothing of it.
    Asked {
        next_hop: NextHop,
        router: bool,
    },
    /// What the kernel has is not known any more: it changed something without a word.
    Unsure,
    Rule(RuleMessage),
    RuleGone(RuleMessage),
}

/// Whether a message announces a route that took the place of others, which end without a word.
const fn replaces(kind: u16, flags: u16) -> bool {
    kind == libc::RTM_NEWROUTE && flags & NLM_F_REPLACE != 0
}

/// The changes of one message, whose header has these flags; none for what is not ours (other families, other tables, bridge
/// ports).
///
/// # Errors
/// When a message of a kind we know cannot be read.
pub(super) fn changes(kind: u16, flags: u16, payload: &[u8], now: Time) -> Result<Vec<Change>, DecodeError> {
    let event = |event: Option<Event>| event.map(Change::Event).into_iter().collect();
    Ok(match kind {
        libc::RTM_NEWLINK => event(link(payload)?.map(Event::Link)),
        libc::RTM_DELLINK => {
            let header = LinkHeader::parse(payload)?;
            // AF_BRIDGE: a port left its bridge; the interface stays.
            let gone = header.interface_family == AddressFamily::Unspec;
            event(gone.then_some(Event::LinkGone { ifindex: header.index }))
        }
        libc::RTM_NEWADDR => event(address(&AddressMessage::parse(payload)?, now).map(Event::Address)),
        libc::RTM_DELADDR => event(address(&AddressMessage::parse(payload)?, now).map(Event::AddressGone)),
        libc::RTM_NEWROUTE => {
            let message = RouteMessage::parse(payload)?;
            let routes = routes(&message, now);
            // One of several next hops says nothing of how many were replaced; and what is replaced in the local table is of there.
            let replaced = match &routes[..] {
                [] => None,
                _ if message.header.kind == RouteType::Local => None,
                [route] => Some(Change::Event(Event::RouteReplaced(route.clone()))),
                _ => Some(Change::Unsure),
            };
            let replaced = replaced.filter(|_| replaces(kind, flags));
            replaced
                .into_iter()
                .chain(routes.into_iter().map(|route| Change::Event(Event::Route(route))))
                .collect()
        }
        libc::RTM_DELROUTE => {
            let routes = routes(&RouteMessage::parse(payload)?, now);
            routes.into_iter().map(|route| Change::Event(Event::RouteGone(route))).collect()
        }
        libc::RTM_NEWNEIGH => neighbour(&NeighbourMessage::parse(payload)?).into_iter().collect(),
        // Nothing is known of it any more, which counts as reachable (RFC 4191 §3.2): the next packet finds out.
        libc::RTM_DELNEIGH => {
            neighbour_is(State::Gone, &NeighbourMessage::parse(payload)?).into_iter().collect()
        }
        libc::RTM_NEWRULE => rule(payload)?.map(Change::Rule).into_iter().collect(),
        libc::RTM_DELRULE => rule(payload)?.map(Change::RuleGone).into_iter().collect(),
        _ => Vec::new(),
    })
}

/// Only name and MTU are read: the rest of a link message is large, and newer kernels and drivers add to it.
fn link(payload: &[u8]) -> Result<Option<Link>, DecodeError> {
    /// `sizeof(struct ifinfomsg)`
    const HEADER: usize = 16;
    let header = LinkHeader::parse(payload)?;
    if header.interface_family != AddressFamily::Unspec {
        return Ok(None);
    }
    let (mut name, mut mtu, mut of_vrf) = (None, None, false);
    for attribute in NlasIterator::new(&payload[HEADER..]) {
        let attribute = attribute?;
        match attribute.kind() {
            libc::IFLA_IFNAME => name = Some(parse_string(attribute.value())?),
            libc::IFLA_MTU => mtu = Some(parse_u32(attribute.value())?),
            libc::IFLA_LINKINFO => of_vrf = is_of_vrf(attribute.value())?,
            _ => {}
        }
    }
    // Wireless events are RTM_NEWLINK without most attributes; they do not describe the link.
    let (Some(name), Some(mtu)) = (name, mtu) else { return Ok(None) };
    Ok(Some(Link {
        ifindex: header.index,
        name,
        up: header.flags.contains(LinkFlags::Up | LinkFlags::LowerUp),
        loopback: header.flags.contains(LinkFlags::Loopback) || of_vrf,
        mtu,
    }))
}

/// Whether IFLA_LINKINFO is that of a VRF or of an interface in one.
fn is_of_vrf(info: &[u8]) -> Result<bool, DecodeError> {
    for attribute in NlasIterator::new(info) {
        let attribute = attribute?;
        if matches!(attribute.kind(), libc::IFLA_INFO_KIND | IFLA_INFO_SLAVE_KIND)
            && parse_string(attribute.value())? == "vrf"
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// if_link.h; libc does not name it.
const IFLA_INFO_SLAVE_KIND: u16 = 4;

/// The family, if it is one of ours.
fn family(family: AddressFamily) -> Option<Family> {
    match family {
        AddressFamily::Inet => Some(Family::Ipv4),
        AddressFamily::Inet6 => Some(Family::Ipv6),
        _ => None,
    }
}

fn address(message: &AddressMessage, now: Time) -> Option<Address> {
    let family = family(message.header.family)?;
    // IFA_FLAGS carries what does not fit the header's eight bits.
    let mut flags = AddressFlags::from_bits_retain(message.header.flags.bits().into());
    let (mut local, mut either) = (None, None);
    let (mut valid_until, mut preferred_until) = (Deadline::NEVER, Deadline::NEVER);
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(address) => local = Some(*address),
            AddressAttribute::Address(address) => either = Some(*address),
            AddressAttribute::Flags(all) => flags = *all,
            AddressAttribute::CacheInfo(info) => {
                valid_until = Deadline::from_lifetime(info.ifa_valid, now);
                preferred_until = Deadline::from_lifetime(info.ifa_preferred, now);
            }
            _ => {}
        }
    }
    // With a peer, IFA_LOCAL is ours and IFA_ADDRESS the peer's; without one IPv6 has only IFA_ADDRESS.
    let address = local.or(either).filter(|address| Family::of(mapped(*address)) == family)?;
    let net = IpNet::new(address, message.header.prefix_len).ok()?;
    let optimistic = flags.contains(AddressFlags::Optimistic);
    Some(Address {
        ifindex: message.header.index,
        address: mapped(address),
        prefix_len: mapped_net(net).prefix_len(),
        peer: either.filter(|far| local.is_some_and(|near| near != *far)).map(mapped),
        tentative: flags.contains(AddressFlags::Tentative) && !optimistic,
        optimistic,
        dad_failed: flags.contains(AddressFlags::Dadfailed),
        deprecated: flags.contains(AddressFlags::Deprecated),
        // IFA_F_TEMPORARY is the IPv6 name of IFA_F_SECONDARY (if_addr.h).
        temporary: family == Family::Ipv6 && flags.contains(AddressFlags::Secondary),
        secondary: family == Family::Ipv4 && flags.contains(AddressFlags::Secondary),
        permanent: flags.contains(AddressFlags::Permanent),
        valid_until,
        preferred_until,
    })
}

/// The routes of one message, one for each next hop.
fn routes(message: &RouteMessage, now: Time) -> Vec<KernelRoute> {
    let header = &message.header;
    let refuses = match header.kind {
        RouteType::Unicast => false,
        RouteType::BlackHole | RouteType::Unreachable | RouteType::Prohibit | RouteType::Throw => true,
        // A range of addresses that the administrator gave this host. Those of its interfaces are the kernel's, and known.
        RouteType::Local if header.protocol != RouteProtocolNumber::Kernel => true,
        _ => return Vec::new(),
    };
    let home =
        if header.kind == RouteType::Local { libc::RT_TABLE_LOCAL } else { RouteHeader::RT_TABLE_MAIN };
    // A source prefix (RTA_SRC) makes the route one of some sources only, which a KernelRoute cannot say. To leave it out
    // is safe: the kernel still applies it to packets whose source it fits.
    let Some(family) = family(header.address_family) else { return Vec::new() };
    // The same holds of routes for one type of service, which IPv4 has.
    if header.source_prefix_length != 0 || header.tos != 0 || header.flags.contains(RouteFlags::Cloned) {
        return Vec::new();
    }
    let mut destination: IpAddr = match family {
        Family::Ipv4 => std::net::Ipv4Addr::UNSPECIFIED.into(),
        Family::Ipv6 => Ipv6Addr::UNSPECIFIED.into(),
    };
    let mut table = u32::from(header.table);
    let mut route = KernelRoute {
        prefix: Ipv6Net::default(),
        ifindex: 0,
        gateway: None,
        metric: 0,
        preference: RouterPreference::Medium,
        preferred_source: None,
        protocol: protocol(header.protocol.into()),
        refuses,
        valid_until: Deadline::NEVER,
    };
    let mut next_hops = None;
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(address) => destination = ip(address).unwrap_or(destination),
            RouteAttribute::Table(number) => table = *number,
            RouteAttribute::Oif(ifindex) => route.ifindex = *ifindex,
            RouteAttribute::Gateway(_) | RouteAttribute::Via(_) => route.gateway = gateway(attribute),
            RouteAttribute::Priority(metric) => route.metric = *metric,
            RouteAttribute::Preference(preference) => route.preference = router_preference(*preference),
            RouteAttribute::PrefSource(address) => route.preferred_source = ip(address).map(mapped),
            RouteAttribute::CacheInfo(info) => route.valid_until = expiry(info.expires, now),
            RouteAttribute::MultiPath(hops) => next_hops = Some(hops),
            _ => {}
        }
    }
    let Ok(prefix) = IpNet::new(destination, header.destination_prefix_length) else { return Vec::new() };
    if table != u32::from(home) {
        return Vec::new();
    }
    route.prefix = mapped_net(prefix);
    if Family::of_net(route.prefix) != family {
        return Vec::new();
    }
    if refuses {
        // The kernel puts the loopback interface there (ip6_route_info_create); such a route leads nowhere.
        route.ifindex = 0;
    }
    let Some(next_hops) = next_hops else { return vec![route] };
    let hop = |hop: &netlink_packet_route::route::RouteNextHop| KernelRoute {
        ifindex: hop.interface_index,
        gateway: hop.attributes.iter().find_map(gateway),
        ..route.clone()
    };
    next_hops.iter().map(hop).collect()
}

/// The router that an attribute names: RTA_GATEWAY, or RTA_VIA where its family is not the route's.
fn gateway(attribute: &RouteAttribute) -> Option<Ipv6Addr> {
    match attribute {
        RouteAttribute::Gateway(address) => ip(address).map(mapped),
        RouteAttribute::Via(RouteVia::Inet(address)) => Some(address.to_ipv6_mapped()),
        RouteAttribute::Via(RouteVia::Inet6(address)) => Some(*address),
        _ => None,
    }
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some((*address).into()),
        RouteAddress::Inet6(address) => Some((*address).into()),
        _ => None,
    }
}

/// rtnetlink.h; libc does not name them.
const RTPROT_RA: u8 = 9;
const RTPROT_DHCP: u8 = 16;

fn protocol(number: u8) -> RouteProtocol {
    match number {
        libc::RTPROT_KERNEL => RouteProtocol::Kernel,
        RTPROT_RA => RouteProtocol::RouterAdvertisement,
        RTPROT_DHCP => RouteProtocol::Dhcp,
        ROUTE_PROTOCOL_MIF => RouteProtocol::Mif,
        other => RouteProtocol::Other(other),
    }
}

const fn router_preference(preference: RoutePreference) -> RouterPreference {
    match preference {
        RoutePreference::Low => RouterPreference::Low,
        RoutePreference::High => RouterPreference::High,
        // RFC 4191 §2.2: the reserved value is read as Medium.
        _ => RouterPreference::Medium,
    }
}

/// `rta_cacheinfo.rta_expires`: clock ticks from now, 0 for never, negative once it has passed (rtnl_put_cacheinfo).
fn expiry(ticks: u32, now: Time) -> Deadline {
    match ticks.cast_signed() {
        0 => Deadline::NEVER,
        passed if passed < 0 => Deadline::at(now),
        left => Deadline::at(now.after(Duration::from_secs(1) * left.unsigned_abs() / ticks_per_second())),
    }
}

/// USER_HZ, the unit of `rta_expires`: 100 on every architecture but Alpha and Itanium.
fn ticks_per_second() -> u32 {
    const USER_HZ: u32 = 100;
    sysconf(SysconfVar::CLK_TCK).ok().flatten().and_then(|hz| u32::try_from(hz).ok()).unwrap_or(USER_HZ)
}

fn neighbour(message: &NeighbourMessage) -> Option<Change> {
    let state = match message.header.state {
        NeighbourState::Failed => State::Failed,
        // Being resolved: nothing is known yet, and of one that was dead nothing else.
        NeighbourState::Incomplete => {
            let Change::Neighbour { news, router } = neighbour_is(State::Gone, message)? else { return None };
            return Some(Change::Asked { next_hop: news.next_hop, router });
        }
        NeighbourState::None => return None,
        NeighbourState::Reachable => State::Reachable,
        NeighbourState::Probe => State::Probe,
        NeighbourState::Permanent | NeighbourState::Noarp => State::Static,
        _ => State::Stale,
    };
    neighbour_is(state, message)
}

fn neighbour_is(state: State, message: &NeighbourMessage) -> Option<Change> {
    family(message.header.family)?;
    let (mut address, mut link_layer) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(found)) => {
                address = Some(found.to_ipv6_mapped());
            }
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(found)) => address = Some(*found),
            NeighbourAttribute::LinkLayerAddress(found) => link_layer = Some(found.clone()),
            _ => {}
        }
    }
    let address = address.filter(|address| !address.is_multicast())?;
    let next_hop = (message.header.ifindex, address);
    let router = message.header.flags.contains(NeighbourFlags::Router);
    Some(Change::Neighbour { news: Neighbour { next_hop, state, link_layer }, router })
}

fn rule(payload: &[u8]) -> Result<Option<RuleMessage>, DecodeError> {
    let rule = RuleMessage::parse(payload)?;
    Ok(family(rule.header.family).map(|_| rule))
}

#[cfg(test)]
mod tests;
