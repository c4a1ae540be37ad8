//! Links, addresses, routes, neighbours and rules, from `ip` to events.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv6Addr,
    time::{Duration, Instant},
};

use mif_common::abi::{DEFAULT_VIEW, Verdict};
use mif_core::{
    nud::{Neighbour, State},
    pvd::{
        Limits, Preferences, PvdSet, PvdSnapshot,
        event::{Event, KernelRoute, RouteProtocol},
    },
    select::literal,
    time::Deadline,
    wire::RouterPreference,
};
use mif_user::{
    clock,
    net::{Loss, Message, netlink},
};

use crate::{
    namespace::{address, in_namespace, index, ip, ip_batch},
    watch::{Watch, route_to},
};

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
        assert_eq!(first.last(), Some(&Message::Event(Event::ResyncEnd)));
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
        let failed =
            Neighbour { next_hop: (wan, address("fe80::1")), state: State::Failed, link_layer: None };
        assert!(first.contains(&Message::Neighbour(failed)));

        let Message::ForeignRules(rules) = &first[first.len() - 2] else {
            panic!("rules are told before the end")
        };
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
        watch
            .until(|message| {
                matches!(message, Message::Event(Event::AddressGone(at)) if at.address == address("2001:db8:1::1"))
            })
            .await;

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
        let news = |text, state: State, last: u8| {
            let link_layer = (state != State::Failed).then(|| vec![2, 0, 0x5e, 0x10, 0, last]);
            Message::Neighbour(Neighbour { next_hop: (wan, address(text)), state, link_layer })
        };
        for (word, state) in [
            ("reachable", State::Reachable),
            ("failed", State::Failed),
            ("stale", State::Stale),
            ("failed", State::Failed),
        ] {
            ip(&format!("neigh replace fe80::1 lladdr 02:00:5e:10:00:01 dev wan nud {word}"));
            let expected = news("fe80::1", state, 1);
            watch.until(|message| *message == expected).await;
        }
        // A global address matters once a route goes through it.
        ip("addr add 2001:db8:1::1/64 dev wan nodad");
        ip("neigh replace 2001:db8:1::9 lladdr 02:00:5e:10:00:09 dev wan nud reachable");
        ip("neigh replace 2001:db8:1::9 dev wan nud failed");
        ip("route add 2001:db8:2::/48 via 2001:db8:1::9 dev wan");
        let (_, before) = watch.route("2001:db8:2::/48").await;
        let neighbour = |message: &Message| matches!(message, Message::Neighbour(news) if news.next_hop.1 == address("2001:db8:1::9"));
        assert!(!before.iter().any(neighbour), "a host among others");
        ip("neigh replace 2001:db8:1::9 lladdr 02:00:5e:10:00:09 dev wan nud reachable");
        let expected = news("2001:db8:1::9", State::Reachable, 9);
        watch.until(|message| *message == expected).await;
        watch.stop().await;
    });
}

#[test]
fn foreign_rules_are_told_whenever_they_change() {
    in_namespace(async || {
        let (mut watch, first) = Watch::start(netlink::RECEIVE_BUFFER).await;
        assert_eq!(
            first[first.len() - 2],
            Message::ForeignRules(Vec::new()),
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
            Event::AddressGone(at) => {
                addresses.remove(&at.address);
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
        ip_batch(
            "-6",
            &wanted.iter().map(|at| format!("addr add {at}/128 dev wan nodad\n")).collect::<String>(),
        );

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
            let message = watch.next().await;
            // There were two: which one went, the owner cannot know.
            if matches!(message, Message::Event(Event::RouteReplaced(_))) {
                watch.unsure.notify_one();
            }
            mirror.apply(&message);
        }
        watch.stop().await;
    });
}

/// What a set of PvDs has that is told all from the beginning.
async fn told_anew() -> Vec<PvdSnapshot> {
    let (watch, first) = Watch::start(netlink::RECEIVE_BUFFER).await;
    let mut set = PvdSet::new(Limits::default());
    first.into_iter().for_each(|message| tell(&mut set, message));
    watch.stop().await;
    portrait(&set)
}

fn tell(set: &mut PvdSet, message: Message) {
    if let Message::Event(event) = message {
        set.apply(event, clock::now());
    }
}

fn portrait(set: &PvdSet) -> Vec<PvdSnapshot> {
    set.snapshot(clock::now(), &Preferences::default())
}

/// Thousands of replaced routes beside thousands of others: what each replaced is known, so that none asks for a dump. Where it is
/// not known, dumps are few. The end is right in either case.
#[test]
fn a_storm_of_replaced_routes() {
    const OTHERS: u32 = 3000;
    const REPLACED: u32 = 4000;
    /// The least time between two dumps.
    const CALM: Duration = Duration::from_millis(100);
    in_namespace(async || {
        let other = |n: u32| format!("route add 172.16.{}.{} via 192.0.2.8 dev wan\n", n >> 8, n & 255);
        let addresses = "addr add 192.0.2.1/24 dev wan\naddr add 192.0.2.2/24 dev wan\n".to_owned();
        let one = "route add 10.0.0.0/8 via 192.0.2.8 dev wan\n".to_owned();
        ip_batch("-4", &[addresses, one].into_iter().chain((0..OTHERS).map(other)).collect::<String>());
        for twins in [false, true] {
            if twins {
                // The same but for the source: which of the two a route replaces, the kernel does not say.
                ip_batch("-4", "route append 10.0.0.0/8 via 192.0.2.8 dev wan src 192.0.2.2\n");
            }
            let (mut watch, first) = Watch::start(netlink::RECEIVE_BUFFER).await;
            let mut set = PvdSet::new(Limits::default());
            first.into_iter().for_each(|message| tell(&mut set, message));
            let began = Instant::now();
            // A thread is in the namespace of the one that made it.
            let storm = std::thread::spawn(|| {
                let replace =
                    |n: u32| format!("route replace 10.0.0.0/8 via 192.0.2.{} dev wan\n", 10 + n % 100);
                ip_batch("-4", &(0..REPLACED).map(replace).collect::<String>());
            });
            let (mut dumps, mut replaced, mut dumping) = (0, 0, false);
            // Until all is heard, and what is heard is what is there.
            while replaced < REPLACED || dumping || portrait(&set) != told_anew().await {
                let message = watch.next().await;
                match &message {
                    Message::Event(Event::RouteReplaced(_)) => replaced += 1,
                    Message::Event(Event::ResyncBegin) => (dumps, dumping) = (dumps + 1, true),
                    Message::Event(Event::ResyncEnd) => dumping = false,
                    _ => {}
                }
                tell(&mut set, message);
                if set.wants_resync() {
                    watch.unsure.notify_one();
                }
            }
            storm.join().expect("no panic");
            let most = if twins { began.elapsed().div_duration_f64(CALM) as u32 + 1 } else { 0 };
            println!("twins: {twins}: {dumps} dumps in {:?}", began.elapsed());
            assert!(dumps <= most, "{dumps} dumps in {:?}", began.elapsed());
            watch.stop().await;
        }
    });
}

/// A range of addresses that the administrator gave the host (AnyIP) is the host itself, also where an uplink would lead there.
#[test]
fn prefixes_of_the_host_itself() {
    in_namespace(async || {
        ip_batch("-4", "addr add 192.0.2.1/24 dev wan\nroute add default via 192.0.2.8 dev wan\n");
        ip_batch("-6", "addr add 2001:db8:1::1/64 dev wan nodad\nroute add default via fe80::1 dev wan\n");
        ip("link set lo up");
        ip("route add local 2001:db8:77::/48 dev lo");
        let (mut watch, first) = Watch::start(netlink::RECEIVE_BUFFER).await;
        let mut set = PvdSet::new(Limits::default());
        first.into_iter().for_each(|message| tell(&mut set, message));
        let verdict = |set: &PvdSet, destination: &str| {
            let world = set.world(clock::now(), &Preferences::default());
            literal::answer(&world, DEFAULT_VIEW, address(destination)).verdict
        };
        assert_eq!(verdict(&set, "2001:db8:77::9"), Verdict::Pass);
        assert_eq!(verdict(&set, "2001:db8:78::9"), Verdict::Use);
        let ours = "::ffff:198.51.100.9";
        assert_eq!(verdict(&set, ours), Verdict::Use);
        ip_batch("-4", "route add local 198.51.100.0/24 dev lo\n");
        while verdict(&set, ours) != Verdict::Pass {
            tell(&mut set, watch.next().await);
        }
        ip_batch("-4", "route del local 198.51.100.0/24 dev lo\n");
        while verdict(&set, ours) != Verdict::Use {
            tell(&mut set, watch.next().await);
        }
        watch.stop().await;
    });
}
