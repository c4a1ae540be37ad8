//! Pins: installing, adopting, replacing, refusing, removing.

use std::{collections::BTreeSet, fs, net::Ipv6Addr};

use anyhow::{Context as _, Result, ensure};
use mif_common::abi;
use mif_core::select::{
    diff::diff,
    tables::{Op, TableStore as _, Tables},
};
use mif_tests::{
    bpffs::Bpffs,
    cgroup::Cgroup,
    deadline::{PATIENCE, bounded},
    netns::{End, Namespace, veth},
};
use mif_user::kernel::{
    attach::TcBackend,
    btf::Layouts,
    maps::Maps,
    object::{MAPS, Sizes},
    pins::{self, InstallError, Installation, Origin, Plan},
};

struct Place {
    bpffs: Bpffs,
    cgroup: Cgroup,
}

impl Place {
    fn new() -> Result<Self> {
        Ok(Self { bpffs: Bpffs::mount()?, cgroup: Cgroup::new("install")? })
    }

    fn plan(&self) -> Plan {
        Plan {
            directory: self.bpffs.directory(),
            cgroup: self.cgroup.path().to_owned(),
            sizes: Sizes { pvds: 8, sources: 16, decisions: 64, ..Sizes::default() },
            tc: TcBackend::Auto,
        }
    }

    /// What is pinned, as paths below the pin directory's parent; not the kernel's own (`maps.debug`, `progs.debug`).
    fn pinned(&self) -> Result<BTreeSet<String>> {
        let mut found = BTreeSet::new();
        let mut folders = vec![self.bpffs.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder)? {
                let path = entry?.path();
                if path.extension().is_some_and(|extension| extension == "debug") {
                    continue;
                }
                found.insert(path.strip_prefix(self.bpffs.path())?.display().to_string());
                if path.is_dir() {
                    folders.push(path);
                }
            }
        }
        Ok(found)
    }
}

/// Tables with something in each map.
fn tables() -> Tables {
    let address: Ipv6Addr = "2001:db8:a::1".parse().expect("a literal");
    let prefix = "2001:db8::/32".parse().expect("a literal");
    let decision = abi::Decision {
        valid_until: abi::FOREVER,
        source: address.into(),
        ifindex: 7,
        pvd: 1,
        verdict: abi::Verdict::Use as u32,
        ..abi::Decision::default()
    };
    let source = abi::Source { valid_until: abi::FOREVER, ifindex: 7, pvd: 1, ..abi::Source::default() };
    let pvd = abi::Pvd { valid_until: abi::FOREVER, ifindex: 7, flags: abi::pvd_flags::PRESENT };
    let mut tables = Tables::default();
    tables.decisions.insert((0, prefix), decision);
    tables.decisions.insert((1, prefix), decision);
    tables.sources.insert(address, source);
    tables.pvds.insert(1, pvd);
    tables.members.insert((1, 1), 0);
    tables
}

fn fill(maps: &mut Maps) -> Result<()> {
    for op in diff(&Tables::default(), &tables()) {
        maps.apply(&op)?;
    }
    maps.set_policy(4711, abi::Policy { view: 1, mode: abi::Mode::Strict as u32 })?;
    Ok(())
}

fn program_id(place: &Place, name: &str) -> Result<u32> {
    let path = place.bpffs.directory().join("programs").join(name);
    Ok(aya::programs::ProgramInfo::from_pin(path)?.id())
}

#[test]
fn a_second_start_adopts_what_the_first_pinned() {
    bounded(PATIENCE, || {
        let place = Place::new()?;
        let mut first = Installation::start(&place.plan())?;
        ensure!(first.origin == Origin::Fresh);
        fill(&mut first.maps)?;
        let before = (program_id(&place, "connect6")?, place.pinned()?);
        drop(first);
        let second = Installation::start(&place.plan())?;
        ensure!(second.origin == Origin::Adopted, "{:?}", second.origin);
        ensure!(before == (program_id(&place, "connect6")?, place.pinned()?), "nothing was touched");
        ensure!(second.maps.load()? == tables());
        Ok(())
    });
}

/// Programs that were loaded while the kernel's types could not be read do without; nobody who knows less replaces those that know.
#[test]
fn programs_that_know_less_of_the_kernel_are_replaced() {
    bounded(2 * PATIENCE, || {
        let place = Place::new()?;
        let blind = Layouts {
            socket: abi::SocketLayout::UNKNOWN,
            netns: abi::NetnsPath::UNKNOWN,
            missing: vec!["nothing could be read".into()],
        };
        let known = Layouts::of_the_kernel();
        ensure!(known.missing.is_empty(), "{:?}", known.missing);
        let mut first = Installation::start_knowing(&place.plan(), blind.clone())?;
        fill(&mut first.maps)?;
        drop(first);
        for (layouts, replaced) in [(&blind, false), (&known, true), (&known, false), (&blind, false)] {
            let before = program_id(&place, "guard")?;
            let installation = Installation::start_knowing(&place.plan(), layouts.clone())?;
            let origin = &installation.origin;
            ensure!(matches!(origin, Origin::Replaced(_)) == replaced, "{layouts:?}: {origin:?}");
            ensure!((program_id(&place, "guard")? != before) == replaced, "{layouts:?}");
            ensure!(installation.maps.load()? == tables());
        }
        Ok(())
    });
}

#[test]
fn another_size_replaces_the_installation_and_keeps_what_it_enforced() {
    bounded(PATIENCE, || {
        let place = Place::new()?;
        let mut first = Installation::start(&place.plan())?;
        fill(&mut first.maps)?;
        first.maps.set_config(abi::Config { netns_cookie: 42, ..first.maps.config()? })?;
        let before = program_id(&place, "connect6")?;
        drop(first);
        let mut plan = place.plan();
        plan.sizes.pvds = 16;
        let second = Installation::start(&plan)?;
        ensure!(matches!(second.origin, Origin::Replaced(_)), "{:?}", second.origin);
        ensure!(program_id(&place, "connect6")? != before);
        ensure!(second.maps.load()? == tables());
        ensure!(second.maps.policies()?.len() == 1);
        let config = second.maps.config()?;
        ensure!((config.netns_cookie, config.pvds) == (42, 16));
        let left: Vec<_> = place.pinned()?.into_iter().filter(|path| path.starts_with("mif-")).collect();
        ensure!(left.is_empty(), "left behind: {left:?}");
        Ok(())
    });
}

#[test]
fn a_missing_pin_is_repaired_by_the_next_start_and_never_hinders_removal() {
    // Two starts for each of some twenty pins; the verifier takes seconds for each where others use the processors.
    bounded(15 * PATIENCE, || {
        let place = Place::new()?;
        drop(Installation::start(&place.plan())?);
        let pins: Vec<String> =
            place.pinned()?.into_iter().filter(|path| path.matches('/').count() == 2).collect();
        ensure!(pins.len() > MAPS.len(), "{pins:?}");
        for pin in pins {
            fs::remove_file(place.bpffs.path().join(&pin)).with_context(|| pin.clone())?;
            let repaired = Installation::start(&place.plan()).with_context(|| pin.clone())?;
            ensure!(matches!(repaired.origin, Origin::Replaced(_)), "{pin}: {:?}", repaired.origin);
            drop(repaired);
            fs::remove_file(place.bpffs.path().join(&pin)).ok();
            pins::remove(&place.bpffs.directory()).with_context(|| pin.clone())?;
            ensure!(place.pinned()?.is_empty(), "{pin}: {:?}", place.pinned()?);
            drop(Installation::start(&place.plan())?);
        }
        Ok(())
    });
}

#[test]
fn foreign_pins_are_refused_and_left_alone() {
    bounded(PATIENCE, || {
        let place = Place::new()?;
        let foreign = place.bpffs.directory().join("theirs");
        fs::create_dir_all(&foreign)?;
        let refused = Installation::start(&place.plan()).err().context("it should be refused")?;
        ensure!(matches!(refused, InstallError::Foreign { .. }), "{refused}");
        ensure!(refused.to_string().contains("theirs"), "{refused}");
        ensure!(pins::remove(&place.bpffs.directory()).is_err());
        ensure!(foreign.exists());
        Ok(())
    });
}

#[test]
fn interfaces_are_attached_once_and_again_after_their_index_was_reused() {
    // Six starts, each of which the verifier makes last.
    bounded(4 * PATIENCE, || {
        let place = Place::new()?;
        let namespace = Namespace::new("host")?;
        let peer = Namespace::new("peer")?;
        let cable = || {
            let end = |namespace, number| End { namespace, interface: "up0", number };
            veth(end(&namespace, 0x11), end(&peer, 0x12))
        };
        cable()?;
        let ifindex = namespace.run(|| nix::net::if_::if_nametoindex("up0"))?;
        namespace.run(|| -> Result<()> {
            for backend in [TcBackend::Tcx, TcBackend::Netlink] {
                let plan = Plan { tc: backend, ..place.plan() };
                let mut installation = Installation::start(&plan)?;
                installation.attach_interface(ifindex)?;
                installation.attach_interface(ifindex)?;
                drop(installation);
                let installation = Installation::start(&plan)?;
                let kept = installation.attached().contains(&ifindex);
                ensure!(kept == (backend == TcBackend::Tcx), "{backend:?}: {:?}", installation.attached());
                drop(installation);
                // The interface goes, its pin stays: the link is dead and must not count as attached.
                namespace.ip("link del up0")?;
                let mut installation = Installation::start(&plan)?;
                ensure!(!installation.attached().contains(&ifindex), "{backend:?}");
                installation.detach_interface(ifindex)?;
                ensure!(pins::pinned_interfaces(&place.bpffs.directory()).is_empty(), "{backend:?}");
                drop(installation);
                pins::remove(&place.bpffs.directory())?;
                namespace.ip(&format!("link add up0 index {ifindex} type veth peer name up0p"))?;
            }
            Ok(())
        })
    });
}

#[test]
fn a_full_map_is_an_error_that_names_the_limit() {
    bounded(PATIENCE, || {
        let place = Place::new()?;
        let mut installation = Installation::start(&place.plan())?;
        let mut error = None;
        for number in 0..100 {
            let address = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, number);
            if let Err(refused) = installation.maps.apply(&Op::PutSource(address, abi::Source::default())) {
                error = Some((number, refused.to_string()));
                break;
            }
        }
        let (number, error) = error.context("the map never filled up")?;
        ensure!(number >= 16, "{number}");
        ensure!(error.contains("SOURCE") && error.contains("limits.sources"), "{error}");
        Ok(())
    });
}

/// A strict cgroup must not be let go because somebody asked for smaller tables.
#[test]
fn sizes_that_do_not_hold_what_is_in_force_change_nothing() {
    bounded(2 * PATIENCE, || {
        let place = Place::new()?;
        let mut installation = Installation::start(&place.plan())?;
        for number in 0..8 {
            let address = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, number);
            installation.maps.apply(&Op::PutSource(address, abi::Source::default()))?;
        }
        drop(installation);
        let before = (program_id(&place, "connect6")?, place.pinned()?);
        let mut plan = place.plan();
        plan.sizes.sources = 4;
        let refused = Installation::start(&plan).err().context("it should be refused")?;
        ensure!(matches!(refused, InstallError::TooSmall { .. }), "{refused}");
        ensure!(refused.to_string().contains("limits.sources"), "{refused}");
        ensure!(before == (program_id(&place, "connect6")?, place.pinned()?), "what is in force was touched");
        Ok(())
    });
}
