//! Answers: what an Advertise and a Reply do (RFC 8415 §18.2.9, §18.2.10).

use core::time::Duration;

use super::{Client, Offer, Received, Settings, State};
use crate::{
    dhcpv6::{
        answer::{self, Discarded, Question},
        lease::Leases,
        reconfigure::{self, Key},
        request,
        timing::{IRT_DEFAULT, IRT_MINIMUM},
    },
    retransmission::Random,
    time::{Deadline, INFINITE_LIFETIME, Time},
    wire::dhcpv6::{DhcpOption, IdentityAssociation, Message, MessageType, StatusCode},
};

/// The preference with which a server is chosen at once (§18.2.1).
const PREFERENCE_AT_ONCE: u8 = 255;

impl Client {
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
        if message.kind == MessageType::Reconfigure {
            let key = self.reconfigure_key.as_mut();
            let asked = reconfigure::check(&message, datagram, &self.duid, key)?;
            self.take_reconfigure(asked, now, random)?;
            return Ok(received);
        }
        let server = answer::check(&message, question)?.to_vec();
        self.hear_max_rt(&message);
        if message.kind == MessageType::Advertise {
            self.advertise(&message, server, now, random)?;
        } else {
            self.reply(message, server, now, random, &mut received);
        }
        Ok(received)
    }

    /// §18.2.11: further ones do not count while one is under way.
    fn take_reconfigure(
        &mut self,
        asked: MessageType,
        now: Time,
        random: &mut impl FnMut() -> Random,
    ) -> Result<(), Discarded> {
        match (&self.state, asked) {
            (State::Bound, _) | (State::Informed, MessageType::InformationRequest) => {
                self.reconfigure(asked, now, random);
                Ok(())
            }
            _ => Err(Discarded::ReconfigureUntimely),
        }
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

    pub(super) fn take_offer(&mut self, now: Time, random: &mut impl FnMut() -> Random) {
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
                if self.leases.is_empty() {
                    self.refresh_at = refresh_at(refresh, now);
                    self.state = State::Informed;
                } else {
                    // The server wanted it so (§18.2.11). It is refreshed with the leases.
                    self.state = State::Bound;
                }
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
        // §20.4.3: each new key replaces the one before.
        if let Some(key) = Key::of(&message, &server) {
            self.reconfigure_key = Some(key);
        }
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
