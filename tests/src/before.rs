//! What the kernel alone does, to compare with what it does with `mif`.

use std::net::IpAddr;

use anyhow::{Result, ensure};

use crate::{
    application::Place,
    flow::{Flow, Kind, Report},
    internet::at_echo,
};

/// All kinds of flows.
pub const KINDS: [Kind; 4] = [Kind::Tcp, Kind::UdpConnected, Kind::UdpUnconnected, Kind::UdpPktinfo];

/// Flows of all kinds to the echo server at `destination`: without a wish of their own, and from each of `sources`.
pub fn flows(destination: IpAddr, sources: &[IpAddr]) -> Vec<Flow> {
    let kinds = || KINDS.into_iter().map(|kind| Flow::new(kind, at_echo(destination)));
    let free = kinds().filter(|flow| flow.kind != Kind::UdpPktinfo);
    free.chain(sources.iter().flat_map(|&source| kinds().map(move |flow| flow.from(source)))).collect()
}

/// Flows and what became of them.
#[derive(Debug)]
pub struct Before {
    flows: Vec<Flow>,
    reports: Vec<Report>,
}

impl Before {
    /// Opens all of them.
    ///
    /// # Errors
    /// An application could not run.
    pub fn of(place: Place<'_>, flows: Vec<Flow>) -> Result<Self> {
        let reports = place.open_all(&flows)?;
        Ok(Self { flows, reports })
    }

    /// Each with its end.
    pub fn each(&self) -> impl Iterator<Item = (&Flow, &Report)> {
        self.flows.iter().zip(&self.reports)
    }

    /// Fails unless all got their answer.
    ///
    /// # Errors
    /// One did not.
    pub fn all_arrived(&self) -> Result<()> {
        for (flow, report) in self.each() {
            ensure!(report.arrived, "{flow:?}: {report:?}");
        }
        Ok(())
    }

    /// Opens them again. Nothing that arrived stops arriving, a free flow has the source that it had, and what was refused at once
    /// is refused with the same errno(3).
    ///
    /// # Errors
    /// It is not so.
    pub fn compare(&self, place: Place<'_>) -> Result<()> {
        let after = place.open_all(&self.flows)?;
        for ((flow, before), after) in self.each().zip(&after) {
            let same = before.arrived == after.arrived
                && before.source() == after.source()
                && before.errno == after.errno;
            let lost_before = !before.arrived && before.errno.is_none();
            ensure!(same || lost_before, "{flow:?} was {before:?} and is {after:?}");
        }
        Ok(())
    }
}
