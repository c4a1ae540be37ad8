//! `mif` as the daemon installs it, with hooks that come off and go on again in between.

use std::{
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use aya::{
    maps::{Map, MapData, PerCpuArray},
    programs::{
        CgroupAttachMode, CgroupSockAddr, CgroupSockAddrAttachType, ProgramInfo, SchedClassifier,
        TcAttachType, cgroup_sock_addr::CgroupSockAddrLinkId,
    },
    sys::{Stats, enable_stats},
};
use mif_common::{
    Reason,
    abi::{self, Config, Mode, config_flags},
    reason,
};
use mif_core::select::{
    diff::diff,
    tables::{TableStore as _, Tables},
};
use mif_tests::{bpffs::Bpffs, netns::Namespace};
use mif_user::{
    clock,
    kernel::{
        attach::{TcBackend, cgroup_id},
        maps::Raw,
        object::{self, CGROUP_PROGRAMS, Sizes},
        pins::{self, Installation, Plan},
    },
};

use crate::lab;

/// An installation in a bpf file system of its own.
pub struct Enforcement {
    /// Maps, and the programs of the interfaces.
    pub installation: Installation,
    host: Namespace,
    cgroup: PathBuf,
    interfaces: Vec<u32>,
    programs: Vec<(CgroupSockAddr, Option<CgroupSockAddrLinkId>)>,
    /// A strict policy exists, and so the guard goes on with the hooks.
    strict: bool,
    bpffs: Bpffs,
}

/// The place of PvD 0 in the tables; place 0 is "none".
const IN_USE: abi::PvdIndex = 1;

/// What a program's runs took, as the kernel counts.
#[derive(Clone, Copy, Debug)]
pub struct RunTime {
    /// Runs.
    pub count: u64,
    /// Their time.
    pub time: Duration,
}

impl Enforcement {
    /// Installs it for a host, attached to nothing yet.
    pub fn new(host: &Namespace, cgroup: &Path, interfaces: &[u32], sizes: Sizes) -> Result<Self> {
        let bpffs = Bpffs::mount()?;
        let directory = bpffs.directory();
        let plan = Plan { directory: directory.clone(), cgroup: cgroup.into(), sizes, tc: TcBackend::Auto };
        let mut installation = host.run(|| Installation::start(&plan))?;
        installation.maps.set_config(Config {
            netns_cookie: host.run(clock::netns_cookie)?,
            mode: Mode::Prefer as u32,
            flags: 0,
            pvds: sizes.pvds,
            layout: abi::LAYOUT,
            ..installation.maps.config()?
        })?;
        let links = directory.join("links");
        for link in std::fs::read_dir(&links).context("the pinned links")? {
            std::fs::remove_file(link?.path()).context("taking a link off")?;
        }
        let pinned = |name: &str| {
            let program = CgroupSockAddr::from_pin(program(&directory, name), hook(name)?)?;
            Ok::<_, anyhow::Error>((program, None))
        };
        let programs = CGROUP_PROGRAMS.into_iter().map(pinned).collect::<Result<_>>()?;
        let (host, cgroup, interfaces) = (host.clone(), cgroup.into(), interfaces.into());
        Ok(Self { installation, host, cgroup, interfaces, programs, strict: false, bpffs })
    }

    /// Gives the cgroup a strict policy with this view, or takes it away. The hooks are off.
    pub fn set_strict(&mut self, view: Option<u32>) -> Result<()> {
        let (id, maps) = (cgroup_id(&self.cgroup)?, &mut self.installation.maps);
        let flags = match view {
            Some(view) => {
                maps.set_policy(id, abi::Policy { view, mode: Mode::Strict as u32 })?;
                config_flags::POLICIES | config_flags::STRICT
            }
            None => {
                maps.remove_policy(id)?;
                0
            }
        };
        maps.set_config(Config { flags, ..maps.config()? })?;
        self.strict = view.is_some();
        Ok(())
    }

    /// Brings the tables from what they hold to something else.
    pub fn fill(&mut self, before: &Tables, tables: &Tables) -> Result<()> {
        for op in diff(before, tables) {
            self.installation.maps.apply(&op)?;
        }
        Ok(())
    }

    /// Puts the hooks on.
    pub fn on(&mut self) -> Result<()> {
        for (program, link) in &mut self.programs {
            *link = Some(program.attach(lab::open(&self.cgroup)?, CgroupAttachMode::Single)?);
        }
        let (installation, interfaces) = (&mut self.installation, &self.interfaces);
        self.host
            .run(move || interfaces.iter().try_for_each(|index| installation.attach_interface(*index)))?;
        self.installation.set_guard(self.strict)?;
        Ok(())
    }

    /// Takes them off.
    pub fn off(&mut self) -> Result<()> {
        for (program, link) in &mut self.programs {
            if let Some(link) = link.take() {
                program.detach(link)?;
            }
        }
        let (installation, interfaces) = (&mut self.installation, &self.interfaces);
        self.host.run(move || {
            interfaces.iter().try_for_each(|index| installation.detach_interface(*index))?;
            interfaces.iter().for_each(|index| wait_until_free(*index));
            Ok::<_, anyhow::Error>(())
        })?;
        self.installation.set_guard(false)?;
        Ok(())
    }

    /// How often the hooks chose for the PvD in use: set source and interface of it.
    pub fn applied(&self) -> Result<u64> {
        let path = self.bpffs.directory().join(pins::MAPS).join("STATS");
        let stats: PerCpuArray<_, Raw<abi::Count>> = Map::PerCpuArray(MapData::from_pin(path)?).try_into()?;
        let counts = stats.get(&(IN_USE * reason::COUNT + Reason::Applied as u32), 0)?;
        Ok(counts.iter().map(|Raw(count)| count.count).sum())
    }

    /// Where a program is pinned.
    pub fn program(&self, name: &str) -> PathBuf {
        program(&self.bpffs.directory(), name)
    }

    /// What the programs' runs during `work` took. The counting costs something itself and is off otherwise.
    pub fn run_times(&self, work: impl FnOnce() -> Result<()>) -> Result<Vec<(&'static str, RunTime)>> {
        let statistics = enable_stats(Stats::RunTime).context("cannot switch run-time statistics on")?;
        let before = self.totals()?;
        work()?;
        let after = self.totals()?;
        drop(statistics);
        let during = |((name, before), (_, after)): ((_, RunTime), (_, RunTime))| {
            (name, RunTime { count: after.count - before.count, time: after.time - before.time })
        };
        Ok(before.into_iter().zip(after).map(during).collect())
    }

    fn totals(&self) -> Result<Vec<(&'static str, RunTime)>> {
        let total = |name| {
            let info = ProgramInfo::from_pin(self.program(name)).context("the program is pinned")?;
            Ok((name, RunTime { count: info.run_count(), time: info.run_time() }))
        };
        object::programs().map(total).collect()
    }
}

impl RunTime {
    /// Nanoseconds of a run; none without runs.
    pub fn each(self) -> Option<f64> {
        (self.count > 0).then(|| self.time.as_nanos() as f64 / self.count as f64)
    }
}

/// Between two looks, and looks at most.
const PAUSE: Duration = Duration::from_millis(1);
const LOOKS: u32 = 1000;

/// Waits until nothing is attached to the egress of an interface: a link whose pin was removed ends in a worker of the kernel
/// (`bpf_link_put`), and until then its program cannot be attached there again. Kernels without such links know no delay.
fn wait_until_free(ifindex: u32) {
    for _ in 0..LOOKS {
        match SchedClassifier::query_tcx(ifindex, TcAttachType::Egress) {
            Ok((_, programs)) if !programs.is_empty() => thread::sleep(PAUSE),
            _ => return,
        }
    }
}

fn program(directory: &Path, name: &str) -> PathBuf {
    directory.join("programs").join(name)
}

/// The hook that a program is for: both have one name.
fn hook(name: &str) -> Result<CgroupSockAddrAttachType> {
    Ok(match name {
        "bind4" => CgroupSockAddrAttachType::Bind4,
        "bind6" => CgroupSockAddrAttachType::Bind6,
        "connect4" => CgroupSockAddrAttachType::Connect4,
        "connect6" => CgroupSockAddrAttachType::Connect6,
        "sendmsg4" => CgroupSockAddrAttachType::UDPSendMsg4,
        "sendmsg6" => CgroupSockAddrAttachType::UDPSendMsg6,
        other => bail!("the bench does not know the hook of the program {other}"),
    })
}
