//! Attaching the programs: cgroup links, and tc links in both forms that kernels know.

use std::{fs::File, io, os::unix::fs::MetadataExt as _, path::Path};

use aya::{
    Ebpf,
    programs::{
        CgroupAttachMode, CgroupSkb, CgroupSkbAttachType, CgroupSockAddr, LinkOrder, ProgramError,
        SchedClassifier, TcAttach, TcAttachType,
        links::{FdLink, LinkError},
        tc::{self, NlOptions, SchedClassifierLink, TcHandle},
    },
};
use serde::Deserialize;

use super::object::{self, EGRESS_PROGRAM, GUARD_PROGRAM, LoadError};

/// How tc programs are attached.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub enum TcBackend {
    /// TCX where the kernel has it (6.6), else netlink.
    #[default]
    Auto,
    /// A TCX link: pinned, gone with the pin.
    Tcx,
    /// A clsact filter, known by a priority and a handle of ours.
    Netlink,
}

/// Priority of the clsact filter: early, but with room before it.
const PRIORITY: u16 = 0x6d;
/// Handle of the clsact filter at that priority: with the priority it names our filter and no other.
const HANDLE: TcHandle = TcHandle::new(0, 0x6d69);

/// Why a program cannot be attached.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// The cgroup refuses.
    #[error("cannot attach {program} to cgroup {cgroup}: {source}")]
    Cgroup {
        /// Which program.
        program: &'static str,
        /// Where to.
        cgroup: String,
        /// Why.
        source: ProgramError,
    },
    /// The interface refuses.
    #[error("cannot attach egress to interface {ifindex}: {source}")]
    Interface {
        /// Where to.
        ifindex: u32,
        /// Why.
        source: ProgramError,
    },
    /// The link is of a kind that cannot be pinned.
    #[error("the link of {0} cannot be pinned: {1}")]
    Link(&'static str, LinkError),
    /// The cgroup directory cannot be opened.
    #[error("cannot open cgroup {0}: {1}")]
    Open(String, io::Error),
    /// The object lacks the program.
    #[error(transparent)]
    Load(#[from] LoadError),
}

/// A cgroup's id, as `bpf_get_current_cgroup_id` gives it: the inode number of its directory.
///
/// # Errors
/// When the directory cannot be looked at.
pub fn cgroup_id(cgroup: &Path) -> io::Result<u64> {
    cgroup.metadata().map(|metadata| metadata.ino())
}

/// Attaches a cgroup program. The mode is `Single` because aya passes it as link flags, and links accept none; links
/// of a cgroup coexist anyway.
///
/// # Errors
/// When the kernel refuses.
pub fn cgroup(ebpf: &mut Ebpf, program: &'static str, cgroup: &Path) -> Result<FdLink, AttachError> {
    let name = || cgroup.display().to_string();
    let directory = File::open(cgroup).map_err(|error| AttachError::Open(name(), error))?;
    let refused = |source| AttachError::Cgroup { program, cgroup: name(), source };
    let loaded: &mut CgroupSockAddr = object::program(ebpf, program)?;
    let id = loaded.attach(directory, CgroupAttachMode::Single).map_err(refused)?;
    let link = loaded.take_link(id).map_err(refused)?;
    FdLink::try_from(link).map_err(|error| AttachError::Link(program, error))
}

/// Attaches the guard; the mode as above.
///
/// # Errors
/// When the kernel refuses.
pub fn guard(program: &mut CgroupSkb, cgroup: &Path) -> Result<FdLink, AttachError> {
    let name = || cgroup.display().to_string();
    let directory = File::open(cgroup).map_err(|error| AttachError::Open(name(), error))?;
    let refused = |source| AttachError::Cgroup { program: GUARD_PROGRAM, cgroup: name(), source };
    let id =
        program.attach(directory, CgroupSkbAttachType::Egress, CgroupAttachMode::Single).map_err(refused)?;
    let link = program.take_link(id).map_err(refused)?;
    FdLink::try_from(link).map_err(|error| AttachError::Link(GUARD_PROGRAM, error))
}

/// Attaches tc egress to an interface; the link to pin, or `None` where the kernel keeps a filter by itself.
///
/// # Errors
/// When the kernel refuses.
pub fn egress(
    program: &mut SchedClassifier,
    ifindex: u32,
    backend: TcBackend,
) -> Result<Option<FdLink>, AttachError> {
    let refused = |source| AttachError::Interface { ifindex, source };
    if backend != TcBackend::Netlink {
        let attach = TcAttach::Tcx { attach_type: TcAttachType::Egress, order: LinkOrder::default() };
        match program.attach(ifindex, attach) {
            Ok(id) => {
                let link = program.take_link(id).map_err(refused)?;
                return FdLink::try_from(link)
                    .map(Some)
                    .map_err(|error| AttachError::Link(EGRESS_PROGRAM, error));
            }
            // Before 6.6 the attach type does not exist: EINVAL. Anything else is a refusal of this interface.
            Err(ProgramError::SyscallError(error))
                if backend == TcBackend::Auto && error.io_error.raw_os_error() == Some(libc::EINVAL) => {}
            Err(source) => return Err(refused(source)),
        }
    }
    // The qdisc may be there already, from us or from others; if it is not, the filter's error says so.
    let _ = tc::qdisc_add_clsact(ifindex);
    detach_netlink(ifindex);
    let attach = TcAttach::Netlink {
        parent: TcAttachType::Egress.into(),
        options: NlOptions { priority: PRIORITY, handle: HANDLE, classid: None },
    };
    let id = program.attach(ifindex, attach).map_err(refused)?;
    // Dropping the link would remove the filter; the kernel keeps it until `detach_netlink`.
    std::mem::forget(program.take_link(id).map_err(refused)?);
    Ok(None)
}

/// Removes our clsact filter from an interface, if it is there. The qdisc stays: others may have filters in it.
pub fn detach_netlink(ifindex: u32) {
    // Dropping the link detaches the filter; where there is none, there is nothing to do.
    drop(SchedClassifierLink::attached(ifindex, TcAttachType::Egress.into(), PRIORITY, HANDLE, None));
}
