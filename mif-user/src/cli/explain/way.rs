//! Where the packets of a connection go: source and interface as the hooks make them, or as the kernel has them where the hooks
//! leave a socket alone; from there on by the kernel's routes, and what tc egress makes of that.

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

/// The way of a connection with this outcome, which is not a refusal.
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
    let decision = tables.decision(rule.view, &socket.destination).copied();
    let owner = tables.source(&source).copied();
    // On an interface that the tables chose or confirmed the kernel's routes lead on. What the tables have is for where it
    // cannot be asked.
    let next_hop = |unasked: mif_common::Addr| by_kernel.map_or(unasked.into(), |(_, _, next_hop)| next_hop);
    let hop = match (connect.reason, decision, owner) {
        (Reason::Applied | Reason::InterfaceOnly, Some(Decision { next_hop: said, ifindex, .. }), _) => {
            Some((true, source.into(), ifindex, next_hop(said)))
        }
        (Reason::FollowedSource | Reason::Consistent, _, Some(owner)) => {
            Some((true, source.into(), owner.ifindex, next_hop(owner.next_hop)))
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
