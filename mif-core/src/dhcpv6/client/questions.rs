//! Questions: when each is sent, what is asked next, and when it is given up (RFC 8415 §15, §18.2).

use core::time::Duration;

use super::{Client, Exchange, State};
use crate::{
    dhcpv6::{
        Mode,
        lease::HeldLease,
        request::{self, Request},
        timing::{self, MAX_RT},
    },
    retransmission::{Due, Parameters, Random, Retransmission},
    time::{Deadline, Time},
    wire::dhcpv6::{MessageType, TransactionId},
};

/// After a server that offers and then refuses: twice as long each time, from this on. §18.2.10 asks for a limit and names none.
const REFUSED_PAUSE: Duration = Duration::from_secs(1);

/// How often one server is asked for information because it wanted so: as often as for leases (REQ_MAX_RC). The RFC sets no end,
/// and the server may be gone.
const RECONFIGURED_MAX_RC: u32 = 10;

impl Client {
    /// What the exchange has to send now.
    pub(super) fn send(&mut self, now: Time, random: &mut impl FnMut() -> Random) -> Option<Vec<u8>> {
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
    pub(super) fn message(&self, now: Time) -> Option<Vec<u8>> {
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
    pub(super) fn given_up(&mut self, now: Time, random: &mut impl FnMut() -> Random) {
        let State::Asking(exchange) = &self.state else { return };
        match exchange.kind {
            MessageType::Renew => self.ask(MessageType::Rebind, now, now, random),
            // §18.2.3: the leases are kept. A Rebind is given up like this only in its place; otherwise its leases end first.
            MessageType::Confirm | MessageType::Rebind => self.state = State::Bound,
            MessageType::Decline => self.go_on(now, random),
            MessageType::Release => self.state = State::Idle,
            // The server that wanted to be asked is silent; the leases are there.
            MessageType::InformationRequest if !self.leases.is_empty() => self.state = State::Bound,
            _ => self.discover(now, Duration::ZERO, random),
        }
    }

    /// After a Decline: with what is left.
    pub(super) fn go_on(&mut self, now: Time, random: &mut impl FnMut() -> Random) {
        if self.leases.is_empty() {
            self.refused(now, random);
        } else {
            self.state = State::Bound;
        }
    }

    /// Looks for a server again, later each time.
    pub(super) fn refused(&mut self, now: Time, random: &mut impl FnMut() -> Random) {
        let pause = REFUSED_PAUSE.saturating_mul(1 << self.refusals.min(20)).min(self.sol_max_rt.value);
        self.refusals = self.refusals.saturating_add(1);
        self.forget();
        self.discover(now, pause, random);
    }

    pub(super) fn forget(&mut self) {
        self.leases.clear();
        self.server.clear();
        self.options.clear();
        self.received = None;
        self.refresh_at = Deadline::NEVER;
        self.reconfigure_key = None;
        self.state = State::Idle;
    }

    /// Begins from the beginning.
    pub(super) fn discover(&mut self, now: Time, delay: Duration, random: &mut impl FnMut() -> Random) {
        match self.settings.mode {
            Mode::Off => self.state = State::Idle,
            Mode::Information => self.ask(MessageType::InformationRequest, now.after(delay), now, random),
            Mode::Stateful => self.ask(MessageType::Solicit, now.after(delay), now, random),
        }
    }

    /// Begins a question about all that is held or wanted.
    pub(super) fn ask(
        &mut self,
        kind: MessageType,
        at: Time,
        now: Time,
        random: &mut impl FnMut() -> Random,
    ) {
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

    /// Does what a server asks for (§18.2.11).
    pub(super) fn reconfigure(&mut self, asked: MessageType, now: Time, random: &mut impl FnMut() -> Random) {
        if asked != MessageType::InformationRequest {
            return self.ask(asked, now, now, random);
        }
        // §18.2.6: it names the server, and so must end if that one has gone meanwhile: then any server is asked.
        let count = Some(RECONFIGURED_MAX_RC);
        let timing = timing::parameters(asked, self.inf_max_rt.value, None);
        let at = now.after(timing::delay(random()));
        let sending = Retransmission::new(Parameters { count, ..timing }, at);
        self.begin(asked, sending, Some(self.server.clone()), Vec::new(), random);
    }

    /// Begins a question about some leases, to their server, at once.
    pub(super) fn ask_about(
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

    pub(super) fn begin(
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
}
