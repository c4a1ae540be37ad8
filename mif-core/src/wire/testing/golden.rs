//! Options and messages beside their octets, written out by hand from the RFCs.

use crate::{
    time::INFINITE_LIFETIME,
    wire::{
        DnsSearchList, DomainName, EncryptedDns, EncryptedDnsEndpoint, NdOption, Pref64, PrefixInformation,
        PvdOption, RaHeader, RecursiveDnsServers, RouteInformation, RouterAdvertisement, RouterPreference,
    },
};

/// Octets and what they say, in both directions.
#[derive(Clone, Debug)]
pub struct Golden<T> {
    /// A short name that can be a file's.
    pub name: &'static str,
    /// The octets.
    pub octets: Vec<u8>,
    /// The value.
    pub value: T,
}

/// Octets from pairs of hexadecimal digits, white space left out.
///
/// # Panics
/// When the text is anything else.
#[must_use]
pub fn octets(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex
        .chars()
        .filter(|char| !char.is_whitespace())
        .map(|char| char.to_digit(16).expect("a hexadecimal digit").try_into().expect("below 16"))
        .collect();
    let (pairs, odd) = digits.as_chunks::<2>();
    assert!(odd.is_empty(), "an odd number of digits");
    pairs.iter().map(|[high, low]| high << 4 | low).collect()
}

/// A name that the test's author has checked.
///
/// # Panics
/// When it is none.
#[must_use]
pub fn name(text: &str) -> DomainName {
    text.parse().expect("a domain name")
}

/// An address, a prefix: what the test's author has checked.
fn parse<T: std::str::FromStr>(text: &str) -> T {
    text.parse().unwrap_or_else(|_| panic!("{text} is not what it should be"))
}

/// RDNSS of RFC 8801 figure 2.
const RDNSS: &str = "19 05 00 00 00 00 07 08 20 01 0d b8 ca fe 00 00 00 00 00 00 00 00 00 53
    20 01 0d b8 f0 0d 00 00 00 00 00 00 00 00 00 53";

/// PIO of RFC 8801 figure 2.
const PIO: &str = "03 04 40 c0 00 27 8d 00 00 09 3a 80 00 00 00 00
    20 01 0d b8 f0 0d 00 00 00 00 00 00 00 00 00 00";

fn rdnss() -> NdOption {
    NdOption::RecursiveDnsServers(RecursiveDnsServers {
        lifetime: 1800,
        servers: vec![parse("2001:db8:cafe::53"), parse("2001:db8:f00d::53")],
    })
}

fn pio() -> NdOption {
    NdOption::PrefixInformation(PrefixInformation {
        prefix: parse("2001:db8:f00d::/64"),
        on_link: true,
        autonomous: true,
        router_address: false,
        valid_lifetime: 2_592_000,
        preferred_lifetime: 604_800,
    })
}

fn rio(prefix: &str, preference: RouterPreference, route_lifetime: u32) -> NdOption {
    NdOption::RouteInformation(RouteInformation { prefix: parse(prefix), preference, route_lifetime })
}

fn pref64(prefix: &str, lifetime: u16) -> NdOption {
    NdOption::Pref64(Pref64 { prefix: parse(prefix), lifetime })
}

/// One option of every type and form.
#[must_use]
pub fn options() -> Vec<Golden<NdOption>> {
    let rows = [
        ("slla", "01 01 02 00 5e 10 00 01", NdOption::SourceLinkLayerAddress(octets("02 00 5e 10 00 01"))),
        ("pio", PIO, pio()),
        ("mtu", "05 01 00 00 00 00 05 dc", NdOption::Mtu(1500)),
        ("rio-default", "18 01 00 18 00 00 00 c8", rio("::/0", RouterPreference::Low, 200)),
        (
            "rio-48",
            "18 02 30 08 00 00 07 08 20 01 0d b8 00 01 00 00",
            rio("2001:db8:1::/48", RouterPreference::High, 1800),
        ),
        (
            "rio-96",
            "18 03 60 00 ff ff ff ff 20 01 0d b8 00 01 00 02 00 03 00 04 00 00 00 00",
            rio("2001:db8:1:2:3:4::/96", RouterPreference::Medium, INFINITE_LIFETIME),
        ),
        ("rdnss", RDNSS, rdnss()),
        (
            "dnssl",
            "1f 05 00 00 00 00 07 08 07 65 78 61 6d 70 6c 65 03 63 6f 6d 00
             04 63 6f 72 70 07 65 78 61 6d 70 6c 65 03 63 6f 6d 00 00",
            NdOption::DnsSearchList(DnsSearchList {
                lifetime: 1800,
                suffixes: vec![name("example.com"), name("corp.example.com")],
            }),
        ),
        ("pref64-96", "26 02 07 08 00 64 ff 9b 00 00 00 00 00 00 00 00", pref64("64:ff9b::/96", 1800)),
        ("pref64-48", "26 02 02 5b 20 01 0d b8 00 64 00 00 00 00 00 00", pref64("2001:db8:64::/48", 600)),
        (
            "captive-portal",
            "25 04 68 74 74 70 73 3a 2f 2f 63 61 70 2e 65 78
             61 6d 70 6c 65 2f 61 70 69 00 00 00 00 00 00 00",
            NdOption::CaptivePortal("https://cap.example/api".into()),
        ),
        (
            "captive-portal-unrestricted",
            "25 05 75 72 6e 3a 69 65 74 66 3a 70 61 72 61 6d 73 3a 63 61
             70 70 6f 72 74 3a 75 6e 72 65 73 74 72 69 63 74 65 64 00 00",
            NdOption::CaptivePortal("urn:ietf:params:capport:unrestricted".into()),
        ),
        (
            "dnr",
            "90 08 00 01 00 00 0e 10 00 11 03 64 6e 73 07 65 78 61 6d 70 6c 65 03 63 6f 6d 00
             00 10 20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 53
             00 0e 00 01 00 04 03 64 6f 74 00 03 00 02 03 55 00 00 00",
            NdOption::EncryptedDns(EncryptedDns {
                service_priority: 1,
                lifetime: 3600,
                authentication_domain_name: name("dns.example.com"),
                endpoint: Some(EncryptedDnsEndpoint {
                    addresses: vec![parse("2001:db8::53")],
                    parameters: vec![(1, b"\x03dot".to_vec()), (3, 853u16.to_be_bytes().to_vec())],
                }),
            }),
        ),
        (
            "dnr-adn-only",
            "90 04 00 02 00 00 0e 10 00 11 03 64 6e 73 07 65 78 61 6d 70 6c 65 03 63 6f 6d 00
             00 00 00 00 00",
            NdOption::EncryptedDns(EncryptedDns {
                service_priority: 2,
                lifetime: 3600,
                authentication_domain_name: name("dns.example.com"),
                endpoint: None,
            }),
        ),
        (
            "pvd-figure-2",
            &format!("15 0c 80 01 00 7b 07 65 78 61 6d 70 6c 65 03 6f 72 67 00 00 00 00 00 00 {RDNSS} {PIO}"),
            NdOption::Pvd(PvdOption {
                id: name("example.org"),
                http: true,
                legacy: false,
                delay: 1,
                sequence: 123,
                header: None,
                options: vec![rdnss(), pio()],
            }),
        ),
        (
            "pvd-inner-header",
            "15 05 20 00 00 00 03 62 61 72 07 65 78 61 6d 70 6c 65 03 6f 72 67 00 00
             86 00 00 00 00 00 06 40 00 00 00 00 00 00 00 00",
            NdOption::Pvd(PvdOption {
                id: name("bar.example.org"),
                http: false,
                legacy: false,
                delay: 0,
                sequence: 0,
                header: Some(RaHeader { router_lifetime: 1600, ..RaHeader::default() }),
                options: vec![],
            }),
        ),
        (
            "target-link-layer-address",
            "02 01 02 00 5e 10 00 02",
            NdOption::Unknown { kind: 2, data: octets("02 00 5e 10 00 02") },
        ),
        (
            "unknown",
            "fa 02 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e",
            NdOption::Unknown { kind: 250, data: (1..=14).collect() },
        ),
    ];
    rows.map(|(name, hex, value)| Golden { name, octets: octets(hex), value }).into()
}

/// The header of the messages: hop limit 64, Prf High, lifetime 1800 s.
#[must_use]
pub fn header() -> Golden<RaHeader> {
    Golden {
        name: "header",
        octets: octets("86 00 00 00 40 08 07 08 00 00 00 00 00 00 00 00"),
        value: RaHeader {
            cur_hop_limit: 64,
            preference: RouterPreference::High,
            router_lifetime: 1800,
            ..RaHeader::default()
        },
    }
}

/// A message of the header alone, one with each option, and one with all of them but a second PvD option.
#[must_use]
pub fn advertisements() -> Vec<Golden<RouterAdvertisement>> {
    let header = header();
    let message = |name, options: &[&Golden<NdOption>]| Golden {
        name,
        octets: [header.octets.clone(), options.iter().flat_map(|row| row.octets.clone()).collect()].concat(),
        value: RouterAdvertisement {
            header: header.value,
            options: options.iter().map(|row| row.value.clone()).collect(),
        },
    };
    let options = options();
    let mut messages = vec![message("header", &[])];
    messages.extend(options.iter().map(|row| message(row.name, &[row])));
    let all: Vec<_> = options.iter().filter(|row| row.name != "pvd-inner-header").collect();
    messages.push(message("all", &all));
    messages
}
