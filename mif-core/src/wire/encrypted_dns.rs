//! Encrypted DNS, "Discovery of Network-designated Resolvers" (RFC 9463 §6.1).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |   type 144    |    length     |       Service Priority        |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                           Lifetime                            |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |          ADN Length           | authentication-domain-name ...|
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |          Addr Length          |   IPv6 addresses, 16 each ... |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |       SvcParams Length        |         SvcParams ...         |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                  ... padded with zero octets                  |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```
//!
//! In ADN-only mode nothing but padding follows the name. The RFC does not say how to tell padding from an Addr Length of
//! zero: here less than a unit of zeros is padding, and an Addr Length of zero is an error.

use std::net::Ipv6Addr;

use serde::{Deserialize, Serialize};

use super::{
    DomainName, EmitError, OptionError,
    octets::{Cursor, addresses, put, u16_at, u32_at},
    option::{self, UNIT, kind},
    rdnss::check_server,
    svc_params,
};

mod field {
    use std::ops::Range;

    pub(super) const SERVICE_PRIORITY: Range<usize> = 2..4;
    pub(super) const LIFETIME: Range<usize> = 4..8;
    /// What follows has lengths of its own.
    pub(super) const ADN_LENGTH: usize = 8;
}

/// Octets of each of the three length fields.
const LENGTH_LEN: usize = 2;

/// Octets of an address.
const ADDRESS_LEN: usize = 16;

/// Type 144 (RFC 9463 §6.1).
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct EncryptedDns {
    /// The lower the better.
    pub service_priority: u16,
    /// Seconds, `u32::MAX` for ever, 0: no longer to be used.
    pub lifetime: u32,
    /// The name to check the certificate against.
    pub authentication_domain_name: DomainName,
    /// `None` in ADN-only mode.
    pub endpoint: Option<EncryptedDnsEndpoint>,
}

/// Addresses and parameters of an [`EncryptedDns`] resolver.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct EncryptedDnsEndpoint {
    /// At least one, each of them unicast.
    pub addresses: Vec<Ipv6Addr>,
    /// (key, value) in ascending order of keys (RFC 9460 §2.2).
    pub parameters: Vec<(u16, Vec<u8>)>,
}

impl EncryptedDns {
    /// Reads a whole option, type and length included. Addresses that cannot be a resolver's are left out
    /// (RFC 9463 §6.2).
    ///
    /// # Errors
    /// A field that runs over the end, no name or a bad one, no address left, parameters that are not well formed
    /// (RFC 9463 §3.1.8).
    pub fn parse(option: &[u8]) -> Result<Self, OptionError> {
        option::expect_at_least(option, field::ADN_LENGTH + UNIT, "at least 16")?;
        let mut cursor = Cursor::new(&option[field::ADN_LENGTH..]);
        let name = cursor.take_counted("authentication-domain-name")?;
        let (authentication_domain_name, taken) = DomainName::from_wire(name)?;
        if taken != name.len() {
            return Err(OptionError::NameLength { name: taken, field: name.len() });
        }
        Ok(Self {
            service_priority: u16_at(option, field::SERVICE_PRIORITY),
            lifetime: u32_at(option, field::LIFETIME),
            authentication_domain_name,
            endpoint: EncryptedDnsEndpoint::parse(cursor)?,
        })
    }

    /// Octets that [`EncryptedDns::emit`] writes.
    #[must_use]
    pub fn buffer_len(&self) -> usize {
        let name = LENGTH_LEN + self.authentication_domain_name.buffer_len();
        let endpoint = self.endpoint.as_ref().map_or(0, EncryptedDnsEndpoint::buffer_len);
        (field::ADN_LENGTH + name + endpoint).next_multiple_of(UNIT)
    }

    /// Appends the option.
    ///
    /// # Errors
    /// An endpoint that [`EncryptedDns::parse`] would not take, more than fits an option; `out` is then as it was.
    pub fn emit(&self, out: &mut Vec<u8>) -> Result<(), EmitError> {
        if let Some(endpoint) = &self.endpoint {
            endpoint.check()?;
        }
        let mut name = Vec::new();
        self.authentication_domain_name.emit(&mut name);
        let option = option::begin(out, kind::ENCRYPTED_DNS, self.buffer_len())?;
        put(option, field::SERVICE_PRIORITY, &self.service_priority.to_be_bytes());
        put(option, field::LIFETIME, &self.lifetime.to_be_bytes());
        let rest = put_counted(&mut option[field::ADN_LENGTH..], &name);
        if let Some(endpoint) = &self.endpoint {
            endpoint.emit(rest);
        }
        Ok(())
    }
}

impl EncryptedDnsEndpoint {
    /// What follows the name; `None` for padding.
    fn parse(mut cursor: Cursor<'_>) -> Result<Option<Self>, OptionError> {
        let rest = cursor.rest();
        if rest.len() < UNIT && rest.iter().all(|&octet| octet == 0) {
            return Ok(None);
        }
        let octets = cursor.take_counted("IPv6 addresses")?;
        check_length(octets)?;
        Self::from_parts(octets, cursor.take_counted("SvcParams")?).map(Some)
    }

    /// From its addresses and its parameters, of whatever message.
    pub(super) fn from_parts(octets: &[u8], parameters: &[u8]) -> Result<Self, OptionError> {
        check_length(octets)?;
        let endpoint = Self {
            addresses: addresses(octets).filter(|&address| check_server(address).is_ok()).collect(),
            parameters: svc_params::parse(parameters)?,
        };
        endpoint.check()?;
        Ok(endpoint)
    }

    /// Checks what a receiver checks.
    pub(super) fn check(&self) -> Result<(), OptionError> {
        if self.addresses.is_empty() {
            return Err(OptionError::Empty { what: "resolver address" });
        }
        for &address in &self.addresses {
            check_server(address)?;
        }
        Ok(svc_params::check(&self.parameters)?)
    }

    /// Octets that [`EncryptedDnsEndpoint::emit`] writes.
    fn buffer_len(&self) -> usize {
        2 * LENGTH_LEN + self.addresses.len() * ADDRESS_LEN + svc_params::buffer_len(&self.parameters)
    }

    /// Writes it to the front of `out`, which has room for it.
    fn emit(&self, out: &mut [u8]) {
        let addresses: Vec<u8> = self.addresses.iter().flat_map(Ipv6Addr::octets).collect();
        let rest = put_counted(out, &addresses);
        put_counted(rest, &self.parameter_octets());
    }

    /// The parameters as they stand on the wire.
    pub(super) fn parameter_octets(&self) -> Vec<u8> {
        let mut parameters = vec![0; svc_params::buffer_len(&self.parameters)];
        svc_params::emit(&self.parameters, &mut parameters);
        parameters
    }
}

/// Checks that addresses fill these octets.
const fn check_length(octets: &[u8]) -> Result<(), OptionError> {
    if octets.len().is_multiple_of(ADDRESS_LEN) {
        Ok(())
    } else {
        Err(OptionError::AddressLength { octets: octets.len() })
    }
}

/// Writes octets behind their length to the front of `out`, and returns what is behind.
fn put_counted<'a>(out: &'a mut [u8], octets: &[u8]) -> &'a mut [u8] {
    let length = u16::try_from(octets.len()).expect("a field is shorter than its option");
    let (place, rest) = out.split_at_mut(LENGTH_LEN + octets.len());
    put(place, 0..LENGTH_LEN, &length.to_be_bytes());
    put(place, LENGTH_LEN..LENGTH_LEN + octets.len(), octets);
    rest
}

#[cfg(test)]
mod tests;
