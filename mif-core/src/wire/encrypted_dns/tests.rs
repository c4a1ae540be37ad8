use std::net::Ipv6Addr;

use super::*;
use crate::wire::{
    NameError, ParameterError,
    testing::golden::{name, octets},
};

fn address(text: &str) -> Ipv6Addr {
    text.parse().expect("an address")
}

/// A DNR option of priority 1 and lifetime 60 for the name `d.example` with this behind its name.
fn dnr(rest: &str) -> String {
    let mut option = octets(&format!("90 00 0001 0000003c 000b 01 64 07 6578616d706c65 00 {rest}"));
    option.resize(option.len().next_multiple_of(UNIT), 0);
    option[1] = u8::try_from(option.len() / UNIT).expect("a short option");
    option.iter().map(|octet| format!("{octet:02x}")).collect()
}

#[test]
fn rfc9463_6_1() {
    let resolver = "20010db8000000000000000000000053";
    let usable = |lifetime, endpoint| {
        let authentication_domain_name = name("d.example");
        Ok(EncryptedDns { service_priority: 1, lifetime, authentication_domain_name, endpoint })
    };
    let at = |parameters: Vec<(u16, Vec<u8>)>| {
        usable(60, Some(EncryptedDnsEndpoint { addresses: vec![address("2001:db8::53")], parameters }))
    };
    let parameters = |hex: &str| dnr(&format!("0010 {resolver} {hex}"));
    let refused = |error: ParameterError| Err(OptionError::Parameter(error));
    let value = |key, octets, expected| refused(ParameterError::Value { key, octets, expected });
    let no_address = || Err(OptionError::Empty { what: "resolver address" });
    let overrun = |field, octets, left| Err(OptionError::FieldOverrun { field, octets, left });
    let list = "ascending keys that are there, without 0";
    let rows: &[(&str, &str, _)] = &[
        ("DR-9463-6.1-b", &dnr(""), usable(60, None)),
        ("DR-9463-6.1-c", &dnr("").replace("0000003c", "00000000"), usable(0, None)),
        ("DR-9463-6.1 no parameters", &parameters("0000"), at(vec![])),
        ("DR-9463-6.1 parameters", &parameters("0008 0007 0004 2f7b3f7d"), at(vec![(7, b"/{?}".to_vec())])),
        ("DR-9463-3.1.8-a parameters overrun", &parameters("00ff"), overrun("SvcParams", 255, 7)),
        (
            "DR-9463-6.1 mandatory",
            &parameters("000c 0000 0002 0003 0003 0002 0355"),
            at(vec![(0, vec![0, 3]), (3, vec![3, 0x55])]),
        ),
        (
            "DR-9463-3.1.8-a ipv6hint",
            &parameters(&format!("0014 0006 0010 {resolver}")),
            refused(ParameterError::AddressHint { key: 6 }),
        ),
        (
            "DR-9463-3.1.8-a ipv4hint",
            &parameters("0008 0004 0004 c0000201"),
            refused(ParameterError::AddressHint { key: 4 }),
        ),
        (
            "DR-9463-3.1.8-a order",
            &parameters("000e 0003 0002 0355 0001 0004 03646f74"),
            refused(ParameterError::Order { key: 1, after: 3 }),
        ),
        (
            "DR-9463-3.1.8-a twice",
            &parameters("000c 0003 0002 0355 0003 0002 0355"),
            refused(ParameterError::Order { key: 3, after: 3 }),
        ),
        (
            "DR-9463-3.1.8-a alpn",
            &parameters("0006 0001 0002 0361"),
            value(1, 2, "protocol names, none of them empty"),
        ),
        (
            "DR-9463-3.1.8-a alpn empty",
            &parameters("0004 0001 0000"),
            value(1, 0, "protocol names, none of them empty"),
        ),
        (
            "DR-9463-3.1.8-a alpn empty name",
            &parameters("0005 0001 0001 00"),
            value(1, 1, "protocol names, none of them empty"),
        ),
        (
            "DR-9463-3.1.8-a no-default-alpn",
            &parameters("0004 0002 0000"),
            value(2, 0, "nothing, beside alpn"),
        ),
        ("DR-9463-3.1.8-a port", &parameters("0005 0003 0001 35"), value(3, 1, "2 octets")),
        ("DR-9463-3.1.8-a mandatory absent", &parameters("0006 0000 0002 0003"), value(0, 2, list)),
        ("DR-9463-3.1.8-a mandatory self", &parameters("0006 0000 0002 0000"), value(0, 2, list)),
        ("DR-9463-3.1.8-a mandatory odd", &parameters("0005 0000 0001 00"), value(0, 1, list)),
        (
            "DR-9463-3.1.8-a value overruns",
            &parameters("0006 0003 0005 0355"),
            overrun("SvcParamValue", 5, 2),
        ),
        ("DR-9463-3.1.8-a key cut", &parameters("0001 00"), overrun("SvcParamKey", 2, 1)),
        (
            "DR-9463-3.1.8-a addresses 15",
            &dnr(&format!("000f {resolver}")),
            Err(OptionError::AddressLength { octets: 15 }),
        ),
        ("DR-9463-3.1.8-a no address", &dnr("0000 0006 0003 0002 0355"), no_address()),
        ("DR-9463-3.1.8-a no address, zeros", &dnr("0000 0000 0000 0000"), no_address()),
        (
            "DR-9463-3.1.8-a addresses overrun",
            &dnr(&format!("0020 {resolver}")),
            overrun("IPv6 addresses", 32, 17),
        ),
        ("DR-9463-6.2 multicast", &dnr("0010 ff0200000000000000000000000000fb 0000"), no_address()),
        (
            "DR-9463-6.2 one of two",
            &dnr(&format!("0020 00000000000000000000000000000001 {resolver} 0000")),
            at(vec![]),
        ),
        (
            "DR-9463-3.1.8-a ADN 0",
            "90 02 0001 0000003c 0000 000000000000",
            Err(NameError::Truncated { octets: 0 }.into()),
        ),
        ("DR-9463-3.1.8-a ADN root", "90 02 0001 0000003c 0001 000000000000", Err(NameError::Empty.into())),
        (
            "DR-9463-3.1.8-a ADN pointer",
            "90 02 0001 0000003c 0004 0161 c000 0000",
            Err(NameError::LabelType { at: 2, octet: 0xc0 }.into()),
        ),
        (
            "DR-9463-3.1.8-a ADN longer",
            "90 02 0001 0000003c 0005 016100 0000 00",
            Err(OptionError::NameLength { name: 3, field: 5 }),
        ),
        (
            "DR-9463-3.1.8-a ADN overruns",
            "90 02 0001 0000003c 0007 016100000000",
            overrun("authentication-domain-name", 7, 6),
        ),
        (
            "DR-9463-6.1 length 1",
            "90 01 0001 0000003c",
            Err(OptionError::Length { octets: 8, expected: "at least 16" }),
        ),
    ];
    for (row, hex, expected) in rows {
        assert_eq!(&EncryptedDns::parse(&octets(hex)), expected, "{row}: {hex}");
    }
}
