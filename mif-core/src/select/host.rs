//! The decision functions of `mif-common` over tables in memory: what the hooks would do, for `mif explain` and tests.

use std::{collections::HashMap, net::Ipv6Addr};

use mif_common::{Addr, abi, decide};

use super::tables::Tables;

/// All that the hooks read, on the host.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct HostTables {
    /// DECISION, SOURCE, PVD and VIEW.
    pub tables: Tables,
    /// POLICY, by cgroup id.
    pub policies: HashMap<u64, abi::Policy>,
    /// Boot-time nanoseconds at which to decide.
    pub now: u64,
}

impl decide::Tables for HostTables {
    fn now(&self) -> u64 {
        self.now
    }

    fn policy(&self, cgroup: u64) -> Option<&abi::Policy> {
        self.policies.get(&cgroup)
    }

    fn decision(&self, view: u32, destination: &Addr) -> Option<&abi::Decision> {
        self.tables.lookup(view, Ipv6Addr::from(*destination)).map(|(_, decision)| decision)
    }

    fn source(&self, address: &Addr) -> Option<&abi::Source> {
        self.tables.sources.get(&Ipv6Addr::from(*address))
    }

    fn permits(&self, view: u32, pvd: abi::PvdIndex) -> bool {
        self.tables.members.contains_key(&(view, pvd))
    }
}
