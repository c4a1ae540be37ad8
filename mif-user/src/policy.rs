//! Policies: which cgroup may use which PvDs, and how firmly.
//!
//! A policy names PvDs by their ids, because indices come and go with the PvDs. Policies that name the same groups
//! share a view. They are kept in the state directory, so that a restarted daemon gives every view its number back.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use mif_common::{abi, limits};
use mif_core::select::world::View;
use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::{files, kernel::attach, mode::Mode, state::State};

/// Groups of PvD ids, in order of preference.
pub type Groups = Vec<Vec<String>>;

/// A policy of a cgroup.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct Policy {
    /// The cgroup's directory.
    pub cgroup: PathBuf,
    /// Its id.
    pub cgroup_id: u64,
    /// The PvDs it may use, by id.
    pub groups: Groups,
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
    /// The configuration file; the daemon replaces these at each start.
    Config,
    /// `mif policy attach` or `mif exec`.
    Command,
}

/// Why a policy is refused.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// The path is not a cgroup.
    #[error(transparent)]
    Cgroup(#[from] crate::kernel::mounts::MountError),
    /// The path cannot be looked at.
    #[error("cannot look at {0}: {1}")]
    Path(PathBuf, io::Error),
    /// Nothing to choose from.
    #[error("a policy names at least one PvD; `mif pvd` lists them")]
    Empty,
    /// One of the caps of `mif_common::limits`.
    #[error(
        "{0} policies with {1} different sets of PvDs is the most that the tables hold; detach some first"
    )]
    TooMany(u32, u32),
    /// The cgroup has none.
    #[error("{0} has no policy; `mif policy list` shows those that have")]
    None(PathBuf),
    /// The file of policies cannot be written.
    #[error("cannot keep the policies in {0}: {1}")]
    Keep(PathBuf, io::Error),
}

/// All policies.
#[derive(Debug, Default)]
pub struct Policies {
    file: PathBuf,
    by_cgroup: BTreeMap<u64, Policy>,
}

impl Policies {
    /// The policies kept in a state directory. A file that cannot be read is kept aside, and said in the second value; the
    /// state file has the policies too, so that a cgroup that was confined stays so.
    #[must_use]
    pub fn load(state_dir: &Path) -> (Self, Option<String>) {
        let file = state_dir.join("policies.json");
        let (mut kept, mut warning) = files::read_json_or_set_aside::<Vec<Policy>>(&file);
        if let Some(warning) = &mut warning {
            match State::read(state_dir) {
                Ok(Some(state)) => {
                    warning.push_str("; the policies of the state file are in force");
                    kept = Some(state.policies);
                }
                _ => warning.push_str("; `mif policy attach` those that are missing"),
            }
        }
        let damaged = warning.is_some();
        let mut by_cgroup = BTreeMap::new();
        for policy in kept.unwrap_or_default() {
            // A cgroup that is gone, or whose path belongs to another one now, has taken its policy with it.
            if attach::cgroup_id(&policy.cgroup).is_ok_and(|id| id == policy.cgroup_id)
                && policy.origin == Origin::Command
            {
                by_cgroup.insert(policy.cgroup_id, policy);
            }
        }
        let policies = Self { file, by_cgroup };
        if damaged && let Err(error) = policies.keep() {
            warn!("{error}");
        }
        (policies, warning)
    }

    /// The policies in the order of their cgroups' ids.
    pub fn iter(&self) -> impl Iterator<Item = &Policy> {
        self.by_cgroup.values()
    }

    /// Whether any policy is strict.
    #[must_use]
    pub fn any_strict(&self) -> bool {
        self.iter().any(|policy| policy.mode == Mode::Strict)
    }

    /// Gives a cgroup a policy, in place of the one it has.
    ///
    /// # Errors
    /// When the path is not a cgroup, no PvD is named, the tables hold no more, or the policies cannot be kept.
    pub fn attach(
        &mut self,
        cgroup: &Path,
        groups: Groups,
        mode: Mode,
        origin: Origin,
    ) -> Result<Policy, PolicyError> {
        if groups.iter().all(Vec::is_empty) {
            return Err(PolicyError::Empty);
        }
        let (cgroup, cgroup_id) = identify(cgroup)?;
        // Cgroups that are gone have taken their policies with them.
        self.by_cgroup.retain(|id, policy| attach::cgroup_id(&policy.cgroup).is_ok_and(|now| now == *id));
        let too_many = || PolicyError::TooMany(limits::POLICIES, limits::VIEWS);
        if !self.by_cgroup.contains_key(&cgroup_id)
            && self.by_cgroup.len() as u64 >= u64::from(limits::POLICIES)
        {
            return Err(too_many());
        }
        let view = self.view_of(&groups, origin).ok_or_else(too_many)?;
        let policy = Policy { cgroup, cgroup_id, groups, mode, view, origin };
        let before = self.by_cgroup.insert(cgroup_id, policy.clone());
        if let Err(error) = self.keep() {
            self.restore(cgroup_id, before);
            return Err(error);
        }
        Ok(policy)
    }

    /// Takes the policy from a cgroup, also from one that is gone.
    ///
    /// # Errors
    /// When it has none, or the policies cannot be kept.
    pub fn detach(&mut self, cgroup: &Path) -> Result<Policy, PolicyError> {
        let id = match identify(cgroup) {
            Ok((_, id)) => Some(id),
            Err(_) => self.iter().find(|policy| policy.cgroup == cgroup).map(|policy| policy.cgroup_id),
        };
        let policy =
            id.and_then(|id| self.by_cgroup.remove(&id)).ok_or_else(|| PolicyError::None(cgroup.into()))?;
        if let Err(error) = self.keep() {
            self.restore(policy.cgroup_id, Some(policy));
            return Err(error);
        }
        Ok(policy)
    }

    /// The views for `compile`, with the ids resolved by `find`, which is told where the policy came from; an id that
    /// names no PvD now is left out, and a view may be empty: then nothing is allowed.
    #[must_use]
    pub fn views(&self, find: impl Fn(Origin, &str) -> Option<abi::PvdIndex>) -> Vec<View> {
        let views: BTreeMap<u32, &Policy> = self.iter().map(|policy| (policy.view, policy)).collect();
        let group = |origin, ids: &Vec<String>| ids.iter().filter_map(|id| find(origin, id)).collect();
        views
            .into_iter()
            .map(|(id, policy)| View {
                id,
                groups: policy.groups.iter().map(|ids| group(policy.origin, ids)).collect(),
            })
            .collect()
    }

    /// The view of these groups: that of a policy that has the same from the same origin, else the lowest free number.
    fn view_of(&self, groups: &Groups, origin: Origin) -> Option<u32> {
        let views: BTreeMap<u32, &Policy> = self.iter().map(|policy| (policy.view, policy)).collect();
        let is_same = |policy: &Policy| policy.groups == *groups && policy.origin == origin;
        let same = views.iter().find(|(_, policy)| is_same(policy)).map(|(view, _)| *view);
        same.or_else(|| (abi::DEFAULT_VIEW + 1..limits::VIEWS).find(|view| !views.contains_key(view)))
    }

    fn keep(&self) -> Result<(), PolicyError> {
        let policies: Vec<&Policy> = self.iter().collect();
        files::write_json(&self.file, &policies).map_err(|error| PolicyError::Keep(self.file.clone(), error))
    }

    fn restore(&mut self, cgroup_id: u64, before: Option<Policy>) {
        match before {
            Some(policy) => self.by_cgroup.insert(cgroup_id, policy),
            None => self.by_cgroup.remove(&cgroup_id),
        };
    }
}

/// A cgroup's absolute path and id.
fn identify(cgroup: &Path) -> Result<(PathBuf, u64), PolicyError> {
    crate::kernel::mounts::check_cgroup(cgroup)?;
    let path_error = |error| PolicyError::Path(cgroup.into(), error);
    let absolute = cgroup.canonicalize().map_err(path_error)?;
    let id = attach::cgroup_id(&absolute).map_err(path_error)?;
    Ok((absolute, id))
}
