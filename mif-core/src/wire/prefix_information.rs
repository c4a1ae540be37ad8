//! Prefix Information (RFC 4861 §4.6.2).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |    type 3     |   length 4    | prefix length |L|A|R| reserved|
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                        Valid Lifetime                         |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                      Preferred Lifetime                       |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                           reserved                            |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                       prefix, 16 octets                       |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```

use ipnet::Ipv6Net;
use serde::{Deserialize, Serialize};

use super::{
    EmitError, OptionError,
    octets::{address_from_prefix, put, u32_at},
    option::{self, kind},
};

mod field {
    use std::ops::Range;

    pub(super) const PREFIX_LEN: usize = 2;
    pub(super) const FLAGS: usize = 3;
    pub(super) const VALID_LIFETIME: Range<usize> = 4..8;
    pub(super) const PREFERRED_LIFETIME: Range<usize> = 8..12;
    pub(super) const PREFIX: Range<usize> = 16..32;
}

mod flag {
    /// L
    pub(super) const ON_LINK: u8 = 0x80;
    /// A
    pub(super) const AUTONOMOUS: u8 = 0x40;
    /// R (RFC 6275 §7.2)
    pub(super) const ROUTER_ADDRESS: u8 = 0x20;
}

/// Type 3 (RFC 4861 §4.6.2).
///
/// A preferred lifetime above the valid one, which a sender must not send, is kept: autoconfiguration ignores such an
/// option (RFC 4862 §5.5.3 c), the on-link prefix stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct PrefixInformation {
    /// The prefix, bits past its length zero.
    pub prefix: Ipv6Net,
    /// L
    pub on_link: bool,
    /// A
    pub autonomous: bool,
    /// R (RFC 6275)
    pub router_address: bool,
    /// Seconds, `u32::MAX` for ever.
    pub valid_lifetime: u32,
    /// Seconds, `u32::MAX` for ever.
    pub preferred_lifetime: u32,
}

impl PrefixInformation {
    /// Octets of the option.
    pub const BUFFER_LEN: usize = field::PREFIX.end;

    /// Reads a whole option, type and length included.
    ///
    /// # Errors
    /// A length other than 32 octets, a prefix length above 128.
    pub fn parse(option: &[u8]) -> Result<Self, OptionError> {
        option::expect_len(option, Self::BUFFER_LEN, "32")?;
        let flags = option[field::FLAGS];
        Ok(Self {
            prefix: masked_prefix(&option[field::PREFIX], option[field::PREFIX_LEN])?,
            on_link: flags & flag::ON_LINK != 0,
            autonomous: flags & flag::AUTONOMOUS != 0,
            router_address: flags & flag::ROUTER_ADDRESS != 0,
            valid_lifetime: u32_at(option, field::VALID_LIFETIME),
            preferred_lifetime: u32_at(option, field::PREFERRED_LIFETIME),
        })
    }

    /// Appends the option. Bits past the prefix length are sent as zero.
    ///
    /// # Errors
    /// None today.
    pub fn emit(&self, out: &mut Vec<u8>) -> Result<(), EmitError> {
        let option = option::begin(out, kind::PREFIX_INFORMATION, Self::BUFFER_LEN)?;
        option[field::PREFIX_LEN] = self.prefix.prefix_len();
        option[field::FLAGS] = [
            (self.on_link, flag::ON_LINK),
            (self.autonomous, flag::AUTONOMOUS),
            (self.router_address, flag::ROUTER_ADDRESS),
        ]
        .into_iter()
        .filter(|(set, _)| *set)
        .fold(0, |octet, (_, flag)| octet | flag);
        put(option, field::VALID_LIFETIME, &self.valid_lifetime.to_be_bytes());
        put(option, field::PREFERRED_LIFETIME, &self.preferred_lifetime.to_be_bytes());
        put(option, field::PREFIX, &self.prefix.network().octets());
        Ok(())
    }
}

/// The prefix of this length whose leading octets are these, bits past its length zero.
pub(super) fn masked_prefix(octets: &[u8], bits: u8) -> Result<Ipv6Net, OptionError> {
    Ipv6Net::new(address_from_prefix(octets), bits)
        .map(|prefix| prefix.trunc())
        .map_err(|_| OptionError::PrefixLength { bits, expected: "at most 128" })
}
