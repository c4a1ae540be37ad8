//! Rows that a host adds by itself for the ULA prefixes of its own site (draft-ietf-6man-rfc6724-update): so that they go
//! before global addresses and IPv4, while ULAs of unknown sites do not.

use std::{collections::BTreeSet, net::Ipv6Addr};

use ipnet::Ipv6Net;

use super::{Prefix, Row};

/// What makes a ULA prefix known to be local. Advertisements with the SNAC router flag are none of it, and what is
/// deprecated or gone is so no longer: whoever collects these leaves such out.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum KnownBy {
    /// A Prefix Information Option, whatever its flags.
    PrefixInformation(Ipv6Net),
    /// A Route Information Option.
    RouteInformation(Ipv6Net),
    /// An address of the host's own.
    Address(Ipv6Addr),
}

/// `fd00::/8`: ULAs that their site chose itself (RFC 4193 §3.2).
const LOCALLY_ASSIGNED: Prefix = Prefix::new(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0), 8);

/// A site's prefix (RFC 4193 §3.1).
const SITE_LEN: u8 = 48;

/// A shorter route leads to more than one site is likely to have.
const SHORTEST_ROUTE_LEN: u8 = 40;

const PRECEDENCE: u8 = 45;
const LABEL: u8 = 14;

impl KnownBy {
    /// The prefix of its row, `None` if it makes none.
    fn prefix(self) -> Option<Prefix> {
        let (prefix, len) = match self {
            Self::PrefixInformation(net) => (Prefix::from(net), SITE_LEN),
            // A route to several sites stands as it is, one to a part of a site for the site.
            Self::RouteInformation(net) if net.prefix_len() >= SHORTEST_ROUTE_LEN => {
                (Prefix::from(net), net.prefix_len().min(SITE_LEN))
            }
            Self::RouteInformation(_) => return None,
            Self::Address(address) => (Prefix::host(address), SITE_LEN),
        };
        LOCALLY_ASSIGNED.covers(prefix).then(|| Prefix::from_bits(prefix.bits(), len))
    }
}

/// The rows of what is known, without repetitions, in the order of their prefixes; for
/// [`super::PolicyTable::with_automatic`].
#[must_use]
pub fn rows(known: impl IntoIterator<Item = KnownBy>) -> Vec<Row> {
    let prefixes: BTreeSet<Prefix> = known.into_iter().filter_map(KnownBy::prefix).collect();
    prefixes.into_iter().map(|prefix| Row { prefix, precedence: PRECEDENCE, label: LABEL }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_a_row() {
        let net = |text: &str| text.parse::<Ipv6Net>().expect("a literal");
        let pio = |text| KnownBy::PrefixInformation(net(text));
        let rio = |text| KnownBy::RouteInformation(net(text));
        let own = |text: &str| KnownBy::Address(text.parse().expect("a literal"));
        for (known, expected) in [
            (pio("fd11:1111:1111:1::/64"), Some("fd11:1111:1111::/48")),
            (pio("fd11:1111:1111::/48"), Some("fd11:1111:1111::/48")),
            (pio("fd11:1111::/32"), Some("fd11:1111::/48")),
            (pio("fd00::/7"), None),
            (pio("fc11:1111:1111:1::/64"), None),
            (pio("2001:db8:1::/64"), None),
            (rio("fd11:1111:1111:1::/64"), Some("fd11:1111:1111::/48")),
            (rio("fd11:1111:1111::/48"), Some("fd11:1111:1111::/48")),
            (rio("fd11:1111:1100::/40"), Some("fd11:1111:1100::/40")),
            (rio("fd11:1111:1000::/39"), None),
            (rio("2001:db8::/48"), None),
            (own("fd11:1111:1111:1::1"), Some("fd11:1111:1111::/48")),
            (own("fc11::1"), None),
            (own("2001:db8::1"), None),
            (own("::ffff:10.0.0.1"), None),
        ] {
            let found = rows([known, known]);
            let found: Vec<_> = found.iter().map(|row| (row.prefix, row.precedence, row.label)).collect();
            let expected: Vec<_> =
                expected.map(|text| (Prefix::from(net(text)), 45, 14)).into_iter().collect();
            assert_eq!(found, expected, "{known:?}");
        }
        assert_eq!(rows([]), []);
    }
}
