//! Commands that cannot be done: each says why and what to do, and changes nothing.

use std::{
    io::Read as _,
    process::{Command, Output, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use mif_tests::{
    cgroup::Cgroup,
    deadline::{PATIENCE, bounded},
    enforced::{Lab, check_words},
    footprint::Folder,
    isp::{ISP_A, ISP_B},
    mif::Site,
    netns::Namespace,
    process::Process,
};

/// A command that was not done.
const FAILED: i32 = 1;
/// A command line that makes no sense.
const USAGE: i32 = 2;

fn complaint(site: &Site, args: &[&str], status: i32) -> Result<String> {
    let Output { status: ended, stdout, stderr } = site.mif(args)?;
    let said = String::from_utf8(stderr)?;
    ensure!(ended.code() == Some(status), "mif {}: {ended}, it said: {said}", args.join(" "));
    ensure!(stdout.is_empty(), "mif {}: printed {}", args.join(" "), String::from_utf8_lossy(&stdout));
    Ok(said)
}

#[test]
fn what_does_not_exist_is_refused_and_what_does_is_named() {
    bounded(6 * PATIENCE, || {
        let lab = Lab::new()?;
        let daemon = lab.daemon()?;
        let confined = lab.cgroup.child("confined")?;
        let cgroup = confined.path().to_str().context("UTF-8")?;
        lab.site.says(["policy", "attach", cgroup, "--pvd", ISP_A.name, "--mode", "strict"])?;
        let before = lab.site.enforced()?;
        ensure!(before.policies.len() == 1, "{before:?}");

        let folder = Folder::new("not-a-cgroup")?;
        let file = folder.path().join("file");
        std::fs::write(&file, "")?;
        let (folder, file) = (folder.path().to_str().context("UTF-8")?, file.to_str().context("UTF-8")?);
        let missing = format!("{cgroup}/missing");
        let file_of_cgroup = format!("{cgroup}/cgroup.procs");
        let free = lab.cgroup.child("free")?;
        let free = free.path().to_str().context("UTF-8")?;
        let not_a_cgroup = ["is not a cgroup", "expected a directory of a cgroup2 file system"];
        let (a, b) = (format!("{}/", ISP_A.name), format!("{}/", ISP_B.name));
        let id_a = lab.site.wait_for_state("the PvDs", |state| {
            state.pvds.iter().map(|pvd| pvd.id.clone()).find(|id| id.starts_with(&a))
        })?;
        let there_is_no = ["there is no PvD \"nope\"", a.as_str(), b.as_str()];
        let table: [(&[&str], i32, &[&str]); 26] = [
            (&["policy", "attach", folder, "--pvd", "isp-a"], FAILED, &not_a_cgroup),
            (&["policy", "attach", file, "--pvd", "isp-a"], FAILED, &not_a_cgroup),
            (&["policy", "attach", &missing, "--pvd", "isp-a"], FAILED, &not_a_cgroup),
            (&["policy", "attach", &file_of_cgroup, "--pvd", "isp-a"], FAILED, &not_a_cgroup),
            (&["exec", "--parent", folder, "--pvd", "isp-a", "--", "true"], FAILED, &not_a_cgroup),
            (&["explain", "--cgroup", &missing, "2001:db8::1"], FAILED, &not_a_cgroup),
            (&["policy", "attach", free, "--pvd", "nope"], FAILED, &there_is_no),
            (&["pvd", "nope"], FAILED, &there_is_no),
            (&["exec", "--parent", cgroup, "--pvd", "nope", "--", "true"], FAILED, &there_is_no),
            (&["policy", "attach", free, "--pvd", "isp"], FAILED, &["\"isp\" can be any of", &a, &b]),
            (&["pvd", "isp"], FAILED, &["\"isp\" can be any of", &a, &b]),
            (&["policy", "attach", free, "--pvd", "isp-a,"], USAGE, &["--pvd", "with commas"]),
            (&["policy", "attach", free], USAGE, &["--pvd"]),
            (
                &["policy", "attach", free, "--pvd", "kind=odd"],
                USAGE,
                &["`odd` is no kind of PvD", "explicit"],
            ),
            (&["policy", "attach", free, "--pvd", "colour=red"], USAGE, &["`colour` is no property", "kind"]),
            (
                &["policy", "attach", free, "--pvd", "kind=explicit+kind=ipv4"],
                USAGE,
                &["`kind` stands here twice"],
            ),
            (&["policy", "attach", free, "--pvd", "interface=a/b"], USAGE, &["`a/b` is no interface name"]),
            (
                &["policy", "attach", free, "--pvd", "isp-a", "--pvd", "isp-b,isp-a"],
                FAILED,
                &["`isp-a` stands here twice, expected it once"],
            ),
            (
                &["exec", "--parent", cgroup, "--pvd", "kind=explicit,kind=explicit", "--", "true"],
                FAILED,
                &["`kind=explicit` stands here twice, expected it once"],
            ),
            // By their ids, whatever they are called.
            (&["policy", "attach", free, "--pvd", &a, "--pvd", &id_a], FAILED, &[&id_a, "stands here twice"]),
            (
                &["policy", "attach", free, "--pvd", "isp-a", "--mode", "strict", "--otherwise", "kernel"],
                FAILED,
                &["strict refuses what no group reaches", "`refuse`", "prefer"],
            ),
            (&["policy", "detach", free], FAILED, &["has no policy", "`mif policy list`"]),
            (&["explain", "no..where"], FAILED, &["cannot resolve", "no..where"]),
            (&["explain", "--source", "192.0.2.1", "2001:db8::1"], FAILED, &["of two families"]),
            (&["explain", "--interface", "eth9", "2001:db8::1"], FAILED, &["\"eth9\"", "`ip link`"]),
            (&["map", "decisions"], USAGE, &["decisions", "possible values", "decision"]),
        ];
        for (args, status, words) in table {
            let said = complaint(&lab.site, args, status)?;
            check_words(&args.join(" "), &said, words)?;
            ensure!(lab.site.enforced()? == before, "after mif {}", args.join(" "));
        }
        lab.check_flows("all of it")?;
        ensure!(!daemon.log()?.contains("ERROR"), "{}", daemon.log()?);
        Ok(())
    });
}

#[test]
fn without_a_daemon_what_is_pinned_is_read_and_not_changed() {
    bounded(6 * PATIENCE, || {
        let lab = Lab::new()?;
        lab.daemon()?.kill()?;
        let before = lab.site.enforced()?;
        let cgroup = lab.cgroup.path().to_str().context("UTF-8")?;
        for args in [
            &["policy", "attach", cgroup, "--pvd", "isp-a"][..],
            &["policy", "detach", cgroup],
            &["exec", "--parent", cgroup, "--pvd", "isp-a", "--", "true"],
        ] {
            let said = complaint(&lab.site, args, FAILED)?;
            check_words(&args.join(" "), &said, &["no daemon answers at", "control.sock", "mif daemon"])?;
        }
        let left: Vec<_> = std::fs::read_dir(lab.cgroup.path())?.flatten().map(|e| e.file_name()).collect();
        ensure!(!left.iter().any(|name| name.to_string_lossy().contains("mif-exec")), "{left:?}");
        let status = lab.site.says(["status"])?;
        check_words("status", &status, &["not running", "Start it: mif daemon", "isp-a"])?;
        ensure!(lab.site.enforced()? == before);
        lab.check_flows("the daemon's death")
    });
}

#[test]
fn without_an_installation_there_is_nothing_to_read_and_that_is_said() {
    bounded(2 * PATIENCE, || {
        let (namespace, cgroup) = (Namespace::new("host")?, Cgroup::new("host")?);
        let site = Site::new(&namespace, &cgroup)?;
        for args in [
            &["status"][..],
            &["status", "--json"],
            &["pvd"],
            &["map"],
            &["policy", "list"],
            &["explain", "2001:db8::1"],
        ] {
            let said = complaint(&site, args, FAILED)?;
            check_words(&args.join(" "), &said, &["no mif at", "nothing is pinned there", "mif daemon"])?;
        }
        check_words("doctor", &site.says(["doctor"])?, &["nothing installed at", "not running"])?;
        check_words("detach", &site.says(["detach", "--all"])?, &["There was nothing to remove"])
    });
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    bounded(4 * PATIENCE, || {
        let lab = Lab::new()?;
        let _daemon = lab.daemon()?;
        for args in [
            &["map"][..],
            &["map", "--json"],
            &["status"],
            &["status", "--json"],
            &["pvd"],
            &["doctor"],
            &["explain", "2001:db8::1"],
            &["completions", "bash"],
            &["man"],
        ] {
            let (reader, writer) = nix::unistd::pipe()?;
            drop(reader);
            let mut command = lab.site.command(args)?;
            let output = command.stdout(writer).stderr(Stdio::piped()).output()?;
            let said = String::from_utf8_lossy(&output.stderr);
            ensure!(output.status.success() && said.is_empty(), "mif {args:?}: {}: {said}", output.status);
        }
        Ok(())
    });
}

/// `mif exec ... -- COMMAND` below the lab's cgroup.
fn exec(lab: &Lab, command: &[&str]) -> Result<Command> {
    let parent = lab.cgroup.path().to_str().context("UTF-8")?;
    let args = ["exec", "--parent", parent, "--pvd", "isp-a", "--mode", "strict", "--"];
    lab.site.command(args.iter().chain(command))
}

#[test]
fn exec_ends_as_its_command_does() {
    bounded(6 * PATIENCE, || {
        let lab = Lab::new()?;
        let daemon = lab.daemon()?;
        let before = lab.site.enforced()?;
        let file = lab.site.state_dir().join("no-program");
        std::fs::write(&file, "")?;
        let file = file.to_str().context("UTF-8")?;
        // command, exit status, what mif says of it
        for (command, status, says) in [
            (&["true"][..], 0, ""),
            (&["sh", "-c", "exit 7"], 7, ""),
            (&["sh", "-c", "kill -TERM $$"], 128 + 15, ""),
            (&["sh", "-c", "kill -KILL $$"], 128 + 9, ""),
            (&["/nowhere/nothing"], 127, "cannot run /nowhere/nothing: No such file"),
            (&[file], 126, "Permission denied"),
        ] {
            let output = exec(&lab, command)?.output()?;
            let said = String::from_utf8_lossy(&output.stderr);
            ensure!(output.status.code() == Some(status), "{command:?}: {}: {said}", output.status);
            ensure!(said.contains(says) && said.is_empty() == says.is_empty(), "{command:?}: {said}");
            ensure!(lab.site.enforced()? == before, "after {command:?}");
        }
        daemon.stop()
    });
}

#[test]
fn a_daemon_that_ends_takes_nothing_from_a_command_that_runs() {
    bounded(6 * PATIENCE, || {
        let lab = Lab::new()?;
        let daemon = lab.daemon()?;
        let mut command = exec(&lab, &["sh", "-c", "echo up; read word; exit 5"])?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut running = Process::spawn(command)?;
        ensure!(running.read_line()? == "up");
        let confined = lab.site.enforced()?;
        ensure!(confined.policies.len() == 1, "{confined:?}");
        daemon.stop()?;
        ensure!(lab.site.enforced()? == confined, "the policy went with the daemon");
        running.write_line("go")?;
        let status = running.wait()?;
        let mut said = String::new();
        running.child().stderr.take().context("a pipe")?.read_to_string(&mut said)?;
        ensure!(status.code() == Some(5) && said.is_empty(), "{status}: {said}");
        // For the next daemon the policy of the cgroup that is gone is only there for what its sockets still send.
        let _daemon = lab.daemon()?;
        let state = lab.site.state()?;
        ensure!(state.policies.is_empty() && state.removed.len() == 1, "{state:#?}");
        lab.check_flows("two daemons")
    });
}
