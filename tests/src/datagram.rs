//! Datagrams with both of their addresses: IP_PKTINFO (ip(7)) and IPV6_PKTINFO (RFC 3542 §6).

use std::{
    io::{self, IoSlice, IoSliceMut},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::{AsFd, AsRawFd as _},
};

use nix::{
    libc,
    sys::socket::{
        AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockaddrLike as _, SockaddrStorage,
        getsockname, recvmsg, sendmsg, setsockopt, sockopt,
    },
};

/// A datagram that came in.
pub(crate) struct Datagram {
    pub(crate) length: usize,
    pub(crate) source: SocketAddr,
    /// The address and port that it was sent to.
    pub(crate) destination: SocketAddr,
}

/// The source that a datagram shall have, as far as the application names it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
    pub(crate) address: Option<IpAddr>,
    /// 0 for none in particular.
    pub(crate) ifindex: u32,
}

/// Makes the socket tell [`receive`] the destinations of datagrams.
pub(crate) fn tell_destinations(socket: impl AsFd) -> nix::Result<()> {
    if is_ipv4(&socket)? {
        setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)
    } else {
        setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)
    }
}

/// Receives on a socket that was prepared by [`tell_destinations`].
pub(crate) fn receive(socket: impl AsFd, buffer: &mut [u8]) -> io::Result<Datagram> {
    let socket = socket.as_fd();
    let mut control = nix::cmsg_space!(libc::in6_pktinfo);
    let mut slices = [IoSliceMut::new(buffer)];
    let message =
        recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut slices, Some(&mut control), MsgFlags::empty())?;
    let destination = message.cmsgs()?.find_map(|control| match control {
        ControlMessageOwned::Ipv4PacketInfo(info) => {
            // In the byte order of the network.
            Some(IpAddr::from(info.ipi_addr.s_addr.to_ne_bytes()))
        }
        ControlMessageOwned::Ipv6PacketInfo(info) => Some(IpAddr::from(info.ipi6_addr.s6_addr)),
        _ => None,
    });
    match (message.address.as_ref().and_then(address), destination) {
        (Some(source), Some(destination)) => {
            let length = message.bytes;
            let port = local(socket)?.port();
            Ok(Datagram { length, source, destination: SocketAddr::new(destination, port) })
        }
        _ => Err(io::Error::other("a datagram came without its addresses")),
    }
}

/// Sends to `to`, from `origin` if the application names one.
pub(crate) fn send(
    socket: impl AsFd,
    origin: Option<Origin>,
    to: SocketAddr,
    words: &[u8],
) -> nix::Result<()> {
    let raw = socket.as_fd().as_raw_fd();
    let send = |control: &[ControlMessage<'_>]| {
        let (words, to) = ([IoSlice::new(words)], SockaddrStorage::from(to));
        sendmsg(raw, &words, control, MsgFlags::empty(), Some(&to)).map(drop)
    };
    let Some(Origin { address, ifindex }) = origin else { return send(&[]) };
    if to.is_ipv4() {
        let source = match address {
            Some(IpAddr::V4(address)) => address,
            Some(IpAddr::V6(address)) => address.to_ipv4_mapped().ok_or(nix::errno::Errno::EAFNOSUPPORT)?,
            None => Ipv4Addr::UNSPECIFIED,
        };
        let info = libc::in_pktinfo {
            ipi_ifindex: ifindex.cast_signed(),
            ipi_spec_dst: libc::in_addr { s_addr: u32::from_ne_bytes(source.octets()) },
            ipi_addr: libc::in_addr { s_addr: 0 },
        };
        send(&[ControlMessage::Ipv4PacketInfo(&info)])
    } else {
        let source = match address {
            Some(IpAddr::V4(address)) => address.to_ipv6_mapped(),
            Some(IpAddr::V6(address)) => address,
            // Also no address is written v4-mapped where the destination is (ip_cmsg_send in the kernel's net/ipv4/ip_sockglue.c).
            None if to.ip().to_canonical().is_ipv4() => Ipv4Addr::UNSPECIFIED.to_ipv6_mapped(),
            None => Ipv6Addr::UNSPECIFIED,
        };
        let info = libc::in6_pktinfo {
            ipi6_addr: libc::in6_addr { s6_addr: source.octets() },
            ipi6_ifindex: ifindex,
        };
        send(&[ControlMessage::Ipv6PacketInfo(&info)])
    }
}

fn is_ipv4(socket: impl AsFd) -> nix::Result<bool> {
    let name = getsockname::<SockaddrStorage>(socket.as_fd().as_raw_fd())?;
    Ok(name.family() == Some(AddressFamily::Inet))
}

fn local(socket: impl AsFd) -> io::Result<SocketAddr> {
    let name = getsockname::<SockaddrStorage>(socket.as_fd().as_raw_fd())?;
    address(&name).ok_or_else(|| io::Error::other("a socket of another family"))
}

fn address(found: &SockaddrStorage) -> Option<SocketAddr> {
    let ipv4 = found.as_sockaddr_in().map(|address| SocketAddr::V4((*address).into()));
    ipv4.or_else(|| found.as_sockaddr_in6().map(|address| SocketAddr::V6((*address).into())))
}
