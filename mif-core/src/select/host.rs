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

    fn permits_interface(&self, view: u32, ifindex: u32) -> bool {
        let abi::Member { view, pvd } = abi::Member::interface(view, ifindex);
        self.permits(view, pvd)
    }
}

#[cfg(test)]
mod tests {
    use mif_common::{
        Reason,
        abi::{Config, Mode},
        decide::{Cgroups, Packet, Rule, Socket, connect, egress},
    };

    use super::*;
    use crate::select::{compile, testing::world};

    /// A process in the cgroup 7.
    struct Seven;

    impl Cgroups for Seven {
        fn ancestor(&self, level: u32) -> u64 {
            [1, 7].get(level as usize).copied().unwrap_or(0)
        }
    }

    fn addr(text: &str) -> Addr {
        text.parse::<Ipv6Addr>().expect("a literal").into()
    }

    /// From a world to what the hooks do, with and without a policy that pins the cgroup to the second uplink.
    #[test]
    fn from_world_to_outcome() {
        let mut host = HostTables {
            tables: compile(&world(
                "pvd 1 11
                 source 2001:db8:a::1/64
                 route ::/0 via fe80::a
                 route 2001:db8:a::/64
                 pvd 2 12
                 source 2001:db8:b::1/64
                 route ::/0 via fe80::b
                 route 2001:db8:b::/64
                 view 1 2",
            )),
            ..HostTables::default()
        };
        let config =
            Config { mode: Mode::Prefer as u32, flags: abi::config_flags::POLICIES, ..Config::default() };
        let destination = addr("2001:db8:a:1::9");
        for (policy, source, ifindex, pvd) in [
            (None, "2001:db8:a::1", 11, 1),
            (Some(abi::Policy { view: 1, mode: Mode::Strict as u32 }), "2001:db8:b::1", 12, 2),
        ] {
            host.policies = policy.map(|policy| (7, policy)).into_iter().collect();
            let rule = Rule::of(&host, &config, &destination, &Seven);
            let outcome = connect(&host, &rule, &Socket { destination, ..Socket::default() });
            assert_eq!(
                (outcome.reason, outcome.source, outcome.ifindex, outcome.pvd),
                (Reason::Applied, addr(source), ifindex, pvd)
            );
        }
        let packet = Packet { source: addr("2001:db8:b::1"), destination, ifindex: 11 };
        let outcome = egress(&host, &config, &packet, || Rule::default_of(&config, &destination));
        assert_eq!(
            (outcome.reason, outcome.ifindex, outcome.next_hop),
            (Reason::Redirected, 12, addr("fe80::b"))
        );
    }
}
