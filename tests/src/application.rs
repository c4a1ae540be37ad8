//! Runs applications in a namespace and a cgroup of the lab.

use std::{
    ffi::OsStr,
    net::SocketAddr,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

use crate::{
    attack::{Aim, Answer, Pass},
    cgroup::Cgroup,
    flow::{Flow, Report},
    need,
    netns::Namespace,
    probe::{Probe, Probed},
    process::Process,
    script::Script,
    storm::Summary,
};

/// The binary that opens flows and serves.
const PROGRAM: &str = "mif-lab-flow";

/// Where an application runs.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    namespace: &'a Namespace,
    cgroup: Option<&'a Cgroup>,
}

impl<'a> Place<'a> {
    /// In a namespace, and the cgroup of this process.
    pub fn new(namespace: &'a Namespace) -> Self {
        Self { namespace, cgroup: None }
    }

    /// In a cgroup, from the first instruction on.
    pub fn within(self, cgroup: impl Into<Option<&'a Cgroup>>) -> Self {
        Self { cgroup: cgroup.into(), ..self }
    }

    /// A command that will run there.
    ///
    /// # Errors
    /// The cgroup is gone.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Result<Command> {
        let mut command = self.namespace.command(program);
        if let Some(cgroup) = self.cgroup {
            cgroup.hold(&mut command)?;
        }
        Ok(command)
    }

    /// Opens a flow.
    ///
    /// # Errors
    /// The application could not be started.
    pub fn start(&self, flow: &Flow) -> Result<Application> {
        let mut command = self.command(need::sibling(PROGRAM)?)?;
        command.arg("open").args(flow.args()).stdin(Stdio::piped()).stdout(Stdio::piped());
        Ok(Application { process: Process::spawn(command)? })
    }

    /// Opens a flow and waits for what becomes of it.
    ///
    /// # Errors
    /// The application could not be started, or did not report. A lost flow is no error.
    pub fn open(&self, flow: &Flow) -> Result<Report> {
        self.start(flow)?.report()
    }

    /// Starts what a script says.
    ///
    /// # Errors
    /// The application could not be started.
    pub fn play(&self, script: &Script) -> Result<Application> {
        let mut command = self.command(need::sibling(PROGRAM)?)?;
        command.arg("script").args(script.args()).stdin(Stdio::piped()).stdout(Stdio::piped());
        Ok(Application { process: Process::spawn(command)? })
    }

    /// Opens all these flows at once and waits for what becomes of each.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_all(&self, flows: &[Flow]) -> Result<Vec<Report>> {
        let started = flows.iter().map(|flow| self.start(flow)).collect::<Result<Vec<_>>>()?;
        started.into_iter().map(|mut application| application.report()).collect()
    }

    /// Opens a flow again and again; the first has ended when this returns.
    ///
    /// # Errors
    /// The application could not be started.
    pub fn storm(&self, flow: &Flow) -> Result<Storm> {
        let mut command = self.command(need::sibling(PROGRAM)?)?;
        command.arg("storm").args(flow.args()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut storm = Storm { process: Process::spawn(command)? };
        storm.so_far()?;
        Ok(storm)
    }

    /// Tries destinations on UDP sockets.
    ///
    /// # Errors
    /// The application could not be started, or did not report.
    pub fn probe(&self, probe: &Probe) -> Result<Vec<Probed>> {
        let mut command = self.command(need::sibling(PROGRAM)?)?;
        command.arg("probe").args(probe.args()).stdin(Stdio::null()).stdout(Stdio::piped());
        let line = Process::spawn(command)?.read_line()?;
        serde_json::from_str(&line).with_context(|| format!("{PROGRAM} said {line:?}"))
    }

    /// Starts an attacker; it has gone through its table once when this returns.
    ///
    /// # Errors
    /// The attacker could not be started.
    pub fn attack(&self, aim: &Aim) -> Result<Attacker> {
        let mut command = self.command(need::sibling(PROGRAM)?)?;
        command.arg("attack").args(aim.args()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut attacker = Attacker { process: Process::spawn(command)? };
        attacker.pass()?;
        Ok(attacker)
    }

    /// Serves echo on TCP and UDP; `[::]` is all addresses, `0.0.0.0` those of IPv4. Ready when this returns, ends when the result is dropped.
    ///
    /// # Errors
    /// An address is not there or taken.
    pub fn serve(&self, addresses: &[SocketAddr]) -> Result<Server> {
        let mut command = self.command(need::sibling(PROGRAM)?)?;
        command.arg("serve").args(addresses.iter().map(ToString::to_string));
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = Process::spawn(command)?;
        match process.read_line()?.as_str() {
            "ready" => Ok(Server { _process: process }),
            other => bail!("a server in {} said {other:?} and not that it is ready", self.namespace.name()),
        }
    }
}

/// An application with a flow.
#[derive(Debug)]
pub struct Application {
    process: Process,
}

impl Application {
    /// Waits for what became of the next exchange.
    ///
    /// # Errors
    /// It did not say so in time.
    pub fn report(&mut self) -> Result<Report> {
        let line = self.process.read_line()?;
        serde_json::from_str(&line).with_context(|| format!("{PROGRAM} said {line:?}"))
    }

    /// Makes another exchange on the same socket; the flow was opened with [`Flow::stay`].
    ///
    /// # Errors
    /// The application ended.
    pub fn again(&mut self) -> Result<Report> {
        self.process.write_line("again")?;
        self.report()
    }
}

/// An application that serves.
#[derive(Debug)]
pub struct Server {
    _process: Process,
}

/// An application that tries everything to send where it may not.
#[derive(Debug)]
pub struct Attacker {
    process: Process,
}

impl Attacker {
    /// Goes through the table once more; what it did before it was asked does not count.
    ///
    /// # Errors
    /// The attacker ended.
    pub fn pass(&mut self) -> Result<Pass> {
        self.process.write_line("pass")?;
        let line = self.process.read_line()?;
        let answer: Answer =
            serde_json::from_str(&line).with_context(|| format!("{PROGRAM} said {line:?}"))?;
        Ok(answer.pass)
    }
}

/// An application that opens a flow again and again.
#[derive(Debug)]
pub struct Storm {
    process: Process,
}

impl Storm {
    /// What became of the flows so far. At least one was opened and ended since the last call.
    ///
    /// # Errors
    /// The application ended.
    pub fn so_far(&mut self) -> Result<Summary> {
        self.process.write_line("so far?")?;
        let line = self.process.read_line()?;
        serde_json::from_str(&line).with_context(|| format!("{PROGRAM} said {line:?}"))
    }
}
