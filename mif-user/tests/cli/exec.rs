//! `mif exec` and `mif policy attach|detach`, with somebody at the control socket.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::process::CommandExt as _,
    process::Stdio,
};

use mif_user::{
    control::Request,
    mode::{Mode, Otherwise},
};
use nix::{
    sys::signal::{self, SigHandler, Signal, kill},
    unistd::Pid,
};

use super::fixture::{Host, StandIn};

impl Host {
    fn exec(&self, command: &[&str]) -> super::fixture::Ran {
        let parent = self.cgroup.to_str().expect("UTF-8");
        self.run_before(&["exec", "--pvd", "b", "--mode", "strict", "--parent", parent, "--"], command)
    }

    /// The places come before the command, which takes all that follows it.
    fn run_before(&self, verb: &[&str], command: &[&str]) -> super::fixture::Ran {
        super::fixture::run(&mut self.before(verb, command))
    }

    fn before(&self, verb: &[&str], command: &[&str]) -> std::process::Command {
        let mut mif = self.mif([]);
        mif.args(verb).args(command);
        // nohup and shells without job control start programs with some of these ignored, which is inherited, and a
        // shell cannot trap what was ignored when it started.
        let with_defaults = || {
            for signal in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM] {
                // SAFETY: the default disposition is no handler of ours.
                unsafe { signal::signal(signal, SigHandler::SigDfl) }?;
            }
            Ok(())
        };
        // SAFETY: signal(2) is async-signal-safe.
        unsafe { mif.pre_exec(with_defaults) };
        mif
    }

    fn cgroups_below(&self) -> Vec<String> {
        fs::read_dir(&self.cgroup)
            .expect("there")
            .map(|entry| entry.expect("there"))
            .filter(|entry| entry.file_type().expect("known").is_dir())
            .map(|entry| entry.file_name().into_string().expect("UTF-8"))
            .collect()
    }
}

#[test]
fn the_command_is_in_its_cgroup_from_the_start() {
    let host = Host::new();
    let daemon = StandIn::start(&host.state_dir, None, vec![]);
    let own = host.exec(&["cat", "/proc/self/cgroup"]).ok();
    let own = own.lines().find_map(|line| line.strip_prefix("0::")).expect("cgroup2").to_owned();
    let name = own.rsplit('/').next().expect("a name").to_owned();
    assert!(name.starts_with("mif-exec-"), "{own}");
    let cgroup = host.cgroup.join(&name);
    let asked = daemon.asked();
    assert!(
        matches!(&asked[..], [
            Request::Attach { cgroup: attached, groups, otherwise: None, mode: Some(Mode::Strict) },
            Request::Detach { cgroup: detached },
        ] if *attached == cgroup && *detached == cgroup && *groups == [["b".into()]]),
        "{asked:?}"
    );
    assert_eq!(host.cgroups_below(), Vec::<String>::new());
}

#[test]
fn exit_statuses() {
    let host = Host::new();
    let _daemon = StandIn::start(&host.state_dir, None, vec![]);
    for (command, expected) in [
        (vec!["true"], 0),
        (vec!["sh", "-c", "exit 7"], 7),
        (vec!["sh", "-c", "kill -TERM $$"], 143),
        (vec!["sh", "-c", "kill -KILL $$"], 137),
        (vec!["/nonexistent/command"], 127),
        (vec!["/"], 126),
    ] {
        assert_eq!(host.exec(&command).status, Some(expected), "{command:?}");
        assert_eq!(host.cgroups_below(), Vec::<String>::new(), "{command:?}");
    }
}

#[test]
fn a_refused_policy_runs_nothing() {
    let host = Host::new();
    let _daemon = StandIn::start(&host.state_dir, Some("there is no PvD \"b\""), vec![]);
    let ran = host.exec(&["echo", "ran"]);
    assert_eq!(ran.out, "");
    ran.fails(1, "there is no PvD \"b\"");
    assert_eq!(host.cgroups_below(), Vec::<String>::new());
}

#[test]
fn signals() {
    let host = Host::new();
    let _daemon = StandIn::start(&host.state_dir, None, vec![]);
    let parent = host.cgroup.to_str().expect("UTF-8");
    // The trap shows that the command heard it, and the exit status that mif waited for it.
    let script = "trap 'echo heard; exit 5' TERM HUP; echo ready; while :; do read line || exit 9; done";
    for (sent, expected) in [
        (vec![Signal::SIGTERM], 5),
        (vec![Signal::SIGHUP], 5),
        (vec![Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM], 5),
    ] {
        let mut child = host
            .before(&["exec", "--pvd", "b", "--parent", parent, "--"], &["bash", "-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        assert_eq!(lines.next().expect("a line").expect("text"), "ready");
        for signal in &sent {
            kill(Pid::from_raw(child.id().try_into().expect("a pid")), *signal).expect("it lives");
        }
        assert_eq!(lines.next().expect("a line").expect("text"), "heard", "{sent:?}");
        assert_eq!(child.wait().expect("it ends").code(), Some(expected), "{sent:?}");
        assert_eq!(host.cgroups_below(), Vec::<String>::new());
    }
}

#[test]
fn what_was_left_behind_keeps_its_policy_and_is_swept_later() {
    let host = Host::new();
    let daemon = StandIn::start(&host.state_dir, None, vec![]);
    let ran = host.exec(&["sh", "-c", "sleep 1000 >/dev/null 2>&1 &"]);
    assert!(ran.err.contains("the command left processes behind; they keep the policy"), "{}", ran.err);
    ran.ok();
    let left = host.cgroups_below();
    assert_eq!(left.len(), 1);
    assert!(matches!(&daemon.asked()[..], [Request::Attach { .. }]), "no detach");
    host.exec(&["true"]).ok();
    assert_eq!(host.cgroups_below(), left, "populated");
    let cgroup = host.cgroup.join(&left[0]);
    fs::write(cgroup.join("cgroup.kill"), "1").expect("killed");
    let events = cgroup.join("cgroup.events");
    while fs::read_to_string(&events).expect("there").contains("populated 1") {
        std::thread::yield_now();
    }
    host.exec(&["true"]).ok();
    assert_eq!(host.cgroups_below(), Vec::<String>::new());
    let swept = |request: &Request| matches!(request, Request::Detach { cgroup: swept } if *swept == cgroup);
    assert!(daemon.asked().iter().any(swept));
}

#[test]
fn policies_go_through_the_daemon() {
    let host = Host::new();
    let daemon = StandIn::start(&host.state_dir, None, vec![]);
    let cgroup = host.cgroup.to_str().expect("UTF-8");
    let text = host
        .run([
            "policy",
            "attach",
            cgroup,
            "--pvd",
            "a",
            "--pvd",
            "b,kind=explicit",
            "--mode",
            "strict",
            "--otherwise",
            "refuse",
        ])
        .ok();
    assert_eq!(text, format!("{cgroup} has the policy strict: a, then b or kind=explicit\n"));
    host.run(["policy", "detach", cgroup]).ok();
    let asked = daemon.asked();
    assert!(
        matches!(&asked[..], [
            Request::Attach { cgroup, groups, otherwise: Some(Otherwise::Refuse), mode: Some(Mode::Strict) },
            Request::Detach { .. },
        ] if *cgroup == host.cgroup && *groups == [vec!["a".into()], vec!["b".into(), "kind=explicit".parse().expect("a selector")]]),
        "{asked:?}"
    );
}
