//! Encrypted DNS, "Discovery of Network-designated Resolvers" (RFC 9463 §4.1).
//!
//! ```text
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |       Service Priority        |          ADN Length           |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                authentication-domain-name ...                 |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |          Addr Length          |   IPv6 addresses, 16 each ... |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                         SvcParams ...                         |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```
//!
//! In ADN-only mode nothing follows the name. There is no lifetime: it holds as long as what it came with.

use serde::{Deserialize, Serialize};

use super::{EmitError, OptionError};
use crate::wire::{self, DomainName, EncryptedDnsEndpoint, octets::Cursor};

/// Option 144.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct EncryptedResolver {
    /// The lower the better.
    pub service_priority: u16,
    /// The name to check the certificate against.
    pub authentication_domain_name: DomainName,
    /// `None` in ADN-only mode.
    pub endpoint: Option<EncryptedDnsEndpoint>,
}

impl EncryptedResolver {
    pub(super) fn parse(data: &[u8]) -> Result<Self, OptionError> {
        let mut cursor = Cursor::new(data);
        let service_priority = cursor.take_u16("Service Priority")?;
        let name = cursor.take_counted("authentication-domain-name")?;
        let (authentication_domain_name, taken) = DomainName::from_wire(name)?;
        if taken != name.len() {
            return Err(wire::OptionError::NameLength { name: taken, field: name.len() }.into());
        }
        let endpoint = if cursor.rest().is_empty() {
            None
        } else {
            let addresses = cursor.take_counted("IPv6 addresses")?;
            Some(EncryptedDnsEndpoint::from_parts(addresses, cursor.rest())?)
        };
        Ok(Self { service_priority, authentication_domain_name, endpoint })
    }

    pub(super) fn emit(&self, out: &mut Vec<u8>) -> Result<(), EmitError> {
        out.extend_from_slice(&self.service_priority.to_be_bytes());
        put_counted(out, |out| self.authentication_domain_name.emit(out))?;
        if let Some(endpoint) = &self.endpoint {
            endpoint.check().map_err(OptionError::from)?;
            put_counted(out, |out| {
                out.extend(endpoint.addresses.iter().flat_map(|address| address.octets()))
            })?;
            out.extend(endpoint.parameter_octets());
        }
        Ok(())
    }
}

/// Appends octets behind their length.
fn put_counted(out: &mut Vec<u8>, data: impl FnOnce(&mut Vec<u8>)) -> Result<(), EmitError> {
    let at = out.len();
    out.extend_from_slice(&[0; 2]);
    let start = out.len();
    data(out);
    let octets = out.len() - start;
    let code = super::code::ENCRYPTED_DNS;
    let length = u16::try_from(octets).map_err(|_| EmitError::OptionTooLong { code, octets })?;
    out[at..start].copy_from_slice(&length.to_be_bytes());
    Ok(())
}
