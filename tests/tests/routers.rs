//! Several routers on one link.

use std::{collections::BTreeSet, net::Ipv6Addr};

use anyhow::{Context as _, Result, ensure};
use mif_common::abi;
use mif_core::{
    pvd::{Change, What},
    wire::{NdOption, RecursiveDnsServers},
};
use mif_tests::{
    cgroup::Cgroup,
    deadline::{PATIENCE, bounded},
    flow::{Flow, Kind},
    internet::{SERVERS, at_echo},
    isp::{ISP_A, ISP_B},
    matrix,
    mif::{Daemon, Notices, Site},
    router::Daemon as Speaker,
    world::{SHARED_LINK, World},
};
use mif_user::control::Notice;

/// Times that each of two routers repeats itself.
const ROUNDS: usize = 50;

#[test]
fn each_provider_gets_its_own_packets() {
    bounded(6 * PATIENCE, || {
        let world = World::two_routers_one_link(Speaker::Radvd)?;
        let cgroup = Cgroup::new("host")?;
        let alone = matrix::run(&world, Some(&cgroup))?;
        ensure!(!alone.is_clean(), "the kernel alone needs no help here:\n{alone}");
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

/// Who carries `address`: router and interface.
fn carrier(site: &Site, address: Ipv6Addr) -> Result<abi::Source> {
    site.maps()?.source(address)?.context("the address is no source")
}

/// Waits until `router` carries `address`.
fn until_carried(site: &Site, notices: &mut Notices, address: Ipv6Addr, router: Ipv6Addr) -> Result<()> {
    let maps = site.maps()?;
    notices.until(&format!("{router} to carry {address}"), |_| {
        let carried = maps.source(address)?.is_some_and(|source| Ipv6Addr::from(source.next_hop) == router);
        Ok(carried.then_some(()))
    })
}

/// Makes each router repeat itself many times, and returns all changes that were told until all of it was heard.
fn repeat(world: &mut World, daemon: &Daemon<'_>) -> Result<Vec<Change>> {
    let mut notices = daemon.watch()?;
    for _ in 0..ROUNDS {
        for isp in [ISP_B, ISP_A] {
            let advertisement = ISP_A.advertisement();
            world.router(&isp).advertise(&advertisement)?;
        }
    }
    // Something new at last, to know the end.
    let mut last = ISP_A.advertisement();
    let server = RecursiveDnsServers { lifetime: 600, servers: vec![SERVERS[0]] };
    last.options.push(NdOption::RecursiveDnsServers(server));
    world.router(&ISP_B).advertise(&last)?;
    let mut changes = Vec::new();
    notices.until("the last advertisement to be heard", |notice| {
        match notice {
            Notice::Pvd(Change::PvdChanged { what, .. }) if what.contains(&What::DnsServers) => {
                return Ok(Some(()));
            }
            Notice::Pvd(change) => changes.push(change.clone()),
            // Deadlines are refreshed; that nothing else is, the caller sees.
            Notice::Tables { .. } | Notice::Kernel(_) => {}
        }
        Ok(None)
    })?;
    Ok(changes)
}

#[test]
fn redundant_gateways_share_an_address_and_the_better_one_carries_it() {
    bounded(6 * PATIENCE, || {
        let mut world = World::redundant_gateways(Speaker::Embedded)?;
        let cgroup = Cgroup::new("host")?;
        let host = world.host.namespace().clone();
        let site = Site::new(&host, &cgroup)?;
        let daemon = site.daemon::<&str>([])?;
        site.wait_for_routers()?;
        let address = world.source(&ISP_A)?;
        let first = carrier(&site, address)?;
        ensure!(Ipv6Addr::from(first.next_hop) == ISP_A.link_local(), "{first:?}");

        let changes = repeat(&mut world, &daemon)?;
        let lifetimes_only = |change: &Change| matches!(change, Change::PvdChanged { what, .. } if *what == BTreeSet::from([What::Lifetimes]));
        let others: Vec<_> = changes.iter().filter(|change| !lifetimes_only(change)).collect();
        ensure!(others.is_empty(), "advertisements that say the same changed {others:?}");
        let same = |source: abi::Source| abi::Source { valid_until: 0, ..source };
        ensure!(same(carrier(&site, address)?) == same(first), "the address moved");

        let flows = || -> Result<()> {
            for kind in [Kind::Tcp, Kind::UdpConnected, Kind::UdpUnconnected] {
                for flow in
                    [Flow::new(kind, at_echo(SERVERS[0])), Flow::new(kind, at_echo(SERVERS[1])).from(address)]
                {
                    let report = world.host.place(&cgroup).open(&flow)?;
                    ensure!(report.arrived, "{flow:?}: {report:?}");
                }
            }
            Ok(())
        };
        flows()?;
        daemon.stop()
    });
}

#[test]
fn when_one_gateway_withdraws_the_other_carries() {
    bounded(6 * PATIENCE, || {
        let mut world = World::redundant_gateways(Speaker::Radvd)?;
        let cgroup = Cgroup::new("host")?;
        let host = world.host.namespace().clone();
        let site = Site::new(&host, &cgroup)?;
        let daemon = site.daemon::<&str>([])?;
        site.wait_for_routers()?;
        let address = world.source(&ISP_A)?;
        let mut notices = daemon.watch()?;
        ensure!(Ipv6Addr::from(carrier(&site, address)?.next_hop) == ISP_A.link_local());

        world.router(&ISP_A).withdraw()?;
        until_carried(&site, &mut notices, address, ISP_B.link_local())?;
        world.forget()?;
        let report = world.host.place(&cgroup).open(&Flow::new(Kind::Tcp, at_echo(SERVERS[0])))?;
        ensure!(report.arrived, "{report:?}");
        ensure!(world.routers()[0].tap().seen()?.is_empty(), "the gateway that withdrew got packets");

        let advertisement = ISP_A.advertisement();
        world.router(&ISP_A).speak(Speaker::Radvd, &advertisement)?;
        until_carried(&site, &mut notices, address, ISP_A.link_local())?;
        daemon.stop()
    });
}

#[test]
fn when_one_gateway_dies_the_other_carries() {
    bounded(6 * PATIENCE, || {
        let mut world = World::redundant_gateways(Speaker::Embedded)?;
        let cgroup = Cgroup::new("host")?;
        // Neighbour discovery finds out within seconds rather than most of a minute (neigh/*/ in the kernel's ip-sysctl).
        for (name, value) in
            [("base_reachable_time_ms", 1000), ("delay_first_probe_time", 1), ("retrans_time_ms", 100)]
        {
            world.host.namespace().sysctl(&format!("net/ipv6/neigh/{SHARED_LINK}/{name}"), value)?;
        }
        let site = Site::new(world.host.namespace(), &cgroup)?;
        let daemon = site.daemon::<&str>([])?;
        site.wait_for_routers()?;
        let address = world.source(&ISP_A)?;
        let mut notices = daemon.watch()?;
        world.router(&ISP_A).fall_silent();
        world.routers()[0].namespace().ip("link set lan down\nlink set wan down")?;
        let _storm = world.host.place(&cgroup).storm(&Flow::new(Kind::UdpConnected, at_echo(SERVERS[0])))?;
        until_carried(&site, &mut notices, address, ISP_B.link_local())?;
        daemon.stop()
    });
}

/// A packet redirected to a neighbour that is not resolved yet would leave by that of its old route.
#[test]
fn routers_are_resolved_before_a_packet_needs_them() {
    bounded(6 * PATIENCE, || {
        let world = World::two_uplinks(Speaker::Embedded)?;
        let host = world.host.namespace();
        host.ip(&format!("neigh flush dev {}\nneigh flush dev {}", ISP_A.name, ISP_B.name))?;
        let cgroup = Cgroup::new("host")?;
        let site = Site::new(host, &cgroup)?;
        let daemon = site.daemon::<&str>([])?;
        for isp in [ISP_A, ISP_B] {
            let entry = format!("{} dev {} lladdr", isp.link_local(), isp.name);
            world.host.events().until(&format!("the neighbour entry {entry}"), || {
                Ok(host.ip_show(&["neigh"])?.contains(&entry).then_some(()))
            })?;
        }
        let with = matrix::run(&world, Some(&cgroup))?;
        ensure!(with.is_clean(), "with mif:\n{with}\nthe daemon said:\n{}", daemon.log()?);
        daemon.stop()
    });
}
