//! Service parameters (RFC 9460 §2.2) as the Encrypted DNS option carries them.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |          SvcParamKey          |            length             |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                      SvcParamValue ...
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-
//! ```

use thiserror::Error;

use super::{
    OptionError,
    octets::{Cursor, u16_at},
};

/// Keys whose values have a format to check, or that must not be there (IANA, Service Parameter Keys).
pub mod key {
    /// RFC 9460 §8: keys that a client must understand.
    pub const MANDATORY: u16 = 0;
    /// RFC 9460 §7.1: application protocols.
    pub const ALPN: u16 = 1;
    /// RFC 9460 §7.1: the scheme's default protocol is not spoken.
    pub const NO_DEFAULT_ALPN: u16 = 2;
    /// RFC 9460 §7.2
    pub const PORT: u16 = 3;
    /// RFC 9460 §7.3
    pub const IPV4HINT: u16 = 4;
    /// RFC 9460 §7.3
    pub const IPV6HINT: u16 = 6;
}

/// Octets of a parameter besides its value.
const HEADER_LEN: usize = 4;

/// Why service parameters are not well formed.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum ParameterError {
    /// RFC 9460 §2.2: keys ascend, none comes twice.
    #[error("service parameter {key} after {after}, expected ascending keys")]
    Order {
        /// The key.
        key: u16,
        /// The one in front of it.
        after: u16,
    },
    /// RFC 9463 §3.1.8: addresses have a field of their own.
    #[error("service parameter {key} (an address hint), expected none")]
    AddressHint {
        /// The key.
        key: u16,
    },
    /// RFC 9460 §2.2: a value that does not have the format of its key.
    #[error("value of {octets} octets of service parameter {key}, expected {expected}")]
    Value {
        /// The key.
        key: u16,
        /// Its value's length.
        octets: usize,
        /// The format.
        expected: &'static str,
    },
}

impl ParameterError {
    /// A short stable name for counters.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Order { .. } => "parameter-order",
            Self::AddressHint { .. } => "parameter-address-hint",
            Self::Value { .. } => "parameter-value",
        }
    }
}

/// The parameters that fill `octets`.
pub(super) fn parse(octets: &[u8]) -> Result<Vec<(u16, Vec<u8>)>, OptionError> {
    let mut cursor = Cursor::new(octets);
    let mut parameters = Vec::new();
    while !cursor.rest().is_empty() {
        let key = cursor.take_u16("SvcParamKey")?;
        parameters.push((key, cursor.take_counted("SvcParamValue")?.to_vec()));
    }
    check(&parameters)?;
    Ok(parameters)
}

/// Octets that [`emit`] writes.
pub(super) fn buffer_len(parameters: &[(u16, Vec<u8>)]) -> usize {
    parameters.iter().map(|(_, value)| HEADER_LEN + value.len()).sum()
}

/// Writes the parameters to the front of `out`, which has room for them.
pub(super) fn emit(parameters: &[(u16, Vec<u8>)], out: &mut [u8]) {
    let mut rest = out;
    for (key, value) in parameters {
        let length = u16::try_from(value.len()).expect("a value is shorter than its option");
        let (place, behind) = rest.split_at_mut(HEADER_LEN + value.len());
        place[0..2].copy_from_slice(&key.to_be_bytes());
        place[2..HEADER_LEN].copy_from_slice(&length.to_be_bytes());
        place[HEADER_LEN..].copy_from_slice(value);
        rest = behind;
    }
}

/// Checks keys and values. Keys that are not known here may have any value; whether a client can do without those it
/// does not know (`mandatory`) is for the client.
pub(super) fn check(parameters: &[(u16, Vec<u8>)]) -> Result<(), ParameterError> {
    for pair in parameters.windows(2) {
        if let [(after, _), (key, _)] = pair
            && key <= after
        {
            return Err(ParameterError::Order { key: *key, after: *after });
        }
    }
    let present = |key| parameters.binary_search_by_key(&key, |(key, _)| *key).is_ok();
    for (key, value) in parameters {
        let (good, expected) = match *key {
            key::MANDATORY => (is_mandatory_list(value, present), "ascending keys that are there, without 0"),
            key::ALPN => (is_alpn_list(value), "protocol names, none of them empty"),
            key::NO_DEFAULT_ALPN => (value.is_empty() && present(key::ALPN), "nothing, beside alpn"),
            key::PORT => (value.len() == 2, "2 octets"),
            key::IPV4HINT | key::IPV6HINT => return Err(ParameterError::AddressHint { key: *key }),
            _ => (true, ""),
        };
        if !good {
            return Err(ParameterError::Value { key: *key, octets: value.len(), expected });
        }
    }
    Ok(())
}

/// RFC 9460 §8: one key or more, ascending, `mandatory` itself not among them, all of them present.
fn is_mandatory_list(value: &[u8], present: impl Fn(u16) -> bool) -> bool {
    let (keys, odd) = value.as_chunks::<2>();
    let keys = || keys.iter().map(|key| u16_at(key, 0..2));
    odd.is_empty()
        && !value.is_empty()
        && keys().is_sorted_by(|a, b| a < b)
        && keys().all(|key| key != key::MANDATORY && present(key))
}

/// RFC 9460 §7.1.1: one name or more, each of 1 to 255 octets behind its length.
fn is_alpn_list(value: &[u8]) -> bool {
    let mut rest = value;
    while let Some((&length, behind)) = rest.split_first() {
        match behind.split_at_checked(length.into()) {
            Some((name, behind)) if !name.is_empty() => rest = behind,
            _ => return false,
        }
    }
    !value.is_empty()
}
