//! Cgroups as people name them, and their ancestors.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use mif_common::decide::Cgroups;

use crate::kernel::{
    attach::cgroup_id,
    mounts::{self, MountError},
};

/// The cgroup's directory: a path of the file system, or below the root of cgroup2 as `/proc/PID/cgroup` and systemd
/// write it (`system.slice/backup.service`).
///
/// # Errors
/// When neither is a cgroup.
pub fn resolve(named: &Path) -> Result<PathBuf, MountError> {
    let is_file_path = named.is_absolute() || named.starts_with(".") || named.starts_with("..");
    let as_file = is_file_path.then(|| named.to_owned());
    let root = mounts::cgroup2()?;
    let below_root = root.join(named.strip_prefix("/").unwrap_or(named));
    let found = as_file.into_iter().chain([below_root]).find(|path| path.is_dir());
    let path = found.ok_or_else(|| MountError::NotCgroup2(named.into(), root))?;
    mounts::check_cgroup(&path)?;
    path.canonicalize().map_err(|error| MountError::Path(path, error))
}

/// The cgroup of this process, `None` where it is outside of what is mounted.
#[must_use]
pub fn own() -> Option<PathBuf> {
    let memberships = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = unified(&memberships)?;
    resolve(&mounts::cgroup2().ok()?.join(path.trim_start_matches('/'))).ok()
}

/// The cgroup2 path of a `/proc/PID/cgroup` (cgroups(7)): the line of hierarchy 0.
fn unified(memberships: &str) -> Option<&str> {
    memberships.lines().find_map(|line| line.strip_prefix("0::"))
}

/// The ids of a cgroup and its ancestors.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Ancestry {
    /// From the root down.
    ids: Vec<u64>,
}

impl Ancestry {
    /// Walks up from a cgroup to the root of its file system, or of what is mounted of it.
    ///
    /// # Errors
    /// When a directory cannot be looked at.
    pub fn of(cgroup: &Path) -> io::Result<Self> {
        let mut ids = Vec::new();
        for directory in cgroup.ancestors() {
            if mounts::check_cgroup(directory).is_err() {
                break;
            }
            ids.push(cgroup_id(directory)?);
        }
        ids.reverse();
        Ok(Self { ids })
    }

    /// As if walked.
    #[cfg(test)]
    pub fn from_ids(ids: impl Into<Vec<u64>>) -> Self {
        Self { ids: ids.into() }
    }

    /// From the root down.
    #[must_use]
    pub fn ids(&self) -> &[u64] {
        &self.ids
    }
}

impl Cgroups for Ancestry {
    fn ancestor(&self, level: u32) -> u64 {
        self.ids.get(level as usize).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memberships() {
        for (text, expected) in [
            ("0::/user.slice/session-1.scope\n", Some("/user.slice/session-1.scope")),
            ("12:pids:/a\n1:name=systemd:/b\n0::/\n", Some("/")),
            ("12:pids:/a\n", None),
        ] {
            assert_eq!(unified(text), expected);
        }
    }

    #[test]
    fn ancestors_end_at_the_root() {
        let ancestry = Ancestry { ids: vec![1, 20, 300] };
        for (level, id) in [(0, 1), (1, 20), (2, 300), (3, 0), (u32::MAX, 0)] {
            assert_eq!(ancestry.ancestor(level), id, "{level}");
        }
    }
}
