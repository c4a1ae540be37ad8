//! What a lab needs of the machine. What is missing is an error that says so, never a skipped test.

use std::{env, path::Path};

use anyhow::{Result, bail};

/// Programs that the lab starts, with the Debian package of each.
const PROGRAMS: [(&str, &str); 7] = [
    ("ip", "iproute2"),
    ("radvd", "radvd"),
    ("find", "findutils"),
    ("ping", "iputils-ping"),
    ("kea-dhcp6", "kea-dhcp6-server"),
    ("dnsmasq", "dnsmasq-base"),
    ("dhcpd", "isc-dhcp-server"),
];

/// Checks for all of it at once, so that the message is complete.
///
/// # Errors
/// Lists all that is missing.
pub fn everything() -> Result<()> {
    let mut missing = Vec::new();
    if !nix::unistd::geteuid().is_root() {
        missing.push("root (namespaces, cgroups and raw sockets)".to_owned());
    }
    for (program, package) in PROGRAMS {
        if !on_path(program) {
            missing.push(format!("the program `{program}` (package {package})"));
        }
    }
    if !missing.is_empty() {
        bail!("missing: {}; `cargo xtask setup` installs programs, `sudo -E` gives root", missing.join(", "));
    }
    Ok(())
}

/// Debian keeps daemons in `/usr/sbin`, which `su` does not put on the path.
const DAEMONS: &str = "/usr/local/sbin:/usr/sbin:/sbin";

fn on_path(program: &str) -> bool {
    let path = search_path();
    env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// `PATH` with the folders of daemons behind it; what the lab's children get.
pub fn search_path() -> std::ffi::OsString {
    let mut path = env::var_os("PATH").unwrap_or_default();
    if !path.is_empty() {
        path.push(":");
    }
    path.push(DAEMONS);
    path
}

/// Where a binary of this workspace lies: in the folder of the running one, or, for a test in `deps`, the one above.
///
/// # Errors
/// It was not built.
pub fn sibling(program: &str) -> Result<std::path::PathBuf> {
    let exe = env::current_exe()?;
    let found =
        exe.ancestors().skip(1).take(2).map(|folder| folder.join(program)).find(|path| Path::is_file(path));
    match found {
        Some(path) => Ok(path),
        None => {
            bail!("`{program}` is not beside {}; build it with `cargo build --bin {program}`", exe.display())
        }
    }
}
