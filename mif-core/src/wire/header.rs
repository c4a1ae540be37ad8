//! The Router Advertisement header (RFC 4861 §4.2, RFC 4191 §2.2), of the message and inside a PvD option
//! (RFC 8801 §3.1).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |   type 134    |     code      |           checksum            |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! | Cur Hop Limit |M|O|H|Prf|P|S|-|        Router Lifetime        |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                        Reachable Time                         |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                         Retrans Timer                         |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```

use serde::{Deserialize, Serialize};

use super::{
    RouterPreference,
    octets::{put, u16_at, u32_at},
};

mod field {
    use std::ops::Range;

    pub(super) const KIND: usize = 0;
    pub(super) const CUR_HOP_LIMIT: usize = 4;
    pub(super) const FLAGS: usize = 5;
    pub(super) const ROUTER_LIFETIME: Range<usize> = 6..8;
    pub(super) const REACHABLE_TIME: Range<usize> = 8..12;
    pub(super) const RETRANS_TIMER: Range<usize> = 12..16;
}

/// The bits of the flags octet besides Prf (IANA, ICMPv6 ND Router Advertisement flags).
mod flag {
    /// M (RFC 4861 §4.2)
    pub(super) const MANAGED: u8 = 0x80;
    /// O (RFC 4861 §4.2)
    pub(super) const OTHER_CONFIG: u8 = 0x40;
    /// H (RFC 6275 §7.1)
    pub(super) const HOME_AGENT: u8 = 0x20;
    /// P (RFC 4389 §4.1.3.3)
    pub(super) const PROXY: u8 = 0x04;
    /// S (draft-ietf-6man-snac-router-ra-flag)
    pub(super) const SNAC: u8 = 0x02;
}

/// The header.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Deserialize, Serialize)]
pub struct RaHeader {
    /// 0: unspecified.
    pub cur_hop_limit: u8,
    /// M
    pub managed: bool,
    /// O
    pub other_config: bool,
    /// H (RFC 6275)
    pub home_agent: bool,
    /// Prf (RFC 4191 §2.2). Medium when the lifetime is 0: a receiver must ignore Prf then, a sender must set it so.
    pub preference: RouterPreference,
    /// P (RFC 4389)
    pub proxy: bool,
    /// SNAC router
    pub snac: bool,
    /// Seconds; 0: not a default router.
    pub router_lifetime: u16,
    /// Milliseconds; 0: unspecified.
    pub reachable_time: u32,
    /// Milliseconds; 0: unspecified.
    pub retrans_timer: u32,
}

impl RaHeader {
    /// Its length, octets.
    pub const LEN: usize = field::RETRANS_TIMER.end;

    /// The fields. Type, code and checksum are the message's business and mean nothing in a PvD option (RFC 8801 §3.1):
    /// they are not looked at. The reserved Prf is Medium (RFC 4191 §2.2).
    #[must_use]
    pub fn parse(octets: &[u8; Self::LEN]) -> Self {
        let flags = octets[field::FLAGS];
        let router_lifetime = u16_at(octets, field::ROUTER_LIFETIME);
        let preference = match RouterPreference::from_flags(flags) {
            Some(preference) if router_lifetime != 0 => preference,
            _ => RouterPreference::Medium,
        };
        Self {
            cur_hop_limit: octets[field::CUR_HOP_LIMIT],
            managed: flags & flag::MANAGED != 0,
            other_config: flags & flag::OTHER_CONFIG != 0,
            home_agent: flags & flag::HOME_AGENT != 0,
            preference,
            proxy: flags & flag::PROXY != 0,
            snac: flags & flag::SNAC != 0,
            router_lifetime,
            reachable_time: u32_at(octets, field::REACHABLE_TIME),
            retrans_timer: u32_at(octets, field::RETRANS_TIMER),
        }
    }

    /// The octets, with type 134, code 0 and checksum 0. Prf is sent as Medium with a lifetime of 0 (RFC 4191 §2.2).
    #[must_use]
    pub fn emit(&self) -> [u8; Self::LEN] {
        let preference = if self.router_lifetime == 0 { RouterPreference::Medium } else { self.preference };
        let flags = [
            (self.managed, flag::MANAGED),
            (self.other_config, flag::OTHER_CONFIG),
            (self.home_agent, flag::HOME_AGENT),
            (self.proxy, flag::PROXY),
            (self.snac, flag::SNAC),
        ];
        let mut octets = [0; Self::LEN];
        octets[field::KIND] = super::ROUTER_ADVERTISEMENT;
        octets[field::CUR_HOP_LIMIT] = self.cur_hop_limit;
        octets[field::FLAGS] = flags
            .into_iter()
            .filter(|(set, _)| *set)
            .fold(preference.to_flags(), |octet, (_, flag)| octet | flag);
        put(&mut octets, field::ROUTER_LIFETIME, &self.router_lifetime.to_be_bytes());
        put(&mut octets, field::REACHABLE_TIME, &self.reachable_time.to_be_bytes());
        put(&mut octets, field::RETRANS_TIMER, &self.retrans_timer.to_be_bytes());
        octets
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::testing::{golden, strategy};

    #[test]
    fn golden() {
        let golden = golden::header();
        let octets = golden.octets.try_into().expect("16 octets");
        assert_eq!(RaHeader::parse(&octets), golden.value);
        assert_eq!(golden.value.emit(), octets);
    }

    /// Each bit of the flags octet is its field and nothing else; the reserved one is nothing.
    #[test]
    fn flags() {
        let default = RaHeader { router_lifetime: 1, ..RaHeader::default() };
        for (flags, header) in [
            (0x80, RaHeader { managed: true, ..default }),
            (0x40, RaHeader { other_config: true, ..default }),
            (0x20, RaHeader { home_agent: true, ..default }),
            (0x08, RaHeader { preference: RouterPreference::High, ..default }),
            (0x18, RaHeader { preference: RouterPreference::Low, ..default }),
            (0x04, RaHeader { proxy: true, ..default }),
            (0x02, RaHeader { snac: true, ..default }),
            (0x01, default),
        ] {
            let mut octets = default.emit();
            octets[field::FLAGS] = flags;
            assert_eq!(RaHeader::parse(&octets), header, "{flags:#04x}");
            assert_eq!(header.emit()[field::FLAGS], flags & 0xfe, "{flags:#04x}");
        }
    }

    /// RT-4191-2.2-a and RA-8319-4-a: Prf by its bits and the lifetime.
    #[test]
    fn rfc4191_2_2() {
        for (prf, router_lifetime, preference) in [
            (0b00, 1800, RouterPreference::Medium),
            (0b01, 1800, RouterPreference::High),
            (0b11, u16::MAX, RouterPreference::Low),
            (0b10, 1800, RouterPreference::Medium),
            (0b01, 0, RouterPreference::Medium),
            (0b11, 0, RouterPreference::Medium),
        ] {
            let mut octets = RaHeader { router_lifetime, ..RaHeader::default() }.emit();
            octets[field::FLAGS] = prf << RouterPreference::SHIFT;
            let header = RaHeader::parse(&octets);
            assert_eq!(
                (header.preference, header.router_lifetime),
                (preference, router_lifetime),
                "{prf:02b}"
            );
        }
        let withdrawn = RaHeader { preference: RouterPreference::High, ..RaHeader::default() };
        assert_eq!(withdrawn.emit()[field::FLAGS], 0, "RFC 4191 §2.2: Prf is 00 with a lifetime of 0");
    }

    proptest! {
        #[test]
        fn round_trip(header in strategy::ra_header()) {
            prop_assert_eq!(RaHeader::parse(&header.emit()), header);
        }

        #[test]
        fn any_octets(octets in any::<[u8; RaHeader::LEN]>()) {
            let header = RaHeader::parse(&octets);
            prop_assert_eq!(RaHeader::parse(&header.emit()), header);
        }
    }
}
