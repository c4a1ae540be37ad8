//! The frames of packet(7) sockets.

use core::ptr;

use aya_ebpf::{
    bindings::{__sk_buff, bpf_hdr_start_off::BPF_HDR_START_MAC},
    programs::TcContext,
};
use mif_common::{abi::DEFAULT_VIEW, decide::Tables as _};

use super::{ETHERNET_TYPE, Header as _, Ipv4, Ipv6, JUDGED, load_from, strict_view};
use crate::tables::Maps;

/// `linux/socket.h`
const AF_PACKET: u32 = 17;
/// Ethernet types of VLAN tags, in network byte order (`linux/if_ether.h`, ETH_P_8021Q and ETH_P_8021AD).
const CUSTOMER_TAG: u16 = 0x8100_u16.to_be();
const SERVICE_TAG: u16 = 0x88a8_u16.to_be();
/// Octets from the start of a frame to the type behind its first tag.
const TYPE_BEHIND_TAG: u32 = 16;

/// Whether a packet(7) socket sent this: then not even the protocol is the kernel's word.
#[inline(always)]
pub(super) fn is_bare(skb: *const __sk_buff) -> bool {
    // SAFETY: the context is valid for the program's run; the socket is null or a socket, as the verifier checks.
    unsafe { (*skb).__bindgen_anon_2.sk.as_ref().is_some_and(|sk| sk.family == AF_PACKET) }
}

/// Whether a frame that a packet(7) socket made may leave: under a strict policy by the interfaces of its view only, with
/// the protocol that it says it has, because what follows reads the headers of that one, and without a tag of its own. One that comes
/// down had its look at the device above, which may be one of VLANs that writes its tags into the frame. Not inlined: the verifier would
/// walk all that follows once for each way through it.
#[inline(never)]
pub(super) fn may_leave(skb: *mut __sk_buff, ifindex: u32) -> bool {
    let view = strict_view(skb);
    if view == DEFAULT_VIEW {
        return true;
    }
    // SAFETY: the context is valid for the program's run.
    let (ctx, protocol, tc_index) =
        unsafe { (TcContext::new(ptr::NonNull::new_unchecked(skb)), (*skb).protocol, (*skb).tc_index) };
    let Some(found) = load_from::<u16>(&ctx, ETHERNET_TYPE as u32, BPF_HDR_START_MAC) else { return false };
    if u32::from(found) != protocol && (found == Ipv4::PROTOCOL || found == Ipv6::PROTOCOL) {
        return false;
    }
    if is_tag(found) && tc_index & JUDGED == 0 && hides_a_packet(&ctx) {
        return false;
    }
    Maps.permits_interface(view, ifindex)
}

/// A tag before the type proper (IEEE 802.1Q §9.5). A router takes a frame with a priority tag, of VLAN 0, for one without.
#[inline(always)]
fn is_tag(kind: u16) -> bool {
    kind == CUSTOMER_TAG || kind == SERVICE_TAG
}

/// Whether what is behind the first tag is a packet of ours, or another tag.
#[inline(always)]
fn hides_a_packet(ctx: &TcContext) -> bool {
    load_from::<u16>(ctx, TYPE_BEHIND_TAG, BPF_HDR_START_MAC)
        .is_none_or(|kind| kind == Ipv4::PROTOCOL || kind == Ipv6::PROTOCOL || is_tag(kind))
}
