//! One link: its client, the socket while it asks, and what it has of the kernel.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv6Addr,
};

use ipnet::Ipv6Net;
use mif_core::{
    dhcpv6::{Client, Configuration, Mode},
    pvd::event::{Address, Event},
    time::Time,
    wire::dhcpv6::MessageType,
};
use tokio::sync::mpsc;

use super::{
    foreign::{self, Foreign},
    identity,
    installed::{Installed, Wanted},
    kept::Kept,
    wish::{self, Known, Wishes},
};
use crate::{
    config::Dhcpv6,
    daemon::soliciting::random,
    net::{
        Message,
        dhcpv6::{Dhcpv6Message, Dhcpv6Socket, OpenError},
    },
};

/// Bits of an address.
const BITS: u8 = 128;

/// Routers of a link whose prefixes are watched; a link with more has been forged or gone mad.
const ROUTERS: usize = 16;

/// What all links share.
pub struct Host<'a> {
    pub wishes: &'a Wishes,
    pub duid: &'a [u8],
    /// Where what comes in goes.
    pub sender: &'a mpsc::Sender<Message>,
    /// Whose IAIDs there are.
    pub iaids: &'a BTreeMap<u32, u32>,
    /// What routers of the link ask for: M, O.
    pub asked: (bool, bool),
    pub now: Time,
}

/// What follows for the rest of the daemon.
#[derive(Debug, Default)]
pub struct Outcome {
    /// For the owner of the PvDs.
    pub events: Vec<Event>,
    /// What was ignored or refused: a name for counters, and what to say.
    pub refused: Vec<(String, String)>,
    /// What is to be kept has changed.
    pub keep: bool,
}

impl Outcome {
    fn refuse(&mut self, name: impl std::fmt::Display, what: impl std::fmt::Display) {
        self.refused.push((format!("dhcpv6-{name}"), what.to_string()));
    }
}

/// A link.
#[derive(Debug)]
pub struct Link {
    pub ifindex: u32,
    pub name: String,
    up: bool,
    /// Link-local addresses that are past duplicate detection.
    link_local: BTreeSet<Ipv6Addr>,
    /// Addresses that another client of this host has leased, by their looks.
    leased_by_others: BTreeSet<Ipv6Addr>,
    client: Option<Box<Client>>,
    socket: Option<Dhcpv6Socket>,
    /// Who else is the client here.
    foreign: Option<Foreign>,
    /// Where the last answer came from.
    server: Ipv6Addr,
    installed: Installed,
    /// The link may be another one since: what is asked before anything counts again.
    confirming: Option<MessageType>,
    /// What the owner of the PvDs was told.
    told: Option<(Ipv6Addr, Configuration)>,
    /// What a daemon before this one had, and whether since the host started.
    kept: Option<(Kept, bool)>,
    /// It was up when it was looked at last.
    was_up: bool,
    /// The client was told that it can ask.
    linked: bool,
    /// What each router announces.
    prefixes: BTreeMap<Ipv6Addr, BTreeSet<Ipv6Net>>,
    /// When it is to be looked at.
    pub due: Option<Time>,
}

impl Link {
    pub fn new(ifindex: u32, name: String, kept: Option<(Kept, bool)>) -> Self {
        Self {
            ifindex,
            name,
            up: false,
            link_local: BTreeSet::new(),
            leased_by_others: BTreeSet::new(),
            client: None,
            socket: None,
            foreign: None,
            server: Ipv6Addr::UNSPECIFIED,
            installed: Installed::default(),
            confirming: None,
            told: None,
            kept,
            was_up: false,
            linked: false,
            prefixes: BTreeMap::new(),
            due: None,
        }
    }

    /// It is called this now, and up or not.
    pub fn is(&mut self, name: &str, up: bool) {
        name.clone_into(&mut self.name);
        self.up = up;
    }

    /// Its client's IAID, if it has one.
    pub fn iaid(&self) -> Option<u32> {
        let client = self.client.as_ref().map(|client| client.settings().iaid);
        client.or_else(|| self.kept.as_ref().map(|(kept, _)| kept.iaid))
    }

    /// The client.
    pub fn client(&self) -> Option<&Client> {
        self.client.as_deref()
    }

    /// Whether its client can ask.
    pub const fn is_ready(&self) -> bool {
        self.linked
    }

    /// Who else is the client here.
    pub const fn foreign(&self) -> Option<Foreign> {
        self.foreign
    }

    /// Where the last answer came from.
    pub const fn server(&self) -> Ipv6Addr {
        self.server
    }

    /// What is put into the kernel.
    pub const fn installed(&self) -> &Installed {
        &self.installed
    }

    /// Whether this address is leased to us, now or before this start; if before, it counts as put there.
    pub fn adopts(&mut self, address: Ipv6Addr) -> bool {
        let mut leases = self.kept.iter().flat_map(|(kept, _)| kept.leases.iter());
        if leases.any(|lease| lease.address() == Some(address)) {
            self.installed.adopt(address);
        }
        self.installed.has(&address)
    }

    /// The kernel says something of an address of the link. True if it concerns the client.
    pub fn address(&mut self, address: &Address, gone: bool, now: Time, outcome: &mut Outcome) -> bool {
        let Address { address: ip, tentative, dad_failed, .. } = *address;
        if ip.is_unicast_link_local() {
            return if gone || tentative || dad_failed {
                self.link_local.remove(&ip)
            } else {
                self.link_local.insert(ip)
            };
        }
        if self.adopts(ip) {
            if gone || dad_failed {
                // An address with a lifetime goes when it is a duplicate (addrconf_dad_stop).
                self.installed.forget(&ip);
            }
            if dad_failed && let Some(client) = &mut self.client {
                outcome.refuse(
                    "address-in-use",
                    format!("{ip} was leased to us on {}, and another host has it", self.name),
                );
                client.decline(ip, now, &mut random);
                return true;
            }
            return false;
        }
        // What DHCPv6 clients put there: one address without a network, which ends.
        let lease = address.prefix_len == BITS && !address.permanent && ip.to_ipv4_mapped().is_none();
        match (lease, gone) {
            (true, false) => self.leased_by_others.insert(ip),
            (true, true) => self.leased_by_others.remove(&ip),
            (false, _) => false,
        }
    }

    /// A datagram came to its socket.
    pub fn receive(&mut self, message: &Dhcpv6Message, outcome: &mut Outcome) {
        let Dhcpv6Message { source, bytes, received, .. } = message;
        let Some(client) = &mut self.client else {
            // In flight when the client was given up.
            return outcome.refuse("not-asked", format!("a message from {source}"));
        };
        match client.receive(bytes, *received, &mut random) {
            Err(discarded) => outcome.refuse(discarded.name(), format!("from {source}: {discarded}")),
            Ok(done) => {
                for ignored in &done.ignored {
                    outcome.refuse(
                        format!("option-{}", ignored.reason.name()),
                        format!("from {source}: {ignored}"),
                    );
                }
                for error in &done.refused {
                    outcome.refuse(error.name(), format!("from {source}: {error}"));
                }
                if client.configuration().received == Some(*received) {
                    self.server = *source;
                }
            }
        }
    }

    /// A router of the link announces these prefixes now. A change may concern what was leased (RFC 8415 §18.2.12).
    pub fn prefixes(&mut self, router: Ipv6Addr, prefixes: BTreeSet<Ipv6Net>, now: Time) {
        if self.prefixes.len() >= ROUTERS && !self.prefixes.contains_key(&router) {
            return;
        }
        let all = |link: &Self| link.prefixes.values().flatten().copied().collect::<BTreeSet<_>>();
        let before = all(self);
        self.prefixes.insert(router, prefixes);
        if !before.is_empty()
            && all(self) != before
            && let Some(client) = &mut self.client
        {
            client.prefixes_changed(now, &mut random);
        }
    }

    /// Does what follows from all that happened.
    pub fn settle(&mut self, host: &Host<'_>, outcome: &mut Outcome) {
        // Once more where a client has given back what it had, and another one is to take its place.
        for _ in 0..2 {
            self.want(host, outcome);
            self.follow_link(host.now);
            self.run(host, outcome);
            let done = |client: &Client| client.settings().mode == Mode::Off && client.asking().is_none();
            if !self.client.as_deref().is_some_and(done) {
                break;
            }
            self.leave(host.now, outcome);
        }
        let client_due = self.client.as_ref().and_then(|client| client.next_deadline());
        let route_end = self.told.as_ref().and_then(|(server, configuration)| {
            Wanted::of(self.ifindex, *server, configuration, host.now).next_route_end()
        });
        self.due = client_due.into_iter().chain(route_end).min();
    }

    /// Gives the client the settings that it is to have, or takes it away.
    fn want(&mut self, host: &Host<'_>, outcome: &mut Outcome) {
        let client = self.client.as_deref();
        if client.is_some_and(|client| client.asking() == Some(MessageType::Release)) {
            return;
        }
        let wish = host.wishes.mode(&self.name);
        let before = self.kept.as_ref().map(|(kept, _)| !kept.leases.is_empty());
        let known = Known {
            managed: host.asked.0,
            other: host.asked.1,
            foreign: false,
            current: client.map_or(Mode::Off, |client| client.settings().mode),
            leases: client.is_some_and(|client| !client.leases().is_empty()) || before == Some(true),
            informed: client.is_some_and(has),
        };
        // Looked at where it would matter, and not for what is never asked.
        let matters = wish == Dhcpv6::Auto && !known.leases && wish::mode(wish, known) != Mode::Off;
        let leased = || self.leased_by_others.first().map(|address| Foreign::Lease(*address));
        self.foreign = matters.then(|| foreign::manager(self.ifindex).or_else(leased)).flatten();
        let mode = wish::mode(wish, Known { foreign: self.foreign.is_some(), ..known });
        if mode == Mode::Off || mode == Mode::Information && known.leases {
            self.give_up(host, outcome);
        } else {
            self.make_client(host, mode);
        }
    }

    /// A client with these settings. A new one takes over what a daemon before this one had.
    fn make_client(&mut self, host: &Host<'_>, mode: Mode) {
        let iaid = self.iaid().unwrap_or_else(|| {
            let taken = |iaid| host.iaids.get(&iaid).is_some_and(|other| *other != self.ifindex);
            identity::iaid(&self.name, taken)
        });
        let settings = host.wishes.settings(&self.name, mode, iaid);
        let client = self.client.get_or_insert_with(|| Box::new(Client::new(host.duid.to_vec())));
        if *client.settings() != settings {
            client.configure(settings, host.now, &mut random);
            // It asks once the link is said to be there.
            client.link_down();
            self.linked = false;
        }
        let Some((kept, same_boot)) = self.kept.take() else { return };
        self.server = kept.server;
        client.restore(kept.configuration, kept.leases);
        // It counts until an answer says otherwise; not if the host may have been carried elsewhere meanwhile.
        self.confirming = (!same_boot).then_some(MessageType::Confirm);
    }

    /// The link can be asked on now, or no longer.
    fn follow_link(&mut self, now: Time) {
        if !self.up && self.was_up {
            // With the link goes what was said on it.
            self.told = None;
            self.prefixes.clear();
            self.confirming = Some(MessageType::Confirm);
        }
        self.was_up = self.up;
        let can_ask = self.can_ask();
        let Some(client) = self.client.as_mut().filter(|_| can_ask != self.linked) else { return };
        self.linked = can_ask;
        if !can_ask {
            return client.link_down();
        }
        client.link_up(now, &mut random);
        let has = has(client);
        self.confirming = self.confirming.and(client.asking()).filter(|_| has);
    }

    fn can_ask(&self) -> bool {
        self.up && !self.link_local.is_empty()
    }

    /// The client is to be no more: it gives back what it has, and is gone once that is said.
    fn give_up(&mut self, host: &Host<'_>, outcome: &mut Outcome) {
        if self.client.is_none() && self.kept.as_ref().is_some_and(|(kept, _)| !kept.leases.is_empty()) {
            if !self.can_ask() {
                // Not to be used, and to be given back later.
                return self.kernel(&Wanted::default(), false, host.now, outcome);
            }
            self.make_client(host, Mode::Stateful);
        }
        outcome.keep |= self.kept.take().is_some();
        let can_ask = self.can_ask();
        let Some(client) = &mut self.client else { return };
        outcome.keep = true;
        if can_ask {
            client.release(host.now, &mut random);
            self.linked = true;
        } else {
            self.leave(host.now, outcome);
        }
    }

    /// Gives back what there is, in one message that nobody waits for an answer to: the daemon ends.
    pub fn end(&mut self, host: &Host<'_>, outcome: &mut Outcome) {
        self.give_up(host, outcome);
        self.run(host, outcome);
        self.leave(host.now, outcome);
    }

    /// The interface is gone, and what the kernel had by it.
    pub fn disappears(&mut self, now: Time, outcome: &mut Outcome) {
        self.kernel(&Wanted::default(), false, now, outcome);
    }

    /// Without a client.
    fn leave(&mut self, now: Time, outcome: &mut Outcome) {
        self.client = None;
        self.socket = None;
        self.linked = false;
        self.confirming = None;
        if self.told.take().is_some() {
            outcome.events.push(Event::Dhcpv6Gone { ifindex: self.ifindex });
        }
        self.kernel(&Wanted::default(), false, now, outcome);
    }

    /// Lets the client do what is due, and what it has count.
    fn run(&mut self, host: &Host<'_>, outcome: &mut Outcome) {
        while let Some(client) = &mut self.client {
            let message = client.poll(host.now, &mut random);
            // Before it is sent: what is given back or declined is no source any more (RFC 8415 §18.2.7).
            self.take_effect(host.now, outcome);
            let socket = self.port(host, outcome);
            let Some(message) = message else { return };
            if let Some(socket) = socket
                && let Err(error) = socket.send(&message)
            {
                outcome.refuse("not-sent", format!("on {}: {error}", self.name));
            }
        }
    }

    /// The socket, while the client asks.
    fn port(&mut self, host: &Host<'_>, outcome: &mut Outcome) -> Option<&Dhcpv6Socket> {
        let client = self.client.as_mut()?;
        if !self.linked || client.asking().is_none() && !client.takes_reconfigure() {
            self.socket = None;
            return None;
        }
        if self.socket.is_none() {
            let address = *self.link_local.first()?;
            match Dhcpv6Socket::open(self.ifindex, &self.name, address, host.sender.clone()) {
                Ok(socket) => self.socket = Some(socket),
                Err(error) => {
                    let taken = matches!(error, OpenError::PortTaken);
                    outcome.refuse(
                        if taken { "port-taken" } else { "no-socket" },
                        format!("on {}: {error}", self.name),
                    );
                    let auto = host.wishes.mode(&self.name) == Dhcpv6::Auto;
                    if taken && auto && client.leases().is_empty() {
                        self.leave(host.now, outcome);
                    }
                    self.foreign = taken.then_some(Foreign::Port);
                }
            }
        }
        self.socket.as_ref()
    }

    /// What the client has now, in the kernel and for the PvDs.
    fn take_effect(&mut self, now: Time, outcome: &mut Outcome) {
        let Some(client) = &self.client else { return };
        // The answer that it waited for has come, or there was none in time.
        self.confirming = self.confirming.filter(|_| !self.linked || client.asking() == self.confirming);
        let counts = has(client) && self.confirming.is_none() && self.up;
        let configuration = client.configuration();
        let mut wanted = Wanted::of(self.ifindex, self.server, &configuration, now);
        if !counts {
            // Addresses stay for as long as they are leased: connections may survive.
            wanted.routes.retain(|route, _| route.ifindex.is_none());
        }
        self.kernel(&wanted, counts, now, outcome);
        let telling = counts.then_some((self.server, configuration));
        if telling == self.told {
            return;
        }
        let ifindex = self.ifindex;
        outcome.events.push(match telling.clone() {
            Some((server, configuration)) => Event::Dhcpv6 { ifindex, server, configuration },
            None => Event::Dhcpv6Gone { ifindex },
        });
        self.told = telling;
        outcome.keep = true;
    }

    fn kernel(&mut self, wanted: &Wanted, may_add: bool, now: Time, outcome: &mut Outcome) {
        for refused in self.installed.bring_to(self.ifindex, wanted, may_add, now) {
            let what = format!("{} on {}: {}", refused.what, self.name, refused.error);
            outcome.refuse(refused.name, what);
        }
    }

    /// What is to be kept for the next start; nothing where there is nothing.
    pub fn to_keep(&self) -> Option<Kept> {
        if let Some((kept, _)) = &self.kept {
            return Some(kept.clone());
        }
        self.client.as_deref().filter(|client| has(client)).map(|client| Kept {
            iaid: client.settings().iaid,
            server: self.server,
            configuration: client.configuration(),
            leases: client.leases().clone(),
        })
    }
}

/// Whether a client has what it was to get: without leases, what came beside them is no longer of use (RFC 8415 §18.2.5).
fn has(client: &Client) -> bool {
    match client.settings().mode {
        Mode::Off => false,
        Mode::Information => client.configuration().received.is_some(),
        Mode::Stateful => !client.leases().is_empty(),
    }
}
