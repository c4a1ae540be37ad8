//! The figures: a table for people, JSON for programs.

use std::fmt;

use serde::Serialize;

/// One comparison.
#[derive(Serialize)]
pub struct Row {
    /// What was done.
    pub work: &'static str,
    /// How many PvDs the tables had.
    pub pvds: u32,
    /// Nanoseconds without the programs (tc egress: with a program that does nothing).
    pub without_ns: f64,
    /// Nanoseconds with them.
    pub with_ns: f64,
    /// `with_ns / without_ns`
    pub ratio: f64,
    /// The program's own run time as the kernel counts it, nanoseconds a run; the counting itself is in it.
    pub program_ns: Option<f64>,
}

/// All comparisons of a run.
#[derive(Serialize)]
pub struct Report {
    kernel: String,
    cpus: usize,
    rows: Vec<Row>,
}

impl Report {
    /// An empty report of this machine.
    pub fn new() -> Self {
        let kernel = nix::sys::utsname::uname()
            .map(|name| name.release().to_string_lossy().into_owned())
            .unwrap_or_else(|_| "unknown".into());
        Self { kernel, cpus: std::thread::available_parallelism().map_or(1, usize::from), rows: Vec::new() }
    }

    /// Adds a comparison.
    pub fn add(&mut self, work: &'static str, pvds: u32, without: f64, with: f64, program: Option<f64>) {
        let row = Row {
            work,
            pvds,
            without_ns: without,
            with_ns: with,
            ratio: with / without,
            program_ns: program,
        };
        self.rows.push(row);
    }

    /// As JSON.
    pub fn json(&self) -> serde_json::Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "Linux {}, {} CPUs; nanoseconds for one call or packet, medians",
            self.kernel, self.cpus
        )?;
        writeln!(
            f,
            "{:<34} {:>6} {:>10} {:>10} {:>7} {:>9}",
            "work", "PvDs", "without", "with", "ratio", "program"
        )?;
        for row in &self.rows {
            let program = row.program_ns.map_or_else(String::new, |ns| format!("{ns:.0}"));
            writeln!(
                f,
                "{:<34} {:>6} {:>10.0} {:>10.0} {:>7.3} {:>9}",
                row.work, row.pvds, row.without_ns, row.with_ns, row.ratio, program
            )?;
        }
        Ok(())
    }
}

/// The median of some figures.
pub fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}
