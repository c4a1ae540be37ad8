//! The order of a subscription: what a dump says, and what changed meanwhile.
//!
//! The socket is subscribed before the first dump, so each change since then is either in the dump or announced (or
//! both). Dumps do not hold the kernel's locks throughout: an announcement may overtake the dump's older view of the
//! same object. So announcements that arrive during a dump wait until it is complete and are applied after it, in
//! order: of each object, the last word is the kernel's last.
//!
//! A new dump ("resync") is made when announcements were lost (ENOBUFS), when the kernel says that a dump was
//! interrupted, when a route replaced one of several that are alike (the kernel does not announce which, see
//! [`Event::RouteReplaced`]), when routes may have
//! gone with their interface, their source or their next hop object (`fib_sync_down_dev`, `fib_sync_down_addr`,
//! `fib6_remove_prefsrc`, without a word either), and
//! when the lifetimes of the kernel's own routes must be read again (it does not announce their renewal by a Router
//! Advertisement, `addrconf_prefix_rcv`, `ndisc_router_discovery`). Between two resyncs lies at least as much time as the
//! last one took: whatever happens, no more than half of the time goes into them. Those that somebody's storm of changes asks for
//! wait longer: see [`CALM`].

use std::{collections::BTreeSet, net::Ipv6Addr, time::Duration};

use mif_core::{
    nud::NextHop,
    pvd::event::{Event, RouteProtocol},
    time::Time,
};
use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, NLMSG_NOOP, NLMSG_OVERRUN,
    NetlinkBuffer, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage, address::AddressMessage, link::LinkMessage,
    neighbour::NeighbourMessage, route::RouteHeader, route::RouteMessage, rule::RuleMessage,
};

use super::{
    super::{Loss, Message},
    Error,
    convert::{self, Change},
    rules,
};

/// Changes kept while a dump runs. A storm of more is cheaper to dump again than to keep.
const HELD_CHANGES: usize = 16_384;

/// The least time between two readings of the kernel's route lifetimes. It removes expired routes only every 30 s
/// (`net.ipv6.route.gc_interval`), so nothing is gained below a second.
const REFRESH_MIN: Duration = Duration::from_secs(1);

/// How many times as long as a resync took the next one waits that changes without a word ask for, and the least of it. So a storm
/// of them costs no more than a tenth of the time, or ten small dumps a second; and the first of them is looked at at once.
const CALM: u32 = 9;
const CALM_MIN: Duration = Duration::from_millis(100);

/// What a resync lists, in this order: the later needs the earlier (a neighbour matters when a route goes through it).
const SUBJECTS: [(Subject, AddressFamily); 11] = [
    (Subject::Links, AddressFamily::Unspec),
    (Subject::Addresses, AddressFamily::Inet),
    (Subject::Addresses, AddressFamily::Inet6),
    (Subject::Routes, AddressFamily::Inet),
    (Subject::Routes, AddressFamily::Inet6),
    (Subject::LocalRoutes, AddressFamily::Inet),
    (Subject::LocalRoutes, AddressFamily::Inet6),
    (Subject::Neighbours, AddressFamily::Inet),
    (Subject::Neighbours, AddressFamily::Inet6),
    (Subject::Rules, AddressFamily::Inet),
    (Subject::Rules, AddressFamily::Inet6),
];

/// What the kernel can list.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Subject {
    Links,
    Addresses,
    Routes,
    /// Of the local table.
    LocalRoutes,
    Neighbours,
    Rules,
}

impl Subject {
    const fn name(self) -> &'static str {
        match self {
            Self::Links => "links",
            Self::Addresses => "addresses",
            Self::Routes => "routes",
            Self::LocalRoutes => "local routes",
            Self::Neighbours => "neighbours",
            Self::Rules => "rules",
        }
    }
}

/// `nlmsg_len` to the payload.
const HEADER: usize = 16;

#[derive(Debug)]
pub(super) struct Session {
    /// Our own port; answers carry it, announcements of others' changes carry theirs.
    port: u32,
    /// Of the last request.
    sequence: u32,
    request: Option<Vec<u8>>,
    dump: Option<Dump>,
    /// When the next resync is due, for whatever reason.
    due: Option<Time>,
    /// No resync before this.
    not_before: Time,
    /// None before this because of changes without a word.
    calm_until: Time,
    rules: Vec<RuleMessage>,
    /// Whether `rules` are all: not from the beginning of a dump until one is complete.
    rules_complete: bool,
    /// The foreign ones of `rules` as last told; `None` before the first dump.
    told: Option<Vec<super::RuleInfo>>,
    /// Next hops of routes since the last dump began: these neighbours matter.
    gateways: BTreeSet<Ipv6Addr>,
}

#[derive(Debug)]
struct Dump {
    began: Time,
    subject: usize,
    held: Vec<Change>,
    /// It is incomplete or its announcements are: what it says is not to be trusted.
    spoilt: bool,
}

impl Session {
    pub(super) const fn new(port: u32) -> Self {
        Self {
            port,
            sequence: 0,
            request: None,
            dump: None,
            due: None,
            not_before: Time(0),
            calm_until: Time(0),
            rules: Vec::new(),
            rules_complete: false,
            told: None,
            gateways: BTreeSet::new(),
        }
    }

    /// Begins a resync.
    pub(super) fn begin(&mut self, now: Time, out: &mut Vec<Message>) {
        self.due = None;
        self.rules.clear();
        self.rules_complete = false;
        self.gateways.clear();
        self.dump = Some(Dump { began: now, subject: 0, held: Vec::new(), spoilt: false });
        out.push(Message::Event(Event::ResyncBegin));
        self.ask(0);
    }

    /// The datagram to send to the kernel, if any.
    pub(super) fn take_request(&mut self) -> Option<Vec<u8>> {
        self.request.take()
    }

    /// When [`Self::poll`] has something to do.
    pub(super) fn next_deadline(&self) -> Option<Time> {
        // The kernel runs one dump a socket.
        if self.dump.is_some() { None } else { self.due.map(|due| due.max(self.not_before)) }
    }

    pub(super) fn poll(&mut self, now: Time, out: &mut Vec<Message>) {
        if self.next_deadline().is_some_and(|due| due <= now) {
            self.begin(now, out);
        }
    }

    /// The socket lost announcements (its buffer was full).
    pub(super) fn overrun(&mut self, now: Time, out: &mut Vec<Message>) {
        out.push(Message::Lost(Loss::NetlinkOverrun));
        self.spoil(now);
    }

    /// One datagram from the kernel: any number of messages.
    pub(super) fn datagram(&mut self, bytes: &[u8], now: Time, out: &mut Vec<Message>) -> Result<(), Error> {
        let mut rest = bytes;
        while rest.len() >= HEADER {
            let Ok(message) = NetlinkBuffer::new_checked(rest) else {
                out.push(Message::Lost(Loss::NetlinkUnreadable));
                return Ok(());
            };
            self.message(&message, now, out)?;
            // NLMSG_ALIGNTO, 4.
            rest = rest.get((message.length() as usize).next_multiple_of(4)..).unwrap_or_default();
        }
        Ok(())
    }

    fn message(
        &mut self,
        message: &NetlinkBuffer<&[u8]>,
        now: Time,
        out: &mut Vec<Message>,
    ) -> Result<(), Error> {
        let ours = message.port_number() == self.port && message.sequence_number() == self.sequence;
        if ours && message.flags() & NLM_F_DUMP_INTR != 0 {
            self.spoil(now);
        }
        match message.message_type() {
            NLMSG_NOOP => Ok(()),
            NLMSG_OVERRUN => {
                self.overrun(now, out);
                Ok(())
            }
            NLMSG_DONE | NLMSG_ERROR if ours => self.dumped(status(message.payload()), now, out),
            NLMSG_DONE | NLMSG_ERROR => Ok(()),
            kind => {
                if kind == RTM_DELNEXTHOP && !ours {
                    self.unsure(now);
                    return Ok(());
                }
                // In answers the flag means something else.
                let flags = if ours { 0 } else { message.flags() };
                let Ok(changes) = convert::changes(kind, flags, message.payload(), now) else {
                    tracing::warn!(kind, octets = message.payload().len(), "netlink message not understood");
                    out.push(Message::Lost(Loss::NetlinkUnreadable));
                    return Ok(());
                };
                let silent = !ours && changes.iter().any(takes_routes_along);
                match &mut self.dump {
                    Some(dump) if dump.spoilt => {}
                    Some(dump) if !ours => {
                        dump.held.extend(changes);
                        if dump.held.len() > HELD_CHANGES {
                            self.spoil(now);
                        }
                    }
                    _ => {
                        for change in changes {
                            self.apply(change, now, out);
                        }
                    }
                }
                if silent {
                    self.unsure(now);
                }
                Ok(())
            }
        }
    }

    /// The kernel ended its answer to the last request, with this status.
    fn dumped(&mut self, status: i32, now: Time, out: &mut Vec<Message>) -> Result<(), Error> {
        let Some(dump) = &mut self.dump else { return Ok(()) };
        // A namespace that never had an IPv4 route has no main table for them (`inet_dump_fib`).
        let routes = matches!(SUBJECTS[dump.subject].0, Subject::Routes | Subject::LocalRoutes);
        let no_table = routes && status == -libc::ENOENT;
        if status < 0 && !no_table {
            let source = std::io::Error::from_raw_os_error(-status);
            return Err(Error::Dump { subject: SUBJECTS[dump.subject].0.name(), source });
        }
        dump.subject += 1;
        let next = dump.subject;
        if !dump.spoilt && next < SUBJECTS.len() {
            self.ask(next);
            return Ok(());
        }
        let took = dump.began.until(now);
        self.not_before = now.after(took);
        self.calm_until = now.after((took * CALM).max(CALM_MIN));
        let Dump { held, spoilt, .. } = self.dump.take().expect("checked above");
        if spoilt {
            // The next ResyncBegin takes the place of this one's end.
            self.resync_by(now);
            return Ok(());
        }
        for change in held {
            self.apply(change, now, out);
        }
        // The rules before the end: whoever acts on a complete picture must know who else routes by policy.
        self.rules_complete = true;
        self.tell_rules(out);
        out.push(Message::Event(Event::ResyncEnd));
        Ok(())
    }

    /// What the running dump says is not to be trusted; without one, a new one is due.
    fn spoil(&mut self, now: Time) {
        match &mut self.dump {
            Some(dump) => {
                dump.spoilt = true;
                dump.held = Vec::new();
            }
            None => self.resync_by(now),
        }
    }

    /// The kernel changed something without a word.
    pub(super) fn unsure(&mut self, now: Time) {
        self.resync_by(now.max(self.calm_until));
    }

    fn resync_by(&mut self, at: Time) {
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }

    /// Applies one change and tells the owner what it is to know of it.
    fn apply(&mut self, change: Change, now: Time, out: &mut Vec<Message>) {
        match change {
            Change::Event(event) => {
                if let Event::Route(route) = &event {
                    self.gateways.extend(route.gateway);
                    let kernels =
                        matches!(route.protocol, RouteProtocol::Kernel | RouteProtocol::RouterAdvertisement);
                    if let Some(end) = route.valid_until.time()
                        && kernels
                        && end > now
                    {
                        // Half-way, as a lease is renewed: a renewed lifetime is seen long before the old one ends.
                        self.resync_by(now.after((now.until(end) / 2).max(REFRESH_MIN)));
                    }
                }
                out.push(Message::Event(event));
            }
            Change::Neighbour { news, router } => {
                if self.matters(news.next_hop, router) {
                    out.push(Message::Neighbour(news));
                }
            }
            Change::Asked { next_hop, router } => {
                let (ifindex, address) = next_hop;
                if self.matters(next_hop, router) {
                    out.push(Message::Event(Event::NeighbourAsked { ifindex, address }));
                }
            }
            Change::Unsure => self.unsure(now),
            Change::Rule(rule) => {
                self.rules.push(rule);
                self.tell_rules(out);
            }
            Change::RuleGone(rule) => {
                if let Some(place) = self.rules.iter().position(|known| *known == rule) {
                    self.rules.remove(place);
                }
                self.tell_rules(out);
            }
        }
    }

    /// Whether a neighbour is a next hop. Routers have link-local addresses in Router Advertisements; a static route may name another
    /// one.
    fn matters(&self, (_, address): NextHop, router: bool) -> bool {
        router || address.is_unicast_link_local() || self.gateways.contains(&address)
    }

    fn tell_rules(&mut self, out: &mut Vec<Message>) {
        if !self.rules_complete {
            return;
        }
        let foreign = rules::foreign(&self.rules);
        if self.told.as_ref() != Some(&foreign) {
            out.push(Message::ForeignRules(foreign.clone()));
            self.told = Some(foreign);
        }
    }

    fn ask(&mut self, subject: usize) {
        self.sequence = self.sequence.wrapping_add(1);
        self.request = Some(request(subject, self.sequence));
    }
}

/// `linux/rtnetlink.h`; libc does not name it. The routes that lead by a next hop object go with it, without a word.
const RTM_DELNEXTHOP: u16 = 105;

/// Whether routes may have gone, or changed, with what is announced: IPv4's with an interface that is down, those whose gateway an
/// address reached; and the kernel takes an address that is gone from the routes that name it as their source.
fn takes_routes_along(change: &Change) -> bool {
    match change {
        Change::Event(Event::Link(link)) => !link.up,
        Change::Event(Event::AddressGone(_)) => true,
        _ => false,
    }
}

/// The errno, negative, that NLMSG_DONE and NLMSG_ERROR begin with.
fn status(payload: &[u8]) -> i32 {
    payload.first_chunk().map_or(0, |bytes| i32::from_ne_bytes(*bytes))
}

/// The request for the dump of one of [`SUBJECTS`].
fn request(subject: usize, sequence: u32) -> Vec<u8> {
    let (subject, family) = SUBJECTS[subject];
    let body = match subject {
        Subject::Links => RouteNetlinkMessage::GetLink(LinkMessage::default()),
        Subject::Addresses => {
            let mut addresses = AddressMessage::default();
            addresses.header.family = family;
            RouteNetlinkMessage::GetAddress(addresses)
        }
        Subject::Routes | Subject::LocalRoutes => {
            let mut routes = RouteMessage::default();
            routes.header.address_family = family;
            // The other tables are behind rules, which are reported as such.
            let local = subject == Subject::LocalRoutes;
            let table = if local { libc::RT_TABLE_LOCAL } else { RouteHeader::RT_TABLE_MAIN };
            routes.header.table = table;
            RouteNetlinkMessage::GetRoute(routes)
        }
        Subject::Neighbours => {
            let mut neighbours = NeighbourMessage::default();
            neighbours.header.family = family;
            RouteNetlinkMessage::GetNeighbour(neighbours)
        }
        Subject::Rules => {
            let mut rules = RuleMessage::default();
            rules.header.family = family;
            RouteNetlinkMessage::GetRule(rules)
        }
    };
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    header.sequence_number = sequence;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::from(body));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests;
