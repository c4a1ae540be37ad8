//! DHCPv6 between clients and servers (RFC 8415 §8, §21; RFC 9915 leaves both as they are): owned values, `parse` and `emit`.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |   msg-type    |               transaction-id                  |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |          option-code          |          option-len           |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                        option-data ...
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-
//! ```
//!
//! As with Router Advertisements: any octets give a value or an error, never a panic, and never a value much larger than the
//! octets. An option that runs past what contains it spoils the message ([`ParseError`]); one that is not well formed, or stands
//! where it must not, is ignored alone ([`IgnoredOption`]); unknown options are kept (RFC 8415 §16).
//!
//! Options nest three deep at most (a PvD container, an identity association, a lease), and each depth has a function of its
//! own: no message can make the parser recurse.
//!
//! * [`Message`]: the message.
//! * [`DhcpOption`]: its options; [`code`]: their numbers.
//! * [`IdentityAssociation`]: what is leased.

mod address_selection;
pub mod authentication;
mod encrypted_dns;
mod error;
mod identity_association;
mod ntp;
mod option;
mod pvd;
mod rdnss_selection;
mod route;
mod status;
mod tlv;

use serde::{Deserialize, Serialize};

pub use address_selection::{AddressSelection, PolicyRow};
pub use authentication::{Authentication, Rkap};
pub use encrypted_dns::EncryptedResolver;
pub use error::{EmitError, IgnoredOption, OptionError, ParseError};
pub use identity_association::{IdentityAssociation, Lease};
pub use ntp::NtpServer;
pub use option::{DhcpOption, DraftCodes, code};
pub use pvd::{PvdContainer, PvdIdentity};
pub use rdnss_selection::RdnssSelection;
pub use route::{NextHop, RoutePrefix};
pub use status::{Status, StatusCode};

use tlv::Ignored;

/// The longest message: a UDP payload in an IPv6 packet without extension headers (RFC 8200 §3, RFC 768).
pub const MESSAGE_MAX: usize = 65_535 - 8;

/// Octets before the options.
const HEADER_LEN: usize = 4;

/// What a message is for (RFC 8415 §7.3).
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum MessageType {
    /// A client looks for servers.
    Solicit,
    /// A server offers.
    Advertise,
    /// A client takes an offer.
    Request,
    /// A client asks whether its addresses fit the link.
    Confirm,
    /// A client asks its server to extend leases.
    Renew,
    /// A client asks any server to extend leases.
    Rebind,
    /// A server's answer to all but Solicit.
    Reply,
    /// A client returns leases.
    Release,
    /// A client says that addresses are in use already.
    Decline,
    /// A server asks a client to ask.
    Reconfigure,
    /// A client asks for configuration without leases.
    InformationRequest,
    /// Between relays and servers, and whatever is not known.
    Other(u8),
}

impl From<u8> for MessageType {
    fn from(octet: u8) -> Self {
        match octet {
            1 => Self::Solicit,
            2 => Self::Advertise,
            3 => Self::Request,
            4 => Self::Confirm,
            5 => Self::Renew,
            6 => Self::Rebind,
            7 => Self::Reply,
            8 => Self::Release,
            9 => Self::Decline,
            10 => Self::Reconfigure,
            11 => Self::InformationRequest,
            other => Self::Other(other),
        }
    }
}

impl From<MessageType> for u8 {
    fn from(kind: MessageType) -> Self {
        match kind {
            MessageType::Solicit => 1,
            MessageType::Advertise => 2,
            MessageType::Request => 3,
            MessageType::Confirm => 4,
            MessageType::Renew => 5,
            MessageType::Rebind => 6,
            MessageType::Reply => 7,
            MessageType::Release => 8,
            MessageType::Decline => 9,
            MessageType::Reconfigure => 10,
            MessageType::InformationRequest => 11,
            MessageType::Other(octet) => octet,
        }
    }
}

/// What ties an answer to a question: 24 bits (RFC 8415 §8).
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq, Deserialize, Serialize)]
pub struct TransactionId([u8; 3]);

impl TransactionId {
    /// The low 24 bits of a number.
    #[must_use]
    pub const fn new(number: u32) -> Self {
        let [_, a, b, c] = number.to_be_bytes();
        Self([a, b, c])
    }
}

/// A message between a client and a server.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct Message {
    /// What it is for.
    pub kind: MessageType,
    /// Chosen by the client.
    pub transaction_id: TransactionId,
    /// In the order in which they stand.
    pub options: Vec<DhcpOption>,
}

/// What a message says, and what of it was left out.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Parsed {
    /// What is to be used.
    pub message: Message,
    /// Options that are ignored, by their offset.
    pub ignored: Vec<IgnoredOption>,
}

impl Message {
    /// Reads the payload of a UDP datagram.
    ///
    /// # Errors
    /// When the message as a whole cannot be read.
    pub fn parse(datagram: &[u8], codes: &DraftCodes) -> Result<Parsed, ParseError> {
        if datagram.len() > MESSAGE_MAX {
            return Err(ParseError::TooLong { octets: datagram.len(), maximum: MESSAGE_MAX });
        }
        let Some((&[kind, a, b, c], options)) = datagram.split_first_chunk::<HEADER_LEN>() else {
            return Err(ParseError::TooShort { octets: datagram.len(), minimum: HEADER_LEN });
        };
        let mut ignored = Ignored::default();
        let options = option::parse_list(options, HEADER_LEN, codes, &mut ignored)?;
        let message = Self { kind: kind.into(), transaction_id: TransactionId([a, b, c]), options };
        Ok(Parsed { message, ignored: ignored.0 })
    }

    /// The payload of a UDP datagram.
    ///
    /// # Errors
    /// When the value cannot be put on the wire.
    pub fn emit(&self, codes: &DraftCodes) -> Result<Vec<u8>, EmitError> {
        let mut out = vec![self.kind.into()];
        out.extend_from_slice(&self.transaction_id.0);
        for option in &self.options {
            option.emit(codes, &mut out)?;
        }
        if out.len() > MESSAGE_MAX {
            return Err(EmitError::MessageTooLong { octets: out.len(), maximum: MESSAGE_MAX });
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests;
