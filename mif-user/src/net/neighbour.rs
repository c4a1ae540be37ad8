//! Neighbours that the hooks will send to: resolved beforehand.
//!
//! A packet that tc egress redirects to a next hop whose link-layer address is not known yet waits in the neighbour's
//! queue, and leaves it by the neighbour of the packet's *old* route (`neigh_update` looks the neighbour up anew by the
//! packet's dst). So the kernel is asked to resolve every router as soon as the tables name it; from then on the entry is
//! there, at least as STALE, which sends at once.

use std::{io, net::IpAddr};

use netlink_packet_core::{
    NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage},
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

/// Asks the kernel to resolve a router, as if there were a packet for it (RTM_NEWNEIGH with NTF_USE). An entry that is there
/// stays as it is (NLM_F_EXCL): of one that the administrator has made permanent, NTF_USE would take the link-layer address
/// (`__neigh_update`). The answer, if the kernel refuses, is not waited for: the interface may be gone by now.
///
/// # Errors
/// When no socket can be made or the request cannot be sent.
pub fn resolve(ifindex: u32, address: IpAddr) -> io::Result<()> {
    let mut body = NeighbourMessage::default();
    let (family, address) = match address {
        IpAddr::V4(address) => (AddressFamily::Inet, NeighbourAddress::Inet(address)),
        IpAddr::V6(address) => (AddressFamily::Inet6, NeighbourAddress::Inet6(address)),
    };
    body.header.family = family;
    body.header.ifindex = ifindex;
    // What this message does not say of being a router, the kernel takes back (NEIGH_UPDATE_F_OVERRIDE_ISROUTER).
    body.header.flags = NeighbourFlags::Use | NeighbourFlags::Router;
    body.attributes.push(NeighbourAttribute::Destination(address));
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_CREATE | NLM_F_EXCL;
    let payload = NetlinkPayload::from(RouteNetlinkMessage::NewNeighbour(body));
    let mut message = NetlinkMessage::new(header, payload);
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    Socket::new(NETLINK_ROUTE)?.send_to(&bytes, &SocketAddr::new(0, 0), 0).map(drop)
}
