//! The compiled kernel programs.

use aya::{
    Ebpf, EbpfLoader,
    programs::{CgroupSkb, CgroupSockAddr, ProgramInfo, SchedClassifier},
};
use mif_common::{limits, reason};

use super::{btf::Layouts, maps::Raw};

/// The object that `build.rs` compiled.
static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("MIF_EBPF_OBJECT"));

/// The programs of the socket hooks, by their names in the object.
pub const CGROUP_PROGRAMS: [&str; 6] = ["connect4", "connect6", "sendmsg4", "sendmsg6", "bind4", "bind6"];

/// The tc program, by its name in the object.
pub const EGRESS_PROGRAM: &str = "egress";

/// The program that judges packets where no tc hook does, attached to the cgroup while strict policies exist.
pub const GUARD_PROGRAM: &str = "guard";

/// All programs.
pub fn programs() -> impl Iterator<Item = &'static str> {
    CGROUP_PROGRAMS.into_iter().chain([EGRESS_PROGRAM, GUARD_PROGRAM])
}

/// Every map that user space opens. SOCKET and LISTENER (socket storage) are the hooks' own and live as long
/// as they do.
pub const MAPS: [&str; 10] =
    ["CONFIG", "POLICY", "VIEW", "DECISION", "SOURCE", "INTERFACE", "PVD", "STATS", "EVENTS", "GATE"];

/// Sizes that the configuration may change.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Sizes {
    /// Places for PvDs, place 0 ("none") included; at most [`limits::PVDS_MAX`] + 1.
    pub pvds: u32,
    /// Local addresses.
    pub sources: u32,
    /// Entries of the DECISION trie.
    pub decisions: u32,
    /// Cgroups with a policy.
    pub policies: u32,
}

impl Default for Sizes {
    fn default() -> Self {
        Self {
            pvds: limits::PVDS + 1,
            sources: limits::SOURCES,
            decisions: limits::DECISIONS,
            policies: limits::POLICIES,
        }
    }
}

/// Why the programs cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The object does not fit this kernel.
    #[error("the kernel refuses the maps or the object: {0}; `mif doctor` says what this machine lacks")]
    Object(#[from] aya::EbpfError),
    /// The verifier or the kernel's configuration refuses a program.
    #[error("the kernel refuses program {name}: {source}; `mif doctor` says what this machine lacks")]
    Program {
        /// Which.
        name: &'static str,
        /// Why.
        source: aya::programs::ProgramError,
    },
    /// The object was built without it.
    #[error("the object has no program {0}; rebuild with `cargo xtask build`")]
    Missing(&'static str),
}

/// Loads maps and programs into the kernel; nothing is attached or pinned yet.
///
/// # Errors
/// When the kernel lacks a feature, memory or the privilege.
pub fn load(sizes: Sizes, layouts: &Layouts) -> Result<Ebpf, LoadError> {
    let (socket, netns) = (Raw(layouts.socket), Raw(layouts.netns));
    let mut ebpf = EbpfLoader::new()
        .override_global("SOCKET_LAYOUT", &socket, true)
        .override_global("NETNS_PATH", &netns, true)
        .map_max_entries("PVD", sizes.pvds)
        .map_max_entries("STATS", sizes.pvds.saturating_mul(reason::COUNT))
        .map_max_entries("SOURCE", sizes.sources)
        .map_max_entries("DECISION", sizes.decisions)
        .map_max_entries("POLICY", sizes.policies)
        .load(OBJECT)?;
    for name in CGROUP_PROGRAMS {
        let program: &mut CgroupSockAddr = program(&mut ebpf, name)?;
        program.load().map_err(|source| LoadError::Program { name, source })?;
    }
    let egress: &mut SchedClassifier = program(&mut ebpf, EGRESS_PROGRAM)?;
    egress.load().map_err(|source| LoadError::Program { name: EGRESS_PROGRAM, source })?;
    let guard: &mut CgroupSkb = program(&mut ebpf, GUARD_PROGRAM)?;
    guard.load().map_err(|source| LoadError::Program { name: GUARD_PROGRAM, source })?;
    Ok(ebpf)
}

/// A program of the object by name and type.
///
/// # Errors
/// When the object has no such program.
pub fn program<'a, T>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<&'a mut T, LoadError>
where
    &'a mut T: TryFrom<&'a mut aya::programs::Program>,
{
    ebpf.program_mut(name).and_then(|program| program.try_into().ok()).ok_or(LoadError::Missing(name))
}

/// The kernel's digest of a program's instructions: equal for equal programs, whatever maps they use.
///
/// # Errors
/// When the program is not loaded.
pub fn tag(ebpf: &Ebpf, name: &'static str) -> Result<u64, LoadError> {
    let program = ebpf.program(name).ok_or(LoadError::Missing(name))?;
    program.info().map(|info: ProgramInfo| info.tag()).map_err(|source| LoadError::Program { name, source })
}
