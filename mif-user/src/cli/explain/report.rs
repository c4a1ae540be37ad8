//! What `mif explain` says: as values, which are its JSON; `text` has the words.

use std::{
    net::{IpAddr, Ipv6Addr},
    path::{Path, PathBuf},
};

use mif_common::{
    abi::{self, decision_flags},
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
        format::{deadline, remaining_seconds, source_flag_names},
        names::Names,
    },
    candidates::Choice,
    way::Way,
};
use crate::mode::{Mode, Otherwise};

mod text;

/// What was asked, resolved.
pub(super) struct Asked<'a> {
    /// The name that this is an address of.
    pub name: Option<&'a str>,
    pub destination: Ipv6Addr,
    pub cgroup: Option<&'a Path>,
    pub source: Option<Ipv6Addr>,
    pub ifindex: u32,
    pub rule: Rule,
    /// Why the hooks do not see the process.
    pub unseen: Option<&'static str>,
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
    unseen: Option<&'static str>,
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
    flags: Vec<&'static str>,
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
    let policy = names.policy(rule);
    let decision = tables.decision(rule.view, &asked.destination.into());
    let owner = asked.source.and_then(|source| tables.source(&source.into()));
    let now = Time(tables.now);
    Report {
        name: asked.name.map(str::to_owned),
        destination: shown(asked.destination),
        cgroup: asked.cgroup.map(Path::to_owned),
        unseen: asked.unseen,
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
            flags: source_flag_names(owner.flags),
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

/// Verdicts in the reports.
const PASS: &str = "pass";
const REFUSE: &str = "refuse";
