//! The project's tasks: `cargo xtask --help`. One file per task; each first makes sure that the machine has what it needs
//! ([`setup`]), so that no step by hand comes before it.

mod bench;
mod build;
mod fuzz;
mod run;
mod setup;
mod sh;
mod test;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

use crate::{setup::Need, workspace::Workspace};

/// The tasks of the mif project.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Task {
    /// Install what building and testing need: toolchain, bpf-linker, cargo-fuzz, Debian packages
    Setup,
    /// Build the kernel programs and everything that runs beside them
    Build(build::Args),
    /// Show the main job in the embedded lab, or run the daemon on this machine (--host)
    Run(run::Args),
    /// Check format, lints, dependencies and documents; run unit, property, kernel and fuzz tests
    Test(test::Args),
    /// Measure what mif costs, beside the bare kernel and other ways of choosing a provider
    Bench(bench::Args),
    /// Fuzz the decoders
    Fuzz(fuzz::Args),
}

fn main() -> ExitCode {
    match run(Task::parse()) {
        Ok(status) => status,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<ExitCode> {
    let workspace = Workspace::find()?;
    match task {
        Task::Setup => {
            setup::ensure(&workspace, &Need::ALL)?;
            println!("Everything is there. Next: cargo xtask run, or cargo xtask test");
        }
        Task::Build(args) => build::task(&workspace, &args)?,
        Task::Run(args) => run::task(&workspace, &args)?,
        Task::Test(args) => return test::task(&workspace, &args),
        Task::Bench(args) => bench::task(&workspace, &args)?,
        Task::Fuzz(args) => fuzz::task(&workspace, &args)?,
    }
    Ok(ExitCode::SUCCESS)
}
