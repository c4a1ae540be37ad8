//! All that is known of one PvD.

use std::fmt;

use mif_core::{
    family::{shown, shown_net},
    pvd::{
        Fact,
        snapshot::{LeaseSnapshot, PrefixSnapshot, PvdSnapshot, RouteSnapshot, RouterSnapshot},
    },
    select::world::{AddressState, NextHop, Origin, Source},
    time::{Deadline, Time},
    wire::{
        RouterPreference,
        dhcpv6::{NtpServer, RdnssSelection},
    },
};
use serde::{Serialize, Serializer};

use super::{
    super::{
        format::remaining,
        names::NOTHING,
        output::{Cell, FAINT, Table, WARNING},
    },
    Row,
};

/// A PvD in full.
pub struct Details {
    /// The PvD.
    pub row: Row,
    /// When this is said.
    pub now: Time,
}

impl Serialize for Details {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.row.serialize(serializer)
    }
}

impl fmt::Display for Details {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = &self.row;
        let mut table = Table::fields();
        table.field("PvD", row.id.as_str());
        table.field("index", row.index);
        table.field("kind", row.kind);
        table.field("interface", row.interface.as_deref().unwrap_or(NOTHING));
        table.field("valid", row.validity());
        let Some(facts) = &row.facts else {
            table.field("facts", Cell::styled("not known: there is no state file of this version", WARNING));
            return write!(f, "{table}");
        };
        if facts.provisional {
            table.field(
                "note",
                Cell::styled("known from the kernel's routes only; its router has not spoken yet", WARNING),
            );
        }
        if let Some((mtu, said_by)) = facts.mtu() {
            table.field("MTU", format!("{mtu}, said by {said_by}"));
        }
        if let Some((uri, said_by)) = facts.captive_portal() {
            table.field("portal", format!("{uri}, said by {said_by}"));
        }
        write!(f, "{table}")?;
        self.sections(f, facts)
    }
}

impl Details {
    fn sections(&self, f: &mut fmt::Formatter<'_>, facts: &PvdSnapshot) -> fmt::Result {
        section(
            f,
            Table::new(["ROUTER", "DEFAULT ROUTE", "PREFERENCE", "FLAGS"]),
            &facts.routers,
            |table, router| {
                table.row(self.router(router));
            },
        )?;
        section(
            f,
            Table::new(["PREFIX", "SAID BY", "ON-LINK", "AUTONOMOUS", "PREFERRED", "VALID"]),
            &facts.prefixes,
            |table, prefix| table.row(self.prefix(prefix)),
        )?;
        section(f, Table::new(["ADDRESS", "STATE", "CARRIED", "VALID"]), &facts.sources, |table, source| {
            table.row(self.source(source));
        })?;
        section(
            f,
            Table::new(["ROUTE", "NEXT HOP", "PREFERENCE", "METRIC", "SAID BY", "VALID"]),
            &facts.routes,
            |table, route| table.row(self.route(route)),
        )?;
        section(f, Table::new(["LEASE", "SAID BY", "PREFERRED", "VALID"]), &facts.leases, |table, held| {
            table.row(self.lease(held))
        })?;
        self.facts(f, "DNS SERVER", &facts.dns_servers, ToString::to_string)?;
        self.facts(f, "SEARCH DOMAIN", &facts.search_list, ToString::to_string)?;
        self.facts(f, "NAT64 PREFIX", &facts.pref64, ToString::to_string)?;
        self.facts(f, "ENCRYPTED RESOLVER", &facts.encrypted_dns, |resolver| {
            resolver.authentication_domain_name.to_string()
        })?;
        self.facts(f, "RESOLVER BY DOMAIN", &facts.rdnss_selection, rdnss_selection)?;
        self.facts(f, "TIME SOURCE", &facts.ntp_servers, ntp_server)?;
        self.facts(f, "ADDRESS SELECTION", facts.address_selection.as_slice(), |policy| {
            let preference = if policy.privacy_preference { "temporary" } else { "public" };
            match policy.rows.len() {
                0 => format!("no table, {preference} addresses preferred"),
                rows => format!("table of {rows} rows, {preference} addresses preferred"),
            }
        })?;
        let rows = facts.address_selection.iter().flat_map(|policy| &policy.value.rows).collect::<Vec<_>>();
        section(f, Table::new(["POLICY PREFIX", "PRECEDENCE", "LABEL"]), &rows, |table, row| {
            table.row([
                shown_net(row.prefix).to_string().into(),
                u32::from(row.precedence).into(),
                u32::from(row.label).into(),
            ]);
        })
    }

    fn lease(&self, held: &LeaseSnapshot) -> [Cell; 4] {
        let lease = &held.lease;
        let what = lease.address().map_or_else(|| lease.prefix.to_string(), |address| address.to_string());
        [
            what.into(),
            held.said_by.to_string().into(),
            self.valid(lease.preferred_until),
            self.valid(lease.valid_until),
        ]
    }

    fn router(&self, router: &RouterSnapshot) -> [Cell; 4] {
        let said = &router.said;
        let default = said.default_until.map_or_else(|| "no".into(), |until| self.valid(until));
        let pvd = said.pvd.as_ref();
        let flags = [
            (!router.reachable, "unreachable"),
            (said.managed, "managed"),
            (said.other_config, "other-config"),
            (pvd.is_some_and(|pvd| pvd.http), "http"),
            (pvd.is_some_and(|pvd| pvd.legacy), "legacy"),
        ];
        let flags: Vec<&str> = flags.iter().filter(|(set, _)| *set).map(|(_, name)| *name).collect();
        let style = if router.reachable { FAINT } else { WARNING };
        [
            router.address.into(),
            default,
            preference(said.preference).into(),
            Cell::styled(flags.join(" "), style),
        ]
    }

    fn prefix(&self, prefix: &PrefixSnapshot) -> [Cell; 6] {
        let meaning = &prefix.meaning;
        [
            prefix.prefix.to_string().into(),
            prefix.said_by.into(),
            meaning.on_link_until.map_or_else(|| "no".into(), |until| self.valid(until)),
            yes_or_no(meaning.autonomous),
            self.valid(meaning.preferred_until),
            self.valid(meaning.valid_until),
        ]
    }

    fn source(&self, source: &Source) -> [Cell; 4] {
        let state = match source.state {
            AddressState::Preferred if source.temporary => "preferred temporary".into(),
            AddressState::Preferred => "preferred".into(),
            AddressState::Deprecated => Cell::styled("deprecated", WARNING),
            AddressState::Tentative => Cell::styled("tentative", WARNING),
        };
        [source.address.into(), state, yes_or_no(source.carried), self.valid(source.valid_until)]
    }

    fn route(&self, snapshot: &RouteSnapshot) -> [Cell; 6] {
        let route = &snapshot.route;
        let next_hop = match route.next_hop {
            _ if route.kernel_decides => "as the kernel routes".to_owned(),
            NextHop::OnLink => "on-link".to_owned(),
            NextHop::Router(router) => shown(router).to_string(),
        };
        let said_by = match route.origin {
            Origin::Administrator => "the administrator".to_owned(),
            Origin::Network => snapshot.said_by.to_string(),
        };
        [
            shown_net(route.prefix).to_string().into(),
            if route.reachable { next_hop.into() } else { Cell::styled(next_hop + ", unreachable", WARNING) },
            preference(route.preference).into(),
            route.metric.into(),
            said_by.into(),
            self.valid(route.valid_until),
        ]
    }

    fn facts<T>(
        &self,
        f: &mut fmt::Formatter<'_>,
        heading: &str,
        facts: &[Fact<T>],
        text: impl Fn(&T) -> String,
    ) -> fmt::Result {
        section(f, Table::new([heading, "SAID BY", "VALID"]), facts, |table, fact| {
            table.row([
                text(&fact.value).into(),
                fact.said_by.to_string().into(),
                self.valid(fact.valid_until),
            ]);
        })
    }

    fn valid(&self, until: Deadline) -> Cell {
        let text = remaining(until, self.now);
        if until.passed(self.now) { Cell::styled(text, WARNING) } else { text.into() }
    }
}

/// A table after a blank line, if there is anything in it.
fn section<T>(
    f: &mut fmt::Formatter<'_>,
    mut table: Table,
    rows: &[T],
    mut row: impl FnMut(&mut Table, &T),
) -> fmt::Result {
    if rows.is_empty() {
        return Ok(());
    }
    rows.iter().for_each(|item| row(&mut table, item));
    write!(f, "\n{table}")
}

const fn preference(preference: RouterPreference) -> &'static str {
    match preference {
        RouterPreference::Low => "low",
        RouterPreference::Medium => "medium",
        RouterPreference::High => "high",
    }
}

fn rdnss_selection(selection: &RdnssSelection) -> String {
    let domains = selection.domains.iter().map(ToString::to_string);
    let known: Vec<String> = selection.default.then(|| ".".to_owned()).into_iter().chain(domains).collect();
    format!("{} ({}): {}", selection.server, preference(selection.preference), known.join(" "))
}

fn ntp_server(server: &NtpServer) -> String {
    match server {
        NtpServer::Address(address) => address.to_string(),
        NtpServer::Multicast(group) => format!("{group} (multicast)"),
        NtpServer::Name(name) => name.to_string(),
    }
}

fn yes_or_no(yes: bool) -> Cell {
    if yes { "yes".into() } else { "no".into() }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use mif_core::{
        dhcpv6::{Configuration, HeldLease},
        pvd::{Event, Limits, Preferences, PvdSet, event::Link},
        wire::dhcpv6::{AddressSelection, DhcpOption, PolicyRow},
    };

    use super::*;

    fn at(seconds: u64) -> Time {
        Time(seconds * 1_000_000_000)
    }

    fn lease(prefix: &str) -> HeldLease {
        let (preferred_until, valid_until) = (Deadline::at(at(300)), Deadline::at(at(600)));
        HeldLease { prefix: prefix.parse().expect("a literal"), preferred_until, valid_until }
    }

    /// Who said this, and until when.
    #[test]
    fn what_dhcpv6_gave() {
        let ip = |text: &str| -> Ipv6Addr { text.parse().expect("a literal") };
        let mut set = PvdSet::new(Limits::default());
        set.apply(
            Event::Link(Link { ifindex: 2, name: "eth0".into(), up: true, loopback: false, mtu: 1500 }),
            at(0),
        );
        let row = PolicyRow { prefix: "::ffff:0:0/96".parse().expect("a literal"), precedence: 35, label: 4 };
        let configuration = Configuration {
            leases: vec![lease("2001:db8::5/128"), lease("2001:db8:d000::/56")],
            options: vec![
                DhcpOption::DnsServers(vec![ip("2001:db8::53")]),
                DhcpOption::AddressSelection(AddressSelection {
                    rows: vec![row],
                    ..AddressSelection::default()
                }),
            ],
            received: Some(at(0)),
            ..Configuration::default()
        };
        set.apply(Event::Dhcpv6 { ifindex: 2, server: ip("fe80::547"), configuration }, at(0));
        let facts = set.snapshot(at(60), &Preferences::default()).remove(0);
        let row = Row {
            index: facts.index,
            id: facts.id.clone(),
            interface: None,
            ifindex: 2,
            kind: "interface",
            up: Some(true),
            valid_seconds: None,
            facts: Some(facts),
            valid: String::new(),
        };
        let json = serde_json::to_value(&row).expect("plain data");
        let text = Details { row, now: at(60) }.to_string();
        for line in [
            "2001:db8::5         DHCPv6 fe80::547  4m         9m",
            "2001:db8:d000::/56  DHCPv6 fe80::547  4m         9m",
            "2001:db8::53  DHCPv6 fe80::547  9m",
            "table of 1 rows, public addresses preferred  DHCPv6 fe80::547  9m",
            "0.0.0.0/0      35          4",
        ] {
            assert!(text.lines().any(|said| said.trim_end() == line), "no {line:?} in\n{text}");
        }
        assert_eq!(json["facts"]["leases"][0]["said_by"]["dhcpv6"], "fe80::547");
        assert_eq!(json["facts"]["dns_servers"][0]["valid_until"], 600_000_000_000_u64);
    }
}
