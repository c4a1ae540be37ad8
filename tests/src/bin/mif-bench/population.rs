//! Who is there: PvDs by number, their prefixes and routes, as selection sees them and as lines for `ip`.
//!
//! PvD 0 is the one that serves the destination of all traffic, PvD 1 the other one that exists as an interface. The rest is
//! only in tables, which is where their number could cost.

use std::{
    fmt::Write as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnet::Ipv6Net;
use mif_core::{
    select::world::{AddressState, NextHop, Origin, Pvd, Route, Source, World},
    time::Deadline,
    wire::RouterPreference,
};

use crate::lab::UPLINKS;

/// The router of every PvD.
pub const ROUTER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);

/// The first priority of the rules of the peers, and the first number of their tables: all below the main table's.
const FIRST: u32 = 1000;

/// How many there are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Population {
    /// PvDs, each with an address, its prefix and a default route.
    pub pvds: u32,
    /// More specific routes, dealt out to the PvDs in turn.
    pub routes: u32,
}

/// Where all traffic goes: inside of route 0, which is PvD 0's.
pub fn destination(v6: bool) -> IpAddr {
    if v6 {
        Ipv6Addr::from_bits(route(0).network().to_bits() | 1).into()
    } else {
        Ipv4Addr::new(100, 64, 0, 1).into()
    }
}

/// The address of a PvD, `2001:db8:HIGH:LOW::1`.
pub fn source(pvd: u32) -> Ipv6Addr {
    let [high, low] = halves(pvd);
    Ipv6Addr::new(0x2001, 0xdb8, high, low, 0, 0, 0, 1)
}

/// The prefix of a PvD's address.
pub fn prefix(pvd: u32) -> Ipv6Net {
    Ipv6Net::new_assert(source(pvd), 64).trunc()
}

/// A more specific route, `2400:HIGH:LOW::/48`.
pub fn route(number: u32) -> Ipv6Net {
    let [high, low] = halves(number);
    Ipv6Net::new_assert(Ipv6Addr::new(0x2400, high, low, 0, 0, 0, 0, 0), 48)
}

fn halves(number: u32) -> [u16; 2] {
    [(number >> 16) as u16, number as u16]
}

impl Population {
    /// As selection sees it, with the interfaces of the two uplinks.
    pub fn world(self, ifindices: [u32; 2]) -> World {
        let mut pvds: Vec<Pvd> = (0..self.pvds).map(|number| pvd(number, ifindices)).collect();
        for number in 0..self.routes {
            let pvd = number % self.pvds;
            pvds[pvd as usize].routes.push(to_router(route(number), 0));
        }
        World { pvds, local_addresses: (0..2).map(source).collect(), views: Vec::new() }
    }

    /// Lines for `ip -6 -batch`: a rule and a table for each PvD.
    pub fn rules(self) -> String {
        let mut lines = String::new();
        for number in 0..self.pvds {
            let (table, place) = (FIRST + number, FIRST + self.place(number));
            line(&mut lines, &format!("rule add priority {place} from {} table {table}", prefix(number)));
            line(&mut lines, &format!("route add default {} table {table}", via(number)));
        }
        for number in 0..self.routes {
            let pvd = number % self.pvds;
            line(&mut lines, &format!("route add {} {} table {}", route(number), via(pvd), FIRST + pvd));
        }
        lines
    }

    /// Lines for `ip -6 -batch`: source-specific routes, in place of the plain default routes.
    pub fn source_routes(self) -> String {
        let mut lines = String::from("route flush root default\n");
        for number in 0..self.pvds {
            line(&mut lines, &format!("route add default from {} {}", prefix(number), via(number)));
        }
        for number in 0..self.routes {
            let pvd = number % self.pvds;
            line(&mut lines, &format!("route add {} from {} {}", route(number), prefix(pvd), via(pvd)));
        }
        lines
    }

    /// The place of a PvD's rule in the list: that of PvD 0, which is in use, is in the middle, where it is on average.
    fn place(self, pvd: u32) -> u32 {
        (pvd + self.pvds / 2) % self.pvds
    }
}

fn line(lines: &mut String, text: &str) {
    writeln!(lines, "{text}").expect("a string takes all");
}

/// The way of a PvD: those without an interface of their own share that of PvD 1.
fn via(pvd: u32) -> String {
    format!("via {ROUTER} dev {}", UPLINKS[pvd.min(1) as usize])
}

fn pvd(number: u32, ifindices: [u32; 2]) -> Pvd {
    /// Beyond all interfaces that exist.
    const NOWHERE: u32 = 1 << 20;
    let ifindex = ifindices.get(number as usize).copied().unwrap_or(NOWHERE + number);
    let on_link = Route { next_hop: NextHop::OnLink, ..to_router(prefix(number), 256) };
    Pvd {
        index: number + 1,
        ifindex,
        origin: Origin::Network,
        explicit: false,
        no_internet: false,
        sources: vec![Source {
            address: source(number),
            prefix_len: 64,
            state: AddressState::Preferred,
            temporary: false,
            valid_until: Deadline::NEVER,
            carried: true,
            advertisers: vec![ROUTER],
        }],
        routes: vec![to_router(Ipv6Net::default(), 1024 + number), on_link],
        valid_until: Deadline::NEVER,
    }
}

fn to_router(prefix: Ipv6Net, metric: u32) -> Route {
    Route {
        prefix,
        next_hop: NextHop::Router(ROUTER),
        preference: RouterPreference::Medium,
        metric,
        reachable: true,
        origin: Origin::Network,
        kernel_decides: false,
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
            let IpAddr::V6(destination) = destination(true) else { panic!("an IPv6 address") };
            let (_, decision) = tables.lookup(0, destination).unwrap();
            assert_eq!((decision.pvd, decision.ifindex, Ipv6Addr::from(decision.source)), (1, 5, source(0)));
            assert_eq!(tables.sources.len(), pvds as usize);
        }
    }

    #[test]
    fn each_pvd_has_a_rule_of_its_own_and_pvd_0_the_middle_one() {
        let population = Population { pvds: 9, routes: 0 };
        let places: BTreeSet<u32> = (0..9).map(|pvd| population.place(pvd)).collect();
        assert_eq!(places, (0..9).collect());
        assert_eq!(population.place(0), 4);
        assert_eq!(population.rules().lines().count(), 18);
    }
}
