//! Hosts with random addresses and routes, from a seed: the same seed gives the same host.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use anyhow::Result;

use crate::{
    events::until_ready,
    netns::{End, Namespace, veth},
    tap::Tap,
};

/// Vigna's xorshift64*: any sequence will do that is the same everywhere.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// From a seed.
    pub fn new(seed: u64) -> Self {
        // Neighbouring seeds shall not begin alike; the state must not be 0.
        Self(seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `end`, which is not 0.
    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.number() >> 33).unwrap_or(0) % end
    }

    /// True in one of `of` cases.
    pub fn one_in(&mut self, of: usize) -> bool {
        self.below(of) == 0
    }

    /// One of these, which are not none.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

/// Destinations' prefixes, some inside others, some of several interfaces.
const PREFIXES: [&str; 10] = [
    "2001:db8:1::/48",
    "2001:db8:1:1::/64",
    "2001:db8:2::/48",
    "2001:db8::/32",
    "2001:db8:7000::/36",
    "fd00:1::/32",
    "fd00:2:1::/48",
    "2002:c000:200::/40",
    "64:ff9b::/96",
    "2000::/3",
];
const PREFIXES_IPV4: [&str; 6] =
    ["198.18.0.0/15", "198.18.1.0/24", "10.0.0.0/8", "10.1.0.0/16", "203.0.113.0/24", "0.0.0.0/1"];
const PROTOCOLS: [&str; 3] = ["static", "boot", "dhcp"];
const METRICS: [u32; 6] = [20, 50, 100, 200, 600, 1024];

/// A host, and the network that its interfaces lead to. Nobody answers there.
#[derive(Debug)]
pub struct RandomHost {
    /// The host.
    pub host: Namespace,
    /// The names of its interfaces.
    pub interfaces: Vec<String>,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// What comes out of each interface.
    pub taps: Vec<Tap>,
    /// How it was made.
    pub lines: String,
    _network: Namespace,
}

/// The lines of `ip -6` and `ip -4` to be.
#[derive(Debug, Default)]
struct Plan {
    ipv6: String,
    ipv4: String,
    addresses: Vec<IpAddr>,
    /// Prefix and metric of the routes so far: two of both would be one route with two next hops.
    taken: BTreeSet<(String, u32)>,
}

impl RandomHost {
    /// Makes one.
    ///
    /// # Errors
    /// The kernel refused a step.
    pub fn new(random: &mut Random) -> Result<Self> {
        let (host, network) = (Namespace::new("random")?, Namespace::new("network")?);
        network.sysctl("net/ipv6/conf/default/disable_ipv6", 1)?;
        let interfaces: Vec<String> = (0..2 + random.below(3)).map(|number| format!("e{number}")).collect();
        let mut taps = Vec::new();
        for (interface, number) in interfaces.iter().zip((0x700u16..).step_by(2)) {
            let end = |namespace, number| End { namespace, interface, number };
            veth(end(&host, number), end(&network, number + 1))?;
            network.ip(&format!("link set {interface} up"))?;
            host.ip(&format!("link set {interface} up"))?;
            taps.push(Tap::new(&network, interface)?);
        }
        let names: Vec<&str> = interfaces.iter().map(String::as_str).collect();
        until_ready(&host, &names)?;
        let mut plan = Plan::default();
        for (number, interface) in interfaces.iter().enumerate() {
            plan.ipv6_of(random, number, interface);
            plan.ipv4_of(random, number, interface);
        }
        plan.refusals(random);
        host.ip(&plan.ipv6)?;
        host.ip4(&plan.ipv4)?;
        let lines = format!("{}{}", plan.ipv6, plan.ipv4);
        Ok(Self { host, interfaces, addresses: plan.addresses, taps, lines, _network: network })
    }

    /// Destinations in, near and far from what the host has.
    pub fn destinations(&self, random: &mut Random, count: usize) -> Vec<IpAddr> {
        (0..count).map(|_| self.destination(random)).collect()
    }

    fn destination(&self, random: &mut Random) -> IpAddr {
        let low = u128::from(random.number());
        match random.below(8) {
            0 if !self.addresses.is_empty() => match *random.pick(&self.addresses) {
                IpAddr::V4(address) => Ipv4Addr::from_bits(address.to_bits() ^ (low as u32 & 0x3)).into(),
                IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() ^ (low & 0x3_0003)).into(),
            },
            1 | 2 => {
                let (prefix, _) = random.pick(&PREFIXES_IPV4).split_once('/').unwrap_or_default();
                let base: Ipv4Addr = prefix.parse().unwrap_or(Ipv4Addr::LOCALHOST);
                Ipv4Addr::from_bits(base.to_bits() | (low as u32 & 0x0003_ffff)).into()
            }
            3 => Ipv4Addr::new(11, low as u8, (low >> 8) as u8, 1).into(),
            4 => Ipv6Addr::from_bits(0x2000 << 112 | (low << 60 >> 4) | low).into(),
            _ => {
                let (prefix, _) = random.pick(&PREFIXES).split_once('/').unwrap_or_default();
                let base: Ipv6Addr = prefix.parse().unwrap_or(Ipv6Addr::LOCALHOST);
                Ipv6Addr::from_bits(
                    base.to_bits() | (low & 0xffff) | (u128::from(random.number() & 0x3) << 64),
                )
                .into()
            }
        }
    }
}

impl Plan {
    fn ipv6_of(&mut self, random: &mut Random, number: usize, interface: &str) {
        let mut own = Vec::new();
        for host in 0..random.below(4) {
            let subnet = random.below(2);
            let prefix = match random.below(4) {
                0 => format!("fd00:{number:x}:{subnet:x}:"),
                1 => format!("2001:db8:1:{number:x}{subnet:x}"),
                _ => format!("2001:db8:{number:x}:{subnet:x}"),
            };
            let address = format!("{prefix}::{:x}{host:x}", number + 1);
            let len = random.pick(&[64, 64, 64, 48, 128]);
            let deprecated = if random.one_in(4) { " preferred_lft 0" } else { "" };
            let address = address.replace(":::", "::");
            let _ = writeln!(self.ipv6, "addr add {address}/{len} dev {interface} nodad{deprecated}");
            own.push(address);
        }
        self.addresses.extend(own.iter().filter_map(|address| address.parse::<IpAddr>().ok()));
        let routers: Vec<String> = (1..3).map(|router| format!("fe80::{number:x}:{router}")).collect();
        for (router, low) in routers.iter().zip(1..) {
            let _ = writeln!(
                self.ipv6,
                "neigh replace {router} lladdr 02:00:00:01:{number:02x}:{low:02x} dev {interface} nud permanent"
            );
        }
        // More than one router whose advertisements nobody hears would make the daemon wait for their words.
        let learnt = random.one_in(2);
        if learnt && self.free("default", 1024 + number as u32) {
            let _ = writeln!(
                self.ipv6,
                "route add default via {} dev {interface} proto ra metric {} pref {}",
                routers[0],
                1024 + number,
                random.pick(&["low", "medium", "high"])
            );
        }
        for _ in 0..random.below(4) {
            let prefix = if random.one_in(3) { "default" } else { random.pick(&PREFIXES) };
            let metric = *random.pick(&METRICS);
            if !self.free(prefix, metric) {
                continue;
            }
            let via =
                if random.one_in(5) { String::new() } else { format!("via {} ", random.pick(&routers)) };
            let source = match own.as_slice() {
                [] => String::new(),
                own if random.one_in(5) => format!(" src {}", random.pick(own)),
                _ => String::new(),
            };
            let protocol = random.pick(&PROTOCOLS);
            let _ = writeln!(
                self.ipv6,
                "route add {prefix} {via}dev {interface} proto {protocol} metric {metric}{source}"
            );
        }
    }

    fn ipv4_of(&mut self, random: &mut Random, number: usize, interface: &str) {
        let mut own = Vec::new();
        for host in 1..1 + random.below(3) {
            let subnet = random.below(2);
            let len = random.pick(&[24, 24, 20, 32]);
            let address = format!("10.{number}.{subnet}.{host}");
            let _ = writeln!(self.ipv4, "addr add {address}/{len} dev {interface}");
            own.push(address);
        }
        self.addresses.extend(own.iter().filter_map(|address| address.parse::<IpAddr>().ok()));
        let gateway = format!("10.{number}.{}.254", random.below(2));
        let _ = writeln!(
            self.ipv4,
            "neigh replace {gateway} lladdr 02:00:00:02:{number:02x}:01 dev {interface} nud permanent"
        );
        for _ in 0..random.below(4) {
            let prefix = if random.one_in(2) { "default" } else { random.pick(&PREFIXES_IPV4) };
            let metric = *random.pick(&METRICS);
            if !self.free(&format!("ipv4 {prefix}"), metric) {
                continue;
            }
            let via = if random.one_in(5) { String::new() } else { format!("via {gateway} onlink ") };
            let source = match own.as_slice() {
                [] => String::new(),
                own if random.one_in(4) => format!(" src {}", random.pick(own)),
                _ => String::new(),
            };
            let (via, onlink) = match via.strip_suffix("onlink ") {
                Some(via) => (via.to_owned(), " onlink"),
                None => (via, ""),
            };
            let protocol = random.pick(&PROTOCOLS);
            let _ = writeln!(
                self.ipv4,
                "route add {prefix} {via}dev {interface} proto {protocol} metric {metric}{source}{onlink}"
            );
        }
    }

    /// Routes that refuse.
    fn refusals(&mut self, random: &mut Random) {
        for _ in 0..random.below(3) {
            let kind = random.pick(&["blackhole", "unreachable", "prohibit"]);
            let metric = *random.pick(&METRICS);
            let prefix = random.pick(&PREFIXES);
            if self.free(prefix, metric) {
                let _ = writeln!(self.ipv6, "route add {kind} {prefix} metric {metric}");
            }
            let prefix = random.pick(&PREFIXES_IPV4);
            if self.free(&format!("ipv4 {prefix}"), metric) {
                let _ = writeln!(self.ipv4, "route add {kind} {prefix} metric {metric}");
            }
        }
    }

    fn free(&mut self, prefix: &str, metric: u32) -> bool {
        self.taken.insert((prefix.to_owned(), metric))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_numbers() {
        let numbers = |seed| {
            let mut random = Random::new(seed);
            [(); 8].map(|()| random.below(100))
        };
        assert_eq!(numbers(5), numbers(5));
        assert_ne!(numbers(5), numbers(6));
        assert!((0..100).all(|seed| numbers(seed).iter().all(|number| *number < 100)));
    }
}
