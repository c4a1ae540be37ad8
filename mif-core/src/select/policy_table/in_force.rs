//! The policy that counts for a PvD: the administrator's, its network's, or the default one (RFC 7078 §3).

use serde::{Deserialize, Serialize};

use super::{
    super::rfc6724::Privacy,
    PolicyTable, Row,
    distributed::{Distributed, Local},
};
use crate::wire::dhcpv6::AddressSelection;

/// A policy in force that is not the default one.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct Policy {
    /// Whose.
    pub origin: PolicyOrigin,
    /// For rule 6 of source selection, and for the order of destinations.
    pub table: PolicyTable,
    /// For rule 7.
    pub privacy: Privacy,
}

/// Whose policy is in force.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PolicyOrigin {
    /// RFC 6724 §2.1
    #[default]
    Default,
    /// The configuration's.
    Administrator,
    /// That of the PvD's network (RFC 7078).
    Network,
    /// That of a network, for all PvDs of the host (RFC 7078 §3.3).
    Host,
}

impl PolicyOrigin {
    /// For people.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Default => "the default policy table (RFC 6724 §2.1)",
            Self::Administrator => "the policy table of the configuration",
            Self::Network => "the policy table of its network (RFC 7078)",
            Self::Host => "the policy table that a network gave the host (RFC 7078)",
        }
    }
}

/// Whether policies of networks are used (RFC 7078 §3.1: both behaviours are to be had).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Use {
    /// Unless the administrator has written a table.
    #[default]
    UnlessConfigured,
    /// In place of the administrator's table, too.
    Always,
    /// No.
    Never,
}

/// For whom the policy of a network counts (RFC 7078 §3.3).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reach {
    /// For the PvDs of that network; others have the local table.
    #[default]
    Pvd,
    /// For the host, as RFC 7078 has it of a node that is in one administrative domain. Where networks disagree none counts.
    Host,
}

/// What the administrator says of policies.
#[derive(Clone, Debug, Default, Eq, PartialEq, Deserialize, Serialize)]
pub struct Settings {
    /// The administrator's table, in place of the default one.
    pub table: Option<PolicyTable>,
    /// Whether those of networks are used.
    pub distributed: Use,
    /// For whom.
    pub reach: Reach,
    /// The host's Privacy Preference (RFC 6724 §2.1), which no network's flag changes then, unless its policies go before all.
    pub privacy: Option<Privacy>,
}

impl Settings {
    /// What is in force where a network says this; `None`: the default table and preference.
    #[must_use]
    pub fn policy(&self, said: Option<&AddressSelection>) -> Option<Policy> {
        let by_administrator = self.table.is_some() && self.distributed != Use::Always;
        // A network that speaks of flags alone has its say on them, whatever the table (§2); an administrator who wrote a
        // table, or wants no network's, has said all.
        let said =
            said.filter(|_| !by_administrator && self.distributed != Use::Never).map(Distributed::from);
        let local = Local {
            table: self.table.as_ref().unwrap_or(PolicyTable::rfc6724()),
            by_administrator,
            automatic: &[],
            privacy: self.privacy.unwrap_or_default(),
        };
        let replaced = said.as_ref().is_some_and(|said| !said.rows.is_empty());
        let origin = match (&said, &self.table) {
            (Some(_), _) if replaced && self.reach == Reach::Host => PolicyOrigin::Host,
            (Some(_), _) if replaced => PolicyOrigin::Network,
            (_, Some(_)) => PolicyOrigin::Administrator,
            _ => PolicyOrigin::Default,
        };
        let table = local.table(said.as_ref());
        let privacy = match self.privacy {
            Some(own) if self.distributed != Use::Always => own,
            _ => local.privacy(said.as_ref()),
        };
        let is_default = origin == PolicyOrigin::Default && privacy == Privacy::default();
        (!is_default).then_some(Policy { origin, table, privacy })
    }
}

impl From<&AddressSelection> for Distributed {
    fn from(option: &AddressSelection) -> Self {
        let row = |row: &crate::wire::dhcpv6::PolicyRow| Row {
            prefix: row.prefix.into(),
            precedence: row.precedence,
            label: row.label,
        };
        Self {
            automatic_rows: option.automatic_rows,
            prefer_temporary: option.privacy_preference,
            rows: option.rows.iter().map(row).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{select::prefix::Prefix, wire::dhcpv6::PolicyRow};

    /// What the administrator says, what the network says, whose table is in force, its label of `::/0`, and the preference.
    #[test]
    fn whose_policy() {
        use PolicyOrigin::{Administrator, Host, Network};
        const OWN: u8 = 70;
        const THEIRS: u8 = 77;
        let written = PolicyTable::new([Row { prefix: Prefix::ALL, precedence: 40, label: OWN }]);
        let row = PolicyRow { prefix: Prefix::ALL.into(), precedence: 40, label: THEIRS };
        let table = |privacy_preference| {
            Some(AddressSelection { privacy_preference, rows: vec![row], ..AddressSelection::default() })
        };
        let flags =
            |privacy_preference| Some(AddressSelection { privacy_preference, ..AddressSelection::default() });
        let settings = |distributed, table, reach| Settings { distributed, table, reach, privacy: None };
        let private =
            |distributed, privacy| Settings { distributed, privacy: Some(privacy), ..Settings::default() };
        let none = || None;
        let own = || Some(written.clone());
        for (id, settings, said, expected) in [
            ("no option: the default", Settings::default(), None, None),
            ("D6-7078-2-b P=1", Settings::default(), flags(true), None),
            (
                "D6-7078-2-b P=0",
                Settings::default(),
                flags(false),
                Some((PolicyOrigin::Default, 1, Privacy::Public)),
            ),
            (
                "a table replaces",
                Settings::default(),
                table(true),
                Some((Network, THEIRS, Privacy::Temporary)),
            ),
            (
                "and its flag counts",
                Settings::default(),
                table(false),
                Some((Network, THEIRS, Privacy::Public)),
            ),
            (
                "for the host",
                settings(Use::UnlessConfigured, none(), Reach::Host),
                table(true),
                Some((Host, THEIRS, Privacy::Temporary)),
            ),
            (
                "D6-7078-3.1-a: the administrator's stays",
                settings(Use::UnlessConfigured, own(), Reach::Pvd),
                table(false),
                Some((Administrator, OWN, Privacy::Temporary)),
            ),
            (
                "unless told otherwise",
                settings(Use::Always, own(), Reach::Pvd),
                table(true),
                Some((Network, THEIRS, Privacy::Temporary)),
            ),
            (
                "then flags alone leave the administrator's table",
                settings(Use::Always, own(), Reach::Pvd),
                flags(false),
                Some((Administrator, OWN, Privacy::Public)),
            ),
            ("never", settings(Use::Never, none(), Reach::Pvd), table(false), None),
            (
                "the host's preference",
                private(Use::UnlessConfigured, Privacy::Public),
                None,
                Some((PolicyOrigin::Default, 1, Privacy::Public)),
            ),
            (
                "stays, whatever a flag says",
                private(Use::UnlessConfigured, Privacy::Temporary),
                flags(false),
                None,
            ),
            (
                "beside the network's table too",
                private(Use::UnlessConfigured, Privacy::Temporary),
                table(false),
                Some((Network, THEIRS, Privacy::Temporary)),
            ),
            (
                "unless networks go before all",
                private(Use::Always, Privacy::Temporary),
                flags(false),
                Some((PolicyOrigin::Default, 1, Privacy::Public)),
            ),
            (
                "and leave it to the host",
                private(Use::Always, Privacy::Public),
                flags(true),
                Some((PolicyOrigin::Default, 1, Privacy::Public)),
            ),
        ] {
            let policy = settings.policy(said.as_ref());
            let found = policy.map(|policy| {
                (policy.origin, policy.table.label(Prefix::ALL).expect("::/0"), policy.privacy)
            });
            assert_eq!(found, expected, "{id}");
        }
    }

    #[test]
    fn survives_json() {
        let table = PolicyTable::rfc6724();
        let json = serde_json::to_string(table).expect("plain data");
        assert_eq!(&serde_json::from_str::<PolicyTable>(&json).expect("its own output"), table);
    }
}
