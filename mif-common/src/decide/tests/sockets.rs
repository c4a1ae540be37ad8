//! What a connect, a send or a bind gets.

use super::*;

#[test]
fn sockets() {
    let tables = tables();
    for (rule, socket, connected, sent) in [
        // Exempt destinations.
        (&STRICT, socket("::ffff:127.0.0.9", "::", 0), "not-ours 0", "not-ours 0"),
        (&STRICT, socket("::ffff:0.0.0.0", "::", 0), "not-ours 0", "not-ours 0"),
        (&STRICT, socket("::ffff:169.254.0.9", "::", 0), "not-ours 0", "not-ours 0"),
        (&STRICT, socket("::ffff:224.0.0.251", "::", 0), "not-ours 0", "not-ours 0"),
        (&STRICT, socket("::ffff:255.255.255.255", "::", 0), "not-ours 0", "not-ours 0"),
        (&STRICT, socket("::", "::", 0), "not-ours 0", "not-ours 0"),
        (&STRICT, socket("::1", "::", 0), "not-ours 0", "not-ours 0"),
        (&STRICT, socket("fe80::9", "::", 0), "not-ours 0", "not-ours 0"),
        (&STRICT, socket("ff02::1", "::", 0), "not-ours 0", "not-ours 0"),
        (&STRICT, socket("9::9", "b::1", 0), "not-ours 0", "not-ours 0"),
        // Nothing chosen yet.
        (&PREFER, socket("a::9", "::", 0), "applied 1 from a::1 on 11", "applied 1 from a::1 on 11"),
        (&PREFER, socket("b::9", "::", 0), "applied 2 from b::1 on 12", "applied 2 from b::1 on 12"),
        (&STRICT, socket("a::9", "::", 0), "applied 1 from a::1 on 11", "applied 1 from a::1 on 11"),
        (&OBSERVE, socket("a::9", "::", 0), "observed 1", "observed 1"),
        // Nobody reaches it, by an entry and without one.
        (&PREFER, socket("f::9", "::", 0), "no-decision 0", "no-decision 0"),
        (&STRICT, socket("f::9", "::", 0), "unreachable 0 refuse", "unreachable 0 refuse"),
        (&PREFER, socket("7::9", "::", 0), "no-decision 0", "no-decision 0"),
        (&STRICT, socket("b::9", "::", 0), "unreachable 0 refuse", "unreachable 0 refuse"),
        (&OBSERVE, socket("f::9", "::", 0), "no-decision 0", "no-decision 0"),
        // IPv4, in the same tables.
        (
            &PREFER,
            socket("::ffff:192.0.2.9", "::", 0),
            "applied 1 from ::ffff:192.0.2.1 on 11",
            "applied 1 from ::ffff:192.0.2.1 on 11",
        ),
        (&STRICT, socket("::ffff:198.51.100.9", "::", 0), "unreachable 0 refuse", "unreachable 0 refuse"),
        // The answer has expired.
        (&PREFER, socket("c::9", "::", 0), "expired 1", "expired 1"),
        (&STRICT, socket("c::9", "::", 0), "unreachable 1 refuse", "unreachable 1 refuse"),
        // The application bound an interface.
        (&PREFER, socket("a::9", "::", 11), "applied 1 from a::1", "applied 1 from a::1"),
        (&PREFER, socket("a::9", "::", 12), "application-device 1", "application-device 1"),
        (&STRICT, socket("a::9", "::", 12), "vetoed 1 refuse", "vetoed 1 refuse"),
        (&STRICT, socket("a::9", "::", 11), "applied 1 from a::1", "applied 1 from a::1"),
        // An interface of the view, though another one of it is better: tc egress sees to the source.
        (&STRICT, socket("5::9", "::", 13), "vetoed 1 refuse", "vetoed 1 refuse"),
        (&STRICT_ALL, socket("a::9", "::", 12), "application-device 1", "application-device 1"),
        // The administrator decides.
        (&PREFER, socket("e::9", "::", 0), "administrator 1", "administrator 1"),
        (&STRICT, socket("e::9", "::", 0), "administrator 1", "administrator 1"),
        (&PREFER, socket("e::9", "b::1", 0), "administrator 1", "administrator 1"),
        (&PREFER, socket("e::9", "7::7", 0), "administrator 1", "administrator 1"),
        (&PREFER, socket("d::9", "::", 0), "applied 2 from b::1 on 12", "applied 2 from b::1 on 12"),
        (&PREFER, socket("d::9", "a::1", 0), "administrator 2", "administrator 2"),
        (&PREFER, socket("d::9", "b::1", 0), "followed-source 2 on 12", "consistent 2"),
        // A source that the view does not have, wherever the packets go.
        (&STRICT, socket("a::9", "b::1", 0), "vetoed 2 refuse", "vetoed 2 refuse"),
        (&STRICT, socket("e::9", "b::1", 0), "vetoed 2 refuse", "vetoed 2 refuse"),
        (&STRICT, socket("a::9", "7::7", 0), "vetoed 0 refuse", "vetoed 0 refuse"),
        (&STRICT, socket("e::9", "7::7", 0), "vetoed 0 refuse", "vetoed 0 refuse"),
        (&STRICT_ALL, socket("a::9", "b::1", 0), "followed-source 2 on 12", "consistent 2"),
        // It has a source of its own.
        (&STRICT, socket("e::9", "a::1", 0), "administrator 1", "administrator 1"),
        (&PREFER, socket("b::9", "a::1", 0), "followed-source 1 on 11", "consistent 1"),
        (&PREFER, socket("f::9", "a::1", 0), "followed-source 1 on 11", "consistent 1"),
        (&STRICT, socket("b::9", "a::1", 0), "followed-source 1 on 11", "consistent 1"),
        (&OBSERVE, socket("b::9", "a::1", 0), "observed 1", "consistent 1"),
        (&PREFER, socket("b::9", "a::1", 11), "consistent 1", "consistent 1"),
        (&PREFER, socket("b::9", "a::1", 12), "application-device 1", "application-device 1"),
        (&STRICT, socket("b::9", "a::1", 12), "vetoed 1 refuse", "vetoed 1 refuse"),
        (&PREFER, socket("b::9", "7::7", 0), "unknown-source 0", "unknown-source 0"),
        (&PREFER, socket("b::9", "c::1", 0), "expired 1", "expired 1"),
        (&STRICT, socket("b::9", "c::1", 0), "vetoed 1 refuse", "vetoed 1 refuse"),
        // An address of PvD 1 that PvD 2 carries: the view has it where its own decision names it.
        (&STRICT, socket("5::9", "::", 0), "applied 1 from 5::1 on 11", "applied 1 from 5::1 on 11"),
        (&STRICT, socket("5::9", "5::1", 12), "consistent 2", "consistent 2"),
        (&STRICT, socket("a::9", "5::1", 12), "vetoed 2 refuse", "vetoed 2 refuse"),
        // With a port the source cannot be bound any more; a datagram can still be given one.
        (
            &PREFER,
            Socket { has_port: true, ..socket("a::9", "::", 0) },
            "interface-only 1 on 11",
            "applied 1 from a::1 on 11",
        ),
        (
            &PREFER,
            Socket { has_port: true, ..socket("a::9", "::", 11) },
            "consistent 1",
            "applied 1 from a::1",
        ),
        (&PREFER, Socket { has_port: true, ..socket("f::9", "::", 0) }, "no-decision 0", "no-decision 0"),
        (&OBSERVE, Socket { has_port: true, ..socket("a::9", "::", 0) }, "observed 1", "observed 1"),
        // A hook bound the interface: no choice of the application's.
        (
            &STRICT,
            Socket {
                ours: SocketState { ifindex: 12, ..SocketState::default() },
                ..socket("a::9", "::", 12)
            },
            "applied 1 from a::1 on 11",
            "applied 1 from a::1 on 11",
        ),
        (
            &PREFER,
            Socket {
                ours: SocketState { ifindex: 12, ..SocketState::default() },
                ..socket("b::9", "a::1", 12)
            },
            "followed-source 1 on 11",
            "consistent 1",
        ),
        // A hook bound the source: it is chosen anew while the socket has no port, else it is followed.
        (
            &PREFER,
            Socket { ours: SocketState { source: addr("a::1"), ifindex: 11 }, ..socket("b::9", "a::1", 0) },
            "applied 2 from b::1 on 12",
            "applied 2 from b::1 on 12",
        ),
        (
            &PREFER,
            Socket {
                has_port: true,
                ours: SocketState { source: addr("a::1"), ifindex: 11 },
                ..socket("b::9", "a::1", 11)
            },
            "consistent 1",
            "consistent 1",
        ),
    ] {
        assert_eq!(text(connect(&tables, rule, &socket)), connected, "connect {rule:?} {socket:?}");
        assert_eq!(text(sendmsg(&tables, rule, &socket)), sent, "sendmsg {rule:?} {socket:?}");
    }
}

/// What a hook is taken to have done, where no note says so: `SOURCE IFINDEX`; whether a note is needed from now on, and whether
/// the interface may be taken back.
/// What IP_UNICAST_IF or IPV6_UNICAST_IF chooses counts like what SO_BINDTODEVICE binds, where nothing is bound.
#[test]
fn interfaces_that_are_chosen_without_binding() {
    let chosen = |unicast_if, socket| Socket { unicast_if, ..socket };
    let ours = SocketState { source: Addr::UNSPECIFIED, ifindex: 11 };
    for (rule, socket, connected, sent) in [
        (
            &PREFER,
            chosen(11, socket("a::9", "::", 0)),
            "applied 1 from a::1 on 11",
            "applied 1 from a::1 on 11",
        ),
        (&PREFER, chosen(12, socket("a::9", "::", 0)), "application-device 1", "application-device 1"),
        (
            &STRICT,
            chosen(11, socket("a::9", "::", 0)),
            "applied 1 from a::1 on 11",
            "applied 1 from a::1 on 11",
        ),
        (&STRICT, chosen(12, socket("a::9", "::", 0)), "vetoed 1 refuse", "vetoed 1 refuse"),
        // Bound besides: the kernel does not heed it.
        (&PREFER, chosen(12, socket("a::9", "::", 11)), "applied 1 from a::1", "applied 1 from a::1"),
        // Bound by a hook, which gives it back.
        (
            &PREFER,
            Socket { ours, ..chosen(12, socket("a::9", "::", 11)) },
            "application-device 1",
            "application-device 1",
        ),
        // With a source: of that interface, of another one.
        (&STRICT, chosen(11, socket("b::9", "a::1", 0)), "followed-source 1 on 11", "consistent 1"),
        (&PREFER, chosen(12, socket("b::9", "a::1", 0)), "application-device 1", "application-device 1"),
        (&STRICT, chosen(12, socket("b::9", "a::1", 0)), "vetoed 1 refuse", "vetoed 1 refuse"),
    ] {
        assert_eq!(text(connect(&tables(), rule, &socket)), connected, "{rule:?} {socket:?}");
        assert_eq!(text(sendmsg(&tables(), rule, &socket)), sent, "{rule:?} {socket:?}");
    }
}

#[test]
fn presumptions() {
    let tables = tables();
    let with_port = |socket| Socket { has_port: true, ..socket };
    for (stream, socket, ours, alone, interface) in [
        (false, socket("a::9", "::", 0), ":: 0", true, false),
        // The application bound an interface and nothing else.
        (false, socket("a::9", "::", 12), ":: 0", false, false),
        (false, with_port(socket("a::9", "::", 0)), ":: 0", false, false),
        // A source without a port, after a connect that failed or was taken back: a hook's, and the interface with it.
        (true, socket("a::9", "b::1", 12), "b::1 12", true, true),
        // A datagram socket without a port has lost what a hook bound: the application bound an interface since.
        (false, socket("a::9", "b::1", 12), "b::1 0", false, false),
        (false, socket("a::9", "b::1", 0), "b::1 0", true, false),
        (true, socket("a::9", "7::7", 12), "7::7 12", true, true),
        // Bound after a connect that was taken back: the application's.
        (false, socket("a::9", "b::1", 11), "b::1 0", false, false),
        // With a port, after a connect: the source stays; the interface is a hook's if it is the source's.
        (false, with_port(socket("a::9", "b::1", 12)), ":: 0", false, true),
        (false, with_port(socket("a::9", "b::1", 11)), ":: 0", false, false),
        (false, with_port(socket("a::9", "7::7", 12)), ":: 0", false, false),
        (false, with_port(socket("a::9", "b::1", 0)), ":: 0", false, false),
    ] {
        let mut presumed = socket;
        presumed.presume_ours(&tables, stream);
        assert_eq!(format!("{} {}", show(presumed.ours.source), presumed.ours.ifindex), ours, "{socket:?}");
        assert_eq!(presumed.is_ours_alone(), alone, "{socket:?}");
        assert_eq!(presumed.has_our_interface(&tables, false), interface, "{socket:?}");
        // With a note that says that nothing is ours, nothing is.
        assert!(!socket.has_our_interface(&tables, true), "{socket:?}");
    }
    // A connect that failed is tried again, by another PvD: nothing of the first is in the way.
    let mut again = socket("b::9", "a::1", 11);
    again.presume_ours(&tables, true);
    assert_eq!(text(connect(&tables, &PREFER, &again)), "applied 2 from b::1 on 12");
}

/// Of which a note is made, so that a later connect does not take it back.
#[test]
fn interfaces_of_the_application() {
    for (source, ifindex, has_port, stream, expected) in [
        ("::", 0, false, false, false),
        ("::", 12, false, false, true),
        ("::", 12, true, false, true),
        ("::", 12, false, true, true),
        ("b::1", 12, false, false, true),
        // A stream socket whose connect failed, and what has connected: nobody knows any more.
        ("b::1", 12, false, true, false),
        ("b::1", 12, true, false, false),
    ] {
        let socket = Socket { has_port, ..socket("a::9", source, ifindex) };
        assert_eq!(socket.has_application_interface(stream), expected, "{socket:?} {stream}");
    }
}

#[test]
fn binds() {
    let tables = tables();
    for (rule, address, expected) in [
        (&STRICT, "::", "not-ours 0"),
        (&STRICT, "::1", "not-ours 0"),
        (&STRICT, "::ffff:127.0.0.1", "not-ours 0"),
        (&STRICT, "a::1", "consistent 1"),
        (&STRICT, "b::1", "vetoed 2 refuse"),
        (&STRICT, "7::7", "unknown-source 0"),
        // PvD 2 carries it, PvD 1 may use it.
        (&STRICT, "5::1", "consistent 2"),
        (&STRICT_ALL, "b::1", "consistent 2"),
        (&PREFER, "b::1", "consistent 2"),
        (&OBSERVE, "b::1", "consistent 2"),
    ] {
        assert_eq!(text(bind(&tables, rule, &addr(address))), expected, "{rule:?} {address}");
    }
}
