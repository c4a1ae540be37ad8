//! The cgroup of one `mif exec`, which goes when its command has ended.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::fd::{AsFd as _, OwnedFd},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tracing::debug;

use crate::control::{self, ControlError, Request};

/// Their names, before the process id of the `mif exec` that made them.
const PREFIX: &str = "mif-exec-";

/// How long to wait for processes that are just ending with their parent, such as the rest of a pipeline.
const LINGER: Duration = Duration::from_secs(1);

/// A cgroup of this process; dropping it cleans up.
pub struct Confined {
    path: PathBuf,
    state_dir: PathBuf,
    policy: bool,
    done: bool,
}

impl Confined {
    /// Makes it.
    ///
    /// # Errors
    /// When the parent does not allow it.
    pub fn create(parent: &Path, state_dir: &Path) -> Result<Self> {
        let path = parent.join(format!("{PREFIX}{}", std::process::id()));
        fs::create_dir(&path)
            .with_context(|| format!("cannot make the cgroup {}; run this as root", path.display()))?;
        Ok(Self { path, state_dir: state_dir.to_owned(), policy: false, done: false })
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// It has a policy from now on, to be taken away at the end.
    pub fn has_policy(&mut self) {
        self.policy = true;
    }

    /// Where a process writes itself to be in it.
    pub fn processes(&self) -> io::Result<OwnedFd> {
        Ok(OpenOptions::new().write(true).open(self.path.join("cgroup.procs"))?.into())
    }

    /// Takes policy and cgroup away. Processes that the command left behind keep both: without the policy they would
    /// go where they may not. Then the cgroup is returned.
    pub fn finish(mut self) -> Option<PathBuf> {
        self.done = true;
        if !empty_within(&self.path, LINGER) {
            return Some(self.path.clone());
        }
        self.remove();
        None
    }

    fn remove(&self) {
        if self.policy {
            take_policy(&self.path, &self.state_dir);
        }
        if let Err(error) = fs::remove_dir(&self.path) {
            debug!("cannot remove {}: {error}", self.path.display());
        }
    }
}

impl Drop for Confined {
    fn drop(&mut self) {
        if !self.done {
            self.remove();
        }
    }
}

/// Removes cgroups whose `mif exec` was killed, as far as they are empty.
pub fn sweep(parent: &Path, state_dir: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.filter_map(Result::ok) {
        let name = entry.file_name();
        let owner =
            name.to_str().and_then(|name| name.strip_prefix(PREFIX)).and_then(|pid| pid.parse::<u32>().ok());
        let Some(owner) = owner else { continue };
        // This process has not made one yet: what bears its number is of another life of that number.
        let alive = owner != std::process::id() && Path::new("/proc").join(owner.to_string()).exists();
        if !alive && empty_within(&entry.path(), Duration::ZERO) {
            take_policy(&entry.path(), state_dir);
            if let Err(error) = fs::remove_dir(entry.path()) {
                debug!("cannot remove {}: {error}", entry.path().display());
            }
        }
    }
}

fn take_policy(cgroup: &Path, state_dir: &Path) {
    match control::change(state_dir, &Request::Detach { cgroup: cgroup.to_owned() }) {
        Ok(_) | Err(ControlError::Refused(_)) => {}
        // A daemon that starts forgets the policies of cgroups that are gone.
        Err(error) => debug!("the policy of {} stays in the tables for now: {error}", cgroup.display()),
    }
}

/// Waits until no process is in the cgroup; false if some still are at the end of the time.
fn empty_within(cgroup: &Path, time: Duration) -> bool {
    let events = cgroup.join("cgroup.events");
    let end = Instant::now() + time;
    loop {
        // Opened anew each time: the kernel notifies of changes since the last read of a descriptor.
        let Ok(file) = File::open(&events) else { return true };
        match io::read_to_string(&file) {
            Ok(text) if is_populated(&text) => {}
            _ => return true,
        }
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        // Whatever poll says, the file is read again.
        let _ = poll(&mut [PollFd::new(file.as_fd(), PollFlags::POLLPRI)], timeout);
    }
}

/// The `populated` key of `cgroup.events` (cgroups(7)).
fn is_populated(events: &str) -> bool {
    events.lines().any(|line| line == "populated 1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cgroup_events() {
        for (text, expected) in [
            ("populated 1\nfrozen 0\n", true),
            ("populated 0\nfrozen 0\n", false),
            ("populated 10\n", false),
            ("", false),
        ] {
            assert_eq!(is_populated(text), expected, "{text:?}");
        }
    }
}
