//! tc egress, by `BPF_PROG_TEST_RUN`, beside a program that does nothing.

use std::net::{IpAddr, Ipv6Addr};

use anyhow::{Context as _, Result};
use aya::{
    TestRun as _,
    programs::{SchedClassifier, TestRunOptions},
};
use mif_common::{Addr, abi};
use mif_core::select::tables::{Op, TableStore as _};
use mif_tests::netns::Namespace;
use mif_user::kernel::object::{EGRESS_PROGRAM, Sizes};

use crate::{
    Plan,
    enforcement::Enforcement,
    figure::{Figure, Goal, thousands},
    lab, object, population,
    progress::Progress,
    report::{Report, Row},
};

/// The interface that the kernel gives to packets of a test run: the loopback of the namespace.
const TEST_RUN_IFINDEX: u32 = 1;

/// The source of the packet. Those of [`filler`] are others.
const SOURCE: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);

/// An address of no PvD.
const UNKNOWN: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xfffe, 0, 0, 0, 0, 1);

/// A packet that leaves rightly, with more and more sources in the table; and one of an unknown source.
pub fn measure(plan: &Plan, progress: &mut Progress, report: &mut Report) -> Result<()> {
    let most = plan.sources.iter().copied().max().unwrap_or(1);
    let (host, cgroup) = (Namespace::new("host of packets")?, lab::cgroup()?);
    let sizes = Sizes { pvds: 2, sources: most, decisions: 1 };
    let mut mif = Enforcement::new(&host, cgroup.path(), &[], sizes)?;
    let mut noop = object::noop()?;
    let noop: &mut SchedClassifier = noop.program_mut("noop").context("it is there")?.try_into()?;
    let egress = SchedClassifier::from_pin(mif.program(EGRESS_PROGRAM))?;

    mif.installation.maps.apply(&Op::PutSource(SOURCE, entry()))?;
    let mut there = 1;
    let mut first = None;
    for &sources in &plan.sources {
        let n = format!("{} sources", thousands(sources));
        progress.step(format!("tc egress, {n}: filling the table"));
        for number in there..sources {
            mif.installation.maps.apply(&Op::PutSource(filler(number), entry()))?;
        }
        there = sources;
        progress.step(format!("tc egress, {n}"));
        let packets = Packets { host: &host, noop, egress: &egress, plan, progress };
        let mut row = packets.compare("tc egress, ns over a no-op", &n, SOURCE)?;
        row = row.with_goal(Goal::AtMost(60.0));
        let median = row.mif.map_or(f64::NAN, |figure| figure.median);
        row.note = format!("{:.3} times what it takes with 1 source", median / *first.get_or_insert(median));
        report.rows.push(row);
    }
    progress.step("tc egress, unknown source");
    let packets = Packets { host: &host, noop, egress: &egress, plan, progress };
    let n = format!("{} sources", thousands(there));
    report.rows.push(packets.compare("tc egress, unknown source, ns over a no-op", &n, UNKNOWN)?);
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

fn filler(number: u32) -> Ipv6Addr {
    population::source(number)
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

/// An Ethernet frame with an empty UDP datagram.
fn packet(from: Ipv6Addr) -> Vec<u8> {
    let IpAddr::V6(to) = population::destination(true) else { return Vec::new() };
    let mut packet = vec![0x02, 0, 0, 0, 0, 1, 0x02, 0, 0, 0, 0, 2, 0x86, 0xdd];
    packet.extend([0x60, 0, 0, 0, 0, 8, 17, 64]);
    packet.extend(from.octets());
    packet.extend(to.octets());
    packet.extend([0x30, 0x39, 0, 9, 0, 8, 0, 0]);
    packet
}
