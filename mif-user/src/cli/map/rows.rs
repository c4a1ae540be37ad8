//! Rows of the maps, with names for their numbers.

use std::{
    collections::BTreeSet,
    fmt,
    net::{IpAddr, Ipv6Addr},
    path::PathBuf,
};

use ipnet::{IpNet, Ipv6Net};
use mif_common::{
    Addr, Reason,
    abi::{self, Member, config_flags, decision_flags, pvd_flags},
};
use mif_core::{
    family::{Family, shown, shown_len, shown_net},
    select::tables::Tables,
    time::Time,
};
use serde::Serialize;

use super::super::{
    format::{self, deadline, remaining, remaining_seconds},
    names::{NOTHING, Names},
    output::{Cell, FAINT, Table, WARNING},
};
use crate::mode::Mode;

/// The contents of a map.
#[derive(Serialize)]
#[serde(untagged)]
pub enum Rows {
    /// CONFIG
    Config(ConfigRow),
    /// POLICY
    Policies(Vec<PolicyRow>),
    /// VIEW
    Members(Vec<MemberRow>),
    /// DECISION
    Decisions(Vec<DecisionRow>),
    /// SOURCE
    Sources(Vec<SourceRow>),
    /// INTERFACE
    Interfaces(Vec<InterfaceRow>),
    /// PVD
    Pvds(Vec<PvdRow>),
    /// STATS
    Counts(Vec<CountRow>),
    /// A map that is not dumped, and why.
    #[serde(serialize_with = "serialize_note")]
    Note(&'static str),
}

fn serialize_note<S: serde::Serializer>(note: &&'static str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map([("note", note)])
}

/// CONFIG.
#[derive(Debug, Serialize)]
pub struct ConfigRow {
    netns_cookie: u64,
    mode: Mode,
    policies: bool,
    strict: bool,
    foreign_rules_ipv4: bool,
    foreign_rules_ipv6: bool,
    watched: bool,
    pvds: u32,
    layout: u32,
}

/// POLICY.
#[derive(Debug, Serialize)]
pub struct PolicyRow {
    cgroup: Option<PathBuf>,
    cgroup_id: u64,
    view: u32,
    mode: Mode,
}

/// VIEW.
#[derive(Debug, Serialize)]
pub struct MemberRow {
    view: u32,
    pvd: Option<String>,
    /// 0 where the row is about an interface.
    pvd_index: u32,
    interface: Option<String>,
    /// 0 where the row is about a PvD.
    ifindex: u32,
    group: u32,
}

/// DECISION.
#[derive(Debug, Serialize)]
pub struct DecisionRow {
    view: u32,
    destination: IpNet,
    verdict: &'static str,
    pvd: Option<String>,
    pvd_index: u32,
    source: Option<IpAddr>,
    interface: Option<String>,
    ifindex: u32,
    next_hop: Option<IpAddr>,
    on_link: bool,
    administrator: bool,
    local: bool,
    valid_seconds: Option<u64>,
    #[serde(skip)]
    valid: String,
}

/// SOURCE.
#[derive(Debug, Serialize)]
pub struct SourceRow {
    address: IpAddr,
    pvd: Option<String>,
    pvd_index: u32,
    interface: Option<String>,
    ifindex: u32,
    next_hop: Option<IpAddr>,
    on_link_bits: u32,
    flags: Vec<&'static str>,
    valid_seconds: Option<u64>,
    #[serde(skip)]
    valid: String,
}

/// INTERFACE.
#[derive(Debug, Serialize)]
pub struct InterfaceRow {
    interface: Option<String>,
    ifindex: u32,
}

/// PVD.
#[derive(Debug, Serialize)]
pub struct PvdRow {
    pvd: Option<String>,
    pvd_index: u32,
    interface: Option<String>,
    ifindex: u32,
    explicit: bool,
    administrator: bool,
    valid_seconds: Option<u64>,
    #[serde(skip)]
    valid: String,
}

/// STATS.
#[derive(Debug, Serialize)]
pub struct CountRow {
    pvd: Option<String>,
    pvd_index: u32,
    reason: &'static str,
    count: u64,
    bytes: u64,
}

pub fn config(config: &abi::Config) -> Rows {
    let flag = |flag| config.flags & flag != 0;
    Rows::Config(ConfigRow {
        netns_cookie: config.netns_cookie,
        mode: abi::Mode::from_raw(config.mode).into(),
        policies: flag(config_flags::POLICIES),
        strict: flag(config_flags::STRICT),
        foreign_rules_ipv4: flag(config_flags::FOREIGN_RULES_IPV4),
        foreign_rules_ipv6: flag(config_flags::FOREIGN_RULES_IPV6),
        watched: flag(config_flags::WATCHED),
        pvds: config.pvds,
        layout: config.layout,
    })
}

pub fn policies(names: &Names, policies: &[(u64, abi::Policy)]) -> Rows {
    let row = |&(cgroup_id, policy): &(u64, abi::Policy)| PolicyRow {
        cgroup: names.cgroup(cgroup_id),
        cgroup_id,
        view: policy.view,
        mode: abi::Mode::from_raw(policy.mode).into(),
    };
    Rows::Policies(policies.iter().map(row).collect())
}

pub fn members(names: &Names, tables: &Tables) -> Rows {
    let row = |(&(view, member), &group): (&(u32, u32), &u32)| {
        let ifindex = member.saturating_sub(Member::INTERFACE);
        let pvd = if ifindex == 0 { member } else { abi::NO_PVD };
        MemberRow {
            view,
            pvd: names.pvd(pvd),
            pvd_index: pvd,
            interface: names.link(ifindex),
            ifindex,
            group,
        }
    };
    Rows::Members(tables.members.iter().map(row).collect())
}

pub fn decisions(names: &Names, tables: &Tables, now: Time) -> Rows {
    let row = |(&(view, destination), decision): (&(u32, Ipv6Net), &abi::Decision)| {
        let flag = |flag| decision.flags & flag != 0;
        let valid = deadline(decision.valid_until);
        DecisionRow {
            view,
            destination: shown_net(destination),
            verdict: match abi::Verdict::from_raw(decision.verdict) {
                abi::Verdict::Use => "use",
                abi::Verdict::Pass => "pass",
                abi::Verdict::None => "none",
            },
            pvd: names.pvd(decision.pvd),
            pvd_index: decision.pvd,
            source: specified(decision.source),
            interface: names.link(decision.ifindex),
            ifindex: decision.ifindex,
            next_hop: specified(decision.next_hop),
            on_link: flag(decision_flags::ON_LINK),
            administrator: flag(decision_flags::ADMINISTRATOR),
            local: flag(decision_flags::LOCAL),
            valid_seconds: remaining_seconds(valid, now),
            valid: remaining(valid, now),
        }
    };
    Rows::Decisions(tables.decisions.iter().map(row).collect())
}

pub fn sources(names: &Names, tables: &Tables, now: Time) -> Rows {
    let row = |(&address, source): (&Ipv6Addr, &abi::Source)| {
        let valid = deadline(source.valid_until);
        SourceRow {
            address: shown(address),
            pvd: names.pvd(source.pvd),
            pvd_index: source.pvd,
            interface: names.link(source.ifindex),
            ifindex: source.ifindex,
            next_hop: specified(source.next_hop),
            on_link_bits: shown_bits(address, source.on_link_bits),
            flags: format::source_flag_names(source.flags),
            valid_seconds: remaining_seconds(valid, now),
            valid: remaining(valid, now),
        }
    };
    Rows::Sources(tables.sources.iter().map(row).collect())
}

pub fn interfaces(names: &Names, interfaces: &BTreeSet<u32>) -> Rows {
    let row = |&ifindex: &u32| InterfaceRow { interface: names.link(ifindex), ifindex };
    Rows::Interfaces(interfaces.iter().map(row).collect())
}

pub fn pvds(names: &Names, tables: &Tables, now: Time) -> Rows {
    let row = |(&index, pvd): (&u32, &abi::Pvd)| {
        let valid = deadline(pvd.valid_until);
        PvdRow {
            pvd: names.pvd(index),
            pvd_index: index,
            interface: names.link(pvd.ifindex),
            ifindex: pvd.ifindex,
            explicit: pvd.flags & pvd_flags::EXPLICIT != 0,
            administrator: pvd.flags & pvd_flags::ADMINISTRATOR != 0,
            valid_seconds: remaining_seconds(valid, now),
            valid: remaining(valid, now),
        }
    };
    Rows::Pvds(tables.pvds.iter().map(row).collect())
}

pub fn counts(names: &Names, counts: &[(u32, Reason, abi::Count)]) -> Rows {
    let row = |&(pvd, reason, count): &(u32, Reason, abi::Count)| CountRow {
        pvd: names.pvd(pvd),
        pvd_index: pvd,
        reason: reason.name(),
        count: count.count,
        bytes: count.bytes,
    };
    Rows::Counts(counts.iter().map(row).collect())
}

fn specified(address: Addr) -> Option<IpAddr> {
    (!address.is_unspecified()).then(|| shown(address.into()))
}

/// The length of an on-link prefix as people write it; 0 stays 0.
fn shown_bits(address: Ipv6Addr, bits: u32) -> u32 {
    u8::try_from(bits).map_or(bits, |bits| shown_len(Family::of(address), bits).into())
}

fn or_nothing(value: Option<impl ToString>) -> Cell {
    value.map_or_else(|| NOTHING.into(), |value| value.to_string().into())
}

fn validity(text: &str) -> Cell {
    if text == "expired" { Cell::styled(text, WARNING) } else { text.into() }
}

/// The names of the flags that are set.
fn flags<const N: usize>(flags: [(bool, &str); N]) -> String {
    flags.iter().filter(|(set, _)| *set).map(|(_, name)| *name).collect::<Vec<_>>().join(" ")
}

impl Rows {
    fn table(&self) -> Table {
        match self {
            Self::Config(row) => {
                let mut table = Table::new(["NETNS COOKIE", "MODE", "FEATURES", "PVDS", "LAYOUT"]);
                let features = flags([
                    (row.policies, "policies"),
                    (row.strict, "strict"),
                    (row.foreign_rules_ipv4, "foreign-rules-ipv4"),
                    (row.foreign_rules_ipv6, "foreign-rules-ipv6"),
                    (row.watched, "watched"),
                ]);
                table.row([
                    row.netns_cookie.into(),
                    row.mode.into(),
                    features.into(),
                    row.pvds.into(),
                    row.layout.into(),
                ]);
                table
            }
            Self::Policies(rows) => {
                let mut table = Table::new(["CGROUP", "ID", "VIEW", "MODE"]);
                for row in rows {
                    let cgroup = row.cgroup.as_ref().map(|cgroup| cgroup.display());
                    table.row([or_nothing(cgroup), row.cgroup_id.into(), row.view.into(), row.mode.into()]);
                }
                table
            }
            Self::Members(rows) => {
                let mut table = Table::new(["VIEW", "PVD", "INTERFACE", "GROUP"]);
                for row in rows {
                    table.row([
                        row.view.into(),
                        or_nothing(row.pvd.as_ref()),
                        or_nothing(row.interface.as_ref()),
                        row.group.into(),
                    ]);
                }
                table
            }
            Self::Decisions(rows) => decision_table(rows),
            Self::Sources(rows) => source_table(rows),
            Self::Interfaces(rows) => {
                let mut table = Table::new(["INTERFACE", "INDEX"]);
                for row in rows {
                    table.row([or_nothing(row.interface.as_ref()), row.ifindex.into()]);
                }
                table
            }
            Self::Pvds(rows) => {
                let mut table = Table::new(["INDEX", "PVD", "INTERFACE", "FLAGS", "VALID"]);
                for row in rows {
                    table.row([
                        row.pvd_index.into(),
                        or_nothing(row.pvd.as_ref()),
                        or_nothing(row.interface.as_ref()),
                        flags([(row.explicit, "explicit"), (row.administrator, "administrator")]).into(),
                        validity(&row.valid),
                    ]);
                }
                table
            }
            Self::Counts(rows) => {
                let mut table = Table::new(["PVD", "REASON", "COUNT", "OCTETS"]);
                for row in rows {
                    let octets =
                        if row.bytes == 0 { NOTHING.into() } else { format::octets(row.bytes).into() };
                    table.row([or_nothing(row.pvd.as_ref()), row.reason.into(), row.count.into(), octets]);
                }
                table
            }
            Self::Note(text) => {
                let mut table = Table::fields();
                table.row([Cell::styled(text, FAINT)]);
                table
            }
        }
    }
}

fn decision_table(rows: &[DecisionRow]) -> Table {
    let mut table = Table::new([
        "VIEW",
        "DESTINATION",
        "VERDICT",
        "PVD",
        "SOURCE",
        "INTERFACE",
        "NEXT HOP",
        "VALID",
        "FLAGS",
    ]);
    for row in rows {
        table.row([
            row.view.into(),
            row.destination.to_string().into(),
            row.verdict.into(),
            or_nothing(row.pvd.as_ref()),
            or_nothing(row.source),
            or_nothing(row.interface.as_ref()),
            or_nothing(row.next_hop),
            validity(&row.valid),
            flags([(row.on_link, "on-link"), (row.administrator, "administrator"), (row.local, "local")])
                .into(),
        ]);
    }
    table
}

fn source_table(rows: &[SourceRow]) -> Table {
    let mut table = Table::new(["ADDRESS", "PVD", "INTERFACE", "NEXT HOP", "ON-LINK", "VALID", "FLAGS"]);
    for row in rows {
        let on_link = (row.on_link_bits != 0).then(|| format!("/{}", row.on_link_bits));
        table.row([
            row.address.into(),
            or_nothing(row.pvd.as_ref()),
            or_nothing(row.interface.as_ref()),
            or_nothing(row.next_hop),
            or_nothing(on_link),
            validity(&row.valid),
            row.flags.join(" ").into(),
        ]);
    }
    table
}

impl fmt::Display for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.table())
    }
}
