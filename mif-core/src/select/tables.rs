//! The compiled tables, and the trait of whatever stores them.

use std::{collections::BTreeMap, net::Ipv6Addr};

use ipnet::Ipv6Net;
use mif_common::abi;

use super::prefix::Prefix;

/// The contents of the maps DECISION, SOURCE, PVD and VIEW.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Tables {
    /// DECISION: by view and destination prefix.
    pub decisions: BTreeMap<(u32, Ipv6Net), abi::Decision>,
    /// SOURCE: by local address.
    pub sources: BTreeMap<Ipv6Addr, abi::Source>,
    /// PVD: by index.
    pub pvds: BTreeMap<abi::PvdIndex, abi::Pvd>,
    /// VIEW: by (view, PvD), the group's place (0 is the first).
    pub members: BTreeMap<(u32, abi::PvdIndex), u32>,
}

/// One change of the tables.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Op {
    /// Add or replace a decision.
    PutDecision(u32, Ipv6Net, abi::Decision),
    /// Remove a decision.
    DeleteDecision(u32, Ipv6Net),
    /// Add or replace a source.
    PutSource(Ipv6Addr, abi::Source),
    /// Remove a source.
    DeleteSource(Ipv6Addr),
    /// Add or replace a PvD.
    PutPvd(abi::PvdIndex, abi::Pvd),
    /// Free a PvD's place.
    DeletePvd(abi::PvdIndex),
    /// Add or replace a member of a view.
    PutMember(u32, abi::PvdIndex, u32),
    /// Remove a member of a view.
    DeleteMember(u32, abi::PvdIndex),
}

impl Op {
    /// The entry of DECISION that it is about, if it is about one.
    #[must_use]
    pub const fn decision_key(&self) -> Option<(u32, Ipv6Net)> {
        match self {
            Self::PutDecision(view, prefix, _) | Self::DeleteDecision(view, prefix) => Some((*view, *prefix)),
            _ => None,
        }
    }

    /// What takes it back, `before` having what it replaced or removed. A removal of what was not there has none: it stays.
    #[must_use]
    pub fn inverse(&self, before: &Tables) -> Self {
        match *self {
            Self::PutDecision(view, prefix, _) | Self::DeleteDecision(view, prefix) => {
                let old = before.decisions.get(&(view, prefix));
                old.map_or(Self::DeleteDecision(view, prefix), |old| Self::PutDecision(view, prefix, *old))
            }
            Self::PutSource(address, _) | Self::DeleteSource(address) => {
                let old = before.sources.get(&address);
                old.map_or(Self::DeleteSource(address), |old| Self::PutSource(address, *old))
            }
            Self::PutPvd(index, _) | Self::DeletePvd(index) => {
                let old = before.pvds.get(&index);
                old.map_or(Self::DeletePvd(index), |old| Self::PutPvd(index, *old))
            }
            Self::PutMember(view, pvd, _) | Self::DeleteMember(view, pvd) => {
                let old = before.members.get(&(view, pvd));
                old.map_or(Self::DeleteMember(view, pvd), |old| Self::PutMember(view, pvd, *old))
            }
        }
    }
}

/// Whatever stores the tables: the kernel's maps, or a fake that can fail.
pub trait TableStore {
    /// What can go wrong.
    type Error: std::error::Error;

    /// What is stored now.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn load(&self) -> Result<Tables, Self::Error>;

    /// Applies one change.
    ///
    /// # Errors
    /// When the store refuses it, for instance because it is full.
    fn apply(&mut self, op: &Op) -> Result<(), Self::Error>;
}

impl Tables {
    /// Applies one change; false if what it removes was not there.
    pub fn apply(&mut self, op: &Op) -> bool {
        match *op {
            Op::PutDecision(view, prefix, decision) => {
                self.decisions.insert((view, prefix), decision);
            }
            Op::PutSource(address, source) => {
                self.sources.insert(address, source);
            }
            Op::PutPvd(index, pvd) => {
                self.pvds.insert(index, pvd);
            }
            Op::PutMember(view, pvd, place) => {
                self.members.insert((view, pvd), place);
            }
            Op::DeleteDecision(view, prefix) => return self.decisions.remove(&(view, prefix)).is_some(),
            Op::DeleteSource(address) => return self.sources.remove(&address).is_some(),
            Op::DeletePvd(index) => return self.pvds.remove(&index).is_some(),
            Op::DeleteMember(view, pvd) => return self.members.remove(&(view, pvd)).is_some(),
        }
        true
    }

    /// The longest match for a destination in a view, as the trie finds it.
    #[must_use]
    pub fn lookup(&self, view: u32, destination: Ipv6Addr) -> Option<(Ipv6Net, &abi::Decision)> {
        let destination = Prefix::host(destination);
        let mut longest = destination;
        loop {
            // Prefixes are in depth-first order. The last one up to the destination either covers it, or parts from it
            // behind some bit, and then so does all that is longer and not behind it.
            let (&(_, net), decision) =
                self.decisions.range((view, Ipv6Net::default())..=(view, longest.into())).next_back()?;
            let found = Prefix::from(net);
            if found.covers(destination) {
                return Some((net, decision));
            }
            longest = Prefix::from_bits(destination.bits(), found.common_len(destination));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longest_matches() {
        let mut tables = Tables::default();
        for (view, net) in [
            (0, "2001:db8::/32"),
            (0, "2001:db8:1::/48"),
            (0, "2001:db8:1:1::/64"),
            (0, "2001:db8:1:1::1/128"),
            (1, "::/0"),
            (3, "2001:db8::/32"),
        ] {
            tables.decisions.insert((view, net.parse().expect("a literal")), abi::Decision::default());
        }
        for (view, destination, expected) in [
            (0, "2001:db8:1:1::1", Some("2001:db8:1:1::1/128")),
            (0, "2001:db8:1:1::2", Some("2001:db8:1:1::/64")),
            (0, "2001:db8:1:1::", Some("2001:db8:1:1::/64")),
            (0, "2001:db8:1:2::", Some("2001:db8:1::/48")),
            (0, "2001:db8:2::", Some("2001:db8::/32")),
            (0, "2001:db8:ffff::", Some("2001:db8::/32")),
            (0, "2001:db9::", None),
            (0, "::", None),
            (1, "2001:db8:1:1::1", Some("::/0")),
            (2, "2001:db8::", None),
            (3, "2001:db8::", Some("2001:db8::/32")),
            (3, "2001:db7::", None),
        ] {
            let found = tables.lookup(view, destination.parse().expect("a literal"));
            assert_eq!(found.map(|(net, _)| net.to_string()).as_deref(), expected, "{view} {destination}");
        }
    }
}
