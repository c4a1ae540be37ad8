//! Why octets are not a message, why an option is ignored, why a value cannot be sent.
//!
//! Each variant has a `name`: short, stable, for counters and log fields. The `Display` form says what was read and
//! what was expected.

use std::net::Ipv6Addr;

use thiserror::Error;

use super::{NameError, ParameterError};

/// Why a whole message is discarded, its options included.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum ParseError {
    /// Longer than an IPv6 payload can be (RFC 8200 §3; jumbograms are not for Neighbor Discovery).
    #[error("message of {octets} octets, expected at most {maximum}")]
    TooLong {
        /// Its length.
        octets: usize,
        /// [`super::MESSAGE_MAX`]
        maximum: usize,
    },
    /// Shorter than its fixed part (RFC 4861 §6.1.1, §6.1.2).
    #[error("message of {octets} octets, expected at least {minimum}")]
    TooShort {
        /// Its length.
        octets: usize,
        /// 16 for a Router Advertisement, 8 for a Router Solicitation.
        minimum: usize,
    },
    /// Another ICMPv6 type.
    #[error("ICMPv6 type {kind}, expected {expected}")]
    WrongType {
        /// The type read.
        kind: u8,
        /// The type of the message asked for.
        expected: u8,
    },
    /// RFC 4861 §6.1.1, §6.1.2.
    #[error("ICMPv6 code {code}, expected 0")]
    WrongCode {
        /// The code read.
        code: u8,
    },
    /// RFC 4861 §4.6: nodes must discard a packet with an option of length zero.
    #[error("option {kind} at octet {offset} has length 0, expected at least 1")]
    ZeroLengthOption {
        /// The option's type.
        kind: u8,
        /// Where in the message.
        offset: usize,
    },
    /// The option runs past the end of the message or, nested, of the PvD option around it. The RFC is silent; the
    /// kernel's parser discards the message too.
    #[error("option {kind} at octet {offset} has {octets} octets, but {left} are left")]
    OptionOverrun {
        /// The option's type.
        kind: u8,
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
        /// How many, 1 to 7.
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
            Self::WrongType { .. } => "wrong-type",
            Self::WrongCode { .. } => "wrong-code",
            Self::ZeroLengthOption { .. } => "zero-length-option",
            Self::OptionOverrun { .. } => "option-overrun",
            Self::TrailingOctets { .. } => "trailing-octets",
        }
    }
}

/// Why a packet is not a valid Router Advertisement (RFC 4861 §6.1.2, RFC 6980 §5).
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum PacketError {
    /// Only a router of the link can send from a link-local address.
    #[error("source address {source_address}, expected a link-local one (fe80::/10)")]
    SourceNotLinkLocal {
        /// The source of the packet.
        source_address: Ipv6Addr,
    },
    /// A router between would have lowered it.
    #[error("hop limit {hop_limit}, expected 255")]
    HopLimit {
        /// The hop limit of the packet.
        hop_limit: u8,
    },
    /// RFC 6980 §5: what guards a link by looking at its frames cannot read fragments.
    #[error("a Fragment header, expected none")]
    Fragmented,
    /// ICMPv6 checksum (RFC 4443 §2.3).
    #[error("checksum {read:#06x}, expected {expected:#06x}")]
    Checksum {
        /// What the message carries.
        read: u16,
        /// What its octets and addresses give.
        expected: u16,
    },
    /// The message itself.
    #[error(transparent)]
    Malformed(#[from] ParseError),
}

impl PacketError {
    /// A short stable name for counters.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::SourceNotLinkLocal { .. } => "source-not-link-local",
            Self::HopLimit { .. } => "hop-limit",
            Self::Fragmented => "fragmented",
            Self::Checksum { .. } => "checksum",
            Self::Malformed(error) => error.name(),
        }
    }
}

/// Why one option is ignored; the rest of the message is used.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum OptionError {
    /// Not a length of this type of option.
    #[error("option of {octets} octets, expected {expected}")]
    Length {
        /// Its length.
        octets: usize,
        /// The lengths allowed.
        expected: &'static str,
    },
    /// Past 128 bits, or more than the option has room for, or not one that the option can say.
    #[error("prefix length {bits}, expected {expected}")]
    PrefixLength {
        /// The prefix length.
        bits: u8,
        /// The lengths allowed.
        expected: &'static str,
    },
    /// RFC 8781 §4: PLC 6 and 7 mean nothing.
    #[error("prefix length code {code}, expected 0 to 5")]
    PrefixLengthCode {
        /// The code read.
        code: u8,
    },
    /// RFC 4191 §2.3: the route of a Route Information option with Prf 10 is not taken.
    #[error("router preference 10 is reserved, expected 00, 01 or 11")]
    ReservedPreference,
    /// Not an address one could ask: multicast, unspecified or loopback (RFC 8106 §5.3.1, RFC 9463 §6.2).
    #[error("{address} as the address of a server, expected a unicast address of another host")]
    Address {
        /// The address.
        address: Ipv6Addr,
    },
    /// A name in the option.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A name that is shorter than the field that holds it.
    #[error("name of {name} octets in a field of {field}, expected it to fill the field")]
    NameLength {
        /// The name's length.
        name: usize,
        /// The field's.
        field: usize,
    },
    /// A part of variable length that is absent but must not be.
    #[error("no {what}, expected at least one")]
    Empty {
        /// Which part.
        what: &'static str,
    },
    /// RFC 3986 §2: a URI is made of visible ASCII characters. A NUL inside is the case RFC 8910 has in mind.
    #[error("octet {octet:#04x} at {at} of a URI, expected 0x21 to 0x7e")]
    UriOctet {
        /// Where in the URI.
        at: usize,
        /// The octet.
        octet: u8,
    },
    /// A field inside the option runs past its end.
    #[error("{field} of {octets} octets, but {left} are left")]
    FieldOverrun {
        /// The field, by the name of its RFC.
        field: &'static str,
        /// Its length.
        octets: usize,
        /// What there is.
        left: usize,
    },
    /// A list of addresses that ends inside an address.
    #[error("{octets} octets of addresses, expected a multiple of 16")]
    AddressLength {
        /// The length read.
        octets: usize,
    },
    /// A service parameter in the option.
    #[error(transparent)]
    Parameter(#[from] ParameterError),
    /// RFC 8801 §3.4: only the first PvD option counts, whether it is good or not.
    #[error("a second PvD option, expected one")]
    SecondPvd,
    /// RFC 8801 §3.2: a PvD option holds no PvD option.
    #[error("a PvD option inside a PvD option, expected none")]
    NestedPvd,
}

impl OptionError {
    /// A short stable name for counters.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Length { .. } => "option-length",
            Self::PrefixLength { .. } => "prefix-length",
            Self::PrefixLengthCode { .. } => "prefix-length-code",
            Self::ReservedPreference => "reserved-preference",
            Self::Address { .. } => "server-address",
            Self::Name(error) => error.name(),
            Self::NameLength { .. } => "name-length",
            Self::Empty { .. } => "empty",
            Self::UriOctet { .. } => "uri-octet",
            Self::FieldOverrun { .. } => "field-overrun",
            Self::AddressLength { .. } => "address-length",
            Self::Parameter(error) => error.name(),
            Self::SecondPvd => "second-pvd",
            Self::NestedPvd => "nested-pvd",
        }
    }
}

/// An option that was left out.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("option {kind} at octet {offset} ignored: {reason}")]
pub struct IgnoredOption {
    /// Its type.
    pub kind: u8,
    /// Where its type octet stands in the message, also for a nested option.
    pub offset: usize,
    /// Why.
    #[source]
    pub reason: OptionError,
}

/// Why a value cannot be put on the wire.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum EmitError {
    /// RFC 8200 §3: an IPv6 payload has at most 65535 octets.
    #[error("message of {octets} octets, expected at most {maximum}")]
    MessageTooLong {
        /// Its length.
        octets: usize,
        /// [`super::MESSAGE_MAX`]
        maximum: usize,
    },
    /// RFC 4861 §4.6: the length is one octet and counts units of 8 octets.
    #[error("option {kind} of {octets} octets, expected at most {maximum}")]
    OptionTooLong {
        /// Its type.
        kind: u8,
        /// Its length.
        octets: usize,
        /// [`super::OPTION_MAX`]
        maximum: usize,
    },
    /// The data of an option that knows no padding does not fill whole units.
    #[error("option {kind} with {octets} octets of data, expected a multiple of 8 less 2")]
    PartialUnit {
        /// Its type.
        kind: u8,
        /// The octets of data.
        octets: usize,
    },
    /// An unknown option of a type that is known: it would not come back as it was.
    #[error("unknown option of type {kind}, expected a type without a variant of its own")]
    KnownKind {
        /// The type.
        kind: u8,
    },
    /// RFC 8781 §4.1: the lifetime is sent in units of 8 s.
    #[error("PREF64 lifetime {seconds} s, expected a multiple of 8")]
    Pref64Lifetime {
        /// The lifetime.
        seconds: u16,
    },
    /// RFC 8801 §3.1: the delay has four bits.
    #[error("PvD delay {delay}, expected at most 15")]
    PvdDelay {
        /// The delay.
        delay: u8,
    },
    /// Every receiver would ignore it.
    #[error(transparent)]
    Refused(OptionError),
}

impl EmitError {
    /// A short stable name for counters.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::MessageTooLong { .. } => "message-too-long",
            Self::OptionTooLong { .. } => "option-too-long",
            Self::PartialUnit { .. } => "partial-unit",
            Self::KnownKind { .. } => "known-kind",
            Self::Pref64Lifetime { .. } => "pref64-lifetime",
            Self::PvdDelay { .. } => "pvd-delay",
            Self::Refused(reason) => reason.name(),
        }
    }
}

impl From<OptionError> for EmitError {
    fn from(reason: OptionError) -> Self {
        Self::Refused(reason)
    }
}

impl From<ParameterError> for EmitError {
    fn from(reason: ParameterError) -> Self {
        Self::Refused(reason.into())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// Counters and logs are read by these: a change of them is one that users see.
    #[test]
    fn names_and_words() {
        let address = Ipv6Addr::LOCALHOST;
        let rows = [
            (
                OptionError::Length { octets: 24, expected: "32" },
                "option-length",
                "option of 24 octets, expected 32",
            ),
            (
                OptionError::PrefixLength { bits: 129, expected: "at most 128" },
                "prefix-length",
                "prefix length 129, expected at most 128",
            ),
            (
                OptionError::PrefixLengthCode { code: 6 },
                "prefix-length-code",
                "prefix length code 6, expected 0 to 5",
            ),
            (
                OptionError::ReservedPreference,
                "reserved-preference",
                "router preference 10 is reserved, expected 00, 01 or 11",
            ),
            (
                OptionError::Address { address },
                "server-address",
                "::1 as the address of a server, expected a unicast address of another host",
            ),
            (NameError::TooLong.into(), "name-too-long", "name longer than 255 octets on the wire"),
            (
                OptionError::NameLength { name: 3, field: 5 },
                "name-length",
                "name of 3 octets in a field of 5, expected it to fill the field",
            ),
            (OptionError::Empty { what: "server" }, "empty", "no server, expected at least one"),
            (
                OptionError::UriOctet { at: 9, octet: 0 },
                "uri-octet",
                "octet 0x00 at 9 of a URI, expected 0x21 to 0x7e",
            ),
            (
                OptionError::FieldOverrun { field: "SvcParams", octets: 9, left: 3 },
                "field-overrun",
                "SvcParams of 9 octets, but 3 are left",
            ),
            (
                OptionError::AddressLength { octets: 15 },
                "address-length",
                "15 octets of addresses, expected a multiple of 16",
            ),
            (
                ParameterError::Order { key: 1, after: 3 }.into(),
                "parameter-order",
                "service parameter 1 after 3, expected ascending keys",
            ),
            (OptionError::SecondPvd, "second-pvd", "a second PvD option, expected one"),
            (OptionError::NestedPvd, "nested-pvd", "a PvD option inside a PvD option, expected none"),
        ];
        for (error, name, words) in rows {
            assert_eq!((error.name(), error.to_string().as_str()), (name, words));
            assert_eq!(EmitError::from(error).name(), name);
        }
        assert_eq!(rows.map(|(_, name, _)| name).into_iter().collect::<HashSet<_>>().len(), rows.len());
    }
}
