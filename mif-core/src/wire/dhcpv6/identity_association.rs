//! Identity associations: for addresses (IA_NA, RFC 8415 §21.4, §21.6) and for prefixes (IA_PD, §21.21, §21.22).
//!
//! ```text
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                             IAID                              |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                              T1                               |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                              T2                               |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |            options: leases, a Status Code ...
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-
//!
//! IA Address (5)                      IA Prefix (26)
//! address            16 octets        preferred-lifetime  4 octets
//! preferred-lifetime  4 octets        valid-lifetime      4 octets
//! valid-lifetime      4 octets        prefix-length       1 octet
//! options                             prefix             16 octets
//!                                     options
//! ```
//!
//! One is as the other but for this order: an address is a prefix of 128 bits here.

use std::net::Ipv6Addr;

use ipnet::Ipv6Net;
use serde::{Deserialize, Serialize};

use super::{
    EmitError, OptionError, ParseError, Status,
    option::code,
    tlv::{self, Ignored, Tlv},
};
use crate::wire::octets::u32_at;

/// Octets before an association's options.
const FIXED: usize = 12;

/// Octets before the options of an IA Address, and of an IA Prefix.
const ADDRESS_FIXED: usize = 24;
const PREFIX_FIXED: usize = 25;

/// Bits of an address.
const ADDRESS_BITS: u8 = 128;

/// An IA_NA or IA_PD.
#[derive(Clone, Debug, Default, Eq, PartialEq, Deserialize, Serialize)]
pub struct IdentityAssociation {
    /// The client's number for it.
    pub iaid: u32,
    /// Seconds until the server that gave the leases is to be asked to extend them; 0: as the client likes.
    pub t1: u32,
    /// Seconds until any server is to be asked; 0: as the client likes.
    pub t2: u32,
    /// What is leased, or asked for.
    pub leases: Vec<Lease>,
    /// The server's word on all of it.
    pub status: Option<Status>,
}

/// An address (a prefix of 128 bits) or a delegated prefix.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct Lease {
    /// Which; a client that asks for any prefix of a length says `::` and the length.
    pub prefix: Ipv6Net,
    /// Seconds, `u32::MAX` for ever.
    pub preferred_lifetime: u32,
    /// Seconds, `u32::MAX` for ever, 0: no longer.
    pub valid_lifetime: u32,
    /// The server's word on it.
    pub status: Option<Status>,
}

/// What an association is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    Addresses,
    Prefixes,
}

impl IdentityAssociation {
    /// Reads the data of an option. `Ok(None)`: ignored.
    pub(super) fn parse(at: &Tlv<'_>, kind: Kind, ignored: &mut Ignored) -> Result<Option<Self>, ParseError> {
        let Some((fixed, options)) = at.data.split_at_checked(FIXED) else {
            ignored.push(at, OptionError::Length { octets: at.data.len(), expected: "at least 12" });
            return Ok(None);
        };
        let mut association = Self {
            iaid: u32_at(fixed, 0..4),
            t1: u32_at(fixed, 4..8),
            t2: u32_at(fixed, 8..12),
            ..Self::default()
        };
        for option in tlv::split(options, at.offset_of(FIXED))? {
            match (option.code, kind) {
                (code::IA_ADDRESS, Kind::Addresses) | (code::IA_PREFIX, Kind::Prefixes) => {
                    association.leases.extend(Lease::parse(&option, kind, ignored)?);
                }
                (code::STATUS_CODE, _) => put_status(&mut association.status, &option, ignored),
                (code::IA_ADDRESS | code::IA_PREFIX, _) => {
                    ignored.push(
                        &option,
                        OptionError::Misplaced { expected: "a lease of the association's kind" },
                    );
                }
                // Others, such as PD exclude (RFC 6603), are of no use here.
                _ => {}
            }
        }
        Ok(Some(association))
    }

    pub(super) fn emit(&self, kind: Kind, out: &mut Vec<u8>) -> Result<(), EmitError> {
        for number in [self.iaid, self.t1, self.t2] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        for lease in &self.leases {
            lease.emit(kind, out)?;
        }
        emit_status(self.status.as_ref(), out)
    }
}

impl Lease {
    fn parse(at: &Tlv<'_>, kind: Kind, ignored: &mut Ignored) -> Result<Option<Self>, ParseError> {
        let (fixed_len, expected) = match kind {
            Kind::Addresses => (ADDRESS_FIXED, "at least 24"),
            Kind::Prefixes => (PREFIX_FIXED, "at least 25"),
        };
        let Some((fixed, options)) = at.data.split_at_checked(fixed_len) else {
            ignored.push(at, OptionError::Length { octets: at.data.len(), expected });
            return Ok(None);
        };
        let (prefix, lifetimes) = match kind {
            Kind::Addresses => (prefix(&fixed[..16], ADDRESS_BITS), &fixed[16..]),
            Kind::Prefixes => (prefix(&fixed[9..], fixed[8]), &fixed[..8]),
        };
        let mut status = None;
        for option in tlv::split(options, at.offset_of(fixed_len))? {
            if option.code == code::STATUS_CODE {
                put_status(&mut status, &option, ignored);
            }
        }
        let (preferred_lifetime, valid_lifetime) = (u32_at(lifetimes, 0..4), u32_at(lifetimes, 4..8));
        let lease = prefix.map(|prefix| Self { prefix, preferred_lifetime, valid_lifetime, status });
        Ok(ignored.unless(at, lease))
    }

    fn emit(&self, kind: Kind, out: &mut Vec<u8>) -> Result<(), EmitError> {
        let lifetimes = [self.preferred_lifetime, self.valid_lifetime].map(u32::to_be_bytes).concat();
        let address = self.prefix.addr().octets();
        let (code, fixed) = match kind {
            Kind::Addresses if self.prefix.prefix_len() != ADDRESS_BITS => {
                return Err(length_error(self.prefix.prefix_len(), "128").into());
            }
            Kind::Addresses => (code::IA_ADDRESS, [&address[..], &lifetimes].concat()),
            Kind::Prefixes => {
                (code::IA_PREFIX, [&lifetimes[..], &[self.prefix.prefix_len()], &address].concat())
            }
        };
        tlv::put(out, code, |out| {
            out.extend_from_slice(&fixed);
            emit_status(self.status.as_ref(), out)
        })
    }
}

/// A prefix without the bits past its length.
fn prefix(address: &[u8], bits: u8) -> Result<Ipv6Net, OptionError> {
    let address: [u8; 16] = address.try_into().expect("the field has 16 octets");
    let prefix = Ipv6Net::new(Ipv6Addr::from(address), bits).map_err(|_| length_error(bits, "0 to 128"))?;
    Ok(prefix.trunc())
}

fn length_error(bits: u8, expected: &'static str) -> OptionError {
    crate::wire::OptionError::PrefixLength { bits, expected }.into()
}

/// Takes a status into an empty place.
fn put_status(place: &mut Option<Status>, at: &Tlv<'_>, ignored: &mut Ignored) {
    let status = if place.is_some() { Err(OptionError::Second) } else { Status::parse(at.data) };
    if let Some(status) = ignored.unless(at, status) {
        *place = Some(status);
    }
}

fn emit_status(status: Option<&Status>, out: &mut Vec<u8>) -> Result<(), EmitError> {
    status.map_or(Ok(()), |status| {
        tlv::put(out, code::STATUS_CODE, |out| {
            status.emit(out);
            Ok(())
        })
    })
}
