//! What is going on, on standard error: one line that changes on a terminal, a line for each step elsewhere.

use std::{
    io::{IsTerminal as _, Write as _, stderr},
    time::Instant,
};

/// A teller.
pub struct Progress {
    started: Instant,
    terminal: bool,
    step: String,
}

impl Progress {
    /// From now on.
    pub fn new() -> Self {
        Self { started: Instant::now(), terminal: stderr().is_terminal(), step: String::new() }
    }

    /// The next step.
    pub fn step(&mut self, what: impl Into<String>) {
        self.step = what.into();
        if self.terminal {
            self.line(&self.step.clone());
        } else {
            eprintln!("[{:>4} s] {}", self.seconds(), self.step);
        }
    }

    /// A round of the step, counted from 1.
    pub fn round(&self, round: u32, rounds: u32) {
        if self.terminal {
            self.line(&format!("{}, round {round} of {rounds}", self.step));
        }
    }

    /// Nothing more follows; the line goes.
    pub fn end(&self) {
        if self.terminal {
            eprint!("\r\x1b[K");
        }
        eprintln!("measured for {} s", self.seconds());
    }

    fn line(&self, text: &str) {
        // Carriage return, then erase to the end of the line (ECMA-48).
        eprint!("\r\x1b[K[{:>4} s] {text}", self.seconds());
        // Nobody to see it is no reason to stop.
        let _ = stderr().flush();
    }

    fn seconds(&self) -> u64 {
        self.started.elapsed().as_secs()
    }
}
