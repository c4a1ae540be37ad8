//! What comes in: messages of the I/O tasks.

use std::{collections::BTreeMap, net::Ipv6Addr};

use mif_core::{
    pvd::event::Event,
    time::Time,
    wire::{ChecksumMode, NdOption, PacketMeta, RouterAdvertisement},
};
use tracing::{debug, warn};

use super::{accept_ra, hierarchy::News, journal::Heard, run::Daemon};
use crate::{
    clock,
    config::Named,
    net::{Loss, Message, ra::RaMessage},
};

/// Advertisements that wait for the first dump, which takes milliseconds, or for a route by their router: more than this is a
/// flood, and routers repeat.
const EARLY: usize = 256;

impl Daemon<'_> {
    pub(super) fn message(&mut self, message: Message) {
        match message {
            Message::Event(event) => self.event(event),
            Message::Neighbour(news) => self.neighbour(news),
            Message::ForeignRules(rules) => {
                self.owner.foreign_rules(rules);
                self.state_is_stale(clock::now());
            }
            Message::RouterAdvertisement(message) if self.synchronised => self.advertisement(message),
            Message::RouterAdvertisement(message) if self.early.len() < EARLY => self.early.push(message),
            Message::RouterAdvertisement(_) => self.refuse("advertisement-before-the-first-dump", 1),
            Message::Dhcpv6(message) => self.clients.receive(&message),
            Message::Lost(loss) => {
                let (what, count) = match loss {
                    Loss::RouterAdvertisements(count) => ("advertisement-dropped-by-kernel", count.into()),
                    Loss::NetlinkOverrun => ("netlink-overrun", 1),
                    Loss::NetlinkUnreadable => ("netlink-unreadable", 1),
                };
                self.refuse(what, count);
            }
        }
    }

    pub(super) fn event(&mut self, event: Event) {
        let now = clock::now();
        let Some(event) = self.filter.pass(event) else { return };
        match &event {
            Event::Link(link) => {
                self.links.insert(link.ifindex, link.clone());
                if self.filter.takes(link.ifindex) {
                    self.soliciting.link(link, now);
                    self.clients.link(link);
                }
                if !link.up {
                    forget_link(&mut self.unaccepted, link.ifindex);
                    self.next_hops.forget_link(link.ifindex);
                    self.journal.forget_link(link.ifindex);
                }
                self.state_is_stale(now);
            }
            Event::LinkGone { ifindex } => {
                self.links.remove(ifindex);
                self.soliciting.gone(*ifindex);
                forget_link(&mut self.unaccepted, *ifindex);
                self.clients.gone(*ifindex);
                self.next_hops.forget_link(*ifindex);
                self.journal.forget_link(*ifindex);
            }
            Event::Address(address) => self.clients.address(address, false),
            Event::AddressGone(address) => self.clients.address(address, true),
            _ => {}
        }
        let complete = event == Event::ResyncEnd;
        let by = match &event {
            Event::Route(route) => route.gateway.map(|router| (route.ifindex, router)),
            _ => None,
        };
        match &event {
            Event::RouteReplaced(route) if self.filter.hides(route) => self.unsure.notify_one(),
            _ => self.owner.event(event, now),
        }
        if self.owner.set.wants_resync() {
            self.unsure.notify_one();
        }
        if let Some((ifindex, router)) = by {
            self.accept(ifindex, router);
        }
        if complete && !self.synchronised {
            self.synchronise(now);
        }
    }

    /// Cgroups came or went.
    pub(super) fn cgroups(&mut self, news: Vec<News>) {
        for news in news {
            let policies = &mut self.owner.policies;
            let changed = match news {
                News::Appeared { path, below_root, id } => {
                    debug!("cgroup {} ({id}) appeared", path.display());
                    policies.appeared(&path, &below_root, id)
                }
                News::Gone { id } => {
                    debug!("cgroup {id} is gone");
                    policies.gone(id, clock::now())
                }
                News::Blind(why) => {
                    warn!("{}", blind(&why));
                    self.blind = Some(why);
                    false
                }
                News::Lost => {
                    self.refuse("cgroup-events-lost", 1);
                    false
                }
            };
            if changed {
                self.owner.policies_changed();
            }
        }
        self.state_is_stale(clock::now());
    }

    /// What is wrong now with policies: cgroups that are not seen, or that found no room.
    pub(super) fn policy_problems(&self) -> impl Iterator<Item = String> {
        let without_room = self.owner.policies.without_room().map(|(count, first)| {
            let most = self.options.sizes.policies;
            let first = first.display();
format!("cgroups without the policy that is configured for them: {count}, such as {first}; the tables hold {most} policies; raise limits.policies and restart the daemon")
        });
        self.blind.as_deref().map(blind).into_iter().chain(without_room).chain(self.no_room.clone())
    }

    /// The first dump is complete: hear again what routers said before this start, then what they said meanwhile.
    pub(super) fn synchronise(&mut self, now: Time) {
        self.synchronised = true;
        for absent in self.absent_interfaces() {
            warn!("{absent}");
        }
        for Heard { ifindex, router, at, advertisement } in self.journal.replay() {
            if self.is_still_there(ifindex, router, &advertisement) {
                self.owner.event(Event::RouterAdvertisement { ifindex, router, advertisement }, at);
            }
        }
        self.owner.expire(now);
        for message in std::mem::take(&mut self.early) {
            self.advertisement(message);
        }
        self.take_over_leases(now);
    }

    /// Whether the kernel still has something of what a router said before this start: a route by it, or an address in one of
    /// its prefixes. Otherwise the interface is on another link now, or is another interface with the same index.
    fn is_still_there(&self, ifindex: u32, router: Ipv6Addr, advertisement: &RouterAdvertisement) -> bool {
        let nested = advertisement.options.iter().flat_map(|option| match option {
            NdOption::Pvd(pvd) => &pvd.options[..],
            _ => &[],
        });
        let has_address = |option: &NdOption| matches!(option, NdOption::PrefixInformation(prefix) if self.owner.set.has_address_in(ifindex, &prefix.prefix));
        self.links.get(&ifindex).is_some_and(|link| link.up)
            && (self.owner.set.has_kernel_route_by(ifindex, router)
                || advertisement.options.iter().chain(nested).any(has_address))
    }

    /// What is wrong now with the names in the configuration.
    pub(super) fn absent_interfaces(&self) -> impl Iterator<Item = String> {
        let absent = |named: &&Named| !self.filter.exists(&named.interface);
        self.options.named_interfaces.iter().filter(absent).map(ToString::to_string)
    }

    /// Whether the administrator lets this router configure the interface: the kernel takes its advertisements, or
    /// somebody (networkd, NetworkManager) has put a route by it into the kernel.
    fn is_accepted(&self, ifindex: u32, router: Ipv6Addr) -> bool {
        self.filter.name(ifindex).is_some_and(accept_ra::by_kernel)
            || self.owner.set.has_kernel_route_by(ifindex, router)
    }

    /// A route by a router came: what that router said before counts now.
    fn accept(&mut self, ifindex: u32, router: Ipv6Addr) {
        if let Some(message) = self.unaccepted.remove(&(ifindex, router)) {
            self.advertisement(message);
        }
    }

    pub(super) fn advertisement(&mut self, message: RaMessage) {
        if !self.filter.takes(message.ifindex) {
            return;
        }
        if !self.is_accepted(message.ifindex, message.source) {
            self.refuse("advertisement-not-accepted-here", 1);
            keep(&mut self.unaccepted, message);
            return;
        }
        let RaMessage { ifindex, source, destination, hop_limit, fragmented, bytes, received } = message;
        let checksum = ChecksumMode::VerifiedByKernel;
        let meta = PacketMeta { source, destination, hop_limit, fragmented, checksum };
        let parsed = match RouterAdvertisement::parse_packet(&meta, &bytes) {
            Ok(parsed) => parsed,
            Err(error) => {
                debug!("from {source} on {}: {error}", self.filter.name(ifindex).unwrap_or("?"));
                return self.refuse(&format!("advertisement-{}", error.name()), 1);
            }
        };
        for ignored in &parsed.ignored {
            debug!("from {source}: {ignored}");
            self.refuse(&format!("option-{}", ignored.reason.name()), 1);
        }
        let advertisement = parsed.advertisement;
        self.advertises((ifindex, source));
        self.soliciting.heard(ifindex, &advertisement);
        self.clients.heard(ifindex, source, &advertisement, received);
        let heard = Heard { ifindex, router: source, at: received, advertisement: advertisement.clone() };
        self.journal.hear(heard);
        self.owner.event(Event::RouterAdvertisement { ifindex, router: source, advertisement }, received);
        self.state_is_stale(received);
    }

    pub(super) fn refuse(&mut self, what: &str, count: u64) {
        *self.refused.entry(what.to_owned()).or_default() += count;
        self.state_is_stale(clock::now());
    }
}

/// Advertisements that nobody has accepted yet, the last one of each router of an interface.
pub(super) type Unaccepted = BTreeMap<(u32, Ipv6Addr), RaMessage>;

/// Keeps one. Where too many wait, the one goes that was heard first: no route by its router came in all that time.
fn keep(unaccepted: &mut Unaccepted, message: RaMessage) {
    let router = (message.ifindex, message.source);
    if unaccepted.len() >= EARLY && !unaccepted.contains_key(&router) {
        let oldest = unaccepted.iter().min_by_key(|(_, message)| message.received).map(|(router, _)| *router);
        oldest.and_then(|oldest| unaccepted.remove(&oldest));
    }
    unaccepted.insert(router, message);
}

/// The link of an interface is another one when it is up again.
fn forget_link(unaccepted: &mut Unaccepted, ifindex: u32) {
    unaccepted.retain(|(of, _), _| *of != ifindex);
}

fn blind(why: &str) -> String {
    format!("cgroups that appear from now on may go without the policy that is configured for them: {why}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(ifindex: u32, router: u16, at: u64) -> RaMessage {
        let address = |last| Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, last);
        RaMessage {
            ifindex,
            source: address(router),
            destination: address(0xffff),
            hop_limit: 255,
            fragmented: false,
            bytes: Vec::new(),
            received: Time(at),
        }
    }

    #[test]
    fn what_is_not_accepted_makes_room() {
        let mut unaccepted = Unaccepted::new();
        let routers = u16::try_from(EARLY).expect("a small number");
        for router in 0..routers {
            keep(&mut unaccepted, message(1 + u32::from(router % 2), router, 10 + u64::from(router)));
        }
        // Repeated: the last one counts, and nothing goes.
        keep(&mut unaccepted, message(1, 0, 1000));
        assert_eq!(unaccepted.len(), EARLY);
        keep(&mut unaccepted, message(3, 7, 2000));
        assert_eq!(unaccepted.len(), EARLY);
        let has = |unaccepted: &Unaccepted, ifindex, router| {
            unaccepted.contains_key(&(ifindex, message(0, router, 0).source))
        };
        assert!(has(&unaccepted, 3, 7) && has(&unaccepted, 1, 0));
        assert!(!has(&unaccepted, 2, 1), "it was heard first");
        forget_link(&mut unaccepted, 1);
        assert!(unaccepted.keys().all(|(ifindex, _)| *ifindex != 1) && has(&unaccepted, 3, 7));
    }
}
