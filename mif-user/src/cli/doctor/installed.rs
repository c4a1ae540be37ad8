//! Daemon, pins, and who else has programs at the same hooks.

use super::{
    super::{Global, reader},
    Check, cgroup_programs,
};
use crate::kernel::{maps::Maps, mounts, pins};

pub fn checks(global: &Global) -> Vec<Check> {
    let mut checks = vec![daemon(global), pins(global)];
    checks.extend(others());
    checks
}

fn daemon(global: &Global) -> Check {
    match reader::daemon(&global.state_dir()) {
        Ok(Some(pid)) => Check::ok("daemon", format!("running, process {pid}")),
        Ok(None) => Check::note("daemon", "not running").remedy("mif daemon, or: systemctl start mif"),
        Err(error) => Check::warning("daemon", format!("{error:#}")).remedy("run this as root"),
    }
}

fn pins(global: &Global) -> Check {
    let directory = &global.bpffs();
    if let Err(error) = reader::check_readable(directory) {
        return Check::warning("pins", error.to_string());
    }
    match Maps::open(directory) {
        Ok(_) => {
            let hooks = pins::pinned_cgroup_links(directory);
            let interfaces = pins::pinned_interfaces(directory).len();
            let found = format!(
                "{}: {} hooks of the cgroup, egress at {interfaces}",
                directory.display(),
                hooks.len()
            );
            if hooks.is_empty() {
                return Check::warning("pins", found)
                    .remedy("restart the daemon: it attaches what is missing");
            }
            Check::ok("pins", found)
        }
        Err(_) if !directory.exists() => {
            Check::note("pins", format!("nothing installed at {}", directory.display()))
        }
        Err(error) => Check::warning("pins", error.to_string())
            .remedy("a daemon of this version replaces what is mif's own; what is not, remove by hand"),
    }
}

/// Programs of others at the hooks of the root cgroup. All run; each sees what the one before it wrote.
fn others() -> Vec<Check> {
    let Ok(root) = mounts::cgroup2() else { return Vec::new() };
    let mut checks = Vec::new();
    for (hook, attach_type) in cgroup_programs::HOOKS {
        match cgroup_programs::attached(&root, attach_type) {
            Ok(programs) => {
                let others: Vec<String> = programs.into_iter().filter(|name| name != hook).collect();
                if !others.is_empty() {
                    let found =
                        format!("{} at {} as well; all of them run", others.join(", "), root.display());
                    checks.push(Check::note(hook, found));
                }
            }
            Err(error) => {
                let found = format!("cannot list the programs at {}: {error}", root.display());
                checks.push(Check::warning(hook, found).remedy("run this as root"));
            }
        }
    }
    checks
}
