//! What `mif` costs, beside the bare kernel and other ways of doing the same: `cargo xtask bench`.
//!
//! Everything is set up here, in namespaces and a cgroup of its own. What is compared takes turns within one run, so that
//! drift hits all alike; figures are medians of the rounds, ratios those of the same round.

mod aftermath;
mod chart;
mod control;
mod daemon;
mod dhcpv6;
mod document;
mod egress;
mod enforcement;
mod figure;
mod lab;
mod object;
mod population;
mod profile;
mod progress;
mod report;
mod rest;
mod routers;
mod server;
mod sockets;
mod table;
mod traffic;
mod verdict;
mod worker;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result};
use clap::{Parser, ValueEnum};
use mif_core::family::Family;

use crate::{population::Population, progress::Progress, report::Report, traffic::Kind};

/// Measure what mif costs, beside the bare kernel and other ways of choosing a provider
#[derive(Parser)]
#[command(name = "cargo xtask bench --")]
struct Args {
    /// A run of a minute or two: fewer PvDs, fewer and shorter rounds, more noise
    #[arg(long)]
    quick: bool,
    /// Only these parts
    #[arg(long, value_delimiter = ',', default_values_t = Part::ALL)]
    only: Vec<Part>,
    /// Where the JSON and the chart go
    #[arg(long, default_value = "target/bench")]
    out: PathBuf,
    /// Put them into this folder of documents as well
    #[arg(long, value_name = "DIRECTORY")]
    docs: Option<PathBuf>,
    /// Measure nothing: work so for 20 s with the hooks on, for a profiler to look at
    #[arg(long, value_name = "WORK")]
    profile: Option<Kind>,
    /// With --profile: on IPv4 sockets
    #[arg(long, requires = "profile")]
    ipv4: bool,
    /// With --profile: so many PvDs
    #[arg(long, requires = "profile", value_name = "NUMBER", default_value_t = 1_000)]
    pvds: u32,
}

/// A part of the bench.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Part {
    /// connect, TCP, UDP, throughput, the hooks' run time
    Sockets,
    /// tc egress, packet by packet
    Egress,
    /// From events to the maps, with the owner of the tables
    Control,
    /// A real daemon: memory, wake-ups
    Daemon,
    /// A thousand DHCPv6 clients: memory, wake-ups, how fast an answer counts
    Dhcpv6,
}

impl Part {
    const ALL: [Self; 5] = [Self::Sockets, Self::Egress, Self::Control, Self::Daemon, Self::Dhcpv6];
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.to_possible_value().as_ref().map_or("", |value| value.get_name()))
    }
}

/// How much of it.
struct Plan {
    populations: Vec<Population>,
    /// With which of them TCP throughput is measured.
    streams_at: Vec<Population>,
    /// With which of them IPv4 is measured too.
    ipv4_at: Vec<Population>,
    /// With which of them a cgroup with a strict policy is measured too.
    strict_at: Vec<Population>,
    rounds: u32,
    /// Milliseconds of a turn.
    slice: u32,
    /// How many local addresses tc egress is measured with, rising.
    sources: Vec<u32>,
    /// Packets of a test run.
    packets: u32,
    /// Routers, each a PvD, that the daemon's part of the work is measured with.
    routers: u16,
    /// Changed advertisements.
    changes: u32,
    /// Seconds in which nothing happens.
    idle: u64,
}

impl Plan {
    fn new(quick: bool) -> Self {
        let population = |pvds, routes| Population { pvds, routes };
        if quick {
            let populations = vec![population(2, 10), population(1_000, 10)];
            let streams_at = vec![population(2, 10)];
            let sources = vec![1, 1_000, 100_000];
            return Self {
                ipv4_at: populations.clone(),
                populations,
                streams_at,
                strict_at: vec![population(2, 10)],
                rounds: 7,
                slice: 40,
                sources,
                packets: 200_000,
                routers: 1_000,
                changes: 20,
                idle: 5,
            };
        }
        let numbers = [2, 100, 1_000, 10_000];
        let populations =
            [10, 100_000].into_iter().flat_map(|routes| numbers.map(|pvds| population(pvds, routes)));
        let streams_at = vec![population(2, 10), population(10_000, 100_000)];
        let mut ipv4_at = numbers.map(|pvds| population(pvds, 10)).to_vec();
        ipv4_at.push(population(10_000, 100_000));
        let sources = vec![1, 1_000, 100_000, 1_000_000];
        Self {
            populations: populations.collect(),
            streams_at,
            ipv4_at,
            strict_at: vec![population(2, 10), population(10_000, 10)],
            rounds: 21,
            slice: 30,
            sources,
            packets: 1_000_000,
            routers: 1_000,
            changes: 200,
            idle: 30,
        }
    }
}

fn main() -> ExitCode {
    let mut words = env::args_os().skip(1);
    let done = match (words.next(), words.next()) {
        (Some(word), Some(server)) if word == worker::WORD => worker::run(Path::new(&server)),
        _ => run(&Args::parse()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mif-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<()> {
    let plan = Plan::new(args.quick);
    if let Some(kind) = args.profile {
        let family = if args.ipv4 { Family::Ipv4 } else { Family::Ipv6 };
        return sockets::show(kind, family, Population { pvds: args.pvds, routes: 10 }, 20);
    }
    let (mut report, mut progress) = (Report::new(args.quick), Progress::new());
    if args.only.contains(&Part::Sockets) {
        for &population in &plan.populations {
            sockets::measure(population, &plan, &mut progress, &mut report)?;
        }
    }
    if args.only.contains(&Part::Egress) {
        egress::measure(&plan, &mut progress, &mut report)?;
    }
    if args.only.contains(&Part::Control) {
        control::measure(&plan, &mut progress, &mut report)?;
    }
    if args.only.contains(&Part::Daemon) {
        daemon::measure(&plan, &mut progress, &mut report)?;
    }
    if args.only.contains(&Part::Dhcpv6) {
        dhcpv6::measure(&plan, &mut progress, &mut report)?;
    }
    verdict::complete(&mut report);
    progress.end();
    print!("{}", table::Screen(&report));
    let chart = verdict::chart(&report).map(|chart| chart.svg());
    fs::create_dir_all(&args.out).with_context(|| format!("cannot make {}", args.out.display()))?;
    write(&args.out.join("bench.json"), &report.json()?)?;
    if let Some(chart) = &chart {
        write(&args.out.join("bench.svg"), chart)?;
    }
    if let Some(docs) = &args.docs {
        let document = docs.join("benchmarks.md");
        let text =
            fs::read_to_string(&document).with_context(|| format!("cannot read {}", document.display()))?;
        write(&document, &document::with_figures(&text, &report)?)?;
        write(&docs.join("benchmarks.json"), &report.json()?)?;
        if let Some(chart) = &chart {
            write(&docs.join("benchmarks.svg"), chart)?;
        }
    }
    Ok(())
}

fn write(file: &Path, text: &str) -> Result<()> {
    fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))?;
    eprintln!("written to {}", file.display());
    Ok(())
}
