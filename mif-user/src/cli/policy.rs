//! `mif policy`: which cgroup may use which PvDs.

use std::{collections::BTreeMap, fmt, path::PathBuf, process::ExitCode};

use anyhow::Result;
use mif_common::abi;
use mif_core::select::tables::{TableStore as _, Tables};
use serde::Serialize;

use super::{
    Global, cgroups,
    names::{NOTHING, Names},
    output::{self, Cell, Table, WARNING},
    reader::Reader,
};
use crate::{
    control::{self, Request},
    mode::Mode,
    policy::{Groups, Origin, Policy},
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
    after_help = "JSON: an array of {cgroup, cgroup_id, mode, view, groups, origin}. groups is an array of arrays of
PvD ids, in order of preference; cgroup is null where it is gone; origin (config, command) is null where
the state file does not say.

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
    after_help = "CGROUP is a directory of cgroup2, or a path below its root as systemd writes it. The daemon must run: it
alone writes the tables. The policy stays until it is detached or the cgroup is gone.

Examples:
  mif policy attach system.slice/backup.service --pvd eth1 --mode strict
  mif policy attach /sys/fs/cgroup/user.slice --pvd corp.example --pvd eth0,wlan0
      corp.example where it reaches the destination, else the better of eth0 and wlan0"
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
    /// PvDs to use, by id, index or the beginning of an id. Those of one --pvd, with commas between them, are a group of
    /// equals; a further --pvd is used for destinations that no earlier one reaches
    #[arg(long = "pvd", value_name = "ID[,ID]...", required = true, value_parser = group)]
    groups: Vec<Group>,
    /// How firmly
    #[arg(long, default_value = "prefer")]
    pub mode: Mode,
}

impl PolicyArgs {
    /// The groups, in order of preference.
    #[must_use]
    pub fn groups(&self) -> Groups {
        self.groups.iter().map(|group| group.0.clone()).collect()
    }
}

/// PvDs of equal rank.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Group(Vec<String>);

fn group(text: &str) -> Result<Group, String> {
    let ids: Vec<String> = text.split(',').map(|id| id.trim().to_owned()).collect();
    if ids.iter().any(String::is_empty) {
        return Err("expected PvD ids with commas between them; `mif pvd` lists those that exist".into());
    }
    Ok(Group(ids))
}

/// Lists, attaches or detaches; an error when there is no installation, no daemon, or it refuses.
pub(super) fn run(global: &Global, verb: Verb) -> Result<ExitCode> {
    match verb {
        Verb::List(args) => {
            let reader = Reader::open(global)?;
            let policies = reader.maps.policies()?;
            let report = Report(rows(&reader.names, &policies, &reader.maps.load()?));
            output::show(&report, args.json)?;
        }
        Verb::Attach(AttachArgs { cgroup, policy }) => {
            let cgroup = cgroups::resolve(&cgroup)?;
            let request = Request::Attach { cgroup, groups: policy.groups(), mode: policy.mode };
            report_change("has", &control::change(&global.state_dir(), &request)?)?;
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
    let groups = Cell::from(groups_text(&policy.groups));
    Ok(output::print(&format!("{cell} {has} the policy {}: {groups}\n", policy.mode))?)
}

/// Groups in words: `corp.example, then eth0 or wlan0`.
#[must_use]
pub fn groups_text(groups: &[Vec<String>]) -> String {
    groups.iter().map(|group| group.join(" or ")).collect::<Vec<_>>().join(", then ")
}

/// A policy in force.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    cgroup: Option<PathBuf>,
    cgroup_id: u64,
    mode: Mode,
    view: u32,
    groups: Groups,
    origin: Option<Origin>,
}

/// The policies of the map, with what the state file knows of them.
#[must_use]
pub fn rows(names: &Names, policies: &[(u64, abi::Policy)], tables: &Tables) -> Vec<Row> {
    let kept = |id| names.state().and_then(|state| state.policies.iter().find(|kept| kept.cgroup_id == id));
    policies
        .iter()
        .map(|&(cgroup_id, policy)| {
            let kept = kept(cgroup_id).filter(|kept| kept.view == policy.view);
            Row {
                cgroup: names.cgroup(cgroup_id),
                cgroup_id,
                mode: abi::Mode::from_raw(policy.mode).into(),
                view: policy.view,
                // The tables leave out PvDs that do not exist now; the state file has them all.
                groups: kept.map_or_else(|| members(names, policy.view, tables), |kept| kept.groups.clone()),
                origin: kept.map(|kept| kept.origin),
            }
        })
        .collect()
}

fn members(names: &Names, view: u32, tables: &Tables) -> Groups {
    let mut groups: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    for ((_, pvd), group) in tables.members.range((view, 0)..=(view, u32::MAX)) {
        groups.entry(*group).or_default().extend(names.pvd(*pvd));
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
        let groups = groups_text(&row.groups);
        let groups =
            if groups.is_empty() { Cell::styled("none that exists", WARNING) } else { groups.into() };
        let origin = match row.origin {
            Some(Origin::Config) => "configuration",
            Some(Origin::Command) => "command",
            None => NOTHING,
        };
        table.row([cgroup, row.mode.into(), groups, row.view.into(), origin.into()]);
    }
    table
}

#[derive(Serialize)]
#[serde(transparent)]
struct Report(Vec<Row>);

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return writeln!(f, "No cgroup has a policy. Give one: mif policy attach CGROUP --pvd ID");
        }
        write!(f, "{}", table(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::{super::output::plain, *};

    #[test]
    fn groups_on_the_command_line() {
        for (text, expected) in [
            ("eth0", Some(vec!["eth0"])),
            ("eth0/fe80::1, isp.example%eth1", Some(vec!["eth0/fe80::1", "isp.example%eth1"])),
            ("", None),
            ("eth0,,eth1", None),
            ("eth0,", None),
        ] {
            let expected = expected.map(|ids| Group(ids.into_iter().map(str::to_owned).collect()));
            assert_eq!(group(text).ok(), expected, "{text:?}");
        }
    }

    #[test]
    fn groups_in_words() {
        let groups = |text: &[&[&str]]| -> Groups {
            text.iter().map(|group| group.iter().map(|&id| id.to_owned()).collect()).collect()
        };
        for (given, expected) in
            [(groups(&[&["a"]]), "a"), (groups(&[&["a"], &["b", "c"]]), "a, then b or c"), (groups(&[]), "")]
        {
            assert_eq!(groups_text(&given), expected);
        }
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
