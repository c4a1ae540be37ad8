//! A Router Advertisement, from the type octet on. What is read can be sent, in no more octets, and comes back the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mif_core::wire::{Parsed, RouterAdvertisement};

fuzz_target!(|icmp: &[u8]| {
    let Ok(Parsed { advertisement, ignored }) = RouterAdvertisement::parse(icmp) else { return };
    assert!(ignored.iter().all(|ignored| icmp[ignored.offset] == ignored.kind), "wrong place");
    let emitted = advertisement.emit().expect("what was received can be sent");
    assert_eq!(emitted.len(), advertisement.buffer_len());
    assert!(emitted.len() <= icmp.len(), "{} octets of {}", emitted.len(), icmp.len());
    assert_eq!(RouterAdvertisement::parse(&emitted), Ok(Parsed { advertisement, ignored: vec![] }));
});
