//! Router Solicitation (RFC 4861 §4.1).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |   type 133    |    code 0     |           checksum            |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                           reserved                            |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                          options ...                          |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```
//!
//! A host sends these and discards those it gets (RFC 4861 §6.1.1); reading them is for routers.

use std::net::Ipv6Addr;

use serde::{Deserialize, Serialize};

use super::{
    EmitError, NdOption, ParseError, ROUTER_SOLICITATION, checksum, link_layer, message, option::OptionList,
};

/// Octets in front of the options.
const HEADER_LEN: usize = 8;

/// A Router Solicitation.
#[derive(Clone, Debug, Default, Eq, PartialEq, Deserialize, Serialize)]
pub struct RouterSolicitation {
    /// The sender's link-layer address, whole units less two octets. It must not be there when the source address is
    /// `::`, and should be otherwise (RFC 4861 §4.1).
    pub source_link_layer_address: Option<Vec<u8>>,
}

impl RouterSolicitation {
    /// Reads an ICMPv6 message, from its type octet on. Of the options only the first link-layer address is kept
    /// (RFC 4861 §4.1 defines no other). The checksum is not looked at.
    ///
    /// # Errors
    /// When the whole message is to be discarded (RFC 4861 §6.1.1, §4.6).
    pub fn parse(icmp: &[u8]) -> Result<Self, ParseError> {
        message::check(icmp, ROUTER_SOLICITATION, HEADER_LEN)?;
        let list = OptionList::parse_at(&icmp[HEADER_LEN..], HEADER_LEN)?;
        let source_link_layer_address = list.options.into_iter().find_map(|option| match option {
            NdOption::SourceLinkLayerAddress(address) => Some(address),
            _ => None,
        });
        Ok(Self { source_link_layer_address })
    }

    /// Octets that [`RouterSolicitation::emit`] writes.
    #[must_use]
    pub fn buffer_len(&self) -> usize {
        let address = self.source_link_layer_address.as_deref();
        HEADER_LEN + address.map_or(0, link_layer::buffer_len)
    }

    /// The ICMPv6 message with a checksum of zero, as a raw ICMPv6 socket takes it (RFC 3542 §3.1).
    ///
    /// # Errors
    /// When the link-layer address does not fill an option.
    pub fn emit(&self) -> Result<Vec<u8>, EmitError> {
        let mut icmp = vec![0; HEADER_LEN];
        icmp[0] = ROUTER_SOLICITATION;
        if let Some(address) = &self.source_link_layer_address {
            link_layer::emit(address, &mut icmp)?;
        }
        Ok(icmp)
    }

    /// The ICMPv6 message with the checksum of a packet between these addresses.
    ///
    /// # Errors
    /// When the link-layer address does not fill an option.
    pub fn emit_between(&self, source: Ipv6Addr, destination: Ipv6Addr) -> Result<Vec<u8>, EmitError> {
        let mut icmp = self.emit()?;
        checksum::fill(source, destination, &mut icmp);
        Ok(icmp)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::{
        ALL_ROUTERS,
        testing::{golden::octets, strategy},
    };

    #[test]
    fn rfc4861_4_1() {
        let ethernet = Some(octets("02 00 5e 10 00 01"));
        for (hex, expected) in [
            ("85 00 00 00 00 00 00 00", Ok(None)),
            ("85 00 12 34 ff ff ff ff", Ok(None)),
            ("85 00 00 00 00 00 00 00 01 01 02 00 5e 10 00 01", Ok(ethernet.clone())),
            (
                "85 00 00 00 00 00 00 00 0e 01 00 01 02 03 04 05 01 01 02 00 5e 10 00 01 01 01 ff ff ff ff ff ff",
                Ok(ethernet),
            ),
            ("", Err(ParseError::TooShort { octets: 0, minimum: 8 })),
            ("85 00 00 00 00 00 00", Err(ParseError::TooShort { octets: 7, minimum: 8 })),
            ("86 00 00 00 00 00 00 00", Err(ParseError::WrongType { kind: 134, expected: 133 })),
            ("85 01 00 00 00 00 00 00", Err(ParseError::WrongCode { code: 1 })),
            (
                "85 00 00 00 00 00 00 00 01 00 02 00 5e 10 00 01",
                Err(ParseError::ZeroLengthOption { kind: 1, offset: 8 }),
            ),
        ] {
            let parsed = RouterSolicitation::parse(&octets(hex));
            assert_eq!(parsed.map(|solicitation| solicitation.source_link_layer_address), expected, "{hex}");
        }
    }

    #[test]
    fn emit() {
        let source = "fe80::5eff:fe10:1".parse().expect("an address");
        let solicitation =
            RouterSolicitation { source_link_layer_address: Some(octets("02 00 5e 10 00 01")) };
        assert_eq!(
            solicitation.emit_between(source, ALL_ROUTERS),
            Ok(octets("85 00 bf 0b 00 00 00 00 01 01 02 00 5e 10 00 01"))
        );
        assert_eq!(RouterSolicitation::default().emit(), Ok(octets("85 00 00 00 00 00 00 00")));
        let odd = RouterSolicitation { source_link_layer_address: Some(vec![0; 7]) };
        assert_eq!(odd.emit(), Err(EmitError::PartialUnit { kind: 1, octets: 7 }));
    }

    proptest! {
        #[test]
        fn round_trip(solicitation in strategy::router_solicitation()) {
            let icmp = solicitation.emit().expect("it can be sent");
            prop_assert_eq!(icmp.len(), solicitation.buffer_len());
            prop_assert_eq!(RouterSolicitation::parse(&icmp), Ok(solicitation));
        }
    }
}
