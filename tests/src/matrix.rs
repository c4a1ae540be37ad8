//! Every kind of flow from every source to every server, and what became of each.

use std::{
    fmt,
    net::{Ipv6Addr, SocketAddrV6},
};

use anyhow::Result;

use crate::{
    application::{Application, Place},
    cgroup::Cgroup,
    echo::{PORT, Transport},
    flow::{Flow, Kind, Report},
    internet::{SERVERS, at_echo},
    packet,
    tap::Seen,
    world::World,
};

/// The rows of the table, in its order.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Group {
    /// The host opens the flow and leaves the source to the system.
    Free(Kind),
    /// The host's application insists on one of the host's addresses.
    Bound(Kind),
    /// Somebody in the internet opens it, to one of the host's addresses; what counts is the reply.
    Reply(Transport),
}

/// In the table's order.
const GROUPS: [Group; 9] = [
    Group::Free(Kind::Tcp),
    Group::Free(Kind::UdpConnected),
    Group::Free(Kind::UdpUnconnected),
    Group::Bound(Kind::Tcp),
    Group::Bound(Kind::UdpConnected),
    Group::Bound(Kind::UdpUnconnected),
    Group::Bound(Kind::UdpPktinfo),
    Group::Reply(Transport::Tcp),
    Group::Reply(Transport::Udp),
];

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = |kind: &Kind| match kind {
            Kind::Tcp => "TCP",
            Kind::UdpConnected => "UDP connected",
            Kind::UdpUnconnected => "UDP unconnected",
            Kind::UdpPktinfo => "UDP with IPV6_PKTINFO",
        };
        match self {
            Self::Free(free) => f.pad(kind(free)),
            Self::Bound(Kind::UdpPktinfo) => f.pad(kind(&Kind::UdpPktinfo)),
            Self::Bound(bound) => f.pad(&format!("{} from one address", kind(bound))),
            Self::Reply(Transport::Tcp) => f.pad("replies of a TCP server"),
            Self::Reply(Transport::Udp) => f.pad("replies of a UDP server"),
        }
    }
}

/// A flow and what became of it.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Its row.
    pub group: Group,
    /// What was asked for; for a reply, by the one in the internet.
    pub flow: Flow,
    /// What its application saw.
    pub report: Report,
    /// Its packets that a router's filter dropped.
    pub foreign: usize,
}

/// All outcomes.
#[derive(Clone, Debug)]
pub struct Matrix {
    outcomes: Vec<Outcome>,
    foreign: Vec<Seen>,
}

/// Opens all flows at once, the host's in `cgroup` if one is given, from and to the addresses that the host has from its providers
/// (not: renumbered ones), and waits for their ends. Forgets first what the routers and the internet saw before.
///
/// # Errors
/// An application could not run, or a tap lost packets.
pub fn run(world: &World, cgroup: Option<&Cgroup>) -> Result<Matrix> {
    world.forget()?;
    let mut sources = Vec::new();
    for router in world.routers() {
        sources.extend(world.host.address_in(&router.isp().lan)?);
    }
    let host = world.host.place(cgroup);
    let all_addresses = SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, PORT, 0, 0);
    let _server = host.serve(&[all_addresses])?;

    let mut started = Vec::new();
    for group in GROUPS {
        for (place, flow) in flows(group, &sources, host, world.internet.place()) {
            started.push((group, place.start(&flow)?, flow));
        }
    }
    let finish = |(group, mut application, flow): (Group, Application, Flow)| {
        Ok(Outcome { group, report: application.report()?, flow, foreign: 0 })
    };
    let mut outcomes = started.into_iter().map(finish).collect::<Result<Vec<_>>>()?;
    let foreign = world.foreign()?;
    for outcome in &mut outcomes {
        outcome.foreign = foreign.iter().filter(|packet| belongs(packet, outcome)).count();
    }
    Ok(Matrix { outcomes, foreign })
}

fn flows<'a>(
    group: Group,
    sources: &[Ipv6Addr],
    host: Place<'a>,
    internet: Place<'a>,
) -> Vec<(Place<'a>, Flow)> {
    let to_servers = |kind| SERVERS.map(|server| Flow::new(kind, at_echo(server))).to_vec();
    match group {
        Group::Free(kind) => to_servers(kind).into_iter().map(|flow| (host, flow)).collect(),
        Group::Bound(kind) => {
            let from = |flow: Flow| sources.iter().map(move |&source| (host, flow.clone().from(source)));
            to_servers(kind).into_iter().flat_map(from).collect()
        }
        Group::Reply(transport) => {
            let kind = if transport == Transport::Tcp { Kind::Tcp } else { Kind::UdpConnected };
            sources.iter().map(|&address| (internet, Flow::new(kind, at_echo(address)))).collect()
        }
    }
}

/// Whether a packet from the host is of this flow: by protocol, ports and the other end. The source is what is in question.
fn belongs(packet: &Seen, outcome: &Outcome) -> bool {
    let headers = &packet.headers;
    let (Some((from, to)), Some(local)) = (headers.ports, outcome.report.local) else { return false };
    let protocol = match outcome.flow.kind.transport() {
        Transport::Tcp => packet::TCP,
        Transport::Udp => packet::UDP,
    };
    let far = outcome.flow.destination;
    headers.protocol == protocol
        && match outcome.group {
            Group::Reply(_) => headers.source == *far.ip() && (from, to) == (far.port(), local.port()),
            Group::Bound(_) if outcome.flow.bind != Some(headers.source) => false,
            _ => headers.destination == *far.ip() && (from, to) == (local.port(), far.port()),
        }
}

impl Matrix {
    /// Every flow with its end.
    pub fn outcomes(&self) -> &[Outcome] {
        &self.outcomes
    }

    /// How many flows there were.
    pub fn total(&self) -> usize {
        self.outcomes.len()
    }

    /// How many flows got their answer.
    pub fn arrived(&self) -> usize {
        self.outcomes.iter().filter(|outcome| outcome.report.arrived).count()
    }

    /// The packets that the routers' filters dropped, of whatever flow.
    pub fn foreign(&self) -> &[Seen] {
        &self.foreign
    }

    /// The outcomes of one row.
    pub fn of(&self, group: Group) -> impl Iterator<Item = &Outcome> {
        self.outcomes.iter().filter(move |outcome| outcome.group == group)
    }

    /// Whether every flow got its answer and the filters had nothing to drop.
    pub fn is_clean(&self) -> bool {
        self.arrived() == self.total() && self.foreign.is_empty()
    }
}

/// A table for people, a row for each group.
impl fmt::Display for Matrix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<34} {:>5} {:>8} {:>16}", "", "flows", "arrived", "packets filtered")?;
        for group in GROUPS {
            let (mut flows, mut arrived, mut foreign) = (0, 0, 0);
            for outcome in self.of(group) {
                flows += 1;
                arrived += usize::from(outcome.report.arrived);
                foreign += outcome.foreign;
            }
            writeln!(f, "{group:<34} {flows:>5} {arrived:>8} {foreign:>16}")?;
        }
        writeln!(f, "{:<34} {:>5} {:>8} {:>16}", "all", self.total(), self.arrived(), self.foreign.len())
    }
}
