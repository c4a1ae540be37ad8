//! Leases by real servers: what they give becomes part of the PvD, and flows use it.

use anyhow::{Context as _, Result, ensure};
use mif_tests::{
    deadline::{PATIENCE, bounded},
    dhcp_server::{
        DhcpServer, Offer, Program,
        scene::{Scene, managed},
    },
    flow::{Flow, Kind},
    internet::{SERVERS, at_echo},
    isp::{ISP_A, ISP_B},
    router::{Daemon as Speaker, LAN},
    world::{SHARED_LINK, World},
};
use mif_user::state::Dhcpv6State;

fn leased_and_used(program: Program) -> Result<()> {
    let mut scene = Scene::silent()?;
    let offer = Offer::new(ISP_A.lan, ISP_A.number);
    let server = scene.serve(&ISP_A, program, &offer)?;
    let daemon = scene.site.daemon::<&str>([])?;
    let address = scene.address(&ISP_A).with_context(|| server.log())?;
    let (first, last) = offer.pool.context("the offer has a pool")?;
    ensure!((first..=last).contains(&address), "{address}");
    scene.pvd(&ISP_A.pvd(ISP_A.name), "what was leased", |pvd| {
        let has = pvd.sources.iter().any(|source| source.address == address);
        (has && pvd.dns_servers.iter().any(|fact| fact.value == offer.dns_servers[0])).then_some(())
    })?;
    scene.uses(address)?;
    let status = scene.site.says(["status"])?;
    ensure!(status.contains("bound") && status.contains(&address.to_string()), "{status}");
    // One address, and no network (RFC 8415 §18.2.10.1).
    let routes = scene.world.host.namespace().ip_show(&["-6", "route", "show", "dev", ISP_A.name])?;
    ensure!(!routes.contains(&address.to_string()), "{routes}");
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

#[test]
fn a_server_without_addresses_is_asked_again() {
    bounded(3 * PATIENCE, || {
        let mut scene = Scene::silent()?;
        let offer = Offer::new(ISP_A.lan, ISP_A.number);
        let mut server = scene.serve(&ISP_A, Program::Kea, &Offer { pool: None, ..offer.clone() })?;
        let daemon = scene.site.daemon::<&str>([])?;
        scene.site.wait_for_state("an offer of nothing to be counted", |state| {
            state.refused.get("dhcpv6-no-lease").map(|_| ())
        })?;
        scene.client(ISP_A.name, "asking", |client| (client.state == Dhcpv6State::Asking).then_some(()))?;
        server.go_on(&offer)?;
        let address = scene.address(&ISP_A)?;
        scene.uses(address)?;
        daemon.stop()
    });
}

#[test]
fn of_two_servers_the_preferred_one_leases() {
    bounded(4 * PATIENCE, || {
        let mut scene = Scene::of(World::two_routers_one_link(Speaker::Radvd)?)?;
        let mut servers = Vec::new();
        for (isp, preference) in [(ISP_A, 10), (ISP_B, 200)] {
            let offer = Offer { preference: Some(preference), ..Offer::new(isp.lan, isp.number) };
            let router = scene.world.router(&isp);
            servers.push(DhcpServer::start(router.namespace(), LAN, Program::Kea, &offer)?);
            router.advertise(&managed(&isp))?;
        }
        let daemon = scene.site.daemon::<&str>([])?;
        let (leased, server) = scene.client(SHARED_LINK, "a lease", |client| {
            Some((client.leases.first()?.address()?, client.server?))
        })?;
        ensure!(ISP_B.lan.contains(&leased) && server == ISP_B.link_local(), "{leased} by {server}");
        scene.pvd(&ISP_B.pvd(SHARED_LINK), "the lease", |pvd| {
            pvd.sources.iter().any(|source| source.address == leased).then_some(())
        })?;
        let asked = |server: &DhcpServer| server.log().contains("DHCP6_LEASE_ALLOC");
        ensure!(!asked(&servers[0]) && asked(&servers[1]), "{}", servers[0].log());
        daemon.stop()
    });
}

#[test]
fn two_links_have_a_client_each() {
    bounded(4 * PATIENCE, || {
        let mut scene = Scene::silent()?;
        let mut servers = Vec::new();
        for isp in [ISP_A, ISP_B] {
            servers.push(scene.serve(&isp, Program::Kea, &Offer::new(isp.lan, isp.number))?);
        }
        let daemon = scene.site.daemon::<&str>([])?;
        for isp in [ISP_A, ISP_B] {
            let address = scene.address(&isp)?;
            let pvd = isp.pvd(isp.name);
            scene.pvd(&pvd, "its own lease and resolver", |pvd| {
                let dns: Vec<_> = pvd.dns_servers.iter().map(|fact| fact.value).collect();
                let sources: Vec<_> = pvd.sources.iter().map(|source| source.address).collect();
                (sources.contains(&address) && dns == Offer::new(isp.lan, isp.number).dns_servers)
                    .then_some(())
            })?;
            let flow = Flow::new(Kind::Tcp, at_echo(SERVERS[0])).from(address);
            let report = scene.world.host.place(&scene.cgroup).open(&flow)?;
            ensure!(report.arrived, "{report:?}");
        }
        scene.world.check_no_foreign()?;
        daemon.stop()
    });
}
