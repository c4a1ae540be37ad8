use std::fmt::Debug;

use super::*;
use crate::wire::{EncryptedDnsEndpoint, RouterPreference};

/// Numbers for the drafts' options, as an administrator may choose them.
const CODES: DraftCodes = DraftCodes {
    next_hop: Some(242),
    route_prefix: Some(243),
    pvd: Some(65_001),
    pvd_identity: Some(65_002),
    pvd_signature: Some(65_003),
};

fn octets(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    let octet = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).expect("ASCII"), 16).expect("hex");
    digits.chunks(2).map(octet).collect()
}

fn address<T: std::str::FromStr<Err: Debug>>(text: &str) -> T {
    text.parse().expect("a literal")
}

fn message(options: Vec<DhcpOption>) -> Message {
    Message { kind: MessageType::Reply, transaction_id: TransactionId::new(0xa1_b2c3), options }
}

/// A Reply with these octets of options.
fn reply(options: &[u8]) -> Result<Parsed, ParseError> {
    Message::parse(&[&[7, 0xa1, 0xb2, 0xc3], options].concat(), &CODES)
}

fn lease(prefix: &str, preferred_lifetime: u32, valid_lifetime: u32) -> Lease {
    Lease { prefix: address(prefix), preferred_lifetime, valid_lifetime, status: None }
}

/// Octets on one side, the value on the other: each is made of the other.
#[test]
fn golden() {
    let rows = [("::/0", 40, 1), ("::ffff:0:0/96", 35, 4), ("fd11:1111:1111::/48", 45, 14)];
    let rows =
        rows.map(|(prefix, precedence, label)| PolicyRow { prefix: address(prefix), precedence, label });
    for (hex, expected) in [
        (
            "0017 0020 20010db8000000000000000000000053 20010db8000000000000000000000054",
            DhcpOption::DnsServers(vec![address("2001:db8::53"), address("2001:db8::54")]),
        ),
        ("0018 000d 076578616d706c6503636f6d00", DhcpOption::DomainSearchList(vec![address("example.com")])),
        (
            "0038 0014 0001 0010 20010db8000000000000000000000123",
            DhcpOption::NtpServer(NtpServer::Address(address("2001:db8::123"))),
        ),
        (
            "0038 0015 0003 0011 036e7470 076578616d706c65 036f7267 00",
            DhcpOption::NtpServer(NtpServer::Name(address("ntp.example.org"))),
        ),
        (
            "0054 0028 00 0055 0003 01 28 00 0055 000f 04 23 60 00000000000000000000ffff
             0055 0009 0e 2d 30 fd1111111111",
            DhcpOption::AddressSelection(AddressSelection { rows: rows.into(), ..Default::default() }),
        ),
        (
            "004a 0039 20010db8f00d00000000000000000053 01 04636f7270 076578616d706c65 00
             0138 0162 0164 0130 0131 0130 0130 0132 03697036 0461727061 00",
            DhcpOption::RdnssSelection(RdnssSelection {
                server: address("2001:db8:f00d::53"),
                preference: RouterPreference::High,
                default: false,
                domains: vec![address("corp.example"), address("8.b.d.0.1.0.0.2.ip6.arpa")],
            }),
        ),
        (
            "0067 0017 68747470733a2f2f6361702e6578616d706c652f617069",
            DhcpOption::CaptivePortal("https://cap.example/api".into()),
        ),
        (
            "0090 0035 0001 0011 03646e73 076578616d706c65 03636f6d 00 0010 20010db8000000000000000000000053
             0001 0004 03646f74 0003 0002 0355",
            DhcpOption::EncryptedDns(EncryptedResolver {
                service_priority: 1,
                authentication_domain_name: address("dns.example.com"),
                endpoint: Some(EncryptedDnsEndpoint {
                    addresses: vec![address("2001:db8::53")],
                    parameters: vec![(1, b"\x03dot".into()), (3, vec![3, 0x55])],
                }),
            }),
        ),
        (
            "0003 0028 00000001 0000003c 00000069 0005 0018 20010db8000a00000000000000000284 00000078 000000f0",
            DhcpOption::IaNa(IdentityAssociation {
                iaid: 1,
                t1: 60,
                t2: 105,
                leases: vec![lease("2001:db8:a::284/128", 120, 240)],
                status: None,
            }),
        ),
        (
            "0019 002f 00000002 00000000 00000000 001a 0019 00000078 000000f0 38 20010db80a0000000000000000000000
             000d 0002 0006",
            DhcpOption::IaPd(IdentityAssociation {
                iaid: 2,
                leases: vec![lease("2001:db8:a00::/56", 120, 240)],
                status: Some(Status { code: StatusCode::NoPrefixAvail, message: String::new() }),
                ..Default::default()
            }),
        ),
        (
            "00f2 002a fe800000000000000000000000000001 00f3 0016 0000 0e10 30 08 20010db8000100000000000000000000",
            DhcpOption::NextHop(NextHop {
                address: address("fe80::1"),
                routes: vec![RoutePrefix {
                    prefix: address("2001:db8:1::/48"),
                    preference: RouterPreference::High,
                    lifetime: 3600,
                }],
            }),
        ),
        (
            "fde9 0025 fdea 000d 05 0b 6578616d706c652e636f6d 0017 0010 20010db8000000000000000000000053",
            DhcpOption::Pvd(PvdContainer {
                identity: PvdIdentity::of_name(&address("example.com")),
                signed: false,
                options: vec![DhcpOption::DnsServers(vec![address("2001:db8::53")])],
            }),
        ),
        ("0052 0004 00001c20", DhcpOption::SolMaxRt(7200)),
        ("0020 0004 ffffffff", DhcpOption::InformationRefreshTime(u32::MAX)),
        ("00ff 0003 010203", DhcpOption::Unknown { code: 255, data: vec![1, 2, 3] }),
    ] {
        let parsed = reply(&octets(hex)).expect(hex);
        assert_eq!(parsed.ignored, [], "{hex}");
        assert_eq!(parsed.message, message(vec![expected]), "{hex}");
        let emitted = parsed.message.emit(&CODES).expect(hex);
        assert_eq!(emitted[4..], octets(hex), "{hex}");
    }
}

/// The Information-request that a client of this project sends.
#[test]
fn a_whole_message() {
    let hex = "0b a1b2c3 0001 000a 0003 0001 0200deadbeef 0008 0002 0000
               0006 0012 0017 0018 0020 0038 004a 0053 0054 0067 0090";
    let message = Message {
        kind: MessageType::InformationRequest,
        transaction_id: TransactionId::new(0xa1_b2c3),
        options: vec![
            DhcpOption::ClientId(octets("0003 0001 0200deadbeef")),
            DhcpOption::ElapsedTime(0),
            DhcpOption::OptionRequest(vec![23, 24, 32, 56, 74, 83, 84, 103, 144]),
        ],
    };
    assert_eq!(message.emit(&DraftCodes::default()).expect("it fits"), octets(hex));
    assert_eq!(Message::parse(&octets(hex), &DraftCodes::default()).expect("well formed").message, message);
}

/// What is ignored, by the name of the reason; the rest of the message is used.
#[test]
fn ignored_options() {
    for (hex, code, name) in [
        ("0001 0002 0001", 1, "option-length"),
        ("0007 0002 0000", 7, "option-length"),
        ("000d 0001 00", 13, "option-length"),
        ("0017 0000", 23, "option-length"),
        ("0017 000f 000102030405060708090a0b0c0d0e", 23, "option-length"),
        ("0017 0010 ff020000000000000000000000000001", 23, "empty"),
        ("0018 0004 03666f6f", 24, "name-truncated"),
        ("0018 0002 c000", 24, "name-label-type"),
        ("0018 0000", 24, "empty"),
        ("0003 000b 0000000100000000000000", 3, "option-length"),
        ("0005 0018 20010db8000a00000000000000000284 00000078 000000f0", 5, "misplaced"),
        ("0003 0011 00000001 00000000 00000000 0005 0001 00", 5, "option-length"),
        ("0003 0010 00000001 00000000 00000000 001a 0000", 26, "misplaced"),
        // A delegated prefix of 129 bits.
        (
            "0019 0029 00000002 00000000 00000000 001a 0019 00000078 000000f0 81 20010db80a0000000000000000000000",
            26,
            "prefix-length",
        ),
        // RFC 7078 §2: one bad row spoils the table.
        ("0054 0008 00 0055 0003 01 28 00", 0, ""),
        ("0054 0019 00 0055 0014 01 28 81 2001000000000000000000000000000000", 84, "prefix-length"),
        ("0054 0009 00 0055 0004 01 28 10 20", 84, "row-prefix"),
        ("0054 0000", 84, "option-length"),
        ("0055 0003 012800", 85, "misplaced"),
        ("0038 0000", 56, "time-sources"),
        (
            "0038 0028 0001 0010 20010db8000000000000000000000123 0001 0010 20010db8000000000000000000000124",
            56,
            "time-sources",
        ),
        ("0038 0014 0002 0010 20010db8000000000000000000000123", 56, "server-address"),
        ("0067 0000", 103, "empty"),
        ("0067 0003 610062", 103, "uri-octet"),
        ("0090 0004 0001 0000", 144, "name-truncated"),
        ("00f2 0002 fe80", 242, "option-length"),
        ("00f3 0016 00000e10 30 10 20010db8000100000000000000000000", 243, "reserved-preference"),
        ("fde9 0000", 65_001, "identities"),
        ("0052 0004 00001c20 0052 0004 00001c21", 82, "second"),
    ] {
        let rest = "0017 0010 20010db8000000000000000000000053";
        let parsed =
            reply(&octets(&format!("{hex} {}", if hex.starts_with("0017") { "" } else { rest }))).expect(hex);
        let found: Vec<_> =
            parsed.ignored.iter().map(|ignored| (ignored.code, ignored.reason.name())).collect();
        let expected: &[(u16, &str)] = if name.is_empty() { &[] } else { &[(code, name)] };
        assert_eq!(found, expected, "{hex}");
        let dns = parsed.message.options.iter().any(|option| matches!(option, DhcpOption::DnsServers(_)));
        assert_eq!(dns, !hex.starts_with("0017"), "{hex}");
    }
}

/// D6-6731-4.2-a
#[test]
fn preferences_of_resolvers() {
    use RouterPreference::{High, Low, Medium};
    for (octet, preference) in [(0b00, Medium), (0b01, High), (0b11, Low), (0b10, Medium), (0xfd, High)] {
        let hex = format!("004a 0012 20010db8000000000000000000000053 {octet:02x} 00");
        let parsed = reply(&octets(&hex)).expect("well formed");
        let DhcpOption::RdnssSelection(selection) = &parsed.message.options[0] else { panic!("{hex}") };
        assert_eq!((selection.preference, selection.default), (preference, true), "{octet:#b}");
    }
}

/// A status message that is no UTF-8 is no longer for it.
#[test]
fn what_is_no_utf8() {
    let parsed = reply(&octets("000d 0006 0001 61 ff c3 62")).expect("well formed");
    let status = Status { code: StatusCode::UnspecFail, message: "a??b".into() };
    assert_eq!(parsed.message.options, [DhcpOption::StatusCode(status)]);
}

/// What spoils a message.
#[test]
fn spoilt_messages() {
    for (hex, name) in [
        ("", "message-too-short"),
        ("07a1b2", "message-too-short"),
        ("07a1b2c3 00", "trailing-octets"),
        ("07a1b2c3 0017 0010 00", "option-overrun"),
        // Nested: a lease past its association, a status past its lease, a row, a suboption, an option of a container.
        ("07a1b2c3 0003 0010 00000001 00000000 00000000 0005 0018", "option-overrun"),
        (
            "07a1b2c3 0003 002c 00000001 00000000 00000000
             0005 001c 20010db8000a00000000000000000284 00000078 000000f0 000d 0002",
            "option-overrun",
        ),
        ("07a1b2c3 0054 0005 00 0055 0003", "option-overrun"),
        ("07a1b2c3 0038 0004 0001 0010", "option-overrun"),
        ("07a1b2c3 fde9 0004 0017 0010", "option-overrun"),
    ] {
        let error = Message::parse(&octets(hex), &CODES).expect_err(hex);
        assert_eq!(error.name(), name, "{hex}: {error}");
    }
}

/// A draft's option without a number is unknown as any other, and cannot be sent.
#[test]
fn drafts_are_off() {
    let hex = "07a1b2c3 00f2 0010 fe800000000000000000000000000001";
    let parsed = Message::parse(&octets(hex), &DraftCodes::default()).expect("well formed");
    assert!(matches!(&parsed.message.options[..], [DhcpOption::Unknown { code: 242, .. }]));
    let sent = message(vec![DhcpOption::NextHop(NextHop { address: address("fe80::1"), routes: vec![] })]);
    assert!(matches!(sent.emit(&DraftCodes::default()), Err(EmitError::NoCode { .. })));
}

#[test]
fn message_types_are_numbers() {
    for octet in 0..=u8::MAX {
        assert_eq!(u8::from(MessageType::from(octet)), octet);
        assert_eq!(u16::from(StatusCode::from(u16::from(octet))), u16::from(octet));
    }
}

proptest::proptest! {
    /// Any octets give a value or an error, and what a value gives reads as the same value.
    #[test]
    fn any_octets(octets in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300)) {
        if let Ok(parsed) = Message::parse(&octets, &CODES)
            && let Ok(emitted) = parsed.message.emit(&CODES)
        {
            let again = Message::parse(&emitted, &CODES).expect("well formed");
            proptest::prop_assert_eq!(again.message, parsed.message);
            proptest::prop_assert!(again.ignored.is_empty());
        }
    }
}
