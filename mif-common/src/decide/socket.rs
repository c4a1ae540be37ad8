//! The socket hooks: connect, send, bind.

use super::{Outcome, Rule, Tables, exempt, has_ended, leads_to};
use crate::{
    Addr, Reason,
    abi::{Decision, NO_PVD, SocketState, Verdict as Stored, decision_flags, source_flags},
};

/// A socket about to connect or to send.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Socket {
    /// Where to.
    pub destination: Addr,
    /// The source it is bound to or that the call names (`IPV6_PKTINFO`); `::` for none.
    pub source: Addr,
    /// The interface it is bound to, 0 for none.
    pub ifindex: u32,
    /// The interface that the application chose for it without binding it (IP_UNICAST_IF, IPV6_UNICAST_IF, IPV6_PKTINFO as a
    /// socket option), 0 for none. The kernel heeds it where the socket is bound to none.
    pub unicast_if: u32,
    /// It has a local port already: `bpf_bind` would fail with EINVAL (`__inet6_bind`, `inet->inet_num`).
    pub has_port: bool,
    /// What a hook did to it before.
    pub ours: SocketState,
}

impl Socket {
    /// Whether anybody bound it to an address or an interface.
    #[inline(always)]
    #[must_use]
    pub const fn is_bound(&self) -> bool {
        !self.source.is_unspecified() || self.ifindex != 0
    }

    /// What a hook did to a socket that has no note of it ([`SocketState`]). There is one only where the application had chosen
    /// something before a hook did, because making one costs more than all the rest of a connect.
    ///
    /// An application's bind takes a port, unless it asked not to (IP_BIND_ADDRESS_NO_PORT), and the hook leaves a note of each. So
    /// a source without a port is a hook's, and so is the interface of a `stream` socket, unless it is known to be another one than the
    /// source's: connect(AF_UNSPEC), and a connect that fails, take the port from that and leave the interface. From a datagram socket
    /// they take the interface too (`__udp_disconnect`), or leave both.
    #[inline(always)]
    pub fn presume_ours<T: Tables>(&mut self, tables: &T, stream: bool) {
        if self.has_port || self.source.is_unspecified() {
            return;
        }
        self.ours.source = self.source;
        if stream && tables.source(&self.source).is_none_or(|source| source.ifindex == self.ifindex) {
            self.ours.ifindex = self.ifindex;
        }
    }

    /// Whether the interface of a socket without a note is known to be the application's: a hook binds none without a source or a
    /// note, and a datagram socket that lost its port lost what a hook bound as well. The first connect is the time to make a note of
    /// it: after that the source is there that the kernel took for the interface.
    #[inline(always)]
    #[must_use]
    pub const fn has_application_interface(&self, stream: bool) -> bool {
        self.ifindex != 0 && (self.source.is_unspecified() || !self.has_port && !stream)
    }

    /// Whether the interface that it is bound to is a hook's, to be taken back. Once a socket without a note has connected there
    /// is a port; then the interface of the source's PvD is taken for a hook's.
    #[inline(always)]
    pub fn has_our_interface<T: Tables>(&self, tables: &T, noted: bool) -> bool {
        if self.ifindex == 0 {
            return false;
        }
        self.ifindex == self.ours.ifindex
            || !noted
                && self.has_port
                && tables.source(&self.source).is_some_and(|source| source.ifindex == self.ifindex)
    }

    /// Whether nothing on it is the application's: then what a hook does now needs no note.
    #[inline(always)]
    #[must_use]
    pub fn is_ours_alone(&self) -> bool {
        !self.has_port
            && (self.source.is_unspecified() || self.source == self.ours.source)
            && self.application_device() == 0
    }

    /// The interface that the application bound or chose otherwise; 0 where a hook did it or nobody.
    #[inline(always)]
    const fn application_device(&self) -> u32 {
        if self.ifindex == self.ours.ifindex { self.unicast_if } else { self.ifindex }
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

/// A bind: a strict view may not have the address of a PvD that it does not allow. What the hook of `connect` or `sendmsg`
/// would refuse later is refused where the application can still choose.
#[inline(always)]
#[must_use]
pub fn bind<T: Tables>(tables: &T, rule: &Rule, address: &Addr) -> Outcome {
    if let Some(reason) = exempt(address) {
        return Outcome::pass(reason, NO_PVD);
    }
    let Some(source) = tables.source(address) else {
        return Outcome::pass(Reason::UnknownSource, NO_PVD);
    };
    if source.flags & source_flags::STRANDED != 0 {
        return Outcome::pass(Reason::UnknownSource, NO_PVD);
    }
    // Of an address that several PvDs own only a destination tells whether the view may use it.
    if !rule.strict() || source.flags & source_flags::SHARED != 0 || rule.permits(tables, source.pvd) {
        return Outcome::pass(Reason::Consistent, source.pvd);
    }
    Outcome::refuse(Reason::Vetoed, source.pvd)
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
    if has_ended(tables, decision.valid_until) {
        return if rule.strict() {
            Outcome::refuse(Reason::Unreachable, decision.pvd)
        } else {
            Outcome::pass(Reason::Expired, decision.pvd)
        };
    }
    let device = socket.application_device();
    if device != 0 && device != decision.ifindex {
        // The kernel takes a source of that interface; should it be one of a PvD that the view does not have, tc egress
        // drops the packets.
        return if rule.strict() && !rule.permits_interface(tables, device) {
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
    if has_ended(tables, source.valid_until) {
        return if rule.strict() {
            Outcome::refuse(Reason::Vetoed, source.pvd)
        } else {
            Outcome::pass(Reason::Expired, source.pvd)
        };
    }
    if !rule.strict() && source.flags & source_flags::SEVERAL_INTERFACES != 0 {
        return Outcome::pass(Reason::SeveralInterfaces, source.pvd);
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
    if source.flags & source_flags::STRANDED != 0 {
        return Outcome::refuse(Reason::Unreachable, source.pvd);
    }
    if !leads_to(source, &socket.source, &socket.destination, decision) {
        return if rule.strict() {
            Outcome::refuse(Reason::Unreachable, source.pvd)
        } else {
            Outcome::pass(Reason::NoDecision, source.pvd)
        };
    }
    let device = socket.application_device();
    if device != 0 && device != source.ifindex {
        return if rule.strict() {
            Outcome::refuse(Reason::Vetoed, source.pvd)
        } else {
            Outcome::pass(Reason::ApplicationDevice, source.pvd)
        };
    }
    Outcome::apply(Reason::FollowedSource, source.pvd, Addr::UNSPECIFIED, source.ifindex)
}
