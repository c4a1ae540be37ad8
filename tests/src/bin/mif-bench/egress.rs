//! tc egress, by `BPF_PROG_TEST_RUN`, beside a program that does nothing.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use anyhow::{Context as _, Result};
use aya::{
    TestRun as _,
    programs::{SchedClassifier, TestRunOptions},
};
use mif_common::{Addr, abi};
use mif_core::{
    family::{Family, mapped, shown},
    select::tables::{Op, TableStore as _},
};
use mif_tests::netns::Namespace;
use mif_user::kernel::object::{EGRESS_PROGRAM, Sizes};

use crate::{
    Plan, aftermath,
    enforcement::Enforcement,
    figure::{Figure, Goal, thousands},
    lab, object,
    population::{self, name},
    progress::Progress,
    report::{Report, Row},
};

/// How the names of what packets cost begin, and end.
pub const EGRESS: &str = "tc egress";
pub const OVER_NO_OP: &str = ", ns over a no-op";

/// The interface that the kernel gives to packets of a test run: the loopback of the namespace.
const TEST_RUN_IFINDEX: u32 = 1;

/// The PvD whose addresses the packets come from, and the first of those that only fill the table.
const OWN: u32 = 0;
const FILLERS: u32 = 1;

/// Packets that leave rightly, with more and more sources in the table; and those of an unknown source.
pub fn measure(plan: &Plan, progress: &mut Progress, report: &mut Report) -> Result<()> {
    aftermath::wait();
    let most = plan.sources.iter().copied().max().unwrap_or(1);
    let (host, cgroup) = (Namespace::new("host of packets")?, lab::cgroup()?);
    // One for the packets of each family.
    let sizes = Sizes { pvds: 2, sources: most + 1, decisions: 1, ..Sizes::default() };
    let mut mif = Enforcement::new(&host, cgroup.path(), &[], sizes)?;
    let mut noop = object::noop()?;
    let noop: &mut SchedClassifier = noop.program_mut("noop").context("it is there")?.try_into()?;
    let egress = SchedClassifier::from_pin(mif.program(EGRESS_PROGRAM))?;

    for family in Family::ALL {
        mif.installation.maps.apply(&Op::PutSource(population::source(family, OWN), entry()))?;
    }
    let (mut filled, mut first) = (FILLERS, BTreeMap::new());
    for &sources in &plan.sources {
        let n = format!("{} source{}", thousands(sources), if sources == 1 { "" } else { "s" });
        progress.step(format!("tc egress, {n}: filling the table"));
        for number in filled..sources {
            let address = population::source(Family::Ipv6, FILLERS + number);
            mif.installation.maps.apply(&Op::PutSource(address, entry()))?;
        }
        filled = sources;
        for family in Family::ALL {
            progress.step(format!("tc egress, {}, {n}", name(family)));
            let packets = Packets { host: &host, noop, egress: &egress, plan, progress };
            let from = population::source(family, OWN);
            let mut row = packets.compare(&format!("{EGRESS}, {}{OVER_NO_OP}", name(family)), &n, from)?;
            // Judged by the figure itself; the ratio says whether it is flat.
            row = row.with_goal(Goal::AtMost(60.0));
            let base = row.mif.map(|figure| *first.entry(family).or_insert(figure.median));
            row.ratio = row.mif.zip(base).map(|(figure, base)| figure.map(|ns| ns / base));
            report.rows.push(row);
        }
    }
    let n = format!("{} sources", thousands(filled));
    for family in Family::ALL {
        progress.step(format!("tc egress, {}, unknown source", name(family)));
        let packets = Packets { host: &host, noop, egress: &egress, plan, progress };
        let measurement = format!("{EGRESS}, {}, unknown source{OVER_NO_OP}", name(family));
        report.rows.push(packets.compare(&measurement, &n, unknown(family))?);
    }
    Ok(())
}

/// A source of the interface that the test run's packets leave by: the path that nearly all packets take.
fn entry() -> abi::Source {
    abi::Source {
        valid_until: abi::FOREVER,
        next_hop: Addr::UNSPECIFIED,
        ifindex: TEST_RUN_IFINDEX,
        pvd: 1,
        on_link_bits: 64,
        flags: 0,
    }
}

/// An address of no PvD (RFC 3849, RFC 5737).
fn unknown(family: Family) -> Ipv6Addr {
    match family {
        Family::Ipv4 => mapped(Ipv4Addr::new(198, 51, 100, 1).into()),
        Family::Ipv6 => Ipv6Addr::new(0x2001, 0xdb8, 0xfffe, 0, 0, 0, 0, 1),
    }
}

struct Packets<'a> {
    host: &'a Namespace,
    noop: &'a SchedClassifier,
    egress: &'a SchedClassifier,
    plan: &'a Plan,
    progress: &'a Progress,
}

impl Packets<'_> {
    fn compare(&self, measurement: &str, n: &str, from: Ipv6Addr) -> Result<Row> {
        let packet = packet(from);
        let mut rounds = Vec::new();
        for round in 1..=self.plan.rounds {
            self.progress.round(round, self.plan.rounds);
            rounds.push((self.run(self.noop, &packet)?, self.run(self.egress, &packet)?));
        }
        let mut row = Row::new(measurement, n);
        row.bare = Figure::of(rounds.iter().map(|(noop, _)| *noop));
        row.mif = Figure::of(rounds.iter().map(|(noop, egress)| egress - noop));
        Ok(row)
    }

    /// Nanoseconds of a packet: the kernel reports the mean of the repetitions.
    fn run(&self, program: &SchedClassifier, packet: &[u8]) -> Result<f64> {
        let repeat = self.plan.packets;
        let run = || {
            let options = TestRunOptions { data_in: Some(packet), repeat, ..TestRunOptions::default() };
            program.test_run(options)
        };
        Ok(self.host.run(run).context("BPF_PROG_TEST_RUN")?.duration.as_nanos() as f64)
    }
}

/// An Ethernet frame with an empty UDP datagram from an address to the usual destination.
fn packet(from: Ipv6Addr) -> Vec<u8> {
    const ADDRESSES: [u8; 12] = [0x02, 0, 0, 0, 0, 1, 0x02, 0, 0, 0, 0, 2];
    const UDP: [u8; 8] = [0x30, 0x39, 0, 9, 0, 8, 0, 0];
    let mut packet = ADDRESSES.to_vec();
    match (shown(from), population::destination(Family::of(from))) {
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            packet.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 8, 17, 64]);
            packet.extend(from.octets().into_iter().chain(to.octets()));
        }
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            packet.extend([0x08, 0, 0x45, 0, 0, 28, 0, 0, 0x40, 0, 64, 17, 0, 0]);
            packet.extend(from.octets().into_iter().chain(to.octets()));
        }
        _ => {}
    }
    packet.extend(UDP);
    packet
}
