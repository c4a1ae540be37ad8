//! DHCPv6 clients: one for each link of ours that has something to ask (RFC 8415), driven by the daemon's one timer.
//!
//! * `wish`: what a client is to do: configuration, routers' flags, others.
//! * `foreign`: who else is the client of a link.
//! * `identity`: DUID and IAIDs; `kept`: what is kept for the next start.
//! * `link`: one link, its client and its socket; `installed`: what it has of the kernel; `shown`: what people see of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv6Addr,
    path::Path,
};

use ipnet::Ipv6Net;
use mif_core::{
    pvd::event::Address,
    time::Time,
    wire::{NdOption, RouterAdvertisement},
};
use tokio::sync::mpsc;
use tracing::{debug, info, warn};

use crate::{
    clock,
    net::{Message, configure, dhcpv6::Dhcpv6Message},
    state::Dhcpv6Client,
};

mod foreign;
mod identity;
mod installed;
pub mod kept;
mod link;
mod shown;
mod wish;

pub use wish::Wishes;

use identity::Identity;
use kept::Keeping;
use link::{Host, Link, Outcome};

use super::run::Daemon;

/// All clients.
#[derive(Debug)]
pub struct Clients {
    wishes: Wishes,
    identity: Identity,
    keeping: Keeping,
    links: BTreeMap<u32, Link>,
    /// IAID to interface.
    iaids: BTreeMap<u32, u32>,
    /// Links of which something was heard since they were looked at.
    touched: BTreeSet<u32>,
    /// Links whose files are not what they have, each with its name.
    unkept: BTreeMap<u32, String>,
    /// What comes in goes here; none before the loop runs.
    sender: Option<mpsc::Sender<Message>>,
    /// Counted where it happened, told with the next turn.
    outcome: Outcome,
}

impl Clients {
    /// Clients at rest; the second value says what was wrong in the state directory.
    #[must_use]
    pub fn open(state_dir: &Path, wishes: Wishes) -> (Self, Option<String>) {
        let (identity, warning) = Identity::open(state_dir);
        let keeping = Keeping::new(state_dir, &identity.duid);
        let clients = Self {
            wishes,
            identity,
            keeping,
            links: BTreeMap::new(),
            iaids: BTreeMap::new(),
            touched: BTreeSet::new(),
            unkept: BTreeMap::new(),
            sender: None,
            outcome: Outcome::default(),
        };
        (clients, warning)
    }

    /// Where sockets send what they read.
    pub fn read_into(&mut self, sender: mpsc::Sender<Message>) {
        self.sender = Some(sender);
    }

    /// An interface of ours is as `link` says now.
    pub fn link(&mut self, link: &mif_core::pvd::event::Link) {
        if link.loopback {
            return;
        }
        let known = self.links.get_mut(&link.ifindex);
        let entry = match known {
            Some(known) => {
                if known.name != link.name {
                    self.unkept.insert(link.ifindex, known.name.clone());
                }
                known
            }
            None => {
                let (kept, warning) = self.keeping.read(&link.name);
                if let Some(warning) = warning {
                    warn!("{warning}");
                }
                self.links.entry(link.ifindex).or_insert(Link::new(link.ifindex, link.name.clone(), kept))
            }
        };
        entry.is(&link.name, link.up);
        self.touched.insert(link.ifindex);
    }

    /// An interface is gone, and its file stays: it may come back.
    pub fn gone(&mut self, ifindex: u32) {
        self.unkept.remove(&ifindex);
        self.iaids.retain(|_, link| *link != ifindex);
        if let Some(mut link) = self.links.remove(&ifindex) {
            link.disappears(clock::now(), &mut self.outcome);
        }
    }

    /// The kernel says something of an address.
    pub fn address(&mut self, address: &Address, gone: bool) {
        let Some(link) = self.links.get_mut(&address.ifindex) else { return };
        if link.address(address, gone, clock::now(), &mut self.outcome) {
            self.touched.insert(address.ifindex);
        }
    }

    /// A router has advertised something.
    pub fn heard(&mut self, ifindex: u32, router: Ipv6Addr, advertisement: &RouterAdvertisement, now: Time) {
        let Some(link) = self.links.get_mut(&ifindex) else { return };
        link.prefixes(router, prefixes(advertisement), now);
        self.touched.insert(ifindex);
    }

    /// A datagram came.
    pub fn receive(&mut self, message: &Dhcpv6Message) {
        let Some(link) = self.links.get_mut(&message.ifindex) else { return };
        link.receive(message, &mut self.outcome);
        self.touched.insert(message.ifindex);
    }

    /// When something is to be done.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Time> {
        self.links.values().filter_map(|link| link.due).min()
    }

    /// Does what follows from all that happened, where `asked` says what the routers of a link ask for. Nothing, where nothing did.
    fn settle(&mut self, now: Time, asked: impl Fn(u32) -> (bool, bool)) -> Option<Outcome> {
        let Self { wishes, identity, links, iaids, unkept, sender, .. } = self;
        let sender = sender.as_ref()?;
        let mut touched = std::mem::take(&mut self.touched);
        let due = |(ifindex, link): (&u32, &Link)| link.due.is_some_and(|due| due <= now).then_some(*ifindex);
        touched.extend(links.iter().filter_map(due));
        if touched.is_empty() {
            return None;
        }
        let mut outcome = std::mem::take(&mut self.outcome);
        for ifindex in touched {
            let Some(link) = links.get_mut(&ifindex) else { continue };
            let (duid, asked) = (&identity.duid[..], asked(ifindex));
            link.settle(&Host { wishes, duid, sender, iaids, asked, now }, &mut outcome);
            if std::mem::take(&mut outcome.keep) {
                unkept.entry(ifindex).or_insert_with(|| link.name.clone());
            }
            iaids.extend(link.iaid().map(|iaid| (iaid, ifindex)));
        }
        Some(outcome)
    }

    /// What of ours a daemon before this one left in the kernel, and nobody wants any more, goes.
    fn clean_up(&mut self) -> std::io::Result<()> {
        for (ifindex, address) in configure::own_addresses()? {
            if !self.links.get_mut(&ifindex).is_some_and(|link| link.adopts(address)) {
                info!(
                    "removing {address}, which was leased by a daemon before this one, and is not any more"
                );
                configure::remove_address(ifindex, address)?;
            }
        }
        for route in configure::own_routes()? {
            let own = configure::read_route(&route);
            if !own.is_some_and(|own| self.links.values().any(|link| link.installed().has_route(&own))) {
                configure::remove_told_route(route)?;
            }
        }
        Ok(())
    }

    /// Writes what has changed.
    fn keep(&mut self) {
        for (ifindex, name) in std::mem::take(&mut self.unkept) {
            let Some(link) = self.links.get(&ifindex) else { continue };
            if name != link.name
                && let Err(error) = self.keeping.remove(&name)
            {
                warn!("what was leased on {name} is still kept: {error}");
            }
            let kept = match link.to_keep() {
                Some(kept) => self.keeping.write(&link.name, kept),
                None => self.keeping.remove(&link.name),
            };
            if let Err(error) = kept {
                warn!("what is leased on {} is not kept for the next start: {error}", link.name);
            }
        }
    }

    /// What people are shown: links with a client, or that are left to another one.
    #[must_use]
    pub fn state(&self) -> Vec<Dhcpv6Client> {
        self.links.values().filter_map(|link| shown::client(link, &self.wishes)).collect()
    }
}

/// The prefixes of an advertisement that are not on their way out, those in a PvD option too.
fn prefixes(advertisement: &RouterAdvertisement) -> BTreeSet<Ipv6Net> {
    let nested = advertisement.options.iter().flat_map(|option| match option {
        NdOption::Pvd(pvd) => &pvd.options[..],
        _ => &[],
    });
    let prefix = |option: &NdOption| match option {
        NdOption::PrefixInformation(prefix) if prefix.preferred_lifetime > 0 => Some(prefix.prefix),
        _ => None,
    };
    advertisement.options.iter().chain(nested).filter_map(prefix).collect()
}

impl Daemon<'_> {
    /// Lets the clients do what is due, and takes in what came of it.
    pub(super) fn dhcpv6(&mut self, now: Time) {
        let Self { clients, owner, .. } = self;
        let Some(outcome) = clients.settle(now, |ifindex| owner.set.asks_for_dhcpv6(ifindex)) else { return };
        for (name, what) in outcome.refused {
            debug!("DHCPv6: {what}");
            self.refuse(&name, 1);
        }
        for event in outcome.events {
            self.owner.event(event, now);
        }
        self.state_is_stale(now);
    }

    /// At the first start of a daemon after another one: its leases count, and what it left otherwise goes.
    pub(super) fn take_over_leases(&mut self, now: Time) {
        self.dhcpv6(now);
        if let Err(error) = self.clients.clean_up() {
            warn!("what a daemon before this one leased may still be in the kernel: {error}");
        }
    }

    /// Keeps what the clients have. After the maps: nothing waits for a disk.
    pub(super) fn keep_leases(&mut self) {
        self.clients.keep();
    }

    /// Gives back all leases.
    pub(super) fn release_leases(&mut self) {
        let now = clock::now();
        let Clients { wishes, identity, keeping, links, iaids, sender, .. } = &mut self.clients;
        let Some(sender) = sender else { return };
        let mut outcome = Outcome::default();
        for link in links.values_mut() {
            let duid = &identity.duid[..];
            link.end(&Host { wishes, duid, sender, iaids, asked: (false, false), now }, &mut outcome);
            if let Err(error) = keeping.remove(&link.name) {
                warn!("what was leased on {} is still kept: {error}", link.name);
            }
        }
    }
}
