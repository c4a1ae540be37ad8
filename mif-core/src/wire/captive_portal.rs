//! Captive portal (RFC 8910 §2.3): the URI of the network's captive portal API (RFC 8908).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |    type 37    |    length     |            URI ...            |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                  ... padded with zero octets                  |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```
//!
//! Only its characters are checked here. Whether it is an `https` URI, and what
//! `urn:ietf:params:capport:unrestricted` means (RFC 8910 §2), is for the one who uses it. A sender should stay below
//! 256 octets (RFC 8910 §2); what fits an option is taken.

use super::{
    EmitError, OptionError,
    option::{self, UNIT, kind},
};

/// Where the URI starts.
const URI: usize = 2;

/// The URI without its padding.
pub(super) fn parse(option: &[u8]) -> Result<String, OptionError> {
    parse_uri(option::data(option))
}

/// The URI in front of zero octets: padding here, strays in DHCPv6, where RFC 8910 §2.2 knows no terminator.
pub(super) fn parse_uri(data: &[u8]) -> Result<String, OptionError> {
    let end = data.iter().rposition(|&octet| octet != 0).map_or(0, |last| last + 1);
    check(&data[..end])?;
    Ok(data[..end].iter().copied().map(char::from).collect())
}

/// Octets that [`emit`] writes.
pub(super) const fn buffer_len(uri: &str) -> usize {
    (URI + uri.len()).next_multiple_of(UNIT)
}

/// Appends the option.
pub(super) fn emit(uri: &str, out: &mut Vec<u8>) -> Result<(), EmitError> {
    check(uri.as_bytes())?;
    option::begin(out, kind::CAPTIVE_PORTAL, buffer_len(uri))?[URI..][..uri.len()]
        .copy_from_slice(uri.as_bytes());
    Ok(())
}

/// Checks the characters of a URI (RFC 3986 §2): visible ASCII.
fn check(uri: &[u8]) -> Result<(), OptionError> {
    if uri.is_empty() {
        return Err(OptionError::Empty { what: "octet of the URI" });
    }
    match uri.iter().position(|octet| !octet.is_ascii_graphic()) {
        None => Ok(()),
        Some(at) => Err(OptionError::UriOctet { at, octet: uri[at] }),
    }
}
