//! Which programs a cgroup runs at a hook: `BPF_PROG_QUERY`, for which aya has no call on cgroups.

use std::{collections::BTreeMap, fs::File, io, os::fd::AsRawFd as _, path::Path};

use aya::programs::loaded_programs;

/// `linux/bpf.h`, `enum bpf_cmd`.
const BPF_PROG_QUERY: libc::c_long = 16;
/// `linux/bpf.h`: not only what is attached to the cgroup itself.
const BPF_F_QUERY_EFFECTIVE: u32 = 1;
/// Programs that are listed at most; the kernel allows `BPF_CGROUP_MAX_PROGS`, 64.
const MOST: usize = 64;

/// The hooks that ours are at, by name and `enum bpf_attach_type`.
pub const HOOKS: [(&str, u32); 7] = [
    ("guard", 1),
    ("bind4", 8),
    ("bind6", 9),
    ("connect4", 10),
    ("connect6", 11),
    ("sendmsg4", 14),
    ("sendmsg6", 15),
];

/// The `query` member of `union bpf_attr`, as long as it has been since 4.15.
#[repr(C)]
struct Query {
    target_fd: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    prog_ids: u64,
    prog_cnt: u32,
    /// The union is 8 bytes aligned, and what follows must be zero.
    padding: u32,
}

/// The names of the programs that run at a hook for the processes of a cgroup; `#7` for one without a name.
///
/// # Errors
/// When the cgroup cannot be opened, or the kernel refuses, for instance without CAP_NET_ADMIN.
pub fn attached(cgroup: &Path, attach_type: u32) -> io::Result<Vec<String>> {
    let directory = File::open(cgroup)?;
    let mut ids = [0u32; MOST];
    let mut query = Query {
        target_fd: directory.as_raw_fd().unsigned_abs(),
        attach_type,
        query_flags: BPF_F_QUERY_EFFECTIVE,
        attach_flags: 0,
        prog_ids: ids.as_mut_ptr() as u64,
        prog_cnt: MOST as u32,
        padding: 0,
    };
    // SAFETY: the attribute has the length given, and its pointer leads to `prog_cnt` elements that live until the call
    // returns; the kernel writes no more than that.
    let status = unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_QUERY, &raw mut query, size_of::<Query>()) };
    if status < 0 {
        return Err(io::Error::last_os_error());
    }
    let found = &ids[..MOST.min(query.prog_cnt as usize)];
    if found.is_empty() {
        return Ok(Vec::new());
    }
    let names: BTreeMap<u32, String> = loaded_programs()
        .filter_map(Result::ok)
        .filter_map(|program| Some((program.id(), program.name_as_str()?.to_owned())))
        .filter(|(_, name)| !name.is_empty())
        .collect();
    Ok(found.iter().map(|id| names.get(id).cloned().unwrap_or_else(|| format!("#{id}"))).collect())
}
