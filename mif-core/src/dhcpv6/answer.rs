//! Which answers count (RFC 8415 §16).

use thiserror::Error;

use crate::wire::dhcpv6::{DhcpOption, Message, MessageType, ParseError, TransactionId};

/// Why a datagram has no effect.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum Discarded {
    /// The octets are no message.
    #[error(transparent)]
    Malformed(#[from] ParseError),
    /// A message that no client hears (§16.2 to §16.12).
    #[error("a message of type {0}, expected an Advertise or a Reply")]
    Type(u8),
    /// §16.11: a Reconfigure that names no message that a client can send.
    #[error("a Reconfigure that asks for nothing, expected Renew, Rebind or Information-request")]
    ReconfigureMessage,
    /// §20.4: a Reconfigure of a server that has sent no key.
    #[error("a Reconfigure of a server whose key is not known, expected one that has sent its key")]
    NoReconfigureKey,
    /// §16.11, §20.4.2: whoever sent it does not have the key.
    #[error("a Reconfigure without the right digest, expected one made with the server's key")]
    Unauthenticated,
    /// §20.3
    #[error("a Reconfigure as old as one before, expected a larger counter")]
    Replayed,
    /// §18.2.11: the client is asking already, or has nothing that this could be about.
    #[error("a Reconfigure that comes while the client asks or has no lease, expected one at rest")]
    ReconfigureUntimely,
    /// Nothing is under way that it could answer, or something else.
    #[error("nothing asked for this, expected silence")]
    NotAsked,
    /// §16.3, §16.10: another exchange's, or a guess.
    #[error("an answer with another transaction id, expected that of the question")]
    TransactionId,
    /// §16.3, §16.10
    #[error("an answer without a Server Identifier, expected one")]
    NoServerId,
    /// §16.3, §16.10: for another client.
    #[error("an answer with no Client Identifier or another one, expected this client's")]
    ClientId,
    /// §18.2.1: a Reply to a Solicit that asked for none, or without Rapid Commit.
    #[error("a Reply to a Solicit without Rapid Commit, expected an Advertise")]
    NoRapidCommit,
    /// §18.2.9: an offer of nothing that is wanted.
    #[error("an Advertise that offers no lease, expected one")]
    NoLease,
}

impl Discarded {
    /// A short stable name for counters.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Malformed(error) => error.name(),
            Self::Type(_) => "message-type",
            Self::ReconfigureMessage => "reconfigure-message",
            Self::NoReconfigureKey => "no-reconfigure-key",
            Self::Unauthenticated => "reconfigure-unauthenticated",
            Self::Replayed => "reconfigure-replayed",
            Self::ReconfigureUntimely => "reconfigure-untimely",
            Self::NotAsked => "not-asked",
            Self::TransactionId => "transaction-id",
            Self::NoServerId => "no-server-id",
            Self::ClientId => "client-id",
            Self::NoRapidCommit => "no-rapid-commit",
            Self::NoLease => "no-lease",
        }
    }
}

/// What an answer answers.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The message sent.
    pub kind: MessageType,
    /// Its transaction id.
    pub transaction_id: TransactionId,
    /// The DUID that it named.
    pub client_id: &'a [u8],
    /// It asked for Rapid Commit.
    pub rapid_commit: bool,
}

/// Checks an answer, and gives the server's DUID.
///
/// # Errors
/// Why it does not count.
pub fn check<'m>(message: &'m Message, question: Option<Question<'_>>) -> Result<&'m [u8], Discarded> {
    match message.kind {
        MessageType::Advertise | MessageType::Reply => {}
        other => return Err(Discarded::Type(other.into())),
    }
    let question = question.ok_or(Discarded::NotAsked)?;
    if message.transaction_id != question.transaction_id {
        return Err(Discarded::TransactionId);
    }
    let server = message.options.iter().find_map(|option| match option {
        DhcpOption::ServerId(duid) => Some(&duid[..]),
        _ => None,
    });
    let server = server.ok_or(Discarded::NoServerId)?;
    let client = message.options.iter().find_map(|option| match option {
        DhcpOption::ClientId(duid) => Some(&duid[..]),
        _ => None,
    });
    if client != Some(question.client_id) {
        return Err(Discarded::ClientId);
    }
    let solicits = question.kind == MessageType::Solicit;
    match message.kind {
        MessageType::Advertise if !solicits => Err(Discarded::NotAsked),
        MessageType::Reply if solicits => {
            let rapid = message.options.iter().any(|option| matches!(option, DhcpOption::RapidCommit));
            if question.rapid_commit && rapid { Ok(server) } else { Err(Discarded::NoRapidCommit) }
        }
        _ => Ok(server),
    }
}
