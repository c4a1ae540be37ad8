//! What goes out beside the maps: the state file, notices, answers to commands.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::Duration,
};

use mif_core::time::Time;
use tracing::{debug, warn};

use super::{run::Daemon, watch::Names};
use crate::{
    clock,
    control::{Notice, Reply, Request},
    policy,
    state::{FORMAT, Link, State},
};

/// The state file is written at most this often: under a flood of advertisements nobody reads every version.
const STATE_INTERVAL: Duration = Duration::from_millis(200);

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
            Request::Attach { cgroup, groups, mode } => {
                if let Some(outside) = self.outside(&cgroup) {
                    return Reply::Refused(outside);
                }
                let groups = match self.owner.resolve(groups) {
                    Ok(groups) => groups,
                    Err(error) => return Reply::Refused(error.to_string()),
                };
                match self.owner.policies.attach(&cgroup, groups, mode, policy::Origin::Command) {
                    Ok(policy) => self.in_force(Reply::Policy(policy)),
                    Err(error) => Reply::Refused(error.to_string()),
                }
            }
            Request::Detach { cgroup } => match self.owner.policies.detach(&cgroup) {
                Ok(policy) => self.in_force(Reply::Policy(policy)),
                Err(error) => Reply::Refused(error.to_string()),
            },
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

    /// The answer once the maps say what the policies say.
    pub(super) fn in_force(&mut self, reply: Reply) -> Reply {
        let now = clock::now();
        self.owner.policies_changed();
        let committed = self.owner.commit(now);
        self.write_state(now);
        committed.error.map_or(reply, Reply::Refused)
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
            policies: self.owner.policies.iter().cloned().collect(),
            refused,
            problems: self
                .absent_interfaces()
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
        self.owner.policies.iter().find(|policy| policy.cgroup_id == id).map(|policy| policy.cgroup.clone())
    }
}
