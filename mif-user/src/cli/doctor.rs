//! `mif doctor`: what this kernel and this machine lack, each with the remedy.

use std::{fmt, process::ExitCode};

use anyhow::Result;
use serde::Serialize;

use super::{
    Global,
    output::{self, BAD, Cell, FAINT, GOOD, Table, WARNING},
};

mod cgroup_programs;
mod installed;
mod kernel;
mod network;

/// Say what this kernel and this machine lack, each with the remedy
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Changes nothing; to see whether the kernel takes the programs, it loads them once. Exit status 1 if \
something is missing without which nothing works.

JSON: an array of {check, verdict, found, remedy}; verdict is ok, note (good to know), warning \
(something will not work as it could), or missing (nothing works without it).

Examples:
  mif doctor
  mif doctor --json | jq '.[] | select(.verdict == \"missing\")'"
)]
pub struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// How good what was found is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// Good to know.
    Note,
    /// Something will not work as it could.
    Warning,
    /// Nothing works without it.
    Missing,
}

/// One thing looked at.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Check {
    /// What.
    pub check: String,
    /// How good it is.
    pub verdict: Verdict,
    /// What was found.
    pub found: String,
    /// What to do.
    pub remedy: Option<String>,
}

impl Check {
    fn new(check: impl Into<String>, verdict: Verdict, found: impl Into<String>) -> Self {
        Self { check: check.into(), verdict, found: found.into(), remedy: None }
    }

    /// As it should be.
    pub fn ok(check: impl Into<String>, found: impl Into<String>) -> Self {
        Self::new(check, Verdict::Ok, found)
    }

    /// Good to know.
    pub fn note(check: impl Into<String>, found: impl Into<String>) -> Self {
        Self::new(check, Verdict::Note, found)
    }

    /// Something will not work as it could.
    pub fn warning(check: impl Into<String>, found: impl Into<String>) -> Self {
        Self::new(check, Verdict::Warning, found)
    }

    /// Nothing works without it.
    pub fn missing(check: impl Into<String>, found: impl Into<String>) -> Self {
        Self::new(check, Verdict::Missing, found)
    }

    /// What to do about it.
    pub fn remedy(self, remedy: impl Into<String>) -> Self {
        Self { remedy: Some(remedy.into()), ..self }
    }
}

/// Looks at everything.
///
/// # Errors
/// When standard output cannot be written; what is wrong with the machine is the report.
pub fn run(global: &Global, args: &Args) -> Result<ExitCode> {
    let mut checks = kernel::checks(&global.bpffs());
    checks.extend(installed::checks(global));
    checks.extend(network::checks());
    let report = Report(checks);
    output::show(&report, args.json)?;
    Ok(if report.worst() == Some(Verdict::Missing) { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

#[derive(Serialize)]
#[serde(transparent)]
struct Report(Vec<Check>);

impl Report {
    fn worst(&self) -> Option<Verdict> {
        self.0.iter().map(|check| check.verdict).max()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::fields();
        for check in &self.0 {
            let verdict = match check.verdict {
                Verdict::Ok => Cell::styled("ok", GOOD),
                Verdict::Note => Cell::styled("note", FAINT),
                Verdict::Warning => Cell::styled("warning", WARNING),
                Verdict::Missing => Cell::styled("MISSING", BAD),
            };
            table.row([verdict, check.check.as_str().into(), check.found.as_str().into()]);
            if let Some(remedy) = &check.remedy {
                table.row(["".into(), "".into(), Cell::styled(format!("-> {remedy}"), FAINT)]);
            }
        }
        let count = |verdict| self.0.iter().filter(|check| check.verdict == verdict).count();
        let conclusion = match (count(Verdict::Missing), count(Verdict::Warning)) {
            (0, 0) => "All that mif needs is here.".to_owned(),
            (0, warnings) => {
                format!(
                    "All that mif needs is here; {} worth a look.",
                    super::format::counted(warnings, "warning")
                )
            }
            (missing, _) => format!("mif cannot work here: {missing} missing."),
        };
        write!(f, "{table}\n{conclusion}\n")
    }
}

#[cfg(test)]
mod tests {
    use super::{super::output::plain, *};

    #[test]
    fn the_report() {
        for (checks, worst, expected) in [
            (
                vec![Check::ok("bpffs", "/sys/fs/bpf")],
                Verdict::Ok,
                "ok  bpffs  /sys/fs/bpf\n\nAll that mif needs is here.\n",
            ),
            (
                vec![Check::ok("a", "b"), Check::warning("eth0", "ignores RAs").remedy("sysctl")],
                Verdict::Warning,
                "ok       a     b\nwarning  eth0  ignores RAs\n               -> sysctl\n\n\
                 All that mif needs is here; 1 warning worth a look.\n",
            ),
            (
                vec![Check::missing("root", "no"), Check::note("x", "y")],
                Verdict::Missing,
                "MISSING  root  no\nnote     x     y\n\nmif cannot work here: 1 missing.\n",
            ),
        ] {
            let report = Report(checks);
            assert_eq!(report.worst(), Some(worst));
            assert_eq!(plain(&report), expected);
        }
    }
}
