//! How long `compile` and `diff` take for many PvDs: `cargo run --release --example compile_bench [PVDS...]`.
//!
//! Each PvD has two sources and ten routes: its default route, its on-link prefix, and eight of its own.

use std::{
    net::Ipv6Addr,
    time::{Duration, Instant},
};

use ipnet::Ipv6Net;
use mif_core::{
    select::{
        compile, diff,
        world::{AddressState, NextHop, Origin, Pvd, Route, Source, View, World},
    },
    time::{Deadline, Time},
    wire::RouterPreference,
};

/// PvDs where none are asked for: the sizes that later issues name.
const SIZES: [u32; 4] = [10, 100, 1_000, 10_000];

/// Runs of which the fastest counts.
const RUNS: u32 = 5;

fn main() {
    let asked: Vec<u32> = std::env::args()
        .skip(1)
        .map(|size| size.parse().unwrap_or_else(|_| panic!("{size}: expected a number of PvDs")))
        .collect();
    println!(
        "{:>6} {:>10} {:>12} {:>12} {:>12} {:>14}",
        "PvDs", "decisions", "compile", "pinned view", "diff of 1", "changes of 1"
    );
    for pvds in if asked.is_empty() { SIZES.to_vec() } else { asked } {
        let mut world = world(pvds);
        let (before, compiling) = timed(|| compile(&world));
        world.views.push(View { id: 1, groups: vec![vec![pvds / 2 + 1]] });
        let (_, pinned) = timed(|| compile(&world));
        world.views.clear();
        for route in &mut world.pvds[pvds as usize / 2].routes {
            route.valid_until = Deadline::at(Time(1));
        }
        let after = compile(&world);
        let (ops, comparing) = timed(|| diff(&before, &after));
        println!(
            "{pvds:>6} {:>10} {compiling:>12.2?} {pinned:>12.2?} {comparing:>12.2?} {:>14}",
            before.decisions.len(),
            ops.len()
        );
    }
}

/// The result of the work, and the fastest of some runs.
fn timed<T>(work: impl Fn() -> T) -> (T, Duration) {
    let run = || {
        let start = Instant::now();
        (work(), start.elapsed())
    };
    (1..RUNS).fold(run(), |(_, fastest), _| {
        let (result, time) = run();
        (result, fastest.min(time))
    })
}

fn world(pvds: u32) -> World {
    World { pvds: (1..=pvds).map(pvd).collect(), ..World::default() }
}

fn pvd(index: u32) -> Pvd {
    // 2001:db8:IIII:..., the index spread so that neighbours do not share all bits.
    let site = 0x2001_0db8_u128 << 96 | u128::from(index.reverse_bits() >> 12) << 76;
    let router = Ipv6Addr::from_bits(0xfe80 << 112 | u128::from(index));
    let source = |low: u128, temporary| Source {
        address: Ipv6Addr::from_bits(site | low),
        prefix_len: 64,
        state: AddressState::Preferred,
        temporary,
        secondary: false,
        valid_until: Deadline::NEVER,
        carried: true,
        several_interfaces: false,
        advertisers: vec![router],
    };
    let route = |prefix, next_hop| Route {
        prefix,
        next_hop,
        preference: RouterPreference::Medium,
        metric: 0,
        reachable: true,
        origin: Origin::Network,
        kernel_decides: false,
        preferred_source: None,
        valid_until: Deadline::NEVER,
    };
    let net = |bits, len| Ipv6Net::new_assert(Ipv6Addr::from_bits(bits), len).trunc();
    let own = (1..9).map(|place| {
        let bits = 0x2400_u128 << 112 | u128::from(index) << 80 | place << 72;
        route(net(bits, 56), NextHop::Router(router))
    });
    Pvd {
        index,
        ifindex: index,
        origin: Origin::Network,
        explicit: true,
        no_internet: false,
        sources: vec![source(1, false), source(2, true)],
        routes: [route(net(0, 0), NextHop::Router(router)), route(net(site, 64), NextHop::OnLink)]
            .into_iter()
            .chain(own)
            .collect(),
        valid_until: Deadline::NEVER,
    }
}
