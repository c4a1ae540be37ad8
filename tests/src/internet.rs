//! What lies behind the providers' routers: servers that remember the sources they saw, and clients.

use std::net::{Ipv6Addr, SocketAddrV6};

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
        let echo = serve(&namespace, &SERVERS)?;
        Ok(Self { echo, namespace })
    }

    /// Lays the cable to a provider's router and sends the provider's prefix that way.
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
             link set {name} up\n\
             route append {prefix} via {there}",
            name = isp.name,
            prefix = isp.prefix,
        ))
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

/// Gives `namespace` these addresses (on its loopback, so that they are there whatever comes and goes) and serves them.
pub(crate) fn serve(namespace: &Namespace, addresses: &[Ipv6Addr]) -> Result<EchoServer> {
    let lines: Vec<_> =
        addresses.iter().map(|address| format!("addr add {address}/128 dev lo nodad")).collect();
    namespace.ip(&lines.join("\n"))?;
    until_ready(namespace, &["lo"])?;
    let sockets: Vec<_> = addresses.iter().map(|&address| at_echo(address)).collect();
    EchoServer::start(namespace, &sockets)
}

/// The echo server at `address`.
pub fn at_echo(address: Ipv6Addr) -> SocketAddrV6 {
    SocketAddrV6::new(address, echo::PORT, 0, 0)
}
