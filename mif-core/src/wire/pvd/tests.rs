use proptest::prelude::*;

use super::*;
use crate::wire::{
    IgnoredOption, NameError, OptionList, ParseError, RouterPreference,
    testing::{
        golden::{name, octets},
        strategy,
    },
};

/// What a message's options give when they are these.
fn parse(hex: &str) -> Result<OptionList, ParseError> {
    OptionList::parse(&octets(hex))
}

/// The list of one PvD option, and nothing ignored.
fn only(pvd: PvdOption) -> Result<OptionList, ParseError> {
    Ok(OptionList { options: vec![NdOption::Pvd(pvd)], ignored: vec![] })
}

/// The list of nothing but an ignored PvD option.
fn refused(reason: OptionError) -> Result<OptionList, ParseError> {
    Ok(OptionList { options: vec![], ignored: vec![IgnoredOption { kind: kind::PVD, offset: 0, reason }] })
}

/// A PvD without anything.
fn bare(id: &str) -> PvdOption {
    PvdOption {
        id: name(id),
        http: false,
        legacy: false,
        delay: 0,
        sequence: 0,
        header: None,
        options: vec![],
    }
}

const MTU: &str = "05 01 0000 000005dc";

#[test]
fn rfc8801_3_1() {
    let header = RaHeader {
        cur_hop_limit: 64,
        managed: true,
        preference: RouterPreference::High,
        router_lifetime: 1600,
        ..RaHeader::default()
    };
    let overrun = |left| OptionError::FieldOverrun { field: "Router Advertisement header", octets: 16, left };
    for (row, hex, expected) in [
        ("PV-8801-3.1 shortest", "15 02 0000 0000 0161 00 00000000000000", only(bare("a"))),
        (
            "PV-8801-3.1-b",
            "15 02 0000 0000 0161 c000 000000000000",
            refused(NameError::LabelType { at: 2, octet: 0xc0 }.into()),
        ),
        (
            "PV-8801-3.1-c",
            "15 04 2000 0000 0161 00 00000000000000 00 09 1234 40 88 0640 00000000 00000000",
            only(PvdOption { header: Some(header), ..bare("a") }),
        ),
        ("PV-8801-3.1-f none left", "15 02 2000 0000 0161 00 00000000000000", refused(overrun(0))),
        (
            "PV-8801-3.1-f 8 left",
            "15 03 2000 0000 0161 00 00000000000000 86000000 40080640",
            refused(overrun(8)),
        ),
        (
            "PV-8801-3.1 flags",
            "15 02 c00f ffff 0161 00 00000000000000",
            only(PvdOption { http: true, legacy: true, delay: 15, sequence: 65535, ..bare("a") }),
        ),
        ("PV-8801-3.1 padding is not looked at", "15 02 0000 0000 0161 00 ffffffffffffff", only(bare("a"))),
        ("PV-8801-3.4-d", "15 02 1ff0 0000 0161 00 00000000000000", only(bare("a"))),
        ("PV-8801-3.1 root", "15 01 0000 0000 00 00", refused(NameError::Empty.into())),
        (
            "PV-8801-3.1 name cut off",
            "15 02 0000 0000 0a 616263646566676869",
            refused(NameError::Truncated { octets: 10 }.into()),
        ),
        (
            "PV-8801-3.1 name that no URL can have",
            "15 02 0000 0000 03612f62 00 0000000000",
            refused(NameError::LabelOctet { at: 2, octet: b'/' }.into()),
        ),
    ] {
        assert_eq!(parse(hex), expected, "{row}: {hex}");
    }
}

/// PV-8801-3.4-a and PV-8801-3.2-c: the first PvD option is the only one, also when it is broken.
#[test]
fn rfc8801_3_4() {
    let ignored = |offset, reason| IgnoredOption { kind: kind::PVD, offset, reason };
    let a = "15 02 0000 0000 0161 00 00000000000000";
    let b = format!("15 03 0000 0000 0162 00 00000000000000 {MTU}");
    let broken = "15 02 0000 0000 0161 c0 00000000000000";
    let pointer = NameError::LabelType { at: 2, octet: 0xc0 };
    for (row, hex, options, ignored) in [
        (
            "PV-8801-3.4-a",
            format!("{a} {b}"),
            vec![NdOption::Pvd(bare("a"))],
            vec![ignored(16, OptionError::SecondPvd)],
        ),
        (
            "PV-8801-3.4-a first one broken",
            format!("{broken} {b} {MTU}"),
            vec![NdOption::Mtu(1500)],
            vec![ignored(0, pointer.into()), ignored(16, OptionError::SecondPvd)],
        ),
        (
            "PV-8801-3.4-a second one with a list that is none",
            format!("{a} 15 03 0000 0000 0162 00 00000000000000 05 00 000000000000"),
            vec![NdOption::Pvd(bare("a"))],
            vec![ignored(16, OptionError::SecondPvd)],
        ),
        (
            "PV-8801-3.2-c",
            format!("15 06 0000 0000 0162 00 00000000000000 {a} {MTU} {MTU}"),
            vec![NdOption::Pvd(PvdOption { options: vec![NdOption::Mtu(1500); 2], ..bare("b") })],
            vec![ignored(16, OptionError::NestedPvd)],
        ),
        (
            "PV-8801-3.4-e nested option that is ignored",
            format!(
                "{MTU} 15 05 0000 0000 0162 00 00000000000000 05 02 00000000 00000000 00000000 0000 {MTU}"
            ),
            vec![
                NdOption::Mtu(1500),
                NdOption::Pvd(PvdOption { options: vec![NdOption::Mtu(1500)], ..bare("b") }),
            ],
            vec![IgnoredOption {
                kind: kind::MTU,
                offset: 24,
                reason: OptionError::Length { octets: 16, expected: "8" },
            }],
        ),
    ] {
        assert_eq!(parse(&hex), Ok(OptionList { options, ignored }), "{row}: {hex}");
    }
}

/// RFC 4861 §4.6 inside the PvD option: its list breaks the message.
#[test]
fn rfc4861_4_6_nested() {
    let pvd = "15 03 0000 0000 0161 00 00000000000000";
    for (hex, expected) in [
        (format!("{pvd} 05 00 000000000000"), ParseError::ZeroLengthOption { kind: 5, offset: 16 }),
        (
            format!("{pvd} fa 02 000000000000 {MTU}"),
            ParseError::OptionOverrun { kind: 250, offset: 16, octets: 16, left: 8 },
        ),
    ] {
        assert_eq!(parse(&hex), Err(expected), "{hex}");
    }
}

#[test]
fn emit_errors() {
    let nested = |options| PvdOption { options, ..bare("a") };
    for (pvd, expected) in [
        (PvdOption { delay: 16, ..bare("a") }, EmitError::PvdDelay { delay: 16 }),
        (nested(vec![NdOption::Pvd(bare("b"))]), EmitError::Refused(OptionError::NestedPvd)),
        (
            nested(vec![NdOption::Unknown { kind: 21, data: vec![0; 6] }]),
            EmitError::Refused(OptionError::NestedPvd),
        ),
        (
            nested(vec![NdOption::Mtu(1500), NdOption::SourceLinkLayerAddress(vec![])]),
            EmitError::PartialUnit { kind: 1, octets: 0 },
        ),
        (
            nested(vec![NdOption::Mtu(1500); 254]),
            EmitError::OptionTooLong { kind: 21, octets: 2048, maximum: 2040 },
        ),
    ] {
        let mut out = vec![1];
        assert_eq!(pvd.emit(&mut out), Err(expected), "{pvd:?}");
        assert_eq!(out, [1]);
    }
    let longest = nested(vec![NdOption::Mtu(1500); 253]);
    let mut out = Vec::new();
    longest.emit(&mut out).expect("it fits");
    assert_eq!(OptionList::parse(&out), only(longest));
}

proptest! {
    #[test]
    fn round_trip(pvd in strategy::pvd_option()) {
        let mut octets = Vec::new();
        pvd.emit(&mut octets).expect("it can be sent");
        prop_assert_eq!(octets.len(), pvd.buffer_len());
        prop_assert_eq!(OptionList::parse(&octets), only(pvd));
    }
}
