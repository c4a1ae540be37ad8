//! Leases by real servers: what they give becomes part of the PvD, and flows use it.

use anyhow::{Context as _, Result, ensure};
use mif_core::wire::{NdOption, RouterAdvertisement};
use mif_tests::{
    cgroup::Cgroup,
    deadline::{PATIENCE, bounded},
    dhcp_server::{DhcpServer, Offer, Program},
    flow::{Flow, Kind},
    internet::{SERVERS, at_echo},
    isp::{ISP_A, Isp},
    mif::Site,
    router::{Daemon as Speaker, LAN},
    world::World,
};

/// What a router advertises where addresses come from DHCPv6 (M): its prefix is on the link, and nobody makes addresses of it.
fn managed(isp: &Isp) -> RouterAdvertisement {
    let mut advertisement = isp.advertisement();
    advertisement.header.managed = true;
    for option in &mut advertisement.options {
        if let NdOption::PrefixInformation(prefix) = option {
            prefix.autonomous = false;
        }
    }
    advertisement
}

fn leased_and_used(program: Program) -> Result<()> {
    let mut world = World::silent_uplinks()?;
    let cgroup = Cgroup::new("host")?;
    let site = Site::new(world.host.namespace(), &cgroup)?;
    let offer = Offer::new(ISP_A.lan, ISP_A.number);
    world.router(&ISP_A).speak(Speaker::Radvd, &managed(&ISP_A))?;
    let server = DhcpServer::start(world.router(&ISP_A).namespace(), LAN, program, &offer)?;
    let daemon = site.daemon::<&str>([])?;
    let found = world.host.wait_for_address(&ISP_A.lan);
    let address = found.with_context(|| {
        format!("{}\n{}\n{:?}", server.log(), daemon.log().unwrap_or_default(), site.says(["status"]))
    })?;
    let (first, last) = offer.pool.context("the offer has a pool")?;
    ensure!((first..=last).contains(&address), "{address}");
    let found = site.wait_for_state("the PvD to have what was leased", |state| {
        let pvd = state.pvds.iter().find(|pvd| pvd.id == ISP_A.pvd(ISP_A.name))?;
        let has = pvd.sources.iter().any(|source| source.address == address);
        (has && pvd.dns_servers.iter().any(|fact| fact.value == offer.dns_servers[0])).then_some(())
    });
    found.with_context(|| format!("{}\n{:?}", daemon.log().unwrap_or_default(), site.says(["pvd"])))?;
    for kind in [Kind::Tcp, Kind::UdpConnected, Kind::UdpUnconnected] {
        let report = world.host.place(&cgroup).open(&Flow::new(kind, at_echo(SERVERS[0])))?;
        ensure!(report.arrived && report.source() == Some(address.into()), "{kind:?}: {report:?}");
    }
    world.check_no_foreign()?;
    let status = site.says(["status"])?;
    ensure!(status.contains("bound") && status.contains(&address.to_string()), "{status}");
    daemon.stop()
}

#[test]
fn kea() {
    bounded(3 * PATIENCE, || leased_and_used(Program::Kea));
}

#[test]
fn dnsmasq() {
    bounded(3 * PATIENCE, || leased_and_used(Program::Dnsmasq));
}

#[test]
fn isc_dhcpd() {
    bounded(3 * PATIENCE, || leased_and_used(Program::IscDhcpd));
}
