//! How a view picks its PvDs: by name, interface, kind or property.
//!
//! A selector is asked anew whenever PvDs change: a view is not a list of PvDs but what a list of selectors picks now.

use std::{collections::BTreeSet, fmt, str::FromStr};

use mif_common::abi::PvdIndex;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{
    find::{FindError, find},
    key::PvdKey,
    set::PvdSet,
};
use crate::{
    family::is_default_route,
    select::world::{self, World},
};

/// Selectors in groups, in order of preference.
pub type Groups = Vec<Vec<Selector>>;

/// Picks PvDs.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Deserialize, Serialize)]
#[serde(untagged)]
pub enum Selector {
    /// One word. If it is the name of an interface, all PvDs of that interface; else, if PvDs bear it as their name, those;
    /// else the PvD of this id. In this order, because the names of PvDs come from the network: an interface is never lost
    /// to a router that announces a name like its own.
    Word(String),
    /// Conditions.
    Where(Conditions),
}

/// Conditions that all hold; those that are not given hold for every PvD.
#[derive(Clone, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Conditions {
    /// The PvD of exactly this id, and no other that comes in its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// PvDs that their network named so, on whatever interface. Case does not matter (RFC 4343).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// PvDs of the interface of this name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// PvDs of this kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// PvDs that offer a default route, or that offer none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub internet: Option<bool>,
}

/// What a PvD is made of.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Named by its network (RFC 8801).
    Explicit,
    /// What one router says without a name.
    Implicit,
    /// What is configured on an interface otherwise.
    Interface,
    /// The IPv4 configuration of an interface.
    Ipv4,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 4] = [Self::Explicit, Self::Implicit, Self::Interface, Self::Ipv4];

    /// The kind of a PvD.
    #[must_use]
    pub const fn of(key: &PvdKey) -> Self {
        match key {
            PvdKey::Explicit { .. } => Self::Explicit,
            PvdKey::Implicit { .. } => Self::Implicit,
            PvdKey::Interface { .. } => Self::Interface,
            PvdKey::Ipv4 { .. } => Self::Ipv4,
        }
    }

    /// Its name, as it is written and serialised.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Explicit => "explicit",
            Self::Implicit => "implicit",
            Self::Interface => "interface",
            Self::Ipv4 => "ipv4",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a text is no selector.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum SelectorError {
    /// Nothing there.
    #[error("an empty name, expected that of a PvD or an interface; `mif pvd` lists them")]
    Empty,
    /// A key and nothing more.
    #[error("nothing after `{0}=`, expected a value")]
    NoValue(String),
    /// No such key.
    #[error("`{0}` is no property of a PvD, expected id, name, interface, kind or internet")]
    Key(String),
    /// No such kind.
    #[error("`{0}` is no kind of PvD, expected explicit, implicit, interface or ipv4")]
    Kind(String),
    /// Neither true nor false.
    #[error("internet is true or false, not `{0}`")]
    Bool(String),
    /// Both values cannot hold.
    #[error("`{0}` stands here twice, expected it once")]
    Twice(String),
}

impl FromStr for Kind {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, SelectorError> {
        Self::ALL.into_iter().find(|kind| kind.name() == text).ok_or_else(|| SelectorError::Kind(text.into()))
    }
}

/// The form of command lines: a word, or `key=value`, or several of these with `+` between them, which all hold. A `+` that no
/// `key=` follows is one of the value's own: names of interfaces may have it.
impl FromStr for Selector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, SelectorError> {
        if !text.contains('=') {
            return if text.is_empty() { Err(SelectorError::Empty) } else { Ok(Self::Word(text.into())) };
        }
        let mut conditions = Conditions::default();
        let mut rest = Some(text);
        while let Some(text) = rest {
            let (one, others) = split_condition(text);
            conditions.add(one)?;
            rest = others;
        }
        Ok(Self::Where(conditions))
    }
}

/// The first condition of a text, and what follows it.
fn split_condition(text: &str) -> (&str, Option<&str>) {
    let begins = |rest: &str| {
        let key = rest.split_once('=').map(|(key, _)| key);
        key.is_some_and(|key| !key.is_empty() && key.bytes().all(|octet| octet.is_ascii_lowercase()))
    };
    let end = text.match_indices('+').map(|(at, _)| at).find(|at| begins(&text[at + 1..]));
    end.map_or((text, None), |end| (&text[..end], Some(&text[end + 1..])))
}

impl From<&str> for Selector {
    fn from(word: &str) -> Self {
        Self::Word(word.into())
    }
}

impl Selector {
    /// Exactly the PvD of this id.
    #[must_use]
    pub fn exactly(id: String) -> Self {
        Self::Where(Conditions { id: Some(id), ..Conditions::default() })
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Word(word) => f.write_str(word),
            Self::Where(conditions) => conditions.fmt(f),
        }
    }
}

/// As [`Selector`] reads it, except that an id alone stands there as people know it.
impl fmt::Display for Conditions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, name, interface, kind, internet } = self;
        let given = |key: &str, value: Option<&dyn fmt::Display>| value.map(|value| format!("{key}={value}"));
        if let (Some(id), None, None, None, None) = (id, name, interface, kind, internet) {
            return f.write_str(id);
        }
        let given = [
            given("id", id.as_ref().map(|id| id as _)),
            given("name", name.as_ref().map(|name| name as _)),
            given("interface", interface.as_ref().map(|interface| interface as _)),
            given("kind", kind.as_ref().map(|kind| kind as _)),
            given("internet", internet.as_ref().map(|internet| internet as _)),
        ];
        f.write_str(&given.into_iter().flatten().collect::<Vec<_>>().join("+"))
    }
}

/// What selectors look at of a PvD.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Entry {
    /// Its number.
    pub index: PvdIndex,
    /// Its id.
    pub id: String,
    /// The name that its network gave it, in lower case.
    pub name: Option<String>,
    /// The name of its interface.
    pub interface: String,
    /// Its kind.
    pub kind: Kind,
    /// Whether it offers a default route, which one with `noInternet` (RFC 8801 §4.3) does not.
    pub internet: bool,
}

/// The PvDs that selectors pick from.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Roster {
    /// By number.
    pub pvds: Vec<Entry>,
    /// The names of all interfaces, also of those without a PvD.
    pub interfaces: BTreeSet<String>,
}

impl PvdSet {
    /// The PvDs for selectors. `world` is that of the same moment.
    #[must_use]
    pub fn roster(&self, world: &World) -> Roster {
        let offering: BTreeSet<PvdIndex> =
            world.pvds.iter().filter(|pvd| offers_internet(pvd)).map(|pvd| pvd.index).collect();
        let entry = |(index, key): (PvdIndex, &PvdKey)| {
            let link = self.links.get(&key.ifindex())?;
            let name = match key {
                PvdKey::Explicit { name, .. } => Some(name.to_string()),
                _ => None,
            };
            let internet = offering.contains(&index);
            Some(Entry {
                index,
                id: link.id(key),
                name,
                interface: link.name(),
                kind: Kind::of(key),
                internet,
            })
        };
        Roster {
            pvds: self.indices.iter().filter_map(entry).collect(),
            interfaces: self.links.values().map(super::link::LinkState::name).collect(),
        }
    }
}

fn offers_internet(pvd: &world::Pvd) -> bool {
    !pvd.no_internet && pvd.routes.iter().any(|route| is_default_route(route.prefix) && !route.kernel_decides)
}

impl Roster {
    /// The PvDs that each group picks now. A group may pick none, and a PvD may be in several groups.
    #[must_use]
    pub fn pick(&self, groups: &[Vec<Selector>]) -> Vec<Vec<PvdIndex>> {
        let group = |selectors: &Vec<Selector>| {
            let picked: BTreeSet<_> =
                selectors.iter().flat_map(|selector| self.picked_by(selector)).collect();
            picked.into_iter().collect()
        };
        groups.iter().map(group).collect()
    }

    /// All PvDs.
    #[must_use]
    pub fn all(&self) -> Vec<PvdIndex> {
        self.pvds.iter().map(|pvd| pvd.index).collect()
    }

    /// What a command's word means now, for a policy that outlives this moment: the name of an interface or of PvDs stays one
    /// and will mean others of that name too; an id, an index or the beginning of an id becomes the exact id.
    ///
    /// # Errors
    /// When a word means no PvD, or several.
    pub fn resolve(&self, selector: Selector) -> Result<Selector, FindError> {
        let Selector::Word(word) = &selector else { return Ok(selector) };
        if self.interfaces.contains(word) || self.named(word).next().is_some() {
            return Ok(selector);
        }
        let known: Vec<_> = self.pvds.iter().map(|pvd| (pvd.index, pvd.id.clone())).collect();
        let index = find(&known, word)?;
        let id = known.into_iter().find(|(of, _)| *of == index).map(|(_, id)| id);
        Ok(id.map_or(selector, Selector::exactly))
    }

    fn picked_by<'a>(&'a self, selector: &'a Selector) -> Vec<PvdIndex> {
        let indices =
            |pvds: &mut dyn Iterator<Item = &'a Entry>| pvds.map(|pvd| pvd.index).collect::<Vec<_>>();
        match selector {
            Selector::Where(conditions) => {
                indices(&mut self.pvds.iter().filter(|pvd| conditions.hold_for(pvd)))
            }
            Selector::Word(word) if self.interfaces.contains(word) => {
                indices(&mut self.pvds.iter().filter(|pvd| pvd.interface == *word))
            }
            Selector::Word(word) => {
                let named = indices(&mut self.named(word));
                let has_id = |pvd: &&Entry| pvd.id == canonical(word);
                if named.is_empty() { indices(&mut self.pvds.iter().filter(has_id)) } else { named }
            }
        }
    }

    fn named<'a>(&'a self, word: &'a str) -> impl Iterator<Item = &'a Entry> {
        self.pvds.iter().filter(move |pvd| !is_id(word) && has_name(pvd, word))
    }
}

impl Conditions {
    /// Whether nothing is asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// One more, as `key=value`.
    fn add(&mut self, text: &str) -> Result<(), SelectorError> {
        let (key, value) = text.split_once('=').ok_or_else(|| SelectorError::Key(text.into()))?;
        let twice = match key {
            "id" | "name" | "interface" | "kind" | "internet" if value.is_empty() => {
                return Err(SelectorError::NoValue(key.into()));
            }
            "id" => self.id.replace(value.into()).is_some(),
            "name" => self.name.replace(value.into()).is_some(),
            "interface" => self.interface.replace(value.into()).is_some(),
            "kind" => self.kind.replace(value.parse()?).is_some(),
            "internet" => {
                let value = value.parse().map_err(|_| SelectorError::Bool(value.into()))?;
                self.internet.replace(value).is_some()
            }
            _ => return Err(SelectorError::Key(key.into())),
        };
        if twice { Err(SelectorError::Twice(key.into())) } else { Ok(()) }
    }

    fn hold_for(&self, pvd: &Entry) -> bool {
        let Self { id, name, interface, kind, internet } = self;
        id.as_ref().is_none_or(|id| pvd.id == canonical(id))
            && name.as_ref().is_none_or(|name| has_name(pvd, name))
            && interface.as_ref().is_none_or(|interface| pvd.interface == *interface)
            && kind.is_none_or(|kind| pvd.kind == kind)
            && internet.is_none_or(|internet| pvd.internet == internet)
    }
}

fn has_name(pvd: &Entry, name: &str) -> bool {
    pvd.name.as_ref().is_some_and(|own| own.eq_ignore_ascii_case(name))
}

/// Whether a word has the separators of ids, which names in them do not have.
fn is_id(word: &str) -> bool {
    word.contains(['%', '/'])
}

/// An id as [`PvdKey::id`] writes it: the name in lower case, the interface as it is.
fn canonical(id: &str) -> String {
    match id.rsplit_once('%') {
        Some((name, interface)) => format!("{}%{interface}", name.to_ascii_lowercase()),
        None => id.into(),
    }
}

#[cfg(test)]
mod tests;
