//! Route Information (RFC 4191 §2.3).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |    type 24    |    length     | prefix length |  -  |Prf|  -  |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                        Route Lifetime                         |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                  prefix, 0, 8 or 16 octets                    |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```

use ipnet::Ipv6Net;
use serde::{Deserialize, Serialize};

use super::{
    EmitError, OptionError, RouterPreference,
    octets::{put, u32_at},
    option::{self, kind},
    prefix_information::masked_prefix,
};

mod field {
    use std::ops::Range;

    pub(super) const PREFIX_LEN: usize = 2;
    pub(super) const FLAGS: usize = 3;
    pub(super) const ROUTE_LIFETIME: Range<usize> = 4..8;
    pub(super) const PREFIX: usize = 8;
}

/// Octets of the option with half an address in it.
const LEN_64: usize = field::PREFIX + 8;

/// Octets of the option with a whole address in it.
const LEN_128: usize = field::PREFIX + 16;

/// Type 24 (RFC 4191 §2.3).
#[derive(Clone, Copy, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct RouteInformation {
    /// The prefix, bits past its length zero.
    pub prefix: Ipv6Net,
    /// Prf
    pub preference: RouterPreference,
    /// Seconds, `u32::MAX` for ever, 0 removes.
    pub route_lifetime: u32,
}

impl RouteInformation {
    /// Reads a whole option, type and length included.
    ///
    /// # Errors
    /// A length other than 8, 16 or 24 octets, a prefix length that the option has no room for, the reserved
    /// preference.
    pub fn parse(option: &[u8]) -> Result<Self, OptionError> {
        let room = match option.len() {
            field::PREFIX => 0,
            LEN_64 => 64,
            LEN_128 => 128,
            octets => return Err(OptionError::Length { octets, expected: "8, 16 or 24" }),
        };
        let bits = option[field::PREFIX_LEN];
        if bits > room {
            return Err(OptionError::PrefixLength { bits, expected: "no more than the option has room for" });
        }
        Ok(Self {
            prefix: masked_prefix(&option[field::PREFIX..], bits)?,
            preference: RouterPreference::from_flags(option[field::FLAGS])
                .ok_or(OptionError::ReservedPreference)?,
            route_lifetime: u32_at(option, field::ROUTE_LIFETIME),
        })
    }

    /// Octets that [`RouteInformation::emit`] writes: no more than the prefix needs.
    #[must_use]
    pub const fn buffer_len(&self) -> usize {
        match self.prefix.prefix_len() {
            0 => field::PREFIX,
            1..=64 => LEN_64,
            _ => LEN_128,
        }
    }

    /// Appends the option. Bits past the prefix length are sent as zero.
    ///
    /// # Errors
    /// None today.
    pub fn emit(&self, out: &mut Vec<u8>) -> Result<(), EmitError> {
        let len = self.buffer_len();
        let option = option::begin(out, kind::ROUTE_INFORMATION, len)?;
        option[field::PREFIX_LEN] = self.prefix.prefix_len();
        option[field::FLAGS] = self.preference.to_flags();
        put(option, field::ROUTE_LIFETIME, &self.route_lifetime.to_be_bytes());
        put(option, field::PREFIX..len, &self.prefix.network().octets()[..len - field::PREFIX]);
        Ok(())
    }
}
