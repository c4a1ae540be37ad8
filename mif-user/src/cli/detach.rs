//! `mif detach`: everything as it was before.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result};

use super::{
    Global,
    format::counted,
    output::{self, Table},
    reader,
};
use crate::{
    control,
    daemon::dhcpv6::kept,
    kernel::{attach, pins},
    lock,
    state::State,
};

mod own;

/// What the daemon leaves in its state directory, beside the state file, the socket and the directory of leases: policies, the last
/// Router Advertisements, and the DUID.
const STATE_FILES: [&str; 7] = [
    "duid.json",
    "duid.json.bad",
    "policies.json",
    "advertisements.json",
    "state.json.bad",
    "policies.json.bad",
    "advertisements.json.bad",
];

/// Remove all that mif has put into the kernel
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Removes programs, maps and pins, tc filters, routes of mif's own protocol, policies and state. It needs \
root, and that no daemon runs. Without --all it only says what there is to remove (exit status 0).

Examples:
  systemctl stop mif && mif detach --all"
)]
pub struct Args {
    /// Remove everything
    #[arg(long)]
    all: bool,
}

/// Removes everything, or says what there is.
///
/// # Errors
/// When a daemon runs, or the kernel refuses.
pub fn run(global: &Global, args: &Args) -> Result<ExitCode> {
    if !args.all {
        output::print(&inventory(global)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let existed = global.state_dir().exists();
    // No daemon comes up in the middle of this.
    let lock = lock::acquire(&global.state_dir())?;
    let mut done = Vec::new();
    if pins::remove(&global.bpffs())? {
        done.push(format!("programs and maps in {}", global.bpffs().display()));
    }
    // Filters have no pins that would name their interfaces; where there is none, nothing happens.
    for interface in nix::net::if_::if_nameindex().context("cannot list the interfaces")?.iter() {
        attach::detach_netlink(interface.index());
    }
    let (routes, addresses) = own::remove()?;
    done.extend(some(routes, "route").into_iter().chain(some(addresses, "address lease")));
    for file in state_files(&global.state_dir()) {
        if remove_file(&file)? {
            done.push(file.display().to_string());
        }
    }
    let leases = kept::directory(&global.state_dir());
    if leases.exists() {
        fs::remove_dir_all(&leases).with_context(|| format!("cannot remove {}", leases.display()))?;
        done.push(leases.display().to_string());
    }
    lock.remove().with_context(|| format!("cannot remove {}", lock::path(&global.state_dir()).display()))?;
    if !existed || is_empty(&global.state_dir()) {
        // systemd's RuntimeDirectory or an administrator's: theirs to keep where it cannot be removed.
        let _ = fs::remove_dir(global.state_dir());
    }
    let text =
        if done.is_empty() { "There was nothing to remove.\n".into() } else { removed(&done).to_string() };
    output::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// How many, unless none.
fn some(count: usize, what: &str) -> Option<String> {
    (count != 0).then(|| counted(count, what))
}

fn removed(done: &[String]) -> Table {
    let mut table = Table::fields();
    table.field_list("removed", done.iter().map(String::as_str));
    table
}

/// What there is to remove, and what stands in the way.
fn inventory(global: &Global) -> Result<String> {
    let mut table = Table::fields();
    let pins = global.bpffs();
    table.field(
        "pins",
        if pins.exists() { pins.display().to_string() } else { format!("none at {}", pins.display()) },
    );
    let (routes, addresses) = own::count()?;
    table.field("routes", some(routes, "route").unwrap_or_else(|| "none".into()));
    table.field("leases", some(addresses, "address lease").unwrap_or_else(|| "none".into()));
    let files: Vec<String> = state_files(&global.state_dir())
        .into_iter()
        .filter(|file| file.exists())
        .map(|file| file.display().to_string())
        .collect();
    table.field_list("state", files);
    if let Some(pid) = reader::daemon(&global.state_dir())? {
        table.field("daemon", format!("process {pid} runs; stop it first"));
    }
    Ok(format!("{table}\nNothing was removed. To remove all of it: mif detach --all\n"))
}

fn state_files(state_dir: &Path) -> Vec<PathBuf> {
    let others = STATE_FILES.iter().map(|name| state_dir.join(name));
    [State::path(state_dir), control::socket(state_dir)].into_iter().chain(others).collect()
}

fn remove_file(path: &Path) -> Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).with_context(|| format!("cannot remove {}", path.display())),
    }
}

fn is_empty(directory: &Path) -> bool {
    fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_none())
}
