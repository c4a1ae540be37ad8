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

/// The same without CAP_NET_RAW and CAP_NET_ADMIN, as nearly all programs run.
#[test]
fn tcp_and_udp_without_privileges() {
    bounded(6 * PATIENCE, || Stage::new()?.unprivileged().check(&[(&Family::ALL, ALL)]));
}

/// PKTINFO of a datagram with an interface alone: no hook sees it. By destination the decision is another, and it wins.
#[rustfmt::skip]
const NAMED_INTERFACE: &[Way] = &[
    //   the application                                            alone   free   prefer  strict
    way("udp named=isp-b to={server}",                             ["b",    "a",   "b",    "b"]),
    way("udp named=isp-a to={server}",                             ["a",    "a",   "b",    "b"]),
];

#[test]
fn interfaces_that_the_hooks_do_not_see() {
    bounded(6 * PATIENCE, || Stage::new()?.check(&[(&Family::ALL, NAMED_INTERFACE)]));
}

/// IP_UNICAST_IF and IPV6_UNICAST_IF: as SO_BINDTODEVICE, where the kernel heeds them.
#[rustfmt::skip]
const UNICAST_IF: &[Way] = &[
    //   the application                                            alone   free   prefer  strict
    way("udp unicast-if=isp-b connect={server} exchange",          ["b",    "b",   "b",    "b"]),
    way("udp unicast-if=isp-a connect={server} exchange",          ["a",    "a",   "a",    "ENETUNREACH"]),
    way("udp unicast-if=isp-b to={server}",                        ["b",    "b",   "b",    "b"]),
    way("udp unicast-if=isp-a to={server}",                        ["a",    "a",   "a",    "ENETUNREACH"]),
    way("udp unicast-if=isp-b bind={any} connect={server} exchange",
                                                                   ["b",    "b",   "b",    "b"]),
    way("udp unicast-if=isp-b bind={any} to={server}",             ["b",    "b",   "b",    "b"]),
    way("udp unicast-if=isp-b bind={b} connect={server} exchange", ["b",    "b",   "b",    "b"]),
    way("udp unicast-if=isp-b bind={b} to={server}",               ["b",    "b",   "b",    "b"]),
    // Connected again: connect(AF_UNSPEC) leaves the source that a hook bound, and the interface follows it.
    way("udp connect={server} disconnect unicast-if=isp-b connect={other} exchange",
                                                                   ["b",    "a",   "b",    "b"]),
    way("udp unicast-if=isp-a connect={server} disconnect connect={other} exchange",
                                                                   ["a",    "a",   "a",    "ENETUNREACH"]),
    // A source of another provider: its packets leave by that one.
    way("udp unicast-if=isp-a bind={b} to={server}",               ["lost", "b",   "b",    "ENETUNREACH"]),
    // Bound as well: then the kernel does not look at it.
    way("udp unicast-if=isp-a device=isp-b connect={server} exchange",
                                                                   ["b",    "b",   "b",    "b"]),
    way("ping unicast-if=isp-b connect={server} exchange",         ["b",    "b",   "b",    "b"]),
    way("ping unicast-if=isp-a connect={server} exchange",         ["a",    "a",   "a",    "ENETUNREACH"]),
    // TCP never looks.
    way("tcp unicast-if=isp-b connect={server} exchange",          ["a",    "a",   "b",    "b"]),
    way("tcp unicast-if=isp-a connect={server} exchange",          ["a",    "a",   "b",    "b"]),
];

/// IPV6_UNICAST_IF says nothing about IPv4 on AF_INET6 sockets; the kernel goes by the destination.
#[rustfmt::skip]
const UNICAST_IF_OF_THE_OTHER_FAMILY: &[Way] = &[
    //   the application                                            alone   free   prefer  strict
    way("udp unicast-if=isp-b connect={server} exchange",          ["a",    "a",   "b",    "b"]),
    way("udp unicast-if=isp-a to={server}",                        ["a",    "a",   "b",    "b"]),
];

/// IPV6_PKTINFO for the socket, with an interface alone. IP_PKTINFO has no such form.
#[rustfmt::skip]
const STICKY: &[Way] = &[
    //   the application                                            alone   free   prefer  strict
    way("udp sticky-if=isp-b connect={server} exchange",           ["b",    "b",   "b",    "b"]),
    way("udp sticky-if=isp-a connect={server} exchange",           ["a",    "a",   "a",    "ENETUNREACH"]),
    way("udp sticky-if=isp-b to={server}",                         ["b",    "b",   "b",    "b"]),
    way("udp sticky-if=isp-a to={server}",                         ["a",    "a",   "a",    "ENETUNREACH"]),
    // Before IPV6_UNICAST_IF.
    way("udp sticky-if=isp-b unicast-if=isp-a connect={server} exchange",
                                                                   ["b",    "b",   "b",    "b"]),
];

#[test]
fn interfaces_chosen_without_binding() {
    bounded(6 * PATIENCE, || {
        Stage::new()?.check(&[
            (&[Family::Ipv6, Family::Ipv4], UNICAST_IF),
            (&[Family::Mapped], UNICAST_IF_OF_THE_OTHER_FAMILY),
            (&[Family::Ipv6], STICKY),
        ])
    });
}
