//! What an administrator connects a host to, besides providers: containers, tunnels, VPNs.

use std::{
    fs::{File, OpenOptions},
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::fd::{AsFd, AsRawFd as _},
    os::unix::fs::OpenOptionsExt as _,
};

use anyhow::{Context as _, Result};
use nix::{
    libc,
    unistd::{read, write},
};

use crate::{
    echo::EchoServer,
    events::until_ready,
    family::Family,
    internet::{SERVERS, SERVERS_IPV4, at_echo, serve},
    isp::Isp,
    netns::{End, Namespace, veth},
    worker::Worker,
};

/// Someone who answers at [`Self::address`].
#[derive(Debug)]
pub struct Peer {
    ends: Ends,
    echo: EchoServer,
    namespace: Namespace,
    /// `None` where a cable leads there.
    _tunnel: Option<Worker>,
}

/// The addresses of a link.
#[derive(Clone, Copy, Debug)]
struct Ends {
    host: (Ipv6Addr, Ipv4Addr),
    peer: (Ipv6Addr, Ipv4Addr),
}

/// A container, in the bridge's own prefixes.
const CONTAINER: Ends = Ends { host: (ipv6(0xc, 1, 1), ipv4(12, 1)), peer: (ipv6(0xc, 1, 2), ipv4(12, 2)) };
/// An end of a tunnel, in the prefixes that static routes send there.
const TUNNEL: Ends = Ends { host: (ipv6(0xd, 0, 1), ipv4(13, 1)), peer: (ipv6(0xd, 1, 1), ipv4(13, 129)) };
/// An end of a VPN.
const VPN: Ends = Ends { host: (ipv6(0xe, 0, 1), ipv4(14, 1)), peer: (ipv6(0xe, 1, 1), ipv4(14, 129)) };

const fn ipv6(number: u16, subnet: u16, host: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, number, subnet, 0, 0, 0, host)
}

const fn ipv4(number: u8, host: u8) -> Ipv4Addr {
    Ipv4Addr::new(198, 19, number, host)
}

/// The lines that make a VPN take all traffic of one version of IP, as wg-quick(8) has them.
const VPN_RULES: &str = "route add default dev vpn0 table 51820\n\
                         rule add not fwmark 51820 table 51820\n\
                         rule add table main suppress_prefixlength 0";

impl Peer {
    /// A container: `host` has the bridge `br0` with 2001:db8:c:1::1/64 and 198.19.12.1/24, and the container answers on the same
    /// link.
    ///
    /// # Errors
    /// The kernel refused a step.
    pub fn container(host: &Namespace) -> Result<Self> {
        let ends = CONTAINER;
        let namespace = Namespace::new("container")?;
        let end = |namespace, interface, number| End { namespace, interface, number };
        veth(end(host, "br0-port", 0xc00), end(&namespace, "eth0", 0xc01))?;
        host.ip(&format!(
            "link add br0 type bridge mcast_snooping 0\n\
             link set br0-port master br0\n\
             addr add {}/64 dev br0 nodad\n\
             link set br0-port up\n\
             link set br0 up",
            ends.host.0
        ))?;
        host.ip4(&format!("addr add {}/24 dev br0", ends.host.1))?;
        namespace.ip(&format!("addr add {}/64 dev eth0 nodad\nlink set eth0 up", ends.peer.0))?;
        namespace.ip4(&format!("addr add {}/24 dev eth0", ends.peer.1))?;
        until_ready(host, &["br0"])?;
        until_ready(&namespace, &["eth0"])?;
        let echo = EchoServer::start(&namespace, &[at_echo(ends.peer.0), at_echo(ends.peer.1)])?;
        Ok(Self { ends, echo, namespace, _tunnel: None })
    }

    /// A machine on a link that ends in `switch`, with addresses of the first of these providers, and routes to the neighbours
    /// that have addresses of the other.
    ///
    /// # Errors
    /// The kernel refused a step.
    pub(crate) fn neighbour(switch: &Namespace, [isp, other]: [&Isp; 2]) -> Result<Self> {
        let subnet = |ipv6: Ipv6Addr, host: u16| Ipv6Addr::from_bits(ipv6.to_bits() | u128::from(host));
        let peer = (subnet(isp.lan.network(), 0x77), ipv4_in(isp, 77));
        // The host's own IPv6 address there is made by SLAAC.
        let ends = Ends { host: (Ipv6Addr::UNSPECIFIED, isp.host_ipv4()), peer };
        let namespace = Namespace::new("neighbour")?;
        let end = |namespace, interface, number| End { namespace, interface, number };
        veth(end(switch, "neighbour", 0xc02), end(&namespace, "eth0", 0xc03))?;
        switch.ip("link set neighbour master switch\nlink set neighbour up")?;
        namespace.sysctl("net/ipv6/conf/eth0/accept_ra", 0)?;
        namespace.ip(&format!(
            "addr add {}/{} dev eth0 nodad\nlink set eth0 up\nroute add {} dev eth0",
            peer.0,
            isp.lan.prefix_len(),
            other.lan
        ))?;
        namespace.ip4(&format!(
            "addr add {}/{} dev eth0\nroute add {} dev eth0",
            peer.1,
            isp.lan_ipv4.prefix_len(),
            other.lan_ipv4
        ))?;
        until_ready(switch, &["neighbour"])?;
        until_ready(&namespace, &["eth0"])?;
        let echo = EchoServer::start(&namespace, &[at_echo(ends.peer.0), at_echo(ends.peer.1)])?;
        Ok(Self { ends, echo, namespace, _tunnel: None })
    }

    /// The far end of a tunnel: `host` has `tun0` with 2001:db8:d::1/64 and 198.19.13.1/25, and static routes for 2001:db8:d::/48
    /// and 198.19.13.0/24.
    ///
    /// # Errors
    /// The kernel refused a step.
    pub fn tunnel(host: &Namespace) -> Result<Self> {
        let ends = TUNNEL;
        let namespace = Namespace::new("tunnel-end")?;
        let tunnel = dig(host, "tun0", &namespace, "tun0")?;
        host.ip(&format!(
            "addr add {}/64 dev tun0 nodad\n\
             link set tun0 up\n\
             route add 2001:db8:d::/48 dev tun0",
            ends.host.0
        ))?;
        host.ip4(&format!("addr add {}/25 dev tun0\nroute add 198.19.13.0/24 dev tun0", ends.host.1))?;
        namespace.ip("link set tun0 up\nroute add 2001:db8:d::/64 dev tun0")?;
        namespace.ip4("route add 198.19.13.0/25 dev tun0")?;
        until_ready(host, &["tun0"])?;
        until_ready(&namespace, &["tun0"])?;
        let echo = serve(&namespace, &[ends.peer.0.into(), ends.peer.1.into()])?;
        Ok(Self { ends, echo, namespace, _tunnel: Some(tunnel) })
    }

    /// The far end of a VPN that takes all traffic of `families`, set up as wg-quick(8) does: `host` has `vpn0` with
    /// 2001:db8:e::1/64 and 198.19.14.1/32, a table of its own with a default route, and rules that prefer it to the default routes
    /// of table main. The VPN answers in the name of the whole internet.
    ///
    /// # Errors
    /// The kernel refused a step.
    pub fn vpn(host: &Namespace, families: &[Family]) -> Result<Self> {
        let ends = VPN;
        let namespace = Namespace::new("vpn-end")?;
        let tunnel = dig(host, "vpn0", &namespace, "vpn0")?;
        host.ip(&format!("addr add {}/64 dev vpn0 nodad\nlink set vpn0 up", ends.host.0))?;
        host.ip4(&format!("addr add {}/32 dev vpn0", ends.host.1))?;
        if families.contains(&Family::Ipv6) {
            host.ip(VPN_RULES)?;
        }
        if families.contains(&Family::Ipv4) {
            host.ip4(VPN_RULES)?;
        }
        namespace.ip("link set vpn0 up\nroute add default dev vpn0")?;
        namespace.ip4("route add default dev vpn0")?;
        until_ready(host, &["vpn0"])?;
        until_ready(&namespace, &["vpn0"])?;
        let mut addresses = vec![ends.peer.0.into(), ends.peer.1.into()];
        addresses.extend(SERVERS.map(IpAddr::from));
        addresses.extend(SERVERS_IPV4.map(IpAddr::from));
        let echo = serve(&namespace, &addresses)?;
        Ok(Self { ends, echo, namespace, _tunnel: Some(tunnel) })
    }

    /// Takes the rules of a VPN away again.
    ///
    /// # Errors
    /// They were not there.
    pub fn drop_rules(host: &Namespace, family: Family) -> Result<()> {
        const LINES: &str = "rule del not fwmark 51820 table 51820\n\
                             rule del table main suppress_prefixlength 0";
        match family {
            Family::Ipv6 => host.ip(LINES),
            Family::Ipv4 | Family::Mapped => host.ip4(LINES),
        }
    }

    /// Where it answers in IPv6.
    pub fn address(&self) -> Ipv6Addr {
        self.ends.peer.0
    }

    /// Where it answers, as applications of `family` write it.
    pub fn address_of(&self, family: Family) -> IpAddr {
        of(family, self.ends.peer)
    }

    /// The host's address on the link to it, as applications of `family` write it.
    pub fn host_address_of(&self, family: Family) -> IpAddr {
        of(family, self.ends.host)
    }

    /// Who came.
    pub fn echo(&self) -> &EchoServer {
        &self.echo
    }

    /// Where it is.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }
}

fn ipv4_in(isp: &Isp, host: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(isp.lan_ipv4.network().to_bits() | host)
}

fn of(family: Family, (ipv6, ipv4): (Ipv6Addr, Ipv4Addr)) -> IpAddr {
    match family {
        Family::Ipv6 => ipv6.into(),
        Family::Ipv4 | Family::Mapped => family.written(ipv4),
    }
}

/// Two tun interfaces and the thread that carries packets between them. They go when it is dropped.
fn dig(here: &Namespace, name_here: &str, there: &Namespace, name_there: &str) -> Result<Worker> {
    let open = |namespace: &Namespace, name: &str| {
        let opened = namespace.run(|| open_tun(name));
        opened.with_context(|| format!("make the tun interface {name} in {}", namespace.name()))
    };
    let (near, far) = (open(here, name_here)?, open(there, name_there)?);
    Worker::start("lab-tunnel", move |stop| {
        while stop.wait([near.as_fd(), far.as_fd()]) {
            carry(&near, &far);
            carry(&far, &near);
        }
    })
}

/// A tun interface in the namespace of this thread; it lives as long as the file is open (kernel documentation, tuntap).
fn open_tun(name: &str) -> io::Result<File> {
    let tun =
        OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open("/dev/net/tun")?;
    let flags = (libc::IFF_TUN | libc::IFF_NO_PI) as libc::c_short;
    let mut request = libc::ifreq {
        ifr_name: [0; libc::IFNAMSIZ],
        ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_flags: flags },
    };
    // The last octet stays zero: it ends the name.
    for (to, from) in request.ifr_name[..libc::IFNAMSIZ - 1].iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    // SAFETY: TUNSETIFF reads and writes one ifreq.
    match unsafe { libc::ioctl(tun.as_raw_fd(), libc::TUNSETIFF, &raw mut request) } {
        0 => Ok(tun),
        _ => Err(io::Error::last_os_error()),
    }
}

/// A packet that the other side does not take (its interface is down) is lost, as packets are.
fn carry(from: impl AsFd, to: impl AsFd) {
    /// The longest packet of IPv6; those of IPv4 are shorter.
    const WHOLE_PACKET: usize = 65_575;
    let mut packet = [0; WHOLE_PACKET];
    while let Ok(length) = read(&from, &mut packet) {
        let _ = write(&to, &packet[..length]);
    }
}
