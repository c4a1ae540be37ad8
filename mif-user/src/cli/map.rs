//! `mif map`: the maps, decoded.

use std::{fmt, process::ExitCode};

use anyhow::Result;
use clap::ValueEnum;
use mif_core::select::tables::TableStore as _;
use serde::Serialize;

use super::{
    Global,
    output::{self, FAINT, HEADING},
    reader::Reader,
};

mod rows;

use rows::Rows;

/// Show the maps of the kernel programs, decoded
#[derive(Debug, clap::Args)]
#[command(after_help = "JSON: one object, its keys the names of the maps.
  config    {netns_cookie, mode, policies, strict, foreign_rules_ipv4, foreign_rules_ipv6,
             watched, pvds, layout}
  policy    [{cgroup, cgroup_id, view, mode}]
  view      [{view, pvd, pvd_index, interface, ifindex, group}], of a PvD or of an interface
  decision  [{view, destination, verdict, pvd, pvd_index, source, interface, ifindex, next_hop,
              on_link, administrator, local, valid_seconds}]
  source    [{address, pvd, pvd_index, interface, ifindex, next_hop, on_link_bits, flags,
              valid_seconds}]; flags of next-hop, leads-on, shared, several-interfaces, stranded
  interface [{interface, ifindex}]
  pvd       [{pvd, pvd_index, interface, ifindex, explicit, administrator, valid_seconds}]
  stats     [{pvd, pvd_index, reason, count, bytes}], only counters that are not zero
  events, socket, listener, gate  {note}

valid_seconds is null for ever and 0 when passed. docs/maps.md says what all of it means.

Examples:
  mif map
  mif map decision
  mif map stats --json | jq '.stats[] | select(.reason == \"redirected\")'")]
pub struct Args {
    /// Only this one
    #[arg(value_enum, ignore_case = true)]
    name: Option<Name>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// The maps.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum, Serialize, Ord, PartialOrd)]
#[serde(rename_all = "kebab-case")]
enum Name {
    /// What the hooks are told of the host
    Config,
    /// The view and mode of each cgroup with a policy
    Policy,
    /// Which PvDs are in which view
    View,
    /// Source, interface and next hop of each destination
    Decision,
    /// The PvD of each local address
    Source,
    /// The interfaces that tc egress is attached to
    Interface,
    /// Interface and lifetime of each PvD
    Pvd,
    /// How often each hook did what
    Stats,
    /// What the hooks tell of what they do
    Events,
    /// What a hook did to a socket
    Socket,
    /// The cgroup of a listener under a strict policy
    Listener,
    /// How many events each reason has sent
    Gate,
}

/// Shows them.
///
/// # Errors
/// When there is no installation.
pub fn run(global: &Global, args: &Args) -> Result<ExitCode> {
    let reader = Reader::open(global)?;
    let wanted = args.name.map_or_else(|| Name::value_variants().to_vec(), |name| vec![name]);
    let mut report = Report(Vec::new());
    for name in wanted {
        report.0.push((name, read(&reader, name)?));
    }
    output::show(&report, args.json)?;
    Ok(ExitCode::SUCCESS)
}

fn read(reader: &Reader, name: Name) -> Result<Rows> {
    let Reader { maps, names, now, .. } = reader;
    Ok(match name {
        Name::Config => rows::config(&maps.config()?),
        Name::Policy => rows::policies(names, &maps.policies()?),
        Name::View => rows::members(names, &maps.load()?),
        Name::Decision => rows::decisions(names, &maps.load()?, *now),
        Name::Source => rows::sources(names, &maps.load()?, *now),
        Name::Interface => rows::interfaces(names, &maps.interfaces()?),
        Name::Pvd => rows::pvds(names, &maps.load()?, *now),
        Name::Stats => rows::counts(names, &maps.counts()?),
        Name::Events => Rows::Note("a ring of reason-coded events; `mif watch` reads it"),
        Name::Socket => Rows::Note(
            "kept by the kernel with each socket: the source and interface that a hook bound, to tell them from the \
             application's own",
        ),
        Name::Listener => Rows::Note(
            "kept by the kernel with each stream socket that was bound under a strict policy: its cgroup, for SYN cookies, \
             which bear no socket",
        ),
        Name::Gate => Rows::Note("how many events each reason has sent on each CPU in this second"),
    })
}

struct Report(Vec<(Name, Rows)>);

impl Serialize for Report {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, rows)| (name, rows)))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (name, rows)) in self.0.iter().enumerate() {
            if self.0.len() > 1 {
                let gap = if place == 0 { "" } else { "\n" };
                let value = name.to_possible_value().expect("no variant is skipped");
                let help = value.get_help().map(ToString::to_string).unwrap_or_default();
                let title = value.get_name().to_uppercase();
                writeln!(f, "{gap}{HEADING}{title}{HEADING:#}  {FAINT}{help}{FAINT:#}")?;
            }
            write!(f, "{rows}")?;
        }
        Ok(())
    }
}
