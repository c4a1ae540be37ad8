//! The main job: a host with two providers, configured by real routers, in IPv6 and in IPv4.

use anyhow::ensure;
use mif_tests::{
    cgroup::Cgroup,
    deadline::{PATIENCE, bounded},
    family::Family,
    matrix,
    mif::Site,
    router::Daemon,
    world::World,
};

#[test]
fn every_flow_arrives_and_none_leaves_by_the_other_provider() {
    bounded(6 * PATIENCE, || {
        let world = World::two_uplinks(Daemon::Radvd)?.dual_stack()?;
        let cgroup = Cgroup::new("host")?;
        let alone = matrix::run(&world, Some(&cgroup))?;
        for family in Family::ALL {
            let lost = alone.family(family).any(|outcome| !outcome.report.arrived);
            ensure!(lost, "the kernel alone needs no help in {family}:\n{alone}");
            let filtered = alone.family(family).any(|outcome| outcome.foreign > 0);
            ensure!(filtered, "the kernel alone sends nothing wrong in {family}:\n{alone}");
        }
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
