//! One address form for both families: 128 bits, IPv4 as `::ffff:a.b.c.d` (RFC 4291 §2.5.5.2).

use core::net::{Ipv4Addr, Ipv6Addr};

use bytemuck::{Pod, Zeroable};

/// An IPv6 (or v4-mapped) address as the four words of the kernel's `in6_addr.s6_addr32`, each in network byte order.
///
/// Words rather than octets, because that is how the socket-address contexts hand addresses out
/// (`bpf_sock_addr.user_ip6`), and the verifier wants them copied word by word.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq, Pod, Zeroable)]
pub struct Addr {
    /// The words, most significant first, each in network byte order.
    pub words: [u32; 4],
}

impl Addr {
    /// The unspecified address `::`.
    pub const UNSPECIFIED: Self = Self { words: [0; 4] };

    /// An address from the words of an `in6_addr`.
    #[inline(always)]
    #[must_use]
    pub const fn from_words(words: [u32; 4]) -> Self {
        Self { words }
    }

    /// The IPv4 address of a socket or packet, in network byte order. `0.0.0.0` becomes `::`, so that "none" has one form.
    #[inline(always)]
    #[must_use]
    pub const fn from_ipv4(address_be: u32) -> Self {
        if address_be == 0 {
            return Self::UNSPECIFIED;
        }
        Self { words: [0, 0, 0xffff_u32.to_be(), address_be] }
    }

    /// `::ffff:0.0.0.0`, as an AF_INET6 socket bound to no IPv4 address has it, becomes `::`.
    #[inline(always)]
    #[must_use]
    pub const fn or_unspecified(self) -> Self {
        if self.is_v4_mapped() && self.words[3] == 0 { Self::UNSPECIFIED } else { self }
    }

    /// The IPv4 address in network byte order; what it says of an address that is not v4-mapped has no meaning.
    #[inline(always)]
    #[must_use]
    pub const fn ipv4_be(&self) -> u32 {
        self.words[3]
    }

    /// `::`
    #[inline(always)]
    #[must_use]
    pub const fn is_unspecified(&self) -> bool {
        self.words[0] | self.words[1] | self.words[2] | self.words[3] == 0
    }

    /// `::1`, `127.0.0.0/8`
    #[inline(always)]
    #[must_use]
    pub const fn is_loopback(&self) -> bool {
        if self.is_v4_mapped() {
            return self.ipv4() >> 24 == 127;
        }
        self.words[0] | self.words[1] | self.words[2] == 0 && self.words[3] == 1u32.to_be()
    }

    /// `ff00::/8` (RFC 4291 §2.7), `224.0.0.0/4` (RFC 5771).
    #[inline(always)]
    #[must_use]
    pub const fn is_multicast(&self) -> bool {
        if self.is_v4_mapped() {
            return self.ipv4() >> 28 == 0xe;
        }
        u32::from_be(self.words[0]) >> 24 == 0xff
    }

    /// `fe80::/10` (RFC 4291 §2.5.6), `169.254.0.0/16` (RFC 3927).
    #[inline(always)]
    #[must_use]
    pub const fn is_link_local(&self) -> bool {
        if self.is_v4_mapped() {
            return self.ipv4() >> 16 == 0xa9fe;
        }
        u32::from_be(self.words[0]) >> 22 == 0xfe80 >> 6
    }

    /// Whether packets to this address never leave the link or the host: unspecified, loopback, link-local, multicast, and of
    /// IPv4 also `0.0.0.0/8`, "this network", and `255.255.255.255`, all hosts of the link (RFC 6890 §2.2.2).
    ///
    /// Each factor is zero for one of the prefixes and the products cannot overflow, so that a few comparisons do for all: every
    /// branch doubles what the kernel's verifier walks behind it.
    #[inline(always)]
    #[must_use]
    pub const fn stays_on_link(&self) -> bool {
        if self.is_v4_mapped() {
            let address = self.ipv4() as u64;
            let prefixes = address * (address >> 24 ^ 127) * (address >> 28 ^ 0xe) * (address >> 16 ^ 0xa9fe);
            return prefixes == 0 || self.ipv4() == u32::MAX;
        }
        let first = u32::from_be(self.words[0]) as u64;
        (first >> 22 ^ 0xfe80 >> 6) * (first >> 24 ^ 0xff) == 0
            || self.words[0] | self.words[1] | self.words[2] == 0 && u32::from_be(self.words[3]) <= 1
    }

    #[inline(always)]
    const fn ipv4(&self) -> u32 {
        u32::from_be(self.words[3])
    }

    /// `::ffff:0:0/96`, the form of every IPv4 address here.
    #[inline(always)]
    #[must_use]
    pub const fn is_v4_mapped(&self) -> bool {
        self.words[0] | self.words[1] == 0 && self.words[2] == 0xffffu32.to_be()
    }

    /// Whether the leading `bits` bits (0..=128, more is taken as 128) are those of `other`.
    #[inline(always)]
    #[must_use]
    pub const fn shares_prefix(&self, other: &Self, bits: u32) -> bool {
        // Unrolled by hand: the verifier follows a loop with a variable bound once per iteration.
        word_shares(self.words[0], other.words[0], bits)
            && word_shares(self.words[1], other.words[1], bits.saturating_sub(32))
            && word_shares(self.words[2], other.words[2], bits.saturating_sub(64))
            && word_shares(self.words[3], other.words[3], bits.saturating_sub(96))
    }
}

/// Whether the leading `bits` bits of two network-order words are equal.
#[inline(always)]
const fn word_shares(a: u32, b: u32, bits: u32) -> bool {
    if bits == 0 {
        return true;
    }
    let mask = if bits >= 32 { u32::MAX } else { !(u32::MAX >> bits) };
    (a ^ b) & mask.to_be() == 0
}

impl From<Ipv6Addr> for Addr {
    fn from(address: Ipv6Addr) -> Self {
        Self { words: bytemuck::cast(address.octets()) }
    }
}

impl From<Ipv4Addr> for Addr {
    fn from(address: Ipv4Addr) -> Self {
        address.to_ipv6_mapped().into()
    }
}

impl From<Addr> for Ipv6Addr {
    fn from(address: Addr) -> Self {
        Self::from(bytemuck::cast::<_, [u8; 16]>(address.words))
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::string::ToString as _;

    use super::*;

    fn addr(text: &str) -> Addr {
        text.parse::<Ipv6Addr>().expect("a literal").into()
    }

    #[test]
    fn kinds() {
        for (text, link_local, multicast, loopback, unspecified, mapped) in [
            ("::", false, false, false, true, false),
            ("::1", false, false, true, false, false),
            ("fe80::1", true, false, false, false, false),
            ("febf:ffff::1", true, false, false, false, false),
            ("fec0::1", false, false, false, false, false),
            ("ff02::2", false, true, false, false, false),
            ("::ffff:192.0.2.1", false, false, false, false, true),
            ("::ffff:169.254.0.1", true, false, false, false, true),
            ("::ffff:169.253.0.1", false, false, false, false, true),
            ("::ffff:239.1.1.1", false, true, false, false, true),
            ("::ffff:240.0.0.1", false, false, false, false, true),
            ("::ffff:127.255.0.1", false, false, true, false, true),
            ("2001:db8::1", false, false, false, false, false),
        ] {
            let a = addr(text);
            assert_eq!(a.is_link_local(), link_local, "{text}");
            assert_eq!(a.is_multicast(), multicast, "{text}");
            assert_eq!(a.is_loopback(), loopback, "{text}");
            assert_eq!(a.is_unspecified(), unspecified, "{text}");
            assert_eq!(a.is_v4_mapped(), mapped, "{text}");
            assert_eq!(Ipv6Addr::from(a).to_string(), text);
        }
    }

    #[test]
    fn what_stays_on_the_link() {
        for (text, stays) in [
            ("::", true),
            ("::1", true),
            ("::2", false),
            ("fe80::", true),
            ("febf:ffff::1", true),
            ("fec0::", false),
            ("fe7f::", false),
            ("ff00::", true),
            ("feff::", false),
            ("ffff::1", true),
            ("2001:db8::1", false),
            ("::ffff:0.0.0.0", true),
            ("::ffff:0.0.0.1", false),
            ("::ffff:0.255.255.255", false),
            ("::ffff:1.0.0.0", false),
            ("::ffff:126.255.255.255", false),
            ("::ffff:127.0.0.1", true),
            ("::ffff:128.0.0.0", false),
            ("::ffff:169.253.255.255", false),
            ("::ffff:169.254.0.0", true),
            ("::ffff:169.255.0.0", false),
            ("::ffff:223.255.255.255", false),
            ("::ffff:224.0.0.0", true),
            ("::ffff:239.255.255.255", true),
            ("::ffff:240.0.0.0", false),
            ("::ffff:255.255.255.254", false),
            ("::ffff:255.255.255.255", true),
            ("::fffe:127.0.0.1", false),
        ] {
            assert_eq!(addr(text).stays_on_link(), stays, "{text}");
        }
    }

    #[test]
    fn ipv4() {
        let address: Ipv4Addr = "192.0.2.1".parse().expect("a literal");
        let a = Addr::from_ipv4(u32::from(address).to_be());
        assert_eq!((a, a.ipv4_be()), (address.into(), u32::from(address).to_be()));
        assert_eq!(Addr::from_ipv4(0), Addr::UNSPECIFIED);
        assert_eq!(Addr::from(Ipv4Addr::UNSPECIFIED).or_unspecified(), Addr::UNSPECIFIED);
        assert_eq!(addr("::ffff:0.0.0.1").or_unspecified(), addr("::ffff:0.0.0.1"));
        assert_eq!(addr("2001:db8::").or_unspecified(), addr("2001:db8::"));
    }

    #[test]
    fn prefixes() {
        for (a, b, bits, shares) in [
            ("2001:db8::1", "2001:db8::2", 64, true),
            ("2001:db8::1", "2001:db8::2", 126, true),
            ("2001:db8::1", "2001:db8::2", 127, false),
            ("2001:db8::1", "2001:db8::1", 128, true),
            ("2001:db8::1", "2001:db8::1", 200, true),
            ("2001:db8:8000::", "2001:db8::", 32, true),
            ("2001:db8:8000::", "2001:db8::", 33, false),
            ("::", "ffff::", 0, true),
        ] {
            assert_eq!(addr(a).shares_prefix(&addr(b), bits), shares, "{a} {b} /{bits}");
        }
    }
}
