//! What `mif explain` says.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
    path::{Path, PathBuf},
};

use mif_common::{
    abi::{self, DEFAULT_VIEW, decision_flags},
    decide::{Outcome, Rule, Tables as _, Verdict},
};
use mif_core::{
    family::{mapped, shown},
    pvd::Groups,
    select::{destination, host::HostTables},
    time::Time,
};
use serde::{Serialize, Serializer};

use super::{
    super::{
        format::{deadline, remaining_seconds, seconds},
        names::Names,
        output::{BAD, Cell, FAINT, GOOD, Table, WARNING},
        policy::groups_text,
    },
    candidates::Choice,
    way::Way,
};
use crate::mode::{Mode, Otherwise};

/// What was asked, resolved.
pub(super) struct Asked<'a> {
    /// The name that this is an address of.
    pub name: Option<&'a str>,
    pub destination: Ipv6Addr,
    pub cgroup: Option<&'a Path>,
    pub source: Option<Ipv6Addr>,
    pub ifindex: u32,
    pub rule: Rule,
    /// The host's default only observes because of them.
    pub foreign_rules: bool,
}

/// What the hooks do.
pub(super) struct Outcomes {
    /// `None` where no source is bound.
    pub bind: Option<Outcome>,
    pub connect: Outcome,
    pub sendmsg: Outcome,
}

impl Outcomes {
    /// Whether there will be no connection.
    pub(super) fn is_refused(&self) -> bool {
        let refuses = |outcome: &Outcome| outcome.verdict == Verdict::Refuse;
        self.bind.as_ref().is_some_and(refuses) || refuses(&self.connect)
    }
}

/// The answer.
#[derive(Debug, Serialize)]
pub struct Report {
    name: Option<String>,
    destination: IpAddr,
    cgroup: Option<PathBuf>,
    rule: RuleReport,
    bound: Option<Bound>,
    decision: Option<DecisionReport>,
    choice: Option<Choice>,
    source_owner: Option<SourceReport>,
    bind: Option<OutcomeReport>,
    connect: OutcomeReport,
    sendmsg: OutcomeReport,
    path: Option<PathReport>,
    kernel_error: Option<String>,
    before_next: Option<Before>,
}

/// Why a destination stands before the next one.
#[derive(Debug, Serialize)]
struct Before {
    /// Of RFC 6724 §6.
    rule: u8,
    text: &'static str,
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
    /// `tables` or `kernel`.
    by: &'static str,
    source: Option<IpAddr>,
    interface: Option<String>,
    ifindex: u32,
    next_hop: Option<IpAddr>,
    /// The kernel has a route there, so that no next hop means none is needed.
    #[serde(skip)]
    routed: bool,
    egress: OutcomeReport,
}

/// Puts names to the numbers.
pub(super) fn build(
    names: &Names,
    tables: &HostTables,
    asked: &Asked<'_>,
    outcomes: &Outcomes,
    way: &Way,
    choice: Option<Choice>,
) -> Report {
    let rule = &asked.rule;
    // Policies of one view differ in mode and in what follows from it.
    let policies = names.state().map(|state| state.policies.as_slice()).unwrap_or_default();
    let policy = policies.iter().find(|policy| policy.cgroup_id == rule.cgroup && policy.view == rule.view);
    let decision = tables.decision(rule.view, &asked.destination.into());
    let owner = asked.source.and_then(|source| tables.source(&source.into()));
    let now = Time(tables.now);
    Report {
        name: asked.name.map(str::to_owned),
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
        choice,
        source_owner: owner.map(|owner| SourceReport {
            pvd: names.pvd(owner.pvd),
            pvd_index: owner.pvd,
            interface: names.link(owner.ifindex),
            ifindex: owner.ifindex,
            next_hop: specified(owner.next_hop),
            on_link_bits: owner.on_link_bits,
            valid_seconds: remaining_seconds(deadline(owner.valid_until), now),
        }),
        bind: outcomes.bind.as_ref().map(|bind| outcome_report(names, bind)),
        connect: outcome_report(names, &outcomes.connect),
        sendmsg: outcome_report(names, &outcomes.sendmsg),
        path: way.hop.map(|hop| PathReport {
            by: if hop.by_tables { "tables" } else { "kernel" },
            source: specified(hop.source.into()),
            interface: names.link(hop.ifindex),
            ifindex: hop.ifindex,
            next_hop: specified(hop.next_hop.into()),
            routed: way.kernel_error.is_none(),
            egress: outcome_report(names, &hop.egress),
        }),
        kernel_error: way.kernel_error.clone(),
        before_next: None,
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
            Verdict::Pass => PASS,
            Verdict::Apply => "apply",
            Verdict::Refuse => REFUSE,
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

fn specified(address: mif_common::Addr) -> Option<IpAddr> {
    (!address.is_unspecified()).then(|| shown(address.into()))
}

impl Report {
    /// Where to.
    pub(super) fn destination(&self) -> Ipv6Addr {
        mapped(self.destination)
    }

    /// The source of the packets, as far as anybody knows it.
    pub(super) fn source(&self) -> Option<Ipv6Addr> {
        self.path.as_ref()?.source.map(mapped)
    }

    /// The interface that they leave by.
    pub(super) fn ifindex(&self) -> Option<u32> {
        Some(self.path.as_ref()?.ifindex)
    }

    /// False where it is known that nothing arrives.
    pub(super) fn is_reachable(&self) -> bool {
        let sent = self.path.as_ref().is_some_and(|path| path.egress.verdict != REFUSE);
        let dead = self.path.as_ref().is_some_and(|path| path.by == "tables")
            && self.choice.as_ref().is_some_and(|choice| choice.unreachable);
        sent && self.kernel_error.is_none() && !dead
    }

    /// With the rule that puts it before the next one.
    pub(super) fn placed(self, rule: Option<destination::Rule>) -> Self {
        let before_next = rule.map(|rule| Before { rule: rule.number(), text: rule.text() });
        Self { before_next, ..self }
    }

    fn is_refused(&self) -> bool {
        self.connect.verdict == REFUSE || self.bind.as_ref().is_some_and(|bind| bind.verdict == REFUSE)
    }

    /// In a word, for lists.
    fn headline(&self) -> Cell {
        match &self.path {
            Some(path) if self.kernel_error.is_none() => {
                let source =
                    path.source.map_or_else(|| "any source".into(), |source| format!("from {source}"));
                let interface = path.interface.as_deref().unwrap_or("an unknown interface");
                Cell::styled(format!("{source} by {interface}"), GOOD)
            }
            _ if self.is_refused() => Cell::styled("refused", BAD),
            _ => Cell::styled("cannot be reached", BAD),
        }
    }
}

/// What is printed.
#[derive(Debug)]
pub enum Answer {
    /// About the one address that was asked about.
    One(Vec<Report>),
    /// About several, in the order in which to try them.
    Several(Vec<Report>),
}

impl Serialize for Answer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::One(reports) => reports.first().serialize(serializer),
            Self::Several(reports) => reports.serialize(serializer),
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reports = match self {
            Self::One(reports) => return reports.iter().try_for_each(|report| report.fmt(f)),
            Self::Several(reports) => reports,
        };
        let mut table = Table::new(["ORDER", "DESTINATION", "FLOWS", "BEFORE THE NEXT, BECAUSE"]);
        for (place, report) in (1u32..).zip(reports) {
            let because = report
                .before_next
                .as_ref()
                .map_or_else(String::new, |before| format!("{} (rule {})", before.text, before.rule));
            table.row([place.into(), report.destination.into(), report.headline(), because.into()]);
        }
        write!(f, "{table}")?;
        reports.iter().try_for_each(|report| write!(f, "\n{report}"))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::fields();
        if let Some(name) = &self.name {
            table.field("name", name.clone());
        }
        table.field("destination", self.destination.to_string());
        if let Some(cgroup) = &self.cgroup {
            table.field("cgroup", cgroup.display().to_string());
        }
        if let Some(bound) = &self.bound {
            table.field("socket", bound.to_string());
        }
        table.field("policy", self.rule.to_string());
        table.field("table", self.decision.as_ref().map_or_else(no_decision, DecisionReport::cell));
        if let Some(choice) = &self.choice {
            table.field_list("because", choice.because());
            table.field_list("candidates", choice.lines());
        }
        if let Some(source) = self.bound.as_ref().and_then(|bound| bound.source) {
            let owner = self.source_owner.as_ref().map_or_else(|| "no PvD's".into(), SourceReport::to_string);
            table.field("source", format!("{source} is {owner}"));
        }
        if let Some(bind) = self.bind.as_ref().filter(|bind| bind.verdict == REFUSE) {
            bind.rows("bind", &mut table);
        }
        self.connect.rows("connect", &mut table);
        self.sendmsg.rows("sendto", &mut table);
        if let Some(path) = &self.path {
            table.field("packets", path.to_string());
            if path.egress.verdict != PASS {
                let egress = format!("{}: {}", path.egress.reason, path.egress.text);
                table.field("", Cell::styled(egress, FAINT));
            }
        }
        if let Some(error) = &self.kernel_error {
            table.field("kernel", Cell::styled(format!("has no route there: {error}"), WARNING));
        }
        write!(f, "{table}")
    }
}

/// Verdicts in the reports.
const PASS: &str = "pass";
const REFUSE: &str = "refuse";

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
        if groups.is_empty() {
            write!(f, ": view {}", self.view)
        } else {
            write!(f, ": {groups} (view {})", self.view)
        }
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
            (REFUSE, ..) if call == "bind" => Cell::styled("refused with EADDRNOTAVAIL", BAD),
            (REFUSE, ..) => Cell::styled("refused with ENETUNREACH", BAD),
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
        if self.egress.verdict == REFUSE {
            return f.write_str("are dropped");
        }
        let interface = self.interface.as_deref().unwrap_or("an unknown interface");
        if self.by == "tables" {
            return write!(f, "leave by {interface}, {}", hop_text(self.next_hop, self.routed));
        }
        let source = self.source.map_or_else(|| "any source".into(), |source| format!("from {source}"));
        let hop = self.next_hop.map_or_else(|| "on-link".into(), |router| format!("next hop {router}"));
        write!(f, "leave {source} by {interface}, {hop}, by the kernel's own routes")
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
