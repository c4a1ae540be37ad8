//! One address on two interfaces: the kernel's choice between them stands.

use std::net::{IpAddr, Ipv6Addr};

use anyhow::ensure;
use mif_common::abi::source_flags;
use mif_tests::{
    cgroup::Cgroup,
    deadline::{PATIENCE, bounded},
    family::Family,
    flow::{Flow, Kind},
    internet::at_echo,
    isp::{ISP_A, ISP_B},
    mif::Site,
    router::Daemon,
    world::World,
};

#[test]
fn leaves_by_whichever_interface_the_application_chose() {
    bounded(4 * PATIENCE, || {
        let world = World::two_uplinks(Daemon::Embedded)?.dual_stack()?;
        let cgroup = Cgroup::new("host")?;
        let site = Site::new(world.host.namespace(), &cgroup)?;
        let daemon = site.daemon::<&str>([])?;
        site.wait_for_routers()?;
        let (maps, mut notices) = (site.maps()?, daemon.watch()?);
        let (ipv6, ipv4) = (world.source(&ISP_B)?, ISP_B.host_ipv4());
        // The first uplink has the lower index, so it is the one that has the address in the tables.
        world.host.namespace().ip(&format!("addr add {ipv6}/128 dev {} nodad", ISP_A.name))?;
        world.host.namespace().ip4(&format!("addr add {ipv4}/32 dev {}", ISP_A.name))?;
        let first = u32::from(ISP_A.number | 0x100);
        let both: [Ipv6Addr; 2] = [ipv6, ipv4.to_ipv6_mapped()];
        notices.until("the addresses on two interfaces", |_| {
            let mut known = true;
            for address in both {
                let source = maps.source(address)?;
                known &= source.is_some_and(|source| {
                    source.ifindex == first && source.flags & source_flags::SEVERAL_INTERFACES != 0
                });
            }
            Ok(known.then_some(()))
        })?;
        for &family in world.families() {
            for kind in [Kind::Tcp, Kind::UdpConnected, Kind::UdpUnconnected] {
                let source: IpAddr = world.source_of(family, &ISP_B)?;
                let flow = Flow::new(kind, at_echo(family.servers()[0])).from(source).by(ISP_B.name);
                let report = world.host.place(&cgroup).open(&flow)?;
                ensure!(report.arrived, "{flow:?}: {report:?}");
            }
        }
        world.check_no_foreign()?;
        site.wait_for_state("both duplicates to be counted", |state| {
            (state.refused.get("duplicate-address") == Some(&2)).then_some(())
        })?;
        ensure!(world.families().contains(&Family::Mapped), "both versions of IP");
        daemon.stop()
    });
}
