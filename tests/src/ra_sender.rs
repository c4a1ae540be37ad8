//! The embedded sender of Router Advertisements: for what radvd cannot say, and for what no router should say.

use std::{
    io,
    mem::MaybeUninit,
    net::{Ipv6Addr, SocketAddrV6},
    os::fd::AsFd as _,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context as _, Result};
use nix::net::if_::if_nametoindex;
use socket2::{Domain, Protocol, Socket, Type};

use crate::{
    events::until_ready,
    netns::Namespace,
    packet::{self, ICMPV6, PacketSocket, Sees},
    worker::{Stop, Worker},
};

/// All nodes of the link (RFC 4291 §2.7.1) and its Ethernet address (RFC 2464 §7).
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_NODES_MAC: [u8; 6] = [0x33, 0x33, 0, 0, 0, 1];
/// All routers of the link (RFC 4291 §2.7.1).
const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
/// What neighbour discovery sends and accepts (RFC 4861 §6.1): proof that no router forwarded the packet.
const HOP_LIMIT: u8 = 255;
/// ICMPv6 type (RFC 4861 §4.1).
const ROUTER_SOLICITATION: u8 = 133;

/// Sends Router Advertisements from an interface and answers solicitations with the last one.
#[derive(Debug)]
pub struct RaSender {
    shared: Arc<Shared>,
    frames: PacketSocket,
    _answerer: Worker,
}

#[derive(Debug)]
struct Shared {
    socket: Socket,
    ifindex: u32,
    current: Mutex<Option<Vec<u8>>>,
}

/// A message as an attacker or a broken router sends it.
#[derive(Clone, Debug)]
pub struct Forged<'a> {
    /// The ICMPv6 message; its checksum field is filled in.
    pub message: &'a [u8],
    /// Source of the packet.
    pub source: Ipv6Addr,
    /// Hop limit of the packet.
    pub hop_limit: u8,
    /// Whether the checksum is right.
    pub right_checksum: bool,
}

impl<'a> Forged<'a> {
    /// A packet with nothing wrong: change what shall be.
    pub fn new(message: &'a [u8], source: Ipv6Addr) -> Self {
        Self { message, source, hop_limit: HOP_LIMIT, right_checksum: true }
    }
}

impl RaSender {
    /// Ready to send; silent until told what to say. The interface is up, or about to be, and has a link-local address.
    ///
    /// # Errors
    /// There is no such interface, or CAP_NET_RAW lacks.
    pub fn new(namespace: &Namespace, interface: &str) -> Result<Self> {
        until_ready(namespace, &[interface])?;
        let (socket, ifindex) = namespace
            .run(|| open(interface))
            .with_context(|| format!("open a raw ICMPv6 socket on {interface} of {}", namespace.name()))?;
        let shared = Arc::new(Shared { socket, ifindex, current: Mutex::default() });
        let frames = PacketSocket::open(namespace, interface, Sees::IncomingIpv6)?;
        let answerer = Arc::clone(&shared);
        let answerer = Worker::start("lab-ra-sender", move |stop| answerer.answer_solicitations(stop))?;
        Ok(Self { shared, frames, _answerer: answerer })
    }

    /// Sends an ICMPv6 message to all nodes, now, and to those who ask from now on. The kernel fills in the checksum.
    ///
    /// # Errors
    /// The interface is down.
    pub fn advertise(&self, message: Vec<u8>) -> Result<()> {
        self.send(&message)?;
        *self.shared.current.lock().unwrap_or_else(PoisonError::into_inner) = Some(message);
        Ok(())
    }

    /// Sends an ICMPv6 message to all nodes once, whatever it is.
    ///
    /// # Errors
    /// The interface is down, or the message larger than its MTU.
    pub fn send(&self, message: &[u8]) -> Result<()> {
        self.shared.send(message).context("send a Router Advertisement")
    }

    /// Sends a packet that may be wrong in what the kernel would otherwise make right.
    ///
    /// # Errors
    /// The interface is down, or the packet larger than its MTU.
    pub fn send_forged(&self, forged: &Forged<'_>) -> Result<()> {
        /// Octets 2 and 3 (RFC 4443 §2.1).
        const CHECKSUM: std::ops::Range<usize> = 2..4;
        let mut message = forged.message.to_vec();
        let mut checksum = packet::icmpv6_checksum(forged.source, ALL_NODES, &message);
        if !forged.right_checksum {
            checksum[0] ^= 1;
        }
        message.get_mut(CHECKSUM).context("the message ends before its checksum")?.copy_from_slice(&checksum);
        self.frames
            .send(ALL_NODES_MAC, &packet::ipv6(forged.source, ALL_NODES, ICMPV6, forged.hop_limit, &message))
    }
}

fn open(interface: &str) -> io::Result<(Socket, u32)> {
    let ifindex = if_nametoindex(interface)?;
    let socket = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6))?;
    socket.bind_device(Some(interface.as_bytes()))?;
    socket.set_nonblocking(true)?;
    socket.set_multicast_if_v6(ifindex)?;
    socket.set_multicast_hops_v6(HOP_LIMIT.into())?;
    socket.set_unicast_hops_v6(HOP_LIMIT.into())?;
    socket.join_multicast_v6(&ALL_ROUTERS, ifindex)?;
    Ok((socket, ifindex))
}

impl Shared {
    fn send(&self, message: &[u8]) -> io::Result<()> {
        let all_nodes = SocketAddrV6::new(ALL_NODES, 0, 0, self.ifindex);
        self.socket.send_to(message, &all_nodes.into()).map(|_| ())
    }

    /// Answers go to all nodes, as RFC 4861 §6.2.6 allows: the asking one may have no address yet.
    fn answer_solicitations(&self, stop: &Stop) {
        while stop.wait([self.socket.as_fd()]) {
            let mut first_octet = [MaybeUninit::uninit()];
            let Ok(length) = self.socket.recv(&mut first_octet) else { continue };
            // SAFETY: recv wrote `length` octets, here at most one.
            let kind = (length > 0).then(|| unsafe { first_octet[0].assume_init() });
            if kind == Some(ROUTER_SOLICITATION) {
                let current = self.current.lock().unwrap_or_else(PoisonError::into_inner).clone();
                if let Some(message) = current
                    && let Err(error) = self.send(&message)
                {
                    eprintln!("lab: an answer to a Router Solicitation was not sent: {error}");
                }
            }
        }
    }
}
