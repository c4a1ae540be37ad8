//! What a host sends without asking anybody: SYN-ACKs and replies of servers, resets, MPTCP subflows.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, SocketAddr},
    thread,
};

use anyhow::{Context as _, Result, ensure};
use mif_tests::{
    application::Place,
    cgroup::Cgroup,
    deadline::{PATIENCE, bounded},
    family::Family,
    flow::{Flow, Kind},
    internet::at_echo,
    isp::{ISP_A, ISP_B},
    tap::Tap,
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
    bounded(6 * PATIENCE, || {
        let stage = Stage::new()?;
        let daemon = stage.daemon()?;
        let host = stage.world.host.namespace();
        for namespace in [host, stage.world.internet.namespace()] {
            run(
                &Place::new(namespace),
                &["mptcp", "limits", "set", "subflow", "2", "add_addr_accepted", "2"],
            )?;
        }
        for family in [Family::Ipv6, Family::Ipv4] {
            let server = SocketAddr::new(family.servers()[0], 4008);
            serve_mptcp(&stage, server)?;
            let (a, b) = (stage.world.source_of(family, &ISP_A)?, stage.world.source_of(family, &ISP_B)?);
            for address in [a, b] {
                let address = address.to_string();
                run(&Place::new(host), &["mptcp", "endpoint", "add", &address, "subflow"])?;
            }
            let script = format!("mptcp connect={server} exchange wait exchange");
            let [router_a, router_b] = stage.world.routers() else { unreachable!("two uplinks") };

            // Without a policy: both.
            stage.world.forget()?;
            let mut application = stage.play(&stage.free, family, &script)?;
            ensure!(application.report()?.arrived, "{family}: the first exchange");
            subflow(router_a.tap(), server, a)?;
            subflow(router_b.tap(), server, b)?;
            ensure!(application.again()?.arrived, "{family}: the second exchange");
            stage.world.check_no_foreign()?;
            drop(application);

            // Confined to the second: no subflow by the first.
            stage.world.forget()?;
            let mut application = stage.play(&stage.strict, family, &script)?;
            ensure!(application.report()?.arrived, "{family}, strict: the first exchange");
            subflow(router_b.tap(), server, b)?;
            ensure!(application.again()?.arrived, "{family}, strict: the second exchange");
            drop(application);
            let of_strict = router_a.tap().seen()?;
            let leaked: Vec<_> = of_strict
                .iter()
                .filter(|seen| seen.headers.source != a || seen.headers.ports.is_none())
                .collect();
            ensure!(leaked.is_empty(), "{family}, strict: {leaked:#?}");
            stage.world.check_no_foreign()?;
            run(&Place::new(host), &["mptcp", "endpoint", "flush"])?;
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
