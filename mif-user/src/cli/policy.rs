//! `mif policy`: which cgroup may use which PvDs.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::PathBuf,
    process::ExitCode,
};

use anstyle::Style;
use anyhow::Result;
use mif_common::abi;
use mif_core::{
    pvd::selector::{Conditions, Groups, Selector, SelectorError},
    select::tables::{TableStore as _, Tables},
};
use serde::Serialize;

use super::{
    Global, cgroups,
    names::{NOTHING, Names},
    output::{self, BAD, Cell, Table, WARNING},
    reader::Reader,
};
use crate::{
    config::interface_name,
    control::{self, Request},
    mode::{Mode, Otherwise},
    policy::{Origin, Policy, Waiting, Why},
};

/// Say which cgroup may use which PvDs
#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    List(ListArgs),
    Attach(AttachArgs),
    Detach(DetachArgs),
}

/// List the policies in force
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Below those in force: configured policies that wait for their cgroups to appear, or of which another one \
of the file counts first, and cgroups for whose configured policy there is no room.

JSON: an array of {cgroup, cgroup_id, mode, view, groups, otherwise, none_now, origin}, of those in \
force. groups is an array of arrays of selectors, in order of preference: a string is the name of an \
interface or of PvDs or an id, an object has conditions. none_now is true while no PvD fits any of them. \
cgroup is null where it is gone; otherwise (refuse, kernel, default) and origin (config, command) are \
null where the state file does not say.

Examples:
  mif policy list
  mif policy list --json | jq '.[] | select(.mode == \"strict\")'"
)]
pub struct ListArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Give a cgroup, and all below it without a policy of their own, a policy
#[derive(Debug, clap::Args)]
#[command(
    after_help = "CGROUP is a directory of cgroup2, or a path below its root as systemd writes it. The daemon must run: it \
alone writes the tables. The policy stays, and counts before one that is configured, until it is \
detached or the cgroup is gone. It takes the place of the one that the cgroup has, and keeps that one's \
mode unless --mode says otherwise: strict is given up only by name.

Each --pvd is a group, the first one preferred: a PvD of a later group is used only for destinations \
that no PvD of an earlier group reaches. Within a group all PvDs are equals.

A group is one or more of these, with commas between them (any of them will do), each of them once:
  eth1                    every PvD of that interface
  corp.example            every PvD that its network calls so, on whatever interface
  eth1/fe80::1, 3, eth1/  the PvD of an id, an index or the only one whose id begins so: that
                          one for good, and no other that comes in its place
  KEY=VALUE               every PvD for which that holds, now or later:
    kind=explicit           named by its network; also implicit, interface, ipv4
    interface=wwan0         of this interface
    name=corp.example       its network calls it so
    internet=true           it offers a default route
    id=eth1                 this one
  KEY=VALUE+KEY=VALUE     every PvD for which all of it holds

Examples:
  mif policy attach system.slice/backup.service --pvd eth1 --mode strict
  mif policy attach /sys/fs/cgroup/user.slice --pvd corp.example --pvd eth0,wlan0
      corp.example where it reaches the destination, else the better of eth0 and wlan0
  mif policy attach /sys/fs/cgroup/user.slice --pvd kind=explicit+interface=wwan0
      those of wwan0 that their network has named
  mif policy attach /sys/fs/cgroup/user.slice --pvd kind=explicit --otherwise default"
)]
pub struct AttachArgs {
    /// The cgroup
    cgroup: PathBuf,
    #[command(flatten)]
    policy: PolicyArgs,
}

/// Take the policy from a cgroup
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  mif policy detach system.slice/backup.service")]
pub struct DetachArgs {
    /// The cgroup, which may be gone
    cgroup: PathBuf,
}

/// What a policy says.
#[derive(Clone, Debug, clap::Args)]
pub struct PolicyArgs {
    /// A group of PvDs to use. Given again: a further group, for destinations that no earlier one reaches
    #[arg(long = "pvd", value_name = "PVD[,PVD]...", required = true, value_parser = group)]
    groups: Vec<Group>,
    /// What happens to destinations that none of them reaches: strict refuses; the others leave them to the kernel, or
    /// choose among all PvDs
    #[arg(long)]
    pub otherwise: Option<Otherwise>,
    /// How firmly [default: as the policy that the cgroup has, else prefer]
    #[arg(long)]
    pub mode: Option<Mode>,
}

impl PolicyArgs {
    /// What is asked of the daemon for a cgroup.
    #[must_use]
    pub fn request(&self, cgroup: PathBuf) -> Request {
        let groups = self.groups.iter().map(|group| group.0.clone()).collect();
        Request::Attach { cgroup, groups, otherwise: self.otherwise, mode: self.mode }
    }
}

/// PvDs of equal rank.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Group(Vec<Selector>);

fn group(text: &str) -> Result<Group, String> {
    let pvd = |pvd: &str| match pvd.trim() {
        "" => Err("expected PvDs with commas between them; `mif pvd` lists those that exist".to_owned()),
        pvd => {
            let selector = pvd.parse().map_err(|error: SelectorError| error.to_string())?;
            if let Selector::Where(Conditions { interface: Some(name), .. }) = &selector {
                interface_name(name)?;
            }
            Ok(selector)
        }
    };
    text.split(',').map(pvd).collect::<Result<_, _>>().map(Group)
}

/// Lists, attaches or detaches; an error when there is no installation, no daemon, or it refuses.
pub(super) fn run(global: &Global, verb: Verb) -> Result<ExitCode> {
    match verb {
        Verb::List(args) => {
            let reader = Reader::open(global)?;
            let policies = reader.maps.policies()?;
            let state = reader.names.state();
            let report = Report {
                rows: rows(&reader.names, &policies, &reader.maps.load()?),
                waiting: state.map(|state| state.waiting.clone()).unwrap_or_default(),
            };
            output::show(&report, args.json)?;
        }
        Verb::Attach(AttachArgs { cgroup, policy }) => {
            let cgroup = cgroups::resolve(&cgroup)?;
            let kept = policy.mode.is_none();
            let request = policy.request(cgroup);
            let attached = control::change(&global.state_dir(), &request)?;
            report_change("has", &attached)?;
            if kept && attached.mode != Mode::default() {
                output::note(&format!(
                    "the mode {} is that of the policy before; --mode chooses another one",
                    attached.mode
                ));
            }
        }
        Verb::Detach(DetachArgs { cgroup }) => {
            // One that is gone is named as it was listed.
            let cgroup = cgroups::resolve(&cgroup).unwrap_or(cgroup);
            report_change(
                "no longer has",
                &control::change(&global.state_dir(), &Request::Detach { cgroup })?,
            )?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn report_change(has: &str, policy: &Policy) -> Result<()> {
    let cell = Cell::from(policy.cgroup.display().to_string());
    let groups = Cell::from(groups_text(&policy.groups, Some(policy.otherwise)));
    Ok(output::print(&format!("{cell} {has} the policy {}: {groups}\n", policy.mode))?)
}

/// Groups in words: `corp.example, then eth0 or wlan0`, and what follows the last where that is all PvDs.
#[must_use]
pub fn groups_text(groups: &[Vec<Selector>], otherwise: Option<Otherwise>) -> String {
    let group =
        |group: &Vec<Selector>| group.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ");
    let all = (otherwise == Some(Otherwise::Default)).then(|| "any".to_owned());
    groups.iter().map(group).chain(all).collect::<Vec<_>>().join(", then ")
}

/// A policy in force.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    cgroup: Option<PathBuf>,
    cgroup_id: u64,
    mode: Mode,
    view: u32,
    groups: Groups,
    otherwise: Option<Otherwise>,
    /// No PvD fits any of the groups now.
    none_now: bool,
    origin: Option<Origin>,
}

/// The policies of the map, with what the state file knows of them. Those of cgroups that are gone are nobody's to list.
#[must_use]
pub fn rows(names: &Names, policies: &[(u64, abi::Policy)], tables: &Tables) -> Vec<Row> {
    let kept = |id| names.state().and_then(|state| state.policies.iter().find(|kept| kept.cgroup_id == id));
    let removed: BTreeSet<u64> = names
        .state()
        .map(|state| state.removed.iter().map(|removed| removed.policy.cgroup_id).collect())
        .unwrap_or_default();
    policies
        .iter()
        .filter(|(cgroup_id, _)| !removed.contains(cgroup_id))
        .map(|&(cgroup_id, policy)| {
            let kept = kept(cgroup_id).filter(|kept| kept.view == policy.view);
            let groups = kept.map_or_else(|| members(names, policy.view, tables), |kept| kept.groups.clone());
            // Behind the groups are those of `otherwise`.
            let mut members = tables.members.range((policy.view, 0)..(policy.view, abi::Member::INTERFACE));
            let none_now = !members.any(|(_, place)| (*place as usize) < groups.len());
            Row {
                cgroup: names.cgroup(cgroup_id),
                cgroup_id,
                mode: abi::Mode::from_raw(policy.mode).into(),
                view: policy.view,
                // The tables leave out PvDs that do not exist now; the state file has them all.
                groups,
                otherwise: kept.map(|kept| kept.otherwise),
                none_now,
                origin: kept.map(|kept| kept.origin),
            }
        })
        .collect()
}

fn members(names: &Names, view: u32, tables: &Tables) -> Groups {
    let mut groups: BTreeMap<u32, Vec<Selector>> = BTreeMap::new();
    for ((_, pvd), group) in tables.members.range((view, 0)..(view, abi::Member::INTERFACE)) {
        groups.entry(*group).or_default().extend(names.pvd(*pvd).map(Selector::Word));
    }
    groups.into_values().collect()
}

/// Policies as a table.
#[must_use]
pub fn table(rows: &[Row]) -> Table {
    let mut table = Table::new(["CGROUP", "MODE", "PVDS", "VIEW", "FROM"]);
    for row in rows {
        let cgroup = match &row.cgroup {
            Some(cgroup) => cgroup.display().to_string().into(),
            None => Cell::styled(format!("cgroup {}, which is gone", row.cgroup_id), WARNING),
        };
        let groups = match (groups_text(&row.groups, row.otherwise), row.none_now) {
            (groups, true) if groups.is_empty() => Cell::styled("none that exists", WARNING),
            (groups, true) => Cell::styled(format!("{groups} (no such PvD now)"), WARNING),
            (groups, false) => groups.into(),
        };
        let origin = match row.origin {
            Some(Origin::Config) => "configuration",
            Some(Origin::Command) => "command",
            None => NOTHING,
        };
        table.row([cgroup, row.mode.into(), groups, row.view.into(), origin.into()]);
    }
    table
}

/// What of the configuration is not in force, as a table.
#[must_use]
pub fn waiting_table(waiting: &[Waiting]) -> Table {
    let mut table = Table::new(["NOT IN FORCE", "MODE", "PVDS", "VIEW", "BECAUSE"]);
    for Waiting { cgroup, why, groups, otherwise, mode, view } in waiting {
        let groups = groups_text(groups, Some(*otherwise));
        let (view, style) = match why {
            Why::NoCgroup | Why::EarlierPolicy => ((*view).into(), Style::new()),
            Why::NoRoom | Why::TooDeep => ((*view).into(), BAD),
            Why::NoView => (NOTHING.into(), BAD),
        };
        let because = Cell::styled(why.text(), style);
        table.row([cgroup.as_str().into(), (*mode).into(), groups.into(), view, because]);
    }
    table
}

#[derive(Serialize)]
#[serde(transparent)]
struct Report {
    rows: Vec<Row>,
    #[serde(skip)]
    waiting: Vec<Waiting>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.rows.is_empty() {
            writeln!(f, "No cgroup has a policy. Give one: mif policy attach CGROUP --pvd PVD")?;
        } else {
            write!(f, "{}", table(&self.rows))?;
        }
        if !self.waiting.is_empty() {
            write!(f, "\n{}", waiting_table(&self.waiting))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use mif_core::pvd::selector::Kind;

    use super::{super::output::plain, *};
    use crate::state::State;

    #[test]
    fn groups_on_the_command_line() {
        for (text, expected) in [
            ("eth0", Some(vec!["eth0"])),
            ("eth0/fe80::1, isp.example%eth1", Some(vec!["eth0/fe80::1", "isp.example%eth1"])),
            ("", None),
            ("eth0,,eth1", None),
            ("eth0,", None),
            ("colour=red", None),
            ("interface=a/b", None),
            ("interface=a-name-of-16-oct", None),
        ] {
            let expected = expected.map(|ids| Group(ids.into_iter().map(Selector::from).collect()));
            assert_eq!(group(text).ok(), expected, "{text:?}");
        }
        let Group(group) = group("kind=explicit,interface=wwan0").expect("two selectors");
        assert_eq!(
            group.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["kind=explicit", "interface=wwan0"]
        );
        let Group(group) = self::group("kind=explicit+interface=wwan0,eth0").expect("two selectors");
        let both = Conditions {
            kind: Some(Kind::Explicit),
            interface: Some("wwan0".into()),
            ..Conditions::default()
        };
        assert_eq!(group, [Selector::Where(both), "eth0".into()]);
    }

    #[test]
    fn groups_in_words() {
        let groups = |text: &[&[&str]]| -> Groups {
            text.iter().map(|group| group.iter().map(|&id| id.into()).collect()).collect()
        };
        for (given, otherwise, expected) in [
            (groups(&[&["a"]]), None, "a"),
            (groups(&[&["a"], &["b", "c"]]), Some(Otherwise::Refuse), "a, then b or c"),
            (groups(&[&["a"]]), Some(Otherwise::Default), "a, then any"),
            (groups(&[]), None, ""),
        ] {
            assert_eq!(groups_text(&given, otherwise), expected);
        }
    }

    #[test]
    fn policies_of_which_no_pvd_is_there() {
        let mut tables = Tables::default();
        // Behind the one group: what `otherwise` adds.
        tables.members.extend([((3, 7), 1)]);
        let cgroup = PathBuf::from("/sys/fs/cgroup/a");
        let state = State {
            policies: vec![Policy {
                cgroup,
                cgroup_id: 9,
                groups: vec![vec!["corp.example".into()]],
                otherwise: Otherwise::Default,
                mode: Mode::Prefer,
                view: 3,
                origin: Origin::Config,
            }],
            ..State::default()
        };
        let policy = abi::Policy { view: 3, mode: abi::Mode::Prefer as u32 };
        let rows = rows(&Names::new(Some(state)), &[(9, policy)], &tables);
        assert!(rows[0].none_now);
        assert_eq!(
            plain(table(&rows)),
            "CGROUP            MODE    PVDS                                      VIEW  FROM\n\
             /sys/fs/cgroup/a  prefer  corp.example, then any (no such PvD now)  3     configuration\n"
        );
    }

    #[test]
    fn what_waits() {
        let waiting = Waiting {
            cgroup: "unit backup-*.service".into(),
            why: Why::NoCgroup,
            groups: vec![vec!["eth1".into()]],
            otherwise: Otherwise::Refuse,
            mode: Mode::Strict,
            view: 2,
        };
        assert_eq!(
            plain(waiting_table(&[waiting.clone(), Waiting { why: Why::NoView, view: 0, ..waiting }])),
            "NOT IN FORCE           MODE    PVDS  VIEW  BECAUSE\n\
             unit backup-*.service  strict  eth1  2     no such cgroup now\n\
             unit backup-*.service  strict  eth1  -     too many different sets of PvDs\n"
        );
    }

    #[test]
    fn policies_without_a_state_file() {
        let mut tables = Tables::default();
        tables.members.extend([((3, 7), 1), ((3, 9), 0), ((4, 1), 0)]);
        let policy = abi::Policy { view: 3, mode: abi::Mode::Strict as u32 };
        // No cgroup has the inode number 0.
        let rows = rows(&Names::default(), &[(0, policy)], &tables);
        assert_eq!(
            plain(table(&rows)),
            "CGROUP                   MODE    PVDS         VIEW  FROM\n\
             cgroup 0, which is gone  strict  #9, then #7  3     -\n"
        );
    }
}
