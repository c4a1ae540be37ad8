//! Router Advertisements in, solicitations of routers and neighbours out: one raw ICMPv6 socket for all interfaces.
//!
//! One, not one per interface: interfaces come and go without a socket to open, bind and close in step with them, every
//! interface is in ff02::1 anyway (`ipv6_add_dev`), and the kernel tells the interface of each packet
//! (IPV6_PKTINFO). The price is one queue: a flood on one link can crowd out another link's advertisements, which is
//! counted ([`Loss::RouterAdvertisements`]) and mended by the routers' repetition.
//!
//! The kernel has checked the ICMPv6 checksum (`rawv6_rcv_skb`) and put fragments together. It does not act on what was
//! fragmented (RFC 6980, `suppress_frag_ndisc`), but raw sockets get it all the same: packets with a Fragment header are
//! marked. Everything else of RFC 4861 §6.1.2 is for the parser to check.

use std::{
    io::{self, IoSlice, IoSliceMut},
    net::{Ipv6Addr, SocketAddrV6},
    os::fd::{AsRawFd, OwnedFd},
};

use mif_core::{
    time::Time,
    wire::{ALL_ROUTERS, NeighborSolicitation, ROUTER_ADVERTISEMENT, RouterSolicitation},
};
use nix::{
    errno::Errno,
    sys::socket::{
        AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockProtocol, SockType,
        SockaddrIn6, UnknownCmsg, recvmsg, sendmsg, setsockopt, socket, sockopt,
    },
};
use tokio::sync::mpsc;

use super::{DATAGRAMS_PER_WAKEUP, Loss, Message};
use crate::{clock, fd::Reader};

/// The socket's receive buffer, octets: some thousand advertisements at the kernel's accounting of 1 to 2 KiB for a
/// small packet. The kernel doubles it.
pub const RECEIVE_BUFFER: usize = 1 << 20;

/// The largest IPv6 payload without jumbograms (RFC 8200 §4.5).
const DATAGRAM: usize = 65_535;

/// RFC 4861 §6.1.1: what a Neighbor Discovery message must arrive with, so that no router forwarded it.
const HOP_LIMIT: libc::c_int = 255;

/// An ICMPv6 message of type 134 as it came.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RaMessage {
    /// The interface it arrived on.
    pub ifindex: u32,
    /// Its IPv6 source.
    pub source: Ipv6Addr,
    /// Its IPv6 destination.
    pub destination: Ipv6Addr,
    /// Its IPv6 hop limit.
    pub hop_limit: u8,
    /// Whether it came with a Fragment header.
    pub fragmented: bool,
    /// The ICMPv6 message, from the type on.
    pub bytes: Vec<u8>,
    /// When it was read.
    pub received: Time,
}

/// Why no solicitation was sent.
#[derive(Debug, thiserror::Error)]
pub enum SolicitError {
    /// The interface has no address that is past duplicate detection yet. Its next deadline is a better time; the
    /// kernel's own solicitation went out as soon as there was one.
    #[error("the interface has no usable address yet")]
    NoAddress,
    /// The interface is gone or down.
    #[error("the interface is gone or down")]
    NoInterface,
    /// Anything else.
    #[error(transparent)]
    Io(io::Error),
}

impl From<Errno> for SolicitError {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::EADDRNOTAVAIL => Self::NoAddress,
            Errno::ENODEV | Errno::ENXIO | Errno::ENETDOWN | Errno::ENETUNREACH => Self::NoInterface,
            errno => Self::Io(errno.into()),
        }
    }
}

/// `ICMPV6_FILTER` (linux/icmpv6.h); libc does not name it.
const ICMPV6_FILTER: libc::c_int = 1;

/// RFC 3542 §3.2. One bit for each ICMPv6 type; in Linux a set bit blocks the type.
#[derive(Clone, Copy)]
struct Icmp6Filter;

nix::setsockopt_impl!(
    Icmp6Filter,
    libc::IPPROTO_ICMPV6,
    ICMPV6_FILTER,
    [u32; 8],
    sockopt::SetStruct<'_, [u32; 8]>
);

/// `IPV6_RECVFRAGSIZE` (linux/in6.h): control data of this type come with each packet that had a Fragment header; nix does
/// not name it.
#[derive(Clone, Copy)]
struct ReceiveFragmentSize;

nix::setsockopt_impl!(
    ReceiveFragmentSize,
    libc::IPPROTO_IPV6,
    libc::IPV6_RECVFRAGSIZE,
    bool,
    sockopt::SetBool
);

/// The filter that passes one type.
const fn only(kind: u8) -> [u32; 8] {
    let mut blocked = [u32::MAX; 8];
    blocked[(kind / 32) as usize] &= !(1 << (kind % 32));
    blocked
}

/// The raw ICMPv6 socket of one network namespace.
#[derive(Debug)]
pub struct RaSocket {
    fd: Reader<OwnedFd>,
}

impl RaSocket {
    /// Opens the socket in the calling thread's network namespace. Inside a tokio runtime with I/O enabled.
    ///
    /// # Errors
    /// EPERM without CAP_NET_RAW; EAFNOSUPPORT where IPv6 is not built in or disabled at boot.
    pub fn open() -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let fd = socket(AddressFamily::Inet6, SockType::Raw, flags, SockProtocol::IcmpV6)?;
        // First of all, so that little else gets in.
        setsockopt(&fd, Icmp6Filter, &only(ROUTER_ADVERTISEMENT))?;
        setsockopt(&fd, sockopt::Ipv6RecvPacketInfo, &true)?;
        setsockopt(&fd, sockopt::Ipv6RecvHopLimit, &true)?;
        setsockopt(&fd, ReceiveFragmentSize, &true)?;
        setsockopt(&fd, sockopt::RxqOvfl, &1)?;
        // FORCE goes past net.core.rmem_max and wants CAP_NET_ADMIN.
        setsockopt(&fd, sockopt::RcvBufForce, &RECEIVE_BUFFER)
            .or_else(|_| setsockopt(&fd, sockopt::RcvBuf, &RECEIVE_BUFFER))?;
        Ok(Self { fd: Reader::new(fd)? })
    }

    /// Reads advertisements until the receiver is gone.
    ///
    /// # Errors
    /// When the socket fails.
    pub async fn run(&self, messages: mpsc::Sender<Message>) -> io::Result<()> {
        let mut buffer = vec![0; DATAGRAM];
        let mut out = Vec::with_capacity(DATAGRAMS_PER_WAKEUP);
        let mut lost = 0;
        loop {
            self.fd
                .read(DATAGRAMS_PER_WAKEUP, |fd| {
                    let Received { message, overflow } = receive(fd, &mut buffer)?;
                    if overflow != lost {
                        out.push(Message::Lost(Loss::RouterAdvertisements(overflow.wrapping_sub(lost))));
                        lost = overflow;
                    }
                    out.extend(message.map(Message::RouterAdvertisement));
                    Ok(())
                })
                .await?;
            for message in out.drain(..) {
                if messages.send(message).await.is_err() {
                    return Ok(());
                }
            }
        }
    }

    /// Sends one Router Solicitation on an interface: to ff02::2, hop limit 255 (RFC 4861 §4.1), from the address the
    /// kernel picks, its link-local one as a rule. It is never `::`, so the link-layer address of an Ethernet interface
    /// goes with it, and the answer may come by unicast without a Neighbor Solicitation before it.
    ///
    /// # Errors
    /// [`SolicitError`]. Nothing waits: a socket buffer that is full is an error too.
    pub fn send_rs(&self, ifindex: u32) -> Result<(), SolicitError> {
        let address = ethernet_address(self.fd.get(), ifindex)?.map(|address| address.to_vec());
        let solicitation = RouterSolicitation { source_link_layer_address: address };
        self.send(ifindex, ALL_ROUTERS, &solicitation.emit().expect("six octets fit"))
    }

    /// Asks all on the link of an interface who has `target`, from the address the kernel picks: its link-local one where the target
    /// is. The answer is the kernel's, which takes it unless it has no entry for the target, or one that failed (`ndisc_recv_na`).
    ///
    /// # Errors
    /// As [`Self::send_rs`].
    pub fn send_ns(&self, ifindex: u32, target: Ipv6Addr) -> Result<(), SolicitError> {
        let address = ethernet_address(self.fd.get(), ifindex)?.map(|address| address.to_vec());
        let solicitation = NeighborSolicitation { target, source_link_layer_address: address };
        self.send(ifindex, solicitation.destination(), &solicitation.emit().expect("six octets fit"))
    }

    fn send(&self, ifindex: u32, destination: Ipv6Addr, icmp: &[u8]) -> Result<(), SolicitError> {
        let to = SockaddrIn6::from(SocketAddrV6::new(destination, 0, 0, ifindex));
        let from =
            libc::in6_pktinfo { ipi6_addr: libc::in6_addr { s6_addr: [0; 16] }, ipi6_ifindex: ifindex };
        let control = [ControlMessage::Ipv6PacketInfo(&from), ControlMessage::Ipv6HopLimit(&HOP_LIMIT)];
        let data = [IoSlice::new(icmp)];
        sendmsg(self.fd.get().as_raw_fd(), &data, &control, MsgFlags::empty(), Some(&to))?;
        Ok(())
    }
}

/// One read.
struct Received {
    /// `None` where the kernel did not say what must be known, or the packet did not fit.
    message: Option<RaMessage>,
    /// SO_RXQ_OVFL: how many packets the socket has lost so far.
    overflow: u32,
}

fn receive(fd: &OwnedFd, buffer: &mut [u8]) -> nix::Result<Received> {
    let mut control = nix::cmsg_space!(libc::in6_pktinfo, libc::c_int, libc::c_int, u32);
    let mut data = [IoSliceMut::new(buffer)];
    let packet = recvmsg::<SockaddrIn6>(fd.as_raw_fd(), &mut data, Some(&mut control), MsgFlags::empty())?;
    let (mut arrival, mut hop_limit, mut fragmented, mut overflow) = (None, None, false, 0);
    for message in packet.cmsgs()? {
        match message {
            ControlMessageOwned::Ipv6PacketInfo(info) => arrival = Some(info),
            ControlMessageOwned::Ipv6HopLimit(limit) => hop_limit = u8::try_from(limit).ok(),
            ControlMessageOwned::RxqOvfl(count) => overflow = count,
            // Only with packets that had a Fragment header; the value is the size of the largest fragment.
            ControlMessageOwned::Unknown(UnknownCmsg { cmsg_header, .. }) => {
                fragmented |= (cmsg_header.cmsg_level, cmsg_header.cmsg_type)
                    == (libc::IPPROTO_IPV6, libc::IPV6_RECVFRAGSIZE);
            }
            _ => {}
        }
    }
    let (octets, truncated, address) =
        (packet.bytes, packet.flags.contains(MsgFlags::MSG_TRUNC), packet.address);
    let message = match (arrival, hop_limit, address) {
        (Some(arrival), Some(hop_limit), Some(address)) if !truncated => Some(RaMessage {
            ifindex: arrival.ipi6_ifindex,
            source: address.ip(),
            destination: arrival.ipi6_addr.s6_addr.into(),
            hop_limit,
            fragmented,
            bytes: buffer[..octets].to_vec(),
            received: clock::now(),
        }),
        _ => None,
    };
    Ok(Received { message, overflow })
}

/// The Ethernet address of an interface (SIOCGIFHWADDR); `None` for interfaces of another kind, which the solicitation says nothing
/// of (RFC 4861 §4.1 has it as a SHOULD). Not by a list of all interfaces, which a thousand of them would each ask for.
fn ethernet_address(socket: &OwnedFd, ifindex: u32) -> nix::Result<Option<[u8; 6]>> {
    let name = nix::net::if_::if_indextoname(ifindex)?;
    // SAFETY: a plain C structure, of which zeros are a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.to_bytes_with_nul()) {
        *to = from.cast_signed();
    }
    // SAFETY: SIOCGIFHWADDR reads the name from an ifreq, and writes the address to it.
    if unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFHWADDR, &raw mut request) } != 0 {
        return Err(Errno::last());
    }
    // SAFETY: the kernel has written this member.
    let address = unsafe { request.ifr_ifru.ifru_hwaddr };
    let octets = address.sa_data.first_chunk().map(|octets| octets.map(|octet| octet as u8));
    Ok(octets.filter(|_| address.sa_family == libc::ARPHRD_ETHER))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filter_passes_one_type() {
        let filter = only(ROUTER_ADVERTISEMENT);
        let passed: Vec<u8> =
            (0..=u8::MAX).filter(|kind| filter[usize::from(kind / 32)] >> (kind % 32) & 1 == 0).collect();
        assert_eq!(passed, [ROUTER_ADVERTISEMENT]);
    }
}
