//! Neighbours that are resolved beforehand.

use std::{net::IpAddr, process::Command};

use mif_user::net::neighbour::resolve;
use nix::sched::{CloneFlags, unshare};

use crate::namespace::index;

/// What `ip neigh show ADDRESS` says after it was asked for, of entries that were there and of one that was not.
#[test]
fn entries_of_the_administrator_stay() {
    let test = || {
        assert!(nix::unistd::geteuid().is_root(), "this test makes network namespaces: run it as root");
        unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace (CAP_SYS_ADMIN)");
        let ip = |arguments: &str| {
            let output = Command::new("ip").args(arguments.split(' ')).output().expect("iproute2");
            assert!(output.status.success(), "ip {arguments}: {output:?}");
            String::from_utf8(output.stdout).expect("text")
        };
        ip("link add wan type veth peer name isp");
        ip("link set wan up");
        ip("link set isp up");
        for (address, set, expected) in [
            ("fe80::1", "lladdr 02:00:00:00:00:01 nud permanent", "02:00:00:00:00:01 PERMANENT"),
            ("192.0.2.1", "lladdr 02:00:00:00:00:02 nud permanent", "02:00:00:00:00:02 PERMANENT"),
            ("fe80::2", "lladdr 02:00:00:00:00:03 nud noarp", "02:00:00:00:00:03 NOARP"),
            ("fe80::3", "lladdr 02:00:00:00:00:04 nud stale", "02:00:00:00:00:04 DELAY"),
            ("fe80::4", "", "INCOMPLETE"),
        ] {
            if !set.is_empty() {
                ip(&format!("neigh replace {address} dev wan {set}"));
            }
            resolve(index("wan"), address.parse::<IpAddr>().expect("a literal")).expect("it is asked for");
            let found = ip(&format!("neigh show {address} dev wan nud all"));
            assert!(found.contains(expected), "{found}");
        }
        let nowhere = resolve(u32::MAX >> 1, "fe80::1".parse().expect("a literal"));
        assert!(nowhere.is_err(), "there is no such interface");
    };
    std::thread::spawn(test).join().expect("it passes");
}
