//! Where an installation lives in bpffs, and how one replaces another without a moment in between.
//!
//! ```text
//! /sys/fs/bpf/mif/maps/NAME            the maps
//!                /programs/NAME        the programs
//!                /links/PROGRAM@ID     what is attached: to the cgroup with that id, to the interface with that index
//! ```
//!
//! A new installation is built in `mif-new`, filled and attached while the old one still works, then renamed into
//! place; then the old one goes. For that moment both run: each hook sees what the one before it wrote and finds
//! nothing left to do.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use aya::{
    pin::PinError,
    programs::{CgroupSkb, CgroupSkbAttachType, SchedClassifier, links::FdLink},
};

use super::{
    attach::{self, AttachError, TcBackend},
    btf::Layouts,
    maps::{Maps, MapsError},
    object::{self, CGROUP_PROGRAMS, EGRESS_PROGRAM, GUARD_PROGRAM, LoadError, Sizes},
};

mod build;

use build::State;

/// The folder of the maps.
pub const MAPS: &str = "maps";
const PROGRAMS: &str = "programs";
const LINKS: &str = "links";

/// Why an installation cannot be made or removed.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// Somebody else's pins.
    #[error(
        "{directory} holds {name:?}, which mif did not make; name another directory with --bpffs, or remove it by hand"
    )]
    Foreign {
        /// The pin directory.
        directory: PathBuf,
        /// What is foreign in it.
        name: String,
    },
    /// A pin cannot be made.
    #[error("cannot pin {path}: {source}")]
    Pin {
        /// Where.
        path: PathBuf,
        /// Why.
        source: PinError,
    },
    /// A folder cannot be made, read, renamed or removed.
    #[error("cannot {what} {path}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// With what.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What is in force does not fit the configured sizes.
    #[error(
        "what {directory} enforces does not fit the configured sizes: {source}; until then it stays in force as it is"
    )]
    TooSmall {
        /// The pin directory.
        directory: PathBuf,
        /// Which map is too small.
        source: Box<MapsError>,
    },
    /// The programs cannot be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A program cannot be attached.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// A map cannot be opened or filled.
    #[error(transparent)]
    Maps(#[from] MapsError),
}

/// How the installation came to be.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Origin {
    /// There was none.
    Fresh,
    /// The pinned one was of the same programs and layout: nothing was touched.
    Adopted,
    /// The pinned one was replaced, for this reason.
    Replaced(String),
}

/// What to install.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The pin directory.
    pub directory: PathBuf,
    /// The cgroup to attach to, and all below it.
    pub cgroup: PathBuf,
    /// Map sizes.
    pub sizes: Sizes,
    /// How to attach tc.
    pub tc: TcBackend,
}

/// Pinned programs, maps and links that this process manages.
pub struct Installation {
    directory: PathBuf,
    tc: TcBackend,
    cgroup: PathBuf,
    egress: SchedClassifier,
    attached: BTreeSet<u32>,
    /// What INTERFACE lists and nobody has looked at since the start: the interface may be another one by now.
    unverified: BTreeSet<u32>,
    guard: CgroupSkb,
    /// Where the guard's link is pinned, and whether it is.
    guard_link: PathBuf,
    guarded: bool,
    /// The maps.
    pub maps: Maps,
    /// How it came to be.
    pub origin: Origin,
    /// What does not work on this kernel, and why.
    pub missing: Vec<String>,
}

impl Installation {
    /// Adopts the pinned installation, or builds one aside and puts it in place.
    ///
    /// # Errors
    /// When bpffs holds foreign pins, or the kernel refuses; what was installed before is then still in force.
    pub fn start(plan: &Plan) -> Result<Self, InstallError> {
        Self::start_knowing(plan, Layouts::of_the_kernel())
    }

    /// The same, with what the programs are told of the kernel.
    ///
    /// # Errors
    /// As [`Installation::start`].
    pub fn start_knowing(plan: &Plan, layouts: Layouts) -> Result<Self, InstallError> {
        let directory = &plan.directory;
        let mut ebpf = object::load(plan.sizes, &layouts)?;
        let cgroup = attach::cgroup_id(&plan.cgroup).map_err(io_error("look at", &plan.cgroup))?;
        // A replacement that was cut off between its two renames: the old installation is the one in force.
        if !directory.exists() && aside(directory, "old").exists() {
            fs::rename(aside(directory, "old"), directory).map_err(io_error("rename", directory))?;
        }
        remove_tree(&aside(directory, "new"))?;
        remove_tree(&aside(directory, "old"))?;
        let origin = match build::inspect(plan, &ebpf, cgroup, &layouts)? {
            State::Absent => Origin::Fresh,
            State::Same => Origin::Adopted,
            State::Other(why) => Origin::Replaced(why),
        };
        if origin != Origin::Adopted {
            build::build(plan, &mut ebpf, cgroup, &layouts)?;
        }
        let egress = SchedClassifier::from_pin(directory.join(PROGRAMS).join(EGRESS_PROGRAM))
            .map_err(|source| LoadError::Program { name: EGRESS_PROGRAM, source })?;
        let guard =
            CgroupSkb::from_pin(directory.join(PROGRAMS).join(GUARD_PROGRAM), CgroupSkbAttachType::Egress)
                .map_err(|source| LoadError::Program { name: GUARD_PROGRAM, source })?;
        let maps = Maps::open(directory)?;
        let guard_link = link_path(directory, GUARD_PROGRAM, cgroup);
        let mut installation = Self {
            directory: directory.clone(),
            tc: plan.tc,
            cgroup: plan.cgroup.clone(),
            egress,
            attached: BTreeSet::new(),
            unverified: maps.interfaces()?,
            guard,
            guarded: guard_link.exists(),
            guard_link,
            maps,
            origin,
            missing: layouts.missing,
        };
        installation.attached = installation.verified_interfaces();
        Ok(installation)
    }

    /// The interfaces that tc egress is attached to.
    #[must_use]
    pub fn attached(&self) -> &BTreeSet<u32> {
        &self.attached
    }

    /// Attaches tc egress to an interface; nothing happens where it is attached already.
    ///
    /// # Errors
    /// When the kernel refuses, for instance because the interface is gone.
    pub fn attach_interface(&mut self, ifindex: u32) -> Result<(), InstallError> {
        if self.attached.contains(&ifindex) {
            return Ok(());
        }
        let path = link_path(&self.directory, EGRESS_PROGRAM, ifindex.into());
        // A pin of an interface that is gone may have its index: its link is dead.
        remove_file(&path)?;
        if let Some(link) = attach::egress(&mut self.egress, ifindex, self.tc)? {
            pin_link(link, &path)?;
        }
        self.maps.put_interface(ifindex)?;
        self.attached.insert(ifindex);
        Ok(())
    }

    /// All interfaces that want tc egress have been named ([`Installation::attach_interface`]): the guard leaves no others to
    /// it.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn attached_all(&mut self) -> Result<(), InstallError> {
        while let Some(ifindex) = self.unverified.pop_first() {
            if !self.attached.contains(&ifindex) {
                self.maps.delete_interface(ifindex)?;
            }
        }
        Ok(())
    }

    /// Attaches the guard or takes it off. Every packet of every socket runs it, so it is there only while it can matter.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn set_guard(&mut self, wanted: bool) -> Result<(), InstallError> {
        if wanted == self.guarded {
            return Ok(());
        }
        if wanted {
            pin_link(attach::guard(&mut self.guard, &self.cgroup)?, &self.guard_link)?;
        } else {
            remove_file(&self.guard_link)?;
        }
        self.guarded = wanted;
        Ok(())
    }

    /// Detaches tc egress from an interface, also one that is gone.
    ///
    /// # Errors
    /// When the pin cannot be removed.
    pub fn detach_interface(&mut self, ifindex: u32) -> Result<(), InstallError> {
        self.attached.remove(&ifindex);
        self.maps.delete_interface(ifindex)?;
        if self.tc != TcBackend::Tcx {
            attach::detach_netlink(ifindex);
        }
        remove_file(&link_path(&self.directory, EGRESS_PROGRAM, ifindex.into()))
    }

    /// The interfaces whose pinned links are alive: an index may have been given to another interface since, and its
    /// link is dead then.
    fn verified_interfaces(&self) -> BTreeSet<u32> {
        let Ok(id) = self.egress.info().map(|info| info.id()) else { return BTreeSet::new() };
        pinned_interfaces(&self.directory)
            .into_iter()
            .filter(|&ifindex| {
                SchedClassifier::query_tcx(ifindex, aya::programs::TcAttachType::Egress)
                    .is_ok_and(|(_, programs)| programs.iter().any(|program| program.id() == id))
            })
            .collect()
    }
}

/// Removes an installation: the hooks stop, all pins go.
///
/// # Errors
/// When bpffs holds foreign pins or refuses.
pub fn remove(directory: &Path) -> Result<bool, InstallError> {
    let existed = directory.exists();
    check_foreign(directory)?;
    // Links first: a program whose maps are gone would still run.
    remove_tree(&directory.join(LINKS))?;
    remove_tree(directory)?;
    for suffix in ["new", "old"] {
        remove_tree(&aside(directory, suffix))?;
    }
    Ok(existed)
}

/// The interfaces named by link pins.
#[must_use]
pub fn pinned_interfaces(directory: &Path) -> BTreeSet<u32> {
    names(&directory.join(LINKS))
        .unwrap_or_default()
        .iter()
        .filter_map(|name| name.strip_prefix(EGRESS_PROGRAM)?.strip_prefix('@')?.parse().ok())
        .collect()
}

/// The cgroup programs whose links are pinned, with the id of their cgroup.
#[must_use]
pub fn pinned_cgroup_links(directory: &Path) -> Vec<(&'static str, u64)> {
    let names = names(&directory.join(LINKS)).unwrap_or_default();
    CGROUP_PROGRAMS
        .into_iter()
        .chain([GUARD_PROGRAM])
        .flat_map(|program| {
            names.iter().filter_map(move |name| {
                Some((program, name.strip_prefix(program)?.strip_prefix('@')?.parse().ok()?))
            })
        })
        .collect()
}

fn pin_link(link: FdLink, path: &Path) -> Result<(), InstallError> {
    link.pin(path).map(drop).map_err(|source| InstallError::Pin { path: path.into(), source })
}

fn link_path(directory: &Path, program: &str, id: u64) -> PathBuf {
    directory.join(LINKS).join(format!("{program}@{id}"))
}

/// The directory beside `directory` with a suffix to its name. bpffs refuses names with dots (`bpf_lookup`).
fn aside(directory: &Path, suffix: &str) -> PathBuf {
    let mut name = directory.as_os_str().to_owned();
    name.push("-");
    name.push(suffix);
    name.into()
}

/// Refuses a directory with anything in it that we never make.
fn check_foreign(directory: &Path) -> Result<(), InstallError> {
    let ours = |folder: &str, name: &str| match folder {
        MAPS => object::MAPS.contains(&name),
        PROGRAMS => object::programs().any(|program| program == name),
        _ => name.contains('@'),
    };
    let foreign = |name: String| InstallError::Foreign { directory: directory.into(), name };
    if !directory.exists() {
        return Ok(());
    }
    for folder in names(directory).map_err(io_error("read", directory))? {
        if ![MAPS, PROGRAMS, LINKS].contains(&folder.as_str()) {
            return Err(foreign(folder));
        }
        let path = directory.join(&folder);
        for name in names(&path).map_err(io_error("read", &path))? {
            if !ours(&folder, &name) {
                return Err(foreign(format!("{folder}/{name}")));
            }
        }
    }
    Ok(())
}

fn names(directory: &Path) -> io::Result<Vec<String>> {
    fs::read_dir(directory)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}

fn remove_file(path: &Path) -> Result<(), InstallError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error("remove", path)(error)),
        _ => Ok(()),
    }
}

fn remove_tree(path: &Path) -> Result<(), InstallError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error("remove", path)(error)),
        _ => Ok(()),
    }
}

fn io_error(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> InstallError {
    let path = path.into();
    move |source| InstallError::Io { what, path, source }
}
