//! Configurations that are wrong, and those that are right but name what is not there.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result, ensure};
use mif_tests::{
    deadline::{PATIENCE, bounded},
    enforced::{Lab, check_words},
    isp::ISP_A,
};

fn write(lab: &Lab, text: impl AsRef<[u8]>) -> Result<PathBuf> {
    let path = lab.site.state_dir().join("mif.toml");
    fs::write(&path, text)?;
    Ok(path)
}

#[test]
fn a_wrong_file_is_refused_where_it_is_wrong() {
    bounded(6 * PATIENCE, || {
        let lab = Lab::new()?;
        lab.daemon()?.stop()?;
        let before = lab.site.enforced()?;
        // text, place, what was read, what was expected
        let table: [(&[u8], &str, &[&str]); 8] = [
            (b"\nmodus = 'strict'", ":2:1:", &["unknown field `modus`", "`mode`", "modus = 'strict'"]),
            (b"[limits]\n  pvd = 1", ":2:3:", &["unknown field `pvd`", "`pvds`", "pvd = 1"]),
            (b"mode = 1", ":1:8:", &["integer `1`", "expected a string"]),
            (b"interfaces = 'wan0'", ":1:14:", &["string \"wan0\"", "expected a sequence"]),
            (b"mode = 'strct'", ":1:8:", &["`strct` is no mode", "`observe`, `prefer` or `strict`"]),
            (b"[limits]\npvds = 0", ":2:8:", &["0 is out of range", "expected 1 to"]),
            (b"[[policy]]\ncgroup = 'a'\npvds = ['x']", ":2:10:", &["`a` is no cgroup", "expected a path"]),
            (b"mode = '\xff'", "mif.toml", &["cannot read the configuration", "UTF-8"]),
        ];
        for (text, place, words) in table {
            let path = write(&lab, text)?;
            let path = path.to_str().context("UTF-8")?;
            let said = lab.site.complains(["daemon", "--config", path])?;
            check_words(&String::from_utf8_lossy(text), &said, words)?;
            ensure!(said.contains(path) && said.contains(place), "{place}: {said}");
            ensure!(!said.contains(char::REPLACEMENT_CHARACTER), "unreadable: {said}");
            ensure!(lab.site.enforced()? == before, "{said}");
        }
        for (path, why) in [("/nowhere/mif.toml", "No such file"), ("/", "Is a directory")] {
            let said = lab.site.complains(["daemon", "--config", path])?;
            check_words(path, &said, &["cannot read the configuration", path, why])?;
            ensure!(said.matches(why).count() == 1, "{said}");
            ensure!(lab.site.enforced()? == before, "{said}");
        }
        lab.check_flows("all of it")
    });
}

#[test]
fn an_interface_that_is_not_there_is_a_problem_until_it_appears() {
    bounded(6 * PATIENCE, || {
        let lab = Lab::new()?;
        let path = write(
            &lab,
            "interfaces = ['isp-a', 'isp-b', 'wan7']\nignore_interfaces = ['docker9']\n[interface.wan8]\nmetric = 1",
        )?;
        let daemon = lab.site.daemon(["--config", path.to_str().context("UTF-8")?])?;
        lab.wait_for_routers()?;
        let problem = |key: &str, name: &str| format!("{key} names `{name}`, but there is no such interface");
        let problems = [
            problem("interfaces", "wan7"),
            problem("ignore_interfaces", "docker9"),
            problem("[interface]", "wan8"),
        ];
        let (log, status) = (daemon.log()?, lab.site.says(["status"])?);
        let json: serde_json::Value = serde_json::from_str(&lab.site.says(["status", "--json"])?)?;
        for problem in &problems {
            check_words("the log", &log, &[problem])?;
            check_words("status", &status, &[problem])?;
            check_words("status --json", &json["problems"].to_string(), &[problem])?;
        }
        lab.check_flows("names of nothing")?;
        lab.world.host.namespace().ip("link add wan7 type veth peer name wan8")?;
        lab.site.until_state("the problems of wan7 and wan8 to be gone", |state| {
            let [left] = &state.problems[..] else { return None };
            left.contains("docker9").then_some(())
        })?;
        Ok(())
    });
}

#[test]
fn a_policy_of_a_cgroup_that_is_not_there_leaves_the_others_in_force() {
    bounded(6 * PATIENCE, || {
        let lab = Lab::new()?;
        let confined = lab.cgroup.child("confined")?;
        let (lab_cgroup, name) = (lab.cgroup.below_root()?, confined.below_root()?);
        let daemon = lab.site.daemon_configured(&format!(
            "[[policy]]\ncgroup = '/nowhere/at.all'\npvds = ['x']\n\
             [[policy]]\ncgroup = '{lab_cgroup}/later'\npvds = ['y']\n\
             [[policy]]\ncgroup = '{name}'\npvds = ['{}', 'nope.example']\n",
            ISP_A.name
        ))?;
        lab.wait_for_routers()?;
        // One that can never be is a problem, one that may come is not.
        let words = [
            "the configured policy of",
            "/nowhere/at.all",
            "is not in force",
            "which the daemon is attached to",
        ];
        check_words("the log", &daemon.log()?, &words)?;
        let status = lab.site.says(["status"])?;
        check_words("status", &status, &words)?;
        check_words("status", &status, &["NOT IN FORCE", "/later", "no such cgroup now"])?;
        ensure!(lab.site.state()?.problems.len() == 1, "{:?}", lab.site.state()?.problems);
        let policies = lab.site.enforced()?.policies;
        ensure!(policies.keys().eq([&confined.id()?]), "{policies:?}");
        // A PvD that does not exist yet is shown as it was written.
        check_words("policy list", &lab.site.says(["policy", "list"])?, &["nope.example", "configuration"])?;
        lab.check_flows("a policy of nobody")
    });
}

#[test]
fn groups_in_circles_or_empty_are_refused_where_they_stand() {
    bounded(2 * PATIENCE, || {
        let lab = Lab::new()?;
        for (text, place, words) in [
            (
                "[group.a]\npvds = [{ group = 'b' }]\n[group.b]\npvds = [{ group = 'a' }]",
                ":4:9:",
                "a group within itself",
            ),
            ("[group.a]\npvds = []", ":2:8:", "an empty group"),
            ("[[policy]]\ncgroup = '/a'\npvds = [{ group = 'x' }]", ":3:9:", "there is no group `x`"),
            ("[[policy]]\nunit = 'ssh'\npvds = ['x']", ":2:8:", "`ssh` is no systemd unit"),
        ] {
            let path = write(&lab, text)?;
            let said = lab.site.complains(["daemon", "--config", path.to_str().context("UTF-8")?])?;
            check_words(text, &said, &[words, place])?;
        }
        Ok(())
    });
}
