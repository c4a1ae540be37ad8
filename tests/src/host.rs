//! The host: the machine that `mif` is for, with nothing of `mif` yet.

use std::net::Ipv6Addr;

use anyhow::{Context as _, Result};
use ipnet::Ipv6Net;

use crate::{application::Place, cgroup::Cgroup, events::Events, netns::Namespace};

/// A namespace that configures itself from Router Advertisements as a stock kernel does.
#[derive(Debug)]
pub struct Host {
    namespace: Namespace,
    events: Events,
}

/// A line of `/proc/net/if_inet6`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HostAddress {
    /// The address.
    pub address: Ipv6Addr,
    /// Its prefix length.
    pub prefix_len: u8,
    /// The interface that has it.
    pub interface: String,
    /// Not usable yet (IFA_F_TENTATIVE).
    pub tentative: bool,
}

/// A default route in `/proc/net/ipv6_route`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DefaultRoute {
    /// The router.
    pub next_hop: Ipv6Addr,
    /// Whose link it is on.
    pub interface: String,
}

impl Host {
    /// A host without uplinks.
    ///
    /// # Errors
    /// The kernel refused a step.
    pub fn new() -> Result<Self> {
        let namespace = Namespace::new("host")?;
        // What distributions set, said here because the defaults of a new namespace follow the machine's.
        let settings: [(&str, u32); 6] = [
            ("forwarding", 0),
            ("accept_ra", 1),
            ("accept_ra_rt_info_max_plen", 128),
            ("autoconf", 1),
            ("use_tempaddr", 0),
            // The first solicitation at once and not within a random second (RFC 4861 §6.3.7).
            ("router_solicitation_delay", 0),
        ];
        for (name, value) in settings {
            namespace.sysctl(&format!("net/ipv6/conf/default/{name}"), value)?;
        }
        let events = Events::subscribe(&namespace)?;
        Ok(Self { namespace, events })
    }

    /// Where it is.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Tells of changes of its network.
    pub fn events(&self) -> &Events {
        &self.events
    }

    /// Where its applications run: in `cgroup` if one is given.
    pub fn place<'a>(&'a self, cgroup: impl Into<Option<&'a Cgroup>>) -> Place<'a> {
        Place::new(&self.namespace).within(cgroup)
    }

    /// Turns duplicate address detection on or off for interfaces that come up from now on. It is off at first.
    ///
    /// # Errors
    /// The kernel refused.
    pub fn detect_duplicates(&self, on: bool) -> Result<()> {
        ["all", "default"].iter().try_for_each(|scope| {
            self.namespace.sysctl(&format!("net/ipv6/conf/{scope}/accept_dad"), u8::from(on))
        })
    }

    /// Its addresses, those of the loopback included.
    ///
    /// # Errors
    /// The kernel's list cannot be read.
    pub fn addresses(&self) -> Result<Vec<HostAddress>> {
        let text = self.namespace.proc_net("if_inet6")?;
        text.lines()
            .map(|line| address(line).with_context(|| format!("an odd line in if_inet6: {line}")))
            .collect()
    }

    /// Its default routes, best first.
    ///
    /// # Errors
    /// The kernel's list cannot be read.
    pub fn default_routes(&self) -> Result<Vec<DefaultRoute>> {
        let text = self.namespace.proc_net("ipv6_route")?;
        Ok(text.lines().filter_map(default_route).collect())
    }

    /// The usable address in `prefix`, if there is one.
    ///
    /// # Errors
    /// As [`Self::addresses`].
    pub fn address_in(&self, prefix: &Ipv6Net) -> Result<Option<Ipv6Addr>> {
        let fits = |found: &HostAddress| !found.tentative && prefix.contains(&found.address);
        Ok(self.addresses()?.into_iter().find(fits).map(|found| found.address))
    }

    /// Waits until there is a usable address in `prefix`.
    ///
    /// # Errors
    /// There was none in time.
    pub fn wait_for_address(&self, prefix: &Ipv6Net) -> Result<Ipv6Addr> {
        self.events.until(&format!("an address of {prefix} at the host"), || self.address_in(prefix))
    }

    /// Waits until `next_hop` is a default router, or no longer is.
    ///
    /// # Errors
    /// It was not so in time.
    pub fn wait_for_default_router(&self, next_hop: Ipv6Addr, expected: bool) -> Result<()> {
        let what = format!("{next_hop} to {} a default router", if expected { "be" } else { "stop being" });
        self.events.until(&what, || {
            let found = self.default_routes()?.iter().any(|route| route.next_hop == next_hop);
            Ok((found == expected).then_some(()))
        })
    }
}

/// `fe80000000000000000000fffe00010a 02 40 20 80 isp-a`: address, ifindex, prefix length, scope, flags (all hexadecimal), name.
fn address(line: &str) -> Option<HostAddress> {
    const IFA_F_TENTATIVE: u8 = 0x40;
    let [address, _ifindex, prefix_len, _scope, flags, interface] = fields(line)?;
    Some(HostAddress {
        address: hex_address(address)?,
        prefix_len: u8::from_str_radix(prefix_len, 16).ok()?,
        interface: interface.to_owned(),
        // if_inet6 shows the low octet of the flags only.
        tentative: u8::from_str_radix(flags, 16).ok()? & IFA_F_TENTATIVE != 0,
    })
}

/// Destination, length, source, length, next hop, metric, counters, flags (all hexadecimal), name; `None` for other routes.
fn default_route(line: &str) -> Option<DefaultRoute> {
    const RTF_GATEWAY: u32 = 0x2;
    let [
        _destination,
        length,
        _source,
        source_length,
        next_hop,
        _metric,
        _references,
        _uses,
        flags,
        interface,
    ] = fields(line)?;
    let gateway = u32::from_str_radix(flags, 16).ok()? & RTF_GATEWAY != 0;
    (length == "00" && source_length == "00" && gateway)
        .then(|| Some(DefaultRoute { next_hop: hex_address(next_hop)?, interface: interface.to_owned() }))?
}

fn fields<const N: usize>(line: &str) -> Option<[&str; N]> {
    line.split_whitespace().collect::<Vec<_>>().try_into().ok()
}

fn hex_address(text: &str) -> Option<Ipv6Addr> {
    u128::from_str_radix(text, 16).ok().map(Ipv6Addr::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_if_inet6() {
        let table = [
            (
                "20010db8000a0001000000fffe00010a 02 40 00 00     isp-a",
                Some(("2001:db8:a:1:0:ff:fe00:10a", 64, false)),
            ),
            ("fe8000000000000000000000000000ff 0b 40 20 c0 isp-a", Some(("fe80::ff", 64, true))),
            ("fe80 0b 40 20", None),
        ];
        for (line, expected) in table {
            let expected = expected.map(|(text, prefix_len, tentative)| HostAddress {
                address: text.parse().unwrap(),
                prefix_len,
                interface: "isp-a".into(),
                tentative,
            });
            assert_eq!(address(line), expected, "{line}");
        }
    }

    #[test]
    fn lines_of_ipv6_route() {
        let zero = "00000000000000000000000000000000";
        let router = "fe80000000000000000000000000000a";
        let by_router = DefaultRoute { next_hop: "fe80::a".parse().unwrap(), interface: "isp-a".into() };
        let table = [
            (
                format!("{zero} 00 {zero} 00 {router} 00000400 00000001 00000000 00450003    isp-a"),
                Some(by_router),
            ),
            (format!("{zero} 00 {zero} 00 {zero} ffffffff 00000001 00000000 00200200       lo"), None),
            (format!("{router} 80 {zero} 00 {zero} 00000000 00000002 00000000 80200001    isp-a"), None),
        ];
        for (line, expected) in table {
            assert_eq!(default_route(&line), expected, "{line}");
        }
    }
}
