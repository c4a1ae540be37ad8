//! A daemon at rest: what it still does, and how much memory it has.

use std::{fs, thread, time::Duration};

use anyhow::{Context as _, Result};

use crate::{
    figure::{Figure, Goal},
    report::Row,
};

/// /proc counts in kibibytes.
const KIB_PER_MIB: f64 = 1024.0;

/// Seconds in which the daemon may come to rest.
const SETTLING: u32 = 30;
/// Seconds without anything after which it has: the kernel's neighbour and multicast work goes on for some time.
const QUIET: u32 = 5;

/// What was seen.
pub struct Rest {
    /// Resident memory, MiB.
    resident: f64,
    /// What of it is whose.
    note: String,
    /// Wake-ups.
    switches: u64,
    /// Clock ticks of processor time.
    ticks: u64,
}

impl Rest {
    /// Lets a daemon come to rest, and looks at it for so many seconds.
    pub fn of(pid: u32, seconds: u64) -> Result<Self> {
        let (mut before, mut quiet) = (Activity::of(pid)?, 0);
        for _ in 0..SETTLING {
            thread::sleep(Duration::from_secs(1));
            let now = Activity::of(pid)?;
            quiet = if std::mem::replace(&mut before, now) == now { quiet + 1 } else { 0 };
            if quiet == QUIET {
                break;
            }
        }
        thread::sleep(Duration::from_secs(seconds));
        let after = Activity::of(pid)?;
        let status = fs::read_to_string(format!("/proc/{pid}/status")).context("the daemon's status")?;
        let memory = |key| kibibytes(&status, key).map(|kib| kib / KIB_PER_MIB);
        Ok(Self {
            resident: memory("VmRSS")?,
            note: format!(
                "{:.1} MiB of it its own, the rest the program's file; at most {:.1} MiB since its start",
                memory("RssAnon")?,
                memory("VmHWM")?
            ),
            switches: after.switches - before.switches,
            ticks: after.ticks - before.ticks,
        })
    }

    /// What was seen in `seconds`, as rows: the memory of `whose`, of which there may be so many MiB, and the wake-ups at `rest`, of which
    /// there may be none.
    pub fn rows(&self, (whose, rest): (&str, &str), n: &str, seconds: u64, most: f64) -> [Row; 2] {
        let mut memory = Row::new(format!("{whose}, resident memory, MiB"), n);
        memory.mif = Some(Figure::exact(self.resident));
        memory.note.clone_from(&self.note);
        let mut wake_ups = Row::new(format!("{rest}, wake-ups"), format!("{seconds} s, {n}"));
        wake_ups.mif = Some(Figure::exact(self.switches as f64));
        wake_ups.note = format!("{} clock ticks of processor time", self.ticks);
        [memory.with_goal(Goal::AtMost(most)), wake_ups.with_goal(Goal::AtMost(0.0))]
    }
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
