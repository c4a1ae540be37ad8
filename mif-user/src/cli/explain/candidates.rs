//! What competed for a destination, and by what it was decided: the literal procedure over what the daemon left in its state
//! file. The tables hold that procedure's answer; where they hold another one, the file is of another moment, and nothing is
//! said rather than something wrong.

use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, Ipv6Addr},
};

use ipnet::IpNet;
use mif_common::{
    abi::{self, DEFAULT_VIEW, Decision, PvdIndex, decision_flags},
    decide::{Rule, Tables as _, exempt},
};
use mif_core::{
    family::{shown, shown_net},
    pvd::PvdSnapshot,
    select::{
        candidate::{Answer, Candidate, Criterion},
        host::HostTables,
        literal,
        policy_table::in_force::PolicyOrigin,
        world::{NextHop, View, World},
    },
};
use serde::Serialize;

use super::super::{names::Names, reader::Reader};
use crate::kernel::maps::MapsError;

/// Candidates that people are shown; programs get them all.
const SHOWN: usize = 6;

/// How it was chosen.
#[derive(Debug, Serialize)]
pub(super) struct Choice {
    /// The place of the view's group that the answer comes from, counted from 1; `None` without candidates.
    group: Option<usize>,
    /// How many groups the view has.
    groups: usize,
    /// What decided between the best two, `None` if there were no two.
    decided_by: Option<Decider>,
    /// Whose policy table the best one was compared by; `None` without candidates.
    policy_table: Option<PolicyOrigin>,
    /// The candidates of the group, the best first.
    candidates: Vec<CandidateReport>,
    /// The best goes by a router that is known not to answer, as all do.
    #[serde(skip)]
    pub unreachable: bool,
}

/// A criterion.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub(super) struct Decider {
    criterion: &'static str,
    text: &'static str,
}

#[derive(Debug, Serialize)]
struct CandidateReport {
    pvd: Option<String>,
    pvd_index: u32,
    source: Option<IpAddr>,
    interface: Option<String>,
    ifindex: u32,
    route: IpNet,
    next_hop: Option<IpAddr>,
    metric: u32,
    lost_by: Option<Decider>,
}

impl From<Criterion> for Decider {
    fn from(criterion: Criterion) -> Self {
        let name = match criterion {
            Criterion::Reachability => "reachability",
            Criterion::RouteLength => "route-length",
            Criterion::Scope => "scope",
            Criterion::Deprecation => "deprecation",
            Criterion::Label => "label",
            Criterion::Metric => "metric",
            Criterion::RouterPreference => "router-preference",
            Criterion::Advertiser => "advertiser",
            Criterion::Temporary => "temporary",
            Criterion::LongestMatch => "longest-match",
            Criterion::TieBreak => "tie-break",
            Criterion::Administrator => "administrator",
        };
        Self { criterion: name, text: criterion.text() }
    }
}

/// How the tables' answer for a destination came about; `None` for destinations that are not ours, and where nobody knows.
///
/// # Errors
/// When the maps cannot be read.
pub(super) fn of(
    reader: &Reader,
    tables: &HostTables,
    rule: &Rule,
    destination: Ipv6Addr,
) -> Result<Option<Choice>, MapsError> {
    let Some(state) = reader.names.state() else { return Ok(None) };
    let stored = tables.decision(rule.view, &destination.into()).copied();
    let local = stored.is_some_and(|decision| decision.flags & decision_flags::LOCAL != 0);
    if local || exempt(&destination.into()).is_some() {
        return Ok(None);
    }
    let members = match rule.view {
        DEFAULT_VIEW => Vec::new(),
        view => reader.maps.members(view)?,
    };
    Ok(explain(&reader.names, &state.pvds, rule.view, &members, stored, destination))
}

fn explain(
    names: &Names,
    pvds: &[PvdSnapshot],
    view: u32,
    members: &[(PvdIndex, u32)],
    stored: Option<Decision>,
    destination: Ipv6Addr,
) -> Option<Choice> {
    let groups = groups(members);
    let world = World {
        pvds: pvds.iter().filter_map(PvdSnapshot::for_selection).collect(),
        local_addresses: Vec::new(),
        stranded: Vec::new(),
        views: vec![View { id: view, groups: groups.clone() }],
    };
    let explanation = literal::explain(&world, view, destination);
    if !agree(&explanation.answer, stored) {
        return None;
    }
    let candidates =
        explanation.ranked.iter().map(|ranked| CandidateReport::of(names, &ranked.candidate, ranked.lost_by));
    Some(Choice {
        group: explanation.group.map(|place| place + 1),
        groups: groups.len().max(1),
        decided_by: explanation.decided_by().map(Decider::from),
        policy_table: explanation.ranked.first().map(|best| best.candidate.pvd.policy_origin()),
        candidates: candidates.collect(),
        unreachable: explanation.ranked.first().is_some_and(|best| !best.candidate.route.reachable),
    })
}

/// The groups of a view, from the map that says in which each PvD is.
fn groups(members: &[(PvdIndex, u32)]) -> Vec<Vec<PvdIndex>> {
    let mut by_place: BTreeMap<u32, Vec<PvdIndex>> = BTreeMap::new();
    for (pvd, place) in members {
        by_place.entry(*place).or_default().push(*pvd);
    }
    // Groups that are empty now are not in the map, but have their place.
    let count = by_place.keys().next_back().map_or(0, |last| last + 1);
    (0..count).map(|place| by_place.remove(&place).unwrap_or_default()).collect()
}

/// Whether the procedure says what the tables say. Deadlines move with every advertisement, also between the two.
fn agree(answer: &Answer, stored: Option<Decision>) -> bool {
    let timeless = |decision: Decision| Decision { valid_until: abi::FOREVER, ..decision };
    let none = Decision::from(Answer::NONE);
    timeless((*answer).into()) == timeless(stored.unwrap_or(none))
}

impl CandidateReport {
    fn of(names: &Names, candidate: &Candidate<'_>, lost_by: Option<Criterion>) -> Self {
        let Candidate { pvd, route, source } = candidate;
        Self {
            pvd: names.pvd(pvd.index),
            pvd_index: pvd.index,
            source: source.map(|source| shown(source.address)),
            interface: names.link(pvd.ifindex),
            ifindex: pvd.ifindex,
            route: shown_net(route.prefix),
            next_hop: match route.next_hop {
                NextHop::OnLink => None,
                NextHop::Router(router) => Some(shown(router)),
            },
            metric: route.metric,
            lost_by: lost_by.map(Decider::from),
        }
    }
}

impl Choice {
    /// Why, in words.
    pub(super) fn because(&self) -> Vec<String> {
        let mut lines = Vec::new();
        match (&self.decided_by, self.candidates.as_slice()) {
            (Some(by), [best, second, ..]) => {
                lines.push(format!("{} rather than {}: {}", best.name(second), second.name(best), by.text))
            }
            (None, [only]) => lines.push(format!("{} is the only one that reaches it", only.name(only))),
            _ => {}
        }
        let by_label = self.decided_by == Some(Criterion::Label.into());
        let table = self.policy_table.filter(|table| by_label || *table != PolicyOrigin::Default);
        lines.extend(table.map(|table| format!("labels are those of {}", table.text())));
        if let Some(group) = self.group
            && self.groups > 1
        {
            let before = match group {
                1 => "",
                2 => ", the one before does not reach it",
                _ => ", those before do not reach it",
            };
            lines.push(format!("group {group} of {}{before}", self.groups));
        }
        lines
    }

    /// The candidates, one a line.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> =
            self.candidates.iter().take(SHOWN).map(CandidateReport::to_string).collect();
        let more = self.candidates.len().saturating_sub(SHOWN);
        if more > 0 {
            lines.push(format!("and {more} more (--json has them)"));
        }
        lines
    }
}

impl CandidateReport {
    /// What tells it from another one.
    fn name(&self, other: &Self) -> String {
        let pvd = self.pvd.as_deref().unwrap_or("no PvD");
        match self.source {
            _ if self.pvd != other.pvd => pvd.to_owned(),
            Some(source) if self.source != other.source => format!("{pvd} with {source}"),
            _ if self.route != other.route => format!("{pvd} by {}", self.route),
            _ => pvd.to_owned(),
        }
    }
}

impl fmt::Display for CandidateReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.pvd.as_deref().unwrap_or("no PvD"))?;
        match self.source {
            Some(source) => write!(f, "source {source}, ")?,
            None => f.write_str("the kernel's choice of a source, ")?,
        }
        write!(f, "route {}", self.route)?;
        match self.next_hop {
            Some(router) => write!(f, " by {router}")?,
            None => f.write_str(" on-link")?,
        }
        write!(f, ", metric {}", self.metric)?;
        self.lost_by.map_or(Ok(()), |by| write!(f, "; behind the first: {}", by.criterion))
    }
}

#[cfg(test)]
mod tests {
    use mif_core::{
        dhcpv6::Configuration,
        pvd::{
            Event, Limits, Preferences, PvdSet,
            event::{Address, Link},
        },
        select::compile,
        time::Time,
        wire::{
            NdOption, PrefixInformation, RaHeader, RouterAdvertisement,
            dhcpv6::{AddressSelection, DhcpOption, PolicyRow},
        },
    };

    use super::*;

    fn ip(text: &str) -> Ipv6Addr {
        text.parse().expect("a literal")
    }

    /// Two uplinks; the first one's network has said this by DHCPv6.
    fn uplinks(rows: &[(&str, u8)]) -> Vec<PvdSnapshot> {
        let mut set = PvdSet::new(Limits::default());
        for (ifindex, router, prefix) in [(2, "fe80::a", "2001:db8:a::"), (3, "fe80::b", "2001:db8:b::")] {
            let name = format!("eth{ifindex}");
            set.apply(Event::Link(Link { ifindex, name, up: true, loopback: false, mtu: 1500 }), Time(0));
            let option = PrefixInformation {
                prefix: format!("{prefix}/64").parse().expect("a literal"),
                on_link: true,
                autonomous: true,
                router_address: false,
                valid_lifetime: 9000,
                preferred_lifetime: 9000,
            };
            let advertisement = RouterAdvertisement {
                header: RaHeader { router_lifetime: 9000, other_config: true, ..RaHeader::default() },
                options: vec![NdOption::PrefixInformation(option)],
            };
            set.apply(Event::RouterAdvertisement { ifindex, router: ip(router), advertisement }, Time(0));
            set.apply(Event::Address(Address::new(ifindex, ip(&format!("{prefix}1")), 64)), Time(0));
        }
        let rows = rows.iter().map(|(prefix, label)| PolicyRow {
            prefix: prefix.parse().expect("a literal"),
            precedence: 40,
            label: *label,
        });
        let policy =
            AddressSelection { rows: rows.collect(), privacy_preference: true, automatic_rows: true };
        let configuration =
            Configuration { options: vec![DhcpOption::AddressSelection(policy)], ..Configuration::default() };
        set.apply(Event::Dhcpv6 { ifindex: 2, server: ip("fe80::547"), configuration }, Time(0));
        set.snapshot(Time(0), &Preferences::default())
    }

    /// Whose labels count is said where somebody's do, or where labels decide.
    #[test]
    fn whose_policy_table() {
        let destination = ip("2001:db8:a:1::1");
        for (rows, best, table, said) in [
            (&[][..], 0, PolicyOrigin::Default, None),
            (
                &[("::/0", 7)],
                0,
                PolicyOrigin::Network,
                Some("labels are those of the policy table of its network (RFC 7078)"),
            ),
            (
                &[("::/0", 7), ("2001:db8:a:0::/64", 8)],
                1,
                PolicyOrigin::Default,
                Some("labels are those of the default policy table (RFC 6724 §2.1)"),
            ),
        ] {
            let pvds = uplinks(rows);
            let world = World {
                pvds: pvds.iter().filter_map(PvdSnapshot::for_selection).collect(),
                ..World::default()
            };
            let tables = compile(&world);
            let stored = tables.lookup(DEFAULT_VIEW, destination).map(|(_, decision)| *decision);
            let choice = explain(&Names::new(None), &pvds, DEFAULT_VIEW, &[], stored, destination);
            let choice = choice.expect("the tables say the same");
            assert_eq!(
                (choice.candidates[0].pvd_index, choice.policy_table),
                (best + 1, Some(table)),
                "{rows:?}"
            );
            let lines = choice.because();
            let found = lines.iter().find(|line| line.starts_with("labels")).map(String::as_str);
            assert_eq!(found, said, "{rows:?}");
        }
    }
}
