//! Whole IP packets of an interface: AF_PACKET sockets and what the lab reads of the headers.

use std::{
    io::{self, IoSliceMut},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd},
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, Result};
use nix::{
    errno::Errno,
    libc,
    net::if_::if_nametoindex,
    sys::socket::{
        AddressFamily, ControlMessageOwned, LinkAddr, MsgFlags, SockFlag, SockType, SockaddrLike as _, bind,
        recvmsg, sendto, setsockopt, socket, sockopt,
    },
};

use crate::netns::Namespace;

/// Octets of the IPv6 header (RFC 8200 §3).
pub const IPV6_HEADER: usize = 40;
/// Octets of the IPv4 header without options (RFC 791 §3.1).
pub const IPV4_HEADER: usize = 20;
/// Next header: TCP.
pub const TCP: u8 = 6;
/// Next header: UDP.
pub const UDP: u8 = 17;
/// Next header: ICMPv6.
pub const ICMPV6: u8 = 58;

/// Octets that may wait to be read: thousands of packets, so that a reader who gets no CPU for a while loses none.
const RECEIVE_BUFFER: usize = 16 << 20;

/// Which packets of an interface a socket sees.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Sees {
    /// IPv6 that comes in.
    IncomingIpv6,
    /// IPv4 that comes in.
    IncomingIpv4,
    /// Everything in both directions: the kernel shows what goes out only to those who want all protocols (ETH_P_ALL).
    All,
}

/// Sees and sends the packets of one interface, without its link-layer header.
#[derive(Debug)]
pub struct PacketSocket {
    fd: OwnedFd,
    ifindex: u32,
}

/// A packet as it passed the interface.
#[derive(Debug)]
pub struct Passed<'a> {
    /// From the IP header on; long packets are cut to the buffer.
    pub octets: &'a [u8],
    /// When the kernel saw it.
    pub at: SystemTime,
}

impl PacketSocket {
    /// Listens on `interface`; from then on no packet is missed unless [`Self::lost`] says so.
    ///
    /// # Errors
    /// There is no such interface, or CAP_NET_RAW lacks.
    pub fn open(namespace: &Namespace, interface: &str, sees: Sees) -> Result<Self> {
        namespace.run(|| Self::open_here(interface, sees)).with_context(|| {
            format!("listen on {interface} of {} (AF_PACKET, needs CAP_NET_RAW)", namespace.name())
        })
    }

    fn open_here(interface: &str, sees: Sees) -> nix::Result<Self> {
        let ifindex = if_nametoindex(interface)?;
        // Protocol 0: nothing arrives before bind names the interface.
        let fd = socket(
            AddressFamily::Packet,
            SockType::Datagram,
            SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
            None,
        )?;
        setsockopt(&fd, sockopt::RcvBufForce, &RECEIVE_BUFFER)?;
        setsockopt(&fd, sockopt::ReceiveTimestampns, &true)?;
        let protocol = match sees {
            Sees::IncomingIpv6 => libc::ETH_P_IPV6,
            Sees::IncomingIpv4 => libc::ETH_P_IP,
            Sees::All => libc::ETH_P_ALL,
        };
        bind(fd.as_raw_fd(), &link_address(ifindex, protocol, [0; 6]))?;
        Ok(Self { fd, ifindex })
    }

    /// The next packet that waits, if one does. `buffer` decides how much of it is kept.
    ///
    /// # Errors
    /// The interface went down or away.
    pub fn receive<'a>(&self, buffer: &'a mut [u8]) -> Result<Option<Passed<'a>>> {
        let mut control = nix::cmsg_space!(libc::timespec);
        let mut slices = [IoSliceMut::new(buffer)];
        let (length, at) = match recvmsg::<LinkAddr>(
            self.fd.as_raw_fd(),
            &mut slices,
            Some(&mut control),
            MsgFlags::empty(),
        ) {
            Err(Errno::EAGAIN) => return Ok(None),
            Err(errno) => return Err(errno).context("read from a packet socket"),
            Ok(message) => {
                let stamp = message.cmsgs().into_iter().flatten().find_map(|control| match control {
                    ControlMessageOwned::ScmTimestampns(stamp) => Some(Duration::from(stamp)),
                    _ => None,
                });
                (message.bytes, SystemTime::UNIX_EPOCH + stamp.context("a packet came without its time")?)
            }
        };
        Ok(Some(Passed { octets: &buffer[..length], at }))
    }

    /// Sends an IPv6 packet in a frame to `mac`.
    ///
    /// # Errors
    /// The interface is down or the packet larger than its MTU.
    pub fn send(&self, mac: [u8; 6], packet: &[u8]) -> Result<()> {
        let to = link_address(self.ifindex, libc::ETH_P_IPV6, mac);
        sendto(self.fd.as_raw_fd(), packet, &to, MsgFlags::empty()).context("send to a packet socket")?;
        Ok(())
    }

    /// How many packets were lost since the last call because the socket's buffer was full.
    ///
    /// # Errors
    /// getsockopt(2) failed.
    pub fn lost(&self) -> Result<u32> {
        let mut statistics = libc::tpacket_stats { tp_packets: 0, tp_drops: 0 };
        let mut length = size_of::<libc::tpacket_stats>() as libc::socklen_t;
        // SAFETY: the kernel writes at most `length` octets, the size of the structure that the option returns.
        let done = unsafe {
            libc::getsockopt(
                self.fd.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_STATISTICS,
                (&raw mut statistics).cast(),
                &raw mut length,
            )
        };
        if done < 0 {
            return Err(io::Error::last_os_error()).context("PACKET_STATISTICS");
        }
        Ok(statistics.tp_drops)
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The packet(7) address of an interface (and, for sending, of a neighbour).
fn link_address(ifindex: u32, protocol: libc::c_int, mac: [u8; 6]) -> LinkAddr {
    let mut octets = [0; 8];
    octets[..mac.len()].copy_from_slice(&mac);
    let address = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: (protocol as u16).to_be(),
        sll_ifindex: ifindex.cast_signed(),
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: mac.len() as u8,
        sll_addr: octets,
    };
    let length = size_of_val(&address) as libc::socklen_t;
    // SAFETY: the pointer is to a whole sockaddr_ll, whose family says that it is one.
    unsafe { LinkAddr::from_raw((&raw const address).cast(), Some(length)) }
        .expect("AF_PACKET and its length")
}

/// What the lab reads of a packet's headers.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Headers {
    /// From the IP header.
    pub source: IpAddr,
    /// From the IP header.
    pub destination: IpAddr,
    /// IPv4's protocol, or IPv6's next header behind the extension headers.
    pub protocol: u8,
    /// TCP and UDP, in the first fragment.
    pub ports: Option<(u16, u16)>,
    /// Where that header starts.
    pub payload: usize,
}

impl Headers {
    /// `None` if this is no IP packet or it ends within its headers.
    pub fn parse(packet: &[u8]) -> Option<Self> {
        match packet.first()? >> 4 {
            4 => Self::parse_ipv4(packet),
            6 => Self::parse_ipv6(packet),
            _ => None,
        }
    }

    fn parse_ipv4(packet: &[u8]) -> Option<Self> {
        const FRAGMENT_OFFSET: u16 = 0x1fff;
        let (ip, _) = packet.split_first_chunk::<IPV4_HEADER>()?;
        let address = |at: usize| {
            let octets = <[u8; 4]>::try_from(&ip[at..at + 4]).expect("four octets");
            IpAddr::from(Ipv4Addr::from(octets))
        };
        let payload = 4 * usize::from(ip[0] & 0xf);
        if !(IPV4_HEADER..=packet.len()).contains(&payload) {
            return None;
        }
        let first_fragment = u16::from_be_bytes([ip[6], ip[7]]) & FRAGMENT_OFFSET == 0;
        let (source, destination, protocol) = (address(12), address(16), ip[9]);
        let ports = ports(packet, protocol, payload, first_fragment)?;
        Some(Self { source, destination, protocol, ports, payload })
    }

    fn parse_ipv6(packet: &[u8]) -> Option<Self> {
        let (ip, _) = packet.split_first_chunk::<IPV6_HEADER>()?;
        let address = |at: usize| {
            let octets = <[u8; 16]>::try_from(&ip[at..at + 16]).expect("sixteen octets");
            IpAddr::from(Ipv6Addr::from(octets))
        };
        let (protocol, payload, first_fragment) = skip_extension_headers(packet, ip[6])?;
        let ports = ports(packet, protocol, payload, first_fragment)?;
        Some(Self { source: address(8), destination: address(24), protocol, ports, payload })
    }
}

/// The ports, where the protocol has some and this fragment bears them; `None` if the packet ends before them.
fn ports(packet: &[u8], protocol: u8, payload: usize, first_fragment: bool) -> Option<Option<(u16, u16)>> {
    let port = |at: usize| Some(u16::from_be_bytes(packet.get(at..at + 2)?.try_into().expect("two octets")));
    Some(match protocol {
        TCP | UDP if first_fragment => Some((port(payload)?, port(payload + 2)?)),
        _ => None,
    })
}

/// The upper-layer protocol, where it starts, and whether this is (the first fragment of) a packet (RFC 8200 §4).
fn skip_extension_headers(packet: &[u8], next_header: u8) -> Option<(u8, usize, bool)> {
    const HOP_BY_HOP: u8 = 0;
    const ROUTING: u8 = 43;
    const FRAGMENT: u8 = 44;
    const DESTINATION_OPTIONS: u8 = 60;
    let (mut next_header, mut at, mut first) = (next_header, IPV6_HEADER, true);
    loop {
        let length = match next_header {
            HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS => 8 + 8 * usize::from(*packet.get(at + 1)?),
            FRAGMENT => {
                let offset =
                    u16::from_be_bytes(packet.get(at + 2..at + 4)?.try_into().expect("two octets")) >> 3;
                first &= offset == 0;
                8
            }
            _ => return Some((next_header, at, first)),
        };
        next_header = *packet.get(at)?;
        at += length;
    }
}

/// An IPv6 header in front of `payload`.
///
/// # Panics
/// The payload is longer than 65535 octets.
pub fn ipv6(
    source: Ipv6Addr,
    destination: Ipv6Addr,
    next_header: u8,
    hop_limit: u8,
    payload: &[u8],
) -> Vec<u8> {
    const VERSION: u8 = 6 << 4;
    let length = u16::try_from(payload.len()).expect("no jumbograms");
    let mut packet = vec![VERSION, 0, 0, 0];
    packet.extend(length.to_be_bytes());
    packet.extend([next_header, hop_limit]);
    packet.extend(source.octets());
    packet.extend(destination.octets());
    packet.extend(payload);
    packet
}

/// The Internet checksum (RFC 1071) of `message`, whose checksum field is zero.
pub fn checksum(message: &[u8]) -> [u8; 2] {
    let word = |pair: &[u8]| u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
    let mut sum: u32 = message.chunks(2).map(word).sum();
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    (!(sum as u16)).to_be_bytes()
}

/// The ICMPv6 checksum (RFC 4443 §2.3) of `message`, whose checksum field counts as zero.
pub fn icmpv6_checksum(source: Ipv6Addr, destination: Ipv6Addr, message: &[u8]) -> [u8; 2] {
    /// Octets 2 and 3 of the message.
    const FIELD: usize = 1;
    let words = |octets: &[u8]| -> u32 {
        let word = |pair: &[u8]| u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
        octets.chunks(2).map(word).sum()
    };
    let field: u32 = message.chunks(2).nth(FIELD).map_or(0, words);
    let length = message.len() as u32;
    let mut sum = words(&source.octets()) + words(&destination.octets()) + length + u32::from(ICMPV6);
    sum += words(message) - field;
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    (!(sum as u16)).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "2001:db8:a::1";
    const B: &str = "2001:db8:b::2";

    fn packet(next_header: u8, payload: &[u8]) -> Vec<u8> {
        ipv6(A.parse().unwrap(), B.parse().unwrap(), next_header, 64, payload)
    }

    #[test]
    fn headers() {
        let ports = [0x30, 0x39, 0, 7];
        let options = [TCP, 0, 1, 4, 0, 0, 0, 0];
        let first_fragment = [UDP, 0, 0, 1, 0, 0, 0, 9];
        let later_fragment = [UDP, 0, 0, 9, 0, 0, 0, 9];
        let behind = |header: &[u8]| [header, &ports].concat();
        let table = [
            ("udp", packet(UDP, &ports), Some((UDP, Some((12345, 7))))),
            ("icmp", packet(ICMPV6, &[134, 0]), Some((ICMPV6, None))),
            ("hop-by-hop", packet(0, &behind(&options)), Some((TCP, Some((12345, 7))))),
            ("first fragment", packet(44, &behind(&first_fragment)), Some((UDP, Some((12345, 7))))),
            ("later fragment", packet(44, &behind(&later_fragment)), Some((UDP, None))),
            ("ends in its options", packet(60, &options[..1]), None),
            ("ends before its ports", packet(TCP, &ports[..3]), None),
            ("no IP", vec![0x55; 60], None),
        ];
        for (what, octets, expected) in table {
            let read = Headers::parse(&octets).map(|headers| (headers.protocol, headers.ports));
            assert_eq!(read, expected, "{what}");
        }
        let headers = Headers::parse(&packet(UDP, &ports)).unwrap();
        assert_eq!((headers.source, headers.destination), (A.parse().unwrap(), B.parse().unwrap()));
    }

    #[test]
    fn ipv4_headers() {
        let ip = |length: u8, offset: u8, protocol: u8| {
            let mut packet = vec![0x40 | length, 0, 0, 0, 0, 0, 0, offset, 64, protocol, 0, 0];
            packet.extend([198, 18, 10, 100, 203, 0, 113, 1]);
            packet.resize(4 * usize::from(length), 1);
            packet
        };
        let ports = [0x30, 0x39, 0, 7];
        let with_ports = |header: Vec<u8>| [header, ports.to_vec()].concat();
        let table = [
            ("plain", with_ports(ip(5, 0, UDP)), Some((UDP, Some((12345, 7)), 20))),
            ("options", with_ports(ip(6, 0, TCP)), Some((TCP, Some((12345, 7)), 24))),
            ("a later fragment", with_ports(ip(5, 9, UDP)), Some((UDP, None, 20))),
            ("ICMP", ip(5, 0, 1), Some((1, None, 20))),
            ("cut in the ports", ip(5, 0, UDP), None),
            ("cut in the header", ip(5, 0, UDP)[..19].to_vec(), None),
            ("a header longer than the packet", ip(6, 9, 1)[..20].to_vec(), None),
            ("a header too short", with_ports(ip(4, 0, 1)), None),
            ("nothing", Vec::new(), None),
        ];
        for (what, octets, expected) in table {
            let read = Headers::parse(&octets);
            let read = read.map(|headers| (headers.protocol, headers.ports, headers.payload));
            assert_eq!(read, expected, "{what}");
        }
        let headers = Headers::parse(&with_ports(ip(5, 0, UDP))).unwrap();
        let addresses = (headers.source.to_string(), headers.destination.to_string());
        assert_eq!(addresses, ("198.18.10.100".to_owned(), "203.0.113.1".to_owned()));
    }

    /// A message with its right checksum sums up to the pseudo-header's complement, whatever the field held before.
    #[test]
    fn checksum_does_not_depend_on_its_field() {
        let (source, destination) = ("fe80::1".parse().unwrap(), "ff02::1".parse().unwrap());
        let zero = [134, 0, 0, 0, 64, 0, 7, 8, 1];
        let other = [134, 0, 0xab, 0xcd, 64, 0, 7, 8, 1];
        // By hand: 8600 + 4000 + 0708 + 0100 (message), fe80 + 1 + ff02 + 1 (addresses), 9 + 3a.
        let sum = 0x8600_u32 + 0x4000 + 0x0708 + 0x0100 + 0xfe80 + 1 + 0xff02 + 1 + 9 + 0x3a;
        let expected = (!(((sum >> 16) + (sum & 0xffff)) as u16)).to_be_bytes();
        assert_eq!(icmpv6_checksum(source, destination, &zero), expected);
        assert_eq!(icmpv6_checksum(source, destination, &other), expected);
    }
}
