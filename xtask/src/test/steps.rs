//! What each step of `cargo xtask test` runs.

use std::{fmt, io::IsTerminal, process::Command};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use super::{Args, deps, tally::Tally};
use crate::{
    fuzz::{self, Effort},
    setup::Need,
    sh,
    workspace::{EBPF_MANIFEST, FUZZ_MANIFEST, Workspace, root_prefix},
};

/// Packages whose tests need root: they make namespaces and load programs into the kernel.
const KERNEL_PACKAGES: [&str; 2] = ["mif-tests", "mif-user"];
/// The target of the kernel programs on a little-endian machine.
const BPF_TARGET: &str = "bpfel-unknown-none";
/// What starts each test program: one that hangs is ended after ten minutes (the longest takes one) and fails, so that the
/// others still run. In the foreground, so that the terminal's signals reach it.
const LIMIT: [&str; 4] = ["timeout", "--foreground", "--kill-after=10", "600"];
const DENY_WARNINGS: [&str; 3] = ["--", "-D", "warnings"];
const SEE_ABOVE: &str = "the messages above say why";

/// One kind of check.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Step {
    /// rustfmt leaves the sources as they are
    Fmt,
    /// What mif-core may depend on; licences, sources and lock files of all dependencies
    Deps,
    /// clippy has nothing to say
    Clippy,
    /// Unit and property tests that need no rights
    Unit,
    /// The documentation builds without a warning
    Docs,
    /// Tests on this machine's kernel, as root
    Kernel,
    /// Each fuzz target for some seconds
    Fuzz,
    /// cargo-deny with deny.toml (only when asked for; cargo-deny must be installed)
    Deny,
}

impl Step {
    /// The steps of a run that names none: the quick ones first. Deny is not among them: Deps checks the same licences and
    /// sources without minutes of building cargo-deny.
    pub const DEFAULT: [Self; 7] =
        [Self::Fmt, Self::Deps, Self::Clippy, Self::Unit, Self::Docs, Self::Kernel, Self::Fuzz];

    /// What the machine must have for it.
    pub fn need(self) -> Option<Need> {
        match self {
            Self::Kernel => Some(Need::Lab),
            Self::Fuzz => Some(Need::Fuzz),
            _ => None,
        }
    }

    /// One line on what it checks.
    pub fn what(self) -> String {
        let value = self.to_possible_value().expect("no step is hidden");
        value.get_help().map(ToString::to_string).unwrap_or_default()
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.to_possible_value().expect("no step is hidden").get_name())
    }
}

/// Runs one step; what its test runners report goes into `tally`.
pub fn run(workspace: &Workspace, step: Step, args: &Args, tally: &mut Tally) -> Result<()> {
    match step {
        Step::Fmt => all([
            fmt(workspace, &["--all"]),
            fmt(workspace, &["--manifest-path", EBPF_MANIFEST]),
            fmt(workspace, &["--manifest-path", FUZZ_MANIFEST]),
        ]),
        Step::Deps => deps::check(workspace),
        Step::Clippy => clippy(workspace),
        Step::Unit => {
            let mut test = workspace.cargo("test");
            test.arg("--workspace").args(KERNEL_PACKAGES.iter().flat_map(|package| ["--exclude", package]));
            test.env(runner_variable()?, LIMIT.join(" "));
            tests(test, args, tally)
        }
        Step::Docs => {
            let mut doc = workspace.cargo("doc");
            doc.args(["--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings");
            sh::run(&mut doc, SEE_ABOVE)
        }
        Step::Kernel => {
            let mut test = workspace.cargo("test");
            test.args(KERNEL_PACKAGES.iter().flat_map(|package| ["--package", package]));
            let prefix = root_prefix()?.unwrap_or_default();
            test.env(runner_variable()?, [prefix, &LIMIT].concat().join(" "));
            tests(test, args, tally)
        }
        Step::Fuzz => {
            let effort = Effort { seconds: args.fuzz_seconds, jobs: 1, verbose: false };
            fuzz::fuzz(workspace, &fuzz::targets(workspace)?, &effort)
        }
        Step::Deny => deny(workspace),
    }
}

fn fmt(workspace: &Workspace, which: &[&str]) -> Result<()> {
    let mut fmt = workspace.cargo("fmt");
    fmt.args(which);
    let remedy = format!("run: {}", sh::line(&fmt));
    fmt.arg("--check");
    // rustfmt colours its differences also when nobody looks.
    if !std::io::stdout().is_terminal() {
        fmt.args(["--", "--color", "never"]);
    }
    sh::run(&mut fmt, &remedy)
}

fn clippy(workspace: &Workspace) -> Result<()> {
    let mut main = workspace.cargo("clippy");
    main.args(["--workspace", "--all-targets"]).args(DENY_WARNINGS);

    let mut ebpf = workspace.unstable_cargo("clippy");
    ebpf.args(["--manifest-path", EBPF_MANIFEST, "--target", BPF_TARGET, "-Zbuild-std=core", "--target-dir"]);
    ebpf.arg(workspace.target.join("bpf")).args(DENY_WARNINGS);

    let mut fuzz = workspace.unstable_cargo("clippy");
    fuzz.args(["--manifest-path", FUZZ_MANIFEST, "--target-dir"]).arg(fuzz::target_dir(&workspace.target));
    // Nothing is linked here, so the half minute that libfuzzer-sys spends on compiling libFuzzer would be lost.
    fuzz.env("CUSTOM_LIBFUZZER_PATH", "/nonexistent/libfuzzer.a").args(DENY_WARNINGS);

    all([main, ebpf, fuzz].map(|mut command| sh::run(&mut command, SEE_ABOVE)))
}

fn tests(mut cargo: Command, args: &Args, tally: &mut Tally) -> Result<()> {
    // Without --no-fail-fast, cargo would keep the later runners' failures from us.
    cargo.arg("--no-fail-fast").args(&args.filter);
    let result = sh::run_watched(&mut cargo, SEE_ABOVE, |line| tally.line(line));
    tally.close();
    result
}

fn deny(workspace: &Workspace) -> Result<()> {
    let mut deny = workspace.cargo("deny");
    deny.args(["check", "licenses", "bans", "sources"]);
    let install = format!(
        "see the messages above; to install cargo-deny: cargo install --locked --root {} cargo-deny",
        workspace.tools().display()
    );
    sh::run(&mut deny, &install)
}

/// Cargo's variable with the program that starts test programs on this machine.
fn runner_variable() -> Result<String> {
    let about = sh::output(Command::new("rustc").arg("-vV"), "is rustc in PATH?")?;
    let host =
        about.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc -vV names no host")?;
    Ok(format!("CARGO_TARGET_{}_RUNNER", host.to_uppercase().replace('-', "_")))
}

/// Ok when all are; otherwise all the errors in one.
pub fn all(results: impl IntoIterator<Item = Result<()>>) -> Result<()> {
    let errors: Vec<_> =
        results.into_iter().filter_map(Result::err).map(|error| format!("{error:#}")).collect();
    if errors.is_empty() {
        return Ok(());
    }
    bail!("{}", errors.join("\n"))
}
