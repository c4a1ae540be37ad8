//! The lookups of [`decide`](mif_common::decide) on the maps.

use aya_ebpf::{
    EbpfContext as _,
    helpers::generated::{
        bpf_get_current_ancestor_cgroup_id, bpf_ktime_get_boot_ns, bpf_skb_ancestor_cgroup_id,
    },
    maps::lpm_trie::Key,
    programs::TcContext,
};
use mif_common::{
    Addr,
    abi::{Config, Decision, DecisionKey, Member, Policy, PvdIndex, Source},
    decide::{Cgroups, Tables},
};

use crate::maps;

/// Bits of a full DECISION key.
const DECISION_BITS: u32 = DecisionKey::VIEW_BITS + 128;

/// The configuration, once a daemon has written it.
#[inline(always)]
pub fn config() -> Option<&'static Config> {
    maps::CONFIG.get(0).filter(|config| config.netns_cookie != 0)
}

/// The maps of this object.
pub struct Maps;

impl Tables for Maps {
    #[inline(always)]
    fn now(&self) -> u64 {
        // SAFETY: the helper takes no argument and has no precondition.
        unsafe { bpf_ktime_get_boot_ns() }
    }

    #[inline(always)]
    fn policy(&self, cgroup: u64) -> Option<&Policy> {
        // SAFETY: elements are replaced as a whole, under RCU; two u32 that are read once cannot be torn apart.
        unsafe { maps::POLICY.get(&cgroup) }
    }

    #[inline(always)]
    fn decision(&self, view: u32, destination: &Addr) -> Option<&Decision> {
        maps::DECISION.get(&Key::new(DECISION_BITS, DecisionKey::new(view, *destination)))
    }

    #[inline(always)]
    fn source(&self, address: &Addr) -> Option<&Source> {
        // SAFETY: the map is not preallocated, so an element lives until the RCU grace period after its removal.
        unsafe { maps::SOURCE.get(address) }
    }

    #[inline(always)]
    fn permits(&self, view: u32, pvd: PvdIndex) -> bool {
        // SAFETY: the map is not preallocated, and only presence is asked for.
        unsafe { maps::VIEW.get(&Member { view, pvd }) }.is_some()
    }

    #[inline(always)]
    fn permits_interface(&self, view: u32, ifindex: u32) -> bool {
        // SAFETY: as above.
        unsafe { maps::VIEW.get(&Member::interface(view, ifindex)) }.is_some()
    }
}

/// The cgroups of the calling task.
pub struct CurrentTask;

impl Cgroups for CurrentTask {
    #[inline(always)]
    fn ancestor(&self, level: u32) -> u64 {
        // SAFETY: the helper returns 0 for a level that the task's cgroup does not have.
        unsafe { bpf_get_current_ancestor_cgroup_id(level as i32) }
    }
}

/// The cgroups of the socket that a packet belongs to; none for packets without a socket.
pub struct PacketSocket<'a>(pub &'a TcContext);

impl Cgroups for PacketSocket<'_> {
    #[inline(always)]
    fn ancestor(&self, level: u32) -> u64 {
        // SAFETY: the context is the one the program was called with; the helper returns 0 without a socket.
        unsafe { bpf_skb_ancestor_cgroup_id(self.0.as_ptr().cast(), level as i32) }
    }
}
