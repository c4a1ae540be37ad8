//! Status Code (RFC 8415 §21.13).
//!
//! ```text
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |          status-code          |   status-message, UTF-8 ...
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-
//! ```

use serde::{Deserialize, Serialize};

use super::OptionError;

/// What stands for an octet that is no UTF-8: one octet as well, so that what is read is no longer than what was sent.
const NO_UTF8: char = '?';

/// How it went.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum StatusCode {
    /// 0, and what the absence of the option means.
    #[default]
    Success,
    /// 1: failed, for no reason that has a number.
    UnspecFail,
    /// 2: no addresses.
    NoAddrsAvail,
    /// 3: the server knows of no such lease.
    NoBinding,
    /// 4: the addresses do not fit the link.
    NotOnLink,
    /// 5: ask by multicast (gone in RFC 9915).
    UseMulticast,
    /// 6: no prefixes.
    NoPrefixAvail,
    /// Not known here: a failure of a kind that is not known.
    Other(u16),
}

impl From<u16> for StatusCode {
    fn from(code: u16) -> Self {
        match code {
            0 => Self::Success,
            1 => Self::UnspecFail,
            2 => Self::NoAddrsAvail,
            3 => Self::NoBinding,
            4 => Self::NotOnLink,
            5 => Self::UseMulticast,
            6 => Self::NoPrefixAvail,
            other => Self::Other(other),
        }
    }
}

impl From<StatusCode> for u16 {
    fn from(code: StatusCode) -> Self {
        match code {
            StatusCode::Success => 0,
            StatusCode::UnspecFail => 1,
            StatusCode::NoAddrsAvail => 2,
            StatusCode::NoBinding => 3,
            StatusCode::NotOnLink => 4,
            StatusCode::UseMulticast => 5,
            StatusCode::NoPrefixAvail => 6,
            StatusCode::Other(other) => other,
        }
    }
}

/// A status and what the server says about it.
#[derive(Clone, Debug, Default, Eq, PartialEq, Deserialize, Serialize)]
pub struct Status {
    /// How it went.
    pub code: StatusCode,
    /// For people. Octets that are no UTF-8 are replaced.
    pub message: String,
}

impl Status {
    pub(super) fn parse(data: &[u8]) -> Result<Self, OptionError> {
        let Some((code, message)) = data.split_first_chunk() else {
            return Err(OptionError::Length { octets: data.len(), expected: "at least 2" });
        };
        let mut text = String::with_capacity(message.len());
        for chunk in message.utf8_chunks() {
            text.push_str(chunk.valid());
            text.extend(chunk.invalid().iter().map(|_| NO_UTF8));
        }
        let message = text;
        Ok(Self { code: u16::from_be_bytes(*code).into(), message })
    }

    pub(super) fn emit(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&u16::from(self.code).to_be_bytes());
        out.extend_from_slice(self.message.as_bytes());
    }
}
