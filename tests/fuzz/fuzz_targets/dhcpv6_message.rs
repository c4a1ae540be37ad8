//! A DHCPv6 message with the options of the drafts. What is read can be sent, in no more octets, and comes back the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mif_core::wire::dhcpv6::{DhcpOption, Message};
use mif_fuzz::dhcpv6::CODES;

fuzz_target!(|datagram: &[u8]| {
    let Ok(mut parsed) = Message::parse(datagram, &CODES) else { return };
    assert!(parsed.ignored.iter().all(|ignored| ignored.offset + 4 <= datagram.len()), "wrong place");
    for option in &mut parsed.message.options {
        if let DhcpOption::Pvd(container) = option {
            // Nobody here can sign.
            container.signed = false;
        }
    }
    let emitted = parsed.message.emit(&CODES).expect("what was received can be sent");
    assert!(emitted.len() <= datagram.len(), "{} octets of {}", emitted.len(), datagram.len());
    let again = Message::parse(&emitted, &CODES).expect("what was sent is a message");
    assert_eq!(again.message, parsed.message);
    assert_eq!(again.ignored, []);
});
