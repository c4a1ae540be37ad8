//! The state machine: what is under way and what follows (RFC 8415 §18.2).
//!
//! ```text
//!            start, stateful                            start, information
//!                  |                                            |
//!    +---------> Solicit --(Rapid Commit)--+          Information-request <--+
//!    |             | Advertise             |                    | Reply      | refresh
//!    |           Request ---- Reply ----> bound                 +--> informed-+
//!    |             | MRC                   | T1
//!    +-------------+       Renew <---------+  Reply: bound again
//!    |                       | T2
//!    |                     Rebind             Reply: bound again
//!    +-----------------------+ all leases ended
//! ```
//!
//! The link went away and came back: a Confirm, or a Rebind where a prefix is delegated (§18.2.12). An address is in use by
//! another host: a Decline, then bound with what is left, or a Solicit.

mod answers;
mod max_rt;
mod questions;

use core::time::Duration;
use std::net::Ipv6Addr;

use ipnet::Ipv6Net;
use serde::{Deserialize, Serialize};

use self::max_rt::MaxRt;
use super::{
    lease::{HeldLease, LeaseError, Leases},
    reconfigure::Key,
    request,
    timing::{self, MAX_RT, Rate},
};
use crate::{
    retransmission::{Random, Retransmission},
    time::{Deadline, Time},
    wire::dhcpv6::{DhcpOption, DraftCodes, IgnoredOption, MessageType, TransactionId},
};

/// The least time between two questions because the prefixes of the link have changed (§18.2.12 gives it as an example).
const PREFIX_CHANGE_PAUSE: Duration = Duration::from_secs(30);

/// What is asked for.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Nothing.
    #[default]
    Off,
    /// Configuration without leases.
    Information,
    /// Leases, and configuration with them.
    Stateful,
}

/// How to ask.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Settings {
    /// What for.
    pub mode: Mode,
    /// The number of this link's associations, which stays over restarts (§12).
    pub iaid: u32,
    /// An address is wanted.
    pub addresses: bool,
    /// A prefix is wanted, of this length; 0: of any.
    pub prefix: Option<u8>,
    /// Two messages instead of four, where the server agrees. Not by default: each server that hears it spends a lease (§18.2.1).
    pub rapid_commit: bool,
    /// Ask for RDNSS Selection (RFC 6731 §4.5: only where the administrator trusts the link).
    pub rdnss_selection: bool,
    /// Numbers for the options of drafts, and so whether they are asked for.
    pub codes: DraftCodes,
}

/// What the servers of the link have given, as of now.
#[derive(Clone, Debug, Default, Eq, PartialEq, Deserialize, Serialize)]
pub struct Configuration {
    /// The DUID of the server that gave it.
    pub server: Vec<u8>,
    /// Addresses and delegated prefixes.
    pub leases: Vec<HeldLease>,
    /// All else that the last Reply carried.
    pub options: Vec<DhcpOption>,
    /// When that came.
    pub received: Option<Time>,
    /// When what came without leases is to be asked for again (§21.23); never for what came with leases.
    #[serde(default)]
    pub refresh_at: Deadline,
}

/// What a datagram did beside its effect: what of it was left out.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Received {
    /// Options.
    pub ignored: Vec<IgnoredOption>,
    /// Leases and associations.
    pub refused: Vec<LeaseError>,
}

/// An offer.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Offer {
    server: Vec<u8>,
    /// What it is chosen by: the server's preference, then how much of what is wanted it offers.
    rank: (u8, usize),
    leases: Vec<HeldLease>,
}

/// A question under way.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Exchange {
    kind: MessageType,
    transaction_id: TransactionId,
    sending: Retransmission,
    server: Option<Vec<u8>>,
    /// What a Request, Release or Decline is about.
    subject: Vec<HeldLease>,
    /// The best one so far, while a Solicit waits for others.
    offer: Option<Offer>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum State {
    /// Nothing is wanted, or the link is down.
    Idle,
    /// A question is under way.
    Asking(Box<Exchange>),
    /// There are leases.
    Bound,
    /// There is an answer without leases, to be refreshed at its time.
    Informed,
}

/// The client of one link.
#[derive(Clone, Debug)]
pub struct Client {
    duid: Vec<u8>,
    settings: Settings,
    state: State,
    leases: Leases,
    server: Vec<u8>,
    options: Vec<DhcpOption>,
    received: Option<Time>,
    /// When what came without leases is to be asked for again.
    refresh_at: Deadline,
    /// Of the server, if it has sent one.
    reconfigure_key: Option<Key>,
    sol_max_rt: MaxRt,
    inf_max_rt: MaxRt,
    rate: Rate,
    /// Offers in a row that came to nothing.
    refusals: u32,
    /// When the prefixes of the link made it ask last.
    prefixes_changed: Option<Time>,
}

impl Client {
    /// A client at rest, known to servers by its DUID (§11).
    #[must_use]
    pub fn new(duid: Vec<u8>) -> Self {
        Self {
            duid,
            settings: Settings::default(),
            state: State::Idle,
            leases: Leases::default(),
            server: Vec::new(),
            options: Vec::new(),
            received: None,
            refresh_at: Deadline::NEVER,
            reconfigure_key: None,
            sol_max_rt: MaxRt::default(),
            inf_max_rt: MaxRt::default(),
            rate: Rate::default(),
            refusals: 0,
            prefixes_changed: None,
        }
    }

    /// What a client before had, whose link may be another one by now: [`Self::link_up`] asks.
    pub fn restore(&mut self, configuration: Configuration, leases: Leases) {
        // The answer to a Confirm says nothing of them (§18.4.3).
        (self.options, self.received) = (configuration.options, configuration.received);
        self.refresh_at = configuration.refresh_at;
        (self.server, self.leases) = (configuration.server, leases);
    }

    /// Begins to ask, or asks for something else: what was under way and what was given is forgotten.
    pub fn configure(&mut self, settings: Settings, now: Time, random: &mut impl FnMut() -> Random) {
        if settings == self.settings {
            return;
        }
        self.settings = settings;
        self.forget();
        self.discover(now, timing::delay(random()), random);
    }

    /// The settings.
    #[must_use]
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What the servers have given.
    #[must_use]
    pub fn configuration(&self) -> Configuration {
        Configuration {
            server: self.server.clone(),
            leases: request::held(&self.leases),
            options: self.options.clone(),
            received: self.received,
            refresh_at: self.refresh_at,
        }
    }

    /// The leases with the times to ask for more, for [`Self::restore`].
    #[must_use]
    pub const fn leases(&self) -> &Leases {
        &self.leases
    }

    /// The kind of message under way, `None` when nothing is asked.
    #[must_use]
    pub fn asking(&self) -> Option<MessageType> {
        match &self.state {
            State::Asking(exchange) => Some(exchange.kind),
            _ => None,
        }
    }

    /// Whether a server may ask it to ask, at any time (§18.2.11): it has the server's key.
    #[must_use]
    pub const fn takes_reconfigure(&self) -> bool {
        self.reconfigure_key.is_some()
    }

    /// The transaction id of what is under way.
    #[must_use]
    pub fn transaction_id(&self) -> Option<TransactionId> {
        match &self.state {
            State::Asking(exchange) => Some(exchange.transaction_id),
            _ => None,
        }
    }

    /// The link is down: nothing can be asked. Leases go on until they end.
    pub fn link_down(&mut self) {
        self.state = State::Idle;
    }

    /// The link came up, or the host woke: it may be another link (§18.2.12).
    pub fn link_up(&mut self, now: Time, random: &mut impl FnMut() -> Random) {
        self.leases.expire(now);
        let delay = timing::delay(random());
        if self.settings.mode != Mode::Stateful || self.leases.is_empty() {
            self.discover(now, delay, random);
        } else if self.leases.has_prefix() {
            // With the timing of a Confirm.
            self.ask(MessageType::Rebind, now.after(delay), now, random);
            if let State::Asking(exchange) = &mut self.state {
                let timing = timing::parameters(MessageType::Confirm, MAX_RT, None);
                exchange.sending = Retransmission::new(timing, now.after(delay));
            }
        } else {
            self.ask(MessageType::Confirm, now.after(delay), now, random);
        }
    }

    /// The on-link prefixes have changed in a way that matters: a new one, or one that is deprecated (§18.2.12).
    pub fn prefixes_changed(&mut self, now: Time, random: &mut impl FnMut() -> Random) {
        if self.prefixes_changed.is_some_and(|last| now < last.after(PREFIX_CHANGE_PAUSE)) {
            return;
        }
        let kind = match &self.state {
            State::Bound => MessageType::Renew,
            State::Informed => MessageType::InformationRequest,
            State::Idle | State::Asking(_) => return,
        };
        self.prefixes_changed = Some(now);
        self.ask(kind, now.after(timing::delay(random())), now, random);
    }

    /// Gives everything back. It is gone from the configuration at once: the caller takes addresses away before it sends what
    /// [`Self::poll`] returns, so that they are no source of it (§18.2.7).
    pub fn release(&mut self, now: Time, random: &mut impl FnMut() -> Random) {
        let (server, subject) = (self.server.clone(), request::held(&self.leases));
        self.settings.mode = Mode::Off;
        self.forget();
        if !subject.is_empty() {
            self.ask_about(MessageType::Release, subject, server, now, random);
        }
    }

    /// Another host has this address (§18.2.8). It is gone from the configuration at once.
    pub fn decline(&mut self, address: Ipv6Addr, now: Time, random: &mut impl FnMut() -> Random) {
        let Some(lease) = self.leases.remove(Ipv6Net::from(address)) else { return };
        if let State::Asking(exchange) = &mut self.state
            && exchange.kind == MessageType::Decline
            && exchange.sending.sent() == 0
        {
            exchange.subject.push(lease);
            return;
        }
        let server = self.server.clone();
        self.ask_about(MessageType::Decline, vec![lease], server, now, random);
    }

    /// When [`Self::poll`] is due; `None`: not before something happens.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Time> {
        let of_state = match &self.state {
            State::Idle => Deadline::NEVER,
            State::Asking(exchange) if self.asks_beside_leases() => {
                Deadline::at(exchange.sending.next_deadline()).min(self.leases.t1()).min(self.leases.t2())
            }
            State::Asking(exchange) => Deadline::at(exchange.sending.next_deadline()),
            State::Bound => self.leases.t1().min(self.leases.t2()),
            State::Informed => self.refresh_at,
        };
        of_state.min(self.leases.next_end()).time()
    }

    /// Does what is due, and returns the message to send to `ff02::1:2`, port 547, from the interface's link-local address.
    /// To be called again until it returns none.
    #[must_use = "the message is to be sent"]
    pub fn poll(&mut self, now: Time, random: &mut impl FnMut() -> Random) -> Option<Vec<u8>> {
        if self.leases.expire(now) && self.leases.is_empty() && self.holds_on() {
            // §18.2.5: with the last lease goes what came with it.
            self.forget();
            self.discover(now, Duration::ZERO, random);
        }
        let rests = self.state == State::Bound || self.asks_beside_leases();
        match &self.state {
            _ if rests && self.leases.t2().passed(now) => self.ask(MessageType::Rebind, now, now, random),
            _ if rests && self.leases.t1().passed(now) => self.ask(MessageType::Renew, now, now, random),
            // §21.23: MUST wait.
            State::Informed if self.refresh_at.passed(now) => {
                let at = now.after(timing::delay(random()));
                self.ask(MessageType::InformationRequest, at, now, random);
            }
            _ => {}
        }
        self.send(now, random)
    }

    /// Whether it asks for information although it has leases, because the server wanted it so: the leases go before.
    fn asks_beside_leases(&self) -> bool {
        self.asking() == Some(MessageType::InformationRequest) && !self.leases.is_empty()
    }

    /// Whether what is under way is about the leases.
    fn holds_on(&self) -> bool {
        match &self.state {
            State::Bound => true,
            State::Asking(exchange) if exchange.kind == MessageType::InformationRequest => {
                self.settings.mode == Mode::Stateful
            }
            State::Asking(exchange) => {
                matches!(exchange.kind, MessageType::Renew | MessageType::Rebind | MessageType::Confirm)
            }
            State::Idle | State::Informed => false,
        }
    }
}
