//! Options within what contains them (RFC 8415 §21.1): two octets of code, two of length, data; no padding.

use super::{EmitError, IgnoredOption, OptionError, ParseError};

/// Octets of code and length.
const HEADER_LEN: usize = 4;

/// What was left out, in the order in which it stood.
#[derive(Debug, Default)]
pub(super) struct Ignored(pub Vec<IgnoredOption>);

impl Ignored {
    pub fn push(&mut self, at: &Tlv<'_>, reason: OptionError) {
        self.0.push(IgnoredOption { code: at.code, offset: at.offset, reason });
    }

    /// The value, or `None` and a note of why there is none.
    pub fn unless<T>(&mut self, at: &Tlv<'_>, value: Result<T, OptionError>) -> Option<T> {
        value.map_err(|reason| self.push(at, reason)).ok()
    }
}

/// One option as it stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tlv<'a> {
    /// Its code.
    pub code: u16,
    /// What follows the length.
    pub data: &'a [u8],
    /// Where its code stands in the message.
    pub offset: usize,
}

impl Tlv<'_> {
    /// Where `at` octets into the data stand in the message.
    pub const fn offset_of(&self, at: usize) -> usize {
        self.offset + HEADER_LEN + at
    }
}

/// The options that fill `octets`, which begin at `offset` of the message.
///
/// # Errors
/// When one runs past the end. Nothing is returned then: where an option ends is where the next one begins.
pub(super) fn split(octets: &[u8], offset: usize) -> Result<Vec<Tlv<'_>>, ParseError> {
    let mut options = Vec::new();
    let mut rest = octets;
    while !rest.is_empty() {
        let offset = offset + octets.len() - rest.len();
        let Some((&[a, b, c, d], behind)) = rest.split_first_chunk::<HEADER_LEN>() else {
            return Err(ParseError::TrailingOctets { offset, count: rest.len() });
        };
        let code = u16::from_be_bytes([a, b]);
        let length = usize::from(u16::from_be_bytes([c, d]));
        let Some((data, behind)) = behind.split_at_checked(length) else {
            return Err(ParseError::OptionOverrun { code, offset, octets: length, left: behind.len() });
        };
        options.push(Tlv { code, data, offset });
        rest = behind;
    }
    Ok(options)
}

/// Appends an option; `data` appends what follows the length.
///
/// # Errors
/// Those of `data`, and an option of more octets than its length can say.
pub(super) fn put(
    out: &mut Vec<u8>,
    code: u16,
    data: impl FnOnce(&mut Vec<u8>) -> Result<(), EmitError>,
) -> Result<(), EmitError> {
    out.extend_from_slice(&code.to_be_bytes());
    let length_at = out.len();
    out.extend_from_slice(&[0; 2]);
    let start = out.len();
    data(out)?;
    let octets = out.len() - start;
    let length = u16::try_from(octets).map_err(|_| EmitError::OptionTooLong { code, octets })?;
    out[length_at..start].copy_from_slice(&length.to_be_bytes());
    Ok(())
}
