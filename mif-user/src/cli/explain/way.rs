//! Where the packets of a connection go: as the hooks make it, or as the kernel's own routes have it where they leave a socket
//! alone. What tc egress makes of the kernel's choice is part of it.

use std::{io, net::Ipv6Addr};

use mif_common::{
    Reason,
    abi::{Config, Decision},
    decide::{self, Outcome, Packet, Rule, Socket, Tables as _, Verdict},
};
use mif_core::{
    family::{mapped, shown},
    select::host::HostTables,
};

use crate::{
    kernel::maps::{Maps, MapsError},
    net::lookup::lookup,
};

/// Where packets go.
#[derive(Debug, Default)]
pub(super) struct Way {
    /// `None` where nothing leaves, or nobody can say by where.
    pub hop: Option<Hop>,
    /// What the kernel answers to connect(2).
    pub kernel_error: Option<String>,
}

/// Source, interface and next hop.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hop {
    /// The tables, or else the kernel's own routing.
    pub by_tables: bool,
    /// Unspecified where the kernel does not say.
    pub source: Ipv6Addr,
    /// The interface.
    pub ifindex: u32,
    /// The router, unspecified where there is none.
    pub next_hop: Ipv6Addr,
    /// What tc egress does to the packets.
    pub egress: Outcome,
}

/// The way of a connection with this outcome.
///
/// # Errors
/// When the maps cannot be read.
pub(super) fn of(
    config: &Config,
    maps: &Maps,
    tables: &mut HostTables,
    rule: &Rule,
    socket: &Socket,
    connect: &Outcome,
    at_home: bool,
) -> Result<Way, MapsError> {
    if connect.verdict == Verdict::Refuse {
        return Ok(Way::default());
    }
    // A hook that changes nothing leaves what the application bound.
    let bound = |chosen: u32| if chosen == 0 { socket.ifindex } else { chosen };
    let unless = |chosen: mif_common::Addr| if chosen.is_unspecified() { socket.source } else { chosen };
    let applied = connect.verdict == Verdict::Apply;
    let source = if applied { unless(connect.source) } else { socket.source };
    let ifindex = if applied { bound(connect.ifindex) } else { socket.ifindex };
    let asked = at_home.then(|| ask_kernel(socket.destination.into(), source.into(), ifindex));
    let kernel_error = match &asked {
        Some(Err(error)) => Some(error.to_string()),
        _ => None,
    };
    let by_kernel = asked.and_then(Result::ok);
    // What the tables chose or confirmed they also know the way of; the kernel has the rest.
    let decision = tables.decision(rule.view, &socket.destination).copied();
    let owner = tables.source(&source).copied();
    let hop = match (connect.reason, decision, owner) {
        (Reason::Applied | Reason::InterfaceOnly, Some(Decision { next_hop, ifindex, .. }), _) => {
            Some((true, source.into(), ifindex, next_hop.into()))
        }
        (Reason::FollowedSource | Reason::Consistent, _, Some(owner)) => {
            let on_link =
                owner.on_link_bits != 0 && socket.destination.shares_prefix(&source, owner.on_link_bits);
            let next_hop = if on_link { Ipv6Addr::UNSPECIFIED } else { owner.next_hop.into() };
            Some((true, source.into(), owner.ifindex, next_hop))
        }
        _ => by_kernel.map(|(source, ifindex, next_hop)| (false, source, ifindex, next_hop)),
    };
    let Some((by_tables, source, ifindex, next_hop)) = hop else {
        return Ok(Way { hop: None, kernel_error });
    };
    super::fetch_source(maps, tables, rule.view, source)?;
    let packet = Packet { source: source.into(), destination: socket.destination, ifindex };
    let egress = decide::egress(tables, config, &packet, || *rule);
    let (ifindex, next_hop) = match egress.verdict {
        Verdict::Apply => (egress.ifindex, egress.next_hop.into()),
        Verdict::Pass | Verdict::Refuse => (ifindex, next_hop),
    };
    // A neighbour is its own next hop.
    let itself = Ipv6Addr::from(socket.destination);
    let next_hop = if next_hop == itself { Ipv6Addr::UNSPECIFIED } else { next_hop };
    Ok(Way { hop: Some(Hop { by_tables, source, ifindex, next_hop, egress }), kernel_error })
}

/// Source, interface and next hop that the kernel chooses for a socket that is bound to `source` and `ifindex`, if any.
fn ask_kernel(
    destination: Ipv6Addr,
    source: Ipv6Addr,
    ifindex: u32,
) -> io::Result<(Ipv6Addr, u32, Ipv6Addr)> {
    let bound = (!source.is_unspecified()).then(|| shown(source));
    let found = lookup(shown(destination), bound, ifindex)?;
    let or_none = |address: Option<std::net::IpAddr>| address.map_or(Ipv6Addr::UNSPECIFIED, mapped);
    Ok((or_none(found.source), found.ifindex, or_none(found.next_hop)))
}
