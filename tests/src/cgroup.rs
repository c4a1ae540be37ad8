//! Cgroups of the lab (version 2), all below one that belongs to this process.

use std::{
    fs::{self, File, OpenOptions},
    io::{ErrorKind, Write as _},
    os::unix::{fs::MetadataExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};
use nix::{mount::MsFlags, poll::PollFlags};

use crate::{deadline::Deadline, footprint::Footprint};

/// A cgroup; what runs in it is killed and it is removed when this is dropped.
#[derive(Debug)]
pub struct Cgroup {
    path: PathBuf,
}

impl Cgroup {
    /// A new cgroup below the lab's; `name` is there for people.
    ///
    /// # Errors
    /// The lab cannot run here or cgroupfs refused.
    pub fn new(name: &str) -> Result<Self> {
        let footprint = Footprint::get()?;
        let path = footprint.cgroups().join(footprint.unique(name));
        create(&path)?;
        Ok(Self { path })
    }

    /// A cgroup inside this one. Drop it first.
    ///
    /// # Errors
    /// Cgroupfs refused.
    pub fn child(&self, name: &str) -> Result<Self> {
        let path = self.path.join(name);
        create(&path)?;
        Ok(Self { path })
    }

    /// Where it is in the file system.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its path below the root of cgroup2, as in `/proc/PID/cgroup` and in configurations.
    ///
    /// # Errors
    /// `/proc/self/mountinfo` cannot be read.
    pub fn below_root(&self) -> Result<String> {
        let root = mount_point()?.context("the lab has cgroup2")?;
        Ok(format!("/{}", self.path.strip_prefix(root)?.display()))
    }

    /// The number by which the kernel knows it: the inode of its folder, what `bpf_get_current_cgroup_id` returns.
    ///
    /// # Errors
    /// The cgroup was removed by someone else.
    pub fn id(&self) -> Result<u64> {
        Ok(fs::metadata(&self.path).with_context(|| format!("{}", self.path.display()))?.ino())
    }

    /// Makes `command` start in this cgroup: it is there before its first instruction.
    ///
    /// # Errors
    /// The cgroup was removed by someone else.
    pub fn hold(&self, command: &mut Command) -> Result<()> {
        let procs = self.path.join("cgroup.procs");
        let procs = OpenOptions::new()
            .write(true)
            .open(&procs)
            .with_context(|| format!("open {}", procs.display()))?;
        // SAFETY: between fork and exec only write(2) is called, on a file that the closure owns.
        unsafe { command.pre_exec(move || (&procs).write_all(b"0")) };
        Ok(())
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.path) {
            eprintln!("lab: {error:#}; the janitor tries again");
        }
    }
}

/// Where cgroup2 is mounted, if it is.
///
/// # Errors
/// `/proc/self/mountinfo` cannot be read.
pub fn mount_point() -> Result<Option<PathBuf>> {
    let mountinfo = fs::read_to_string("/proc/self/mountinfo").context("read /proc/self/mountinfo")?;
    Ok(find_cgroup2(&mountinfo).map(PathBuf::from))
}

/// Lines look like `38 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw` (proc_pid_mountinfo(5)).
/// Only a mount of the whole tree counts. The last one hides the others.
fn find_cgroup2(mountinfo: &str) -> Option<&str> {
    let mut found = None;
    for line in mountinfo.lines() {
        let Some((mount, kind)) = line.split_once(" - ") else { continue };
        let mut fields = mount.split(' ').skip(3);
        if kind.starts_with("cgroup2 ") && fields.next() == Some("/") {
            found = fields.next();
        }
    }
    found
}

/// Mounts cgroup2 on a new folder.
pub(crate) fn mount(folder: &Path) -> Result<()> {
    fs::create_dir(folder).with_context(|| format!("create {}", folder.display()))?;
    nix::mount::mount(Some("cgroup2"), folder, Some("cgroup2"), MsFlags::empty(), None::<&str>)
        .with_context(|| format!("no cgroup2 is mounted, and mounting it on {} failed", folder.display()))
}

pub(crate) fn create(path: &Path) -> Result<()> {
    fs::create_dir(path).with_context(|| format!("create the cgroup {}", path.display()))
}

/// Kills what runs in `path` and below, waits until it is empty and removes it and all below.
pub(crate) fn remove(path: &Path) -> Result<()> {
    match fs::write(path.join("cgroup.kill"), "1") {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        done => done.with_context(|| format!("kill what runs in {}", path.display()))?,
    }
    let events = path.join("cgroup.events");
    let deadline = Deadline::new(format!("the processes in {} to end", path.display()));
    let file = File::open(&events).with_context(|| format!("open {}", events.display()))?;
    // Each change of the file wakes poll with POLLPRI (kernel documentation, cgroup-v2, "[Un]populated Notification"); the
    // reading below is what arms it again.
    while std::io::read_to_string(File::open(&events)?)?.contains("populated 1") {
        std::io::read_to_string(&file)?;
        deadline.ready(&file, PollFlags::POLLPRI)?;
    }
    remove_tree(path).with_context(|| format!("remove the cgroup {}", path.display()))
}

/// The files of a cgroup cannot be deleted, its folders can: children first.
fn remove_tree(path: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    fs::remove_dir(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cgroup2_is_found_where_it_is_mounted() {
        let hybrid = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n\
                      32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
                      38 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";
        let unified =
            "29 22 0:26 / /sys/fs/cgroup rw,nosuid shared:9 master:3 - cgroup2 cgroup2 rw,nsdelegate\n";
        let a_part_of_it = "29 22 0:26 /docker/1 /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n";
        let table = [
            (hybrid, Some("/sys/fs/cgroup/unified")),
            (unified, Some("/sys/fs/cgroup")),
            (a_part_of_it, None),
            ("1 1 0:1 / / rw - ext4 /dev/cgroup2 rw\n", None),
            ("", None),
        ];
        for (mountinfo, expected) in table {
            assert_eq!(find_cgroup2(mountinfo), expected, "{mountinfo}");
        }
    }
}
