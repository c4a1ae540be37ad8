//! One daemon a state directory.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Seek as _, Write as _},
    path::{Path, PathBuf},
};

use nix::fcntl::{Flock, FlockArg};

/// Why the lock was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Somebody has it.
    #[error(
        "a daemon (process {0}) is running with this state directory; stop it first: systemctl stop mif, or kill {0}"
    )]
    Held(String),
    /// The file cannot be made or locked.
    #[error("cannot lock {0}: {1}")]
    Io(PathBuf, io::Error),
}

/// The lock; free again when dropped, or when the process ends however it ends.
#[derive(Debug)]
pub struct Lock {
    _file: Flock<File>,
}

/// Takes the lock of a state directory, which is made if need be.
///
/// # Errors
/// When another process has it.
pub fn acquire(state_dir: &Path) -> Result<Lock, LockError> {
    let path = state_dir.join("daemon.lock");
    let failed = |error| LockError::Io(path.clone(), error);
    fs::create_dir_all(state_dir).map_err(failed)?;
    let file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(failed)?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(mut file) => {
            file.set_len(0).and_then(|()| file.rewind()).map_err(failed)?;
            write!(file, "{}", std::process::id()).map_err(failed)?;
            Ok(Lock { _file: file })
        }
        Err((mut file, nix::errno::Errno::EWOULDBLOCK)) => {
            let mut pid = String::new();
            // What the holder wrote; an empty text where it has not come to it yet.
            let _ = file.read_to_string(&mut pid);
            Err(LockError::Held(if pid.is_empty() { "unknown".into() } else { pid }))
        }
        Err((_, errno)) => Err(failed(errno.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_refused_and_told_who_has_it() {
        let directory = std::env::temp_dir().join(format!("mif-lock-{}", std::process::id()));
        let first = acquire(&directory).expect("free");
        let refused = acquire(&directory).expect_err("held").to_string();
        assert!(refused.contains(&std::process::id().to_string()), "{refused}");
        drop(first);
        drop(acquire(&directory).expect("free again"));
        fs::remove_dir_all(&directory).expect("removed");
    }
}
