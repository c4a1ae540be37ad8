//! `cargo xtask setup`: what building and testing need, and nothing that is there already. Every other task calls it.
//!
//! What is there is read from the machine itself each time (rustc's sysroot, cargo's record of installed tools, PATH), which
//! takes some tens of milliseconds and cannot go stale as a note of our own could.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use anyhow::{Context, Result, bail};

use crate::{
    sh,
    workspace::{Workspace, root_prefix},
};

/// What a task needs beyond a build.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Running the lab and the kernel tests.
    Lab,
    /// Building and running the fuzz targets.
    Fuzz,
}

impl Need {
    /// Everything.
    pub const ALL: [Self; 2] = [Self::Lab, Self::Fuzz];
}

/// A program from crates.io that lives in the project's own `target/tools`.
struct Tool {
    name: &'static str,
    version: &'static str,
    why: &'static str,
}

/// Newer ones than this want a system LLVM; this one carries LLVM 22, which reads what Rust 1.98 writes.
const BPF_LINKER: Tool =
    Tool { name: "bpf-linker", version: "0.10.3", why: "links the kernel programs; takes a minute or two" };
const CARGO_FUZZ: Tool =
    Tool { name: "cargo-fuzz", version: "0.13.1", why: "builds and runs the fuzz targets" };

/// A program of the system and the Debian package that has it.
struct Program {
    name: &'static str,
    package: &'static str,
    why: &'static str,
    need: Need,
}

const PROGRAMS: [Program; 7] = [
    Program { name: "ip", package: "iproute2", why: "looks into the lab's namespaces", need: Need::Lab },
    Program {
        name: "radvd",
        package: "radvd",
        why: "plays the routers of the kernel tests",
        need: Need::Lab,
    },
    Program { name: "ping", package: "iputils-ping", why: "is what people try first", need: Need::Lab },
    Program {
        name: "kea-dhcp6",
        package: "kea-dhcp6-server",
        why: "leases in the kernel tests",
        need: Need::Lab,
    },
    Program { name: "dnsmasq", package: "dnsmasq-base", why: "leases in the kernel tests", need: Need::Lab },
    Program { name: "dhcpd", package: "isc-dhcp-server", why: "leases in the kernel tests", need: Need::Lab },
    Program { name: "g++", package: "g++", why: "compiles libFuzzer", need: Need::Fuzz },
];

/// With this file, Debian's radvd.service starts as soon as the package is installed; without it, it does not
/// (`ConditionPathExists` in the unit). A set-up step must not begin to send Router Advertisements.
const RADVD_CONFIGURATION: &str = "/etc/radvd.conf";
/// With Debian's own configuration Kea listens on no interface, and ISC dhcpd ends because it finds no subnet.
const DHCP_SERVERS: [&str; 2] = ["kea-dhcp6-server", "isc-dhcp-server"];

/// How long apt waits for another package manager (unattended-upgrades) before it gives up.
const APT_LOCK_SECONDS: u32 = 300;

/// Installs what is missing for a build and for `needs`.
pub fn ensure(workspace: &Workspace, needs: &[Need]) -> Result<()> {
    toolchain(workspace)?;
    programs(needs)?;
    tool(workspace, &BPF_LINKER)?;
    if needs.contains(&Need::Fuzz) {
        tool(workspace, &CARGO_FUZZ)?;
    }
    Ok(())
}

/// The pinned toolchain with the components of `rust-toolchain.toml`.
fn toolchain(workspace: &Workspace) -> Result<()> {
    let file = workspace.root.join("rust-toolchain.toml");
    let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let channel = pinned_channel(&text).with_context(|| format!("{} has no `channel`", file.display()))?;
    if components_present(workspace) {
        return check_version(workspace, channel);
    }
    say(&format!("Rust {channel} with the components that rust-toolchain.toml names"));
    if sh::which("rustup").is_none() {
        bail!(
            "the sources of Rust's standard library, rustfmt or clippy are missing, and rustup is not installed\n  \
             install rustup (https://rustup.rs) and run this again"
        );
    }
    let mut install = Command::new("rustup");
    // Rustup's cargo sets this variable for us; with it, rustup would not read the file with the components. And rustup itself
    // is the user's: installing a toolchain must not replace it.
    install.args(["toolchain", "install", "--no-self-update"]);
    install.current_dir(&workspace.root).env_remove("RUSTUP_TOOLCHAIN");
    let by_hand =
        format!("see rustup's message above; by hand, in the project's root: {}", sh::line(&install));
    sh::run(&mut install, &by_hand)?;
    check_version(workspace, channel)
}

/// `channel = "X"` of rust-toolchain.toml.
fn pinned_channel(text: &str) -> Option<&str> {
    let value = text.lines().find_map(|line| line.trim().strip_prefix("channel"))?;
    value.split('"').nth(1)
}

/// Whether the toolchain in use has rust-src, rustfmt and clippy.
fn components_present(workspace: &Workspace) -> bool {
    let mut rustc = Command::new("rustc");
    rustc.args(["--print", "sysroot"]).current_dir(&workspace.root);
    let Ok(sysroot) = sh::output(&mut rustc, "") else { return false };
    let sysroot = PathBuf::from(sysroot.trim_end());
    ["lib/rustlib/src/rust/library/core/Cargo.toml", "bin/rustfmt", "bin/cargo-clippy"]
        .iter()
        .all(|file| sysroot.join(file).is_file())
}

/// Another toolchain would write bitcode of another LLVM, which bpf-linker refuses in words that help nobody.
fn check_version(workspace: &Workspace, channel: &str) -> Result<()> {
    let mut rustc = Command::new("rustc");
    let version = sh::output(rustc.arg("--version").current_dir(&workspace.root), "is rustc in PATH?")?;
    if version.split(' ').nth(1) != Some(channel) {
        bail!(
            "this is {}, and the project needs Rust {channel}\n  \
             unset RUSTUP_TOOLCHAIN, or `rustup override unset`, and run this again",
            version.trim_end()
        );
    }
    Ok(())
}

/// Installs `tool` unless cargo's own record says that this very version is there.
fn tool(workspace: &Workspace, tool: &Tool) -> Result<()> {
    let root = workspace.tools();
    let record = fs::read_to_string(root.join(".crates.toml")).unwrap_or_default();
    let Tool { name, version, why } = *tool;
    if recorded(&record, name, version) && root.join("bin").join(name).is_file() {
        return Ok(());
    }
    say(&format!("{name} {version}, which {why}"));
    let start = Instant::now();
    let mut install = workspace.cargo("install");
    install.args(["--locked", "--force", name, "--version", version, "--root"]).arg(&root);
    let by_hand = sh::line(&install);
    sh::run(&mut install, &format!("see cargo's message above; once that is repaired, by hand: {by_hand}"))?;
    println!("setup: {name} {version} installed in {:.0} s", start.elapsed().as_secs_f64());
    Ok(())
}

/// Whether cargo's `.crates.toml` lists `name` in `version`.
fn recorded(record: &str, name: &str, version: &str) -> bool {
    let entry = format!("\"{name} {version} (");
    record.lines().any(|line| line.starts_with(&entry))
}

/// The system's programs: installed on Debian and its children, only asked for elsewhere.
fn programs(needs: &[Need]) -> Result<()> {
    let missing: Vec<&Program> = PROGRAMS
        .iter()
        .filter(|program| needs.contains(&program.need) && sh::which(program.name).is_none())
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    for program in &missing {
        say(&format!("{}, which {}", program.name, program.why));
    }
    let os_release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    if !is_debian(&os_release) || sh::which("apt-get").is_none() {
        let names: Vec<_> = missing.iter().map(|program| program.name).collect();
        bail!(
            "not in PATH: {}\n  install them with this system's package manager and run this again",
            names.join(", ")
        );
    }
    if missing.iter().any(|program| program.package == "radvd") {
        if Path::new(RADVD_CONFIGURATION).exists() {
            bail!(
                "radvd is not installed, but {RADVD_CONFIGURATION} is there: installing the package would start to send \
                 Router Advertisements\n  by hand: move that file away, or `systemctl mask radvd`, then apt-get install radvd"
            );
        }
        println!("setup: Debian's radvd.service stays off: it starts only when {RADVD_CONFIGURATION} exists");
    }
    if missing.iter().any(|program| DHCP_SERVERS.contains(&program.package)) {
        println!(
            "setup: Debian's units for kea-dhcp6-server and isc-dhcp-server serve no interface as they come, and dnsmasq-base has none"
        );
    }
    let packages: Vec<_> = missing.iter().map(|program| program.package).collect();
    let by_hand = format!("by hand, as root: apt-get install {}", packages.join(" "));
    let mut update = apt_get().with_context(|| format!("cannot install Debian packages ({by_hand})"))?;
    // One broken source among many fails the update, and may have nothing to do with our packages.
    if let Err(error) = sh::run(update.arg("update"), "trying to install nevertheless") {
        eprintln!("warning: {error:#}");
    }
    let mut install = apt_get()?;
    install.args(["install", "--yes", "--no-install-recommends"]).args(&packages);
    sh::run(&mut install, &format!("see apt-get's messages above; {by_hand}"))?;
    match missing.iter().find(|program| sh::which(program.name).is_none()) {
        Some(program) => {
            bail!("package {} is installed, but {} is not in PATH", program.package, program.name)
        }
        None => Ok(()),
    }
}

/// ID and ID_LIKE of os-release(5).
fn is_debian(os_release: &str) -> bool {
    os_release
        .lines()
        .filter_map(|line| line.strip_prefix("ID=").or_else(|| line.strip_prefix("ID_LIKE=")))
        .flat_map(|value| value.trim_matches(['"', '\'']).split_whitespace())
        .any(|id| id == "debian")
}

fn apt_get() -> Result<Command> {
    // sudo may drop the environment, so the variable is set behind it.
    let prefix = root_prefix()?.unwrap_or_default();
    let mut words = prefix.iter().copied().chain(["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]);
    let mut command = Command::new(words.next().expect("the chain ends with three words"));
    command.args(words).arg(format!("-oDPkg::Lock::Timeout={APT_LOCK_SECONDS}"));
    Ok(command)
}

fn say(what: &str) {
    println!("setup: missing: {what}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_channel_is_read_from_the_toolchain_file() {
        let cases = [
            ("[toolchain]\nchannel = \"1.98.0\"\n", Some("1.98.0")),
            ("[toolchain]\n  channel=\"nightly\" # why", Some("nightly")),
            ("[toolchain]\nprofile = \"minimal\"\n", None),
            ("channel = 1", None),
        ];
        for (text, expected) in cases {
            assert_eq!(pinned_channel(text), expected, "{text}");
        }
    }

    #[test]
    fn a_tool_counts_only_in_its_own_version() {
        let record = "[v1]\n\"bpf-linker 0.10.3 (registry+https://github.com/rust-lang/crates.io-index)\" = [\"bpf-linker\"]\n";
        let cases = [
            ("bpf-linker", "0.10.3", true),
            ("bpf-linker", "0.10.30", false),
            ("bpf-linker", "0.10", false),
            ("linker", "0.10.3", false),
        ];
        for (name, version, expected) in cases {
            assert_eq!(recorded(record, name, version), expected, "{name} {version}");
        }
    }

    #[test]
    fn debian_and_its_children_have_apt() {
        let cases = [
            ("PRETTY_NAME=\"Debian GNU/Linux 12\"\nID=debian\n", true),
            ("ID=ubuntu\nID_LIKE=debian\n", true),
            ("ID=pop\nID_LIKE=\"ubuntu debian\"\n", true),
            ("ID=fedora\nNAME=\"not debian\"\n", false),
            ("", false),
        ];
        for (text, expected) in cases {
            assert_eq!(is_debian(text), expected, "{text}");
        }
    }
}
