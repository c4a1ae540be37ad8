//! What `mif explain` says to people.

use std::{fmt, net::IpAddr};

use mif_common::{Reason, abi::DEFAULT_VIEW};

use super::{
    super::super::{
        format::seconds,
        output::{BAD, Cell, FAINT, GOOD, Table, WARNING},
        policy::groups_text,
    },
    Answer, Bound, DecisionReport, OutcomeReport, PASS, PathReport, REFUSE, Report, RuleReport, SourceReport,
};
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

impl Report {
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
        if let Some(unseen) = self.unseen {
            table.field("hooks", Cell::styled(unseen, WARNING));
        }
        if let Some(bound) = &self.bound {
            table.field("socket", bound.to_string());
        }
        table.field("policy", self.rule.to_string());
        match &self.decision {
            Some(decision) => table.field("table", decision.cell()),
            None if self.connect.reason == Reason::NotOurs.name() => {}
            None => table.field("table", no_decision()),
        }
        if let Some(choice) = &self.choice {
            table.field_list("because", choice.because());
            table.field_list("candidates", choice.lines());
        }
        if let Some(source) = self.bound.as_ref().and_then(|bound| bound.source) {
            let owner = self
                .source_owner
                .as_ref()
                .map_or_else(|| "in no PvD; is it an address of this host?".into(), SourceReport::to_string);
            table.field("source", format!("{source} is {owner}"));
        }
        if let Some(bind) = self.bind.as_ref().filter(|bind| bind.verdict == REFUSE) {
            bind.rows("bind", bind.text, &mut table);
        }
        self.connect.rows("connect", self.connect.text, &mut table);
        self.sendmsg.rows("sendto", self.sendmsg.text_of_datagrams(self.bound.as_ref()), &mut table);
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
            "pass" => match &self.pvd {
                Some(pvd) => format!("the administrator's routing decides ({pvd})").into(),
                None => "the administrator's routing decides: a route that refuses (blackhole, unreachable, prohibit), or one of no PvD".into(),
            },
            _ => no_decision(),
        }
    }
}

impl fmt::Display for SourceReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let interface = self.interface.as_deref().unwrap_or("an unknown interface");
        let has = |flag| self.flags.contains(&flag);
        if has("stranded") {
            return write!(
                f,
                "of {interface}, which is down, and was a provider's: it leaves by no other one"
            );
        }
        let pvd = self.pvd.as_deref().unwrap_or("no PvD");
        write!(f, "{pvd}'s: interface {interface}, ")?;
        match self.next_hop {
            _ if !has("leads-on") => f.write_str("which leads nowhere beyond its link")?,
            Some(router) => write!(f, "next hop {router}")?,
            None => f.write_str("next hop by its routes")?,
        }
        write!(f, ", {}", validity(self.valid_seconds))?;
        if has("several-interfaces") {
            f.write_str("; other interfaces have it too, so that only strict policies go by it")?;
        }
        Ok(())
    }
}

impl OutcomeReport {
    /// Why a datagram of an unconnected socket is treated so. The reasons are those of connect, which binds an interface as well;
    /// sendmsg cannot, nor need it: a packet finds its interface at tc egress.
    fn text_of_datagrams(&self, bound: Option<&Bound>) -> &'static str {
        if bound.is_some_and(|bound| bound.interface.is_some()) {
            return self.text;
        }
        match (self.verdict, self.reason) {
            ("apply", _) => "the source of one PvD is set; each packet follows it at tc egress",
            (PASS, reason) if reason == Reason::Consistent.name() => {
                "the source stays; each packet follows it at tc egress"
            }
            _ => self.text,
        }
    }

    fn rows(&self, call: &str, text: &str, table: &mut Table) {
        let does = match (self.verdict, &self.source, &self.interface) {
            (REFUSE, ..) if call == "bind" => Cell::styled("refused with EADDRNOTAVAIL", BAD),
            (REFUSE, ..) => Cell::styled("refused with ENETUNREACH", BAD),
            // sendmsg sets the source of a datagram; a binding would outlive it.
            ("apply", Some(source), _) if call == "sendto" => Cell::styled(format!("from {source}"), GOOD),
            ("apply", Some(source), Some(interface)) => {
                Cell::styled(format!("from {source} by {interface}"), GOOD)
            }
            ("apply", Some(source), None) => Cell::styled(format!("from {source}"), GOOD),
            ("apply", None, Some(interface)) => Cell::styled(format!("by {interface}"), GOOD),
            // What the application has chosen stays.
            _ if self.reason == Reason::Consistent.name() => "as it is".into(),
            _ if self.reason == Reason::ApplicationDevice.name() => "as the application wants it".into(),
            _ => "as the kernel does it".into(),
        };
        table.field(call, does);
        table.field("", Cell::styled(format!("{}: {text}", self.reason), FAINT));
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
        write!(f, "leave {source} by {interface}, {hop}")?;
        // Else tc egress, of which the next line is, has its way and not the kernel's routes.
        if self.egress.verdict == PASS { f.write_str(", by the kernel's own routes") } else { Ok(()) }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn source(flags: &[&'static str], next_hop: Option<&str>) -> SourceReport {
        SourceReport {
            pvd: (!flags.contains(&"stranded")).then(|| "eth0/fe80::1".into()),
            pvd_index: 1,
            interface: Some("eth0".into()),
            ifindex: 2,
            next_hop: next_hop.map(|router| router.parse().expect("a literal")),
            on_link_bits: 64,
            flags: flags.to_vec(),
            valid_seconds: None,
        }
    }

    #[test]
    fn whose_a_source_is() {
        for (flags, next_hop, expected) in [
            (
                &["leads-on"][..],
                Some("fe80::1"),
                "eth0/fe80::1's: interface eth0, next hop fe80::1, for ever",
            ),
            (&["leads-on"], None, "eth0/fe80::1's: interface eth0, next hop by its routes, for ever"),
            (&[], None, "eth0/fe80::1's: interface eth0, which leads nowhere beyond its link, for ever"),
            (&["stranded"], None, "of eth0, which is down, and was a provider's: it leaves by no other one"),
            (
                &["leads-on", "several-interfaces"],
                Some("fe80::1"),
                "eth0/fe80::1's: interface eth0, next hop fe80::1, for ever; other interfaces have it too, so that only \
                 strict policies go by it",
            ),
        ] {
            assert_eq!(source(flags, next_hop).to_string(), expected, "{flags:?}");
        }
    }

    /// sendmsg binds no interface: what it says must not sound as if it did.
    #[test]
    fn what_is_said_of_datagrams() {
        let outcome = |verdict, reason: Reason| OutcomeReport {
            verdict,
            reason: reason.name(),
            text: reason.text(),
            pvd: None,
            pvd_index: 0,
            source: None,
            interface: None,
            ifindex: 0,
        };
        let bound = |interface: Option<&str>| Bound {
            source: None,
            interface: interface.map(str::to_owned),
            ifindex: 0,
        };
        for (verdict, reason, interface, own) in [
            ("apply", Reason::Applied, None, false),
            (PASS, Reason::Consistent, None, false),
            (PASS, Reason::Consistent, Some("eth0"), true),
            ("apply", Reason::Applied, Some("eth0"), true),
            (PASS, Reason::NoDecision, None, true),
            (REFUSE, Reason::Vetoed, None, true),
        ] {
            let outcome = outcome(verdict, reason);
            let said = outcome.text_of_datagrams(Some(&bound(interface)));
            assert_eq!(said == reason.text(), own, "{reason:?} {interface:?}: {said}");
            assert_eq!(said.contains("tc egress"), !own, "{reason:?}: {said}");
        }
    }
}
