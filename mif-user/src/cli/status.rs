//! `mif status`: what is in force.

use std::{collections::BTreeMap, fmt, path::PathBuf, process::ExitCode};

use anyhow::Result;
use mif_common::{
    Reason,
    abi::{self, config_flags},
};
use mif_core::{select::tables::TableStore as _, time::Time};
use serde::Serialize;

use super::{
    Global, format,
    names::{NOTHING, Names},
    output::{self, BAD, Cell, FAINT, GOOD, Table, WARNING},
    policy, pvd,
    reader::Reader,
};
use crate::{kernel::pins, mode::Mode, policy::Waiting};

mod dhcpv6;

/// Show what is in force: PvDs, policies, counters, and what is wrong
#[derive(Debug, clap::Args)]
#[command(
    after_help = "JSON keys: bpffs, daemon{running, pid, started_seconds_ago, written_seconds_ago}, configured, mode, \
effective_mode{ipv4, ipv6}, foreign_rules[], interfaces[{name, ifindex, up, egress}], \
cgroup_programs[{program, cgroup}], pvds[] as `mif pvd --json`, policies[] as `mif policy list --json`, \
waiting[{cgroup, why, groups, otherwise, mode, view}] of configured policies that are not in force, \
dhcpv6[{interface, ifindex, wish, state, asking, others, server, server_duid, leases[], t1_seconds, \
t2_seconds, valid_seconds}], \
counters[{reason, text, count, bytes}], refused{what: how often}, problems[].

Examples:
  mif status
  mif status --json | jq .daemon.running"
)]
pub struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What is in force.
#[derive(Debug, Serialize)]
struct Report {
    bpffs: PathBuf,
    daemon: Daemon,
    configured: bool,
    mode: Mode,
    effective_mode: EffectiveMode,
    foreign_rules: Vec<String>,
    interfaces: Vec<Interface>,
    cgroup_programs: Vec<CgroupProgram>,
    pvds: Vec<pvd::Row>,
    policies: Vec<policy::Row>,
    waiting: Vec<Waiting>,
    dhcpv6: Vec<dhcpv6::Row>,
    counters: Vec<Counter>,
    refused: BTreeMap<String, u64>,
    problems: Vec<String>,
}

/// The daemon, running or not, and how old what it left is.
#[derive(Debug, Default, Serialize)]
struct Daemon {
    running: bool,
    pid: Option<u32>,
    started_seconds_ago: Option<u64>,
    written_seconds_ago: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Interface {
    name: String,
    ifindex: u32,
    up: Option<bool>,
    egress: bool,
}

#[derive(Debug, Serialize)]
struct CgroupProgram {
    program: &'static str,
    cgroup: Option<PathBuf>,
}

#[derive(Debug, Eq, PartialEq, Serialize)]
struct Counter {
    reason: &'static str,
    text: &'static str,
    count: u64,
    bytes: u64,
}

/// Shows it.
///
/// # Errors
/// When there is no installation.
pub fn run(global: &Global, args: &Args) -> Result<ExitCode> {
    let reader = Reader::open(global)?;
    let Reader { maps, names, now, .. } = &reader;
    let tables = maps.load()?;
    let config = maps.config()?;
    let (mode, effective_mode) = modes(&config);
    let state = names.state();
    let report = Report {
        bpffs: global.bpffs(),
        daemon: daemon(&reader),
        configured: config.netns_cookie != 0,
        mode,
        effective_mode,
        foreign_rules: state.map(|state| state.foreign_rules.clone()).unwrap_or_default(),
        interfaces: interfaces(names, &pins::pinned_interfaces(&global.bpffs())),
        cgroup_programs: pins::pinned_cgroup_links(&global.bpffs())
            .into_iter()
            .map(|(program, id)| CgroupProgram { program, cgroup: names.cgroup(id) })
            .collect(),
        pvds: pvd::rows(names, &tables.pvds, *now),
        policies: policy::rows(names, &maps.policies()?, &tables),
        waiting: state.map(|state| state.waiting.clone()).unwrap_or_default(),
        dhcpv6: dhcpv6::rows(names, *now),
        counters: counters(&maps.counts()?),
        refused: state.map(|state| state.refused.clone()).unwrap_or_default(),
        problems: state.map(|state| state.problems.clone()).unwrap_or_default(),
    };
    output::show(&report, args.json)?;
    Ok(ExitCode::SUCCESS)
}

fn daemon(reader: &Reader) -> Daemon {
    let ago = |then: Time| then.until(reader.now).as_secs();
    // What the file says of the daemon's start is that of the daemon that wrote it.
    let state = reader.names.state();
    let own = state.filter(|state| reader.daemon.is_some_and(|pid| pid == state.pid));
    Daemon {
        running: reader.daemon.is_some(),
        pid: reader.daemon,
        started_seconds_ago: own.map(|state| ago(state.started)),
        written_seconds_ago: state.map(|state| ago(state.written)),
    }
}

/// The mode of processes without a policy as it works: policy rules of somebody else are rules of one version of IP.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
struct EffectiveMode {
    ipv4: Mode,
    ipv6: Mode,
}

/// The mode of processes without a policy: as configured, and as it works.
fn modes(config: &abi::Config) -> (Mode, EffectiveMode) {
    let mode = abi::Mode::from_raw(config.mode).into();
    let effective = |foreign| if config.flags & foreign != 0 { Mode::Observe } else { mode };
    let ipv4 = effective(config_flags::FOREIGN_RULES_IPV4);
    (mode, EffectiveMode { ipv4, ipv6: effective(config_flags::FOREIGN_RULES_IPV6) })
}

/// The interfaces that the state file names, and those that tc egress is attached to.
fn interfaces(names: &Names, attached: &std::collections::BTreeSet<u32>) -> Vec<Interface> {
    let links = names.state().map(|state| state.links.as_slice()).unwrap_or_default();
    let mut interfaces: BTreeMap<u32, Interface> = attached
        .iter()
        .filter_map(|&ifindex| {
            Some((ifindex, Interface { name: names.link(ifindex)?, ifindex, up: None, egress: true }))
        })
        .collect();
    for link in links {
        let interface = interfaces.entry(link.ifindex).or_insert_with(|| Interface {
            name: link.name.clone(),
            ifindex: link.ifindex,
            up: None,
            // A clsact filter has no pin: the daemon knows.
            egress: link.egress,
        });
        interface.up = Some(link.up);
    }
    interfaces.into_values().collect()
}

/// The counters of all PvDs together, by reason.
fn counters(counts: &[(u32, Reason, abi::Count)]) -> Vec<Counter> {
    let mut sums: BTreeMap<Reason, (u64, u64)> = BTreeMap::new();
    for (_, reason, count) in counts {
        let sum = sums.entry(*reason).or_default();
        *sum = (sum.0 + count.count, sum.1 + count.bytes);
    }
    let counter = |(reason, (count, bytes)): (Reason, _)| Counter {
        reason: reason.name(),
        text: reason.text(),
        count,
        bytes,
    };
    sums.into_iter().map(counter).collect()
}

impl Daemon {
    fn cell(&self) -> Cell {
        let ago = |seconds: u64| format!("{} ago", format::seconds(seconds));
        match (self.running, self.written_seconds_ago) {
            (true, _) => {
                let pid = self.pid.filter(|pid| *pid != 0).map(|pid| format!(", process {pid}"));
                let since = self.started_seconds_ago.map(|since| format!(", for {}", format::seconds(since)));
                let text = format!("running{}{}", pid.unwrap_or_default(), since.unwrap_or_default());
                Cell::styled(text, GOOD)
            }
            (false, Some(written)) => Cell::styled(
                format!(
                    "not running; the kernel goes on with what it was told {}, until lifetimes end. Start it: mif daemon",
                    ago(written)
                ),
                BAD,
            ),
            (false, None) => Cell::styled(
                "not running, and it has left no state file: names are not known. Start it: mif daemon",
                BAD,
            ),
        }
    }
}

impl Report {
    fn mode(&self) -> Cell {
        if !self.configured {
            return Cell::styled("not configured yet: everything passes", WARNING);
        }
        let EffectiveMode { ipv4, ipv6 } = self.effective_mode;
        let observed = match (ipv4 == self.mode, ipv6 == self.mode) {
            (true, true) => return self.mode.into(),
            (false, true) => format!("{}; observe for IPv4, where foreign policy rules decide", self.mode),
            (true, false) => format!("{}; observe for IPv6, where foreign policy rules decide", self.mode),
            (false, false) => {
                format!("observe ({} is configured, but foreign policy rules decide on this host)", self.mode)
            }
        };
        Cell::styled(observed, WARNING)
    }

    fn attachments(&self) -> Vec<Cell> {
        let mut by_cgroup: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for CgroupProgram { program, cgroup } in &self.cgroup_programs {
            let cgroup = match cgroup {
                Some(cgroup) => format!("cgroup {}", cgroup.display()),
                None => "a cgroup that is gone".into(),
            };
            by_cgroup.entry(cgroup).or_default().push(program);
        }
        let mut cells: Vec<Cell> = by_cgroup
            .iter()
            .map(|(cgroup, programs)| format!("{} at {cgroup}", programs.join(", ")).into())
            .collect();
        if cells.is_empty() {
            cells.push(Cell::styled("no socket hook is attached", BAD));
        }
        let attached: Vec<&str> =
            self.interfaces.iter().filter(|link| link.egress).map(|link| link.name.as_str()).collect();
        if attached.is_empty() {
            cells.push(Cell::styled("egress at no interface", WARNING));
        } else {
            cells.push(format!("egress at {}", attached.join(", ")).into());
        }
        cells
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::fields();
        table.field("daemon", self.daemon.cell());
        table.field("mode", self.mode());
        table.field_list("programs", self.attachments());
        table.field("pins", self.bpffs.display().to_string());
        table.field_list("foreign rules", self.foreign_rules.iter().map(|rule| Cell::styled(rule, WARNING)));
        table.field_list("problems", self.problems.iter().map(|problem| Cell::styled(problem, BAD)));
        let refused = self.refused.iter().filter(|(_, count)| **count != 0);
        table.field_list("refused", refused.map(|(what, count)| Cell::from(format!("{what}: {count}"))));
        write!(f, "{table}")?;
        if !self.pvds.is_empty() {
            write!(f, "\n{}", pvd::table(&self.pvds))?;
        }
        if !self.policies.is_empty() {
            write!(f, "\n{}", policy::table(&self.policies))?;
        }
        if !self.waiting.is_empty() {
            write!(f, "\n{}", policy::waiting_table(&self.waiting))?;
        }
        if !self.dhcpv6.is_empty() {
            write!(f, "\n{}", dhcpv6::table(&self.dhcpv6))?;
        }
        if !self.counters.is_empty() {
            write!(f, "\n{}", counter_table(&self.counters))?;
        }
        Ok(())
    }
}

fn counter_table(counters: &[Counter]) -> Table {
    let mut table = Table::new(["REASON", "COUNT", "OCTETS", "MEANING"]);
    for counter in counters {
        let octets = if counter.bytes == 0 { NOTHING.into() } else { format::octets(counter.bytes).into() };
        table.row([counter.reason.into(), counter.count.into(), octets, Cell::styled(counter.text, FAINT)]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::{super::output::plain, *};

    #[test]
    fn foreign_rules_make_the_default_observe() {
        let (ipv4, ipv6) = (config_flags::FOREIGN_RULES_IPV4, config_flags::FOREIGN_RULES_IPV6);
        for (mode, flags, expected) in [
            (abi::Mode::Prefer, 0, [Mode::Prefer; 3]),
            (abi::Mode::Prefer, ipv4, [Mode::Prefer, Mode::Observe, Mode::Prefer]),
            (abi::Mode::Prefer, ipv6, [Mode::Prefer, Mode::Prefer, Mode::Observe]),
            (abi::Mode::Prefer, ipv4 | ipv6, [Mode::Prefer, Mode::Observe, Mode::Observe]),
            (abi::Mode::Strict, config_flags::STRICT | config_flags::POLICIES, [Mode::Strict; 3]),
        ] {
            let config = abi::Config { mode: mode as u32, flags, ..abi::Config::default() };
            let (configured, effective) = modes(&config);
            assert_eq!([configured, effective.ipv4, effective.ipv6], expected);
        }
    }

    #[test]
    fn counters_of_all_pvds() {
        let count = |count, bytes| abi::Count { count, bytes };
        let sums = counters(&[
            (1, Reason::Applied, count(2, 0)),
            (2, Reason::Applied, count(3, 0)),
            (2, Reason::Redirected, count(1, 2048)),
        ]);
        assert_eq!(
            plain(counter_table(&sums)),
            "REASON      COUNT  OCTETS   MEANING\n\
             applied     5      -        source and interface of one PvD were set\n\
             redirected  1      2.0 KiB  the packet was about to leave by another PvD's interface and was sent to its own\n"
        );
    }

    #[test]
    fn the_daemon_in_words() {
        for (daemon, expected) in [
            (
                Daemon {
                    running: true,
                    pid: Some(7),
                    started_seconds_ago: Some(65),
                    written_seconds_ago: Some(1),
                },
                "running, process 7, for 1m 5s",
            ),
            (Daemon { running: true, pid: Some(0), ..Daemon::default() }, "running"),
            (
                Daemon { written_seconds_ago: Some(3600), ..Daemon::default() },
                "not running; the kernel goes on with what it was told 1h ago, until lifetimes end. Start it: mif daemon",
            ),
            (
                Daemon::default(),
                "not running, and it has left no state file: names are not known. Start it: mif daemon",
            ),
        ] {
            assert_eq!(plain(daemon.cell()), expected);
        }
    }
}
