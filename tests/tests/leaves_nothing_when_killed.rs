//! A lab whose process ends, by whatever signal, leaves nothing in the system: no namespace, process, cgroup or file. Should its
//! janitor have been killed with it, the next lab cleans up.

use std::{
    collections::BTreeSet,
    env, fs,
    io::{BufRead as _, BufReader, Read as _},
    os::unix::process::ExitStatusExt as _,
    path::PathBuf,
    process::{self, Command, Stdio},
    time::Duration,
};

use anyhow::Result;
use mif_tests::{cgroup, deadline::bounded, footprint, process::Process};
use nix::sys::signal::Signal;

/// Paths in a folder; none if it is gone, as those of processes soon are.
fn entries(folder: PathBuf) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path())
}

/// The network namespaces among the targets of symbolic links.
fn namespaces(links: impl Iterator<Item = PathBuf>) -> BTreeSet<PathBuf> {
    let is_net = |target: &PathBuf| target.to_str().is_some_and(|text| text.starts_with("net:["));
    links.filter_map(|link| fs::read_link(link).ok()).filter(is_net).collect()
}

/// Those that the process `pid` holds by descriptors.
fn held_by(pid: u32) -> BTreeSet<PathBuf> {
    namespaces(entries(format!("/proc/{pid}/fd").into()))
}

/// Those that anything in the system runs in or holds.
fn held_by_anyone() -> BTreeSet<PathBuf> {
    let tasks = entries("/proc".into()).flat_map(|process| entries(process.join("task")));
    namespaces(tasks.flat_map(|task| entries(task.join("fd")).chain([task.join("ns/net")])))
}

#[test]
fn the_end_of_the_process_takes_everything_down() {
    bounded(Duration::from_secs(120), || -> Result<()> {
        for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGKILL] {
            let mut command = Command::new(env!("CARGO_BIN_EXE_mif-lab"));
            command
                .args(["--hold", "--radvd"])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped());
            let mut lab = Process::spawn(command)?;
            let stdout = BufReader::new(lab.child().stdout.take().expect("stdout is piped"));
            let ready = stdout.lines().any(|line| line.is_ok_and(|line| line.starts_with("Ready")));
            assert!(ready, "the lab was not built");
            let name = footprint::name_of(lab.id())?;
            let held = held_by(lab.id());
            assert!(held.len() >= 4, "host, internet and two routers are among {held:?}");
            assert!(footprint::check_gone(&name).is_err(), "{name} is where it is looked for");

            lab.signal(signal)?;
            assert_eq!(lab.wait()?.signal(), Some(signal as i32));
            // Everything that the lab started has its standard error, so this ends when the last of it has, the janitor included.
            let mut complaints = String::new();
            lab.child().stderr.take().expect("stderr is piped").read_to_string(&mut complaints)?;
            assert_eq!(complaints, "", "{signal}");
            footprint::check_gone(&name)?;
            let left: Vec<_> = held_by_anyone().intersection(&held).cloned().collect();
            assert_eq!(left, Vec::<PathBuf>::new(), "{signal}");
        }
        Ok(())
    });
}

#[test]
fn the_next_lab_sweeps_up() {
    bounded(Duration::from_secs(60), || {
        // This process lives, but it did not start one tick after the machine did.
        let stale = format!("mif-lab-{}-1", process::id());
        let files = env::temp_dir().join(&stale);
        fs::create_dir_all(files.join("radvd-0"))?;
        let cgroups = cgroup::mount_point()?.expect("this machine has cgroup2").join(&stale);
        fs::create_dir_all(cgroups.join("applications-0/child"))?;
        assert!(footprint::check_gone(&stale).is_err());

        let mut command = Command::new(env!("CARGO_BIN_EXE_mif-lab"));
        command.stdin(Stdio::null()).stdout(Stdio::null());
        assert!(Process::spawn(command)?.wait()?.success());
        footprint::check_gone(&stale)
    });
}
