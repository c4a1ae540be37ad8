//! The one owner of the PvDs, and the one place that writes the maps.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv6Addr,
};

use mif_common::abi;
use mif_core::{
    family::Family,
    pvd::{Change, FindError, Groups, Preferences, PvdSet, PvdSnapshot, event::Event},
    select::{
        Compiler, Touched, Update,
        diff::diff,
        tables::TableStore as _,
        world::{self, World},
    },
    time::Time,
};
use tracing::{error, info, warn};

use crate::{
    kernel::{maps::MapsError, pins::Installation},
    mode::Mode,
    net::netlink::RuleInfo,
    policy::{Content, Policies},
};

mod routers;
mod store;

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
    /// Routers that the tables name now and did not before, or that a PvD has now, each with its interface: before a policy leads
    /// to one its link-layer address is to be known.
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
    /// What selection goes by, as of the last commit.
    world: World,
    /// What the maps should hold, as of the last commit.
    compiler: Compiler,
    /// The maps do hold it. Otherwise they themselves say what they hold.
    in_step: bool,
    foreign_rules: Vec<RuleInfo>,
    /// What the last commit could not do.
    problems: Vec<String>,
    with_default_router: BTreeSet<u32>,
    /// The routers of each PvD as of the last commit, each with its interface.
    routers: BTreeMap<abi::PvdIndex, BTreeSet<(u32, Ipv6Addr)>>,
    /// Interfaces that tc egress cannot be attached to, and why.
    unattached: BTreeMap<u32, String>,
    /// Whose counters are in each place.
    counted: BTreeMap<abi::PvdIndex, String>,
    /// Somebody reads the hooks' events.
    watched: bool,
    changes: Vec<Change>,
    reused: store::Reused,
    /// PvDs, rules or views differ from what the maps hold.
    changed: bool,
    /// Policies differ.
    policies_changed: bool,
    /// What the views were made of at the last commit.
    contents: BTreeMap<u32, Content>,
    /// What POLICY holds.
    stored_policies: BTreeMap<u64, abi::Policy>,
}

impl Owner {
    /// Takes over an installation with what its maps hold; `counted` says whose counters are in which place.
    ///
    /// # Errors
    /// When the maps cannot be read.
    pub fn new(
        set: PvdSet,
        mut policies: Policies,
        host: HostPolicy,
        preferences: Preferences,
        installation: Installation,
        counted: BTreeMap<abi::PvdIndex, String>,
    ) -> Result<Self, MapsError> {
        let stored_policies = installation.maps.policies()?.into_iter().collect();
        policies.removed_are_among(&stored_policies);
        Ok(Self {
            set,
            policies,
            host,
            preferences,
            installation,
            world: World::default(),
            compiler: Compiler::default(),
            in_step: false,
            foreign_rules: Vec::new(),
            problems: Vec::new(),
            with_default_router: BTreeSet::new(),
            routers: BTreeMap::new(),
            unattached: BTreeMap::new(),
            counted,
            watched: false,
            changes: Vec::new(),
            reused: store::Reused::default(),
            changed: true,
            policies_changed: true,
            contents: BTreeMap::new(),
            stored_policies,
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
        self.policies_changed |= self.policies.expire(now);
        let changes = self.set.expire(now);
        self.take(changes);
    }

    fn take(&mut self, changes: Vec<Change>) {
        self.changed |= changes.iter().any(Change::concerns_selection);
        self.reused.note(&changes);
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
        self.policies_changed = true;
    }

    /// Before a strict policy is in force its packets are guarded.
    fn raise_guard(&mut self) {
        if self.policies.any_strict()
            && let Err(error) = self.installation.set_guard(true)
        {
            let problem = format!(
                "strict policies do not hold on interfaces that appear while no daemon runs: {error}"
            );
            warn!("{problem}");
            self.problems.retain(|known| *known != problem);
            self.problems.push(problem);
        }
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

    /// Tells the hooks whether somebody reads their events. At once: who asked to watch misses nothing from then on.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn set_watched(&mut self, watched: bool) -> Result<(), MapsError> {
        self.watched = watched;
        self.store_config()
    }

    /// What changed since the last call, for watchers and the log.
    pub fn take_changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    /// Gives up room that is not needed; for when there is time.
    pub fn pack(&mut self) {
        self.set.pack();
        self.compiler.pack();
    }

    /// What is wrong now.
    #[must_use]
    pub fn problems(&self) -> &[String] {
        &self.problems
    }

    /// Whether tc egress sends all IPv6 packets of an interface to the router of their source, and one of these routers, not
    /// `except`, is not known to be dead.
    #[must_use]
    pub fn chooses_routers(&self, ifindex: u32, except: Ipv6Addr) -> bool {
        let other = |router: Ipv6Addr| router != except && !self.set.is_unreachable(ifindex, &router);
        let sources = self.compiler.sources().iter();
        let here = |address: &Ipv6Addr, source: &abi::Source| {
            source.ifindex == ifindex && Family::of(*address) == Family::Ipv6
        };
        let (mut all, mut any) = (true, false);
        for (_, source) in sources.filter(|(address, source)| here(address, source)) {
            all &= source.flags & abi::source_flags::NEXT_HOP != 0;
            any |= other(source.next_hop.into());
        }
        all && any
    }

    /// Whether processes without a policy are only observed in this family, because foreign policy rules exist.
    pub(super) fn leaves_to_rules(&self, family: Family) -> bool {
        self.host.observe_foreign_rules && self.foreign_rules.iter().any(|rule| rule.family == family)
    }

    /// Whether the hooks do more than observe in this family, for anybody.
    #[must_use]
    pub fn enforces(&self, family: Family) -> bool {
        self.host.mode != Mode::Observe && !self.leaves_to_rules(family)
            || self.policies.enforced().any(|policy| policy.mode != Mode::Observe)
    }

    /// How many packets and calls the hooks counted for the PvDs that there are, since whenever: a measure of whether there is
    /// traffic.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn packets(&self) -> Result<u64, MapsError> {
        let pvds = self.compiler.pvds().keys();
        pvds.map(|pvd| self.installation.maps.packets(*pvd)).sum()
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

    /// What the words of a command mean: see [`mif_core::pvd::selector::Roster::resolve`].
    ///
    /// # Errors
    /// When a word means no PvD, or several.
    pub fn resolve(&self, groups: Groups) -> Result<Groups, FindError> {
        // Which of them offer a default route is not asked.
        let roster = self.set.roster(&World::default());
        let group = |group: Vec<_>| group.into_iter().map(|selector| roster.resolve(selector)).collect();
        groups.into_iter().map(group).collect()
    }

    /// Brings the maps to what the PvDs, the policies and the host's rules say now. If the maps cannot hold it, they
    /// are brought back to what they held: the old tables stay in force, and [`Owner::problems`] says why.
    pub fn commit(&mut self, now: Time) -> Committed {
        let policies_changed = std::mem::take(&mut self.policies_changed);
        let contents = self.policies.contents();
        if !self.changed && !policies_changed {
            return Committed::default();
        }
        if !self.changed && self.contents == contents {
            return self.commit_policies();
        }
        self.problems.clear();
        let touched = self.set.refresh(&mut self.world, now, &self.preferences);
        self.world.views = if contents.is_empty() {
            Vec::new()
        } else {
            let roster = self.set.roster(&self.world);
            contents.iter().map(|(id, content)| content.view(*id, &roster)).collect()
        };
        self.with_default_router = with_default_router(&self.world);
        let new_routers = self.new_routers(&touched);
        let update = self.compiler.update(&self.world, &Touched::Pvds(touched));
        self.attach_interfaces();
        self.clear_counts();
        self.raise_guard();
        let (stored, update) = match self.since_stored(update) {
            Ok(update) => (self.store(&update), update),
            Err(error) => (Err(error), Update::default()),
        };
        let mut new_next_hops = self.new_next_hops(&update);
        new_next_hops.extend(new_routers);
        // What does not depend on the tables must not wait for them: whether somebody else routes by policy, above all.
        let error = stored.and(self.store_config()).err().map(|error| {
            error!("the old tables stay in force: {error}");
            format!("the old tables stay in force: {error}")
        });
        self.problems.extend(error.clone());
        // Tried again with whatever happens next.
        self.changed = error.is_some();
        if error.is_none() {
            self.contents = contents;
            self.policies.stored();
        }
        Committed { operations: update.ops.len(), new_next_hops, error }
    }

    /// From what the maps hold to what they should hold: what the compiler did to its tables, if they were in step before.
    fn since_stored(&self, update: Update) -> Result<Update, MapsError> {
        if self.in_step {
            return Ok(update);
        }
        let before = self.installation.maps.load()?;
        Ok(Update { ops: diff(&before, &self.compiler.tables()), before })
    }

    /// The views are as they were: a cgroup that has come or gone needs nothing else.
    fn commit_policies(&mut self) -> Committed {
        self.raise_guard();
        let stored = self.store_policies(false).and(self.store_config());
        let error = stored.err().map(|error| {
            error!("the policies are not all in force: {error}");
            format!("the policies are not all in force: {error}")
        });
        self.problems.extend(error.clone());
        self.changed = error.is_some();
        Committed { error, ..Committed::default() }
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

    /// tc egress sits on every interface of a PvD: a packet of one PvD can only leave wrongly by another's.
    fn attach_interfaces(&mut self) {
        let interfaces: BTreeSet<u32> =
            self.compiler.pvds().values().map(|pvd| pvd.ifindex).filter(|ifindex| *ifindex != 0).collect();
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
        if let Err(error) = self.installation.attached_all() {
            self.problems.push(error.to_string());
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
