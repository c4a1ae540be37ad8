//! The interface that an application chose for a socket without binding it.
//!
//! `bpf_getsockopt` does not offer IP_UNICAST_IF, IPV6_UNICAST_IF and IPV6_PKTINFO (`sol_ip_sockopt` and `sol_ipv6_sockopt` in
//! the kernel's net/core/filter.c), and `bpf_sock` has none of them. So the fields are read where the loader found them in the
//! types of the running kernel.

use aya_ebpf::{Global, helpers::bpf_probe_read_kernel, programs::SockAddrContext};
use mif_common::{Addr, abi::SocketLayout};

/// Written by the loader. Constants for the verifier, which leaves out what they make unreachable.
#[unsafe(no_mangle)]
static SOCKET_LAYOUT: Global<SocketLayout> = Global::new(SocketLayout::UNKNOWN);

/// The interface for a unicast destination, 0 for none or where it cannot be known. For datagrams only: TCP heeds none of the options
/// (`tcp_v4_connect`, `tcp_v6_connect`).
#[inline(always)]
pub fn chosen(ctx: &SockAddrContext, destination: &Addr) -> u32 {
    let layout = SOCKET_LAYOUT.load();
    // IPv4 goes by the IPv4 options, also on AF_INET6 sockets (`__ip6_datagram_connect`, `udpv6_sendmsg`).
    if destination.is_v4_mapped() {
        return if layout.uc_index == 0 { 0 } else { read(address(ctx), layout.uc_index) };
    }
    if layout.pinet6 == 0 {
        return 0;
    }
    let ipv6: u64 = read(address(ctx), layout.pinet6);
    // `ip6_datagram_flow_key_init`, `udpv6_sendmsg`: the one before the other.
    match read(ipv6, layout.sticky_ifindex) {
        0 => read(ipv6, layout.ucast_oif),
        sticky => sticky,
    }
}

/// Where the socket is: the first word of the hook's own context (`struct bpf_sock_addr_kern`, as the loader has checked). As the
/// verifier knows the socket, nothing may be added to its pointer (`adjust_ptr_min_max_vals`).
#[inline(always)]
fn address(ctx: &SockAddrContext) -> u64 {
    read(ctx.sock_addr as u64, 0)
}

/// A field of a kernel object, 0 where it cannot be read.
#[inline(always)]
fn read<T: Default>(object: u64, offset: u32) -> T {
    // SAFETY: the helper answers with an error for an address that is none; only plain data is read so.
    unsafe { bpf_probe_read_kernel((object + u64::from(offset)) as *const T) }.unwrap_or_default()
}
