//! What comes beside leases: policy tables, routes, what is off by default; and configuration without leases.

use std::net::Ipv6Addr;

use anyhow::{Context as _, Result, ensure};
use ipnet::Ipv6Net;
use mif_core::pvd::PvdSnapshot;
use mif_tests::{
    deadline::{PATIENCE, bounded},
    dhcp_server::{
        DhcpServer, Offer, Program,
        scene::{Scene, managed},
    },
    internet::SERVERS,
    isp::ISP_A,
    router::{Daemon as Speaker, LAN},
};
use mif_user::state::Dhcpv6State;

/// draft-ietf-mif-dhcpv6-route-option, with the numbers of Dibbler.
const NEXT_HOP: u16 = 242;
const ROUTE_PREFIX: u16 = 243;

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// OPTION_RT_PREFIX
fn route_prefix(prefix: &str, seconds: u32) -> Result<Vec<u8>> {
    let prefix: Ipv6Net = prefix.parse()?;
    /// Lifetime, length, flags, prefix.
    const LENGTH: u16 = 22;
    let medium = 0;
    let mut octets = [ROUTE_PREFIX.to_be_bytes(), LENGTH.to_be_bytes()].concat();
    octets.extend(seconds.to_be_bytes());
    octets.extend([prefix.prefix_len(), medium]);
    octets.extend(prefix.network().octets());
    Ok(octets)
}

/// A NEXT_HOP option's data.
fn next_hop(router: Ipv6Addr, routes: &[Vec<u8>]) -> Vec<u8> {
    [&router.octets()[..], &routes.concat()].concat()
}

/// Option 84 with the rows that make this prefix the source for the internet's first server (RFC 7078 §2).
fn policy(source: &Ipv6Net) -> String {
    const ROW: u16 = 85;
    const PREFER_TEMPORARY: u8 = 1;
    const PRECEDENCE: u8 = 40;
    let server = Ipv6Net::new_assert(SERVERS[0], 128);
    let mut octets = vec![PREFER_TEMPORARY];
    for (prefix, label) in [(&Ipv6Net::default(), 1), (&server, 70), (source, 70)] {
        let network = &prefix.network().octets()[..usize::from(prefix.prefix_len()).div_ceil(8)];
        let row = [&[label, PRECEDENCE, prefix.prefix_len()], network].concat();
        octets.extend([ROW.to_be_bytes(), (row.len() as u16).to_be_bytes()].concat());
        octets.extend(row);
    }
    hex(&octets)
}

/// A provider with two prefixes on the link: its policy table says which one is for whom, and another table later.
#[test]
fn a_networks_policy_table_is_in_force() {
    const ADDRESS_SELECTION: u16 = 84;
    bounded(5 * PATIENCE, || {
        let mut scene = Scene::silent()?;
        let other = ISP_A.renumbered(2).lan;
        let mut advertisement = managed(&ISP_A);
        advertisement.options.extend(ISP_A.renumbered(2).advertisement().options);
        let router = scene.world.router(&ISP_A);
        router.namespace().ip(&format!("addr add {}1/64 dev {LAN}", other.network()))?;
        let offer = Offer { times: (3, 300), ..Offer::new(ISP_A.lan, ISP_A.number) };
        let with = |source| Offer { options: vec![(ADDRESS_SELECTION, policy(source))], ..offer.clone() };
        let mut server = DhcpServer::start(router.namespace(), LAN, Program::Kea, &with(&other))?;
        router.speak(Speaker::Radvd, &advertisement)?;
        let daemon = scene.site.daemon::<&str>([])?;
        scene.address(&ISP_A)?;
        scene.world.host.wait_for_address(&other)?;
        let prefers = |source: Ipv6Net| {
            let has_row = |pvd: &PvdSnapshot| {
                let rows = &pvd.address_selection.as_ref()?.value.rows;
                rows.iter().any(|row| row.prefix == source).then_some(())
            };
            scene.pvd(&ISP_A.pvd(ISP_A.name), "the policy table", has_row)?;
            scene.uses(scene.world.host.address_in(&source)?.context("it is there")?)
        };
        prefers(other)?;
        server.go_on(&with(&ISP_A.lan))?;
        prefers(ISP_A.lan)?;
        daemon.stop()
    });
}

#[test]
fn routes_are_the_pvds_and_the_kernels_and_end() {
    bounded(4 * PATIENCE, || {
        let mut scene = Scene::silent()?;
        let routes = [route_prefix("2001:db8:77::/48", 600)?];
        // By the sender of the message.
        let option = hex(&next_hop(Ipv6Addr::UNSPECIFIED, &routes));
        let offer = Offer { options: vec![(NEXT_HOP, option)], ..Offer::new(ISP_A.lan, ISP_A.number) };
        let mut server = scene.serve(&ISP_A, Program::Kea, &Offer { times: (3, 300), ..offer.clone() })?;
        let config = format!("dhcpv6_options = {{ next_hop = {NEXT_HOP}, route_prefix = {ROUTE_PREFIX} }}");
        let daemon = scene.site.daemon_configured(&config)?;
        let pvd = ISP_A.pvd(ISP_A.name);
        let prefix: Ipv6Net = "2001:db8:77::/48".parse()?;
        scene.address(&ISP_A)?;
        scene.pvd(&pvd, "the route", |pvd| {
            pvd.routes.iter().any(|route| route.route.prefix == prefix).then_some(())
        })?;
        let own = || scene.world.host.namespace().ip_show(&["-6", "route", "show", "proto", "201"]);
        let there = own()?;
        ensure!(there.contains(&format!("{prefix} via {}", ISP_A.link_local())), "{there}");
        // The next answer has no such option: what it said is not used any more (RFC 8415 §18.2.10).
        server.go_on(&Offer { options: Vec::new(), times: (3, 300), ..offer })?;
        scene.pvd(&pvd, "to be without the route", |pvd| {
            pvd.routes.iter().all(|route| route.route.prefix != prefix).then_some(())
        })?;
        ensure!(own()?.is_empty(), "{}", own()?);
        daemon.stop()
    });
}

#[test]
fn routes_without_numbers_mean_nothing() {
    bounded(3 * PATIENCE, || {
        let mut scene = Scene::silent()?;
        let routes = [route_prefix("2001:db8:77::/48", 600)?];
        let option = hex(&next_hop(Ipv6Addr::UNSPECIFIED, &routes));
        let offer = Offer { options: vec![(NEXT_HOP, option)], ..Offer::new(ISP_A.lan, ISP_A.number) };
        let _server = scene.serve(&ISP_A, Program::Kea, &offer)?;
        let daemon = scene.site.daemon::<&str>([])?;
        scene.address(&ISP_A)?;
        scene.client(ISP_A.name, "the lease", |client| (client.state == Dhcpv6State::Bound).then_some(()))?;
        let own = scene.world.host.namespace().ip_show(&["-6", "route", "show", "proto", "201"])?;
        ensure!(own.is_empty(), "{own}");
        daemon.stop()
    });
}

/// O without M: configuration, and no lease; and what is asked for again when the daemon starts.
#[test]
fn configuration_without_leases() {
    bounded(3 * PATIENCE, || {
        let mut scene = Scene::silent()?;
        let offer = Offer::new(ISP_A.lan, ISP_A.number);
        let mut advertisement = managed(&ISP_A);
        (advertisement.header.managed, advertisement.header.other_config) = (false, true);
        let router = scene.world.router(&ISP_A);
        let server = DhcpServer::start(router.namespace(), LAN, Program::Kea, &offer)?;
        router.speak(Speaker::Radvd, &advertisement)?;
        let pvd = ISP_A.pvd(ISP_A.name);
        for start in 0..2 {
            let daemon = scene.site.daemon::<&str>([])?;
            scene.client(ISP_A.name, "configuration", |client| {
                (client.state == Dhcpv6State::Informed && client.asking.is_none() && client.leases.is_empty())
                    .then_some(())
            })?;
            scene.pvd(&pvd, "the resolver", |pvd| {
                pvd.dns_servers.iter().any(|fact| fact.value == offer.dns_servers[0]).then_some(())
            })?;
            let asked = server.log().matches("(INFORMATION_REQUEST)").count();
            ensure!(asked > start, "asked {asked} times: {}", server.log());
            daemon.stop()?;
        }
        ensure!(!server.log().contains("(SOLICIT)"), "{}", server.log());
        Ok(())
    });
}
