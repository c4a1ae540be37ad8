//! `mif exec`: a command in a cgroup of its own, with a policy from its first instruction.

use std::{
    ffi::OsString,
    io,
    os::{
        fd::AsFd as _,
        unix::process::{CommandExt as _, ExitStatusExt as _},
    },
    path::PathBuf,
    process::{Child, Command, ExitCode, ExitStatus},
};

use anyhow::{Context as _, Result, anyhow};
use nix::{
    sys::signal::{SigSet, SigmaskHow, Signal, kill},
    unistd::Pid,
};

use super::{Global, cgroups, output, policy::PolicyArgs};
use crate::{control, kernel::mounts};

mod cgroup;

use cgroup::Confined;

/// Exit status where the command cannot be run (env(1), POSIX `command`).
const CANNOT_RUN: u8 = 126;
/// Exit status where there is no such command.
const NOT_FOUND: u8 = 127;
/// A command ended by a signal exits with this plus the signal's number, as in a shell.
const BY_SIGNAL: i32 = 128;

/// Run a command with a policy from its first instruction
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Makes the cgroup mif-exec-PID below --parent, or below the root of cgroup2 (not below that of the shell, \
whose limits it leaves; --parent user.slice keeps those of that slice), gives it the policy, and runs \
the command in it. The daemon must run. When the command has ended, policy and cgroup go. If it left \
processes behind, they keep both until they have ended, and a later `mif exec` cleans up.

SIGTERM and SIGHUP are passed on to the command; SIGINT and SIGQUIT are left to it, as the terminal \
sends it its own. Exit status: the command's; 128 + N if signal N ended it; 127 if there is no such \
command, 126 if it cannot be run; 1 if the policy could not be set, and then the command has not run.

How --pvd names PvDs: mif policy attach --help.

Examples:
  mif exec --pvd eth1 -- curl https://example.org/
  mif exec --pvd corp.example --mode strict -- ssh host.corp.example
  mif exec --pvd eth1 --pvd eth0 -- $SHELL      eth0 only where eth1 does not reach"
)]
pub struct Args {
    #[command(flatten)]
    policy: PolicyArgs,
    /// Make the cgroup below this one [default: the root of cgroup2]
    #[arg(long, value_name = "CGROUP")]
    parent: Option<PathBuf>,
    /// The command and its arguments
    #[arg(value_name = "CMD", required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

/// Runs the command; its exit status.
///
/// # Errors
/// When the cgroup cannot be made or the daemon refuses the policy; the command has not run then.
pub fn run(global: &Global, args: Args) -> Result<ExitCode> {
    let parent = match &args.parent {
        Some(named) => cgroups::resolve(named)?,
        None => mounts::cgroup2()?,
    };
    cgroup::sweep(&parent, &global.state_dir());
    // From here on signals wait until they are asked for: whatever comes, the cgroup is cleaned up.
    let signals = SigSet::from_iter([
        Signal::SIGCHLD,
        Signal::SIGTERM,
        Signal::SIGHUP,
        Signal::SIGINT,
        Signal::SIGQUIT,
    ]);
    let mask = signals.thread_swap_mask(SigmaskHow::SIG_BLOCK).context("cannot hold back signals")?;
    let mut confined = Confined::create(&parent, &global.state_dir())?;
    let request = args.policy.request(confined.path().to_owned());
    control::change(&global.state_dir(), &request)?;
    confined.has_policy();
    let status = match spawn(&args.command, &confined, mask) {
        Ok(child) => exit_code(wait(child, &signals)?),
        Err(error) => {
            let program =
                args.command.first().map(|program| program.display().to_string()).unwrap_or_default();
            output::note(&format!("cannot run {program}: {error}"));
            if error.kind() == io::ErrorKind::NotFound { NOT_FOUND } else { CANNOT_RUN }
        }
    };
    if let Some(left) = confined.finish() {
        output::note(&format!(
            "the command left processes behind; they keep the policy, and {} stays until they have ended",
            left.display()
        ));
    }
    Ok(status.into())
}

/// Starts the command; it enters the cgroup itself, between fork and exec.
fn spawn(command: &[OsString], confined: &Confined, mask: SigSet) -> io::Result<Child> {
    let (program, arguments) = command.split_first().expect("clap demands at least one");
    let processes = confined.processes()?;
    let mut command = Command::new(program);
    command.args(arguments);
    // SAFETY: between fork and exec the closure makes two system calls on what it owns, and allocates nothing.
    unsafe {
        command.pre_exec(move || {
            // 0 is whoever writes (cgroups(7)).
            nix::unistd::write(processes.as_fd(), b"0")?;
            mask.thread_set_mask()?;
            Ok(())
        });
    }
    command.spawn()
}

/// Waits for the command, and passes on what it should hear.
fn wait(mut child: Child, signals: &SigSet) -> Result<ExitStatus> {
    let pid = Pid::from_raw(i32::try_from(child.id()).map_err(|_| anyhow!("a process id beyond 2^31"))?);
    loop {
        if let Some(status) = child.try_wait().context("cannot wait for the command")? {
            return Ok(status);
        }
        let signal = signals.wait().context("cannot wait for signals")?;
        if matches!(signal, Signal::SIGTERM | Signal::SIGHUP) {
            // It may have ended in this moment; then there is nobody to tell.
            let _ = kill(pid, signal);
        }
    }
}

fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().unwrap_or_else(|| BY_SIGNAL + status.signal().unwrap_or(0));
    u8::try_from(code).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_statuses() {
        // wait(2): the exit status is in the second octet, the signal in the lowest seven bits.
        for (raw, expected) in [(0, 0), (1 << 8, 1), (255 << 8, 255), (15, 143), (9, 137)] {
            assert_eq!(exit_code(ExitStatus::from_raw(raw)), expected, "{raw:#x}");
        }
    }
}
