//! PREF64 (RFC 8781 §4): the NAT64 prefix of the network.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |    type 38    |   length 2    |   Scaled Lifetime       | PLC |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |             highest 96 bits of the prefix, 12 octets          |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```
//!
//! The lifetime counts 8 s, so that lifetime and prefix length code share a field: the field without its lowest three
//! bits is the lifetime in seconds (RFC 8781 §4.1).

use ipnet::Ipv6Net;
use serde::{Deserialize, Serialize};

use super::{
    EmitError, OptionError,
    octets::{put, u16_at},
    option::{self, kind},
    prefix_information::masked_prefix,
};

mod field {
    use std::ops::Range;

    pub(super) const LIFETIME_PLC: Range<usize> = 2..4;
    pub(super) const PREFIX: Range<usize> = 4..16;
}

/// The prefix length code in its field; the rest is the lifetime.
const PLC_MASK: u16 = 0b111;

/// Prefix lengths by their code (RFC 8781 §4).
const PREFIX_LENGTHS: [u8; 6] = [96, 64, 56, 48, 40, 32];

/// Type 38 (RFC 8781 §4).
#[derive(Clone, Copy, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct Pref64 {
    /// Of length 32, 40, 48, 56, 64 or 96, bits past its length zero.
    pub prefix: Ipv6Net,
    /// Seconds, a multiple of 8, at most 65528; 0: no longer to be used.
    pub lifetime: u16,
}

impl Pref64 {
    /// Octets of the option.
    pub const BUFFER_LEN: usize = field::PREFIX.end;

    /// Reads a whole option, type and length included.
    ///
    /// # Errors
    /// A length other than 16 octets, a prefix length code above 5.
    pub fn parse(option: &[u8]) -> Result<Self, OptionError> {
        option::expect_len(option, Self::BUFFER_LEN, "16")?;
        let lifetime_plc = u16_at(option, field::LIFETIME_PLC);
        let code = lifetime_plc & PLC_MASK;
        let bits = *PREFIX_LENGTHS.get(usize::from(code)).ok_or_else(|| OptionError::PrefixLengthCode {
            code: u8::try_from(code).expect("masked to three bits"),
        })?;
        Ok(Self { prefix: masked_prefix(&option[field::PREFIX], bits)?, lifetime: lifetime_plc & !PLC_MASK })
    }

    /// Appends the option. Bits past the prefix length are sent as zero.
    ///
    /// # Errors
    /// A prefix length that has no code, a lifetime that is not a multiple of 8; `out` is then as it was.
    pub fn emit(&self, out: &mut Vec<u8>) -> Result<(), EmitError> {
        let bits = self.prefix.prefix_len();
        let code = (0..)
            .zip(PREFIX_LENGTHS)
            .find_map(|(code, length)| (length == bits).then_some(code))
            .ok_or(OptionError::PrefixLength { bits, expected: "32, 40, 48, 56, 64 or 96" })?;
        if self.lifetime & PLC_MASK != 0 {
            return Err(EmitError::Pref64Lifetime { seconds: self.lifetime });
        }
        let option = option::begin(out, kind::PREF64, Self::BUFFER_LEN)?;
        put(option, field::LIFETIME_PLC, &(self.lifetime | code).to_be_bytes());
        put(option, field::PREFIX, &self.prefix.network().octets()[..field::PREFIX.len()]);
        Ok(())
    }
}
