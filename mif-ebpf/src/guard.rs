//! The guard: what leaves by an interface without a tc hook.
//!
//! tc egress is attached to interfaces, and one that appears while no daemon runs has none. The guard is attached to the cgroup,
//! so it sees the packets of sockets whatever they leave by, but before tc egress could mend them, and not those of packet(7)
//! sockets. Hence it says nothing where there is a tc hook, and judges packets of strict policies alone.

use core::{ffi::c_void, mem, ptr};

use aya_ebpf::{
    EbpfContext as _, Global,
    bindings::__sk_buff,
    helpers::generated::bpf_probe_read_kernel,
    programs::{SkBuffContext, TcContext},
};
use mif_common::{
    Reason,
    abi::{Config, Hook, NO_PVD, NetnsPath, config_flags},
    decide::{self, Packet, Rule, Verdict},
};

use crate::{
    maps,
    packet::{Header, Ipv4, Ipv6, load},
    report::{self, Subject},
    tables::{self, Maps, PacketSocket},
};

/// Written by the loader. Constants for the verifier, which leaves out what they make unreachable: a kernel that lets nobody
/// read its memory does not get to see that helper.
#[unsafe(no_mangle)]
static NETNS_PATH: Global<NetnsPath> = Global::new(NetnsPath::UNKNOWN);

/// A cgroup_skb program drops the packet; the call that sent it says EPERM.
const DROP: i32 = 0;
/// `net/core/dev.c`, LOOPBACK_IFINDEX: the same in every namespace.
const LOOPBACK: u32 = 1;

#[inline(always)]
pub fn egress(ctx: &SkBuffContext) -> Option<i32> {
    let config = tables::config().filter(|config| config.flags & config_flags::STRICT != 0)?;
    let skb = ctx.as_ptr().cast::<__sk_buff>();
    // SAFETY: the context is valid for the program's run.
    let (protocol, ifindex, len) = unsafe { ((*skb).protocol, (*skb).ifindex, (*skb).len) };
    // Nearly every packet ends here. SAFETY: the map is not preallocated, and only presence is asked for.
    if ifindex == LOOPBACK || unsafe { maps::INTERFACE.get(&ifindex) }.is_some() {
        return None;
    }
    // SAFETY: the context is the one the program was called with.
    let ctx = &TcContext::new(unsafe { ptr::NonNull::new_unchecked(skb) });
    let ipv4 = protocol == u32::from(Ipv4::PROTOCOL);
    let [source, destination] = if ipv4 {
        Ipv4::addresses(load(ctx, Ipv4::SOURCE_OFFSET)?)
    } else {
        Ipv6::addresses(load(ctx, Ipv6::SOURCE_OFFSET)?)
    };
    let rule = Rule::of(&Maps, config, &destination, &PacketSocket(ctx));
    if !rule.pinned() || !is_served(config, skb) {
        return None;
    }
    // As at tc egress: the tables would answer for IPv4.
    if !ipv4 && (source.is_v4_mapped() || destination.is_v4_mapped()) {
        report::count(Reason::Malformed, NO_PVD, u64::from(len));
        return Some(DROP);
    }
    let outcome = decide::guard(&Maps, &rule, &Packet { source, destination, ifindex });
    let subject = Subject { hook: Hook::Guard, source, destination, ifindex };
    report::outcome(&outcome, &rule, &subject, u64::from(len));
    matches!(outcome.verdict, Verdict::Refuse).then_some(DROP)
}

/// Whether the packet's socket lives in the namespace that the daemon serves. Interfaces of other namespaces have indices and
/// addresses of their own.
#[inline(always)]
fn is_served(config: &Config, skb: *const __sk_buff) -> bool {
    let path = NETNS_PATH.load();
    if path == NetnsPath::UNKNOWN {
        return false;
    }
    // The context that a program of this type is called with is the `struct sk_buff`.
    let cookie = word_at(skb as u64, path.socket)
        .and_then(|socket| word_at(socket, path.netns))
        .and_then(|netns| word_at(netns, path.cookie));
    cookie == Some(config.netns_cookie)
}

/// The eight octets at an offset of a structure of the kernel.
#[inline(always)]
fn word_at(structure: u64, offset: u32) -> Option<u64> {
    let mut value = 0u64;
    let at = (structure + u64::from(offset)) as *const c_void;
    // SAFETY: the buffer lives on this stack and has the length given; an address that is none makes the helper fail.
    let status = unsafe { bpf_probe_read_kernel((&raw mut value).cast(), mem::size_of::<u64>() as u32, at) };
    (status == 0).then_some(value)
}
