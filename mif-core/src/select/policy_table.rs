//! The policy table of RFC 6724 §2.1, and the properties of addresses that the rules compare: scope (§3) and common
//! prefix length (§2.2).

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    sync::LazyLock,
};

use serde::{Deserialize, Serialize};

use super::prefix::{Prefix, common_bits};

pub mod distributed;
pub mod in_force;
pub mod known_local;

/// A row of the table.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// The addresses it is for.
    pub prefix: Prefix,
    /// For destinations: the larger, the sooner tried (§6 rule 6).
    pub precedence: u8,
    /// A source and a destination of the same label fit together (§5 rule 6).
    pub label: u8,
}

/// The table: the longest row that covers an address is its row.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
#[serde(from = "Vec<Row>", into = "Vec<Row>")]
pub struct PolicyTable {
    /// Longest prefix first, no prefix twice.
    rows: Vec<Row>,
}

/// The default rows (§2.1).
const DEFAULT_ROWS: [Row; 9] = [
    row(Ipv6Addr::LOCALHOST, 128, 50, 0),
    row(Ipv6Addr::UNSPECIFIED, 0, 40, 1),
    row(Ipv4Addr::UNSPECIFIED.to_ipv6_mapped(), 96, 35, 4),
    row(Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16, 30, 2),
    row(Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 32, 5, 5),
    row(Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7, 3, 13),
    row(Ipv6Addr::UNSPECIFIED, 96, 1, 3),
    row(Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0), 10, 1, 11),
    row(Ipv6Addr::new(0x3ffe, 0, 0, 0, 0, 0, 0, 0), 16, 1, 12),
];

/// The rows of draft-ietf-6man-rfc6724-update, without those of ULA prefixes known to be local ([`known_local`]): ULAs go
/// before IPv4, 6to4 goes behind it.
const UPDATE_ROWS: [Row; 9] = [
    row(Ipv6Addr::LOCALHOST, 128, 50, 0),
    row(Ipv6Addr::UNSPECIFIED, 0, 40, 1),
    row(Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7, 30, 13),
    row(Ipv4Addr::UNSPECIFIED.to_ipv6_mapped(), 96, 20, 4),
    row(Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16, 5, 2),
    row(Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 32, 5, 5),
    row(Ipv6Addr::UNSPECIFIED, 96, 1, 3),
    row(Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0), 10, 1, 11),
    row(Ipv6Addr::new(0x3ffe, 0, 0, 0, 0, 0, 0, 0), 16, 1, 12),
];

/// A table to begin with.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DefaultTable {
    /// RFC 6724 §2.1
    #[default]
    Rfc6724,
    /// draft-ietf-6man-rfc6724-update, which also wants the rows of [`known_local`].
    Rfc6724Update,
}

impl DefaultTable {
    /// The table.
    #[must_use]
    pub fn table(self) -> &'static PolicyTable {
        static RFC6724: LazyLock<PolicyTable> = LazyLock::new(|| PolicyTable::new(DEFAULT_ROWS));
        static UPDATE: LazyLock<PolicyTable> = LazyLock::new(|| PolicyTable::new(UPDATE_ROWS));
        match self {
            Self::Rfc6724 => &RFC6724,
            Self::Rfc6724Update => &UPDATE,
        }
    }
}

const fn row(address: Ipv6Addr, len: u8, precedence: u8, label: u8) -> Row {
    Row { prefix: Prefix::new(address, len), precedence, label }
}

impl From<Vec<Row>> for PolicyTable {
    fn from(rows: Vec<Row>) -> Self {
        Self::new(rows)
    }
}

impl From<PolicyTable> for Vec<Row> {
    fn from(table: PolicyTable) -> Self {
        table.rows
    }
}

impl PolicyTable {
    /// A table of these rows; of two rows with one prefix the later holds.
    #[must_use]
    pub fn new(rows: impl IntoIterator<Item = Row>) -> Self {
        let mut table = Self { rows: Vec::new() };
        for row in rows {
            table.rows.retain(|old| old.prefix != row.prefix);
            table.rows.push(row);
        }
        table.rows.sort_by_key(|row| std::cmp::Reverse(row.prefix.len()));
        table
    }

    /// The default table (§2.1).
    #[must_use]
    pub fn rfc6724() -> &'static Self {
        DefaultTable::Rfc6724.table()
    }

    /// With rows that the host adds by itself (§2.1). They are only added: where there is a row of the same prefix, that one
    /// stays.
    #[must_use]
    pub fn with_automatic(self, rows: impl IntoIterator<Item = Row>) -> Self {
        let added: Vec<Row> =
            rows.into_iter().filter(|row| self.rows.iter().all(|old| old.prefix != row.prefix)).collect();
        Self::new(self.rows.into_iter().chain(added))
    }

    /// The rows, longest prefix first.
    #[must_use]
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The row of an address or, given a shorter prefix, of those of its addresses that no longer row cuts out.
    /// `None` only in a table without `::/0`.
    #[must_use]
    pub fn lookup(&self, cell: Prefix) -> Option<&Row> {
        self.rows.iter().find(|row| row.prefix.covers(cell))
    }

    /// The label of an address or cell, as [`Self::lookup`] finds it. Two addresses without a label do not match.
    #[must_use]
    pub fn label(&self, cell: Prefix) -> Option<u8> {
        self.lookup(cell).map(|row| row.label)
    }
}

/// A scope: the four bits of a multicast address (RFC 4291 §2.7), and of unicast what compares with them (§3.1).
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Scope(u8);

impl Scope {
    /// Of the link; also of the loopback address (§3.4) and of IPv4's autoconfigured and loopback addresses (§3.2).
    pub const LINK_LOCAL: Self = Self(0x2);
    /// Of the site: `fec0::/10`, which RFC 3879 deprecates and §3.1 still maps.
    pub const SITE_LOCAL: Self = Self(0x5);
    /// Of all else, ULAs and private IPv4 addresses too.
    pub const GLOBAL: Self = Self(0xe);

    /// A multicast scope, unassigned values included: they compare as numbers.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits & 0xf)
    }

    /// The number.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// The scope of an address or, given a shorter prefix, of those of its addresses that [`SCOPE_BOUNDARIES`] do not
    /// cut out. Multicast prefixes shorter than 16 bits have no scope of their own and count as global.
    #[must_use]
    pub fn of(cell: Prefix) -> Self {
        if let Some((_, scope)) = SCOPE_BOUNDARIES.iter().find(|(prefix, _)| prefix.covers(cell)) {
            return *scope;
        }
        if MULTICAST.covers(cell) && cell.len() >= MULTICAST_SCOPE_END {
            // ff, four bits of flags, four bits of scope.
            return Self::from_bits((cell.bits() >> (128 - MULTICAST_SCOPE_END)) as u8);
        }
        Self::GLOBAL
    }
}

/// `ff00::/8`
const MULTICAST: Prefix = Prefix::new(Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8);

/// Bits of a multicast address up to the end of its scope.
const MULTICAST_SCOPE_END: u8 = 16;

/// The unicast addresses that are not of global scope (§3.1, §3.2, §3.4).
pub const SCOPE_BOUNDARIES: [(Prefix, Scope); 5] = [
    (Prefix::host(Ipv6Addr::LOCALHOST), Scope::LINK_LOCAL),
    (Prefix::new(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10), Scope::LINK_LOCAL),
    (Prefix::new(Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0), 10), Scope::SITE_LOCAL),
    (Prefix::new(Ipv4Addr::new(127, 0, 0, 0).to_ipv6_mapped(), 96 + 8), Scope::LINK_LOCAL),
    (Prefix::new(Ipv4Addr::new(169, 254, 0, 0).to_ipv6_mapped(), 96 + 16), Scope::LINK_LOCAL),
];

/// CommonPrefixLen (§2.2): leading bits that a source shares with a destination, not counting its interface ID.
#[must_use]
pub const fn common_prefix_len(source: Ipv6Addr, prefix_len: u8, destination: Ipv6Addr) -> u8 {
    let common = common_bits(source.to_bits(), destination.to_bits());
    if common < prefix_len { common } else { prefix_len }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn host(text: &str) -> Prefix {
        Prefix::host(match text.parse().expect("a literal") {
            IpAddr::V4(address) => address.to_ipv6_mapped(),
            IpAddr::V6(address) => address,
        })
    }

    #[test]
    fn default_table() {
        for (id, text, precedence, label) in [
            ("P01", "::1", 50, 0),
            ("P02", "2001:db8::1", 40, 1),
            ("P03", "2001:0:53aa::1", 5, 5),
            ("P03", "2001:1::1", 40, 1),
            ("P04", "10.0.0.1", 35, 4),
            ("P05", "::10.0.0.1", 1, 3),
            ("P06", "fdff::1", 3, 13),
            ("P06", "fc00::1", 3, 13),
            ("P07", "fe80::1", 40, 1),
            ("P08", "64:ff9b::1", 40, 1),
            ("§2.1", "2002:c633:6401::1", 30, 2),
            ("§2.1", "fec0::1", 1, 11),
            ("§2.1", "3ffe::1", 1, 12),
            ("§1", "::", 1, 3),
            ("§1", "ff0e::1", 40, 1),
        ] {
            let row = PolicyTable::rfc6724().lookup(host(text)).expect("::/0 covers all");
            assert_eq!((row.precedence, row.label), (precedence, label), "{id} {text}");
        }
    }

    #[test]
    fn update_table() {
        let known = known_local::rows([known_local::KnownBy::Address(
            "fd11:1111:1111:1::1".parse().expect("a literal"),
        )]);
        let table = DefaultTable::Rfc6724Update.table().clone().with_automatic(known);
        for (text, precedence, label) in [
            ("::1", 50, 0),
            ("fd11:1111:1111:2::2", 45, 14),
            ("2001:db8::1", 40, 1),
            ("fd22::1", 30, 13),
            ("10.0.0.1", 20, 4),
            ("2002:c633:6401::1", 5, 2),
            ("2001:0:53aa::1", 5, 5),
            ("::10.0.0.1", 1, 3),
            ("fec0::1", 1, 11),
            ("3ffe::1", 1, 12),
        ] {
            let row = table.lookup(host(text)).expect("::/0 covers all");
            assert_eq!((row.precedence, row.label), (precedence, label), "{text}");
        }
        assert_eq!(DefaultTable::default().table(), PolicyTable::rfc6724());
    }

    #[test]
    fn automatic_rows_change_none_that_is_there() {
        let ula = Prefix::new("fd11:1111:1111::".parse().expect("a literal"), 48);
        let automatic = Row { prefix: ula, precedence: 45, label: 14 };
        let with = |rows: &[Row]| {
            let rows = PolicyTable::rfc6724().rows().iter().chain(rows).copied();
            PolicyTable::new(rows).with_automatic([automatic])
        };
        let of_site = |table: &PolicyTable| {
            let row = table.lookup(host("fd11:1111:1111::99")).expect("::/0 covers all");
            (row.precedence, row.label)
        };
        // P09
        assert_eq!(of_site(&with(&[Row { prefix: ula, precedence: 20, label: 9 }])), (20, 9));
        assert_eq!(of_site(&with(&[])), (45, 14));
        // A longer row of the administrator's is another row: both are there.
        let part = Prefix::new("fd11:1111:1111::".parse().expect("a literal"), 64);
        let table = with(&[Row { prefix: part, precedence: 1, label: 1 }]);
        assert_eq!(of_site(&table), (1, 1));
        assert_eq!(table.label(host("fd11:1111:1111:1::99")), Some(14));
        assert_eq!(PolicyTable::rfc6724().clone().with_automatic([]), *PolicyTable::rfc6724());
    }

    #[test]
    fn tables_of_other_rows() {
        let ula = Prefix::new("fd11:1111:1111::5".parse().expect("a literal"), 48);
        let table = PolicyTable::new([
            Row { prefix: ula, precedence: 20, label: 9 },
            Row { prefix: ula, precedence: 45, label: 14 },
        ]);
        assert_eq!(table.rows().len(), 1, "the later of two rows with one prefix holds");
        assert_eq!(table.label(host("fd11:1111:1111::99")), Some(14));
        assert_eq!(table.label(host("2001:db8::1")), None, "no ::/0");
    }

    #[test]
    fn scopes() {
        for (id, text, scope) in [
            ("P16", "192.168.1.1", 14),
            ("P16", "100.64.0.1", 14),
            ("P16", "8.8.8.8", 14),
            ("P16", "169.254.0.1", 2),
            ("P16", "127.0.0.1", 2),
            ("§3.1", "fe80::1", 2),
            ("§3.1", "febf::1", 2),
            ("§3.1", "fec0::1", 5),
            ("§3.1", "feff::1", 5),
            ("§3.1", "fd11::1", 14),
            ("§3.1", "2001:db8::1", 14),
            ("§3.4", "::1", 2),
            ("§3.3", "2002:c633:6401::1", 14),
            ("§3.3", "::192.0.2.1", 14),
            ("§3.1", "ff01::1", 1),
            ("§3.1", "ff02::1", 2),
            ("§3.1", "ff04::1", 4),
            ("§3.1", "ff35::1", 5),
            ("§3.1", "ff08::1", 8),
            ("§3.1", "ff0b::1", 11),
            ("§3.1", "ff0e::1", 14),
        ] {
            assert_eq!(Scope::of(host(text)).bits(), scope, "{id} {text}");
        }
        assert_eq!(Scope::of(Prefix::ALL), Scope::GLOBAL);
    }

    #[test]
    fn common_prefix_lengths() {
        for (source, len, destination, expected) in [
            ("fe80::1", 64, "fe80::2", 64),
            ("2001:db8:1:1::1", 64, "2001:db8:1:1::1", 64),
            ("2001:db8::1", 32, "2001:db8:1:1::99", 32),
            ("2001:db8:1:1::1", 64, "2001:db8::99", 47),
            ("2001:db8:1:1::5", 128, "2001:db8:1:1::9", 124),
            ("2001:db8::1", 64, "fd00::1", 0),
            ("::", 0, "::", 0),
        ] {
            let (s, d) = (source.parse().expect("a literal"), destination.parse().expect("a literal"));
            assert_eq!(common_prefix_len(s, len, d), expected, "{source}/{len} {destination}");
        }
    }
}
