//! The commands. A verb reads pins, state file and kernel into a report, a value that knows its text and its JSON;
//! what thinks is a pure function beside its tests.
//!
//! Verbs that read: [`status`], [`pvd`], [`explain`], [`map`], [`watch`], [`doctor`] and `policy list`; they work from
//! the pins, with and without a daemon. Verbs that change: `policy attach|detach` and [`exec`] through the daemon's control
//! socket, [`detach`] alone without it.

use std::{io, path::PathBuf, process::ExitCode};

use clap::{CommandFactory as _, Parser};

use crate::config::Config;

pub mod cgroups;
pub mod completions;
pub mod daemon;
pub mod detach;
pub mod doctor;
pub mod exec;
pub mod explain;
pub mod format;
pub mod logging;
pub mod man;
pub mod map;
pub mod names;
pub mod output;
pub mod policy;
pub mod pvd;
pub mod reader;
pub mod status;
pub mod watch;

/// Exit status for a command line that cannot be done as it stands, the same that clap uses.
pub const USAGE: u8 = 2;

/// Each flow of this host uses source address, interface and next hop of one provisioning domain
#[derive(Debug, Parser)]
#[command(name = "mif", version, propagate_version = true, max_term_width = 100)]
#[command(after_help = "Examples:
  mif daemon                     learn the PvDs and enforce them
  mif status                     what is in force
  mif explain 2001:db8::1        what a connection to there would use, and why
  mif doctor                     what this machine lacks

Exit status: 0 done, 1 not done (the message says why), 2 a command line that makes no sense.")]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    verb: Verb,
}

/// What every verb takes.
#[derive(Clone, Debug, clap::Args)]
pub struct Global {
    /// Where programs and maps are pinned: counts before `bpffs` of the configuration, which only the daemon reads and
    /// which names the mount, above the directory `mif` [default: /sys/fs/bpf/mif]
    #[arg(long, global = true, value_name = "DIR", help_heading = "Places")]
    bpffs: Option<PathBuf>,
    /// Where the daemon keeps its state and its control socket [default: /run/mif]
    #[arg(long, global = true, value_name = "DIR", help_heading = "Places")]
    state_dir: Option<PathBuf>,
    /// Log more; twice for all
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

impl Global {
    /// The pin directory.
    #[must_use]
    pub fn bpffs(&self) -> PathBuf {
        self.bpffs.clone().unwrap_or_else(|| Config::default().pin_dir())
    }

    /// The state directory.
    #[must_use]
    pub fn state_dir(&self) -> PathBuf {
        self.state_dir.clone().unwrap_or_else(|| Config::default().state_dir)
    }
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    Status(status::Args),
    Pvd(pvd::Args),
    Explain(explain::Args),
    Map(map::Args),
    #[command(subcommand)]
    Policy(policy::Verb),
    Exec(exec::Args),
    Watch(watch::Args),
    Doctor(doctor::Args),
    Detach(detach::Args),
    Daemon(daemon::DaemonArgs),
    Completions(completions::Args),
    Man(man::Args),
}

/// The command line as clap knows it, for completions and man pages.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

/// Parses the command line and does what it says.
#[must_use]
pub fn main() -> ExitCode {
    let Cli { global, verb } = Cli::parse();
    logging::init(&verb, global.verbose);
    let done = match verb {
        Verb::Status(args) => status::run(&global, &args),
        Verb::Pvd(args) => pvd::run(&global, &args),
        Verb::Explain(args) => explain::run(&global, &args),
        Verb::Map(args) => map::run(&global, &args),
        Verb::Policy(verb) => policy::run(&global, verb),
        Verb::Exec(args) => exec::run(&global, args),
        Verb::Watch(args) => watch::run(&global, &args),
        Verb::Doctor(args) => doctor::run(&global, &args),
        Verb::Detach(args) => detach::run(&global, &args),
        Verb::Daemon(args) => daemon::run(&global, args),
        Verb::Completions(args) => completions::run(&args),
        Verb::Man(args) => man::run(&args),
    };
    match done {
        Ok(code) => code,
        // The reader has what it wanted: `mif map | head`.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            output::note(&format::complaint(&error));
            ExitCode::FAILURE
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_line_is_consistent() {
        super::command().debug_assert();
    }

    /// A paragraph is one line, which clap breaks where the terminal ends: breaks of its own would make it ragged.
    #[test]
    fn help_is_not_ragged() {
        fn check(command: &clap::Command) {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let is_prose = |line: &&str| !line.is_empty() && !line.starts_with(' ');
            for (line, next) in help.lines().zip(help.lines().skip(1)) {
                assert!(!(is_prose(&line) && is_prose(&next)), "{}: {line:?} {next:?}", command.get_name());
            }
            for line in help.lines().filter(|line| !is_prose(line)) {
                assert!(line.len() <= 100, "{}: {line:?}", command.get_name());
            }
            command.get_subcommands().for_each(check);
        }
        check(&super::command());
    }
}
