//! `cargo xtask test`: all that must hold before a change goes in. Every step runs, also after one has failed, so that one
//! run shows everything there is to repair.

mod deps;
mod steps;
mod tally;

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::Result;

use self::{steps::Step, tally::Tally};
use crate::{
    setup::{self, Need},
    workspace::Workspace,
};

/// What to test.
#[derive(clap::Args)]
pub struct Args {
    /// Only these steps; all but deny when none is named
    #[arg(long, value_name = "STEP", value_delimiter = ',')]
    only: Vec<Step>,
    /// Seconds for each fuzz target
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    fuzz_seconds: u32,
    /// Only tests whose name contains this (steps unit and kernel)
    filter: Option<String>,
}

impl Args {
    fn steps(&self) -> &[Step] {
        match (&self.only[..], &self.filter) {
            ([], None) => &Step::DEFAULT,
            // The other steps have no tests with names.
            ([], Some(_)) => &[Step::Unit, Step::Kernel],
            (named, _) => named,
        }
    }
}

/// How a step went.
struct Outcome {
    step: Step,
    took: Duration,
    failed: bool,
}

/// Runs the steps and sums up; the last line counts what the test runners reported.
pub fn task(workspace: &Workspace, args: &Args) -> Result<ExitCode> {
    let start = Instant::now();
    let steps = args.steps();
    let needs: Vec<Need> = steps.iter().filter_map(|step| step.need()).collect();
    setup::ensure(workspace, &needs)?;
    let mut tally = Tally::default();
    let outcomes: Vec<_> = steps
        .iter()
        .map(|&step| {
            println!("\n== {step}: {}", step.what());
            let start = Instant::now();
            let result = steps::run(workspace, step, args, &mut tally);
            let took = start.elapsed();
            match &result {
                Ok(()) => println!("== {step}: ok, {:.1} s", took.as_secs_f64()),
                Err(error) => println!("== {step}: FAILED, {:.1} s\n{error:#}", took.as_secs_f64()),
            }
            Outcome { step, took, failed: result.is_err() }
        })
        .collect();

    println!("\n== all steps");
    for Outcome { step, took, failed } in &outcomes {
        let verdict = if *failed { "FAILED" } else { "ok" };
        println!("{:<8} {verdict:<6} {:>7.1} s", step.to_string(), took.as_secs_f64());
    }
    let failed = outcomes.iter().any(|outcome| outcome.failed);
    let verdict = if failed { "FAILED" } else { "ok" };
    println!("{:<8} {verdict:<6} {:>7.1} s", "total", start.elapsed().as_secs_f64());
    println!("{tally}");
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
