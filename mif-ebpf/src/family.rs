//! What the contexts of the two families' socket hooks have in other places.

use core::mem;

use aya_ebpf::{
    bindings::{bpf_sock, bpf_sock_addr, sockaddr},
    helpers::generated::bpf_bind,
    programs::SockAddrContext,
};
use mif_common::{Addr, abi::Hook};

/// `linux/socket.h`
const AF_INET: u16 = 2;
/// `linux/socket.h`
pub const AF_INET6: u16 = 10;

/// The family of a hook, which is that of the call's address. A socket's own family may be another: `sendmsg4` also sees
/// AF_INET6 sockets.
pub trait Family {
    const CONNECT: Hook;
    const SENDMSG: Hook;
    const BIND: Hook;

    /// The address of the call: where to, or at bind what to.
    fn address(ctx: &SockAddrContext) -> Addr;

    /// The source that a message is to have: IPV6_PKTINFO, IP_PKTINFO, or what the socket is bound to. `::` for none.
    fn message_source(ctx: &SockAddrContext) -> Addr;

    /// Gives a message another source.
    fn set_message_source(ctx: &SockAddrContext, source: &Addr);
}

/// AF_INET6
pub struct Ipv6;

/// AF_INET
pub struct Ipv4;

#[inline(always)]
fn fields(ctx: &SockAddrContext) -> &bpf_sock_addr {
    // SAFETY: the context is valid for the program's run.
    unsafe { &*ctx.sock_addr }
}

impl Family for Ipv6 {
    const CONNECT: Hook = Hook::Connect6;
    const SENDMSG: Hook = Hook::Sendmsg6;
    const BIND: Hook = Hook::Bind6;

    #[inline(always)]
    fn address(ctx: &SockAddrContext) -> Addr {
        // Word by word: the verifier refuses an array copy.
        let user = &fields(ctx).user_ip6;
        Addr::from_words([user[0], user[1], user[2], user[3]]).or_unspecified()
    }

    #[inline(always)]
    fn message_source(ctx: &SockAddrContext) -> Addr {
        let message = &fields(ctx).msg_src_ip6;
        Addr::from_words([message[0], message[1], message[2], message[3]])
    }

    #[inline(always)]
    fn set_message_source(ctx: &SockAddrContext, source: &Addr) {
        let words = source.words;
        // SAFETY: the context is valid for the program's run; these four words are writable.
        unsafe {
            let message = &mut (*ctx.sock_addr).msg_src_ip6;
            message[0] = words[0];
            message[1] = words[1];
            message[2] = words[2];
            message[3] = words[3];
        }
    }
}

impl Family for Ipv4 {
    const CONNECT: Hook = Hook::Connect4;
    const SENDMSG: Hook = Hook::Sendmsg4;
    const BIND: Hook = Hook::Bind4;

    #[inline(always)]
    fn address(ctx: &SockAddrContext) -> Addr {
        Addr::from_ipv4(fields(ctx).user_ip4)
    }

    #[inline(always)]
    fn message_source(ctx: &SockAddrContext) -> Addr {
        Addr::from_ipv4(fields(ctx).msg_src_ip4)
    }

    #[inline(always)]
    fn set_message_source(ctx: &SockAddrContext, source: &Addr) {
        // SAFETY: the context is valid for the program's run; the word is writable.
        unsafe { (*ctx.sock_addr).msg_src_ip4 = source.ipv4_be() };
    }
}

/// What the socket is bound to, `::` for none.
#[inline(always)]
pub fn bound_address(sk: &bpf_sock) -> Addr {
    if sk.family == u32::from(AF_INET) {
        return Addr::from_ipv4(sk.src_ip4);
    }
    Addr::from_words([sk.src_ip6[0], sk.src_ip6[1], sk.src_ip6[2], sk.src_ip6[3]]).or_unspecified()
}

/// `struct sockaddr_in6`
#[repr(C)]
struct SockaddrIn6 {
    family: u16,
    port: u16,
    flowinfo: u32,
    address: Addr,
    scope_id: u32,
}

/// `struct sockaddr_in`
#[repr(C)]
struct SockaddrIn {
    family: u16,
    port: u16,
    address_be: u32,
    zero: [u8; 8],
}

/// `bpf_bind` with port 0: the source is fixed, the port is chosen at connect (BIND_FORCE_ADDRESS_NO_PORT). An AF_INET6 socket
/// takes an IPv4 source in its v4-mapped form.
#[inline(always)]
pub fn bind(ctx: &SockAddrContext, source: Addr) -> bool {
    if fields(ctx).family == u32::from(AF_INET) {
        let mut address = SockaddrIn { family: AF_INET, port: 0, address_be: source.ipv4_be(), zero: [0; 8] };
        return bind_to(ctx, &mut address);
    }
    let mut address = SockaddrIn6 { family: AF_INET6, port: 0, flowinfo: 0, address: source, scope_id: 0 };
    bind_to(ctx, &mut address)
}

#[inline(always)]
fn bind_to<T>(ctx: &SockAddrContext, address: &mut T) -> bool {
    // SAFETY: the address lives on this stack and has the length given.
    unsafe {
        bpf_bind(ctx.sock_addr, (&raw mut *address).cast::<sockaddr>(), mem::size_of::<T>() as i32) == 0
    }
}
