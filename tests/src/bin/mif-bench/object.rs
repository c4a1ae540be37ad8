//! Programs of a few instructions, made on the spot: such that do nothing, and what `ip vrf exec` attaches.

use std::path::Path;

use anyhow::{Context as _, Result};
use aya::{
    Ebpf, EbpfLoader,
    programs::{
        CgroupAttachMode, CgroupSock, CgroupSockAddr, SchedClassifier, cgroup_sock::CgroupSockLinkId,
        cgroup_sock_addr::CgroupSockAddrLinkId, links::FdLink,
    },
};
use mif_tests::netns::Namespace;
use mif_user::kernel::{
    attach::{self, TcBackend},
    object::CGROUP_PROGRAMS,
};
use object::write::{Object, Symbol, SymbolSection};

use crate::lab;

/// An instruction (`struct bpf_insn`): opcode, registers (source in the upper half), offset, immediate.
type Instruction = (u8, u8, i16, i32);

/// `r0 = IMMEDIATE`
const RETURN_VALUE: u8 = 0xb7;
/// `exit`
const EXIT: u8 = 0x95;
/// `r1 = IMMEDIATE`, with register 1.
const MOVE: u8 = 0xb7;
/// `*(u32 *)(DESTINATION + OFFSET) = SOURCE`
const STORE_U32: u8 = 0x63;

/// A classifier that does nothing: `return TC_ACT_OK`.
pub fn noop() -> Result<Ebpf> {
    let mut ebpf = load("classifier", "noop", &[(RETURN_VALUE, 0, 0, 0), (EXIT, 0, 0, 0)])?;
    let noop: &mut SchedClassifier = ebpf.program_mut("noop").context("it is there")?.try_into()?;
    noop.load().context("loading the program that does nothing")?;
    Ok(ebpf)
}

/// Programs that only return, on the hooks that `mif` uses: what being called costs, whoever is called.
pub struct Empty {
    hooks: Vec<(&'static str, Ebpf, Option<CgroupSockAddrLinkId>)>,
    noop: Ebpf,
    links: Vec<(u32, Option<FdLink>)>,
}

impl Empty {
    /// Loads them.
    pub fn new() -> Result<Self> {
        let hook = |name: &'static str| {
            let returns_one = [(RETURN_VALUE, 0, 0, 1), (EXIT, 0, 0, 0)];
            let mut ebpf = load(&format!("cgroup/{name}"), name, &returns_one)?;
            hook(&mut ebpf, name)?.load().with_context(|| format!("loading an empty {name}"))?;
            Ok((name, ebpf, None))
        };
        let hooks = CGROUP_PROGRAMS.into_iter().map(hook).collect::<Result<_>>()?;
        Ok(Self { hooks, noop: noop()?, links: Vec::new() })
    }

    /// Puts them on.
    pub fn on(&mut self, cgroup: &Path, host: &Namespace, interfaces: &[u32]) -> Result<()> {
        for (name, ebpf, link) in &mut self.hooks {
            *link = Some(hook(ebpf, name)?.attach(lab::open(cgroup)?, CgroupAttachMode::Single)?);
        }
        let noop: &mut SchedClassifier = self.noop.program_mut("noop").context("it is there")?.try_into()?;
        for &ifindex in interfaces {
            let link = host.run(|| attach::egress(noop, ifindex, TcBackend::Auto))?;
            self.links.push((ifindex, link));
        }
        Ok(())
    }

    /// Takes them off.
    pub fn off(&mut self, host: &Namespace) -> Result<()> {
        for (name, ebpf, link) in &mut self.hooks {
            if let Some(link) = link.take() {
                hook(ebpf, name)?.detach(link)?;
            }
        }
        for (ifindex, link) in self.links.drain(..) {
            if link.is_none() {
                host.run(|| attach::detach_netlink(ifindex));
            }
        }
        Ok(())
    }
}

fn hook<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut CgroupSockAddr> {
    Ok(ebpf.program_mut(name).context("it is there")?.try_into()?)
}

/// `ctx->bound_dev_if = IFINDEX; return 1` at the creation of a socket: what `ip vrf exec` has its processes run.
pub struct SockCreate {
    ebpf: Ebpf,
    attached: Option<CgroupSockLinkId>,
}

impl SockCreate {
    /// For an interface.
    pub fn new(ifindex: u32) -> Result<Self> {
        /// Offset of `bound_dev_if` in `struct bpf_sock` (linux/bpf.h).
        const BOUND_DEV_IF: i16 = 0;
        let ifindex = i32::try_from(ifindex).context("an interface index")?;
        let instructions = [
            (MOVE, 2, 0, ifindex),
            // Of register 2 to where register 1, the context, points.
            (STORE_U32, 0x21, BOUND_DEV_IF, 0),
            (RETURN_VALUE, 0, 0, 1),
            (EXIT, 0, 0, 0),
        ];
        let mut ebpf = load("cgroup/sock_create", "sock_create", &instructions)?;
        let program: &mut CgroupSock = ebpf.program_mut("sock_create").context("it is there")?.try_into()?;
        program.load().context("loading the program that binds to an interface")?;
        Ok(Self { ebpf, attached: None })
    }

    /// Attaches it.
    pub fn attach(&mut self, cgroup: &Path) -> Result<()> {
        let directory = lab::open(cgroup)?;
        self.attached = Some(self.program()?.attach(directory, CgroupAttachMode::Single)?);
        Ok(())
    }

    /// Detaches it.
    pub fn detach(&mut self) -> Result<()> {
        if let Some(link) = self.attached.take() {
            self.program()?.detach(link)?;
        }
        Ok(())
    }

    fn program(&mut self) -> Result<&mut CgroupSock> {
        Ok(self.ebpf.program_mut("sock_create").context("it is there")?.try_into()?)
    }
}

fn load(section: &str, name: &str, instructions: &[Instruction]) -> Result<Ebpf> {
    EbpfLoader::new()
        .load(&elf(section, name, instructions)?)
        .with_context(|| format!("the object of {name}"))
}

fn elf(section: &str, name: &str, instructions: &[Instruction]) -> Result<Vec<u8>> {
    let endianness =
        if cfg!(target_endian = "big") { object::Endianness::Big } else { object::Endianness::Little };
    let mut object = Object::new(object::BinaryFormat::Elf, object::Architecture::Bpf, endianness);
    let text = object.add_section(Vec::new(), section.into(), object::SectionKind::Text);
    let octets: Vec<u8> = instructions.iter().flat_map(octets).collect();
    object.append_section_data(text, &octets, 8);
    let license = object.add_section(Vec::new(), b"license".to_vec(), object::SectionKind::Data);
    object.append_section_data(license, b"GPL\0", 1);
    object.add_symbol(Symbol {
        name: name.into(),
        value: 0,
        size: octets.len() as u64,
        kind: object::SymbolKind::Text,
        scope: object::SymbolScope::Linkage,
        weak: false,
        section: SymbolSection::Section(text),
        flags: object::SymbolFlags::None,
    });
    object.write().context("writing the object")
}

fn octets(&(opcode, registers, offset, immediate): &Instruction) -> [u8; 8] {
    // The two halves of the register octet are bit-fields: they change places with the byte order.
    let registers = if cfg!(target_endian = "big") { registers.rotate_left(4) } else { registers };
    let [o0, o1] = offset.to_ne_bytes();
    let [i0, i1, i2, i3] = immediate.to_ne_bytes();
    [opcode, registers, o0, o1, i0, i1, i2, i3]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn instructions_are_those_of_the_kernel() {
        // As `llvm-mc` encodes them: r2 = 5; *(u32 *)(r1 + 0) = r2; exit.
        assert_eq!(octets(&(MOVE, 2, 0, 5)), [0xb7, 2, 0, 0, 5, 0, 0, 0]);
        assert_eq!(octets(&(STORE_U32, 0x21, 0, 0)), [0x63, 0x21, 0, 0, 0, 0, 0, 0]);
        assert_eq!(octets(&(EXIT, 0, 0, 0)), [0x95, 0, 0, 0, 0, 0, 0, 0]);
    }
}
