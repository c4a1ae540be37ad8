//! A Router Solicitation, from the type octet on. What is read can be sent and comes back the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mif_core::wire::RouterSolicitation;

fuzz_target!(|icmp: &[u8]| {
    let Ok(solicitation) = RouterSolicitation::parse(icmp) else { return };
    let emitted = solicitation.emit().expect("what was received can be sent");
    assert_eq!(emitted.len(), solicitation.buffer_len());
    assert!(emitted.len() <= icmp.len(), "{} octets of {}", emitted.len(), icmp.len());
    assert_eq!(RouterSolicitation::parse(&emitted), Ok(solicitation));
});
