//! The packets that a tunnel makes around others.
//!
//! A tunnel device leaves the inner packet's socket with the outer one (`skb_scrub_packet` in `net/core/skbuff.c`), so that the socket
//! hears of what happens to it. Thus the outer packet bears the cgroup of whoever sent the inner one; but where it goes was
//! decided by whoever made the tunnel. The inner one was judged at the tunnel device.

use aya_ebpf::{
    EbpfContext as _,
    bindings::{__sk_buff, bpf_sock},
    helpers::generated::bpf_sk_fullsock,
    programs::TcContext,
};

use crate::packet::load;

/// `linux/net.h`
const SOCK_STREAM: u32 = 1;
const SOCK_DGRAM: u32 = 2;
/// Protocol numbers (IANA): those of sockets,
const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;
/// those of tunnels that are devices,
const IPV4: u8 = 4;
const IPV6: u8 = 41;
const GRE: u8 = 47;
const L2TP: u8 = 115;
/// and the extension header in which ip6tnl puts its encapsulation limit (RFC 2473 §4.1.1).
const DESTINATION_OPTIONS: u8 = 60;
/// Octets of an IPv6 header.
const IPV6_HEADER: u32 = 40;
/// Where the next header stands in the IPv6 header, and protocol and fragment offset in the IPv4 header.
const NEXT_HEADER: u32 = 6;
const PROTOCOL: u32 = 9;
const FRAGMENT: u32 = 6;
/// "More fragments" is not part of it.
const FRAGMENT_OFFSET_BITS: u16 = 0x1fff;

/// Whether the packet is a tunnel's, around one of its socket, although nothing marks it as judged (WireGuard clears the mark,
/// `wg_reset_packet`). Sockets of these kinds make packets of their own protocol alone, so that no process can pretend it. With raw
/// sockets one could, and with a datagram socket that changes its port while it holds a datagram back (UDP_CORK), so theirs go as
/// the cgroup may; and so do those of IPsec, which has no device that the inner packet was judged at.
#[inline(always)]
pub fn is_around_another(ctx: &TcContext, ipv4: bool) -> bool {
    // SAFETY: the context is valid for the program's run; the helper takes a socket that is not null and returns one that
    // may be.
    let sk: Option<&bpf_sock> = unsafe {
        let sk = (*ctx.as_ptr().cast::<__sk_buff>()).__bindgen_anon_2.sk;
        if sk.is_null() { None } else { bpf_sk_fullsock(sk).as_ref() }
    };
    let Some(sk) = sk else { return false };
    if sk.type_ != SOCK_STREAM && sk.type_ != SOCK_DGRAM {
        return false;
    }
    let own = sk.protocol;
    if ![ICMP, TCP, UDP, ICMPV6].map(u32::from).contains(&own) {
        return false;
    }
    match transport(ctx, ipv4) {
        Some(IPV4 | IPV6 | GRE | L2TP) => true,
        Some(UDP) => own != u32::from(UDP),
        _ => false,
    }
}

/// The protocol of the packet; `None` for the rest of a fragmented one.
#[inline(always)]
fn transport(ctx: &TcContext, ipv4: bool) -> Option<u8> {
    if ipv4 {
        if u16::from_be(load::<u16>(ctx, FRAGMENT)?) & FRAGMENT_OFFSET_BITS != 0 {
            return None;
        }
        return load::<u8>(ctx, PROTOCOL);
    }
    match load::<u8>(ctx, NEXT_HEADER)? {
        // An application's own may be longer (IPV6_DSTOPTS).
        DESTINATION_OPTIONS => {
            let [next, more] = load::<[u8; 2]>(ctx, IPV6_HEADER)?;
            (more == 0).then_some(next)
        }
        protocol => Some(protocol),
    }
}
