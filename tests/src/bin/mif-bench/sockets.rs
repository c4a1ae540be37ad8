//! The socket hooks: whole system calls with and without the programs.

use std::{net::SocketAddrV6, time::Instant};

use anyhow::{Context as _, Result};
use aya::{
    programs::ProgramInfo,
    sys::{Stats, enable_stats},
};
use socket2::{Domain, SockAddr, Socket, Type};

use crate::{
    report::{Report, median},
    world::{Bench, DESTINATION},
};

/// The discard port (RFC 863): nobody listens there.
const PORT: u16 = 9;

/// `socket`, `connect`, `close` of a UDP socket: the route lookup and the hook, without a peer.
pub fn connect(bench: &mut Bench, calls: u32, rounds: u32, report: &mut Report) -> Result<()> {
    compare(bench, "UDP socket + connect + close", "connect6", rounds, report, || {
        let to = destination();
        let started = Instant::now();
        for _ in 0..calls {
            udp()?.connect(&to).context("connect")?;
        }
        Ok(nanoseconds(started, calls))
    })
}

/// `sendto` on one unconnected UDP socket, out of the uplink.
pub fn sendmsg(bench: &mut Bench, calls: u32, rounds: u32, report: &mut Report) -> Result<()> {
    compare(bench, "UDP sendto, unconnected", "sendmsg6", rounds, report, || {
        let (to, socket) = (destination(), udp()?);
        let started = Instant::now();
        for _ in 0..calls {
            socket.send_to(b"x", &to).context("sendto")?;
        }
        Ok(nanoseconds(started, calls))
    })
}

/// Rounds without and with the programs in turns; then one with the kernel's run-time statistics on, which cost
/// something themselves and so are kept out of the others.
fn compare(
    bench: &mut Bench,
    work: &'static str,
    program: &str,
    rounds: u32,
    report: &mut Report,
    round: impl Fn() -> Result<f64>,
) -> Result<()> {
    let (mut without, mut with) = (Vec::new(), Vec::new());
    round().context("warming up")?;
    for _ in 0..rounds {
        without.push(round()?);
        let installation = bench.attach()?;
        with.push(round()?);
        bench.detach(installation)?;
    }
    let installation = bench.attach()?;
    let statistics = enable_stats(Stats::RunTime).context("cannot switch run-time statistics on")?;
    round()?;
    let info = ProgramInfo::from_pin(bench.program(program)).context("the program is pinned")?;
    let program_ns = info.run_time().as_nanos() as f64 / info.run_count().max(1) as f64;
    drop(statistics);
    bench.detach(installation)?;
    report.add(work, bench.pvds, median(without), median(with), Some(program_ns));
    Ok(())
}

fn destination() -> SockAddr {
    SocketAddrV6::new(DESTINATION, PORT, 0, 0).into()
}

fn udp() -> Result<Socket> {
    Socket::new(Domain::IPV6, Type::DGRAM, None).context("socket")
}

fn nanoseconds(started: Instant, calls: u32) -> f64 {
    started.elapsed().as_nanos() as f64 / f64::from(calls)
}
