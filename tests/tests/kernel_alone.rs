//! The problem that `mif` is there for: what the kernel alone makes of two providers.

use std::time::Duration;

use anyhow::Result;
use mif_tests::{
    deadline::bounded,
    echo::Transport,
    family::Family,
    flow::Kind,
    matrix::{self, Group, Matrix, Outcome},
    router::Daemon,
    world::World,
};

/// The kernel has one default router for all. Flows without a wish of their own follow it and arrive. Of the flows that insist on
/// a source, and of the replies to the internet, those with the other provider's source follow it too, and are filtered.
#[test]
fn of_two_sources_one_is_filtered() {
    bounded(Duration::from_secs(60), || {
        let world = World::two_uplinks(Daemon::Radvd)?.dual_stack()?;
        let matrix = matrix::run(&world, None)?;
        println!("{matrix}");
        for family in Family::ALL {
            check_two_uplinks(&matrix, family);
        }
        assert!(!matrix.is_clean());
        Ok(())
    });
}

fn check_two_uplinks(matrix: &Matrix, family: Family) {
    for kind in [Kind::Tcp, Kind::UdpConnected, Kind::UdpUnconnected] {
        assert_eq!(lost_and_filtered(matrix, family, Group::Free(kind)), (0, 0), "{family} {kind:?}");
    }
    let choosy = [Kind::Tcp, Kind::UdpConnected, Kind::UdpUnconnected, Kind::UdpPktinfo].map(Group::Bound);
    for group in choosy.into_iter().chain([Transport::Tcp, Transport::Udp].map(Group::Reply)) {
        let half = of(matrix, family, group).count() / 2;
        assert!(half > 0);
        assert_eq!(lost_and_filtered(matrix, family, group), (half, half), "{family} {group}");
    }
}

/// On one link it is worse: neither does the kernel match the source to the router (RFC 6724 rule 5.5) that it chose.
#[test]
fn two_routers_of_one_link_are_mixed_up() {
    bounded(Duration::from_secs(60), || {
        let world = World::two_routers_one_link(Daemon::Radvd)?.dual_stack()?;
        let matrix = matrix::run(&world, None)?;
        println!("{matrix}");
        for family in Family::ALL {
            assert!(matrix.family(family).any(|outcome| !outcome.report.arrived), "{family}");
            assert!(matrix.family(family).any(|outcome| outcome.foreign > 0), "{family}");
        }
        Ok(())
    });
}

/// How many flows of the group got no answer, and how many had packets dropped by a filter.
fn lost_and_filtered(matrix: &Matrix, family: Family, group: Group) -> (usize, usize) {
    let lost = of(matrix, family, group).filter(|outcome| !outcome.report.arrived).count();
    let filtered = of(matrix, family, group).filter(|outcome| outcome.foreign > 0).count();
    (lost, filtered)
}

fn of(matrix: &Matrix, family: Family, group: Group) -> impl Iterator<Item = &Outcome> {
    matrix.family(family).filter(move |outcome| outcome.group == group)
}

/// What a test must be able to rely on: the lab sees no ghosts. Without two providers the kernel is right.
#[test]
fn one_provider_needs_no_help() {
    bounded(Duration::from_secs(60), || -> Result<()> {
        let mut world = World::silent_uplinks()?;
        let isp = mif_tests::isp::ISP_A;
        world.router(&isp).speak(Daemon::Radvd, &isp.advertisement())?;
        world.host.wait_for_address(&isp.lan)?;
        world.host.wait_for_default_router(isp.link_local(), true)?;
        let world = world.dual_stack()?;
        world.host.namespace().ip4("addr flush dev isp-b")?;
        let matrix = matrix::run(&world, None)?;
        println!("{matrix}");
        assert!(matrix.is_clean());
        Ok(())
    });
}
