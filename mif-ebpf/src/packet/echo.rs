//! Echo requests of sockets that have no source: the only packets that get another one.

use core::mem;

use aya_ebpf::{
    EbpfContext as _,
    bindings::{__sk_buff, BPF_F_PSEUDO_HDR, TC_ACT_SHOT, bpf_sock},
    helpers::generated::{bpf_l3_csum_replace, bpf_l4_csum_replace, bpf_sk_fullsock, bpf_skb_store_bytes},
    programs::TcContext,
};
use mif_common::{
    Addr,
    abi::{Hook, Mode},
    decide::{self, Outcome, Packet},
};

use super::{
    ETHERNET_HEADER, Header as _, ICMP, ICMPV6, IPV6_HEADER, Ipv4, Ipv6, NEXT_HEADER_OFFSET, NO_FLAGS,
    PROTOCOL_OFFSET, is_ethernet, load, mark, redirect, rule_of_cgroup,
};
use crate::{
    family,
    report::{self, Subject},
    tables::Maps,
};

/// Echo requests (RFC 792, RFC 4443 §4.1).
const ECHO_IPV4: u8 = 8;
const ECHO_IPV6: u8 = 128;
/// Offsets in the IPv4 header (RFC 791 §3.1), and its length without options.
const FRAGMENT_OFFSET: u32 = 6;
const CHECKSUM_OFFSET: u32 = 10;
const IPV4_HEADER: u32 = 20;
/// The first octet of an IPv4 header without options: version and length in words.
const VERSION_WITHOUT_OPTIONS: u8 = 0x45;
/// "More fragments" and the offset.
const FRAGMENT_BITS: u16 = 0x3fff;
/// Offset of the checksum in an ICMPv6 message (RFC 4443 §2.1).
const ICMPV6_CHECKSUM: u32 = 2;
/// `linux/net.h`
const SOCK_DGRAM: u32 = 2;

/// An echo request of a ping socket (icmp(7)) that is bound to nothing, in a cgroup that prefers a view: it gets source, interface
/// and next hop of that. What raw sockets send may have a source of the application's (IP_HDRINCL), so only strict policies touch it.
#[inline(always)]
pub(super) fn prefer(ctx: &TcContext, ipv4: bool, packet: &Packet, bytes: u64) -> Option<i32> {
    let sk = free(ctx, ipv4)?;
    if sk.type_ != SOCK_DGRAM || sk.bound_dev_if != 0 {
        return None;
    }
    let rule = rule_of_cgroup(ctx.as_ptr().cast(), Mode::Prefer)?;
    let outcome = decide::readdress(&Maps, &rule, packet)?;
    let Packet { source, destination, ifindex } = *packet;
    let subject = Subject { hook: Hook::Egress, source, destination, ifindex };
    report::outcome(&outcome, &rule, &subject, bytes);
    Some(send_readdressed(ctx, ipv4, &source, &outcome))
}

/// Whether this may be ICMP or ICMPv6, at the price of two octets: behind an Ethernet header or without one.
#[inline(always)]
pub(super) fn may_be_icmp(ctx: &TcContext, ipv4: bool) -> bool {
    let (offset, protocol) =
        if ipv4 { (PROTOCOL_OFFSET as usize, ICMP) } else { (NEXT_HEADER_OFFSET as usize, ICMPV6) };
    let (start, end) = (ctx.data(), ctx.data_end());
    let behind = ETHERNET_HEADER as usize + offset;
    if start + behind + 1 > end {
        return true;
    }
    // SAFETY: both lie before the end, as the verifier sees from the comparison above.
    unsafe { *((start + behind) as *const u8) == protocol || *((start + offset) as *const u8) == protocol }
}

/// Gives an echo request the outcome's source and sends it on.
#[inline(always)]
pub(super) fn send_readdressed(ctx: &TcContext, ipv4: bool, source: &Addr, outcome: &Outcome) -> i32 {
    if !set_source(ctx, ipv4, source, &outcome.source) {
        return TC_ACT_SHOT;
    }
    // SAFETY: the context is valid for the program's run; the field is writable.
    unsafe { (*ctx.as_ptr().cast::<__sk_buff>()).tc_index = mark(outcome.ifindex) };
    redirect(ctx, ipv4, &outcome.source, outcome)
}

/// The socket of an echo request, in one piece, if it is bound to no source.
#[inline(always)]
pub(super) fn free(ctx: &TcContext, ipv4: bool) -> Option<&bpf_sock> {
    let echo = if ipv4 {
        load::<u8>(ctx, 0) == Some(VERSION_WITHOUT_OPTIONS)
            && load::<u8>(ctx, PROTOCOL_OFFSET) == Some(ICMP)
            && load::<u16>(ctx, FRAGMENT_OFFSET).is_some_and(|bits| u16::from_be(bits) & FRAGMENT_BITS == 0)
            && load::<u8>(ctx, IPV4_HEADER) == Some(ECHO_IPV4)
    } else {
        load::<u8>(ctx, NEXT_HEADER_OFFSET) == Some(ICMPV6) && load::<u8>(ctx, IPV6_HEADER) == Some(ECHO_IPV6)
    };
    // SAFETY: the context is valid for the program's run; the helper takes a socket that is not null and returns one that
    // may be.
    let sk: Option<&bpf_sock> = unsafe {
        let sk = (*ctx.as_ptr().cast::<__sk_buff>()).__bindgen_anon_2.sk;
        if sk.is_null() { None } else { bpf_sk_fullsock(sk).as_ref() }
    };
    let protocol = if ipv4 { ICMP } else { ICMPV6 };
    sk.filter(|sk| echo && sk.protocol == u32::from(protocol) && family::bound_address(sk).is_unspecified())
}

/// Gives the packet another source: an ICMP packet, the checksum of which covers the addresses in IPv6 only (RFC 4443 §2.3, RFC 792).
#[inline(always)]
fn set_source(ctx: &TcContext, ipv4: bool, old: &Addr, new: &Addr) -> bool {
    let skb = ctx.as_ptr().cast::<__sk_buff>();
    let ethernet = if ipv4 { is_ethernet::<Ipv4>(ctx, old) } else { is_ethernet::<Ipv6>(ctx, old) };
    let ip = if ethernet { ETHERNET_HEADER } else { 0 };
    if ipv4 {
        let (from, mut to) = (old.ipv4_be(), new.ipv4_be());
        let size = mem::size_of::<u32>() as u32;
        // SAFETY: the address lives on this stack and has the length given; no pointer into the packet is held.
        return unsafe {
            bpf_l3_csum_replace(skb, ip + CHECKSUM_OFFSET, from.into(), to.into(), size.into()) == 0
                && bpf_skb_store_bytes(skb, ip + Ipv4::SOURCE_OFFSET, (&raw mut to).cast(), size, NO_FLAGS)
                    == 0
        };
    }
    let size = mem::size_of::<u32>() as u32;
    let flags = u64::from(BPF_F_PSEUDO_HDR) | u64::from(size);
    let checksum = ip + IPV6_HEADER + ICMPV6_CHECKSUM;
    for (from, to) in old.words.into_iter().zip(new.words) {
        // SAFETY: as above.
        if unsafe { bpf_l4_csum_replace(skb, checksum, from.into(), to.into(), flags) } != 0 {
            return false;
        }
    }
    let mut words = new.words;
    let length = mem::size_of_val(&words) as u32;
    // SAFETY: as above.
    unsafe {
        bpf_skb_store_bytes(skb, ip + Ipv6::SOURCE_OFFSET, (&raw mut words).cast(), length, NO_FLAGS) == 0
    }
}
