//! The socket hooks and whatever else a connection meets: whole system calls, each way of choosing in turn.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use mif_core::select::compile;
use mif_tests::cgroup::Cgroup;
use mif_user::kernel::object::Sizes;

use crate::{
    Plan,
    enforcement::Enforcement,
    figure::{Figure, Goal, thousands},
    lab::{self, Site},
    object::SockCreate,
    population::Population,
    progress::Progress,
    report::{Peer, Report, Row},
    traffic::{Kind, Order},
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

/// Hosts with as many PvDs and routes as wanted, one for each way of choosing that changes the kernel's tables.
struct Stage {
    population: Population,
    /// The bare kernel, `mif`, and the peers that are programs or system calls.
    plain: Site,
    rules: Site,
    source_routes: Site,
    mif: Enforcement,
    sock_create: SockCreate,
    cgroup: Cgroup,
}

/// Measures with one number of PvDs and routes.
pub fn measure(
    population: Population,
    plan: &Plan,
    progress: &mut Progress,
    report: &mut Report,
) -> Result<()> {
    let n = population.to_string();
    progress.step(format!("{n}: setting up"));
    let mut stage = Stage::set_up(population)?;
    for kind in [Kind::Connect, Kind::Exchange, Kind::Send] {
        let mut who = vec![Who::Bare, Who::Mif];
        who.extend(Peer::ALL.map(Who::Peer));
        who.push(Who::Again);
        let step = format!("{n}: {}", name(kind));
        report.rows.push(stage.compare(kind, &who, &step, plan, progress)?);
    }
    progress.step(format!("{n}: the hooks' own run time"));
    report.rows.extend(stage.run_times(plan)?);
    if plan.streams_at.contains(&population) {
        let step = format!("{n}: {}", name(Kind::Stream));
        let row = stage.compare(Kind::Stream, &[Who::Bare, Who::Mif, Who::Again], &step, plan, progress)?;
        report.rows.push(row);
    }
    Ok(())
}

/// Works for some seconds with the hooks on, for a profiler to look at.
pub fn show(kind: Kind, population: Population, seconds: u32) -> Result<()> {
    let mut stage = Stage::set_up(population)?;
    stage.mif.on()?;
    let order = Order { kind, v6: true, bind_device: false, milliseconds: 1000 };
    eprintln!("works for {seconds} s: perf record -g -p {}", stage.plain.worker.id());
    for _ in 0..seconds {
        let done = stage.plain.worker.order(&order)?;
        eprintln!("{:.0} ns each", done.each());
    }
    stage.mif.off()
}

impl Stage {
    fn set_up(population: Population) -> Result<Self> {
        let cgroup = lab::cgroup()?;
        let plain = Site::new("host", 0, &cgroup)?;
        let rules = Site::new("host with rules", 1, &cgroup)?;
        let source_routes = Site::new("host with source routes", 2, &cgroup)?;
        rules.host.ip(&population.rules())?;
        source_routes.host.ip(&population.source_routes())?;
        let tables = compile(&population.world(plain.ifindices));
        let sizes = Sizes { pvds: population.pvds + 1, ..Sizes::default() };
        let mut mif = Enforcement::new(&plain.host, cgroup.path(), &plain.ifindices, sizes)?;
        mif.fill(&tables)?;
        let sock_create = SockCreate::new(plain.ifindices[0])?;
        Ok(Self { population, plain, rules, source_routes, mif, sock_create, cgroup })
    }

    /// All in turns, in the other direction every second round: what a turn leaves behind hits each alike.
    fn compare(
        &mut self,
        kind: Kind,
        who: &[Who],
        step: &str,
        plan: &Plan,
        progress: &mut Progress,
    ) -> Result<Row> {
        progress.step(step);
        let mut rounds: Vec<BTreeMap<Who, f64>> = Vec::new();
        for round in 1..=plan.rounds {
            progress.round(round, plan.rounds);
            let mut turns = who.to_vec();
            if round % 2 == 0 {
                turns.reverse();
            }
            let turn = |who| Ok((who, self.turn(who, kind, plan.slice)?));
            rounds.push(turns.into_iter().map(turn).collect::<Result<_>>()?);
        }
        Ok(self.row(kind, &rounds))
    }

    /// Nanoseconds for one, or for an octet.
    fn turn(&mut self, who: Who, kind: Kind, milliseconds: u32) -> Result<f64> {
        let bind_device = who == Who::Peer(Peer::BindDevice);
        let order = Order { kind, v6: true, bind_device, milliseconds };
        // The caches are somebody else's at first.
        let warm_up = Order { milliseconds: milliseconds.div_ceil(10), ..order };
        let work = |site: &mut Site| {
            site.worker.order(&warm_up)?;
            Ok::<_, anyhow::Error>(site.worker.order(&order)?.each())
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
            Who::Mif => {
                self.mif.on()?;
                let done = work(&mut self.plain);
                self.mif.off()?;
                done
            }
        }
        .with_context(|| format!("{who:?}"))
    }

    /// Ratios are of the same round. What the bare kernel takes is the mean of its two turns there.
    fn row(&self, kind: Kind, rounds: &[BTreeMap<Who, f64>]) -> Row {
        let bare = |round: &BTreeMap<Who, f64>| {
            let turns = [round.get(&Who::Bare), round.get(&Who::Again)];
            let turns: Vec<f64> = turns.into_iter().flatten().copied().collect();
            turns.iter().sum::<f64>() / turns.len() as f64
        };
        let figure =
            |value: &dyn Fn(&BTreeMap<Who, f64>) -> Option<f64>| Figure::of(rounds.iter().filter_map(value));
        let ratio = |who: Who| figure(&|round| Some(bare(round) / round.get(&who)?));
        let noise = figure(&|round| Some(round.get(&Who::Bare)? / round.get(&Who::Again)?));
        let mut row = Row::new(name(kind), self.population.to_string());
        (row.pvds, row.routes) = (Some(self.population.pvds), Some(self.population.routes));
        row.note = noise.map_or_else(String::new, |noise| {
            format!(
                "the bare kernel beside itself: {:.3} ({:.3} to {:.3})",
                noise.median, noise.lower, noise.upper
            )
        });
        if kind == Kind::Connect {
            // Beside the rules' it is judged when all is measured.
            let added = |who: Who| figure(&|round| Some(round.get(&who)? - bare(round)));
            row.bare = figure(&|round| Some(bare(round)));
            row.mif = added(Who::Mif);
            row.peers =
                Peer::ALL.into_iter().filter_map(|peer| Some((peer, added(Who::Peer(peer))?))).collect();
            return row;
        }
        let rate = |figure: Option<Figure>| figure.map(|figure| figure.map(|each| per_unit(kind) / each));
        row.bare = rate(figure(&|round| Some(bare(round))));
        row.mif = rate(figure(&|round| round.get(&Who::Mif).copied()));
        for peer in Peer::ALL {
            if let Some(figure) = rate(figure(&|round| round.get(&Who::Peer(peer)).copied())) {
                row.peers.insert(peer, figure);
            }
        }
        row.ratio = ratio(Who::Mif);
        row.with_goal(Goal::AtLeast(match kind {
            Kind::Exchange => 0.98,
            Kind::Send => 0.97,
            Kind::Connect | Kind::Stream => 0.99,
        }))
    }

    /// The programs' own run time, as the kernel counts it, under the traffic that makes them run.
    fn run_times(&mut self, plan: &Plan) -> Result<Vec<Row>> {
        let mut of: BTreeMap<(Kind, &'static str), Vec<f64>> = BTreeMap::new();
        self.mif.on()?;
        for kind in [Kind::Connect, Kind::Send] {
            let order = Order { kind, v6: true, bind_device: false, milliseconds: plan.slice };
            for _ in 0..plan.rounds {
                let worker = &mut self.plain.worker;
                let times = self.mif.run_times(|| worker.order(&order).map(drop))?;
                for (program, time) in times {
                    if let Some(each) = time.each() {
                        of.entry((kind, program)).or_default().push(each);
                    }
                }
            }
        }
        self.mif.off()?;
        let row = |((kind, program), rounds)| {
            // In the traffic of the socket's hook the other programs are not at home.
            let at_home = (kind == Kind::Connect) == program_is_connect(program);
            let mut row = Row::new(format!("{program}{RUN_TIME}"), self.population.to_string());
            row.mif = Figure::of(rounds);
            (row.pvds, row.routes) = (Some(self.population.pvds), Some(self.population.routes));
            at_home.then_some(row)
        };
        Ok(of.into_iter().filter_map(row).collect())
    }
}

fn program_is_connect(program: &str) -> bool {
    program.starts_with("connect")
}

/// What it is called, with its unit.
fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Connect => CONNECT,
        Kind::Exchange => "TCP connect, request, response, /s",
        Kind::Send => "UDP send, unconnected, /s",
        Kind::Stream => "TCP throughput, Gbit/s",
    }
}

/// How the names of the programs' own run times end.
pub const RUN_TIME: &str = ", its own run time, ns";

/// The measurement of the chart.
pub const CONNECT: &str = "connect: ns added to the bare kernel's";

/// From nanoseconds for one to the unit of [`name`].
fn per_unit(kind: Kind) -> f64 {
    match kind {
        // Octets of 8 bits.
        Kind::Stream => 8.0,
        Kind::Connect | Kind::Exchange | Kind::Send => 1e9,
    }
}

impl std::fmt::Display for Population {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} PvDs, {} routes", thousands(self.pvds), thousands(self.routes))
    }
}
