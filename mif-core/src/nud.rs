//! Next hops that do not answer: what the kernel says of them, and what it is asked to do about them.
//!
//! Neighbour Unreachability Detection is the kernel's (RFC 4861 §7.3, and the same for ARP). It gives up on a neighbour after some
//! seconds and tries again when there is a packet for it. That alone is not enough here, for two reasons.
//!
//! A packet for a neighbour that the kernel has given up on waits in its queue for the next answer. That is *before* traffic control,
//! so tc egress cannot send it to the router of its source. In IPv6 the kernel passes over such routers (RFC 4191 §3.2); in IPv4 it
//! keeps to its route. And a packet that tc egress sent to such a router waits there as well, and leaves the queue by the neighbour of
//! its old route (`neigh_update` looks that up anew): it reaches the other router of the link after all.
//!
//! So where that can happen the entry of a dead next hop is *kept*: the kernel is told to go on with the link-layer address that it
//! had, as STALE. Nothing waits, what the tables send elsewhere reaches tc egress, and the rest is lost on the link as it would have
//! been in the queue. Such an entry is nothing special to the kernel. It asks the neighbour again when it is used, finds it dead in
//! some seconds, and is told again; when nobody tells it any more, it stays as it found it.
//!
//! And when all packets go elsewhere, nobody asks whether the router is back. So it is asked every now and then, as hosts do by
//! RFC 4191 §3.2: at most once a minute, and not while there is no traffic. It is asked at the link-layer address that it had, as
//! PROBE: meanwhile the kernel takes the router for one that answers, and what it routes there reaches tc egress. While it resolves an
//! address anew (INCOMPLETE) it takes the router for one that answers as well (`rt6_check_neigh`), but the packets wait before tc
//! egress, and are lost with it.
//!
//! That an entry is gone says nothing of the neighbour: those that failed are the first that the kernel clears away
//! (`neigh_periodic_work`).
//!
//! What brings a dead one back is an answer. That an entry is STALE is what it was told, or says that the neighbour can still send
//! (its solicitation, its advertisement), not that it hears: it is asked then. And REACHABLE is an answer only where the kernel asked:
//! the progress of connections *confirms* a neighbour as well (`neigh_confirm`), and the connections that tc egress sends to another
//! one bear the route by the dead one.

use core::time::Duration;
use std::{collections::BTreeMap, net::Ipv6Addr};

use crate::time::{Deadline, Time};

/// A link-layer address, as many octets as the link has it.
pub type LinkLayer = Vec<u8>;

/// An interface and a next hop on it, in the form of [`crate::family`].
pub type NextHop = (u32, Ipv6Addr);

/// What the kernel says of a neighbour (NUD_*, linux/neighbour.h).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum State {
    /// REACHABLE
    Reachable,
    /// STALE, DELAY: nobody asked it lately.
    Stale,
    /// PROBE: it is being asked, at the address that is known.
    Probe,
    /// PERMANENT, NOARP: nobody ever asks it.
    Static,
    /// FAILED: it does not answer.
    Failed,
    /// There is no entry any more.
    Gone,
}

/// News of a neighbour.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Neighbour {
    /// Which.
    pub next_hop: NextHop,
    /// What the kernel says.
    pub state: State,
    /// NDA_LLADDR, where there is one.
    pub link_layer: Option<LinkLayer>,
}

impl Neighbour {
    /// What this says by itself, as RFC 4191 §3.2 and `rt6_check_neigh` have it: only one that does not answer is unreachable.
    #[must_use]
    pub fn reachable(&self) -> bool {
        self.state != State::Failed
    }
}

/// What to ask of the kernel.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Ask {
    /// To go on with this address, without what waits: NUD_FAILED, then NUD_STALE.
    Keep(LinkLayer),
    /// To ask the neighbour at this address: NUD_PROBE.
    Probe(LinkLayer),
    /// To resolve it: NTF_USE.
    Resolve,
}

/// The next hops, and which of them are dead.
#[derive(Debug, Default)]
pub struct NextHops {
    /// The last link-layer address of each.
    known: BTreeMap<NextHop, LinkLayer>,
    dead: BTreeMap<NextHop, Dead>,
}

#[derive(Debug)]
struct Dead {
    entry: Entry,
    /// When to ask it again.
    next: Time,
    /// How much traffic there had been when it was asked last.
    traffic: Option<u64>,
}

/// What is known of the kernel's entry of a dead next hop.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Entry {
    /// It is to be kept, and the kernel has not said STALE yet. What it says of failing until then may be what it was told.
    Told,
    /// It is kept.
    Kept,
    /// It is STALE by itself.
    Doubtful,
    /// REACHABLE will be an answer.
    Asked,
}

impl NextHops {
    /// Takes in news of a next hop: whether it is reachable, and what to ask of the kernel at once. `keeps`: its entry is to be
    /// kept should it be dead; `interval`: until it is asked again (the kernel's `router_probe_interval`).
    pub fn hear(
        &mut self,
        news: &Neighbour,
        keeps: bool,
        interval: Duration,
        now: Time,
    ) -> (bool, Option<Ask>) {
        let same = news.link_layer.is_some() && self.known.get(&news.next_hop) == news.link_layer.as_ref();
        if let Some(link_layer) = &news.link_layer {
            self.known.insert(news.next_hop, link_layer.clone());
        }
        let probe = || news.link_layer.clone().map(Ask::Probe);
        match (news.state, self.dead.get_mut(&news.next_hop)) {
            (State::Failed, Some(Dead { entry: Entry::Told, .. })) => (false, None),
            (State::Failed, _) => {
                let link_layer = self.known.get(&news.next_hop).filter(|_| keeps).cloned();
                let entry = if link_layer.is_some() { Entry::Told } else { Entry::Asked };
                let first = Dead { entry, next: now.after(interval), traffic: None };
                self.dead.entry(news.next_hop).or_insert(first).entry = entry;
                (false, link_layer.map(Ask::Keep))
            }
            (State::Stale, Some(dead)) => {
                let as_told = same && matches!(dead.entry, Entry::Told | Entry::Kept);
                dead.entry = if as_told { Entry::Kept } else { Entry::Doubtful };
                (false, if as_told { None } else { probe() })
            }
            (State::Probe, Some(dead)) => {
                dead.entry = Entry::Asked;
                (false, None)
            }
            (State::Reachable, Some(dead)) if same && dead.entry != Entry::Asked => (false, probe()),
            (State::Gone, dead) => {
                self.known.remove(&news.next_hop);
                match dead.map(|dead| std::mem::replace(&mut dead.entry, Entry::Asked)) {
                    None => (true, None),
                    Some(Entry::Told | Entry::Kept) => (false, Some(Ask::Resolve)),
                    Some(Entry::Doubtful | Entry::Asked) => (false, None),
                }
            }
            (State::Reachable | State::Static | State::Stale | State::Probe, _) => {
                self.dead.remove(&news.next_hop);
                (true, None)
            }
        }
    }

    /// A dead one has sent an advertisement: what to ask of the kernel, which says nothing of that itself where the entry is kept.
    #[must_use]
    pub fn advertises(&self, next_hop: NextHop) -> Option<Ask> {
        let link_layer = self.known.get(&next_hop)?;
        self.dead
            .get(&next_hop)
            .filter(|dead| dead.entry == Entry::Kept)
            .map(|_| Ask::Probe(link_layer.clone()))
    }

    /// It is no next hop any more.
    pub fn forget(&mut self, next_hop: NextHop) {
        self.known.remove(&next_hop);
        self.dead.remove(&next_hop);
    }

    /// An interface is down: what comes up may be another link.
    pub fn forget_link(&mut self, ifindex: u32) {
        let others = |next_hop: &NextHop| next_hop.0 != ifindex;
        self.known.retain(|next_hop, _| others(next_hop));
        self.dead.retain(|next_hop, _| others(next_hop));
    }

    /// When [`Self::due`] has something to do; never while nothing is dead.
    #[must_use]
    pub fn next_deadline(&self) -> Deadline {
        self.dead.values().map(|dead| dead.next).min().map_or(Deadline::NEVER, Deadline::at)
    }

    /// The dead ones whose time has come, and how to ask them. The next time is an `interval` from now. `traffic`: how much there has
    /// been; while it stays the same nobody is asked (RFC 4191 §3.2: not "in the absence of useful traffic").
    pub fn due(
        &mut self,
        now: Time,
        traffic: u64,
        interval: impl Fn(u32) -> Duration,
    ) -> Vec<(NextHop, Ask)> {
        let mut due = Vec::new();
        for (next_hop, dead) in self.dead.iter_mut().filter(|(_, dead)| dead.next <= now) {
            dead.next = now.after(interval(next_hop.0));
            // The kernel would have said so by now.
            if dead.entry == Entry::Told {
                dead.entry = Entry::Asked;
            }
            if dead.traffic.replace(traffic) == Some(traffic) {
                continue;
            }
            let link_layer = self.known.get(next_hop).cloned();
            due.push((*next_hop, link_layer.map_or(Ask::Resolve, Ask::Probe)));
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::family::mapped;

    const INTERVAL: Duration = Duration::from_secs(60);
    const OLD: [u8; 6] = [2, 0, 0, 0, 0, 1];
    const NEW: [u8; 6] = [2, 0, 0, 0, 0, 2];

    fn at(seconds: u64) -> Time {
        Time(seconds * 1_000_000_000)
    }

    fn next_hop(text: &str) -> NextHop {
        (2, mapped(text.parse().expect("a literal")))
    }

    /// A sentence: what is heard, and what is made of it.
    type Row = (State, Option<[u8; 6]>, bool, Option<Ask>);

    fn tell(keeps: bool, rows: Vec<Row>) {
        let mut next_hops = NextHops::default();
        for (place, (state, link_layer, reachable, ask)) in rows.into_iter().enumerate() {
            let link_layer = link_layer.map(Vec::from);
            let news = Neighbour { next_hop: next_hop("192.0.2.1"), state, link_layer };
            assert_eq!(
                next_hops.hear(&news, keeps, INTERVAL, at(0)),
                (reachable, ask),
                "row {place}: {news:?}"
            );
        }
    }

    #[test]
    fn an_entry_that_is_kept() {
        use State::{Failed, Gone, Probe, Reachable, Stale, Static};
        let (keep, probe) = (|| Some(Ask::Keep(OLD.into())), || Some(Ask::Probe(OLD.into())));
        let dies = |rest: Vec<Row>| {
            [
                (Reachable, Some(OLD), true, None),
                (Failed, None, false, keep()),
                (Stale, Some(OLD), false, None),
            ]
            .into_iter()
            .chain(rest)
            .collect::<Vec<_>>()
        };
        for rows in [
            // It was never known where it is.
            vec![
                (Failed, None, false, None),
                (Stale, Some(OLD), false, probe()),
                (Probe, Some(OLD), false, None),
            ],
            // A packet had it resolved before the kernel was told, so that it fails once more.
            vec![
                (Reachable, Some(OLD), true, None),
                (Failed, None, false, keep()),
                (Failed, None, false, None),
                (Stale, Some(OLD), false, None),
            ],
            // Asked, again in vain, and again with an answer.
            dies(vec![
                (Probe, Some(OLD), false, None),
                (Failed, None, false, keep()),
                (Stale, Some(OLD), false, None),
                (Probe, Some(OLD), false, None),
                (Reachable, Some(OLD), true, None),
                (Stale, Some(OLD), true, None),
            ]),
            // Connections that go elsewhere confirm it; asked, it does not answer.
            dies(vec![
                (Reachable, Some(OLD), false, probe()),
                (Probe, Some(OLD), false, None),
                (Failed, None, false, keep()),
            ]),
            // Another router has taken its address, and says so by itself, or answers.
            dies(vec![
                (Stale, Some(NEW), false, Some(Ask::Probe(NEW.into()))),
                (Failed, None, false, Some(Ask::Keep(NEW.into()))),
            ]),
            dies(vec![(Reachable, Some(NEW), true, None)]),
            // The administrator knows better.
            dies(vec![(Static, Some(OLD), true, None)]),
            // Forgotten by the administrator, or long not used: asked, in vain and with an answer.
            dies(vec![
                (Gone, Some(OLD), false, Some(Ask::Resolve)),
                (Failed, None, false, None),
                (Gone, None, false, None),
                (Reachable, Some(NEW), true, None),
                (Gone, Some(NEW), true, None),
            ]),
        ] {
            tell(true, rows);
        }
    }

    #[test]
    fn an_entry_that_is_not_kept() {
        use State::{Failed, Gone, Probe, Reachable, Stale};
        let probe = || Some(Ask::Probe(OLD.into()));
        let dies = [(Reachable, Some(OLD), true, None), (Failed, None, false, None)];
        for rest in [
            // Resolved.
            vec![(Reachable, Some(OLD), true, None), (Stale, Some(OLD), true, None)],
            // Asked, in vain and with an answer.
            vec![
                (Probe, Some(OLD), false, None),
                (Failed, None, false, None),
                (Probe, Some(OLD), false, None),
                (Reachable, Some(OLD), true, None),
            ],
            // It sends something, but it is the progress of others' connections that confirms it.
            vec![
                (Stale, Some(OLD), false, probe()),
                (Reachable, Some(OLD), false, probe()),
                (Probe, Some(OLD), false, None),
                (Reachable, Some(OLD), true, None),
            ],
            // Cleared away, and resolved.
            vec![(Gone, None, false, None), (Failed, None, false, None), (Reachable, Some(OLD), true, None)],
        ] {
            tell(false, dies.iter().cloned().chain(rest).collect());
        }
    }

    #[test]
    fn dead_ones_are_asked_every_now_and_then() {
        let mut next_hops = NextHops::default();
        assert_eq!(next_hops.next_deadline(), Deadline::NEVER);
        let alive = |text| (text, State::Reachable, Some(Vec::from(OLD)));
        let dead = |text| (text, State::Failed, None);
        for (seconds, (text, state, link_layer)) in [
            (0, alive("192.0.2.1")),
            (0, alive("fe80::1")),
            (1, dead("192.0.2.1")),
            (2, dead("fe80::1")),
            // Nobody knows where it is.
            (2, dead("fe80::2")),
            // Its time stays what it was: traffic makes it fail again every few seconds.
            (9, dead("192.0.2.1")),
            (9, ("192.0.2.1", State::Stale, Some(Vec::from(OLD)))),
        ] {
            let news = Neighbour { next_hop: next_hop(text), state, link_layer };
            next_hops.hear(&news, text == "192.0.2.1", INTERVAL, at(seconds));
        }
        let probe = |text| (next_hop(text), Ask::Probe(OLD.into()));
        let (kept, not_kept) = (|| probe("192.0.2.1"), || probe("fe80::1"));
        let unknown = || (next_hop("fe80::2"), Ask::Resolve);
        for (seconds, traffic, due, next) in [
            (60, 1, vec![], 61),
            (61, 1, vec![kept()], 62),
            (62, 1, vec![not_kept(), unknown()], 121),
            (500, 2, vec![kept(), not_kept(), unknown()], 560),
            (560, 2, vec![], 620),
            (620, 3, vec![kept(), not_kept(), unknown()], 680),
        ] {
            assert_eq!(next_hops.due(at(seconds), traffic, |_| INTERVAL), due, "{seconds}");
            assert_eq!(next_hops.next_deadline(), Deadline::at(at(next)), "{seconds}");
        }
        assert_eq!(next_hops.advertises(next_hop("192.0.2.1")), Some(Ask::Probe(OLD.into())));
        assert_eq!(next_hops.advertises(next_hop("fe80::1")), None, "the kernel says so itself");
        next_hops.forget_link(3);
        assert_ne!(next_hops.next_deadline(), Deadline::NEVER);
        next_hops.forget_link(2);
        assert_eq!(next_hops.next_deadline(), Deadline::NEVER);
    }
}
