//! The policies of the file, the groups of PvDs that they name, and the selectors in both.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    ops::Range,
};

use mif_common::abi;
use mif_core::pvd::selector::{Conditions, Groups, Kind, Selector};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor, value::MapAccessDeserializer},
};
use toml::Spanned;

use super::{
    Policy,
    file::{InterfaceName, Mistake, ModeName},
};
use crate::{
    mode::{Mode, Otherwise},
    pattern::{Pattern, PatternError},
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FilePolicy {
    cgroup: Option<Spanned<String>>,
    unit: Option<Spanned<String>>,
    pvds: Option<FileSelectors>,
    groups: Option<Spanned<Vec<FileSelectors>>>,
    otherwise: Option<Spanned<OtherwiseName>>,
    mode: Option<ModeName>,
}

/// A group that policies and other groups name.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileGroup {
    pvds: FileSelectors,
}

/// A group where it stands.
type FileSelectors = Spanned<Vec<Spanned<FileSelector>>>;

#[derive(Clone, Eq, PartialEq, PartialOrd, Ord)]
enum FileSelector {
    Word(String),
    Table(FileConditions),
}

#[derive(Clone, Deserialize, Eq, PartialEq, PartialOrd, Ord)]
#[serde(deny_unknown_fields)]
struct FileConditions {
    group: Option<String>,
    id: Option<String>,
    name: Option<String>,
    interface: Option<InterfaceName>,
    kind: Option<KindName>,
    internet: Option<bool>,
}

/// [`Kind`], through a string: of a number in an enum's place toml says only that it wanted a "string or table".
#[derive(Clone, Copy, Deserialize, Eq, PartialEq, PartialOrd, Ord)]
#[serde(try_from = "String")]
struct KindName(Kind);

impl TryFrom<String> for KindName {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        name.parse().map(Self).map_err(|error: mif_core::pvd::selector::SelectorError| error.to_string())
    }
}

/// [`Otherwise`], in the same way.
#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
struct OtherwiseName(Otherwise);

impl TryFrom<String> for OtherwiseName {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        match name.as_str() {
            "refuse" => Ok(Self(Otherwise::Refuse)),
            "kernel" => Ok(Self(Otherwise::Kernel)),
            "default" => Ok(Self(Otherwise::Default)),
            _ => Err(format!("`{name}` is not known here, expected `refuse`, `kernel` or `default`")),
        }
    }
}

/// A string or a table. serde's untagged enums would not say what is wrong in the table.
impl<'de> Deserialize<'de> for FileSelector {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = FileSelector;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a PvD or an interface, or a table such as { kind = \"explicit\" }")
            }

            fn visit_str<E>(self, word: &str) -> Result<FileSelector, E> {
                Ok(FileSelector::Word(word.into()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<FileSelector, A::Error> {
                FileConditions::deserialize(MapAccessDeserializer::new(map)).map(FileSelector::Table)
            }
        }

        deserializer.deserialize_any(Either)
    }
}

impl fmt::Display for FileSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Word(word) => f.write_str(word),
            Self::Table(FileConditions { group: Some(group), .. }) => write!(f, "group {group}"),
            Self::Table(table) => table.conditions().fmt(f),
        }
    }
}

impl FileConditions {
    fn conditions(&self) -> Conditions {
        let Self { group: _, id, name, interface, kind, internet } = self.clone();
        Conditions {
            id,
            name,
            interface: interface.map(|InterfaceName(interface)| interface),
            kind: kind.map(|KindName(kind)| kind),
            internet,
        }
    }
}

type Named = BTreeMap<String, FileGroup>;

/// The policies, and a look at every named group, also at those that no policy names.
pub(super) fn check(policies: Vec<Spanned<FilePolicy>>, named: &Named) -> Result<Vec<Policy>, Mistake> {
    for name in named.keys() {
        expand_named(named, name, 0..0, &mut Vec::new())?;
    }
    let mut checked: Vec<Policy> = Vec::with_capacity(policies.len());
    for policy in policies {
        let whole = policy.span();
        let (policy, at) = policy.into_inner().check(whole, named)?;
        if checked.iter().any(|other| other.cgroup == policy.cgroup) {
            let message = format!("a second policy for `{}`, expected one for each", policy.cgroup);
            return Err(Mistake { at, message });
        }
        checked.push(policy);
    }
    Ok(checked)
}

impl FilePolicy {
    /// The policy, and where its cgroup stands.
    fn check(self, whole: Range<usize>, named: &Named) -> Result<(Policy, Range<usize>), Mistake> {
        let mistake = |at, message: &str| Err(Mistake { at, message: message.into() });
        let (at, cgroup) = match (self.cgroup, self.unit) {
            (Some(path), None) => (path.span(), Pattern::path(path.as_ref())),
            (None, Some(unit)) => (unit.span(), Pattern::unit(unit.as_ref())),
            (Some(_), Some(unit)) => {
                return mistake(unit.span(), "cgroup and unit in one policy, expected one of the two");
            }
            (None, None) => {
                return mistake(whole, "a policy of nobody, expected cgroup = \"/PATH\" or unit = \"NAME\"");
            }
        };
        let cgroup =
            cgroup.map_err(|error: PatternError| Mistake { at: at.clone(), message: error.to_string() })?;
        let groups = match (self.pvds, self.groups) {
            (Some(pvds), None) => vec![pvds],
            (None, Some(groups)) if groups.as_ref().is_empty() => return mistake(groups.span(), EMPTY),
            (None, Some(groups)) => groups.into_inner(),
            (Some(_), Some(groups)) => {
                return mistake(groups.span(), "pvds and groups in one policy, expected one of the two");
            }
            (None, None) => {
                return mistake(
                    at,
                    "a policy without PvDs, expected pvds = [\"NAME\", ...] or groups = [[\"NAME\", ...], ...]",
                );
            }
        };
        let groups = expand(&groups, named)?;
        let mode = match (self.mode, &self.otherwise) {
            (Some(ModeName(mode)), _) => mode.into(),
            (None, Some(otherwise)) if otherwise.as_ref().0 != Otherwise::Refuse => Mode::Prefer,
            // Who names PvDs for a cgroup wants those and no others.
            (None, _) => Mode::Strict,
        };
        let asked = self.otherwise.as_ref().map(|otherwise| otherwise.as_ref().0);
        let otherwise = Otherwise::of(mode, asked).map_err(|error| Mistake {
            at: self.otherwise.as_ref().map_or(at.clone(), Spanned::span),
            message: error.to_string(),
        })?;
        Ok((Policy { cgroup, groups, otherwise, mode: abi::Mode::from(mode) }, at))
    }
}

const EMPTY: &str = "an empty group, expected at least one PvD in each";

fn expand(groups: &[FileSelectors], named: &Named) -> Result<Groups, Mistake> {
    let mut seen = BTreeSet::new();
    for selector in groups.iter().flat_map(AsRef::as_ref) {
        if !seen.insert(selector.as_ref()) {
            let message = format!("`{}` stands here twice, expected it once", selector.as_ref());
            return Err(Mistake { at: selector.span(), message });
        }
    }
    groups.iter().map(|group| expand_group(named, group, &mut Vec::new())).collect()
}

/// The selectors of a group, with those of the groups that it names; `within` are the names on the way here.
fn expand_group<'f>(
    named: &'f Named,
    group: &'f FileSelectors,
    within: &mut Vec<&'f str>,
) -> Result<Vec<Selector>, Mistake> {
    if group.as_ref().is_empty() {
        return Err(Mistake { at: group.span(), message: EMPTY.into() });
    }
    let mut selectors = Vec::new();
    for selector in group.as_ref() {
        let wrong = |message: &str| Err(Mistake { at: selector.span(), message: message.into() });
        match selector.as_ref() {
            FileSelector::Word(word) if word.is_empty() => {
                return wrong(
                    "an empty name, expected that of a PvD or an interface as `mif pvd` shows them",
                );
            }
            FileSelector::Word(word) => selectors.push(Selector::Word(word.clone())),
            FileSelector::Table(table) => match (&table.group, table.conditions()) {
                (Some(name), conditions) if conditions.is_empty() => {
                    selectors.extend(expand_named(named, name, selector.span(), within)?);
                }
                (Some(_), _) => {
                    return wrong("group and conditions in one selector, expected one of the two");
                }
                (None, conditions) if conditions.is_empty() => {
                    return wrong(
                        "a selector without conditions, expected id, name, interface, kind, internet or group",
                    );
                }
                (None, conditions) => selectors.push(Selector::Where(conditions)),
            },
        }
    }
    let mut seen = BTreeSet::new();
    selectors.retain(|selector| seen.insert(selector.clone()));
    Ok(selectors)
}

/// The selectors of the group of this name, which is named at `at`.
fn expand_named<'f>(
    named: &'f Named,
    name: &'f str,
    at: Range<usize>,
    within: &mut Vec<&'f str>,
) -> Result<Vec<Selector>, Mistake> {
    if within.contains(&name) {
        let circle = within.iter().skip_while(|outer| **outer != name).chain([&name]);
        let circle = circle.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" has ");
        return Err(Mistake { at, message: format!("a group within itself: {circle}") });
    }
    let Some(group) = named.get(name) else {
        let known: Vec<_> = named.keys().map(|name| format!("`{name}`")).collect();
        let known = if known.is_empty() { "there are none".to_owned() } else { known.join(", ") };
        let message =
            format!("there is no group `{name}`, expected one of those that [group.NAME] makes: {known}");
        return Err(Mistake { at, message });
    };
    within.push(name);
    let selectors = expand_group(named, &group.pvds, within);
    within.pop();
    selectors
}
