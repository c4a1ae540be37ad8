//! The main job: a host with two providers, configured by real routers.

use anyhow::ensure;
use mif_tests::{
    cgroup::Cgroup,
    deadline::{PATIENCE, bounded},
    matrix,
    mif::Site,
    router::Daemon,
    world::World,
};

#[test]
fn every_flow_arrives_and_none_leaves_by_the_other_provider() {
    bounded(6 * PATIENCE, || {
        let world = World::two_uplinks(Daemon::Radvd)?;
        let cgroup = Cgroup::new("host")?;
        let alone = matrix::run(&world, Some(&cgroup))?;
        ensure!(alone.arrived() < alone.total(), "the kernel alone needs no help here:\n{alone}");
        ensure!(!alone.foreign().is_empty(), "the kernel alone sends nothing wrong:\n{alone}");
        let site = Site::new(world.host.namespace(), &cgroup)?;
        let daemon = site.daemon::<&str>([])?;
        let with = matrix::run(&world, Some(&cgroup))?;
        ensure!(with.is_clean(), "with mif:\n{with}\nthe daemon said:\n{}", daemon.log()?);
        daemon.stop()?;
        // What is pinned goes on without the daemon.
        let after = matrix::run(&world, Some(&cgroup))?;
        ensure!(after.is_clean(), "after the daemon ended:\n{after}");
        Ok(())
    });
}
