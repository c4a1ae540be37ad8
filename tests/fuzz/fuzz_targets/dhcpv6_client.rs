//! The DHCPv6 client against whatever happens: time, the link, and datagrams that are octets or look like answers. It holds no
//! more than it may, sends no more than it may, and gets a lease from a good server in the end.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|script: &[u8]| mif_fuzz::dhcpv6::client(script));
