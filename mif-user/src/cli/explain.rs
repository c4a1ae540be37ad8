//! `mif explain`: what a connection to a destination would use, and why. The decision functions of the hooks run here
//! on the hooks' own maps.

use std::{
    net::{IpAddr, Ipv6Addr},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result, bail};
use ipnet::Ipv6Net;
use mif_common::{
    Addr,
    abi::{self, config_flags},
    decide::{self, Rule, Socket},
};
use mif_core::{
    family::{Family, mapped},
    select::host::HostTables,
};

use super::{
    Global,
    cgroups::{self, Ancestry},
    output,
    reader::Reader,
};
use crate::{
    clock,
    kernel::maps::{Maps, MapsError},
};

mod report;

pub use report::Report;

/// Say what a connection to a destination would use, and why
#[derive(Debug, clap::Args)]
#[command(after_help = "Runs the decision of the kernel hooks on their own tables; nothing is sent.

Without --cgroup the answer is for a program started from here.

JSON keys: destination, cgroup, rule{view, mode, cgroup, groups, otherwise, foreign_rules}, bound{source,
interface, ifindex}, decision{verdict, pvd, pvd_index, source, interface, ifindex, next_hop, on_link,
administrator, local, valid_seconds}, source_owner{pvd, pvd_index, interface, ifindex, next_hop,
on_link_bits, valid_seconds}, connect and sendmsg{verdict, reason, text, pvd, pvd_index, source,
interface, ifindex}, path{interface, ifindex, next_hop}. valid_seconds is null for ever.

Examples:
  mif explain 2001:db8::1
  mif explain --cgroup system.slice/backup.service 2001:db8::1
  mif explain --source 2001:db8:a::10 2001:db8::1    as `curl --interface 2001:db8:a::10` would
  mif explain --interface eth1 2001:db8::1           as `ping -I eth1` would")]
pub struct Args {
    /// Where to: an IPv6 address
    #[arg(value_name = "DEST", value_parser = destination)]
    destination: IpAddr,
    /// For a process in this cgroup
    #[arg(long, value_name = "CGROUP")]
    cgroup: Option<PathBuf>,
    /// For a socket that is bound to this address
    #[arg(long, value_name = "ADDR")]
    source: Option<IpAddr>,
    /// For a socket that is bound to this interface
    #[arg(long, value_name = "IF")]
    interface: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// A destination; the zone of a link-local one does not matter here, such destinations are left alone.
fn destination(text: &str) -> Result<IpAddr, String> {
    let address = text.split_once('%').map_or(text, |(address, _)| address);
    address.parse().map_err(|_| "expected an address, such as 2001:db8::1 or 192.0.2.1".into())
}

/// What is asked.
struct Question<'a> {
    destination: Ipv6Addr,
    cgroup: Option<&'a Path>,
    source: Option<Ipv6Addr>,
    ifindex: u32,
}

/// Explains.
///
/// # Errors
/// When there is no installation, or cgroup or interface do not exist.
pub fn run(global: &Global, args: &Args) -> Result<ExitCode> {
    let destination = mapped(args.destination);
    if let Some(source) = args.source
        && Family::of(mapped(source)) != Family::of(destination)
    {
        bail!("{source} and {} are of two families: no packet has both", args.destination);
    }
    let reader = Reader::open(global)?;
    let cgroup = match &args.cgroup {
        Some(named) => Some(cgroups::resolve(named)?),
        None => cgroups::own(),
    };
    let ifindex = args.interface.as_deref().map(ifindex).transpose()?.unwrap_or(0);
    let question =
        Question { destination, cgroup: cgroup.as_deref(), source: args.source.map(mapped), ifindex };
    output::show(&explain(&reader, &question)?, args.json)?;
    Ok(ExitCode::SUCCESS)
}

fn ifindex(name: &str) -> Result<u32> {
    nix::net::if_::if_nametoindex(name)
        .with_context(|| format!("there is no interface {name:?} here; `ip link` lists those that exist"))
}

fn explain(reader: &Reader, question: &Question<'_>) -> Result<Report> {
    let Reader { maps, names, now, .. } = reader;
    let config = maps.config()?;
    if config.netns_cookie == 0 {
        bail!(
            "the maps are not filled yet: no daemon has come up since they were installed; start it: mif daemon"
        );
    }
    if clock::netns_cookie().is_ok_and(|cookie| cookie != config.netns_cookie) {
        output::note("this is another network namespace than the daemon's: sockets made here are left alone");
    }
    let ancestry = match question.cgroup {
        Some(cgroup) => {
            Ancestry::of(cgroup).with_context(|| format!("cannot look at {}", cgroup.display()))?
        }
        None => Ancestry::default(),
    };
    let mut tables = HostTables { now: now.0, ..HostTables::default() };
    for &id in ancestry.ids() {
        if let Some(policy) = maps.policy(id)? {
            tables.policies.insert(id, policy);
        }
    }
    let rule = Rule::of(&tables, &config, &question.destination.into(), &ancestry);
    fetch(maps, &mut tables, rule.view, question)?;
    let foreign = match Family::of(question.destination) {
        Family::Ipv4 => config_flags::FOREIGN_RULES_IPV4,
        Family::Ipv6 => config_flags::FOREIGN_RULES_IPV6,
    };
    let socket = Socket {
        destination: question.destination.into(),
        source: question.source.map_or(Addr::UNSPECIFIED, Addr::from),
        ifindex: question.ifindex,
        // bind(2) to an address takes a port as well.
        has_port: question.source.is_some(),
        ours: abi::SocketState::default(),
    };
    Ok(report::build(
        names,
        &tables,
        &report::Asked {
            destination: question.destination,
            cgroup: question.cgroup,
            source: question.source,
            ifindex: question.ifindex,
            rule,
            foreign_rules: rule.cgroup == 0 && config.flags & foreign != 0,
        },
        &decide::connect(&tables, &rule, &socket),
        &decide::sendmsg(&tables, &rule, &socket),
    ))
}

/// Fetches from the maps the rows that the decision will look at, so that it runs on owned values.
fn fetch(maps: &Maps, tables: &mut HostTables, view: u32, question: &Question<'_>) -> Result<(), MapsError> {
    if let Some(decision) = maps.decision(view, question.destination)? {
        // Under the destination itself: the answer of the longest match, whatever its prefix.
        tables.tables.decisions.insert((view, Ipv6Net::from(question.destination)), decision);
        fetch_source(maps, tables, view, decision.source.into())?;
    }
    if let Some(source) = question.source {
        fetch_source(maps, tables, view, source)?;
    }
    let interface = abi::Member::interface(view, question.ifindex);
    if maps.permits(view, interface.pvd)? {
        tables.tables.members.insert((view, interface.pvd), 0);
    }
    Ok(())
}

fn fetch_source(maps: &Maps, tables: &mut HostTables, view: u32, address: Ipv6Addr) -> Result<(), MapsError> {
    if let Some(source) = maps.source(address)? {
        tables.tables.sources.insert(address, source);
        if maps.permits(view, source.pvd)? {
            tables.tables.members.insert((view, source.pvd), 0);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations() {
        for (text, expected) in [
            ("2001:db8::1", Some("2001:db8::1")),
            ("fe80::1%eth0", Some("fe80::1")),
            ("192.0.2.1", Some("192.0.2.1")),
            ("example.org", None),
            ("", None),
        ] {
            assert_eq!(
                destination(text).ok().map(|address| address.to_string()).as_deref(),
                expected,
                "{text}"
            );
        }
    }
}
