//! What every verb that reads opens: the pinned maps, the state file, and whether a daemon runs.

use std::{io, os::unix::fs::MetadataExt as _, path::Path};

use anyhow::{Context as _, Result, anyhow};
use mif_core::time::Time;

use super::{Global, names::Names, output};
use crate::{clock, kernel::maps::Maps, lock, state::State};

/// An installation to read from.
pub struct Reader {
    /// The pinned maps.
    pub maps: Maps,
    /// The names behind their numbers.
    pub names: Names,
    /// The daemon's process id, `None` while none runs.
    pub daemon: Option<u32>,
    /// When this was opened.
    pub now: Time,
}

impl Reader {
    /// Opens the installation that the command line names.
    ///
    /// # Errors
    /// When there is none, it is of another version, or this user may not read it.
    pub fn open(global: &Global) -> Result<Self> {
        check_readable(&global.bpffs())?;
        let maps = Maps::open(&global.bpffs())?;
        Ok(Self {
            maps,
            names: Names::new(state(&global.state_dir())),
            daemon: daemon(&global.state_dir())?,
            now: clock::now(),
        })
    }
}

/// bpffs is root's alone: say that, rather than that nothing is there.
///
/// # Errors
/// When this user cannot read the directory.
pub fn check_readable(directory: &Path) -> Result<()> {
    match std::fs::metadata(directory) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            Err(anyhow!("{} cannot be read: permission denied; run this as root", directory.display()))
        }
        Ok(metadata)
            if metadata.uid() != nix::unistd::geteuid().as_raw() && !nix::unistd::geteuid().is_root() =>
        {
            Err(anyhow!("{} belongs to another user; run this as root", directory.display()))
        }
        _ => Ok(()),
    }
}

/// The state file. One that cannot be read is no reason not to show the maps: it only costs the names.
fn state(state_dir: &Path) -> Option<State> {
    match State::read(state_dir) {
        Ok(state) => state,
        Err(error) => {
            let path = State::path(state_dir);
            output::note(&format!("{}: {error}; names are not known, numbers are shown", path.display()));
            None
        }
    }
}

/// The running daemon's process id.
///
/// # Errors
/// When its lock file is there and cannot be read.
pub fn daemon(state_dir: &Path) -> Result<Option<u32>> {
    lock::holder(state_dir).with_context(|| format!("cannot read {}", lock::path(state_dir).display()))
}
