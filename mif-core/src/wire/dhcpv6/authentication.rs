//! Authentication (RFC 8415 §21.11), and what the Reconfigure Key Authentication Protocol puts into it (§20.4).
//!
//! ```text
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |   protocol    |   algorithm   |      RDM      |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                 replay detection, 8 octets                    |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |               authentication information ...
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-
//!
//! RKAP: protocol 3, algorithm 1 (HMAC-MD5), RDM 0, and as information a type, 1 a key or 2 a digest, and 16 octets
//! ```

use serde::{Deserialize, Serialize};

use super::{HEADER_LEN, OptionError, option::code, tlv};

/// Octets before the information.
const FIXED: usize = 11;

/// Octets of a key and of a digest.
pub const RKAP_LEN: usize = 16;

/// The protocol, its algorithm and its method of replay detection (§20.4): a counter that grows.
const RKAP: [u8; 3] = [3, 1, 0];

/// Types of information.
const KEY: u8 = 1;
const DIGEST: u8 = 2;

/// Option 11.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct Authentication {
    /// Protocol, algorithm and method of replay detection.
    pub method: [u8; 3],
    /// Larger in each message than in those before it.
    pub replay_detection: u64,
    /// What the protocol puts here.
    pub information: Vec<u8>,
}

/// What it says by RKAP.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Rkap {
    /// The key for Reconfigure messages to come (§20.4.3).
    Key([u8; RKAP_LEN]),
    /// HMAC-MD5 over the message with zeros here (§20.4.2).
    Digest([u8; RKAP_LEN]),
}

impl Authentication {
    /// The option of RKAP with this in it.
    #[must_use]
    pub fn of_rkap(replay_detection: u64, rkap: Rkap) -> Self {
        let (kind, octets) = match rkap {
            Rkap::Key(key) => (KEY, key),
            Rkap::Digest(digest) => (DIGEST, digest),
        };
        let information = std::iter::once(kind).chain(octets).collect();
        Self { method: RKAP, replay_detection, information }
    }

    /// What it says, where it is RKAP and well formed.
    #[must_use]
    pub fn rkap(&self) -> Option<Rkap> {
        let (kind, octets) = self.information.split_first()?;
        let octets = octets.try_into().ok()?;
        match kind {
            _ if self.method != RKAP => None,
            &KEY => Some(Rkap::Key(octets)),
            &DIGEST => Some(Rkap::Digest(octets)),
            _ => None,
        }
    }

    pub(super) fn parse(data: &[u8]) -> Result<Self, OptionError> {
        let Some((fixed, information)) = data.split_first_chunk::<FIXED>() else {
            return Err(OptionError::Length { octets: data.len(), expected: "at least 11" });
        };
        let [protocol, algorithm, rdm, replay @ ..] = *fixed;
        Ok(Self {
            method: [protocol, algorithm, rdm],
            replay_detection: u64::from_be_bytes(replay),
            information: information.into(),
        })
    }

    pub(super) fn emit(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.method);
        out.extend_from_slice(&self.replay_detection.to_be_bytes());
        out.extend_from_slice(&self.information);
    }
}

/// Where the digest of RKAP stands in a datagram: in the first Authentication option, behind its type.
#[must_use]
pub fn digest_at(datagram: &[u8]) -> Option<core::ops::Range<usize>> {
    let options = tlv::split(datagram.get(HEADER_LEN..)?, HEADER_LEN).ok()?;
    let option = options.into_iter().find(|option| option.code == code::AUTHENTICATION)?;
    let start = option.offset_of(FIXED + 1);
    (option.data.len() == FIXED + 1 + RKAP_LEN).then_some(start..start + RKAP_LEN)
}
