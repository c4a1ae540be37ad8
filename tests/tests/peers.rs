//! What an administrator has set up works with the kernel alone. `mif` may not change that: the same flows run with it elsewhere.

use std::{
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

use anyhow::Result;
use mif_tests::{
    deadline::bounded,
    flow::{Flow, Kind},
    internet::{SERVERS, at_echo},
    peer::Peer,
    router::Daemon,
    world::World,
};

/// Opens a flow of each kind and returns the sources that the peer saw.
fn sources(world: &World, peer: &Peer, destination: Ipv6Addr) -> Result<Vec<IpAddr>> {
    for kind in [Kind::Tcp, Kind::UdpConnected, Kind::UdpUnconnected] {
        let report = world.host.place(None).open(&Flow::new(kind, at_echo(destination)))?;
        assert!(report.arrived, "{kind:?} to {destination}: {report:?}");
    }
    Ok(peer.echo().arrivals().iter().map(|arrival| arrival.source.ip()).collect())
}

fn check(
    connect: impl FnOnce(&World) -> Result<Peer>,
    source: &str,
    destination: Option<Ipv6Addr>,
) -> Result<()> {
    let world = World::two_uplinks(Daemon::Embedded)?;
    let peer = connect(&world)?;
    let expected: IpAddr = source.parse()?;
    assert_eq!(sources(&world, &peer, destination.unwrap_or(peer.address()))?, [expected; 3]);
    assert!(world.internet.echo().arrivals().is_empty());
    world.check_no_foreign()
}

#[test]
fn a_container_is_reached_by_its_bridge() {
    bounded(Duration::from_secs(60), || check(World::container, "2001:db8:c:1::1", None));
}

#[test]
fn a_static_route_leads_through_a_tunnel() {
    bounded(Duration::from_secs(60), || check(World::tunnel, "2001:db8:d::1", None));
}

#[test]
fn a_vpn_takes_all_by_its_own_rules() {
    bounded(Duration::from_secs(60), || check(World::vpn, "2001:db8:e::1", Some(SERVERS[0])));
}
