//! Who is there: PvDs by number, their prefixes and routes, as selection sees them and as lines for `ip`.
//!
//! PvD 0 is the one that serves the destination of all traffic, PvD 1 the other one that exists as an interface. The rest is
//! only in tables, which is where their number could cost. Each has both families; addresses are in the one form of
//! [`mif_core::family`].

use std::{
    fmt,
    fmt::Write as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnet::{Ipv4Net, Ipv6Net};
use mif_core::{
    family::{Family, mapped, mapped_net, shown, shown_net},
    select::world::{AddressState, NextHop, Origin, Pvd, Route, Source, World},
    time::Deadline,
    wire::RouterPreference,
};

use crate::{figure::thousands, lab::UPLINKS};

/// The first priority of the rules of the peers, and the first number of their tables: all below the main table's.
const FIRST: u32 = 1000;

/// Where the addresses of PvDs begin in IPv4: 198.18.0.0/15 is for benchmarks (RFC 2544, appendix C.2.2).
const SUBNETS: u32 = Ipv4Addr::new(198, 18, 0, 0).to_bits();
/// Addresses of the subnet of a PvD, a /29; the first one is the router's, the second one the host's.
const SUBNET: u32 = 8;
/// Where the destinations of the more specific routes begin in IPv4: 100.64.0.0/10 is nobody's (RFC 6598).
const ROUTES: u32 = Ipv4Addr::new(100, 64, 0, 0).to_bits();
/// Addresses of such a route, a /28.
const ROUTE: u32 = 16;

/// How many there are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Population {
    /// PvDs, each with an address, its prefix and a default route in each family.
    pub pvds: u32,
    /// More specific routes of each family, dealt out to the PvDs in turn.
    pub routes: u32,
}

/// What people call a family.
pub fn name(family: Family) -> &'static str {
    match family {
        Family::Ipv4 => "IPv4",
        Family::Ipv6 => "IPv6",
    }
}

/// Where all traffic goes: inside of route 0, which is PvD 0's.
pub fn destination(family: Family) -> IpAddr {
    shown(Ipv6Addr::from_bits(route(family, 0).network().to_bits() | 1))
}

/// The address of a PvD: `2001:db8:HIGH:LOW::1`, or the second one of its subnet.
pub fn source(family: Family, pvd: u32) -> Ipv6Addr {
    match family {
        Family::Ipv6 => Ipv6Addr::from_bits(prefix(family, pvd).network().to_bits() | 1),
        Family::Ipv4 => subnet_address(pvd, 2),
    }
}

/// The prefix of a PvD's address.
pub fn prefix(family: Family, pvd: u32) -> Ipv6Net {
    match family {
        Family::Ipv6 => {
            let [high, low] = halves(pvd);
            Ipv6Net::new_assert(Ipv6Addr::new(0x2001, 0xdb8, high, low, 0, 0, 0, 0), 64)
        }
        Family::Ipv4 => {
            mapped_net(Ipv4Net::new_assert(Ipv4Addr::from_bits(SUBNETS + SUBNET * pvd), 29).into())
        }
    }
}

/// The router of a PvD.
pub fn router(family: Family, pvd: u32) -> Ipv6Addr {
    match family {
        Family::Ipv6 => Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1),
        Family::Ipv4 => subnet_address(pvd, 1),
    }
}

/// A more specific route, `2400:HIGH:LOW::/48` or a /28.
pub fn route(family: Family, number: u32) -> Ipv6Net {
    match family {
        Family::Ipv6 => {
            let [high, low] = halves(number);
            Ipv6Net::new_assert(Ipv6Addr::new(0x2400, high, low, 0, 0, 0, 0, 0), 48)
        }
        Family::Ipv4 => {
            mapped_net(Ipv4Net::new_assert(Ipv4Addr::from_bits(ROUTES + ROUTE * number), 28).into())
        }
    }
}

fn subnet_address(pvd: u32, place: u32) -> Ipv6Addr {
    mapped(Ipv4Addr::from_bits(SUBNETS + SUBNET * pvd + place).into())
}

fn halves(number: u32) -> [u16; 2] {
    [(number >> 16) as u16, number as u16]
}

impl Population {
    /// As selection sees it, with the interfaces of the two uplinks.
    pub fn world(self, ifindices: [u32; 2]) -> World {
        let mut pvds: Vec<Pvd> = (0..self.pvds).map(|number| pvd(number, ifindices)).collect();
        for family in Family::ALL {
            for number in 0..self.routes {
                let pvd = number % self.pvds;
                pvds[pvd as usize].routes.push(to_router(family, pvd, route(family, number), 0));
            }
        }
        let local = Family::ALL.into_iter().flat_map(|family| (0..2).map(move |pvd| source(family, pvd)));
        World { pvds, local_addresses: local.collect(), stranded: Vec::new(), views: Vec::new() }
    }

    /// Lines for `ip -batch`: a rule and a table for each PvD.
    pub fn rules(self, family: Family) -> String {
        let mut lines = String::new();
        for number in 0..self.pvds {
            let (table, place, from) =
                (FIRST + number, FIRST + self.place(number), shown_net(prefix(family, number)));
            put(&mut lines, format_args!("rule add priority {place} from {from} table {table}"));
            put(&mut lines, format_args!("route add default {} table {table}", via(family, number)));
        }
        for number in 0..self.routes {
            let (pvd, to) = (number % self.pvds, shown_net(route(family, number)));
            put(&mut lines, format_args!("route add {to} {} table {}", via(family, pvd), FIRST + pvd));
        }
        lines
    }

    /// Lines for `ip -6 -batch`: source-specific routes, in place of the plain default routes. IPv4 has none.
    pub fn source_routes(self) -> String {
        let family = Family::Ipv6;
        let mut lines = String::from("route flush root default\n");
        for number in 0..self.pvds {
            let from = prefix(family, number);
            put(&mut lines, format_args!("route add default from {from} {}", via(family, number)));
        }
        for number in 0..self.routes {
            let (pvd, to) = (number % self.pvds, route(family, number));
            let from = prefix(family, pvd);
            put(&mut lines, format_args!("route add {to} from {from} {}", via(family, pvd)));
        }
        lines
    }

    /// The place of a PvD's rule in the list: that of PvD 0, which is in use, is in the middle, where it is on average.
    fn place(self, pvd: u32) -> u32 {
        (pvd + self.pvds / 2) % self.pvds
    }
}

impl fmt::Display for Population {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} PvDs, {} routes", thousands(self.pvds), thousands(self.routes))
    }
}

fn put(lines: &mut String, line: fmt::Arguments<'_>) {
    writeln!(lines, "{line}").expect("a string takes all");
}

/// The way of a PvD: those without an interface of their own share that of PvD 1.
fn via(family: Family, pvd: u32) -> String {
    let place = pvd.min(1);
    format!("via {} dev {}", shown(router(family, place)), UPLINKS[place as usize])
}

fn pvd(number: u32, ifindices: [u32; 2]) -> Pvd {
    /// Beyond all interfaces that exist.
    const NOWHERE: u32 = 1 << 20;
    let ifindex = ifindices.get(number as usize).copied().unwrap_or(NOWHERE + number);
    let source = |family| Source {
        address: source(family, number),
        prefix_len: prefix(family, number).prefix_len(),
        state: AddressState::Preferred,
        temporary: false,
        secondary: false,
        several_interfaces: false,
        valid_until: Deadline::NEVER,
        carried: true,
        advertisers: vec![router(family, number)],
    };
    let routes = |family: Family| {
        let default = to_router(family, number, family.default_route(), 1024 + number);
        let on_link = to_router(family, number, prefix(family, number), 256);
        [default, Route { next_hop: NextHop::OnLink, ..on_link }]
    };
    Pvd {
        index: number + 1,
        ifindex,
        origin: Origin::Network,
        explicit: false,
        no_internet: false,
        policy: None,
        sources: Family::ALL.map(source).into(),
        routes: Family::ALL.into_iter().flat_map(routes).collect(),
        valid_until: Deadline::NEVER,
    }
}

fn to_router(family: Family, pvd: u32, prefix: Ipv6Net, metric: u32) -> Route {
    Route {
        prefix,
        next_hop: NextHop::Router(router(family, pvd)),
        preference: RouterPreference::Medium,
        metric,
        reachable: true,
        origin: Origin::Network,
        kernel_decides: false,
        preferred_source: None,
        valid_until: Deadline::NEVER,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use mif_core::select::compile;

    use super::*;

    #[test]
    fn the_destination_is_pvd_0s() {
        for (pvds, routes) in [(2, 10), (100, 10), (7, 1000)] {
            let tables = compile(&Population { pvds, routes }.world([5, 6]));
            assert_eq!(tables.sources.len(), 2 * pvds as usize);
            for family in Family::ALL {
                let (_, decision) = tables.lookup(0, mapped(destination(family))).unwrap();
                let chosen = (decision.pvd, decision.ifindex, Ipv6Addr::from(decision.source));
                assert_eq!(chosen, (1, 5, source(family, 0)));
            }
        }
    }

    #[test]
    fn each_pvd_has_a_rule_of_its_own_and_pvd_0_the_middle_one() {
        let population = Population { pvds: 9, routes: 1 };
        let places: BTreeSet<u32> = (0..9).map(|pvd| population.place(pvd)).collect();
        assert_eq!(places, (0..9).collect());
        assert_eq!(population.place(0), 4);
        let lines = population.rules(Family::Ipv4);
        assert_eq!(lines.lines().count(), 19);
        assert!(lines.starts_with("rule add priority 1004 from 198.18.0.0/29 table 1000\n"), "{lines}");
        assert!(lines.ends_with("route add 100.64.0.0/28 via 198.18.0.1 dev up0 table 1000\n"), "{lines}");
    }
}
