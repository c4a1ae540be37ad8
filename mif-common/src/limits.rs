//! Every cap in one place, each with its reason.

/// Cgroup levels looked at for a policy, the root being level 0. `cgroup.max.depth` is unlimited by default, but
/// systemd and container runtimes nest fewer than ten levels, and the verifier needs a bound.
pub const CGROUP_LEVELS: u32 = 24;

/// Views, view 0 included. One view per distinct policy; a host with more distinct policies than this has a
/// generator that went wrong.
pub const VIEWS: u32 = 1024;

/// Cgroups with a policy of their own.
pub const POLICIES: u32 = 4096;

/// PvDs a host keeps by default; the arrays have one place more, 0 for "none". STATS is a per-CPU array of this many times
/// [`crate::reason::COUNT`] counters of 16 bytes: some 90 KiB a CPU. The daemon's configuration may raise it up to
/// [`PVDS_MAX`].
pub const PVDS: u32 = 256;

/// The most PvDs the configuration may ask for: STATS takes some 6 MiB a CPU then.
pub const PVDS_MAX: u32 = 16_384;

/// Interfaces with a tc hook: one for each PvD at most. Allocated on use.
pub const INTERFACES: u32 = PVDS_MAX;

/// Entries of the DECISION trie. Allocated on use, some 100 bytes each; this bounds what hostile RAs can make the
/// kernel hold to about 100 MiB.
pub const DECISIONS: u32 = 1 << 20;

/// Entries of the SOURCE table. Allocated on use; the empty table takes 16 bytes a bucket.
pub const SOURCES: u32 = 1 << 16;

/// (view, PvD) pairs of the VIEW table.
pub const VIEW_MEMBERS: u32 = 1 << 16;

/// Bytes of the EVENTS ring, a power of two and whole pages: about 2,000 events.
pub const EVENT_RING_BYTES: u32 = 1 << 18;

/// Events each reason may send in [`EVENT_WINDOW_NS`] on one CPU; the rest are only counted. A port scan must not
/// be able to keep a CPU busy with writing events.
pub const EVENTS_PER_WINDOW: u32 = 64;

/// The window of [`EVENTS_PER_WINDOW`], nanoseconds.
pub const EVENT_WINDOW_NS: u64 = 1_000_000_000;
