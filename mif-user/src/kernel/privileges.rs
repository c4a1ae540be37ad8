//! What the daemon may do.

use std::{fs, io};

/// Capabilities that the daemon uses, by their numbers (`linux/capability.h`).
const CAPABILITIES: [(u32, &str); 4] =
    [(12, "CAP_NET_ADMIN"), (13, "CAP_NET_RAW"), (38, "CAP_PERFMON"), (39, "CAP_BPF")];

/// Stands in for these where the kernel asks for them (`bpf_capable`, `perfmon_capable`).
const CAP_SYS_ADMIN: u32 = 21;
const IN_SYS_ADMIN: [u32; 2] = [38, 39];

/// Why the daemon does not start.
#[derive(Debug, thiserror::Error)]
pub enum PrivilegeError {
    /// Something lacks.
    #[error("without {}; run it as root, or give it what lacks (systemd: AmbientCapabilities=)", .0.join(", "))]
    Lacking(Vec<&'static str>),
    /// It cannot be found out.
    #[error("cannot read /proc/self/status: {0}; is /proc mounted?")]
    Status(io::Error),
}

/// Checks that this process has all that the daemon needs, before anything is touched.
///
/// # Errors
/// When something lacks; the message names all of it.
pub fn check() -> Result<(), PrivilegeError> {
    let status = fs::read_to_string("/proc/self/status").map_err(PrivilegeError::Status)?;
    let lacking = lacking(effective(&status).unwrap_or(0));
    if lacking.is_empty() { Ok(()) } else { Err(PrivilegeError::Lacking(lacking)) }
}

/// All that the daemon needs.
#[must_use]
pub fn needed() -> Vec<&'static str> {
    CAPABILITIES.iter().map(|(_, name)| *name).collect()
}

/// `CapEff` of `/proc/PID/status` (proc(5)).
fn effective(status: &str) -> Option<u64> {
    let mask = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(mask.trim(), 16).ok()
}

fn lacking(effective: u64) -> Vec<&'static str> {
    let has = |number: u32| effective & (1 << number) != 0;
    let held = |number: u32| has(number) || (has(CAP_SYS_ADMIN) && IN_SYS_ADMIN.contains(&number));
    CAPABILITIES.iter().filter(|(number, _)| !held(*number)).map(|(_, name)| *name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capability_masks() {
        let status = "Name:\tmif\nCapInh:\t0000000000000000\nCapEff:\t000001ffffffffff\n";
        for (mask, expected) in [
            (effective(status).expect("there"), vec![]),
            (0, vec!["CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_PERFMON", "CAP_BPF"]),
            ((1 << 39) | (1 << 12), vec!["CAP_NET_RAW", "CAP_PERFMON"]),
            ((1 << CAP_SYS_ADMIN) | (1 << 12), vec!["CAP_NET_RAW"]),
        ] {
            assert_eq!(lacking(mask), expected, "{mask:#x}");
        }
        assert_eq!(effective("Name: x\n"), None);
    }
}
