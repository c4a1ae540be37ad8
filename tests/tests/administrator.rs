//! What the administrator told the kernel goes on working: bridges, tunnels, static routes, VPNs.

use std::net::Ipv6Addr;

use anyhow::{Context as _, Result, ensure};
use mif_common::abi::config_flags;
use mif_tests::{
    application::Place,
    cgroup::Cgroup,
    deadline::{PATIENCE, bounded},
    flow::{Flow, Kind, Report},
    internet::{SERVERS, at_echo},
    isp::{ISP_A, ISP_B},
    matrix,
    mif::Site,
    peer::Peer,
    router::Daemon,
    world::World,
};
use mif_user::mode::Mode;

/// The host's addresses on its bridge and its tunnels (see [`Peer`]).
const BRIDGE: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xc, 1, 0, 0, 0, 1);
const TUNNEL: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xd, 0, 0, 0, 0, 1);
const VPN: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xe, 0, 0, 0, 0, 1);

const KINDS: [Kind; 4] = [Kind::Tcp, Kind::UdpConnected, Kind::UdpUnconnected, Kind::UdpPktinfo];

/// Flows of all kinds to `destination`: free, and from each of `sources`.
fn flows(destination: Ipv6Addr, sources: &[Ipv6Addr]) -> Vec<Flow> {
    let kinds = || KINDS.into_iter().map(|kind| Flow::new(kind, at_echo(destination)));
    let free = kinds().filter(|flow| flow.kind != Kind::UdpPktinfo);
    free.chain(sources.iter().flat_map(|&source| kinds().map(move |flow| flow.from(source)))).collect()
}

/// The source that a flow had.
fn source(report: &Report) -> Option<Ipv6Addr> {
    report.local.map(|local| *local.ip())
}

/// What the kernel alone does, and what it does with `mif`.
struct Before {
    flows: Vec<Flow>,
    reports: Vec<Report>,
}

impl Before {
    fn of(place: Place<'_>, flows: Vec<Flow>) -> Result<Self> {
        let reports = place.open_all(&flows)?;
        Ok(Self { flows, reports })
    }

    fn all_arrived(&self) -> Result<()> {
        for (flow, report) in self.flows.iter().zip(&self.reports) {
            ensure!(report.arrived, "the kernel alone fails at {flow:?}: {report:?}");
        }
        Ok(())
    }

    /// Nothing that arrived stops arriving, and a free flow has the source that it had.
    fn compare(&self, place: Place<'_>) -> Result<()> {
        let after = place.open_all(&self.flows)?;
        for ((flow, before), after) in self.flows.iter().zip(&self.reports).zip(&after) {
            if before.arrived {
                ensure!(after.arrived, "{flow:?} was {before:?} and is {after:?}");
                ensure!(source(before) == source(after), "{flow:?} was {before:?} and is {after:?}");
            }
        }
        Ok(())
    }
}

/// Gives the peer a way back to all addresses of the host.
fn answer_all(peer: &Peer, route: &str) -> Result<()> {
    peer.namespace().ip(&format!("route add default {route}"))
}

#[test]
fn a_container_bridge_and_a_tunnel_go_on_working() {
    bounded(6 * PATIENCE, || {
        let world = World::two_uplinks(Daemon::Radvd)?;
        let (container, tunnel) = (world.container()?, world.tunnel()?);
        answer_all(&container, "via 2001:db8:c:1::1 dev eth0")?;
        answer_all(&tunnel, "dev tun0")?;
        let addresses = [world.source(&ISP_A)?, world.source(&ISP_B)?, BRIDGE, TUNNEL];
        let cgroup = Cgroup::new("host")?;
        let host = world.host.place(&cgroup);
        let inside = Place::new(container.namespace());
        let outwards = [container.address(), tunnel.address()].map(|address| flows(address, &addresses));
        let to_host = addresses.iter().flat_map(|&address| flows(address, &[])).collect();

        let server = host.serve(&[at_echo(Ipv6Addr::UNSPECIFIED)])?;
        let before = [Before::of(host, outwards.concat())?, Before::of(inside, to_host)?];
        before.iter().try_for_each(Before::all_arrived)?;
        let site = Site::new(world.host.namespace(), &cgroup)?;
        let daemon = site.daemon::<&str>([])?;
        before[0].compare(host)?;
        before[1].compare(inside)?;
        drop(server);
        let with = matrix::run(&world, Some(&cgroup))?;
        ensure!(with.is_clean(), "with mif:\n{with}\nthe daemon said:\n{}", daemon.log()?);
        daemon.stop()
    });
}

#[test]
fn a_vpn_with_policy_rules_decides_until_its_rules_go() {
    bounded(6 * PATIENCE, || {
        let world = World::two_uplinks(Daemon::Radvd)?;
        let vpn = world.vpn()?;
        let addresses = [world.source(&ISP_A)?, world.source(&ISP_B)?, VPN];
        let cgroup = Cgroup::new("host")?;
        let pinned = cgroup.child("pinned")?;
        let host = world.host.place(&cgroup);
        let all = [vpn.address(), SERVERS[0], SERVERS[2]].map(|address| flows(address, &addresses)).concat();
        let to_internet = SERVERS.iter().flat_map(|&server| flows(server, &[])).collect::<Vec<_>>();

        let before = Before::of(host, all)?;
        before.all_arrived()?;
        let site = Site::new(world.host.namespace(), &cgroup)?;
        let daemon = site.daemon::<&str>([])?;
        world.forget()?;
        before.compare(host)?;
        ensure!(world.internet.echo().arrivals().is_empty(), "the VPN takes all traffic");
        ensure!(site.maps()?.config()?.flags & config_flags::FOREIGN_RULES_IPV6 != 0);
        let rules = site.wait_for_state("the rules in the state", |state| {
            (!state.foreign_rules.is_empty()).then(|| state.foreign_rules.join("\n"))
        })?;
        ensure!(rules.contains("51820") && rules.lines().count() == 2, "{rules}");

        // A cgroup that was pinned on purpose stays pinned.
        daemon.attach(&pinned, &ISP_B.pvd(ISP_B.name), Mode::Strict)?;
        for (flow, report) in to_internet.iter().zip(world.host.place(&pinned).open_all(&to_internet)?) {
            ensure!(report.arrived && source(&report) == Some(addresses[1]), "{flow:?}: {report:?}");
        }
        ensure!(world.internet.echo().arrivals().len() == to_internet.len());
        world.check_no_foreign()?;

        world.host.namespace().ip("rule del not fwmark 51820 table 51820\n\
                                   rule del table main suppress_prefixlength 0")?;
        site.wait_for_state("the rules to leave the state", |state| {
            state.foreign_rules.is_empty().then_some(())
        })?;
        ensure!(site.maps()?.config()?.flags & config_flags::FOREIGN_RULES_IPV6 == 0);
        let with = matrix::run(&world, Some(&cgroup))?;
        ensure!(with.is_clean(), "with mif:\n{with}\nthe daemon said:\n{}", daemon.log()?);
        daemon.stop()
    });
}

/// Lines of `ip`, what they are for, and the source that free flows to the first and to the last server have then.
struct Routes {
    what: &'static str,
    lines: &'static str,
    sources: [Expected; 2],
}

/// What becomes of a free flow.
#[derive(Clone, Copy, Debug)]
enum Expected {
    /// It arrives from this address.
    From(&'static str),
    /// Nothing is said about it: with the kernel alone it may fail, with `mif` it arrives.
    Unsaid,
    /// It fails at once.
    Refused,
}

const ROUTES: [Routes; 5] = [
    Routes {
        what: "a blackhole",
        lines: "route add blackhole 2001:db8:5353::/48",
        sources: [Expected::Unsaid, Expected::Refused],
    },
    Routes {
        what: "a source of its own",
        lines: "addr add 2001:db8:b:1::99/64 dev isp-b nodad\n\
                route add 2001:db8:5353::/48 via fe80::b dev isp-b src 2001:db8:b:1::99",
        sources: [Expected::Unsaid, Expected::From("2001:db8:b:1::99")],
    },
    Routes {
        what: "a more specific route by the second uplink",
        lines: "route add 2001:db8:5353::/48 via fe80::b dev isp-b\n\
                route add 2001:db8:ffff::/48 via fe80::a dev isp-a",
        sources: [Expected::From("2001:db8:a:1::/64"), Expected::From("2001:db8:b:1::/64")],
    },
    Routes {
        what: "a metric that prefers the second uplink",
        lines: "route add default via fe80::b dev isp-b proto static metric 100",
        sources: [Expected::From("2001:db8:b:1::/64"); 2],
    },
    Routes {
        what: "a metric that prefers the first uplink",
        lines: "route add default via fe80::a dev isp-a proto static metric 100",
        sources: [Expected::From("2001:db8:a:1::/64"); 2],
    },
];

impl Expected {
    fn check(self, report: &Report, alone: bool) -> Result<()> {
        match self {
            Self::From(prefix) => {
                let net: ipnet::Ipv6Net =
                    if prefix.contains('/') { prefix.parse()? } else { format!("{prefix}/128").parse()? };
                let source = source(report).context("no source")?;
                ensure!(report.arrived && net.contains(&source), "from {source}, expected {prefix}");
            }
            Self::Unsaid => ensure!(report.arrived || alone, "did not arrive"),
            Self::Refused => ensure!(!report.arrived && report.errno.is_some(), "was not refused"),
        }
        Ok(())
    }
}

fn check_routes(routes: &Routes) -> Result<()> {
    let world = World::two_uplinks(Daemon::Radvd)?;
    let cgroup = Cgroup::new("host")?;
    let host = world.host.place(&cgroup);
    world.host.namespace().ip(routes.lines)?;
    let to_both = [SERVERS[0], SERVERS[2]].map(|server| flows(server, &[]));
    let check = |when: &str, alone: bool| -> Result<()> {
        for (flows, expected) in to_both.iter().zip(routes.sources) {
            for (flow, report) in flows.iter().zip(host.open_all(flows)?) {
                expected
                    .check(&report, alone)
                    .with_context(|| format!("{}, {when}: {flow:?}: {report:?}", routes.what))?;
            }
        }
        Ok(())
    };
    check("the kernel alone", true)?;
    let site = Site::new(world.host.namespace(), &cgroup)?;
    let daemon = site.daemon::<&str>([])?;
    world.forget()?;
    check("with mif", false).with_context(|| daemon.log().unwrap_or_default())?;
    world.check_no_foreign().context(routes.what)?;
    daemon.stop()
}

#[test]
fn static_routes_and_metrics_decide_as_before() {
    bounded(6 * PATIENCE, || ROUTES.iter().try_for_each(check_routes));
}

#[test]
fn an_interface_that_is_down_is_not_used() {
    bounded(4 * PATIENCE, || {
        let world = World::two_uplinks(Daemon::Radvd)?;
        let cgroup = Cgroup::new("host")?;
        let host = world.host.place(&cgroup);
        let (a, b) = (world.source(&ISP_A)?, world.source(&ISP_B)?);
        world.host.namespace().ip("link set isp-a down")?;
        let site = Site::new(world.host.namespace(), &cgroup)?;
        let daemon = site.daemon::<&str>([])?;
        for flow in flows(SERVERS[0], &[b]) {
            let report = host.open(&flow)?;
            ensure!(
                report.arrived && source(&report) == Some(b),
                "{flow:?}: {report:?}\n{}\n{}\n{:?}",
                world.host.namespace().ip_show(&["-6", "route"])?,
                world.host.namespace().ip_show(&["neigh"])?,
                world.routers().iter().map(|r| r.tap().seen()).collect::<Vec<_>>()
            );
        }
        ensure!(site.maps()?.source(a)?.is_none(), "an address of an interface that is down is a source");
        world.host.namespace().ip("link set isp-a up")?;
        world.host.wait_for_address(&ISP_A.lan)?;
        let mut notices = daemon.watch()?;
        if site.maps()?.source(a)?.is_none() {
            let carried = |_: &_| Ok(site.maps()?.source(a)?.map(|_| ()));
            notices.until("the first uplink to be a PvD again", carried)?;
        }
        world.check_no_foreign()?;
        daemon.stop()
    });
}
