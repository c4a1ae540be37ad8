//! From events to the maps, with the daemon's own owner on real maps: everything from nothing, and one advertisement.

use std::{
    collections::BTreeMap,
    net::Ipv6Addr,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use mif_core::{
    pvd::{
        Limits, Preferences, PvdSet,
        event::{Address, Event, Link},
    },
    select::{
        compile, diff,
        tables::{Op, TableStore as _, Tables},
    },
    wire::{ChecksumMode, PacketMeta, RouterAdvertisement},
};
use mif_tests::{
    bpffs::Bpffs,
    cgroup::Cgroup,
    netns::{End, Namespace, veth},
};
use mif_user::{
    clock,
    daemon::owner::{HostPolicy, Owner},
    kernel::{
        attach::TcBackend,
        btf::Layouts,
        maps::Maps,
        object::{self, Sizes},
        pins,
    },
    mode::Mode,
    policy::Policies,
};
use nix::net::if_::if_nametoindex;

use crate::{
    Plan, aftermath,
    figure::{Figure, Goal, thousands},
    lab,
    progress::Progress,
    report::{Report, Row},
    routers::{LINKS, PLACES, Router},
};

/// All nodes of a link (RFC 4291 §2.7.1), where advertisements go.
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// Rounds at most that begin with an installation, which takes longer than what is measured.
const INSTALLATIONS: u32 = 9;

/// How often the programs are loaded.
const LOADS: u32 = 3;

/// A host with many links, and where its installation is.
struct Host {
    namespace: Namespace,
    ifindices: Vec<u32>,
    plan: pins::Plan,
    _cgroup: Cgroup,
    _bpffs: Bpffs,
}

/// Measures both, and `compile` alone with other numbers.
pub fn measure(plan: &Plan, progress: &mut Progress, report: &mut Report) -> Result<()> {
    aftermath::wait();
    for &population in &plan.populations {
        progress.step(format!("{population}: compile"));
        let world = population.world([2, 3]);
        let mut row = Row::new("compile alone, ms", population.to_string());
        row.mif = Figure::of((0..plan.rounds).map(|_| milliseconds(timed(|| compile(&world)).1)));
        row.note = format!("{} decisions, half of them of IPv4", thousands(compile(&world).decisions.len()));
        report.rows.push(row);
    }
    progress.step("compile and apply: setting up");
    let host = Host::new()?;
    host.namespace.run(|| {
        let n = format!("{} PvDs, 10 routes each", thousands(plan.routers));
        progress.step("loading the programs");
        let mut row = Row::new("programs loaded and verified, ms", "all hooks");
        let load = |_| {
            let (loaded, took) = timed(|| object::load(host.plan.sizes, &Layouts::of_the_kernel()));
            loaded.map(|_| milliseconds(took))
        };
        row.mif = Figure::of((0..LOADS).map(load).collect::<Result<Vec<_>, _>>()?);
        report.rows.push(row);
        progress.step(format!("compile and apply, {n}"));
        // Attaches to the interfaces, once.
        host.fill(plan.routers)?;
        let (mut rounds, mut parts) = (Vec::new(), Vec::new());
        let mut last = None;
        let installations = plan.rounds.min(INSTALLATIONS);
        for round in 1..=installations {
            progress.round(round, installations);
            let (owner, took) = host.fill(plan.routers)?;
            rounds.push(milliseconds(took));
            parts.push(Parts::of(&owner)?);
            last = Some(owner);
        }
        let mut row = Row::new("compile and apply from nothing, ms", &n);
        row.mif = Figure::of(rounds);
        row.note = Parts::note(&parts);
        report.rows.push(row.with_goal(Goal::AtMost(200.0)));
        progress.step(format!("one changed advertisement among {n}"));
        let owner = last.context("there was a round")?;
        report.rows.push(host.one_change(owner, plan, &n, progress)?);
        Ok(())
    })
}

impl Host {
    fn new() -> Result<Self> {
        let (namespace, cgroup, bpffs) =
            (Namespace::new("host of many links")?, lab::cgroup()?, Bpffs::mount()?);
        let name = |link: u32| format!("link{link}");
        for link in (0..LINKS).step_by(2) {
            let (near, far) = (name(link), name(link + 1));
            let number = 0x100 + u16::try_from(link)?;
            let end = |interface, number| End { namespace: &namespace, interface, number };
            veth(end(&near, number), end(&far, number + 1))?;
            namespace.ip(&format!("link set {near} up\nlink set {far} up"))?;
        }
        let index = |link| namespace.run(|| if_nametoindex(name(link).as_str()));
        let ifindices = (0..LINKS).map(index).collect::<Result<_, _>>().context("the links are there")?;
        let plan = pins::Plan {
            directory: bpffs.directory(),
            cgroup: cgroup.path().into(),
            sizes: Sizes { pvds: PLACES, ..Sizes::default() },
            tc: TcBackend::Auto,
        };
        Ok(Self { namespace, ifindices, plan, _cgroup: cgroup, _bpffs: bpffs })
    }

    fn ifindex(&self, router: Router) -> u32 {
        self.ifindices[router.link() as usize]
    }

    /// An owner that knows all there is to know and has not written any of it; then the time of its first commit.
    fn fill(&self, routers: u16) -> Result<(Owner, Duration)> {
        let installation = pins::Installation::start(&self.plan)?;
        let mut maps = Maps::open(&self.plan.directory)?;
        for op in diff(&maps.load()?, &Tables::default()) {
            maps.apply(&op)?;
        }
        let policy = HostPolicy {
            mode: Mode::Prefer,
            observe_foreign_rules: true,
            netns_cookie: clock::netns_cookie()?,
        };
        let mut owner = Owner::new(
            PvdSet::new(Limits { max_pvds: PLACES - 1 }),
            Policies::default(),
            policy,
            Preferences::default(),
            installation,
            BTreeMap::new(),
        )?;
        let now = clock::now();
        for (link, &ifindex) in self.ifindices.iter().enumerate() {
            let name = format!("link{link}");
            owner.event(Event::Link(Link { ifindex, name, up: true, loopback: false, mtu: 1500 }), now);
        }
        for router in Router::first(routers) {
            owner.event(Event::Address(address(self.ifindex(router), router)), now);
            let advertisement = router.says(0);
            let ifindex = self.ifindex(router);
            owner.event(Event::RouterAdvertisement { ifindex, router: router.address(), advertisement }, now);
        }
        ensure!(owner.set.len() == usize::from(routers), "{} PvDs and not {routers}", owner.set.len());
        let started = Instant::now();
        let committed = owner.commit(clock::now());
        let took = started.elapsed();
        ensure!(owner.problems().is_empty(), "the owner complains: {}", owner.problems().join("; "));
        ensure!(committed.operations > 10 * usize::from(routers), "only {} operations", committed.operations);
        Ok((owner, took))
    }

    /// From the octets of a message to the maps. What the maps hold is compared for the first few: nothing else was touched.
    fn one_change(&self, mut owner: Owner, plan: &Plan, n: &str, progress: &Progress) -> Result<Row> {
        const COMPARED: u32 = 3;
        let maps = Maps::open(&self.plan.directory)?;
        let (mut rounds, mut operations, mut exact) = (Vec::new(), Vec::new(), 0);
        for round in 1..=plan.changes {
            progress.round(round, plan.changes);
            // Neighbours in number lie on different links.
            let router = Router((round % u32::from(plan.routers)) as u16);
            let message = router.message(1 + (round / u32::from(plan.routers)) as u16)?;
            let before = (round <= COMPARED).then(|| maps.load()).transpose()?;
            let started = Instant::now();
            let meta = PacketMeta {
                source: router.address(),
                destination: ALL_NODES,
                hop_limit: 255,
                fragmented: false,
                checksum: ChecksumMode::VerifiedByKernel,
            };
            let advertisement = RouterAdvertisement::parse_packet(&meta, &message)?.advertisement;
            let (ifindex, now) = (self.ifindex(router), clock::now());
            owner.event(Event::RouterAdvertisement { ifindex, router: router.address(), advertisement }, now);
            let committed = owner.commit(now);
            rounds.push(milliseconds(started.elapsed()));
            ensure!(committed.error.is_none() && committed.operations > 0, "{committed:?}");
            operations.push(committed.operations as f64);
            if let Some(before) = before {
                let changed = diff(&before, &maps.load()?).len();
                exact += u32::from(changed == committed.operations);
            }
        }
        let mut row = Row::new("one changed advertisement in force, ms", n);
        row.mif = Figure::of(rounds);
        let operations = Figure::of(operations).context("there was a round")?.median;
        row.note = format!(
            "{operations} entries written; no others differ afterwards in {exact} of {COMPARED} comparisons of all maps"
        );
        Ok(row.with_goal(Goal::AtMost(2.0)))
    }
}

/// An address as the kernel makes it from a router's prefix.
fn address(ifindex: u32, router: Router) -> Address {
    Address::new(ifindex, router.host(), 64)
}

/// Where the time goes.
struct Parts {
    world: Duration,
    compile: Duration,
    diff: Duration,
    load: Duration,
    entries: usize,
}

impl Parts {
    fn of(owner: &Owner) -> Result<Self> {
        let now = clock::now();
        let (world, for_world) = timed(|| owner.set.world(now, &Preferences::default()));
        let (tables, for_compile) = timed(|| compile(&world));
        let (ops, for_diff) = timed(|| diff(&Tables::default(), &tables));
        let (_, for_nothing) = timed(|| diff(&tables, &tables));
        Ok(Self {
            world: for_world,
            compile: for_compile,
            diff: for_diff,
            load: for_nothing,
            entries: ops.iter().filter(|op| !matches!(op, Op::PutMember(..))).count(),
        })
    }

    fn note(parts: &[Self]) -> String {
        let median = |part: fn(&Self) -> Duration| {
            Figure::of(parts.iter().map(|parts| milliseconds(part(parts))))
                .map_or(f64::NAN, |figure| figure.median)
        };
        let entries = parts.first().map_or(0, |parts| parts.entries);
        format!(
            "{} entries; of it the world {:.1} ms, compile {:.1} ms, diff {:.1} ms (of equal tables {:.1} ms), the rest system calls",
            thousands(entries),
            median(|parts| parts.world),
            median(|parts| parts.compile),
            median(|parts| parts.diff),
            median(|parts| parts.load),
        )
    }
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let started = Instant::now();
    (work(), started.elapsed())
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
