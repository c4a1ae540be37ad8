//! One writer: the daemon and `mif detach --all` hold a lock in the state directory.
//!
//! The lock is an open file description lock (fcntl(2), F_OFD_SETLK): it goes with the process that holds it, whatever
//! ends it, and a reader can ask whether it is held without taking it, not even for a moment. flock(2) cannot be asked.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{FcntlArg, Flock, FlockArg, fcntl},
};

/// Why the lock is not had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has it.
    #[error("{} (it holds {path})", holder_text(*pid))]
    Held {
        /// The lock file.
        path: PathBuf,
        /// The holder, where the file names it.
        pid: Option<u32>,
    },
    /// The file cannot be made or locked.
    #[error("cannot lock {path}: {source}{}", remedy(source))]
    Io {
        /// The lock file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

fn holder_text(pid: Option<u32>) -> String {
    match pid {
        Some(pid) => format!("another mif daemon or `mif detach` runs already: process {pid}"),
        None => "another mif daemon or `mif detach` runs already".into(),
    }
}

fn remedy(error: &io::Error) -> &'static str {
    if error.kind() == io::ErrorKind::PermissionDenied { "; run this as root" } else { "" }
}

/// The lock, held until this is dropped.
#[derive(Debug)]
pub struct Lock {
    path: PathBuf,
    _file: File,
}

impl Lock {
    /// Removes the lock file as well: for `mif detach --all`, which leaves nothing.
    ///
    /// # Errors
    /// When the file cannot be removed.
    pub fn remove(self) -> io::Result<()> {
        fs::remove_file(&self.path)
    }
}

/// The lock file in a state directory.
#[must_use]
pub fn path(state_dir: &Path) -> PathBuf {
    state_dir.join("daemon.lock")
}

/// Takes the lock, and writes this process's id into its file. Makes the state directory where there is none.
///
/// # Errors
/// When another process has it, which the error names, or the file cannot be made.
pub fn acquire(state_dir: &Path) -> Result<Lock, LockError> {
    let path = path(state_dir);
    let failed = |source| LockError::Io { path: path.clone(), source };
    fs::create_dir_all(state_dir).map_err(failed)?;
    loop {
        let mut file = open(&path).map_err(failed)?;
        match fcntl(&file, FcntlArg::F_OFD_SETLK(&whole_file())) {
            Ok(_) => {}
            Err(Errno::EAGAIN | Errno::EACCES) => {
                return Err(LockError::Held { pid: pid_in(&path), path });
            }
            Err(errno) => return Err(failed(errno.into())),
        }
        // Whoever held it before may have removed the file after we opened it: then this lock guards nothing.
        if fs::metadata(&path).is_ok_and(|named| file.metadata().is_ok_and(|held| held.ino() == named.ino()))
        {
            file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())).map_err(failed)?;
            return Ok(Lock { path, _file: file });
        }
    }
}

/// Takes the bpf file system of a pin directory: daemons with different state directories must not write the same maps. The
/// lock is on the directory that the pins are in, because bpffs has no plain files.
///
/// # Errors
/// When another daemon has it, or it cannot be opened.
pub fn acquire_pins(pins: &Path) -> Result<Flock<File>, LockError> {
    let path = pins.parent().unwrap_or(pins).to_owned();
    let failed = |source| LockError::Io { path: path.clone(), source };
    let directory = File::open(&path).map_err(failed)?;
    Flock::lock(directory, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| match errno {
        Errno::EWOULDBLOCK => LockError::Held { path: path.clone(), pid: None },
        errno => failed(errno.into()),
    })
}

/// Who holds the lock: `None` when nobody does, `Some(0)` when the holder has not written its id yet.
///
/// # Errors
/// When the file is there and cannot be read.
pub fn holder(state_dir: &Path) -> io::Result<Option<u32>> {
    let path = path(state_dir);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut lock = whole_file();
    fcntl(&file, FcntlArg::F_OFD_GETLK(&mut lock))?;
    // The kernel overwrites the request with the lock that is in its way, or with F_UNLCK.
    let held = i32::from(lock.l_type) != libc::F_UNLCK;
    Ok(held.then(|| pid_in(&path).unwrap_or(0)))
}

fn open(path: &Path) -> io::Result<File> {
    // Readable for all: whether a daemon runs is no secret.
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o644).open(path)
}

fn whole_file() -> libc::flock {
    let short = |value: i32| i16::try_from(value).expect("lock types and SEEK_SET are small");
    libc::flock {
        l_type: short(libc::F_WRLCK),
        l_whence: short(libc::SEEK_SET),
        l_start: 0,
        l_len: 0,
        // Open file description locks have no process: the kernel demands 0.
        l_pid: 0,
    }
}

fn pid_in(path: &Path) -> Option<u32> {
    let mut text = String::new();
    File::open(path).ok()?.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holder_at_a_time() {
        let directory = std::env::temp_dir().join(format!("mif-lock-{}", std::process::id()));
        assert_eq!(holder(&directory).expect("no file is no holder"), None);
        let lock = acquire(&directory).expect("nobody has it");
        let pid = std::process::id();
        assert_eq!(holder(&directory).expect("readable"), Some(pid));
        let error = acquire(&directory).expect_err("held").to_string();
        assert!(error.contains(&pid.to_string()), "{error}");
        drop(lock);
        assert_eq!(holder(&directory).expect("readable"), None);
        let again = acquire(&directory).expect("free again");
        again.remove().expect("removed");
        assert!(!path(&directory).exists());
        drop(acquire(&directory).expect("a new file"));
        fs::remove_dir_all(&directory).expect("cleaned");
    }
}
