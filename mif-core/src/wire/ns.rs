//! Neighbor Solicitation (RFC 4861 §4.3).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |   type 135    |    code 0     |           checksum            |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                           reserved                            |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                     target address (16) ...                   |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                          options ...                          |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```
//!
//! The kernel answers those of others; this project only asks.

use std::net::Ipv6Addr;

use super::{EmitError, link_layer};

/// ICMPv6 type.
const NEIGHBOR_SOLICITATION: u8 = 135;

/// Octets in front of the target.
const TARGET: usize = 8;

/// The prefix of solicited-node multicast addresses, less the 24 bits of the target (RFC 4291 §2.7.1).
const SOLICITED_NODE: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 0);

/// A Neighbor Solicitation to all that may have an address.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NeighborSolicitation {
    /// Whom it asks.
    pub target: Ipv6Addr,
    /// The sender's link-layer address, whole units less two octets: a MUST on links that have such addresses, when it goes to a
    /// multicast address.
    pub source_link_layer_address: Option<Vec<u8>>,
}

impl NeighborSolicitation {
    /// The target's solicited-node multicast address.
    #[must_use]
    pub const fn destination(&self) -> Ipv6Addr {
        const LOW_24: u128 = 0xff_ffff;
        Ipv6Addr::from_bits(SOLICITED_NODE.to_bits() | self.target.to_bits() & LOW_24)
    }

    /// The ICMPv6 message with a checksum of zero, as a raw ICMPv6 socket takes it (RFC 3542 §3.1).
    ///
    /// # Errors
    /// When the link-layer address does not fill an option.
    pub fn emit(&self) -> Result<Vec<u8>, EmitError> {
        let mut icmp = vec![0; TARGET];
        icmp[0] = NEIGHBOR_SOLICITATION;
        icmp.extend(self.target.octets());
        if let Some(address) = &self.source_link_layer_address {
            link_layer::emit(address, &mut icmp)?;
        }
        Ok(icmp)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::testing::golden::octets;

    #[test]
    fn rfc4861_4_3() {
        let target = "fe80::1:2a3:4b5c".parse().expect("an address");
        for (address, end) in [(None, ""), (Some(octets("02 00 5e 10 00 01")), "01 01 02 00 5e 10 00 01")] {
            let solicitation = NeighborSolicitation { target, source_link_layer_address: address };
            let start = "87 00 00 00 00 00 00 00 fe 80 00 00 00 00 00 00 00 00 00 01 02 a3 4b 5c";
            assert_eq!(solicitation.emit(), Ok([octets(start), octets(end)].concat()));
            assert_eq!(
                solicitation.destination(),
                "ff02::1:ffa3:4b5c".parse::<Ipv6Addr>().expect("an address")
            );
        }
        let odd = NeighborSolicitation { target, source_link_layer_address: Some(vec![0; 7]) };
        assert_eq!(odd.emit(), Err(EmitError::PartialUnit { kind: 1, octets: 7 }));
    }
}
