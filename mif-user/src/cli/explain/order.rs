//! In which order the addresses of a name are tried: RFC 6724 §6 over what was found out about each.

use std::{collections::BTreeMap, net::Ipv6Addr};

use mif_core::{
    family::{Family, mapped},
    pvd::PvdSnapshot,
    select::{
        destination::{Destination, Source, order_by},
        policy_table::PolicyTable,
        rfc6724::Mobility,
        world::AddressState,
    },
};
use nix::{ifaddrs::getifaddrs, net::if_::if_nametoindex};

use super::{super::reader::Reader, report::Report};

/// What the kernel tells about addresses and interfaces that no PvD has.
#[derive(Debug, Default)]
struct Interfaces {
    /// Lengths of the prefixes of addresses.
    lengths: BTreeMap<Ipv6Addr, u8>,
    /// Kinds of interfaces (`ARPHRD_*`).
    kinds: BTreeMap<u32, u16>,
}

/// The reports in the order in which to try their destinations, each with the rule that puts it before the next.
pub(super) fn sorted(reader: &Reader, reports: Vec<Report>) -> Vec<Report> {
    let pvds = reader.names.state().map_or(&[][..], |state| &state.pvds);
    let interfaces = Interfaces::read();
    let destinations: Vec<Destination> =
        reports.iter().map(|report| destination(pvds, &interfaces, report)).collect();
    // Each by the policy of the PvD that leads there.
    let tables: Vec<_> = destinations.iter().map(|destination| table(pvds, destination)).collect();
    let placed: Vec<_> = order_by(&destinations, |place| tables[place])
        .into_iter()
        .map(|placed| (placed.was, placed.before_next))
        .collect();
    let mut reports: Vec<Option<Report>> = reports.into_iter().map(Some).collect();
    let taken = placed.into_iter().filter_map(|(was, rule)| {
        let report = reports.get_mut(was)?.take()?;
        Some(report.placed(rule))
    });
    taken.collect()
}

/// The policy table of the PvD that carries the source of a destination.
fn table<'s>(pvds: &'s [PvdSnapshot], destination: &Destination) -> &'s PolicyTable {
    let carries = |pvd: &&PvdSnapshot| {
        let mut sources = pvd.sources.iter().filter(|source| source.carried);
        sources.any(|source| Some(source.address) == destination.source.map(|source| source.address))
    };
    let policy = pvds.iter().find(carries).and_then(|pvd| pvd.policy.as_ref());
    policy.map_or(PolicyTable::rfc6724(), |policy| &policy.table)
}

fn destination(pvds: &[PvdSnapshot], interfaces: &Interfaces, report: &Report) -> Destination {
    let source = report.source().map(|address| source(pvds, interfaces, address));
    Destination {
        address: report.destination(),
        source,
        reachable: report.is_reachable(),
        encapsulated: report.ifindex().is_some_and(|ifindex| interfaces.encapsulates(ifindex)),
    }
}

/// What is known of a source: from the PvD that carries it, else from the kernel. The latter are addresses that are not ours,
/// link-local ones above all, which are not deprecated on any host that does not ask for it.
fn source(pvds: &[PvdSnapshot], interfaces: &Interfaces, address: Ipv6Addr) -> Source {
    let mut known = pvds.iter().flat_map(|pvd| &pvd.sources).filter(|source| source.address == address);
    let source = known.next();
    let whole = 128;
    Source {
        address,
        prefix_len: source
            .map(|source| source.prefix_len)
            .or_else(|| interfaces.lengths.get(&address).copied())
            .unwrap_or(whole),
        deprecated: source.is_some_and(|source| source.state == AddressState::Deprecated),
        mobility: Mobility::CareOf,
    }
}

impl Interfaces {
    /// Asks the kernel. What it does not say is not known.
    fn read() -> Self {
        let mut found = Self::default();
        for interface in getifaddrs().into_iter().flatten() {
            let Some(address) = interface.address else { continue };
            if let Some(link) = address.as_link_addr()
                && let Ok(ifindex) = if_nametoindex(interface.interface_name.as_str())
            {
                found.kinds.insert(ifindex, link.hatype());
            }
            let ip = |storage: &nix::sys::socket::SockaddrStorage| {
                let ipv4 = storage.as_sockaddr_in().map(|address| address.ip().into());
                ipv4.or_else(|| storage.as_sockaddr_in6().map(|address| address.ip().into()))
            };
            if let (Some(address), Some(mask)) = (ip(&address), interface.netmask.as_ref().and_then(ip)) {
                let (address, mask) = (mapped(address), mapped(mask));
                // The mask of IPv4 stands behind the bits of its mapped form.
                let bits = match Family::of(address) {
                    Family::Ipv4 => {
                        96 + mask.to_ipv4_mapped().map_or(0, |mask| mask.to_bits().leading_ones())
                    }
                    Family::Ipv6 => mask.to_bits().leading_ones(),
                };
                found.lengths.insert(address, u8::try_from(bits).unwrap_or(128));
            }
        }
        found
    }

    /// Whether packets that leave by an interface travel inside others (rule 7).
    fn encapsulates(&self, ifindex: u32) -> bool {
        // Devices of tunnels: in IPv4, in IPv6, 6in4 (also 6rd and ISATAP), GRE; tun, WireGuard and others have no hardware type.
        const TUNNELS: [u16; 6] = [
            libc::ARPHRD_TUNNEL,
            libc::ARPHRD_TUNNEL6,
            libc::ARPHRD_SIT,
            libc::ARPHRD_IPGRE,
            ARPHRD_IP6GRE,
            libc::ARPHRD_NONE,
        ];
        self.kinds.get(&ifindex).is_some_and(|kind| TUNNELS.contains(kind))
    }
}

/// `include/uapi/linux/if_arp.h`; libc has no name for it.
const ARPHRD_IP6GRE: u16 = 823;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_of_loopback() {
        let found = Interfaces::read();
        let localhost = std::net::Ipv4Addr::LOCALHOST.to_ipv6_mapped();
        // Of the loopback of the namespace in which tests run nobody says that it is up, but it has a kind.
        assert!(!found.kinds.is_empty());
        assert!(found.lengths.get(&localhost).is_none_or(|len| *len == 96 + 8), "{found:?}");
        assert!(found.kinds.keys().all(|ifindex| found.kinds[ifindex] != libc::ARPHRD_LOOPBACK || !found.encapsulates(*ifindex)));
    }

    #[test]
    fn kinds_that_encapsulate() {
        let kinds = [
            (1, libc::ARPHRD_LOOPBACK),
            (2, libc::ARPHRD_ETHER),
            (3, libc::ARPHRD_SIT),
            (4, libc::ARPHRD_NONE),
        ];
        let interfaces = Interfaces { kinds: kinds.into(), ..Interfaces::default() };
        let found = [1, 2, 3, 4, 5].map(|ifindex| interfaces.encapsulates(ifindex));
        assert_eq!(found, [false, false, true, true, false]);
    }

    #[test]
    fn sources_that_no_pvd_has() {
        let link_local: Ipv6Addr = "fe80::5".parse().expect("a literal");
        let lengths = [(link_local, 64)];
        let interfaces = Interfaces { lengths: lengths.into(), ..Interfaces::default() };
        assert_eq!(source(&[], &interfaces, link_local).prefix_len, 64);
        let unknown = source(&[], &interfaces, "2001:db8::1".parse().expect("a literal"));
        assert_eq!((unknown.prefix_len, unknown.deprecated), (128, false));
    }
}
