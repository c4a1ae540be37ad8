//! Privileges, the kernel's version and its features.

use std::{fs, path::Path};

use aya::programs::{SchedClassifier, TcAttachType};

use super::Check;
use crate::kernel::{
    btf,
    btf::Layouts,
    mounts::{self, BPFFS},
    object::{self, Sizes},
    privileges,
};

/// The oldest kernel that the project supports: what its tests run on.
const OLDEST_KERNEL: (u32, u32) = (6, 1);
/// TCX links (`BPF_TCX_EGRESS`).
const TCX_KERNEL: (u32, u32) = (6, 6);
/// The loopback interface's index: every namespace has it.
const LOOPBACK: u32 = 1;

/// `pins` is the directory of the pins.
pub fn checks(pins: &Path) -> Vec<Check> {
    vec![capabilities(), version(), btf(), cgroup2(), bpffs(pins), programs(), tcx()]
}

fn capabilities() -> Check {
    match privileges::check() {
        Ok(()) => Check::ok("privileges", privileges::needed().join(", ")),
        Err(error) => Check::missing("privileges", error.to_string()).remedy("run it as root, or with sudo"),
    }
}

fn version() -> Check {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let release = release.trim();
    let (major, minor) = OLDEST_KERNEL;
    match parse_version(release) {
        Some(version) if version >= OLDEST_KERNEL => Check::ok("kernel", format!("Linux {release}")),
        _ => Check::missing("kernel", format!("Linux {release}, older than {major}.{minor}"))
            .remedy(format!("boot Linux {major}.{minor} or later")),
    }
}

/// Major and minor number of a release such as `6.1.0-18-amd64`.
fn parse_version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|char: char| !char.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn btf() -> Check {
    if !Path::new(btf::VMLINUX).exists() {
        // Whether it hinders, the check of the programs says.
        return Check::warning(
            "BTF",
            format!(
                "no {}; the kernel may refuse the programs, and {}",
                btf::VMLINUX,
                Layouts::of_the_kernel().missing.join("; ")
            ),
        )
        .remedy("boot a kernel with CONFIG_DEBUG_INFO_BTF=y");
    }
    let missing = Layouts::of_the_kernel().missing;
    if missing.is_empty() { Check::ok("BTF", btf::VMLINUX) } else { Check::note("BTF", missing.join("; ")) }
}

fn cgroup2() -> Check {
    match mounts::cgroup2() {
        Ok(path) => Check::ok("cgroup2", path.display().to_string()),
        Err(error) => Check::missing("cgroup2", error.to_string()),
    }
}

fn bpffs(pins: &Path) -> Check {
    let place = pins.parent().unwrap_or(pins);
    if mounts::is_bpffs(place) {
        return Check::ok("bpffs", place.display().to_string());
    }
    let kernel_has_it = fs::read_to_string("/proc/filesystems")
        .is_ok_and(|all| all.lines().any(|line| line.ends_with("\tbpf")));
    if kernel_has_it && place != Path::new(BPFFS) {
        return Check::missing("bpffs", format!("{} is not in a bpf file system", place.display()))
            .remedy(format!("mount -t bpf bpf {}, or name another place with --bpffs", place.display()));
    }
    if kernel_has_it {
        return Check::note("bpffs", format!("not mounted at {BPFFS}; the daemon mounts it"));
    }
    Check::missing("bpffs", "this kernel has no bpf file system")
        .remedy("boot a kernel with CONFIG_BPF_SYSCALL=y")
}

/// Loads the programs: that tells whether the kernel has their types, maps and helpers, whatever its version says.
fn programs() -> Check {
    match object::load(Sizes::default(), &Layouts::of_the_kernel()) {
        Ok(_) => {
            let names = object::programs().collect::<Vec<_>>().join(", ");
            Check::ok("programs", format!("the kernel takes {names} and their maps"))
        }
        Err(error) => Check::missing("programs", format!("the kernel refuses them: {error:#}")).remedy(
            "as root; the kernel needs CONFIG_CGROUP_BPF, CONFIG_NET_CLS_ACT and CONFIG_DEBUG_INFO_BTF, \
             and must not be locked down (kernel.unprivileged_bpf_disabled does not matter for root)",
        ),
    }
}

fn tcx() -> Check {
    if SchedClassifier::query_tcx(LOOPBACK, TcAttachType::Egress).is_ok() {
        return Check::ok("tc", "TCX links");
    }
    let (major, minor) = TCX_KERNEL;
    Check::note("tc", format!("no TCX (Linux {major}.{minor}); a clsact filter is used instead"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bpffs_elsewhere() {
        let check = bpffs(Path::new("/proc/mif"));
        assert_eq!(check.verdict, super::super::Verdict::Missing);
        assert!(check.found.starts_with("/proc is not in a bpf file system"), "{}", check.found);
    }

    #[test]
    fn releases() {
        for (release, expected) in [
            ("6.1.0-18-amd64", Some((6, 1))),
            ("6.18.44-fc-v657", Some((6, 18))),
            ("5.15", Some((5, 15))),
            ("6", None),
            ("", None),
        ] {
            assert_eq!(parse_version(release), expected, "{release}");
        }
    }
}
