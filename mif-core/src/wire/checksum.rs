//! The ICMPv6 checksum (RFC 4443 §2.3): the Internet checksum over a pseudo-header and the message.
//!
//! The pseudo-header (RFC 8200 §8.1):
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                  source address, 16 octets                    |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                destination address, 16 octets                 |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                    length of the message                      |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                     zero                      | next header 58|
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```

use std::{net::Ipv6Addr, ops::Range};

use super::{
    PacketError,
    octets::{put, u16_at},
};

/// The checksum of every ICMPv6 message.
pub(super) const FIELD: Range<usize> = 2..4;

/// ICMPv6 as a next header (IANA protocol numbers).
const NEXT_HEADER: u64 = 58;

/// One's complement sum of 16-bit words (RFC 1071), a last odd octet being padded with zero, not yet folded.
fn words(octets: &[u8]) -> u64 {
    let (words, odd) = octets.as_chunks::<2>();
    let sum: u64 = words.iter().map(|&word| u64::from(u16::from_be_bytes(word))).sum();
    sum + odd.first().map_or(0, |&last| u64::from(last) << 8)
}

/// The folded sum over pseudo-header and message, checksum field included: `0xffff` when that is right.
fn sum(source: Ipv6Addr, destination: Ipv6Addr, message: &[u8]) -> u16 {
    let length = u64::try_from(message.len()).expect("a length fits 64 bits");
    let mut sum =
        words(&source.octets()) + words(&destination.octets()) + length + NEXT_HEADER + words(message);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from(sum).expect("folded to 16 bits")
}

/// Writes the checksum of a message between these addresses into it. A message that is too short to have one stays as
/// it is.
pub(super) fn fill(source: Ipv6Addr, destination: Ipv6Addr, message: &mut [u8]) {
    if message.len() >= FIELD.end {
        put(message, FIELD, &[0; 2]);
        let checksum = !sum(source, destination, message);
        put(message, FIELD, &checksum.to_be_bytes());
    }
}

/// Checks the checksum of a message between these addresses. A message too short to have one passes: its length is
/// what is wrong with it.
pub(super) fn verify(source: Ipv6Addr, destination: Ipv6Addr, message: &[u8]) -> Result<(), PacketError> {
    if message.len() < FIELD.end {
        return Ok(());
    }
    let sum = sum(source, destination, message);
    if sum == 0xffff {
        return Ok(());
    }
    let read = u16_at(message, FIELD);
    // Taking `read` out of the sum leaves the sum of the rest; the checksum is its complement.
    let rest = u32::from(sum) + u32::from(!read);
    let expected = !u16::try_from((rest & 0xffff) + (rest >> 16)).expect("at most 0xfffe + 1");
    Err(PacketError::Checksum { read, expected })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::testing::golden::octets;

    /// Checksums computed by another program.
    #[test]
    fn vectors() {
        for (source, destination, message, checksum) in [
            ("fe80::1", "ff02::1", "86 00 00 00 40 08 07 08 00 00 00 00 00 00 00 00", 0x351f),
            ("fe80::5eff:fe10:1", "ff02::2", "85 00 00 00 00 00 00 00 01 01 02 00 5e 10 00 01", 0xbf0b),
            ("fe80::1", "ff02::1", "86 00 00 00 40 08 07", 0x3530),
        ] {
            let [source, destination] =
                [source, destination].map(|text| text.parse::<Ipv6Addr>().expect("an address"));
            let mut message = octets(message);
            assert_eq!(
                verify(source, destination, &message),
                Err(PacketError::Checksum { read: 0, expected: checksum })
            );
            fill(source, destination, &mut message);
            assert_eq!(u16_at(&message, FIELD), checksum);
            assert_eq!(verify(source, destination, &message), Ok(()));
        }
    }

    #[test]
    fn too_short_to_have_one() {
        let mut message = [0x86, 0, 0];
        fill(Ipv6Addr::LOCALHOST, Ipv6Addr::LOCALHOST, &mut message);
        assert_eq!(message, [0x86, 0, 0]);
        assert_eq!(verify(Ipv6Addr::LOCALHOST, Ipv6Addr::LOCALHOST, &message), Ok(()));
    }

    proptest! {
        /// What is expected is what would have been right, and one changed octet is seen.
        #[test]
        fn expected_is_right(
            addresses in any::<(u128, u128)>(),
            mut message in proptest::collection::vec(any::<u8>(), 4..64),
            place in any::<proptest::sample::Index>(),
            change in 1..=u8::MAX,
        ) {
            let (source, destination) = (addresses.0.into(), addresses.1.into());
            fill(source, destination, &mut message);
            prop_assert_eq!(verify(source, destination, &message), Ok(()));
            let right = u16_at(&message, FIELD);

            let place = place.index(message.len());
            message[place] ^= change;
            let read = u16_at(&message, FIELD);
            match verify(source, destination, &message) {
                Err(PacketError::Checksum { read: said, expected }) => {
                    prop_assert_eq!(said, read);
                    prop_assert_eq!(expected == right, FIELD.contains(&place));
                    put(&mut message, FIELD, &expected.to_be_bytes());
                    prop_assert_eq!(verify(source, destination, &message), Ok(()));
                }
                // Zero has two forms in one's complement.
                other => prop_assert!(other.is_ok() && matches!((read, right), (0, 0xffff) | (0xffff, 0))),
            }
        }
    }
}
