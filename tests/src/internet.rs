//! What lies behind the providers' routers: servers that remember the sources they saw, and clients.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::Result;

use crate::{
    application::Place,
    echo::{self, EchoServer},
    events::until_ready,
    isp::Isp,
    netns::{End, Namespace, veth},
};

/// The servers: in two prefixes, and two in one, so that there is more than one destination to get right.
pub const SERVERS: [Ipv6Addr; 3] = [
    Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 1),
    Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 2),
    Ipv6Addr::new(0x2001, 0xdb8, 0x5353, 0, 0, 0, 0, 1),
];

/// The servers' IPv4 addresses: likewise.
pub const SERVERS_IPV4: [Ipv4Addr; 3] =
    [Ipv4Addr::new(203, 0, 113, 1), Ipv4Addr::new(203, 0, 113, 2), Ipv4Addr::new(192, 0, 2, 1)];

/// A namespace with echo servers behind all routers.
#[derive(Debug)]
pub struct Internet {
    echo: EchoServer,
    namespace: Namespace,
}

impl Internet {
    /// The servers, not yet connected to anyone.
    ///
    /// # Errors
    /// The kernel refused a step.
    pub fn new() -> Result<Self> {
        let namespace = Namespace::new("internet")?;
        let servers: Vec<IpAddr> =
            SERVERS.into_iter().map(IpAddr::from).chain(SERVERS_IPV4.map(IpAddr::from)).collect();
        let echo = serve(&namespace, &servers)?;
        Ok(Self { echo, namespace })
    }

    /// Lays the cable to a provider's router and sends the provider's prefixes that way.
    ///
    /// # Errors
    /// The router is connected already.
    pub fn connect(&self, isp: &Isp, router: &Namespace, interface: &str) -> Result<()> {
        /// Cables here have numbers of their own beside those at the host's side.
        const INTERNET_SIDE: u16 = 0x200;
        const ROUTER_SIDE: u16 = 0x300;
        let number = isp.number;
        let end = |namespace, interface, side| End { namespace, interface, number: number | side };
        veth(end(&self.namespace, isp.name, INTERNET_SIDE), end(router, interface, ROUTER_SIDE))?;
        let (here, there) = (transit(number, 2), transit(number, 1));
        router.ip(&format!(
            "addr add {link_local}/64 dev {interface} nodad\n\
             addr add {there}/64 dev {interface} nodad\n\
             link set {interface} up\n\
             route add default via {here}",
            // Made by hand, as on the router's other interface. Without one a router cannot ask for the neighbour to whom it
            // forwards (ndisc_send_ns in net/ipv6/ndisc.c).
            link_local = isp.link_local(),
        ))?;
        self.namespace.ip(&format!(
            "addr add {here}/64 dev {name} nodad\n\
             link set {name} up",
            name = isp.name,
        ))?;
        let (here, there) = (transit_ipv4(number, 2), transit_ipv4(number, 1));
        router.ip4(&format!("addr add {there}/30 dev {interface}\nroute add default via {here}"))?;
        self.namespace.ip4(&format!("addr add {here}/30 dev {}", isp.name))?;
        self.route("append", isp)
    }

    /// Does `verb` (of ip-route(8)) to the routes that lead to a provider's prefixes.
    pub(crate) fn route(&self, verb: &str, isp: &Isp) -> Result<()> {
        self.namespace.ip(&format!("route {verb} {} via {}", isp.prefix, transit(isp.number, 1)))?;
        self.namespace.ip4(&format!("route {verb} {} via {}", isp.prefix_ipv4, transit_ipv4(isp.number, 1)))
    }

    /// Where it is.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Where clients run that connect to servers on the host.
    pub fn place(&self) -> Place<'_> {
        Place::new(&self.namespace)
    }

    /// The servers' record.
    pub fn echo(&self) -> &EchoServer {
        &self.echo
    }
}

/// The cable between the internet and the router of provider `number`.
fn transit(number: u16, host: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0xfffe, number, 0, 0, 0, host)
}

/// The same in IPv4: a /30 of 198.51.100.0/24.
fn transit_ipv4(number: u16, host: u16) -> Ipv4Addr {
    const NET: u32 = u32::from_be_bytes([198, 51, 100, 0]);
    Ipv4Addr::from(NET | u32::from(number) << 2 | u32::from(host))
}

/// Gives `namespace` these addresses (on its loopback, so that they are there whatever comes and goes) and serves them.
pub(crate) fn serve(namespace: &Namespace, addresses: &[IpAddr]) -> Result<EchoServer> {
    let (mut ipv4, mut ipv6) = (String::new(), String::new());
    for address in addresses {
        match address {
            IpAddr::V4(_) => ipv4 += &format!("addr add {address}/32 dev lo\n"),
            IpAddr::V6(_) => ipv6 += &format!("addr add {address}/128 dev lo nodad\n"),
        }
    }
    namespace.ip4(&ipv4)?;
    namespace.ip(&ipv6)?;
    until_ready(namespace, &["lo"])?;
    let sockets: Vec<_> = addresses.iter().map(|&address| at_echo(address)).collect();
    EchoServer::start(namespace, &sockets)
}

/// The echo server at `address`.
pub fn at_echo(address: impl Into<IpAddr>) -> SocketAddr {
    SocketAddr::new(address.into(), echo::PORT)
}
