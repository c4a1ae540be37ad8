//! The two families in one space: IPv4 stands as `::ffff:a.b.c.d` (RFC 4291 §2.5.5.2), so that one table, one procedure and
//! one set of rules serve both. What is of one family never meets what is of the other: see [`Family::of_net`].

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

/// Bits in front of an IPv4 address.
const MAPPED_BITS: u8 = 96;

/// `::ffff:0:0/96`: all of IPv4, and the prefix of its default route.
pub const IPV4: Ipv6Net = Ipv6Net::new_assert(Ipv4Addr::UNSPECIFIED.to_ipv6_mapped(), MAPPED_BITS);

/// An address family.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// IPv4
    Ipv4,
    /// IPv6
    Ipv6,
}

impl Family {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Ipv4, Self::Ipv6];

    /// The family of an address.
    #[must_use]
    pub const fn of(address: Ipv6Addr) -> Self {
        if address.to_ipv4_mapped().is_some() { Self::Ipv4 } else { Self::Ipv6 }
    }

    /// The family of a prefix. `::/0`, and whatever else is shorter than `::ffff:0:0/96`, is IPv6's and covers no IPv4
    /// destination.
    #[must_use]
    pub const fn of_net(net: Ipv6Net) -> Self {
        if net.prefix_len() >= MAPPED_BITS { Self::of(net.addr()) } else { Self::Ipv6 }
    }

    /// The prefix of its default route.
    #[must_use]
    pub const fn default_route(self) -> Ipv6Net {
        match self {
            Self::Ipv4 => IPV4,
            Self::Ipv6 => Ipv6Net::new_assert(Ipv6Addr::UNSPECIFIED, 0),
        }
    }
}

/// Whether a route to this prefix is a default route.
#[must_use]
pub fn is_default_route(net: Ipv6Net) -> bool {
    net.prefix_len() == 0 || net == IPV4
}

/// Whether a route to this prefix is one to the destination.
#[must_use]
pub fn covers(net: Ipv6Net, destination: Ipv6Addr) -> bool {
    Family::of_net(net) == Family::of(destination) && net.contains(&destination)
}

/// The one form of an address of either family.
#[must_use]
pub const fn mapped(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

/// The one form of a prefix of either family, host bits zero.
#[must_use]
pub fn mapped_net(net: IpNet) -> Ipv6Net {
    match net {
        IpNet::V4(net) => Ipv6Net::new_assert(net.network().to_ipv6_mapped(), net.prefix_len() + MAPPED_BITS),
        IpNet::V6(net) => net.trunc(),
    }
}

/// An address as people write it.
#[must_use]
pub const fn shown(address: Ipv6Addr) -> IpAddr {
    match address.to_ipv4_mapped() {
        Some(address) => IpAddr::V4(address),
        None => IpAddr::V6(address),
    }
}

/// A prefix as people write it.
#[must_use]
pub fn shown_net(net: Ipv6Net) -> IpNet {
    match (Family::of_net(net), net.addr().to_ipv4_mapped()) {
        (Family::Ipv4, Some(address)) => {
            IpNet::V4(Ipv4Net::new_assert(address, net.prefix_len() - MAPPED_BITS))
        }
        _ => IpNet::V6(net),
    }
}

/// The length of a prefix of this family as people write it.
#[must_use]
pub const fn shown_len(family: Family, len: u8) -> u8 {
    match family {
        Family::Ipv4 => len.saturating_sub(MAPPED_BITS),
        Family::Ipv6 => len,
    }
}

/// Addresses in JSON: as people write them.
pub mod as_written {
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    use super::{IpAddr, IpNet, Ipv6Addr, Ipv6Net};

    /// One address.
    pub mod address {
        use super::*;

        #[expect(missing_docs, reason = "serde calls it")]
        pub fn serialize<S: Serializer>(address: &Ipv6Addr, serializer: S) -> Result<S::Ok, S::Error> {
            super::super::shown(*address).serialize(serializer)
        }

        #[expect(missing_docs, reason = "serde calls it")]
        pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Ipv6Addr, D::Error> {
            IpAddr::deserialize(deserializer).map(super::super::mapped)
        }
    }

    /// Any number of addresses: `Vec` and `Option`.
    pub mod addresses {
        use super::*;

        #[expect(missing_docs, reason = "serde calls it")]
        pub fn serialize<'a, C, S: Serializer>(addresses: &'a C, serializer: S) -> Result<S::Ok, S::Error>
        where
            &'a C: IntoIterator<Item = &'a Ipv6Addr>,
        {
            serializer.collect_seq(addresses.into_iter().map(|address| super::super::shown(*address)))
        }

        #[expect(missing_docs, reason = "serde calls it")]
        pub fn deserialize<'de, C: FromIterator<Ipv6Addr>, D: Deserializer<'de>>(
            deserializer: D,
        ) -> Result<C, D::Error> {
            let addresses = Vec::<IpAddr>::deserialize(deserializer)?;
            Ok(addresses.into_iter().map(super::super::mapped).collect())
        }
    }

    /// An address or none.
    pub mod optional {
        use super::*;

        #[expect(missing_docs, reason = "serde calls it")]
        pub fn serialize<S: Serializer>(
            address: &Option<Ipv6Addr>,
            serializer: S,
        ) -> Result<S::Ok, S::Error> {
            address.map(super::super::shown).serialize(serializer)
        }

        #[expect(missing_docs, reason = "serde calls it")]
        pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Ipv6Addr>, D::Error> {
            Ok(Option::<IpAddr>::deserialize(deserializer)?.map(super::super::mapped))
        }
    }

    /// A prefix.
    pub mod net {
        use super::*;

        #[expect(missing_docs, reason = "serde calls it")]
        pub fn serialize<S: Serializer>(net: &Ipv6Net, serializer: S) -> Result<S::Ok, S::Error> {
            super::super::shown_net(*net).serialize(serializer)
        }

        #[expect(missing_docs, reason = "serde calls it")]
        pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Ipv6Net, D::Error> {
            IpNet::deserialize(deserializer).map(super::super::mapped_net)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().expect("a literal")
    }

    #[test]
    fn prefixes_of_both_families() {
        for (text, one_form, family, default) in [
            ("0.0.0.0/0", "::ffff:0.0.0.0/96", Family::Ipv4, true),
            ("192.0.2.0/24", "::ffff:192.0.2.0/120", Family::Ipv4, false),
            ("192.0.2.1/32", "::ffff:192.0.2.1/128", Family::Ipv4, false),
            ("::/0", "::/0", Family::Ipv6, true),
            ("::/64", "::/64", Family::Ipv6, false),
            ("::/96", "::/96", Family::Ipv6, false),
            ("2001:db8::/32", "2001:db8::/32", Family::Ipv6, false),
        ] {
            let mapped = mapped_net(net(text));
            assert_eq!(mapped, one_form.parse::<Ipv6Net>().expect("a literal"), "{text}");
            assert_eq!(shown_net(mapped), net(text));
            assert_eq!((Family::of_net(mapped), is_default_route(mapped)), (family, default), "{text}");
        }
    }

    #[test]
    fn no_family_covers_the_other() {
        let address = |text: &str| mapped(text.parse().expect("a literal"));
        for (prefix, destination, covered) in [
            ("::/0", "192.0.2.1", false),
            ("::/64", "192.0.2.1", false),
            ("0.0.0.0/0", "192.0.2.1", true),
            ("192.0.2.0/24", "192.0.2.1", true),
            ("192.0.2.0/24", "192.0.3.1", false),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("::/0", "2001:db8::1", true),
        ] {
            assert_eq!(
                covers(mapped_net(net(prefix)), address(destination)),
                covered,
                "{prefix} {destination}"
            );
        }
    }

    #[test]
    fn addresses_as_people_write_them() {
        for text in ["192.0.2.1", "2001:db8::1", "::"] {
            let address: IpAddr = text.parse().expect("a literal");
            assert_eq!(shown(mapped(address)), address);
        }
    }
}
