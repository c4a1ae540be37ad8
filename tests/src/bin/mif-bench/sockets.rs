//! The socket hooks and whatever else a connection meets: whole system calls, each way of choosing in turn.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use mif_common::abi::PvdIndex;
use mif_core::{
    family::Family,
    select::{compile, tables::Tables, world::View},
};
use mif_tests::cgroup::Cgroup;
use mif_user::kernel::object::{CGROUP_PROGRAMS, EGRESS_PROGRAM, GUARD_PROGRAM, Sizes};

use crate::{
    Plan, aftermath,
    enforcement::Enforcement,
    figure::{Figure, Goal, Verdict},
    lab::{self, Site},
    object::{Empty, SockCreate},
    population::{Population, name as family_name},
    profile,
    progress::Progress,
    report::{Peer, Report, Row},
    traffic::{Done, Kind, Order},
};

/// Whose turn it is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Who {
    Bare,
    Mif,
    Peer(Peer),
    /// The bare kernel once more: how far two equal things lie apart.
    Again,
}

/// What each did in a round: nanoseconds for one call or octet.
type Round = BTreeMap<Who, f64>;

/// A kind of work in a family.
#[derive(Clone, Copy)]
struct Work {
    kind: Kind,
    family: Family,
    /// In a cgroup with a strict policy.
    strict: bool,
}

/// Hosts with as many PvDs and routes as wanted, one for each way of choosing that changes the kernel's tables.
struct Stage {
    population: Population,
    /// The bare kernel, `mif`, and the peers that are programs or system calls.
    plain: Site,
    rules: Site,
    source_routes: Site,
    mif: Enforcement,
    /// What its maps hold.
    tables: Tables,
    sock_create: SockCreate,
    empty: Empty,
    cgroup: Cgroup,
}

/// Measures with one number of PvDs and routes.
pub fn measure(
    population: Population,
    plan: &Plan,
    progress: &mut Progress,
    report: &mut Report,
) -> Result<()> {
    progress.step(format!("{population}: setting up"));
    aftermath::wait();
    let families: &[Family] =
        if plan.ipv4_at.contains(&population) { &[Family::Ipv6, Family::Ipv4] } else { &[Family::Ipv6] };
    let mut stage = Stage::set_up(population, families)?;
    for &family in families {
        for kind in [Kind::Connect, Kind::Exchange, Kind::Send] {
            let work = Work { kind, family, strict: false };
            let mut row = stage.compare(work, plan, progress)?;
            if row.verdict.is_some_and(|verdict| verdict != Verdict::Met) {
                row.note = stage.profile(work, plan, progress)?.unwrap_or_default();
            }
            report.rows.push(row);
        }
        progress.step(format!("{population}: the hooks' own run time, {}", family_name(family)));
        report.rows.extend(stage.run_times(family, "", plan)?);
    }
    if plan.strict_at.contains(&population) {
        stage.strict(families, plan, progress, report)?;
    }
    if plan.streams_at.contains(&population) {
        let work = Work { kind: Kind::Stream, family: Family::Ipv6, strict: false };
        report.rows.push(stage.compare(work, plan, progress)?);
    }
    Ok(())
}

/// Works for some seconds with the hooks on, for a profiler to look at.
pub fn show(kind: Kind, family: Family, population: Population, seconds: u32) -> Result<()> {
    let mut stage = Stage::set_up(population, &[family])?;
    stage.mif.on()?;
    let order = Order { kind, family, bind_device: false, milliseconds: 1000 };
    eprintln!("works for {seconds} s: perf record -g -p {}", stage.plain.worker.id());
    for _ in 0..seconds {
        let done = stage.plain.worker.order(&order)?;
        eprintln!("{:.0} ns each", done.each());
    }
    stage.mif.off()
}

impl Stage {
    fn set_up(population: Population, families: &[Family]) -> Result<Self> {
        let cgroup = lab::cgroup()?;
        let plain = Site::new("host", 0, &cgroup)?;
        let rules = Site::new("host with rules", 1, &cgroup)?;
        let source_routes = Site::new("host with source routes", 2, &cgroup)?;
        for &family in families {
            lab::batch(&rules.host, family, &population.rules(family))?;
        }
        source_routes.host.ip(&population.source_routes())?;
        let tables = compile(&population.world(plain.ifindices));
        let sizes = Sizes { pvds: population.pvds + 1, ..Sizes::default() };
        let mut mif = Enforcement::new(&plain.host, cgroup.path(), &plain.ifindices, sizes)?;
        mif.fill(&Tables::default(), &tables)?;
        let sock_create = SockCreate::new(plain.ifindices[0])?;
        let empty = Empty::new()?;
        Ok(Self { population, plain, rules, source_routes, mif, tables, sock_create, empty, cgroup })
    }

    /// The same work in a cgroup whose strict policy has the PvD in use: each hook looks the cgroup up, tc egress does so for every
    /// packet, and the guard runs besides. Then the policy is gone again.
    fn strict(
        &mut self,
        families: &[Family],
        plan: &Plan,
        progress: &mut Progress,
        report: &mut Report,
    ) -> Result<()> {
        let mut world = self.population.world(self.plain.ifindices);
        world.views.push(View { id: STRICT_VIEW, groups: vec![vec![IN_USE]] });
        let tables = compile(&world);
        self.mif.fill(&self.tables, &tables)?;
        self.mif.set_strict(Some(STRICT_VIEW))?;
        for &family in families {
            for kind in [Kind::Connect, Kind::Send] {
                report.rows.push(self.compare(Work { kind, family, strict: true }, plan, progress)?);
            }
            progress.step(format!("{}: run time under a policy, {}", self.population, family_name(family)));
            report.rows.extend(self.run_times(family, IN_STRICT, plan)?);
        }
        self.mif.set_strict(None)?;
        self.mif.fill(&tables, &self.tables)
    }

    /// All in turns, in the other direction every second round: what a turn leaves behind hits each alike.
    fn compare(&mut self, work: Work, plan: &Plan, progress: &mut Progress) -> Result<Row> {
        progress.step(format!("{}: {}", self.population, work.name()));
        let mut rounds: Vec<Round> = Vec::new();
        let wanted = work.rounds(plan);
        for round in 1..=wanted {
            progress.round(round, wanted);
            let mut turns = work.comparable();
            if round % 2 == 0 {
                turns.reverse();
            }
            let turn = |who| Ok((who, self.turn(who, work, plan.slice)?));
            rounds.push(turns.into_iter().map(turn).collect::<Result<_>>()?);
        }
        let mut row = if work.kind == Kind::Connect { added(work, &rounds) } else { rates(work, &rounds) };
        row.n = self.population.to_string();
        (row.pvds, row.routes) = (Some(self.population.pvds), Some(self.population.routes));
        Ok(row)
    }

    fn turn(&mut self, who: Who, Work { kind, family, .. }: Work, milliseconds: u32) -> Result<f64> {
        let bind_device = who == Who::Peer(Peer::BindDevice);
        let order = Order { kind, family, bind_device, milliseconds };
        // The caches are somebody else's at first.
        let warm_up = Order { milliseconds: milliseconds.div_ceil(10), ..order };
        let work = |site: &mut Site| {
            site.worker.order(&warm_up)?;
            site.worker.order(&order)
        };
        match who {
            Who::Bare | Who::Again | Who::Peer(Peer::BindDevice) => work(&mut self.plain),
            Who::Peer(Peer::Rules) => work(&mut self.rules),
            Who::Peer(Peer::SourceRoutes) => work(&mut self.source_routes),
            Who::Peer(Peer::SockCreate) => {
                self.sock_create.attach(self.cgroup.path())?;
                let done = work(&mut self.plain);
                self.sock_create.detach()?;
                done
            }
            Who::Peer(Peer::Empty) => {
                self.empty.on(self.cgroup.path(), &self.plain.host, &self.plain.ifindices)?;
                let done = work(&mut self.plain);
                self.empty.off(&self.plain.host)?;
                done
            }
            Who::Mif => {
                self.mif.on()?;
                self.plain.worker.order(&warm_up)?;
                let before = self.mif.applied()?;
                let done = self.plain.worker.order(&order);
                let chosen = self.mif.applied()? - before;
                self.mif.off()?;
                // What does nothing costs little.
                let expected = done.as_ref().map_or(0, |done| done.count);
                ensure!(
                    kind == Kind::Stream || chosen >= expected,
                    "only {chosen} choices for {expected} calls"
                );
                done
            }
        }
        .map(Done::each)
        .with_context(|| format!("{who:?}"))
    }

    /// Where the time goes with the hooks on.
    fn profile(&mut self, work: Work, plan: &Plan, progress: &mut Progress) -> Result<Option<String>> {
        progress.step(format!("{}: {}, a profile", self.population, work.name()));
        let Work { kind, family, .. } = work;
        let order = Order { kind, family, bind_device: false, milliseconds: plan.slice };
        self.mif.on()?;
        let worker = &mut self.plain.worker;
        let programs: Vec<&str> = CGROUP_PROGRAMS.into_iter().chain([EGRESS_PROGRAM]).collect();
        let said = profile::of(worker.id(), &programs, || worker.order(&order).map(drop));
        self.mif.off()?;
        said
    }

    /// The programs' own run time, as the kernel counts it, each under the traffic that it is for. `circumstance` is a part of the
    /// rows' names.
    fn run_times(&mut self, family: Family, circumstance: &str, plan: &Plan) -> Result<Vec<Row>> {
        let digit = family_name(family).trim_start_matches("IPv");
        self.mif.on()?;
        let mut rows = Vec::new();
        // The guard is there with a strict policy only.
        let programs = [
            (Kind::Connect, "connect"),
            (Kind::Send, "sendmsg"),
            (Kind::Send, EGRESS_PROGRAM),
            (Kind::Send, GUARD_PROGRAM),
        ];
        for (kind, program) in programs {
            let own = format!("{program}{digit}");
            let order = Order { kind, family, bind_device: false, milliseconds: plan.slice };
            let mut rounds = Vec::new();
            for _ in 0..plan.rounds {
                let worker = &mut self.plain.worker;
                let times = self.mif.run_times(|| worker.order(&order).map(drop))?;
                let time = times.into_iter().find(|(name, _)| *name == own || *name == program);
                rounds.extend(time.and_then(|(_, time)| time.each()));
            }
            if rounds.is_empty() {
                continue;
            }
            let mut row = Row::new(format!("{own}{circumstance}{RUN_TIME}"), self.population.to_string());
            row.mif = Figure::of(rounds);
            (row.pvds, row.routes) = (Some(self.population.pvds), Some(self.population.routes));
            rows.push(row);
        }
        self.mif.off()?;
        Ok(rows)
    }
}

impl Work {
    /// Who can do it: IPv4 has no source-specific routes, and once a stream flows only the packets differ.
    fn comparable(self) -> Vec<Who> {
        let can = |peer: &Peer| match peer {
            // The others have nothing like a policy.
            _ if self.strict => false,
            Peer::Empty => true,
            _ if self.kind == Kind::Stream => false,
            Peer::SourceRoutes => self.family == Family::Ipv6,
            _ => true,
        };
        let mut who = vec![Who::Bare, Who::Mif];
        who.extend(Peer::ALL.into_iter().filter(can).map(Who::Peer));
        who.push(Who::Again);
        who
    }

    /// How many rounds: more where the goal lies nearer to the figure than the rounds to each other.
    fn rounds(self, plan: &Plan) -> u32 {
        plan.rounds
            * match self.kind {
                Kind::Connect | Kind::Send => 1,
                Kind::Exchange => 2,
                Kind::Stream => 6,
            }
    }

    /// What it is called, with its unit.
    fn name(self) -> String {
        let family = family_name(self.family);
        let strict = if self.strict { IN_STRICT } else { "" };
        match self.kind {
            Kind::Connect => format!("{CONNECT}, {family}{strict}, ns"),
            Kind::Exchange => format!("TCP connect, request, response, {family}{strict}, /s"),
            Kind::Send => format!("UDP send, unconnected, {family}{strict}, /s"),
            Kind::Stream => format!("TCP throughput, {family}{strict}, Gbit/s"),
        }
    }

    /// From nanoseconds for one to the unit of the name.
    fn per_unit(self) -> f64 {
        match self.kind {
            // Octets of 8 bits.
            Kind::Stream => 8.0,
            Kind::Connect | Kind::Exchange | Kind::Send => 1e9,
        }
    }

    /// What should be reached; nothing is promised of what a policy costs.
    fn goal(self) -> Option<Goal> {
        let bound = match self.kind {
            Kind::Exchange => 0.98,
            Kind::Send => 0.97,
            Kind::Connect | Kind::Stream => 0.99,
        };
        (!self.strict).then_some(Goal::AtLeast(bound))
    }
}

/// How the names of what a connection costs begin.
pub const CONNECT: &str = "added to connect";

/// In the names of what was measured in a cgroup with a strict policy.
const IN_STRICT: &str = ", strict policy";

/// The view of that policy, and the PvD in it, which serves the destination of all traffic.
const STRICT_VIEW: u32 = 1;
const IN_USE: PvdIndex = 1;

/// How the names of the programs' own run times end.
pub const RUN_TIME: &str = ", its own run time, ns";

/// What the bare kernel takes: the mean of its two turns in the round.
fn bare(round: &Round) -> f64 {
    let turns = [round.get(&Who::Bare), round.get(&Who::Again)];
    let turns: Vec<f64> = turns.into_iter().flatten().copied().collect();
    turns.iter().sum::<f64>() / turns.len() as f64
}

/// A row with the bare kernel beside itself.
fn with_noise(work: Work, rounds: &[Round]) -> Row {
    let noise = rounds.iter().filter_map(|round| Some(round.get(&Who::Bare)? / round.get(&Who::Again)?));
    Row { noise: Figure::of(noise), ..Row::new(work.name(), "") }
}

/// What each adds to the time of the bare kernel; it is judged beside the rules' when all is measured.
fn added(work: Work, rounds: &[Round]) -> Row {
    let added = |who| Figure::of(rounds.iter().filter_map(|round| Some(round.get(&who)? - bare(round))));
    Row {
        bare: Figure::of(rounds.iter().map(bare)),
        mif: added(Who::Mif),
        peers: Peer::ALL.into_iter().filter_map(|peer| Some((peer, added(Who::Peer(peer))?))).collect(),
        ..with_noise(work, rounds)
    }
}

/// What each gets done; the ratio is that of the same round.
fn rates(work: Work, rounds: &[Round]) -> Row {
    let rate = |time: &dyn Fn(&Round) -> Option<f64>| {
        Figure::of(rounds.iter().filter_map(time)).map(|time| time.map(|each| work.per_unit() / each))
    };
    let of = |who| rate(&move |round: &Round| round.get(&who).copied());
    let row = Row {
        bare: rate(&|round| Some(bare(round))),
        mif: of(Who::Mif),
        peers: Peer::ALL.into_iter().filter_map(|peer| Some((peer, of(Who::Peer(peer))?))).collect(),
        ratio: Figure::of(rounds.iter().filter_map(|round| Some(bare(round) / round.get(&Who::Mif)?))),
        ..with_noise(work, rounds)
    };
    match work.goal() {
        Some(goal) => row.with_goal(goal),
        None => row,
    }
}
