//! The names behind the numbers of the maps: from the state file, else from the kernel.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use mif_common::{
    abi::{NO_PVD, PvdIndex},
    decide::Rule,
};

use crate::{daemon::watch, kernel::mounts, policy::Policy, state::State};

/// Shown where there is nothing.
pub const NOTHING: &str = "-";

/// Names, as far as anybody knows them.
#[derive(Debug, Default)]
pub struct Names {
    state: Option<State>,
}

impl watch::Names for Names {
    fn pvd(&self, index: PvdIndex) -> Option<String> {
        self.pvd(index)
    }

    fn interface(&self, ifindex: u32) -> Option<String> {
        self.link(ifindex)
    }

    fn cgroup(&self, id: u64) -> Option<PathBuf> {
        self.cgroup_if_any(id)
    }
}

impl Names {
    /// Names of a state file.
    #[must_use]
    pub fn new(state: Option<State>) -> Self {
        Self { state }
    }

    /// The state file, where there is one.
    #[must_use]
    pub fn state(&self) -> Option<&State> {
        self.state.as_ref()
    }

    /// The policy that a rule is of, where the state file has it. Policies of one view differ in mode and in what follows from
    /// it.
    #[must_use]
    pub fn policy(&self, rule: &Rule) -> Option<&Policy> {
        let policies = &self.state.as_ref()?.policies;
        policies.iter().find(|policy| policy.cgroup_id == rule.cgroup && policy.view == rule.view)
    }

    /// A PvD's id, `None` for no PvD; `#7` where nobody knows its name.
    #[must_use]
    pub fn pvd(&self, index: PvdIndex) -> Option<String> {
        let id = self.state.as_ref().and_then(|state| state.pvd_id(index));
        (index != NO_PVD).then(|| id.map_or_else(|| format!("#{index}"), str::to_owned))
    }

    /// An interface's name, `None` for no interface; `if7` where there is none of that index.
    #[must_use]
    pub fn link(&self, ifindex: u32) -> Option<String> {
        if ifindex == 0 {
            return None;
        }
        let kept = self.state.as_ref().and_then(|state| state.link_name(ifindex)).map(str::to_owned);
        // nix gives an empty name for an index that does not exist (it looks for -1 where if_indextoname(3) has NULL).
        let asked = || {
            nix::net::if_::if_indextoname(ifindex).ok()?.into_string().ok().filter(|name| !name.is_empty())
        };
        Some(kept.or_else(asked).unwrap_or_else(|| format!("if{ifindex}")))
    }

    /// A cgroup for people and programs: its directory, `None` for no cgroup, `cgroup 7` where it is gone.
    #[must_use]
    pub fn cgroup_if_any(&self, id: u64) -> Option<PathBuf> {
        (id != 0).then(|| self.cgroup(id).unwrap_or_else(|| format!("cgroup {id}").into()))
    }

    /// The directory of a cgroup, `None` where there is no such cgroup (any more).
    #[must_use]
    pub fn cgroup(&self, id: u64) -> Option<PathBuf> {
        let policies = self.state.iter().flat_map(|state| &state.policies);
        let kept =
            policies.into_iter().find(|policy| policy.cgroup_id == id).map(|policy| policy.cgroup.clone());
        kept.or_else(|| find_inode(&mounts::cgroup2().ok()?, id))
    }
}

/// The directory with an inode number, which is what a cgroup's id is.
fn find_inode(directory: &Path, inode: u64) -> Option<PathBuf> {
    if fs::metadata(directory).ok()?.ino() == inode {
        return Some(directory.into());
    }
    fs::read_dir(directory)
        .ok()?
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .find_map(|entry| find_inode(&entry.path(), inode))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_without_a_name() {
        let names = Names::default();
        assert_eq!(names.pvd(NO_PVD), None);
        assert_eq!(names.pvd(7), Some("#7".into()));
        assert_eq!(names.link(0), None);
        assert_eq!(names.link(u32::MAX), Some(format!("if{}", u32::MAX)));
    }

    #[test]
    fn inodes() {
        let directory = std::env::temp_dir().join(format!("mif-inode-{}", std::process::id()));
        let deep = directory.join("a/b");
        fs::create_dir_all(&deep).expect("made");
        let inode = fs::metadata(&deep).expect("there").ino();
        assert_eq!(find_inode(&directory, inode), Some(deep));
        assert_eq!(find_inode(&directory, 0), None);
        fs::remove_dir_all(&directory).expect("removed");
    }
}
