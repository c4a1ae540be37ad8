//! The system calls of the attacks.

use std::{
    io::{self, IoSlice},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::AsRawFd as _,
};

use nix::{
    libc,
    net::if_::if_nametoindex,
    sys::socket::{ControlMessage, MsgFlags, SockaddrStorage, sendmsg},
};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::{Aim, with_pktinfo};
use crate::{datagram::Origin, packet};

/// A socket of an attack.
pub(super) type Fd = Socket;

/// What is sent.
const WORDS: &[u8] = b"attack";
/// `linux/in.h`
const IPPROTO_MPTCP: i32 = 262;
/// `linux/udp.h`
const UDP_SEGMENT: i32 = 103;
/// `linux/in6.h`
const IPV6_UNICAST_IF: i32 = 76;
/// `linux/in.h`
const IP_UNICAST_IF: i32 = 50;
/// `linux/if_ether.h`: local experimental.
const LIE: u16 = 0x88b5;
/// RFC 768: source port, destination port, length, checksum.
const UDP_HEADER: usize = 8;

/// What a frame says.
pub(super) struct Frame {
    /// The source of the packet in it.
    pub(super) source: IpAddr,
    /// Whether the socket tells the kernel another protocol than the frame has.
    pub(super) lie: bool,
    /// Whether it bears a priority tag, of VLAN 0 (IEEE 802.1Q).
    pub(super) tag: bool,
}

impl Frame {
    /// One that hides nothing.
    pub(super) fn from(source: IpAddr) -> Self {
        Self { source, lie: false, tag: false }
    }
}

/// One row's server and port, with what an attacker knows.
pub(super) struct Target {
    server: SocketAddr,
    pub(super) forbidden: IpAddr,
    pub(super) own: IpAddr,
    pub(super) ifindex: u32,
    device: String,
    router: u8,
}

impl Target {
    pub(super) fn new(aim: &Aim, port: u16) -> Self {
        // Missing while the interface is away: what needs it fails then.
        let ifindex = if_nametoindex(aim.device.as_str()).unwrap_or(0);
        Self {
            server: SocketAddr::new(aim.server, port),
            forbidden: aim.forbidden,
            own: aim.own,
            ifindex,
            device: aim.device.clone(),
            router: aim.router,
        }
    }

    fn ipv6(&self) -> bool {
        self.server.is_ipv6()
    }

    fn canonical_ipv6(&self) -> bool {
        self.server.ip().to_canonical().is_ipv6()
    }

    fn domain(&self) -> Domain {
        Domain::for_address(self.server)
    }

    fn open(&self, kind: Type, protocol: i32) -> io::Result<Fd> {
        let socket = Socket::new(self.domain(), kind, Some(Protocol::from(protocol)))?;
        socket.set_nonblocking(true)?;
        Ok(socket)
    }

    pub(super) fn tcp(&self) -> io::Result<Fd> {
        let socket = self.open(Type::STREAM, libc::IPPROTO_TCP)?;
        // What a refused connection leaves is a reset of the kernel's own.
        socket.set_linger(Some(std::time::Duration::ZERO))?;
        Ok(socket)
    }

    pub(super) fn mptcp(&self) -> io::Result<Fd> {
        self.open(Type::STREAM, IPPROTO_MPTCP)
    }

    pub(super) fn udp(&self) -> io::Result<Fd> {
        self.open(Type::DGRAM, libc::IPPROTO_UDP)
    }

    pub(super) fn icmp(&self) -> io::Result<Fd> {
        self.open(Type::DGRAM, if self.ipv6() { libc::IPPROTO_ICMPV6 } else { libc::IPPROTO_ICMP })
    }

    pub(super) fn raw(&self) -> io::Result<Fd> {
        self.open(Type::RAW, libc::IPPROTO_RAW)
    }

    pub(super) fn raw_of_udp(&self) -> io::Result<Fd> {
        self.open(Type::RAW, libc::IPPROTO_UDP)
    }

    pub(super) fn packet(&self) -> io::Result<Fd> {
        // Protocol 0: it sends only.
        Socket::new(Domain::PACKET, Type::RAW, None)
    }

    pub(super) fn packet_without_header(&self) -> io::Result<Fd> {
        Socket::new(Domain::PACKET, Type::DGRAM, None)
    }

    /// No address of this host or anybody in the lab.
    pub(super) fn stranger(&self) -> IpAddr {
        let ipv4 = Ipv4Addr::new(198, 18, 63, 9);
        match (self.ipv6(), self.canonical_ipv6()) {
            (_, true) => Ipv6Addr::new(0x2001, 0xdb8, 0x3f, 0, 0, 0, 0, 9).into(),
            (true, false) => ipv4.to_ipv6_mapped().into(),
            (false, false) => ipv4.into(),
        }
    }

    pub(super) fn nowhere(&self) -> IpAddr {
        if self.ipv6() { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() }
    }

    pub(super) fn bound(&self, socket: Fd, address: IpAddr) -> io::Result<Fd> {
        socket.bind(&SocketAddr::new(address, 0).into())?;
        Ok(socket)
    }

    pub(super) fn on_device(&self, socket: Fd) -> io::Result<Fd> {
        socket.bind_device(Some(self.device.as_bytes()))?;
        Ok(socket)
    }

    pub(super) fn unicast_interface(&self, socket: Fd) -> io::Result<Fd> {
        let ifindex = self.ifindex.to_be();
        option(&socket, libc::IPPROTO_IP, IP_UNICAST_IF, ifindex)?;
        if self.ipv6() {
            option(&socket, libc::IPPROTO_IPV6, IPV6_UNICAST_IF, ifindex)?;
        }
        Ok(socket)
    }

    pub(super) fn freebind(&self, socket: Fd) -> io::Result<Fd> {
        option(&socket, libc::IPPROTO_IP, libc::IP_FREEBIND, 1)?;
        if self.ipv6() {
            option(&socket, libc::IPPROTO_IPV6, libc::IPV6_FREEBIND, 1)?;
        }
        Ok(socket)
    }

    pub(super) fn transparent(&self, socket: Fd) -> io::Result<Fd> {
        option(&socket, libc::IPPROTO_IP, libc::IP_TRANSPARENT, 1)?;
        if self.ipv6() {
            option(&socket, libc::IPPROTO_IPV6, libc::IPV6_TRANSPARENT, 1)?;
        }
        Ok(socket)
    }

    /// The SYN has left, if anything does, when this returns.
    pub(super) fn connect(&self, socket: &Fd) -> io::Result<()> {
        match socket.connect(&self.server.into()) {
            Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => Ok(()),
            done => done,
        }
    }

    pub(super) fn connect_send(&self, socket: &Fd) -> io::Result<()> {
        self.connect(socket)?;
        self.send_connected(socket)
    }

    pub(super) fn send_connected(&self, socket: &Fd) -> io::Result<()> {
        retried(|| socket.send(WORDS))
    }

    /// First to another port of the server, then to this one.
    pub(super) fn reconnect(&self, dissolve: bool) -> io::Result<()> {
        const DISCARD: u16 = 9;
        let socket = self.udp()?;
        socket.connect(&SocketAddr::new(self.server.ip(), DISCARD).into())?;
        if dissolve {
            let nobody = libc::sockaddr { sa_family: 0, sa_data: [0; 14] };
            let length = size_of_val(&nobody) as libc::socklen_t;
            // SAFETY: the address lives on this stack and has the length given.
            if unsafe { libc::connect(socket.as_raw_fd(), &raw const nobody, length) } != 0 {
                return Err(io::Error::last_os_error());
            }
        }
        self.connect_send(&socket)
    }

    pub(super) fn fast_open(&self, socket: &Fd) -> io::Result<()> {
        match socket.send_to_with_flags(WORDS, &self.server.into(), libc::MSG_FASTOPEN) {
            Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => Ok(()),
            done => done.map(drop),
        }
    }

    pub(super) fn send(&self, socket: &Fd) -> io::Result<()> {
        retried(|| socket.send_to(WORDS, &self.server.into()))
    }

    /// The first half waits in the socket for the second.
    pub(super) fn corked(&self, socket: &Fd) -> io::Result<()> {
        option(socket, libc::IPPROTO_UDP, libc::UDP_CORK, 1)?;
        let sent = self.send(socket);
        option(socket, libc::IPPROTO_UDP, libc::UDP_CORK, 0)?;
        sent
    }

    /// As [`Self::corked`], asked for with each half.
    pub(super) fn more(&self, socket: &Fd) -> io::Result<()> {
        retried(|| socket.send_to_with_flags(WORDS, &self.server.into(), libc::MSG_MORE))?;
        self.send(socket)
    }

    pub(super) fn send_large(&self, socket: &Fd) -> io::Result<()> {
        socket.send_to(&[0; 4000], &self.server.into()).map(drop)
    }

    pub(super) fn send_to_own(&self, socket: &Fd) -> io::Result<()> {
        socket.send_to(WORDS, &SocketAddr::new(self.own, self.server.port()).into()).map(drop)
    }

    pub(super) fn segments(&self, socket: &Fd) -> io::Result<()> {
        const SEGMENT: u16 = 500;
        let to = SockaddrStorage::from(self.server);
        let words = [0; 4 * SEGMENT as usize];
        option(socket, libc::IPPROTO_UDP, UDP_SEGMENT, i32::from(SEGMENT))?;
        sendmsg(
            socket.as_raw_fd(),
            &[IoSlice::new(&words)],
            &[] as &[ControlMessage<'_>],
            MsgFlags::empty(),
            Some(&to),
        )?;
        Ok(())
    }

    pub(super) fn pktinfo(&self, address: Option<IpAddr>, ifindex: u32) -> io::Result<()> {
        with_pktinfo(&self.udp()?, Origin { address, ifindex }, self.server)
    }

    fn udp_payload(&self) -> Vec<u8> {
        const SOURCE_PORT: u16 = 39_999;
        let length = UDP_HEADER + WORDS.len();
        let mut udp = Vec::with_capacity(length);
        udp.extend(SOURCE_PORT.to_be_bytes());
        udp.extend(self.server.port().to_be_bytes());
        udp.extend((length as u16).to_be_bytes());
        // Whoever counts looks at headers only.
        udp.extend([0, 0]);
        udp.extend(WORDS);
        udp
    }

    fn packet_from(&self, source: IpAddr) -> Vec<u8> {
        self.ip(source, packet::UDP, &self.udp_payload())
    }

    fn ip(&self, source: IpAddr, protocol: u8, payload: &[u8]) -> Vec<u8> {
        match (source, self.server.ip()) {
            (IpAddr::V6(source), IpAddr::V6(server)) => packet::ipv6(source, server, protocol, 64, payload),
            (IpAddr::V4(source), IpAddr::V4(server)) => ipv4(source, server, protocol, payload),
            _ => unreachable!("raw attacks have no mapped form"),
        }
    }

    /// A type that IPv4 does not have and that IPv6 has for Neighbor Solicitations (RFC 4861 §4.3).
    pub(super) fn disguised(&self, socket: &Fd) -> io::Result<()> {
        const NEIGHBOR_SOLICITATION: u8 = 135;
        let mut message = [0; 24];
        message[0] = NEIGHBOR_SOLICITATION;
        let protocol = if self.ipv6() { libc::IPPROTO_ICMPV6 } else { libc::IPPROTO_ICMP };
        let packet = self.ip(self.forbidden, protocol as u8, &message);
        socket.send_to(&packet, &self.raw_server()).map(drop)
    }

    /// Where raw sockets send: without a port (raw(7)).
    fn raw_server(&self) -> SockAddr {
        SocketAddr::new(self.server.ip(), 0).into()
    }

    pub(super) fn raw_header(&self, socket: &Fd, source: IpAddr) -> io::Result<()> {
        socket.send_to(&self.packet_from(source), &self.raw_server()).map(drop)
    }

    pub(super) fn raw_udp(&self, socket: &Fd) -> io::Result<()> {
        socket.send_to(&self.udp_payload(), &self.raw_server()).map(drop)
    }

    pub(super) fn ping(&self, socket: &Fd) -> io::Result<()> {
        /// Echo request (RFC 792, RFC 4443 §4.1); the kernel fills in identifier and checksum.
        const ECHO: [u8; 2] = [8, 128];
        let request = [ECHO[usize::from(self.ipv6())], 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0];
        socket.send_to(&request, &SocketAddr::new(self.server.ip(), 0).into()).map(drop)
    }

    /// `linux/if_ether.h`: of the packets that the row sends.
    fn ethernet_type(&self) -> u16 {
        (if self.ipv6() { libc::ETH_P_IPV6 } else { libc::ETH_P_IP }) as u16
    }

    pub(super) fn frame(&self, socket: &Fd, frame: Frame) -> io::Result<()> {
        /// Priority and VLAN 0, behind the tag's own type.
        const TAG: [u8; 4] = [0x81, 0, 0, 0];
        let kind = self.ethernet_type();
        // As the lab numbers its cables.
        let (router, host) = ([2, 0, 0, 0, 0, self.router], [2, 0, 0, 0, 1, self.router]);
        let tag = if frame.tag { &TAG[..] } else { &[] };
        let mut octets = [&router[..], &host[..], tag, &kind.to_be_bytes()[..]].concat();
        octets.extend(self.packet_from(frame.source));
        let protocol = match (frame.lie, frame.tag) {
            (true, true) | (false, false) => kind,
            (true, false) => LIE,
            (false, true) => libc::ETH_P_8021Q as u16,
        };
        self.send_frame(socket, &octets, protocol)
    }

    /// The kernel makes the frame, if the device has frames: a tunnel takes bare packets.
    pub(super) fn headed(&self, socket: &Fd) -> io::Result<()> {
        self.send_frame(socket, &self.packet_from(self.forbidden), self.ethernet_type())
    }

    fn send_frame(&self, socket: &Fd, octets: &[u8], protocol: u16) -> io::Result<()> {
        let address = libc::sockaddr_ll {
            sll_family: libc::AF_PACKET as u16,
            sll_protocol: protocol.to_be(),
            sll_ifindex: self.ifindex.cast_signed(),
            sll_hatype: 0,
            sll_pkttype: 0,
            sll_halen: 6,
            sll_addr: [2, 0, 0, 0, 0, self.router, 0, 0],
        };
        // SAFETY: octets and address live until the call returns and have the lengths given.
        let sent = unsafe {
            libc::sendto(
                socket.as_raw_fd(),
                octets.as_ptr().cast(),
                octets.len(),
                0,
                (&raw const address).cast(),
                size_of_val(&address) as libc::socklen_t,
            )
        };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

/// An IPv4 header (RFC 791 §3.1) in front of `payload`.
fn ipv4(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut header = vec![0x45, 0];
    header.extend(((packet::IPV4_HEADER + payload.len()) as u16).to_be_bytes());
    header.extend([0, 0, 0, 0, 64, protocol, 0, 0]);
    header.extend(source.octets());
    header.extend(destination.octets());
    let sum: u32 = header.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let checksum = !((folded & 0xffff) + (folded >> 16)) as u16;
    header[10..12].copy_from_slice(&checksum.to_be_bytes());
    [&header, payload].concat()
}

/// The first call may only tell what came back for the datagram before.
fn retried(send: impl Fn() -> io::Result<usize>) -> io::Result<()> {
    match send() {
        Err(error) if error.raw_os_error() == Some(libc::ECONNREFUSED) => send().map(drop),
        done => done.map(drop),
    }
}

fn option<T>(socket: &Fd, level: i32, name: i32, value: T) -> io::Result<()> {
    // SAFETY: the value lives on this stack and has the length given.
    let done = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            size_of::<T>() as libc::socklen_t,
        )
    };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
