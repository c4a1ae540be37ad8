//! tc egress and the guard: the packets.

use super::{Outcome, Rule, Tables, Verdict, exempt, has_ended, leads_to};
use crate::{
    Addr, Reason,
    abi::{
        Config, Mode, NO_PVD, PvdIndex, Source, Verdict as Stored, config_flags, decision_flags, source_flags,
    },
};

/// The prefix of a source that is on no on-link prefix: that of stateless autoconfiguration on all common links
/// (RFC 4291 §2.5.4). IPv4 addresses, as they are written here, all share it.
const USUAL_PREFIX_BITS: u32 = 64;

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

impl Packet {
    /// The source says nothing about where the packet belongs: it has none, or one of the link.
    #[inline(always)]
    const fn is_placeless(&self) -> bool {
        self.source.is_unspecified() || self.source.is_link_local()
    }
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
    // Without strict policies the cgroup can only soften the outcome; a mismatch is rare enough to ask then.
    let always =
        config.flags & config_flags::STRICT != 0 || matches!(Mode::from_raw(config.mode), Mode::Strict);
    let source = tables.source(&packet.source);
    // Nearly every packet ends here: nothing else is looked at before.
    if !always
        && let Some(source) = source
        && source.ifindex == packet.ifindex
        && source.flags & (source_flags::NEXT_HOP | source_flags::SHARED_LINK) == 0
    {
        return Outcome::pass(Reason::Consistent, source.pvd);
    }
    if exempt(&packet.destination).is_some() || !always && packet.is_placeless() {
        return Outcome::pass(Reason::NotOurs, NO_PVD);
    }
    if !always && source.is_none() {
        return Outcome::pass(Reason::UnknownSource, NO_PVD);
    }
    let rule = rule();
    misplaced(tables, &rule, packet, source).under(&rule)
}

/// A packet of a cgroup that is pinned strictly, about to leave by an interface that has no tc hook: one that appeared since
/// the daemon died, or is no PvD's. The same veto, except that what tc egress would mend is refused, because nobody will.
#[inline(always)]
#[must_use]
pub fn guard<T: Tables>(tables: &T, rule: &Rule, packet: &Packet) -> Outcome {
    if exempt(&packet.destination).is_some() {
        return Outcome::pass(Reason::NotOurs, NO_PVD);
    }
    let outcome = misplaced(tables, rule, packet, tables.source(&packet.source));
    match outcome.verdict {
        Verdict::Apply => Outcome::refuse(Reason::Vetoed, outcome.pvd),
        Verdict::Pass | Verdict::Refuse => outcome,
    }
}

/// The slow half of [`egress`].
#[inline(always)]
fn misplaced<T: Tables>(tables: &T, rule: &Rule, packet: &Packet, source: Option<&Source>) -> Outcome {
    let decision = tables.decision(rule.view, &packet.destination);
    // Without a policy of its own this may be a container's packet on its way through a device of the host.
    let pinned = rule.pinned();
    if packet.is_placeless() {
        // With such a source only neighbours are spoken to.
        let neighbour = decision.is_some_and(|decision| {
            decision.ifindex == packet.ifindex && decision.flags & decision_flags::ON_LINK != 0
        });
        return if pinned && !neighbour {
            Outcome::refuse(Reason::Vetoed, NO_PVD)
        } else {
            Outcome::pass(Reason::NotOurs, NO_PVD)
        };
    }
    let local = decision.is_some_and(|decision| decision.flags & decision_flags::LOCAL != 0);
    if local && !pinned {
        return Outcome::pass(Reason::NotOurs, NO_PVD);
    }
    let Some(source) = source else {
        return if pinned {
            Outcome::refuse(Reason::Vetoed, NO_PVD)
        } else {
            Outcome::pass(Reason::UnknownSource, NO_PVD)
        };
    };
    if rule.strict() && !rule.allows(tables, source, &packet.source, decision) {
        return Outcome::refuse(Reason::Vetoed, source.pvd);
    }
    let at_home = source.ifindex == packet.ifindex;
    if local {
        // An address of the host is reached by the loopback, unless the application bound an interface.
        return if at_home {
            Outcome::pass(Reason::NotOurs, NO_PVD)
        } else {
            Outcome::refuse(Reason::Vetoed, source.pvd)
        };
    }
    let administrator = decision.filter(|decision| {
        decision.flags & decision_flags::ADMINISTRATOR != 0
            && (decision.ifindex == packet.ifindex
                || decision.ifindex == 0 && (!pinned || rule.permits_interface(tables, packet.ifindex)))
    });
    // Where routers share the link, the kernel's routes may name another one than the source's or, where nobody said whose the
    // source is, than the view's.
    if at_home
        && source.flags & source_flags::NEXT_HOP == 0
        && (source.flags & source_flags::SHARED_LINK == 0 || rule.cgroup == 0)
    {
        // Where the PvD leads nowhere, the kernel's route leads to another one's router of the link.
        return if pinned
            && administrator.is_none()
            && !leads_to(source, &packet.source, &packet.destination, decision)
        {
            Outcome::refuse(Reason::Unreachable, source.pvd)
        } else {
            Outcome::pass(Reason::Consistent, source.pvd)
        };
    }
    if let Some(decision) = administrator {
        // The kernel may follow another route than the view's own, by the other router.
        return if pinned && at_home && !decision.next_hop.is_unspecified() {
            send(Reason::NextHop, decision.pvd, packet.ifindex, decision.next_hop)
        } else {
            Outcome::pass(Reason::Administrator, decision.pvd)
        };
    }
    if !at_home && !rule.strict() && source.flags & source_flags::SEVERAL_INTERFACES != 0 {
        return Outcome::pass(Reason::SeveralInterfaces, source.pvd);
    }
    if has_ended(tables, source.valid_until) {
        return if rule.strict() {
            Outcome::refuse(Reason::Vetoed, source.pvd)
        } else {
            Outcome::pass(Reason::Expired, source.pvd)
        };
    }
    if source.flags & source_flags::STRANDED != 0 {
        return Outcome::refuse(Reason::Unreachable, source.pvd);
    }
    let here = decision.filter(|decision| decision.ifindex == source.ifindex);
    // A neighbour is sent to directly, also one in the prefix of another PvD of the link.
    let on_link = source.on_link_bits != 0
        && packet.destination.shares_prefix(&packet.source, source.on_link_bits)
        || here.is_some_and(|decision| decision.flags & decision_flags::ON_LINK != 0);
    // The route to the destination that goes with this source: the PvD's own, or that of the other gateway that shares
    // the address, in a view that has only the other. A PvD of several prefixes may have a router for each.
    // What nobody announced goes with each.
    let prefix_bits = match source.flags & (source_flags::NEXT_HOP | source_flags::SHARED_LINK) {
        source_flags::SHARED_LINK => 0,
        _ if source.on_link_bits == 0 => USUAL_PREFIX_BITS,
        _ => source.on_link_bits,
    };
    let own = here.filter(|decision| {
        (decision.pvd == source.pvd || decision.source == packet.source)
            && decision.source.shares_prefix(&packet.source, prefix_bits)
            && !has_ended(tables, decision.valid_until)
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
    if pinned && source.flags & source_flags::SHARED_LINK != 0 && next_hop.is_unspecified() {
        // The kernel's routes of the link would name a router, which may be another's.
        return Outcome::refuse(Reason::Unreachable, source.pvd);
    }
    send(reason, source.pvd, source.ifindex, next_hop)
}

/// The packet goes by this interface to this neighbour, `::`: to the one that the kernel's routes of the interface name.
#[inline(always)]
fn send(reason: Reason, pvd: PvdIndex, ifindex: u32, next_hop: Addr) -> Outcome {
    Outcome { next_hop, ..Outcome::apply(reason, pvd, Addr::UNSPECIFIED, ifindex) }
}

/// An echo request of a socket that has no source: nobody asked before the kernel chose one, because no hook sees what ping and
/// raw sockets send. It gets what a connect would have got, and no reply is lost, because such a socket takes the replies to every
/// address of the host. `None`: nothing to change; where [`egress`] vetoed it, the veto stands.
#[inline(always)]
#[must_use]
pub fn readdress<T: Tables>(tables: &T, rule: &Rule, packet: &Packet) -> Option<Outcome> {
    if exempt(&packet.destination).is_some() {
        return None;
    }
    // A source that is none of the host's was written by the application itself (IP_HDRINCL).
    tables.source(&packet.source)?;
    let decision = tables.decision(rule.view, &packet.destination)?;
    if !matches!(Stored::from_raw(decision.verdict), Stored::Use) || has_ended(tables, decision.valid_until) {
        return None;
    }
    if decision.source == packet.source {
        return None;
    }
    let on_link = decision.flags & decision_flags::ON_LINK != 0;
    let next_hop = if on_link { packet.destination } else { decision.next_hop };
    let outcome = Outcome::apply(Reason::Readdressed, decision.pvd, decision.source, decision.ifindex);
    Some(Outcome { next_hop, ..outcome })
}
