use std::iter;

use proptest::prelude::*;

use super::*;
use crate::wire::{
    ALL_NODES, ChecksumMode, MESSAGE_MAX, RouterPreference,
    testing::{
        golden::{self, octets},
        strategy,
    },
};

/// A router.
const ROUTER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);

const MTU: &str = "05 01 0000 000005dc";

/// A packet of a router to all nodes.
const META: PacketMeta = PacketMeta {
    source: ROUTER,
    destination: ALL_NODES,
    hop_limit: 255,
    fragmented: false,
    checksum: ChecksumMode::Verify,
};

/// The golden header and these options.
fn message(options: &str) -> Vec<u8> {
    [golden::header().octets, octets(options)].concat()
}

/// The same with its checksum.
fn packet(options: &str) -> Vec<u8> {
    let mut icmp = message(options);
    checksum::fill(META.source, META.destination, &mut icmp);
    icmp
}

/// A message cut or changed in one octet, its checksum right.
fn changed(mut icmp: Vec<u8>, length: usize, place: usize, octet: u8) -> Vec<u8> {
    icmp.truncate(length);
    icmp[place] = octet;
    checksum::fill(META.source, META.destination, &mut icmp);
    icmp
}

#[test]
fn golden() {
    for golden in golden::advertisements() {
        let parsed = Parsed { advertisement: golden.value.clone(), ignored: vec![] };
        assert_eq!(RouterAdvertisement::parse(&golden.octets), Ok(parsed), "{}", golden.name);
        assert_eq!(golden.value.emit().as_ref(), Ok(&golden.octets), "{}", golden.name);
        assert_eq!(golden.value.buffer_len(), golden.octets.len(), "{}", golden.name);
    }
}

/// RFC 4861 §6.1.2: packets that are discarded, and the name under which they are counted.
#[test]
fn rfc4861_6_1_2() {
    let pio = "03 04 40 c0 00278d00 00093a80 00000000 20010db8 f00d0000 00000000 00000000";
    let whole = packet(pio);
    let source = |text: &str| PacketMeta { source: text.parse().expect("an address"), ..META };
    let global = source("2001:db8::1");
    let kernel = PacketMeta { checksum: ChecksumMode::VerifiedByKernel, ..META };
    for (row, meta, icmp, error, name) in [
        (
            "RA-4861-6.1.2-a",
            global,
            whole.clone(),
            PacketError::SourceNotLinkLocal { source_address: global.source },
            "source-not-link-local",
        ),
        (
            "RA-4861-6.1.2-a unspecified",
            source("::"),
            whole.clone(),
            PacketError::SourceNotLinkLocal { source_address: Ipv6Addr::UNSPECIFIED },
            "source-not-link-local",
        ),
        (
            "RA-4861-6.1.2-b",
            PacketMeta { hop_limit: 254, ..META },
            whole.clone(),
            PacketError::HopLimit { hop_limit: 254 },
            "hop-limit",
        ),
        (
            "RA-6980-5-a",
            PacketMeta { fragmented: true, ..META },
            whole.clone(),
            PacketError::Fragmented,
            "fragmented",
        ),
        (
            "RA-4861-6.1.2-c",
            META,
            message(""),
            PacketError::Checksum { read: 0, expected: 0x351f },
            "checksum",
        ),
        (
            "RA-4861-6.1.2-c of another source",
            source("fe80::2"),
            packet(""),
            PacketError::Checksum { read: 0x351f, expected: 0x351e },
            "checksum",
        ),
        (
            "RA-4861-6.1.2-d",
            META,
            changed(whole.clone(), 48, 1, 1),
            ParseError::WrongCode { code: 1 }.into(),
            "wrong-code",
        ),
        (
            "RA-4861-6.1.2-e",
            META,
            changed(whole.clone(), 15, 0, 134),
            ParseError::TooShort { octets: 15, minimum: 16 }.into(),
            "message-too-short",
        ),
        (
            "RA-4861-6.1.2-e nothing",
            META,
            vec![],
            ParseError::TooShort { octets: 0, minimum: 16 }.into(),
            "message-too-short",
        ),
        (
            "RA-4861-6.1.1-a",
            kernel,
            octets("85 00 0000 00000000"),
            ParseError::WrongType { kind: 133, expected: 134 }.into(),
            "wrong-type",
        ),
        (
            "RA-4861-6.1.2-g",
            META,
            packet(&format!("{pio} 05 00 0000 000005dc")),
            ParseError::ZeroLengthOption { kind: 5, offset: 48 }.into(),
            "zero-length-option",
        ),
        (
            "RA-4861-4.6-a",
            META,
            packet(&format!("{MTU} 03 04 40 c0 00278d00 00093a80 00000000 20010db8 f00d0000")),
            ParseError::OptionOverrun { kind: 3, offset: 24, octets: 32, left: 24 }.into(),
            "option-overrun",
        ),
        (
            "RA-4861-4.6-a trailing octets",
            META,
            packet(&format!("{MTU} 05 01 0000 000005")),
            ParseError::TrailingOctets { offset: 24, count: 7 }.into(),
            "trailing-octets",
        ),
        (
            "RA-4861-6.1.2 too long",
            kernel,
            [message(""), iter::repeat_n([250, 1, 0, 0, 0, 0, 0, 0], 8190).flatten().collect()].concat(),
            ParseError::TooLong { octets: 65536, maximum: MESSAGE_MAX }.into(),
            "message-too-long",
        ),
    ] {
        assert_eq!(RouterAdvertisement::parse_packet(&meta, &icmp), Err(error), "{row}");
        assert_eq!(error.name(), name, "{row}");
    }
}

/// RFC 4861 §6.1.2: packets that are valid.
#[test]
fn rfc4861_6_1_2_valid() {
    let kernel = PacketMeta { checksum: ChecksumMode::VerifiedByKernel, ..META };
    let far = PacketMeta { source: "febf::1".parse().expect("an address"), ..kernel };
    let rdnss = "19 03 0000 00000708 20010db8 cafe0000 00000000 00000053";
    let pio = "03 04 40 c0 00278d00 00093a80 00000000 20010db8 f00d0000 00000000 00000000";
    let unknown = "fa 02 0102 03040506 0708090a 0b0c0d0e";
    for (row, meta, icmp, kinds) in [
        ("RA-4861-6.1.2", META, packet(""), &[][..]),
        ("RA-4861-6.1.2 reserved bits", META, changed(packet(""), 16, 5, 0x01), &[]),
        ("RA-4861-6.1.2 checksum of the kernel", kernel, message(MTU), &[5]),
        ("RA-4861-6.1.2 end of fe80::/10", far, message(MTU), &[5]),
        ("RA-4861-6.1.2-h", META, packet(&format!("{pio} {unknown} {rdnss}")), &[3, 250, 25]),
        (
            "RA-4861-6.1.2-i",
            META,
            packet(&format!("02 01 0200 5e100001 04 01 0000 00000000 {MTU}")),
            &[2, 4, 5],
        ),
        ("RFC 5175 flags", META, packet("1a 01 0000 00000000"), &[26]),
    ] {
        let parsed = RouterAdvertisement::parse_packet(&meta, &icmp).expect(row);
        assert_eq!(parsed.ignored, [], "{row}");
        assert_eq!(
            parsed.advertisement.options.iter().map(NdOption::kind).collect::<Vec<_>>(),
            kinds,
            "{row}"
        );
    }
}

/// An option that is not well formed is left out with its place, the rest is used (RT-4191-2.3-a among others).
#[test]
fn ignored_options() {
    let rio = "18 02 30 10 00000708 20010db8 00020000";
    let icmp =
        message(&format!("{MTU} {rio} 18 01 00 18 000000c8 05 02 0000 000005dc 00000000 00000000 {MTU}"));
    let Parsed { advertisement, ignored } = RouterAdvertisement::parse(&icmp).expect("a message");
    assert_eq!(advertisement.options.iter().map(NdOption::kind).collect::<Vec<_>>(), [5, 24, 5]);
    assert_eq!(
        ignored,
        [
            IgnoredOption { kind: 24, offset: 24, reason: OptionError::ReservedPreference },
            IgnoredOption { kind: 5, offset: 48, reason: OptionError::Length { octets: 16, expected: "8" } },
        ]
    );
    assert_eq!(
        ignored[1].to_string(),
        "option 5 at octet 48 ignored: option of 16 octets, expected 8",
        "what was read and what was expected"
    );
    assert_eq!(ignored[0].reason.name(), "reserved-preference");
}

/// RT-4191-3.1-a: header and Route Information option both speak of the default route; both are kept.
#[test]
fn rfc4191_3_1() {
    let mut icmp = message("18 01 00 18 000000c8");
    icmp[5] = 0;
    icmp[6..8].copy_from_slice(&100u16.to_be_bytes());
    let RouterAdvertisement { header, options } =
        RouterAdvertisement::parse(&icmp).expect("a message").advertisement;
    assert_eq!((header.router_lifetime, header.preference), (100, RouterPreference::Medium));
    assert!(
        matches!(&options[..], [NdOption::RouteInformation(route)]
            if route.route_lifetime == 200 && route.preference == RouterPreference::Low),
        "{options:?}"
    );
}

/// As many options as a message can have: all are taken, how many a host keeps is not decided here.
#[test]
fn longest() {
    let advertisement = |count| RouterAdvertisement {
        header: RaHeader::default(),
        options: vec![NdOption::Mtu(1500); count],
    };
    let most = (MESSAGE_MAX - RaHeader::LEN) / 8;
    let icmp = advertisement(most).emit().expect("it fits");
    assert_eq!(RouterAdvertisement::parse(&icmp).expect("a message").advertisement, advertisement(most));
    assert_eq!(
        advertisement(most + 1).emit(),
        Err(EmitError::MessageTooLong { octets: 65536, maximum: MESSAGE_MAX })
    );
}

#[test]
fn emit_errors() {
    let pvd =
        golden::options().into_iter().find(|row| row.name == "pvd-figure-2").expect("there is one").value;
    for (options, expected) in [
        (vec![pvd.clone(), pvd], EmitError::Refused(OptionError::SecondPvd)),
        (vec![NdOption::SourceLinkLayerAddress(vec![0; 5])], EmitError::PartialUnit { kind: 1, octets: 5 }),
    ] {
        let advertisement = RouterAdvertisement { header: RaHeader::default(), options };
        assert_eq!(advertisement.emit(), Err(expected));
    }
}

proptest! {
    #[test]
    fn round_trip(advertisement in strategy::router_advertisement()) {
        let icmp = advertisement.emit().expect("it can be sent");
        prop_assert_eq!(icmp.len(), advertisement.buffer_len());
        let parsed = Parsed { advertisement: advertisement.clone(), ignored: vec![] };
        prop_assert_eq!(RouterAdvertisement::parse(&icmp), Ok(parsed.clone()));

        let icmp = advertisement.emit_between(META.source, META.destination).expect("it can be sent");
        prop_assert_eq!(RouterAdvertisement::parse_packet(&META, &icmp), Ok(parsed));
    }

    /// A message cut anywhere behind its header ends at an option or is broken: nothing is half read.
    #[test]
    fn cut(advertisement in strategy::router_advertisement(), end in any::<proptest::sample::Index>()) {
        let icmp = advertisement.emit().expect("it can be sent");
        let end = RaHeader::LEN + end.index(icmp.len() - RaHeader::LEN + 1);
        let ends: Vec<_> = advertisement
            .options
            .iter()
            .scan(RaHeader::LEN, |end, option| {
                *end += option.buffer_len();
                Some(*end)
            })
            .collect();
        let parsed = RouterAdvertisement::parse(&icmp[..end]);
        if end == RaHeader::LEN || ends.contains(&end) {
            let options = parsed.expect("whole options").advertisement.options;
            prop_assert_eq!(&options[..], &advertisement.options[..options.len()]);
        } else {
            prop_assert!(parsed.is_err());
        }
    }
}
