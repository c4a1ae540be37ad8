//! What of a lab could outlive its process, and who removes it then.
//!
//! Namespaces have no names and live by file descriptors; child processes get a parent-death signal; threads end with the
//! process. Only two folders remain: one for files, one of cgroups. Both are named after the process, and a *janitor*
//! (a shell that reads from a pipe which only this process holds open) removes them at the pipe's end, however the process
//! ended, SIGKILL included. Should the janitor be killed as well, the next lab sweeps up after processes that are no more.

use std::{
    env, fs,
    io::ErrorKind,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{self, ChildStdin, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

use anyhow::{Context as _, Result, anyhow, bail};
use nix::mount::{MntFlags, umount2};

use crate::{cgroup, need};

/// First part of every name that a lab gives to something others can see.
const PREFIX: &str = "mif-lab-";

/// Where cgroup2 is mounted in the folder of files, if the machine has it nowhere else.
const MOUNT: &str = "cgroup2";

/// Arguments: the folder of files, the folder of cgroups, the mount point to take away (or nothing).
///
/// A killed process leaves its cgroup some time after the kill; there is no event to wait for in a shell, hence the tries.
const JANITOR: &str = r#"
trap '' HUP INT TERM
cat >/dev/null
for try in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    [ -d "$2" ] || break
    echo 1 >"$2/cgroup.kill"
    find "$2" -depth -type d -exec rmdir {} + 2>/dev/null && break
    sleep 0.1
done
[ -z "$3" ] || umount -l "$3"
rm -rf "$1"
"#;

/// The traces of this process, from its first lab to its end.
#[derive(Debug)]
pub struct Footprint {
    files: PathBuf,
    cgroups: PathBuf,
    next: AtomicU32,
    /// Never written to: its closing, by whatever end of the process, tells the janitor to start.
    _janitor: ChildStdin,
}

impl Footprint {
    /// The footprint of this process; the first call checks that a lab can run here, sweeps up and starts the janitor.
    ///
    /// # Errors
    /// Something that the lab needs is missing; the message says what and how to get it.
    pub fn get() -> Result<&'static Self> {
        static FOOTPRINT: OnceLock<Result<Footprint, String>> = OnceLock::new();
        FOOTPRINT
            .get_or_init(|| Self::start().map_err(|error| format!("{error:#}")))
            .as_ref()
            .map_err(|message| anyhow!("the lab cannot run here: {message}"))
    }

    fn start() -> Result<Self> {
        need::everything()?;
        let name = name_of(process::id())?;
        let files = env::temp_dir().join(&name);
        sweep(&env::temp_dir(), remove_files);
        fs::create_dir(&files).with_context(|| format!("create {}", files.display()))?;

        let mut mount_to_undo = PathBuf::new();
        let root = match cgroup::mount_point()? {
            Some(root) => root,
            None => {
                mount_to_undo = files.join(MOUNT);
                cgroup::mount(&mount_to_undo)?;
                mount_to_undo.clone()
            }
        };
        sweep(&root, cgroup::remove);
        let cgroups = root.join(&name);
        let janitor = Command::new("sh")
            .args(["-c", JANITOR, "mif-lab-janitor"])
            .args([&files, &cgroups, &mount_to_undo])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            // Out of the reach of a terminal's Ctrl-C.
            .process_group(0)
            .spawn()
            .context("start the janitor (sh)")?
            .stdin
            .expect("stdin is piped");
        cgroup::create(&cgroups)?;
        Ok(Self { files, cgroups, next: AtomicU32::new(0), _janitor: janitor })
    }

    /// The cgroup under which all cgroups of this process lie.
    pub fn cgroups(&self) -> &Path {
        &self.cgroups
    }

    /// The folder in which all files of this process lie.
    pub fn files(&self) -> &Path {
        &self.files
    }

    /// A name that this process has not used yet.
    pub(crate) fn unique(&self, name: &str) -> String {
        format!("{name}-{}", self.next.fetch_add(1, Ordering::Relaxed))
    }
}

/// A folder for files that goes when this is dropped.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// A new folder; `name` is there for people.
    ///
    /// # Errors
    /// The lab cannot run here or the folder cannot be made.
    pub fn new(name: &str) -> Result<Self> {
        let footprint = Footprint::get()?;
        let path = footprint.files.join(footprint.unique(name));
        fs::create_dir(&path).with_context(|| format!("create {}", path.display()))?;
        Ok(Self(path))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed here is the janitor's.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The name of the footprint of process `pid`. The start time tells it from an earlier process with the same number.
///
/// # Errors
/// There is no such process.
pub fn name_of(pid: u32) -> Result<String> {
    let path = format!("/proc/{pid}/stat");
    let stat = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    let start = start_time(&stat).with_context(|| format!("{path} has no start time: {stat:?}"))?;
    Ok(format!("{PREFIX}{pid}-{start}"))
}

/// Field 22 of proc_pid_stat(5), in clock ticks. The second field is a name in parentheses that may contain anything.
fn start_time(stat: &str) -> Option<u64> {
    /// Position behind the name, which is field 2.
    const STARTTIME: usize = 22 - 3;
    let (_, behind_name) = stat.rsplit_once(") ")?;
    behind_name.split(' ').nth(STARTTIME)?.parse().ok()
}

/// Whether a footprint of this name belongs to a process that is no more.
fn is_stale(name: &str) -> bool {
    let Some((pid, start)) = name.strip_prefix(PREFIX).and_then(|rest| rest.split_once('-')) else {
        return false;
    };
    let (Ok(pid), Ok(_)) = (pid.parse(), start.parse::<u64>()) else { return false };
    name_of(pid).map_or(true, |living| living != name)
}

/// Removes what dead processes left in `folder`. A failure is told and not fatal: another sweep may have been faster.
fn sweep(folder: &Path, remove: impl Fn(&Path) -> Result<()>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        if entry.file_name().to_str().is_some_and(is_stale)
            && let Err(error) = remove(&entry.path())
            && entry.path().exists()
        {
            eprintln!("lab: {} of a dead process stays: {error:#}", entry.path().display());
        }
    }
}

/// Removes a folder of files. What is mounted there goes first, or the removal would enter it.
fn remove_files(folder: &Path) -> Result<()> {
    // Fails where nothing is mounted, which is nearly always.
    let _ = umount2(&folder.join(MOUNT), MntFlags::MNT_DETACH);
    fs::remove_dir_all(folder).context("remove")
}

/// Whether anything of the footprint called `name` is left.
///
/// # Errors
/// Names the folder that is left.
pub fn check_gone(name: &str) -> Result<()> {
    let roots = [Some(env::temp_dir()), cgroup::mount_point()?];
    for path in roots.into_iter().flatten().map(|root| root.join(name)) {
        match fs::metadata(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            _ => bail!("{} was left behind", path.display()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_time_survives_odd_names() {
        let tail = "S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20";
        for name in ["sh", "a b", ") (", "x) S 9"] {
            assert_eq!(start_time(&format!("77 ({name}) {tail}")), Some(4711), "{name}");
        }
        assert_eq!(start_time("77 (sh) S 1 2"), None);
    }

    #[test]
    fn only_footprints_of_the_dead_are_stale() {
        let living = name_of(process::id()).unwrap();
        let same_number = format!("{PREFIX}{}-1", process::id());
        let table = [
            (living.as_str(), false),
            (same_number.as_str(), true),
            ("mif-lab-4194303-1", true),
            ("mif-lab-x-1", false),
            ("mif-lab-4194303", false),
            ("user.slice", false),
        ];
        for (name, stale) in table {
            assert_eq!(is_stale(name), stale, "{name}");
        }
    }
}
