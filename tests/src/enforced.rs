//! What a site enforces, and what its daemon left for readers: what bad input must not change, and where it must be counted.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv6Addr,
};

use anyhow::{Context as _, Result, ensure};
use ipnet::Ipv6Net;
use mif_core::select::tables::TableStore as _;
use mif_user::{kernel::maps::Maps, state::State};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use crate::{
    cgroup::Cgroup, deadline::Deadline, isp::ISP_A, isp::ISP_B, matrix, mif::Site, router::Daemon,
    world::World,
};

/// The answers of the pinned maps, without the deadlines, which every advertisement moves.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Enforced {
    /// (view, destination) -> (verdict, source, interface, PvD)
    pub decisions: BTreeMap<(u32, Ipv6Net), (u32, Ipv6Addr, u32, u32)>,
    /// Local address -> (interface, PvD)
    pub sources: BTreeMap<Ipv6Addr, (u32, u32)>,
    /// Cgroup -> (view, mode)
    pub policies: BTreeMap<u64, (u32, u32)>,
}

impl Site {
    /// What is enforced now.
    ///
    /// # Errors
    /// Nothing is installed.
    pub fn enforced(&self) -> Result<Enforced> {
        let maps = Maps::open(&self.pins())?;
        let tables = maps.load()?;
        let decisions = tables.decisions.into_iter();
        let sources = tables.sources.into_iter();
        Ok(Enforced {
            decisions: decisions
                .map(|(key, row)| (key, (row.verdict, row.source.into(), row.ifindex, row.pvd)))
                .collect(),
            sources: sources.map(|(address, row)| (address, (row.ifindex, row.pvd))).collect(),
            policies: maps.policies()?.into_iter().map(|(id, row)| (id, (row.view, row.mode))).collect(),
        })
    }

    /// What the daemon left for readers.
    ///
    /// # Errors
    /// It left nothing that can be read.
    pub fn state(&self) -> Result<State> {
        State::read(self.state_dir())?.context("the daemon left no state file")
    }

    /// Looks at the state file now and after each change of it until `look` finds something.
    ///
    /// # Errors
    /// It did not in time.
    pub fn until_state<T>(&self, what: &str, look: impl Fn(&State) -> Option<T>) -> Result<T> {
        let changes = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        // The file is written aside and renamed.
        changes.add_watch(self.state_dir(), AddWatchFlags::IN_MOVED_TO)?;
        let deadline = Deadline::new(format!("{what} in the state file"));
        loop {
            let state = self.state()?;
            if let Some(found) = look(&state) {
                return Ok(found);
            }
            deadline.readable(&changes).with_context(|| format!("the last one was {state:#?}"))?;
            changes.read_events()?;
        }
    }
}

/// A world with two uplinks, and a site for its host.
#[derive(Debug)]
pub struct Lab {
    /// Where `mif` keeps its things.
    pub site: Site,
    /// Where the host's applications run.
    pub cgroup: Cgroup,
    /// Host, routers, internet.
    pub world: World,
}

impl Lab {
    /// Two uplinks, whose routers speak and are heard by the host; no daemon yet.
    ///
    /// # Errors
    /// The lab cannot run here.
    pub fn new() -> Result<Self> {
        let world = World::two_uplinks(Daemon::Embedded)?;
        let cgroup = Cgroup::new("host")?;
        Ok(Self { site: Site::new(world.host.namespace(), &cgroup)?, cgroup, world })
    }

    /// A daemon that has heard both routers.
    ///
    /// # Errors
    /// It did not come up, or heard nothing.
    pub fn daemon(&self) -> Result<crate::mif::Daemon<'_>> {
        let daemon = self.site.daemon::<&str>([])?;
        self.wait_for_routers()?;
        Ok(daemon)
    }

    /// Waits until the daemon knows both providers from their own words.
    ///
    /// # Errors
    /// It did not in time.
    pub fn wait_for_routers(&self) -> Result<()> {
        let lans = BTreeSet::from([ISP_A.lan, ISP_B.lan]);
        self.site.until_state("the prefixes of both providers", |state| {
            let heard = state.pvds.iter().flat_map(|pvd| pvd.prefixes.iter().map(|prefix| prefix.prefix));
            lans.is_subset(&heard.collect()).then_some(())
        })
    }

    /// Every flow of the host arrives by its own provider.
    ///
    /// # Errors
    /// One does not; the table shows which.
    pub fn check_flows(&self, after: &str) -> Result<()> {
        let flows = matrix::run(&self.world, Some(&self.cgroup))?;
        ensure!(flows.is_clean(), "after {after}:\n{flows}");
        Ok(())
    }
}

/// Checks that a complaint has all of these words and no cause twice.
///
/// # Errors
/// It lacks one.
pub fn check_words(what: &str, text: &str, words: &[&str]) -> Result<()> {
    for word in words {
        ensure!(text.contains(word), "{what}: `{word}` is missing in: {text}");
    }
    ensure!(!text.contains("panicked"), "{what}: {text}");
    Ok(())
}
