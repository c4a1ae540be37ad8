//! What becomes of leases: they are extended, or they end, and with them exactly what came by them.

use anyhow::ensure;
use mif_core::{time::Deadline, wire::dhcpv6::MessageType};
use mif_tests::{
    deadline::{PATIENCE, bounded},
    dhcp_server::{Offer, Program, scene::Scene},
    isp::ISP_A,
};
use mif_user::state::{Dhcpv6Client, Dhcpv6State};

fn ends(client: &Dhcpv6Client) -> Option<Deadline> {
    client.leases.first().map(|lease| lease.valid_until)
}

#[test]
fn leases_are_extended_by_their_server_and_by_one_that_came_back() {
    bounded(4 * PATIENCE, || {
        let mut scene = Scene::silent()?;
        let offer = Offer::new(ISP_A.lan, ISP_A.number);
        let offer = Offer { preferred_lifetime: 16, valid_lifetime: 20, times: (2, 7), ..offer };
        let mut server = scene.serve(&ISP_A, Program::Kea, &offer)?;
        let daemon = scene.site.daemon::<&str>([])?;
        let address = scene.address(&ISP_A)?;
        let first = scene.client(ISP_A.name, "a lease", ends)?;
        let extended = scene.client(ISP_A.name, "the lease to be extended", |client| {
            ends(client).filter(|end| *end > first)
        })?;
        ensure!(server.log().contains("(RENEW)"), "{}", server.log());
        server.crash()?;
        scene.client(ISP_A.name, "a Renew that nobody answers", |client| {
            (client.asking == Some(MessageType::Renew)).then_some(())
        })?;
        server.go_on(&offer)?;
        let (end, asking) = scene.client(ISP_A.name, "the lease to be extended again", |client| {
            ends(client).filter(|end| *end > extended).map(|end| (end, client.asking))
        })?;
        ensure!(end > extended && asking.is_none(), "{end} {asking:?}");
        ensure!(server.log().contains("(REBIND)"), "{}", server.log());
        ensure!(scene.world.host.address_in(&ISP_A.lan)? == Some(address), "another address");
        scene.uses(address)?;
        daemon.stop()
    });
}

#[test]
fn without_a_server_the_pvd_loses_what_it_gave_and_nothing_else() {
    bounded(4 * PATIENCE, || {
        let mut scene = Scene::silent()?;
        let offer = Offer::new(ISP_A.lan, ISP_A.number).short();
        let mut server = scene.serve(&ISP_A, Program::Kea, &offer)?;
        let daemon = scene.site.daemon::<&str>([])?;
        let address = scene.address(&ISP_A)?;
        let pvd = ISP_A.pvd(ISP_A.name);
        let before = scene.pvd(&pvd, "the lease", |pvd| {
            pvd.sources.iter().any(|source| source.address == address).then(|| pvd.clone())
        })?;
        ensure!(before.dns_servers.len() == 1, "{before:?}");
        server.crash()?;
        for kind in [MessageType::Renew, MessageType::Rebind] {
            scene.client(ISP_A.name, "an unanswered question", |client| {
                (client.asking == Some(kind) && client.state == Dhcpv6State::Bound).then_some(())
            })?;
        }
        scene.client(ISP_A.name, "no lease", |client| {
            (client.asking == Some(MessageType::Solicit) && client.leases.is_empty()).then_some(())
        })?;
        let after = scene.pvd(&pvd, "to be without what was leased", |pvd| {
            (pvd.sources.is_empty() && pvd.dns_servers.is_empty()).then(|| pvd.clone())
        })?;
        ensure!(scene.world.host.address_in(&ISP_A.lan)?.is_none(), "the address is still there");
        let routes = |pvd: &mif_core::pvd::PvdSnapshot| -> Vec<_> {
            pvd.routes.iter().map(|route| (route.said_by, route.route.prefix)).collect()
        };
        ensure!(after.index == before.index && routes(&after) == routes(&before), "{before:?}\n{after:?}");
        ensure!(after.routers.len() == 1 && after.prefixes.len() == before.prefixes.len(), "{after:?}");
        daemon.stop()
    });
}
