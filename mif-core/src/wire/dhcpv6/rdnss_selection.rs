//! RDNSS Selection (RFC 6731 §4.2): a resolver and the domains that it knows.
//!
//! ```text
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |              DNS recursive name server, 16 octets             |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! | reserved  |prf|         Domains and networks ...
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-
//! ```

use std::net::Ipv6Addr;

use serde::{Deserialize, Serialize};

use super::{EmitError, OptionError};
use crate::wire::{DomainName, RouterPreference, check_server};

/// Octets before the names.
const FIXED: usize = 17;

/// Option 74.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct RdnssSelection {
    /// The resolver.
    pub server: Ipv6Addr,
    /// Against resolvers of the same trust. The two bits and their order are those of RFC 4191; here the reserved value
    /// reads as medium.
    pub preference: RouterPreference,
    /// The root is in the list: it may be asked for anything.
    pub default: bool,
    /// The names it knows, and the networks as names below ip6.arpa and in-addr.arpa.
    pub domains: Vec<DomainName>,
}

impl RdnssSelection {
    pub(super) fn parse(data: &[u8]) -> Result<Self, OptionError> {
        let Some((fixed, mut names)) = data.split_first_chunk::<FIXED>() else {
            return Err(OptionError::Length { octets: data.len(), expected: "at least 17" });
        };
        let [server @ .., flags] = *fixed;
        let mut selection = Self {
            server: check_server(server.into())?,
            preference: RouterPreference::from_low_bits(flags).unwrap_or_default(),
            default: false,
            domains: Vec::new(),
        };
        while let Some(&first) = names.first() {
            if first == 0 {
                selection.default = true;
                names = &names[1..];
                continue;
            }
            let (name, taken) = DomainName::from_wire(names)?;
            selection.domains.push(name);
            names = &names[taken..];
        }
        Ok(selection)
    }

    pub(super) fn emit(&self, out: &mut Vec<u8>) -> Result<(), EmitError> {
        check_server(self.server).map_err(OptionError::from)?;
        out.extend_from_slice(&self.server.octets());
        out.push(self.preference.to_low_bits());
        if self.default {
            out.push(0);
        }
        for name in &self.domains {
            name.emit(out);
        }
        Ok(())
    }
}
