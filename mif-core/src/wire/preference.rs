//! Router preference, the Prf field (RFC 4191 §2.1).

use serde::{Deserialize, Serialize};

/// How much a router wants to be used for a route. Two bits on the wire; the order is that of preference.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RouterPreference {
    /// `11`
    Low,
    /// `00`
    #[default]
    Medium,
    /// `01`
    High,
}

impl RouterPreference {
    /// Where Prf stands in the flags octet, of the header as of the Route Information option.
    pub(super) const SHIFT: u8 = 3;

    /// Prf of a flags octet; `None` for the reserved value `10`, on which header and option differ.
    pub(super) const fn from_flags(flags: u8) -> Option<Self> {
        Self::from_low_bits(flags >> Self::SHIFT)
    }

    /// Prf in the lowest bits, where DHCPv6 has it (RFC 6731 §4.2); `None` for the reserved value.
    pub(super) const fn from_low_bits(octet: u8) -> Option<Self> {
        match octet & 0b11 {
            0b00 => Some(Self::Medium),
            0b01 => Some(Self::High),
            0b11 => Some(Self::Low),
            _ => None,
        }
    }

    /// Prf at its place in a flags octet that is zero elsewhere.
    pub(super) const fn to_flags(self) -> u8 {
        self.to_low_bits() << Self::SHIFT
    }

    /// Prf in the lowest bits of an octet that is zero elsewhere.
    pub(super) const fn to_low_bits(self) -> u8 {
        match self {
            Self::Medium => 0b00,
            Self::High => 0b01,
            Self::Low => 0b11,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags() {
        for (flags, preference) in [
            (0x00, Some(RouterPreference::Medium)),
            (0x08, Some(RouterPreference::High)),
            (0x10, None),
            (0x18, Some(RouterPreference::Low)),
            (0xef, Some(RouterPreference::High)),
        ] {
            assert_eq!(RouterPreference::from_flags(flags), preference, "{flags:#04x}");
            if let Some(preference) = preference {
                assert_eq!(preference.to_flags(), flags & 0x18, "{preference:?}");
            }
        }
    }

    #[test]
    fn order() {
        assert!(RouterPreference::Low < RouterPreference::Medium);
        assert!(RouterPreference::Medium < RouterPreference::High);
    }
}
