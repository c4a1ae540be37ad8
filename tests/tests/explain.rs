//! What `mif explain` says is what the kernel then does: on hosts with random addresses, routes and metrics, for random
//! destinations, with and without policies, of one PvD and of ordered groups, on sockets that are bound to nothing, to a source, to an interface.
//!
//! The seed of each host is in the message of a failure; `MIF_TEST_SEEDS=40..50` tries others.

use std::{collections::BTreeMap, env, net::IpAddr, ops::Range};

use anyhow::{Context as _, Result, bail, ensure};
use mif_common::Reason;
use mif_core::pvd::{PvdSnapshot, selector::Kind};
use mif_tests::{
    application::Place,
    cgroup::Cgroup,
    deadline::{PATIENCE, bounded},
    mif::{Daemon, Site},
    netns::is_link_scope,
    packet::Headers,
    probe::{Probe, Probed},
    random::{Random, RandomHost},
};
use mif_user::{
    mode::{Mode, Otherwise},
    net::lookup::lookup,
    state::State,
};
use nix::libc;
use serde::Deserialize;

/// Hosts that are tried.
const SEEDS: Range<u64> = 0..12;
/// Policies with ordered groups on each host.
const ORDERED: usize = 4;
/// Destinations for each host and kind of socket.
const DESTINATIONS: usize = 48;

/// What is read of `mif explain --json`.
#[derive(Debug, Deserialize)]
struct Explained {
    destination: IpAddr,
    bind: Option<Outcome>,
    connect: Outcome,
    sendmsg: Outcome,
    path: Option<Path>,
    kernel_error: Option<String>,
    choice: Option<Choice>,
    decision: Option<Decision>,
    source_owner: Option<Owner>,
}

#[derive(Debug, Deserialize)]
struct Owner {
    next_hop: Option<IpAddr>,
}

#[derive(Debug, Deserialize)]
struct Decision {
    verdict: String,
    pvd: Option<String>,
    on_link: bool,
}

#[derive(Debug, Deserialize)]
struct Choice {
    group: Option<usize>,
    groups: usize,
}

#[derive(Debug, Deserialize)]
struct Outcome {
    verdict: String,
    reason: String,
    source: Option<IpAddr>,
    ifindex: u32,
}

#[derive(Debug, Deserialize)]
struct Path {
    source: Option<IpAddr>,
    interface: Option<String>,
    ifindex: u32,
    next_hop: Option<IpAddr>,
    egress: Outcome,
}

/// A kind of socket.
#[derive(Debug)]
struct SocketKind<'a> {
    what: String,
    cgroup: &'a Cgroup,
    source: Option<IpAddr>,
    device: Option<(String, u32)>,
    /// What the policy of its cgroup picks, where it has one.
    policy: Option<Picked>,
}

/// A policy with what its groups pick.
#[derive(Clone, Debug)]
struct Picked {
    /// The ids of the PvDs of each group; all of them in a last one where `otherwise` says so.
    groups: Vec<Vec<String>>,
    any_last: bool,
}

/// How often each thing was seen, so that the test cannot pass by trying nothing.
type Tally = BTreeMap<String, usize>;

#[test]
fn what_it_says_is_what_the_kernel_does() {
    bounded(45 * PATIENCE, || {
        let mut tally = Tally::new();
        for seed in seeds()? {
            one_host(seed, &mut tally).with_context(|| format!("MIF_TEST_SEEDS={seed}..{}", seed + 1))?;
        }
        println!("{tally:#?}");
        for seen in [
            "applied",
            "administrator",
            "no-decision",
            "followed-source",
            "unreachable",
            "vetoed",
            "observed",
            "arrived",
            "by the first group",
            "by a later group",
            "by otherwise",
            "by no group",
        ] {
            ensure!(tally.contains_key(seen), "no {seen} among {tally:?}");
        }
        Ok(())
    });
}

fn seeds() -> Result<Range<u64>> {
    let Some(named) = env::var_os("MIF_TEST_SEEDS") else { return Ok(SEEDS) };
    let named = named.to_str().and_then(|named| named.split_once("..")).context("MIF_TEST_SEEDS=FROM..TO")?;
    Ok(named.0.parse()?..named.1.parse()?)
}

fn one_host(seed: u64, tally: &mut Tally) -> Result<()> {
    let mut random = Random::new(seed);
    let world = RandomHost::new(&mut random)?;
    let root = Cgroup::new("host")?;
    let (strict, prefer) = (root.child("strict")?, root.child("prefer")?);
    let site = Site::new(&world.host, &root)?;
    let daemon = site.daemon::<&str>([])?;
    let state = site.until_state("it", |state| Some(state.clone()))?;
    let ids: Vec<String> = state.pvds.iter().map(|pvd| pvd.id.clone()).collect();
    let ordered: Vec<Cgroup> =
        (0..ORDERED).map(|place| root.child(&format!("ordered-{place}"))).collect::<Result<_>>()?;
    let mut kinds = Vec::new();
    let kind = |what: String, cgroup| SocketKind { what, cgroup, source: None, device: None, policy: None };
    kinds.push(kind("free".into(), &root));
    if !ids.is_empty() {
        for (cgroup, mode) in [(&strict, Mode::Strict), (&prefer, Mode::Prefer)] {
            let id = random.pick(&ids);
            daemon.attach(cgroup, id, mode)?;
            kinds.push(kind(format!("{mode} {id}"), cgroup));
        }
    }
    for cgroup in &ordered {
        let (what, policy) = attach_ordered(&daemon, cgroup, &state, &mut random)?;
        kinds.push(SocketKind { policy: Some(policy), ..kind(what, cgroup) });
    }
    if !world.addresses.is_empty() {
        for cgroup in [&root, &strict, &ordered[0]] {
            let source = *random.pick(&world.addresses);
            let what = format!("bound to {source}");
            kinds.push(SocketKind { source: Some(source), ..kind(what, cgroup) });
        }
    }
    let device = random.pick(&world.interfaces).clone();
    let link = state.links.iter().find(|link| link.name == device).context("the interface in the state")?;
    kinds.push(SocketKind {
        device: Some((device.clone(), link.ifindex)),
        ..kind(format!("bound to {device}"), &root)
    });
    let mut port = 10_000;
    for kind in &kinds {
        let destinations = world.destinations(&mut random, DESTINATIONS);
        let compared = compare(&site, &world, kind, destinations, port, tally);
        compared.with_context(|| {
            let routes = |family| world.host.ip_show(&[family, "route"]).unwrap_or_default();
            format!(
                "{}, in {}\n{}{}{}{}",
                kind.what,
                kind.cgroup.path().display(),
                world.lines,
                routes("-6"),
                routes("-4"),
                site.says(["status"]).unwrap_or_default()
            )
        })?;
        port += 4 * u16::try_from(DESTINATIONS)?;
    }
    daemon.stop()
}

/// Gives a cgroup a policy of random groups, and returns its words and what its groups pick. Some pick nothing.
fn attach_ordered(
    daemon: &Daemon<'_>,
    cgroup: &Cgroup,
    state: &State,
    random: &mut Random,
) -> Result<(String, Picked)> {
    let ids = state.pvds.iter().map(|pvd| format!("id={}", pvd.id));
    let links = state.links.iter().map(|link| format!("interface={}", link.name));
    let kinds = Kind::ALL.into_iter().map(|kind| format!("kind={kind}"));
    let mut selectors: Vec<String> = ids
        .chain(links)
        .chain(kinds)
        .chain(["interface=absent".into(), "name=absent.example".into()])
        .collect();
    let groups: Vec<Vec<String>> = (0..1 + random.below(3))
        .map(|_| {
            let size = 1 + random.below(2);
            (0..size).map(|_| selectors.swap_remove(random.below(selectors.len()))).collect()
        })
        .collect();
    let mode = *random.pick(&[Mode::Strict, Mode::Prefer, Mode::Prefer, Mode::Observe]);
    let otherwise = match mode {
        Mode::Strict => None,
        _ => *random.pick(&[None, Some(Otherwise::Kernel), Some(Otherwise::Default)]),
    };
    let words: Vec<Vec<&str>> =
        groups.iter().map(|group| group.iter().map(String::as_str).collect()).collect();
    let words: Vec<&[&str]> = words.iter().map(Vec::as_slice).collect();
    daemon.attach_groups(cgroup, &words, mode, otherwise)?;
    let any_last = otherwise == Some(Otherwise::Default);
    let picks = |selector: &String, pvd: &PvdSnapshot| match selector.split_once('=') {
        Some(("id", id)) => pvd.id == id,
        Some(("interface", name)) => pvd.link == name,
        Some(("kind", name)) => Kind::of(&pvd.key).name() == name,
        _ => false,
    };
    let picked = |group: &Vec<String>| {
        let pvds = state.pvds.iter().filter(|pvd| group.iter().any(|selector| picks(selector, pvd)));
        pvds.map(|pvd| pvd.id.clone()).collect()
    };
    let all = any_last.then(|| state.pvds.iter().map(|pvd| pvd.id.clone()).collect());
    let picked = groups.iter().map(picked).chain(all).collect();
    Ok((format!("{mode} {groups:?} otherwise {otherwise:?}"), Picked { groups: picked, any_last }))
}

/// That the answer comes from the first group that has a PvD for it, as far as its words go: the PvD is one of that group, and
/// of none before.
fn check_group(said: &Explained, policy: &Picked, tally: &mut Tally) -> Result<()> {
    let Some(choice) = &said.choice else { return Ok(()) };
    ensure!(choice.groups == policy.groups.len(), "{} groups", policy.groups.len());
    let Some(place) = choice.group else {
        *tally.entry("by no group".into()).or_default() += 1;
        return Ok(());
    };
    // What the administrator's routes refuse has no PvD, or that of no interface, which is in every group.
    if let Some(pvd) =
        said.decision.as_ref().filter(|decision| decision.verdict == "use").and_then(|d| d.pvd.as_ref())
    {
        let first = policy.groups.iter().position(|group| group.contains(pvd));
        ensure!(first == Some(place - 1), "{pvd} is in group {first:?}, counted from 0");
    }
    let seen = match place {
        1 => "by the first group",
        last if policy.any_last && last == policy.groups.len() => "by otherwise",
        _ => "by a later group",
    };
    *tally.entry(seen.into()).or_default() += 1;
    Ok(())
}

/// Asks about the destinations, tries them, and compares.
fn compare(
    site: &Site,
    world: &RandomHost,
    kind: &SocketKind<'_>,
    mut destinations: Vec<IpAddr>,
    port: u16,
    tally: &mut Tally,
) -> Result<()> {
    destinations.retain(|to| kind.source.is_none_or(|source| source.is_ipv4() == to.is_ipv4()));
    destinations.sort_unstable();
    destinations.dedup();
    if destinations.len() < 2 {
        return Ok(());
    }
    let explained = explain(site, kind, &destinations)?;
    // IPv4 on sockets of both families.
    let mapped = destinations.iter().filter_map(|to| match to {
        IpAddr::V4(to) => Some(IpAddr::from(to.to_ipv6_mapped())),
        IpAddr::V6(_) => None,
    });
    let probe = Probe {
        destinations: destinations.iter().copied().chain(mapped).collect(),
        bind: kind.source,
        device: kind.device.as_ref().map(|(device, _)| device.clone()),
        port,
    };
    let probed = Place::new(&world.host).within(kind.cgroup).probe(&probe)?;
    ensure!(probed.len() == probe.destinations.len());
    for probed in &probed {
        let said = explained.get(&probed.destination.to_canonical()).context("it was asked about")?;
        let bound = kind.device.as_ref().map_or(0, |(_, ifindex)| *ifindex);
        let checked = check_sockets(said, probed, bound)
            .and_then(|()| check_packets(world, said, probed, bound, tally));
        let checked =
            checked.and_then(|()| kind.policy.as_ref().map_or(Ok(()), |of| check_group(said, of, tally)));
        checked.with_context(|| format!("{probed:?}\n{said:#?}"))?;
        *tally.entry(said.connect.reason.clone()).or_default() += 1;
        // The candidates are told wherever the tables have an answer of theirs.
        let ours = said.connect.reason != Reason::NotOurs.name();
        if ours && said.decision.as_ref().is_some_and(|decision| decision.verdict == "use") {
            ensure!(said.choice.is_some(), "no candidates: {said:#?}");
        }
    }
    Ok(())
}

fn explain(
    site: &Site,
    kind: &SocketKind<'_>,
    destinations: &[IpAddr],
) -> Result<BTreeMap<IpAddr, Explained>> {
    let mut args = vec!["explain".to_owned(), "--json".into(), "--cgroup".into()];
    args.push(kind.cgroup.path().display().to_string());
    args.extend(kind.source.iter().flat_map(|source| ["--source".into(), source.to_string()]));
    args.extend(kind.device.iter().flat_map(|(device, _)| ["--interface".into(), device.clone()]));
    args.extend(destinations.iter().map(ToString::to_string));
    let explained: Vec<Explained> = serde_json::from_str(&site.says(args)?)?;
    ensure!(explained.len() == destinations.len(), "{} answers", explained.len());
    Ok(explained.into_iter().map(|explained| (explained.destination, explained)).collect())
}

/// What the sockets are bound to, or why the calls failed.
fn check_sockets(said: &Explained, probed: &Probed, bound: u32) -> Result<()> {
    let unbindable = said.bind.as_ref().is_some_and(|bind| bind.verdict == "refuse");
    let refused = unbindable || said.connect.verdict == "refuse";
    match probed.connected {
        Err(libc::EADDRNOTAVAIL) if unbindable => {}
        Err(libc::ENETUNREACH) if refused => {}
        Err(errno) => ensure!(
            !refused && said.kernel_error.is_some(),
            "connect failed ({}), which was not said",
            nix::errno::Errno::from_raw(errno)
        ),
        Ok(_) if refused => bail!("connect was to be refused"),
        Ok(found) => {
            ensure!(said.kernel_error.is_none(), "connect was to fail");
            let path = said.path.as_ref().context("nothing was said of a way")?;
            // A host without addresses of a family sends without one.
            let source = Some(found.source).filter(|source| !source.is_unspecified());
            ensure!(path.source == source, "another source than was said");
            let ifindex = match said.connect.ifindex {
                0 => bound,
                set => set,
            };
            ensure!(found.ifindex == ifindex, "bound to interface {}, {ifindex} was said", found.ifindex);
        }
    }
    if unbindable || said.sendmsg.verdict == "refuse" {
        ensure!(probed.unconnected.is_err(), "sendto was to be refused");
    }
    Ok(())
}

/// Where the packets came out. Only routers are neighbours that the host knows; what it takes for neighbours waits for
/// them in vain.
fn check_packets(
    world: &RandomHost,
    said: &Explained,
    probed: &Probed,
    bound: u32,
    tally: &mut Tally,
) -> Result<()> {
    let Some(path) = &said.path else { return Ok(()) };
    let dropped = path.egress.verdict == "refuse";
    let interface = path.interface.as_deref().context("no interface")?;
    let unconnected_source = said.sendmsg.source.or(path.source);
    // A packet goes by the kernel's route first, which sends it on only if it knows the neighbour there; then tc egress has its
    // say, and where it sends the packet elsewhere the tables must name a router. The route of a connected socket is one of the
    // interface that it is bound to. Taps do not record packets without a source or with a link-local one.
    let router = match &said.source_owner {
        Some(owner) => owner.next_hop.is_some(),
        None => said.decision.as_ref().is_none_or(|decision| !decision.on_link),
    };
    let sent = |source: Option<IpAddr>, ifindex| {
        let to = probed.destination.to_canonical();
        let known = world
            .host
            .run(|| lookup(to, source, ifindex))
            .is_ok_and(|route| route.next_hop.is_some() && (route.ifindex == path.ifindex || router));
        known && source.is_some_and(|source| !is_link_scope(source))
    };
    let connected = probed.connected.is_ok_and(|found| sent(path.source, found.ifindex));
    let unconnected = probed.unconnected.is_ok() && sent(unconnected_source, bound);
    for (port, sent, source) in
        [(probed.port, connected, path.source), (probed.port + 1, unconnected, unconnected_source)]
    {
        let is_probe = |seen: &Headers| {
            seen.destination == probed.destination.to_canonical()
                && seen.ports.is_some_and(|(_, to)| to == port)
        };
        if sent && !dropped && path.next_hop.is_some() {
            let tap = world.interfaces.iter().zip(&world.taps).find(|(name, _)| *name == interface);
            let (_, tap) = tap.context("an interface of the host")?;
            let seen = tap.wait_for(&format!("the packet to port {port}"), is_probe)?;
            ensure!(Some(seen.headers.source) == source, "the packet is from {}", seen.headers.source);
            *tally.entry("arrived".into()).or_default() += 1;
        }
        for (name, tap) in world.interfaces.iter().zip(&world.taps) {
            let came = tap.seen()?.iter().any(|seen| is_probe(&seen.headers));
            ensure!(!came || (!dropped && name == interface), "a packet to port {port} came out at {name}");
        }
    }
    Ok(())
}
