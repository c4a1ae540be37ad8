//! Strict policies that outlive their cgroup, because sockets do.
//!
//! TCP goes on for a while after the last process has closed: it sends what it still has and then FIN, again and again until
//! somebody acknowledges it. Such sockets keep the id of the cgroup that is gone, which no other one gets.

use std::{collections::BTreeMap, time::Duration};

use mif_common::abi;
use mif_core::time::Time;
use serde::{Deserialize, Serialize};

use super::{Policies, Policy};

/// How long: an orphan sends no more than eight times without an answer (`tcp_orphan_retries`, by default), and between two
/// times there are at most 120 s (`TCP_RTO_MAX`). The kernel's 60 s of FIN-WAIT-2 (`tcp_fin_timeout`) are less. Sockets that
/// another process still has may live on; the end has to be somewhere.
pub const ORPHANS: Duration = Duration::from_secs(8 * 120);

/// How many: something that makes and removes strict cgroups faster than so many in [`ORPHANS`] leaves the latest.
pub const MOST: usize = 512;

/// The policy of a cgroup that is gone.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct Removed {
    /// The policy, strict.
    pub policy: Policy,
    /// Until when it counts.
    pub until: Time,
}

/// Those that still count, by cgroup id.
#[derive(Debug, Default)]
pub(super) struct Graveyard {
    by_cgroup: BTreeMap<u64, Removed>,
}

impl Graveyard {
    pub(super) fn iter(&self) -> impl Iterator<Item = &Removed> {
        self.by_cgroup.values()
    }

    pub(super) fn bury(&mut self, removed: Removed) {
        self.by_cgroup.insert(removed.policy.cgroup_id, removed);
        self.keep_latest(MOST);
    }

    /// Lets go of all but so many.
    pub(super) fn keep_latest(&mut self, most: usize) {
        while self.by_cgroup.len() > most {
            self.drop_oldest(|_| true);
        }
    }

    /// Lets go of the one that counts least long, of these; false if there was none.
    pub(super) fn drop_oldest(&mut self, of: impl Fn(&Removed) -> bool) -> bool {
        let these = self.by_cgroup.iter().filter(|(_, removed)| of(removed));
        let oldest = these.min_by_key(|(_, removed)| removed.until).map(|(id, _)| *id);
        oldest.is_some_and(|id| self.by_cgroup.remove(&id).is_some())
    }

    pub(super) fn retain(&mut self, keep: impl Fn(&Removed) -> bool) -> bool {
        let before = self.by_cgroup.len();
        self.by_cgroup.retain(|_, removed| keep(removed));
        self.by_cgroup.len() != before
    }
}

impl Policies {
    /// Those of cgroups that are gone and of which the tables have room.
    pub fn removed(&self) -> impl Iterator<Item = &Removed> {
        self.removed.iter()
    }

    /// Only policies that the tables hold can be of sockets that are left: after a boot the ids are others'.
    pub fn removed_are_among(&mut self, stored: &BTreeMap<u64, abi::Policy>) {
        self.removed.retain(|removed| stored.contains_key(&removed.policy.cgroup_id));
    }

    /// Lets go of policies whose cgroups are gone for long. True if there were some.
    pub fn expire(&mut self, now: Time) -> bool {
        self.removed.retain(|removed| removed.until > now)
    }

    /// When [`Policies::expire`] has something to do.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Time> {
        self.removed.iter().map(|removed| removed.until).min()
    }

    /// The tables have as many places for policies of cgroups that are gone as those in force leave.
    pub(super) fn make_room(&mut self) {
        let most = usize::try_from(self.caps.policies).unwrap_or(usize::MAX);
        self.removed.keep_latest(most.saturating_sub(self.by_cgroup.len()));
    }
}
