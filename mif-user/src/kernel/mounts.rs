//! Where cgroup2 and bpffs are mounted. Distributions differ: read, do not guess.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use nix::{
    mount::{MsFlags, mount},
    sys::statfs::{BPF_FS_MAGIC, CGROUP2_SUPER_MAGIC, FsType, statfs},
};

/// Where systemd mounts bpffs, and where everybody looks for it.
pub const BPFFS: &str = "/sys/fs/bpf";

/// What is wrong with a mount.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// The list of mounts cannot be read.
    #[error("cannot read /proc/self/mountinfo: {0}; is /proc mounted?")]
    MountInfo(io::Error),
    /// No cgroup2 anywhere.
    #[error(
        "no cgroup2 file system is mounted; mount one: mount -t cgroup2 none /sys/fs/cgroup (or boot with systemd.unified_cgroup_hierarchy=1)"
    )]
    NoCgroup2,
    /// The path is not in a cgroup2 file system.
    #[error("{0} is not a cgroup: expected a directory of a cgroup2 file system, such as {1}")]
    NotCgroup2(PathBuf, PathBuf),
    /// The path is not in a bpf file system.
    #[error("{0} is not on a bpf file system; mount one: mount -t bpf bpf {BPFFS}")]
    NotBpffs(PathBuf),
    /// bpffs is not mounted and cannot be.
    #[error("no bpf file system at {BPFFS}, and mounting one failed: {0}; as root: mount -t bpf bpf {BPFFS}")]
    MountBpffs(nix::Error),
    /// The path cannot be looked at.
    #[error("cannot look at {0}: {1}")]
    Path(PathBuf, io::Error),
}

/// The mount point of the first cgroup2 file system.
///
/// # Errors
/// When there is none.
pub fn cgroup2() -> Result<PathBuf, MountError> {
    let mountinfo = fs::read_to_string("/proc/self/mountinfo").map_err(MountError::MountInfo)?;
    mount_point(&mountinfo, "cgroup2").ok_or(MountError::NoCgroup2)
}

/// The first mount point of a file system type in the text of `/proc/self/mountinfo` (proc(5)): fields before ` - `
/// have the mount point in the fifth place, the first behind it is the type.
fn mount_point(mountinfo: &str, kind: &str) -> Option<PathBuf> {
    mountinfo.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        (after.split(' ').next()? == kind).then_some(())?;
        Some(unescape(before.split(' ').nth(4)?))
    })
}

/// Undoes the kernel's escapes of blanks and backslashes in mount points (`mangle_path`): `\040` and its kind.
fn unescape(field: &str) -> PathBuf {
    let mut path = String::new();
    let mut rest = field;
    while let Some((before, after)) = rest.split_once('\\') {
        path.push_str(before);
        match after.get(..3).and_then(|octal| u8::from_str_radix(octal, 8).ok()) {
            Some(octet) => {
                path.push(char::from(octet));
                rest = &after[3..];
            }
            None => {
                path.push('\\');
                rest = after;
            }
        }
    }
    path.push_str(rest);
    path.into()
}

fn is_on(path: &Path, kind: FsType) -> io::Result<bool> {
    Ok(statfs(path).map_err(io::Error::from)?.filesystem_type() == kind)
}

/// Checks that a path is a directory of cgroup2.
///
/// # Errors
/// When it does not exist or is something else.
pub fn check_cgroup(path: &Path) -> Result<(), MountError> {
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        // The cause, where it is this, and not only that the path leads nowhere.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            cgroup2()?;
            return Err(MountError::Path(path.into(), error));
        }
        Err(error) => return Err(MountError::Path(path.into(), error)),
    };
    let on_cgroup2 =
        is_on(path, CGROUP2_SUPER_MAGIC).map_err(|error| MountError::Path(path.into(), error))?;
    if metadata.is_dir() && on_cgroup2 {
        return Ok(());
    }
    Err(MountError::NotCgroup2(path.into(), cgroup2().unwrap_or_else(|_| "/sys/fs/cgroup".into())))
}

/// Whether a bpf file system is at the path.
#[must_use]
pub fn is_bpffs(path: &Path) -> bool {
    is_on(path, BPF_FS_MAGIC).unwrap_or(false)
}

/// Makes sure that `directory`'s parent is in a bpf file system. At the customary place a missing one is mounted, as
/// bpftool and libbpf's users do; anywhere else it is the administrator's to mount.
///
/// # Errors
/// When it is not and cannot be.
pub fn ensure_bpffs(directory: &Path) -> Result<(), MountError> {
    let parent = directory.parent().unwrap_or(directory);
    if is_bpffs(parent) {
        return Ok(());
    }
    if parent != Path::new(BPFFS) {
        return Err(MountError::NotBpffs(parent.into()));
    }
    mount(Some("bpf"), BPFFS, Some("bpf"), MsFlags::empty(), Some("mode=0700"))
        .map_err(MountError::MountBpffs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points() {
        let hybrid = "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n\
                      40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd\n\
                      41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:7 - cgroup2 cgroup2 rw\n";
        for (mountinfo, kind, expected) in [
            (hybrid, "cgroup2", Some("/sys/fs/cgroup/unified")),
            (hybrid, "bpf", None),
            ("1 0 0:1 / /mnt/a\\040b\\134c rw - bpf bpf rw\n", "bpf", Some("/mnt/a b\\c")),
            ("", "cgroup2", None),
            ("garbage\n", "cgroup2", None),
        ] {
            assert_eq!(mount_point(mountinfo, kind), expected.map(PathBuf::from), "{kind}");
        }
    }
}
