//! The names behind the numbers of the maps: from the state file, else from the kernel.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use mif_common::abi::{NO_PVD, PvdIndex};

use crate::{kernel::mounts, state::State};

/// Shown where there is nothing.
pub const NOTHING: &str = "-";

/// Names, as far as anybody knows them.
#[derive(Debug, Default)]
pub struct Names {
    state: Option<State>,
}

/// Why a PvD cannot be named so.
#[derive(Debug, Eq, PartialEq, thiserror::Error)]
pub enum FindError {
    /// Nothing is called so.
    #[error("there is no PvD {wanted:?}; {}", existing(known))]
    Unknown {
        /// What was asked for.
        wanted: String,
        /// The ids that exist.
        known: Vec<String>,
    },
    /// Several begin so.
    #[error("several PvDs begin with {wanted:?}: {}; write more of the one you mean", matches.join(", "))]
    Ambiguous {
        /// What was asked for.
        wanted: String,
        /// The ids that begin so.
        matches: Vec<String>,
    },
}

fn existing(known: &[String]) -> String {
    if known.is_empty() {
        "none exists now".into()
    } else {
        format!("those that exist: {}", known.join(", "))
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

/// The PvD named by its id, its index, or an unambiguous beginning of its id; the control socket understands the same.
///
/// # Errors
/// When there is none, or several begin so.
pub fn find_pvd(known: &[(PvdIndex, String)], wanted: &str) -> Result<PvdIndex, FindError> {
    let exact =
        known.iter().find(|(index, id)| id.eq_ignore_ascii_case(wanted) || index.to_string() == wanted);
    if let Some((index, _)) = exact {
        return Ok(*index);
    }
    let begins = |id: &str| id.get(..wanted.len()).is_some_and(|start| start.eq_ignore_ascii_case(wanted));
    let matches: Vec<&(PvdIndex, String)> = known.iter().filter(|(_, id)| begins(id)).collect();
    let ids = |pvds: &mut dyn Iterator<Item = &(PvdIndex, String)>| pvds.map(|(_, id)| id.clone()).collect();
    match matches.as_slice() {
        [] => Err(FindError::Unknown { wanted: wanted.into(), known: ids(&mut known.iter()) }),
        [(index, _)] => Ok(*index),
        several => {
            Err(FindError::Ambiguous { wanted: wanted.into(), matches: ids(&mut several.iter().copied()) })
        }
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
    fn pvds_by_name() {
        let known: Vec<(PvdIndex, String)> =
            [(1, "eth0/fe80::1"), (2, "eth0/fe80::2"), (3, "eth0"), (12, "Isp.example%eth1")]
                .map(|(index, id)| (index, id.to_owned()))
                .into();
        for (wanted, expected) in [
            ("eth0/fe80::1", Ok(1)),
            ("eth0", Ok(3)),
            ("12", Ok(12)),
            ("isp", Ok(12)),
            ("ISP.EXAMPLE%eth1", Ok(12)),
            (
                "eth0/",
                Err(
                    "several PvDs begin with \"eth0/\": eth0/fe80::1, eth0/fe80::2; write more of the one you mean",
                ),
            ),
            (
                "wlan0",
                Err(
                    "there is no PvD \"wlan0\"; those that exist: eth0/fe80::1, eth0/fe80::2, eth0, Isp.example%eth1",
                ),
            ),
        ] {
            assert_eq!(
                find_pvd(&known, wanted).map_err(|error| error.to_string()),
                expected.map_err(str::to_owned),
                "{wanted}"
            );
        }
        assert_eq!(
            find_pvd(&[], "x").expect_err("none").to_string(),
            "there is no PvD \"x\"; none exists now"
        );
    }

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
