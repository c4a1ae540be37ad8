//! The tc egress hook: the safety net for whatever no socket hook sees.

use core::{mem, ptr};

use aya_ebpf::{
    EbpfContext as _,
    bindings::{
        __sk_buff, TC_ACT_SHOT,
        bpf_hdr_start_off::{BPF_HDR_START_MAC, BPF_HDR_START_NET},
        bpf_redir_neigh, bpf_redir_neigh__bindgen_ty_1,
    },
    helpers::generated::{bpf_redirect_neigh, bpf_skb_change_head, bpf_skb_load_bytes_relative},
    programs::TcContext,
};
use mif_common::{
    Addr, Reason,
    abi::{Hook, NO_PVD},
    decide::{self, Outcome, Packet, Rule, Verdict},
};

use crate::{
    report::{self, Subject},
    tables::{self, Maps, PacketSocket},
};

/// `linux/if_ether.h`
const ETH_P_IPV6: u32 = 0x86dd_u16.to_be() as u32;
/// Octets of an Ethernet header without tags (`linux/if_ether.h`, ETH_HLEN).
const ETHERNET_HEADER: u32 = 14;
/// Offset of the source in the IPv6 header (RFC 8200 §3); the destination follows it.
const SOURCE_OFFSET: u32 = 8;
/// Offset of the next header in the IPv6 header, and the header's length (RFC 8200 §3).
const NEXT_HEADER_OFFSET: u32 = 6;
const IPV6_HEADER: u32 = 40;
/// RFC 4443 §2.1
const ICMPV6: u8 = 58;
/// Router Solicitation to Redirect (RFC 4861 §4).
const ND_TYPES: core::ops::RangeInclusive<u8> = 133..=137;
/// `linux/socket.h`
const AF_INET6: u32 = 10;
/// `skb->tc_index` of a packet that was redirected and comes by again, at its new interface or at the same one (a redirect
/// goes through `dev_queue_xmit`). Only traffic control uses the field (tcindex).
const REPAIRED: u32 = 0x6d66;
/// `bpf_redirect_neigh` and `bpf_skb_change_head` define no flag.
const NO_FLAGS: u64 = 0;

#[inline(always)]
pub fn egress(ctx: &TcContext) -> Option<i32> {
    let config = tables::config()?;
    let skb = ctx.as_ptr().cast::<__sk_buff>();
    // SAFETY: the context is valid for the program's run.
    let (protocol, ingress_ifindex, ifindex, len, tc_index, vlan_present) = unsafe {
        (
            (*skb).protocol,
            (*skb).ingress_ifindex,
            (*skb).ifindex,
            (*skb).len,
            (*skb).tc_index,
            (*skb).vlan_present,
        )
    };
    // A tagged packet comes from a VLAN device above this one, which had its own look. A packet that was redirected keeps
    // its mark all the way down such a stack.
    if protocol != ETH_P_IPV6 || vlan_present != 0 || tc_index == REPAIRED {
        return None;
    }
    let bytes = u64::from(len);
    if ingress_ifindex != 0 {
        report::count(Reason::Forwarded, NO_PVD, bytes);
        return None;
    }
    let Some([source, destination]) = addresses(ctx) else {
        report::count(Reason::Malformed, NO_PVD, bytes);
        return None;
    };
    let packet = Packet { source, destination, ifindex };
    let mut rule = Rule::default_of(config);
    let outcome = decide::egress(&Maps, config, &packet, || {
        rule = Rule::of(&Maps, config, &PacketSocket(ctx));
        rule
    });
    let subject = Subject { hook: Hook::Egress, source, destination, ifindex };
    match outcome.verdict {
        Verdict::Pass => {
            // Every packet comes by here: an event for each would tell nothing.
            report::count(outcome.reason, outcome.pvd, bytes);
            None
        }
        _ if is_neighbour_discovery(ctx) => {
            report::count(Reason::NotOurs, NO_PVD, bytes);
            None
        }
        Verdict::Refuse => {
            report::outcome(&outcome, &rule, &subject, bytes);
            Some(TC_ACT_SHOT)
        }
        Verdict::Apply => {
            if matches!(outcome.reason, Reason::NextHop) {
                // Every packet of a shared link: counted only, like those that pass.
                report::count(outcome.reason, outcome.pvd, bytes);
            } else {
                report::outcome(&outcome, &rule, &subject, bytes);
            }
            // SAFETY: the context is valid for the program's run; the field is writable.
            unsafe { (*skb).tc_index = REPAIRED };
            Some(redirect(ctx, &source, &outcome))
        }
    }
}

/// Source and destination, wherever the network header is (tunnels have no link-layer header).
#[inline(always)]
fn addresses(ctx: &TcContext) -> Option<[Addr; 2]> {
    load::<[Addr; 2]>(ctx, SOURCE_OFFSET)
}

/// Whether this is Neighbor Discovery between global addresses: it concerns the link that it is on, and a router would spoil
/// its hop limit (RFC 4861 §7.1).
#[inline(always)]
fn is_neighbour_discovery(ctx: &TcContext) -> bool {
    load::<u8>(ctx, NEXT_HEADER_OFFSET) == Some(ICMPV6)
        && load::<u8>(ctx, IPV6_HEADER).is_some_and(|kind| ND_TYPES.contains(&kind))
}

/// Reads a plain value at an offset from the network header.
#[inline(always)]
fn load<T: Default>(ctx: &TcContext, offset: u32) -> Option<T> {
    let mut value = T::default();
    // SAFETY: the buffer lives on this stack and has the length given; only plain data is read so.
    let status = unsafe {
        bpf_skb_load_bytes_relative(
            ctx.as_ptr(),
            offset,
            (&raw mut value).cast(),
            mem::size_of::<T>() as u32,
            BPF_HDR_START_NET,
        )
    };
    (status == 0).then_some(value)
}

/// Whether an Ethernet header stands before the IPv6 header: whether the source is found that much further behind the
/// start of the packet. Without one (tunnels) both headers start at one place.
#[inline(always)]
fn is_ethernet(ctx: &TcContext, source: &Addr) -> bool {
    let mut found = Addr::UNSPECIFIED;
    // SAFETY: the buffer lives on this stack and has the length given.
    let status = unsafe {
        bpf_skb_load_bytes_relative(
            ctx.as_ptr(),
            ETHERNET_HEADER + SOURCE_OFFSET,
            (&raw mut found).cast(),
            mem::size_of::<Addr>() as u32,
            BPF_HDR_START_MAC,
        )
    };
    status == 0 && found == *source
}

/// Sends the packet by the outcome's interface to its next hop, or to the one that the routes of that interface name.
#[inline(always)]
fn redirect(ctx: &TcContext, source: &Addr, outcome: &Outcome) -> i32 {
    // bpf_redirect_neigh takes an Ethernet header off and drops what has none (__bpf_redirect_neigh_v6): packets that
    // were about to leave by a tunnel get an empty one.
    if !is_ethernet(ctx, source) {
        // SAFETY: the context is the one the program was called with; no pointer into the packet is held. Should there
        // be no memory, the packet is dropped below.
        unsafe { bpf_skb_change_head(ctx.as_ptr().cast(), ETHERNET_HEADER, NO_FLAGS) };
    }
    // SAFETY: the parameters live on this stack and have the length given; a null pointer of length 0 asks for a
    // route lookup.
    let action = unsafe {
        if outcome.next_hop.is_unspecified() {
            bpf_redirect_neigh(outcome.ifindex, ptr::null_mut(), 0, NO_FLAGS)
        } else {
            let mut next_hop = bpf_redir_neigh {
                nh_family: AF_INET6,
                __bindgen_anon_1: bpf_redir_neigh__bindgen_ty_1 { ipv6_nh: outcome.next_hop.words },
            };
            bpf_redirect_neigh(
                outcome.ifindex,
                &raw mut next_hop,
                mem::size_of::<bpf_redir_neigh>() as i32,
                NO_FLAGS,
            )
        }
    };
    action as i32
}
