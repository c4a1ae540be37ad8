//! A real `mif daemon` that heard a thousand routers: its memory, what it does while nothing happens, and how fast it follows.

use std::{collections::BTreeMap, fs, thread, time::Duration};

use anyhow::{Context as _, Result};
use mif_tests::{
    cgroup::Cgroup,
    host::Host,
    mif::Site,
    netns::{End, Namespace, veth},
    ra_sender::{Forged, RaSender},
};
use mif_user::control::Notice;

use crate::{
    Plan, aftermath,
    figure::{Figure, Goal, thousands},
    lab,
    progress::Progress,
    report::{Report, Row},
    routers::{LINKS, PLACES, Router},
};

/// Routers that speak before the daemon is looked at again: its socket holds so many messages.
const BURST: usize = 100;

/// /proc counts in kibibytes.
const KIB_PER_MIB: f64 = 1024.0;

/// Measures it.
pub fn measure(plan: &Plan, progress: &mut Progress, report: &mut Report) -> Result<()> {
    let n = format!("{} PvDs, 10 routes each", thousands(plan.routers));
    progress.step(format!("daemon, {n}: setting up"));
    aftermath::wait();
    let cgroup: Cgroup = lab::cgroup()?;
    let host = Host::new()?;
    let routers = Namespace::new("routers")?;
    // The kernel makes an address of each prefix of a link (its default is 16).
    host.namespace().sysctl("net/ipv6/conf/default/max_addresses", LINKS + 1)?;
    let senders = cables(host.namespace(), &routers, plan.routers)?;
    let site = Site::new(host.namespace(), &cgroup)?;
    let config = site.state_dir().join("mif.toml");
    fs::write(&config, format!("[limits]\npvds = {}\n", PLACES - 1))?;
    let config = config.to_str().context("the lab's folder has a plain name")?;
    let daemon = site.daemon(["--config", config])?;

    progress.step(format!("daemon, {n}: hearing the routers"));
    let all: Vec<Router> = Router::first(plan.routers).collect();
    let mut heard = 0;
    for burst in all.chunks(BURST) {
        for router in burst {
            send(&senders, *router, 0)?;
        }
        heard += burst.len();
        site.wait_for_state(&format!("{heard} PvDs"), |state| {
            let complete = |pvd: &&mif_core::pvd::snapshot::PvdSnapshot| !pvd.sources.is_empty();
            (state.pvds.iter().filter(complete).count() >= heard).then_some(())
        })?;
    }

    progress.step(format!("daemon, {n}: at rest"));
    let (mut before, mut quiet) = (Activity::of(daemon.id())?, 0);
    for _ in 0..SETTLING {
        thread::sleep(Duration::from_secs(1));
        let now = Activity::of(daemon.id())?;
        quiet = if std::mem::replace(&mut before, now) == now { quiet + 1 } else { 0 };
        if quiet == QUIET {
            break;
        }
    }
    thread::sleep(Duration::from_secs(plan.idle));
    let after = Activity::of(daemon.id())?;
    let status =
        fs::read_to_string(format!("/proc/{}/status", daemon.id())).context("the daemon's status")?;
    let memory = |key| kibibytes(&status, key).map(|kib| kib / KIB_PER_MIB);
    let mut row = Row::new("daemon, resident memory, MiB", &n);
    row.mif = Some(Figure::exact(memory("VmRSS")?));
    row.note = format!(
        "{:.1} MiB of it its own, the rest the program's file; at most {:.1} MiB since its start",
        memory("RssAnon")?,
        memory("VmHWM")?
    );
    report.rows.push(row.with_goal(Goal::AtMost(20.0)));
    let mut row = Row::new("daemon at rest, wake-ups", format!("{} s, {n}", plan.idle));
    row.mif = Some(Figure::exact((after.switches - before.switches) as f64));
    row.note = format!("{} clock ticks of processor time", after.ticks - before.ticks);
    report.rows.push(row.with_goal(Goal::AtMost(0.0)));

    progress.step(format!("daemon, {n}: one changed advertisement"));
    report.rows.push(follow(&daemon, &senders, plan, &n, progress)?);
    daemon.stop()?;
    site.says(["detach", "--all"])?;
    Ok(())
}

/// Seconds in which the daemon may come to rest.
const SETTLING: u32 = 30;
/// Seconds without anything after which it has: the kernel's neighbour and multicast work goes on for some time.
const QUIET: u32 = 5;

/// A cable for each link; its far end has the addresses of the link's routers, all known to the host for ever.
fn cables(host: &Namespace, routers: &Namespace, count: u16) -> Result<BTreeMap<u32, RaSender>> {
    let name = |link: u32| format!("link{link}");
    for link in 0..LINKS {
        let number = 0x200 + 2 * u16::try_from(link)?;
        let name = name(link);
        let end = |namespace, number| End { namespace, interface: &name, number };
        veth(end(host, number), end(routers, number + 1))?;
    }
    let up: Vec<String> = (0..LINKS).map(|link| format!("link set {} up\n", name(link))).collect();
    routers.ip(&up.concat())?;
    host.ip(&up.concat())?;
    let neighbours = Router::first(count).map(|router| {
        let [high, low] = (0x201 + 2 * router.link() as u16).to_be_bytes();
        let lladdr = format!("02:00:00:00:{high:02x}:{low:02x}");
        format!("neigh add {} lladdr {lladdr} dev {} nud permanent\n", router.address(), name(router.link()))
    });
    host.ip(&neighbours.collect::<String>())?;
    (0..LINKS).map(|link| Ok((link, RaSender::new(routers, &name(link))?))).collect()
}

fn send(senders: &BTreeMap<u32, RaSender>, router: Router, version: u16) -> Result<()> {
    let sender = senders.get(&router.link()).context("each link has a sender")?;
    sender.send_forged(&Forged::new(&router.message(version)?, router.address()))
}

/// What the daemon itself says it took, from the arrival of the advertisement to the last entry.
fn follow(
    daemon: &mif_tests::mif::Daemon<'_>,
    senders: &BTreeMap<u32, RaSender>,
    plan: &Plan,
    n: &str,
    progress: &Progress,
) -> Result<Row> {
    let mut notices = daemon.watch()?;
    let (mut rounds, mut entries) = (Vec::new(), Vec::new());
    for round in 1..=plan.rounds {
        progress.round(round, plan.rounds);
        send(senders, Router(round as u16), 1)?;
        let (operations, took) = notices.until("the tables to change", |notice| {
            Ok(match notice {
                Notice::Tables { operations, took, .. } => Some((*operations, *took)),
                _ => None,
            })
        })?;
        rounds.push(took as f64 / 1e6);
        entries.push(operations as f64);
    }
    let mut row = Row::new("one changed advertisement, daemon, ms", n);
    row.mif = Figure::of(rounds);
    let entries = Figure::of(entries).context("there was a round")?.median;
    row.note = format!("{entries} entries written, as the daemon's own notices say");
    Ok(row.with_goal(Goal::AtMost(2.0)))
}

/// What all threads of a process have done so far.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Activity {
    /// Voluntary context switches: each is followed by a wake-up.
    switches: u64,
    /// Clock ticks in user and kernel mode.
    ticks: u64,
}

impl Activity {
    fn of(pid: u32) -> Result<Self> {
        let mut activity = Self { switches: 0, ticks: 0 };
        for task in fs::read_dir(format!("/proc/{pid}/task")).context("the daemon's threads")? {
            let path = task?.path();
            let status = fs::read_to_string(path.join("status"))?;
            activity.switches += field(&status, "voluntary_ctxt_switches")?.parse::<u64>()?;
            let stat = fs::read_to_string(path.join("stat"))?;
            activity.ticks += ticks(&stat).with_context(|| format!("an odd stat: {stat}"))?;
        }
        Ok(activity)
    }
}

/// utime and stime, fields 14 and 15 of proc_pid_stat(5), behind the name in parentheses, which is field 2.
fn ticks(stat: &str) -> Option<u64> {
    let (_, behind_name) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = behind_name.split(' ').collect();
    Some(fields.get(14 - 3)?.parse::<u64>().ok()? + fields.get(15 - 3)?.parse::<u64>().ok()?)
}

fn field<'a>(status: &'a str, key: &str) -> Result<&'a str> {
    let value = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    value.map(str::trim).with_context(|| format!("no {key} in the status of a process"))
}

fn kibibytes(status: &str, key: &str) -> Result<f64> {
    Ok(field(status, key)?.trim_end_matches(" kB").parse()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_files_are_read() {
        let status = "VmRSS:\t    2048 kB\nvoluntary_ctxt_switches:\t12\nnonvoluntary_ctxt_switches:\t3\n";
        assert_eq!(kibibytes(status, "VmRSS").unwrap(), 2048.0);
        assert_eq!(field(status, "voluntary_ctxt_switches").unwrap(), "12");
        assert_eq!(ticks("7 (a) b) S 1 2 3 4 5 6 7 8 9 10 40 2 13"), Some(42));
    }
}
