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

use core::time::Duration;
use std::net::Ipv6Addr;

use ipnet::Ipv6Net;
use serde::{Deserialize, Serialize};

use super::{
    answer::{self, Discarded, Question},
    lease::{HeldLease, LeaseError, Leases},
    request::{self, Request},
    timing::{self, IRT_DEFAULT, IRT_MINIMUM, MAX_RT, MAX_RT_RANGE, Rate},
};
use crate::{
    retransmission::{Due, Random, Retransmission},
    time::{Deadline, INFINITE_LIFETIME, Time},
    wire::dhcpv6::{
        DhcpOption, DraftCodes, IdentityAssociation, IgnoredOption, Message, MessageType, StatusCode,
        TransactionId,
    },
};

/// The preference with which a server is chosen at once (§18.2.1).
const PREFERENCE_AT_ONCE: u8 = 255;

/// After a server that offers and then refuses: twice as long each time, from this on. §18.2.10 asks for a limit and names none.
const REFUSED_PAUSE: Duration = Duration::from_secs(1);

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
    sol_max_rt: MaxRt,
    inf_max_rt: MaxRt,
    rate: Rate,
    /// Offers in a row that came to nothing.
    refusals: u32,
    /// When the prefixes of the link made it ask last.
    prefixes_changed: Option<Time>,
}

/// SOL_MAX_RT or INF_MAX_RT (§21.24, §21.25).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct MaxRt {
    /// What the answers to this question say, as long as they agree.
    said: Option<u32>,
    value: Duration,
}

impl Default for MaxRt {
    fn default() -> Self {
        Self { said: None, value: MAX_RT }
    }
}

impl MaxRt {
    fn hear(&mut self, seconds: u32) {
        if !MAX_RT_RANGE.contains(&seconds) {
            return;
        }
        // §18.2.9: where servers disagree the default holds.
        let agreed = self.said.is_none_or(|said| said == seconds);
        self.value = if agreed { Duration::from_secs(seconds.into()) } else { MAX_RT };
        self.said = Some(seconds);
    }
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
        match &self.state {
            State::Bound if self.leases.t2().passed(now) => {
                self.ask(MessageType::Rebind, now, now, random);
            }
            State::Bound if self.leases.t1().passed(now) => self.ask(MessageType::Renew, now, now, random),
            // §21.23: MUST wait.
            State::Informed if self.refresh_at.passed(now) => {
                let at = now.after(timing::delay(random()));
                self.ask(MessageType::InformationRequest, at, now, random);
            }
            _ => {}
        }
        self.send(now, random)
    }

    /// Whether what is under way is about the leases.
    fn holds_on(&self) -> bool {
        match &self.state {
            State::Bound => true,
            State::Asking(exchange) => {
                matches!(exchange.kind, MessageType::Renew | MessageType::Rebind | MessageType::Confirm)
            }
            State::Idle | State::Informed => false,
        }
    }

    /// What the exchange has to send now.
    fn send(&mut self, now: Time, random: &mut impl FnMut() -> Random) -> Option<Vec<u8>> {
        // Whatever takes the place of an exchange that was given up is due once more at most.
        for _ in 0..2 {
            let State::Asking(exchange) = &mut self.state else { return None };
            if now < exchange.sending.next_deadline() {
                return None;
            }
            if exchange.sending.sent() > 0 && exchange.offer.is_some() {
                self.take_offer(now, random);
                continue;
            }
            if let Err(at) = self.rate.take(now) {
                exchange.sending.postpone(at);
                return None;
            }
            match exchange.sending.poll(now, random())? {
                Due::Send => return self.message(now),
                Due::GiveUp => self.given_up(now, random),
            }
        }
        None
    }

    /// The message of the exchange as it is to be sent now.
    fn message(&self, now: Time) -> Option<Vec<u8>> {
        let State::Asking(exchange) = &self.state else { return None };
        let held;
        let leases = match exchange.kind {
            // Those that have ended meanwhile are left out (§15, §18.2.4).
            MessageType::Renew | MessageType::Rebind | MessageType::Confirm => {
                held = request::held(&self.leases);
                &held
            }
            _ => &exchange.subject,
        };
        let request = Request {
            kind: exchange.kind,
            transaction_id: exchange.transaction_id,
            elapsed: exchange.sending.first().map_or(Duration::ZERO, |first| first.until(now)),
            server: exchange.server.as_deref(),
            leases,
        };
        let message = request::message(&request, &self.settings, &self.duid);
        // It holds what a server has sent in a datagram, and less.
        message.emit(&self.settings.codes).ok()
    }

    /// Nobody has answered.
    fn given_up(&mut self, now: Time, random: &mut impl FnMut() -> Random) {
        let State::Asking(exchange) = &self.state else { return };
        match exchange.kind {
            MessageType::Renew => self.ask(MessageType::Rebind, now, now, random),
            // §18.2.3: the leases are kept. A Rebind is given up like this only in its place; otherwise its leases end first.
            MessageType::Confirm | MessageType::Rebind => self.state = State::Bound,
            MessageType::Decline => self.go_on(now, random),
            MessageType::Release => self.state = State::Idle,
            _ => self.discover(now, Duration::ZERO, random),
        }
    }

    /// After a Decline: with what is left.
    fn go_on(&mut self, now: Time, random: &mut impl FnMut() -> Random) {
        if self.leases.is_empty() {
            self.refused(now, random);
        } else {
            self.state = State::Bound;
        }
    }

    /// Looks for a server again, later each time.
    fn refused(&mut self, now: Time, random: &mut impl FnMut() -> Random) {
        let pause = REFUSED_PAUSE.saturating_mul(1 << self.refusals.min(20)).min(self.sol_max_rt.value);
        self.refusals = self.refusals.saturating_add(1);
        self.forget();
        self.discover(now, pause, random);
    }

    fn forget(&mut self) {
        self.leases.clear();
        self.server.clear();
        self.options.clear();
        self.received = None;
        self.refresh_at = Deadline::NEVER;
        self.state = State::Idle;
    }

    /// Begins from the beginning.
    fn discover(&mut self, now: Time, delay: Duration, random: &mut impl FnMut() -> Random) {
        match self.settings.mode {
            Mode::Off => self.state = State::Idle,
            Mode::Information => self.ask(MessageType::InformationRequest, now.after(delay), now, random),
            Mode::Stateful => self.ask(MessageType::Solicit, now.after(delay), now, random),
        }
    }

    /// Begins a question about all that is held or wanted.
    fn ask(&mut self, kind: MessageType, at: Time, now: Time, random: &mut impl FnMut() -> Random) {
        let end = match kind {
            MessageType::Renew => self.leases.t2().remaining(now),
            MessageType::Rebind => self.leases.last_end().remaining(now),
            _ => None,
        };
        let maximum = match kind {
            MessageType::InformationRequest => self.inf_max_rt.value,
            _ => self.sol_max_rt.value,
        };
        let server = (kind == MessageType::Renew).then(|| self.server.clone());
        let sending = Retransmission::new(timing::parameters(kind, maximum, end), at);
        self.begin(kind, sending, server, Vec::new(), random);
    }

    /// Begins a question about some leases, to their server, at once.
    fn ask_about(
        &mut self,
        kind: MessageType,
        subject: Vec<HeldLease>,
        server: Vec<u8>,
        now: Time,
        random: &mut impl FnMut() -> Random,
    ) {
        let sending = Retransmission::new(timing::parameters(kind, MAX_RT, None), now);
        self.begin(kind, sending, Some(server), subject, random);
    }

    fn begin(
        &mut self,
        kind: MessageType,
        sending: Retransmission,
        server: Option<Vec<u8>>,
        subject: Vec<HeldLease>,
        random: &mut impl FnMut() -> Random,
    ) {
        let transaction_id = TransactionId::new(random());
        (self.sol_max_rt.said, self.inf_max_rt.said) = (None, None);
        let exchange = Exchange { kind, transaction_id, sending, server, subject, offer: None };
        self.state = State::Asking(Box::new(exchange));
    }

    /// Takes in the payload of a datagram from a server's port.
    ///
    /// # Errors
    /// Why it has no effect.
    pub fn receive(
        &mut self,
        datagram: &[u8],
        now: Time,
        random: &mut impl FnMut() -> Random,
    ) -> Result<Received, Discarded> {
        let parsed = Message::parse(datagram, &self.settings.codes)?;
        let mut received = Received { ignored: parsed.ignored, refused: Vec::new() };
        let question = match &self.state {
            // What was not asked yet cannot be answered.
            State::Asking(exchange) if exchange.sending.sent() > 0 => Some(Question {
                kind: exchange.kind,
                transaction_id: exchange.transaction_id,
                client_id: &self.duid,
                rapid_commit: self.settings.rapid_commit,
            }),
            _ => None,
        };
        let message = parsed.message;
        let server = answer::check(&message, question)?.to_vec();
        self.hear_max_rt(&message);
        if message.kind == MessageType::Advertise {
            self.advertise(&message, server, now, random)?;
        } else {
            self.reply(message, server, now, random, &mut received);
        }
        Ok(received)
    }

    fn hear_max_rt(&mut self, message: &Message) {
        for option in &message.options {
            match option {
                DhcpOption::SolMaxRt(seconds) => self.sol_max_rt.hear(*seconds),
                DhcpOption::InfMaxRt(seconds) => self.inf_max_rt.hear(*seconds),
                _ => {}
            }
        }
        if let State::Asking(exchange) = &mut self.state {
            match exchange.kind {
                MessageType::Solicit => exchange.sending.set_maximum(self.sol_max_rt.value),
                MessageType::InformationRequest => exchange.sending.set_maximum(self.inf_max_rt.value),
                _ => {}
            }
        }
    }

    /// §18.2.9
    fn advertise(
        &mut self,
        message: &Message,
        server: Vec<u8>,
        now: Time,
        random: &mut impl FnMut() -> Random,
    ) -> Result<(), Discarded> {
        let mut offered = Leases::default();
        for (_, association) in self.associations(message) {
            // What is wrong with an offer will be wrong with the lease.
            let _ = offered.update(association, now, &mut |_| ());
        }
        let leases = request::held(&offered);
        if leases.is_empty() {
            return Err(Discarded::NoLease);
        }
        let kinds = usize::from(leases.iter().any(|lease| lease.address().is_some()))
            + usize::from(offered.has_prefix());
        let preference = message.options.iter().find_map(|option| match option {
            DhcpOption::Preference(preference) => Some(*preference),
            _ => None,
        });
        let offer = Offer { server, rank: (preference.unwrap_or(0), kinds), leases };
        let State::Asking(exchange) = &mut self.state else { return Ok(()) };
        let at_once = offer.rank.0 == PREFERENCE_AT_ONCE || exchange.sending.sent() > 1;
        // Of equal offers the first stays.
        if exchange.offer.as_ref().is_none_or(|best| offer.rank > best.rank) {
            exchange.offer = Some(offer);
        }
        if at_once {
            self.take_offer(now, random);
        }
        Ok(())
    }

    fn take_offer(&mut self, now: Time, random: &mut impl FnMut() -> Random) {
        let State::Asking(exchange) = &mut self.state else { return };
        if let Some(Offer { server, leases, .. }) = exchange.offer.take() {
            self.ask_about(MessageType::Request, leases, server, now, random);
        }
    }

    /// The associations of a message that are this client's and wanted; true for addresses.
    fn associations<'m>(
        &self,
        message: &'m Message,
    ) -> impl Iterator<Item = (bool, &'m IdentityAssociation)> + use<'m> {
        let Settings { iaid, addresses, prefix, .. } = self.settings;
        message.options.iter().filter_map(move |option| match option {
            DhcpOption::IaNa(association) if addresses && association.iaid == iaid => {
                Some((true, association))
            }
            DhcpOption::IaPd(association) if prefix.is_some() && association.iaid == iaid => {
                Some((false, association))
            }
            _ => None,
        })
    }

    /// §18.2.10
    fn reply(
        &mut self,
        message: Message,
        server: Vec<u8>,
        now: Time,
        random: &mut impl FnMut() -> Random,
        received: &mut Received,
    ) {
        let State::Asking(exchange) = &self.state else { return };
        let kind = exchange.kind;
        let status = message.options.iter().find_map(|option| match option {
            DhcpOption::StatusCode(status) => Some(status.code),
            _ => None,
        });
        let status = status.unwrap_or_default();
        match kind {
            MessageType::Release => self.state = State::Idle,
            MessageType::Decline => self.go_on(now, random),
            MessageType::Confirm if status == StatusCode::NotOnLink => {
                self.forget();
                self.discover(now, Duration::ZERO, random);
            }
            MessageType::Confirm => self.state = State::Bound,
            MessageType::InformationRequest if status == StatusCode::Success => {
                let refresh = message.options.iter().find_map(|option| match option {
                    DhcpOption::InformationRefreshTime(seconds) => Some(*seconds),
                    _ => None,
                });
                self.keep(message, server, now);
                self.refresh_at = refresh_at(refresh, now);
                self.state = State::Informed;
            }
            MessageType::Solicit | MessageType::Request if status == StatusCode::NotOnLink => {
                self.refused(now, random);
            }
            // Asked again at its time, which grows.
            _ if status != StatusCode::Success => {}
            _ => self.leased(kind, message, server, now, random, received),
        }
    }

    /// §18.2.10.1: a Reply to a Solicit, Request, Renew or Rebind.
    fn leased(
        &mut self,
        kind: MessageType,
        message: Message,
        server: Vec<u8>,
        now: Time,
        random: &mut impl FnMut() -> Random,
        received: &mut Received,
    ) {
        let statuses: Vec<StatusCode> = self
            .associations(&message)
            .map(|(_, association)| association.status.as_ref().map_or(StatusCode::Success, |s| s.code))
            .collect();
        let extends = matches!(kind, MessageType::Renew | MessageType::Rebind);
        if extends && statuses.contains(&StatusCode::NoBinding) {
            let held = request::held(&self.leases);
            return self.ask_about(MessageType::Request, held, server, now, random);
        }
        if !extends && statuses.contains(&StatusCode::NotOnLink) {
            return self.refused(now, random);
        }
        if extends && statuses.is_empty() {
            // Nothing about what was asked: asked again at its time.
            return;
        }
        self.leases.forget_times();
        for (_, association) in self.associations(&message) {
            let mut refused = |error| received.refused.push(error);
            if let Err(error) = self.leases.update(association, now, &mut refused) {
                received.refused.push(error);
            }
        }
        if self.leases.is_empty() {
            return self.refused(now, random);
        }
        self.refusals = 0;
        self.keep(message, server, now);
        self.state = State::Bound;
    }

    /// Keeps what a Reply carries beside leases. What it does not carry is not to be used any more (§18.2.10).
    fn keep(&mut self, message: Message, server: Vec<u8>, now: Time) {
        let of_use = |option: &DhcpOption| {
            !matches!(
                option,
                DhcpOption::ClientId(_)
                    | DhcpOption::ServerId(_)
                    | DhcpOption::IaNa(_)
                    | DhcpOption::IaPd(_)
                    | DhcpOption::OptionRequest(_)
                    | DhcpOption::Preference(_)
                    | DhcpOption::ElapsedTime(_)
                    | DhcpOption::Authentication(_)
                    | DhcpOption::StatusCode(_)
                    | DhcpOption::RapidCommit
                    | DhcpOption::ReconfigureMessage(_)
                    | DhcpOption::ReconfigureAccept
                    | DhcpOption::InformationRefreshTime(_)
                    | DhcpOption::SolMaxRt(_)
                    | DhcpOption::InfMaxRt(_)
                    | DhcpOption::Unknown { .. }
            )
        };
        self.server = server;
        self.options = message.options.into_iter().filter(of_use).collect();
        self.received = Some(now);
    }
}

/// §21.23
fn refresh_at(seconds: Option<u32>, now: Time) -> Deadline {
    match seconds {
        None => Deadline::at(now.after(IRT_DEFAULT)),
        Some(INFINITE_LIFETIME) => Deadline::NEVER,
        Some(seconds) => Deadline::at(now.after(Duration::from_secs(seconds.into()).max(IRT_MINIMUM))),
    }
}
