//! What needs neither root nor an installation.

use std::{fs, process::Stdio};

use super::fixture::{Folder, end_of, mif, run};

const VERBS: [&str; 12] = [
    "status",
    "pvd",
    "explain",
    "map",
    "policy",
    "exec",
    "watch",
    "doctor",
    "detach",
    "daemon",
    "completions",
    "man",
];

#[test]
fn every_verb_has_help_with_examples() {
    for verb in VERBS {
        let verbs = match verb {
            "policy" => vec![vec!["policy", "list"], vec!["policy", "attach"], vec!["policy", "detach"]],
            verb => vec![vec![verb]],
        };
        for mut arguments in verbs {
            arguments.push("--help");
            let help = run(&mut mif(arguments.iter().copied())).ok();
            assert!(help.contains("Examples:"), "{arguments:?}: {help}");
            assert!(help.contains(&format!("mif {}", arguments[0])), "{arguments:?}: {help}");
        }
    }
}

#[test]
fn readers_document_their_json() {
    for verb in ["status", "pvd", "explain", "map", "watch", "doctor"] {
        let help = run(&mut mif([verb, "--help"])).ok();
        assert!(help.contains("--json") && help.contains("JSON"), "{verb}: {help}");
    }
}

#[test]
fn completions_of_each_shell() {
    for (shell, expected) in [("bash", "complete -F"), ("zsh", "#compdef mif"), ("fish", "complete -c mif")] {
        let script = run(&mut mif(["completions", shell])).ok();
        assert!(script.contains(expected), "{shell}");
    }
}

#[test]
fn manual_pages() {
    assert!(run(&mut mif(["man"])).ok().contains(".TH mif 1"));
    let folder = Folder::new();
    run(mif(["man"]).arg(folder.path())).ok();
    let page = fs::read_to_string(folder.path().join("mif.1")).expect("written");
    assert!(page.contains(".TH"));
    for verb in VERBS {
        assert!(folder.path().join(format!("mif-{verb}.1")).exists(), "{verb}");
    }
}

/// Arguments, exit status, and what the message says.
#[test]
fn what_makes_no_sense() {
    for (arguments, status, message) in [
        (vec![], 2, "Usage: mif"),
        (vec!["frobnicate"], 2, "frobnicate"),
        (vec!["explain"], 2, "<NAME>"),
        (vec!["explain", "--source", "192.0.2.1", "2001:db8::1"], 1, "are of two families"),
        (vec!["map", "nonsense"], 2, "decision"),
        (vec!["policy", "attach", "/tmp"], 2, "--pvd"),
        (vec!["policy", "attach", "/tmp", "--pvd", "a,,b"], 2, "expected PvDs with commas between them"),
        (vec!["policy", "attach", "/tmp", "--pvd", "a", "--mode", "firm"], 2, "observe"),
        (vec!["policy", "attach", "/tmp", "--pvd", "kind=odd"], 2, "`odd` is no kind of PvD"),
        (vec!["policy", "attach", "/tmp", "--pvd", "a", "--otherwise", "wait"], 2, "kernel"),
        (vec!["policy", "attach", "/tmp", "--pvd", "a"], 1, "/tmp is not a cgroup"),
        (vec!["policy", "attach", "no/such/slice", "--pvd", "a"], 1, "no/such/slice is not a cgroup"),
        (vec!["exec", "--pvd", "a", "--parent", "/tmp", "--", "true"], 1, "/tmp is not a cgroup"),
        (vec!["exec", "--pvd", "a"], 2, "<CMD>"),
        (vec!["completions", "csh"], 2, "bash"),
        (vec!["daemon", "--config", "/nonexistent/mif.toml"], 1, "mif: "),
    ] {
        run(&mut mif(arguments.iter().copied())).fails(status, message);
    }
}

#[test]
fn readers_say_that_there_is_no_installation() {
    let folder = Folder::new();
    for verb in [
        vec!["status"],
        vec!["pvd"],
        vec!["pvd", "eth0"],
        vec!["explain", "2001:db8::1"],
        vec!["map"],
        vec!["policy", "list"],
        vec!["watch"],
    ] {
        for json in [false, true] {
            let mut command = mif(verb.iter().copied());
            command.arg("--bpffs").arg(folder.path().join("mif")).arg("--state-dir").arg(folder.path());
            if json {
                command.arg("--json");
            }
            let ran = run(&mut command);
            assert_eq!(ran.out, "", "{verb:?}");
            ran.fails(1, "nothing is pinned there; start the daemon (mif daemon)");
        }
    }
}

#[test]
fn changes_say_that_there_is_no_daemon() {
    let folder = Folder::new();
    let mut command = mif(["policy", "detach", "/nonexistent"]);
    run(command.arg("--state-dir").arg(folder.path())).fails(1, "no daemon answers at");
}

#[test]
fn a_reader_that_goes_is_no_error() {
    let mut child = mif(["completions", "bash"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    drop(child.stdout.take());
    let ran = end_of(child);
    assert_eq!(ran.err, "");
    ran.ok();
}

#[test]
fn doctor_reports_as_json() {
    let folder = Folder::new();
    let mut command = mif(["doctor", "--json"]);
    let ran =
        run(command.arg("--state-dir").arg(folder.path()).arg("--bpffs").arg(folder.path().join("mif")));
    let checks: serde_json::Value = serde_json::from_str(&ran.out).expect("JSON");
    let checks = checks.as_array().expect("an array");
    let missing = checks.iter().any(|check| check["verdict"] == "missing");
    assert_eq!(ran.status, Some(i32::from(missing)), "{checks:?}");
    for wanted in [
        "privileges",
        "kernel",
        "BTF",
        "cgroup2",
        "bpffs",
        "programs",
        "tc",
        "daemon",
        "pins",
        "policy rules",
    ] {
        assert!(checks.iter().any(|check| check["check"] == wanted), "{wanted} in {checks:?}");
    }
    for check in checks.iter().filter(|check| check["verdict"] == "missing") {
        assert!(!check["remedy"].is_null() || check["check"] == "cgroup2", "{check}");
    }
}
