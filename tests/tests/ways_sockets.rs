//! TCP and UDP in all the ways in which sockets are opened: source, interface and next hop are of one provider. A host with two of
//! them, of which the kernel prefers the first for everything.

use mif_tests::{
    deadline::{PATIENCE, bounded},
    family::Family,
    ways::{Stage, Way, way},
};

/// All families: IPv6, IPv4, and IPv4 on AF_INET6 sockets.
#[rustfmt::skip]
const ALL: &[Way] = &[
    //   the application                                            alone   free   prefer  strict
    // TCP
    way("tcp connect={server} exchange",                           ["a",    "a",   "b",    "b"]),
    way("tcp bind={any} connect={server} exchange",                ["a",    "a",   "b",    "b"]),
    way("tcp bind={a} connect={server} exchange",                  ["a",    "a",   "a",    "EADDRNOTAVAIL"]),
    way("tcp bind={b} connect={server} exchange",                  ["lost", "b",   "b",    "b"]),
    way("tcp device=isp-a connect={server} exchange",              ["a",    "a",   "a",    "ENETUNREACH"]),
    way("tcp device=isp-b connect={server} exchange",              ["b",    "b",   "b",    "b"]),
    way("tcp connect={server} size=1000000 exchange",              ["a",    "a",   "b",    "b"]),
    way("tcp bind={b} connect={server} size=1000000 exchange",     ["lost", "b",   "b",    "b"]),
    // UDP, connected
    way("udp connect={server} exchange",                           ["a",    "a",   "b",    "b"]),
    way("udp bind={any} connect={server} exchange",                ["a",    "a",   "b",    "b"]),
    way("udp bind={a} connect={server} exchange",                  ["a",    "a",   "a",    "EADDRNOTAVAIL"]),
    way("udp bind={b} connect={server} exchange",                  ["lost", "b",   "b",    "b"]),
    way("udp device=isp-a connect={server} exchange",              ["a",    "a",   "a",    "ENETUNREACH"]),
    way("udp device=isp-b connect={server} exchange",              ["b",    "b",   "b",    "b"]),
    // connected again, with and without connect(AF_UNSPEC) between
    way("udp connect={server} connect={other} exchange",           ["a",    "a",   "b",    "b"]),
    way("udp connect={server} disconnect connect={other} exchange",["a",    "a",   "b",    "b"]),
    way("udp bind={b} connect={server} connect={other} exchange",  ["lost", "b",   "b",    "b"]),
    way("udp bind={b} connect={server} disconnect connect={other} exchange",
                                                                   ["lost", "b",   "b",    "b"]),
    // UDP, not connected
    way("udp to={server}",                                         ["a",    "a",   "b",    "b"]),
    way("udp bind={any} to={server}",                              ["a",    "a",   "b",    "b"]),
    way("udp bind={a} to={server}",                                ["a",    "a",   "a",    "EADDRNOTAVAIL"]),
    way("udp bind={b} to={server}",                                ["lost", "b",   "b",    "b"]),
    way("udp device=isp-a to={server}",                            ["a",    "a",   "a",    "ENETUNREACH"]),
    way("udp device=isp-b to={server}",                            ["b",    "b",   "b",    "b"]),
    way("udp to={server} to={other}",                              ["a",    "a",   "b",    "b"]),
    // IP_PKTINFO, IPV6_PKTINFO with an address
    way("udp named={a-ip} to={server}",                            ["a",    "a",   "a",    "ENETUNREACH"]),
    way("udp named={b-ip} to={server}",                            ["lost", "b",   "b",    "b"]),
    way("udp bind={any} named={b-ip} to={server}",                 ["lost", "b",   "b",    "b"]),
    // One call, many datagrams (UDP_SEGMENT)
    way("udp segment=1000 size=5000 connect={server} exchange",    ["a",    "a",   "b",    "b"]),
    way("udp segment=1000 size=5000 bind={b} connect={server} exchange",
                                                                   ["lost", "b",   "b",    "b"]),
    way("udp segment=1000 size=5000 bind={b} to={server}",         ["lost", "b",   "b",    "b"]),
    way("udp segment=1000 size=5000 to={server}",                  ["a",    "a",   "b",    "b"]),
    // Datagrams larger than the MTU: fragments
    way("udp size=3000 connect={server} exchange",                 ["a",    "a",   "b",    "b"]),
    way("udp size=3000 to={server}",                               ["a",    "a",   "b",    "b"]),
    way("udp size=3000 bind={b} connect={server} exchange",        ["lost", "b",   "b",    "b"]),
    way("udp size=3000 bind={b} to={server}",                      ["lost", "b",   "b",    "b"]),
    way("udp size=3000 named={b-ip} to={server}",                  ["lost", "b",   "b",    "b"]),
];

#[test]
fn tcp_and_udp() {
    bounded(6 * PATIENCE, || Stage::new()?.check(&[(&Family::ALL, ALL)]));
}

/// An interface that is chosen in a way that the hooks do not see. By destination the decision is another, and it wins.
#[rustfmt::skip]
const NAMED_INTERFACE: &[Way] = &[
    //   the application                                            alone   free   prefer  strict
    way("udp named=isp-b to={server}",                             ["b",    "a",   "b",    "b"]),
    way("udp named=isp-a to={server}",                             ["a",    "a",   "b",    "b"]),
];

/// Likewise IP_UNICAST_IF and IPV6_UNICAST_IF. (The kernel heeds neither for IPv4 on AF_INET6 sockets.)
#[rustfmt::skip]
const UNICAST_IF: &[Way] = &[
    //   the application                                            alone   free   prefer  strict
    way("udp unicast-if=isp-b connect={server} exchange",          ["b",    "a",   "b",    "b"]),
    way("udp unicast-if=isp-a connect={server} exchange",          ["a",    "a",   "b",    "b"]),
    way("udp unicast-if=isp-b to={server}",                        ["b",    "a",   "b",    "b"]),
    way("udp unicast-if=isp-a to={server}",                        ["a",    "a",   "b",    "b"]),
];

#[test]
fn interfaces_that_the_hooks_do_not_see() {
    bounded(6 * PATIENCE, || {
        let tables = [(&Family::ALL[..], NAMED_INTERFACE), (&[Family::Ipv6, Family::Ipv4], UNICAST_IF)];
        Stage::new()?.check(&tables)
    });
}
