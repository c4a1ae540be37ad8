//! What the ICMPv6 messages of Neighbor Discovery share (RFC 4861 §4, RFC 4443 §2.1).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |     type      |    code 0     |           checksum            |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```

use std::net::Ipv6Addr;

use super::{EmitError, PacketError, ParseError, checksum};

mod field {
    pub(super) const KIND: usize = 0;
    pub(super) const CODE: usize = 1;
}

/// ICMPv6 type of a Router Solicitation (RFC 4861 §4.1).
pub const ROUTER_SOLICITATION: u8 = 133;

/// ICMPv6 type of a Router Advertisement (RFC 4861 §4.2).
pub const ROUTER_ADVERTISEMENT: u8 = 134;

/// The hop limit of every Neighbor Discovery message: the highest, so that a router between would show (RFC 4861 §3.1).
pub const HOP_LIMIT: u8 = 255;

/// Where Router Solicitations go: all routers of the link (RFC 4291 §2.7.1).
pub const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);

/// Where unsolicited Router Advertisements go: all nodes of the link (RFC 4291 §2.7.1).
pub const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// The longest message, octets: the most that the Payload Length of an IPv6 header can say (RFC 8200 §3).
pub const MESSAGE_MAX: usize = 65535;

/// Checks length, type and code of a message.
pub(super) fn check(icmp: &[u8], expected: u8, minimum: usize) -> Result<(), ParseError> {
    let octets = icmp.len();
    if octets > MESSAGE_MAX {
        return Err(ParseError::TooLong { octets, maximum: MESSAGE_MAX });
    }
    match icmp.get(field::KIND) {
        Some(&kind) if kind != expected => return Err(ParseError::WrongType { kind, expected }),
        Some(_) if octets >= minimum => {}
        _ => return Err(ParseError::TooShort { octets, minimum }),
    }
    match icmp[field::CODE] {
        0 => Ok(()),
        code => Err(ParseError::WrongCode { code }),
    }
}

/// Checks the length of a message to be sent.
pub(super) const fn check_emitted(icmp: &[u8]) -> Result<(), EmitError> {
    if icmp.len() > MESSAGE_MAX {
        Err(EmitError::MessageTooLong { octets: icmp.len(), maximum: MESSAGE_MAX })
    } else {
        Ok(())
    }
}

/// Who looks at the checksum.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ChecksumMode {
    /// It is computed over the pseudo-header and compared: for captured packets.
    Verify,
    /// The kernel did: a raw ICMPv6 socket delivers no message with a wrong one (RFC 3542 §3.1).
    VerifiedByKernel,
}

/// What an RFC 4861 validity check needs to know of a packet besides the message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PacketMeta {
    /// Source address of the IPv6 header.
    pub source: Ipv6Addr,
    /// Destination address of the IPv6 header; only the checksum depends on it.
    pub destination: Ipv6Addr,
    /// Hop limit of the IPv6 header (`IPV6_HOPLIMIT`, RFC 3542 §6.3).
    pub hop_limit: u8,
    /// Whether it came with a Fragment header, even as the only fragment (`IPV6_RECVFRAGSIZE` on Linux).
    pub fragmented: bool,
    /// Who looks at the checksum.
    pub checksum: ChecksumMode,
}

impl PacketMeta {
    /// The rules of RFC 4861 §6.1.2 that do not concern the message itself, and RFC 6980 §5.
    pub(super) fn check(&self, icmp: &[u8]) -> Result<(), PacketError> {
        if !self.source.is_unicast_link_local() {
            return Err(PacketError::SourceNotLinkLocal { source_address: self.source });
        }
        if self.hop_limit != HOP_LIMIT {
            return Err(PacketError::HopLimit { hop_limit: self.hop_limit });
        }
        if self.fragmented {
            return Err(PacketError::Fragmented);
        }
        match self.checksum {
            ChecksumMode::Verify => checksum::verify(self.source, self.destination, icmp),
            ChecksumMode::VerifiedByKernel => Ok(()),
        }
    }
}
