//! More clients at the control socket than the daemon has descriptors for.

use std::{
    fs,
    os::unix::net::UnixStream,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use mif_tests::{
    deadline::{PATIENCE, bounded},
    enforced::Lab,
};
use mif_user::control;
use nix::{
    libc,
    unistd::{SysconfVar, sysconf},
};

/// Clients, which say nothing, beyond those that the daemon has descriptors for.
const SURPLUS: usize = 8;
/// How long they wait.
const WHILE: Duration = Duration::from_millis(500);

/// The processor time that a process has used so far (proc_pid_stat(5), utime and stime).
fn used(pid: u32) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, fields) = stat.rsplit_once(')').context("no name")?;
    // Behind the name, utime is the 12th field and stime the next.
    let ticks: u64 = fields.split_whitespace().skip(11).take(2).map(|field| field.parse().unwrap_or(0)).sum();
    let second = sysconf(SysconfVar::CLK_TCK)?.context("no clock tick")?;
    Ok(Duration::from_millis(ticks * 1000 / u64::try_from(second)?))
}

fn limit_descriptors(pid: u32, limit: u64) -> Result<()> {
    let limit = libc::rlimit { rlim_cur: limit, rlim_max: limit };
    // SAFETY: the limit is read for the call alone; the old one is not asked for.
    let done = unsafe {
        libc::prlimit(pid.try_into()?, libc::RLIMIT_NOFILE, &raw const limit, std::ptr::null_mut())
    };
    ensure!(done == 0, "prlimit: {}", std::io::Error::last_os_error());
    Ok(())
}

#[test]
fn who_finds_no_descriptor_waits_and_costs_nothing() {
    bounded(6 * PATIENCE, || {
        let lab = Lab::new()?;
        let daemon = lab.daemon()?;
        let open: Vec<u64> = fs::read_dir(format!("/proc/{}/fd", daemon.id()))?
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .collect();
        let limit = open.iter().max().context("it has descriptors")? + 1;
        limit_descriptors(daemon.id(), limit)?;
        // Between those that are open there is room for some.
        let clients = usize::try_from(limit)? - open.len() + SURPLUS;
        let socket = control::socket(lab.site.state_dir());
        let clients = (0..clients).map(|_| UnixStream::connect(&socket)).collect::<Result<Vec<_>, _>>()?;
        let (before, began) = (used(daemon.id())?, Instant::now());
        thread::sleep(WHILE);
        let (busy, waited) = (used(daemon.id())? - before, began.elapsed());
        ensure!(busy < waited / 5, "busy for {busy:?} of {waited:?}");
        drop(clients);
        // Its turn comes.
        let cgroup = lab.site.cgroup().to_str().context("UTF-8")?;
        lab.site.says(["policy", "attach", cgroup, "--pvd", "isp-a,isp-b"])?;
        lab.site.says(["policy", "detach", cgroup])?;
        daemon.stop()
    });
}
