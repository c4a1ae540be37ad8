//! `mif explain`: what a connection to a destination would use, and why. The decision functions of the hooks run here
//! on the hooks' own maps; what the hooks leave to the kernel, the kernel is asked.
//!
//! * `targets`: from what was asked for to addresses.
//! * `candidates`: what competed for a destination, and by what it was decided.
//! * `way`: where packets go, by the tables or by the kernel's own routes.
//! * `order`: in which order the addresses of a name are tried.
//! * `report`: all of it, as text and as JSON.

use std::{
    net::{IpAddr, Ipv6Addr},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result, bail};
use ipnet::Ipv6Net;
use mif_common::{
    Addr,
    abi::{self, Config, config_flags},
    decide::{self, Rule, Socket},
};
use mif_core::{
    family::{self, Family, mapped},
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
    kernel::{
        maps::{Maps, MapsError},
        pins,
    },
};

mod candidates;
mod order;
mod report;
mod targets;
mod way;

pub use report::{Answer, Report};
use targets::Target;
use way::Way;

/// Say what a connection to a destination would use, and why
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Runs the decision of the kernel hooks on their own tables, and asks the kernel where they leave a socket
alone; nothing is sent. Names are resolved as programs do it (getaddrinfo). Several addresses are
shown in the order in which to try them (RFC 6724 section 6).

Without --cgroup the answer is for a program started from here.

JSON: for one address an object, for a name and for several addresses a list of them, in order.
Keys: name, destination, cgroup, unseen (null, or why the hooks do not see the process), rule{view, mode, cgroup, groups, otherwise, foreign_rules}, bound{source,
interface, ifindex}, decision{verdict, pvd, pvd_index, source, interface, ifindex, next_hop, on_link,
administrator, local, valid_seconds}, choice{group, groups, decided_by{criterion, text},
policy_table (default, administrator, network or host: whose labels count), candidates[{pvd, pvd_index, source, interface, ifindex, route, next_hop, metric, lost_by}]},
source_owner{pvd, pvd_index, interface, ifindex, next_hop, on_link_bits, valid_seconds}, bind,
connect and sendmsg{verdict, reason, text, pvd, pvd_index, source, interface, ifindex}, path{by,
source, interface, ifindex, next_hop, egress}, kernel_error, before_next{rule, text}. #7 stands for the PvD of
index 7 where the state file does not know its name. valid_seconds is null for ever; choice is null where the state file does not go with the tables; before_next says why this
address stands before the next one.

Examples:
  mif explain 2001:db8::1
  mif explain example.org                            all its addresses, the first to try first
  mif explain --cgroup system.slice/backup.service 2001:db8::1
  mif explain --source 2001:db8:a::10 2001:db8::1    as `curl --interface 2001:db8:a::10` would
  mif explain --interface eth1 2001:db8::1           as `ping -I eth1` would"
)]
pub struct Args {
    /// Where to: addresses and host names
    #[arg(value_name = "NAME", required = true)]
    destinations: Vec<String>,
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
/// When there is no installation, a name cannot be resolved, or cgroup or interface do not exist.
pub fn run(global: &Global, args: &Args) -> Result<ExitCode> {
    let source = args.source.map(mapped);
    let mut targets = targets::of_addresses(&args.destinations, source)?;
    let reader = Reader::open(global)?;
    targets::resolve(&mut targets, source)?;
    let cgroup = match &args.cgroup {
        Some(named) => Some(cgroups::resolve(named)?),
        None => cgroups::own(),
    };
    let ifindex = args.interface.as_deref().map(ifindex).transpose()?.unwrap_or(0);
    let answer = answer(&reader, &targets, cgroup.as_deref(), source, ifindex, &global.bpffs())?;
    output::show(&answer, args.json)?;
    Ok(ExitCode::SUCCESS)
}

fn ifindex(name: &str) -> Result<u32> {
    nix::net::if_::if_nametoindex(name)
        .with_context(|| format!("there is no interface {name:?} here; `ip link` lists those that exist"))
}

fn answer(
    reader: &Reader,
    targets: &[Target],
    cgroup: Option<&Path>,
    source: Option<Ipv6Addr>,
    ifindex: u32,
    bpffs: &Path,
) -> Result<Answer> {
    let config = reader.maps.config()?;
    if config.netns_cookie == 0 {
        bail!(
            "the maps are not filled yet: no daemon has come up since they were installed; start it: mif daemon"
        );
    }
    // Where the cookie cannot be read, this is most likely the daemon's namespace.
    let at_home = clock::netns_cookie().map_or(true, |cookie| cookie == config.netns_cookie);
    if !at_home {
        output::note("this is another network namespace than the daemon's: sockets made here are left alone");
    }
    for target in targets.iter().filter(|target| target.has_zone) {
        let addresses: Vec<_> =
            target.addresses.iter().map(|address| family::shown(*address).to_string()).collect();
        output::note(&format!(
            "the interface behind the % of {} is not looked at: name it with --interface",
            addresses.join(", ")
        ));
    }
    let ancestry = match cgroup {
        Some(cgroup) => {
            Ancestry::of(cgroup).with_context(|| format!("cannot look at {}", cgroup.display()))?
        }
        None => Ancestry::default(),
    };
    let unseen = unseen(at_home, &ancestry, &pins::pinned_cgroup_links(bpffs));
    let addresses = targets.iter().flat_map(|target| {
        target.addresses.iter().map(move |destination| (target.name.as_deref(), *destination))
    });
    let mut explained = Vec::new();
    for (name, destination) in addresses {
        let question = Question { destination, cgroup, source, ifindex };
        explained.push(explain(reader, &config, &ancestry, &question, name, (at_home, unseen))?);
    }
    let single = matches!(targets, [target] if target.name.is_none());
    Ok(if single { Answer::One(explained) } else { Answer::Several(order::sorted(reader, explained)) })
}

/// Why the hooks do not see the process that is asked about: they leave other network namespaces alone, and run only for
/// what is below the cgroup that they are attached to.
fn unseen(at_home: bool, ancestry: &Ancestry, hooks: &[(&'static str, u64)]) -> Option<&'static str> {
    let inside = hooks.iter().any(|(_, cgroup)| ancestry.ids().contains(cgroup));
    if !at_home {
        Some("they leave this network namespace alone: what follows holds in the daemon's")
    } else if !inside && !hooks.is_empty() && !ancestry.ids().is_empty() {
        Some(
            "they do not see this cgroup, it is not below the one that they are attached to: what follows holds there",
        )
    } else {
        None
    }
}

fn explain(
    reader: &Reader,
    config: &Config,
    ancestry: &Ancestry,
    question: &Question<'_>,
    name: Option<&str>,
    (at_home, unseen): (bool, Option<&'static str>),
) -> Result<Report> {
    let Reader { maps, names, now, .. } = reader;
    let mut tables = HostTables { now: now.0, ..HostTables::default() };
    for &id in ancestry.ids() {
        if let Some(policy) = maps.policy(id)? {
            tables.policies.insert(id, policy);
        }
    }
    let rule = Rule::of(&tables, config, &question.destination.into(), ancestry);
    fetch(maps, &mut tables, rule.view, question)?;
    let foreign = match Family::of(question.destination) {
        Family::Ipv4 => config_flags::FOREIGN_RULES_IPV4,
        Family::Ipv6 => config_flags::FOREIGN_RULES_IPV6,
    };
    let socket = Socket {
        destination: question.destination.into(),
        source: question.source.map_or(Addr::UNSPECIFIED, Addr::from),
        ifindex: question.ifindex,
        unicast_if: 0,
        // bind(2) to an address takes a port as well.
        has_port: question.source.is_some(),
        ours: abi::SocketState::default(),
    };
    let outcomes = report::Outcomes {
        bind: question.source.map(|source| decide::bind(&tables, &rule, &source.into())),
        connect: decide::connect(&tables, &rule, &socket),
        sendmsg: decide::sendmsg(&tables, &rule, &socket),
    };
    let way = if outcomes.is_refused() {
        Way::default()
    } else {
        way::of(config, maps, &mut tables, &rule, &socket, &outcomes.connect, at_home)?
    };
    Ok(report::build(
        names,
        &tables,
        &report::Asked {
            name,
            destination: question.destination,
            cgroup: question.cgroup,
            unseen,
            source: question.source,
            ifindex: question.ifindex,
            rule,
            foreign_rules: rule.cgroup == 0 && config.flags & foreign != 0,
        },
        &outcomes,
        &way,
        candidates::of(reader, &tables, &rule, question.destination)?,
    ))
}

/// Fetches from the maps the rows that the decision will look at, so that it runs on owned values.
fn fetch(maps: &Maps, tables: &mut HostTables, view: u32, question: &Question<'_>) -> Result<(), MapsError> {
    // The hooks do not ask for destinations that are exempt, which shorter prefixes of the tables cover too.
    let asked = decide::exempt(&question.destination.into()).is_none();
    if asked && let Some(decision) = maps.decision(view, question.destination)? {
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
    fn whom_the_hooks_see() {
        let ancestry = Ancestry::from_ids([1, 5, 9]);
        for (at_home, hooks, expected) in [
            (true, vec![("connect6", 5)], None),
            (true, vec![("connect6", 7)], Some("they do not see this cgroup")),
            (true, vec![], None),
            (false, vec![("connect6", 5)], Some("they leave this network namespace alone")),
        ] {
            let said = unseen(at_home, &ancestry, &hooks);
            assert_eq!(said.is_some(), expected.is_some(), "{said:?}");
            assert!(said.zip(expected).is_none_or(|(said, start)| said.starts_with(start)), "{said:?}");
        }
        assert_eq!(unseen(true, &Ancestry::default(), &[("connect6", 5)]), None, "nobody knows the cgroup");
    }
}
