//! The interface that an application chose for a socket without binding it.
//!
//! `bpf_getsockopt` does not offer IP_UNICAST_IF, IPV6_UNICAST_IF and IPV6_PKTINFO (`sol_ip_sockopt` and `sol_ipv6_sockopt` in
//! the kernel's net/core/filter.c), and `bpf_sock` has none of them. So the fields are read where the loader found them in the
//! types of the running kernel.

use core::hint::black_box;

use aya_ebpf::{
    Global,
    helpers::{bpf_probe_read_kernel, generated::bpf_skc_to_udp6_sock},
    programs::SockAddrContext,
};
use mif_common::{Addr, abi::SocketLayout};

/// Written by the loader. Constants for the verifier, which leaves out what they make unreachable.
#[unsafe(no_mangle)]
static SOCKET_LAYOUT: Global<SocketLayout> = Global::new(SocketLayout::UNKNOWN);

/// The interface for a unicast destination, 0 for none or where it cannot be known. For datagrams only: TCP heeds none of the options
/// (`tcp_v4_connect`, `tcp_v6_connect`).
#[inline(always)]
pub fn chosen(ctx: &SockAddrContext, destination: &Addr) -> u32 {
    let layout = SOCKET_LAYOUT.load();
    if layout == SocketLayout::UNKNOWN {
        return 0;
    }
    // SAFETY: every sock_addr context has its socket; the verifier checks the null test.
    let Some(sk) = (unsafe { (*ctx.sock_addr).__bindgen_anon_1.sk.as_ref() }) else { return 0 };
    let sk = &raw const *sk;
    // SAFETY: the helper answers null for what is no UDP socket of AF_INET6.
    let udp6 = unsafe { bpf_skc_to_udp6_sock(sk.cast_mut().cast()) } as u64;
    // The verifier lets nothing be added to the pointer to a socket, but the difference of two pointers is a number for it
    // (`adjust_reg_min_max_vals`), and where it is used the second is null. The compiler must not think so far.
    let address = black_box((sk as u64).wrapping_sub(udp6));
    if udp6 == 0 {
        of::<Probed>(&layout, address, destination)
    } else {
        of::<Typed>(&layout, udp6, destination)
    }
}

#[inline(always)]
fn of<R: Reader>(layout: &SocketLayout, socket: u64, destination: &Addr) -> u32 {
    // IPv4 goes by the IPv4 options, also on AF_INET6 sockets (`__ip6_datagram_connect`, `udpv6_sendmsg`).
    if destination.is_v4_mapped() {
        return R::read(socket, layout.uc_index);
    }
    let ipv6: u64 = R::read(socket, layout.pinet6);
    // `ip6_datagram_flow_key_init`, `udpv6_sendmsg`: the one before the other.
    match R::read(ipv6, layout.sticky_ifindex) {
        0 => R::read(ipv6, layout.ucast_oif),
        sticky => sticky,
    }
}

/// A way to read the kernel's memory.
trait Reader {
    /// A field of an object, 0 where it cannot be read.
    fn read<T: Default>(object: u64, offset: u32) -> T;
}

/// Of an object whose type the verifier knows: a plain load, which the kernel makes safe.
struct Typed;

/// Of any address: some 35 ns.
struct Probed;

impl Reader for Typed {
    #[inline(always)]
    fn read<T: Default>(object: u64, offset: u32) -> T {
        // SAFETY: the verifier has checked that there is such a field; a load that fails answers 0.
        unsafe { ((object + u64::from(offset)) as *const T).read_volatile() }
    }
}

impl Reader for Probed {
    #[inline(always)]
    fn read<T: Default>(object: u64, offset: u32) -> T {
        // SAFETY: the helper answers with an error for an address that is none; only plain data is read so.
        unsafe { bpf_probe_read_kernel((object + u64::from(offset)) as *const T) }.unwrap_or_default()
    }
}
