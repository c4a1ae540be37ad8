//! A flow opened again and again, to see moments without enforcement.

use std::{
    io::{self, BufRead as _},
    os::fd::AsFd as _,
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::{Deserialize, Serialize};

use crate::flow::{Flow, Report};

/// Failures that a summary tells in full.
const TOLD: usize = 8;

/// What became of the flows.
#[derive(Clone, Debug, Default, Eq, PartialEq, Deserialize, Serialize)]
pub struct Summary {
    /// How many were opened.
    pub opened: u64,
    /// How many got their answer.
    pub arrived: u64,
    /// The first that did not.
    pub failures: Vec<Report>,
}

impl Summary {
    fn add(&mut self, report: Report) {
        self.opened += 1;
        self.arrived += u64::from(report.arrived);
        if !report.arrived && self.failures.len() < TOLD {
            self.failures.push(report);
        }
    }
}

/// Opens the flow until standard input ends, one after the other, and tells `out` the summary for each line of it.
///
/// # Errors
/// `out` cannot be written or standard input not be read.
pub fn run(flow: &Flow, mut out: impl io::Write) -> io::Result<()> {
    let (mut summary, mut stdin, mut line) = (Summary::default(), io::stdin().lock(), String::new());
    loop {
        summary.add(flow.once());
        let asked = {
            let mut fds = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
            poll(&mut fds, PollTimeout::ZERO)?;
            fds[0].any() == Some(true)
        };
        if !asked {
            continue;
        }
        line.clear();
        if stdin.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let mut answer = serde_json::to_vec(&summary)?;
        answer.push(b'\n');
        out.write_all(&answer)?;
    }
}
