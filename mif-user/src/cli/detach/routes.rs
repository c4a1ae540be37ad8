//! Routes of `mif`'s own protocol in the kernel.

use std::io;

use anyhow::{Context as _, Result};
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    route::{RouteMessage, RouteProtocol},
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

use crate::net::ROUTE_PROTOCOL_MIF;

/// Netlink messages are aligned to this (NLMSG_ALIGNTO).
const ALIGNMENT: usize = 4;

/// The routes, of all tables.
///
/// # Errors
/// When the kernel refuses to list them.
pub fn own() -> Result<Vec<RouteMessage>> {
    let mut request = RouteMessage::default();
    request.header.address_family = AddressFamily::Inet6;
    let flags = NLM_F_REQUEST | NLM_F_DUMP;
    let answers = ask(RouteNetlinkMessage::GetRoute(request), flags).context("cannot list the routes")?;
    let own = |message| match message {
        RouteNetlinkMessage::NewRoute(route) => {
            (route.header.protocol == RouteProtocol::from(ROUTE_PROTOCOL_MIF)).then_some(route)
        }
        _ => None,
    };
    Ok(answers.into_iter().filter_map(own).collect())
}

/// Removes them; how many there were.
///
/// # Errors
/// When the kernel refuses.
pub fn remove() -> Result<usize> {
    let routes = own()?;
    for route in &routes {
        match ask(RouteNetlinkMessage::DelRoute(route.clone()), NLM_F_REQUEST | NLM_F_ACK) {
            // Gone with its interface since it was listed.
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
            result => drop(result.context("cannot remove a route")?),
        }
    }
    Ok(routes.len())
}

/// One request, and all that the kernel answers.
fn ask(message: RouteNetlinkMessage, flags: u16) -> io::Result<Vec<RouteNetlinkMessage>> {
    let socket = Socket::new(NETLINK_ROUTE)?;
    socket.connect(&SocketAddr::new(0, 0))?;
    let mut header = NetlinkHeader::default();
    header.flags = flags;
    let mut request = NetlinkMessage::new(header, NetlinkPayload::from(message));
    request.finalize();
    let mut bytes = vec![0; request.buffer_len()];
    request.serialize(&mut bytes);
    socket.send(&bytes, 0)?;
    let mut answers = Vec::new();
    loop {
        let (datagram, _) = socket.recv_from_full()?;
        let mut rest = datagram.as_slice();
        while !rest.is_empty() {
            let message =
                NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest).map_err(io::Error::other)?;
            let length = (message.header.length as usize).next_multiple_of(ALIGNMENT);
            match message.payload {
                NetlinkPayload::Done(_) => return Ok(answers),
                NetlinkPayload::Error(error) => {
                    // An error of code 0 is the acknowledgement.
                    return if error.code.is_none() { Ok(answers) } else { Err(error.to_io()) };
                }
                NetlinkPayload::InnerMessage(message) => answers.push(message),
                _ => {}
            }
            rest = rest.get(length..).unwrap_or_default();
        }
    }
}
