//! What DHCPv6 gave an interface, and which of its PvDs have it (RFC 8801 §3.4.1).
//!
//! As with addresses: what is said is kept once, and whose it is follows from the flags and prefixes of the advertisements
//! whenever these change. A fact that routers announce as well is kept beside theirs, so that neither ends with the other.
//!
//! * [`given`]: what was said, and until when.
//! * [`home`]: whose it is.
//! * [`policy`]: which address selection policy each PvD has.

mod given;
mod home;
mod policy;

use std::{collections::BTreeSet, net::Ipv6Addr};

pub(super) use given::{Given, Options};
pub(super) use home::{Homes, holds, is_leased, of_address};
pub(super) use policy::{OfHost, Policies};

use super::{
    change::{Journal, What},
    key::PvdKey,
    learnt::Changes,
    limits::RefusedReason,
    link::LinkState,
    set::PvdSet,
    settle::Unsettled,
    timers::Timer,
};
use crate::{
    dhcpv6::{Configuration, HeldLease},
    time::{Deadline, Time},
    wire::dhcpv6::AddressSelection,
};

/// What one PvD has of it.
#[derive(Debug, Default)]
pub(super) struct Share<'a> {
    /// Who gave it; of no meaning where there is nothing.
    pub server: Option<Ipv6Addr>,
    /// Of its container first, then what stands outside of containers.
    pub options: Vec<&'a Options>,
    pub leases: Vec<&'a HeldLease>,
}

impl<'a> Share<'a> {
    pub fn of(link: &'a LinkState, key: &PvdKey) -> Self {
        let Some(given) = &link.dhcpv6 else { return Self::default() };
        let contained = match key {
            PvdKey::Explicit { name, .. } => given.contained.get(name),
            _ => None,
        };
        let general = link.dhcpv6_homes.general.contains(key).then_some(&given.general);
        let has = |lease: &&HeldLease| {
            link.dhcpv6_homes.leases.get(&lease.prefix).is_some_and(|homes| homes.contains(key))
        };
        Self {
            server: Some(given.server),
            options: contained.into_iter().chain(general).collect(),
            leases: given.leases.values().filter(has).collect(),
        }
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.leases.is_empty() && self.options.iter().all(|options| options.is_empty())
    }

    /// The address selection policy, and until when it holds.
    pub fn policy(&self) -> Option<(&'a AddressSelection, Deadline)> {
        let mut policies = self.options.iter().filter_map(|options| options.address_selection.as_ref());
        policies.next().map(|(policy, until)| (policy, *until))
    }

    /// When the last of it ends.
    pub fn last_deadline(&self) -> Option<Deadline> {
        let leases = self.leases.iter().map(|lease| lease.valid_until);
        leases.chain(self.options.iter().flat_map(|options| options.deadlines())).max()
    }
}

impl PvdSet {
    pub(super) fn on_dhcpv6(
        &mut self,
        ifindex: u32,
        server: Ipv6Addr,
        configuration: &Configuration,
        now: Time,
        journal: &mut Journal,
    ) {
        let Some(link) = self.links.get(&ifindex) else { return };
        if !link.link.up || link.link.loopback {
            return self.refused.count(RefusedReason::LinkDown);
        }
        let given = Given::new(server, configuration, now, &mut self.refused);
        if !given.general.is_empty() && !home::is_asked_for(link) && link.pvds.keys().any(PvdKey::is_network)
        {
            self.refused.count(RefusedReason::Dhcpv6Unasked);
        }
        self.replace_given(ifindex, (!given.is_empty()).then_some(given), now, journal);
    }

    pub(super) fn on_dhcpv6_gone(&mut self, ifindex: u32, now: Time, journal: &mut Journal) {
        self.replace_given(ifindex, None, now, journal);
    }

    /// Something of it has ended.
    pub(super) fn on_dhcpv6_aged(&mut self, ifindex: u32, now: Time, journal: &mut Journal) {
        let given = self.links.get(&ifindex).and_then(|link| link.dhcpv6.as_deref().cloned());
        let left = given.and_then(|mut given| {
            given.expire(now);
            (!given.is_empty()).then_some(given)
        });
        self.replace_given(ifindex, left, now, journal);
    }

    fn replace_given(&mut self, ifindex: u32, new: Option<Given>, now: Time, journal: &mut Journal) {
        let Some(link) = self.links.get_mut(&ifindex) else { return };
        let deadline = new.as_ref().and_then(|new| new.next_deadline(now));
        let old = std::mem::replace(&mut link.dhcpv6, new.map(Box::new));
        self.timers.arm(Timer::Dhcpv6(ifindex), deadline);
        let Some(link) = self.links.get(&ifindex) else { return };
        if old == link.dhcpv6 {
            return;
        }
        let nothing = Given::default();
        let (before, after) =
            (old.as_deref().unwrap_or(&nothing), link.dhcpv6.as_deref().unwrap_or(&nothing));
        for key in link.pvds.keys() {
            let mut changes = Changes::default();
            if link.dhcpv6_homes.general.contains(key) {
                changes.0.extend(before.general.differences(&after.general));
            }
            if let PvdKey::Explicit { name, .. } = key {
                let of = |given: &Given| given.contained.get(name).cloned().unwrap_or_default();
                changes.0.extend(of(before).differences(&of(after)));
            }
            if matches!(key, PvdKey::Ipv4 { .. }) {
                let differs = before.general.address_selection != after.general.address_selection;
                changes.note_if(differs, What::AddressSelection);
            }
            let lease = |given: &Given, prefix| given.leases.get(prefix).copied();
            let mine = link.dhcpv6_homes.leases.iter().filter(|(_, homes)| homes.contains(key));
            for (prefix, _) in mine {
                changes.note_if(lease(before, prefix) != lease(after, prefix), What::Lifetimes);
            }
            // Only who says so.
            changes
                .note_if(before.server != after.server && !Share::of(link, key).is_empty(), What::Lifetimes);
            self.touch(key, changes.0, journal);
        }
        self.settle(ifindex, Unsettled::Everything, now, journal);
    }

    /// Notes which PvDs have what was given, if that is not what it was.
    pub(super) fn settle_dhcpv6(&mut self, ifindex: u32, now: Time, journal: &mut Journal) {
        let Some(link) = self.links.get_mut(&ifindex) else { return };
        if link.dhcpv6.is_none() && link.dhcpv6_homes.is_empty() {
            return;
        }
        let homes = Homes::of(link, now);
        if homes == link.dhcpv6_homes {
            return;
        }
        let before = std::mem::replace(&mut link.dhcpv6_homes, homes);
        let Some(link) = self.links.get(&ifindex) else { return };
        let after = &link.dhcpv6_homes;
        let all: BTreeSet<What> = link.dhcpv6.iter().flat_map(|given| given.general.all()).collect();
        for key in before.general.symmetric_difference(&after.general) {
            // Where nothing is left it is gone from all that had it; `replace_given` has told these.
            self.touch(key, all.iter().copied(), journal);
        }
        let prefixes: BTreeSet<_> = before.leases.keys().chain(after.leases.keys()).collect();
        for prefix in prefixes {
            let none = BTreeSet::new();
            let [before, after] = [&before, after].map(|homes| homes.leases.get(prefix).unwrap_or(&none));
            for key in before.symmetric_difference(after) {
                self.touch(key, [What::Leases], journal);
            }
        }
    }
}

#[cfg(test)]
mod tests;
