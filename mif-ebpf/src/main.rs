//! The kernel programs of `mif`: thin hooks over [`mif_common::decide`].
//!
//! A hook reads its context into a plain value, asks the decision function, does what the outcome says, and counts
//! the reason. What a quirk of the kernel needs is in [`sock`] and [`packet`], named.
#![no_std]
#![no_main]
#![expect(clippy::not_unsafe_ptr_arg_deref, reason = "aya's classifier macro makes such a function of ours")]

mod cookie;
mod family;
mod guard;
mod maps;
mod packet;
mod report;
mod sock;
mod tables;
mod tunnel;
mod unicast_if;

use aya_ebpf::{
    bindings::TC_ACT_UNSPEC,
    macros::{cgroup_skb, cgroup_sock_addr, classifier},
    programs::{SkBuffContext, SockAddrContext, TcContext},
};

use crate::family::{Ipv4, Ipv6};

/// A sock_addr program lets the call go on, a cgroup_skb program the packet.
const PROCEED: i32 = 1;

/// `connect(2)` on an AF_INET6 socket, also to a v4-mapped address.
#[cgroup_sock_addr(connect6)]
pub fn connect6(ctx: SockAddrContext) -> i32 {
    sock::connect::<Ipv6>(&ctx).unwrap_or(PROCEED)
}

/// `connect(2)` on an AF_INET socket.
#[cgroup_sock_addr(connect4)]
pub fn connect4(ctx: SockAddrContext) -> i32 {
    sock::connect::<Ipv4>(&ctx).unwrap_or(PROCEED)
}

/// `sendto(2)` and `sendmsg(2)` with an IPv6 address on an unconnected datagram socket.
#[cgroup_sock_addr(sendmsg6)]
pub fn sendmsg6(ctx: SockAddrContext) -> i32 {
    sock::sendmsg::<Ipv6>(&ctx).unwrap_or(PROCEED)
}

/// The same with an IPv4 address, also a v4-mapped one on an AF_INET6 socket (`udpv6_sendmsg` hands it to `udp_sendmsg`).
#[cgroup_sock_addr(sendmsg4)]
pub fn sendmsg4(ctx: SockAddrContext) -> i32 {
    sock::sendmsg::<Ipv4>(&ctx).unwrap_or(PROCEED)
}

/// `bind(2)` on an AF_INET6 socket.
#[cgroup_sock_addr(bind6)]
pub fn bind6(ctx: SockAddrContext) -> i32 {
    sock::bind::<Ipv6>(&ctx).unwrap_or(PROCEED)
}

/// `bind(2)` on an AF_INET socket.
#[cgroup_sock_addr(bind4)]
pub fn bind4(ctx: SockAddrContext) -> i32 {
    sock::bind::<Ipv4>(&ctx).unwrap_or(PROCEED)
}

/// Every packet about to leave by the interface. What is left alone goes on to the next program or filter: TC_ACT_UNSPEC is
/// TCX_NEXT, and no opinion for a clsact filter; TC_ACT_OK would silence them.
#[classifier]
pub fn egress(ctx: TcContext) -> i32 {
    packet::egress(&ctx).unwrap_or(TC_ACT_UNSPEC)
}

/// Every packet of a socket of the cgroup, once its interface and neighbour are chosen. Attached while strict policies exist.
#[cgroup_skb(egress)]
pub fn guard(ctx: SkBuffContext) -> i32 {
    guard::egress(&ctx).unwrap_or(PROCEED)
}

/// The kernel gives helpers that it marks `gpl_only` to such programs alone (`Documentation/bpf/bpf_licensing.rst`); the
/// source is MIT OR Apache-2.0.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[cfg(not(test))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
