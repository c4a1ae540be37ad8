//! SYN cookies: SYN-ACKs that bear no socket.
//!
//! Under a flood, or with `net.ipv4.tcp_syncookies` 2, the kernel does not spend a reference to the listener on each answer
//! (`tcp_make_synack` in `net/ipv4/tcp_output.c`), so the packet tells no cgroup. tc egress can look the listener up, but has no
//! helper that tells a socket's cgroup: the bind hook notes it.

use core::{ffi::c_void, mem, ptr};

use aya_ebpf::{
    EbpfContext as _,
    bindings::{
        __sk_buff, bpf_sock_tuple, bpf_sock_tuple__bindgen_ty_1, bpf_sock_tuple__bindgen_ty_1__bindgen_ty_1,
        bpf_sock_tuple__bindgen_ty_1__bindgen_ty_2,
    },
    helpers::generated::{bpf_sk_lookup_tcp, bpf_sk_release, bpf_sk_storage_get},
    programs::{SockAddrContext, TcContext},
};
use mif_common::{
    Addr,
    abi::{Config, Mode, config_flags},
    decide::{Rule, Tables as _},
};

use crate::{
    maps,
    packet::load,
    tables::{CurrentTask, Maps},
};

/// `linux/net.h`
const SOCK_STREAM: u32 = 1;
/// RFC 9293 §3.1: offset of the flags, and those of a SYN-ACK.
const TCP: u8 = 6;
const FLAGS: u32 = 13;
const SYN_ACK: u8 = 0x12;
/// Where the IPv6 header has the next header, and its length; where the IPv4 header has the protocol.
const NEXT_HEADER: u32 = 6;
const IPV6_HEADER: u32 = 40;
const PROTOCOL: u32 = 9;
/// `linux/bpf.h`, BPF_F_CURRENT_NETNS: the namespace of the packet's interface.
const CURRENT_NETNS: u64 = u64::MAX;

/// Notes on a stream socket that is bound, and so may listen, the cgroup whose strict policy it is under.
#[inline(always)]
pub fn note(ctx: &SockAddrContext, config: &Config, address: &Addr) {
    // SAFETY: the context is valid for the program's run.
    if config.flags & config_flags::STRICT == 0 || unsafe { (*ctx.sock_addr).type_ } != SOCK_STREAM {
        return;
    }
    let rule = Rule::of(&Maps, config, address, &CurrentTask);
    if !rule.pinned() {
        return;
    }
    let mut cgroup = rule.cgroup;
    let note = maps::LISTENER.get_or_insert_ptr_mut(ctx, Some(&mut cgroup));
    if !note.is_null() {
        // SAFETY: not null, so it is this socket's storage.
        unsafe { *note = cgroup };
    }
}

/// The rule of the listener that a SYN-ACK without a socket is from, where it is strict.
#[inline(always)]
pub fn rule(ctx: &TcContext, ipv4: bool, source: &Addr, destination: &Addr) -> Option<Rule> {
    let skb = ctx.as_ptr().cast::<__sk_buff>();
    // SAFETY: the context is valid for the program's run.
    if !unsafe { (*skb).__bindgen_anon_2.sk }.is_null() {
        return None;
    }
    let (protocol, header) = if ipv4 {
        (load::<u8>(ctx, PROTOCOL)?, u32::from(load::<u8>(ctx, 0)? & 0xf) * 4)
    } else {
        (load::<u8>(ctx, NEXT_HEADER)?, IPV6_HEADER)
    };
    if protocol != TCP || load::<u8>(ctx, header + FLAGS)? != SYN_ACK {
        return None;
    }
    // As in the SYN: from there to here.
    let [dport, sport] = load::<[u16; 2]>(ctx, header)?;
    let (mut tuple, length) = if ipv4 {
        let ipv4 = bpf_sock_tuple__bindgen_ty_1__bindgen_ty_1 {
            saddr: destination.ipv4_be(),
            daddr: source.ipv4_be(),
            sport,
            dport,
        };
        (bpf_sock_tuple__bindgen_ty_1 { ipv4 }, mem::size_of_val(&ipv4))
    } else {
        let ipv6 = bpf_sock_tuple__bindgen_ty_1__bindgen_ty_2 {
            saddr: destination.words,
            daddr: source.words,
            sport,
            dport,
        };
        (bpf_sock_tuple__bindgen_ty_1 { ipv6 }, mem::size_of_val(&ipv6))
    };
    let tuple = (&raw mut tuple).cast::<bpf_sock_tuple>();
    // SAFETY: the tuple lives on this stack and has the length given; the socket found is released, and nothing of it is used
    // after that.
    let cgroup = unsafe {
        let sk = bpf_sk_lookup_tcp(ctx.as_ptr().cast(), tuple, length as u32, CURRENT_NETNS, 0);
        if sk.is_null() {
            return None;
        }
        let map = (&raw const maps::LISTENER).cast_mut().cast::<c_void>();
        let note = bpf_sk_storage_get(map, sk.cast(), ptr::null_mut(), 0).cast::<u64>();
        let cgroup = if note.is_null() { 0 } else { *note };
        bpf_sk_release(sk.cast());
        cgroup
    };
    let policy = Maps.policy(cgroup)?;
    let rule = Rule { view: policy.view, mode: Mode::from_raw(policy.mode), cgroup };
    rule.pinned().then_some(rule)
}
