//! DNS Search List (RFC 8106 §5.2).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |    type 31    |    length     |           reserved            |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                           Lifetime                            |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |         names, one behind the other, padded with zeros        |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```

use serde::{Deserialize, Serialize};

use super::{
    DomainName, EmitError, OptionError,
    octets::{put, u32_at},
    option::{self, UNIT, kind},
};

mod field {
    use std::ops::Range;

    pub(super) const LIFETIME: Range<usize> = 4..8;
    pub(super) const NAMES: usize = 8;
}

/// Type 31 (RFC 8106 §5.2).
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct DnsSearchList {
    /// Seconds, `u32::MAX` for ever, 0: no longer to be used.
    pub lifetime: u32,
    /// At least one, in the order of use.
    pub suffixes: Vec<DomainName>,
}

impl DnsSearchList {
    /// Reads a whole option, type and length included. What follows a zero octet in the place of a name is padding.
    ///
    /// # Errors
    /// A length below 16 octets, no name, or one that is none: one bad name spoils the option, because what follows it
    /// cannot be told apart.
    pub fn parse(option: &[u8]) -> Result<Self, OptionError> {
        option::expect_at_least(option, field::NAMES + UNIT, "at least 16")?;
        let mut suffixes = Vec::new();
        let mut rest = &option[field::NAMES..];
        while rest.first().is_some_and(|&octet| octet != 0) {
            let (name, taken) = DomainName::from_wire(rest)?;
            suffixes.push(name);
            rest = &rest[taken..];
        }
        if suffixes.is_empty() {
            return Err(OptionError::Empty { what: "search domain" });
        }
        Ok(Self { lifetime: u32_at(option, field::LIFETIME), suffixes })
    }

    /// Octets that [`DnsSearchList::emit`] writes.
    #[must_use]
    pub fn buffer_len(&self) -> usize {
        let names: usize = self.suffixes.iter().map(DomainName::buffer_len).sum();
        (field::NAMES + names).next_multiple_of(UNIT)
    }

    /// Appends the option.
    ///
    /// # Errors
    /// No name, more than fit an option; `out` is then as it was.
    pub fn emit(&self, out: &mut Vec<u8>) -> Result<(), EmitError> {
        if self.suffixes.is_empty() {
            return Err(OptionError::Empty { what: "search domain" }.into());
        }
        let mut names = Vec::new();
        for name in &self.suffixes {
            name.emit(&mut names);
        }
        let option = option::begin(out, kind::DNS_SEARCH_LIST, self.buffer_len())?;
        put(option, field::LIFETIME, &self.lifetime.to_be_bytes());
        put(option, field::NAMES..field::NAMES + names.len(), &names);
        Ok(())
    }
}
