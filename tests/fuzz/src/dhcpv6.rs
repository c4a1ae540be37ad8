//! A DHCPv6 client and what happens to it, from octets.

use std::{collections::VecDeque, time::Duration};

use mif_core::{
    dhcpv6::{Client, HeldLease, Mode, Settings, lease::LEASES, timing},
    retransmission::Random,
    time::Time,
    wire::dhcpv6::{
        Authentication, DhcpOption, DraftCodes, IdentityAssociation, Lease, Message, MessageType, Rkap,
        TransactionId,
    },
};

/// Numbers for the options of the drafts.
pub const CODES: DraftCodes = DraftCodes {
    next_hop: Some(242),
    route_prefix: Some(243),
    pvd: Some(65_001),
    pvd_identity: Some(65_002),
    pvd_signature: Some(65_003),
};

const DUID: [u8; 10] = [0, 3, 0, 1, 2, 0, 0xde, 0xad, 0xbe, 0xef];
const SERVER: [u8; 10] = [0, 3, 0, 1, 2, 0, 0, 0, 0, 1];
const IAID: u32 = 7;

/// Deadlines in a row at which a client may have nothing to send: one that was postponed by the limit on messages, and those of
/// leases that end.
const SILENT_DEADLINES: usize = LEASES + 2;

/// Questions until a good server has given a lease: those that were under way, and their consequences.
const QUESTIONS: usize = 200;

/// Datagrams of a client that tell what it does.
struct Bench {
    client: Client,
    now: Time,
    draw: Random,
    /// When the last messages were sent.
    sent: VecDeque<Time>,
}

/// Goes through a script: steps of an octet that says what, and octets that say more.
///
/// # Panics
/// When the client does what it must not: that is the fuzzer's find.
pub fn client(script: &[u8]) {
    let mut script = Script(script);
    let mut bench = Bench {
        client: Client::new(DUID.into()),
        now: Time(1_000_000_000_000),
        draw: u32::from_be_bytes([script.octet(), script.octet(), 0, 0]),
        sent: VecDeque::new(),
    };
    bench.configure(Mode::Stateful);
    while !script.0.is_empty() {
        bench.step(&mut script);
        bench.check();
    }
    bench.recover();
}

/// What is left of the octets; zeros behind them.
struct Script<'s>(&'s [u8]);

impl<'s> Script<'s> {
    fn octet(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or(0)
    }

    fn take(&mut self, octets: usize) -> &'s [u8] {
        let (taken, left) = self.0.split_at(octets.min(self.0.len()));
        self.0 = left;
        taken
    }
}

impl Bench {
    fn step(&mut self, script: &mut Script<'_>) {
        let Self { now, draw, .. } = *self;
        let random = &mut || draw;
        match script.octet() % 14 {
            0 => self.wait(Duration::from_secs(script.octet().into())),
            1 => self.wait(Duration::from_secs(60 * u64::from(script.octet()))),
            2 => self.next(),
            3 => self.client.link_down(),
            4 => self.client.link_up(now, random),
            5 => self.client.prefixes_changed(now, random),
            6 => self.client.release(now, random),
            7 => {
                let first = self.client.leases().iter().find_map(HeldLease::address);
                first.into_iter().for_each(|address| self.client.decline(address, now, random));
            }
            8 => {
                let modes = [Mode::Off, Mode::Information, Mode::Stateful, Mode::Stateful];
                self.configure(modes[usize::from(script.octet() % 4)]);
            }
            9 => {
                // Octets as they are.
                let length = usize::from(script.octet());
                let _ = self.client.receive(script.take(length), now, random);
            }
            10 => {
                // A frame that is right, so that the fuzzer need not guess it, and any options.
                let kind = [2, 7, 7, 10][usize::from(script.octet() % 4)];
                let length = usize::from(script.octet());
                let mut datagram = self.frame(MessageType::from(kind)).emit(&CODES).expect("two identifiers");
                datagram.extend_from_slice(script.take(length));
                let _ = self.client.receive(&datagram, now, random);
            }
            11 => self.answer(MessageType::Advertise, script),
            12 => self.answer(MessageType::Reply, script),
            _ => {
                let draw = script.octet();
                self.draw = u32::from(draw) << 24;
            }
        }
        while self.poll().is_some() {}
    }

    fn configure(&mut self, mode: Mode) {
        let settings = Settings {
            mode,
            iaid: IAID,
            addresses: true,
            prefix: Some(56),
            rapid_commit: true,
            rdnss_selection: true,
            codes: CODES,
        };
        self.client.configure(settings, self.now, &mut || self.draw);
    }

    fn wait(&mut self, duration: Duration) {
        self.now = self.now.after(duration);
    }

    /// To the next deadline.
    fn next(&mut self) {
        if let Some(deadline) = self.client.next_deadline() {
            self.now = self.now.max(deadline);
        }
    }

    fn poll(&mut self) -> Option<Message> {
        let datagram = self.client.poll(self.now, &mut || self.draw)?;
        while self.sent.front().is_some_and(|sent| sent.after(timing::RATE_SPAN) <= self.now) {
            self.sent.pop_front();
        }
        self.sent.push_back(self.now);
        assert!(self.sent.len() <= timing::RATE, "more messages than there may be (RFC 8415 §14.1)");
        let parsed = Message::parse(&datagram, &CODES).expect("what is sent is a message");
        assert_eq!(parsed.ignored, []);
        Some(parsed.message)
    }

    /// An answer to what is under way, so far.
    fn frame(&self, kind: MessageType) -> Message {
        let transaction_id = self.client.transaction_id().unwrap_or_else(|| TransactionId::new(0));
        let options = vec![DhcpOption::ClientId(DUID.into()), DhcpOption::ServerId(SERVER.into())];
        Message { kind, transaction_id, options }
    }

    /// An answer with leases, of few addresses and lifetimes, so that they come back.
    fn answer(&mut self, kind: MessageType, script: &mut Script<'_>) {
        let flags = script.octet();
        let mut message = self.frame(kind);
        if flags & 1 != 0 {
            message.options.push(DhcpOption::RapidCommit);
        }
        if flags & 2 != 0 {
            message.options.push(DhcpOption::Preference(u8::MAX));
        }
        if flags & 4 != 0 {
            let key = Authentication::of_rkap(flags.into(), Rkap::Key([flags; 16]));
            message.options.push(DhcpOption::Authentication(key));
        }
        let mut lease = |prefix: &str| Lease {
            prefix: prefix.parse().expect("a literal"),
            preferred_lifetime: script.octet().into(),
            valid_lifetime: 4 * u32::from(script.octet()),
            status: None,
        };
        let association = |leases| IdentityAssociation { iaid: IAID, leases, ..Default::default() };
        let number = flags >> 4;
        let address = lease(&format!("2001:db8::{number:x}/128"));
        let prefix = lease(&format!("2001:db8:{number:x}00::/56"));
        message.options.push(DhcpOption::IaNa(association(vec![address])));
        message.options.push(DhcpOption::IaPd(association(vec![prefix])));
        let datagram = message.emit(&CODES).expect("it fits");
        let _ = self.client.receive(&datagram, self.now, &mut || self.draw);
    }

    /// What must hold between two steps.
    fn check(&self) {
        let configuration = self.client.configuration();
        assert!(configuration.leases.len() <= LEASES, "{} leases", configuration.leases.len());
        for lease in &configuration.leases {
            assert!(lease.preferred_until <= lease.valid_until, "{lease:?}");
        }
        if self.client.asking().is_some() {
            assert!(self.client.next_deadline().is_some(), "something is under way, and never due");
        }
    }

    /// A link, a will and a good server: that is all it takes.
    fn recover(&mut self) {
        self.client.link_up(self.now, &mut || self.draw);
        self.configure(Mode::Stateful);
        for _ in 0..QUESTIONS {
            if self.client.asking().is_none() && !self.client.leases().is_empty() {
                return;
            }
            let message = self.question();
            let kind = match message.kind {
                MessageType::Solicit => MessageType::Advertise,
                _ => MessageType::Reply,
            };
            let mut answer = self.frame(kind);
            let lease = Lease {
                prefix: "2001:db8::5/128".parse().expect("a literal"),
                preferred_lifetime: 3600,
                valid_lifetime: 7200,
                status: None,
            };
            let association = IdentityAssociation { iaid: IAID, leases: vec![lease], ..Default::default() };
            answer.options.push(DhcpOption::IaNa(association));
            let datagram = answer.emit(&CODES).expect("it fits");
            let _ = self.client.receive(&datagram, self.now, &mut || self.draw);
        }
        panic!("{QUESTIONS} questions to a good server and no lease: {:?}", self.client);
    }

    /// The next message, whenever that is.
    fn question(&mut self) -> Message {
        for _ in 0..SILENT_DEADLINES {
            self.next();
            if let Some(message) = self.poll() {
                return message;
            }
        }
        panic!("{SILENT_DEADLINES} deadlines and nothing sent: {:?}", self.client);
    }
}
