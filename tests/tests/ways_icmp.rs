//! Ping sockets, raw sockets, and Debian's `ping`. No hook of the kernel sees their sends; a ping socket's connect is seen.

use std::process::Stdio;

use anyhow::{Result, ensure};
use mif_tests::{
    cgroup::Cgroup,
    deadline::{PATIENCE, bounded},
    family::Family,
    isp::{ISP_A, ISP_B},
    process::Process,
    ways::{Stage, Way, way},
};

#[rustfmt::skip]
const ECHO: &[Way] = &[
    //   the application                            alone   free   prefer  strict
    way("ping connect={server} exchange",          ["a",    "a",   "b",    "b"]),
    way("ping bind={b} connect={server} exchange", ["lost", "b",   "b",    "b"]),
    way("ping bind={a} connect={server} exchange", ["a",    "a",   "a",    "ENETUNREACH"]),
    way("ping bind={b} to={server}",               ["lost", "b",   "b",    "b"]),
    way("raw bind={b} to={server}",                ["lost", "b",   "b",    "b"]),
    way("raw bind={a} to={server}",                ["a",    "a",   "a",    "dropped"]),
    way("raw connect={server} exchange",           ["a",    "a",   "a",    "dropped"]),
    way("raw named={b-ip} to={server}",            ["lost", "b",   "b",    "b"]),
    way("raw device=isp-b to={server}",            ["b",    "b",   "b",    "b"]),
    // Without a source: the kernel has chosen one of the first provider, and a policy gives the packet another.
    way("ping to={server}",                        ["a",    "a",   "b",    "b"]),
    way("ping size=1000 to={server}",              ["a",    "a",   "b",    "b"]),
    way("ping bind={any} to={server}",             ["a",    "a",   "b",    "b"]),
    way("ping bind={a} to={server}",               ["a",    "a",   "a",    "dropped"]),
    way("ping device=isp-a to={server}",           ["a",    "a",   "a",    "dropped"]),
    way("ping device=isp-b to={server}",           ["b",    "b",   "b",    "b"]),
    // A raw socket may have written the source itself: only a strict policy gives it another.
    way("raw to={server}",                         ["a",    "a",   "a",    "b"]),
    way("raw named={a-ip} to={server}",            ["a",    "a",   "a",    "b"]),
    way("raw size=1000 to={server}",               ["a",    "a",   "a",    "b"]),
    // Fragments have no checksum of their own to repair.
    way("raw size=3000 to={server}",               ["a",    "a",   "a",    "dropped"]),
    way("raw size=3000 bind={b} to={server}",      ["lost", "b",   "b",    "b"]),
];

#[test]
fn echo_requests() {
    bounded(6 * PATIENCE, || Stage::new()?.check(&[(&[Family::Ipv6, Family::Ipv4], ECHO)]));
}

/// Whether `ping ARGS ADDRESS` got its answer.
fn ping(stage: &Stage, cgroup: &Cgroup, args: &[&str]) -> Result<bool> {
    let mut command = stage.world.host.place(cgroup).command("ping")?;
    command.args(["-n", "-c", "1", "-W", "2"]).args(args).stdout(Stdio::null()).stderr(Stdio::null());
    Ok(Process::spawn(command)?.wait()?.success())
}

/// The program as Debian has it: a probe with a datagram socket, then a ping or raw socket.
#[test]
fn the_program_ping() {
    bounded(6 * PATIENCE, || {
        let stage = Stage::new()?;
        let daemon = stage.daemon()?;
        for family in [Family::Ipv6, Family::Ipv4] {
            let server = family.servers()[0].to_string();
            let (a, b) = (stage.world.source_of(family, &ISP_A)?, stage.world.source_of(family, &ISP_B)?);
            let (from_a, from_b) = (a.to_string(), b.to_string());
            let local = if family == Family::Ipv4 { "127.0.0.1" } else { "::1" };
            // cgroup, arguments before the address, whether it is answered, from which source
            for (cgroup, args, answered, source) in [
                (&stage.free, &[][..], true, Some(a)),
                (&stage.free, &["-I", &from_b], true, Some(b)),
                (&stage.free, &["-I", ISP_B.name], true, Some(b)),
                (&stage.prefer, &[], true, Some(b)),
                (&stage.prefer, &["-I", &from_a], true, Some(a)),
                (&stage.prefer, &["-I", ISP_A.name], true, Some(a)),
                (&stage.strict, &[], true, Some(b)),
                (&stage.strict, &["-I", &from_b], true, Some(b)),
                (&stage.strict, &["-I", ISP_B.name], true, Some(b)),
                (&stage.strict, &["-I", &from_a], false, None),
                (&stage.strict, &["-I", ISP_A.name], false, None),
            ] {
                stage.world.forget()?;
                let what = format!("{family}, {}, ping {args:?}", cgroup.path().display());
                ensure!(ping(&stage, cgroup, &[args, &[&server]].concat())? == answered, "{what}");
                for router in stage.world.routers() {
                    for seen in router.tap().seen()? {
                        ensure!(Some(seen.headers.source) == source, "{what}: {seen:?}");
                    }
                }
                stage.world.check_no_foreign()?;
            }
            // The host itself is nobody's provider.
            for own in [local, &from_a, &from_b] {
                ensure!(ping(&stage, &stage.strict, &[own])?, "{own}");
            }
        }
        daemon.stop()
    });
}

/// What is no echo request is only let through or not.
#[test]
fn other_raw_packets() {
    bounded(6 * PATIENCE, || {
        let stage = Stage::new()?;
        let daemon = stage.daemon()?;
        for family in [Family::Ipv6, Family::Ipv4] {
            let (a, b) = (stage.world.source_of(family, &ISP_A)?, stage.world.source_of(family, &ISP_B)?);
            for (cgroup, script, source) in [
                (&stage.free, "raw-253 send-to={server}", Some(a)),
                (&stage.free, "raw-253 bind={b} send-to={server}", Some(b)),
                (&stage.strict, "raw-253 bind={b} send-to={server}", Some(b)),
                (&stage.strict, "raw-253 send-to={server}", None),
                (&stage.strict, "raw-253 named={a-ip} send-to={server}", None),
            ] {
                stage.world.forget()?;
                let report = stage.play(cgroup, family, script)?.report()?;
                let taps = stage.world.routers().iter().map(|router| router.tap().seen());
                let seen = taps.collect::<Result<Vec<_>>>()?.concat();
                let sources: Vec<_> = seen.iter().map(|seen| seen.headers.source).collect();
                ensure!(sources == Vec::from_iter(source), "{family}, {script}: {report:?}, {seen:?}");
                stage.world.check_no_foreign()?;
            }
        }
        daemon.stop()
    });
}
