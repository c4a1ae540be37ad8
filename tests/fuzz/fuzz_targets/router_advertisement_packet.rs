//! A whole packet: source address, destination address, hop limit, then the ICMPv6 message.
//!
//! A wrong checksum is one that the error says how to repair; with the right one, a packet is valid exactly when its
//! source and hop limit are right and its message is one.
#![no_main]

use std::net::Ipv6Addr;

use libfuzzer_sys::fuzz_target;
use mif_core::wire::{ChecksumMode, PacketError, PacketMeta, RouterAdvertisement};

fuzz_target!(|packet: &[u8]| {
    let Some((source, rest)) = packet.split_first_chunk::<16>() else { return };
    let Some((destination, rest)) = rest.split_first_chunk::<16>() else { return };
    let Some((&hop_limit, icmp)) = rest.split_first() else { return };
    let [source, destination] = [source, destination].map(|&octets| Ipv6Addr::from(octets));
    let checksum = ChecksumMode::Verify;
    let meta = PacketMeta { source, destination, hop_limit, fragmented: false, checksum };

    let mut icmp = icmp.to_vec();
    if let Err(PacketError::Checksum { read, expected }) = RouterAdvertisement::parse_packet(&meta, &icmp) {
        assert_ne!(read, expected);
        icmp[2..4].copy_from_slice(&expected.to_be_bytes());
    }
    let kernel = PacketMeta { checksum: ChecksumMode::VerifiedByKernel, ..meta };
    let parsed = RouterAdvertisement::parse_packet(&meta, &icmp);
    assert_eq!(parsed, RouterAdvertisement::parse_packet(&kernel, &icmp));

    let rightly_sent = source.is_unicast_link_local() && hop_limit == 255;
    assert_eq!(parsed.is_ok(), rightly_sent && RouterAdvertisement::parse(&icmp).is_ok());
    if let Ok(parsed) = parsed {
        let emitted =
            parsed.advertisement.emit_between(source, destination).expect("what was received can be sent");
        let again = RouterAdvertisement::parse_packet(&meta, &emitted).expect("what was sent is valid");
        assert_eq!(again.advertisement, parsed.advertisement);
    }
});
