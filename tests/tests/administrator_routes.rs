//! The routes that the administrator, NetworkManager or systemd-networkd gave the kernel decide as before, in both versions of IP.

use anyhow::{Context as _, Result, ensure};
use ipnet::IpNet;
use mif_tests::{
    before::{Before, flows},
    cgroup::Cgroup,
    deadline::{PATIENCE, bounded},
    family::Family,
    flow::Report,
    isp::{ISP_A, ISP_B, Isp},
    matrix,
    mif::Site,
    router::Daemon,
    world::World,
};
use nix::errno::Errno;

/// Lines of `ip` in both versions of IP, what they are for, and what becomes then of free flows to the first and to the last of the
/// internet's servers.
struct Routes {
    what: &'static str,
    ipv6: &'static str,
    ipv4: &'static str,
    free: [Expected; 2],
}

/// What becomes of a free flow, with the kernel alone and with `mif`.
#[derive(Clone, Copy, Debug)]
enum Expected {
    /// It arrives from an address of this provider.
    By(Isp),
    /// It arrives from one of these addresses.
    From(&'static str, &'static str),
    /// Nothing is said about it: with the kernel alone it may fail, with `mif` it arrives.
    Unsaid,
    /// It fails at once, with this errno(3).
    Refused(Errno),
}
use Expected::{By, From, Refused, Unsaid};

/// What an administrator does by hand.
const BY_HAND: [Routes; 8] = [
    Routes {
        what: "a blackhole",
        ipv6: "route add blackhole 2001:db8:5353::/48",
        ipv4: "route add blackhole 192.0.2.0/24",
        free: [Unsaid, Refused(Errno::EINVAL)],
    },
    Routes {
        what: "an unreachable route",
        ipv6: "route add unreachable 2001:db8:5353::/48",
        ipv4: "route add unreachable 192.0.2.0/24",
        free: [Unsaid, Refused(Errno::EHOSTUNREACH)],
    },
    Routes {
        what: "a prohibited route",
        ipv6: "route add prohibit 2001:db8:5353::/48",
        ipv4: "route add prohibit 192.0.2.0/24",
        free: [Unsaid, Refused(Errno::EACCES)],
    },
    Routes {
        what: "a hole in a blackhole",
        ipv6: "route add blackhole 2001:db8:5353::/48\n\
               route add 2001:db8:5353::1/128 via fe80::b dev isp-b",
        ipv4: "route add blackhole 192.0.2.0/24\n\
               route add 192.0.2.1/32 via 198.18.11.11 dev isp-b",
        free: [Unsaid, By(ISP_B)],
    },
    Routes {
        what: "a source of its own",
        ipv6: "addr add 2001:db8:b:1::99/64 dev isp-b nodad\n\
               route add 2001:db8:5353::/48 via fe80::b dev isp-b src 2001:db8:b:1::99",
        ipv4: "addr add 198.18.11.99/25 dev isp-b\n\
               route add 192.0.2.0/24 via 198.18.11.11 dev isp-b src 198.18.11.99",
        free: [Unsaid, From("2001:db8:b:1::99", "198.18.11.99")],
    },
    Routes {
        what: "a source of its own for everything",
        ipv6: "addr add 2001:db8:b:1::99/64 dev isp-b nodad\n\
               route add default via fe80::b dev isp-b src 2001:db8:b:1::99 metric 50",
        ipv4: "addr add 198.18.11.99/25 dev isp-b\n\
               route add default via 198.18.11.11 dev isp-b src 198.18.11.99 metric 50",
        free: [From("2001:db8:b:1::99", "198.18.11.99"); 2],
    },
    Routes {
        what: "more specific routes by both uplinks",
        ipv6: "route add 2001:db8:5353::/48 via fe80::b dev isp-b\n\
               route add 2001:db8:ffff::/48 via fe80::a dev isp-a",
        ipv4: "route add 192.0.2.0/24 via 198.18.11.11 dev isp-b\n\
               route add 203.0.113.0/24 via 198.18.10.10 dev isp-a",
        free: [By(ISP_A), By(ISP_B)],
    },
    Routes {
        what: "halves that are more specific than any default route",
        ipv6: "route add ::/1 via fe80::b dev isp-b\n\
               route add 8000::/1 via fe80::b dev isp-b",
        ipv4: "route add 0.0.0.0/1 via 198.18.11.11 dev isp-b\n\
               route add 128.0.0.0/1 via 198.18.11.11 dev isp-b",
        free: [By(ISP_B); 2],
    },
];

/// Metrics by hand.
const METRICS: [Routes; 2] = [
    Routes {
        what: "a metric that prefers the second uplink",
        ipv6: "route add default via fe80::b dev isp-b proto static metric 50",
        ipv4: "route add default via 198.18.11.11 dev isp-b proto static metric 50",
        free: [By(ISP_B); 2],
    },
    Routes {
        what: "a metric that prefers the first uplink",
        ipv6: "route add default via fe80::a dev isp-a proto static metric 50",
        ipv4: "route add default via 198.18.10.10 dev isp-a proto static metric 50",
        free: [By(ISP_A); 2],
    },
];

/// What network managers do where the user wants the uplinks in another order than the world has.
const BY_MANAGERS: [Routes; 3] = [
    Routes {
        what: "one more route, which prefers the second uplink",
        ipv6: "route add default via fe80::b dev isp-b proto ra metric 50 pref medium",
        ipv4: "route add default via 198.18.11.11 dev isp-b proto dhcp src 198.18.11.100 metric 50",
        free: [By(ISP_B); 2],
    },
    Routes {
        what: "NetworkManager with ipv4.route-metric and ipv6.route-metric",
        ipv6: "route add default via fe80::a dev isp-a proto ra metric 600 pref medium\n\
               route add default via fe80::b dev isp-b proto ra metric 100 pref medium",
        ipv4: "route del default via 198.18.10.10 dev isp-a\n\
               route add default via 198.18.10.10 dev isp-a proto dhcp src 198.18.10.100 metric 600",
        free: [By(ISP_B); 2],
    },
    Routes {
        what: "networkd with RouteMetric=",
        ipv6: "route add default via fe80::a dev isp-a proto ra metric 512 expires 1800 pref medium\n\
               route add default via fe80::b dev isp-b proto ra metric 256 expires 1800 pref medium",
        ipv4: "route del default via 198.18.10.10 dev isp-a\n\
               route del default via 198.18.11.11 dev isp-b\n\
               route add default via 198.18.10.10 dev isp-a proto dhcp src 198.18.10.100 metric 512\n\
               route add default via 198.18.11.11 dev isp-b proto dhcp src 198.18.11.100 metric 256",
        free: [By(ISP_B); 2],
    },
];

/// A manager that configures IPv6 itself: the kernel takes no advertisements.
const ALL_BY_MANAGER: Routes = Routes {
    what: "NetworkManager without the kernel's help",
    ipv6: "addr add 2001:db8:a:1::100/64 dev isp-a nodad noprefixroute valid_lft 86400 preferred_lft 14400\n\
           addr add 2001:db8:b:1::100/64 dev isp-b nodad noprefixroute valid_lft 86400 preferred_lft 14400\n\
           route add 2001:db8:a:1::/64 dev isp-a proto ra metric 101 pref medium\n\
           route add 2001:db8:b:1::/64 dev isp-b proto ra metric 100 pref medium\n\
           route add default via fe80::a dev isp-a proto ra metric 101 pref medium\n\
           route add default via fe80::b dev isp-b proto ra metric 100 pref medium",
    ipv4: "route del default via 198.18.10.10 dev isp-a\n\
           route add default via 198.18.10.10 dev isp-a proto dhcp src 198.18.10.100 metric 102",
    free: [By(ISP_B); 2],
};

impl Expected {
    fn check(self, report: &Report, family: Family, alone: bool) -> Result<()> {
        let arrives_from = |net: IpNet| -> Result<()> {
            let source = report.source().context("no source")?;
            ensure!(report.arrived && net.contains(&source), "from {source}, expected of {net}");
            Ok(())
        };
        let ipv6 = family == Family::Ipv6;
        match self {
            By(isp) => arrives_from(if ipv6 { isp.lan.into() } else { isp.lan_ipv4.into() }),
            From(address, _) if ipv6 => arrives_from(IpNet::new_assert(address.parse()?, 128)),
            From(_, address) => arrives_from(IpNet::new_assert(address.parse()?, 32)),
            Unsaid => {
                ensure!(report.arrived || alone, "did not arrive");
                Ok(())
            }
            Refused(errno) => {
                ensure!(
                    !report.arrived && report.errno == Some(errno as i32),
                    "was not refused with {errno}"
                );
                Ok(())
            }
        }
    }
}

/// Whether flows and replies from either provider's address still leave by that provider, whatever the routes prefer. A more
/// specific route of the administrator stands for all sources.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Others {
    ByTheirProvider,
    ByTheRoute,
}

fn kernel_makes_the_rest(routes: &Routes, others: Others) -> Result<()> {
    let world = World::two_uplinks(Daemon::Radvd)?.dual_stack()?;
    world.host.namespace().ip(routes.ipv6)?;
    check_routes(&world, routes, others)
}

fn check_routes(world: &World, routes: &Routes, others: Others) -> Result<()> {
    let cgroup = Cgroup::new("host")?;
    let host = world.host.place(&cgroup);
    world.host.namespace().ip4(routes.ipv4)?;
    let check = |when: &str, alone: bool| -> Result<()> {
        for family in Family::ALL {
            let [first, _, last] = family.servers();
            for (server, expected) in [first, last].into_iter().zip(routes.free) {
                for (flow, report) in Before::of(host, flows(server, &[]))?.each() {
                    expected
                        .check(report, family, alone)
                        .with_context(|| format!("{}, {when}: {flow:?}: {report:?}", routes.what))?;
                }
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
    if others == Others::ByTheirProvider {
        let with = matrix::run(world, Some(&cgroup))?;
        ensure!(with.is_clean(), "{}, with mif:\n{with}", routes.what);
    }
    daemon.stop()
}

#[test]
fn routes_by_hand_decide_as_before() {
    let check = |routes| kernel_makes_the_rest(routes, Others::ByTheRoute);
    bounded(12 * PATIENCE, move || BY_HAND.iter().try_for_each(check));
}

#[test]
fn metrics_decide_as_before() {
    let check = |routes| kernel_makes_the_rest(routes, Others::ByTheirProvider);
    bounded(10 * PATIENCE, move || METRICS.iter().chain(&BY_MANAGERS).try_for_each(check));
}

#[test]
fn a_manager_that_configures_ipv6_itself_decides_as_before() {
    bounded(4 * PATIENCE, || {
        let routes = &ALL_BY_MANAGER;
        let mut world = World::silent_uplinks()?;
        for uplink in world.uplinks() {
            world.host.namespace().sysctl(&format!("net/ipv6/conf/{uplink}/accept_ra"), 0)?;
        }
        world.host.namespace().ip(routes.ipv6)?;
        world.speak(Daemon::Radvd)?;
        check_routes(&world.dual_stack()?, routes, Others::ByTheirProvider)
    });
}
