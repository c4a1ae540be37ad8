use mif_core::pvd::selector::{Entry, Kind, Roster, Selector};
use proptest::prelude::*;

use super::*;
use crate::{mode::Otherwise, pattern::Pattern};

fn terms(pvd: &str, mode: Mode) -> Terms {
    let otherwise = Otherwise::of(mode, None).expect("every mode has one");
    Terms { groups: vec![vec![pvd.into()]], otherwise, mode }
}

fn configured(path: &str, pvd: &str) -> Configured {
    Configured { cgroup: Pattern::path(path).expect("a path"), terms: terms(pvd, Mode::Strict) }
}

fn policies(caps: Caps, rules: &[(&str, &str)]) -> Policies {
    let mut policies = Policies { caps, ..Policies::default() };
    let refused = policies.configure(rules.iter().map(|(path, pvd)| configured(path, pvd)).collect());
    assert!(refused.is_empty(), "{refused:?}");
    policies
}

impl Policies {
    fn appears(&mut self, path: &str, id: u64) -> bool {
        self.appeared(&Path::new("/cg").join(path), Path::new(path), id)
    }

    /// Cgroup, first selector, view.
    fn shown(&self) -> Vec<(u64, String, u32)> {
        self.iter().map(|policy| (policy.cgroup_id, policy.groups[0][0].to_string(), policy.view)).collect()
    }

    /// As by a command, of a cgroup that need not exist.
    fn command(&mut self, id: u64, pvd: &str) {
        let terms = terms(pvd, Mode::Prefer);
        let view = self.view_of(&terms.content()).expect("there are views");
        self.by_cgroup.insert(id, terms.policy(format!("/cg/{id}").into(), id, view, Origin::Command));
    }
}

fn row(id: u64, pvd: &str, view: u32) -> (u64, String, u32) {
    (id, pvd.to_owned(), view)
}

#[test]
fn the_first_policy_of_the_file_that_fits_counts() {
    let mut policies = policies(
        Caps::default(),
        &[("/a/special", "eth1"), ("/a/*", "eth2"), ("/b", "eth1"), ("/c", "eth3")],
    );
    assert_eq!(policies.contents().len(), 3, "what says the same shares a view");
    assert!(!policies.appears("d", 1));
    assert!(policies.appears("a/other", 2) && policies.appears("a/special", 3) && policies.appears("b", 4));
    assert!(!policies.appears("a/other", 2), "told twice");
    assert_eq!(policies.shown(), [row(2, "eth2", 2), row(3, "eth1", 1), row(4, "eth1", 1)]);
    let waiting: Vec<_> =
        policies.waiting().into_iter().map(|waiting| (waiting.cgroup, waiting.view)).collect();
    assert_eq!(waiting, [("/c".to_owned(), 3)]);
}

#[test]
fn a_cgroup_takes_its_policy_with_it() {
    let mut policies = policies(Caps::default(), &[("/a/*", "eth1")]);
    assert!(policies.appears("a/b", 2));
    assert!(policies.gone(2, Time(1)) && !policies.gone(2, Time(1)));
    assert_eq!(policies.shown(), []);
    // Made again: another cgroup of the same name.
    assert!(policies.appears("a/b", 3));
    assert_eq!(policies.shown(), [row(3, "eth1", 1)]);
}

#[test]
fn a_strict_policy_outlives_its_cgroup() {
    let mut policies = policies(Caps { policies: 3, views: 3 }, &[("/a/*", "eth1")]);
    let cgroups =
        |policies: &Policies| -> Vec<_> { policies.removed().map(|r| r.policy.cgroup_id).collect() };
    for id in [1, 2, 3] {
        assert!(policies.appears(&format!("a/{id}"), id));
    }
    policies.command(3, "eth2");
    assert!(policies.gone(1, Time(10)) && policies.gone(2, Time(20)) && policies.gone(3, Time(30)));
    assert_eq!(policies.shown(), []);
    assert_eq!(cgroups(&policies), [1, 2], "not the one that only preferred");
    assert_eq!(policies.enforced().map(|policy| policy.view).collect::<Vec<_>>(), [1, 1]);
    assert!(policies.any_strict());
    // A cgroup needs the place of the one that has been gone for longer.
    assert!(policies.appears("a/4", 4) && policies.appears("a/5", 5));
    assert_eq!(cgroups(&policies), [2]);
    // After a boot nothing of it is left.
    let stored = BTreeMap::from([(2, abi::Policy::default())]);
    policies.removed_are_among(&stored);
    assert_eq!(cgroups(&policies), [2]);
    let end = Time(20).after(ORPHANS);
    assert_eq!(policies.next_deadline(), Some(end));
    assert!(!policies.expire(Time(end.0 - 1)) && policies.expire(end));
    assert_eq!((policies.next_deadline(), cgroups(&policies)), (None, vec![]));
}

#[test]
fn views_of_cgroups_that_are_gone_are_given_up() {
    let mut policies = policies(Caps { policies: 8, views: 3 }, &[]);
    for (id, pvd) in [(1, "eth1"), (2, "eth2"), (3, "eth3")] {
        let view = policies.view_of(&terms(pvd, Mode::Strict).content()).expect("there are views");
        let policy = terms(pvd, Mode::Strict).policy(format!("/cg/{id}").into(), id, view, Origin::Config);
        policies.by_cgroup.insert(id, policy);
        policies.gone(id, Time(id));
    }
    assert_eq!(policies.removed().map(|r| r.policy.cgroup_id).collect::<Vec<_>>(), [2, 3]);
}

#[test]
fn a_command_counts_before_the_file() {
    let mut policies = policies(Caps::default(), &[("/a", "eth1")]);
    policies.command(2, "eth9");
    assert!(!policies.appears("a", 2));
    assert_eq!(policies.shown(), [row(2, "eth9", 2)]);
    assert_eq!(policies.waiting(), [], "it is there, only not asked");
    policies.by_cgroup.remove(&2);
    assert!(policies.admit(2), "when the command's is taken away");
    assert_eq!(policies.shown(), [row(2, "eth1", 1)]);
    let refused = policies.detach(Path::new("/cg/a")).expect_err("not a command's").to_string();
    assert!(refused.contains("/cg/a has its policy from the configuration"), "{refused}");
}

/// The hooks look at 24 levels, the root's among them.
#[test]
fn what_is_too_deep_is_not_in_force() {
    let mut policies = policies(Caps { policies: 1, views: 8 }, &[("/a/**", "eth1")]);
    let below = |levels: usize| ["a"].into_iter().chain(vec!["b"; levels - 1]).collect::<Vec<_>>().join("/");
    assert!(!policies.appears(&below(24), 1));
    assert_eq!(policies.shown(), []);
    let waiting: Vec<_> =
        policies.waiting().into_iter().map(|waiting| (waiting.cgroup, waiting.why)).collect();
    assert_eq!(waiting, [(format!("/cg/{}", below(24)), Why::TooDeep)]);
    assert_eq!((policies.without_room(), policies.refused().count()), (None, 0), "more room would not help");
    assert!(policies.appears(&below(23), 2), "and it takes no room");
    assert_eq!(policies.shown(), [row(2, "eth1", 1)]);
    policies.gone(1, Time(1));
    assert_eq!(policies.waiting(), []);
}

#[test]
fn what_finds_no_room_waits_for_some() {
    let mut policies = policies(Caps { policies: 2, views: 8 }, &[("/a/*", "eth1")]);
    assert!(policies.appears("a/1", 1) && policies.appears("a/2", 2));
    assert!(!policies.appears("a/3", 3) && !policies.appears("a/4", 4));
    assert_eq!(policies.shown(), [row(1, "eth1", 1), row(2, "eth1", 1)], "those in force stay");
    assert_eq!(policies.without_room(), Some((2, Path::new("/cg/a/3"))));
    assert_eq!(policies.refused().collect::<Vec<_>>(), [("policy-without-room", 2)]);
    let waiting: Vec<_> =
        policies.waiting().into_iter().map(|waiting| (waiting.cgroup, waiting.why)).collect();
    assert_eq!(waiting, [("/cg/a/3".to_owned(), Why::NoRoom), ("/cg/a/4".to_owned(), Why::NoRoom)]);
    assert!(policies.gone(1, Time(1)));
    assert_eq!(policies.shown(), [row(2, "eth1", 1), row(3, "eth1", 1)]);
    assert!(!policies.gone(4, Time(1)), "it had none");
    assert_eq!((policies.without_room(), policies.waiting()), (None, vec![]));
}

#[test]
fn strict_policies_have_room_before_others() {
    let mut policies = Policies { caps: Caps { policies: 2, views: 8 }, ..Policies::default() };
    let prefer =
        Configured { cgroup: Pattern::path("/b/*").expect("a path"), terms: terms("eth2", Mode::Prefer) };
    assert!(policies.configure(vec![configured("/a/*", "eth1"), prefer]).is_empty());
    assert!(policies.appears("b/1", 1) && policies.appears("b/2", 2));
    assert!(policies.appears("a/3", 3), "in place of one that does not confine");
    assert_eq!(policies.shown(), [row(2, "eth2", 2), row(3, "eth1", 1)]);
    assert!(policies.appears("a/4", 4) && !policies.appears("a/5", 5));
    assert_eq!(policies.shown(), [row(3, "eth1", 1), row(4, "eth1", 1)]);
    assert!(policies.gone(3, Time(1)));
    assert_eq!(policies.shown(), [row(4, "eth1", 1), row(5, "eth1", 1)], "also of those that wait");
    assert!(policies.gone(4, Time(1)));
    assert_eq!(policies.shown(), [row(1, "eth2", 2), row(5, "eth1", 1)]);
    // One that a command gave gives way to none.
    let mut policies = self::policies(Caps { policies: 1, views: 8 }, &[("/a", "eth1")]);
    policies.command(9, "eth9");
    assert!(!policies.appears("a", 1));
}

#[test]
fn a_policy_behind_an_earlier_one() {
    let mut policies = policies(Caps::default(), &[("/a/*", "eth1"), ("/*/b", "eth2")]);
    assert!(policies.appears("a/b", 2));
    let waiting = policies.waiting();
    assert_eq!((waiting[0].cgroup.as_str(), waiting[0].why), ("/*/b", Why::EarlierPolicy));
}

#[test]
fn more_views_than_there_are_numbers() {
    let mut policies = Policies { caps: Caps { policies: 8, views: 3 }, ..Policies::default() };
    let refused = policies.configure(
        [("/a", "eth1"), ("/b", "eth2"), ("/c", "eth3"), ("/d", "eth1")]
            .map(|(p, s)| configured(p, s))
            .into(),
    );
    assert_eq!(refused.len(), 1);
    assert!(
        refused[0].starts_with("the configured policy of /c is not in force: 3 different sets"),
        "{refused:?}"
    );
    assert!(!policies.appears("c", 3), "and no other one takes its place");
    assert!(policies.appears("d", 4));
    assert_eq!(policies.shown(), [row(4, "eth1", 1)]);
    assert_eq!(policies.without_room(), None);
    assert_eq!(policies.refused().collect::<Vec<_>>(), [("view-without-room", 1)]);
    let waiting: Vec<_> =
        policies.waiting().into_iter().map(|waiting| (waiting.cgroup, waiting.why)).collect();
    let not_there = |path: &str| (path.to_owned(), Why::NoCgroup);
    assert_eq!(waiting, [not_there("/a"), not_there("/b"), ("/c".to_owned(), Why::NoView)]);
}

/// A restarted daemon gives what says the same the same number, and no new content the number of another one.
#[test]
fn numbers_of_views_over_a_restart() {
    let content = |pvd: &str| terms(pvd, Mode::Strict).content();
    let before = BTreeMap::from([(1, content("eth1")), (2, content("eth2"))]);
    let mut policies = Policies { before, ..Policies::default() };
    policies
        .configure([("/a", "eth2"), ("/b", "eth3"), ("/c", "eth1")].map(|(p, s)| configured(p, s)).into());
    let views: Vec<_> = policies.waiting().into_iter().map(|waiting| waiting.view).collect();
    assert_eq!(views, [2, 3, 1]);
    policies.stored();
    policies.command(9, "eth4");
    assert_eq!(policies.shown(), [row(9, "eth4", 4)]);
    // Rather the number of one before than none.
    let before = BTreeMap::from([(1, content("eth8")), (2, content("eth9"))]);
    let mut full = Policies { before, caps: Caps { policies: 8, views: 3 }, ..Policies::default() };
    assert!(full.configure(vec![configured("/a", "eth2")]).is_empty());
}

#[test]
fn what_is_in_a_view() {
    let entry = |index, interface: &str| Entry {
        index,
        id: interface.into(),
        name: None,
        interface: interface.into(),
        kind: Kind::Interface,
        internet: true,
    };
    let roster = Roster {
        pvds: vec![entry(1, "eth1"), entry(2, "eth2")],
        interfaces: ["eth1", "eth2"].map(str::to_owned).into(),
    };
    for (pvd, otherwise, groups) in [
        ("eth1", Otherwise::Kernel, vec![vec![1]]),
        ("eth9", Otherwise::Refuse, vec![vec![]]),
        ("eth2", Otherwise::Default, vec![vec![2], vec![1, 2]]),
        ("eth9", Otherwise::Default, vec![vec![], vec![1, 2]]),
    ] {
        let terms = Terms { groups: vec![vec![Selector::from(pvd)]], otherwise, mode: Mode::Prefer };
        let view = terms.content().view(7, &roster);
        assert_eq!((view.id, view.groups), (7, groups), "{pvd} {otherwise}");
    }
}

#[test]
fn files_before_there_were_conditions_are_understood() {
    let json = r#"{"cgroup":"/cg/a","cgroup_id":5,"groups":[["eth0/fe80::1"]],"mode":"strict","view":1,"origin":"command"}"#;
    let policy: Policy = serde_json::from_str(json).expect("understood");
    assert_eq!(policy.groups, [["eth0/fe80::1".into()]]);
    assert_eq!(policy.otherwise, Otherwise::Kernel);
}

/// What can happen to one of a few cgroups.
#[derive(Clone, Copy, Debug)]
enum Step {
    Appear(u64),
    Go(u64),
    Command(u64),
    Detach(u64),
}

fn step() -> impl Strategy<Value = Step> {
    (0..4_u8, 0..6_u64).prop_map(|(what, id)| match what {
        0 => Step::Appear(id),
        1 => Step::Go(id),
        2 => Step::Command(id),
        _ => Step::Detach(id),
    })
}

const PATHS: [&str; 6] = ["a/1", "a/2", "b", "b/1", "c", "d"];
const RULES: [(&str, &str); 4] = [("/a/1", "eth1"), ("/*/1", "eth2"), ("/a/*", "eth1"), ("/c", "eth3")];
const BY_RULE: [Option<&str>; 6] = [Some("eth1"), Some("eth1"), None, Some("eth2"), Some("eth3"), None];

proptest! {
    /// Whatever comes and goes: who has a policy has the right one, nobody is left out while there is room, and what is in a
    /// view is what its policies say.
    #[test]
    fn policies_follow_their_cgroups(steps in proptest::collection::vec(step(), 0..40), most in 1..7_u32) {
        let mut policies = policies(Caps { policies: most, views: 16 }, &RULES);
        let views = policies.contents();
        let (mut present, mut commanded) = ([false; 6], [false; 6]);
        for step in steps {
            match step {
                Step::Appear(id) => {
                    present[id as usize] = true;
                    policies.appears(PATHS[id as usize], id);
                }
                Step::Go(id) => {
                    present[id as usize] = false;
                    commanded[id as usize] = false;
                    policies.gone(id, Time(1));
                }
                Step::Command(id) if present[id as usize] => {
                    let has_one = policies.by_cgroup.contains_key(&id);
                    if has_one || !policies.is_full() {
                        commanded[id as usize] = true;
                        policies.command(id, "eth9");
                    }
                }
                Step::Detach(id) if commanded[id as usize] => {
                    commanded[id as usize] = false;
                    policies.by_cgroup.remove(&id);
                    policies.released(id);
                }
                Step::Command(_) | Step::Detach(_) => {}
            }
            let wanted = |id: usize| match (present[id], commanded[id]) {
                (false, _) => None,
                (true, true) => Some("eth9"),
                (true, false) => BY_RULE[id],
            };
            let wanted: BTreeMap<u64, &str> =
                (0..6_usize).filter_map(|id| Some((id as u64, wanted(id)?))).collect();
            let in_force = policies.shown();
            for (id, pvd, view) in &in_force {
                prop_assert_eq!(wanted.get(id).copied(), Some(pvd.as_str()), "{} after {:?}", id, step);
                let content = policies.by_cgroup[id].content();
                prop_assert_eq!(&policies.contents()[view], &content);
                prop_assert!(views.get(view).is_none_or(|before| *before == content));
            }
            prop_assert_eq!(in_force.len(), wanted.len().min(most as usize), "after {:?}", step);
            let without = policies.without_room().map_or(0, |(count, _)| count);
            prop_assert_eq!(without, wanted.len() - in_force.len());
        }
    }
}
