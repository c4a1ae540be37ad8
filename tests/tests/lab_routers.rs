//! The routers of the lab do what a scenario tells them, and the kernel of the host follows.

use std::{net::Ipv6Addr, time::Duration};

use anyhow::Result;
use mif_core::wire::{NdOption, RecursiveDnsServers, RouteInformation, RouterPreference};
use mif_tests::{
    deadline::bounded,
    isp::{ISP_A, ISP_B},
    ra_sender::{Forged, RaSender},
    ra_watch::RaWatch,
    radvd::Radvd,
    router::{Daemon, LAN},
    world::World,
};

const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn radvd_is_heard_when_it_starts_changes_and_leaves() {
    bounded(LIMIT, || changes(Daemon::Radvd));
}

#[test]
fn the_embedded_sender_is_heard_when_it_starts_changes_and_leaves() {
    bounded(LIMIT, || changes(Daemon::Embedded));
}

fn changes(daemon: Daemon) -> Result<()> {
    let mut world = World::two_uplinks(daemon)?;
    let renumbered = ISP_A.renumbered(2);
    world.router(&ISP_A).advertise(&renumbered.advertisement())?;
    world.host.wait_for_address(&renumbered.lan)?;
    world.router(&ISP_A).withdraw()?;
    world.host.wait_for_default_router(ISP_A.link_local(), false)?;
    world.router(&ISP_B).fall_silent();
    let left = world.host.default_routes()?;
    assert_eq!(left.iter().map(|route| route.next_hop).collect::<Vec<_>>(), [ISP_B.link_local()]);
    Ok(())
}

/// What radvd puts on the wire is what `mif-core` makes of the same values, but for radvd's link-layer address.
#[test]
fn radvd_says_what_the_embedded_sender_says() {
    bounded(LIMIT, || {
        let world = World::silent_uplinks()?;
        let mut advertisement = ISP_A.advertisement();
        advertisement.header.preference = RouterPreference::High;
        advertisement.header.other_config = true;
        advertisement.options.extend([
            NdOption::RouteInformation(RouteInformation {
                prefix: "2001:db8:77::/48".parse()?,
                preference: RouterPreference::Low,
                route_lifetime: 600,
            }),
            NdOption::RecursiveDnsServers(RecursiveDnsServers {
                lifetime: 1200,
                servers: vec!["2001:db8:a::53".parse()?, "2001:db8:a::54".parse()?],
            }),
        ]);
        let router = world.routers()[0].namespace();
        let watch = RaWatch::new(router, LAN)?;
        let _radvd = Radvd::start(router, LAN, &advertisement)?;
        let seen = watch.wait_for("radvd's advertisement", |_| true)?;
        let mut parsed = mif_core::wire::RouterAdvertisement::parse(&seen.message)?.advertisement;
        parsed.options.retain(|option| !matches!(option, NdOption::SourceLinkLayerAddress(_)));
        assert_eq!(parsed, advertisement);
        Ok(())
    });
}

/// The kernel takes the well-made packet and none of the others (RFC 4861 §6.1.2); so they are wrong where they say.
#[test]
fn forged_packets_are_wrong_in_one_place_each() {
    bounded(LIMIT, || {
        let mut world = World::silent_uplinks()?;
        let router: Ipv6Addr = ISP_A.link_local();
        let sender = RaSender::new(world.router(&ISP_A).namespace(), LAN)?;
        let subnets = [11, 12, 13, 14].map(|subnet| ISP_A.renumbered(subnet));
        let [hop_limit, source, checksum, good] = subnets.map(|isp| isp.advertisement().emit());
        sender.send_forged(&Forged { hop_limit: 254, ..Forged::new(&hop_limit?, router) })?;
        sender.send_forged(&Forged::new(&source?, ISP_A.router_address()))?;
        sender.send_forged(&Forged { right_checksum: false, ..Forged::new(&checksum?, router) })?;
        sender.send_forged(&Forged::new(&good?, router))?;
        world.host.wait_for_address(&subnets[3].lan)?;
        for forged in &subnets[..3] {
            assert_eq!(world.host.address_in(&forged.lan)?, None, "{}", forged.lan);
        }
        Ok(())
    });
}

/// A host that comes up later asks (RFC 4861 §6.3.7) and is answered.
#[test]
fn solicitations_are_answered() {
    bounded(LIMIT, || {
        for daemon in [Daemon::Radvd, Daemon::Embedded] {
            let world = World::two_uplinks(daemon)?;
            let host = world.host.namespace();
            host.ip(&format!("link set {} down", ISP_A.name))?;
            world.host.wait_for_default_router(ISP_A.link_local(), false)?;
            host.ip(&format!("link set {} up", ISP_A.name))?;
            world.host.wait_for_default_router(ISP_A.link_local(), true)?;
        }
        Ok(())
    });
}

#[test]
fn duplicate_address_detection_can_be_on() {
    bounded(LIMIT, || {
        let mut world = World::silent_uplinks()?;
        let host = world.host.namespace();
        world.host.detect_duplicates(true)?;
        host.ip(&format!("link set {} down\nlink set {} up", ISP_A.name, ISP_A.name))?;
        world.host.events().until("a tentative address", || {
            Ok(world.host.addresses()?.iter().any(|found| found.tentative).then_some(()))
        })?;
        world.router(&ISP_A).speak(Daemon::Embedded, &ISP_A.advertisement())?;
        world.host.wait_for_address(&ISP_A.lan)?;
        Ok(())
    });
}
