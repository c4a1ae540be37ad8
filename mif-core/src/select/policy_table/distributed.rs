//! The policy that a network distributes (RFC 7078): what its flags and rows make of the local table. One for each PvD,
//! because a network speaks of itself only (§3.3).

use super::{super::rfc6724::Privacy, PolicyTable, Row};

/// What an Address Selection option says (RFC 7078 §2), decoded.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Distributed {
    /// The A flag. False: no automatic rows.
    pub automatic_rows: bool,
    /// The P flag. False: public addresses go before temporary ones; true leaves the host's own preference.
    pub prefer_temporary: bool,
    /// The rows: one table, in place of the local one. Empty: the local table stays.
    pub rows: Vec<Row>,
}

/// What the host has without it, and has again when it is stale (RFC 7078 §3.2).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Local<'a> {
    /// The configured table.
    pub table: &'a PolicyTable,
    /// The administrator wrote that table: then a network's does not replace it (RFC 7078 §3.1).
    pub by_administrator: bool,
    /// The rows that the host would add by itself.
    pub automatic: &'a [Row],
    /// The host's Privacy Preference.
    pub privacy: Privacy,
}

impl Local<'_> {
    /// The table to use.
    #[must_use]
    pub fn table(&self, distributed: Option<&Distributed>) -> PolicyTable {
        let distributed = distributed.filter(|_| !self.by_administrator);
        match distributed {
            Some(distributed) if !distributed.rows.is_empty() => {
                PolicyTable::new(distributed.rows.iter().copied())
            }
            Some(Distributed { automatic_rows: false, .. }) => self.table.clone(),
            _ => self.table.clone().with_automatic(self.automatic.iter().copied()),
        }
    }

    /// The preference to use. An application's own still goes before it.
    #[must_use]
    pub fn privacy(&self, distributed: Option<&Distributed>) -> Privacy {
        match distributed {
            Some(Distributed { prefer_temporary: false, .. }) => Privacy::Public,
            _ => self.privacy,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;
    use crate::select::{
        policy_table::{
            DefaultTable,
            known_local::{KnownBy, rows},
        },
        prefix::Prefix,
    };

    /// (ID, what the network says, by the administrator, expected label of a host of the site, of other ULAs, preference)
    #[test]
    fn tables() {
        let site: Ipv6Addr = "fd11:1111:1111:1::1".parse().expect("a literal");
        let elsewhere: Ipv6Addr = "fd22::1".parse().expect("a literal");
        let everything = Row { prefix: Prefix::ALL, precedence: 40, label: 77 };
        let automatic = rows([KnownBy::Address(site)]);
        let says = |automatic_rows, prefer_temporary, rows: &[Row]| {
            Some(Distributed { automatic_rows, prefer_temporary, rows: rows.to_vec() })
        };
        for (id, distributed, by_administrator, expected, privacy) in [
            ("without", None, false, (14, 13), Privacy::Temporary),
            ("only flags", says(true, true, &[]), false, (14, 13), Privacy::Temporary),
            ("P11", says(false, true, &[]), false, (13, 13), Privacy::Temporary),
            ("P12", says(true, true, &[everything]), false, (77, 77), Privacy::Temporary),
            ("P12, A=0", says(false, true, &[everything]), false, (77, 77), Privacy::Temporary),
            ("P13", says(true, false, &[]), false, (14, 13), Privacy::Public),
            ("§3.1", says(true, true, &[everything]), true, (14, 13), Privacy::Temporary),
        ] {
            let table = DefaultTable::Rfc6724.table();
            let local = Local { table, by_administrator, automatic: &automatic, privacy: Privacy::Temporary };
            let found = local.table(distributed.as_ref());
            let label = |address| found.label(Prefix::host(address)).expect("::/0 covers all");
            assert_eq!((label(site), label(elsewhere)), expected, "{id}");
            assert_eq!(local.privacy(distributed.as_ref()), privacy, "{id}");
        }
    }
}
