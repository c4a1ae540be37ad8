//! What makes a PvD itself, and how people name it.

use std::{fmt, net::Ipv6Addr};

use serde::{Deserialize, Serialize};

use crate::wire::DomainName;

/// The name of an explicit PvD in lower case, so that equality, order and hash agree (RFC 4343: case does not matter).
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Deserialize, Serialize)]
#[serde(transparent)]
pub struct PvdName(String);

impl From<&DomainName> for PvdName {
    fn from(name: &DomainName) -> Self {
        Self(name.as_str().to_ascii_lowercase())
    }
}

impl fmt::Display for PvdName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What makes a PvD itself. All that is known of one key is one PvD (RFC 7556 §2.2, RFC 8801 §3.4).
///
/// Explicit PvDs of one name on two interfaces are two PvDs: the name is not authenticated (RFC 7556 §7.1).
///
/// The order has no meaning but is fixed; it breaks ties.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PvdKey {
    /// What the administrator configured on an interface, and addresses that no router accounts for.
    Interface {
        /// The interface; 0 or the loopback interface for routes that refuse (blackhole and its kind).
        ifindex: u32,
    },
    /// The IPv4 configuration of an interface, whoever made it: DHCP, PPP, the administrator. The kernel does not tell them
    /// apart by router, so there is one for each interface.
    Ipv4 {
        /// The interface.
        ifindex: u32,
    },
    /// Named by its network (RFC 8801).
    Explicit {
        /// The interface.
        ifindex: u32,
        /// The PvD ID.
        name: PvdName,
    },
    /// What one router says without a name (RFC 8801 §3.4).
    Implicit {
        /// The interface.
        ifindex: u32,
        /// The router's link-local address.
        router: Ipv6Addr,
    },
}

impl PvdKey {
    /// Its interface.
    #[must_use]
    pub const fn ifindex(&self) -> u32 {
        match self {
            Self::Interface { ifindex }
            | Self::Ipv4 { ifindex }
            | Self::Explicit { ifindex, .. }
            | Self::Implicit { ifindex, .. } => *ifindex,
        }
    }

    /// Named by its network.
    #[must_use]
    pub const fn is_explicit(&self) -> bool {
        matches!(self, Self::Explicit { .. })
    }

    /// Unnamed, of one router.
    #[must_use]
    pub const fn is_implicit(&self) -> bool {
        matches!(self, Self::Implicit { .. })
    }

    /// Made by a router's advertisements rather than by what the kernel has configured.
    #[must_use]
    pub const fn is_network(&self) -> bool {
        matches!(self, Self::Explicit { .. } | Self::Implicit { .. })
    }

    /// What people call it, given its interface's name: `example.org%eth0`, `eth0/fe80::1`, `eth0/ipv4`, `eth0`. Two PvDs
    /// of one host have two ids.
    #[must_use]
    pub fn id(&self, link: &str) -> String {
        match self {
            Self::Interface { .. } => Escaped(link).to_string(),
            Self::Ipv4 { .. } => format!("{}/ipv4", Escaped(link)),
            Self::Explicit { name, .. } => format!("{}%{}", Escaped(&name.0), Escaped(link)),
            Self::Implicit { router, .. } => format!("{}/{router}", Escaped(link)),
        }
    }
}

/// Text of a network or of the kernel, safe for a terminal and free of the separators of ids: anything else than
/// printable ASCII, and `%` and `/`, as `\DDD` (RFC 1035 §5.1).
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for octet in self.0.bytes() {
            if octet.is_ascii_graphic() && !matches!(octet, b'%' | b'/') {
                write!(f, "{}", char::from(octet))?;
            } else {
                write!(f, "\\{octet:03}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pvd::testing::{explicit, implicit, name};

    #[test]
    fn ids() {
        for (key, link, id) in [
            (PvdKey::Interface { ifindex: 2 }, "eth0", "eth0"),
            (PvdKey::Interface { ifindex: 2 }, "a%b/c", "a\\037b\\047c"),
            (PvdKey::Ipv4 { ifindex: 2 }, "eth0", "eth0/ipv4"),
            (implicit(2, "fe80::1"), "eth0", "eth0/fe80::1"),
            (explicit(2, "Example.ORG"), "eth0", "example.org%eth0"),
            (explicit(2, "A_b-1.example"), "eth0", "a_b-1.example%eth0"),
        ] {
            assert_eq!(key.id(link), id);
            assert_eq!(key.ifindex(), 2);
        }
    }

    /// PV-8801-3.4-g: the case of a name makes no difference.
    #[test]
    fn names_fold_case() {
        assert_eq!(PvdName::from(&name("EXAMPLE.org")), PvdName::from(&name("example.ORG")));
        assert_ne!(PvdName::from(&name("example.org")), PvdName::from(&name("example.com")));
    }

    #[test]
    fn kinds() {
        for (key, explicit, implicit, network) in [
            (PvdKey::Interface { ifindex: 1 }, false, false, false),
            (PvdKey::Ipv4 { ifindex: 1 }, false, false, false),
            (explicit(1, "a.example"), true, false, true),
            (implicit(1, "fe80::1"), false, true, true),
        ] {
            assert_eq!(
                (key.is_explicit(), key.is_implicit(), key.is_network()),
                (explicit, implicit, network)
            );
        }
    }
}
