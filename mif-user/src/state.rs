//! What the daemon leaves for readers: the names behind the numbers of the maps, and what it could not do.
//!
//! The file is written after the maps, so that a reader finds at worst a name too few. It outlives the daemon like the
//! pins do: `mif status` and `mif pvd` work from both.

use std::{
    collections::BTreeMap,
    io,
    net::Ipv6Addr,
    path::{Path, PathBuf},
};

use mif_core::{
    dhcpv6::HeldLease,
    pvd::snapshot::PvdSnapshot,
    time::{Deadline, Time},
    wire::dhcpv6::MessageType,
};
use serde::{Deserialize, Serialize};

use crate::{
    config::Dhcpv6,
    files,
    mode::Mode,
    policy::{Policy, Removed, Waiting},
};

/// Version of the file.
pub const FORMAT: u32 = 2;

/// What the files of all versions have.
#[derive(Deserialize)]
struct Version {
    format: u32,
}

/// The file.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct State {
    /// [`FORMAT`]
    pub format: u32,
    /// The daemon's process id.
    pub pid: u32,
    /// When it started.
    pub started: Time,
    /// When this was written.
    pub written: Time,
    /// The mode of processes without a policy.
    pub mode: Mode,
    /// Foreign policy rules, as text. While there are any, processes without a policy are only observed.
    pub foreign_rules: Vec<String>,
    /// Whether they make the daemon only observe (`foreign_rules = "observe"`).
    pub foreign_rules_observed: bool,
    /// The interfaces.
    pub links: Vec<Link>,
    /// The PvDs.
    pub pvds: Vec<PvdSnapshot>,
    /// The DHCPv6 clients, and the links that are left to another one.
    #[serde(default)]
    pub dhcpv6: Vec<Dhcpv6Client>,
    /// The policies in force.
    pub policies: Vec<Policy>,
    /// What of the configured policies is not in force, and why.
    #[serde(default)]
    pub waiting: Vec<Waiting>,
    /// Strict policies of cgroups that are gone, which count for what their sockets still send.
    #[serde(default)]
    pub removed: Vec<Removed>,
    /// What was ignored or refused, and how often: malformed messages, caps.
    pub refused: BTreeMap<String, u64>,
    /// What is wrong now, each with what to do.
    pub problems: Vec<String>,
}

/// An interface.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Link {
    /// Its index.
    pub ifindex: u32,
    /// Its name.
    pub name: String,
    /// Whether it is up with carrier.
    pub up: bool,
    /// Whether tc egress is attached to it.
    pub egress: bool,
}

/// The DHCPv6 client of a link.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Dhcpv6Client {
    /// The interface's name.
    pub interface: String,
    /// Its index.
    pub ifindex: u32,
    /// What the configuration says.
    pub wish: Dhcpv6,
    /// Where it stands.
    pub state: Dhcpv6State,
    /// The message that waits for an answer.
    pub asking: Option<MessageType>,
    /// Who else is the client of the link.
    pub others: Option<String>,
    /// Where the last answer came from: the server, or the link's relay.
    pub server: Option<Ipv6Addr>,
    /// The server's DUID, hexadecimal; empty without one.
    pub server_duid: String,
    /// What is leased.
    pub leases: Vec<HeldLease>,
    /// T1: when the server is asked again.
    pub t1: Deadline,
    /// T2: when any server is.
    pub t2: Deadline,
    /// When the client does something next.
    pub next: Deadline,
}

/// Where a DHCPv6 client stands.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dhcpv6State {
    /// Another client has the link.
    Left,
    /// The link is down, or has no usable link-local address yet.
    Waiting,
    /// No answer yet.
    Asking,
    /// There are leases.
    Bound,
    /// There is configuration without leases.
    Informed,
}

impl State {
    /// Where it is in a state directory.
    #[must_use]
    pub fn path(state_dir: &Path) -> PathBuf {
        state_dir.join("state.json")
    }

    /// Reads it; `None` where no daemon has written one, or one of another version has.
    ///
    /// # Errors
    /// When it cannot be read or understood.
    pub fn read(state_dir: &Path) -> io::Result<Option<Self>> {
        match std::fs::read(Self::path(state_dir)) {
            Ok(text) => {
                // The rest may have another form in another version.
                let Version { format } = serde_json::from_slice(&text)?;
                if format != FORMAT {
                    return Ok(None);
                }
                Ok(Some(serde_json::from_slice(&text)?))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reads it for the daemon that will overwrite it: one that cannot be understood is kept aside, and said in the second
    /// value.
    #[must_use]
    pub fn read_or_set_aside(state_dir: &Path) -> (Option<Self>, Option<String>) {
        let path = Self::path(state_dir);
        // Another version's file is none of ours, and not damaged either.
        match Self::read(state_dir) {
            Err(error) => (None, Some(files::set_aside(&path, &error))),
            Ok(state) => (state, None),
        }
    }

    /// Writes it.
    ///
    /// # Errors
    /// When the directory cannot be written.
    pub fn write(&self, state_dir: &Path) -> io::Result<()> {
        files::write_json(&Self::path(state_dir), self)
    }

    /// The id of the PvD at a place.
    #[must_use]
    pub fn pvd_id(&self, index: u32) -> Option<&str> {
        self.pvds.iter().find(|pvd| pvd.index == index).map(|pvd| pvd.id.as_str())
    }

    /// The name of an interface.
    #[must_use]
    pub fn link_name(&self, ifindex: u32) -> Option<&str> {
        self.links.iter().find(|link| link.ifindex == ifindex).map(|link| link.name.as_str())
    }
}
