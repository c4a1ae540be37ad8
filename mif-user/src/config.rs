//! The configuration file, `/etc/mif/mif.toml`. `docs/mif.toml` explains every key.
//!
//! An error names the file, the line and the column, what stands there and what was expected; an unknown key is an error,
//! because a misspelt one would otherwise do nothing without a word.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs, io,
    path::{Path, PathBuf},
};

use mif_common::{abi::Mode, limits};
use mif_core::{pvd::Groups, select::policy_table::in_force::Settings, wire::dhcpv6::DraftCodes};

use crate::{mode::Otherwise, pattern::Pattern};

mod address_selection;
mod dhcpv6;
mod file;
mod policy;

pub use dhcpv6::{Dhcpv6, InterfaceDhcpv6};
pub use file::interface_name;

/// Where the daemon looks when it is not told otherwise.
pub const DEFAULT_PATH: &str = "/etc/mif/mif.toml";

/// Entries that SOURCE and DECISION may be given at most: at some 100 octets each (see [`limits::DECISIONS`]), a full
/// table takes 1.6 GiB of kernel memory then.
pub const ENTRIES_MAX: u32 = 1 << 24;

/// Cgroups that may have a policy at most: POLICY is allocated in full, some 100 octets for each, 6 MiB then.
pub const POLICIES_MAX: u32 = 1 << 16;

/// What the administrator wants. The default is what an empty file says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Config {
    /// What view 0, everything without a policy, does with its decisions.
    pub mode: Mode,
    /// The interfaces to use; empty: all.
    pub interfaces: BTreeSet<String>,
    /// The interfaces to leave alone.
    pub ignore_interfaces: BTreeSet<String>,
    /// Settings by interface name.
    pub interface: BTreeMap<String, Interface>,
    /// Where bpffs is mounted, or is to be.
    pub bpffs: PathBuf,
    /// The cgroup to attach to; `None`: the root of the cgroup2 mount.
    pub cgroup: Option<PathBuf>,
    /// For what does not outlive a boot: the socket and the lock.
    pub state_dir: PathBuf,
    /// Sizes of the tables.
    pub limits: Limits,
    /// What view 0 does while somebody else's policy rules exist.
    pub foreign_rules: ForeignRules,
    /// When DHCPv6 clients ask, where an interface says nothing of its own.
    pub dhcpv6: Dhcpv6,
    /// The numbers of DHCPv6 options that drafts describe.
    pub dhcpv6_options: DraftCodes,
    /// The administrator's address selection policy, and whether networks' count.
    pub address_selection: Settings,
    /// Policies; of those that are for one cgroup the first counts.
    pub policies: Vec<Policy>,
}

/// Settings of one interface.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Interface {
    /// The smaller the better; in the place of what the owner of the kernel's routes says.
    pub metric: Option<u32>,
    /// Its IPv4 belongs to its IPv6 PvD, where there is one.
    pub merge_ipv4: bool,
    /// Its DHCPv6 client.
    pub dhcpv6: InterfaceDhcpv6,
}

/// Sizes of the tables.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// PvDs, `1..=PVDS_MAX`.
    pub pvds: u32,
    /// Entries of SOURCE, `1..=ENTRIES_MAX`.
    pub sources: u32,
    /// Entries of DECISION, `1..=ENTRIES_MAX`.
    pub decisions: u32,
    /// Cgroups with a policy, `1..=POLICIES_MAX`.
    pub policies: u32,
}

/// What view 0 does while policy rules exist that neither the kernel nor `mif` made.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum ForeignRules {
    /// It only observes: somebody decides already.
    #[default]
    Observe,
    /// What it does otherwise.
    Ignore,
}

/// What some cgroups may use.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Policy {
    /// Which cgroups.
    pub cgroup: Pattern,
    /// Selectors of PvDs in groups, the preferred group first; no group is empty.
    pub groups: Groups,
    /// What happens to what no group reaches.
    pub otherwise: Otherwise,
    /// What the hooks do.
    pub mode: Mode,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            pvds: limits::PVDS,
            sources: limits::SOURCES,
            decisions: limits::DECISIONS,
            policies: limits::POLICIES,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            mode: Mode::default(),
            interfaces: BTreeSet::new(),
            ignore_interfaces: BTreeSet::new(),
            interface: BTreeMap::new(),
            bpffs: "/sys/fs/bpf".into(),
            cgroup: None,
            state_dir: "/run/mif".into(),
            limits: Limits::default(),
            foreign_rules: ForeignRules::default(),
            dhcpv6: Dhcpv6::default(),
            dhcpv6_options: DraftCodes::default(),
            address_selection: Settings::default(),
            policies: Vec::new(),
        }
    }
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{}: cannot read the configuration: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file says something wrong.
    #[error("{}:{problem}", path.display())]
    Wrong {
        /// The file.
        path: PathBuf,
        /// What.
        problem: Problem,
    },
}

/// What is wrong in the text of a configuration, and where.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{line}:{column}: {message}\n  {text}")]
pub struct Problem {
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// What was read and what was expected.
    pub message: String,
    /// The line as it stands.
    pub text: String,
}

impl Config {
    /// Reads a file that must exist: the one that `--config` names.
    ///
    /// # Errors
    /// [`ConfigError`]
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text =
            fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.into(), source })?;
        Self::parse(&text).map_err(|problem| ConfigError::Wrong { path: path.into(), problem })
    }

    /// Reads a file that need not exist: [`DEFAULT_PATH`].
    ///
    /// # Errors
    /// [`ConfigError`], but for a file that does not exist.
    pub fn load_or_default(path: &Path) -> Result<Self, ConfigError> {
        match Self::load(path) {
            Err(ConfigError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Ok(Self::default())
            }
            result => result,
        }
    }

    /// Reads the text of a configuration.
    ///
    /// # Errors
    /// The first [`Problem`] in it.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        file::parse(text)
    }

    /// Where the pins live: a directory of our own on bpffs.
    #[must_use]
    pub fn pin_dir(&self) -> PathBuf {
        self.bpffs.join("mif")
    }

    /// Whether to use an interface.
    #[must_use]
    pub fn uses(&self, interface: &str) -> bool {
        (self.interfaces.is_empty() || self.interfaces.contains(interface))
            && !self.ignore_interfaces.contains(interface)
    }

    /// The metric that the administrator gave an interface.
    #[must_use]
    pub fn metric(&self, interface: &str) -> Option<u32> {
        self.interface.get(interface)?.metric
    }

    /// The interfaces that the configuration names. That one does not exist is not an error: interfaces come later. But a
    /// misspelt name looks the same, so it is said ([`Named`]).
    #[must_use]
    pub fn named_interfaces(&self) -> Vec<Named> {
        let named = [
            ("interfaces", self.interfaces.iter().collect::<Vec<_>>()),
            ("ignore_interfaces", self.ignore_interfaces.iter().collect()),
            ("[interface]", self.interface.keys().collect()),
        ];
        named
            .into_iter()
            .flat_map(|(key, names)| names.into_iter().map(move |name| (key, name)))
            .map(|(key, name)| Named { key, interface: name.clone() })
            .collect()
    }
}

/// An interface that the configuration names. Its text is what to say while there is none of that name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Named {
    /// Where it stands.
    pub key: &'static str,
    /// The name.
    pub interface: String,
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, interface } = self;
        write!(f, "{key} names `{interface}`, but there is no such interface now; it counts once one appears")
    }
}

#[cfg(test)]
mod tests;
