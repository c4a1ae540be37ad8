//! The host's side of a lease: duplicates, restarts of the daemon, other clients, what is given back.

use std::net::{Ipv6Addr, SocketAddrV6};

use anyhow::{Context as _, Result, ensure};
use mif_core::wire::dhcpv6::MessageType;
use mif_tests::{
    deadline::{PATIENCE, bounded},
    dhcp_server::{
        Offer, Program,
        embedded::EmbeddedServer,
        scene::{Scene, managed},
    },
    isp::{ISP_A, ISP_B},
    router::{Daemon as Speaker, LAN},
};
use mif_user::state::Dhcpv6State;
use nix::net::if_::if_nametoindex;
use socket2::{Domain, Socket, Type};

#[test]
fn an_address_that_another_host_has_is_declined() {
    bounded(4 * PATIENCE, || {
        let mut scene = Scene::silent()?;
        scene.world.host.detect_duplicates(true)?;
        let offer = Offer::new(ISP_A.lan, ISP_A.number);
        let (taken, _) = offer.pool.context("the offer has a pool")?;
        scene.world.router(&ISP_A).namespace().ip(&format!("addr add {taken}/128 dev {LAN} nodad"))?;
        let server = scene.serve(&ISP_A, Program::Kea, &offer)?;
        let daemon = scene.site.daemon::<&str>([])?;
        let address = scene.address(&ISP_A)?;
        ensure!(address != taken, "{address} is the router's");
        scene.site.wait_for_state("the duplicate to be counted", |state| {
            (state.refused.get("dhcpv6-address-in-use") == Some(&1)).then_some(())
        })?;
        ensure!(server.log().contains("DHCP6_DECLINE_LEASE"), "{}", server.log());
        let there = scene.world.host.addresses()?;
        ensure!(there.iter().all(|found| found.address != taken), "{there:?}");
        scene.uses(address)?;
        daemon.stop()
    });
}

#[test]
fn a_restarted_daemon_confirms_what_it_has() {
    bounded(4 * PATIENCE, || {
        let mut scene = Scene::silent()?;
        let offer = Offer::new(ISP_A.lan, ISP_A.number);
        let server = scene.serve(&ISP_A, Program::Kea, &offer)?;
        let first = scene.site.daemon::<&str>([])?;
        let address = scene.address(&ISP_A)?;
        let pvd = ISP_A.pvd(ISP_A.name);
        let until = |scene: &Scene| {
            scene.client(ISP_A.name, "a lease that nobody asks about", |client| {
                (client.asking.is_none())
                    .then(|| client.leases.first().map(|lease| lease.valid_until))
                    .flatten()
            })
        };
        let end = until(&scene)?;
        scene.uses(address)?;
        first.kill()?;
        ensure!(scene.world.host.address_in(&ISP_A.lan)? == Some(address), "a crash takes the address");
        let second = scene.site.daemon::<&str>([])?;
        // Before and after the server has confirmed it.
        scene.uses(address)?;
        scene.pvd(&pvd, "resolver and lease of before", |pvd| {
            (pvd.dns_servers.len() == 1 && pvd.sources.iter().any(|source| source.address == address))
                .then_some(())
        })?;
        ensure!(until(&scene)? == end, "it was leased anew");
        ensure!(server.log().matches("(CONFIRM)").count() > 0, "{}", server.log());
        scene.uses(address)?;
        second.stop()?;
        ensure!(scene.world.host.address_in(&ISP_A.lan)? == Some(address), "a stop takes the address");

        // Off: given back, and gone.
        let third = scene.site.daemon_configured("dhcpv6 = 'off'")?;
        let events = scene.world.host.events();
        events.until("the address to go", || {
            Ok(scene.world.host.address_in(&ISP_A.lan)?.is_none().then_some(()))
        })?;
        scene.site.wait_for_state("no client", |state| state.dhcpv6.is_empty().then_some(()))?;
        ensure!(server.log().contains("DHCP6_RELEASE_NA"), "{}", server.log());
        third.stop()
    });
}

#[test]
fn what_a_dead_daemon_left_and_nobody_leases_goes() {
    bounded(4 * PATIENCE, || {
        let mut scene = Scene::silent()?;
        let pieces = "2001:db8:a:f000::/52".parse()?;
        let offer = Offer { delegated: Some((pieces, 60)), ..Offer::new(ISP_A.lan, ISP_A.number) };
        let _server = scene.serve(&ISP_A, Program::Kea, &offer)?;
        let wish = format!("[interface.{}]\ndhcpv6_prefix = 60", ISP_A.name);
        let daemon = scene.site.daemon_configured(&wish)?;
        let address = scene.address(&ISP_A)?;
        let delegated = scene.client(ISP_A.name, "a delegated prefix", |client| {
            client.leases.iter().find(|lease| lease.address().is_none()).map(|lease| lease.prefix)
        })?;
        let own_routes =
            || scene.world.host.namespace().ip_show(&["-6", "route", "show", "table", "all", "proto", "201"]);
        let routes = own_routes()?;
        ensure!(routes.contains(&format!("unreachable {delegated}")), "{routes}");
        scene.uses(address)?;
        daemon.kill()?;
        // Without its file nobody knows of the lease any more.
        std::fs::remove_file(scene.site.state_dir().join("dhcpv6").join(format!("{}.json", ISP_A.name)))?;
        let daemon = scene.site.daemon_configured("dhcpv6 = 'off'")?;
        let there = scene.world.host.address_in(&ISP_A.lan)?;
        ensure!(there.is_none() && own_routes()?.is_empty(), "{there:?} {}", own_routes()?);
        daemon.stop()?;

        let daemon = scene.site.daemon_configured(&wish)?;
        scene.address(&ISP_A)?;
        scene.client(ISP_A.name, "a delegated prefix", |client| (client.leases.len() == 2).then_some(()))?;
        daemon.stop()?;
        let said = scene.site.says(["detach", "--all"])?;
        ensure!(said.contains("1 address lease") && said.contains("1 route"), "{said}");
        let there = scene.world.host.address_in(&ISP_A.lan)?;
        ensure!(there.is_none() && own_routes()?.is_empty(), "{there:?} {}", own_routes()?);
        ensure!(!scene.site.state_dir().join("dhcpv6").exists(), "leases are still kept");
        Ok(())
    });
}

/// Another client's socket, as dhcpcd and networkd have them.
fn other_client(scene: &Scene) -> Result<Socket> {
    let namespace = scene.world.host.namespace();
    let own = scene.world.host.addresses()?;
    let own = own.iter().find(|found| found.interface == ISP_A.name && found.address.is_unicast_link_local());
    let own = own.context("the uplink has a link-local address")?.address;
    namespace.run(|| {
        let socket = Socket::new(Domain::IPV6, Type::DGRAM, None)?;
        socket.set_reuse_address(true)?;
        socket.bind(&SocketAddrV6::new(own, 546, 0, if_nametoindex(ISP_A.name)?).into())?;
        Ok(socket)
    })
}

#[test]
fn another_client_is_left_alone() {
    bounded(4 * PATIENCE, || {
        let mut scene = Scene::silent()?;
        let other = other_client(&scene)?;
        let offer = Offer::new(ISP_A.lan, ISP_A.number);
        let server = scene.serve(&ISP_A, Program::Kea, &offer)?;
        let daemon = scene.site.daemon::<&str>([])?;
        scene.client(ISP_A.name, "a client that is left alone", |client| {
            (client.state == Dhcpv6State::Left && client.others.as_ref()?.contains("546")).then_some(())
        })?;
        // What it leases counts as what the kernel has otherwise.
        let leased: Ipv6Addr = "2001:db8:a:1::77".parse()?;
        let lease = format!(
            "addr add {leased}/128 dev {} valid_lft 4000 preferred_lft 3000 noprefixroute nodad",
            ISP_A.name
        );
        scene.world.host.namespace().ip(&lease)?;
        scene.pvd(&ISP_A.pvd(ISP_A.name), "the other's lease", |pvd| {
            pvd.sources.iter().any(|source| source.address == leased).then_some(())
        })?;
        scene.uses(leased)?;
        // Without the port, and with the lease.
        drop(other);
        scene.world.router(&ISP_A).advertise(&managed(&ISP_A))?;
        scene.client(ISP_A.name, "a lease that is respected", |client| {
            let others = client.others.as_ref()?;
            (client.state == Dhcpv6State::Left && others.contains(&leased.to_string())).then_some(())
        })?;
        ensure!(!server.log().contains("(SOLICIT)"), "{}", server.log());
        // Once it has given that back, the link is ours.
        scene.world.host.namespace().ip(&format!("addr del {leased}/128 dev {}", ISP_A.name))?;
        let address = scene.address(&ISP_A)?;
        scene.uses(address)?;
        daemon.stop()
    });
}

#[test]
fn an_answer_by_another_link_is_ignored_and_counted() {
    bounded(3 * PATIENCE, || {
        let mut scene = Scene::silent()?;
        let mut servers = Vec::new();
        for isp in [ISP_A, ISP_B] {
            let router = scene.world.router(&isp);
            servers.push(EmbeddedServer::listen(router.namespace(), LAN)?);
            router.speak(Speaker::Embedded, &managed(&isp))?;
        }
        let daemon = scene.site.daemon::<&str>([])?;
        let [first, second] = &servers[..] else { unreachable!("there are two") };
        let (asked_first, asked_second) =
            (first.next(MessageType::Solicit)?, second.next(MessageType::Solicit)?);
        let address: Ipv6Addr = "2001:db8:a:1::99".parse()?;
        // To the other link's client, which is not who asked.
        second.send(&asked_first.answer(MessageType::Advertise, address, 600, []), &asked_second.client)?;
        scene.site.wait_for_state("the stray answer to be counted", |state| {
            (state.refused.get("dhcpv6-transaction-id") == Some(&1)).then_some(())
        })?;
        first.send(&asked_first.answer(MessageType::Advertise, address, 600, []), &asked_first.client)?;
        let request = first.next(MessageType::Request)?;
        first.send(&request.answer(MessageType::Reply, address, 600, []), &request.client)?;
        ensure!(scene.address(&ISP_A)? == address, "leased");
        daemon.stop()
    });
}

/// A state directory of another host, and one that was cut off.
#[test]
fn a_spoilt_state_directory_is_kept_aside() {
    bounded(3 * PATIENCE, || {
        let mut scene = Scene::silent()?;
        let _server = scene.serve(&ISP_A, Program::Kea, &Offer::new(ISP_A.lan, ISP_A.number))?;
        let directory = scene.site.state_dir().to_owned();
        std::fs::create_dir_all(directory.join("dhcpv6"))?;
        let other = r#"{"format":1,"host":"00","duid":"00040102030405060708090a0b0c0d0e0f10"}"#;
        std::fs::write(directory.join("duid.json"), other)?;
        let leases = directory.join("dhcpv6").join(format!("{}.json", ISP_A.name));
        std::fs::write(&leases, r#"{"format":1,"duid":"0004"#)?;
        let daemon = scene.site.daemon::<&str>([])?;
        scene.address(&ISP_A)?;
        let log = daemon.log()?;
        ensure!(log.contains("duid.json.bad") && log.contains("of another host"), "{log}");
        ensure!(log.contains(&format!("{}.json.bad", ISP_A.name)), "{log}");
        ensure!(std::fs::read_to_string(directory.join("duid.json.bad"))? == other, "not what it was");
        ensure!(
            !std::fs::read_to_string(directory.join("duid.json"))?.contains("0004010203"),
            "the same DUID"
        );
        daemon.stop()
    });
}
