//! Room: the tables hold so many policies and so many views, and strict policies go before others.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use mif_common::abi;

use super::{Content, Mode, Origin, POLICY_WITHOUT_ROOM, Policies, Policy, Present, Rule, VIEW_WITHOUT_ROOM};

impl Policies {
    /// Cgroups that should have a configured policy and have none, because the tables hold no more: how many, and one of
    /// them.
    #[must_use]
    pub fn without_room(&self) -> Option<(usize, &Path)> {
        let mut without = self.without_policy().map(|(_, path)| path);
        let first = without.next()?;
        Some((1 + without.count(), first))
    }

    /// How often a configured policy found no room, by reason.
    pub fn refused(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let without_view = self.rules.iter().filter(|rule| rule.view.is_none()).count() as u64;
        [(POLICY_WITHOUT_ROOM, self.refused), (VIEW_WITHOUT_ROOM, without_view)]
            .into_iter()
            .filter(|(_, count)| *count > 0)
    }

    pub(super) fn without_policy(&self) -> impl Iterator<Item = (u64, &Path)> {
        let has_view = |rule: usize| self.rules.get(rule).is_some_and(|rule| rule.view.is_some());
        self.present
            .iter()
            .filter(move |(id, present)| !self.by_cgroup.contains_key(id) && has_view(present.rule))
            .filter(|(_, present)| !present.is_too_deep())
            .map(|(id, present)| (*id, present.path.as_path()))
    }

    /// Cgroups that fit a configured policy, and are deeper below the root than the hooks look.
    pub(super) fn too_deep(&self) -> impl Iterator<Item = &Present> {
        self.present.values().filter(|present| present.is_too_deep())
    }

    /// A cgroup has lost its policy: what is configured for it counts, and there may be room for others.
    pub(super) fn released(&mut self, id: u64) {
        self.admit(id);
        self.fill();
    }

    /// Gives room that came free to cgroups that wait for some, to strict policies first.
    pub(super) fn fill(&mut self) {
        let mut without: Vec<u64> = self.without_policy().map(|(id, _)| id).collect();
        without.sort_by_key(|id| !self.wants_strict(*id));
        for id in without {
            if self.is_full() {
                break;
            }
            self.admit(id);
        }
    }

    /// Whether the configured policy of a present cgroup is strict.
    fn wants_strict(&self, id: u64) -> bool {
        let rule = self.present.get(&id).and_then(|present| self.rules.get(present.rule));
        rule.is_some_and(|rule| rule.configured.terms.mode == Mode::Strict)
    }

    /// Takes a configured policy that is not strict from its cgroup, to make room for one that is: without a policy the
    /// cgroup of the first goes on by all PvDs, that of the second would go where it must not. False where there is none.
    fn displace(&mut self) -> bool {
        let gives_way = |policy: &&Policy| policy.origin == Origin::Config && policy.mode != Mode::Strict;
        let Some(id) = self.iter().find(gives_way).map(|policy| policy.cgroup_id) else { return false };
        self.by_cgroup.remove(&id);
        self.refused += 1;
        true
    }

    /// Gives a present cgroup its configured policy, unless it has one.
    pub(super) fn admit(&mut self, id: u64) -> bool {
        let Some(present) = self.present.get(&id).filter(|present| !present.is_too_deep()) else {
            return false;
        };
        let Some(Rule { configured, view: Some(view) }) = self.rules.get(present.rule) else { return false };
        if self.by_cgroup.contains_key(&id) {
            return false;
        }
        let policy = configured.terms.clone().policy(present.path.clone(), id, *view, Origin::Config);
        if self.is_full() && !(policy.mode == Mode::Strict && self.displace()) {
            self.refused += 1;
            return false;
        }
        self.by_cgroup.insert(id, policy);
        self.make_room();
        true
    }

    pub(super) fn is_full(&self) -> bool {
        self.by_cgroup.len() as u64 >= u64::from(self.caps.policies)
    }

    /// The contents of all views, by number.
    #[must_use]
    pub fn contents(&self) -> BTreeMap<u32, Content> {
        let rules = self.rules.iter().filter_map(|rule| Some((rule.view?, rule.configured.terms.content())));
        let mut contents: BTreeMap<u32, Content> = rules.collect();
        for policy in self.enforced() {
            contents.entry(policy.view).or_insert_with(|| policy.content());
        }
        contents
    }

    /// The tables hold these views and no others: the numbers of those before are free.
    pub fn stored(&mut self) {
        self.before.clear();
    }

    /// The view of a content. Those of cgroups that are gone make room for it.
    pub(super) fn view_of(&mut self, content: &Content) -> Option<u32> {
        loop {
            if let Some(view) = self.find_view(content) {
                return Some(view);
            }
            // One that shares its view with a policy in force has none to give.
            let used = self.views_in_force();
            if !self.removed.drop_oldest(|removed| !used.contains(&removed.policy.view)) {
                return None;
            }
        }
    }

    /// The views that do not go with a cgroup that is gone.
    fn views_in_force(&self) -> BTreeSet<u32> {
        let of_rules = self.rules.iter().filter_map(|rule| rule.view);
        of_rules.chain(self.iter().map(|policy| policy.view)).collect()
    }

    /// That of a policy that says the same, now or before, else the lowest free number.
    fn find_view(&self, content: &Content) -> Option<u32> {
        let now = self.contents();
        let same = |views: &BTreeMap<u32, Content>| {
            views.iter().find(|(_, other)| *other == content).map(|(view, _)| *view)
        };
        let range = || abi::DEFAULT_VIEW + 1..self.caps.views;
        let is_free = |view: &u32| !now.contains_key(view);
        same(&now)
            .or_else(|| same(&self.before).filter(|view| is_free(view) && range().contains(view)))
            .or_else(|| range().find(|view| is_free(view) && !self.before.contains_key(view)))
            .or_else(|| range().find(is_free))
    }
}
