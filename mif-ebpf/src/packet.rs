//! The tc egress hook: the safety net for whatever no socket hook sees.

mod echo;
mod frame;

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
    abi::{DEFAULT_VIEW, Hook, Mode, NO_PVD, config_flags},
    decide::{self, Outcome, Packet, Rule, Verdict},
};

use crate::{
    cookie,
    report::{self, Subject},
    tables::{self, Maps, PacketSocket},
    tunnel,
};

/// Octets of an Ethernet header without tags (`linux/if_ether.h`, ETH_HLEN), and where the type is in it.
const ETHERNET_HEADER: u32 = 14;
const ETHERNET_TYPE: usize = 12;
/// Offset of the next header in the IPv6 header, and the header's length (RFC 8200 §3).
const NEXT_HEADER_OFFSET: u32 = 6;
const IPV6_HEADER: u32 = 40;
/// RFC 4443 §2.1
const ICMPV6: u8 = 58;
/// Router Solicitation to Redirect (RFC 4861 §4).
const ND_TYPES: core::ops::RangeInclusive<u8> = 133..=137;
/// RFC 792
const ICMP: u8 = 1;
/// Offset in the IPv4 header (RFC 791 §3.1).
const PROTOCOL_OFFSET: u32 = 9;
/// `linux/socket.h`
const AF_INET: u32 = 2;
/// `linux/socket.h`
const AF_INET6: u32 = 10;
/// Tells in `skb->tc_index` that the packet was judged at an interface, or sent there; its index is in the other bits. Only
/// traffic control uses the field (tcindex), and a tunnel leaves it as it is with what it puts around the packet
/// (`skb_scrub_packet`).
const JUDGED: u32 = 1 << 15;
/// `bpf_redirect_neigh` and `bpf_skb_change_head` define no flag.
const NO_FLAGS: u64 = 0;

/// The header of a family, as far as it is read. Offsets are octets from its start.
pub trait Header {
    /// `skb->protocol` and the Ethernet type, in network byte order (`linux/if_ether.h`).
    const PROTOCOL: u16;
    /// The first four bits.
    const VERSION: u8;
    /// Where the 16-bit length is.
    const LENGTH_OFFSET: usize;
    /// What the length does not count.
    const UNCOUNTED: u32;
    /// Where the source is; the destination follows it.
    const SOURCE_OFFSET: u32;
    /// Source and destination as they stand there.
    type Pair: Default + Copy;

    fn addresses(pair: Self::Pair) -> [Addr; 2];
}

/// RFC 8200 §3
pub struct Ipv6;

/// RFC 791 §3.1
pub struct Ipv4;

impl Header for Ipv6 {
    const PROTOCOL: u16 = 0x86dd_u16.to_be();
    const VERSION: u8 = 6;
    const LENGTH_OFFSET: usize = 4;
    const UNCOUNTED: u32 = IPV6_HEADER;
    const SOURCE_OFFSET: u32 = 8;
    type Pair = [Addr; 2];

    #[inline(always)]
    fn addresses(pair: [Addr; 2]) -> [Addr; 2] {
        pair
    }
}

impl Header for Ipv4 {
    const PROTOCOL: u16 = 0x0800_u16.to_be();
    const VERSION: u8 = 4;
    const LENGTH_OFFSET: usize = 2;
    const UNCOUNTED: u32 = 0;
    const SOURCE_OFFSET: u32 = 12;
    type Pair = [u32; 2];

    #[inline(always)]
    fn addresses([source, destination]: [u32; 2]) -> [Addr; 2] {
        [Addr::from_ipv4(source), Addr::from_ipv4(destination)]
    }
}

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
    // A tagged packet comes from a VLAN device above this one, which had its own look. One that was redirected to this interface
    // comes by again (a redirect goes through `dev_queue_xmit`).
    if vlan_present != 0 || tc_index == mark(ifindex) {
        return None;
    }
    // The packet comes from a device above this one: it is what a tunnel made around another, or went down a stack.
    let comes_down = tc_index & JUDGED != 0;
    let bytes = u64::from(len);
    if config.flags & config_flags::STRICT != 0 && frame::is_bare(skb) && !frame::may_leave(skb, ifindex) {
        report::count(Reason::Vetoed, NO_PVD, bytes);
        return Some(TC_ACT_SHOT);
    }
    let ipv4 = protocol == u32::from(Ipv4::PROTOCOL);
    if !ipv4 && protocol != u32::from(Ipv6::PROTOCOL) {
        return None;
    }
    if ingress_ifindex != 0 {
        report::count(Reason::Forwarded, NO_PVD, bytes);
        return None;
    }
    let strict = config.flags & config_flags::STRICT != 0;
    let addresses =
        if ipv4 { addresses::<Ipv4>(ctx, len, strict) } else { addresses::<Ipv6>(ctx, len, strict) };
    // IPv4 addresses in an IPv6 header (RFC 4291 §2.5.5.2 is for sockets): the tables would answer for IPv4.
    let addresses =
        addresses.filter(|addresses| ipv4 || !addresses[0].is_v4_mapped() && !addresses[1].is_v4_mapped());
    let Some([source, destination]) = addresses else {
        report::count(Reason::Malformed, NO_PVD, bytes);
        let strict = config.flags & config_flags::STRICT != 0 && strict_view(skb) != DEFAULT_VIEW;
        return strict.then_some(TC_ACT_SHOT);
    };
    let packet = Packet { source, destination, ifindex };
    if config.flags & config_flags::POLICIES != 0
        && echo::may_be_icmp(ctx, ipv4)
        && let Some(action) = echo::prefer(ctx, ipv4, &packet, bytes)
    {
        return Some(action);
    }
    let mut rule = Rule::default_of(config, &destination);
    let mut outcome = decide::egress(&Maps, config, &packet, || {
        let found = if config.flags & config_flags::STRICT == 0 {
            None
        } else {
            cookie::rule(ctx, ipv4, &source, &destination)
        };
        let found = found.unwrap_or_else(|| Rule::of(&Maps, config, &destination, &PacketSocket(ctx)));
        if !found.pinned() || !(comes_down || tunnel::is_around_another(ctx, ipv4)) {
            rule = found;
        }
        rule
    });
    if matches!(outcome.reason, Reason::Vetoed)
        && echo::free(ctx, ipv4).is_some()
        && let Some(readdressed) = decide::readdress(&Maps, &rule, &packet)
    {
        outcome = readdressed;
    }
    let subject = Subject { hook: Hook::Egress, source, destination, ifindex };
    match outcome.verdict {
        Verdict::Pass => {
            // Every packet comes by here: an event for each would tell nothing.
            report::count(outcome.reason, outcome.pvd, bytes);
            if rule.pinned() {
                // SAFETY: the context is valid for the program's run; the field is writable.
                unsafe { (*skb).tc_index = mark(ifindex) };
            }
            None
        }
        // The kernel's own is in no cgroup that could be pinned: its socket is as old as the namespace.
        _ if !ipv4 && !rule.pinned() && is_neighbour_discovery(ctx) => {
            report::count(Reason::NotOurs, NO_PVD, bytes);
            None
        }
        Verdict::Refuse => {
            report::outcome(&outcome, &rule, &subject, bytes);
            Some(TC_ACT_SHOT)
        }
        // Down a stack of devices it still has the source of the upper one, where it has been.
        Verdict::Apply if comes_down && tc_index == mark(outcome.ifindex) => None,
        Verdict::Apply => {
            if matches!(outcome.reason, Reason::NextHop) {
                // Every packet of a shared link: counted only, like those that pass.
                report::count(outcome.reason, outcome.pvd, bytes);
            } else {
                report::outcome(&outcome, &rule, &subject, bytes);
            }
            if matches!(outcome.reason, Reason::Readdressed) {
                return Some(echo::send_readdressed(ctx, ipv4, &source, &outcome));
            }
            // SAFETY: the context is valid for the program's run; the field is writable.
            unsafe { (*skb).tc_index = mark(outcome.ifindex) };
            Some(redirect(ctx, ipv4, &source, &outcome))
        }
    }
}

/// What `skb->tc_index` says of a packet that was judged at this interface or sent there.
#[inline(always)]
const fn mark(ifindex: u32) -> u32 {
    JUDGED | ifindex & (JUDGED - 1)
}

/// The view of the strict policy of the packet's cgroup, the default view without one.
#[inline(always)]
fn strict_view(skb: *mut __sk_buff) -> u32 {
    rule_of_cgroup(skb, Mode::Strict).map_or(DEFAULT_VIEW, |rule| rule.view)
}

/// The policy of the packet's cgroup, if it has one of that mode.
#[inline(always)]
fn rule_of_cgroup(skb: *mut __sk_buff, mode: Mode) -> Option<Rule> {
    let mut rule = Rule { view: DEFAULT_VIEW, mode, cgroup: 0 };
    rule.cgroup = policy_of_cgroup(skb, mode as u32, &raw mut rule.view);
    (rule.cgroup != 0).then_some(rule)
}

/// The cgroup of the policy, 0 for none, and its view. Not inlined: the verifier would walk the cgroups once for each place that
/// asks.
#[inline(never)]
fn policy_of_cgroup(skb: *mut __sk_buff, mode: u32, view: *mut u32) -> u64 {
    let Some(config) = tables::config() else { return 0 };
    // SAFETY: the context is the one the program was called with.
    let ctx = TcContext::new(unsafe { ptr::NonNull::new_unchecked(skb) });
    let rule = Rule::of(&Maps, config, &Addr::UNSPECIFIED, &PacketSocket(&ctx));
    if rule.mode as u32 != mode {
        return 0;
    }
    // SAFETY: the caller's, on its stack.
    unsafe { *view = rule.view };
    rule.cgroup
}

/// Source and destination, wherever the network header is (tunnels have no link-layer header).
/// Where a strict policy exists the kernel is asked for it: a raw socket can write what looks like an Ethernet header.
#[inline(always)]
fn addresses<H: Header>(ctx: &TcContext, len: u32, strict: bool) -> Option<[Addr; 2]> {
    let seen = if strict { None } else { in_ethernet::<H>(ctx, len) };
    seen.or_else(|| load::<H::Pair>(ctx, H::SOURCE_OFFSET)).map(H::addresses)
}

/// The addresses behind an Ethernet header, read straight from the packet, which spares a helper call and its checks.
///
/// A program is not told whether there is such a header. Type, version and length together tell: a bare IP packet would need
/// the three in its source address. `None` where it is something else, or not all in the packet's linear part.
#[inline(always)]
fn in_ethernet<H: Header>(ctx: &TcContext, len: u32) -> Option<H::Pair> {
    const IP: usize = ETHERNET_HEADER as usize;
    let (start, end) = (ctx.data(), ctx.data_end());
    let source = IP + H::SOURCE_OFFSET as usize;
    if start + source + mem::size_of::<H::Pair>() > end {
        return None;
    }
    // SAFETY: all of it lies before the end, as the verifier sees from the comparison above. Packets are aligned for their
    // IP header on all architectures that care (NET_IP_ALIGN).
    unsafe {
        let ethernet_type = *((start + ETHERNET_TYPE) as *const u16);
        let version = *((start + IP) as *const u8) >> 4;
        let length = u16::from_be(*((start + IP + H::LENGTH_OFFSET) as *const u16));
        if ethernet_type != H::PROTOCOL
            || version != H::VERSION
            || u32::from(length) + H::UNCOUNTED + ETHERNET_HEADER != len
        {
            return None;
        }
        Some(*((start + source) as *const H::Pair))
    }
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
pub fn load<T: Default>(ctx: &TcContext, offset: u32) -> Option<T> {
    load_from(ctx, offset, BPF_HDR_START_NET)
}

#[inline(always)]
fn load_from<T: Default>(ctx: &TcContext, offset: u32, start: u32) -> Option<T> {
    let mut value = T::default();
    // SAFETY: the buffer lives on this stack and has the length given; only plain data is read so.
    let status = unsafe {
        bpf_skb_load_bytes_relative(
            ctx.as_ptr(),
            offset,
            (&raw mut value).cast(),
            mem::size_of::<T>() as u32,
            start,
        )
    };
    (status == 0).then_some(value)
}

/// Whether an Ethernet header stands before the IP header: whether the source is found that much further behind the
/// start of the packet. Without one (tunnels) both headers start at one place.
#[inline(always)]
fn is_ethernet<H: Header>(ctx: &TcContext, source: &Addr) -> bool {
    let pair = load_from::<H::Pair>(ctx, ETHERNET_HEADER + H::SOURCE_OFFSET, BPF_HDR_START_MAC);
    pair.is_some_and(|pair| H::addresses(pair)[0] == *source)
}

/// Sends the packet by the outcome's interface to its next hop, or to the one that the routes of that interface name.
#[inline(always)]
fn redirect(ctx: &TcContext, ipv4: bool, source: &Addr, outcome: &Outcome) -> i32 {
    let ethernet = if ipv4 { is_ethernet::<Ipv4>(ctx, source) } else { is_ethernet::<Ipv6>(ctx, source) };
    // bpf_redirect_neigh takes an Ethernet header off and drops what has none (__bpf_redirect_neigh_v6, _v4): packets that
    // were about to leave by a tunnel get an empty one.
    if !ethernet {
        // SAFETY: the context is the one the program was called with; no pointer into the packet is held. Should there
        // be no memory, the packet is dropped below.
        unsafe { bpf_skb_change_head(ctx.as_ptr().cast(), ETHERNET_HEADER, NO_FLAGS) };
    }
    if outcome.next_hop.is_unspecified() {
        // SAFETY: a null pointer of length 0 asks for a route lookup.
        return unsafe { bpf_redirect_neigh(outcome.ifindex, ptr::null_mut(), 0, NO_FLAGS) } as i32;
    }
    // The family of the next hop, which an IPv4 packet may have in IPv6 (RFC 8950).
    let mapped = outcome.next_hop.is_v4_mapped();
    let words = if mapped { [outcome.next_hop.ipv4_be(), 0, 0, 0] } else { outcome.next_hop.words };
    let mut next_hop = bpf_redir_neigh {
        nh_family: if mapped { AF_INET } else { AF_INET6 },
        // `ipv4_nh` is the union's first word.
        __bindgen_anon_1: bpf_redir_neigh__bindgen_ty_1 { ipv6_nh: words },
    };
    // SAFETY: the parameters live on this stack and have the length given.
    let action = unsafe {
        bpf_redirect_neigh(
            outcome.ifindex,
            &raw mut next_hop,
            mem::size_of::<bpf_redir_neigh>() as i32,
            NO_FLAGS,
        )
    };
    action as i32
}
