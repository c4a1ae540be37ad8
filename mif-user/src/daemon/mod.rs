//! The daemon: sockets and timers send messages to one task, which owns the PvDs and writes the maps.
//!
//! * [`run()`]: start, the loop, the end; `intake`: what comes in; `report`: what goes out beside the maps.
//! * [`owner`]: the state of that task.
//! * [`filter`]: which interfaces are ours.
//! * [`hierarchy`]: cgroups that come and go.
//! * `next_hops`: what the kernel is asked about those that do not answer.
//! * [`soliciting`]: Router Solicitations, interface by interface.
//! * [`dhcpv6`]: DHCPv6 clients, link by link.
//! * [`journal`]: the Router Advertisements kept for the next start.
//! * [`server`]: the control socket; [`watch`]: what watchers are told.

use std::{collections::BTreeMap, path::PathBuf};

use mif_core::select::policy_table::in_force::Settings;

use crate::{
    config::{Config, ForeignRules, Named},
    kernel::{attach::TcBackend, object::Sizes},
    mode::Mode,
    policy::{Configured, Terms},
};

mod accept_ra;
mod conf;
pub mod dhcpv6;
pub mod filter;
pub mod hierarchy;
mod intake;
pub mod journal;
mod next_hops;
pub mod owner;
mod report;
mod run;
pub mod server;
pub mod soliciting;
pub mod watch;

pub use run::run;

/// What the command line and the configuration file decided.
#[derive(Clone, Debug)]
pub struct Options {
    /// The pin directory.
    pub pins: PathBuf,
    /// The state directory.
    pub state_dir: PathBuf,
    /// The cgroup to attach to; `None`: the root of the first cgroup2 hierarchy.
    pub cgroup: Option<PathBuf>,
    /// The interfaces to take; empty: all.
    pub interfaces: Vec<String>,
    /// Interfaces not to take.
    pub ignore_interfaces: Vec<String>,
    /// All interfaces that the configuration names, and where.
    pub named_interfaces: Vec<Named>,
    /// Configured metrics by interface name.
    pub metrics: BTreeMap<String, u32>,
    /// Interfaces whose IPv4 belongs to their IPv6 PvD.
    pub merge_ipv4: Vec<String>,
    /// What DHCPv6 clients are to do.
    pub dhcpv6: dhcpv6::Wishes,
    /// The mode of processes without a policy.
    pub mode: Mode,
    /// Only observe them while foreign policy rules exist.
    pub observe_foreign_rules: bool,
    /// Whose address selection policies count.
    pub address_selection: Settings,
    /// Map sizes.
    pub sizes: Sizes,
    /// How to attach tc.
    pub tc: TcBackend,
    /// Policies of the configuration file, in its order.
    pub policies: Vec<Configured>,
    /// Remove everything at the end.
    pub detach_on_exit: bool,
}

impl Options {
    /// What the configuration says, for these pins.
    #[must_use]
    pub fn new(config: Config, pins: PathBuf, detach_on_exit: bool) -> Self {
        let merged = |(name, interface): (&String, &crate::config::Interface)| {
            interface.merge_ipv4.then(|| name.clone())
        };
        let merge_ipv4 = config.interface.iter().filter_map(merged).collect();
        let metric = |(name, interface): (String, crate::config::Interface)| Some((name, interface.metric?));
        let policy = |policy: crate::config::Policy| {
            let crate::config::Policy { cgroup, groups, otherwise, mode } = policy;
            Configured { cgroup, terms: Terms { groups, otherwise, mode: mode.into() } }
        };
        let named_interfaces = config.named_interfaces();
        let clients = config.interface.iter().map(|(name, interface)| (name.clone(), interface.dhcpv6));
        let dhcpv6 = dhcpv6::Wishes {
            mode: config.dhcpv6,
            interfaces: clients.collect(),
            codes: config.dhcpv6_options,
        };
        Self {
            pins,
            state_dir: config.state_dir,
            cgroup: config.cgroup,
            named_interfaces,
            interfaces: config.interfaces.into_iter().collect(),
            ignore_interfaces: config.ignore_interfaces.into_iter().collect(),
            metrics: config.interface.into_iter().filter_map(metric).collect(),
            merge_ipv4,
            dhcpv6,
            mode: config.mode.into(),
            observe_foreign_rules: config.foreign_rules == ForeignRules::Observe,
            address_selection: config.address_selection,
            sizes: Sizes {
                // Place 0 of the array is "none".
                pvds: config.limits.pvds + 1,
                sources: config.limits.sources,
                decisions: config.limits.decisions,
                policies: config.limits.policies,
            },
            tc: TcBackend::default(),
            policies: config.policies.into_iter().map(policy).collect(),
            detach_on_exit,
        }
    }
}
