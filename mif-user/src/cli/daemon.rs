//! `mif daemon`: the command line of the daemon.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Result, bail};

use super::Global;
use crate::mode::Mode;

/// Read when `--config` names no other file; it may be missing.
pub const DEFAULT_CONFIG: &str = "/etc/mif/mif.toml";

/// Learn the PvDs of this host and keep the kernel's tables in step with them
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "What the command line says outranks the configuration file.

Enforcement stays in the kernel when the daemon ends, until the lifetimes of the PvDs end; the next
daemon adopts it. `mif detach --all` or --detach-on-exit remove it.

Examples:
  mif daemon
  mif daemon --mode observe                    change nothing, count what would be changed
  mif daemon --interface eth0 --interface wlan0
  mif daemon --config ./mif.toml --detach-on-exit -v")]
pub struct DaemonArgs {
    /// Read this configuration file, which must exist [default: /etc/mif/mif.toml if it exists]
    #[arg(long, value_name = "PATH")]
    pub config: Option<PathBuf>,
    /// Only these interfaces; repeatable [default: all]
    #[arg(long = "interface", value_name = "NAME")]
    pub interfaces: Vec<String>,
    /// What to do with processes that have no policy
    #[arg(long)]
    pub mode: Option<Mode>,
    /// Remove programs, maps and pins when the daemon ends
    #[arg(long)]
    pub detach_on_exit: bool,
    /// The cgroup to attach to, with all below it [default: the root of cgroup2]
    #[arg(long, value_name = "PATH")]
    pub cgroup: Option<PathBuf>,
}

impl DaemonArgs {
    /// The configuration file to read; `None` when there is only the default one and it does not exist.
    #[must_use]
    pub fn config_file(&self) -> Option<&Path> {
        match &self.config {
            Some(named) => Some(named),
            None => Some(Path::new(DEFAULT_CONFIG)).filter(|file| file.exists()),
        }
    }
}

/// Runs the daemon until it is told to end.
///
/// # Errors
/// When it cannot start.
pub fn run(_global: &Global, _args: DaemonArgs) -> Result<ExitCode> {
    bail!("this build has no daemon")
}
