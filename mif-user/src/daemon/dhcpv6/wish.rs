//! What the client of a link is to do now: the configuration, the routers' flags, and who else is there.

use std::collections::BTreeMap;

use mif_core::{
    dhcpv6::{Mode, Settings},
    wire::dhcpv6::DraftCodes,
};

use crate::config::{Dhcpv6, InterfaceDhcpv6};

/// What the configuration says, by interface name.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Wishes {
    /// For interfaces that say nothing of their own.
    pub mode: Dhcpv6,
    /// Those that do.
    pub interfaces: BTreeMap<String, InterfaceDhcpv6>,
    /// The options of drafts.
    pub codes: DraftCodes,
}

impl Wishes {
    /// When the client of an interface is to ask.
    #[must_use]
    pub fn mode(&self, interface: &str) -> Dhcpv6 {
        self.interfaces.get(interface).and_then(|wish| wish.mode).unwrap_or(self.mode)
    }

    /// How it is to ask.
    #[must_use]
    pub fn settings(&self, interface: &str, mode: Mode, iaid: u32) -> Settings {
        let wish = self.interfaces.get(interface).copied().unwrap_or_default();
        Settings {
            mode,
            iaid,
            addresses: mode == Mode::Stateful,
            prefix: wish.prefix.filter(|_| mode == Mode::Stateful),
            rapid_commit: wish.rapid_commit,
            rdnss_selection: wish.rdnss_selection,
            codes: self.codes,
        }
    }
}

/// What is known of a link.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Known {
    /// A router asks hosts to get addresses by DHCPv6 (M).
    pub managed: bool,
    /// A router says that there is other configuration (O, or M).
    pub other: bool,
    /// Somebody else is the client.
    pub foreign: bool,
    /// What the client does.
    pub current: Mode,
    /// It has leases.
    pub leases: bool,
    /// It has configuration without leases.
    pub informed: bool,
}

/// What the client is to do.
///
/// What was given is kept, also where routers say no longer that there is something to be had: with M gone the addresses are still
/// leased (RFC 4862 §5.5 knows no end by a flag), and one router of several may have fallen silent. And a client that has leases is the
/// client of the link, whoever comes later.
#[must_use]
pub fn mode(wish: Dhcpv6, known: Known) -> Mode {
    let Known { managed, other, foreign, current, leases, informed } = known;
    match wish {
        Dhcpv6::Off => Mode::Off,
        Dhcpv6::Information => Mode::Information,
        Dhcpv6::Stateful => Mode::Stateful,
        Dhcpv6::Auto if leases => Mode::Stateful,
        Dhcpv6::Auto if foreign => Mode::Off,
        Dhcpv6::Auto if managed => Mode::Stateful,
        Dhcpv6::Auto if other => Mode::Information,
        Dhcpv6::Auto if informed => current,
        Dhcpv6::Auto => Mode::Off,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes() {
        let silent = Known::default();
        let managed = Known { managed: true, other: true, ..silent };
        let other = Known { other: true, ..silent };
        let bound = Known { current: Mode::Stateful, leases: true, ..silent };
        let informed = Known { current: Mode::Information, informed: true, ..silent };
        for (row, wish, known, expected) in [
            ("nothing to be had", Dhcpv6::Auto, silent, Mode::Off),
            ("O", Dhcpv6::Auto, other, Mode::Information),
            ("M", Dhcpv6::Auto, managed, Mode::Stateful),
            ("another client", Dhcpv6::Auto, Known { foreign: true, ..managed }, Mode::Off),
            ("M is gone, and its leases are not", Dhcpv6::Auto, bound, Mode::Stateful),
            ("O is left, and leases", Dhcpv6::Auto, Known { other: true, ..bound }, Mode::Stateful),
            ("another client came later", Dhcpv6::Auto, Known { foreign: true, ..bound }, Mode::Stateful),
            ("O is gone", Dhcpv6::Auto, informed, Mode::Information),
            ("M after O", Dhcpv6::Auto, Known { managed: true, ..informed }, Mode::Stateful),
            (
                "M is gone and nobody answered",
                Dhcpv6::Auto,
                Known { current: Mode::Stateful, ..silent },
                Mode::Off,
            ),
            ("off whatever is there", Dhcpv6::Off, Known { leases: true, ..managed }, Mode::Off),
            ("without a flag", Dhcpv6::Stateful, silent, Mode::Stateful),
            ("beside another client", Dhcpv6::Stateful, Known { foreign: true, ..silent }, Mode::Stateful),
            ("never leases", Dhcpv6::Information, managed, Mode::Information),
        ] {
            assert_eq!(mode(wish, known), expected, "{row}");
        }
    }

    #[test]
    fn settings() {
        let of_interface = InterfaceDhcpv6 {
            mode: Some(Dhcpv6::Stateful),
            prefix: Some(56),
            rapid_commit: true,
            rdnss_selection: true,
        };
        let wishes = Wishes {
            mode: Dhcpv6::Off,
            interfaces: BTreeMap::from([("wan0".to_owned(), of_interface)]),
            codes: DraftCodes { next_hop: Some(242), ..DraftCodes::default() },
        };
        assert_eq!((wishes.mode("wan0"), wishes.mode("wan1")), (Dhcpv6::Stateful, Dhcpv6::Off));
        let found = wishes.settings("wan0", Mode::Stateful, 7);
        let expected = Settings {
            mode: Mode::Stateful,
            iaid: 7,
            addresses: true,
            prefix: Some(56),
            rapid_commit: true,
            rdnss_selection: true,
            codes: wishes.codes,
        };
        assert_eq!(found, expected);
        let asks_for_nothing =
            Settings { mode: Mode::Information, iaid: 8, codes: wishes.codes, ..Settings::default() };
        assert_eq!(wishes.settings("wan1", Mode::Information, 8), asks_for_nothing);
    }
}
