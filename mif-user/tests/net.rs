//! The I/O tasks on a real kernel. Each test makes a network namespace of its own in a thread of its own. They need root
//! (CAP_SYS_ADMIN, CAP_NET_ADMIN, CAP_NET_RAW), veth and iproute2, and fail without them.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{IoSlice, IoSliceMut, Write as _},
    net::{Ipv6Addr, SocketAddrV6},
    os::fd::AsRawFd as _,
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use mif_core::{
    pvd::event::{Event, KernelRoute, RouteProtocol},
    time::{Deadline, Time},
    wire::RouterPreference,
};
use mif_user::{
    clock,
    net::{
        self, Loss, Message,
        netlink::{self, Monitor},
        ra::{RaSocket, SolicitError},
    },
};
use nix::{
    ifaddrs::getifaddrs,
    net::if_::if_nametoindex,
    sched::{CloneFlags, unshare},
    sys::socket::{
        ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn6, recvmsg, sendmsg, setsockopt, sockopt,
    },
};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::mpsc;

/// Far more than any of this takes; a test that hangs is a failure, not a wait.
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs a test in a fresh network namespace with the interfaces `wan` and `isp`, joined to each other and up.
fn in_namespace<F: Future<Output = ()>>(test: impl FnOnce() -> F + Send + 'static) {
    let thread = std::thread::spawn(move || {
        assert!(nix::unistd::geteuid().is_root(), "this test makes network namespaces: run it as root");
        unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace (CAP_SYS_ADMIN)");
        // Duplicate detection takes a second, in which addresses may not be used; the kernel's own solicitations would
        // be taken for ours.
        for (key, value) in [("accept_dad", "0"), ("router_solicitations", "0")] {
            std::fs::write(format!("/proc/sys/net/ipv6/conf/default/{key}"), value).expect("IPv6");
        }
        ip("link add wan type veth peer name isp");
        ip("link set wan up");
        ip("link set isp up");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let body = async {
            usable_link_locals().await;
            test().await;
        };
        runtime
            .block_on(async { tokio::time::timeout(PATIENCE, body).await.expect("within the time limit") });
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// Waits until both interfaces have a link-local address that may be used.
async fn usable_link_locals() {
    let (mut watch, first) = Watch::start(netlink::RECEIVE_BUFFER).await;
    let mut missing = BTreeSet::from([index("wan"), index("isp")]);
    let mut take = |message: &Message| {
        if let Message::Event(Event::Address(at)) = message
            && at.address.is_unicast_link_local()
            && !at.tentative
        {
            missing.remove(&at.ifindex);
        }
        missing.is_empty()
    };
    if !first.iter().any(&mut take) {
        while !take(&watch.next().await) {}
    }
    watch.stop().await;
}

/// `ip -6 ARGUMENTS`, which must succeed, in the calling thread's namespace.
fn ip(arguments: &str) {
    let status = Command::new("ip").arg("-6").args(arguments.split(' ')).status().expect("iproute2");
    assert!(status.success(), "ip -6 {arguments}");
}

/// Many `ip -6` commands at once.
fn ip_batch(commands: &str) {
    let mut child =
        Command::new("ip").args(["-6", "-batch", "-"]).stdin(Stdio::piped()).spawn().expect("iproute2");
    child.stdin.take().expect("piped").write_all(commands.as_bytes()).expect("ip reads");
    assert!(child.wait().expect("ip ends").success());
}

fn index(name: &str) -> u32 {
    if_nametoindex(name).expect("the interface exists")
}

fn address(text: &str) -> Ipv6Addr {
    text.parse().expect("a literal")
}

/// A monitor that runs beside the test.
struct Watch {
    messages: mpsc::Receiver<Message>,
    task: tokio::task::JoinHandle<Result<(), netlink::Error>>,
}

impl Watch {
    /// A monitor, and what its first dump said.
    async fn start(receive_buffer: usize) -> (Self, Vec<Message>) {
        let monitor = Monitor::with_receive_buffer(receive_buffer).expect("rtnetlink");
        let (sender, messages) = mpsc::channel(net::CHANNEL_MESSAGES);
        let mut watch = Self { messages, task: tokio::spawn(monitor.run(sender)) };
        let first = watch.until(|message| matches!(message, Message::ForeignRules(_))).await;
        (watch, first)
    }

    async fn next(&mut self) -> Message {
        self.messages.recv().await.expect("the monitor runs")
    }

    /// All messages up to the first that fits, that one included.
    async fn until(&mut self, fits: impl Fn(&Message) -> bool) -> Vec<Message> {
        let mut seen = Vec::new();
        loop {
            let message = self.next().await;
            let found = fits(&message);
            seen.push(message);
            if found {
                return seen;
            }
        }
    }

    async fn event(&mut self, event: Event) {
        let wanted = Message::Event(event);
        self.until(|message| *message == wanted).await;
    }

    async fn link(&mut self, fits: impl Fn(&mif_core::pvd::event::Link) -> bool) {
        self.until(|message| matches!(message, Message::Event(Event::Link(link)) if fits(link))).await;
    }

    /// The first news of a route to this prefix, and all messages before it.
    async fn route(&mut self, prefix: &str) -> (KernelRoute, Vec<Message>) {
        let mut seen = self.until(|message| route_to(message, prefix).is_some()).await;
        let last = seen.pop().expect("until() ends with it");
        (route_to(&last, prefix).expect("until() ends with it").clone(), seen)
    }

    /// The receiver goes: the task ends by itself, without an error.
    async fn stop(self) {
        drop(self.messages);
        // It notices with the next message.
        ip("addr add 2001:db8:ffff::1/128 dev lo");
        ip("addr del 2001:db8:ffff::1/128 dev lo");
        self.task.await.expect("no panic").expect("no error");
    }
}

fn route_to<'a>(message: &'a Message, prefix: &str) -> Option<&'a KernelRoute> {
    match message {
        Message::Event(Event::Route(route)) if route.prefix.to_string() == prefix => Some(route),
        _ => None,
    }
}

#[test]
fn the_first_dump_tells_what_is_there() {
    in_namespace(async || {
        ip("addr add 2001:db8:1::1/64 dev wan nodad");
        ip("route add default via fe80::1 dev wan proto static metric 7");
        ip("route add 2001:db8:9::/48 dev wan table 100");
        ip("neigh add fe80::1 dev wan nud failed");
        ip("rule add from 2001:db8:1::/64 lookup 100 priority 1000");
        let (watch, first) = Watch::start(netlink::RECEIVE_BUFFER).await;
        let wan = index("wan");

        assert_eq!(first[0], Message::Event(Event::ResyncBegin));
        assert_eq!(first[first.len() - 2], Message::Event(Event::ResyncEnd));
        let events: Vec<&Event> = first
            .iter()
            .filter_map(|message| if let Message::Event(event) = message { Some(event) } else { None })
            .collect();
        let link =
            events
                .iter()
                .find_map(|event| {
                    if let Event::Link(link) = event { (link.name == "wan").then_some(link) } else { None }
                })
                .expect("the link is in the dump");
        assert_eq!((link.ifindex, link.up, link.loopback, link.mtu), (wan, true, false, 1500));
        assert!(events.iter().any(|event| matches!(event, Event::Link(link) if link.loopback)));
        let at = events
            .iter()
            .find_map(|event| match event {
                Event::Address(at) if at.address == address("2001:db8:1::1") => Some(at),
                _ => None,
            })
            .expect("the address is in the dump");
        assert_eq!((at.ifindex, at.prefix_len, at.permanent, at.tentative), (wan, 64, true, false));
        assert_eq!(at.valid_until, Deadline::NEVER);
        let route = KernelRoute {
            prefix: "::/0".parse().expect("a literal"),
            ifindex: wan,
            gateway: Some(address("fe80::1")),
            metric: 7,
            preference: RouterPreference::Medium,
            preferred_source: None,
            protocol: RouteProtocol::Other(libc::RTPROT_STATIC),
            refuses: false,
            valid_until: Deadline::NEVER,
        };
        assert!(events.contains(&&Event::Route(route)));
        let on_link = first.iter().find_map(|message| route_to(message, "2001:db8:1::/64"));
        assert_eq!(on_link.expect("the prefix of the address").protocol, RouteProtocol::Kernel);
        assert!(!first.iter().any(|message| route_to(message, "2001:db8:9::/48").is_some()), "another table");
        assert!(!first.iter().any(|message| route_to(message, "ff00::/8").is_some()), "the local table");
        let failed = Event::Neighbour { ifindex: wan, address: address("fe80::1"), reachable: false };
        assert!(events.contains(&&failed));

        let Some(Message::ForeignRules(rules)) = first.last() else { panic!("rules follow the first dump") };
        let texts: Vec<&str> = rules.iter().map(|rule| rule.text.as_str()).collect();
        assert_eq!(texts, ["1000: from 2001:db8:1::/64 lookup 100"]);
        watch.stop().await;
    });
}

#[test]
fn changes_of_links_and_addresses_arrive() {
    in_namespace(async || {
        let (mut watch, _) = Watch::start(netlink::RECEIVE_BUFFER).await;
        let wan = index("wan");
        ip("link set wan mtu 1400");
        watch.link(|link| link.name == "wan" && link.mtu == 1400).await;

        ip("addr add 2001:db8:1::1/64 dev wan nodad valid_lft 1000 preferred_lft 500");
        let now = clock::now();
        let seen = watch
            .until(|message| {
                matches!(message, Message::Event(Event::Address(at)) if at.address == address("2001:db8:1::1"))
            })
            .await;
        let Some(Message::Event(Event::Address(at))) = seen.last() else { panic!("until() ends with it") };
        assert!(!at.permanent && !at.deprecated);
        for (deadline, seconds) in [(at.valid_until, 1000), (at.preferred_until, 500)] {
            let left = deadline.remaining(now).expect("finite");
            assert!((seconds - 2..=seconds + 1).contains(&left.as_secs()), "{left:?} of {seconds} s");
        }
        ip("addr del 2001:db8:1::1/64 dev wan");
        watch.event(Event::AddressGone { ifindex: wan, address: address("2001:db8:1::1") }).await;

        ip("link set isp down");
        watch.link(|link| link.name == "wan" && !link.up).await;
        ip("link del wan");
        watch.event(Event::LinkGone { ifindex: wan }).await;
    });
}

#[test]
fn changes_of_routes_arrive() {
    in_namespace(async || {
        let (mut watch, _) = Watch::start(netlink::RECEIVE_BUFFER).await;
        let wan = index("wan");
        ip("route add 2001:db8:2::/48 via fe80::1 dev wan metric 50 pref high expires 100");
        let now = clock::now();
        let (route, _) = watch.route("2001:db8:2::/48").await;
        assert_eq!((route.metric, route.preference), (50, RouterPreference::High));
        let left = route.valid_until.remaining(now).expect("finite").as_secs();
        assert!((98..=101).contains(&left), "{left} of 100 s");

        ip("route add 2001:db8:3::/48 proto 201 nexthop via fe80::1 dev wan nexthop via fe80::2 dev wan");
        let mut hops = BTreeSet::new();
        while hops.len() < 2 {
            let (route, _) = watch.route("2001:db8:3::/48").await;
            assert_eq!((route.ifindex, route.protocol), (wan, RouteProtocol::Mif));
            hops.insert(route.gateway);
        }
        assert_eq!(hops, gateways(&["fe80::1", "fe80::2"]));

        ip("route add 2001:db8:4::/48 dev wan table 100");
        ip("route add blackhole 2001:db8:5::/48");
        let (hole, before) = watch.route("2001:db8:5::/48").await;
        assert_eq!((hole.refuses, hole.ifindex), (true, 0));
        assert!(
            !before.iter().any(|message| route_to(message, "2001:db8:4::/48").is_some()),
            "another table"
        );

        ip("route del 2001:db8:2::/48");
        let gone = |message: &Message| match message {
            Message::Event(Event::RouteGone(gone)) => {
                gone.prefix == route.prefix && gone.gateway == route.gateway
            }
            _ => false,
        };
        watch.until(gone).await;
        watch.stop().await;
    });
}

#[test]
fn changes_of_neighbours_arrive() {
    in_namespace(async || {
        let (mut watch, _) = Watch::start(netlink::RECEIVE_BUFFER).await;
        let wan = index("wan");
        for (state, reachable) in [("reachable", true), ("failed", false), ("stale", true), ("failed", false)]
        {
            ip(&format!("neigh replace fe80::1 lladdr 02:00:5e:10:00:01 dev wan nud {state}"));
            watch.event(Event::Neighbour { ifindex: wan, address: address("fe80::1"), reachable }).await;
        }
        // A global address matters once a route goes through it.
        ip("addr add 2001:db8:1::1/64 dev wan nodad");
        ip("neigh replace 2001:db8:1::9 lladdr 02:00:5e:10:00:09 dev wan nud reachable");
        ip("neigh replace 2001:db8:1::9 dev wan nud failed");
        ip("route add 2001:db8:2::/48 via 2001:db8:1::9 dev wan");
        let (_, before) = watch.route("2001:db8:2::/48").await;
        let neighbour = |message: &Message| {
            matches!(message, Message::Event(Event::Neighbour { address: at, .. })
            if *at == address("2001:db8:1::9"))
        };
        assert!(!before.iter().any(neighbour), "a host among others");
        ip("neigh replace 2001:db8:1::9 lladdr 02:00:5e:10:00:09 dev wan nud reachable");
        watch
            .event(Event::Neighbour { ifindex: wan, address: address("2001:db8:1::9"), reachable: true })
            .await;
        watch.stop().await;
    });
}

#[test]
fn foreign_rules_are_told_whenever_they_change() {
    in_namespace(async || {
        let (mut watch, first) = Watch::start(netlink::RECEIVE_BUFFER).await;
        assert_eq!(
            first.last(),
            Some(&Message::ForeignRules(Vec::new())),
            "the kernel's own are not foreign"
        );

        // As wg-quick makes them; then one of ours, which is not told.
        ip("rule add not fwmark 0xca6c table 51820");
        ip("rule add table main suppress_prefixlength 0");
        ip("rule add from 2001:db8::/64 table 201 priority 5 protocol 201");
        ip("rule add iif lo uidrange 1000-1000 unreachable priority 7");
        let seen =
            watch.until(|message| matches!(message, Message::ForeignRules(rules) if rules.len() == 3)).await;
        let Some(Message::ForeignRules(rules)) = seen.last() else { panic!("until() ends with it") };
        let told: Vec<_> = rules.iter().map(|rule| (rule.priority, rule.table, rule.text.as_str())).collect();
        assert_eq!(
            told,
            [
                (7, None, "7: from all iif lo uidrange 1000-1000 unreachable"),
                (32764, Some(254), "32764: from all lookup main suppress_prefixlength 0"),
                (32765, Some(51820), "32765: not from all fwmark 0xca6c lookup 51820"),
            ]
        );

        for priority in [7, 5, 32764, 32765] {
            ip(&format!("rule del priority {priority}"));
        }
        watch.until(|message| *message == Message::ForeignRules(Vec::new())).await;
        watch.stop().await;
    });
}

/// Gateways by prefix.
type Routes = BTreeMap<String, BTreeSet<Option<Ipv6Addr>>>;

fn gateways(hops: &[&str]) -> BTreeSet<Option<Ipv6Addr>> {
    hops.iter().map(|hop| Some(address(hop))).collect()
}

/// What the events say there is, as the owner keeps it: a resync removes what it does not repeat.
#[derive(Debug, Default)]
struct Mirror {
    addresses: BTreeSet<Ipv6Addr>,
    routes: Routes,
    repeated: Option<(BTreeSet<Ipv6Addr>, Routes)>,
}

impl Mirror {
    fn apply(&mut self, message: &Message) {
        let Message::Event(event) = message else { return };
        let (addresses, routes) = match &mut self.repeated {
            Some((addresses, routes)) => (addresses, routes),
            None => (&mut self.addresses, &mut self.routes),
        };
        match event {
            Event::ResyncBegin => self.repeated = Some(Default::default()),
            Event::ResyncEnd => {
                (self.addresses, self.routes) = self.repeated.take().expect("an end has a beginning");
            }
            Event::Address(at) => {
                addresses.insert(at.address);
            }
            Event::AddressGone { address, .. } => {
                addresses.remove(address);
            }
            Event::Route(route) => {
                routes.entry(route.prefix.to_string()).or_default().insert(route.gateway);
            }
            Event::RouteGone(route) => {
                if let Some(gateways) = routes.get_mut(&route.prefix.to_string()) {
                    gateways.remove(&route.gateway);
                }
            }
            _ => {}
        }
    }
}

#[test]
fn an_overrun_is_mended_by_a_new_dump() {
    in_namespace(async || {
        // The kernel's least buffer holds a few messages only.
        let (mut watch, first) = Watch::start(1).await;
        let mut mirror = Mirror::default();
        first.iter().for_each(|message| mirror.apply(message));

        // The runtime has one thread, and it is here: nobody reads meanwhile.
        let wanted: BTreeSet<Ipv6Addr> =
            (1..=500).map(|n| Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, n)).collect();
        ip_batch(&wanted.iter().map(|at| format!("addr add {at}/128 dev wan nodad\n")).collect::<String>());

        let mut overruns = 0;
        while mirror.repeated.is_some() || !mirror.addresses.is_superset(&wanted) {
            let message = watch.next().await;
            overruns += u32::from(message == Message::Lost(Loss::NetlinkOverrun));
            mirror.apply(&message);
        }
        assert!(overruns > 0, "500 addresses do not fit");
        watch.stop().await;
    });
}

#[test]
fn a_replaced_route_does_not_stay() {
    in_namespace(async || {
        ip("route add 2001:db8:2::/48 nexthop via fe80::1 dev wan nexthop via fe80::2 dev wan");
        let (mut watch, first) = Watch::start(netlink::RECEIVE_BUFFER).await;
        let mut mirror = Mirror::default();
        first.iter().for_each(|message| mirror.apply(message));
        assert_eq!(mirror.routes["2001:db8:2::/48"], gateways(&["fe80::1", "fe80::2"]));

        ip("route replace 2001:db8:2::/48 via fe80::3 dev wan");
        while mirror.repeated.is_some() || mirror.routes["2001:db8:2::/48"] != gateways(&["fe80::3"]) {
            mirror.apply(&watch.next().await);
        }
        watch.stop().await;
    });
}

/// A raw ICMPv6 socket as a router would have, on `isp`.
fn router() -> Socket {
    let socket =
        Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6)).expect("a raw socket (CAP_NET_RAW)");
    socket.set_multicast_loop_v6(false).expect("the kernel has it");
    socket.join_multicast_v6(&address("ff02::2"), index("isp")).expect("the kernel has it");
    setsockopt(&socket, sockopt::Ipv6RecvHopLimit, &true).expect("the kernel has it");
    socket
}

/// Sends an ICMPv6 message out of `isp`, so that it arrives on `wan`; the kernel fills in the checksum.
fn send_from_isp(router: &Socket, bytes: &[u8], hop_limit: i32) {
    let isp = index("isp");
    let all_nodes = SockaddrIn6::from(SocketAddrV6::new(address("ff02::1"), 0, 0, isp));
    let from = libc::in6_pktinfo { ipi6_addr: libc::in6_addr { s6_addr: [0; 16] }, ipi6_ifindex: isp };
    let control = [ControlMessage::Ipv6PacketInfo(&from), ControlMessage::Ipv6HopLimit(&hop_limit)];
    let data = [IoSlice::new(bytes)];
    sendmsg(router.as_raw_fd(), &data, &control, MsgFlags::empty(), Some(&all_nodes)).expect("sent");
}

/// An advertisement without options: hop limit 64, preference High, lifetime 1800 s.
const ADVERTISEMENT: [u8; 16] = [0x86, 0, 0, 0, 0x40, 0x08, 0x07, 0x08, 0, 0, 0, 0, 0, 0, 0, 0];

fn link_local(name: &str) -> Ipv6Addr {
    getifaddrs()
        .expect("addresses")
        .filter(|entry| entry.interface_name == name)
        .filter_map(|entry| Some(entry.address?.as_sockaddr_in6()?.ip()))
        .find(Ipv6Addr::is_unicast_link_local)
        .expect("made when the link came up")
}

fn ethernet_address(name: &str) -> [u8; 6] {
    getifaddrs()
        .expect("addresses")
        .filter(|entry| entry.interface_name == name)
        .find_map(|entry| entry.address?.as_link_addr()?.addr())
        .expect("veth is Ethernet")
}

/// The socket, with its task running beside the test.
fn advertisements() -> (Arc<RaSocket>, mpsc::Receiver<Message>) {
    let socket = Arc::new(RaSocket::open().expect("a raw socket (CAP_NET_RAW)"));
    let (sender, messages) = mpsc::channel(net::CHANNEL_MESSAGES);
    let reader = Arc::clone(&socket);
    tokio::spawn(async move { reader.run(sender).await });
    (socket, messages)
}

#[test]
fn advertisements_arrive_with_what_the_parser_needs() {
    in_namespace(async || {
        let (_socket, mut messages) = advertisements();
        let router = router();
        // Other types do not come; a wrong hop limit does, because to judge it is the parser's work.
        let solicitation = [0x85, 0, 0, 0, 0, 0, 0, 0];
        for (bytes, hop_limit) in [(&solicitation[..], 255), (&ADVERTISEMENT, 255), (&ADVERTISEMENT, 64)] {
            send_from_isp(&router, bytes, hop_limit);
        }
        for hop_limit in [255, 64] {
            let Some(Message::RouterAdvertisement(ra)) = messages.recv().await else {
                panic!("nothing was lost")
            };
            assert_eq!((ra.ifindex, ra.hop_limit), (index("wan"), hop_limit));
            assert_eq!((ra.source, ra.destination), (link_local("isp"), address("ff02::1")));
            assert_eq!((ra.bytes[..2].to_vec(), &ra.bytes[4..]), (vec![0x86, 0], &ADVERTISEMENT[4..]));
            assert_ne!(ra.bytes[2..4], [0, 0], "with the checksum, for the parser to check");
            assert!(ra.received > Time(0) && ra.received <= clock::now());
        }
    });
}

#[test]
fn lost_advertisements_are_counted() {
    /// More than fits: the kernel doubles the buffer, and counts more than 512 octets for the smallest packet.
    const FLOOD: u32 = 10_000;
    in_namespace(async || {
        let (_socket, mut messages) = advertisements();
        let router = router();
        // The runtime has one thread, and it is here: nobody reads meanwhile.
        for _ in 0..FLOOD {
            send_from_isp(&router, &ADVERTISEMENT, 255);
        }
        let (mut received, mut lost, mut sent) = (0, 0, FLOOD);
        while received + lost < sent {
            match messages.try_recv() {
                Ok(Message::RouterAdvertisement(_)) => received += 1,
                Ok(Message::Lost(Loss::RouterAdvertisements(count))) => lost += count,
                Ok(other) => panic!("{other:?}"),
                // The count comes with the next packet that is not lost.
                Err(_) => {
                    send_from_isp(&router, &ADVERTISEMENT, 255);
                    sent += 1;
                    tokio::task::yield_now().await;
                }
            }
        }
        assert!(lost > 0, "{received} of {sent} fit");
        assert_eq!(received + lost, sent);
    });
}

/// RS-4861-6.3.7-a (destination and hop limit), RS-4861-4.1-a (with an address, the option is there).
#[test]
fn solicitations_leave() {
    in_namespace(async || {
        let (socket, _messages) = advertisements();
        let router = router();
        let wan = index("wan");
        socket.send_rs(wan).expect("sent");

        router.set_read_timeout(Some(PATIENCE)).expect("the kernel has it");
        let (mut buffer, mut control) = ([0; 256], nix::cmsg_space!(libc::c_int));
        // Multicast reports and the like may come first.
        let (length, source, hop_limit) = loop {
            let mut data = [IoSliceMut::new(&mut buffer)];
            let packet =
                recvmsg::<SockaddrIn6>(router.as_raw_fd(), &mut data, Some(&mut control), MsgFlags::empty())
                    .expect("the solicitation arrives");
            let hop_limit = packet.cmsgs().expect("they fit").find_map(|message| match message {
                ControlMessageOwned::Ipv6HopLimit(limit) => Some(limit),
                _ => None,
            });
            let (length, source) = (packet.bytes, packet.address.expect("IPv6").ip());
            if buffer[0] == 0x85 {
                break (length, source, hop_limit);
            }
        };
        assert_eq!((source, hop_limit), (link_local("wan"), Some(255)));
        assert_eq!(buffer[4..length], [&[0, 0, 0, 0, 1, 1][..], &ethernet_address("wan")].concat());

        ip("addr flush dev wan");
        let refused = socket.send_rs(wan);
        assert!(matches!(refused, Err(SolicitError::NoAddress)), "{refused:?}");
        ip("link del wan");
        let refused = socket.send_rs(wan);
        assert!(matches!(refused, Err(SolicitError::NoInterface)), "{refused:?}");
    });
}
