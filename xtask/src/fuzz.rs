//! `cargo xtask fuzz`: libFuzzer on the decoders. A cargo-fuzz target for each lies in `tests/fuzz`, with its seeds in
//! `tests/fuzz/seeds/TARGET`.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result, bail};

use crate::{
    setup::{self, Need},
    sh,
    workspace::Workspace,
};

/// Folder of the fuzz workspace.
const FOLDER: &str = "tests/fuzz";
/// No decoder reads more than 64 KiB (a UDP datagram), so one allocation beyond this many MiB is a bug by itself.
const MALLOC_LIMIT_MIB: u32 = 64;
/// No decoder may take this many seconds for one input.
const TIMEOUT_SECONDS: u32 = 5;

/// What to fuzz, and how long.
#[derive(clap::Args)]
pub struct Args {
    /// Targets; all when none is named
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,
    /// Seconds for each target
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// Processes at a time for a target
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    jobs: u16,
}

/// Fuzzes the named targets one after the other and fails when any of them found something.
pub fn task(workspace: &Workspace, args: &Args) -> Result<()> {
    setup::ensure(workspace, &[Need::Fuzz])?;
    let all = targets(workspace)?;
    if let Some(unknown) = args.targets.iter().find(|target| !all.contains(target)) {
        bail!("there is no fuzz target `{unknown}`\n  there are: {}", all.join(", "));
    }
    let chosen = if args.targets.is_empty() { &all } else { &args.targets };
    fuzz(workspace, chosen, &Effort { seconds: args.seconds, jobs: args.jobs, verbose: true })
}

/// How long and how loud to fuzz.
pub struct Effort {
    /// Seconds for each target.
    pub seconds: u32,
    /// Processes at a time for a target.
    pub jobs: u16,
    /// Show libFuzzer's progress, not only what it finds.
    pub verbose: bool,
}

/// Every target of the fuzz workspace.
pub fn targets(workspace: &Workspace) -> Result<Vec<String>> {
    let list =
        sh::output(workspace.unstable_cargo("fuzz").args(["list", "--fuzz-dir", FOLDER]), "see tests/fuzz")?;
    let targets: Vec<_> = list.lines().map(str::to_owned).collect();
    if targets.is_empty() {
        bail!("{FOLDER} has no targets");
    }
    Ok(targets)
}

/// Builds all targets once, then runs `targets` in turn; goes on after a finding, so that one run shows them all.
pub fn fuzz(workspace: &Workspace, targets: &[String], effort: &Effort) -> Result<()> {
    sh::run(&mut cargo_fuzz(workspace, "build"), "the compiler's messages above say why")?;
    let mut found = Vec::new();
    for target in targets {
        // New inputs are kept in the first folder; git ignores it.
        let corpus = format!("{FOLDER}/corpus/{target}");
        let path = workspace.root.join(&corpus);
        fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
        let seeds = format!("{FOLDER}/seeds/{target}");
        let mut run = cargo_fuzz(workspace, "run");
        run.args(["--jobs", &effort.jobs.to_string(), target, &corpus]);
        if workspace.root.join(&seeds).is_dir() {
            run.arg(&seeds);
        }
        run.args(["--", &format!("-max_total_time={}", effort.seconds)]);
        run.arg(format!("-malloc_limit_mb={MALLOC_LIMIT_MIB}")).arg(format!("-timeout={TIMEOUT_SECONDS}"));
        if !effort.verbose {
            run.arg("-verbosity=0");
        }
        let remedy =
            format!("the input is in {FOLDER}/artifacts/{target}; add it to {seeds} with the repair");
        if let Err(error) = sh::run(&mut run, &remedy) {
            eprintln!("error: {error:#}");
            found.push(target.as_str());
        }
    }
    if !found.is_empty() {
        bail!("{} of {} fuzz targets failed: {}", found.len(), targets.len(), found.join(", "));
    }
    Ok(())
}

fn cargo_fuzz(workspace: &Workspace, action: &str) -> Command {
    let mut cargo = workspace.unstable_cargo("fuzz");
    cargo.args([action, "--fuzz-dir", FOLDER, "--target-dir"]).arg(target_dir(&workspace.target));
    cargo
}

/// Apart from the main workspace, whose builds would otherwise wait for the fuzzers' lock.
pub fn target_dir(target: &Path) -> std::path::PathBuf {
    target.join("fuzz")
}
