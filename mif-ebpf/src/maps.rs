//! The maps. Sizes are defaults; the loader sets those that the configuration may change.

use aya_ebpf::{
    bindings::BPF_F_NO_PREALLOC,
    btf_maps::SkStorage,
    macros::{btf_map, map},
    maps::{Array, HashMap, LpmTrie, PerCpuArray, RingBuf},
};
use mif_common::{
    Addr,
    abi::{Config, Count, Decision, DecisionKey, Gate, Member, Policy, Pvd, SocketState, Source},
    limits, reason,
};

#[map]
pub static CONFIG: Array<Config> = Array::with_max_entries(1, 0);

#[map]
pub static POLICY: HashMap<u64, Policy> = HashMap::with_max_entries(limits::POLICIES, 0);

#[map]
pub static VIEW: HashMap<Member, u32> = HashMap::with_max_entries(limits::VIEW_MEMBERS, BPF_F_NO_PREALLOC);

#[map]
pub static DECISION: LpmTrie<DecisionKey, Decision> = LpmTrie::with_max_entries(limits::DECISIONS, 0);

#[map]
pub static SOURCE: HashMap<Addr, Source> = HashMap::with_max_entries(limits::SOURCES, BPF_F_NO_PREALLOC);

/// The interfaces that tc egress is attached to, each with 1.
#[map]
pub static INTERFACE: HashMap<u32, u32> = HashMap::with_max_entries(limits::INTERFACES, BPF_F_NO_PREALLOC);

/// Read by the CLI, not by the hooks: what they need of a PvD is in the decision and the source.
#[map]
pub static PVD: Array<Pvd> = Array::with_max_entries(limits::PVDS, 0);

#[map]
pub static STATS: PerCpuArray<Count> = PerCpuArray::with_max_entries(limits::PVDS * reason::COUNT, 0);

#[map]
pub static EVENTS: RingBuf = RingBuf::with_byte_size(limits::EVENT_RING_BYTES, 0);

/// The event gate of each reason.
#[map]
pub static GATE: PerCpuArray<Gate> = PerCpuArray::with_max_entries(reason::COUNT, 0);

/// The cgroup of a stream socket that was bound under a strict policy.
#[btf_map]
pub static LISTENER: SkStorage<u64> = SkStorage::new();

#[btf_map]
pub static SOCKET: SkStorage<SocketState> = SkStorage::new();
