//! PvD containers (draft-ietf-mif-mpvd-dhcp-support-02 §4): options that belong to the PvD that the container names. The working
//! group stopped the draft, and IANA never gave it numbers: [`super::DraftCodes`].
//!
//! ```text
//! OPTION_PVD: options, of them        OPTION_PVD_ID (the identity of draft-ietf-mif-mpvd-id)
//!   one OPTION_PVD_ID,                +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//!   at most one OPTION_PVD_AUTH       |     type      |    length     |  value ...
//!   behind all others                 +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```

use serde::{Deserialize, Serialize};

use super::{
    DhcpOption, DraftCodes, EmitError, OptionError, ParseError, option,
    tlv::{self, Ignored, Tlv},
};

/// The type of an identity that is a domain name.
const FQDN: u8 = 5;

/// OPTION_PVD
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct PvdContainer {
    /// Whose options these are.
    pub identity: PvdIdentity,
    /// It carries a signature, which nobody here can check.
    pub signed: bool,
    /// The options; no container is among them.
    pub options: Vec<DhcpOption>,
}

/// OPTION_PVD_ID
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct PvdIdentity {
    /// 1 UUID, 2 UTF-8 string, 3 OID, 4 NAI realm, 5 domain name, 6 ULA prefix.
    pub kind: u8,
    /// At most 255 octets.
    pub value: Vec<u8>,
}

impl PvdIdentity {
    /// The identity that is this name, in text (as RFC 8801 names PvDs).
    #[must_use]
    pub fn of_name(name: &crate::wire::DomainName) -> Self {
        Self { kind: FQDN, value: name.as_str().as_bytes().into() }
    }

    /// The name, where it is one.
    #[must_use]
    pub fn name(&self) -> Option<crate::wire::DomainName> {
        if self.kind != FQDN {
            return None;
        }
        std::str::from_utf8(&self.value).ok()?.parse().ok()
    }

    fn parse(data: &[u8]) -> Result<Self, OptionError> {
        match data {
            [kind, length, value @ ..] if usize::from(*length) == value.len() => {
                Ok(Self { kind: *kind, value: value.into() })
            }
            _ => {
                Err(OptionError::Length { octets: data.len(), expected: "2 and what the second octet says" })
            }
        }
    }

    fn emit(&self, out: &mut Vec<u8>, code: u16) -> Result<(), EmitError> {
        let octets = self.value.len();
        let length = u8::try_from(octets).map_err(|_| EmitError::OptionTooLong { code, octets })?;
        out.extend_from_slice(&[self.kind, length]);
        out.extend_from_slice(&self.value);
        Ok(())
    }
}

impl PvdContainer {
    /// Reads the data of an option. `Ok(None)`: ignored.
    pub(super) fn parse(
        at: &Tlv<'_>,
        codes: &DraftCodes,
        ignored: &mut Ignored,
    ) -> Result<Option<Self>, ParseError> {
        let mut identities = Vec::new();
        let mut signed = false;
        let mut seen = option::Seen::default();
        let mut options = Vec::new();
        for option in tlv::split(at.data, at.offset_of(0))? {
            match Some(option.code) {
                code if code == codes.pvd_identity => {
                    identities.extend(ignored.unless(&option, PvdIdentity::parse(option.data)));
                }
                code if code == codes.pvd_signature => signed = true,
                code if code == codes.pvd => {
                    ignored.push(&option, OptionError::Misplaced { expected: "no container in a container" });
                }
                _ => options.extend(option::parse(&option, codes, &mut seen, ignored)?),
            }
        }
        let count = identities.len();
        match identities.pop() {
            Some(identity) if count == 1 => Ok(Some(Self { identity, signed, options })),
            _ => {
                ignored.push(at, OptionError::Identities { count });
                Ok(None)
            }
        }
    }

    pub(super) fn emit(&self, codes: &DraftCodes, out: &mut Vec<u8>) -> Result<(), EmitError> {
        let code = codes.pvd_identity.ok_or(EmitError::NoCode { option: "OPTION_PVD_ID" })?;
        tlv::put(out, code, |out| self.identity.emit(out, code))?;
        for option in &self.options {
            if matches!(option, DhcpOption::Pvd(_)) {
                return Err(OptionError::Misplaced { expected: "no container in a container" }.into());
            }
            option.emit(codes, out)?;
        }
        Ok(())
    }
}
