//! Why octets are not a message, why an option is ignored, why a value cannot be sent.

use thiserror::Error;

use crate::wire::{self, NameError};

/// Why a whole message is discarded.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum ParseError {
    /// Longer than a datagram can be.
    #[error("message of {octets} octets, expected at most {maximum}")]
    TooLong {
        /// Its length.
        octets: usize,
        /// [`super::MESSAGE_MAX`]
        maximum: usize,
    },
    /// Shorter than type and transaction id.
    #[error("message of {octets} octets, expected at least {minimum}")]
    TooShort {
        /// Its length.
        octets: usize,
        /// 4
        minimum: usize,
    },
    /// The option runs past the end of what contains it. The RFC is silent; where an option ends is where the next one
    /// begins, so nothing behind it can be trusted.
    #[error("option {code} at octet {offset} has {octets} octets of data, but {left} are left")]
    OptionOverrun {
        /// The option's code.
        code: u16,
        /// Where in the message.
        offset: usize,
        /// What its length says.
        octets: usize,
        /// What there is.
        left: usize,
    },
    /// Fewer octets after the last option than an option has.
    #[error("{count} octets at octet {offset} after the last option, expected none")]
    TrailingOctets {
        /// Where in the message.
        offset: usize,
        /// How many, 1 to 3.
        count: usize,
    },
}

impl ParseError {
    /// A short stable name for counters.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::TooLong { .. } => "message-too-long",
            Self::TooShort { .. } => "message-too-short",
            Self::OptionOverrun { .. } => "option-overrun",
            Self::TrailingOctets { .. } => "trailing-octets",
        }
    }
}

/// Why one option is ignored; the rest of the message is used.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum OptionError {
    /// Not a length of this option.
    #[error("{octets} octets of data, expected {expected}")]
    Length {
        /// Its length.
        octets: usize,
        /// The lengths allowed.
        expected: &'static str,
    },
    /// What a Neighbor Discovery option of the same content is ignored for as well.
    #[error(transparent)]
    Content(#[from] wire::OptionError),
    /// An option that belongs into another one, or not into this one.
    #[error("misplaced, expected {expected}")]
    Misplaced {
        /// Where it belongs.
        expected: &'static str,
    },
    /// A second one of an option of which there is one: the first counts.
    #[error("a second one, expected one")]
    Second,
    /// RFC 7078 §2: a row whose octets are not those of its prefix length.
    #[error("row with {octets} octets of a prefix of {bits} bits, expected {expected}")]
    RowPrefix {
        /// The prefix length.
        bits: u8,
        /// The octets there are.
        octets: usize,
        /// The octets that the length asks for.
        expected: usize,
    },
    /// RFC 5908 §4: an NTP option without a time source, or with several.
    #[error("{count} time sources, expected one")]
    TimeSources {
        /// How many.
        count: usize,
    },
    /// A PvD container without an identity, or with several.
    #[error("{count} PvD identities, expected one")]
    Identities {
        /// How many.
        count: usize,
    },
}

impl OptionError {
    /// A short stable name for counters.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Length { .. } => "option-length",
            Self::Content(error) => error.name(),
            Self::Misplaced { .. } => "misplaced",
            Self::Second => "second",
            Self::RowPrefix { .. } => "row-prefix",
            Self::TimeSources { .. } => "time-sources",
            Self::Identities { .. } => "identities",
        }
    }
}

impl From<NameError> for OptionError {
    fn from(error: NameError) -> Self {
        Self::Content(error.into())
    }
}

/// An option that was left out.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("option {code} at octet {offset} ignored: {reason}")]
pub struct IgnoredOption {
    /// Its code.
    pub code: u16,
    /// Where its code stands in the message, also for a nested option.
    pub offset: usize,
    /// Why.
    #[source]
    pub reason: OptionError,
}

/// Why a value cannot be put on the wire.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum EmitError {
    /// More than a datagram holds.
    #[error("message of {octets} octets, expected at most {maximum}")]
    MessageTooLong {
        /// Its length.
        octets: usize,
        /// [`super::MESSAGE_MAX`]
        maximum: usize,
    },
    /// More than the two octets of a length can say.
    #[error("option {code} of {octets} octets, expected at most 65535")]
    OptionTooLong {
        /// Its code.
        code: u16,
        /// Its length.
        octets: usize,
    },
    /// An option of a draft without a number: IANA never gave it one, and nobody configured one.
    #[error("no code for {option}, expected a configured one")]
    NoCode {
        /// Its name in the draft.
        option: &'static str,
    },
    /// Every receiver would ignore it.
    #[error(transparent)]
    Refused(#[from] OptionError),
}
