//! What an administrator has set up works with the kernel alone. `mif` may not change that: the same flows run with it elsewhere.

use std::{net::IpAddr, time::Duration};

use anyhow::Result;
use mif_tests::{
    deadline::bounded,
    family::Family,
    flow::{Flow, Kind},
    internet::at_echo,
    peer::Peer,
    router::Daemon,
    world::World,
};

/// Opens a flow of each kind and returns the sources that the peer saw.
fn sources(world: &World, peer: &Peer, destination: IpAddr) -> Result<Vec<IpAddr>> {
    peer.echo().forget();
    for kind in [Kind::Tcp, Kind::UdpConnected, Kind::UdpUnconnected] {
        let report = world.host.place(None).open(&Flow::new(kind, at_echo(destination)))?;
        assert!(report.arrived, "{kind:?} to {destination}: {report:?}");
    }
    Ok(peer.echo().arrivals().iter().map(|arrival| arrival.source.ip()).collect())
}

fn check(
    connect: impl FnOnce(&World) -> Result<Peer>,
    source: [&str; 2],
    destination: impl Fn(&Peer, Family) -> IpAddr,
) -> Result<()> {
    let world = World::two_uplinks(Daemon::Embedded)?.dual_stack()?;
    let peer = connect(&world)?;
    for (family, source) in [Family::Ipv6, Family::Ipv4].into_iter().zip(source) {
        let expected: IpAddr = source.parse()?;
        assert_eq!(peer.host_address_of(family), expected);
        assert_eq!(sources(&world, &peer, destination(&peer, family))?, [expected; 3]);
    }
    assert!(world.internet.echo().arrivals().is_empty());
    world.check_no_foreign()
}

#[test]
fn a_container_is_reached_by_its_bridge() {
    let sources = ["2001:db8:c:1::1", "198.19.12.1"];
    bounded(Duration::from_secs(60), move || check(World::container, sources, Peer::address_of));
}

#[test]
fn a_static_route_leads_through_a_tunnel() {
    let sources = ["2001:db8:d::1", "198.19.13.1"];
    bounded(Duration::from_secs(60), move || check(World::tunnel, sources, Peer::address_of));
}

#[test]
fn a_vpn_takes_all_by_its_own_rules() {
    let sources = ["2001:db8:e::1", "198.19.14.1"];
    bounded(Duration::from_secs(60), move || check(World::vpn, sources, |_, family| family.servers()[0]));
}
