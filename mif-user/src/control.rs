//! The daemon's control socket: one JSON object a line, one request a connection.

use std::{
    io::{self, BufRead as _, BufReader, Write as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
};

use mif_core::pvd::{Change, Groups};
use serde::{Deserialize, Serialize};

use crate::{
    mode::{Mode, Otherwise},
    policy::Policy,
};

/// What a command asks of the daemon.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Request {
    /// Give a cgroup a policy. A word among the selectors is the name of an interface or of PvDs, an id, an index or an
    /// unambiguous beginning of an id, of what exists now.
    Attach {
        /// The cgroup's directory.
        cgroup: PathBuf,
        /// The PvDs.
        groups: Groups,
        /// What happens to what none of them reaches; the mode decides where this is not given.
        #[serde(default)]
        otherwise: Option<Otherwise>,
        /// How firmly; not given: as the policy that the cgroup has, else the default.
        #[serde(default)]
        mode: Option<Mode>,
    },
    /// Take the policy from a cgroup.
    Detach {
        /// The cgroup's directory.
        cgroup: PathBuf,
    },
    /// Send [`Notice`]s until the connection closes.
    Watch,
}

/// The daemon's answer.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    /// Done; the policy that is in force, or was.
    Policy(Policy),
    /// Notices follow.
    Watching,
    /// Not done, and why.
    Refused(String),
}

/// Something that happened, for watchers.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Notice {
    /// A hook did something.
    Kernel(KernelEvent),
    /// A PvD came, changed or went.
    Pvd(Change),
    /// The tables were changed.
    Tables {
        /// When, boot-time nanoseconds.
        at: u64,
        /// How many entries were added, replaced or removed.
        operations: usize,
        /// From the first cause to the last entry, nanoseconds.
        took: u64,
    },
}

/// An event of a hook, with the names of its numbers as far as the sender knows them.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct KernelEvent {
    /// When, boot-time nanoseconds.
    pub at: u64,
    /// Which hook.
    pub hook: String,
    /// Why ([`mif_common::Reason::name`]).
    pub reason: String,
    /// The PvD's id.
    pub pvd: Option<String>,
    /// The source, `None` for a socket that has none.
    pub source: Option<std::net::IpAddr>,
    /// The destination, `None` at a bind.
    pub destination: Option<std::net::IpAddr>,
    /// The interface.
    pub interface: Option<String>,
    /// The cgroup whose policy applied.
    pub cgroup: Option<PathBuf>,
    /// The process.
    pub pid: Option<u32>,
    /// Events left out before this one.
    pub suppressed: u32,
}

/// Why the daemon did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Nobody listens.
    #[error("no daemon answers at {0} ({1}); start it: mif daemon, or systemctl start mif")]
    NoDaemon(PathBuf, io::Error),
    /// The conversation broke off.
    #[error("the daemon broke off: {0}")]
    Broken(#[from] io::Error),
    /// The daemon refused.
    #[error("{0}")]
    Refused(String),
    /// The answer was another one.
    #[error("the daemon answered something else; is it of another version? Restart it")]
    Unexpected,
}

/// The socket in a state directory.
#[must_use]
pub fn socket(state_dir: &Path) -> PathBuf {
    state_dir.join("control.sock")
}

/// Asks for a change of policy.
///
/// # Errors
/// When no daemon answers or it refuses.
pub fn change(state_dir: &Path, request: &Request) -> Result<Policy, ControlError> {
    match ask(state_dir, request)?.0 {
        Reply::Policy(policy) => Ok(policy),
        Reply::Refused(why) => Err(ControlError::Refused(why)),
        Reply::Watching => Err(ControlError::Unexpected),
    }
}

/// Watches; the notices as they come, without an end of their own.
///
/// # Errors
/// When no daemon answers.
pub fn watch(state_dir: &Path) -> Result<impl Iterator<Item = io::Result<Notice>>, ControlError> {
    let lines = open_watch(state_dir)?.lines();
    Ok(lines.map(|line| line.and_then(|line| Ok(serde_json::from_str(&line)?))))
}

/// The stream of [`watch`], a JSON object a line, for those who wait with poll(2).
///
/// # Errors
/// When no daemon answers.
pub fn open_watch(state_dir: &Path) -> Result<BufReader<UnixStream>, ControlError> {
    match ask(state_dir, &Request::Watch)? {
        (Reply::Watching, stream) => Ok(stream),
        (Reply::Refused(why), _) => Err(ControlError::Refused(why)),
        (Reply::Policy(_), _) => Err(ControlError::Unexpected),
    }
}

fn ask(state_dir: &Path, request: &Request) -> Result<(Reply, BufReader<UnixStream>), ControlError> {
    let path = socket(state_dir);
    let mut stream = UnixStream::connect(&path).map_err(|error| ControlError::NoDaemon(path, error))?;
    let mut line = serde_json::to_string(request).map_err(io::Error::from)?;
    line.push('\n');
    stream.write_all(line.as_bytes())?;
    let mut reader = BufReader::new(stream);
    let mut answer = String::new();
    reader.read_line(&mut answer)?;
    let reply = serde_json::from_str(&answer).map_err(|_| ControlError::Unexpected)?;
    Ok((reply, reader))
}
