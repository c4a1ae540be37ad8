//! Recursive DNS Server (RFC 8106 §5.1).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |    type 25    |    length     |           reserved            |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                           Lifetime                            |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |               addresses of servers, 16 octets each            |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```

use std::net::Ipv6Addr;

use serde::{Deserialize, Serialize};

use super::{
    EmitError, OptionError,
    octets::{addresses, put, u32_at},
    option::{self, kind},
};

mod field {
    use std::ops::Range;

    pub(super) const LIFETIME: Range<usize> = 4..8;
    pub(super) const ADDRESSES: usize = 8;
}

/// Octets of an address.
const ADDRESS_LEN: usize = 16;

/// Type 25 (RFC 8106 §5.1).
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct RecursiveDnsServers {
    /// Seconds, `u32::MAX` for ever, 0: no longer to be used.
    pub lifetime: u32,
    /// At least one, each of them unicast, in the order of preference.
    pub servers: Vec<Ipv6Addr>,
}

impl RecursiveDnsServers {
    /// Reads a whole option, type and length included.
    ///
    /// # Errors
    /// A length that is not 8 octets and at least one address, an address that cannot be a server's.
    pub fn parse(option: &[u8]) -> Result<Self, OptionError> {
        let expected = "8 and a multiple of 16 above 0";
        option::expect_at_least(option, field::ADDRESSES + ADDRESS_LEN, expected)?;
        let servers = &option[field::ADDRESSES..];
        if !servers.len().is_multiple_of(ADDRESS_LEN) {
            return Err(OptionError::Length { octets: option.len(), expected });
        }
        Ok(Self {
            lifetime: u32_at(option, field::LIFETIME),
            servers: addresses(servers).map(check_server).collect::<Result<_, _>>()?,
        })
    }

    /// Octets that [`RecursiveDnsServers::emit`] writes.
    #[must_use]
    pub const fn buffer_len(&self) -> usize {
        field::ADDRESSES + self.servers.len() * ADDRESS_LEN
    }

    /// Appends the option.
    ///
    /// # Errors
    /// No server, more than fit an option, an address that cannot be a server's; `out` is then as it was.
    pub fn emit(&self, out: &mut Vec<u8>) -> Result<(), EmitError> {
        if self.servers.is_empty() {
            return Err(OptionError::Empty { what: "server" }.into());
        }
        for &server in &self.servers {
            check_server(server)?;
        }
        let option = option::begin(out, kind::RECURSIVE_DNS_SERVERS, self.buffer_len())?;
        put(option, field::LIFETIME, &self.lifetime.to_be_bytes());
        let (places, _) = option[field::ADDRESSES..].as_chunks_mut();
        for (place, server) in places.iter_mut().zip(&self.servers) {
            *place = server.octets();
        }
        Ok(())
    }
}

/// An address that can be a server's: RFC 8106 §5.3.1 and RFC 9463 §6.2 ask for unicast, and nobody on the network is
/// `::` or `::1`. Link-local is fine; the link of arrival is its zone.
pub(super) const fn check_server(address: Ipv6Addr) -> Result<Ipv6Addr, OptionError> {
    if address.is_multicast() || address.is_unspecified() || address.is_loopback() {
        Err(OptionError::Address { address })
    } else {
        Ok(address)
    }
}
