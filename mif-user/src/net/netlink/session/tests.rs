use std::net::IpAddr;

use netlink_packet_core::{Emitable, NLM_F_MULTIPART, NLM_F_REPLACE};
use netlink_packet_route::{
    address::AddressAttribute,
    link::{LinkAttribute, LinkFlags},
    route::{RouteAddress, RouteAttribute, RouteCacheInfo, RouteProtocol as Protocol, RouteType},
    rule::{RuleAction, RuleAttribute},
};
use proptest::prelude::*;

use super::*;

const PORT: u32 = 77;
const SOMEBODY: u32 = 1234;
const START: Time = Time(1_000_000_000_000);

fn seconds(n: u64) -> Time {
    START.after(Duration::from_secs(n))
}

/// One netlink message as the kernel sends it.
fn message(kind: u16, flags: u16, sequence: u32, port: u32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEADER + body.len()).expect("small");
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend(port.to_ne_bytes());
    bytes.extend(body);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn emit(body: &impl Emitable) -> Vec<u8> {
    let mut bytes = vec![0; body.buffer_len()];
    body.emit(&mut bytes);
    bytes
}

fn at(last: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last)
}

fn address(last: u16) -> Vec<u8> {
    let mut body = AddressMessage::default();
    body.header.family = AddressFamily::Inet6;
    body.header.index = 2;
    body.header.prefix_len = 64;
    body.attributes = vec![AddressAttribute::Address(IpAddr::V6(at(last)))];
    emit(&body)
}

fn ipv4_address() -> Vec<u8> {
    let mut body = AddressMessage::default();
    body.header.family = AddressFamily::Inet;
    body.header.index = 2;
    body.header.prefix_len = 24;
    body.attributes = vec![AddressAttribute::Local(IpAddr::from([192, 0, 2, 1]))];
    emit(&body)
}

/// 2001:db8:`last`::/64, of the kernel's own, with so many hundredths of a second to live (0: for ever).
fn route(last: u16, ticks: u32) -> Vec<u8> {
    let mut body = RouteMessage::default();
    body.header.address_family = AddressFamily::Inet6;
    body.header.destination_prefix_length = 64;
    body.header.table = RouteHeader::RT_TABLE_MAIN;
    body.header.kind = RouteType::Unicast;
    body.header.protocol = Protocol::Ra;
    body.attributes =
        vec![RouteAttribute::Destination(RouteAddress::Inet6(at(last))), RouteAttribute::Oif(2)];
    let mut info = RouteCacheInfo::parse(&[0; 32]).expect("its size");
    info.expires = ticks;
    body.attributes.push(RouteAttribute::CacheInfo(info));
    emit(&body)
}

fn rule(priority: u32, table: u32) -> Vec<u8> {
    let mut body = RuleMessage::default();
    body.header.family = AddressFamily::Inet6;
    body.header.action = RuleAction::ToTable;
    body.attributes = vec![RuleAttribute::Priority(priority), RuleAttribute::Table(table)];
    emit(&body)
}

/// A session, with the kernel's side of the conversation.
struct Talk {
    session: Session,
    now: Time,
    out: Vec<Message>,
}

impl Talk {
    fn new() -> Self {
        let mut talk = Self { session: Session::new(PORT), now: START, out: Vec::new() };
        talk.session.begin(talk.now, &mut talk.out);
        talk
    }

    /// One whose first dump, of nothing, took no time.
    fn live() -> Self {
        let mut talk = Self::new();
        talk.complete();
        talk.out.clear();
        talk
    }

    /// The message types that are asked for; the session waits for the answer then.
    fn asked(&mut self) -> Option<u16> {
        let request = self.session.take_request()?;
        Some(NetlinkBuffer::new_checked(&request[..]).expect("well formed").message_type())
    }

    /// The kernel answers the last request with this.
    fn answer(&mut self, kind: u16, flags: u16, body: &[u8]) {
        let bytes = message(kind, flags | NLM_F_MULTIPART, self.session.sequence, PORT, body);
        self.session.datagram(&bytes, self.now, &mut self.out).expect("no refusal");
    }

    /// The kernel announces somebody's change.
    fn announce(&mut self, kind: u16, flags: u16, body: &[u8]) {
        let bytes = message(kind, flags, 9, SOMEBODY, body);
        self.session.datagram(&bytes, self.now, &mut self.out).expect("no refusal");
    }

    fn done(&mut self) {
        self.answer(NLMSG_DONE, 0, &0i32.to_ne_bytes());
    }

    /// Ends whatever is being dumped, until nothing more is asked for.
    fn complete(&mut self) {
        while self.asked().is_some() {
            self.done();
        }
    }

    /// What was told since the last call, in short.
    fn told(&mut self) -> Vec<String> {
        self.out
            .drain(..)
            .map(|message| match message {
                Message::Event(Event::ResyncBegin) => "begin".into(),
                Message::Event(Event::ResyncEnd) => "end".into(),
                Message::Event(Event::Address(told)) => format!("+{}", told.address),
                Message::Event(Event::AddressGone(told)) => format!("-{}", told.address),
                Message::Event(Event::Route(route)) => format!("+{}", route.prefix),
                Message::Event(Event::RouteReplaced(route)) => format!("replaced {}", route.prefix),
                Message::ForeignRules(rules) => format!("{} rules", rules.len()),
                other => format!("{other:?}"),
            })
            .collect()
    }
}

#[test]
fn a_dump_asks_for_one_subject_after_the_other() {
    let mut talk = Talk::new();
    // Links have no family; all else is asked for once for each.
    let families =
        [libc::RTM_GETADDR, libc::RTM_GETROUTE, libc::RTM_GETROUTE, libc::RTM_GETNEIGH, libc::RTM_GETRULE]
            .into_iter()
            .flat_map(|kind| [kind, kind]);
    for kind in [libc::RTM_GETLINK].into_iter().chain(families) {
        assert_eq!(talk.asked(), Some(kind));
        assert_eq!(talk.asked(), None, "one at a time");
        talk.done();
    }
    assert_eq!(talk.asked(), None);
    assert_eq!(talk.told(), ["begin", "0 rules", "end"]);
}

#[test]
fn announcements_wait_for_the_end_of_the_dump() {
    let mut talk = Talk::new();
    talk.asked();
    talk.done();
    talk.asked();
    talk.answer(libc::RTM_NEWADDR, 0, &address(1));
    // It went while the dump was made; the dump still has it behind the announcement.
    talk.announce(libc::RTM_DELADDR, 0, &address(2));
    talk.answer(libc::RTM_NEWADDR, 0, &address(2));
    talk.announce(libc::RTM_NEWADDR, 0, &address(3));
    talk.done();
    talk.complete();
    assert_eq!(
        talk.told(),
        ["begin", "+2001:db8::1", "+2001:db8::2", "-2001:db8::2", "+2001:db8::3", "0 rules", "end"]
    );
    talk.announce(libc::RTM_NEWADDR, 0, &address(4));
    assert_eq!(talk.told(), ["+2001:db8::4"]);
}

#[test]
fn what_makes_a_dump_worthless_makes_a_new_one() {
    type Spoil = fn(&mut Talk);
    let cases: [(&str, Spoil); 3] = [
        ("overrun", |talk| talk.session.overrun(talk.now, &mut talk.out)),
        ("NLMSG_OVERRUN", |talk| talk.announce(NLMSG_OVERRUN, 0, &[0; 4])),
        ("NLM_F_DUMP_INTR", |talk| talk.answer(libc::RTM_NEWADDR, NLM_F_DUMP_INTR, &address(9))),
    ];
    for (name, spoil) in cases {
        let mut talk = Talk::new();
        talk.asked();
        talk.answer(libc::RTM_NEWADDR, 0, &address(1));
        spoil(&mut talk);
        // Neither is to be believed any more.
        talk.answer(libc::RTM_NEWADDR, 0, &address(2));
        talk.announce(libc::RTM_NEWADDR, 0, &address(3));
        assert_eq!(talk.session.next_deadline(), None, "{name}: the kernel runs one dump a socket");
        talk.now = seconds(3);
        talk.done();
        assert_eq!(talk.asked(), None, "{name}");
        assert!(!talk.told().contains(&"end".to_owned()), "{name}");
        // It took 3 s, so the next one waits for as long.
        assert_eq!(talk.session.next_deadline(), Some(seconds(6)), "{name}");
        talk.session.poll(seconds(5), &mut talk.out);
        assert_eq!(talk.told(), Vec::<String>::new(), "{name}: early");
        talk.session.poll(seconds(6), &mut talk.out);
        talk.complete();
        assert_eq!(talk.told(), ["begin", "0 rules", "end"], "{name}");
    }
}

#[test]
fn what_is_lost_or_replaced_is_dumped_again() {
    type Happens = fn(&mut Talk);
    let calm = START.after(CALM_MIN);
    let cases: [(&str, Happens, Option<Time>); 8] = [
        ("nothing", |_| {}, None),
        ("an overrun", |talk| talk.session.overrun(talk.now, &mut talk.out), Some(START)),
        ("a new route", |talk| talk.announce(libc::RTM_NEWROUTE, 0, &route(1, 0)), None),
        (
            "a route that replaced one",
            |talk| talk.announce(libc::RTM_NEWROUTE, NLM_F_REPLACE, &route(1, 0)),
            None,
        ),
        ("one of several that are alike", |talk| talk.session.unsure(talk.now), Some(calm)),
        ("the same after a while", |talk| talk.session.unsure(seconds(7)), Some(seconds(7))),
        // The kernel does not announce that an advertisement renewed it: looked at half-way.
        (
            "a route with 100 s left",
            |talk| talk.announce(libc::RTM_NEWROUTE, 0, &route(1, 10_000)),
            Some(seconds(50)),
        ),
        ("one with 1 s left", |talk| talk.announce(libc::RTM_NEWROUTE, 0, &route(1, 100)), Some(seconds(1))),
    ];
    for (name, happens, due) in cases {
        let mut talk = Talk::live();
        happens(&mut talk);
        assert_eq!(talk.session.next_deadline(), due, "{name}");
    }
    // During a dump: it may have listed the old one before. What it replaced is told behind that.
    let mut talk = Talk::new();
    talk.asked();
    talk.announce(libc::RTM_NEWROUTE, NLM_F_REPLACE, &route(1, 0));
    talk.done();
    talk.complete();
    assert_eq!(talk.told(), ["begin", "replaced 2001:db8::/64", "+2001:db8::/64", "0 rules", "end"]);
}

/// However many changes without a word there are, dumps are no more than a tenth of the time.
#[test]
fn a_storm_of_changes_without_a_word() {
    const TAKES: Duration = Duration::from_millis(30);
    let mut talk = Talk::live();
    let (mut dumps, end) = (0, seconds(30));
    while talk.now < end {
        talk.session.unsure(talk.now);
        talk.session.poll(talk.now, &mut talk.out);
        if talk.asked().is_some() {
            dumps += 1;
            talk.now = talk.now.after(TAKES);
            talk.done();
            talk.complete();
        }
        talk.now = talk.now.after(Duration::from_millis(1));
    }
    assert!((90..=100).contains(&dumps), "{dumps} dumps of 30 ms in 30 s");
    assert!(talk.session.next_deadline().is_some(), "the last one is looked at as well");
}

#[test]
fn announcements_are_not_kept_without_bound() {
    let mut talk = Talk::new();
    talk.asked();
    for _ in 0..=HELD_CHANGES {
        talk.announce(libc::RTM_NEWADDR, 0, &address(1));
    }
    let dump = talk.session.dump.as_ref().expect("it runs");
    assert!(dump.spoilt && dump.held.is_empty());
}

#[test]
fn rules_are_told_when_the_foreign_ones_change() {
    let mut talk = Talk::live();
    for (kind, priority, table, told) in [
        (libc::RTM_NEWRULE, 32766, 254, &[][..]),
        (libc::RTM_NEWRULE, 5, 100, &["1 rules"]),
        (libc::RTM_NEWRULE, 6, 101, &["2 rules"]),
        (libc::RTM_DELRULE, 5, 101, &[]),
        (libc::RTM_DELRULE, 5, 100, &["1 rules"]),
        (libc::RTM_DELRULE, 6, 101, &["0 rules"]),
    ] {
        talk.announce(kind, 0, &rule(priority, table));
        assert_eq!(talk.told(), told, "{kind} {priority}");
    }
}

#[test]
fn rules_are_not_told_while_they_are_not_all_known() {
    let mut talk = Talk::live();
    talk.announce(libc::RTM_NEWRULE, 0, &rule(5, 100));
    assert_eq!(talk.told(), ["1 rules"]);
    // A new dump ends early: what it forgot is not gone.
    talk.session.begin(talk.now, &mut talk.out);
    talk.asked();
    talk.session.overrun(talk.now, &mut talk.out);
    talk.done();
    talk.announce(libc::RTM_NEWRULE, 0, &rule(6, 101));
    assert!(!talk.told().iter().any(|told| told.ends_with("rules")));
    talk.session.poll(talk.now, &mut talk.out);
    for _ in 0..9 {
        talk.asked();
        talk.done();
    }
    assert_eq!(talk.asked(), Some(libc::RTM_GETRULE));
    talk.done();
    assert_eq!(talk.asked(), Some(libc::RTM_GETRULE));
    for (priority, table) in [(5, 100), (6, 101)] {
        talk.answer(libc::RTM_NEWRULE, 0, &rule(priority, table));
    }
    talk.done();
    assert_eq!(talk.told(), ["begin", "2 rules", "end"]);
}

/// The kernel takes routes away with an interface that goes down, an address, a next hop object, and says nothing of them.
#[test]
fn what_takes_routes_along_asks_for_a_dump() {
    let link = |flags: u32| {
        let mut body = LinkMessage::default();
        body.header.index = 2;
        body.header.flags = LinkFlags::from_bits_retain(flags);
        body.attributes = vec![LinkAttribute::IfName("wan0".into()), LinkAttribute::Mtu(1500)];
        emit(&body)
    };
    let (up, down) = ((libc::IFF_UP | libc::IFF_LOWER_UP).cast_unsigned(), 0);
    let mut talk = Talk::live();
    for (what, kind, body, expected) in [
        ("up", libc::RTM_NEWLINK, link(up), false),
        ("still up", libc::RTM_NEWLINK, link(up), false),
        ("down", libc::RTM_NEWLINK, link(down), true),
        ("still down, and now by the administrator", libc::RTM_NEWLINK, link(down), true),
        ("a next hop object", RTM_DELNEXTHOP, vec![0; 8], true),
        ("an IPv6 address, which a route may have named", libc::RTM_DELADDR, address(1), true),
        ("an IPv4 address", libc::RTM_DELADDR, ipv4_address(), true),
    ] {
        // Long after the last one: see `a_storm_of_changes_without_a_word`.
        talk.now = talk.now.after(Duration::from_secs(1));
        talk.announce(kind, 0, &body);
        talk.session.poll(talk.now, &mut talk.out);
        assert_eq!(talk.asked().is_some(), expected, "{what}");
        talk.done();
        talk.complete();
    }
}

#[test]
fn a_refused_dump_is_an_error() {
    let mut talk = Talk::new();
    talk.asked();
    let refusal = message(NLMSG_ERROR, 0, talk.session.sequence, PORT, &(-libc::EPERM).to_ne_bytes());
    let error = talk.session.datagram(&refusal, START, &mut talk.out).expect_err("refused");
    assert_eq!(
        error.to_string(),
        "netlink: the kernel refuses to list its links: Operation not permitted (os error 1)"
    );
    // The answer to somebody else's request is none of ours.
    let mut talk = Talk::new();
    talk.announce(NLMSG_ERROR, 0, &(-libc::EPERM).to_ne_bytes());
}

proptest! {
    /// Whatever comes, nothing panics: neither on arbitrary octets, nor on messages of the kinds we read that are cut
    /// off or filled with anything.
    #[test]
    fn any_octets(octets in prop::collection::vec(any::<u8>(), 0..256), kind in 16u16..40, ours: bool) {
        let mut talk = Talk::new();
        let _ = talk.session.datagram(&octets, START, &mut talk.out);
        let (sequence, port) = if ours { (talk.session.sequence, PORT) } else { (0, 0) };
        let _ = talk.session.datagram(&message(kind, 0, sequence, port, &octets), START, &mut talk.out);
    }
}
