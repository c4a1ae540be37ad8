//! Routers of two providers on one link (RFC 8028): each gets the packets that have its source, in both versions of IP.

use std::net::{IpAddr, Ipv6Addr};

use anyhow::{Result, ensure};
use mif_common::abi;
use mif_tests::{
    application::Storm,
    before::{Before, flows},
    cgroup::Cgroup,
    deadline::{PATIENCE, bounded},
    family::Family,
    flow::{Flow, Kind},
    internet::at_echo,
    isp::{ISP_A, ISP_B, Isp},
    matrix,
    mif::{Notices, Site},
    router::{Daemon as Speaker, LAN},
    world::World,
};
use mif_user::{kernel::maps::Maps, mode::Mode};

/// The versions of IP that have routers of their own.
const VERSIONS: [Family; 2] = [Family::Ipv6, Family::Ipv4];

#[test]
fn each_provider_gets_its_own_packets() {
    bounded(6 * PATIENCE, || {
        let world = World::two_routers_one_link(Speaker::Radvd)?.dual_stack()?;
        let cgroup = Cgroup::new("host")?;
        let alone = matrix::run(&world, Some(&cgroup))?;
        for family in Family::ALL {
            let filtered = alone.family(family).any(|outcome| outcome.foreign > 0);
            ensure!(filtered, "the kernel alone needs no help in {family}:\n{alone}");
        }
        let site = Site::new(world.host.namespace(), &cgroup)?;
        let daemon = site.daemon::<&str>([])?;
        site.wait_for_routers()?;
        let with = matrix::run(&world, Some(&cgroup))?;
        ensure!(with.is_clean(), "with mif:\n{with}\nthe daemon said:\n{}", daemon.log()?);
        daemon.stop()?;
        let after = matrix::run(&world, Some(&cgroup))?;
        ensure!(after.is_clean(), "after the daemon ended:\n{after}");
        Ok(())
    });
}

/// A neighbour is not beyond any router, also where it is in the prefix of the other provider than the source.
#[test]
fn neighbours_are_reached_directly() {
    bounded(6 * PATIENCE, || {
        let world = World::two_routers_one_link(Speaker::Radvd)?.dual_stack()?;
        let neighbour = world.neighbour()?;
        let cgroup = Cgroup::new("host")?;
        let host = world.host.place(&cgroup);
        let mut all = Vec::new();
        for family in Family::ALL {
            let sources = [world.source_of(family, &ISP_A)?, world.source_of(family, &ISP_B)?];
            all.extend(flows(neighbour.address_of(family), &sources));
        }
        let before = Before::of(host, all)?;
        before.all_arrived()?;
        let site = Site::new(world.host.namespace(), &cgroup)?;
        let daemon = site.daemon::<&str>([])?;
        site.wait_for_routers()?;
        world.forget()?;
        before.compare(host)?;
        for router in world.routers() {
            let seen = router.tap().seen()?;
            ensure!(seen.is_empty(), "{} got packets for a neighbour: {seen:#?}", router.isp().name);
        }
        daemon.stop()
    });
}

/// Where the flows of processes without a policy go.
fn chosen(maps: &Maps, family: Family) -> Result<Option<IpAddr>> {
    let destination = match family.servers()[0] {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    };
    let decision = maps.decision(abi::DEFAULT_VIEW, destination)?;
    Ok(decision.map(|decision| IpAddr::from(Ipv6Addr::from(decision.source)).to_canonical()))
}

/// Waits until a provider is the one for new flows, in both versions of IP.
fn until_chosen(maps: &Maps, notices: &mut Notices, isp: &Isp) -> Result<()> {
    let chosen = || -> Result<bool> {
        let sources = [chosen(maps, VERSIONS[0])?, chosen(maps, VERSIONS[1])?];
        Ok(sources.into_iter().all(|source| source.is_some_and(|source| isp.owns(source))))
    };
    if chosen()? {
        return Ok(());
    }
    notices.until(&format!("{} to be the provider of new flows", isp.name), |_| Ok(chosen()?.then_some(())))
}

/// Those of the flows without a wish of their own that `which` names arrive from this provider's addresses.
fn free_flows_are_by(world: &World, cgroup: &Cgroup, isp: &Isp, which: impl Fn(&Flow) -> bool) -> Result<()> {
    for family in Family::ALL {
        let source = world.source_of(family, isp)?.to_canonical();
        let to_internet = flows(family.servers()[0], &[]).into_iter().filter(&which).collect();
        for (flow, report) in Before::of(world.host.place(cgroup), to_internet)?.each() {
            ensure!(
                report.arrived && report.source() == Some(source),
                "{flow:?}: {report:?}, not by {}",
                isp.name
            );
        }
    }
    Ok(())
}

/// Opens flows of this kind without end, one after the other.
fn storm(
    world: &World,
    cgroup: &Cgroup,
    kind: Kind,
    family: Family,
    source: Option<IpAddr>,
) -> Result<Storm> {
    let flow = Flow::new(kind, at_echo(family.servers()[0]));
    world.host.place(cgroup).storm(&Flow { bind: source, ..flow })
}

/// What happens when the first provider's router dies, and when it is back: new flows take the other router, and come back although
/// no packet was for the first meanwhile.
fn dies_and_comes_back(mut world: World) -> Result<()> {
    world.notice_dead_routers_soon()?;
    let cgroup = Cgroup::new("host")?;
    let site = Site::new(world.host.namespace(), &cgroup)?;
    let daemon = site.daemon::<&str>([])?;
    site.wait_for_routers()?;
    let (maps, mut notices) = (site.maps()?, daemon.watch()?);
    until_chosen(&maps, &mut notices, &ISP_A)?;
    free_flows_are_by(&world, &cgroup, &ISP_A, |_| true)?;

    world.kill(&ISP_A)?;
    let storms = [
        storm(&world, &cgroup, Kind::UdpConnected, Family::Ipv6, None)?,
        storm(&world, &cgroup, Kind::UdpConnected, Family::Ipv4, None)?,
    ];
    until_chosen(&maps, &mut notices, &ISP_B)?;
    drop(storms);
    world.forget()?;
    free_flows_are_by(&world, &cgroup, &ISP_B, |_| true)?;
    // What has the dead router's source, the other provider would not take.
    for family in Family::ALL {
        let source = world.source_of(family, &ISP_A)?;
        let bound = flows(family.servers()[0], &[source]).into_iter().filter(|flow| flow.bind.is_some());
        for (flow, report) in Before::of(world.host.place(&cgroup), bound.collect())?.each() {
            ensure!(!report.arrived, "{flow:?}: {report:?} by a dead router");
        }
    }
    world.check_no_foreign()?;

    world.revive(&ISP_A)?;
    let storms = [
        storm(&world, &cgroup, Kind::UdpConnected, Family::Ipv6, None)?,
        storm(&world, &cgroup, Kind::UdpConnected, Family::Ipv4, None)?,
    ];
    until_chosen(&maps, &mut notices, &ISP_A)?;
    drop(storms);
    world.check_no_foreign()?;
    let advertisement = ISP_A.advertisement();
    world.router(&ISP_A).speak(Speaker::Embedded, &advertisement)?;
    let with = matrix::run(&world, Some(&cgroup))?;
    ensure!(with.is_clean(), "when the router is back:\n{with}");
    daemon.stop()
}

#[test]
fn a_dead_router_of_an_uplink_loses_new_flows_to_the_other_uplink() {
    bounded(10 * PATIENCE, || dies_and_comes_back(World::two_uplinks(Speaker::Embedded)?.dual_stack()?));
}

#[test]
fn a_dead_router_of_one_link_loses_new_flows_to_the_other() {
    bounded(10 * PATIENCE, || {
        dies_and_comes_back(World::two_routers_one_link(Speaker::Embedded)?.dual_stack()?)
    });
}

/// While a dead router is asked whether it is back, nothing waits for its answer, not even what the kernel would send there.
#[test]
fn asking_a_dead_router_costs_no_packet() {
    bounded(8 * PATIENCE, || {
        let mut world = World::two_uplinks(Speaker::Embedded)?.dual_stack()?;
        world.notice_dead_routers_soon()?;
        let cgroup = Cgroup::new("host")?;
        let site = Site::new(world.host.namespace(), &cgroup)?;
        let daemon = site.daemon::<&str>([])?;
        site.wait_for_routers()?;
        let (maps, mut notices) = (site.maps()?, daemon.watch()?);
        until_chosen(&maps, &mut notices, &ISP_A)?;
        free_flows_are_by(&world, &cgroup, &ISP_A, |_| true)?;
        world.kill(&ISP_A)?;
        let storms = VERSIONS.map(|family| storm(&world, &cgroup, Kind::UdpConnected, family, None));
        until_chosen(&maps, &mut notices, &ISP_B)?;
        drop(storms);
        // Long enough for all that follows.
        let host = world.host.namespace();
        host.sysctl(&format!("net/ipv6/neigh/{}/retrans_time_ms", ISP_A.name), 10_000)?;
        let entry = format!("{} dev {} ", ISP_A.link_local(), ISP_A.name);
        world.host.events().until(&format!("the daemon to ask {entry}"), || {
            let neighbours = host.ip_show(&["-6", "neigh"])?;
            let asked = |line: &str| line.starts_with(&entry) && line.trim_end().ends_with("PROBE");
            Ok(neighbours.lines().any(asked).then_some(()))
        })?;
        free_flows_are_by(&world, &cgroup, &ISP_B, |_| true)?;
        daemon.stop()
    });
}

/// A gateway that is another machine when it is back is found, although it says nothing of itself.
#[test]
fn a_dead_router_that_is_replaced() {
    bounded(6 * PATIENCE, || {
        let mut world = World::two_uplinks(Speaker::Embedded)?.dual_stack()?;
        world.notice_dead_routers_soon()?;
        let cgroup = Cgroup::new("host")?;
        let site = Site::new(world.host.namespace(), &cgroup)?;
        let daemon = site.daemon::<&str>([])?;
        site.wait_for_routers()?;
        let (maps, mut notices) = (site.maps()?, daemon.watch()?);
        until_chosen(&maps, &mut notices, &ISP_A)?;
        free_flows_are_by(&world, &cgroup, &ISP_A, |_| true)?;
        world.kill(&ISP_A)?;
        let storms = [
            storm(&world, &cgroup, Kind::UdpConnected, Family::Ipv6, None)?,
            storm(&world, &cgroup, Kind::UdpConnected, Family::Ipv4, None)?,
        ];
        until_chosen(&maps, &mut notices, &ISP_B)?;
        let namespace = world.router(&ISP_A).namespace();
        namespace.ip(&format!("link set {LAN} address 02:00:5e:00:53:01"))?;
        world.revive(&ISP_A)?;
        until_chosen(&maps, &mut notices, &ISP_A)?;
        drop(storms);
        free_flows_are_by(&world, &cgroup, &ISP_A, |_| true)?;
        daemon.stop()
    });
}

/// What is sent from the address of a dead router's provider waits for that router, and reaches no other one when it is back.
#[test]
fn what_waits_for_a_dead_router_reaches_no_other() {
    bounded(10 * PATIENCE, || {
        let mut world = World::two_routers_one_link(Speaker::Embedded)?.dual_stack()?;
        world.notice_dead_routers_soon()?;
        let cgroup = Cgroup::new("host")?;
        let site = Site::new(world.host.namespace(), &cgroup)?;
        let daemon = site.daemon::<&str>([])?;
        site.wait_for_routers()?;
        let (maps, mut notices) = (site.maps()?, daemon.watch()?);
        until_chosen(&maps, &mut notices, &ISP_A)?;
        for _ in 0..2 {
            world.kill(&ISP_A)?;
            world.forget()?;
            let mut storms = Vec::new();
            for family in VERSIONS {
                let source = Some(world.source_of(family, &ISP_A)?);
                for kind in [Kind::Tcp, Kind::UdpConnected, Kind::UdpUnconnected] {
                    storms.push(storm(&world, &cgroup, kind, family, source)?);
                }
            }
            until_chosen(&maps, &mut notices, &ISP_B)?;
            world.revive(&ISP_A)?;
            until_chosen(&maps, &mut notices, &ISP_A)?;
            drop(storms);
            world.check_no_foreign()?;
        }
        daemon.stop()
    });
}

#[test]
fn a_router_that_withdraws_loses_what_the_other_provider_takes() {
    bounded(8 * PATIENCE, || {
        let mut world = World::two_routers_one_link(Speaker::Radvd)?.dual_stack()?;
        let cgroup = Cgroup::new("host")?;
        let pinned = cgroup.child("pinned")?;
        let site = Site::new(world.host.namespace(), &cgroup)?;
        let daemon = site.daemon::<&str>([])?;
        site.wait_for_routers()?;
        let (maps, mut notices) = (site.maps()?, daemon.watch()?);
        until_chosen(&maps, &mut notices, &ISP_A)?;
        daemon.attach(&pinned, &ISP_A.pvd(mif_tests::world::SHARED_LINK), Mode::Strict)?;

        // What a DHCP client does when the server offers no router any more.
        let route = format!("default via {} dev lan0 proto dhcp", ISP_A.gateway_ipv4());
        let source = world.source_ipv4(&ISP_A);
        world.router(&ISP_A).withdraw()?;
        world.host.namespace().ip4(&format!("route del {route}"))?;
        until_chosen(&maps, &mut notices, &ISP_B)?;
        world.forget()?;
        free_flows_are_by(&world, &cgroup, &ISP_B, |_| true)?;
        world.check_no_foreign()?;
        // The pinned cgroup has the source still, and nobody to send it to.
        world.forget()?;
        let a = world.source(&ISP_A)?;
        let server = Family::Ipv6.servers()[1];
        let all = flows(server, &[a.into()]);
        for (flow, report) in Before::of(world.host.place(&pinned), all)?.each() {
            ensure!(!report.arrived && report.errno.is_some(), "{flow:?}: {report:?}, not refused");
        }
        for router in world.routers() {
            // Not the last words of the flows before.
            let mut seen = router.tap().seen()?;
            seen.retain(|seen| seen.headers.destination == server);
            ensure!(seen.is_empty(), "{} got packets of a pinned cgroup: {seen:#?}", router.isp().name);
        }

        let advertisement = ISP_A.advertisement();
        world.router(&ISP_A).speak(Speaker::Radvd, &advertisement)?;
        world.host.namespace().ip4(&format!("route prepend {route} src {source} metric 100"))?;
        until_chosen(&maps, &mut notices, &ISP_A)?;
        let with = matrix::run(&world, Some(&cgroup))?;
        ensure!(with.is_clean(), "when the router is back:\n{with}");
        daemon.stop()
    });
}

/// A packet redirected to a neighbour that is not resolved yet would leave by that of its old route.
#[test]
fn routers_are_resolved_before_a_packet_needs_them() {
    bounded(6 * PATIENCE, || {
        let world = World::two_uplinks(Speaker::Embedded)?.dual_stack()?;
        let host = world.host.namespace();
        let flush = format!("neigh flush dev {}\nneigh flush dev {}", ISP_A.name, ISP_B.name);
        host.ip(&flush)?;
        host.ip4(&flush)?;
        let cgroup = Cgroup::new("host")?;
        let site = Site::new(host, &cgroup)?;
        let daemon = site.daemon::<&str>([])?;
        for isp in [ISP_A, ISP_B] {
            for gateway in [IpAddr::from(isp.link_local()), isp.gateway_ipv4().into()] {
                let entry = format!("{gateway} dev {} lladdr", isp.name);
                world.host.events().until(&format!("the neighbour entry {entry}"), || {
                    Ok(host.ip_show(&["neigh"])?.contains(&entry).then_some(()))
                })?;
            }
        }
        let with = matrix::run(&world, Some(&cgroup))?;
        ensure!(with.is_clean(), "with mif:\n{with}\nthe daemon said:\n{}", daemon.log()?);
        daemon.stop()
    });
}
