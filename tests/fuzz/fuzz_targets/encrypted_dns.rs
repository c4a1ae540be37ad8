//! An Encrypted DNS option, from its priority on, in a frame that is right: lengths inside, a name, parameters.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mif_core::wire::{EncryptedDns, kind};

fuzz_target!(|data: &[u8]| {
    let octets = mif_fuzz::frame(kind::ENCRYPTED_DNS, data);
    // Octets without a frame must not harm either.
    let _ = EncryptedDns::parse(data);
    let Ok(option) = EncryptedDns::parse(&octets) else { return };
    let mut emitted = Vec::new();
    option.emit(&mut emitted).expect("what was received can be sent");
    assert_eq!(emitted.len(), option.buffer_len());
    assert!(emitted.len() <= octets.len(), "{} octets of {}", emitted.len(), octets.len());
    assert_eq!(EncryptedDns::parse(&emitted), Ok(option));
});
