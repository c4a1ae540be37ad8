//! The decision functions: one for each hook, pure, over the table lookups.
//!
//! A socket hook answers "which source and interface for this destination" ([`socket`]), tc egress answers "may this packet
//! leave here" ([`packet`]). All knowledge about PvDs is in the tables (`mif-core::select::compile`); what is left here is
//! who chose what first: the application, the administrator, then the tables.

use crate::{
    Addr, Reason,
    abi::{
        Config, DEFAULT_VIEW, Decision, FOREVER, Mode, Policy, PvdIndex, Source, Verdict as Stored,
        config_flags, source_flags,
    },
    limits,
};

pub mod packet;
pub mod socket;

pub use packet::{Packet, egress, guard, readdress};
pub use socket::{Socket, bind, connect, sendmsg};

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
    /// VIEW: whether a PvD of the interface is in the view. Not asked for view 0.
    fn permits_interface(&self, view: u32, ifindex: u32) -> bool;
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
    /// The rule of a process without a policy, for a destination (each family has policy rules of its own).
    #[inline(always)]
    #[must_use]
    pub fn default_of(config: &Config, destination: &Addr) -> Self {
        let foreign = if destination.is_v4_mapped() {
            config_flags::FOREIGN_RULES_IPV4
        } else {
            config_flags::FOREIGN_RULES_IPV6
        };
        let mode = if config.flags & foreign != 0 { Mode::Observe } else { Mode::from_raw(config.mode) };
        Self { view: DEFAULT_VIEW, mode, cgroup: 0 }
    }

    /// The rule of the nearest ancestor cgroup that has a policy, else the host's default.
    #[inline(always)]
    #[must_use]
    pub fn of<T: Tables, C: Cgroups>(tables: &T, config: &Config, destination: &Addr, cgroups: &C) -> Self {
        let mut rule = Self::default_of(config, destination);
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

    #[inline(always)]
    fn permits_interface<T: Tables>(&self, tables: &T, ifindex: u32) -> bool {
        self.view == DEFAULT_VIEW || tables.permits_interface(self.view, ifindex)
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
                matches!(Stored::from_raw(decision.verdict), Stored::Use)
                    && decision.source == *address
                    && !has_ended(tables, decision.valid_until)
            })
    }

    /// Strict by a policy of its cgroup, not by the host's mode.
    #[inline(always)]
    #[must_use]
    pub const fn pinned(&self) -> bool {
        self.strict() && self.cgroup != 0
    }

    /// The kernel would not do what was decided: a strict socket is refused, because what the kernel would do instead is
    /// nobody's decision; others are left to it.
    #[inline(always)]
    #[must_use]
    pub const fn failed(&self, reason: Reason, pvd: PvdIndex) -> Outcome {
        if self.strict() { Outcome::refuse(reason, pvd) } else { Outcome::pass(reason, pvd) }
    }

    /// Refuses or drops what the view does not allow.
    #[inline(always)]
    #[must_use]
    pub const fn strict(&self) -> bool {
        matches!(self.mode, Mode::Strict)
    }
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
    /// The PvD it is about, [`NO_PVD`](crate::abi::NO_PVD) for none.
    pub pvd: PvdIndex,
    /// With [`Verdict::Apply`]: the interface to use, 0 to leave it.
    pub ifindex: u32,
    /// With [`Verdict::Apply`]: the source to use, `::` to leave it. At tc egress only [`readdress`] names one.
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

    /// Refuse the call, drop the packet.
    #[inline(always)]
    #[must_use]
    pub const fn refuse(reason: Reason, pvd: PvdIndex) -> Self {
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
/// Selection 1).
#[inline(always)]
#[must_use]
pub const fn exempt(destination: &Addr) -> Option<Reason> {
    if destination.stays_on_link() {
        return Some(Reason::NotOurs);
    }
    None
}

/// Whether what holds until then holds no more. What holds for ever needs no clock.
#[inline(always)]
fn has_ended<T: Tables>(tables: &T, valid_until: u64) -> bool {
    valid_until != FOREVER && valid_until <= tables.now()
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

#[cfg(test)]
mod tests;
