//! `mif watch`: what happens, as it happens.

use std::{
    io,
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, Result};
use mif_common::{
    Reason,
    abi::{Config, config_flags},
};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        signal::{SigSet, Signal},
        signalfd::{SfdFlags, SignalFd},
    },
};

use super::{
    Global,
    format::printable,
    output::{self, BAD, FAINT, GOOD, WARNING},
    reader::{self, Reader},
};
use crate::{
    clock,
    control::{self, ControlError, KernelEvent, Notice},
    daemon::watch,
    kernel::maps::{self, Maps, MapsError},
};

/// How often to look whether a daemon has come up, while the ring is read without one.
const DAEMON_CHECK: Duration = Duration::from_secs(1);

/// Show what happens, as it happens
#[derive(Debug, clap::Args)]
#[command(
    after_help = "What the hooks change or refuse, what routers and kernel say of the PvDs, and when the tables change. \
Times are seconds since boot. The hooks send at most 64 events of a reason in a second on a CPU and \
count the others.

Without a daemon the kernel's events are read from their ring: each is then seen by one reader only.

JSON: one object a line with one key: kernel {at, hook, reason, pvd, source, destination, interface, \
cgroup, pid, suppressed} (null where there is none), pvd (a change), or tables {at, operations, took}; \
times in boot-time nanoseconds.

Examples:
  mif watch
  mif watch --count 1 --json | jq .kernel.reason"
)]
pub struct Args {
    /// Print JSON, one object a line
    #[arg(long)]
    json: bool,
    /// End after so many
    #[arg(short = 'n', long, value_name = "N")]
    count: Option<u64>,
}

/// Prints notices, and counts them.
struct Printer {
    json: bool,
    left: Option<u64>,
}

impl Printer {
    /// Whether there are more to come.
    fn print(&mut self, notice: &Notice) -> io::Result<bool> {
        let line = if self.json { serde_json::to_string(notice)? } else { text(notice) };
        output::print(&(line + "\n"))?;
        self.left = self.left.map(|left| left.saturating_sub(1));
        Ok(self.more())
    }

    const fn more(&self) -> bool {
        !matches!(self.left, Some(0))
    }
}

/// Watches until the count is reached or the output is closed. A daemon that comes or goes only changes where from.
///
/// # Errors
/// When there is neither a daemon nor an installation.
pub fn run(global: &Global, args: &Args) -> Result<ExitCode> {
    let mut printer = Printer { json: args.json, left: args.count };
    while printer.more() {
        match control::watch(&global.state_dir()) {
            Ok(notices) => {
                for notice in notices {
                    match notice {
                        Ok(notice) if printer.print(&notice)? => {}
                        Ok(_) => return Ok(ExitCode::SUCCESS),
                        Err(error) => {
                            output::note(&format!("the daemon broke off: {error}"));
                            break;
                        }
                    }
                }
                if printer.more() {
                    output::note("the daemon has ended");
                }
            }
            Err(ControlError::NoDaemon(..)) => {
                if read_ring(global, &mut printer)? == End::Enough {
                    break;
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Why reading the ring ended.
#[derive(PartialEq, Eq)]
enum End {
    /// A daemon has come up, and tells from now on.
    Daemon,
    /// All was printed that was asked for, or somebody ends this program.
    Enough,
}

/// Reads the kernel's events without a daemon.
fn read_ring(global: &Global, printer: &mut Printer) -> Result<End> {
    let Reader { names, mut maps, .. } = Reader::open(global)?;
    let mut ring = maps::events(&global.bpffs())?;
    // By their default these would end the program and leave the hooks sending to nobody.
    let ending = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]);
    ending.thread_block().context("cannot hold signals back")?;
    let signals = SignalFd::with_flags(&ending, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
        .context("cannot wait for signals")?;
    set_watched(&mut maps, true)?;
    output::note("no daemon runs: showing the kernel's events only, each of which one reader sees");
    let period = PollTimeout::try_from(DAEMON_CHECK).expect("a second fits");
    let mut follow = || {
        loop {
            for event in watch::drain(&mut ring) {
                if !printer.print(&watch::notice(&event, &names))? {
                    return Ok(End::Enough);
                }
            }
            // SAFETY: the ring owns the descriptor and outlives the borrow, which ends with this round.
            let fd = unsafe { BorrowedFd::borrow_raw(ring.as_raw_fd()) };
            let mut ready = [fd, signals.as_fd()].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
            match poll(&mut ready, period) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno).context("cannot wait for events"),
            }
            if signals.read_signal().context("cannot read signals")?.is_some() {
                return Ok(End::Enough);
            }
            if reader::daemon(&global.state_dir())?.is_some() && control::socket(&global.state_dir()).exists()
            {
                return Ok(End::Daemon);
            }
            // Another reader that has ended has told the hooks that nobody watches.
            set_watched(&mut maps, true)?;
        }
    };
    let end = follow();
    ending.thread_unblock().context("cannot let signals through")?;
    // A daemon has said anew whether somebody watches.
    if !matches!(end, Ok(End::Daemon)) {
        set_watched(&mut maps, false)?;
    }
    end
}

/// Tells the hooks whether somebody reads their events.
fn set_watched(maps: &mut Maps, watched: bool) -> Result<(), MapsError> {
    let config = maps.config()?;
    let flags = (config.flags & !config_flags::WATCHED) | if watched { config_flags::WATCHED } else { 0 };
    if flags == config.flags { Ok(()) } else { maps.set_config(Config { flags, ..config }) }
}

/// A line for people.
fn text(notice: &Notice) -> String {
    match notice {
        Notice::Kernel(event) => kernel_text(event),
        // A change has no time of its own; it is told as it happens.
        Notice::Pvd(change) => format!("{} {}", at(clock::now().0), printable(&change.to_string())),
        Notice::Tables { at: then, operations, took } => {
            let took = Duration::from_nanos(*took).as_secs_f64() * 1e3;
            format!(
                "{} {FAINT}tables: {operations} operations, {took:.1} ms after the cause{FAINT:#}",
                at(*then)
            )
        }
    }
}

fn kernel_text(event: &KernelEvent) -> String {
    let style = match Reason::ALL.iter().find(|reason| reason.name() == event.reason) {
        Some(Reason::Unreachable | Reason::Vetoed) => BAD,
        Some(Reason::Applied | Reason::FollowedSource | Reason::Redirected) => GOOD,
        _ => WARNING,
    };
    // A socket without a source; a bind, which has no destination.
    let source = event.source.map_or_else(|| "any source".into(), |source| source.to_string());
    let way = event.destination.map_or_else(String::new, |destination| format!(" -> {destination}"));
    let mut line = format!("{} {} {style}{}{style:#} {source}{way}", at(event.at), event.hook, event.reason);
    if let Some(interface) = &event.interface {
        line += &format!(" by {interface}");
    }
    if let Some(pvd) = &event.pvd {
        // What was vetoed is of a PvD that the view does not have.
        let whose = if event.reason == Reason::Vetoed.name() { "which belongs to PvD" } else { "PvD" };
        line += &format!(", {whose} {pvd}");
    }
    if let Some(pid) = event.pid {
        line += &format!(", process {pid}");
    }
    if let Some(cgroup) = &event.cgroup {
        line += &format!(", policy of {}", printable(&cgroup.display().to_string()));
    }
    if event.suppressed != 0 {
        line += &format!(" (and {} before it that were only counted)", event.suppressed);
    }
    line
}

/// An instant as dmesg(1) writes it.
fn at(nanos: u64) -> String {
    let time = Duration::from_nanos(nanos);
    format!("[{:>5}.{:06}]", time.as_secs(), time.subsec_micros())
}

#[cfg(test)]
mod tests {
    use mif_common::abi;

    use super::{super::output::plain, *};
    use crate::cli::names::Names;

    fn address(text: &str) -> mif_common::Addr {
        text.parse::<std::net::Ipv6Addr>().expect("a literal").into()
    }

    #[test]
    fn lines() {
        let event = |event| watch::notice(&event, &Names::default());
        for (notice, expected) in [
            (
                event(abi::Event {
                    at: 12_345_678_901,
                    source: address("2001:db8:a::10"),
                    destination: address("2001:db8:f::80"),
                    hook: abi::Hook::Connect6 as u32,
                    reason: Reason::Applied as u32,
                    pvd: 3,
                    ifindex: u32::MAX,
                    pid: 77,
                    suppressed: 2,
                    ..abi::Event::default()
                }),
                "[   12.345678] connect6 applied 2001:db8:a::10 -> 2001:db8:f::80 by if4294967295, PvD #3, process 77 \
                 (and 2 before it that were only counted)",
            ),
            (
                event(abi::Event {
                    destination: address("2001:db8::1"),
                    hook: 9,
                    reason: 999,
                    ..abi::Event::default()
                }),
                "[    0.000000] unknown reason 999 any source -> 2001:db8::1",
            ),
            (
                event(abi::Event {
                    source: address("2001:db8:b::10"),
                    hook: abi::Hook::Bind6 as u32,
                    reason: Reason::Vetoed as u32,
                    pvd: 4,
                    ..abi::Event::default()
                }),
                "[    0.000000] bind6 vetoed 2001:db8:b::10, which belongs to PvD #4",
            ),
            (
                Notice::Tables { at: 1_000_000, operations: 12, took: 1_500_000 },
                "[    0.001000] tables: 12 operations, 1.5 ms after the cause",
            ),
        ] {
            assert_eq!(plain(text(&notice)), expected);
        }
    }
}
