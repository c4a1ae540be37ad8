//! Cgroups that come and go while the daemon runs, and while it does not: configured policies follow them.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use mif_common::abi;
use mif_tests::{
    cgroup::Cgroup,
    deadline::{PATIENCE, bounded},
    enforced::{Lab, check_words},
    flow::{Flow, Kind},
    internet::{SERVERS, at_echo},
    isp::{ISP_A, ISP_B},
    mif::Site,
    netns::Namespace,
};
use mif_user::{mode::Mode, policy::Origin, state::State};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// A host without a network: what policies say matters here, not what they lead to.
struct Scene {
    _namespace: Namespace,
    root: Cgroup,
    site: Site,
}

impl Scene {
    fn new() -> Result<Self> {
        let (namespace, root) = (Namespace::new("host")?, Cgroup::new("host")?);
        let site = Site::new(&namespace, &root)?;
        Ok(Self { _namespace: namespace, root, site })
    }

    /// A policy of the file.
    fn policy(&self, cgroup: &str, pvd: &str) -> Result<String> {
        Ok(format!("[[policy]]\ncgroup = '{}/{cgroup}'\npvds = ['{pvd}']\n", self.root.below_root()?))
    }

    /// Waits until exactly these cgroups have a policy, in the state file and in the map.
    fn until_confined(&self, what: &str, cgroups: &[&Cgroup]) -> Result<State> {
        let mut ids = cgroups.iter().map(|cgroup| cgroup.id()).collect::<Result<Vec<_>>>()?;
        ids.sort_unstable();
        let state = self.site.until_state(what, |state| {
            let confined = state.policies.iter().map(|policy| policy.cgroup_id);
            confined.eq(ids.iter().copied()).then(|| state.clone())
        })?;
        let stored: BTreeSet<u64> = self.site.maps()?.policies()?.into_iter().map(|(id, _)| id).collect();
        // Strict policies of cgroups that are gone are in the map, for their sockets, and not listed.
        let removed = state.removed.iter().map(|removed| removed.policy.cgroup_id);
        let expected: BTreeSet<u64> = ids.into_iter().chain(removed).collect();
        ensure!(stored == expected, "POLICY has {stored:?}, the state file {expected:?}");
        Ok(state)
    }

    /// The first selector of a cgroup's policy.
    fn pvd_of(&self, cgroup: &Cgroup) -> Result<(String, Origin)> {
        let id = cgroup.id()?;
        let state = self.site.state()?;
        let policy =
            state.policies.iter().find(|policy| policy.cgroup_id == id).context("it has no policy")?;
        Ok((policy.groups[0][0].to_string(), policy.origin))
    }
}

#[test]
fn a_cgroup_that_appears_has_its_policy() {
    bounded(4 * PATIENCE, || {
        let scene = Scene::new()?;
        let text = scene.policy("backup-*.service", "eth1")?
            + "[[policy]]\nunit = 'deep@*.service'\npvds = [{ kind = 'explicit' }]\nmode = 'prefer'\n";
        let there = scene.root.child("backup-0.service")?;
        let daemon = scene.site.daemon_configured(&text)?;
        let state = scene.until_confined("the cgroup that was there", &[&there])?;
        ensure!(state.problems.is_empty(), "waiting is no problem: {:?}", state.problems);
        let waiting: Vec<_> = state.waiting.iter().map(|waiting| waiting.cgroup.as_str()).collect();
        ensure!(waiting == ["unit deep@*.service"], "{waiting:?}");
        check_words(
            "policy list",
            &scene.site.says(["policy", "list"])?,
            &["NOT IN FORCE", "unit deep@*.service", "no such cgroup now"],
        )?;

        let later = scene.root.child("backup-1.service")?;
        scene.until_confined("one that fits", &[&there, &later])?;
        let other = scene.root.child("other.service")?;
        let within = later.child("within")?;
        // Made at once with all around it, before anybody can watch.
        let deep = scene.root.path().join("x/y/deep@1.service");
        std::fs::create_dir_all(&deep)?;
        let state = scene.site.until_state("a unit somewhere below", |state| {
            state.policies.iter().any(|policy| policy.cgroup == deep).then(|| state.clone())
        })?;
        ensure!(state.policies.len() == 3 && state.waiting.is_empty(), "{state:#?}");
        for unconfined in [&other, &within] {
            ensure!(
                scene.site.maps()?.policy(unconfined.id()?)?.is_none(),
                "{}",
                unconfined.path().display()
            );
        }
        let strict = scene.site.maps()?.policy(later.id()?)?.context("it has one")?.mode;
        ensure!(strict == abi::Mode::Strict as u32, "{strict}");
        daemon.stop()
    });
}

#[test]
fn a_cgroup_takes_its_policy_with_it_and_gets_it_again_when_it_is_made_again() {
    bounded(4 * PATIENCE, || {
        let scene = Scene::new()?;
        // The directory's own path will do as well.
        let path = scene.root.path().join("unit.service");
        let text = format!("[[policy]]\ncgroup = '{}'\npvds = ['eth1']\n", path.display());
        let daemon = scene.site.daemon_configured(&text)?;
        let mut before = 0;
        for _ in 0..3 {
            let cgroup = scene.root.child("unit.service")?;
            ensure!(cgroup.id()? != before, "the kernel gave the id again");
            before = cgroup.id()?;
            scene.until_confined("its policy", &[&cgroup])?;
            drop(cgroup);
            let state = scene.until_confined("its policy to be gone", &[])?;
            ensure!(state.waiting.len() == 1, "{:?}", state.waiting);
        }
        daemon.stop()
    });
}

#[test]
fn a_command_counts_before_the_file_until_it_is_detached_or_the_cgroup_is_gone() {
    bounded(4 * PATIENCE, || {
        let scene = Scene::new()?;
        let text = scene.policy("a", "eth1")?;
        let daemon = scene.site.daemon_configured(&text)?;
        let (a, b) = (scene.root.child("a")?, scene.root.child("b")?);
        scene.until_confined("the configured policy", &[&a])?;
        daemon.attach(&a, "interface=eth2", Mode::Prefer)?;
        daemon.attach(&b, "interface=eth3", Mode::Prefer)?;
        ensure!(scene.pvd_of(&a)? == ("interface=eth2".into(), Origin::Command));
        drop(daemon);
        let daemon = scene.site.daemon_configured(&text)?;
        scene.until_confined("both after a restart", &[&a, &b])?;
        ensure!(scene.pvd_of(&a)? == ("interface=eth2".into(), Origin::Command));
        daemon.detach(&a)?;
        ensure!(scene.pvd_of(&a)? == ("eth1".into(), Origin::Config));
        let path = a.path().to_str().context("UTF-8")?;
        let said = scene.site.complains(["policy", "detach", path])?;
        check_words("detach", &said, &["has its policy from the configuration", path])?;

        daemon.attach(&a, "interface=eth2", Mode::Prefer)?;
        drop(b);
        drop(a);
        scene.until_confined("both to be gone", &[])?;
        let (a, _b) = (scene.root.child("a")?, scene.root.child("b")?);
        scene.until_confined("the file's for the one that it names", &[&a])?;
        ensure!(scene.pvd_of(&a)? == ("eth1".into(), Origin::Config));
        daemon.stop()
    });
}

#[test]
fn what_happens_while_no_daemon_runs() {
    bounded(4 * PATIENCE, || {
        let scene = Scene::new()?;
        let (first, second) = (scene.policy("first-*", "eth1")?, scene.policy("second-*", "eth2")?);
        let daemon = scene.site.daemon_configured(&(first.clone() + &second))?;
        let (gone, stays) = (scene.root.child("first-1")?, scene.root.child("first-2")?);
        let (other, command) = (scene.root.child("second-1")?, scene.root.child("by-command")?);
        let attached = daemon.attach(&command, "interface=eth3", Mode::Strict)?;
        let before = scene.until_confined("all four", &[&gone, &stays, &other, &command])?;
        let view = |state: &State, cgroup: &Cgroup| -> Result<u32> {
            let id = cgroup.id()?;
            let policy = state.policies.iter().find(|policy| policy.cgroup_id == id);
            Ok(policy.context("it has no policy")?.view)
        };
        daemon.kill()?;
        drop(gone);
        let came = scene.root.child("first-3")?;
        // In another order, and with one more: no view is given to others.
        let daemon = scene.site.daemon_configured(&(scene.policy("new", "eth4")? + &second + &first))?;
        let after = scene.until_confined("who is there now", &[&stays, &other, &command, &came])?;
        for cgroup in [&stays, &other, &command] {
            ensure!(view(&after, cgroup)? == view(&before, cgroup)?, "{}", cgroup.path().display());
        }
        ensure!(view(&after, &came)? == view(&after, &stays)?);
        ensure!(view(&after, &command)? == attached.view);
        daemon.stop()?;

        // Without the file's policies only the command's is left.
        let daemon = scene.site.daemon::<&str>([])?;
        scene.until_confined("the command's", &[&command])?;
        daemon.stop()
    });
}

#[test]
fn more_policies_than_the_tables_hold() {
    bounded(4 * PATIENCE, || {
        let scene = Scene::new()?;
        let text = format!("{}[limits]\npolicies = 3\n", scene.policy("unit-*", "eth1")?);
        let daemon = scene.site.daemon_configured(&text)?;
        let mut units: Vec<Cgroup> = Vec::new();
        for number in 0..3 {
            units.push(scene.root.child(&format!("unit-{number}"))?);
        }
        scene.until_confined("those for which there is room", &units.iter().collect::<Vec<_>>())?;
        for number in 3..5 {
            units.push(scene.root.child(&format!("unit-{number}"))?);
        }
        let (surplus, problem) = scene.site.until_state("the surplus to be told", |state| {
            let problem = state.problems.iter().find(|problem| problem.contains("configured for them: 2"));
            Some((*state.refused.get("policy-without-room")?, problem?.clone()))
        })?;
        ensure!(surplus == 2, "{surplus}");
        check_words("the problem", &problem, &["the tables hold 3", "limits.policies"])?;
        scene.until_confined("those in force to stay", &units[..3].iter().collect::<Vec<_>>())?;
        check_words("status", &scene.site.says(["status"])?, &[&problem, "policy-without-room: 2"])?;
        let other = scene.root.child("other")?;
        let path = other.path().to_str().context("UTF-8")?;
        let said = scene.site.complains(["policy", "attach", path, "--pvd", "interface=eth1"])?;
        check_words("attach", &said, &["3 cgroups with a policy is the most", "limits.policies"])?;
        let waits = format!("{}  strict  eth1", units[3].path().display());
        let words = [
            waits.as_str(),
            "no room (limits.policies)",
            "policy-without-room: 3",
            "the last policy given by command",
            "was refused: 3 cgroups with a policy is the most",
        ];
        check_words("status", &scene.site.says(["status"])?, &words)?;
        // To take the place of one needs no room.
        daemon.attach(&units[0], "interface=eth1", Mode::Strict)?;
        let said = scene.site.says(["status"])?;
        ensure!(!said.contains("the last policy given by command"), "{said}");

        // Room that comes free is given to who waits for it.
        drop(units.remove(0));
        let state = scene.until_confined("the next one", &units[..3].iter().collect::<Vec<_>>())?;
        ensure!(
            state.problems.iter().any(|problem| problem.contains("configured for them: 1")),
            "{:?}",
            state.problems
        );
        drop(units.remove(0));
        let state = scene.until_confined("the last one", &units.iter().collect::<Vec<_>>())?;
        ensure!(state.problems.is_empty(), "{:?}", state.problems);
        daemon.stop()
    });
}

#[test]
fn a_mode_is_given_up_only_by_name() {
    bounded(2 * PATIENCE, || {
        let scene = Scene::new()?;
        let (configured, other) = (scene.root.child("configured")?, scene.root.child("other")?);
        let daemon = scene.site.daemon_configured(&scene.policy("configured", "eth1")?)?;
        scene.until_confined("the configured one", &[&configured])?;
        // The cgroup, --mode, the mode that follows, whether it is said that it was kept.
        for (cgroup, mode, expected, kept) in [
            (&configured, None, Mode::Strict, true),
            (&configured, Some("prefer"), Mode::Prefer, false),
            (&configured, None, Mode::Prefer, false),
            (&configured, Some("strict"), Mode::Strict, false),
            (&configured, None, Mode::Strict, true),
            (&other, None, Mode::Prefer, false),
            (&other, Some("observe"), Mode::Observe, false),
            (&other, None, Mode::Observe, true),
        ] {
            let path = cgroup.path().to_str().context("UTF-8")?;
            let mut args = vec!["policy", "attach", path, "--pvd", "interface=eth2"];
            args.extend(mode.iter().flat_map(|mode| ["--mode", mode]));
            let output = scene.site.mif(&args)?;
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            ensure!(output.status.success(), "{args:?}: {said}");
            ensure!(said.contains("is that of the policy before") == kept, "{args:?}: {said}");
            let id = cgroup.id()?;
            let state = scene.site.state()?;
            let policy = state.policies.iter().find(|policy| policy.cgroup_id == id).context("a policy")?;
            ensure!(policy.mode == expected, "{args:?}: {policy:?}");
        }
        daemon.stop()
    });
}

/// The directories that a process watches (proc_pid_fdinfo(5)).
fn watches(process: u32) -> Result<usize> {
    let mut count = 0;
    for entry in std::fs::read_dir(format!("/proc/{process}/fdinfo"))? {
        // A descriptor may be closed meanwhile.
        let text = std::fs::read_to_string(entry?.path()).unwrap_or_default();
        count += text.lines().filter(|line| line.starts_with("inotify wd:")).count();
    }
    Ok(count)
}

#[test]
fn many_at_once() {
    /// As many units start within a moment on a big machine.
    const MANY: usize = 300;
    bounded(8 * PATIENCE, || {
        let scene = Scene::new()?;
        let daemon = scene.site.daemon_configured(
            "[[policy]]\nunit = '*.service'\npvds = ['eth1']\n[[policy]]\nunit = '*.scope'\npvds = ['eth2']\n",
        )?;
        let before = watches(daemon.id())?;
        let mut slices = Vec::new();
        let mut units = Vec::new();
        for number in 0..MANY {
            if number % 50 == 0 {
                slices.push(scene.root.child(&format!("{number}.slice"))?);
            }
            let slice = slices.last().context("the first number made one")?;
            let kind = if number % 3 == 0 { "scope" } else { "service" };
            units.push(slice.child(&format!("{number}.{kind}"))?);
        }
        scene.until_confined("all of them", &units.iter().collect::<Vec<_>>())?;
        ensure!(watches(daemon.id())? == before + slices.len() + units.len());
        // Every second one goes.
        let mut number = 0;
        units.retain(|_| {
            number += 1;
            number % 2 == 0
        });
        scene.until_confined("those that are left", &units.iter().collect::<Vec<_>>())?;
        drop(units);
        scene.until_confined("none", &[])?;
        // The kernel keeps the watches of cgroups that are gone until somebody removes them.
        ensure!(watches(daemon.id())? == before + slices.len());
        daemon.stop()
    });
}

/// The kernel's queue of events is full while the daemon does not come to read it.
#[test]
fn events_that_were_lost() {
    bounded(8 * PATIENCE, || {
        let scene = Scene::new()?;
        let daemon = scene.site.daemon_configured(&scene.policy("unit-*", "eth1")?)?;
        let gone = scene.root.child("unit-gone")?;
        scene.until_confined("the first one", &[&gone])?;
        let process = Pid::from_raw(i32::try_from(daemon.id())?);
        kill(process, Signal::SIGSTOP)?;
        let queue: usize =
            std::fs::read_to_string("/proc/sys/fs/inotify/max_queued_events")?.trim().parse()?;
        // One event for each that is made and each that is removed.
        let filler = scene.root.path().join("filler");
        for _ in 0..=queue / 2 {
            std::fs::create_dir(&filler)?;
            std::fs::remove_dir(&filler)?;
        }
        drop(gone);
        let come = scene.root.child("unit-come")?;
        kill(process, Signal::SIGCONT)?;
        scene.until_confined("the one that came unseen, and not the one that went", &[&come])?;
        let lost =
            scene.site.until_state("the loss", |state| state.refused.get("cgroup-events-lost").copied())?;
        ensure!(lost == 1, "{lost}");
        let last = scene.root.child("unit-last")?;
        scene.until_confined("what comes afterwards", &[&come, &last])?;
        daemon.stop()
    });
}

/// What the policy is for: the flows of a unit that starts while the daemon runs.
#[test]
fn a_unit_that_starts_uses_its_provider() {
    bounded(6 * PATIENCE, || {
        let lab = Lab::new()?;
        let daemon = lab.site.daemon_configured(&format!(
            "[[policy]]\nunit = 'backup.service'\npvds = ['{}']\n",
            ISP_B.name
        ))?;
        lab.wait_for_routers()?;
        let unit = lab.cgroup.child("backup.service")?;
        let id = unit.id()?;
        lab.site.until_state("the unit's policy", |state| {
            state.policies.iter().any(|policy| policy.cgroup_id == id).then_some(())
        })?;
        let (a, b) = (lab.world.source(&ISP_A)?, lab.world.source(&ISP_B)?);
        lab.world.forget()?;
        let flows = [Kind::Tcp, Kind::UdpConnected, Kind::UdpUnconnected]
            .map(|kind| Flow::new(kind, at_echo(SERVERS[0])));
        for (flow, report) in flows.iter().zip(lab.world.host.place(&unit).open_all(&flows)?) {
            ensure!(report.arrived && report.source() == Some(b.into()), "{flow:?}: {report:?}");
        }
        for flow in flows.map(|flow| flow.from(a)) {
            let report = lab.world.host.place(&unit).open(&flow)?;
            ensure!(!report.arrived, "{flow:?}: {report:?}");
        }
        let seen = lab.world.routers()[0].tap().seen()?;
        ensure!(seen.is_empty(), "packets left by the other provider: {seen:#?}");
        drop(unit);
        lab.site.until_state("its policy to be gone", |state| state.policies.is_empty().then_some(()))?;
        lab.check_flows("a unit that came and went")?;
        daemon.stop()
    });
}
