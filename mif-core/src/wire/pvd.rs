//! PvD option (RFC 8801 §3.1): the name of the provisioning domain that the advertisement belongs to, and what of it only
//! hosts that know PvDs are to see.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |    type 21    |    length     |H|L|R|     reserved    | Delay |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |       Sequence Number         |          PvD ID ...           |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                  ... padded with zero octets                  |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |      Router Advertisement header, 16 octets, only with R      |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                          options ...                          |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```

use serde::{Deserialize, Serialize};

use super::{
    DomainName, EmitError, NdOption, OptionError, RaHeader,
    octets::{put, u16_at},
    option::{self, UNIT, kind},
};

mod field {
    use std::ops::Range;

    pub(super) const FLAGS: Range<usize> = 2..4;
    pub(super) const SEQUENCE: Range<usize> = 4..6;
    pub(super) const ID: usize = 6;
}

mod flag {
    /// H
    pub(super) const HTTP: u16 = 0x8000;
    /// L
    pub(super) const LEGACY: u16 = 0x4000;
    /// R
    pub(super) const ROUTER_ADVERTISEMENT: u16 = 0x2000;
}

/// Delay in the flags field.
const DELAY_MASK: u16 = 0x000f;

/// Type 21 (RFC 8801 §3.1).
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct PvdOption {
    /// The PvD ID.
    pub id: DomainName,
    /// H
    pub http: bool,
    /// L
    pub legacy: bool,
    /// 0..=15, meaningful with H.
    pub delay: u8,
    /// Meaningful with H.
    pub sequence: u16,
    /// The inner header, present with R.
    pub header: Option<RaHeader>,
    /// The nested options; none of them is a PvD option.
    pub options: Vec<NdOption>,
}

impl PvdOption {
    /// Reads what is in front of the nested options, and how many octets that is. It must be good before the options
    /// can be found.
    pub(super) fn parse_head(option: &[u8]) -> Result<(Self, usize), OptionError> {
        option::expect_at_least(option, UNIT, "at least 8")?;
        let flags = u16_at(option, field::FLAGS);
        let (id, taken) = DomainName::from_wire(&option[field::ID..])?;
        let mut head = (field::ID + taken).next_multiple_of(UNIT);
        let mut header = None;
        if flags & flag::ROUTER_ADVERTISEMENT != 0 {
            let rest = option.get(head..).unwrap_or_default();
            let octets = rest.first_chunk().ok_or(OptionError::FieldOverrun {
                field: "Router Advertisement header",
                octets: RaHeader::LEN,
                left: rest.len(),
            })?;
            header = Some(RaHeader::parse(octets));
            head += RaHeader::LEN;
        }
        let pvd = Self {
            id,
            http: flags & flag::HTTP != 0,
            legacy: flags & flag::LEGACY != 0,
            delay: u8::try_from(flags & DELAY_MASK).expect("masked to four bits"),
            sequence: u16_at(option, field::SEQUENCE),
            header,
            options: Vec::new(),
        };
        Ok((pvd, head))
    }

    /// Octets that [`PvdOption::emit`] writes.
    #[must_use]
    pub fn buffer_len(&self) -> usize {
        self.head_len() + self.options.iter().map(NdOption::buffer_len).sum::<usize>()
    }

    /// Octets in front of the nested options.
    fn head_len(&self) -> usize {
        let id = (field::ID + self.id.buffer_len()).next_multiple_of(UNIT);
        id + self.header.map_or(0, |_| RaHeader::LEN)
    }

    /// Appends the option.
    ///
    /// # Errors
    /// A delay above 15, a PvD option inside, an option that cannot be put on the wire, more than fits an option; `out`
    /// is then as it was.
    pub fn emit(&self, out: &mut Vec<u8>) -> Result<(), EmitError> {
        if u16::from(self.delay) > DELAY_MASK {
            return Err(EmitError::PvdDelay { delay: self.delay });
        }
        let mut nested = Vec::new();
        for option in &self.options {
            if option.kind() == kind::PVD {
                return Err(OptionError::NestedPvd.into());
            }
            option.emit(&mut nested)?;
        }
        let mut id = Vec::new();
        self.id.emit(&mut id);

        let head = self.head_len();
        let option = option::begin(out, kind::PVD, head + nested.len())?;
        let flags = [
            (self.http, flag::HTTP),
            (self.legacy, flag::LEGACY),
            (self.header.is_some(), flag::ROUTER_ADVERTISEMENT),
        ]
        .into_iter()
        .filter(|(set, _)| *set)
        .fold(u16::from(self.delay), |field, (_, flag)| field | flag);
        put(option, field::FLAGS, &flags.to_be_bytes());
        put(option, field::SEQUENCE, &self.sequence.to_be_bytes());
        put(option, field::ID..field::ID + id.len(), &id);
        if let Some(header) = self.header {
            put(option, head - RaHeader::LEN..head, &header.emit());
        }
        option[head..].copy_from_slice(&nested);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
