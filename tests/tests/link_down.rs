//! An interface that goes down while its addresses stay: they are no other provider's.

use std::net::{IpAddr, Ipv6Addr};

use anyhow::{Result, ensure};
use mif_common::abi::source_flags;
use mif_tests::{
    before::{Before, flows},
    cgroup::Cgroup,
    deadline::{PATIENCE, bounded},
    events::until_ready,
    family::Family,
    isp::{ISP_A, ISP_B},
    matrix,
    mif::{Notices, Site},
    router::{Daemon as Speaker, LAN},
    world::World,
};
use mif_user::kernel::maps::Maps;
use nix::libc;

/// Waits until it is so that the addresses are those of an interface that is down.
fn until_stranded(maps: &Maps, notices: &mut Notices, addresses: &[IpAddr], wanted: bool) -> Result<()> {
    let is_so = || -> Result<bool> {
        for address in addresses {
            let address = match address.to_canonical() {
                IpAddr::V4(address) => address.to_ipv6_mapped(),
                IpAddr::V6(address) => address,
            };
            let stranded = maps.source(address)?.map(|source| source.flags & source_flags::STRANDED != 0);
            if stranded != Some(wanted) {
                return Ok(false);
            }
        }
        Ok(true)
    };
    if is_so()? {
        return Ok(());
    }
    notices.until(&format!("{addresses:?} to be stranded: {wanted}"), |_| Ok(is_so()?.then_some(())))
}

/// What names an address of the interface that is down is refused where the application can still choose; new flows take the other
/// provider; and nothing reaches that with a source of the first.
fn nothing_leaves_with(world: &mut World, cgroup: &Cgroup, addresses: &[IpAddr]) -> Result<()> {
    // The first one's router hears nothing while its interface is down.
    world.router(&ISP_B).tap().forget()?;
    for address in addresses {
        let family = Family::of(*address);
        let host = world.host.place(cgroup);
        for (flow, report) in Before::of(host, flows(family.servers()[0], &[*address]))?.each() {
            if flow.bind.is_some() {
                ensure!(report.errno == Some(libc::ENETUNREACH), "{flow:?}: {report:?}, not refused");
            } else {
                let source = world.source_of(family, &ISP_B)?.to_canonical();
                ensure!(report.arrived && report.source() == Some(source), "{flow:?}: {report:?}");
            }
        }
    }
    let foreign = world.router(&ISP_B).foreign()?;
    ensure!(foreign.is_empty(), "{} got packets of {}: {foreign:#?}", ISP_B.name, ISP_A.name);
    Ok(())
}

#[test]
fn the_addresses_of_an_interface_that_is_down_go_with_no_other() {
    bounded(8 * PATIENCE, || {
        let mut world = World::two_uplinks(Speaker::Embedded)?.dual_stack()?;
        let cgroup = Cgroup::new("host")?;
        let site = Site::new(world.host.namespace(), &cgroup)?;
        let daemon = site.daemon::<&str>([])?;
        site.wait_for_routers()?;
        let (maps, mut notices) = (site.maps()?, daemon.watch()?);
        let ipv6: Ipv6Addr = world.source(&ISP_A)?;
        let both = [IpAddr::from(ipv6), world.source_ipv4(&ISP_A).into()];
        until_stranded(&maps, &mut notices, &both, false)?;

        // Taken down by the administrator: of IPv4 the kernel keeps the addresses, and takes the routes.
        world.host.namespace().ip(&format!("link set {} down", ISP_A.name))?;
        until_stranded(&maps, &mut notices, &both[1..], true)?;
        nothing_leaves_with(&mut world, &cgroup, &both[1..])?;

        world.host.namespace().ip(&format!("link set {} up", ISP_A.name))?;
        until_ready(world.host.namespace(), &[ISP_A.name])?;
        world.host.namespace().ip4(&format!(
            "route prepend default via {} dev {} proto dhcp src {} metric 100",
            ISP_A.gateway_ipv4(),
            ISP_A.name,
            ISP_A.host_ipv4()
        ))?;
        let advertisement = ISP_A.advertisement();
        world.router(&ISP_A).advertise(&advertisement)?;
        until_stranded(&maps, &mut notices, &both, false)?;
        let with = matrix::run(&world, Some(&cgroup))?;
        ensure!(with.is_clean(), "when the interface is up:\n{with}");

        // The cable is pulled: the kernel keeps addresses and routes, and does not heed the latter.
        for version in ["ipv4", "ipv6"] {
            let key = format!("net/{version}/conf/all/ignore_routes_with_linkdown");
            world.host.namespace().sysctl(&key, 1)?;
        }
        world.router(&ISP_A).namespace().ip(&format!("link set {LAN} down"))?;
        until_stranded(&maps, &mut notices, &both, true)?;
        nothing_leaves_with(&mut world, &cgroup, &both)?;
        daemon.stop()
    });
}
