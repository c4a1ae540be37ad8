//! In virtual time: the clock goes from deadline to deadline, and servers say what the rows say.

use core::time::Duration;
use std::net::Ipv6Addr;

use super::{
    client::{Client, Mode, Settings},
    timing,
};
use crate::{
    retransmission::Random,
    time::{Deadline, Time},
    wire::dhcpv6::{
        DhcpOption, DraftCodes, IdentityAssociation, Lease, Message, MessageType, Status, StatusCode, code,
    },
};

mod exchanges;
mod information;
mod leases;
mod reconfigure;

const DUID: [u8; 10] = [0, 3, 0, 1, 2, 0, 0xde, 0xad, 0xbe, 0xef];
const SERVER: [u8; 10] = [0, 3, 0, 1, 2, 0, 0, 0, 0, 1];
const OTHER: [u8; 10] = [0, 3, 0, 1, 2, 0, 0, 0, 0, 2];
const IAID: u32 = 7;
const START: Time = Time(1_000_000_000_000);

/// A client, its clock and its dice.
struct Bench {
    client: Client,
    now: Time,
    /// Every random number.
    draw: Random,
}

fn stateful() -> Settings {
    Settings { mode: Mode::Stateful, iaid: IAID, addresses: true, ..Settings::default() }
}

fn information() -> Settings {
    Settings { mode: Mode::Information, iaid: IAID, ..Settings::default() }
}

impl Bench {
    fn new(settings: Settings) -> Self {
        let mut bench = Self { client: Client::new(DUID.into()), now: START, draw: 1 << 31 };
        bench.client.configure(settings, bench.now, &mut || bench.draw);
        bench
    }

    /// A client that has an address of SERVER until 200 s from now, T1 50 s, T2 80 s.
    fn bound() -> Self {
        let mut bench = Self::new(stateful());
        bench.send(MessageType::Solicit);
        bench.hear(bench.answer(MessageType::Advertise).with(DhcpOption::Preference(255)).with(ia(lease(1))));
        bench.send(MessageType::Request);
        bench.hear(bench.answer(MessageType::Reply).with(ia(lease(1))).with(dns()));
        assert_eq!(bench.addresses(), [address(1)]);
        bench
    }

    fn poll(&mut self) -> Option<Message> {
        let octets = self.client.poll(self.now, &mut || self.draw)?;
        let parsed = Message::parse(&octets, &DraftCodes::default()).expect("well formed");
        assert_eq!(parsed.ignored, []);
        Some(parsed.message)
    }

    /// Goes to the next deadline at which something is sent, and takes it.
    fn step(&mut self) -> Message {
        for _ in 0..10 {
            self.now = self.now.max(self.client.next_deadline().expect("something is due"));
            if let Some(message) = self.poll() {
                return message;
            }
        }
        panic!("ten deadlines and nothing sent");
    }

    #[track_caller]
    fn send(&mut self, kind: MessageType) -> Message {
        let message = self.step();
        assert_eq!(message.kind, kind, "{message:?}");
        message
    }

    fn wait(&mut self, seconds: u64) {
        self.now = self.now.after(Duration::from_secs(seconds));
    }

    /// An answer to what is under way, from SERVER.
    fn answer(&self, kind: MessageType) -> Answer {
        let transaction_id = self.client.transaction_id().unwrap_or_default();
        let options = vec![DhcpOption::ClientId(DUID.into()), DhcpOption::ServerId(SERVER.into())];
        Answer(Message { kind, transaction_id, options })
    }

    fn try_hear(&mut self, answer: &Answer) -> Result<Vec<&'static str>, &'static str> {
        let octets = answer.0.emit(&DraftCodes::default()).expect("it fits");
        let received = self.client.receive(&octets, self.now, &mut || self.draw);
        received
            .map(|received| received.refused.iter().map(super::lease::LeaseError::name).collect())
            .map_err(|discarded| discarded.name())
    }

    #[track_caller]
    fn hear(&mut self, answer: Answer) {
        assert_eq!(self.try_hear(&answer), Ok(vec![]), "{answer:?}");
    }

    fn addresses(&self) -> Vec<Ipv6Addr> {
        let leases = self.client.configuration().leases;
        leases.iter().filter_map(super::HeldLease::address).collect()
    }

    fn seconds_left(&self) -> f64 {
        self.now.until(self.client.next_deadline().expect("something is due")).as_secs_f64()
    }
}

/// An answer in the making.
#[derive(Clone, Debug)]
struct Answer(Message);

impl Answer {
    fn with(mut self, option: DhcpOption) -> Self {
        self.0.options.push(option);
        self
    }

    /// Without options of this code.
    fn without(mut self, code: u16) -> Self {
        self.0.options.retain(|option| option.code(&DraftCodes::default()) != Some(code));
        self
    }

    fn from(self, server: [u8; 10]) -> Self {
        self.without(code::SERVER_ID).with(DhcpOption::ServerId(server.into()))
    }

    fn status(self, code: StatusCode) -> Self {
        self.with(DhcpOption::StatusCode(status(code)))
    }
}

fn status(code: StatusCode) -> Status {
    Status { code, message: String::new() }
}

fn address(number: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, number)
}

fn lease(number: u16) -> Lease {
    Lease { prefix: address(number).into(), preferred_lifetime: 100, valid_lifetime: 200, status: None }
}

fn ia(lease: Lease) -> DhcpOption {
    DhcpOption::IaNa(IdentityAssociation { iaid: IAID, t1: 50, t2: 80, leases: vec![lease], status: None })
}

fn ia_status(code: StatusCode) -> DhcpOption {
    let status = Some(status(code));
    DhcpOption::IaNa(IdentityAssociation { iaid: IAID, status, ..IdentityAssociation::default() })
}

fn delegated(prefix: &str) -> DhcpOption {
    let prefix = prefix.parse().expect("a literal");
    let lease = Lease { prefix, preferred_lifetime: 100, valid_lifetime: 200, status: None };
    DhcpOption::IaPd(IdentityAssociation { iaid: IAID, t1: 50, t2: 80, leases: vec![lease], status: None })
}

fn dns() -> DhcpOption {
    DhcpOption::DnsServers(vec!["2001:db8::53".parse().expect("a literal")])
}

/// The options of a message, by their codes.
fn codes(message: &Message) -> Vec<u16> {
    message.options.iter().filter_map(|option| option.code(&DraftCodes::default())).collect()
}

fn asked(message: &Message) -> Vec<u16> {
    let asked = message.options.iter().find_map(|option| match option {
        DhcpOption::OptionRequest(codes) => Some(codes.clone()),
        _ => None,
    });
    asked.unwrap_or_default()
}

fn elapsed(message: &Message) -> Option<u16> {
    message.options.iter().find_map(|option| match option {
        DhcpOption::ElapsedTime(hundredths) => Some(*hundredths),
        _ => None,
    })
}

/// The prefixes that a message is about.
fn subject(message: &Message) -> Vec<String> {
    let of = |option: &DhcpOption| match option {
        DhcpOption::IaNa(association) | DhcpOption::IaPd(association) => {
            association.leases.iter().map(|lease| lease.prefix.to_string()).collect()
        }
        _ => Vec::new(),
    };
    message.options.iter().flat_map(of).collect()
}

/// D6-8415-14.1-a: at most so many messages in so long, whatever a server does.
#[test]
fn a_server_in_a_loop_does_not_make_a_flood() {
    let mut bench = Bench::bound();
    let mut sent = Vec::new();
    while sent.len() < 100 {
        let message = bench.step();
        sent.push(bench.now);
        // Each Renew and Rebind is told that the server knows of nothing, each Request gets a lease of two seconds.
        let answer = bench.answer(MessageType::Reply);
        let answer = match message.kind {
            MessageType::Request => {
                let lease = Lease { preferred_lifetime: 2, valid_lifetime: 2, ..lease(1) };
                answer.with(DhcpOption::IaNa(IdentityAssociation {
                    iaid: IAID,
                    t1: 1,
                    t2: 1,
                    leases: vec![lease],
                    status: None,
                }))
            }
            MessageType::Solicit => {
                bench.answer(MessageType::Advertise).with(DhcpOption::Preference(255)).with(ia(lease(1)))
            }
            _ => answer.with(ia_status(StatusCode::NoBinding)),
        };
        bench.hear(answer);
    }
    for window in sent.windows(timing::RATE + 1) {
        assert!(window[0].until(window[timing::RATE]) >= timing::RATE_SPAN, "{window:?}");
    }
}

/// §16, by what is wrong with the answer. D6-8415-16.10-a to -b, D6-8415-16.3-a, D6-8415-16-a, D6-8415-16-b.
#[test]
fn answers_that_do_not_count() {
    type Row<'a> = (&'a str, &'a dyn Fn(&Bench) -> Answer, Result<(), &'a str>);
    let good = |bench: &Bench| bench.answer(MessageType::Advertise).with(ia(lease(1)));
    let rows: [Row<'_>; 12] = [
        ("good", &good, Ok(())),
        ("an unknown option", &|b| good(b).with(DhcpOption::Unknown { code: 999, data: vec![1] }), Ok(())),
        (
            "another transaction id",
            &|b| {
                let mut answer = good(b);
                answer.0.transaction_id = crate::wire::dhcpv6::TransactionId::new(99);
                answer
            },
            Err("transaction-id"),
        ),
        ("no server id", &|b| good(b).without(code::SERVER_ID), Err("no-server-id")),
        ("no client id", &|b| good(b).without(code::CLIENT_ID), Err("client-id")),
        (
            "another client",
            &|b| good(b).without(code::CLIENT_ID).with(DhcpOption::ClientId(OTHER.into())),
            Err("client-id"),
        ),
        ("no lease", &|b| good(b).without(code::IA_NA), Err("no-lease")),
        (
            "another's association",
            &|b| {
                let other = IdentityAssociation { iaid: 8, leases: vec![lease(1)], ..Default::default() };
                good(b).without(code::IA_NA).with(DhcpOption::IaNa(other))
            },
            Err("no-lease"),
        ),
        ("a Reply", &|b| b.answer(MessageType::Reply).with(ia(lease(1))), Err("no-rapid-commit")),
        ("a Solicit", &|b| b.answer(MessageType::Solicit), Err("message-type")),
        ("an unknown type", &|b| b.answer(MessageType::Other(77)), Err("message-type")),
        ("a Reconfigure", &|b| b.answer(MessageType::Reconfigure), Err("reconfigure-message")),
    ];
    for (row, answer, expected) in rows {
        let mut bench = Bench::new(stateful());
        assert_eq!(bench.try_hear(&good(&bench)), Err("not-asked"), "{row}: before anything was sent");
        bench.send(MessageType::Solicit);
        let answer = answer(&bench);
        assert_eq!(bench.try_hear(&answer).map(drop), expected, "{row}");
    }
}

proptest::proptest! {
    /// Whatever servers send, whenever: there is a next deadline as long as something is wanted, time goes on, and a good
    /// server is heard in the end.
    #[test]
    fn any_answers(
        script in proptest::collection::vec((0..14_u8, 0..400_u64, 0..6_u16), 0..60),
        draw in proptest::prelude::any::<Random>(),
    ) {
        let mut bench = Bench::new(Settings { prefix: Some(56), ..stateful() });
        bench.draw = draw;
        for (kind, seconds, number) in script {
            bench.wait(seconds);
            for _ in 0..4 {
                if bench.poll().is_none() {
                    break;
                }
            }
            let answer = match kind {
                0 => bench.answer(MessageType::Advertise).with(ia(lease(number))),
                1 => bench.answer(MessageType::Advertise).with(delegated("2001:db8:8000::/56")),
                2 => bench.answer(MessageType::Advertise).status(StatusCode::NoAddrsAvail),
                3 => bench.answer(MessageType::Reply).with(ia(lease(number))).with(dns()),
                4 => bench.answer(MessageType::Reply).with(ia_status(StatusCode::NoBinding)),
                5 => bench.answer(MessageType::Reply).with(ia_status(StatusCode::NotOnLink)),
                6 => bench.answer(MessageType::Reply).status(StatusCode::UnspecFail),
                7 => bench.answer(MessageType::Reply).status(StatusCode::NotOnLink),
                8 => bench.answer(MessageType::Reply).with(ia(Lease { valid_lifetime: 0, preferred_lifetime: 0, ..lease(number) })),
                9 => bench.answer(MessageType::Reply).with(delegated("2001:db8:8000::/56")),
                10 => {
                    bench.client.link_down();
                    bench.client.link_up(bench.now, &mut || draw);
                    continue;
                }
                11 => {
                    bench.client.decline(address(number), bench.now, &mut || draw);
                    continue;
                }
                12 => {
                    bench.client.prefixes_changed(bench.now, &mut || draw);
                    continue;
                }
                _ => bench.answer(MessageType::Advertise).from(OTHER).with(DhcpOption::Preference(255)).with(ia(lease(number))),
            };
            let _ = bench.try_hear(&answer);
            let leases = bench.client.configuration().leases;
            proptest::prop_assert!(leases.iter().all(|lease| lease.preferred_until <= lease.valid_until));
        }
        // Back to a sane state: a server that does everything right gives a lease.
        for _ in 0..200 {
            let message = bench.step();
            let answer = match message.kind {
                MessageType::Solicit => bench.answer(MessageType::Advertise).with(DhcpOption::Preference(255)),
                _ => bench.answer(MessageType::Reply),
            };
            let _ = bench.try_hear(&answer.with(ia(lease(1))).with(delegated("2001:db8:8000::/56")));
            if bench.client.asking().is_none() {
                break;
            }
        }
        proptest::prop_assert!(bench.client.asking().is_none(), "bound in the end");
        // Perhaps one that was there before and is confirmed.
        proptest::prop_assert!(!bench.client.configuration().leases.is_empty());
    }
}
