//! The decision functions: one for each hook, pure, over the table lookups.
//!
//! A socket hook answers "which source and interface for this destination", tc egress answers "may this packet leave
//! here". All knowledge about PvDs is in the tables (`mif-core::select::compile`); what is left here is who chose
//! what first: the application, the administrator, then the tables.

use crate::{
    Addr, Reason,
    abi::{
        Config, DEFAULT_VIEW, Decision, Mode, NO_PVD, Policy, PvdIndex, SocketState, Source,
        Verdict as Stored, config_flags, decision_flags, source_flags,
    },
    limits,
};

/// The lookups that a decision needs: maps in the kernel, pinned maps in the CLI, collections in tests.
pub trait Tables {
    /// Boot-time nanoseconds (`CLOCK_BOOTTIME`: lifetimes go on while the host sleeps).
    fn now(&self) -> u64;
    /// POLICY: the policy attached to this very cgroup.
    fn policy(&self, cgroup: u64) -> Option<&Policy>;
    /// DECISION: the longest match for the destination in the view.
    fn decision(&self, view: u32, destination: &Addr) -> Option<&Decision>;
    /// SOURCE: who owns this local address.
    fn source(&self, address: &Addr) -> Option<&Source>;
    /// VIEW: whether the PvD is in the view. Not asked for view 0, which has all.
    fn permits(&self, view: u32, pvd: PvdIndex) -> bool;
}

/// The cgroups that a socket's owner is in.
pub trait Cgroups {
    /// The id of the ancestor at `level` (0 is the root of the hierarchy), 0 below the owner's own cgroup.
    fn ancestor(&self, level: u32) -> u64;
}

/// What applies to one socket or packet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Rule {
    /// The view.
    pub view: u32,
    /// The mode.
    pub mode: Mode,
    /// The cgroup whose policy this is, 0 for the host's default.
    pub cgroup: u64,
}

impl Rule {
    /// The rule of a process without a policy.
    #[inline(always)]
    #[must_use]
    pub const fn default_of(config: &Config) -> Self {
        let mode = if config.flags & config_flags::FOREIGN_RULES != 0 {
            Mode::Observe
        } else {
            Mode::from_raw(config.mode)
        };
        Self { view: DEFAULT_VIEW, mode, cgroup: 0 }
    }

    /// The rule of the nearest ancestor cgroup that has a policy, else the host's default.
    #[inline(always)]
    #[must_use]
    pub fn of<T: Tables, C: Cgroups>(tables: &T, config: &Config, cgroups: &C) -> Self {
        let mut rule = Self::default_of(config);
        if config.flags & config_flags::POLICIES == 0 {
            return rule;
        }
        for level in 0..limits::CGROUP_LEVELS {
            let cgroup = cgroups.ancestor(level);
            if cgroup == 0 {
                break;
            }
            if let Some(policy) = tables.policy(cgroup) {
                rule = Self { view: policy.view, mode: Mode::from_raw(policy.mode), cgroup };
            }
        }
        rule
    }

    #[inline(always)]
    fn permits<T: Tables>(&self, tables: &T, pvd: PvdIndex) -> bool {
        self.view == DEFAULT_VIEW || tables.permits(self.view, pvd)
    }

    /// Whether the view may use a source. An address that two PvDs share - redundant gateways that announce one
    /// prefix - is carried by one of them and may be used by a view that has only the other: then the view's own
    /// decision names it.
    #[inline(always)]
    fn allows<T: Tables>(
        &self,
        tables: &T,
        source: &Source,
        address: &Addr,
        decision: Option<&Decision>,
    ) -> bool {
        self.permits(tables, source.pvd)
            || decision.is_some_and(|decision| {
                matches!(Stored::from_raw(decision.verdict), Stored::Use) && decision.source == *address
            })
    }

    #[inline(always)]
    const fn strict(&self) -> bool {
        matches!(self.mode, Mode::Strict)
    }
}

/// A socket about to connect or to send.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Socket {
    /// Where to.
    pub destination: Addr,
    /// The source it is bound to or that the call names (`IPV6_PKTINFO`); `::` for none.
    pub source: Addr,
    /// The interface it is bound to, 0 for none.
    pub ifindex: u32,
    /// It has a local port already: `bpf_bind` would fail with EINVAL (`__inet6_bind`, `inet->inet_num`).
    pub has_port: bool,
    /// What a hook did to it before.
    pub ours: SocketState,
}

impl Socket {
    /// The interface that the application bound; 0 where a hook did it or nobody.
    #[inline(always)]
    const fn application_device(&self) -> u32 {
        if self.ifindex == self.ours.ifindex { 0 } else { self.ifindex }
    }

    /// The socket without a source that a hook bound and that can still be replaced. connect(AF_UNSPEC) takes port
    /// and interface from a UDP socket, but not an address that was bound, also by `bpf_bind` (`__udp_disconnect`,
    /// `SOCK_BINDADDR_LOCK`): without this, the next connect would follow the source of the one before.
    /// glibc's getaddrinfo sorts addresses with such a socket.
    #[inline(always)]
    fn reconsidered(&self) -> Self {
        if !self.has_port && self.source == self.ours.source {
            Self { source: Addr::UNSPECIFIED, ..*self }
        } else {
            *self
        }
    }
}

/// A packet about to leave.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Packet {
    /// Its source.
    pub source: Addr,
    /// Its destination.
    pub destination: Addr,
    /// The interface it is about to leave by.
    pub ifindex: u32,
}

/// What to do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// Change nothing.
    Pass,
    /// Set what the outcome names: source and interface of a socket, interface and next hop of a packet.
    Apply,
    /// Refuse the call with ENETUNREACH, drop the packet.
    Refuse,
}

/// What to do and why.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Outcome {
    /// What to do.
    pub verdict: Verdict,
    /// Why.
    pub reason: Reason,
    /// The PvD it is about, [`NO_PVD`] for none.
    pub pvd: PvdIndex,
    /// With [`Verdict::Apply`]: the interface to use, 0 to leave it.
    pub ifindex: u32,
    /// With [`Verdict::Apply`] at a socket: the source to use, `::` to leave it.
    pub source: Addr,
    /// With [`Verdict::Apply`] at tc egress: the neighbour to send to, `::` to ask the kernel's routes of the interface.
    pub next_hop: Addr,
}

impl Outcome {
    #[inline(always)]
    const fn new(verdict: Verdict, reason: Reason, pvd: PvdIndex) -> Self {
        Self { verdict, reason, pvd, ifindex: 0, source: Addr::UNSPECIFIED, next_hop: Addr::UNSPECIFIED }
    }

    /// Leave everything as it is.
    #[inline(always)]
    #[must_use]
    pub const fn pass(reason: Reason, pvd: PvdIndex) -> Self {
        Self::new(Verdict::Pass, reason, pvd)
    }

    #[inline(always)]
    const fn refuse(reason: Reason, pvd: PvdIndex) -> Self {
        Self::new(Verdict::Refuse, reason, pvd)
    }

    #[inline(always)]
    const fn apply(reason: Reason, pvd: PvdIndex, source: Addr, ifindex: u32) -> Self {
        Self { verdict: Verdict::Apply, reason, pvd, ifindex, source, next_hop: Addr::UNSPECIFIED }
    }

    /// In observe mode nothing is changed, only said.
    #[inline(always)]
    fn under(self, rule: &Rule) -> Self {
        if matches!(rule.mode, Mode::Observe) && !matches!(self.verdict, Verdict::Pass) {
            return Self::pass(Reason::Observed, self.pvd);
        }
        self
    }
}

/// Why a destination is none of our business, if so: host-local, node-local, link-local and multicast (design,
/// Selection 1), IPv4 on an IPv6 socket.
#[inline(always)]
#[must_use]
pub const fn exempt(destination: &Addr) -> Option<Reason> {
    if destination.is_v4_mapped() {
        return Some(Reason::Ipv4);
    }
    if destination.is_unspecified()
        || destination.is_loopback()
        || destination.is_link_local()
        || destination.is_multicast()
    {
        return Some(Reason::NotOurs);
    }
    None
}

/// A connect: the source and the interface of the socket.
#[inline(always)]
#[must_use]
pub fn connect<T: Tables>(tables: &T, rule: &Rule, socket: &Socket) -> Outcome {
    let outcome = choose(tables, rule, &socket.reconsidered());
    match outcome.reason {
        // Binding a source needs a socket without a port; the interface alone still keeps the flow in the PvD,
        // because the kernel then prefers the sources of that interface (RFC 6724 rule 5).
        Reason::Applied if socket.has_port && outcome.ifindex == 0 => {
            Outcome::pass(Reason::Consistent, outcome.pvd)
        }
        Reason::Applied if socket.has_port => {
            Outcome { reason: Reason::InterfaceOnly, source: Addr::UNSPECIFIED, ..outcome }
        }
        _ => outcome,
    }
    .under(rule)
}

/// A send on an unconnected socket: the source of this one datagram. The interface follows at tc egress, because a
/// binding here would outlive the datagram.
#[inline(always)]
#[must_use]
pub fn sendmsg<T: Tables>(tables: &T, rule: &Rule, socket: &Socket) -> Outcome {
    let outcome = choose(tables, rule, &socket.reconsidered());
    match outcome.reason {
        Reason::FollowedSource => Outcome::pass(Reason::Consistent, outcome.pvd),
        _ => outcome,
    }
    .under(rule)
}

/// What both socket hooks think.
#[inline(always)]
fn choose<T: Tables>(tables: &T, rule: &Rule, socket: &Socket) -> Outcome {
    if let Some(reason) = exempt(&socket.destination) {
        return Outcome::pass(reason, NO_PVD);
    }
    let decision = tables.decision(rule.view, &socket.destination);
    if let Some(decision) = decision
        && decision.flags & decision_flags::LOCAL != 0
    {
        return Outcome::pass(Reason::NotOurs, NO_PVD);
    }
    if !socket.source.is_unspecified() {
        return follow(tables, rule, socket, decision);
    }
    let decision = match decision {
        Some(decision) if matches!(Stored::from_raw(decision.verdict), Stored::Pass) => {
            return Outcome::pass(Reason::Administrator, decision.pvd);
        }
        Some(decision) if matches!(Stored::from_raw(decision.verdict), Stored::Use) => decision,
        _ if rule.strict() => return Outcome::refuse(Reason::Unreachable, NO_PVD),
        _ => return Outcome::pass(Reason::NoDecision, NO_PVD),
    };
    if decision.valid_until <= tables.now() {
        return if rule.strict() {
            Outcome::refuse(Reason::Unreachable, decision.pvd)
        } else {
            Outcome::pass(Reason::Expired, decision.pvd)
        };
    }
    let device = socket.application_device();
    if device != 0 && device != decision.ifindex {
        return if rule.strict() {
            Outcome::refuse(Reason::Vetoed, decision.pvd)
        } else {
            Outcome::pass(Reason::ApplicationDevice, decision.pvd)
        };
    }
    // An interface that is bound already, by whomever, needs no second binding.
    let ifindex = if socket.ifindex == decision.ifindex { 0 } else { decision.ifindex };
    Outcome::apply(Reason::Applied, decision.pvd, decision.source, ifindex)
}

/// The socket has a source: its interface follows it, unless the view vetoes or the administrator routes the
/// destination elsewhere.
#[inline(always)]
fn follow<T: Tables>(tables: &T, rule: &Rule, socket: &Socket, decision: Option<&Decision>) -> Outcome {
    let source = tables.source(&socket.source);
    // The veto stands before all else: tc egress would drop the packets of a connection that was let through here.
    if rule.strict() && !source.is_some_and(|source| rule.allows(tables, source, &socket.source, decision)) {
        return Outcome::refuse(Reason::Vetoed, source.map_or(NO_PVD, |source| source.pvd));
    }
    if let Some(decision) = decision
        && matches!(Stored::from_raw(decision.verdict), Stored::Pass)
    {
        return Outcome::pass(Reason::Administrator, decision.pvd);
    }
    let Some(source) = source else {
        return Outcome::pass(Reason::UnknownSource, NO_PVD);
    };
    if source.valid_until <= tables.now() {
        return if rule.strict() {
            Outcome::refuse(Reason::Vetoed, source.pvd)
        } else {
            Outcome::pass(Reason::Expired, source.pvd)
        };
    }
    if let Some(decision) = decision
        && decision.flags & decision_flags::ADMINISTRATOR != 0
        && decision.pvd != source.pvd
    {
        return Outcome::pass(Reason::Administrator, decision.pvd);
    }
    if socket.ifindex == source.ifindex {
        return Outcome::pass(Reason::Consistent, source.pvd);
    }
    if !leads_to(source, &socket.source, &socket.destination, decision) {
        return if rule.strict() {
            Outcome::refuse(Reason::Unreachable, source.pvd)
        } else {
            Outcome::pass(Reason::NoDecision, source.pvd)
        };
    }
    if socket.application_device() != 0 {
        return if rule.strict() {
            Outcome::refuse(Reason::Vetoed, source.pvd)
        } else {
            Outcome::pass(Reason::ApplicationDevice, source.pvd)
        };
    }
    Outcome::apply(Reason::FollowedSource, source.pvd, Addr::UNSPECIFIED, source.ifindex)
}

/// Whether the PvD that carries a source reaches a destination: beyond its link, or on it, or because the tables say so.
#[inline(always)]
fn leads_to(source: &Source, address: &Addr, destination: &Addr, decision: Option<&Decision>) -> bool {
    source.flags & source_flags::LEADS_ON != 0
        || source.on_link_bits != 0 && destination.shares_prefix(address, source.on_link_bits)
        || decision.is_some_and(|decision| {
            matches!(Stored::from_raw(decision.verdict), Stored::Use)
                && decision.pvd == source.pvd
                && decision.ifindex == source.ifindex
        })
}

/// A host-originated packet at tc egress: it must leave by the interface and next hop of its source's PvD.
///
/// `rule` is asked for only where it can matter, because finding a packet's cgroup costs more than the rest.
#[inline(always)]
#[must_use]
pub fn egress<T: Tables>(
    tables: &T,
    config: &Config,
    packet: &Packet,
    rule: impl FnOnce() -> Rule,
) -> Outcome {
    if exempt(&packet.destination).is_some()
        || packet.source.is_unspecified()
        || packet.source.is_link_local()
    {
        return Outcome::pass(Reason::NotOurs, NO_PVD);
    }
    // Without strict policies the cgroup can only soften the outcome; a mismatch is rare enough to ask then.
    let always =
        config.flags & config_flags::STRICT != 0 || matches!(Mode::from_raw(config.mode), Mode::Strict);
    let source = tables.source(&packet.source);
    if !always
        && let Some(source) = source
        && source.ifindex == packet.ifindex
        && source.flags & source_flags::NEXT_HOP == 0
    {
        return Outcome::pass(Reason::Consistent, source.pvd);
    }
    if !always && source.is_none() {
        return Outcome::pass(Reason::UnknownSource, NO_PVD);
    }
    let rule = rule();
    misplaced(tables, &rule, packet, source).under(&rule)
}

/// The slow half of [`egress`].
#[inline(always)]
fn misplaced<T: Tables>(tables: &T, rule: &Rule, packet: &Packet, source: Option<&Source>) -> Outcome {
    let decision = tables.decision(rule.view, &packet.destination);
    if let Some(decision) = decision
        && decision.flags & decision_flags::LOCAL != 0
    {
        return Outcome::pass(Reason::NotOurs, NO_PVD);
    }
    let Some(source) = source else {
        // Without a policy of its own this may be a container's packet on its way through a device of the host.
        return if rule.strict() && rule.cgroup != 0 {
            Outcome::refuse(Reason::Vetoed, NO_PVD)
        } else {
            Outcome::pass(Reason::UnknownSource, NO_PVD)
        };
    };
    if rule.strict() && !rule.allows(tables, source, &packet.source, decision) {
        return Outcome::refuse(Reason::Vetoed, source.pvd);
    }
    let at_home = source.ifindex == packet.ifindex;
    if at_home && source.flags & source_flags::NEXT_HOP == 0 {
        return Outcome::pass(Reason::Consistent, source.pvd);
    }
    if let Some(decision) = decision
        && decision.flags & decision_flags::ADMINISTRATOR != 0
        && (decision.ifindex == packet.ifindex || decision.ifindex == 0)
    {
        return Outcome::pass(Reason::Administrator, decision.pvd);
    }
    if source.valid_until <= tables.now() {
        return if rule.strict() {
            Outcome::refuse(Reason::Vetoed, source.pvd)
        } else {
            Outcome::pass(Reason::Expired, source.pvd)
        };
    }
    let here = decision.filter(|decision| decision.ifindex == source.ifindex);
    // A neighbour is sent to directly, also one in the prefix of another PvD of the link.
    let on_link = source.on_link_bits != 0
        && packet.destination.shares_prefix(&packet.source, source.on_link_bits)
        || here.is_some_and(|decision| decision.flags & decision_flags::ON_LINK != 0);
    // The route to the destination that goes with this source: the PvD's own, or that of the other gateway that shares
    // the address, in a view that has only the other.
    let own = here.filter(|decision| {
        (decision.pvd == source.pvd || decision.source == packet.source)
            && decision.valid_until > tables.now()
    });
    if at_home && on_link {
        return Outcome::pass(Reason::Consistent, source.pvd);
    }
    if !leads_to(source, &packet.source, &packet.destination, decision) {
        return if rule.strict() {
            Outcome::refuse(Reason::Unreachable, source.pvd)
        } else {
            Outcome::pass(Reason::NoDecision, source.pvd)
        };
    }
    let reason = if at_home { Reason::NextHop } else { Reason::Redirected };
    let next_hop = match own {
        _ if on_link => packet.destination,
        Some(own) if !own.next_hop.is_unspecified() => own.next_hop,
        _ => source.next_hop,
    };
    Outcome { next_hop, ..Outcome::apply(reason, source.pvd, Addr::UNSPECIFIED, source.ifindex) }
}

#[cfg(test)]
mod tests;
