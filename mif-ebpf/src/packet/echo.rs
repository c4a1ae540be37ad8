//! Echo requests of cgroups that prefer a view.

use aya_ebpf::{EbpfContext as _, programs::TcContext};
use mif_common::{
    abi::{Hook, Mode},
    decide::{self, Packet},
};

use super::{
    ETHERNET_HEADER, ICMP, ICMPV6, NEXT_HEADER_OFFSET, PROTOCOL_OFFSET, free_echo, rule_of_cgroup,
    send_readdressed,
};
use crate::{
    report::{self, Subject},
    tables::Maps,
};

/// `linux/net.h`
const SOCK_DGRAM: u32 = 2;

/// An echo request of a ping socket (icmp(7)) that is bound to nothing, in a cgroup that prefers a view: it gets source, interface
/// and next hop of that. What raw sockets send may have a source of the application's (IP_HDRINCL), so only strict policies touch it.
#[inline(always)]
pub(super) fn prefer(ctx: &TcContext, ipv4: bool, packet: &Packet, bytes: u64) -> Option<i32> {
    let sk = free_echo(ctx, ipv4)?;
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
