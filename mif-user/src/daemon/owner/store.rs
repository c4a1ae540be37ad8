//! Into the maps, in an order in which no reader sees a hole, and back out where something does not fit.

use std::collections::{BTreeMap, BTreeSet};

use mif_common::abi::{self, config_flags};
use mif_core::{
    family::Family,
    pvd::Change,
    select::{
        Update,
        tables::{Op, TableStore as _, Tables},
    },
};
use tracing::{error, warn};

use super::Owner;
use crate::{kernel::maps::MapsError, policy::Policy};

/// The places that were given to another PvD since the maps last held what they should, whatever commits failed meanwhile: no view may
/// have the new one for the old one.
#[derive(Debug, Default)]
pub(super) struct Reused {
    removed: BTreeSet<abi::PvdIndex>,
    reused: BTreeSet<abi::PvdIndex>,
}

impl Reused {
    pub fn note(&mut self, changes: &[Change]) {
        for change in changes {
            match change {
                Change::PvdRemoved { index, .. } => drop(self.removed.insert(*index)),
                Change::PvdAdded { index, .. } if self.removed.contains(index) => {
                    self.reused.insert(*index);
                }
                _ => {}
            }
        }
    }
}

impl Owner {
    /// Puts first, then the policies that need them, then deletions: no cgroup ever looks into a view that is not
    /// complete. Where there is no room for that, deletions go first: what they leave open for a moment, a strict policy refuses.
    ///
    /// # Errors
    /// The maps hold what they held, and of the policies those whose views they hold.
    pub(super) fn store(&mut self, update: &Update) -> Result<(), MapsError> {
        // After a failure on the way the maps themselves say what they hold.
        self.in_step = false;
        let (deletions, puts): (Vec<&Op>, Vec<&Op>) = update.ops.iter().partition(|op| is_deletion(op));
        let reused = &self.reused.reused;
        for op in deletions.iter().filter(|op| matches!(op, Op::DeleteMember(_, pvd) if reused.contains(pvd)))
        {
            self.installation.maps.apply(op)?;
        }
        let mut stored = self.apply_all(&puts, &update.before);
        let room_first = matches!(stored, Err(MapsError::Full { .. })) && !deletions.is_empty();
        if room_first {
            let all: Vec<&Op> = deletions.iter().chain(&puts).copied().collect();
            stored = self.apply_all(&all, &update.before);
        }
        if let Err(error) = stored {
            // A cgroup that has come meanwhile must not go without.
            if let Err(error) = self.store_policies(true) {
                error!("the policies are not all in force: {error}");
            }
            return Err(error);
        }
        self.store_policies(false)?;
        if !room_first {
            deletions.iter().try_for_each(|op| self.installation.maps.apply(op))?;
        }
        self.in_step = true;
        self.reused = Reused::default();
        Ok(())
    }

    /// All of them, or none.
    fn apply_all(&mut self, ops: &[&Op], before: &Tables) -> Result<(), MapsError> {
        for (done, op) in ops.iter().enumerate() {
            if let Err(error) = self.installation.maps.apply(op) {
                self.undo(&ops[..done], before);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Takes back what was done: what was replaced or removed gets its old value, what is new goes.
    fn undo(&mut self, ops: &[&Op], before: &Tables) {
        for op in ops.iter().rev() {
            let inverse = op.inverse(before);
            if let Err(error) = self.installation.maps.apply(&inverse) {
                error!("cannot take back {inverse:?}: {error}");
            }
        }
    }

    /// Removes policies, then adds some: in this order there is room. One that does not fit leaves the others in force.
    /// `of_known_views`: only those whose view the maps have held since the last commit that went well.
    pub(super) fn store_policies(&mut self, of_known_views: bool) -> Result<(), MapsError> {
        let maps = &mut self.installation.maps;
        let known = |policy: &Policy| self.contents.get(&policy.view) == Some(&policy.content());
        let mut waits = BTreeSet::new();
        let wanted: BTreeMap<u64, abi::Policy> = self
            .policies
            .enforced()
            .filter(|policy| {
                let stores = !of_known_views || known(policy);
                if !stores {
                    waits.insert(policy.cgroup_id);
                }
                stores
            })
            .map(|policy| {
                let mode = abi::Mode::from(policy.mode) as u32;
                (policy.cgroup_id, abi::Policy { view: policy.view, mode })
            })
            .collect();
        let mut result = Ok(());
        let unwanted: Vec<u64> = self
            .stored_policies
            .keys()
            .filter(|id| !wanted.contains_key(id) && !waits.contains(id))
            .copied()
            .collect();
        for cgroup in unwanted {
            match maps.remove_policy(cgroup) {
                Ok(_) => drop(self.stored_policies.remove(&cgroup)),
                Err(error) => result = result.and(Err(error)),
            }
        }
        for (cgroup, policy) in wanted {
            if self.stored_policies.get(&cgroup) == Some(&policy) {
                continue;
            }
            match maps.set_policy(cgroup, policy) {
                Ok(()) => drop(self.stored_policies.insert(cgroup, policy)),
                Err(error) => result = result.and(Err(error)),
            }
        }
        result
    }

    /// CONFIG, as the policies and the host's rules ask for it.
    pub(super) fn store_config(&mut self) -> Result<(), MapsError> {
        let mut flags = 0;
        if self.policies.enforced().next().is_some() {
            flags |= config_flags::POLICIES;
        }
        if self.policies.any_strict() {
            flags |= config_flags::STRICT;
        }
        if self.leaves_to_rules(Family::Ipv6) {
            flags |= config_flags::FOREIGN_RULES_IPV6;
        }
        if self.leaves_to_rules(Family::Ipv4) {
            flags |= config_flags::FOREIGN_RULES_IPV4;
        }
        if self.watched {
            flags |= config_flags::WATCHED;
        }
        let maps = &mut self.installation.maps;
        let before = maps.config()?;
        let config = abi::Config {
            constants: before.constants,
            netns_cookie: self.host.netns_cookie,
            mode: abi::Mode::from(self.host.mode) as u32,
            flags,
            pvds: maps.pvd_places(),
            layout: abi::LAYOUT,
        };
        if before != config {
            maps.set_config(config)?;
        }
        if !self.policies.any_strict()
            && let Err(error) = self.installation.set_guard(false)
        {
            // It says nothing then, it only costs.
            warn!("{error}");
        }
        Ok(())
    }
}

const fn is_deletion(op: &Op) -> bool {
    matches!(op, Op::DeleteDecision(..) | Op::DeleteSource(..) | Op::DeletePvd(..) | Op::DeleteMember(..))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A commit that fails is tried again with what happened before it, of which nobody tells a second time.
    #[test]
    fn places_that_are_given_again() {
        let removed = |index| Change::PvdRemoved { index, id: "a".into() };
        let added = |index| Change::PvdAdded { index, id: "b".into() };
        let mut reused = Reused::default();
        reused.note(&[added(1), removed(1), removed(2), added(3)]);
        assert_eq!(reused.reused, BTreeSet::new());
        reused.note(&[added(2)]);
        reused.note(&[]);
        reused.note(&[removed(3), added(3)]);
        assert_eq!(reused.reused, BTreeSet::from([2, 3]));
    }
}
