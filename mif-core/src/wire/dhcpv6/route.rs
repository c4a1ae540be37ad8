//! Routes by DHCPv6 (draft-ietf-mif-dhcpv6-route-option, as of revision -04): a next hop and what it leads to. The working
//! group dropped it in 2013, and IANA never gave it numbers: [`super::DraftCodes`].
//!
//! ```text
//! NEXT_HOP                              RT_PREFIX, inside of it or, on-link, beside it
//! address            16 octets          route lifetime  4 octets
//! options                               prefix length   1 octet
//!                                       resvd 3, prf 2, resvd 3 bits
//!                                       prefix         16 octets
//!                                       options
//! ```

use std::net::Ipv6Addr;

use ipnet::Ipv6Net;
use serde::{Deserialize, Serialize};

use super::{
    DraftCodes, EmitError, OptionError, ParseError,
    tlv::{self, Ignored, Tlv},
};
use crate::wire::{self, RouterPreference, octets::u32_at};

/// Octets of a next hop before its options.
const NEXT_HOP_FIXED: usize = 16;

/// Octets of a route before its options.
const PREFIX_FIXED: usize = 22;

/// OPTION_NEXT_HOP
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct NextHop {
    /// The router; `::` stands for the sender of the message.
    pub address: Ipv6Addr,
    /// What it leads to; nothing stands for a default route.
    pub routes: Vec<RoutePrefix>,
}

/// OPTION_RT_PREFIX
#[derive(Clone, Copy, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct RoutePrefix {
    /// The destinations.
    pub prefix: Ipv6Net,
    /// As in a Route Information option; the reserved value makes the route be ignored, as there (RFC 4191 §2.3).
    pub preference: RouterPreference,
    /// Seconds, `u32::MAX` for ever, 0: no longer.
    pub lifetime: u32,
}

impl NextHop {
    /// Reads the data of an option. `Ok(None)`: ignored.
    pub(super) fn parse(
        at: &Tlv<'_>,
        codes: &DraftCodes,
        ignored: &mut Ignored,
    ) -> Result<Option<Self>, ParseError> {
        let Some((address, options)) = at.data.split_first_chunk::<NEXT_HOP_FIXED>() else {
            ignored.push(at, OptionError::Length { octets: at.data.len(), expected: "at least 16" });
            return Ok(None);
        };
        let address = Ipv6Addr::from(*address);
        let mut routes = Vec::new();
        let mut spoilt = false;
        for option in tlv::split(options, at.offset_of(NEXT_HOP_FIXED))? {
            if codes.route_prefix == Some(option.code) {
                let route = ignored.unless(&option, RoutePrefix::parse(option.data));
                spoilt |= route.is_none();
                routes.extend(route);
            }
        }
        if address.is_multicast() || address.is_loopback() {
            ignored.push(at, wire::OptionError::Address { address }.into());
            return Ok(None);
        }
        // With all its routes ignored it would read as a default route.
        Ok((!spoilt || !routes.is_empty()).then_some(Self { address, routes }))
    }

    pub(super) fn emit(&self, codes: &DraftCodes, out: &mut Vec<u8>) -> Result<(), EmitError> {
        out.extend_from_slice(&self.address.octets());
        let code = codes.route_prefix.ok_or(EmitError::NoCode { option: "OPTION_RT_PREFIX" });
        for route in &self.routes {
            tlv::put(out, code?, |out| {
                route.emit(out);
                Ok(())
            })?;
        }
        Ok(())
    }
}

impl RoutePrefix {
    pub(super) fn parse(data: &[u8]) -> Result<Self, OptionError> {
        let Some(fixed) = data.first_chunk::<PREFIX_FIXED>() else {
            return Err(OptionError::Length { octets: data.len(), expected: "at least 22" });
        };
        let [_, _, _, _, bits, flags, address @ ..] = *fixed;
        let error = wire::OptionError::PrefixLength { bits, expected: "0 to 128" };
        Ok(Self {
            prefix: Ipv6Net::new(address.into(), bits).map_err(|_| error)?.trunc(),
            preference: RouterPreference::from_flags(flags).ok_or(wire::OptionError::ReservedPreference)?,
            lifetime: u32_at(fixed, 0..4),
        })
    }

    pub(super) fn emit(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.lifetime.to_be_bytes());
        out.extend_from_slice(&[self.prefix.prefix_len(), self.preference.to_flags()]);
        out.extend_from_slice(&self.prefix.addr().octets());
    }
}
