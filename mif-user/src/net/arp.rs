//! ARP requests (RFC 826) to all on a link.
//!
//! The kernel asks a neighbour that it knows at its link-layer address only, as long as the entry is kept ([`mif_core::nud`]). A
//! router that was replaced by another machine is found by asking all. The answer is the kernel's: it takes those to anybody's question
//! for entries that it has (`arp_process`).

use std::{io, mem, net::Ipv4Addr, os::fd::AsRawFd};

use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, SockFlag, SockType, SockaddrLike as _, bind, sendto, socket,
};

/// Ethernet's number of a hardware type (`linux/if_arp.h`) and its addresses' length.
const ETHERNET: (u16, usize) = (libc::ARPHRD_ETHER, 6);
/// `ar_op`: a request.
const REQUEST: u16 = 1;
const BROADCAST: [u8; 6] = [0xff; 6];

/// Asks all on an Ethernet who has `target`, as the host that has `sender`. On other links nothing is sent, and the answer is false.
///
/// # Errors
/// When no socket can be made, or the kernel does not send.
pub fn request(ifindex: u32, sender: Ipv4Addr, target: Ipv4Addr) -> io::Result<bool> {
    // Without a protocol it receives nothing.
    let socket = socket(AddressFamily::Packet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    bind(socket.as_raw_fd(), &link_layer(ifindex, 0, [0; 6]))?;
    let own = own_address(&socket)?;
    if (own.sll_hatype, own.sll_halen.into()) != ETHERNET {
        return Ok(false);
    }
    let mac = *own.sll_addr.first_chunk().expect("eight octets");
    let all = link_layer(ifindex, libc::ETH_P_ARP, BROADCAST);
    sendto(socket.as_raw_fd(), &message(mac, sender, target), &all, MsgFlags::empty())?;
    Ok(true)
}

/// The link-layer address of the interface that a packet(7) socket is bound to.
fn own_address(socket: &impl AsRawFd) -> io::Result<libc::sockaddr_ll> {
    // SAFETY: a sockaddr_ll is plain data.
    let mut address: libc::sockaddr_ll = unsafe { mem::zeroed() };
    let mut length = size_of_val(&address) as libc::socklen_t;
    // SAFETY: both pointers are to values of this stack, and the length is that of the first. The kernel writes no more than the
    // octets that the link's addresses have (`packet_getname`), which is why nix takes it for no address at all.
    let status = unsafe { libc::getsockname(socket.as_raw_fd(), (&raw mut address).cast(), &raw mut length) };
    if status == 0 { Ok(address) } else { Err(io::Error::last_os_error()) }
}

/// RFC 826 "Packet format", without the link-layer header, which the kernel writes.
fn message(mac: [u8; 6], sender: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    let (hardware, length) = ETHERNET;
    let mut message = hardware.to_be_bytes().to_vec();
    message.extend((libc::ETH_P_IP as u16).to_be_bytes());
    message.extend([length as u8, size_of::<Ipv4Addr>() as u8]);
    message.extend(REQUEST.to_be_bytes());
    message.extend(mac);
    message.extend(sender.octets());
    message.extend([0; 6]);
    message.extend(target.octets());
    message
}

/// An address of a packet(7) socket.
fn link_layer(ifindex: u32, protocol: libc::c_int, mac: [u8; 6]) -> LinkAddr {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_as_rfc_826_draws_it() {
        let message = message([2, 0, 0, 0, 0, 1], Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 254));
        let expected = [
            0, 1, 8, 0, 6, 4, 0, 1, // Ethernet, IPv4, their lengths, request
            2, 0, 0, 0, 0, 1, 192, 0, 2, 1, // sender
            0, 0, 0, 0, 0, 0, 192, 0, 2, 254, // target
        ];
        assert_eq!(message, expected);
    }
}
