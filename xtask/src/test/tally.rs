//! Counting what the standard test runner reports.

use std::fmt;

/// Tests that passed and failed so far, over all runners.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Tally {
    passed: u64,
    failed: u64,
    /// A runner has begun and not yet given its result.
    running: bool,
}

impl Tally {
    /// Takes in one line of a runner's output.
    pub fn line(&mut self, line: &str) {
        if starts_runner(line) {
            self.close();
            self.running = true;
        } else if let Some((passed, failed)) = result(line) {
            self.passed += passed;
            self.failed += failed;
            self.running = false;
        }
    }

    /// The output is over. A runner that began and gave no result died: one more failure, or it would go uncounted.
    pub fn close(&mut self) {
        self.failed += u64::from(std::mem::take(&mut self.running));
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)
    }
}

/// `running 12 tests`
fn starts_runner(line: &str) -> bool {
    let count = line.strip_prefix("running ").and_then(|rest| rest.split_once(" test"));
    count.is_some_and(|(count, plural)| count.parse::<u64>().is_ok() && ["", "s"].contains(&plural))
}

/// Passed and failed of `test result: ok. 12 passed; 0 failed; ...`
fn result(line: &str) -> Option<(u64, u64)> {
    let (_, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let mut counts = counts.split("; ");
    let passed = counts.next()?.strip_suffix(" passed")?.parse().ok()?;
    let failed = counts.next()?.strip_suffix(" failed")?.parse().ok()?;
    Some((passed, failed))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OK: &str =
        "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s";
    const BAD: &str =
        "test result: FAILED. 2 passed; 5 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s";

    #[test]
    fn results_are_summed_and_dead_runners_count() {
        let cases: [(&[&str], &str); 7] = [
            (&[], "0 passed, 0 failed"),
            (&["running 4 tests", "test a ... ok", OK], "3 passed, 0 failed"),
            (&["running 4 tests", OK, "running 7 tests", BAD], "5 passed, 5 failed"),
            (&["running 1 test", "test a ... "], "0 passed, 1 failed"),
            (&["running 1 test", "running 4 tests", OK], "3 passed, 1 failed"),
            (&["running late tests", "running 3 testers"], "0 passed, 0 failed"),
            (&["test result: ok. many passed; 0 failed"], "0 passed, 0 failed"),
        ];
        for (lines, expected) in cases {
            let mut tally = Tally::default();
            for line in lines {
                tally.line(line);
            }
            tally.close();
            assert_eq!(tally.to_string(), expected, "{lines:?}");
        }
    }
}
