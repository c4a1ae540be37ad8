//! The kernel's own choice of route and source, as `ip route get` shows it: what it does with a socket that the hooks leave
//! alone.

use std::{io, net::IpAddr};

use netlink_packet_core::{NLM_F_ACK, NLM_F_REQUEST};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    route::{RouteAddress, RouteAttribute, RouteMessage},
};

use super::ask::ask;

/// What the kernel would do.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct KernelRoute {
    /// The source, `None` where it names none.
    pub source: Option<IpAddr>,
    /// The interface, 0 where it names none.
    pub ifindex: u32,
    /// The router, `None` where the destination is on-link.
    pub next_hop: Option<IpAddr>,
}

/// The question (RTM_GETROUTE), for a socket that is bound to this source and interface, if any. The policy rules of the
/// kernel apply, but for those about marks, users and ports. No packet is sent and no hook runs.
///
/// # Errors
/// The kernel's own, `ENETUNREACH` above all: connect(2) would fail like this.
pub fn lookup(destination: IpAddr, source: Option<IpAddr>, ifindex: u32) -> io::Result<KernelRoute> {
    let mut request = RouteMessage::default();
    let (family, bits) = match destination {
        IpAddr::V4(_) => (AddressFamily::Inet, 32),
        IpAddr::V6(_) => (AddressFamily::Inet6, 128),
    };
    request.header.address_family = family;
    request.header.destination_prefix_length = bits;
    request.attributes.push(RouteAttribute::Destination(destination.into()));
    // With an interface and without a source the kernel looks at routes of that interface only, as it does for a socket that
    // is bound to it (RT6_LOOKUP_F_IFACE in ip6_route_output_flags_noref); with both it would not. In IPv4 there is no such
    // difference.
    if let Some(source) = source.filter(|source| source.is_ipv4() || ifindex == 0) {
        request.header.source_prefix_length = bits;
        request.attributes.push(RouteAttribute::Source(source.into()));
    }
    if ifindex != 0 {
        request.attributes.push(RouteAttribute::Oif(ifindex));
    }
    // With an acknowledgement the answer has an end; an error is one too.
    let answers = ask(RouteNetlinkMessage::GetRoute(request), NLM_F_REQUEST | NLM_F_ACK)?;
    let route = answers.into_iter().find_map(|answer| match answer {
        RouteNetlinkMessage::NewRoute(route) => Some(route),
        _ => None,
    });
    let route = route.ok_or_else(|| io::Error::other("the kernel answered with no route"))?;
    let found = read(&route);
    Ok(KernelRoute { source: source.or(found.source), ..found })
}

fn read(message: &RouteMessage) -> KernelRoute {
    let mut route = KernelRoute::default();
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Oif(ifindex) => route.ifindex = *ifindex,
            RouteAttribute::PrefSource(source) => route.source = address(source),
            RouteAttribute::Gateway(router) => route.next_hop = address(router),
            RouteAttribute::Via(via) => {
                route.next_hop = match via {
                    netlink_packet_route::route::RouteVia::Inet(router) => Some((*router).into()),
                    netlink_packet_route::route::RouteVia::Inet6(router) => Some((*router).into()),
                    _ => None,
                };
            }
            _ => {}
        }
    }
    route
}

fn address(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some((*address).into()),
        RouteAddress::Inet6(address) => Some((*address).into()),
        _ => None,
    }
}
