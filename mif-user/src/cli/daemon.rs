//! `mif daemon`: the command line of the daemon.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Result;

use super::Global;
use crate::{
    config::{Config, ConfigError, DEFAULT_PATH},
    daemon::{self, Options},
    mode::Mode,
};

/// Learn the PvDs of this host and keep the kernel's tables in step with them
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "What the command line says outranks the configuration file.

Enforcement stays in the kernel when the daemon ends, until the lifetimes of the PvDs end; the next \
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
    /// The configuration: the file's, and over it what the command line says.
    ///
    /// # Errors
    /// When the file cannot be understood, or one that `--config` names does not exist.
    pub fn config(&self, global: &Global) -> Result<Config, ConfigError> {
        let mut config = match &self.config {
            Some(named) => Config::load(named)?,
            None => Config::load_or_default(Path::new(DEFAULT_PATH))?,
        };
        if let Some(mode) = self.mode {
            config.mode = mode.into();
        }
        if !self.interfaces.is_empty() {
            config.interfaces = self.interfaces.iter().cloned().collect();
        }
        if let Some(cgroup) = &self.cgroup {
            config.cgroup = Some(cgroup.clone());
        }
        if let Some(state_dir) = &global.state_dir {
            config.state_dir = state_dir.clone();
        }
        Ok(config)
    }

    /// The pin directory: `--bpffs`, else `mif` where the configuration says that bpffs is mounted.
    #[must_use]
    pub fn pin_directory(global: &Global, config: &Config) -> PathBuf {
        global.bpffs.clone().unwrap_or_else(|| config.pin_dir())
    }
}

/// Runs the daemon until it is told to end.
///
/// # Errors
/// When it cannot start.
pub fn run(global: &Global, args: DaemonArgs) -> Result<ExitCode> {
    let config = args.config(global)?;
    let pins = DaemonArgs::pin_directory(global, &config);
    daemon::run(&Options::new(config, pins, args.detach_on_exit))?;
    Ok(ExitCode::SUCCESS)
}
