//! Random worlds, and the destinations at which their tables could be wrong.

use std::{collections::BTreeSet, net::Ipv6Addr};

use ipnet::Ipv6Net;
use proptest::{collection::vec, prelude::*, sample::select};

use crate::{
    family::IPV4,
    select::{
        policy_table::{
            PolicyTable, Row, SCOPE_BOUNDARIES,
            in_force::{Policy, PolicyOrigin},
        },
        prefix::{Prefix, common_bits},
        rfc6724::Privacy,
        tables::Tables,
        world::{AddressState, NextHop, Origin, Pvd, Route, Source, View, World},
    },
    time::{Deadline, Time},
    wire::RouterPreference,
};

/// Addresses of every label and scope, some of them close to each other.
const BASES: [&str; 17] = [
    "2001:db8:1:1::",
    "2001:db8:1:8000::",
    "2001:db8:a::",
    "2001:db8:8000::",
    "2001:0:53aa:64c::",
    "2002:c633:6401::",
    "fd11:1111:1111:1::",
    "fc00::",
    "fec0::",
    "3ffe::",
    "64:ff9b::",
    "::c000:201",
    "a000::",
    "fe80::",
    "::ffff:192.0.2.0",
    "::ffff:192.0.2.128",
    "::ffff:10.0.0.0",
];

/// Lengths at which something begins or ends.
const LENGTHS: [u8; 22] =
    [0, 1, 3, 7, 8, 10, 16, 32, 33, 47, 48, 49, 63, 64, 65, 95, 96, 97, 120, 126, 127, 128];

/// An address near one of a few bases, so that prefixes nest and sources share many bits.
pub fn address() -> impl Strategy<Value = Ipv6Addr> {
    (select(&BASES[..]), vec(0..128u32, 0..3), 0..4u128).prop_map(|(base, flips, low)| {
        let base: Ipv6Addr = base.parse().expect("a literal");
        Ipv6Addr::from_bits(flips.iter().fold(base.to_bits() | low, |bits, flip| bits ^ (1 << flip)))
    })
}

fn length() -> impl Strategy<Value = u8> {
    prop_oneof![4 => select(&LENGTHS[..]), 1 => 0..=128u8]
}

fn deadline() -> impl Strategy<Value = Deadline> {
    prop_oneof![Just(Deadline::NEVER), (1..4u64).prop_map(|at| Deadline::at(Time(at)))]
}

fn router() -> impl Strategy<Value = Ipv6Addr> {
    (1..4u16).prop_map(|last| Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, last))
}

fn source() -> impl Strategy<Value = Source> {
    let state = prop_oneof![
        4 => Just(AddressState::Preferred),
        1 => Just(AddressState::Deprecated),
        1 => Just(AddressState::Tentative),
    ];
    let kinds = (any::<bool>(), prop::bool::weighted(0.2));
    (address(), length(), state, kinds, deadline(), any::<bool>(), vec(router(), 0..3)).prop_map(
        |(address, prefix_len, state, (temporary, secondary), valid_until, carried, advertisers)| Source {
            address,
            prefix_len,
            state,
            temporary,
            secondary,
            valid_until,
            carried,
            several_interfaces: false,
            advertisers,
        },
    )
}

fn origin() -> impl Strategy<Value = Origin> {
    prop_oneof![3 => Just(Origin::Network), 1 => Just(Origin::Administrator)]
}

fn route() -> impl Strategy<Value = Route> {
    let prefix = prop_oneof![
        1 => Just(Ipv6Net::default()),
        1 => Just(IPV4),
        3 => (address(), length()).prop_map(|(address, len)| Ipv6Net::new_assert(address, len)),
    ];
    let next_hop = prop_oneof![1 => Just(NextHop::OnLink), 2 => router().prop_map(NextHop::Router)];
    let preference = select(&[RouterPreference::Low, RouterPreference::Medium, RouterPreference::High][..]);
    let kernel = prop::bool::weighted(0.1);
    (prefix, next_hop, preference, 0..3u32, prop::bool::weighted(0.75), origin(), kernel, deadline())
        .prop_map(|(prefix, next_hop, preference, metric, reachable, origin, kernel_decides, valid_until)| {
            Route {
                prefix,
                next_hop,
                preference,
                metric,
                reachable,
                origin,
                kernel_decides,
                preferred_source: None,
                valid_until,
            }
        })
}

/// Rows of its own, few labels, so that they match, with the default ones or without.
fn policy() -> impl Strategy<Value = Policy> {
    let row = (address(), length(), any::<u8>(), 0..3u8).prop_map(|(address, len, precedence, label)| Row {
        prefix: Prefix::new(address, len),
        precedence,
        label,
    });
    (vec(row, 1..4), any::<bool>(), any::<bool>()).prop_map(|(rows, with_default, public)| Policy {
        origin: PolicyOrigin::Network,
        table: match with_default {
            true => PolicyTable::new(PolicyTable::rfc6724().rows().iter().copied().chain(rows)),
            false => PolicyTable::new(rows),
        },
        privacy: if public { Privacy::Public } else { Privacy::Temporary },
    })
}

fn pvd() -> impl Strategy<Value = Pvd> {
    let no_internet = prop::bool::weighted(0.2);
    let named = vec(prop::option::weighted(0.2, 0..5usize), 6);
    (
        0..4u32,
        origin(),
        any::<bool>(),
        no_internet,
        vec(source(), 0..4),
        (vec(route(), 0..6), named),
        (deadline(), prop::option::weighted(0.3, policy().prop_map(Box::new))),
    )
        .prop_map(
            |(
                ifindex,
                origin,
                explicit,
                no_internet,
                mut sources,
                (mut routes, named),
                (valid_until, policy),
            )| {
                // A PvD has an address once.
                let mut seen = BTreeSet::new();
                sources.retain(|source| seen.insert(source.address));
                // Some routes name a source, some of those one that the PvD does not have.
                for (route, named) in routes.iter_mut().zip(named) {
                    route.preferred_source = named
                        .map(|place| sources.get(place).map_or(Ipv6Addr::LOCALHOST, |source| source.address));
                }
                Pvd { index: 0, ifindex, origin, explicit, no_internet, sources, routes, policy, valid_until }
            },
        )
}

/// A world of up to `most` PvDs, some of them twins but for their index, and up to three views, which may name a PvD
/// that does not exist.
pub fn world(most: usize) -> impl Strategy<Value = World> {
    let groups = vec(vec(1..=u32::try_from(most).expect("few") + 1, 0..4), 0..4);
    let twins = vec(prop::bool::weighted(0.1), most);
    (vec(pvd(), 0..=most), twins, vec(address(), 0..3), vec(groups, 0..4)).prop_map(
        |(mut pvds, twins, local_addresses, views)| {
            for place in (1..pvds.len()).filter(|place| twins[*place]) {
                pvds[place] = pvds[place - 1].clone();
            }
            for (index, pvd) in (1..).zip(&mut pvds) {
                pvd.index = index;
            }
            let views = (1..).zip(views).map(|(id, groups)| View { id, groups }).collect();
            World { pvds, local_addresses, stranded: Vec::new(), views }
        },
    )
}

/// The world with everything in another order, by a seed; what is in an order on purpose - groups - keeps it.
pub fn shuffled(world: &World, seed: u64) -> World {
    let mut world = world.clone();
    let mut state = seed | 1;
    // Vigna's xorshift64*: any permutation will do.
    let mut random = move || {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        state.wrapping_mul(0x2545_f491_4f6c_dd1d)
    };
    shuffle(&mut world.pvds, &mut random);
    shuffle(&mut world.local_addresses, &mut random);
    shuffle(&mut world.views, &mut random);
    for pvd in &mut world.pvds {
        shuffle(&mut pvd.sources, &mut random);
        shuffle(&mut pvd.routes, &mut random);
        for source in &mut pvd.sources {
            shuffle(&mut source.advertisers, &mut random);
        }
    }
    for group in world.views.iter_mut().flat_map(|view| &mut view.groups) {
        shuffle(group, &mut random);
    }
    world
}

fn shuffle<T>(list: &mut [T], random: &mut impl FnMut() -> u64) {
    for end in (1..list.len()).rev() {
        list.swap(end, usize::try_from(random() >> 32).expect("32 bits") % (end + 1));
    }
}

/// The first and the last address of every prefix that could matter or that the tables have, their neighbours
/// outside, and addresses that leave a source's at the bits where another source or its own prefix ends.
pub fn boundary_destinations(world: &World, tables: &Tables) -> BTreeSet<Ipv6Addr> {
    let routes = world.pvds.iter().flat_map(|pvd| &pvd.routes).map(|route| Prefix::from(route.prefix));
    let sources: Vec<&Source> = world.pvds.iter().flat_map(|pvd| &pvd.sources).collect();
    let counted = sources.iter().map(|source| Prefix::new(source.address, source.prefix_len));
    let whole = sources.iter().map(|source| Prefix::host(source.address));
    let locals = world.local_addresses.iter().map(|address| Prefix::host(*address));
    let policies = world.pvds.iter().map(Pvd::policy_table).chain([PolicyTable::rfc6724()]);
    let rows = policies.flat_map(|table| table.rows()).map(|row| row.prefix);
    let scopes = SCOPE_BOUNDARIES.iter().map(|(prefix, _)| *prefix);
    let stored = tables.decisions.keys().map(|(_, prefix)| Prefix::from(*prefix));
    let mut found = BTreeSet::new();
    for prefix in routes.chain(counted).chain(whole).chain(locals).chain(rows).chain(scopes).chain(stored) {
        let first = prefix.bits();
        let last = first | u128::MAX.checked_shr(prefix.len().into()).unwrap_or(0);
        let at = [first.wrapping_sub(1), first, first | ((last ^ first) / 3), last, last.wrapping_add(1)];
        found.extend(at.map(Ipv6Addr::from_bits));
    }
    for source in &sources {
        let bits = source.address.to_bits();
        let ends = sources.iter().flat_map(|other| {
            [common_bits(bits, other.address.to_bits()), source.prefix_len, other.prefix_len]
        });
        for end in ends {
            for bit in end.saturating_sub(1)..(end + 2).min(128) {
                found.insert(Ipv6Addr::from_bits(bits ^ (1 << (127 - bit))));
            }
        }
    }
    found
}
