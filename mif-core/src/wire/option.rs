//! Neighbor Discovery options (RFC 4861 §4.6): the frame they share, and the list of them in a message.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |     type      |    length     |              data ...         |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                              ...                              |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```
//!
//! The length counts units of 8 octets, type and length included.

use serde::{Deserialize, Serialize};

use super::{
    DnsSearchList, EmitError, EncryptedDns, IgnoredOption, OptionError, ParseError, Pref64,
    PrefixInformation, PvdOption, RecursiveDnsServers, RouteInformation, captive_portal, link_layer, mtu,
};

/// Octets of a unit, the step of an option's length.
pub const UNIT: usize = 8;

/// The longest option, octets.
pub const OPTION_MAX: usize = 255 * UNIT;

mod field {
    pub(super) const KIND: usize = 0;
    pub(super) const LENGTH: usize = 1;
    pub(super) const DATA: usize = 2;
}

/// The types of the options known here (IANA, IPv6 Neighbor Discovery option formats).
pub mod kind {
    /// RFC 4861 §4.6.1
    pub const SOURCE_LINK_LAYER_ADDRESS: u8 = 1;
    /// RFC 4861 §4.6.2
    pub const PREFIX_INFORMATION: u8 = 3;
    /// RFC 4861 §4.6.4
    pub const MTU: u8 = 5;
    /// RFC 8801 §3.1
    pub const PVD: u8 = 21;
    /// RFC 4191 §2.3
    pub const ROUTE_INFORMATION: u8 = 24;
    /// RFC 8106 §5.1
    pub const RECURSIVE_DNS_SERVERS: u8 = 25;
    /// RFC 8106 §5.2
    pub const DNS_SEARCH_LIST: u8 = 31;
    /// RFC 8910 §2.3
    pub const CAPTIVE_PORTAL: u8 = 37;
    /// RFC 8781 §4
    pub const PREF64: u8 = 38;
    /// RFC 9463 §6.1
    pub const ENCRYPTED_DNS: u8 = 144;

    /// Whether [`super::NdOption`] has a variant for a type.
    #[must_use]
    pub const fn is_known(kind: u8) -> bool {
        matches!(
            kind,
            SOURCE_LINK_LAYER_ADDRESS
                | PREFIX_INFORMATION
                | MTU
                | PVD
                | ROUTE_INFORMATION
                | RECURSIVE_DNS_SERVERS
                | DNS_SEARCH_LIST
                | CAPTIVE_PORTAL
                | PREF64
                | ENCRYPTED_DNS
        )
    }
}

/// An option.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum NdOption {
    /// Type 1 (RFC 4861 §4.6.1): the link-layer address, whole units less two octets.
    SourceLinkLayerAddress(Vec<u8>),
    /// Type 3
    PrefixInformation(PrefixInformation),
    /// Type 5 (RFC 4861 §4.6.4): octets.
    Mtu(u32),
    /// Type 21
    Pvd(PvdOption),
    /// Type 24
    RouteInformation(RouteInformation),
    /// Type 25
    RecursiveDnsServers(RecursiveDnsServers),
    /// Type 31
    DnsSearchList(DnsSearchList),
    /// Type 37 (RFC 8910 §2.3): the URI.
    CaptivePortal(String),
    /// Type 38
    Pref64(Pref64),
    /// Type 144
    EncryptedDns(EncryptedDns),
    /// Any other type, kept as it came: `data` is what follows type and length. A host ignores it (RFC 4861 §9), also
    /// when it is a type that belongs to other messages, such as Target Link-Layer Address (2).
    Unknown {
        /// Type
        kind: u8,
        /// The octets behind type and length, whole units less two octets.
        data: Vec<u8>,
    },
}

impl NdOption {
    /// Its type.
    #[must_use]
    pub const fn kind(&self) -> u8 {
        match self {
            Self::SourceLinkLayerAddress(_) => kind::SOURCE_LINK_LAYER_ADDRESS,
            Self::PrefixInformation(_) => kind::PREFIX_INFORMATION,
            Self::Mtu(_) => kind::MTU,
            Self::Pvd(_) => kind::PVD,
            Self::RouteInformation(_) => kind::ROUTE_INFORMATION,
            Self::RecursiveDnsServers(_) => kind::RECURSIVE_DNS_SERVERS,
            Self::DnsSearchList(_) => kind::DNS_SEARCH_LIST,
            Self::CaptivePortal(_) => kind::CAPTIVE_PORTAL,
            Self::Pref64(_) => kind::PREF64,
            Self::EncryptedDns(_) => kind::ENCRYPTED_DNS,
            Self::Unknown { kind, .. } => *kind,
        }
    }

    /// Octets that [`NdOption::emit`] writes.
    #[must_use]
    pub fn buffer_len(&self) -> usize {
        match self {
            Self::SourceLinkLayerAddress(address) => link_layer::buffer_len(address),
            Self::PrefixInformation(_) => PrefixInformation::BUFFER_LEN,
            Self::Mtu(_) => mtu::BUFFER_LEN,
            Self::Pvd(option) => option.buffer_len(),
            Self::RouteInformation(option) => option.buffer_len(),
            Self::RecursiveDnsServers(option) => option.buffer_len(),
            Self::DnsSearchList(option) => option.buffer_len(),
            Self::CaptivePortal(uri) => captive_portal::buffer_len(uri),
            Self::Pref64(_) => Pref64::BUFFER_LEN,
            Self::EncryptedDns(option) => option.buffer_len(),
            Self::Unknown { data, .. } => field::DATA + data.len(),
        }
    }

    /// Appends the option.
    ///
    /// # Errors
    /// When the value cannot be put on the wire; `out` is then as it was.
    pub fn emit(&self, out: &mut Vec<u8>) -> Result<(), EmitError> {
        match self {
            Self::SourceLinkLayerAddress(address) => link_layer::emit(address, out),
            Self::PrefixInformation(option) => option.emit(out),
            Self::Mtu(octets) => mtu::emit(*octets, out),
            Self::Pvd(option) => option.emit(out),
            Self::RouteInformation(option) => option.emit(out),
            Self::RecursiveDnsServers(option) => option.emit(out),
            Self::DnsSearchList(option) => option.emit(out),
            Self::CaptivePortal(uri) => captive_portal::emit(uri, out),
            Self::Pref64(option) => option.emit(out),
            Self::EncryptedDns(option) => option.emit(out),
            Self::Unknown { kind, data } if !kind::is_known(*kind) => emit_data(*kind, data, out),
            Self::Unknown { kind, .. } => Err(EmitError::KnownKind { kind: *kind }),
        }
    }
}

/// The options of a message, and those that were left out.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct OptionList {
    /// In the order of the message.
    pub options: Vec<NdOption>,
    /// Known options that are not well formed, or not allowed where they are.
    pub ignored: Vec<IgnoredOption>,
}

impl OptionList {
    /// The options that fill `octets`. Offsets count from the first of them.
    ///
    /// # Errors
    /// When the octets are not a list of options: the whole message is to be discarded.
    pub fn parse(octets: &[u8]) -> Result<Self, ParseError> {
        Self::parse_at(octets, 0)
    }

    /// The same with the options at `offset` of their message.
    pub(super) fn parse_at(octets: &[u8], offset: usize) -> Result<Self, ParseError> {
        let mut list = Self::default();
        let mut pvd_seen = false;
        for frame in frames(octets, offset) {
            let frame = frame?;
            if frame.kind != kind::PVD {
                list.push(frame, parse_plain(frame));
            } else if pvd_seen {
                list.push(frame, Err(OptionError::SecondPvd));
            } else {
                pvd_seen = true;
                list.push_pvd(frame)?;
            }
        }
        Ok(list)
    }

    /// Takes an option in, or notes why it is not.
    fn push(&mut self, frame: Frame<'_>, option: Result<NdOption, OptionError>) {
        match option {
            Ok(option) => self.options.push(option),
            Err(reason) => self.ignored.push(frame.ignored(reason)),
        }
    }

    /// Takes a PvD option in with what it holds, or notes why it is not. A list that is broken inside it breaks the message.
    fn push_pvd(&mut self, frame: Frame<'_>) -> Result<(), ParseError> {
        let (mut pvd, head) = match PvdOption::parse_head(frame.octets) {
            Ok(head) => head,
            Err(reason) => {
                self.ignored.push(frame.ignored(reason));
                return Ok(());
            }
        };
        // The head ends at a unit's end, and so within the option.
        for frame in frames(&frame.octets[head..], frame.offset + head) {
            let frame = frame?;
            match parse_plain(frame) {
                Ok(option) => pvd.options.push(option),
                Err(reason) => self.ignored.push(frame.ignored(reason)),
            }
        }
        self.options.push(NdOption::Pvd(pvd));
        Ok(())
    }
}

/// An option as it stands in its message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame<'a> {
    /// Its type.
    pub(super) kind: u8,
    /// Where in the message.
    pub(super) offset: usize,
    /// All of it, type and length included.
    pub(super) octets: &'a [u8],
}

impl Frame<'_> {
    const fn ignored(&self, reason: OptionError) -> IgnoredOption {
        IgnoredOption { kind: self.kind, offset: self.offset, reason }
    }
}

/// The options that fill `octets`, which stand at `offset` of their message. It ends after an error.
pub(super) fn frames(octets: &[u8], offset: usize) -> impl Iterator<Item = Result<Frame<'_>, ParseError>> {
    let (mut rest, mut offset) = (octets, offset);
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let frame = first_frame(rest, offset);
        let taken = frame.as_ref().map_or(rest.len(), |frame| frame.octets.len());
        rest = &rest[taken..];
        offset += taken;
        Some(frame)
    })
}

/// The option at the front of `octets`.
fn first_frame(octets: &[u8], offset: usize) -> Result<Frame<'_>, ParseError> {
    if octets.len() < UNIT {
        return Err(ParseError::TrailingOctets { offset, count: octets.len() });
    }
    let kind = octets[field::KIND];
    let length = usize::from(octets[field::LENGTH]) * UNIT;
    if length == 0 {
        return Err(ParseError::ZeroLengthOption { kind, offset });
    }
    let left = octets.len();
    let octets =
        octets.get(..length).ok_or(ParseError::OptionOverrun { kind, offset, octets: length, left })?;
    Ok(Frame { kind, offset, octets })
}

/// Any option but PvD, which holds options itself; here it stands where it must not be, inside another one.
fn parse_plain(frame: Frame<'_>) -> Result<NdOption, OptionError> {
    let octets = frame.octets;
    Ok(match frame.kind {
        kind::SOURCE_LINK_LAYER_ADDRESS => NdOption::SourceLinkLayerAddress(link_layer::parse(octets)?),
        kind::PREFIX_INFORMATION => NdOption::PrefixInformation(PrefixInformation::parse(octets)?),
        kind::MTU => NdOption::Mtu(mtu::parse(octets)?),
        kind::PVD => return Err(OptionError::NestedPvd),
        kind::ROUTE_INFORMATION => NdOption::RouteInformation(RouteInformation::parse(octets)?),
        kind::RECURSIVE_DNS_SERVERS => NdOption::RecursiveDnsServers(RecursiveDnsServers::parse(octets)?),
        kind::DNS_SEARCH_LIST => NdOption::DnsSearchList(DnsSearchList::parse(octets)?),
        kind::CAPTIVE_PORTAL => NdOption::CaptivePortal(captive_portal::parse(octets)?),
        kind::PREF64 => NdOption::Pref64(Pref64::parse(octets)?),
        kind::ENCRYPTED_DNS => NdOption::EncryptedDns(EncryptedDns::parse(octets)?),
        kind => NdOption::Unknown { kind, data: octets[field::DATA..].to_vec() },
    })
}

/// Checks that an option has exactly so many octets.
pub(super) const fn expect_len(option: &[u8], len: usize, expected: &'static str) -> Result<(), OptionError> {
    if option.len() == len { Ok(()) } else { Err(OptionError::Length { octets: option.len(), expected }) }
}

/// Checks that an option has at least so many octets.
pub(super) const fn expect_at_least(
    option: &[u8],
    len: usize,
    expected: &'static str,
) -> Result<(), OptionError> {
    if option.len() >= len { Ok(()) } else { Err(OptionError::Length { octets: option.len(), expected }) }
}

/// Appends an option of `len` octets, whole units, that is zero behind type and length, and hands it out to be filled.
pub(super) fn begin(out: &mut Vec<u8>, kind: u8, len: usize) -> Result<&mut [u8], EmitError> {
    debug_assert!(len.is_multiple_of(UNIT), "{len} octets are not whole units");
    let units = u8::try_from(len / UNIT).map_err(|_| EmitError::OptionTooLong {
        kind,
        octets: len,
        maximum: OPTION_MAX,
    })?;
    let start = out.len();
    out.resize(start + len, 0);
    let option = &mut out[start..];
    option[field::KIND] = kind;
    option[field::LENGTH] = units;
    Ok(option)
}

/// Appends an option whose data has no inner structure, and so no padding.
pub(super) fn emit_data(kind: u8, data: &[u8], out: &mut Vec<u8>) -> Result<(), EmitError> {
    let len = field::DATA + data.len();
    if !len.is_multiple_of(UNIT) {
        return Err(EmitError::PartialUnit { kind, octets: data.len() });
    }
    begin(out, kind, len)?[field::DATA..].copy_from_slice(data);
    Ok(())
}

/// The data of an option, behind type and length; empty for octets that are none.
pub(super) fn data(option: &[u8]) -> &[u8] {
    option.get(field::DATA..).unwrap_or_default()
}

#[cfg(test)]
mod tests;
