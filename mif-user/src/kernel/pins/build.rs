//! What is pinned, compared with what this program would pin, and what takes its place.

use std::fs;

use aya::{
    Ebpf,
    maps::{Map, MapData},
    programs::{ProgramInfo, SchedClassifier, links::PinnedLink},
};
use mif_common::abi;
use mif_core::select::tables::{TableStore as _, Tables};
use tracing::{debug, warn};

use super::{
    InstallError, LINKS, MAPS, PROGRAMS, Plan, aside, check_foreign, io_error, link_path, pin_link,
    pinned_interfaces, remove_tree,
};
use crate::kernel::{
    attach,
    btf::Layouts,
    maps::{Maps, MapsError, Raw},
    object::{self, CGROUP_PROGRAMS, EGRESS_PROGRAM, GUARD_PROGRAM, LoadError},
};

/// What is pinned, compared with what would be.
pub(super) enum State {
    Absent,
    Same,
    Other(String),
}

pub(super) fn inspect(
    plan: &Plan,
    ebpf: &Ebpf,
    cgroup: u64,
    layouts: &Layouts,
) -> Result<State, InstallError> {
    let Plan { directory, sizes, .. } = plan;
    if !directory.exists() {
        return Ok(State::Absent);
    }
    check_foreign(directory)?;
    for name in object::MAPS {
        let pinned = MapData::from_pin(directory.join(MAPS).join(name)).and_then(|data| data.info());
        let Ok(pinned) = pinned else { return Ok(State::Other(format!("map {name} is missing"))) };
        let wanted = ebpf.map(name).and_then(|map| map_data(map)?.info().ok());
        let shape = |info: &aya::maps::MapInfo| (info.key_size(), info.value_size(), info.max_entries());
        if wanted.as_ref().map(shape) != Some(shape(&pinned)) {
            return Ok(State::Other(format!("map {name} has another shape")));
        }
    }
    for name in object::programs() {
        let Ok(pinned) = ProgramInfo::from_pin(directory.join(PROGRAMS).join(name)) else {
            return Ok(State::Other(format!("program {name} is missing")));
        };
        if pinned.tag() != object::tag(ebpf, name)? {
            return Ok(State::Other(format!("program {name} is of another version")));
        }
    }
    match Maps::open(directory) {
        Ok(maps) if maps.pvd_places() != sizes.pvds => {
            return Ok(State::Other("limits.pvds has changed".into()));
        }
        // Who knows less than all replaces nobody: the programs there may know more.
        Ok(maps) if layouts.missing.is_empty() && maps.config()?.constants != layouts.digest() => {
            return Ok(State::Other("the programs know the kernel's structures otherwise".into()));
        }
        Ok(_) => {}
        Err(error) => return Ok(State::Other(error.to_string())),
    }
    for name in CGROUP_PROGRAMS {
        if PinnedLink::from_pin(link_path(directory, name, cgroup)).is_err() {
            return Ok(State::Other(format!("{name} is attached to another cgroup")));
        }
    }
    Ok(State::Same)
}

/// Builds an installation aside, gives it the tables and policies of the old one, attaches it, and renames it into
/// place.
pub(super) fn build(
    plan: &Plan,
    ebpf: &mut Ebpf,
    cgroup: u64,
    layouts: &Layouts,
) -> Result<(), InstallError> {
    let directory = &plan.directory;
    let new = aside(directory, "new");
    for folder in [new.clone(), new.join(MAPS), new.join(PROGRAMS), new.join(LINKS)] {
        fs::create_dir(&folder).map_err(io_error("make", &folder))?;
    }
    for name in object::MAPS {
        let path = new.join(MAPS).join(name);
        let map = ebpf.map(name).and_then(map_data).ok_or(LoadError::Missing(name))?;
        map.pin(&path).map_err(|source| InstallError::Pin { path, source })?;
    }
    for name in object::programs() {
        let path = new.join(PROGRAMS).join(name);
        let program = ebpf.program_mut(name).ok_or(LoadError::Missing(name))?;
        program.pin(&path).map_err(|source| InstallError::Pin { path, source })?;
    }
    // The layout of an all-zero CONFIG would not be ours: write it before anybody opens the maps.
    let config = abi::Config {
        layout: abi::LAYOUT,
        pvds: plan.sizes.pvds,
        constants: layouts.digest(),
        ..abi::Config::default()
    };
    let path = new.join(MAPS).join("CONFIG");
    write_config(ebpf, config).map_err(|source| InstallError::Maps(MapsError::Open { path, source }))?;
    if directory.exists() {
        match Maps::open(directory).and_then(|old| carry_over(&old, &mut Maps::open(&new)?)) {
            Ok(()) => {}
            // A strict cgroup would be let go: what is in force stays, as it is.
            Err(error @ MapsError::Full { .. }) => {
                remove_tree(&new)?;
                return Err(InstallError::TooSmall { directory: directory.clone(), source: Box::new(error) });
            }
            Err(error) => warn!("the tables of the old installation are not carried over: {error}"),
        }
    }
    for name in CGROUP_PROGRAMS {
        let link = attach::cgroup(ebpf, name, &plan.cgroup)?;
        pin_link(link, &link_path(&new, name, cgroup))?;
    }
    let mut maps = Maps::open(&new)?;
    for ifindex in pinned_interfaces(directory) {
        let egress = object::program::<SchedClassifier>(ebpf, EGRESS_PROGRAM)?;
        match attach::egress(egress, ifindex, plan.tc) {
            Ok(link) => {
                if let Some(link) = link {
                    pin_link(link, &link_path(&new, EGRESS_PROGRAM, ifindex.into()))?;
                }
                maps.put_interface(ifindex)?;
            }
            Err(error) => debug!("not attached again: {error}"),
        }
    }
    // After the interfaces: it would judge what tc egress mends there.
    if maps.config()?.flags & abi::config_flags::STRICT != 0 {
        let link = attach::guard(object::program(ebpf, GUARD_PROGRAM)?, &plan.cgroup)?;
        pin_link(link, &link_path(&new, GUARD_PROGRAM, cgroup))?;
    }
    if directory.exists() {
        let old = aside(directory, "old");
        fs::rename(directory, &old).map_err(io_error("rename", directory))?;
        fs::rename(&new, directory).map_err(io_error("rename", &new))?;
        remove_tree(&old.join(LINKS))?;
        remove_tree(&old)
    } else {
        fs::rename(&new, directory).map_err(io_error("rename", &new))
    }
}

/// Gives a new installation what the old one enforces, so that it enforces the same from its first moment.
fn carry_over(old: &Maps, new: &mut Maps) -> Result<(), MapsError> {
    let ops = mif_core::select::diff::diff(&Tables::default(), &old.load()?);
    for op in &ops {
        new.apply(op)?;
    }
    for (cgroup, policy) in old.policies()? {
        new.set_policy(cgroup, policy)?;
    }
    let abi::Config { pvds, constants, .. } = new.config()?;
    new.set_config(abi::Config { pvds, constants, ..old.config()? })
}

fn write_config(ebpf: &mut Ebpf, config: abi::Config) -> Result<(), aya::maps::MapError> {
    let map = ebpf.map_mut("CONFIG").ok_or(aya::maps::MapError::KeyNotFound)?;
    let mut array: aya::maps::Array<_, Raw<abi::Config>> = map.try_into()?;
    array.set(0, &Raw(config), 0)
}

/// The data of a map of a kind that we use.
fn map_data(map: &Map) -> Option<&MapData> {
    match map {
        Map::Array(data)
        | Map::HashMap(data)
        | Map::LpmTrie(data)
        | Map::PerCpuArray(data)
        | Map::RingBuf(data) => Some(data),
        _ => None,
    }
}
