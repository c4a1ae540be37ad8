use std::net::Ipv6Addr;

use mif_common::abi::{Verdict, decision_flags};

use super::*;
use crate::select::{testing::world, world::AddressState};

fn address(text: &str) -> Ipv6Addr {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// An answer in short: `none`, `pass`, `local`, `admin PVD`, or `PVD SOURCE [via ROUTER] [admin]`.
fn short(answer: &Answer) -> String {
    let administrator = answer.flags & decision_flags::ADMINISTRATOR != 0;
    match answer.verdict {
        Verdict::None => "none".to_owned(),
        Verdict::Pass if answer.flags & decision_flags::LOCAL != 0 => "local".to_owned(),
        Verdict::Pass if administrator => format!("admin {}", answer.pvd),
        Verdict::Pass => "pass".to_owned(),
        Verdict::Use => {
            let on_link = answer.flags & decision_flags::ON_LINK != 0;
            assert_eq!(on_link, answer.next_hop.is_unspecified(), "{answer:?}");
            let via = if on_link { String::new() } else { format!(" via {}", answer.next_hop) };
            format!("{} {}{via}{}", answer.pvd, answer.source, if administrator { " admin" } else { "" })
        }
    }
}

/// Checks the answers of view 0 and what decided between the best two.
#[track_caller]
fn check(text: &str, cases: &[(&str, &str, Option<Criterion>)]) {
    let world = world(text);
    for (destination, expected, by) in cases {
        let explanation = explain(&world, 0, address(destination));
        assert_eq!(short(&explanation.answer), *expected, "{destination} in\n{text}");
        assert_eq!(explanation.decided_by(), *by, "{destination} in\n{text}");
    }
}

const TWO_UPLINKS: &str = "
    pvd 1 2
    source 2001:db8:a::1/64 from fe80::a
    route ::/0 via fe80::a
    route 2001:db8:a::/64
    pvd 2 3
    source 2001:db8:b::1/64 from fe80::b
    route ::/0 via fe80::b
    route 2001:db8:b::/64
    local fe80::1
    local 2001:db8:a::1
    local 2001:db8:b::1
    local 2001:db8:b::7";

#[test]
fn two_uplinks() {
    check(
        TWO_UPLINKS,
        &[
            ("2001:db8:a::99", "1 2001:db8:a::1", Some(Criterion::RouteLength)),
            ("2001:db8:b::99", "2 2001:db8:b::1", Some(Criterion::RouteLength)),
            ("2001:db8:a:1::99", "1 2001:db8:a::1 via fe80::a", Some(Criterion::LongestMatch)),
            ("2001:db8:b:1::99", "2 2001:db8:b::1 via fe80::b", Some(Criterion::LongestMatch)),
            ("2001:db9::99", "1 2001:db8:a::1 via fe80::a", Some(Criterion::TieBreak)),
            ("2001:db8:a::1", "local", None),
            ("2001:db8:b::7", "local", None),
            ("::1", "pass", None),
            ("fe80::1", "pass", None),
            ("ff02::1", "pass", None),
            ("::ffff:192.0.2.1", "none", None),
            ("::ffff:127.0.0.1", "pass", None),
        ],
    );
}

/// Each world has two PvDs that the criterion of its row tells apart, every later one speaking for the loser.
#[test]
fn criteria_in_order() {
    for (criterion, one, two) in [
        (
            Criterion::Reachability,
            "source 2001:db8:a::1/64 deprecated
             route ::/0 via fe80::a metric 9 low",
            "source 2001:db8:b::1/64 temporary
             route 2001:db8:b::/32 via fe80::b unreachable high",
        ),
        (
            Criterion::RouteLength,
            "source 2001:db8:a::1/64 deprecated
             route 2001:db8::/32 via fe80::a metric 9 low",
            "source 2001:db8:b::1/64 temporary
             route ::/0 via fe80::b high",
        ),
        (
            // The one source in scope of a global destination that is not site-local.
            Criterion::Scope,
            "source fd00::1/64 deprecated
             route ::/0 via fe80::a metric 9 low",
            "source fec0::1/64 temporary
             route ::/0 via fe80::b high",
        ),
        (
            Criterion::Deprecation,
            "source fd00::1/64
             route ::/0 via fe80::a metric 9 low",
            "source 2001:db8:b::1/64 deprecated temporary
             route ::/0 via fe80::b high",
        ),
        (
            Criterion::Label,
            "source 2001:db8:a::1/64
             route ::/0 via fe80::a metric 9 low",
            "source 2002:db8:b::1/64 temporary
             route ::/0 via fe80::b high",
        ),
        (
            Criterion::Metric,
            "source 2001:db8:a::1/64
             route ::/0 via fe80::a metric 1 low",
            "source 2001:db8:b::1/64 temporary
             route ::/0 via fe80::b metric 2 high",
        ),
        (
            Criterion::RouterPreference,
            "source 2001:db8:a::1/64 from fe80::c
             route ::/0 via fe80::a",
            "source 2001:db8:b::1/64 temporary from fe80::b
             route ::/0 via fe80::b low",
        ),
        (
            Criterion::Advertiser,
            "source 2001:db8:a::1/64 from fe80::c from fe80::a
             route ::/0 via fe80::a",
            "source 2001:db8:b::1/64 temporary from fe80::c
             route ::/0 via fe80::b",
        ),
        (
            Criterion::Temporary,
            "source 2001:db8:a::1/64 temporary
             route ::/0 via fe80::a",
            "source 2001:db8:b::1/64
             route ::/0 via fe80::b",
        ),
        (
            Criterion::LongestMatch,
            "source 2001:db8:b::1/65
             route ::/0 via fe80::a",
            "source 2001:db8:b::2/64
             route ::/0 via fe80::b",
        ),
    ] {
        for (places, winner) in [(["1 3", "2 2"], 1), (["2 3", "1 2"], 2)] {
            let text = format!("pvd {}\n{one}\npvd {}\n{two}", places[0], places[1]);
            let world = world(&text);
            let explanation = explain(&world, 0, address("2001:db8:b::99"));
            assert_eq!(explanation.answer.pvd, winner, "{text}");
            assert_eq!(explanation.decided_by(), Some(criterion), "{text}");
        }
    }
}

/// RFC 4191 §3.6 and the digest's table of it: which router is used when others are known to be unreachable.
#[test]
fn unreachable_routers() {
    for (unreachable, next_hop) in [("", "fe80::1"), ("Y", "fe80::2"), ("YZ", "fe80::3"), ("WYZ", "fe80::1")]
    {
        let text: String = [
            ("W", "::/0 via fe80::3"),
            ("X", "2002::/16 via fe80::4"),
            ("Y", "2001:db8::/32 via fe80::1 high"),
            ("Z", "2001:db8::/32 via fe80::2 low"),
        ]
        .iter()
        .map(|(name, route)| {
            format!("route {route} {}\n", if unreachable.contains(name) { "unreachable" } else { "" })
        })
        .collect();
        let world = world(&format!("pvd 1 2\nsource 2001:db8:a::1/64\n{text}"));
        assert_eq!(answer(&world, 0, address("2001:db8::1")).next_hop, address(next_hop), "{unreachable}");
    }
}

#[test]
fn the_administrators_routes() {
    let isp = "
        pvd 1 2
        source 2001:db8:a::1/64
        route ::/0 via fe80::a metric 10 high";
    let tunnel = |route: &str| format!("{isp}\npvd 2 3 admin\nroute {route}");
    for (text, destination, expected, by) in [
        // A tunnel without an address: the kernel decides what it reaches.
        (tunnel("2001:db8:5::/48 admin"), "2001:db8:5::1", "admin 2", Some(Criterion::RouteLength)),
        (tunnel("2001:db8:5::/48 admin"), "2001:db8:6::1", "1 2001:db8:a::1 via fe80::a", None),
        // Its on-link prefix, which the kernel made, is the administrator's word as well.
        (tunnel("2001:db8:5::/48"), "2001:db8:5::1", "admin 2", Some(Criterion::RouteLength)),
        // Its default route, by metric.
        (tunnel("::/0 admin metric 5"), "2001:db8:5::1", "admin 2", Some(Criterion::Administrator)),
        (tunnel("::/0 admin metric 10 low"), "2001:db8:5::1", "admin 2", Some(Criterion::Administrator)),
        (
            tunnel("::/0 admin metric 11"),
            "2001:db8:5::1",
            "1 2001:db8:a::1 via fe80::a",
            Some(Criterion::Metric),
        ),
        // A gateway that does not answer.
        (
            tunnel("2001:db8:5::/48 via fe80::b admin unreachable"),
            "2001:db8:5::1",
            "1 2001:db8:a::1 via fe80::a",
            Some(Criterion::Reachability),
        ),
        // A route that a network announced reaches nothing without a source.
        (
            format!("{isp}\npvd 2 3\nroute 2001:db8:5::/48"),
            "2001:db8:5::1",
            "1 2001:db8:a::1 via fe80::a",
            None,
        ),
        // A bridge with an address: a pair like others, marked so that replies from other sources may leave there.
        (
            format!("{isp}\npvd 2 3 admin\nsource fd00::1/64\nroute fd00::/64"),
            "fd00::99",
            "2 fd00::1 admin",
            Some(Criterion::RouteLength),
        ),
        // A static route behind a router's PvD.
        (
            format!("{isp}\nroute 2001:db8:5::/48 via fe80::c admin"),
            "2001:db8:5::1",
            "1 2001:db8:a::1 via fe80::c admin",
            Some(Criterion::RouteLength),
        ),
        // One route of the network and of the administrator.
        (
            format!("{isp}\nroute 2001:db8:5::/48 via fe80::c\nroute 2001:db8:5::/48 via fe80::c admin"),
            "2001:db8:5::1",
            "1 2001:db8:a::1 via fe80::c admin",
            Some(Criterion::TieBreak),
        ),
        // Two uplinks configured by hand: their default routes are not marked, mif still keeps their sources apart.
        (
            "pvd 1 2 admin
             source 2001:db8:a::1/64
             route ::/0 via fe80::a admin metric 1"
                .to_owned(),
            "2001:db8:5::1",
            "1 2001:db8:a::1 via fe80::a",
            None,
        ),
        // A blackhole, or a route with `src`, in a PvD that has sources.
        (
            format!("{isp}\nroute 2001:db8:5::/48 kernel"),
            "2001:db8:5::1",
            "admin 1",
            Some(Criterion::RouteLength),
        ),
        (
            format!("{isp}\nroute ::/0 kernel metric 10"),
            "2001:db8:5::1",
            "admin 1",
            Some(Criterion::Administrator),
        ),
    ] {
        check(&text, &[(destination, expected, by)]);
    }
}

#[test]
fn no_internet() {
    for (route, expected) in [
        ("::/0 via fe80::a", "none"),
        ("2001:db8:5::/48 via fe80::a", "1 2001:db8:a::1 via fe80::a"),
        ("::/1 via fe80::a", "1 2001:db8:a::1 via fe80::a"),
        // What the administrator says outranks it.
        ("::/0 via fe80::a admin", "1 2001:db8:a::1 via fe80::a"),
        ("::/0 kernel", "admin 1"),
    ] {
        check(
            &format!("pvd 1 2 explicit no-internet\nsource 2001:db8:a::1/64\nroute {route}"),
            &[("2001:db8:5::1", expected, None)],
        );
    }
}

#[test]
fn views() {
    let world = world(&format!(
        "{TWO_UPLINKS}
         pvd 3 4 admin
         route 2001:db8:5::/48 admin
         pvd 4 5
         source fd00::1/64
         route fd00::/8 via fe80::d
         pvd 5 0 admin
         route 2001:db8:bad::/48 admin kernel
         view 1 2
         view 2 4 | 2 1 | 3
         view 3 3
         view 4
         view 5 9"
    ));
    for (view, destination, expected) in [
        (0, "2001:db8:5::1", "admin 3"),
        // S53, C09: only candidates of the PvD selected (RFC 7556 §5.2.2), and nothing instead.
        (1, "2001:db8:a::99", "2 2001:db8:b::1 via fe80::b"),
        (1, "2001:db8:5::1", "2 2001:db8:b::1 via fe80::b"),
        (1, "2001:db8:a::1", "local"),
        (2, "fd00::99", "4 fd00::1 via fe80::d"),
        // What the administrator refuses is refused in every view that is one.
        (0, "2001:db8:bad::1", "admin 5"),
        (1, "2001:db8:bad::1", "admin 5"),
        (2, "2001:db8:bad::1", "admin 5"),
        (5, "2001:db8:bad::1", "admin 5"),
        (4, "2001:db8:bad::1", "admin 5"),
        (9, "2001:db8:bad::1", "none"),
        // The group in front does not reach it; the one behind has a longer route and is not asked.
        (2, "2001:db8:a:1::99", "1 2001:db8:a::1 via fe80::a"),
        (2, "2001:db8:5::1", "1 2001:db8:a::1 via fe80::a"),
        (3, "2001:db8:5::1", "admin 3"),
        (3, "2001:db8:a::99", "none"),
        (4, "2001:db8:a::99", "none"),
        (5, "2001:db8:a::99", "none"),
        (9, "2001:db8:a::99", "none"),
    ] {
        assert_eq!(short(&answer(&world, view, address(destination))), expected, "{view} {destination}");
    }
    assert_eq!(explain(&world, 2, address("2001:db8:a::99")).group, Some(1));
    assert_eq!(explain(&world, 3, address("2001:db8:a::99")).group, None);
}

/// C03 tentative only, C04 deprecated only, C05 optimistic only (which counts as deprecated).
#[test]
fn states_of_the_only_source() {
    for (state, expected) in [
        (AddressState::Preferred, "1 2001:db8:a::1 via fe80::a"),
        (AddressState::Deprecated, "1 2001:db8:a::1 via fe80::a"),
        (AddressState::Tentative, "none"),
    ] {
        let mut world = world("pvd 1 2\nsource 2001:db8:a::1/64\nroute ::/0 via fe80::a");
        world.pvds[0].sources[0].state = state;
        assert_eq!(short(&answer(&world, 0, address("2001:db8:5::1"))), expected, "{state:?}");
        assert_eq!(short(&answer(&world, 0, address("2001:db8:a::1"))), "local", "{state:?}");
    }
}

#[test]
fn it_holds_as_long_as_route_and_source() {
    for (source, route, expected) in
        [("until 5", "until 7", 5), ("until 9", "until 7", 7), ("", "until 7", 7), ("", "", u64::MAX)]
    {
        let world =
            world(&format!("pvd 1 2\nsource 2001:db8:a::1/64 {source}\nroute ::/0 via fe80::a {route}"));
        assert_eq!(answer(&world, 0, address("2001:db8:5::1")).valid_until.as_nanos(), expected);
    }
}

/// Two gateways announce one prefix: the answer names the PvD that carries the address, unless the gateways differ.
#[test]
fn shared_addresses() {
    for (flags, expected) in [("", "2 2001:db8:a::1 via fe80::b"), ("high", "1 2001:db8:a::1 via fe80::a")] {
        check(
            &format!(
                "pvd 1 2
                 source 2001:db8:a::1/64 shared from fe80::a from fe80::b
                 route ::/0 via fe80::a {flags}
                 pvd 2 2
                 source 2001:db8:a::1/64 from fe80::a from fe80::b
                 route ::/0 via fe80::b"
            ),
            &[(
                "2001:db8:5::1",
                expected,
                Some(if flags.is_empty() { Criterion::TieBreak } else { Criterion::RouterPreference }),
            )],
        );
    }
}

/// The whole ranking, each loser with the criterion that it lost by.
#[test]
fn ranking() {
    let world = world(
        "pvd 1 2
         source 2001:db8:a::1/64
         source 2001:db8:a::2/64 deprecated
         source fd00::1/64
         route ::/0 via fe80::a metric 5
         route 2001:db8::/32 via fe80::c unreachable
         pvd 2 3 admin
         route ::/0 admin metric 6
         route ::/0 admin metric 7",
    );
    let explanation = explain(&world, 0, address("2001:db8:5::1"));
    let found: Vec<(String, Option<Criterion>)> =
        explanation.ranked.iter().map(|ranked| (short(&ranked.candidate.answer()), ranked.lost_by)).collect();
    let expected = [
        ("1 2001:db8:a::1 via fe80::a", None),
        ("admin 2", Some(Criterion::Metric)),
        ("admin 2", Some(Criterion::Metric)),
        ("1 fd00::1 via fe80::a", Some(Criterion::Label)),
        ("1 2001:db8:a::2 via fe80::a", Some(Criterion::Deprecation)),
        ("1 2001:db8:a::1 via fe80::c", Some(Criterion::Reachability)),
        ("1 2001:db8:a::2 via fe80::c", Some(Criterion::Reachability)),
        ("1 fd00::1 via fe80::c", Some(Criterion::Reachability)),
    ];
    assert_eq!(found, expected.map(|(answer, by)| (answer.to_owned(), by)));
}

/// RFC 7078 §3.3: each pair by the table of its PvD.
#[test]
fn policies_of_pvds() {
    // The default table has one label for both sources, so that rule 8 decides; the second network says otherwise.
    let table = |rows: &str| {
        format!(
            "pvd 1 2
             source 2001:db8:a::1/64
             route ::/0 via fe80::a
             pvd 2 3
             source 2001:db8:b::1/64
             {rows}
             route ::/0 via fe80::b"
        )
    };
    let near_the_first = "2001:db8:a:1::1";
    for (rows, expected, by) in [
        ("", "1 2001:db8:a::1 via fe80::a", Criterion::LongestMatch),
        // Source and destinations of it have other labels by its own table.
        ("row 2001:db8:b::/48 50 7\nrow ::/0 40 1", "1 2001:db8:a::1 via fe80::a", Criterion::Label),
        // A table without `::/0` has no label for most.
        ("row 2001:db8:b::/48 50 7", "1 2001:db8:a::1 via fe80::a", Criterion::Label),
    ] {
        check(&table(rows), &[(near_the_first, expected, Some(by))]);
    }
    // The first one is deprecated by label where its network wants it so.
    check(
        "pvd 1 2
         source 2001:db8:a::1/64
         row 2001:db8:a::/48 50 7
         row ::/0 40 1
         route ::/0 via fe80::a
         pvd 2 3
         source 2001:db8:b::1/64
         route ::/0 via fe80::b",
        &[
            (near_the_first, "1 2001:db8:a::1 via fe80::a", Some(Criterion::LongestMatch)),
            ("2001:db8:f::1", "2 2001:db8:b::1 via fe80::b", Some(Criterion::Label)),
        ],
    );
    // D6-7078-2-b: public addresses where the network wants them.
    for (preference, expected) in
        [("", "1 2001:db8:a::9 via fe80::a"), ("public", "1 2001:db8:a::1 via fe80::a")]
    {
        let text = format!(
            "pvd 1 2
             source 2001:db8:a::1/64
             source 2001:db8:a::9/64 temporary
             row ::/0 40 1 {preference}
             route ::/0 via fe80::a"
        );
        check(&text, &[("2001:db8:f::1", expected, Some(Criterion::Temporary))]);
    }
}
