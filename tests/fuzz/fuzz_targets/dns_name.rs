//! A domain name in wire form and as text. Both forms of what is read give the same name again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mif_core::wire::{DomainName, NAME_MAX};

fuzz_target!(|octets: &[u8]| {
    if let Ok((name, taken)) = DomainName::from_wire(octets) {
        assert!(taken <= NAME_MAX.min(octets.len()));
        round_trip(&name);
        let mut emitted = Vec::new();
        name.emit(&mut emitted);
        assert_eq!(emitted, octets[..taken]);
    }
    if let Ok(Ok(name)) = str::from_utf8(octets).map(str::parse::<DomainName>) {
        round_trip(&name);
    }
});

fn round_trip(name: &DomainName) {
    let mut emitted = Vec::new();
    name.emit(&mut emitted);
    assert_eq!(emitted.len(), name.buffer_len());
    let (from_wire, taken) = DomainName::from_wire(&emitted).expect("what was read can be sent");
    assert_eq!((from_wire.as_str(), taken), (name.as_str(), emitted.len()));
    let from_text: DomainName = name.as_str().parse().expect("a name is its own text");
    assert_eq!(from_text.as_str(), name.as_str());
}
