//! Redundant gateways: two routers of one provider on one link, so that a source may leave by either.

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
    echo::Transport,
    family::Family,
    flow::{Flow, Kind},
    internet::{SERVERS, at_echo},
    isp::{ISP_A, ISP_B, Isp},
    mif::{Daemon, Notices, Site},
    router::Daemon as Speaker,
    world::World,
};
use mif_user::control::Notice;

/// Datagrams of a flow of which one must be answered.
const ATTEMPTS: usize = 3;

/// Times that each of two routers repeats itself.
const ROUNDS: usize = 50;

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

/// The tables follow in both versions of IP, and in IPv6 the flows of open sockets go on by the other gateway. In IPv4 the kernel
/// keeps what it routes by a dead gateway to itself: see docs/kernel-support.md.
#[test]
fn when_one_gateway_dies_the_other_carries() {
    bounded(8 * PATIENCE, || {
        let mut world = World::redundant_gateways(Speaker::Embedded)?.dual_stack()?;
        let cgroup = Cgroup::new("host")?;
        world.notice_dead_routers_soon()?;
        let site = Site::new(world.host.namespace(), &cgroup)?;
        let daemon = site.daemon::<&str>([])?;
        site.wait_for_routers()?;
        let other = Isp { name: ISP_B.name, number: ISP_B.number, ..ISP_A };
        let gateways = |isp: &Isp| [isp.link_local(), isp.gateway_ipv4().to_ipv6_mapped()];
        let sources = [world.source(&ISP_A)?, world.source_ipv4(&ISP_A).to_ipv6_mapped()];
        for (source, gateway) in sources.into_iter().zip(gateways(&ISP_A)) {
            ensure!(
                Ipv6Addr::from(carrier(&site, source)?.next_hop) == gateway,
                "{gateway} carries {source}"
            );
        }
        let host = world.host.place(&cgroup);
        let stay = |flow: Flow| Flow { stay: true, ..flow };
        let server = at_echo(SERVERS[0]);
        let flows = [Kind::Tcp, Kind::UdpConnected, Kind::UdpUnconnected, Kind::UdpPktinfo]
            .map(|kind| stay(Flow::new(kind, server).from(sources[0])));
        let mut open = flows.iter().map(|flow| host.start(flow)).collect::<Result<Vec<_>>>()?;
        for (flow, application) in flows.iter().zip(&mut open) {
            let report = application.report()?;
            ensure!(report.arrived, "before: {flow:?}: {report:?}");
        }
        let mut notices = daemon.watch()?;
        world.kill(&ISP_A)?;
        let storm = |family: Family| {
            world.host.place(&cgroup).storm(&Flow::new(Kind::UdpConnected, at_echo(family.servers()[0])))
        };
        let storms = [storm(Family::Ipv6)?, storm(Family::Ipv4)?];
        for (source, gateway) in sources.into_iter().zip(gateways(&other)) {
            until_carried(&site, &mut notices, source, gateway)?;
        }
        drop(storms);
        for (flow, application) in flows.iter().zip(&mut open) {
            // A datagram may still be lost: now and then the kernel tries the dead router again (RFC 4191 §3.2).
            let mut report = application.again()?;
            for _ in 1..ATTEMPTS {
                if !report.arrived && flow.kind.transport() == Transport::Udp {
                    report = application.again()?;
                }
            }
            ensure!(report.arrived, "after: {flow:?}: {report:?}");
        }
        daemon.stop()
    });
}
