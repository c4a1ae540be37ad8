//! Where members of the kernel's structures are: the kernel's own description of its types (`Documentation/bpf/btf.rst`), of which
//! only structures and unions are looked at.

use std::{fs, io, path::Path};

use mif_common::abi::NetnsPath;

/// The types of the running kernel.
const VMLINUX: &str = "/sys/kernel/btf/vmlinux";
/// `linux/btf.h`
const MAGIC: u32 = 0xeb9f;
/// Octets before the data of a type's kind: `struct btf_type`.
const TYPE: usize = 12;
/// Octets of a `struct btf_member`.
const MEMBER: usize = 12;
/// Unions in structures in unions; the kernel's types nest three or four levels.
const DEPTH: u32 = 16;

/// Why a member's place is not known.
#[derive(Debug, thiserror::Error)]
pub enum BtfError {
    /// The description cannot be read.
    #[error("cannot read {VMLINUX}: {0}")]
    Io(#[from] io::Error),
    /// It is of another form.
    #[error("{VMLINUX} is not understood")]
    Malformed,
    /// The structure has no such member, at a place that the hooks could use.
    #[error("this kernel's struct {0} has no {1}")]
    Missing(&'static str, &'static str),
}

/// How the guard gets from a packet to the cookie of its network namespace in the running kernel.
///
/// # Errors
/// When the kernel does not describe its types, or has others than those known here (5.14 and later).
pub fn netns_path() -> Result<NetnsPath, BtfError> {
    let types = Types::read(Path::new(VMLINUX))?;
    Ok(NetnsPath {
        socket: types.offset("sk_buff", "sk")?,
        netns: types.offset("sock_common", "skc_net")?,
        cookie: types.offset("net", "net_cookie")?,
        known: 1,
    })
}

/// The types, and where each begins.
struct Types {
    data: Vec<u8>,
    /// Where the types begin in `data`, by id; id 0 is `void`.
    places: Vec<usize>,
    strings: usize,
}

impl Types {
    fn read(path: &Path) -> Result<Self, BtfError> {
        Self::parse(fs::read(path)?).ok_or(BtfError::Malformed)
    }

    fn parse(data: Vec<u8>) -> Option<Self> {
        let mut types = Self { data, places: vec![0], strings: 0 };
        // Magic, version and flags; then the header's length, and offset and length of types and of strings behind it.
        if types.word(0)? & 0xffff != MAGIC {
            return None;
        }
        let word = |place| Some(types.word(place)? as usize);
        let header = word(4)?;
        let (mut place, end) = (header + word(8)?, header + word(8)? + word(12)?);
        let strings = header + word(16)?;
        let mut places = vec![0];
        while place < end {
            places.push(place);
            place += TYPE + trailing(types.word(place + 4)?)?;
        }
        types.places = places;
        types.strings = strings;
        Some(types)
    }

    /// The octets from the start of a structure to a member of it, also one of a union without a name in it.
    fn offset(&self, structure: &'static str, member: &'static str) -> Result<u16, BtfError> {
        let found = self
            .places
            .iter()
            .skip(1)
            .filter(|&&place| self.is_structure(place) && self.is_called(place, structure))
            .find_map(|&place| self.bits_to(place, member, DEPTH));
        let octets = found.filter(|bits| bits % 8 == 0).map(|bits| bits / 8);
        octets.and_then(|octets| octets.try_into().ok()).ok_or(BtfError::Missing(structure, member))
    }

    fn bits_to(&self, structure: usize, member: &str, depth: u32) -> Option<u32> {
        let info = self.word(structure + 4)?;
        let members = (0..vlen(info)).map(|index| structure + TYPE + index * MEMBER);
        let depth = depth.checked_sub(1)?;
        // With the flag the upper octet is the length of a bit field.
        let mask = if info >> 31 == 1 { 0x00ff_ffff } else { u32::MAX };
        members.into_iter().find_map(|place| {
            let bits = self.word(place + 8)? & mask;
            if self.is_called(place, member) {
                return Some(bits);
            }
            let of = *self.places.get(self.word(place + 4)? as usize)?;
            let inside = self.is_called(place, "") && self.is_structure(of);
            inside.then(|| self.bits_to(of, member, depth)).flatten().map(|inner| bits + inner)
        })
    }

    fn is_structure(&self, place: usize) -> bool {
        self.word(place + 4).is_some_and(|info| matches!(kind(info), 4 | 5))
    }

    /// Types and members begin with the offset of their name.
    fn is_called(&self, place: usize, name: &str) -> bool {
        let called = || {
            let start = self.strings + self.word(place)? as usize;
            let text = self.data.get(start..start + name.len() + 1)?;
            Some(text.strip_suffix(&[0])? == name.as_bytes())
        };
        called().unwrap_or(false)
    }

    fn word(&self, place: usize) -> Option<u32> {
        Some(u32::from_ne_bytes(self.data.get(place..place + 4)?.try_into().ok()?))
    }
}

const fn kind(info: u32) -> u32 {
    info >> 24 & 0x1f
}

const fn vlen(info: u32) -> usize {
    (info & 0xffff) as usize
}

/// How many octets follow a type, by its kind (`linux/btf.h`, BTF_KIND_INT to BTF_KIND_ENUM64); `None` for a kind of a later
/// kernel, after which nothing can be found.
const fn trailing(info: u32) -> Option<usize> {
    Some(match kind(info) {
        1 | 14 | 17 => 4,
        2 | 7..=12 | 16 | 18 => 0,
        3 => 12,
        4 | 5 | 15 | 19 => vlen(info) * 12,
        6 | 13 => vlen(info) * 8,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `struct s { int a; union { int b; struct { int c, d; }; }; };` with the ids 2, 3 and 4; 1 is `int`.
    fn described() -> Vec<u8> {
        let strings = b"\0int\0s\0a\0b\0c\0d\0";
        let (int, s, a, b, c, d) = (1, 5, 7, 9, 11, 13);
        let structure = |vlen: u32| 4 << 24 | vlen;
        let types: Vec<u32> = [
            vec![int, 1 << 24, 4, 32],
            vec![s, structure(2), 12, a, 1, 0, 0, 3, 32],
            vec![0, 5 << 24 | 2, 8, b, 1, 0, 0, 4, 0],
            vec![0, structure(2), 8, c, 1, 0, d, 1, 32],
        ]
        .concat();
        let length = (types.len() * 4) as u32;
        let header = [MAGIC | 1 << 16, 24, 0, length, length, strings.len() as u32];
        let words = header.into_iter().chain(types);
        words.flat_map(u32::to_ne_bytes).chain(strings.iter().copied()).collect()
    }

    #[test]
    fn members_and_members_of_what_has_no_name() {
        let types = Types::parse(described()).expect("well formed");
        for (member, expected) in
            [("a", Some(0)), ("b", Some(4)), ("c", Some(4)), ("d", Some(8)), ("e", None)]
        {
            assert_eq!(types.offset("s", member).ok(), expected, "{member}");
        }
        assert!(types.offset("t", "a").is_err());
    }

    #[test]
    fn what_is_cut_off_is_not_understood() {
        let whole = described();
        for length in 0..24 + 16 + 4 {
            assert!(Types::parse(whole[..length].to_vec()).is_none(), "{length}");
        }
        // Members of a type that is cut off are not found.
        for length in 0..whole.len() {
            if let Some(types) = Types::parse(whole[..length].to_vec()) {
                let _ = types.offset("s", "d");
            }
        }
    }
}
