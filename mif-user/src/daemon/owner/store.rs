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
use crate::kernel::maps::MapsError;

impl Owner {
    /// The places that were given to another PvD since the last commit: no view may have the new one for the old one.
    fn reused(&self) -> BTreeSet<abi::PvdIndex> {
        let mut removed = BTreeSet::new();
        let mut reused = BTreeSet::new();
        for change in &self.changes {
            match change {
                Change::PvdRemoved { index, .. } => drop(removed.insert(*index)),
                Change::PvdAdded { index, .. } if removed.contains(index) => drop(reused.insert(*index)),
                _ => {}
            }
        }
        reused
    }

    /// Puts first, then the policies that need them, then deletions: no cgroup ever looks into a view that is not
    /// complete.
    pub(super) fn store(&mut self, Update { ops, before }: &Update) -> Result<(), MapsError> {
        let is_deletion = |op: &&Op| {
            matches!(
                op,
                Op::DeleteDecision(..) | Op::DeleteSource(..) | Op::DeletePvd(..) | Op::DeleteMember(..)
            )
        };
        // After a failure on the way the maps themselves say what they hold.
        self.in_step = false;
        let reused = self.reused();
        let maps = &mut self.installation.maps;
        for op in ops.iter().filter(|op| matches!(op, Op::DeleteMember(_, pvd) if reused.contains(pvd))) {
            maps.apply(op)?;
        }
        for (done, op) in ops.iter().filter(|op| !is_deletion(op)).enumerate() {
            if let Err(error) = maps.apply(op) {
                let puts: Vec<&Op> = ops.iter().filter(|op| !is_deletion(op)).take(done).collect();
                self.undo(&puts, before);
                return Err(error);
            }
        }
        let policies = self.store_policies();
        policies.and_then(|()| {
            ops.iter().filter(is_deletion).try_for_each(|op| self.installation.maps.apply(op))
        })?;
        self.in_step = true;
        Ok(())
    }

    /// Takes back what was put: replaced entries get their old value, new ones go.
    fn undo(&mut self, puts: &[&Op], before: &Tables) {
        for op in puts.iter().rev() {
            let inverse = op.inverse(before);
            if let Err(error) = self.installation.maps.apply(&inverse) {
                error!("cannot take back {inverse:?}: {error}");
            }
        }
    }

    /// Removes policies, then adds some: in this order there is room. One that does not fit leaves the others in force.
    pub(super) fn store_policies(&mut self) -> Result<(), MapsError> {
        let maps = &mut self.installation.maps;
        let wanted: BTreeMap<u64, abi::Policy> = self
            .policies
            .enforced()
            .map(|policy| {
                let mode = abi::Mode::from(policy.mode) as u32;
                (policy.cgroup_id, abi::Policy { view: policy.view, mode })
            })
            .collect();
        let mut result = Ok(());
        let unwanted: Vec<u64> =
            self.stored_policies.keys().filter(|cgroup| !wanted.contains_key(cgroup)).copied().collect();
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
        let foreign =
            |family| self.host.observe_foreign_rules && self.foreign_rules.iter().any(|r| r.family == family);
        if foreign(Family::Ipv6) {
            flags |= config_flags::FOREIGN_RULES_IPV6;
        }
        if foreign(Family::Ipv4) {
            flags |= config_flags::FOREIGN_RULES_IPV4;
        }
        if self.watched {
            flags |= config_flags::WATCHED;
        }
        let maps = &mut self.installation.maps;
        let config = abi::Config {
            netns_cookie: self.host.netns_cookie,
            mode: abi::Mode::from(self.host.mode) as u32,
            flags,
            pvds: maps.pvd_places(),
            layout: abi::LAYOUT,
        };
        if maps.config()? != config {
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
