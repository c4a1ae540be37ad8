//! Routes of `mif`'s own protocol in the kernel.

use anyhow::{Context as _, Result};
use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    route::{RouteMessage, RouteProtocol},
};

use crate::net::{ROUTE_PROTOCOL_MIF, ask::ask};

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
