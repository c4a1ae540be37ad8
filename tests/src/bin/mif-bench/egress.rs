//! tc egress, by `BPF_PROG_TEST_RUN`.

use std::net::Ipv6Addr;

use anyhow::{Context as _, Result};
use aya::{
    EbpfLoader, TestRun as _,
    programs::{SchedClassifier, TestRunOptions},
};
use mif_core::select::tables::{Op, TableStore as _};

use crate::{
    report::{Report, median},
    world::{Bench, DESTINATION},
};

/// An address of no PvD.
const UNKNOWN: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xfffe, 0, 0, 0, 0, 1);

/// The interface that the kernel gives to packets of a test run: the loopback of the namespace.
const TEST_RUN_IFINDEX: u32 = 1;

/// A packet that leaves rightly, and one of an unknown source, each beside a program that does nothing.
pub fn measure(bench: &mut Bench, packets: u32, rounds: u32, report: &mut Report) -> Result<()> {
    let mut installation = bench.attach()?;
    // The test run's interface must be the source's own for the path that nearly all packets take.
    let own = mif_common::abi::Source {
        valid_until: mif_common::abi::FOREVER,
        next_hop: mif_common::Addr::UNSPECIFIED,
        ifindex: TEST_RUN_IFINDEX,
        pvd: 1,
        on_link_bits: 64,
        flags: 0,
    };
    installation.maps.apply(&Op::PutSource(bench.source, own))?;
    let mut noop =
        EbpfLoader::new().load(&noop_object()?).context("loading the program that does nothing")?;
    let noop: &mut SchedClassifier = noop.program_mut("noop").context("it has a program")?.try_into()?;
    noop.load()?;
    let egress = SchedClassifier::from_pin(bench.program("egress"))?;
    for (work, from) in
        [("tc egress, source of the interface", bench.source), ("tc egress, unknown source", UNKNOWN)]
    {
        let packet = packet(from);
        let (mut without, mut with) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            without.push(nanoseconds(noop, &packet, packets)?);
            with.push(nanoseconds(&egress, &packet, packets)?);
        }
        let (without, with) = (median(without), median(with));
        report.add(work, bench.pvds, without, with, Some(with - without));
    }
    bench.detach(installation)
}

fn nanoseconds(program: &SchedClassifier, packet: &[u8], repeat: u32) -> Result<f64> {
    let options = TestRunOptions { data_in: Some(packet), repeat, ..TestRunOptions::default() };
    // The kernel reports the mean of the repetitions.
    Ok(program.test_run(options).context("BPF_PROG_TEST_RUN")?.duration.as_nanos() as f64)
}

/// An Ethernet frame with an empty UDP datagram.
fn packet(from: Ipv6Addr) -> Vec<u8> {
    let mut packet = vec![0x02, 0, 0, 0, 0, 1, 0x02, 0, 0, 0, 0, 2, 0x86, 0xdd];
    packet.extend([0x60, 0, 0, 0, 0, 8, 17, 64]);
    packet.extend(from.octets());
    packet.extend(DESTINATION.octets());
    packet.extend([0x30, 0x39, 0, 9, 0, 8, 0, 0]);
    packet
}

/// An ELF object with `r0 = 0; exit` as a classifier.
fn noop_object() -> Result<Vec<u8>> {
    use object::write::{Object, Symbol, SymbolSection};
    const TC_ACT_OK_AND_EXIT: [u8; 16] = [0xb7, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0];
    let endianness =
        if cfg!(target_endian = "big") { object::Endianness::Big } else { object::Endianness::Little };
    let mut object = Object::new(object::BinaryFormat::Elf, object::Architecture::Bpf, endianness);
    let text = object.add_section(Vec::new(), b"classifier".to_vec(), object::SectionKind::Text);
    object.append_section_data(text, &TC_ACT_OK_AND_EXIT, 8);
    let license = object.add_section(Vec::new(), b"license".to_vec(), object::SectionKind::Data);
    object.append_section_data(license, b"GPL\0", 1);
    object.add_symbol(Symbol {
        name: b"noop".to_vec(),
        value: 0,
        size: TC_ACT_OK_AND_EXIT.len() as u64,
        kind: object::SymbolKind::Text,
        scope: object::SymbolScope::Linkage,
        weak: false,
        section: SymbolSection::Section(text),
        flags: object::SymbolFlags::None,
    });
    object.write().context("writing the object")
}
