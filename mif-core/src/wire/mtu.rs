//! MTU (RFC 4861 §4.6.4).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |    type 5     |   length 1    |           reserved            |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                              MTU                              |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```
//!
//! Whether the value suits the link (RFC 4861 §6.3.4) is for the one who knows the link.

use std::ops::Range;

use super::{
    EmitError, OptionError,
    octets::{put, u32_at},
    option::{self, kind},
};

mod field {
    use super::Range;

    pub(super) const MTU: Range<usize> = 4..8;
}

/// Octets of the option.
pub(super) const BUFFER_LEN: usize = field::MTU.end;

/// The MTU, octets.
pub(super) fn parse(option: &[u8]) -> Result<u32, OptionError> {
    option::expect_len(option, BUFFER_LEN, "8")?;
    Ok(u32_at(option, field::MTU))
}

/// Appends the option.
pub(super) fn emit(mtu: u32, out: &mut Vec<u8>) -> Result<(), EmitError> {
    put(option::begin(out, kind::MTU, BUFFER_LEN)?, field::MTU, &mtu.to_be_bytes());
    Ok(())
}
