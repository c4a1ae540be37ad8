//! A lab that is dropped, by a panic too, leaves nothing in its process: no namespace, child, cgroup or file. Alone in its file:
//! other tests of the same process have labs of their own.

use std::{
    fs, panic,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result};
use mif_tests::{cgroup::Cgroup, deadline::bounded, footprint::Footprint, router::Daemon, world::World};

const LIMIT: Duration = Duration::from_secs(60);

/// The network namespaces that this process holds by descriptors.
fn namespaces() -> Result<Vec<PathBuf>> {
    // Descriptors come and go while we look.
    let targets =
        fs::read_dir("/proc/self/fd")?.flatten().filter_map(|entry| fs::read_link(entry.path()).ok());
    Ok(targets.filter(|target| target.to_str().is_some_and(|text| text.starts_with("net:["))).collect())
}

/// Whether it has no folders; a cgroup always has files.
fn is_empty(folder: &Path) -> Result<bool> {
    let mut entries = fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))?;
    Ok(!entries.any(|entry| entry.is_ok_and(|entry| entry.path().is_dir())))
}

/// The children of this process but for the janitor.
fn children() -> Result<Vec<String>> {
    let mut found = Vec::new();
    for task in fs::read_dir("/proc/self/task")? {
        let list = fs::read_to_string(task?.path().join("children")).unwrap_or_default();
        for pid in list.split_whitespace() {
            let command = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            if !command.contains("mif-lab-janitor") {
                found.push(format!("{pid} {command}"));
            }
        }
    }
    Ok(found)
}

#[test]
fn a_panic_takes_everything_down() {
    bounded(LIMIT, || {
        let built = panic::catch_unwind(|| {
            let world = World::two_uplinks(Daemon::Radvd).expect("the lab runs here");
            let cgroup = Cgroup::new("panic").expect("the lab runs here");
            let server = world.host.place(&cgroup).serve(&["[::]:7".parse().expect("an address")]);
            let _server = server.expect("the port is free");
            let _peers =
                [world.container(), world.tunnel(), world.vpn()].map(|peer| peer.expect("names are free"));
            assert!(!is_empty(Footprint::get()?.cgroups())? && !is_empty(Footprint::get()?.files())?);
            assert!(!children()?.is_empty() && !namespaces()?.is_empty());
            if !children()?.is_empty() {
                panic!("on purpose");
            }
            Ok::<_, anyhow::Error>(())
        });
        let payload = built.expect_err("it panics");
        assert_eq!(payload.downcast_ref::<&str>(), Some(&"on purpose"));
        assert_eq!(children()?, Vec::<String>::new());
        assert_eq!(namespaces()?, Vec::<PathBuf>::new());
        assert!(is_empty(Footprint::get()?.cgroups())? && is_empty(Footprint::get()?.files())?);
        Ok(())
    });
}
