//! Resolving routers beforehand.

use std::{net::IpAddr, process::Command};

use mif_user::net::neighbour;

use crate::namespace::{address, in_namespace, index, ip};

/// What `ip neigh show` says of an address on `wan`, without the address.
fn shown(address: &str) -> String {
    let output = Command::new("ip").args(["-6", "neigh", "show", address, "dev", "wan"]).output();
    let text = String::from_utf8(output.expect("iproute2").stdout).expect("text");
    text.trim().trim_start_matches(address).trim().to_owned()
}

#[test]
fn a_router_is_asked_for_and_the_administrators_entry_is_left_alone() {
    in_namespace(async || {
        ip("neigh add fe80::9 lladdr 02:00:00:00:00:09 dev wan nud permanent");
        for router in ["fe80::9", "fe80::a"] {
            neighbour::resolve(index("wan"), IpAddr::V6(address(router))).expect("sent");
        }
        // The kernel has done what it was asked for when the system call returns.
        assert_eq!(shown("fe80::9"), "lladdr 02:00:00:00:00:09 PERMANENT");
        // Nobody answers for the other one.
        assert!(shown("fe80::a").contains("INCOMPLETE"), "{}", shown("fe80::a"));
    });
}
