//! What a policy says, and of whom.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use mif_core::{
    pvd::selector::{Groups, Roster, Selector},
    select::world::View,
};
use serde::{Deserialize, Serialize};

use crate::{
    kernel::attach,
    mode::{Mode, Otherwise},
    pattern::Pattern,
};

/// A policy of a cgroup.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct Policy {
    /// The cgroup's directory.
    pub cgroup: PathBuf,
    /// Its id.
    pub cgroup_id: u64,
    /// The PvDs it may use.
    pub groups: Groups,
    /// What happens to what none of them reaches.
    #[serde(default)]
    pub otherwise: Otherwise,
    /// How firmly.
    pub mode: Mode,
    /// The view in the tables.
    pub view: u32,
    /// Where it came from.
    pub origin: Origin,
}

/// Where a policy came from.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// The configuration file.
    Config,
    /// `mif policy attach` or `mif exec`.
    Command,
}

/// What a policy says, whomever it is for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Terms {
    /// The PvDs.
    pub groups: Groups,
    /// What happens to what none of them reaches.
    pub otherwise: Otherwise,
    /// How firmly.
    pub mode: Mode,
}

/// A policy of the configuration file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Configured {
    /// Which cgroups it is for.
    pub cgroup: Pattern,
    /// What it says.
    pub terms: Terms,
}

/// Why a configured policy waits.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// No cgroup that it is for is there.
    #[default]
    NoCgroup,
    /// Every such cgroup that is there fits an earlier policy of the file too, and that one counts.
    EarlierPolicy,
    /// The cgroup is there, but POLICY is full.
    NoRoom,
    /// There are more different sets of PvDs than views.
    NoView,
    /// The cgroup is there, and deeper below the root of cgroup2 than the hooks look.
    TooDeep,
}

impl Why {
    /// In words.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::NoCgroup => "no such cgroup now",
            Self::EarlierPolicy => "an earlier policy of the file counts",
            Self::NoRoom => "no room (limits.policies)",
            Self::NoView => "too many different sets of PvDs",
            Self::TooDeep => "too far below the root (the hooks look at 23 levels)",
        }
    }
}

/// A configured policy that no cgroup has now, or a cgroup without the one that is configured for it.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct Waiting {
    /// The cgroups that it waits for, as they are configured; the directory of the one that has no room.
    pub cgroup: String,
    /// What for.
    #[serde(default)]
    pub why: Why,
    /// The PvDs.
    pub groups: Groups,
    /// What happens to what none of them reaches.
    pub otherwise: Otherwise,
    /// How firmly.
    pub mode: Mode,
    /// The view in the tables; 0 where there was none left.
    pub view: u32,
}

/// What is in a view: policies that differ in nothing of this share one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Content {
    groups: Groups,
    /// All PvDs in a last group.
    default_last: bool,
}

impl Configured {
    /// The same, for paths below the root of cgroup2: see [`Pattern::below`].
    #[must_use]
    pub fn below(&self, root: &Path) -> Self {
        Self { cgroup: self.cgroup.clone().below(root), terms: self.terms.clone() }
    }
}

impl Policy {
    /// Whether its cgroup is there: a path may belong to another one now.
    pub(super) fn is_of_a_cgroup(&self) -> bool {
        attach::cgroup_id(&self.cgroup).is_ok_and(|id| id == self.cgroup_id)
    }

    /// What is in its view.
    #[must_use]
    pub fn content(&self) -> Content {
        Content::of(&self.groups, self.otherwise)
    }
}

impl Waiting {
    pub(super) fn content(&self) -> Content {
        Content::of(&self.groups, self.otherwise)
    }
}

impl Terms {
    /// A selector that stands there twice, in one group or in two: nobody means that.
    #[must_use]
    pub fn repeated(&self) -> Option<&Selector> {
        let mut seen = BTreeSet::new();
        self.groups.iter().flatten().find(|selector| !seen.insert(*selector))
    }

    pub(super) fn content(&self) -> Content {
        Content::of(&self.groups, self.otherwise)
    }

    pub(super) fn policy(self, cgroup: PathBuf, cgroup_id: u64, view: u32, origin: Origin) -> Policy {
        let Self { groups, otherwise, mode } = self;
        Policy { cgroup, cgroup_id, groups, otherwise, mode, view, origin }
    }
}

impl Content {
    fn of(groups: &Groups, otherwise: Otherwise) -> Self {
        Self { groups: groups.clone(), default_last: otherwise == Otherwise::Default }
    }

    /// The view for `compile`, with the PvDs that the selectors pick now. It may be empty: then nothing is reached.
    #[must_use]
    pub fn view(&self, id: u32, roster: &Roster) -> View {
        let mut groups = roster.pick(&self.groups);
        if self.default_last {
            groups.push(roster.all());
        }
        View { id, groups }
    }
}
