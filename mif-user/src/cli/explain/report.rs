//! What `mif explain` says.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
    path::{Path, PathBuf},
};

use mif_common::{
    Reason,
    abi::{self, DEFAULT_VIEW, decision_flags},
    decide::{Outcome, Rule, Tables as _, Verdict},
};
use mif_core::{family::shown, pvd::Groups, select::host::HostTables, time::Time};
use serde::Serialize;

use super::super::{
    format::{deadline, remaining_seconds, seconds},
    names::Names,
    output::{BAD, Cell, FAINT, GOOD, Table, WARNING},
    policy::groups_text,
};
use crate::mode::{Mode, Otherwise};

/// What was asked, resolved.
pub(super) struct Asked<'a> {
    pub destination: Ipv6Addr,
    pub cgroup: Option<&'a Path>,
    pub source: Option<Ipv6Addr>,
    pub ifindex: u32,
    pub rule: Rule,
    /// The host's default only observes because of them.
    pub foreign_rules: bool,
}

/// The answer.
#[derive(Debug, Serialize)]
pub struct Report {
    destination: IpAddr,
    cgroup: Option<PathBuf>,
    rule: RuleReport,
    bound: Option<Bound>,
    decision: Option<DecisionReport>,
    source_owner: Option<SourceReport>,
    connect: OutcomeReport,
    sendmsg: OutcomeReport,
    path: Option<PathReport>,
}

#[derive(Debug, Serialize)]
struct RuleReport {
    view: u32,
    mode: Mode,
    cgroup: Option<PathBuf>,
    groups: Groups,
    otherwise: Option<Otherwise>,
    foreign_rules: bool,
}

#[derive(Debug, Serialize)]
struct Bound {
    source: Option<IpAddr>,
    interface: Option<String>,
    ifindex: u32,
}

#[derive(Debug, Serialize)]
struct DecisionReport {
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
}

#[derive(Debug, Serialize)]
struct SourceReport {
    pvd: Option<String>,
    pvd_index: u32,
    interface: Option<String>,
    ifindex: u32,
    next_hop: Option<IpAddr>,
    on_link_bits: u32,
    valid_seconds: Option<u64>,
}

#[derive(Debug, Serialize)]
struct OutcomeReport {
    verdict: &'static str,
    reason: &'static str,
    text: &'static str,
    pvd: Option<String>,
    pvd_index: u32,
    source: Option<IpAddr>,
    interface: Option<String>,
    ifindex: u32,
}

#[derive(Debug, Serialize)]
struct PathReport {
    interface: Option<String>,
    ifindex: u32,
    next_hop: Option<IpAddr>,
}

/// Puts names to the numbers.
pub(super) fn build(
    names: &Names,
    tables: &HostTables,
    asked: &Asked<'_>,
    connect: &Outcome,
    sendmsg: &Outcome,
) -> Report {
    let rule = &asked.rule;
    let policy =
        names.state().and_then(|state| state.policies.iter().find(|policy| policy.view == rule.view));
    let decision = tables.decision(rule.view, &asked.destination.into());
    let owner = asked.source.and_then(|source| tables.source(&source.into()));
    let now = Time(tables.now);
    Report {
        destination: shown(asked.destination),
        cgroup: asked.cgroup.map(Path::to_owned),
        rule: RuleReport {
            view: rule.view,
            mode: rule.mode.into(),
            cgroup: names.cgroup_if_any(rule.cgroup),
            groups: policy.map(|policy| policy.groups.clone()).unwrap_or_default(),
            otherwise: policy.map(|policy| policy.otherwise),
            foreign_rules: asked.foreign_rules,
        },
        bound: (asked.source.is_some() || asked.ifindex != 0).then(|| Bound {
            source: asked.source.map(shown),
            interface: names.link(asked.ifindex),
            ifindex: asked.ifindex,
        }),
        decision: decision.map(|decision| decision_report(names, decision, now)),
        source_owner: owner.map(|owner| SourceReport {
            pvd: names.pvd(owner.pvd),
            pvd_index: owner.pvd,
            interface: names.link(owner.ifindex),
            ifindex: owner.ifindex,
            next_hop: specified(owner.next_hop),
            on_link_bits: owner.on_link_bits,
            valid_seconds: remaining_seconds(deadline(owner.valid_until), now),
        }),
        connect: outcome_report(names, connect),
        sendmsg: outcome_report(names, sendmsg),
        path: path(names, asked, connect, decision, owner),
    }
}

fn decision_report(names: &Names, decision: &abi::Decision, now: Time) -> DecisionReport {
    let flag = |flag| decision.flags & flag != 0;
    DecisionReport {
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
        valid_seconds: remaining_seconds(deadline(decision.valid_until), now),
    }
}

fn outcome_report(names: &Names, outcome: &Outcome) -> OutcomeReport {
    OutcomeReport {
        verdict: match outcome.verdict {
            Verdict::Pass => "pass",
            Verdict::Apply => "apply",
            Verdict::Refuse => "refuse",
        },
        reason: outcome.reason.name(),
        text: outcome.reason.text(),
        pvd: names.pvd(outcome.pvd),
        pvd_index: outcome.pvd,
        source: specified(outcome.source),
        interface: names.link(outcome.ifindex),
        ifindex: outcome.ifindex,
    }
}

/// Where the packets of the connection go; `None` where the kernel's routing decides that alone.
fn path(
    names: &Names,
    asked: &Asked<'_>,
    connect: &Outcome,
    decision: Option<&abi::Decision>,
    owner: Option<&abi::Source>,
) -> Option<PathReport> {
    let (ifindex, next_hop) = match (connect.reason, decision, owner) {
        (Reason::Applied | Reason::InterfaceOnly, Some(decision), _) => {
            (decision.ifindex, specified(decision.next_hop))
        }
        (Reason::FollowedSource | Reason::Consistent, _, Some(owner)) => {
            let source = asked.source.unwrap_or(Ipv6Addr::UNSPECIFIED);
            let on_link = owner.on_link_bits != 0
                && abi_addr(asked.destination).shares_prefix(&abi_addr(source), owner.on_link_bits);
            (owner.ifindex, specified(owner.next_hop).filter(|_| !on_link))
        }
        _ => return None,
    };
    Some(PathReport { interface: names.link(ifindex), ifindex, next_hop })
}

fn abi_addr(address: Ipv6Addr) -> mif_common::Addr {
    address.into()
}

fn specified(address: mif_common::Addr) -> Option<IpAddr> {
    (!address.is_unspecified()).then(|| shown(address.into()))
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::fields();
        table.field("destination", self.destination.to_string());
        if let Some(cgroup) = &self.cgroup {
            table.field("cgroup", cgroup.display().to_string());
        }
        if let Some(bound) = &self.bound {
            table.field("socket", bound.to_string());
        }
        table.field("policy", self.rule.to_string());
        table.field("table", self.decision.as_ref().map_or_else(no_decision, DecisionReport::cell));
        if let Some(source) = self.bound.as_ref().and_then(|bound| bound.source) {
            let owner = self.source_owner.as_ref().map_or_else(|| "no PvD's".into(), SourceReport::to_string);
            table.field("source", format!("{source} is {owner}"));
        }
        self.connect.rows("connect", &mut table);
        self.sendmsg.rows("sendto", &mut table);
        if let Some(path) = &self.path {
            table.field("packets", path.to_string());
        }
        write!(f, "{table}")
    }
}

fn no_decision() -> Cell {
    Cell::styled("no PvD of this view reaches it", WARNING)
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.source, &self.interface) {
            (Some(source), Some(interface)) => write!(f, "bound to {source} and {interface}"),
            (Some(source), None) => write!(f, "bound to {source}"),
            (None, Some(interface)) => write!(f, "bound to {interface}"),
            (None, None) => f.write_str("not bound"),
        }
    }
}

impl fmt::Display for RuleReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.view == DEFAULT_VIEW && self.cgroup.is_none() {
            write!(f, "{}, the host's default: all PvDs", self.mode)?;
            return if self.foreign_rules { f.write_str(" (foreign policy rules exist)") } else { Ok(()) };
        }
        write!(f, "{}", self.mode)?;
        if let Some(cgroup) = &self.cgroup {
            write!(f, ", of {}", cgroup.display())?;
        }
        let groups = groups_text(&self.groups, self.otherwise);
        if groups.is_empty() { write!(f, ": view {}", self.view) } else { write!(f, ": {groups}") }
    }
}

impl DecisionReport {
    fn cell(&self) -> Cell {
        let pvd = self.pvd.as_deref().unwrap_or("no PvD");
        let interface = self.interface.as_deref().unwrap_or("no interface");
        match self.verdict {
            "use" => {
                let whose = if self.administrator { " (the administrator's route)" } else { "" };
                let source =
                    self.source.map_or_else(|| "any source".into(), |source| format!("source {source}"));
                let hop = hop_text(self.next_hop, self.on_link);
                let valid = validity(self.valid_seconds);
                Cell::from(format!("{pvd}{whose}: {source}, interface {interface}, {hop}, {valid}"))
            }
            "pass" if self.local => "an address of this host".into(),
            "pass" => format!("the administrator's routing decides ({pvd})").into(),
            _ => no_decision(),
        }
    }
}

impl fmt::Display for SourceReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}'s: interface {}, {}, {}",
            self.pvd.as_deref().unwrap_or("no PvD"),
            self.interface.as_deref().unwrap_or("unknown"),
            hop_text(self.next_hop, false),
            validity(self.valid_seconds)
        )
    }
}

impl OutcomeReport {
    fn rows(&self, call: &str, table: &mut Table) {
        let does = match (self.verdict, &self.source, &self.interface) {
            ("refuse", ..) => Cell::styled("refused with ENETUNREACH", BAD),
            // sendmsg sets the source of a datagram; a binding would outlive it.
            ("apply", Some(source), _) if call == "sendto" => {
                Cell::styled(format!("from {source}; the interface follows at tc egress"), GOOD)
            }
            ("apply", Some(source), Some(interface)) => {
                Cell::styled(format!("from {source} by {interface}"), GOOD)
            }
            ("apply", Some(source), None) => Cell::styled(format!("from {source}"), GOOD),
            ("apply", None, Some(interface)) => Cell::styled(format!("by {interface}"), GOOD),
            _ => "as the kernel does it".into(),
        };
        table.field(call, does);
        table.field("", Cell::styled(format!("{}: {}", self.reason, self.text), FAINT));
    }
}

impl fmt::Display for PathReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let interface = self.interface.as_deref().unwrap_or("an unknown interface");
        write!(f, "leave by {interface}, {}", hop_text(self.next_hop, false))
    }
}

fn hop_text(next_hop: Option<IpAddr>, on_link: bool) -> String {
    match next_hop {
        Some(router) => format!("next hop {router}"),
        None if on_link => "on-link".into(),
        None => "next hop by the interface's routes".into(),
    }
}

fn validity(valid_seconds: Option<u64>) -> String {
    match valid_seconds {
        None => "for ever".into(),
        Some(0) => "expired".into(),
        Some(left) => format!("for {}", seconds(left)),
    }
}
