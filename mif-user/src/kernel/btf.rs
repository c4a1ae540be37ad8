//! Where members of the kernel's structures are: the kernel's own description of its types (`Documentation/bpf/btf.rst`), of which
//! only structures and unions are looked at.

use std::{fs, io};

use mif_common::abi::{NetnsPath, SocketLayout};

/// Types of the running kernel.
pub const VMLINUX: &str = "/sys/kernel/btf/vmlinux";
/// What the kernel keeps from root, the one in force in brackets (kernel_lockdown(7)).
const LOCKDOWN: &str = "/sys/kernel/security/lockdown";
/// `linux/btf.h`
const MAGIC: u32 = 0xeb9f;
/// Octets before the data of a type's kind: `struct btf_type`.
const TYPE: usize = 12;
/// Octets of a `struct btf_member`.
const MEMBER: usize = 12;
/// Unions in structures in unions; the kernel's types nest three or four levels.
const DEPTH: u32 = 16;

/// Why something is not known.
#[derive(Debug, thiserror::Error)]
pub enum BtfError {
    /// They cannot be read.
    #[error("cannot read {VMLINUX}: {0}")]
    Read(#[from] io::Error),
    /// They are not what they should be.
    #[error("{VMLINUX} is no description of types, or of a version that this mif does not know")]
    Malformed,
    /// There is no such structure, no such member, or it is a field of bits.
    #[error("this kernel has no {structure}.{member}")]
    Missing {
        /// The structure.
        structure: &'static str,
        /// The member.
        member: &'static str,
    },
    /// The programs may not read the kernel's memory.
    #[error("the kernel is locked down ({LOCKDOWN}: confidentiality)")]
    LockedDown,
}

/// What the programs are told of the running kernel.
#[derive(Clone, Debug)]
pub struct Layouts {
    /// For the socket hooks.
    pub socket: SocketLayout,
    /// For the guard.
    pub netns: NetnsPath,
    /// What does not work, and why.
    pub missing: Vec<String>,
}

impl Layouts {
    /// Tells whether programs were loaded with these constants: FNV-1a, 64 bits, of both structures.
    #[must_use]
    pub fn digest(&self) -> u64 {
        const OFFSET_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
        const PRIME: u64 = 0x0100_0000_01b3;
        let octets = bytemuck::bytes_of(&self.socket).iter().chain(bytemuck::bytes_of(&self.netns));
        octets.fold(OFFSET_BASIS, |hash, octet| (hash ^ u64::from(*octet)).wrapping_mul(PRIME))
    }

    /// As the running kernel describes itself. What is not known does without.
    #[must_use]
    pub fn of_the_kernel() -> Self {
        let mut layouts =
            Self { socket: SocketLayout::UNKNOWN, netns: NetnsPath::UNKNOWN, missing: Vec::new() };
        let types = match Types::of_the_kernel() {
            Ok(types) => types,
            Err(error) => {
                layouts.missing = vec![format!("{SOCKET}: {error}"), format!("{GUARD}: {error}")];
                return layouts;
            }
        };
        match types.socket_layout() {
            Ok(socket) => layouts.socket = socket,
            Err(error) => layouts.missing.push(format!("{SOCKET}: {error}")),
        }
        match types.netns_path() {
            Ok(netns) => layouts.netns = netns,
            Err(error) => layouts.missing.push(format!("{GUARD}: {error}")),
        }
        layouts
    }
}

/// What is lost without [`SocketLayout`].
const SOCKET: &str = "what applications choose with IP_UNICAST_IF and IPV6_UNICAST_IF is not seen";
/// What is lost without [`NetnsPath`].
const GUARD: &str = "strict policies do not hold on interfaces that appear while no daemon runs";

/// The types, and where each begins.
struct Types {
    data: Vec<u8>,
    /// Where the types begin in `data`, by id; id 0 is `void`.
    places: Vec<usize>,
    strings: usize,
}

impl Types {
    /// Those of the running kernel, for programs that follow pointers in its memory.
    fn of_the_kernel() -> Result<Self, BtfError> {
        // The verifier would refuse `bpf_probe_read_kernel` (`bpf_base_func_proto`).
        if fs::read_to_string(LOCKDOWN).is_ok_and(|levels| levels.contains("[confidentiality]")) {
            return Err(BtfError::LockedDown);
        }
        Self::parse(fs::read(VMLINUX)?).ok_or(BtfError::Malformed)
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

    /// Where applications' choices for their sockets are.
    fn socket_layout(&self) -> Result<SocketLayout, BtfError> {
        let sticky = self.offset("ipv6_pinfo", "sticky_pktinfo")?;
        if self.offset("bpf_sock_addr_kern", "sk")? != 0 {
            return Err(BtfError::Missing { structure: "bpf_sock_addr_kern", member: "sk at its start" });
        }
        Ok(SocketLayout {
            uc_index: self.offset("inet_sock", "uc_index")?,
            pinet6: self.offset("inet_sock", "pinet6")?,
            ucast_oif: self.offset("ipv6_pinfo", "ucast_oif")?,
            sticky_ifindex: sticky + self.offset("in6_pktinfo", "ipi6_ifindex")?,
        })
    }

    /// How the guard gets from a packet to the cookie of its network namespace (5.14 and later).
    fn netns_path(&self) -> Result<NetnsPath, BtfError> {
        Ok(NetnsPath {
            socket: self.offset("sk_buff", "sk")?,
            netns: self.offset("sock_common", "skc_net")?,
            cookie: self.offset("net", "net_cookie")?,
        })
    }

    /// The octets from the start of a structure to a member of it, also one of a union without a name in it.
    fn offset(&self, structure: &'static str, member: &'static str) -> Result<u32, BtfError> {
        let found = self
            .places
            .iter()
            .skip(1)
            .filter(|&&place| self.is_structure(place) && self.is_called(place, structure))
            .find_map(|&place| self.bits_to(place, member, DEPTH));
        let octets = found.filter(|bits| bits % 8 == 0).map(|bits| bits / 8);
        octets.ok_or(BtfError::Missing { structure, member })
    }

    fn bits_to(&self, structure: usize, member: &str, depth: u32) -> Option<u32> {
        let info = self.word(structure + 4)?;
        let members = (0..vlen(info)).map(|index| structure + TYPE + index * MEMBER);
        let depth = depth.checked_sub(1)?;
        // With fields of bits among the members, the upper octet is the size of such a field, 0 for others.
        let with_bits = info >> 31 == 1;
        members.into_iter().find_map(|place| {
            let offset = self.word(place + 8)?;
            let (bits, size) = if with_bits { (offset & 0x00ff_ffff, offset >> 24) } else { (offset, 0) };
            if self.is_called(place, member) {
                return (size == 0).then_some(bits);
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

    /// `struct s { int a; union { int b; struct { int c, d; }; }; };` with the ids 2, 3 and 4; 1 is `int`. Then
    /// `struct f { int a; int b: 3; }`.
    fn described() -> Vec<u8> {
        let strings = b"\0int\0s\0a\0b\0c\0d\0f\0";
        let (int, s, a, b, c, d, f) = (1, 5, 7, 9, 11, 13, 15);
        let structure = |vlen: u32| 4 << 24 | vlen;
        let types: Vec<u32> = [
            vec![int, 1 << 24, 4, 32],
            vec![s, structure(2), 12, a, 1, 0, 0, 3, 32],
            vec![0, 5 << 24 | 2, 8, b, 1, 0, 0, 4, 0],
            vec![0, structure(2), 8, c, 1, 0, d, 1, 32],
            vec![f, 1 << 31 | structure(2), 8, a, 1, 0, b, 1, 3 << 24 | 32],
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
        for (member, expected) in [("a", Some(0)), ("b", None)] {
            assert_eq!(types.offset("f", member).ok(), expected, "{member}: a field of bits has no place");
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
