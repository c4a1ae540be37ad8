//! Address selection policy (RFC 7078 §2): flags, and the rows of a policy table.
//!
//! ```text
//! Address Selection (84)                Policy Table (85), inside of it
//! +-+-+-+-+-+-+-+-+                     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! | reserved  |A|P|  rows ...           |     label     |  precedence   |
//! +-+-+-+-+-+-+-+-+                     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//!                                       | prefix-length |  prefix ...
//!                                       +-+-+-+-+-+-+-+-+-+-+-+-
//! ```
//!
//! A table is meaningful only as a whole: one bad row spoils all of it (§2 says so of a prefix length above 128).

use ipnet::Ipv6Net;
use serde::{Deserialize, Serialize};

use super::{
    EmitError, OptionError, ParseError,
    option::code,
    tlv::{self, Ignored, Tlv},
};
use crate::wire::{self, octets::address_from_prefix};

/// Flags.
const AUTOMATIC_ROWS: u8 = 0x02;
const PRIVACY: u8 = 0x01;

/// Octets of a row before its prefix.
const ROW_FIXED: usize = 3;

/// Option 84 with its rows.
#[derive(Clone, Debug, Default, Eq, PartialEq, Deserialize, Serialize)]
pub struct AddressSelection {
    /// A: the host may add rows of its own. Means nothing beside rows.
    pub automatic_rows: bool,
    /// P: temporary addresses may be preferred, as is the default; otherwise public ones are.
    pub privacy_preference: bool,
    /// The table; none: only the flags are meant.
    pub rows: Vec<PolicyRow>,
}

/// Option 85.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct PolicyRow {
    /// Which addresses; those of IPv4 as `::ffff:0:0/96`.
    pub prefix: Ipv6Net,
    /// The larger, the sooner a destination is tried.
    pub precedence: u8,
    /// A source and a destination of one label fit together.
    pub label: u8,
}

impl AddressSelection {
    /// Reads the data of an option. `Ok(None)`: ignored.
    pub(super) fn parse(at: &Tlv<'_>, ignored: &mut Ignored) -> Result<Option<Self>, ParseError> {
        let Some((flags, rows)) = at.data.split_first() else {
            ignored.push(at, OptionError::Length { octets: 0, expected: "at least 1" });
            return Ok(None);
        };
        let mut selection = Self {
            automatic_rows: flags & AUTOMATIC_ROWS != 0,
            privacy_preference: flags & PRIVACY != 0,
            rows: Vec::new(),
        };
        for row in tlv::split(rows, at.offset_of(1))? {
            if row.code != code::POLICY_TABLE_ROW {
                continue;
            }
            match PolicyRow::parse(row.data) {
                Ok(row) => selection.rows.push(row),
                Err(reason) => {
                    ignored.push(at, reason);
                    return Ok(None);
                }
            }
        }
        Ok(Some(selection))
    }

    pub(super) fn emit(&self, out: &mut Vec<u8>) -> Result<(), EmitError> {
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        out.push(flag(self.automatic_rows, AUTOMATIC_ROWS) | flag(self.privacy_preference, PRIVACY));
        for row in &self.rows {
            tlv::put(out, code::POLICY_TABLE_ROW, |out| {
                let length = row.prefix.prefix_len();
                out.extend_from_slice(&[row.label, row.precedence, length]);
                out.extend_from_slice(&row.prefix.trunc().addr().octets()[..octets_of(length)]);
                Ok(())
            })?;
        }
        Ok(())
    }
}

impl PolicyRow {
    fn parse(data: &[u8]) -> Result<Self, OptionError> {
        let Some((&[label, precedence, bits], prefix)) = data.split_first_chunk::<ROW_FIXED>() else {
            return Err(OptionError::Length { octets: data.len(), expected: "a row of at least 3" });
        };
        let error = wire::OptionError::PrefixLength { bits, expected: "0 to 128" };
        let net = Ipv6Net::new(address_from_prefix(prefix), bits).map_err(|_| error)?;
        let expected = octets_of(bits);
        if prefix.len() != expected {
            return Err(OptionError::RowPrefix { bits, octets: prefix.len(), expected });
        }
        Ok(Self { prefix: net.trunc(), precedence, label })
    }
}

/// Octets of a prefix of so many bits.
fn octets_of(bits: u8) -> usize {
    usize::from(bits).div_ceil(8)
}
