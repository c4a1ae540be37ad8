//! What goes out beside the maps: the state file, notices, answers to commands.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::Duration,
};

use mif_core::{pvd::Groups, time::Time};
use tracing::{debug, warn};

use super::{hierarchy::Follow, run::Daemon, watch::Names};
use crate::{
    clock,
    control::{Notice, Reply, Request},
    memory,
    mode::{Mode, Otherwise},
    policy::Terms,
    state::{FORMAT, Link, State},
};

/// The state file is written at most this often: under a flood of advertisements nobody reads every version.
const STATE_INTERVAL: Duration = Duration::from_millis(200);

/// Counted when the tables do not hold what follows from a command's policy.
const TABLES_FULL: &str = "tables-full";

impl Daemon<'_> {
    /// Tells the log and the watchers what changed.
    pub(super) fn tell(&mut self, cause: Time, operations: usize) {
        let changes = self.owner.take_changes();
        if operations == 0 && changes.is_empty() {
            return;
        }
        for change in changes {
            debug!("{change}");
            // Nobody may be watching.
            let _ = self.notices.send(Notice::Pvd(change));
        }
        let now = clock::now();
        if operations > 0 {
            let took = cause.until(now);
            let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
            debug!("{operations} table entries changed within {} µs", took / 1000);
            let _ = self.notices.send(Notice::Tables { at: now.0, operations, took });
        }
        self.state_is_stale(now);
    }

    pub(super) fn state_is_stale(&mut self, now: Time) {
        if self.state_due.is_none() {
            self.state_due = Some(self.state_written.after(STATE_INTERVAL).max(now));
        }
    }

    pub(super) fn request(&mut self, request: Request) -> Reply {
        match request {
            Request::Watch => Reply::Watching,
            Request::Attach { cgroup, groups, otherwise, mode } => {
                self.attach(&cgroup, groups, otherwise, mode).unwrap_or_else(Reply::Refused)
            }
            Request::Detach { cgroup } => match self.owner.policies.detach(&cgroup) {
                Ok(policy) => {
                    self.no_room = None;
                    self.follow(&policy.cgroup, None);
                    self.in_force().map_or(Reply::Policy(policy), Reply::Refused)
                }
                Err(error) => Reply::Refused(error.to_string()),
            },
        }
    }

    /// Gives a cgroup a policy; what the tables do not hold is not kept either, so that it is in nobody's way.
    fn attach(
        &mut self,
        cgroup: &Path,
        groups: Groups,
        otherwise: Option<Otherwise>,
        mode: Option<Mode>,
    ) -> Result<Reply, String> {
        if let Some(outside) = self.outside(cgroup) {
            return Err(outside);
        }
        let mode =
            mode.or_else(|| self.owner.policies.mode_of(cgroup, &self.cgroup_root)).unwrap_or_default();
        let groups = self.owner.resolve(groups).map_err(|error| error.to_string())?;
        let otherwise = Otherwise::of(mode, otherwise).map_err(|error| format!("otherwise: {error}"))?;
        let terms = Terms { groups, otherwise, mode };
        if let Some(selector) = terms.repeated() {
            return Err(format!("`{selector}` stands here twice, expected it once"));
        }
        let attached = match self.owner.policies.attach(cgroup, terms) {
            Ok(attached) => attached,
            Err(error) => {
                if let Some(reason) = error.wants_room() {
                    self.no_room(reason, cgroup, &error.to_string());
                }
                return Err(error.to_string());
            }
        };
        let policy = attached.policy.clone();
        self.no_room = None;
        if let Some(error) = self.in_force() {
            if let Err(error) = self.owner.policies.take_back(attached) {
                warn!("{error}");
            }
            self.in_force();
            self.no_room(TABLES_FULL, cgroup, &error);
            return Err(error);
        }
        self.follow(&policy.cgroup, Some(policy.cgroup_id));
        Ok(Reply::Policy(policy))
    }

    /// A command's policy was refused for want of room: that is counted and shown, until a command makes room or finds some.
    fn no_room(&mut self, reason: &str, cgroup: &Path, error: &str) {
        *self.refused.entry(reason.to_owned()).or_default() += 1;
        self.no_room =
            Some(format!("the last policy given by command, of {}, was refused: {error}", cgroup.display()));
        self.write_state(clock::now());
    }

    /// Tells the task that watches cgroups whose end is of interest.
    fn follow(&self, cgroup: &Path, id: Option<u64>) {
        if let Some(follow) = &self.follow {
            // The loop ends when that task does.
            let _ = follow.send(Follow { path: cgroup.into(), id });
        }
    }

    /// What is wrong with a cgroup that the hooks never see: they are attached to one cgroup and run for what is below it.
    fn outside(&self, cgroup: &Path) -> Option<String> {
        let attached = &self.attached_cgroup;
        let inside = cgroup.canonicalize().is_ok_and(|cgroup| cgroup.starts_with(attached));
        // What does not exist is told by who looks at it.
        (cgroup.exists() && !inside).then(|| {
            let (cgroup, attached) = (cgroup.display(), attached.display());
            format!("{cgroup} is not in {attached}, which the daemon is attached to: a policy there would do nothing; name a cgroup below it")
        })
    }

    /// Makes the maps say what the policies say; an error where they do not.
    fn in_force(&mut self) -> Option<String> {
        let now = clock::now();
        self.owner.policies_changed();
        let committed = self.owner.commit(now);
        self.write_state(now);
        committed.error
    }

    pub(super) fn write_state(&mut self, now: Time) {
        self.state_due = None;
        self.state_written = now;
        let attached: &BTreeSet<u32> = self.owner.attached();
        let link = |link: &mif_core::pvd::event::Link| Link {
            ifindex: link.ifindex,
            name: link.name.clone(),
            up: link.up,
            egress: attached.contains(&link.ifindex),
        };
        let mut refused = self.refused.clone();
        refused
            .extend(self.owner.set.refused().iter().map(|(reason, count)| (reason.name().to_owned(), count)));
        for (reason, count) in self.owner.policies.refused() {
            *refused.entry(reason.to_owned()).or_default() += count;
        }
        let state = State {
            format: FORMAT,
            pid: std::process::id(),
            started: self.started,
            written: now,
            mode: self.options.mode,
            foreign_rules: self.owner.current_foreign_rules().iter().map(ToString::to_string).collect(),
            foreign_rules_observed: self.options.observe_foreign_rules,
            links: self.links.values().map(link).collect(),
            pvds: self.owner.snapshot(now),
            dhcpv6: self.clients.state(),
            policies: self.owner.policies.iter().cloned().collect(),
            waiting: self.owner.policies.waiting(),
            removed: self.owner.policies.removed().cloned().collect(),
            refused,
            problems: self
                .absent_interfaces()
                .chain(self.policy_problems())
                .chain(self.warnings.iter().chain(self.owner.problems()).cloned())
                .collect(),
        };
        let routers =
            state.pvds.iter().flat_map(|pvd| pvd.routers.iter().map(|router| (pvd.ifindex, router.address)));
        self.journal.keep(&routers.collect());
        let written = state.write(&self.options.state_dir).and_then(|()| self.journal.write());
        if let Err(error) = written {
            warn!("cannot write the state to {}: {error}", self.options.state_dir.display());
        }
        drop(state);
        self.owner.pack();
        memory::give_back();
    }
}

impl Names for Daemon<'_> {
    fn pvd(&self, index: u32) -> Option<String> {
        self.owner.set.id_of(index)
    }

    fn interface(&self, ifindex: u32) -> Option<String> {
        self.filter.name(ifindex).map(str::to_owned)
    }

    fn cgroup(&self, id: u64) -> Option<PathBuf> {
        self.owner
            .policies
            .enforced()
            .find(|policy| policy.cgroup_id == id)
            .map(|policy| policy.cgroup.clone())
    }
}
