//! A prefix as two numbers: selection compares, masks and sorts some hundred thousand of them.

use std::net::Ipv6Addr;

use ipnet::Ipv6Net;
use serde::{Deserialize, Serialize};

/// Bits of an address.
pub const ADDRESS_BITS: u8 = 128;

/// A prefix of the 128-bit space, bits past its length zero.
///
/// The order is that of a depth-first walk: a prefix stands before all that it covers, and these before all else.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Deserialize, Serialize)]
#[serde(from = "Ipv6Net", into = "Ipv6Net")]
pub struct Prefix {
    /// In two halves, each aligned as what it stands beside: a thousand PvDs make some ten thousand of them.
    high: u64,
    low: u64,
    len: u8,
}

impl Prefix {
    /// `::/0`
    pub const ALL: Self = Self { high: 0, low: 0, len: 0 };

    /// The leading `len` bits (0..=128, more is taken as 128) of an address.
    #[must_use]
    pub const fn new(address: Ipv6Addr, len: u8) -> Self {
        Self::from_bits(address.to_bits(), len)
    }

    /// The leading `len` bits (0..=128, more is taken as 128) of an address in host byte order.
    #[must_use]
    pub const fn from_bits(bits: u128, len: u8) -> Self {
        let len = if len > ADDRESS_BITS { ADDRESS_BITS } else { len };
        let bits = bits & mask(len);
        Self { high: (bits >> 64) as u64, low: bits as u64, len }
    }

    /// The prefix of this one address.
    #[must_use]
    pub const fn host(address: Ipv6Addr) -> Self {
        Self::new(address, ADDRESS_BITS)
    }

    /// Its first address, in host byte order.
    #[must_use]
    pub const fn bits(self) -> u128 {
        (self.high as u128) << 64 | self.low as u128
    }

    /// Its length, 0..=128.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "the length of a prefix; no prefix is empty")]
    pub const fn len(self) -> u8 {
        self.len
    }

    /// Whether every address of `other` is one of this prefix.
    #[must_use]
    pub const fn covers(self, other: Self) -> bool {
        self.len <= other.len && (self.bits() ^ other.bits()) & mask(self.len) == 0
    }

    /// How many leading bits both have and share, 0..=128.
    #[must_use]
    pub fn common_len(self, other: Self) -> u8 {
        common_bits(self.bits(), other.bits()).min(self.len).min(other.len)
    }
}

/// The leading `len` bits set, `len` at most 128.
const fn mask(len: u8) -> u128 {
    if len == 0 { 0 } else { u128::MAX << (ADDRESS_BITS - len) }
}

/// How many leading bits are equal, 0..=128.
pub(super) const fn common_bits(a: u128, b: u128) -> u8 {
    // At most 128.
    (a ^ b).leading_zeros() as u8
}

impl From<Ipv6Net> for Prefix {
    fn from(net: Ipv6Net) -> Self {
        Self::new(net.addr(), net.prefix_len())
    }
}

impl From<Prefix> for Ipv6Net {
    fn from(prefix: Prefix) -> Self {
        Self::new_assert(Ipv6Addr::from_bits(prefix.bits()), prefix.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(text: &str) -> Prefix {
        text.parse::<Ipv6Net>().expect("a literal").into()
    }

    #[test]
    fn covering() {
        for (a, b, covers, common) in [
            ("::/0", "::/0", true, 0),
            ("::/0", "2001:db8::/32", true, 0),
            ("2001:db8::/32", "::/0", false, 0),
            ("2001:db8::/32", "2001:db8:ffff::/48", true, 32),
            ("2001:db8::/32", "2001:db9::/32", false, 31),
            ("2001:db8::1/128", "2001:db8::1/128", true, 128),
            ("2001:db8::1/128", "2001:db8::/128", false, 127),
            ("2001:db8::ffff/32", "2001:db8::/32", true, 32),
        ] {
            assert_eq!(prefix(a).covers(prefix(b)), covers, "{a} {b}");
            assert_eq!(prefix(a).common_len(prefix(b)), common, "{a} {b}");
        }
    }

    #[test]
    fn depth_first_order() {
        let ordered = [
            "::/0",
            "2000::/3",
            "2001:db8::/32",
            "2001:db8::/48",
            "2001:db8::/128",
            "2001:db8:1::/48",
            "fc00::/7",
        ];
        assert!(ordered.is_sorted_by_key(|text| prefix(text)), "{ordered:?}");
    }
}
