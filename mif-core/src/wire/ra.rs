//! Router Advertisement (RFC 4861 §4.2): the header of [`RaHeader`], then options.
//!
//! ```text
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                       header, 16 octets                       |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                          options ...                          |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```

use std::net::Ipv6Addr;

use serde::{Deserialize, Serialize};

use super::{
    EmitError, IgnoredOption, NdOption, OptionError, PacketError, PacketMeta, ParseError,
    ROUTER_ADVERTISEMENT, RaHeader, checksum, message,
    option::{OptionList, kind},
};

/// A Router Advertisement.
#[derive(Clone, Debug, Default, Eq, PartialEq, Deserialize, Serialize)]
pub struct RouterAdvertisement {
    /// The header.
    pub header: RaHeader,
    /// The options in order; at most one of them is a PvD option.
    pub options: Vec<NdOption>,
}

/// What a message says, and what of it was left out.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Parsed {
    /// What is to be used.
    pub advertisement: RouterAdvertisement,
    /// Options that are ignored, by their offset in the message.
    pub ignored: Vec<IgnoredOption>,
}

impl RouterAdvertisement {
    /// Reads an ICMPv6 message, from its type octet on. The checksum is not looked at; see
    /// [`RouterAdvertisement::parse_packet`].
    ///
    /// # Errors
    /// When the whole message is to be discarded (RFC 4861 §6.1.2, §4.6).
    pub fn parse(icmp: &[u8]) -> Result<Parsed, ParseError> {
        message::check(icmp, ROUTER_ADVERTISEMENT, RaHeader::LEN)?;
        let (header, options) = icmp.split_first_chunk().expect("the message is as long as its header");
        let OptionList { options, ignored } = OptionList::parse_at(options, RaHeader::LEN)?;
        Ok(Parsed { advertisement: Self { header: RaHeader::parse(header), options }, ignored })
    }

    /// Applies all of RFC 4861 §6.1.2 and RFC 6980 §5 to a packet and reads its ICMPv6 message.
    ///
    /// # Errors
    /// When the packet is to be discarded.
    pub fn parse_packet(meta: &PacketMeta, icmp: &[u8]) -> Result<Parsed, PacketError> {
        meta.check(icmp)?;
        Ok(Self::parse(icmp)?)
    }

    /// Octets that [`RouterAdvertisement::emit`] writes.
    #[must_use]
    pub fn buffer_len(&self) -> usize {
        RaHeader::LEN + self.options.iter().map(NdOption::buffer_len).sum::<usize>()
    }

    /// The ICMPv6 message with a checksum of zero, as a raw ICMPv6 socket takes it (RFC 3542 §3.1).
    ///
    /// # Errors
    /// When the value cannot be put on the wire.
    pub fn emit(&self) -> Result<Vec<u8>, EmitError> {
        if self.options.iter().filter(|option| option.kind() == kind::PVD).count() > 1 {
            return Err(OptionError::SecondPvd.into());
        }
        let mut icmp = self.header.emit().to_vec();
        for option in &self.options {
            option.emit(&mut icmp)?;
        }
        message::check_emitted(&icmp)?;
        Ok(icmp)
    }

    /// The ICMPv6 message with the checksum of a packet between these addresses.
    ///
    /// # Errors
    /// When the value cannot be put on the wire.
    pub fn emit_between(&self, source: Ipv6Addr, destination: Ipv6Addr) -> Result<Vec<u8>, EmitError> {
        let mut icmp = self.emit()?;
        checksum::fill(source, destination, &mut icmp);
        Ok(icmp)
    }
}

#[cfg(test)]
mod tests;
