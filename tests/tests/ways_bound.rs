//! Sockets that are connected again, with an interface of their own or one that a hook bound: what the application bound stays, and
//! what a hook bound is not in the way.

use mif_tests::{
    deadline::{PATIENCE, bounded},
    family::Family,
    ways::{Stage, Way, way},
};

/// The application's own SO_BINDTODEVICE, whatever the hooks did before and whatever the kernel chose for it.
#[rustfmt::skip]
const OWN: &[Way] = &[
    //   the application                                            alone   free   prefer  strict
    way("udp device=isp-b connect={server} connect={loopback} bound-to=isp-b",
                                                                   ["b",    "b",   "b",    "b"]),
    way("udp bind={any} device=isp-b connect={server} connect={loopback} bound-to=isp-b",
                                                                   ["b",    "b",   "b",    "b"]),
    way("udp bind={b} device=isp-b connect={server} connect={loopback} bound-to=isp-b",
                                                                   ["b",    "b",   "b",    "b"]),
    way("udp connect={server} disconnect device=isp-b connect={other} connect={loopback} bound-to=isp-b",
                                                                   ["b",    "a",   "b",    "b"]),
    way("udp device=isp-b to={server} connect={loopback} bound-to=isp-b",
                                                                   ["b",    "b",   "b",    "b"]),
];

/// A hook's: it is taken off for what is the host's own.
#[rustfmt::skip]
const OURS: &[Way] = &[
    way("udp connect={server} connect={loopback} bound-to=",       ["a",    "a",   "b",    "b"]),
    way("udp bind={b} connect={server} connect={loopback} bound-to=",
                                                                   ["b",    "b",   "b",    "b"]),
];

/// Without CAP_NET_RAW the kernel lets nobody take an interface off: it is said, instead of sending what cannot arrive.
#[rustfmt::skip]
const STUCK: &[Way] = &[
    way("udp connect={server} connect={loopback}",                 ["a",    "ENETUNREACH", "ENETUNREACH", "ENETUNREACH"]),
    way("udp connect={server} connect={a}",                        ["a",    "ENETUNREACH", "ENETUNREACH", "ENETUNREACH"]),
];

/// `::` is `::1` to the kernel. (0.0.0.0 is an address of the interface that is bound, and arrives.)
#[rustfmt::skip]
const STUCK_IPV6: &[Way] = &[
    way("udp connect={server} connect=[::]:9",                     ["a",    "ENETUNREACH", "ENETUNREACH", "ENETUNREACH"]),
];

#[test]
fn what_the_application_bound_stays() {
    bounded(6 * PATIENCE, || Stage::new()?.check(&[(&Family::ALL, OWN), (&Family::ALL, OURS)]));
}

#[test]
fn what_a_hook_bound_without_privileges() {
    bounded(6 * PATIENCE, || {
        Stage::new()?.unprivileged().check(&[
            (&Family::ALL, OWN),
            (&Family::ALL, STUCK),
            (&[Family::Ipv6], STUCK_IPV6),
        ])
    });
}
