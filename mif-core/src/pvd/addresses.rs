//! One address of an interface that the kernel has several times.
//!
//! In IPv6 an interface has an address once. In IPv4 it may have it with several prefix lengths or peers (`__inet_insert_ifa`
//! refuses only what is the same in all of it), and each comes and goes by itself. As a source it is one: the one with the largest
//! subnet counts, which has the gateways of the others in it; the others are its shadows, and take its place when it goes.

use std::net::Ipv6Addr;

use super::{
    change::Journal,
    event::Address,
    limits::{ADDRESSES, ADDRESSES_PER_LINK, RefusedReason},
    set::PvdSet,
};
use crate::{family::Family, time::Time};

/// What makes an address of one interface another address to the kernel.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct AddressId {
    /// First, so that what is the same source lies together.
    pub address: Ipv6Addr,
    /// Of IPv4. In their order the first one counts.
    prefix_len: u8,
    /// Of IPv4.
    peer: Option<Ipv6Addr>,
}

impl AddressId {
    /// The first of all that can be of an address.
    const fn first(address: Ipv6Addr) -> Self {
        Self { address, prefix_len: 0, peer: None }
    }
}

impl From<&Address> for AddressId {
    fn from(address: &Address) -> Self {
        let id = Self::first(address.address);
        match Family::of(address.address) {
            Family::Ipv4 => Self { prefix_len: address.prefix_len, peer: address.peer, ..id },
            Family::Ipv6 => id,
        }
    }
}

impl PvdSet {
    pub(super) fn on_address(&mut self, new: Address, now: Time, journal: &mut Journal) {
        let (id, dump, total) = (AddressId::from(&new), self.dump, self.addresses);
        if id.address.is_unspecified() || id.address.is_multicast() {
            return;
        }
        let Some(link) = self.link_mut(new.ifindex) else { return };
        let held = link.addresses.get(&id.address).filter(|(held, _)| AddressId::from(held) != id);
        let Some((held, seen)) = held.cloned() else { return self.hold_address(new, now, journal) };
        let known = link.shadowed.contains_key(&id);
        if !known && (link.addresses.len() + link.shadowed.len() >= ADDRESSES_PER_LINK || total >= ADDRESSES)
        {
            return self.refused.count(RefusedReason::Addresses);
        }
        let held_id = AddressId::from(&held);
        let counts = id < held_id;
        link.shadowed.remove(&id);
        let shadow = if counts { (held_id, (held, seen)) } else { (id, (new.clone(), dump)) };
        link.shadowed.insert(shadow.0, shadow.1);
        self.addresses += usize::from(!known);
        if counts {
            self.hold_address(new, now, journal);
        }
    }

    pub(super) fn on_address_gone(&mut self, gone: &Address, now: Time, journal: &mut Journal) {
        let (ifindex, id) = (gone.ifindex, AddressId::from(gone));
        let Some(link) = self.links.get_mut(&ifindex) else { return };
        if link.shadowed.remove(&id).is_some() {
            self.addresses -= 1;
            return;
        }
        if link.addresses.get(&id.address).is_none_or(|(held, _)| AddressId::from(held) != id) {
            return;
        }
        let next = link.shadowed.range(AddressId::first(id.address)..).next().map(|(next, _)| *next);
        match next.filter(|next| next.address == id.address).and_then(|next| link.shadowed.remove(&next)) {
            Some((next, _)) => {
                self.addresses -= 1;
                self.hold_address(next, now, journal);
            }
            None => self.drop_address(ifindex, id.address, now, journal),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pvd::{
        event::Event,
        testing::{Host, ip, ipv4, route},
    };

    /// Which prefix length counts as they come and go, and that nothing is left at the end.
    #[test]
    fn one_ipv4_address_of_several_prefixes() {
        let mut host = Host::new(&[2]);
        host.tell(Event::Route(route(2, "0.0.0.0/0", Some("192.0.2.254"))));
        let of = |prefix: &str| ipv4(2, prefix);
        let peer = |prefix: &str, far: &str| Address { peer: Some(ip(far)), ..ipv4(2, prefix) };
        let (wide, narrow) = ("192.0.2.1/24", "192.0.2.1/32");
        let length = |host: &Host| {
            let world = host.world();
            let mut sources = world.pvds.iter().flat_map(|pvd| &pvd.sources);
            let length = sources.next().map(|source| source.prefix_len - 96);
            assert_eq!(sources.count(), 0);
            length
        };
        for (row, event, expected) in [
            ("narrow", Event::Address(of(narrow)), Some(32)),
            ("and wide", Event::Address(of(wide)), Some(24)),
            ("repeated", Event::Address(of(narrow)), Some(24)),
            ("with a peer", Event::Address(peer(narrow, "192.0.2.9")), Some(24)),
            ("the wide one goes", Event::AddressGone(of(wide)), Some(32)),
            ("again", Event::AddressGone(of(wide)), Some(32)),
            ("and comes", Event::Address(of(wide)), Some(24)),
            ("a shadow goes", Event::AddressGone(of(narrow)), Some(24)),
            ("the wide one goes, the peer is left", Event::AddressGone(of(wide)), Some(32)),
            ("all are gone", Event::AddressGone(peer(narrow, "192.0.2.9")), None),
        ] {
            host.tell(event);
            assert_eq!(length(&host), expected, "{row}");
        }
        assert_eq!((host.set.addresses, host.world().local_addresses.len()), (0, 0));
    }

    #[test]
    fn a_dump_confirms_each_by_itself() {
        let (wide, narrow) = (|| ipv4(2, "192.0.2.1/24"), || ipv4(2, "192.0.2.1/32"));
        for (row, dump, left) in [
            ("both", vec![wide(), narrow()], 2),
            ("the one that counts", vec![wide()], 1),
            ("the shadow", vec![narrow()], 1),
            ("none", vec![], 0),
        ] {
            let mut host = Host::new(&[2]);
            host.tell_all([wide(), narrow()].map(Event::Address));
            host.tell(Event::ResyncBegin);
            host.tell(Event::Link(crate::pvd::testing::link(2)));
            let lengths: Vec<_> = dump.iter().map(|address| address.prefix_len).collect();
            host.tell_all(dump.into_iter().map(Event::Address));
            host.tell(Event::ResyncEnd);
            assert_eq!(host.set.addresses, left, "{row}");
            let sources: Vec<_> =
                host.world().pvds.iter().flat_map(|pvd| pvd.sources.clone()).map(|s| s.prefix_len).collect();
            assert_eq!(sources, Vec::from_iter(lengths.into_iter().min()), "{row}");
        }
        let mut host = Host::new(&[2]);
        host.tell_all([wide(), narrow()].map(Event::Address));
        host.tell(Event::LinkGone { ifindex: 2 });
        assert_eq!(host.set.addresses, 0);
    }
}
