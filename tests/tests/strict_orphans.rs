//! Sockets that outlive their strict cgroup: TCP goes on sending when the process has ended and the cgroup is gone.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use mif_common::Reason;
use mif_tests::{
    cgroup::Cgroup,
    deadline::{PATIENCE, bounded},
    flow::{Flow, Kind},
    internet::{SERVERS, at_echo},
    isp::{ISP_A, ISP_B},
    mif::{Daemon as Mif, Site},
    router::Daemon,
    world::World,
};
use mif_user::mode::Mode;

/// Makes a connection by the first provider, confines its cgroup to the second, ends the process and removes the cgroup. What is
/// left is a socket that sends its FIN again and again. The id of the cgroup.
fn orphan(world: &World, site: &Site, daemon: &Mif<'_>, root: &Cgroup, name: &str) -> Result<u64> {
    let cgroup = root.child(name)?;
    let id = cgroup.id()?;
    let flow = Flow { stay: true, ..Flow::new(Kind::Tcp, at_echo(SERVERS[0])).from(world.source(&ISP_A)?) };
    let mut application = world.host.place(&cgroup).start(&flow)?;
    ensure!(application.report()?.arrived, "{flow:?}");
    daemon.attach(&cgroup, &ISP_B.pvd(ISP_B.name), Mode::Strict)?;
    world.forget()?;
    drop(application);
    drop(cgroup);
    site.wait_for_state("the cgroup to be gone", |state| {
        state.policies.iter().all(|policy| policy.cgroup_id != id).then_some(())
    })?;
    Ok(id)
}

fn vetoes(site: &Site) -> Result<u64> {
    let counts = site.maps()?.counts()?;
    Ok(counts.iter().filter(|(_, reason, _)| *reason == Reason::Vetoed).map(|(.., count)| count.count).sum())
}

#[test]
fn go_on_being_judged() {
    bounded(4 * PATIENCE, || {
        let world = World::two_uplinks(Daemon::Embedded)?;
        let root = Cgroup::new("host")?;
        let site = Site::new(world.host.namespace(), &root)?;
        let daemon = site.daemon::<&str>([])?;
        site.wait_for_routers()?;
        let tap = world.routers()[0].tap();
        // Without its policy the FIN leaves.
        let id = orphan(&world, &site, &daemon, &root, "control")?;
        ensure!(site.maps()?.remove_policy(id)?, "the hooks have no policy of the cgroup that is gone");
        tap.wait_for("a FIN of an orphan", |headers| headers.destination == SERVERS[0])?;
        // With it none does, as often as it is tried.
        let mut notices = daemon.watch()?;
        let id = orphan(&world, &site, &daemon, &root, "confined")?;
        let before = vetoes(&site)?;
        notices.until("two more FINs to be dropped", |_| Ok((vetoes(&site)? >= before + 2).then_some(())))?;
        let seen = tap.seen()?;
        ensure!(seen.is_empty(), "{seen:#?}");
        // Nobody lists it, and a daemon that comes later knows it.
        ensure!(!site.says(["policy", "list"])?.contains("gone"), "{}", site.says(["policy", "list"])?);
        daemon.kill()?;
        let daemon = site.daemon::<&str>([])?;
        site.wait_for_routers()?;
        let removed = site.wait_for_state("what the daemon before left", |state| {
            Some(state.removed.iter().map(|removed| removed.policy.cgroup_id).collect::<BTreeSet<_>>())
        })?;
        ensure!(removed.contains(&id) && site.maps()?.policy(id)?.is_some(), "{removed:?}");
        daemon.stop()
    });
}
