//! What a host sends without asking anybody: SYN-ACKs and replies of servers, resets, MPTCP subflows.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, SocketAddr},
    thread,
};

use anyhow::{Context as _, Result, bail, ensure};
use mif_common::Reason;
use mif_tests::{
    application::{Application, Place},
    cgroup::Cgroup,
    deadline::{PATIENCE, bounded},
    family::Family,
    flow::{Flow, Kind},
    internet::at_echo,
    isp::{ISP_A, ISP_B},
    tap::{Seen, Tap},
    ways::Stage,
};
use nix::{errno::Errno, libc};
use socket2::{Domain, Socket, Type};

/// What somebody in the internet makes of the host's servers at each of its addresses: TCP and UDP.
fn clients(stage: &Stage, family: Family, port: u16) -> Result<Vec<(IpAddr, Vec<String>)>> {
    let mut found = Vec::new();
    for isp in [ISP_A, ISP_B] {
        let address = stage.world.source_of(family, &isp)?.to_canonical();
        let flows =
            [Kind::Tcp, Kind::UdpConnected].map(|kind| Flow::new(kind, SocketAddr::new(address, port)));
        let reports = stage.world.internet.place().open_all(&flows)?;
        let outcome = |report: &mif_tests::flow::Report| match report.errno {
            Some(errno) => format!("{:?}", Errno::from_raw(errno)),
            None => (if report.arrived { "answer" } else { "nothing" }).to_owned(),
        };
        found.push((address, reports.iter().map(outcome).collect()));
    }
    Ok(found)
}

#[test]
fn replies_and_resets() {
    bounded(8 * PATIENCE, || {
        let stage = Stage::new()?;
        const SERVED: u16 = 4007;
        const CLOSED: u16 = 4009;
        let check = |cgroup: &Cgroup, family: Family, port, expected: [&str; 2]| -> Result<()> {
            let any = if family == Family::Ipv4 { "0.0.0.0" } else { "::" };
            let _server = stage.world.host.place(cgroup).serve(&[SocketAddr::new(any.parse()?, SERVED)])?;
            stage.world.forget()?;
            for ((address, outcomes), expected) in clients(&stage, family, port)?.iter().zip(expected) {
                for outcome in outcomes {
                    ensure!(outcome == expected, "{family}, {address} {port}: {outcomes:?}, not {expected}");
                }
            }
            Ok(())
        };
        for family in Family::ALL {
            // The kernel alone sends the replies of the second address by the first provider.
            check(&stage.free, family, SERVED, ["answer", "nothing"])?;
            check(&stage.free, family, CLOSED, ["ECONNREFUSED", "nothing"])?;
            ensure!(!stage.world.foreign()?.is_empty(), "{family}: the kernel alone sends nothing wrong");
        }
        let daemon = stage.daemon()?;
        for family in Family::ALL {
            for (cgroup, port, expected) in [
                (&stage.free, SERVED, ["answer", "answer"]),
                (&stage.prefer, SERVED, ["answer", "answer"]),
                // A listener may answer from the provider that it is confined to, and from no other.
                (&stage.strict, SERVED, ["nothing", "answer"]),
                // Nobody's socket: resets and unreachables are the host's.
                (&stage.strict, CLOSED, ["ECONNREFUSED", "ECONNREFUSED"]),
            ] {
                check(cgroup, family, port, expected)?;
                stage.world.check_no_foreign()?;
                if expected[0] == "nothing" {
                    let seen = stage.world.routers()[0].tap().seen()?;
                    ensure!(seen.is_empty(), "{family}: the strict listener answered: {seen:#?}");
                }
            }
        }
        daemon.stop()
    });
}

/// A server that speaks MPTCP and echoes one message for each connection.
fn serve_mptcp(stage: &Stage, address: SocketAddr) -> Result<()> {
    let listener = stage.world.internet.namespace().run(|| -> std::io::Result<Socket> {
        let socket =
            Socket::new(Domain::for_address(address), Type::STREAM, Some(libc::IPPROTO_MPTCP.into()))?;
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(8)?;
        Ok(socket)
    })?;
    thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            thread::spawn(move || {
                let mut buffer = [0; 65_536];
                while let Ok(length @ 1..) = (&stream).read(&mut buffer) {
                    if (&stream).write_all(&buffer[..length]).is_err() {
                        break;
                    }
                }
            });
        }
    });
    Ok(())
}

/// Waits for the opening of a subflow to `to` from the provider's address.
fn subflow(tap: &Tap, to: SocketAddr, from: IpAddr) -> Result<()> {
    let what = format!("a subflow from {from}");
    tap.wait_for(&what, |headers| {
        headers.source == from
            && headers.destination == to.ip()
            && headers.ports.is_some_and(|(_, port)| port == to.port())
    })?;
    Ok(())
}

/// The kernel opens subflows from the addresses that the administrator named; each leaves by its source's provider (RFC 8684 §3.2).
#[test]
fn mptcp_subflows() {
    const ALONE: u16 = 4010;
    const FREE: u16 = 4011;
    const STRICT: u16 = 4012;
    bounded(8 * PATIENCE, || {
        let stage = Stage::new()?;
        let host = stage.world.host.namespace();
        for namespace in [host, stage.world.internet.namespace()] {
            run(
                &Place::new(namespace),
                &["mptcp", "limits", "set", "subflow", "2", "add_addr_accepted", "2"],
            )?;
        }
        let families = [Family::Ipv6, Family::Ipv4];
        let at = |family: Family, port| SocketAddr::new(family.servers()[0], port);
        for family in families {
            for port in [ALONE, FREE, STRICT] {
                serve_mptcp(&stage, at(family, port))?;
            }
            for isp in [ISP_A, ISP_B] {
                let address = stage.world.source_of(family, &isp)?.to_string();
                run(&Place::new(host), &["mptcp", "endpoint", "add", &address, "subflow"])?;
            }
        }
        let start = |cgroup, family, port| -> Result<Application> {
            let script =
                format!("mptcp connect={} exchange{}", at(family, port), " wait exchange".repeat(99));
            let mut application = stage.play(cgroup, family, &script)?;
            let report = application.report()?;
            ensure!(report.arrived, "{family}: {report:?}");
            Ok(application)
        };
        let [tap_a, tap_b] = stage.world.routers() else { bail!("two uplinks have two routers") };
        let (tap_a, tap_b) = (tap_a.tap(), tap_b.tap());
        // The kernel alone sends both by the first provider.
        for family in families {
            let _application = start(&stage.free, family, ALONE)?;
            for isp in [ISP_A, ISP_B] {
                subflow(tap_a, at(family, ALONE), stage.world.source_of(family, &isp)?)?;
            }
        }
        let daemon = stage.daemon()?;
        let maps = stage.site.maps()?;
        let vetoes = || -> Result<u64> {
            let counts = maps.counts()?;
            let of_veto = counts.iter().filter(|(_, reason, _)| *reason == Reason::Vetoed);
            Ok(of_veto.map(|(.., count)| count.count).sum())
        };
        for family in families {
            let (a, b) = (stage.world.source_of(family, &ISP_A)?, stage.world.source_of(family, &ISP_B)?);
            let mut application = start(&stage.free, family, FREE)?;
            subflow(tap_a, at(family, FREE), a)?;
            subflow(tap_b, at(family, FREE), b)?;
            ensure!(application.again()?.arrived, "{family}: the second exchange");

            // Confined to the second: the subflow from the first one's address is vetoed, the connection goes on.
            let before = vetoes()?;
            let mut application = start(&stage.strict, family, STRICT)?;
            subflow(tap_b, at(family, STRICT), b)?;
            while vetoes()? == before {
                ensure!(application.again()?.arrived, "{family}: an exchange of the strict cgroup");
            }
            ensure!(application.again()?.arrived, "{family}: the last exchange of the strict cgroup");
            let port = |seen: &Seen, port| seen.headers.ports.is_some_and(|(_, to)| to == port);
            let mut seen = tap_a.seen()?;
            seen.retain(|seen| port(seen, STRICT) || port(seen, FREE) && !ISP_A.owns(seen.headers.source));
            ensure!(seen.is_empty(), "{family}: by the wrong provider: {seen:#?}");
        }
        daemon.stop()
    });
}

/// Runs `ip ARGS`.
fn run(place: &Place<'_>, args: &[&str]) -> Result<()> {
    let output = place.command("ip")?.args(args).output().context("start ip")?;
    ensure!(output.status.success(), "ip {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// The echo server knows nothing of MPTCP: the connection falls back to TCP and is decided like one.
#[test]
fn mptcp_that_falls_back() {
    bounded(4 * PATIENCE, || {
        let stage = Stage::new()?;
        let daemon = stage.daemon()?;
        for family in Family::ALL {
            let server = at_echo(family.servers()[0]);
            for (cgroup, expected) in [(&stage.free, "a"), (&stage.prefer, "b"), (&stage.strict, "b")] {
                let report =
                    stage.play(cgroup, family, &format!("mptcp connect={server} exchange"))?.report()?;
                ensure!(mif_tests::ways::outcome(&report) == expected, "{family}: {report:?}");
            }
        }
        stage.world.check_no_foreign()?;
        daemon.stop()
    });
}
