//! Keys and values of the maps. Every type is `repr(C)` with no padding (the `Pod` derive refuses holes), because the
//! kernel compares keys bytewise and user space of another version may read the pins.
//!
//! Change [`LAYOUT`] with any change here: the daemon adopts pinned maps only when they have its own layout.

use bytemuck::{CheckedBitPattern, Pod, Zeroable, checked};

use crate::addr::Addr;

/// Version of the map layout and of the meaning of the values.
pub const LAYOUT: u32 = 7;

/// A PvD's place in the PVD array; 0 is [`NO_PVD`].
pub type PvdIndex = u32;

/// Stands for "no PvD" in counters and outcomes.
pub const NO_PVD: PvdIndex = 0;

/// The view of a process without a policy.
pub const DEFAULT_VIEW: u32 = 0;

/// A deadline that never comes.
pub const FOREVER: u64 = u64::MAX;

/// What a policy does with its decisions.
#[repr(u32)]
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq, CheckedBitPattern)]
pub enum Mode {
    /// Decide and count, change nothing.
    Observe = 0,
    /// Repair what can be repaired; pass what cannot, but for what has the address of an interface that is down.
    #[default]
    Prefer = 1,
    /// Refuse or drop what the view does not allow.
    Strict = 2,
}

impl Mode {
    /// The mode of a raw map value; unknown values are read as [`Mode::Observe`], which changes nothing.
    ///
    /// One comparison and no `match`: the verifier would walk all that follows once for each arm.
    #[inline(always)]
    #[must_use]
    pub fn from_raw(raw: u32) -> Self {
        checked::try_cast(raw).unwrap_or(Self::Observe)
    }
}

/// CONFIG, the only element.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Pod, Zeroable)]
pub struct Config {
    /// `bpf_get_netns_cookie` of the namespace the daemon serves; 0: not configured, every hook passes.
    pub netns_cookie: u64,
    /// Digest of the constants that the programs were loaded with ([`SocketLayout`], [`NetnsPath`]): they are no part of a program's
    /// tag.
    pub constants: u64,
    /// [`Mode`] of view 0.
    pub mode: u32,
    /// [`config_flags`].
    pub flags: u32,
    /// Elements of the PVD array.
    pub pvds: u32,
    /// [`LAYOUT`] of the writer.
    pub layout: u32,
}

/// Bits of [`Config::flags`].
pub mod config_flags {
    /// POLICY is not empty: look the cgroup up.
    pub const POLICIES: u32 = 1 << 0;
    /// A policy with [`super::Mode::Strict`] exists: tc egress looks at the cgroup of packets that it would pass.
    pub const STRICT: u32 = 1 << 1;
    /// Foreign policy rules decide on this host about IPv6: view 0 only observes, whatever [`super::Config::mode`] says.
    pub const FOREIGN_RULES_IPV6: u32 = 1 << 2;
    /// The same for IPv4.
    pub const FOREIGN_RULES_IPV4: u32 = 1 << 3;
    /// Somebody reads EVENTS. Otherwise nothing is put there, which spares each connect a clock and the gate.
    pub const WATCHED: u32 = 1 << 4;
}

/// POLICY, by cgroup id.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Pod, Zeroable)]
pub struct Policy {
    /// The view that the cgroup may use.
    pub view: u32,
    /// [`Mode`].
    pub mode: u32,
}

/// VIEW key: is this PvD, or a PvD of that interface, in the view?
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd, Pod, Zeroable)]
pub struct Member {
    /// The view.
    pub view: u32,
    /// The PvD, or [`Member::INTERFACE`] and an interface index.
    pub pvd: PvdIndex,
}

impl Member {
    /// Tells interfaces from PvDs in [`Member::pvd`]: both count far below (`limits::PVDS_MAX`; the kernel hands out
    /// positive `int`s).
    pub const INTERFACE: u32 = 1 << 31;

    /// A PvD of this interface is in the view.
    #[inline(always)]
    #[must_use]
    pub const fn interface(view: u32, ifindex: u32) -> Self {
        Self { view, pvd: Self::INTERFACE | ifindex }
    }
}

/// Data of a DECISION key, behind the trie's own prefix length (which counts these bits: 32 + the destination's length).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq, Pod, Zeroable)]
pub struct DecisionKey {
    /// The view, big-endian: the trie matches bits in memory order.
    pub view_be: u32,
    /// The destination.
    pub destination: Addr,
}

impl DecisionKey {
    /// Bits before the destination.
    pub const VIEW_BITS: u32 = 32;

    /// The key of a destination in a view.
    #[inline(always)]
    #[must_use]
    pub const fn new(view: u32, destination: Addr) -> Self {
        Self { view_be: view.to_be(), destination }
    }
}

/// What a [`Decision`] says.
#[repr(u32)]
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Verdict {
    /// Not ours, or the administrator's routing decides: let the kernel do what it would do.
    #[default]
    Pass = 0,
    /// Use this source, interface and next hop.
    Use = 1,
    /// No PvD of the view reaches the destination. Stored where a longer prefix must hide a shorter one's answer.
    None = 2,
}

impl Verdict {
    /// The verdict of a raw map value; unknown values are read as [`Verdict::Pass`].
    #[inline(always)]
    #[must_use]
    pub const fn from_raw(raw: u32) -> Self {
        match raw {
            1 => Self::Use,
            2 => Self::None,
            _ => Self::Pass,
        }
    }
}

/// DECISION value: one answer, never assembled from several.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq, Pod, Zeroable)]
pub struct Decision {
    /// Boot-time nanoseconds until which this holds, [`FOREVER`] for ever. A dead daemon's answers end here.
    pub valid_until: u64,
    /// The source to use.
    pub source: Addr,
    /// The next hop, `::` where the destination is on-link or the kernel's own route of the interface knows it.
    pub next_hop: Addr,
    /// The interface.
    pub ifindex: u32,
    /// The PvD of all of it.
    pub pvd: PvdIndex,
    /// [`Verdict`].
    pub verdict: u32,
    /// [`decision_flags`].
    pub flags: u32,
}

/// Bits of [`Decision::flags`].
pub mod decision_flags {
    /// The route behind this is the administrator's (static, or the on-link prefix of an interface that no router
    /// configures): packets that the kernel sends there leave there, whatever their source.
    pub const ADMINISTRATOR: u32 = 1 << 0;
    /// The destination is on-link.
    pub const ON_LINK: u32 = 1 << 1;
    /// The destination is an address of this host.
    pub const LOCAL: u32 = 1 << 2;
}

/// SOURCE value, by local address.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq, Pod, Zeroable)]
pub struct Source {
    /// Boot-time nanoseconds until which the address is valid.
    pub valid_until: u64,
    /// The router that packets with this source go to; `::`: ask the kernel's routes of the interface.
    pub next_hop: Addr,
    /// The interface that packets with this source leave by.
    pub ifindex: u32,
    /// The PvD that carries the address.
    pub pvd: PvdIndex,
    /// Destinations that share this many leading bits with the address are on-link (1..=128); 0: none.
    pub on_link_bits: u32,
    /// [`source_flags`].
    pub flags: u32,
}

/// Bits of [`Source::flags`].
pub mod source_flags {
    /// The interface has several routers: packets with this source go to [`super::Source::next_hop`], whatever router
    /// the kernel's routes name (RFC 8028 §3.2).
    pub const NEXT_HOP: u32 = 1 << 0;
    /// The PvD that carries the address leads beyond its link: it has a router, or a default route that needs none. Only
    /// then are packets to elsewhere sent there; a service address on a dummy interface, or a prefix that serves a LAN,
    /// leaves by whatever interface the kernel's routes say.
    pub const LEADS_ON: u32 = 1 << 1;
    /// Several PvDs own the address - redundant gateways that announce one prefix -, and [`super::Source::pvd`] is the one
    /// of them that carries it.
    pub const SHARED: u32 = 1 << 2;
    /// The address is on other interfaces too. Except under a strict policy it says nothing about where a packet belongs.
    pub const SEVERAL_INTERFACES: u32 = 1 << 3;
    /// The interface went down while its PvD led beyond the link, and the address stayed. It is no source for new flows, and what
    /// has it may not leave by another provider. [`super::Source::pvd`] is [`super::NO_PVD`].
    pub const STRANDED: u32 = 1 << 4;
    /// The interface has several routers. Without [`NEXT_HOP`] no advertisement says whose the address is (DHCPv6, by hand): the
    /// kernel's choice of a router is as good as any, but for a cgroup with a policy, whose view has a router of its own.
    pub const SHARED_LINK: u32 = 1 << 5;
}

/// PVD element, by [`PvdIndex`]. An all-zero element is a free place.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq, Pod, Zeroable)]
pub struct Pvd {
    /// Boot-time nanoseconds until which any fact of the PvD holds.
    pub valid_until: u64,
    /// Its interface.
    pub ifindex: u32,
    /// [`pvd_flags`].
    pub flags: u32,
}

/// Bits of [`Pvd::flags`].
pub mod pvd_flags {
    /// The place is taken.
    pub const PRESENT: u32 = 1 << 0;
    /// Named by its network (RFC 8801).
    pub const EXPLICIT: u32 = 1 << 1;
    /// Configured by the administrator, not by a router.
    pub const ADMINISTRATOR: u32 = 1 << 2;
}

/// STATS element, one a CPU; index = PvD × [`crate::reason::COUNT`] + reason.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Pod, Zeroable)]
pub struct Count {
    /// How often.
    pub count: u64,
    /// Octets of the packets counted, 0 at the socket hooks.
    pub bytes: u64,
}

/// Which hook speaks.
#[repr(u32)]
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Hook {
    /// cgroup/connect6
    Connect6 = 0,
    /// cgroup/sendmsg6
    Sendmsg6 = 1,
    /// tc egress
    Egress = 2,
    /// cgroup/connect4
    Connect4 = 3,
    /// cgroup/sendmsg4
    Sendmsg4 = 4,
    /// cgroup/bind6
    Bind6 = 5,
    /// cgroup/bind4
    Bind4 = 6,
    /// cgroup_skb/egress
    Guard = 7,
}

impl Hook {
    /// The hook's name as its program is called.
    #[must_use]
    pub const fn name(raw: u32) -> &'static str {
        match raw {
            0 => "connect6",
            1 => "sendmsg6",
            2 => "egress",
            3 => "connect4",
            4 => "sendmsg4",
            5 => "bind6",
            6 => "bind4",
            7 => "guard",
            _ => "unknown",
        }
    }
}

/// EVENTS record.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Pod, Zeroable)]
pub struct Event {
    /// Boot-time nanoseconds.
    pub at: u64,
    /// The cgroup whose policy applied, 0 without one.
    pub cgroup: u64,
    /// The source chosen or found; at bind, the address asked for.
    pub source: Addr,
    /// The destination, `::` at bind.
    pub destination: Addr,
    /// [`Hook`].
    pub hook: u32,
    /// [`crate::Reason`].
    pub reason: u32,
    /// The PvD, [`NO_PVD`] without one.
    pub pvd: PvdIndex,
    /// The interface chosen or, at tc egress, the one that the packet was about to leave by.
    pub ifindex: u32,
    /// Thread-group id of the process, 0 where a packet is judged.
    pub pid: u32,
    /// Events of this reason left out on this CPU since the last one sent.
    pub suppressed: u32,
}

/// SOCKET storage: what a hook did to a socket of which the application has chosen something itself. All zero: nothing; what is
/// bound is the application's. Most sockets have none ([`crate::decide::Socket::presume_ours`]).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Pod, Zeroable)]
pub struct SocketState {
    /// The source a hook bound, `::` for none.
    pub source: Addr,
    /// The interface a hook bound, 0 for none.
    pub ifindex: u32,
}

/// SOCKET_LAYOUT, a constant of the socket hooks: where the running kernel has what an application chose for a socket and no helper
/// tells. Octets from the start of the structure; 0: not known, or not to be read.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Pod, Zeroable)]
pub struct SocketLayout {
    /// `inet_sock.uc_index` (IP_UNICAST_IF)
    pub uc_index: u32,
    /// `inet_sock.pinet6`, where the next two are found.
    pub pinet6: u32,
    /// `ipv6_pinfo.ucast_oif` (IPV6_UNICAST_IF)
    pub ucast_oif: u32,
    /// `ipv6_pinfo.sticky_pktinfo.ipi6_ifindex` (IPV6_PKTINFO as a socket option, RFC 3542 §6)
    pub sticky_ifindex: u32,
}

impl SocketLayout {
    /// Nothing of it is known.
    pub const UNKNOWN: Self = Self { uc_index: 0, pinet6: 0, ucast_oif: 0, sticky_ifindex: 0 };
}

/// NETNS_PATH, a constant of the guard: the way from a packet to the cookie of its network namespace in the running kernel's
/// structures, in octets. Before 6.15 programs of type cgroup_skb have no helper that tells.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Pod, Zeroable)]
pub struct NetnsPath {
    /// `sk_buff.sk`
    pub socket: u32,
    /// `sock_common.skc_net`, with which every socket begins.
    pub netns: u32,
    /// `net.net_cookie`
    pub cookie: u32,
}

impl NetnsPath {
    /// Nothing of it is known.
    pub const UNKNOWN: Self = Self { socket: 0, netns: 0, cookie: 0 };
}

/// State of the event gate of one reason on one CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Pod, Zeroable)]
pub struct Gate {
    /// Start of the window, boot-time nanoseconds.
    pub since: u64,
    /// Events sent in it.
    pub sent: u32,
    /// Events left out since the last one sent.
    pub suppressed: u32,
}
