//! The kernel's side: object, maps, pins, attachments.
//!
//! * [`object`]: the compiled programs and what they are called.
//! * [`maps`]: the maps as typed collections; [`maps::Maps`] is the real [`TableStore`](mif_core::select::tables::TableStore).
//! * [`pins`]: where everything lives in bpffs, and how one installation replaces another.
//! * [`attach`]: cgroup and tc links.
//! * [`btf`]: where members of the kernel's structures are.
//! * [`mounts`]: where cgroup2 and bpffs are.
//! * [`privileges`]: what the daemon may do.

pub mod attach;
pub mod btf;
pub mod maps;
pub mod mounts;
pub mod object;
pub mod pins;
pub mod privileges;
