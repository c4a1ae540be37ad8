//! What is left alone: the link's own traffic, other network namespaces, packets of others that the host forwards.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context as _, Result, bail, ensure};
use mif_common::Reason;
use mif_tests::{
    application::Place,
    cgroup::Cgroup,
    deadline::{Deadline, PATIENCE, bounded},
    echo::EchoServer,
    family::Family,
    flow::{Flow, Kind},
    internet::at_echo,
    isp::{ISP_A, ISP_B},
    packet::{Headers, PacketSocket, Sees},
    router::LAN,
    script::Script,
    ways::Stage,
};
use mif_user::kernel::maps::Maps;
use nix::net::if_::if_nametoindex;

fn count(maps: &Maps, reason: Reason) -> Result<u64> {
    let counts = maps.counts()?;
    Ok(counts.iter().filter(|(_, counted, _)| *counted == reason).map(|(.., count)| count.count).sum())
}

/// Multicast, broadcast and link-local destinations go where the application sends them, whatever the cgroup may use.
#[test]
fn what_stays_on_the_link() {
    bounded(6 * PATIENCE, || {
        let stage = Stage::new()?;
        let host = stage.world.host.namespace();
        let ifindex = |name: &'static str| host.run(move || if_nametoindex(name));
        let zone = ifindex(ISP_A.name)?;
        // A link-local server of the first provider's link.
        let router = &stage.world.routers()[0];
        let inside = router.namespace().run(|| if_nametoindex(LAN))?;
        let _server = EchoServer::start(router.namespace(), &[format!("[fe80::a%{inside}]:7").parse()?])?;
        let tap = |sees| PacketSocket::open(router.namespace(), LAN, sees);
        let (ipv6, ipv4) = (tap(Sees::IncomingIpv6)?, tap(Sees::IncomingIpv4)?);
        // script, and where its packet is seen: at the first provider's link, which the strict cgroup may not use otherwise
        let table = [
            (false, format!("udp send-to=[ff02::1%{zone}]:4001"), "ff02::1"),
            (false, "udp device=isp-a send-to=[ff02::2]:4001".into(), "ff02::2"),
            (false, "udp named=isp-a send-to=[ff05::101]:4001".into(), "ff05::101"),
            (false, format!("udp connect=[fe80::a%{zone}]:7 exchange"), "fe80::a"),
            (false, format!("udp to=[fe80::a%{zone}]:7"), "fe80::a"),
            (false, format!("tcp connect=[fe80::a%{zone}]:7 exchange"), "fe80::a"),
            (false, format!("ping to=[fe80::a%{zone}]:0"), "fe80::a"),
            (true, "udp named=isp-a send-to=224.0.0.1:4001".into(), "224.0.0.1"),
            (true, "udp named=isp-a send-to=239.1.1.1:4001".into(), "239.1.1.1"),
            (true, "udp broadcast device=isp-a send-to=255.255.255.255:4001".into(), "255.255.255.255"),
        ];
        let check = |cgroup: &Cgroup| -> Result<()> {
            for (is_ipv4, words, destination) in &table {
                let script = Script::new(*is_ipv4, words.split_whitespace())?;
                let report = stage.world.host.place(cgroup).play(&script)?.report()?;
                ensure!(report.arrived, "{}, {words}: {report:?}", cgroup.path().display());
                let destination: IpAddr = destination.parse()?;
                let deadline = Deadline::new(format!("{words} at the router"));
                let socket = if *is_ipv4 { &ipv4 } else { &ipv6 };
                let mut buffer = [0; 256];
                loop {
                    let packet = socket.receive(&mut buffer)?;
                    match packet.and_then(|packet| Headers::parse(packet.octets)) {
                        Some(headers) if headers.destination == destination => break,
                        Some(_) => {}
                        None => deadline.readable(socket)?,
                    }
                }
            }
            Ok(())
        };
        check(&stage.free)?;
        let daemon = stage.daemon()?;
        for cgroup in [&stage.free, &stage.prefer, &stage.strict] {
            check(cgroup)?;
        }
        daemon.stop()
    });
}

/// A container with interfaces of its own, in a cgroup with a policy of the host's: its sockets are not touched.
#[test]
fn a_container() {
    bounded(6 * PATIENCE, || {
        let stage = Stage::new()?;
        let container = stage.world.container()?;
        let daemon = stage.daemon()?;
        let maps = stage.site.maps()?;
        let _server = stage.world.host.place(stage.root()).serve(&["[::]:4007".parse()?])?;
        for family in Family::ALL {
            let host = SocketAddr::new(container.host_address_of(family), 4007);
            for cgroup in [&stage.free, &stage.prefer, &stage.strict] {
                let before = count(&maps, Reason::OtherNamespace)?;
                let inside = Place::new(container.namespace()).within(cgroup);
                let kinds = [Kind::Tcp, Kind::UdpConnected, Kind::UdpUnconnected, Kind::UdpPktinfo];
                let flows = kinds.map(|kind| match kind {
                    Kind::UdpPktinfo => Flow::new(kind, host).from(container.address_of(family)),
                    kind => Flow::new(kind, host),
                });
                for (flow, report) in flows.iter().zip(inside.open_all(&flows)?) {
                    ensure!(report.arrived, "{flow:?}: {report:?}");
                    let source = container.address_of(family).to_canonical();
                    ensure!(report.source() == Some(source), "{flow:?}: {report:?}");
                }
                let counted = count(&maps, Reason::OtherNamespace)? - before;
                ensure!(counted >= flows.len() as u64, "{family}: {counted} calls were counted");
            }
        }
        daemon.stop()
    });
}

/// Packets that the host forwards leave as they did: by its route, though their source is the other provider's, or nobody's.
#[test]
fn forwarded_packets() {
    bounded(6 * PATIENCE, || {
        let stage = Stage::new()?;
        let container = stage.world.container()?;
        let host = stage.world.host.namespace();
        for interface in [ISP_A.name, ISP_B.name, "br0"] {
            // 2: hears advertisements though it forwards.
            host.sysctl(&format!("net/ipv6/conf/{interface}/accept_ra"), 2)?;
        }
        host.sysctl("net/ipv6/conf/all/forwarding", 1)?;
        host.sysctl("net/ipv4/conf/all/forwarding", 1)?;
        // The container's addresses: of the bridge's prefix, and one of the second provider that is none of the host's.
        let (foreign_ipv6, foreign_ipv4) = ("2001:db8:b:ff::5", "198.18.11.200");
        container.namespace().ip(&format!(
            "addr add {foreign_ipv6}/128 dev eth0 nodad\nroute add default via {}",
            container.host_address_of(Family::Ipv6)
        ))?;
        container.namespace().ip4(&format!(
            "addr add {foreign_ipv4}/32 dev eth0\nroute add default via {}",
            container.host_address_of(Family::Ipv4)
        ))?;
        let check = |with: &str| -> Result<()> {
            for (family, foreign) in [(Family::Ipv6, foreign_ipv6), (Family::Ipv4, foreign_ipv4)] {
                let foreign: IpAddr = foreign.parse()?;
                for source in [container.address_of(family), foreign] {
                    stage.world.forget()?;
                    let server = at_echo(family.servers()[0]);
                    let words = format!("udp bind={} send-to={server}", SocketAddr::new(source, 0));
                    let script = Script::new(family == Family::Ipv4, words.split_whitespace())?;
                    let report = Place::new(container.namespace()).play(&script)?.report()?;
                    ensure!(report.arrived, "{with}, {family}: {report:?}");
                    let [first, second] = stage.world.routers() else {
                        bail!("two uplinks have two routers")
                    };
                    let seen = first.tap().wait_for("a forwarded packet", |headers| headers.source == source);
                    seen.with_context(|| format!("{with}, {family}, from {source}"))?;
                    let other = second.tap().seen()?;
                    ensure!(other.is_empty(), "{with}, {family}, from {source}: {other:#?}");
                }
            }
            Ok(())
        };
        check("the kernel alone")?;
        let daemon = stage.daemon()?;
        let maps = stage.site.maps()?;
        let before = count(&maps, Reason::Forwarded)?;
        check("mif")?;
        let counted = count(&maps, Reason::Forwarded)? - before;
        ensure!(counted >= 4, "{counted} forwarded packets were counted");
        daemon.stop()
    });
}
