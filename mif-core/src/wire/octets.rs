//! Reading and writing fields of octet strings: big-endian integers and addresses at fixed places, and a cursor for
//! formats that carry lengths inside.
//!
//! A field is a range of offsets, as it stands under the drawing of its format.

use std::{net::Ipv6Addr, ops::Range};

use super::OptionError;

/// The number in a field of one octet at `offset`, two octets or four, as the name says.
pub(super) fn u16_at(octets: &[u8], field: Range<usize>) -> u16 {
    u16::from_be_bytes(octets[field].try_into().expect("the field has two octets"))
}

/// See [`u16_at`].
pub(super) fn u32_at(octets: &[u8], field: Range<usize>) -> u32 {
    u32::from_be_bytes(octets[field].try_into().expect("the field has four octets"))
}

/// The addresses that fill `octets`; what is left of less than 16 octets is not looked at.
pub(super) fn addresses(octets: &[u8]) -> impl Iterator<Item = Ipv6Addr> {
    octets.as_chunks::<16>().0.iter().map(|&address| address.into())
}

/// Writes a field.
pub(super) fn put(octets: &mut [u8], field: Range<usize>, value: &[u8]) {
    octets[field].copy_from_slice(value);
}

/// An address from its leading octets, the rest zero; octets past 16 are not looked at.
pub(super) fn address_from_prefix(octets: &[u8]) -> Ipv6Addr {
    let mut address = [0; 16];
    let count = octets.len().min(address.len());
    address[..count].copy_from_slice(&octets[..count]);
    address.into()
}

/// Takes fields off the front of an octet string, and says by name which one ran over its end.
#[derive(Clone, Debug)]
pub(super) struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    /// A cursor at the first of these octets.
    pub(super) const fn new(octets: &'a [u8]) -> Self {
        Self(octets)
    }

    /// What is left.
    pub(super) const fn rest(&self) -> &'a [u8] {
        self.0
    }

    /// The next `count` octets, those of `field`.
    pub(super) fn take(&mut self, field: &'static str, count: usize) -> Result<&'a [u8], OptionError> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(OptionError::FieldOverrun {
            field,
            octets: count,
            left: self.0.len(),
        })?;
        self.0 = rest;
        Ok(taken)
    }

    /// The next two octets as a number.
    pub(super) fn take_u16(&mut self, field: &'static str) -> Result<u16, OptionError> {
        self.take(field, 2).map(|octets| u16_at(octets, 0..2))
    }

    /// A two-octet length and the octets it counts.
    pub(super) fn take_counted(&mut self, field: &'static str) -> Result<&'a [u8], OptionError> {
        let count = self.take_u16(field)?;
        self.take(field, count.into())
    }
}
