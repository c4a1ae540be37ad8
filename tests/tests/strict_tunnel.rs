//! A cgroup pinned strictly to a tunnel: the packets in it are the tunnel's, those around them the host's.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::ensure;
use mif_tests::{
    application::Place,
    attack::{self, Aim},
    cgroup::Cgroup,
    deadline::{PATIENCE, bounded},
    events::until_ready,
    family::Family,
    flow::{Flow, Kind},
    internet::SERVERS,
    isp::{ISP_A, ISP_B},
    mif::Site,
    router::Daemon,
    tap::Tap,
    world::World,
};
use mif_user::mode::Mode;

/// The tunnel's own addresses.
const NEAR: (Ipv6Addr, Ipv4Addr) =
    (Ipv6Addr::new(0x2001, 0xdb8, 0x7e, 0, 0, 0, 0, 1), Ipv4Addr::new(198, 19, 16, 1));
const FAR: (Ipv6Addr, Ipv4Addr) =
    (Ipv6Addr::new(0x2001, 0xdb8, 0x7e, 0, 0, 0, 0, 2), Ipv4Addr::new(198, 19, 16, 2));
const PORT: u16 = 4777;

#[test]
fn packets_around_those_of_a_pinned_cgroup() {
    bounded(4 * PATIENCE, || {
        let world = World::two_uplinks(Daemon::Embedded)?.dual_stack()?;
        let (host, internet) = (world.host.namespace(), world.internet.namespace());
        let root = Cgroup::new("host")?;
        let pinned = root.child("pinned")?;
        // By the second provider, which the kernel does not prefer.
        let (near, far) = (world.source(&ISP_B)?, SERVERS[0]);
        let vxlan = "type vxlan id 7 dstport 4789";
        host.ip(&format!(
            "link add tunnel0 {vxlan} local {near} remote {far}\n\
             addr add {}/64 dev tunnel0 nodad\nlink set tunnel0 mtu 1280 up",
            NEAR.0
        ))?;
        host.ip4(&format!("addr add {}/24 dev tunnel0", NEAR.1))?;
        internet.ip(&format!(
            "link add tunnel0 {vxlan} local {far} remote {near}\n\
             addr add {}/64 dev tunnel0 nodad\nlink set tunnel0 mtu 1280 up",
            FAR.0
        ))?;
        internet.ip4(&format!("addr add {}/24 dev tunnel0", FAR.1))?;
        until_ready(host, &["tunnel0"])?;
        until_ready(internet, &["tunnel0"])?;
        let servers = [SocketAddr::new(FAR.0.into(), PORT), SocketAddr::new(FAR.1.into(), PORT)];
        let _server = Place::new(internet).serve(&servers)?;
        let site = Site::new(host, &root)?;
        let daemon = site.daemon::<&str>([])?;
        site.wait_for_routers()?;
        daemon.attach(&pinned, "tunnel0", Mode::Strict)?;
        world.forget()?;
        for server in servers {
            for kind in [Kind::Tcp, Kind::UdpConnected, Kind::UdpUnconnected] {
                let flow = Flow::new(kind, server);
                let report = world.host.place(&pinned).open(&flow)?;
                ensure!(report.arrived, "{flow:?}: {report:?}");
            }
        }
        // Where the tunnel goes is the host's matter, and is put right; what is sent beside it is the cgroup's.
        world.check_no_foreign()?;
        for &family in world.families() {
            let server = match family {
                Family::Ipv6 => SERVERS[0].into(),
                Family::Ipv4 | Family::Mapped => family.written(mif_tests::internet::SERVERS_IPV4[0]),
            };
            let source = world.source_of(family, &ISP_A)?;
            for kind in [Kind::Tcp, Kind::UdpConnected, Kind::UdpUnconnected] {
                let flow = Flow::new(kind, mif_tests::internet::at_echo(server)).from(source);
                let report = world.host.place(&pinned).open(&flow)?;
                ensure!(!report.arrived, "{flow:?}: {report:?}");
            }
        }
        daemon.stop()
    });
}

/// A device without frames: a packet(7) socket hands it bare packets.
#[test]
fn by_a_tunnel_that_the_view_does_not_have() {
    bounded(6 * PATIENCE, || {
        let world = World::two_uplinks(Daemon::Embedded)?.dual_stack()?;
        let host = world.host.namespace();
        host.sysctl("net/ipv4/ping_group_range", "0 0")?;
        let tunnel = world.tunnel()?;
        let far = Tap::new(tunnel.namespace(), "tun0")?;
        let root = Cgroup::new("host")?;
        let pinned = root.child("pinned")?;
        let mut attackers = Vec::new();
        for &family in world.families() {
            let aim = Aim {
                server: tunnel.address_of(family),
                forbidden: tunnel.host_address_of(family),
                own: world.source_of(family, &ISP_B)?,
                device: "tun0".into(),
                router: ISP_A.number as u8,
                enter: None,
            };
            attackers.push(world.host.place(&pinned).attack(&aim)?);
        }
        const FRAME: &str = "packet in a frame of the kernel's";
        let seen = || -> anyhow::Result<Vec<_>> {
            Ok(far.seen()?.iter().flat_map(|seen| attack::of(&seen.headers)).collect())
        };
        for family in [Family::Ipv6, Family::Ipv4] {
            ensure!(seen()?.contains(&(family, FRAME)), "without a policy: {:?}", seen()?);
        }
        let site = Site::new(host, &root)?;
        let daemon = site.daemon::<&str>([])?;
        site.wait_for_routers()?;
        daemon.attach(&pinned, ISP_B.name, Mode::Strict)?;
        // What a pass that was going on sent before the policy.
        for attacker in &mut attackers {
            attacker.pass()?;
        }
        far.forget()?;
        for _ in 0..2 {
            for attacker in &mut attackers {
                attacker.pass()?;
            }
        }
        ensure!(seen()?.is_empty(), "{:#?}", seen()?);
        daemon.stop()
    });
}
