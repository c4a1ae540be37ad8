//! What the kernel has in a namespace, as `/proc/net` shows it.

use std::{collections::HashSet, net::Ipv6Addr};

use anyhow::{Context as _, Result};

use crate::netns::Namespace;

/// An address of an interface.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LocalAddress {
    /// The address.
    pub address: Ipv6Addr,
    /// Its prefix length.
    pub prefix_len: u8,
    /// The interface that has it.
    pub interface: String,
    /// Duplicate address detection has not ended (IFA_F_TENTATIVE).
    pub tentative: bool,
    /// Packets to it are taken. That comes some time after the address, also without duplicate address detection: a work queue
    /// of the kernel adds the local route (addrconf_dad_work in net/ipv6/addrconf.c).
    pub usable: bool,
}

/// A default route with a router.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DefaultRoute {
    /// The router.
    pub next_hop: Ipv6Addr,
    /// Whose link it is on.
    pub interface: String,
}

/// All IPv6 addresses, those of the loopback included.
///
/// # Errors
/// The kernel's lists cannot be read.
pub fn addresses(namespace: &Namespace) -> Result<Vec<LocalAddress>> {
    // In this order: an address that the first list has too new a route for is not in it.
    let addresses = namespace.proc_net("if_inet6")?;
    let routes = namespace.proc_net("ipv6_route")?;
    let local: HashSet<Ipv6Addr> =
        routes.lines().filter_map(Route::parse).filter_map(|route| route.local()).collect();
    let odd = |line: &str| format!("an odd line in if_inet6: {line}");
    addresses.lines().map(|line| parse_address(line, &local).with_context(|| odd(line))).collect()
}

/// The default routes that lead to routers, best first.
///
/// # Errors
/// The kernel's list cannot be read.
pub fn default_routes(namespace: &Namespace) -> Result<Vec<DefaultRoute>> {
    let routes = namespace.proc_net("ipv6_route")?;
    Ok(routes.lines().filter_map(Route::parse).filter_map(|route| route.default()).collect())
}

/// Whether `interface` does what it was told: all its addresses are usable, and the kernel has noticed that it is up and can send
/// to multicast groups, which it shows by the route that addrconf_add_mroute (net/ipv6/addrconf.c) adds.
///
/// # Errors
/// The kernel's lists cannot be read.
pub fn is_ready(namespace: &Namespace, interface: &str) -> Result<bool> {
    let routes = namespace.proc_net("ipv6_route")?;
    let up = routes.lines().filter_map(Route::parse).any(|route| route.is_multicast_by(interface));
    let waits = |address: &LocalAddress| address.interface == interface && !address.usable;
    Ok((up || interface == "lo") && !addresses(namespace)?.iter().any(waits))
}

/// A line of `ipv6_route`: destination, length, source, length, next hop, metric, references, uses, flags, interface; all
/// hexadecimal but the last.
struct Route<'a> {
    destination: &'a str,
    length: &'a str,
    next_hop: &'a str,
    flags: u32,
    interface: &'a str,
}

/// The route is to an address of this machine (RTF_LOCAL).
const LOCAL: u32 = 0x8000_0000;
/// The route has a next hop (RTF_GATEWAY).
const GATEWAY: u32 = 0x2;

impl<'a> Route<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let [destination, length, _, _, next_hop, _, _, _, flags, interface] = fields(line)?;
        Some(Self { destination, length, next_hop, flags: u32::from_str_radix(flags, 16).ok()?, interface })
    }

    fn local(&self) -> Option<Ipv6Addr> {
        (self.flags & LOCAL != 0).then(|| hex_address(self.destination))?
    }

    fn default(&self) -> Option<DefaultRoute> {
        let to_router = self.length == "00" && self.flags & GATEWAY != 0;
        let next_hop = to_router.then(|| hex_address(self.next_hop))??;
        Some(DefaultRoute { next_hop, interface: self.interface.to_owned() })
    }

    fn is_multicast_by(&self, interface: &str) -> bool {
        self.destination.starts_with("ff00") && self.length == "08" && self.interface == interface
    }
}

/// A line of `if_inet6`: address, ifindex, prefix length, scope, flags, interface; all hexadecimal but the last.
fn parse_address(line: &str, local: &HashSet<Ipv6Addr>) -> Option<LocalAddress> {
    /// Of the flags `if_inet6` shows the low octet only.
    const TENTATIVE: u8 = 0x40;
    let [address, _, prefix_len, _, flags, interface] = fields(line)?;
    let address = hex_address(address)?;
    let tentative = u8::from_str_radix(flags, 16).ok()? & TENTATIVE != 0;
    Some(LocalAddress {
        address,
        prefix_len: u8::from_str_radix(prefix_len, 16).ok()?,
        interface: interface.to_owned(),
        tentative,
        usable: !tentative && local.contains(&address),
    })
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
        let slaac = "2001:db8:a:1:0:ff:fe00:10a".parse().unwrap();
        let link_local: Ipv6Addr = "fe80::ff".parse().unwrap();
        let local = HashSet::from([slaac]);
        let line_of_slaac = "20010db8000a0001000000fffe00010a 02 40 00 00     isp-a";
        let line_of_link_local = "fe8000000000000000000000000000ff 02 40 20 80 isp-a";
        let line_of_tentative = "20010db8000a0001000000fffe00010a 02 40 00 c0 isp-a";
        let table = [
            (line_of_slaac, Some((slaac, false, true))),
            (line_of_link_local, Some((link_local, false, false))),
            (line_of_tentative, Some((slaac, true, false))),
            ("fe80 0b 40 20", None),
        ];
        for (line, expected) in table {
            let expected = expected.map(|(address, tentative, usable)| LocalAddress {
                address,
                prefix_len: 64,
                interface: "isp-a".into(),
                tentative,
                usable,
            });
            assert_eq!(parse_address(line, &local), expected, "{line}");
        }
    }

    #[test]
    fn lines_of_ipv6_route() {
        let zero = "00000000000000000000000000000000";
        let router = "fe80000000000000000000000000000a";
        let multicast = "ff000000000000000000000000000000";
        let text = format!(
            "{zero} 00 {zero} 00 {router} 00000400 00000001 00000000 00450003    isp-a\n\
             {zero} 00 {zero} 00 {zero} ffffffff 00000001 00000000 00200200       lo\n\
             {router} 80 {zero} 00 {zero} 00000000 00000002 00000000 80200001    isp-a\n\
             {multicast} 08 {zero} 00 {zero} 00000100 00000002 00000000 00000001    isp-b\n"
        );
        let routes: Vec<_> = text.lines().map(|line| Route::parse(line).unwrap()).collect();
        let next_hop: Ipv6Addr = "fe80::a".parse().unwrap();
        let default = DefaultRoute { next_hop, interface: "isp-a".into() };
        assert_eq!(routes.iter().map(Route::default).collect::<Vec<_>>(), [Some(default), None, None, None]);
        assert_eq!(routes.iter().map(Route::local).collect::<Vec<_>>(), [None, None, Some(next_hop), None]);
        let multicast_by = |interface| routes.iter().any(|route| route.is_multicast_by(interface));
        assert_eq!((multicast_by("isp-a"), multicast_by("isp-b")), (false, true));
        assert!(Route::parse("too short").is_none());
    }
}
