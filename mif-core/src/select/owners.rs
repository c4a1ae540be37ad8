//! The tables SOURCE, PVD and VIEW: who carries an address and where its packets go, which PvDs there are, and which
//! of them a view has.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap, HashSet},
    net::Ipv6Addr,
};

use mif_common::abi::{self, DEFAULT_VIEW, Member, PvdIndex, pvd_flags, source_flags};

use super::{
    candidate::usable,
    prefix::Prefix,
    world::{NextHop, Origin, Pvd, Route, Source, World},
};
use crate::family::{Family, is_default_route};

/// SOURCE. Should two PvDs carry one address, against the contract, the smaller interface and index holds.
pub(super) fn sources(world: &World) -> BTreeMap<Ipv6Addr, abi::Source> {
    let mut pvds: Vec<&Pvd> = world.pvds.iter().collect();
    pvds.sort_unstable_by_key(|pvd| (pvd.ifindex, pvd.index));
    let shared_links = shared_links(world);
    let mut owners: HashMap<Ipv6Addr, u32> = HashMap::new();
    for source in world.pvds.iter().flat_map(|pvd| &pvd.sources).filter(|source| usable(source)) {
        *owners.entry(source.address).or_default() += 1;
    }
    let mut sources = BTreeMap::new();
    for pvd in pvds {
        let mut carried: Vec<&Source> =
            pvd.sources.iter().filter(|source| source.carried && usable(source)).collect();
        carried.sort_by_key(|source| Reverse(source.valid_until));
        for source in carried {
            sources.entry(source.address).or_insert_with(|| {
                let next_hop = next_hop(pvd, source);
                // Of an address that no advertisement accounts for (yet) nobody knows whose it is: the kernel's choice of
                // a router is as good as ours, unless a policy says which.
                let known = !next_hop.is_unspecified() && !source.advertisers.is_empty();
                let family = Family::of(source.address);
                let shared_link = shared_links.contains(&(pvd.ifindex, family));
                let flags = [
                    (source_flags::NEXT_HOP, known && shared_link),
                    (source_flags::SHARED_LINK, shared_link),
                    (source_flags::LEADS_ON, leads_on(pvd, family)),
                    (source_flags::SHARED, owners.get(&source.address).is_some_and(|owners| *owners > 1)),
                    (source_flags::SEVERAL_INTERFACES, source.several_interfaces),
                ];
                abi::Source {
                    valid_until: source.valid_until.as_nanos(),
                    next_hop: next_hop.into(),
                    ifindex: pvd.ifindex,
                    pvd: pvd.index,
                    on_link_bits: on_link_bits(pvd, source),
                    flags: flags.iter().filter(|(_, holds)| *holds).map(|(flag, _)| flag).sum(),
                }
            });
        }
    }
    for (address, ifindex) in &world.stranded {
        sources.entry(*address).or_insert_with(|| abi::Source {
            valid_until: abi::FOREVER,
            ifindex: *ifindex,
            flags: source_flags::STRANDED,
            ..abi::Source::default()
        });
    }
    sources
}

/// The interfaces with more than one router: the kernel's routes know only one of them for each destination, and it may
/// be another provider's.
fn shared_links(world: &World) -> HashSet<(u32, Family)> {
    // Of each link and family one router: a second one is all there is to know.
    let mut routers: HashMap<(u32, Family), Ipv6Addr> = HashMap::new();
    let mut shared = HashSet::new();
    for pvd in &world.pvds {
        // Routes by one router stand together: nearly all say what the one before said.
        let mut before = None;
        for route in pvd.routes.iter().filter(|route| !route.kernel_decides) {
            let NextHop::Router(router) = route.next_hop else { continue };
            let link = (pvd.ifindex, Family::of_net(route.prefix));
            if before.replace((link, router)) != Some((link, router))
                && *routers.entry(link).or_insert(router) != router
            {
                shared.insert(link);
            }
        }
    }
    shared
}

/// The router for packets of a source: that of the PvD's best default route, else of its best route with a router.
/// Routers that advertised the source's prefix are better than others whatever their preference (RFC 8028 §3.2),
/// unless they do not answer. A gateway of another IPv4 subnet is nothing to fall back to: that two are on one interface does not
/// make them of one provider, as announcing one PvD does. `::` where there is none, or where the default route needs none, as a tunnel's.
///
/// A PvD without Internet does not offer its default route for selection, but what has its source already belongs to
/// its router all the same.
fn next_hop(pvd: &Pvd, source: &Source) -> Ipv6Addr {
    let family = Family::of(source.address);
    let rank = |route: &&Route| {
        let advertised = match route.next_hop {
            NextHop::OnLink => false,
            NextHop::Router(router) => source.advertisers.contains(&router),
        };
        (
            Reverse(is_default_route(route.prefix)),
            Reverse(family == Family::Ipv4 && advertised),
            Reverse(route.reachable),
            Reverse(advertised),
            route.metric,
            Reverse(route.preference),
            route.prefix.prefix_len(),
            route.next_hop,
        )
    };
    let best = routes_beyond(pvd, family).min_by_key(rank);
    match best.map(|route| route.next_hop) {
        Some(NextHop::Router(router)) => router,
        Some(NextHop::OnLink) | None => Ipv6Addr::UNSPECIFIED,
    }
}

/// Whether the PvD reaches anything of a family beyond its link.
pub(crate) fn leads_on(pvd: &Pvd, family: Family) -> bool {
    routes_beyond(pvd, family).next().is_some()
}

/// The routes of a family that lead beyond the link, by a router or, as a tunnel's default route, without one.
fn routes_beyond(pvd: &Pvd, family: Family) -> impl Iterator<Item = &Route> {
    pvd.routes.iter().filter(move |route| {
        Family::of_net(route.prefix) == family
            && !route.kernel_decides
            && (is_default_route(route.prefix) || matches!(route.next_hop, NextHop::Router(_)))
    })
}

/// The length of the longest on-link prefix of the PvD that the source is in, 0 for none.
fn on_link_bits(pvd: &Pvd, source: &Source) -> u32 {
    let address = Prefix::host(source.address);
    pvd.routes
        .iter()
        .filter(|route| route.next_hop == NextHop::OnLink && !route.kernel_decides)
        // A tunnel's default route: what it leads to is no neighbour.
        .filter(|route| !is_default_route(route.prefix))
        .map(|route| Prefix::from(route.prefix))
        .filter(|prefix| prefix.covers(address))
        .map(|prefix| u32::from(prefix.len()))
        .max()
        .unwrap_or(0)
}

/// PVD
pub(super) fn pvds(world: &World) -> BTreeMap<PvdIndex, abi::Pvd> {
    let element = |pvd: &Pvd| {
        let mut flags = pvd_flags::PRESENT;
        if pvd.explicit {
            flags |= pvd_flags::EXPLICIT;
        }
        if pvd.origin == Origin::Administrator {
            flags |= pvd_flags::ADMINISTRATOR;
        }
        (pvd.index, abi::Pvd { valid_until: pvd.valid_until.as_nanos(), ifindex: pvd.ifindex, flags })
    };
    world.pvds.iter().map(element).collect()
}

/// VIEW: the PvDs that exist and their interfaces, each with the place of the first group that has it. The default view
/// has all and is not listed.
pub(super) fn members(world: &World) -> BTreeMap<(u32, PvdIndex), u32> {
    let present: BTreeMap<PvdIndex, &Pvd> = world.pvds.iter().map(|pvd| (pvd.index, pvd)).collect();
    let mut members = BTreeMap::new();
    for view in world.views.iter().filter(|view| view.id != DEFAULT_VIEW) {
        for (place, group) in (0..).zip(&view.groups) {
            for pvd in group.iter().filter_map(|index| present.get(index)) {
                let interface = Member::interface(view.id, pvd.ifindex);
                for member in [pvd.index, interface.pvd] {
                    members.entry((view.id, member)).or_insert(place);
                }
            }
        }
    }
    members
}

#[cfg(test)]
mod tests;
