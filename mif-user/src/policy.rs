//! Policies: which cgroup may use which PvDs, and how firmly.
//!
//! A policy names PvDs by selectors, because PvDs and their indices come and go. Policies that say the same share a view.
//! A policy that a command gave a cgroup stays until it is taken away or the cgroup is gone; it is kept in the state
//! directory. The configured ones are for every cgroup that fits them, whenever it appears; their views are there from the
//! start, so that a cgroup which appears needs one entry in one map.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Component, Path, PathBuf},
};

use mif_common::{abi, limits};
use mif_core::time::Time;
use tracing::warn;

use crate::{
    files,
    kernel::attach,
    mode::{Mode, OtherwiseError},
    state::State,
};

mod removed;
mod room;
mod terms;

use removed::{Graveyard, ORPHANS};

pub use removed::Removed;
pub use terms::{Configured, Content, Origin, Policy, Terms, Waiting, Why};

/// Caps on policies.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Caps {
    /// Cgroups with a policy: what the map POLICY holds.
    pub policies: u32,
    /// Views, the default one included.
    pub views: u32,
}

impl Default for Caps {
    fn default() -> Self {
        Self { policies: limits::POLICIES, views: limits::VIEWS }
    }
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
    /// The hooks would not find it.
    #[error(
        "{0} is {1} levels below the root of cgroup2, and the hooks look at {most}; attach the policy to a cgroup above it",
        most = limits::CGROUP_LEVELS - 1
    )]
    TooDeep(PathBuf, usize),
    /// Nothing to choose from.
    #[error("a policy names at least one PvD in each group; `mif pvd` lists them")]
    Empty,
    /// The mode does not do that.
    #[error("otherwise: {0}")]
    Otherwise(#[from] OtherwiseError),
    /// The cap on policies.
    #[error(
        "{0} cgroups with a policy is the most that the tables hold; detach some first, or raise limits.policies"
    )]
    TooManyPolicies(u32),
    /// The cap on views.
    #[error(
        "{0} different sets of PvDs is the most that the tables hold; let policies name the same ones, or detach some first"
    )]
    TooManyViews(u32),
    /// The cgroup has none.
    #[error("{0} has no policy; `mif policy list` shows those that have")]
    None(PathBuf),
    /// The cgroup's policy is not a command's to take.
    #[error(
        "{0} has its policy from the configuration; change it there, or attach another one, which then counts"
    )]
    Configured(PathBuf),
    /// The file of policies cannot be written.
    #[error("cannot keep the policies in {0}: {1}")]
    Keep(PathBuf, io::Error),
}

/// Counted when a policy finds POLICY full.
const POLICY_WITHOUT_ROOM: &str = "policy-without-room";
/// Counted when a policy finds no number for its view.
const VIEW_WITHOUT_ROOM: &str = "view-without-room";

impl PolicyError {
    /// The reason to count it by, where more room would help.
    #[must_use]
    pub const fn wants_room(&self) -> Option<&'static str> {
        match self {
            Self::TooManyPolicies(_) => Some(POLICY_WITHOUT_ROOM),
            Self::TooManyViews(_) => Some(VIEW_WITHOUT_ROOM),
            _ => None,
        }
    }
}

/// A configured policy with its view; `None` where there was none left.
#[derive(Debug)]
struct Rule {
    configured: Configured,
    view: Option<u32>,
}

/// A cgroup that fits a configured policy.
#[derive(Debug)]
struct Present {
    /// Its directory.
    path: PathBuf,
    /// Its path below the root of cgroup2.
    below_root: PathBuf,
    /// The place of the policy in the file.
    rule: usize,
}

impl Present {
    /// Whether the hooks do not look so deep.
    fn is_too_deep(&self) -> bool {
        levels(&self.below_root) >= limits::CGROUP_LEVELS as usize
    }
}

/// How many levels below the root of cgroup2.
fn levels(below_root: &Path) -> usize {
    below_root.components().filter(|part| matches!(part, Component::Normal(_))).count()
}

/// All policies.
#[derive(Debug, Default)]
pub struct Policies {
    file: PathBuf,
    caps: Caps,
    rules: Vec<Rule>,
    /// The cgroups that exist and fit a configured policy, by id.
    present: BTreeMap<u64, Present>,
    /// In force, of either origin.
    by_cgroup: BTreeMap<u64, Policy>,
    /// Strict ones of cgroups that are gone.
    removed: Graveyard,
    /// The views that the tables hold from the daemon before: what says the same gets the same number, so that no cgroup
    /// looks into another's view while the tables change.
    before: BTreeMap<u32, Content>,
    /// How often a cgroup that fits a configured policy found no room, or lost it to a strict one.
    refused: u64,
}

impl Policies {
    /// The policies kept in a state directory; those of cgroups that went while no daemon ran count as gone at `now`. A file
    /// that cannot be read is kept aside, and said in the second value; the state file has the policies too, so that a cgroup
    /// that was confined stays so.
    #[must_use]
    pub fn load(state_dir: &Path, caps: Caps, now: Time) -> (Self, Option<String>) {
        let file = state_dir.join("policies.json");
        let (mut kept, mut warning) = files::read_json_or_set_aside::<Vec<Policy>>(&file);
        let state = State::read(state_dir).ok().flatten();
        if let Some(warning) = &mut warning {
            match &state {
                Some(state) => {
                    warning.push_str("; the policies of the state file are in force");
                    kept = Some(state.policies.clone());
                }
                None => warning.push_str("; `mif policy attach` those that are missing"),
            }
        }
        let damaged = warning.is_some();
        let mut by_cgroup = BTreeMap::new();
        let kept = kept.unwrap_or_default();
        let mut before: BTreeMap<u32, Content> =
            kept.iter().map(|policy| (policy.view, policy.content())).collect();
        for state in state.iter() {
            before.extend(state.policies.iter().map(|policy| (policy.view, policy.content())));
            let removed = state.removed.iter().map(|removed| &removed.policy);
            before.extend(removed.map(|policy| (policy.view, policy.content())));
            let waiting = state.waiting.iter().filter(|waiting| waiting.why != Why::NoView);
            before.extend(waiting.map(|waiting| (waiting.view, waiting.content())));
        }
        for policy in kept {
            // A cgroup that is gone, or whose path belongs to another one now, has taken its policy with it.
            if policy.is_of_a_cgroup() && policy.origin == Origin::Command {
                by_cgroup.insert(policy.cgroup_id, policy);
            }
        }
        let mut removed = Graveyard::default();
        for state in state.into_iter() {
            let before = state.removed.into_iter().filter(|removed| removed.until > now);
            let gone = state.policies.into_iter().filter(|policy| policy.mode == Mode::Strict);
            let gone = gone.filter(|policy| !policy.is_of_a_cgroup());
            let gone = gone.map(|policy| Removed { policy, until: now.after(ORPHANS) });
            before.chain(gone).for_each(|each| removed.bury(each));
        }
        let most = usize::try_from(caps.policies).unwrap_or(usize::MAX);
        let surplus = by_cgroup.len().saturating_sub(most);
        if surplus > 0 {
            for _ in 0..surplus {
                by_cgroup.pop_last();
            }
            let why = format!(
                "{surplus} policies given by command are not in force: the tables hold {most}; raise limits.policies"
            );
            warning = Some(warning.map_or(why.clone(), |warning| format!("{warning}; {why}")));
        }
        let policies = Self { file, caps, by_cgroup, removed, before, ..Self::default() };
        if damaged && let Err(error) = policies.keep() {
            warn!("{error}");
        }
        (policies, warning)
    }

    /// Takes in the configured policies, in the order of the file. What is returned says which of them have no effect, and
    /// why.
    pub fn configure(&mut self, configured: Vec<Configured>) -> Vec<String> {
        let mut refused = Vec::new();
        for configured in configured {
            let view = self.view_of(&configured.terms.content());
            if view.is_none() {
                let error = PolicyError::TooManyViews(self.caps.views);
                refused
                    .push(format!("the configured policy of {} is not in force: {error}", configured.cgroup));
            }
            self.rules.push(Rule { configured, view });
        }
        refused
    }

    /// The policies in force, in the order of their cgroups' ids.
    pub fn iter(&self) -> impl Iterator<Item = &Policy> {
        self.by_cgroup.values()
    }

    /// What the hooks go by: the policies in force, and strict ones of cgroups that are gone.
    pub fn enforced(&self) -> impl Iterator<Item = &Policy> {
        self.removed.iter().map(|removed| &removed.policy).chain(self.iter())
    }

    /// Whether any that the hooks go by is strict.
    #[must_use]
    pub fn any_strict(&self) -> bool {
        self.enforced().any(|policy| policy.mode == Mode::Strict)
    }

    /// What of the configuration is not in force, and why: policies that no cgroup has now, in the order of the file, then
    /// cgroups that found no room.
    #[must_use]
    pub fn waiting(&self) -> Vec<Waiting> {
        let used: BTreeSet<usize> = self.present.values().map(|present| present.rule).collect();
        let fits_any = |rule: &Rule| {
            self.present.values().any(|present| rule.configured.cgroup.matches(&present.below_root))
        };
        let waits = |rule: &Rule, cgroup: String, why| {
            let Terms { groups, otherwise, mode } = rule.configured.terms.clone();
            let view = rule.view.unwrap_or(abi::DEFAULT_VIEW);
            Waiting { cgroup, why, groups, otherwise, mode, view }
        };
        let rules = self.rules.iter().enumerate().filter_map(|(place, rule)| {
            let why = match rule.view {
                None => Why::NoView,
                Some(_) if used.contains(&place) => return None,
                Some(_) if fits_any(rule) => Why::EarlierPolicy,
                Some(_) => Why::NoCgroup,
            };
            Some(waits(rule, rule.configured.cgroup.to_string(), why))
        });
        let cgroups = self.without_policy().filter_map(|(id, path)| {
            let rule = self.rules.get(self.present.get(&id)?.rule)?;
            Some(waits(rule, path.display().to_string(), Why::NoRoom))
        });
        let too_deep = self.too_deep().filter_map(|present| {
            let rule = self.rules.get(present.rule)?;
            Some(waits(rule, present.path.display().to_string(), Why::TooDeep))
        });
        rules.chain(cgroups).chain(too_deep).collect()
    }

    /// The mode of the policy that a cgroup has, or would have by the configuration; `root` is where cgroup2 is mounted.
    #[must_use]
    pub fn mode_of(&self, cgroup: &Path, root: &Path) -> Option<Mode> {
        let (path, id) = identify(cgroup).ok()?;
        if let Some(policy) = self.by_cgroup.get(&id) {
            return Some(policy.mode);
        }
        // One that has just appeared may not have been told of.
        let rule = self.rule_of(path.strip_prefix(root).ok()?)?;
        Some(self.rules.get(rule)?.configured.terms.mode)
    }

    /// The first configured policy that fits a path below the root of cgroup2.
    fn rule_of(&self, below_root: &Path) -> Option<usize> {
        self.rules.iter().position(|rule| rule.configured.cgroup.matches(below_root))
    }

    /// A cgroup is there: `path` is its directory and `below_root` its path below the root of cgroup2. True if it has a
    /// policy now that it had not.
    pub fn appeared(&mut self, path: &Path, below_root: &Path, id: u64) -> bool {
        let Some(rule) = self.rule_of(below_root) else { return false };
        // For people and for JSON, which has no other text.
        let path = PathBuf::from(path.to_string_lossy().into_owned());
        let present = Present { path, below_root: below_root.to_owned(), rule };
        if self.present.insert(id, present).is_some() {
            return false;
        }
        self.admit(id)
    }

    /// A cgroup is gone, and its policy with it; a strict one goes on for what its sockets still send. True if it had one, or
    /// another cgroup has one now that had found no room.
    pub fn gone(&mut self, id: u64, now: Time) -> bool {
        self.present.remove(&id);
        let Some(policy) = self.by_cgroup.remove(&id) else { return false };
        if policy.origin == Origin::Command
            && let Err(error) = self.keep()
        {
            // The next start looks whether the cgroup is there.
            warn!("{error}");
        }
        self.fill();
        if policy.mode == Mode::Strict {
            self.removed.bury(Removed { policy, until: now.after(ORPHANS) });
            self.make_room();
        }
        true
    }

    /// Gives a cgroup a policy by command, in place of the one it has.
    ///
    /// # Errors
    /// When the path is not a cgroup, a group is empty, the tables hold no more, or the policies cannot be kept.
    pub fn attach(&mut self, cgroup: &Path, terms: Terms) -> Result<Attached, PolicyError> {
        if terms.groups.is_empty() || terms.groups.iter().any(Vec::is_empty) {
            return Err(PolicyError::Empty);
        }
        let (cgroup, cgroup_id) = identify(cgroup)?;
        if !self.by_cgroup.contains_key(&cgroup_id) && self.is_full() {
            // Where nothing tells that a cgroup is gone.
            self.by_cgroup.retain(|_, policy| policy.is_of_a_cgroup());
        }
        if !self.by_cgroup.contains_key(&cgroup_id) && self.is_full() {
            return Err(PolicyError::TooManyPolicies(self.caps.policies));
        }
        let content = terms.content();
        let view = self.view_of(&content).ok_or(PolicyError::TooManyViews(self.caps.views))?;
        let policy = terms.policy(cgroup, cgroup_id, view, Origin::Command);
        let before = self.by_cgroup.insert(cgroup_id, policy.clone());
        self.make_room();
        if let Err(error) = self.keep() {
            self.restore(cgroup_id, before);
            return Err(error);
        }
        Ok(Attached { policy, before })
    }

    /// Takes back an attachment that the tables do not hold.
    ///
    /// # Errors
    /// When the policies cannot be kept.
    pub fn take_back(&mut self, attached: Attached) -> Result<(), PolicyError> {
        self.restore(attached.policy.cgroup_id, attached.before);
        self.keep()
    }

    /// Takes the policy that a command gave from a cgroup, also from one that is gone. A configured one that fits counts
    /// again.
    ///
    /// # Errors
    /// When it has none, or the configuration's, or the policies cannot be kept.
    pub fn detach(&mut self, cgroup: &Path) -> Result<Policy, PolicyError> {
        let id = match identify(cgroup) {
            Ok((_, id)) => Some(id),
            Err(_) => self.iter().find(|policy| policy.cgroup == cgroup).map(|policy| policy.cgroup_id),
        };
        let policy =
            id.and_then(|id| self.by_cgroup.get(&id)).ok_or_else(|| PolicyError::None(cgroup.into()))?;
        if policy.origin == Origin::Config {
            return Err(PolicyError::Configured(policy.cgroup.clone()));
        }
        let policy = policy.clone();
        self.by_cgroup.remove(&policy.cgroup_id);
        if let Err(error) = self.keep() {
            self.restore(policy.cgroup_id, Some(policy));
            return Err(error);
        }
        self.released(policy.cgroup_id);
        Ok(policy)
    }

    fn keep(&self) -> Result<(), PolicyError> {
        let policies: Vec<&Policy> = self.iter().filter(|policy| policy.origin == Origin::Command).collect();
        files::write_json(&self.file, &policies).map_err(|error| PolicyError::Keep(self.file.clone(), error))
    }

    fn restore(&mut self, cgroup_id: u64, before: Option<Policy>) {
        match before {
            Some(policy) => self.by_cgroup.insert(cgroup_id, policy),
            None => self.by_cgroup.remove(&cgroup_id),
        };
    }
}

/// A policy that a command gave a cgroup, and the one that the cgroup had before.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Attached {
    /// The new one.
    pub policy: Policy,
    before: Option<Policy>,
}

/// A cgroup's absolute path and id.
fn identify(cgroup: &Path) -> Result<(PathBuf, u64), PolicyError> {
    crate::kernel::mounts::check_cgroup(cgroup)?;
    let path_error = |error| PolicyError::Path(cgroup.into(), error);
    let absolute = cgroup.canonicalize().map_err(path_error)?;
    let id = attach::cgroup_id(&absolute).map_err(path_error)?;
    if let Ok(root) = crate::kernel::mounts::cgroup2()
        && let Ok(below) = absolute.strip_prefix(&root)
        && levels(below) >= limits::CGROUP_LEVELS as usize
    {
        let levels = levels(below);
        return Err(PolicyError::TooDeep(absolute, levels));
    }
    Ok((absolute, id))
}

#[cfg(test)]
mod tests;
