//! The host: the machine that `mif` is for, with nothing of `mif` yet.

use std::net::{Ipv4Addr, Ipv6Addr};

use anyhow::{Context as _, Result};
use ipnet::Ipv6Net;
use nix::{ifaddrs::getifaddrs, sys::socket::SockaddrStorage};

use crate::{
    application::Place,
    cgroup::Cgroup,
    events::Events,
    netns::Namespace,
    state::{self, DefaultRoute, LocalAddress},
};

/// A namespace that configures itself from Router Advertisements as a stock kernel does.
#[derive(Debug)]
pub struct Host {
    namespace: Namespace,
    events: Events,
}

impl Host {
    /// A host without uplinks.
    ///
    /// # Errors
    /// The kernel refused a step.
    pub fn new() -> Result<Self> {
        let namespace = Namespace::new("host")?;
        // What distributions set, said here because the defaults of a new namespace follow the machine's.
        let settings: [(&str, u32); 6] = [
            ("forwarding", 0),
            ("accept_ra", 1),
            ("accept_ra_rt_info_max_plen", 128),
            ("autoconf", 1),
            ("use_tempaddr", 0),
            // The first solicitation at once and not within a random second (RFC 4861 §6.3.7).
            ("router_solicitation_delay", 0),
        ];
        for (name, value) in settings {
            namespace.sysctl(&format!("net/ipv6/conf/default/{name}"), value)?;
        }
        // Loose, as systemd's 50-default.conf has it: packets may come in by another interface than those to their source leave by.
        namespace.sysctl("net/ipv4/conf/default/rp_filter", 2)?;
        // Everybody may ping, as systemd's 50-default.conf has it.
        namespace.sysctl("net/ipv4/ping_group_range", "0 2147483647")?;
        let events = Events::subscribe(&namespace)?;
        Ok(Self { namespace, events })
    }

    /// Where it is.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Tells of changes of its network.
    pub fn events(&self) -> &Events {
        &self.events
    }

    /// Where its applications run: in `cgroup` if one is given.
    pub fn place<'a>(&'a self, cgroup: impl Into<Option<&'a Cgroup>>) -> Place<'a> {
        Place::new(&self.namespace).within(cgroup)
    }

    /// Turns duplicate address detection on or off for interfaces that come up from now on. It is off at first.
    ///
    /// # Errors
    /// The kernel refused.
    pub fn detect_duplicates(&self, on: bool) -> Result<()> {
        ["all", "default"].iter().try_for_each(|scope| {
            self.namespace.sysctl(&format!("net/ipv6/conf/{scope}/accept_dad"), u8::from(on))
        })
    }

    /// Its addresses, those of the loopback included.
    ///
    /// # Errors
    /// See [`state::addresses`].
    pub fn addresses(&self) -> Result<Vec<LocalAddress>> {
        state::addresses(&self.namespace)
    }

    /// Its default routes, best first.
    ///
    /// # Errors
    /// See [`state::default_routes`].
    pub fn default_routes(&self) -> Result<Vec<DefaultRoute>> {
        state::default_routes(&self.namespace)
    }

    /// The usable address in `prefix`, if there is one.
    ///
    /// # Errors
    /// As [`Self::addresses`].
    pub fn address_in(&self, prefix: &Ipv6Net) -> Result<Option<Ipv6Addr>> {
        let fits = |found: &LocalAddress| found.usable && prefix.contains(&found.address);
        Ok(self.addresses()?.into_iter().find(fits).map(|found| found.address))
    }

    /// Its IPv4 addresses, those of the loopback included.
    ///
    /// # Errors
    /// See getifaddrs(3).
    pub fn addresses_ipv4(&self) -> Result<Vec<Ipv4Addr>> {
        let ipv4 = |address: SockaddrStorage| address.as_sockaddr_in().map(|address| address.ip());
        self.namespace.run(|| {
            let found = getifaddrs().context("getifaddrs")?;
            Ok(found.filter_map(|interface| interface.address.and_then(ipv4)).collect())
        })
    }

    /// Waits until there is a usable address in `prefix`.
    ///
    /// # Errors
    /// There was none in time.
    pub fn wait_for_address(&self, prefix: &Ipv6Net) -> Result<Ipv6Addr> {
        self.events.until(&format!("an address of {prefix} at the host"), || self.address_in(prefix))
    }

    /// Waits until `next_hop` is a default router, or no longer is.
    ///
    /// # Errors
    /// It was not so in time.
    pub fn wait_for_default_router(&self, next_hop: Ipv6Addr, expected: bool) -> Result<()> {
        let what = format!("{next_hop} to {} a default router", if expected { "be" } else { "stop being" });
        self.events.until(&what, || {
            let found = self.default_routes()?.iter().any(|route| route.next_hop == next_hop);
            Ok((found == expected).then_some(()))
        })
    }
}
