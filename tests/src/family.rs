//! The ways in which applications speak IP. Each runs other hooks of the kernel.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

use crate::internet::{SERVERS, SERVERS_IPV4};

/// A version of IP and a kind of socket for it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Family {
    /// IPv6 on AF_INET6 sockets.
    Ipv6,
    /// IPv4 on AF_INET sockets.
    Ipv4,
    /// IPv4 on AF_INET6 sockets, with addresses written `::ffff:198.18.10.1` (RFC 3493 §3.7).
    Mapped,
}

impl Family {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Ipv6, Self::Ipv4, Self::Mapped];

    /// Of an address as an application writes it.
    pub fn of(address: impl Into<IpAddr>) -> Self {
        match address.into() {
            IpAddr::V4(_) => Self::Ipv4,
            IpAddr::V6(address) if address.to_ipv4_mapped().is_some() => Self::Mapped,
            IpAddr::V6(_) => Self::Ipv6,
        }
    }

    /// As applications of this family write an address of the same version of IP.
    pub fn written(self, address: impl Into<IpAddr>) -> IpAddr {
        match (self, address.into().to_canonical()) {
            (Self::Mapped, IpAddr::V4(address)) => address.to_ipv6_mapped().into(),
            (_, address) => address,
        }
    }

    /// The servers of the internet, as applications of this family write them.
    pub fn servers(self) -> [IpAddr; 3] {
        match self {
            Self::Ipv6 => SERVERS.map(IpAddr::from),
            Self::Ipv4 | Self::Mapped => SERVERS_IPV4.map(|server| self.written(server)),
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ipv6 => "IPv6",
            Self::Ipv4 => "IPv4",
            Self::Mapped => "IPv4-mapped",
        })
    }
}

/// The same address without the v4-mapped form.
pub fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => SocketAddr::new(ip.into(), address.port()),
        // Keeps the zone of link-local addresses.
        IpAddr::V6(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_written_as_their_family_has_them() {
        let table = [
            (Family::Ipv6, "2001:db8::1", "2001:db8::1"),
            (Family::Ipv4, "198.18.10.1", "198.18.10.1"),
            (Family::Mapped, "198.18.10.1", "::ffff:198.18.10.1"),
        ];
        for (family, address, written) in table {
            let (address, written): (IpAddr, IpAddr) = (address.parse().unwrap(), written.parse().unwrap());
            assert_eq!(family.written(address), written);
            assert_eq!(family.written(written), written);
            assert_eq!(Family::of(written), family);
            assert_eq!(canonical(SocketAddr::new(written, 7)), SocketAddr::new(address, 7));
            for server in family.servers() {
                assert_eq!(Family::of(server), family);
            }
        }
    }
}
