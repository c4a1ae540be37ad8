//! Every kind of flow from every source to every server, in every family that the host has addresses of, and what became of each.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use anyhow::Result;

use crate::{
    application::{Application, Place},
    cgroup::Cgroup,
    echo::{PORT, Transport},
    family::{Family, canonical},
    flow::{Flow, Kind, Report},
    internet::at_echo,
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
            Kind::UdpPktinfo => "UDP with PKTINFO",
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
    /// Its column.
    pub family: Family,
    /// Its row.
    pub group: Group,
    /// What was asked for; for a reply, by the one in the internet.
    pub flow: Flow,
    /// What its application saw.
    pub report: Report,
    /// Its packets that a router's filter dropped.
    pub foreign: usize,
}

/// The port of the host's server for IPv4 alone; on that of [`PORT`] listens one for both versions of IP.
const PORT_IPV4: u16 = 4007;

/// All outcomes.
#[derive(Clone, Debug)]
pub struct Matrix {
    families: &'static [Family],
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
    let host = world.host.place(cgroup);
    let _server = host.serve(&[
        SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), PORT),
        SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), PORT_IPV4),
    ])?;

    let mut started = Vec::new();
    for &family in world.families() {
        let sources = sources(world, family)?;
        for group in GROUPS {
            for (place, flow) in flows(family, group, &sources, host, world.internet.place()) {
                started.push((family, group, place.start(&flow)?, flow));
            }
        }
    }
    let finish = |(family, group, mut application, flow): (Family, Group, Application, Flow)| {
        Ok(Outcome { family, group, report: application.report()?, flow, foreign: 0 })
    };
    let mut outcomes = started.into_iter().map(finish).collect::<Result<Vec<_>>>()?;
    let foreign = world.foreign()?;
    for outcome in &mut outcomes {
        outcome.foreign = foreign.iter().filter(|packet| belongs(packet, outcome)).count();
    }
    Ok(Matrix { families: world.families(), outcomes, foreign })
}

/// The host's addresses from its providers, without those that it lacks.
fn sources(world: &World, family: Family) -> Result<Vec<IpAddr>> {
    let mut sources = Vec::new();
    for router in world.routers() {
        match family {
            Family::Ipv6 => sources.extend(world.host.address_in(&router.isp().lan)?.map(IpAddr::from)),
            Family::Ipv4 | Family::Mapped => {
                let ipv4 = world.host.addresses_ipv4()?;
                let own = ipv4.into_iter().find(|address| router.isp().lan_ipv4.contains(address));
                sources.extend(own.map(|address| family.written(address)));
            }
        }
    }
    // Redundant gateways lead to one address.
    sources.dedup();
    Ok(sources)
}

fn flows<'a>(
    family: Family,
    group: Group,
    sources: &[IpAddr],
    host: Place<'a>,
    internet: Place<'a>,
) -> Vec<(Place<'a>, Flow)> {
    let to_servers = |kind| family.servers().map(|server| Flow::new(kind, at_echo(server))).to_vec();
    match group {
        Group::Free(kind) => to_servers(kind).into_iter().map(|flow| (host, flow)).collect(),
        Group::Bound(kind) => {
            let from = |flow: Flow| sources.iter().map(move |&source| (host, flow.clone().from(source)));
            to_servers(kind).into_iter().flat_map(from).collect()
        }
        Group::Reply(transport) => {
            let kind = if transport == Transport::Tcp { Kind::Tcp } else { Kind::UdpConnected };
            // The client in the internet speaks plain IP; the family is that of the host's server.
            let port = if family == Family::Ipv4 { PORT_IPV4 } else { PORT };
            let server = |address: &IpAddr| SocketAddr::new(address.to_canonical(), port);
            sources.iter().map(|address| (internet, Flow::new(kind, server(address)))).collect()
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
    let far = canonical(outcome.flow.destination);
    let bind = outcome.flow.bind.map(|bind| bind.to_canonical());
    headers.protocol == protocol
        && match outcome.group {
            Group::Reply(_) => headers.source == far.ip() && (from, to) == (far.port(), local.port()),
            Group::Bound(_) if bind != Some(headers.source) => false,
            _ => headers.destination == far.ip() && (from, to) == (local.port(), far.port()),
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

    /// The outcomes of one family.
    pub fn family(&self, family: Family) -> impl Iterator<Item = &Outcome> {
        self.outcomes.iter().filter(move |outcome| outcome.family == family)
    }

    /// The outcomes of one row, in all families.
    pub fn of(&self, group: Group) -> impl Iterator<Item = &Outcome> {
        self.outcomes.iter().filter(move |outcome| outcome.group == group)
    }

    /// Whether every flow got its answer and the filters had nothing to drop.
    pub fn is_clean(&self) -> bool {
        self.arrived() == self.total() && self.foreign.is_empty()
    }
}

/// A table for people: a row for each group, and for each family how many flows there were, how many arrived, and how many of
/// their packets were filtered.
impl fmt::Display for Matrix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const GROUP: usize = 32;
        write!(f, "{:<GROUP$}", "")?;
        for family in self.families {
            write!(f, " | {:<22}", family.to_string())?;
        }
        write!(f, "\n{:<GROUP$}", "")?;
        for _ in self.families {
            write!(f, " | {:>5} {:>7} {:>8}", "flows", "arrived", "filtered")?;
        }
        writeln!(f)?;
        for group in GROUPS {
            write!(f, "{group:<GROUP$}")?;
            for &family in self.families {
                self.cell(f, |outcome| outcome.family == family && outcome.group == group)?;
            }
            writeln!(f)?;
        }
        write!(f, "{:<GROUP$}", "all")?;
        for &family in self.families {
            self.cell(f, |outcome| outcome.family == family)?;
        }
        let of_flows: usize = self.outcomes.iter().map(|outcome| outcome.foreign).sum();
        match self.foreign.len().saturating_sub(of_flows) {
            0 => writeln!(f),
            others => writeln!(f, "\nand {others} packets of no flow of these were filtered"),
        }
    }
}

impl Matrix {
    fn cell(&self, f: &mut fmt::Formatter<'_>, fits: impl Fn(&Outcome) -> bool) -> fmt::Result {
        let (mut flows, mut arrived, mut foreign) = (0, 0, 0);
        for outcome in self.outcomes.iter().filter(|outcome| fits(outcome)) {
            flows += 1;
            arrived += usize::from(outcome.report.arrived);
            foreign += outcome.foreign;
        }
        write!(f, " | {flows:>5} {arrived:>7} {foreign:>8}")
    }
}
