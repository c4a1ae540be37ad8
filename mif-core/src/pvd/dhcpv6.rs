//! What DHCPv6 gave an interface.

use std::net::Ipv6Addr;

use super::{change::Journal, limits::RefusedReason, set::PvdSet, settle::Unsettled};
use crate::{dhcpv6::Configuration, time::Time};

/// What the client of an interface has.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Given {
    /// Who answered.
    server: Ipv6Addr,
    configuration: Configuration,
}

impl PvdSet {
    pub(super) fn on_dhcpv6(
        &mut self,
        ifindex: u32,
        server: Ipv6Addr,
        configuration: Configuration,
        now: Time,
        journal: &mut Journal,
    ) {
        let Some(link) = self.link_mut(ifindex) else { return };
        if !link.link.up {
            return self.refused.count(RefusedReason::LinkDown);
        }
        link.dhcpv6 = Some(Given { server, configuration });
        self.settle(ifindex, Unsettled::Everything, now, journal);
    }

    pub(super) fn on_dhcpv6_gone(&mut self, ifindex: u32, now: Time, journal: &mut Journal) {
        let Some(link) = self.links.get_mut(&ifindex) else { return };
        if link.dhcpv6.take().is_some() {
            self.settle(ifindex, Unsettled::Everything, now, journal);
        }
    }
}
