//! Where the running kernel has the fields of its structures: the types that it describes itself with
//! (`Documentation/bpf/btf.rst`). aya reads them too, but keeps the members of structures to itself.

use std::{fs, io, path::Path};

use mif_common::abi::SocketLayout;

/// Types of the running kernel.
pub const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

/// What the kernel keeps from root, the one in force in brackets (kernel_lockdown(7)).
const LOCKDOWN: &str = "/sys/kernel/security/lockdown";

/// `linux/btf.h`
const MAGIC: u16 = 0xeb9f;
/// Octets of `struct btf_type`, and of one member, `struct btf_member`.
const TYPE: usize = 12;
const MEMBER: usize = 12;
/// BTF_KIND_STRUCT
const STRUCT: u32 = 4;

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

/// Where the running kernel has what applications choose for their sockets.
///
/// # Errors
/// When the kernel does not say, or the programs may not look.
pub fn socket_layout() -> Result<SocketLayout, BtfError> {
    // The verifier would refuse `bpf_probe_read_kernel` (`bpf_base_func_proto`).
    if fs::read_to_string(LOCKDOWN).is_ok_and(|levels| levels.contains("[confidentiality]")) {
        return Err(BtfError::LockedDown);
    }
    let data = fs::read(Path::new(VMLINUX))?;
    let types = Types::parse(&data).ok_or(BtfError::Malformed)?;
    let sticky = types.offset("ipv6_pinfo", "sticky_pktinfo")?;
    if types.offset("bpf_sock_addr_kern", "sk")? != 0 {
        return Err(BtfError::Missing { structure: "bpf_sock_addr_kern", member: "sk at its start" });
    }
    Ok(SocketLayout {
        uc_index: types.offset("inet_sock", "uc_index")?,
        pinet6: types.offset("inet_sock", "pinet6")?,
        ucast_oif: types.offset("ipv6_pinfo", "ucast_oif")?,
        sticky_ifindex: sticky + types.offset("in6_pktinfo", "ipi6_ifindex")?,
    })
}

/// The type and string sections.
struct Types<'a> {
    types: &'a [u8],
    strings: &'a [u8],
}

impl<'a> Types<'a> {
    /// The sections, as the header names them (`struct btf_header`).
    fn parse(data: &'a [u8]) -> Option<Self> {
        let magic = u16::from_ne_bytes(data.get(..2)?.try_into().ok()?);
        let [header, type_offset, type_length, string_offset, string_length] =
            [4, 8, 12, 16, 20].map(|at| word(data, at));
        let header = header?;
        let section = |offset: usize, length: usize| {
            let start = header.checked_add(offset)?;
            data.get(start..start.checked_add(length)?)
        };
        (magic == MAGIC).then_some(Self {
            types: section(type_offset?, type_length?)?,
            strings: section(string_offset?, string_length?)?,
        })
    }

    /// Octets from the start of a structure to one of its own members.
    fn offset(&self, structure: &'static str, member: &'static str) -> Result<u32, BtfError> {
        self.find(structure, member).ok_or(BtfError::Missing { structure, member })
    }

    fn find(&self, structure: &str, member: &str) -> Option<u32> {
        let mut rest = self.types;
        while !rest.is_empty() {
            let info = word(rest, 4)? as u32;
            let (count, kind, with_bits) = ((info & 0xffff) as usize, info >> 24 & 0x1f, info >> 31 == 1);
            let (head, tail) = rest.split_at_checked(TYPE + trailer(kind, count)?)?;
            rest = tail;
            if kind != STRUCT || !self.is(word(head, 0)?, structure) {
                continue;
            }
            for found in head[TYPE..].as_chunks::<MEMBER>().0 {
                if !self.is(word(found, 0)?, member) {
                    continue;
                }
                let offset = word(found, 8)? as u32;
                // With fields of bits among the members, the upper octet is the size of such a field, 0 for others.
                let (bits, size) = if with_bits { (offset & 0xff_ffff, offset >> 24) } else { (offset, 0) };
                return (size == 0 && bits % 8 == 0).then_some(bits / 8);
            }
        }
        None
    }

    fn is(&self, name: usize, expected: &str) -> bool {
        let found = self.strings.get(name..).and_then(|rest| rest.strip_prefix(expected.as_bytes()));
        found.is_some_and(|rest| rest.first() == Some(&0))
    }
}

/// What follows `struct btf_type`, in octets, by its kind (BTF_KIND_*). `None` for one that is not known: what comes behind it
/// cannot be found.
fn trailer(kind: u32, count: usize) -> Option<usize> {
    Some(match kind {
        // void, pointer, forward, typedef, volatile, const, restrict, function, float, type tag
        0 | 2 | 7..=12 | 16 | 18 => 0,
        // integer, variable, declaration tag
        1 | 14 | 17 => 4,
        // array
        3 => 12,
        // structure, union, section, enumeration of 64 bits
        STRUCT | 5 | 15 | 19 => 12 * count,
        // enumeration, prototype
        6 | 13 => 8 * count,
        _ => return None,
    })
}

/// A word in the byte order of this machine.
fn word(data: &[u8], at: usize) -> Option<usize> {
    let octets = data.get(at..at.checked_add(4)?)?.try_into().ok()?;
    usize::try_from(u32::from_ne_bytes(octets)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Types and strings behind a header.
    fn described(types: &[u32], strings: &str) -> Vec<u8> {
        let types: Vec<u8> = types.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let (length, strings) = (types.len() as u32, strings.as_bytes());
        let mut data = [MAGIC.to_ne_bytes(), [1, 0]].concat();
        for word in [24, 0, length, length, strings.len() as u32] {
            data.extend(word.to_ne_bytes());
        }
        [data, types, strings.to_vec()].concat()
    }

    const STRINGS: &str = "\0int\0s\0first\0second\0flag\0";

    #[rustfmt::skip]
    const TYPES: &[u32] = &[
        // int
        1, 1 << 24, 4, 32,
        // An enumeration with two values.
        0, 6 << 24 | 2, 4, 12, 0, 12, 1,
        // struct s, with a field of bits
        5, 1 << 31 | STRUCT << 24 | 3, 8,
        7, 1, 0,
        13, 1, 32,
        20, 1, 3 << 24 | 64,
    ];

    #[test]
    fn members() {
        let data = described(TYPES, STRINGS);
        let types = Types::parse(&data).unwrap();
        for (structure, member, offset) in [
            ("s", "first", Some(0)),
            ("s", "second", Some(4)),
            ("s", "flag", None),
            ("s", "sec", None),
            ("s", "third", None),
            ("int", "first", None),
            ("t", "first", None),
        ] {
            assert_eq!(types.find(structure, member), offset, "{structure}.{member}");
        }
    }

    /// Neither panics nor goes on for ever, whatever is missing.
    #[test]
    fn what_is_cut_off() {
        let data = described(TYPES, STRINGS);
        for length in 0..data.len() {
            assert!(Types::parse(&data[..length]).is_none(), "{length}");
        }
        let types = described(&TYPES[..TYPES.len() - 1], STRINGS);
        assert_eq!(Types::parse(&types).unwrap().find("s", "first"), None);
        assert_eq!(Types::parse(&described(&[0, 31 << 24, 0], STRINGS)).unwrap().find("s", "first"), None);
    }
}
