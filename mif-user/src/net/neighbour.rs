//! Neighbours that the hooks will send to: resolved beforehand.
//!
//! A packet that tc egress redirects to a next hop whose link-layer address is not known yet waits in the neighbour's
//! queue, and leaves it by the neighbour of the packet's *old* route (`neigh_update` looks the neighbour up anew by the
//! packet's dst). So the kernel is asked to resolve every router as soon as the tables name it; from then on the entry is
//! there, at least as STALE, which sends at once.

use std::{io, net::IpAddr};

use netlink_packet_core::{NLM_F_ACK, NLM_F_CREATE, NLM_F_REPLACE, NLM_F_REQUEST};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState},
};

use super::ask::{ask, tell};

/// Asks the kernel to resolve a router, as if there were a packet for it (RTM_NEWNEIGH with NTF_USE). What is resolved
/// already stays as it is, and so does what the administrator set: NTF_USE would take the permanence from an entry
/// (`__neigh_update`), and then its address.
///
/// # Errors
/// When no socket can be made, or the kernel refuses: the interface may be gone by now.
pub fn resolve(ifindex: u32, address: IpAddr) -> io::Result<()> {
    if is_static(ifindex, address)? {
        return Ok(());
    }
    let mut message = entry(ifindex, address);
    // What this message does not say of being a router, the kernel takes back (NEIGH_UPDATE_F_OVERRIDE_ISROUTER).
    message.header.flags = NeighbourFlags::Use | NeighbourFlags::Router;
    let flags = NLM_F_REQUEST | NLM_F_CREATE | NLM_F_ACK;
    ask(RouteNetlinkMessage::NewNeighbour(message), flags).map(drop)
}

/// Tells the kernel to go on with a neighbour's link-layer address although it does not answer (NUD_STALE). What waits for it is let
/// go first (NUD_FAILED): it would leave by the neighbour of its route, where that is another one.
///
/// # Errors
/// When no socket can be made, or the kernel refuses: the entry or the interface may be gone by now.
pub fn keep(ifindex: u32, address: IpAddr, link_layer: &[u8]) -> io::Result<()> {
    change(ifindex, address, &[NeighbourState::Failed, NeighbourState::Stale], link_layer)
}

/// Makes the kernel ask a neighbour at its link-layer address whether it is there (NUD_PROBE).
///
/// # Errors
/// As [`keep`].
pub fn probe(ifindex: u32, address: IpAddr, link_layer: &[u8]) -> io::Result<()> {
    change(ifindex, address, &[NeighbourState::Probe], link_layer)
}

/// Puts an entry that is there into these states one after the other, in one datagram so that little comes between.
fn change(ifindex: u32, address: IpAddr, states: &[NeighbourState], link_layer: &[u8]) -> io::Result<()> {
    let messages = states.iter().map(|state| {
        let mut message = entry(ifindex, address);
        message.header.state = *state;
        // See `resolve`. In IPv4 nobody looks at it.
        message.header.flags = NeighbourFlags::Router;
        message.attributes.push(NeighbourAttribute::LinkLayerAddress(link_layer.to_vec()));
        RouteNetlinkMessage::NewNeighbour(message)
    });
    tell(messages, NLM_F_REQUEST | NLM_F_REPLACE)
}

/// Whether the kernel has an entry that it never resolves (`ip neigh ... nud permanent`, `nud noarp`).
fn is_static(ifindex: u32, address: IpAddr) -> io::Result<bool> {
    // Asking for one entry: Linux 5.0.
    let question = RouteNetlinkMessage::GetNeighbour(entry(ifindex, address));
    match ask(question, NLM_F_REQUEST | NLM_F_ACK) {
        Ok(answers) => Ok(answers.iter().any(|answer| match answer {
            RouteNetlinkMessage::NewNeighbour(found) => {
                matches!(found.header.state, NeighbourState::Permanent | NeighbourState::Noarp)
            }
            _ => false,
        })),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(false),
        Err(error) => Err(error),
    }
}

fn entry(ifindex: u32, address: IpAddr) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    let (family, address) = match address {
        IpAddr::V4(address) => (AddressFamily::Inet, NeighbourAddress::Inet(address)),
        IpAddr::V6(address) => (AddressFamily::Inet6, NeighbourAddress::Inet6(address)),
    };
    message.header.family = family;
    message.header.ifindex = ifindex;
    message.attributes.push(NeighbourAttribute::Destination(address));
    message
}
