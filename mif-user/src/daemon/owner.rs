//! The one owner of the PvDs, and the one place that writes the maps.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv6Addr,
};

use mif_common::abi::{self, config_flags};
use mif_core::{
    family::Family,
    pvd::{Change, FindError, Preferences, PvdSet, PvdSnapshot, event::Event},
    select::{
        compile::compile,
        diff::diff,
        tables::{Op, TableStore as _, Tables},
        world::{self, World},
    },
    time::Time,
};
use tracing::{error, info, warn};

use crate::{
    kernel::{maps::MapsError, pins::Installation},
    mode::Mode,
    net::netlink::RuleInfo,
    policy::{self, Groups, Policies},
};

/// What the administrator decided for the whole host.
#[derive(Clone, Debug)]
pub struct HostPolicy {
    /// The mode of processes without a policy.
    pub mode: Mode,
    /// Only observe them while foreign policy rules exist.
    pub observe_foreign_rules: bool,
    /// `bpf_get_netns_cookie` of the namespace served.
    pub netns_cookie: u64,
}

/// What a commit did.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Committed {
    /// Entries added, replaced or removed.
    pub operations: usize,
    /// Routers that the tables name now and did not before, each with its interface.
    pub new_next_hops: BTreeSet<(u32, Ipv6Addr)>,
    /// Why the maps do not hold what they should.
    pub error: Option<String>,
}

/// The owner.
pub struct Owner {
    /// The PvDs.
    pub set: PvdSet,
    /// The policies.
    pub policies: Policies,
    host: HostPolicy,
    preferences: Preferences,
    installation: Installation,
    /// What the maps hold.
    stored: Tables,
    foreign_rules: Vec<RuleInfo>,
    /// What the last commit could not do.
    problems: Vec<String>,
    with_default_router: BTreeSet<u32>,
    /// Interfaces that tc egress cannot be attached to, and why.
    unattached: BTreeMap<u32, String>,
    /// Whose counters are in each place.
    counted: BTreeMap<abi::PvdIndex, String>,
    changes: Vec<Change>,
    changed: bool,
}

impl Owner {
    /// Takes over an installation with what its maps hold; `counted` says whose counters are in which place.
    ///
    /// # Errors
    /// When the maps cannot be read.
    pub fn new(
        set: PvdSet,
        policies: Policies,
        host: HostPolicy,
        preferences: Preferences,
        installation: Installation,
        counted: BTreeMap<abi::PvdIndex, String>,
    ) -> Result<Self, MapsError> {
        let stored = installation.maps.load()?;
        Ok(Self {
            set,
            policies,
            host,
            preferences,
            installation,
            stored,
            foreign_rules: Vec::new(),
            problems: Vec::new(),
            with_default_router: BTreeSet::new(),
            unattached: BTreeMap::new(),
            counted,
            changes: Vec::new(),
            changed: true,
        })
    }

    /// Takes in what happened; nothing reaches the maps before [`Owner::commit`].
    pub fn event(&mut self, event: Event, now: Time) {
        if let Event::LinkGone { ifindex } = &event
            && let Err(error) = self.installation.detach_interface(*ifindex)
        {
            warn!("{error}");
        }
        let changes = self.set.apply(event, now);
        self.take(changes);
    }

    /// Lets go what has outlived its lifetime.
    pub fn expire(&mut self, now: Time) {
        let changes = self.set.expire(now);
        self.take(changes);
    }

    fn take(&mut self, changes: Vec<Change>) {
        self.changed |= changes.iter().any(Change::concerns_selection);
        self.changes.extend(changes);
    }

    /// The foreign policy rules are these now.
    pub fn foreign_rules(&mut self, rules: Vec<RuleInfo>) {
        if rules != self.foreign_rules {
            for rule in &rules {
                info!("foreign policy rule: {rule}");
            }
            self.foreign_rules = rules;
            self.changed = true;
        }
    }

    /// A policy was attached or detached.
    pub fn policies_changed(&mut self) {
        self.changed = true;
    }

    /// Everything known of the PvDs.
    #[must_use]
    pub fn snapshot(&self, now: Time) -> Vec<PvdSnapshot> {
        self.set.snapshot(now, &self.preferences)
    }

    /// Whether routers share a link and one of them, known from the kernel's routes only, has not said yet what is its
    /// own: who carries an address there is a guess so far.
    #[must_use]
    pub fn guesses_routers(&self, now: Time) -> bool {
        let snapshot = self.snapshot(now);
        snapshot.iter().filter(|pvd| pvd.provisional).any(|silent| {
            let shares = |pvd: &&PvdSnapshot| pvd.ifindex == silent.ifindex && pvd.key.is_network();
            snapshot.iter().filter(shares).count() > 1
        })
    }

    /// What changed since the last call, for watchers and the log.
    pub fn take_changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    /// What is wrong now.
    #[must_use]
    pub fn problems(&self) -> &[String] {
        &self.problems
    }

    /// The foreign policy rules.
    #[must_use]
    pub fn current_foreign_rules(&self) -> &[RuleInfo] {
        &self.foreign_rules
    }

    /// The interfaces that tc egress is attached to.
    #[must_use]
    pub fn attached(&self) -> &BTreeSet<u32> {
        self.installation.attached()
    }

    /// The interfaces on which a network offered a default route, as of the last commit.
    #[must_use]
    pub fn interfaces_with_default_router(&self) -> BTreeSet<u32> {
        self.with_default_router.clone()
    }

    /// The ids of the PvDs that a command named by id, index or beginning of the id.
    ///
    /// # Errors
    /// When a name fits none, or several.
    pub fn resolve(&self, groups: Groups) -> Result<Groups, FindError> {
        let id = |name: String| {
            let index = self.set.find(&name)?;
            Ok(self.set.id_of(index).unwrap_or(name))
        };
        groups.into_iter().map(|group| group.into_iter().map(id).collect()).collect()
    }

    /// Brings the maps to what the PvDs, the policies and the host's rules say now. If the maps cannot hold it, they
    /// are brought back to what they held: the old tables stay in force, and [`Owner::problems`] says why.
    pub fn commit(&mut self, now: Time) -> Committed {
        if !std::mem::take(&mut self.changed) {
            return Committed::default();
        }
        self.problems.clear();
        let set = &self.set;
        self.preferences.views = self.policies.views(|origin, id| match origin {
            // The administrator wrote it before the PvD was there, perhaps only the interface's name.
            policy::Origin::Config => set.find(id).ok(),
            // The id of a PvD that existed: no other one may take its place.
            policy::Origin::Command => set.find_exact(id),
        });
        let world = self.set.world(now, &self.preferences);
        self.with_default_router = with_default_router(&world);
        let wanted = compile(&world);
        self.attach_interfaces(&wanted);
        self.clear_counts();
        let ops = diff(&self.stored, &wanted);
        let known = next_hops(&self.stored);
        let new_next_hops = next_hops(&wanted).difference(&known).copied().collect();
        // What does not depend on the tables must not wait for them: whether somebody else routes by policy, above all.
        let error = self.store(&ops, wanted).and(self.store_config()).err().map(|error| {
            error!("the old tables stay in force: {error}");
            format!("the old tables stay in force: {error}")
        });
        self.problems.extend(error.clone());
        // Tried again with whatever happens next.
        self.changed = error.is_some();
        Committed { operations: ops.len(), new_next_hops, error }
    }

    /// A PvD that takes the place of another one does not take its counters.
    fn clear_counts(&mut self) {
        for change in &self.changes {
            let Change::PvdAdded { index, id } = change else { continue };
            if self.counted.insert(*index, id.clone()).as_ref() == Some(id) {
                continue;
            }
            if let Err(error) = self.installation.maps.clear_counts(*index) {
                warn!("the counters of PvD {index} keep those of its predecessor: {error}");
            }
        }
    }

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
    fn store(&mut self, ops: &[Op], wanted: Tables) -> Result<(), MapsError> {
        let is_deletion = |op: &&Op| {
            matches!(
                op,
                Op::DeleteDecision(..) | Op::DeleteSource(..) | Op::DeletePvd(..) | Op::DeleteMember(..)
            )
        };
        let reused = self.reused();
        let maps = &mut self.installation.maps;
        for op in ops.iter().filter(|op| matches!(op, Op::DeleteMember(_, pvd) if reused.contains(pvd))) {
            maps.apply(op)?;
        }
        for (done, op) in ops.iter().filter(|op| !is_deletion(op)).enumerate() {
            if let Err(error) = maps.apply(op) {
                let puts: Vec<&Op> = ops.iter().filter(|op| !is_deletion(op)).take(done).collect();
                self.undo(&puts);
                self.stored = self.installation.maps.load()?;
                return Err(error);
            }
        }
        let deleted = self.store_policies().and_then(|()| {
            ops.iter().filter(is_deletion).try_for_each(|op| self.installation.maps.apply(op))
        });
        // After a failure on the way the maps themselves say what they hold.
        self.stored = if deleted.is_ok() { wanted } else { self.installation.maps.load()? };
        deleted
    }

    /// Takes back what was put: replaced entries get their old value, new ones go.
    fn undo(&mut self, puts: &[&Op]) {
        for op in puts.iter().rev() {
            let inverse = match **op {
                Op::PutDecision(view, prefix, _) => match self.stored.decisions.get(&(view, prefix)) {
                    Some(old) => Op::PutDecision(view, prefix, *old),
                    None => Op::DeleteDecision(view, prefix),
                },
                Op::PutSource(address, _) => match self.stored.sources.get(&address) {
                    Some(old) => Op::PutSource(address, *old),
                    None => Op::DeleteSource(address),
                },
                Op::PutPvd(index, _) => match self.stored.pvds.get(&index) {
                    Some(old) => Op::PutPvd(index, *old),
                    None => Op::DeletePvd(index),
                },
                Op::PutMember(view, pvd, _) => match self.stored.members.get(&(view, pvd)) {
                    Some(old) => Op::PutMember(view, pvd, *old),
                    None => Op::DeleteMember(view, pvd),
                },
                deletion => deletion,
            };
            if let Err(error) = self.installation.maps.apply(&inverse) {
                error!("cannot take back {inverse:?}: {error}");
            }
        }
    }

    fn store_policies(&mut self) -> Result<(), MapsError> {
        let maps = &mut self.installation.maps;
        let stored: BTreeMap<u64, abi::Policy> = maps.policies()?.into_iter().collect();
        let wanted: BTreeMap<u64, abi::Policy> = self
            .policies
            .iter()
            .map(|policy| {
                let mode = abi::Mode::from(policy.mode) as u32;
                (policy.cgroup_id, abi::Policy { view: policy.view, mode })
            })
            .collect();
        for (cgroup, policy) in &wanted {
            if stored.get(cgroup) != Some(policy) {
                maps.set_policy(*cgroup, *policy)?;
            }
        }
        for cgroup in stored.keys().filter(|cgroup| !wanted.contains_key(cgroup)) {
            maps.remove_policy(*cgroup)?;
        }
        Ok(())
    }

    fn store_config(&mut self) -> Result<(), MapsError> {
        let mut flags = 0;
        if self.policies.iter().next().is_some() {
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
        Ok(())
    }

    /// tc egress sits on every interface of a PvD: a packet of one PvD can only leave wrongly by another's.
    fn attach_interfaces(&mut self, wanted: &Tables) {
        let interfaces: BTreeSet<u32> =
            wanted.pvds.values().map(|pvd| pvd.ifindex).filter(|ifindex| *ifindex != 0).collect();
        self.unattached.retain(|ifindex, _| interfaces.contains(ifindex));
        for ifindex in interfaces {
            match self.installation.attach_interface(ifindex) {
                Ok(()) => drop(self.unattached.remove(&ifindex)),
                Err(error) => {
                    let problem = error.to_string();
                    if self.unattached.insert(ifindex, problem.clone()).as_ref() != Some(&problem) {
                        warn!("{problem}");
                    }
                    self.problems.push(problem);
                }
            }
        }
    }
}

fn with_default_router(world: &World) -> BTreeSet<u32> {
    let offers_default = |pvd: &&world::Pvd| {
        let is_default = |route: &world::Route| {
            route.prefix.prefix_len() == 0 && route.origin == world::Origin::Network && !route.kernel_decides
        };
        pvd.routes.iter().any(is_default)
    };
    world.pvds.iter().filter(offers_default).map(|pvd| pvd.ifindex).collect()
}

/// The routers that tables name, each with its interface.
fn next_hops(tables: &Tables) -> BTreeSet<(u32, Ipv6Addr)> {
    let of_sources = tables.sources.values().map(|source| (source.ifindex, source.next_hop));
    let of_decisions = tables.decisions.values().map(|decision| (decision.ifindex, decision.next_hop));
    of_sources
        .chain(of_decisions)
        .filter(|(_, next_hop)| !next_hop.is_unspecified())
        .map(|(ifindex, next_hop)| (ifindex, next_hop.into()))
        .collect()
}
