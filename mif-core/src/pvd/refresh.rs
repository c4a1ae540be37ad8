//! The set as selection sees it, kept up to date: what an event cannot have changed is not looked at again.
//!
//! A PvD's sources and routes depend on its link alone, with one exception: which of the interfaces that have an address has it
//! as a source depends on the others. So what is looked at again are whole links.

use std::collections::BTreeSet;
use std::net::Ipv6Addr;

use mif_common::abi::PvdIndex;

use super::{dhcpv6::OfHost, event::Event, limits::RefusedReason, set::PvdSet, world::Preferences};
use crate::{
    select::{policy_table::in_force::Reach, world::World},
    time::Time,
    wire::dhcpv6::AddressSelection,
};

/// What is not as it was.
#[derive(Debug, Default)]
pub(super) struct Stale {
    /// These links.
    pub links: BTreeSet<u32>,
    /// All links.
    all: bool,
    /// The host's addresses.
    addresses: bool,
}

/// The policy of the host that a world was made with.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) enum PolicyOfHost {
    /// None.
    #[default]
    Nothing,
    /// This one.
    Agreed(AddressSelection),
    /// None, because networks disagree.
    Conflict,
}

impl From<OfHost<'_>> for PolicyOfHost {
    fn from(policy: OfHost<'_>) -> Self {
        match policy {
            OfHost::Nothing => Self::Nothing,
            OfHost::Agreed(policy) => Self::Agreed(policy.clone()),
            OfHost::Conflict => Self::Conflict,
        }
    }
}

impl PvdSet {
    /// Brings a world that [`PvdSet::world`] or this made of the same preferences up to date, all but its views, and says which
    /// PvDs came, went or changed. Two worlds must not be kept up in turns: each would miss what the other was told.
    pub fn refresh(&mut self, world: &mut World, now: Time, preferences: &Preferences) -> BTreeSet<PvdIndex> {
        self.refresh_policy(now, preferences);
        let stale = std::mem::take(&mut self.stale);
        if stale.addresses || stale.all {
            world.local_addresses = self.local_addresses(now);
            world.stranded = self.stranded(now);
        }
        let is_stale = |ifindex: u32| stale.all || stale.links.contains(&ifindex);
        let old: Vec<_> = world.pvds.extract_if(.., |pvd| is_stale(pvd.ifindex)).collect();
        let links = self.links.values().filter(|link| is_stale(link.link.ifindex));
        let new: Vec<_> = links.flat_map(|link| self.pvds_of(link, now, preferences)).collect();
        let touched = if old == new {
            BTreeSet::new()
        } else {
            let differ = old
                .iter()
                .filter(|pvd| !new.contains(pvd))
                .chain(new.iter().filter(|pvd| !old.contains(pvd)));
            differ.map(|pvd| pvd.index).collect()
        };
        world.pvds.extend(new);
        world.pvds.sort_unstable_by_key(|pvd| pvd.index);
        touched
    }

    /// A policy of the host is one of all links.
    fn refresh_policy(&mut self, now: Time, preferences: &Preferences) {
        let policy = match preferences.address_selection.reach {
            Reach::Host => self.policy_of_host(now).into(),
            Reach::Pvd => PolicyOfHost::Nothing,
        };
        if policy != self.policy {
            if policy == PolicyOfHost::Conflict {
                self.refused.count(RefusedReason::PolicyConflict);
            }
            self.policy = policy;
            self.stale.all = true;
        }
    }

    /// Notes what an event can change.
    pub(super) fn outdate(&mut self, event: &Event) {
        match event {
            Event::RouterAdvertisement { ifindex, .. }
            | Event::Neighbour { ifindex, .. }
            | Event::Dhcpv6 { ifindex, .. }
            | Event::Dhcpv6Gone { ifindex } => {
                self.stale.links.insert(*ifindex);
            }
            Event::Route(route) | Event::RouteGone(route) => {
                self.stale.links.insert(route.ifindex);
            }
            Event::Address(address) | Event::AddressGone(address) => {
                self.outdate_address(address.ifindex, address.address);
            }
            // An interface that goes up, down or away gives its addresses to others that have them.
            Event::Link(link) => self.outdate_link(link.ifindex),
            Event::LinkGone { ifindex } => self.outdate_link(*ifindex),
            // Its link is noted where it is found.
            Event::RouteReplaced(_) | Event::ResyncBegin => {}
            Event::ResyncEnd => self.stale.all = true,
        }
    }

    /// Notes that an address of an interface is not what it was.
    pub(super) fn outdate_address(&mut self, ifindex: u32, address: Ipv6Addr) {
        self.stale.addresses = true;
        self.stale.links.insert(ifindex);
        self.stale.links.extend(self.holders.get(&address).into_iter().flatten());
    }

    fn outdate_link(&mut self, ifindex: u32) {
        self.stale.links.insert(ifindex);
        let Some(link) = self.links.get(&ifindex) else { return };
        let shared = link.addresses.keys().filter_map(|address| self.holders.get(address)).flatten();
        self.stale.links.extend(shared);
        self.stale.addresses |= !link.addresses.is_empty();
    }
}
