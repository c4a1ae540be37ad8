//! Domain names (RFC 1035 §3.1) as Neighbor Discovery options carry them: uncompressed.
//!
//! ```text
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-   -+-+-+-+-+-+-+-+-+-+-+-+-+-   -+-+-+-+-+-+-+-+
//! | label length  | label ...       | label length  | label ...   |   0 (root)    |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-   -+-+-+-+-+-+-+-+-+-+-+-+-+-   -+-+-+-+-+-+-+-+
//! ```
//!
//! DNS itself lets a label hold any octet. Here a label is made of letters, digits, `-` and `_`, because these names
//! come from whoever answers on the link and end up in URLs (RFC 8801 §4.1), in resolver configuration and on terminals,
//! and the names of hosts, PvDs and search domains need no more. Any other octet is an error.

use std::{
    cmp::Ordering,
    fmt,
    hash::{Hash, Hasher},
    str::FromStr,
};

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The longest label, octets (RFC 1035 §2.3.4).
pub const LABEL_MAX: usize = 63;

/// The longest name on the wire, octets, the root's included (RFC 1035 §2.3.4).
pub const NAME_MAX: usize = 255;

/// The longest name as text without the trailing dot: on the wire there are the first length octet and the root's more.
const TEXT_MAX: usize = NAME_MAX - 2;

/// Why octets or text are not a name.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum NameError {
    /// The root alone, or no text: nobody's name.
    #[error("empty name, expected at least one label")]
    Empty,
    /// Two dots in a row, or one in front.
    #[error("empty label at {at}")]
    EmptyLabel {
        /// Where in the text.
        at: usize,
    },
    /// [`LABEL_MAX`]
    #[error("label of {length} characters at {at}, expected at most {LABEL_MAX}")]
    LabelTooLong {
        /// Where in the text.
        at: usize,
        /// Its length.
        length: usize,
    },
    /// A compression pointer (0xc0 and up) or a kind of label that nobody uses (0x40 to 0xbf).
    #[error(
        "octet {octet:#04x} at {at} of a name, expected a label length (0 to 63): compression is not allowed"
    )]
    LabelType {
        /// Where in the octets.
        at: usize,
        /// The octet.
        octet: u8,
    },
    /// Not one of the octets that a label may have.
    #[error("octet {octet:#04x} at {at} of a name, expected a letter, a digit, - or _")]
    LabelOctet {
        /// Where in the octets or the text.
        at: usize,
        /// The octet.
        octet: u8,
    },
    /// [`NAME_MAX`]
    #[error("name longer than {NAME_MAX} octets on the wire")]
    TooLong,
    /// The octets end before the root label.
    #[error("name cut off after {octets} octets, expected a zero octet at its end")]
    Truncated {
        /// The octets there are.
        octets: usize,
    },
}

impl NameError {
    /// A short stable name for counters.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Empty => "name-empty",
            Self::EmptyLabel { .. } => "name-empty-label",
            Self::LabelTooLong { .. } => "name-label-too-long",
            Self::LabelType { .. } => "name-label-type",
            Self::LabelOctet { .. } => "name-label-octet",
            Self::TooLong => "name-too-long",
            Self::Truncated { .. } => "name-truncated",
        }
    }
}

/// A name of at least one label, without the trailing dot, compared without regard to ASCII case (RFC 4343) and kept
/// in the case it came in.
#[derive(Clone, Debug, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct DomainName(String);

impl DomainName {
    /// The name at the front of `octets`, and how many octets it takes there.
    ///
    /// # Errors
    /// When no name is there; see [`NameError`].
    pub fn from_wire(octets: &[u8]) -> Result<(Self, usize), NameError> {
        let mut text = String::new();
        let mut at = 0;
        loop {
            let length = match octets.get(at) {
                None => return Err(NameError::Truncated { octets: octets.len() }),
                Some(0) => break,
                Some(&octet) if usize::from(octet) > LABEL_MAX => {
                    return Err(NameError::LabelType { at, octet });
                }
                Some(&octet) => usize::from(octet),
            };
            let start = at + 1;
            // The root's octet must still fit behind this label.
            if start + length >= NAME_MAX {
                return Err(NameError::TooLong);
            }
            let label =
                octets.get(start..start + length).ok_or(NameError::Truncated { octets: octets.len() })?;
            if !text.is_empty() {
                text.push('.');
            }
            for (at, &octet) in (start..).zip(label) {
                text.push(label_char(at, octet)?);
            }
            at = start + length;
        }
        if text.is_empty() { Err(NameError::Empty) } else { Ok((Self(text), at + 1)) }
    }

    /// Octets that [`DomainName::emit`] writes, at most [`NAME_MAX`].
    #[must_use]
    pub const fn buffer_len(&self) -> usize {
        self.0.len() + 2
    }

    /// Appends the name in wire form.
    pub fn emit(&self, out: &mut Vec<u8>) {
        for label in self.labels() {
            out.push(u8::try_from(label.len()).expect("a label has at most 63 characters"));
            out.extend_from_slice(label.as_bytes());
        }
        out.push(0);
    }

    /// The name as text, without a dot at its end.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its labels, the root's left out.
    pub fn labels(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('.')
    }

    /// Its octets as they compare.
    fn folded(&self) -> impl Iterator<Item = u8> {
        self.0.bytes().map(|octet| octet.to_ascii_lowercase())
    }
}

/// The character of an octet that a label may have.
fn label_char(at: usize, octet: u8) -> Result<char, NameError> {
    if octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_') {
        Ok(octet.into())
    } else {
        Err(NameError::LabelOctet { at, octet })
    }
}

/// Checks a name as text, without a dot at its end.
fn check(text: &str) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    if text.len() > TEXT_MAX {
        return Err(NameError::TooLong);
    }
    let mut at = 0;
    for label in text.split('.') {
        match label.len() {
            0 => return Err(NameError::EmptyLabel { at }),
            1..=LABEL_MAX => {}
            length => return Err(NameError::LabelTooLong { at, length }),
        }
        for (at, octet) in (at..).zip(label.bytes()) {
            label_char(at, octet)?;
        }
        at += label.len() + 1;
    }
    Ok(())
}

impl FromStr for DomainName {
    type Err = NameError;

    /// A name as text, with or without a dot at its end.
    fn from_str(text: &str) -> Result<Self, NameError> {
        let text = text.strip_suffix('.').unwrap_or(text);
        check(text)?;
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for DomainName {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<DomainName> for String {
    fn from(name: DomainName) -> Self {
        name.0
    }
}

impl AsRef<str> for DomainName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl PartialEq for DomainName {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Hash for DomainName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for octet in self.folded() {
            state.write_u8(octet);
        }
        // No name is the front of another one's hash input.
        state.write_u8(0);
    }
}

impl Ord for DomainName {
    fn cmp(&self, other: &Self) -> Ordering {
        self.folded().cmp(other.folded())
    }
}

impl PartialOrd for DomainName {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, iter};

    use proptest::prelude::*;

    use super::*;
    use crate::wire::testing::strategy;

    /// A name of this many characters, in labels of 63 and what is left.
    fn long(length: usize) -> String {
        let label = |length| "a".repeat(length);
        let full = length / (LABEL_MAX + 1);
        let labels: Vec<_> =
            iter::repeat_n(label(LABEL_MAX), full).chain([label(length % (LABEL_MAX + 1))]).collect();
        labels.join(".")
    }

    #[test]
    fn text() {
        for (text, expected) in [
            ("example.org", Ok("example.org")),
            ("EXAMPLE.org.", Ok("EXAMPLE.org")),
            ("_dns.resolver-1.arpa", Ok("_dns.resolver-1.arpa")),
            ("a", Ok("a")),
            ("", Err(NameError::Empty)),
            (".", Err(NameError::Empty)),
            ("..", Err(NameError::EmptyLabel { at: 0 })),
            ("a..b", Err(NameError::EmptyLabel { at: 2 })),
            (".a", Err(NameError::EmptyLabel { at: 0 })),
            ("a b", Err(NameError::LabelOctet { at: 1, octet: b' ' })),
            ("org.ex/ample", Err(NameError::LabelOctet { at: 6, octet: b'/' })),
            ("m\u{fc}nchen.de", Err(NameError::LabelOctet { at: 1, octet: 0xc3 })),
            (&long(63), Ok(&long(63))),
            (&"a".repeat(64), Err(NameError::LabelTooLong { at: 0, length: 64 })),
            (&format!("a.{}", "b".repeat(64)), Err(NameError::LabelTooLong { at: 2, length: 64 })),
            (&long(253), Ok(&long(253))),
            (&format!("{}.", long(253)), Ok(&long(253))),
            (&long(254), Err(NameError::TooLong)),
        ] {
            let name = text.parse::<DomainName>();
            assert_eq!(name.as_ref().map(DomainName::as_str).map_err(|error| *error), expected, "{text:?}");
        }
    }

    #[test]
    fn wire() {
        for (octets, expected) in [
            (&b"\x07example\x03org\x00"[..], Ok(("example.org", 13))),
            (b"\x01a\x00\x03rest", Ok(("a", 3))),
            (b"", Err(NameError::Truncated { octets: 0 })),
            (b"\x00", Err(NameError::Empty)),
            (b"\x01a", Err(NameError::Truncated { octets: 2 })),
            (b"\x07exam", Err(NameError::Truncated { octets: 5 })),
            (b"\x01a\xc0\x00", Err(NameError::LabelType { at: 2, octet: 0xc0 })),
            (b"\x40a\x00", Err(NameError::LabelType { at: 0, octet: 0x40 })),
            (b"\x03a.b\x00", Err(NameError::LabelOctet { at: 2, octet: b'.' })),
            (b"\x03a\x00b\x00", Err(NameError::LabelOctet { at: 2, octet: 0 })),
            (b"\x02a\n\x00", Err(NameError::LabelOctet { at: 2, octet: b'\n' })),
        ] {
            let name = DomainName::from_wire(octets);
            let name = name.as_ref().map(|(name, taken)| (name.as_str(), *taken)).map_err(|error| *error);
            assert_eq!(name, expected, "{octets:?}");
        }
    }

    /// RFC 1035 §2.3.4: 255 octets, of text 253.
    #[test]
    fn longest() {
        for (last, expected) in [(61, Ok(NAME_MAX)), (62, Err(NameError::TooLong))] {
            let mut octets = Vec::new();
            for length in [63, 63, 63, last] {
                octets.push(length);
                octets.extend(iter::repeat_n(b'a', length.into()));
            }
            octets.push(0);
            assert_eq!(DomainName::from_wire(&octets).map(|(_, taken)| taken), expected, "{last}");
        }
    }

    #[test]
    fn deserialize_checks() {
        type Deserializer<'a> = serde::de::value::StrDeserializer<'a, serde::de::value::Error>;
        let deserialize = |text| DomainName::deserialize(Deserializer::new(text));
        assert_eq!(deserialize("example.org").expect("a name").as_str(), "example.org");
        let error = deserialize("a..b").expect_err("an empty label");
        assert_eq!(error.to_string(), NameError::EmptyLabel { at: 2 }.to_string());
    }

    /// PV-8801-3.4-g: names compare without case and trailing dot, and so do their hashes.
    #[test]
    fn rfc4343() {
        let name = |text: &str| text.parse::<DomainName>().expect("a name");
        assert_eq!(name("EXAMPLE.org."), name("example.ORG"));
        assert_ne!(name("example.org"), name("example.com"));
        assert_eq!(HashSet::from([name("EXAMPLE.org."), name("example.ORG")]).len(), 1);
        assert!(name("A.b") < name("a.C"));
    }

    proptest! {
        #[test]
        fn round_trip(name in strategy::domain_name(), behind in proptest::collection::vec(any::<u8>(), 0..4)) {
            let mut octets = Vec::new();
            name.emit(&mut octets);
            prop_assert_eq!(octets.len(), name.buffer_len());
            octets.extend(behind);
            let (parsed, taken) = DomainName::from_wire(&octets).expect("what was emitted");
            prop_assert_eq!(parsed.as_str(), name.as_str());
            prop_assert_eq!(taken, name.buffer_len());
            prop_assert_eq!(name.to_string().parse::<DomainName>(), Ok(name));
        }

        #[test]
        fn order_is_that_of_equality(a in strategy::domain_name(), b in strategy::domain_name()) {
            prop_assert_eq!(a.cmp(&b) == Ordering::Equal, a == b);
            let upper: DomainName = a.as_str().to_ascii_uppercase().parse().expect("still a name");
            prop_assert_eq!(a.cmp(&upper), Ordering::Equal);
            prop_assert_eq!(upper.cmp(&b), a.cmp(&b));
        }
    }
}
