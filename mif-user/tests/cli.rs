//! The `mif` binary as people and scripts see it.
//!
//! `usage` needs nothing; `installed` and `exec` put the real programs on a bpf file system, a cgroup and a network
//! namespace of their own, and need root.

#[path = "cli/exec.rs"]
mod exec;
#[path = "cli/fixture.rs"]
mod fixture;
#[path = "cli/installed.rs"]
mod installed;
#[path = "cli/usage.rs"]
mod usage;
