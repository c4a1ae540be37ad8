//! Source Link-Layer Address (RFC 4861 §4.6.1).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |    type 1     |    length     |    link-layer address ...     |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                              ...                              |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```
//!
//! How long the address is and how it is padded is up to the link ("IPv6 over ..." documents). On Ethernet (RFC 2464
//! §6) it fills the option; elsewhere the padding stays on, for the one who knows the link.

use super::{
    EmitError, OptionError,
    option::{self, kind},
};

/// Where the address starts.
const ADDRESS: usize = 2;

/// The address with its padding.
pub(super) fn parse(option: &[u8]) -> Result<Vec<u8>, OptionError> {
    option::expect_at_least(option, option::UNIT, "at least 8")?;
    Ok(option[ADDRESS..].to_vec())
}

/// Octets that [`emit`] writes.
pub(super) const fn buffer_len(address: &[u8]) -> usize {
    ADDRESS + address.len()
}

/// Appends the option.
pub(super) fn emit(address: &[u8], out: &mut Vec<u8>) -> Result<(), EmitError> {
    option::emit_data(kind::SOURCE_LINK_LAYER_ADDRESS, address, out)
}
