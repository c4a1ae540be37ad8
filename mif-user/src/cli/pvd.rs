//! `mif pvd`: the provisioning domains, and who said what of each.

use std::{collections::BTreeMap, fmt, process::ExitCode};

use anyhow::Result;
use mif_common::abi::{self, PvdIndex, pvd_flags};
use mif_core::{
    pvd::{find::find, selector::Kind, snapshot::PvdSnapshot},
    select::tables::TableStore as _,
    time::Time,
};
use serde::Serialize;

use super::{
    Global,
    format::{counted, deadline, remaining, remaining_seconds},
    names::{NOTHING, Names},
    output::{self, Cell, FAINT, Table, WARNING},
    reader::Reader,
};

mod details;

/// List the PvDs, or say all that is known of one
#[derive(Debug, clap::Args)]
#[command(after_help = "A PvD is named by its id, its index, or the beginning of an id that no other has:
  isp.example%eth0   named by its network (RFC 8801), on eth0
  eth0/fe80::1       what the router fe80::1 on eth0 says
  eth0               what is configured on eth0 otherwise

JSON: an array of objects, for one PvD the object alone: index, id, interface, ifindex, kind (explicit,
implicit, interface, ipv4, the words that --pvd kind=... takes), up, valid_seconds (null: for ever), facts. facts holds what was said and by
whom ({\"router\": ADDRESS}, {\"dhcpv6\": ADDRESS} of the server, or \"kernel\"): routers, prefixes, sources, routes, leases,
dns_servers, search_list, pref64, encrypted_dns, rdnss_selection, ntp_servers, dhcpv6_portal,
address_selection, with deadlines in boot-time nanoseconds (18446744073709551615: for ever); it is null
where the state file is missing.

Examples:
  mif pvd
  mif pvd eth0/fe80::1
  mif pvd --json | jq '.[].id'")]
pub struct Args {
    /// This one, in full
    #[arg(value_name = "ID")]
    id: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// A PvD of the PVD map, with what the state file knows of it.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Its place in the map.
    pub index: PvdIndex,
    /// Its id.
    pub id: String,
    interface: Option<String>,
    ifindex: u32,
    kind: &'static str,
    up: Option<bool>,
    valid_seconds: Option<u64>,
    facts: Option<PvdSnapshot>,
    #[serde(skip)]
    valid: String,
}

/// Lists or describes.
///
/// # Errors
/// When there is no installation, or no such PvD.
pub fn run(global: &Global, args: &Args) -> Result<ExitCode> {
    let reader = Reader::open(global)?;
    let mut rows = rows(&reader.names, &reader.maps.load()?.pvds, reader.now);
    match &args.id {
        None => output::show(&List(rows), args.json)?,
        Some(wanted) => {
            let known: Vec<_> = rows.iter().map(|row| (row.index, row.id.clone())).collect();
            let index = find(&known, wanted)?;
            rows.retain(|row| row.index == index);
            for row in rows {
                output::show(&details::Details { row, now: reader.now }, args.json)?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// All PvDs that the map or the state file has, by index. The file may name some that the map does not hold, those of
/// links that are down.
#[must_use]
pub fn rows(names: &Names, map: &BTreeMap<PvdIndex, abi::Pvd>, now: Time) -> Vec<Row> {
    let snapshots = names.state().map(|state| state.pvds.as_slice()).unwrap_or_default();
    let mut rows: BTreeMap<PvdIndex, Row> =
        map.iter().map(|(&index, pvd)| (index, from_map(names, index, pvd, now))).collect();
    for snapshot in snapshots {
        rows.entry(snapshot.index).or_insert_with(|| from_snapshot(names, snapshot, now)).describe(snapshot);
    }
    rows.into_values().collect()
}

fn from_map(names: &Names, index: PvdIndex, pvd: &abi::Pvd, now: Time) -> Row {
    let valid = deadline(pvd.valid_until);
    Row {
        index,
        id: names.pvd(index).unwrap_or_default(),
        interface: names.link(pvd.ifindex),
        ifindex: pvd.ifindex,
        kind: kind(pvd.flags & pvd_flags::EXPLICIT != 0, pvd.flags & pvd_flags::ADMINISTRATOR != 0),
        up: None,
        valid_seconds: remaining_seconds(valid, now),
        facts: None,
        valid: remaining(valid, now),
    }
}

fn from_snapshot(names: &Names, snapshot: &PvdSnapshot, now: Time) -> Row {
    Row {
        index: snapshot.index,
        id: snapshot.id.clone(),
        interface: names.link(snapshot.ifindex),
        ifindex: snapshot.ifindex,
        kind: Kind::of(&snapshot.key).name(),
        up: None,
        valid_seconds: remaining_seconds(snapshot.valid_until, now),
        facts: None,
        valid: remaining(snapshot.valid_until, now),
    }
}

/// What the map knows of the kind; the state file knows better, IPv4 above all.
const fn kind(explicit: bool, administrator: bool) -> &'static str {
    match (explicit, administrator) {
        (true, _) => Kind::Explicit.name(),
        (false, true) => Kind::Interface.name(),
        (false, false) => Kind::Implicit.name(),
    }
}

impl Row {
    fn describe(&mut self, snapshot: &PvdSnapshot) {
        self.kind = Kind::of(&snapshot.key).name();
        self.up = Some(snapshot.up);
        self.facts = Some(snapshot.clone());
    }

    /// How long it holds, for people.
    fn validity(&self) -> Cell {
        if self.up == Some(false) {
            return Cell::styled("link down", WARNING);
        }
        if self.valid == "expired" { Cell::styled("expired", WARNING) } else { self.valid.as_str().into() }
    }
}

/// PvDs as a table.
#[must_use]
pub fn table(rows: &[Row]) -> Table {
    let mut table = Table::new(["INDEX", "PVD", "KIND", "INTERFACE", "ADDRESSES", "ROUTES", "VALID"]);
    for row in rows {
        let amount = |amount: fn(&PvdSnapshot) -> usize| match &row.facts {
            Some(facts) => amount(facts).to_string().into(),
            None => Cell::styled(NOTHING, FAINT),
        };
        table.row([
            row.index.into(),
            row.id.as_str().into(),
            row.kind.into(),
            row.interface.as_deref().unwrap_or(NOTHING).into(),
            amount(|facts| facts.sources.len()),
            amount(|facts| facts.routes.len()),
            row.validity(),
        ]);
    }
    table
}

#[derive(Serialize)]
#[serde(transparent)]
struct List(Vec<Row>);

impl fmt::Display for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return writeln!(
                f,
                "{}. No interface has an address yet, or the daemon has just come up.",
                counted(0, "PvD")
            );
        }
        write!(f, "{}", table(&self.0))
    }
}
