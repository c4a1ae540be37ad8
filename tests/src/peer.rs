//! What an administrator connects a host to, besides providers: containers, tunnels, VPNs.

use std::{
    fs::{File, OpenOptions},
    io,
    net::{IpAddr, Ipv6Addr},
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
    internet::{SERVERS, at_echo, serve},
    netns::{End, Namespace, veth},
    worker::Worker,
};

/// Someone who answers at [`Self::address`].
#[derive(Debug)]
pub struct Peer {
    address: Ipv6Addr,
    echo: EchoServer,
    namespace: Namespace,
    /// `None` where a cable leads there.
    _tunnel: Option<Worker>,
}

/// The address of a container, in the bridge's own prefix.
const CONTAINER: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xc, 1, 0, 0, 0, 2);
/// An address behind a tunnel, in the prefix that a static route sends there.
const BEHIND_TUNNEL: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xd, 1, 0, 0, 0, 1);
/// An address in the VPN.
const BEHIND_VPN: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xe, 1, 0, 0, 0, 1);

impl Peer {
    /// A container: `host` has the bridge `br0` with 2001:db8:c:1::1/64, and the container answers on the same link.
    ///
    /// # Errors
    /// The kernel refused a step.
    pub fn container(host: &Namespace) -> Result<Self> {
        let namespace = Namespace::new("container")?;
        let end = |namespace, interface, number| End { namespace, interface, number };
        veth(end(host, "br0-port", 0xc00), end(&namespace, "eth0", 0xc01))?;
        host.ip("link add br0 type bridge mcast_snooping 0\n\
             link set br0-port master br0\n\
             addr add 2001:db8:c:1::1/64 dev br0 nodad\n\
             link set br0-port up\n\
             link set br0 up")?;
        namespace.ip(&format!("addr add {CONTAINER}/64 dev eth0 nodad\nlink set eth0 up"))?;
        until_ready(host, &["br0"])?;
        until_ready(&namespace, &["eth0"])?;
        let echo = EchoServer::start(&namespace, &[at_echo(CONTAINER)])?;
        Ok(Self { address: CONTAINER, echo, namespace, _tunnel: None })
    }

    /// The far end of a tunnel: `host` has `tun0` with 2001:db8:d::1/64 and a static route for 2001:db8:d::/48.
    ///
    /// # Errors
    /// The kernel refused a step.
    pub fn tunnel(host: &Namespace) -> Result<Self> {
        let namespace = Namespace::new("tunnel-end")?;
        let tunnel = dig(host, "tun0", &namespace, "tun0")?;
        host.ip("addr add 2001:db8:d::1/64 dev tun0 nodad\n\
             link set tun0 up\n\
             route add 2001:db8:d::/48 dev tun0")?;
        namespace.ip("link set tun0 up\nroute add 2001:db8:d::/64 dev tun0")?;
        until_ready(host, &["tun0"])?;
        until_ready(&namespace, &["tun0"])?;
        let echo = serve(&namespace, &[BEHIND_TUNNEL.into()])?;
        Ok(Self { address: BEHIND_TUNNEL, echo, namespace, _tunnel: Some(tunnel) })
    }

    /// The far end of a VPN that takes all traffic, set up as wg-quick(8) does: `host` has `vpn0` with 2001:db8:e::1/64, a table
    /// of its own with a default route, and rules that prefer it to the default routes of table main. The VPN answers in the
    /// name of the whole internet.
    ///
    /// # Errors
    /// The kernel refused a step.
    pub fn vpn(host: &Namespace) -> Result<Self> {
        let namespace = Namespace::new("vpn-end")?;
        let tunnel = dig(host, "vpn0", &namespace, "vpn0")?;
        host.ip("addr add 2001:db8:e::1/64 dev vpn0 nodad\n\
             link set vpn0 up\n\
             route add default dev vpn0 table 51820\n\
             rule add not fwmark 51820 table 51820\n\
             rule add table main suppress_prefixlength 0")?;
        namespace.ip("link set vpn0 up\nroute add default dev vpn0")?;
        until_ready(host, &["vpn0"])?;
        until_ready(&namespace, &["vpn0"])?;
        let mut addresses = vec![BEHIND_VPN.into()];
        addresses.extend(SERVERS.map(IpAddr::from));
        let echo = serve(&namespace, &addresses)?;
        Ok(Self { address: BEHIND_VPN, echo, namespace, _tunnel: Some(tunnel) })
    }

    /// Where it answers.
    pub fn address(&self) -> Ipv6Addr {
        self.address
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
    /// The longest IPv6 packet.
    const WHOLE_PACKET: usize = 65_575;
    let mut packet = [0; WHOLE_PACKET];
    while let Ok(length) = read(&from, &mut packet) {
        let _ = write(&to, &packet[..length]);
    }
}
