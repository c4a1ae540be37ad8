use std::net::Ipv6Addr;

use proptest::prelude::*;

use super::*;
use crate::wire::{
    EncryptedDnsEndpoint, NameError, ParameterError, RouterPreference,
    testing::{
        golden::{self, name, octets},
        strategy,
    },
};

/// What becomes of the one option that fills `hex`.
fn parse(hex: &str) -> Result<NdOption, OptionError> {
    let mut list = OptionList::parse(&octets(hex)).expect("a list of options");
    assert_eq!(list.options.len() + list.ignored.len(), 1, "{hex}");
    list.options.pop().ok_or_else(|| list.ignored[0].reason)
}

/// Rows of (requirement, octets, what the option says or why it is ignored).
fn table(rows: &[(&str, &str, Result<NdOption, OptionError>)]) {
    for (row, hex, expected) in rows {
        assert_eq!(&parse(hex), expected, "{row}: {hex}");
    }
}

fn address(text: &str) -> Ipv6Addr {
    text.parse().expect("an address")
}

#[test]
fn golden() {
    for golden in golden::options() {
        let list = OptionList { options: vec![golden.value.clone()], ignored: vec![] };
        assert_eq!(OptionList::parse(&golden.octets), Ok(list), "{}", golden.name);
        let mut emitted = vec![0xff];
        golden.value.emit(&mut emitted).expect("it can be sent");
        assert_eq!(emitted[1..], golden.octets, "{}", golden.name);
        assert_eq!(golden.value.buffer_len(), golden.octets.len(), "{}", golden.name);
        assert_eq!(golden.value.kind(), golden.octets[0], "{}", golden.name);
        assert_eq!(kind::is_known(golden.octets[0]), !matches!(golden.value, NdOption::Unknown { .. }));
    }
}

/// RFC 4861 §4.6: what all options share, and the types of the RFC itself.
#[test]
fn rfc4861_4_6() {
    let pio = |prefix: &str, flags: [bool; 3], valid_lifetime, preferred_lifetime| {
        let [on_link, autonomous, router_address] = flags;
        let prefix = prefix.parse().expect("a prefix");
        NdOption::PrefixInformation(PrefixInformation {
            prefix,
            on_link,
            autonomous,
            router_address,
            valid_lifetime,
            preferred_lifetime,
        })
    };
    let length = |octets, expected| Err(OptionError::Length { octets, expected });
    table(&[
        (
            "RA-4861-6.3.4-p",
            "03 04 34 80 00000001 00000002 00000000 20010db8 ffffffff ffffffff ffffffff",
            Ok(pio("2001:db8:ffff:f000::/52", [true, false, false], 1, 2)),
        ),
        (
            "RA-4861-4.6.2 reserved bits",
            "03 04 80 3f 00000000 ffffffff ffffffff 20010db8 00000000 00000000 00000001",
            Ok(pio("2001:db8::1/128", [false, false, true], 0, u32::MAX)),
        ),
        (
            "RA-4861-4.6.2 prefix length",
            "03 04 81 c0 00000000 00000000 00000000 20010db8 00000000 00000000 00000001",
            Err(OptionError::PrefixLength { bits: 129, expected: "at most 128" }),
        ),
        (
            "RA-4861-4.6.2 length 3",
            "03 03 40 c0 00000000 00000000 00000000 20010db8 00000000",
            length(24, "32"),
        ),
        ("RA-4861-4.6.2 length 5", &format!("03 05 {}", "00".repeat(38)), length(40, "32")),
        ("RA-4861-4.6.4 value", "05 01 ff ff 00 00 04 ff", Ok(NdOption::Mtu(1279))),
        ("RA-4861-4.6.4 length 2", &format!("05 02 {}", "00".repeat(14)), length(16, "8")),
        (
            "RA-4861-6.1.2-i Redirected Header",
            "04 01 00 00 00 00 00 00",
            Ok(NdOption::Unknown { kind: 4, data: vec![0; 6] }),
        ),
    ]);
}

#[test]
fn rfc4191_2_3() {
    let rio = |prefix: &str, preference, route_lifetime| {
        let prefix = prefix.parse().expect("a prefix");
        Ok(NdOption::RouteInformation(RouteInformation { prefix, preference, route_lifetime }))
    };
    let too_long =
        |bits| Err(OptionError::PrefixLength { bits, expected: "no more than the option has room for" });
    let [medium, high] = [RouterPreference::Medium, RouterPreference::High];
    table(&[
        ("RT-4191-2.3-a", "18 02 30 10 00000708 20010db8 00020000", Err(OptionError::ReservedPreference)),
        ("RT-4191-2.3-b", "18 01 00 00 000000c8", rio("::/0", medium, 200)),
        ("RT-4191-2.3-b longer", "18 02 00 08 000000c8 20010db8 00000000", rio("::/0", high, 200)),
        (
            "RT-4191-2.3-b longest",
            &format!("18 03 00 08 000000c8 {}", "ff".repeat(16)),
            rio("::/0", high, 200),
        ),
        (
            "RT-4191-2.3-d 2/64",
            "18 02 40 00 000000c8 20010db8 00010002",
            rio("2001:db8:1:2::/64", medium, 200),
        ),
        ("RT-4191-2.3-d 2/65", "18 02 41 00 000000c8 20010db8 00010002", too_long(65)),
        ("RT-4191-2.3-d 1/8", "18 01 08 00 000000c8", too_long(8)),
        ("RT-4191-2.3-d 1/48", "18 01 30 00 000000c8", too_long(48)),
        ("RT-4191-2.3-d 2/96", "18 02 60 00 000000c8 20010db8 00010002", too_long(96)),
        ("RT-4191-2.3-d 3/129", &format!("18 03 81 00 000000c8 {}", "ff".repeat(16)), too_long(129)),
        (
            "RT-4191-2.3-d 4/0",
            &format!("18 04 00 00 000000c8 {}", "00".repeat(24)),
            Err(OptionError::Length { octets: 32, expected: "8, 16 or 24" }),
        ),
        ("RT-4191-2.3-e", "18 02 20 e7 00000000 20010db8 ffffffff", rio("2001:db8::/32", medium, 0)),
    ]);
}

#[test]
fn rfc8106_5() {
    let [a, b] = ["2001:db8:cafe::53", "fe80::53"].map(address);
    let [a_hex, b_hex] = [a, b].map(|address| format!("{:032x}", u128::from(address)));
    let servers =
        |lifetime, servers| Ok(NdOption::RecursiveDnsServers(RecursiveDnsServers { lifetime, servers }));
    let suffixes = |lifetime, names: &[&str]| {
        let suffixes = names.iter().map(|text| name(text)).collect();
        Ok(NdOption::DnsSearchList(DnsSearchList { lifetime, suffixes }))
    };
    let odd = |octets| Err(OptionError::Length { octets, expected: "8 and a multiple of 16 above 0" });
    let not_a_server = |text| Err(OptionError::Address { address: address(text) });
    table(&[
        (
            "DN-8106-5.1-b length 5",
            &format!("19 05 0000 00000708 {a_hex} {b_hex}"),
            servers(1800, vec![a, b]),
        ),
        ("DN-8106-5.1-b length 1", "19 01 0000 00000708", odd(8)),
        ("DN-8106-5.1-b length 2", "19 02 0000 00000708 20010db8 00000000", odd(16)),
        ("DN-8106-5.1-b length 4", &format!("19 04 0000 00000708 {a_hex} 20010db8 00000000"), odd(32)),
        ("DN-8106-5.1-c", &format!("19 03 0000 00000000 {a_hex}"), servers(0, vec![a])),
        ("DN-8106-5.1-d", &format!("19 03 ffff ffffffff {b_hex}"), servers(u32::MAX, vec![b])),
        (
            "DN-8106-5.3.1-a",
            &format!("19 05 0000 00000708 {a_hex} {:032x}", u128::from(address("ff02::fb"))),
            not_a_server("ff02::fb"),
        ),
        ("DN-8106-5.3.1-a unspecified", &format!("19 03 0000 00000708 {:032x}", 0), not_a_server("::")),
        ("DN-8106-5.3.1-a loopback", &format!("19 03 0000 00000708 {:032x}", 1), not_a_server("::1")),
        (
            "DN-8106-5.2-b",
            "1f 03 0000 00000708 01 61 00 01 62 01 63 00 00000000 0000 ff ff",
            suffixes(1800, &["a", "b.c"]),
        ),
        ("DN-8106-5.2-b no padding", "1f 02 0000 00000000 06 616263646566 00", suffixes(0, &["abcdef"])),
        (
            "DN-8106-5.2-c",
            "1f 03 0000 00000708 03 636f6d 00 01 61 c0 00 00000000000000",
            Err(NameError::LabelType { at: 2, octet: 0xc0 }.into()),
        ),
        (
            "DN-8106-5.2 cut off",
            "1f 02 0000 00000708 07 61626364656667",
            Err(NameError::Truncated { octets: 8 }.into()),
        ),
        (
            "DN-8106-5.2 no name",
            "1f 02 0000 00000708 00000000 00000000",
            Err(OptionError::Empty { what: "search domain" }),
        ),
        (
            "DN-8106-5.2 length 1",
            "1f 01 0000 00000708",
            Err(OptionError::Length { octets: 8, expected: "at least 16" }),
        ),
    ]);
}

#[test]
fn rfc8781_4() {
    let pref64 = |prefix: &str, lifetime| {
        Ok(NdOption::Pref64(Pref64 { prefix: prefix.parse().expect("a prefix"), lifetime }))
    };
    let length = |octets| Err(OptionError::Length { octets, expected: "16" });
    let plc = |code| Err(OptionError::PrefixLengthCode { code });
    table(&[
        ("P6-8781-4-a length 1", "26 01 0708 00000000", length(8)),
        ("P6-8781-4-a length 3", &format!("26 03 0708 {}", "00".repeat(20)), length(24)),
        ("P6-8781-4-a PLC 6", "26 02 070e 0064ff9b 00000000 00000000", plc(6)),
        ("P6-8781-4-a PLC 7", "26 02 070f 0064ff9b 00000000 00000000", plc(7)),
        ("P6-8781-4.1-a", "26 02 0708 0064ff9b 00000000 00000000", pref64("64:ff9b::/96", 1800)),
        ("P6-8781-4.1-a /48", "26 02 025b 20010db8 0064ffff ffffffff", pref64("2001:db8:64::/48", 600)),
        ("P6-8781-4 /64", "26 02 fff9 20010db8 00640001 ffffffff", pref64("2001:db8:64:1::/64", 65528)),
        ("P6-8781-4 /56", "26 02 000a 20010db8 0064ffff ffffffff", pref64("2001:db8:64:ff00::/56", 8)),
        ("P6-8781-4 /40", "26 02 000c 20010db8 ff64ffff ffffffff", pref64("2001:db8:ff00::/40", 8)),
        ("P6-8781-4-c /32", "26 02 0005 20010db8 ff64ffff ffffffff", pref64("2001:db8::/32", 0)),
    ]);
}

#[test]
fn rfc8910_2() {
    let uri = |text: &str| Ok(NdOption::CaptivePortal(text.to_owned()));
    table(&[
        ("CP-8910-2.3-a", "25 02 68747470733a2f2f632e6578 2f61", uri("https://c.ex/a")),
        ("CP-8910-2.3 padded", "25 02 68747470733a2f2f632e6578 0000", uri("https://c.ex")),
        (
            "CP-8910-2.3 NUL inside",
            "25 02 68747470733a2f2f632e6578 0061",
            Err(OptionError::UriOctet { at: 12, octet: 0 }),
        ),
        (
            "CP-8910-2.3 not ASCII",
            "25 02 68747470733a2f2f63c3bc 000000",
            Err(OptionError::UriOctet { at: 9, octet: 0xc3 }),
        ),
        ("CP-8910-2.3 line break", "25 01 610a62 000000", Err(OptionError::UriOctet { at: 1, octet: 0x0a })),
        ("CP-8910-2.3 empty", "25 01 000000000000", Err(OptionError::Empty { what: "octet of the URI" })),
    ]);
}

/// Values that cannot be sent; what is there already stays as it was.
#[test]
fn emit_errors() {
    let servers = |servers| NdOption::RecursiveDnsServers(RecursiveDnsServers { lifetime: 0, servers });
    let suffixes = |suffixes| NdOption::DnsSearchList(DnsSearchList { lifetime: 0, suffixes });
    let pref64 = |prefix: &str, lifetime| {
        NdOption::Pref64(Pref64 { prefix: prefix.parse().expect("a prefix"), lifetime })
    };
    let dnr = |addresses, parameters| {
        NdOption::EncryptedDns(EncryptedDns {
            service_priority: 0,
            lifetime: 0,
            authentication_domain_name: name("a"),
            endpoint: Some(EncryptedDnsEndpoint { addresses, parameters }),
        })
    };
    let server = address("2001:db8::53");
    let too_long = |kind, octets| EmitError::OptionTooLong { kind, octets, maximum: 2040 };
    let empty = |what| EmitError::Refused(OptionError::Empty { what });
    let multicast = EmitError::Refused(OptionError::Address { address: address("ff02::fb") });
    for (option, expected) in [
        (NdOption::SourceLinkLayerAddress(vec![]), EmitError::PartialUnit { kind: 1, octets: 0 }),
        (NdOption::SourceLinkLayerAddress(vec![0; 8]), EmitError::PartialUnit { kind: 1, octets: 8 }),
        (NdOption::SourceLinkLayerAddress(vec![0; 2046]), too_long(1, 2048)),
        (NdOption::Unknown { kind: 250, data: vec![] }, EmitError::PartialUnit { kind: 250, octets: 0 }),
        (NdOption::Unknown { kind: 3, data: vec![0; 30] }, EmitError::KnownKind { kind: 3 }),
        (servers(vec![]), empty("server")),
        (servers(vec![server; 128]), too_long(25, 2056)),
        (servers(vec![server, address("ff02::fb")]), multicast),
        (suffixes(vec![]), empty("search domain")),
        (suffixes(vec![name(&["a".repeat(62).as_str(); 4].join(".")); 9]), too_long(31, 2288)),
        (NdOption::CaptivePortal(String::new()), empty("octet of the URI")),
        (NdOption::CaptivePortal("a".repeat(2039)), too_long(37, 2048)),
        (
            NdOption::CaptivePortal("a b".into()),
            EmitError::Refused(OptionError::UriOctet { at: 1, octet: b' ' }),
        ),
        (
            pref64("2001:db8::/60", 8),
            EmitError::Refused(OptionError::PrefixLength { bits: 60, expected: "32, 40, 48, 56, 64 or 96" }),
        ),
        (pref64("2001:db8::/64", 9), EmitError::Pref64Lifetime { seconds: 9 }),
        (dnr(vec![], vec![]), empty("resolver address")),
        (dnr(vec![address("ff02::fb")], vec![]), multicast),
        (
            dnr(vec![server], vec![(3, vec![0, 53]), (1, b"\x01a".to_vec())]),
            EmitError::Refused(ParameterError::Order { key: 1, after: 3 }.into()),
        ),
        (dnr(vec![server], vec![(9, vec![0; 70_000])]), too_long(144, 70_040)),
    ] {
        let mut out = vec![1, 2, 3];
        assert_eq!(option.emit(&mut out), Err(expected), "{option:?}");
        assert_eq!(out, [1, 2, 3], "{option:?}");
    }
}

/// The longest options there are.
#[test]
fn longest() {
    for option in [
        NdOption::SourceLinkLayerAddress(vec![1; 2038]),
        NdOption::CaptivePortal("a".repeat(2038)),
        NdOption::RecursiveDnsServers(RecursiveDnsServers {
            lifetime: 1,
            servers: vec![address("2001:db8::53"); 127],
        }),
    ] {
        let mut out = Vec::new();
        option.emit(&mut out).expect("it fits");
        assert_eq!(out.len(), OPTION_MAX);
        assert_eq!(OptionList::parse(&out), Ok(OptionList { options: vec![option], ignored: vec![] }));
    }
}

proptest! {
    #[test]
    fn round_trip(option in strategy::nd_option()) {
        let mut octets = Vec::new();
        option.emit(&mut octets).expect("it can be sent");
        prop_assert_eq!(octets.len(), option.buffer_len());
        prop_assert_eq!(OptionList::parse(&octets), Ok(OptionList { options: vec![option], ignored: vec![] }));
    }

    /// An option that goes wrong somewhere is an error, ignored, or a value that can be sent.
    #[test]
    fn changed_octets(
        row in any::<proptest::sample::Index>(),
        changes in proptest::collection::vec(any::<(proptest::sample::Index, u8)>(), 1..4),
    ) {
        let mut octets = row.get(&golden::options()).octets.clone();
        for (place, octet) in changes {
            *place.get_mut(&mut octets) = octet;
        }
        if let Ok(list) = OptionList::parse(&octets) {
            let mut emitted = Vec::new();
            for option in &list.options {
                option.emit(&mut emitted).expect("it was received");
            }
            prop_assert!(emitted.len() <= octets.len());
            let again = OptionList { options: list.options, ignored: vec![] };
            prop_assert_eq!(OptionList::parse(&emitted), Ok(again));
        }
    }
}
