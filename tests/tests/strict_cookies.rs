//! SYN cookies of a strict listener: their SYN-ACKs bear no socket.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::{Context as _, Result, ensure};
use mif_tests::{
    cgroup::Cgroup,
    deadline::{PATIENCE, bounded},
    family::Family,
    flow::{Flow, Kind},
    isp::{ISP_A, ISP_B, Isp},
    mif::Site,
    packet::TCP,
    router::Daemon,
    world::World,
};
use mif_user::mode::Mode;

/// The ports of the confined listener and of the other.
const CONFINED: u16 = 4666;
const FREE: u16 = 4668;

fn to(world: &World, isp: &Isp, family: Family, port: u16) -> Result<Flow> {
    Ok(Flow::new(Kind::Tcp, SocketAddr::new(world.source_of(family, isp)?, port)))
}

#[test]
fn of_a_strict_listener() {
    bounded(4 * PATIENCE, || {
        let world = World::two_uplinks(Daemon::Embedded)?.dual_stack()?;
        let host = world.host.namespace();
        // Always, not only under a flood.
        host.sysctl("net/ipv4/tcp_syncookies", 2)?;
        let root = Cgroup::new("host")?;
        let pinned = root.child("pinned")?;
        let site = Site::new(host, &root)?;
        let daemon = site.daemon::<&str>([])?;
        site.wait_for_routers()?;
        let own = [ISP_B.pvd(ISP_B.name), format!("{}/ipv4", ISP_B.name)];
        daemon.attach_all(&pinned, &own, Mode::Strict)?;
        let any = |port| [(Ipv6Addr::UNSPECIFIED, port).into(), (Ipv4Addr::UNSPECIFIED, port + 1).into()];
        let _confined = world.host.place(&pinned).serve(&any(CONFINED))?;
        let _free = world.host.place(&root).serve(&any(FREE))?;
        let internet = world.internet.place();
        for (family, shift) in [(Family::Ipv6, 0), (Family::Ipv4, 0), (Family::Ipv4, 1)] {
            // By its own provider it answers, and so does everybody else by any.
            for (isp, port) in [(&ISP_B, CONFINED), (&ISP_A, FREE), (&ISP_B, FREE)] {
                let flow = to(&world, isp, family, port + shift)?;
                let report = internet.open(&flow)?;
                ensure!(report.arrived, "{flow:?}: {report:?}");
            }
            world.forget()?;
            let flow = to(&world, &ISP_A, family, CONFINED + shift)?;
            let report = internet.open(&flow)?;
            ensure!(!report.arrived, "{flow:?}: {report:?}");
            for router in world.routers() {
                let seen = router.tap().seen()?;
                let answers: Vec<_> = seen.iter().filter(|seen| seen.headers.protocol == TCP).collect();
                ensure!(answers.is_empty(), "{family}: {answers:#?}");
            }
        }
        let counts = host.proc_net("netstat")?;
        ensure!(sent(&counts)? > 0, "no cookie was sent:\n{counts}");
        daemon.stop()
    });
}

/// `SyncookiesSent` of `/proc/net/netstat`: a line of names, then one of numbers.
fn sent(netstat: &str) -> Result<u64> {
    let mut lines = netstat.lines().filter(|line| line.starts_with("TcpExt:")).map(str::split_whitespace);
    let (names, numbers) = lines.next().zip(lines.next()).context("TcpExt")?;
    let found = names.zip(numbers).find(|(name, _)| *name == "SyncookiesSent").context("SyncookiesSent")?;
    Ok(found.1.parse()?)
}
