//! The form of the file: its keys, and the checks of each value where it stands.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    path::PathBuf,
};

use mif_common::{abi::Mode, limits};
use serde::{Deserialize, Deserializer, de::Error as _};
use toml::Spanned;

use super::{
    Config, ENTRIES_MAX, ForeignRules, Interface, InterfaceDhcpv6, Limits, POLICIES_MAX, Problem,
    address_selection::FileAddressSelection,
    dhcpv6::{Dhcpv6Name, FileOptions, PrefixLength},
    policy::{self, FileGroup, FilePolicy},
};

/// `IFNAMSIZ` (linux/if.h), with the NUL.
const IFNAMSIZ: usize = 16;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    mode: ModeName,
    #[serde(default)]
    interfaces: Vec<Spanned<String>>,
    #[serde(default)]
    ignore_interfaces: Vec<Spanned<String>>,
    #[serde(default)]
    interface: BTreeMap<InterfaceName, FileInterface>,
    bpffs: Option<AbsolutePath>,
    cgroup: Option<AbsolutePath>,
    state_dir: Option<AbsolutePath>,
    #[serde(default)]
    limits: FileLimits,
    #[serde(default)]
    foreign_rules: ForeignRulesName,
    #[serde(default)]
    dhcpv6: Dhcpv6Name,
    #[serde(default)]
    dhcpv6_options: FileOptions,
    #[serde(default)]
    address_selection: FileAddressSelection,
    #[serde(default)]
    group: BTreeMap<String, FileGroup>,
    #[serde(default)]
    policy: Vec<Spanned<FilePolicy>>,
}

/// [`Mode`], which knows nothing of serde. Through a string, because toml says of a number in an enum's place only that
/// it wanted a "string or table".
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct ModeName(pub(super) Mode);

impl TryFrom<String> for ModeName {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        match name.as_str() {
            "observe" => Ok(Self(Mode::Observe)),
            "prefer" => Ok(Self(Mode::Prefer)),
            "strict" => Ok(Self(Mode::Strict)),
            _ => Err(format!("`{name}` is no mode, expected `observe`, `prefer` or `strict`")),
        }
    }
}

/// [`ForeignRules`], in the same way.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(try_from = "String")]
struct ForeignRulesName(ForeignRules);

impl TryFrom<String> for ForeignRulesName {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        match name.as_str() {
            "observe" => Ok(Self(ForeignRules::Observe)),
            "ignore" => Ok(Self(ForeignRules::Ignore)),
            _ => Err(format!("`{name}` is not known here, expected `observe` or `ignore`")),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileInterface {
    metric: Option<u32>,
    #[serde(default)]
    ipv4: Ipv4Name,
    dhcpv6: Option<Dhcpv6Name>,
    dhcpv6_prefix: Option<PrefixLength>,
    #[serde(default)]
    dhcpv6_rapid_commit: bool,
    #[serde(default)]
    dhcpv6_rdnss_selection: bool,
}

impl From<FileInterface> for Interface {
    fn from(file: FileInterface) -> Self {
        Self {
            metric: file.metric,
            merge_ipv4: matches!(file.ipv4, Ipv4Name::Merge),
            dhcpv6: InterfaceDhcpv6 {
                mode: file.dhcpv6.map(|Dhcpv6Name(mode)| mode),
                prefix: file.dhcpv6_prefix.map(|PrefixLength(length)| length),
                rapid_commit: file.dhcpv6_rapid_commit,
                rdnss_selection: file.dhcpv6_rdnss_selection,
            },
        }
    }
}

/// Whether an interface's IPv4 is a PvD of its own.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(try_from = "String")]
enum Ipv4Name {
    #[default]
    Apart,
    Merge,
}

impl TryFrom<String> for Ipv4Name {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        match name.as_str() {
            "apart" => Ok(Self::Apart),
            "merge" => Ok(Self::Merge),
            _ => Err(format!("`{name}` is not known here, expected `apart` or `merge`")),
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileLimits {
    pvds: Option<Size<{ limits::PVDS_MAX }>>,
    sources: Option<Size<ENTRIES_MAX>>,
    decisions: Option<Size<ENTRIES_MAX>>,
    policies: Option<Size<POLICIES_MAX>>,
}

/// The name of an interface; see [`interface_name`].
#[derive(Clone, Deserialize, Eq, Ord, PartialEq, PartialOrd)]
#[serde(try_from = "String")]
pub(super) struct InterfaceName(pub(super) String);

impl TryFrom<String> for InterfaceName {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        interface_name(&name)?;
        Ok(Self(name))
    }
}

/// Whether the kernel allows an interface of this name (`dev_valid_name`).
///
/// # Errors
/// It does not; the message is for people.
pub fn interface_name(name: &str) -> Result<(), String> {
    let fits = (1..IFNAMSIZ).contains(&name.len());
    let plain = !name.contains(|c: char| c == '/' || c == ':' || c.is_whitespace());
    if fits && plain && name != "." && name != ".." {
        return Ok(());
    }
    Err(format!(
        "`{name}` is no interface name, expected 1 to {} octets without `/`, `:` and blanks",
        IFNAMSIZ - 1
    ))
}

/// A path from the root.
#[derive(Deserialize)]
#[serde(try_from = "String")]
struct AbsolutePath(PathBuf);

impl TryFrom<String> for AbsolutePath {
    type Error = String;

    fn try_from(path: String) -> Result<Self, String> {
        if path.starts_with('/') {
            return Ok(Self(path.into()));
        }
        Err(format!("`{path}` is no absolute path, expected one that begins with `/`"))
    }
}

/// The size of a table.
struct Size<const MOST: u32>(u32);

impl<'de, const MOST: u32> Deserialize<'de> for Size<MOST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let size = i64::deserialize(deserializer)?;
        u32::try_from(size)
            .ok()
            .filter(|size| (1..=MOST).contains(size))
            .map(Self)
            .ok_or_else(|| D::Error::custom(format!("{size} is out of range, expected 1 to {MOST}")))
    }
}

/// Something that is wrong, at these octets of the text.
pub(super) struct Mistake {
    pub(super) at: Range<usize>,
    pub(super) message: String,
}

pub(super) fn parse(text: &str) -> Result<Config, Problem> {
    let file: Result<File, toml::de::Error> = toml::from_str(text);
    let mistake = match file {
        Ok(file) => match file.check() {
            Ok(config) => return Ok(config),
            Err(mistake) => mistake,
        },
        Err(error) => Mistake { at: error.span().unwrap_or_default(), message: error.message().into() },
    };
    Err(problem(text, mistake))
}

/// Turns octets into line and column.
fn problem(text: &str, Mistake { at, message }: Mistake) -> Problem {
    let before = text.get(..at.start).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    Problem {
        line: before.matches('\n').count() + 1,
        column: before[line_start..].chars().count() + 1,
        message,
        text: text[line_start..].lines().next().unwrap_or_default().to_owned(),
    }
}

/// Checked here and not while reading, where toml would show the whole list.
fn names(names: &[Spanned<String>]) -> Result<BTreeSet<String>, Mistake> {
    let name = |name: &Spanned<String>| match InterfaceName::try_from(name.as_ref().clone()) {
        Ok(InterfaceName(text)) => Ok(text),
        Err(message) => Err(Mistake { at: name.span(), message }),
    };
    names.iter().map(name).collect()
}

impl File {
    /// What no single value shows: that values go together.
    fn check(self) -> Result<Config, Mistake> {
        let interfaces = names(&self.interfaces)?;
        let ignore_interfaces = names(&self.ignore_interfaces)?;
        if let Some(both) = self.ignore_interfaces.iter().find(|name| interfaces.contains(name.as_ref())) {
            let name = both.as_ref();
            let message =
                format!("`{name}` stands in interfaces and in ignore_interfaces, expected one of the two");
            return Err(Mistake { at: both.span(), message });
        }
        let policies = policy::check(self.policy, &self.group)?;
        let defaults = Config::default();
        let path = |given: Option<AbsolutePath>, default| given.map_or(default, |AbsolutePath(path)| path);
        Ok(Config {
            mode: self.mode.0,
            interfaces,
            ignore_interfaces,
            interface: self
                .interface
                .into_iter()
                .map(|(InterfaceName(name), interface)| (name, interface.into()))
                .collect(),
            bpffs: path(self.bpffs, defaults.bpffs),
            cgroup: self.cgroup.map(|AbsolutePath(path)| path),
            state_dir: path(self.state_dir, defaults.state_dir),
            limits: Limits {
                pvds: self.limits.pvds.map_or(defaults.limits.pvds, |size| size.0),
                sources: self.limits.sources.map_or(defaults.limits.sources, |size| size.0),
                decisions: self.limits.decisions.map_or(defaults.limits.decisions, |size| size.0),
                policies: self.limits.policies.map_or(defaults.limits.policies, |size| size.0),
            },
            foreign_rules: self.foreign_rules.0,
            dhcpv6: self.dhcpv6.0,
            dhcpv6_options: self.dhcpv6_options.check()?,
            address_selection: self.address_selection.check()?,
            policies,
        })
    }
}
