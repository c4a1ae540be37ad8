//! What an event did to the set.

use std::{collections::BTreeSet, fmt};

use mif_common::abi::PvdIndex;
use serde::{Deserialize, Serialize};

/// Something about the PvDs is different now.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// A PvD is new.
    PvdAdded {
        /// Its number; a removed PvD's may come back.
        index: PvdIndex,
        /// What people call it.
        id: String,
    },
    /// A PvD is gone, and its number free.
    PvdRemoved {
        /// Its number.
        index: PvdIndex,
        /// What people called it.
        id: String,
    },
    /// A PvD is not what it was.
    PvdChanged {
        /// Its number.
        index: PvdIndex,
        /// What people call it.
        id: String,
        /// What of it.
        what: BTreeSet<What>,
    },
    /// The host's addresses differ, those of no PvD (loopback, link-local) included.
    LocalAddresses,
}

/// What of a PvD changed.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// Its interface's name, and so its id.
    Name,
    /// Whether its interface is up.
    Link,
    /// Which routers it has.
    Routers,
    /// M and O of a router, or the flags, delay and sequence number of the PvD option.
    Flags,
    /// Prefixes, their meaning, or whether they are preferred.
    Prefixes,
    /// Addresses or their state.
    Sources,
    /// Routes, their preference or metric.
    Routes,
    /// Whether a router answers.
    Reachability,
    /// DNS servers.
    DnsServers,
    /// Search domains.
    SearchList,
    /// NAT64 prefixes.
    Pref64,
    /// The captive portal's API.
    CaptivePortal,
    /// Encrypted resolvers.
    EncryptedDns,
    /// Resolvers and the domains they know (RFC 6731).
    RdnssSelection,
    /// Time sources.
    NtpServers,
    /// Leases by DHCPv6.
    Leases,
    /// The address selection policy (RFC 7078).
    AddressSelection,
    /// The MTU.
    Mtu,
    /// Only how long something holds.
    Lifetimes,
}

impl What {
    /// Whether the outcome of a selection, or how long it holds, can depend on it.
    #[must_use]
    pub const fn concerns_selection(self) -> bool {
        !matches!(
            self,
            Self::Name
                | Self::DnsServers
                | Self::SearchList
                | Self::Pref64
                | Self::CaptivePortal
                | Self::EncryptedDns
                | Self::RdnssSelection
                | Self::NtpServers
                | Self::Mtu
        )
    }

    /// Whether the claims on addresses and routes of the link can depend on it.
    pub(super) const fn concerns_ownership(self) -> bool {
        matches!(self, Self::Routers | Self::Flags | Self::Prefixes | Self::Routes)
    }

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Link => "link",
            Self::Routers => "routers",
            Self::Flags => "flags",
            Self::Prefixes => "prefixes",
            Self::Sources => "sources",
            Self::Routes => "routes",
            Self::Reachability => "reachability",
            Self::DnsServers => "dns-servers",
            Self::SearchList => "search-list",
            Self::Pref64 => "pref64",
            Self::CaptivePortal => "captive-portal",
            Self::EncryptedDns => "encrypted-dns",
            Self::RdnssSelection => "rdnss-selection",
            Self::NtpServers => "ntp-servers",
            Self::Leases => "leases",
            Self::AddressSelection => "address-selection",
            Self::Mtu => "mtu",
            Self::Lifetimes => "lifetimes",
        }
    }
}

impl Change {
    /// Whether the tables must be compiled anew.
    #[must_use]
    pub fn concerns_selection(&self) -> bool {
        match self {
            Self::PvdChanged { what, .. } => what.iter().any(|what| what.concerns_selection()),
            Self::PvdAdded { .. } | Self::PvdRemoved { .. } | Self::LocalAddresses => true,
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PvdAdded { index, id } => write!(f, "PvD {index} {id} added"),
            Self::PvdRemoved { index, id } => write!(f, "PvD {index} {id} removed"),
            Self::PvdChanged { index, id, what } => {
                write!(f, "PvD {index} {id} changed:")?;
                what.iter().try_for_each(|what| write!(f, " {}", what.name()))
            }
            Self::LocalAddresses => f.write_str("local addresses changed"),
        }
    }
}

/// The changes of one event: in order, and one entry for all changes of a PvD.
#[derive(Debug, Default)]
pub(super) struct Journal(Vec<Change>);

impl Journal {
    pub fn added(&mut self, index: PvdIndex, id: String) {
        self.0.push(Change::PvdAdded { index, id });
    }

    /// Notes a removal; what was noted of the PvD before no longer matters.
    pub fn removed(&mut self, index: PvdIndex, id: String) {
        self.0.retain(|change| !matches!(change, Change::PvdChanged { index: other, .. } if *other == index));
        self.0.push(Change::PvdRemoved { index, id });
    }

    /// Notes a change; that of a PvD just added goes without saying.
    pub fn changed(&mut self, index: PvdIndex, id: impl FnOnce() -> String, what: What) {
        for change in self.0.iter_mut().rev() {
            match change {
                Change::PvdAdded { index: other, .. } if *other == index => return,
                Change::PvdChanged { index: other, what: all, .. } if *other == index => {
                    all.insert(what);
                    return;
                }
                _ => {}
            }
        }
        self.0.push(Change::PvdChanged { index, id: id(), what: BTreeSet::from([what]) });
    }

    pub fn local_addresses(&mut self) {
        if !self.0.contains(&Change::LocalAddresses) {
            self.0.push(Change::LocalAddresses);
        }
    }

    pub fn into_changes(self) -> Vec<Change> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn journal_says_each_thing_once() {
        let mut journal = Journal::default();
        journal.changed(1, || "a".into(), What::Routes);
        journal.changed(1, || "a".into(), What::Prefixes);
        journal.changed(2, || "b".into(), What::Mtu);
        journal.removed(2, "b".into());
        journal.added(2, "c".into());
        journal.changed(2, || "c".into(), What::Routes);
        journal.local_addresses();
        journal.local_addresses();
        let texts: Vec<_> = journal.into_changes().iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                "PvD 1 a changed: prefixes routes",
                "PvD 2 b removed",
                "PvD 2 c added",
                "local addresses changed"
            ]
        );
    }

    #[test]
    fn names_are_those_of_serde() {
        for what in [What::Name, What::DnsServers, What::Pref64, What::EncryptedDns, What::Lifetimes] {
            assert_eq!(crate::pvd::testing::text(&what), what.name());
        }
    }

    #[test]
    fn resolvers_do_not_concern_selection() {
        for (what, concerns) in
            [(What::DnsServers, false), (What::Lifetimes, true), (What::Reachability, true)]
        {
            let change = Change::PvdChanged { index: 1, id: "a".into(), what: BTreeSet::from([what]) };
            assert_eq!(change.concerns_selection(), concerns, "{change}");
        }
    }
}
