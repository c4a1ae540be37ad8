//! What the hooks cost, as ratios from one run: `cargo xtask bench`.
//!
//! Socket hooks: the time of a whole system call with and without the programs, in turns so that a change of clock
//! frequency hits both, and the programs' own run time as the kernel counts it. tc egress: `BPF_PROG_TEST_RUN`, beside
//! a program that does nothing. Figures are medians of the rounds.

mod egress;
mod report;
mod sockets;
mod world;

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::{Context as _, Result};
use clap::Parser;

use crate::report::Report;

/// Measure what the hooks of mif cost.
#[derive(Parser)]
#[command(name = "cargo xtask bench --")]
struct Args {
    /// System calls in a round
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(100..))]
    calls: u32,
    /// Rounds with and rounds without the programs
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u32).range(3..))]
    rounds: u32,
    /// Packets in a test run of tc egress
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1_000..))]
    packets: u32,
    /// How many PvDs the tables have in each run
    #[arg(long, value_delimiter = ',', default_values_t = [2, 100])]
    pvds: Vec<u32>,
    /// Where the JSON goes
    #[arg(long, default_value = "target/bench/hooks.json")]
    json: PathBuf,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mif-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<()> {
    let mut report = Report::new();
    for &pvds in &args.pvds {
        eprintln!("{pvds} PvDs: connect, sendmsg");
        let mut bench = world::Bench::set_up(pvds)?;
        sockets::connect(&mut bench, args.calls, args.rounds, &mut report)?;
        sockets::sendmsg(&mut bench, args.calls, args.rounds, &mut report)?;
        eprintln!("{pvds} PvDs: tc egress");
        egress::measure(&mut bench, args.packets, args.rounds, &mut report)?;
    }
    print!("{report}");
    if let Some(directory) = args.json.parent() {
        fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    }
    fs::write(&args.json, report.json()?).with_context(|| format!("cannot write {}", args.json.display()))?;
    eprintln!("written to {}", args.json.display());
    Ok(())
}
