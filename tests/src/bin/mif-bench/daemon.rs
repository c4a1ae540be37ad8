//! A real `mif daemon` that heard a thousand routers: its memory, what it does while nothing happens, and how fast it follows.

use std::{collections::BTreeMap, fs};

use anyhow::{Context as _, Result};
use mif_tests::{
    cgroup::Cgroup,
    host::Host,
    mif::Site,
    netns::{End, Namespace, veth},
    ra_sender::{Forged, RaSender},
};
use mif_user::control::Notice;

use crate::{
    Plan, aftermath,
    figure::{Figure, Goal, thousands},
    lab,
    progress::Progress,
    report::{Report, Row},
    rest::Rest,
    routers::{LINKS, PLACES, Router},
};

/// Routers that speak before the daemon is looked at again: its socket holds so many messages.
const BURST: usize = 100;

/// Measures it.
pub fn measure(plan: &Plan, progress: &mut Progress, report: &mut Report) -> Result<()> {
    let n = format!("{} PvDs, 10 routes each", thousands(plan.routers));
    progress.step(format!("daemon, {n}: setting up"));
    aftermath::wait();
    let cgroup: Cgroup = lab::cgroup()?;
    let host = Host::new()?;
    let routers = Namespace::new("routers")?;
    // The kernel makes an address of each prefix of a link (its default is 16).
    host.namespace().sysctl("net/ipv6/conf/default/max_addresses", LINKS + 1)?;
    let senders = cables(host.namespace(), &routers, plan.routers)?;
    let site = Site::new(host.namespace(), &cgroup)?;
    let config = site.state_dir().join("mif.toml");
    fs::write(&config, format!("[limits]\npvds = {}\n", PLACES - 1))?;
    let config = config.to_str().context("the lab's folder has a plain name")?;
    let daemon = site.daemon(["--config", config])?;

    progress.step(format!("daemon, {n}: hearing the routers"));
    let all: Vec<Router> = Router::first(plan.routers).collect();
    let mut heard = 0;
    for burst in all.chunks(BURST) {
        for router in burst {
            send(&senders, *router, 0)?;
        }
        heard += burst.len();
        site.wait_for_state(&format!("{heard} PvDs"), |state| {
            let complete = |pvd: &&mif_core::pvd::snapshot::PvdSnapshot| !pvd.sources.is_empty();
            (state.pvds.iter().filter(complete).count() >= heard).then_some(())
        })?;
    }

    progress.step(format!("daemon, {n}: at rest"));
    let rest = Rest::of(daemon.id(), plan.idle)?;
    report.rows.extend(rest.rows(("daemon", "daemon at rest"), &n, plan.idle, 20.0));

    progress.step(format!("daemon, {n}: one changed advertisement"));
    report.rows.push(follow(&daemon, &senders, plan, &n, progress)?);
    daemon.stop()?;
    site.says(["detach", "--all"])?;
    Ok(())
}

/// A cable for each link; its far end has the addresses of the link's routers, all known to the host for ever.
fn cables(host: &Namespace, routers: &Namespace, count: u16) -> Result<BTreeMap<u32, RaSender>> {
    let name = |link: u32| format!("link{link}");
    for link in 0..LINKS {
        let number = 0x200 + 2 * u16::try_from(link)?;
        let name = name(link);
        let end = |namespace, number| End { namespace, interface: &name, number };
        veth(end(host, number), end(routers, number + 1))?;
    }
    let up: Vec<String> = (0..LINKS).map(|link| format!("link set {} up\n", name(link))).collect();
    routers.ip(&up.concat())?;
    host.ip(&up.concat())?;
    let neighbours = Router::first(count).map(|router| {
        let [high, low] = (0x201 + 2 * router.link() as u16).to_be_bytes();
        let lladdr = format!("02:00:00:00:{high:02x}:{low:02x}");
        format!("neigh add {} lladdr {lladdr} dev {} nud permanent\n", router.address(), name(router.link()))
    });
    host.ip(&neighbours.collect::<String>())?;
    (0..LINKS).map(|link| Ok((link, RaSender::new(routers, &name(link))?))).collect()
}

fn send(senders: &BTreeMap<u32, RaSender>, router: Router, version: u16) -> Result<()> {
    let sender = senders.get(&router.link()).context("each link has a sender")?;
    sender.send_forged(&Forged::new(&router.message(version)?, router.address()))
}

/// What the daemon itself says it took, from the arrival of the advertisement to the last entry.
fn follow(
    daemon: &mif_tests::mif::Daemon<'_>,
    senders: &BTreeMap<u32, RaSender>,
    plan: &Plan,
    n: &str,
    progress: &Progress,
) -> Result<Row> {
    let mut notices = daemon.watch()?;
    let (mut rounds, mut entries) = (Vec::new(), Vec::new());
    for round in 1..=plan.rounds {
        progress.round(round, plan.rounds);
        send(senders, Router(round as u16), 1)?;
        let (operations, took) = notices.until("the tables to change", |notice| {
            Ok(match notice {
                Notice::Tables { operations, took, .. } => Some((*operations, *took)),
                _ => None,
            })
        })?;
        rounds.push(took as f64 / 1e6);
        entries.push(operations as f64);
    }
    let mut row = Row::new("one changed advertisement, daemon, ms", n);
    row.mif = Figure::of(rounds);
    let entries = Figure::of(entries).context("there was a round")?.median;
    row.note = format!("{entries} entries written, as the daemon's own notices say");
    Ok(row.with_goal(Goal::AtMost(2.0)))
}
