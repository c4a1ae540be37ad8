//! Sockets that were made elsewhere: before the daemon, by a parent in another cgroup, by a process that sent them.

use anyhow::ensure;
use mif_tests::{
    deadline::{PATIENCE, bounded},
    family::Family,
    ways::{self, Stage, Way, way},
};
use mif_user::mode::Mode;

/// The first cgroup makes the socket, the second one uses it. What has no source yet is decided for who uses it; what is connected
/// keeps the source that it has. A packet is its socket's, and a socket is the cgroup's that made it.
#[rustfmt::skip]
const FROM_HAND_TO_HAND: &[Way] = &[
    //   the application, made in the column's cgroup                            alone   free   prefer  strict
    way("tcp inherit={free} connect={server} exchange",                         ["a",    "a",   "a",    "dropped"]),
    way("tcp pass={free} connect={server} exchange",                            ["a",    "a",   "a",    "dropped"]),
    way("udp inherit={free} connect={server} exchange",                         ["a",    "a",   "a",    "dropped"]),
    way("udp pass={free} to={server}",                                          ["a",    "a",   "a",    "dropped"]),
    way("tcp connect={server} inherit={free} exchange",                         ["a",    "a",   "b",    "b"]),
    way("tcp connect={server} pass={free} exchange",                            ["a",    "a",   "b",    "b"]),
    way("udp connect={server} inherit={free} exchange",                         ["a",    "a",   "b",    "b"]),
    way("udp connect={server} pass={free} exchange",                            ["a",    "a",   "b",    "b"]),
    way("udp connect={server} pass={free} connect={other} exchange",            ["a",    "a",   "b",    "b"]),
    way("udp bind={b} pass={free} to={server}",                                 ["lost", "b",   "b",    "b"]),
    way("tcp bind={b} inherit={free} connect={server} exchange",                ["lost", "b",   "b",    "b"]),
    way("tcp inherit={strict} connect={server} exchange",                       ["a",    "b",   "b",    "b"]),
    way("tcp pass={strict} connect={server} exchange",                          ["a",    "b",   "b",    "b"]),
    way("udp inherit={strict} to={server}",                                     ["a",    "b",   "b",    "b"]),
    way("udp pass={strict} to={server}",                                        ["a",    "b",   "b",    "b"]),
    way("udp bind={a} pass={strict} to={server}",               ["a", "ENETUNREACH", "ENETUNREACH", "EADDRNOTAVAIL"]),
    way("tcp bind={a} inherit={strict} connect={server} exchange", ["a", "ENETUNREACH", "ENETUNREACH", "EADDRNOTAVAIL"]),
    // What was connected elsewhere is the flow of who connected it.
    way("tcp connect={server} pass={strict} exchange",                          ["a",    "a",   "b",    "b"]),
];

/// Likewise.
#[rustfmt::skip]
const CONNECTED_UDP: &[Way] = &[
    way("udp connect={server} inherit={strict} exchange",                       ["a",    "a",   "b",    "b"]),
    way("udp connect={server} pass={strict} exchange",                          ["a",    "a",   "b",    "b"]),
];

/// On AF_INET6 sockets the kernel sends IPv4 as if the socket were not connected (udpv6_sendmsg in its net/ipv6/udp.c): the hook is asked,
/// and who may not use the source is refused.
#[rustfmt::skip]
const CONNECTED_UDP_MAPPED: &[Way] = &[
    way("udp connect={server} inherit={strict} exchange",                       ["a", "ENETUNREACH", "b",    "b"]),
    way("udp connect={server} pass={strict} exchange",                          ["a", "ENETUNREACH", "b",    "b"]),
];

#[test]
fn inherited_or_passed() {
    bounded(6 * PATIENCE, || {
        Stage::new()?.check(&[
            (&Family::ALL, FROM_HAND_TO_HAND),
            (&[Family::Ipv6, Family::Ipv4], CONNECTED_UDP),
            (&[Family::Mapped], CONNECTED_UDP_MAPPED),
        ])
    });
}

/// Opened and used before there was a daemon: what becomes of the next exchange.
#[test]
fn opened_before_the_daemon() {
    bounded(6 * PATIENCE, || {
        let stage = Stage::new()?;
        // script, then the next exchange without a policy and in the strict cgroup
        #[rustfmt::skip]
        let table = [
            ("tcp connect={server} exchange wait exchange",                     "a", "dropped"),
            ("tcp bind={a} connect={server} exchange wait exchange",            "a", "dropped"),
            // Refused where the hook of sendmsg is asked, which for a connected socket it is in IPv4 over AF_INET6 alone.
            ("udp connect={server} exchange wait exchange",                     "a", "dropped or ENETUNREACH"),
            ("udp connect={server} exchange wait disconnect connect={other} exchange", "a", "b"),
            ("udp to={server} wait to={server}",                                "a", "b"),
            ("udp bind={a} to={server} wait to={server}",                       "a", "ENETUNREACH"),
            // Without mif these are lost: the first exchange comes after.
            ("udp bind={b} wait to={server}",                                   "b", "b"),
            ("udp bind={b} connect={server} wait exchange",                     "b", "b"),
            ("tcp bind={b} wait connect={server} exchange",                     "b", "b"),
            ("tcp wait connect={server} exchange",                              "a", "b"),
            ("tcp bind={any} wait connect={server} exchange",                   "a", "b"),
        ];
        let mut started = Vec::new();
        for family in Family::ALL {
            for (script, free, strict) in table {
                for (cgroup, expected) in [(&stage.free, free), (&stage.strict, strict)] {
                    let mut application = stage.play(cgroup, family, script)?;
                    let report = application.report()?;
                    ensure!(report.error.is_none(), "{family}, {script}: {report:?}");
                    started.push((family, script, expected, application));
                }
            }
        }
        let daemon = stage.site.daemon::<&str>([])?;
        stage.site.wait_for_routers()?;
        ways::attach(&daemon, &stage.strict, Mode::Strict)?;
        stage.world.forget()?;
        let mut wrong = Vec::new();
        for (family, script, expected, mut application) in started {
            let report = application.again()?;
            let mapped = usize::from(family == Family::Mapped);
            let expected = expected.split(" or ").nth(mapped).unwrap_or(expected);
            if ways::outcome(&report) != expected {
                wrong.push(format!("{family}, {script}: {report:?}, expected {expected}"));
            }
        }
        ensure!(wrong.is_empty(), "{wrong:#?}");
        stage.world.check_no_foreign()?;
        daemon.stop()
    });
}

/// A strict cgroup has no way round by a socket of its own that somebody else uses.
#[test]
fn nothing_of_a_strict_cgroup_leaks_by_another_hand() {
    bounded(6 * PATIENCE, || {
        let stage = Stage::new()?;
        let daemon = stage.daemon()?;
        for family in Family::ALL {
            for script in [
                "udp inherit={free} bind={a} to={server}",
                "udp pass={free} bind={a} connect={server} exchange",
                "tcp pass={free} bind={a} connect={server} exchange",
            ] {
                stage.world.forget()?;
                let report = stage.play(&stage.strict, family, script)?.report()?;
                ensure!(ways::outcome(&report) == "dropped", "{family}, {script}: {report:?}");
                let seen = stage.world.routers()[0].tap().seen()?;
                ensure!(seen.is_empty(), "{family}, {script}: {seen:#?}");
            }
        }
        daemon.stop()
    });
}
