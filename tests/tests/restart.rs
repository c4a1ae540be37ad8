//! The daemon ends, is killed, restarts, is replaced: enforcement has no gap, and ends where lifetimes end.

use std::{net::Ipv6Addr, os::fd::AsFd as _, time::Duration};

use anyhow::{Result, ensure};
use mif_common::{Reason, abi};
use mif_core::wire::NdOption;
use mif_tests::{
    application::Storm,
    cgroup::Cgroup,
    deadline::{Deadline, PATIENCE, bounded},
    flow::{Flow, Kind},
    internet::{SERVERS, at_echo},
    isp::{ISP_A, ISP_B},
    matrix,
    mif::Site,
    router::Daemon as Speaker,
    world::World,
};
use mif_user::kernel::{
    attach::TcBackend,
    object::Sizes,
    pins::{self, Installation, Origin, Plan},
};
use nix::sys::{
    time::TimeSpec,
    timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags},
};

/// Flows that leave wrongly as soon as one hook is missing: the kernel alone sends them by the first uplink.
struct Storms(Vec<Storm>);

impl Storms {
    fn start(world: &World, cgroup: &Cgroup, source: Ipv6Addr) -> Result<Self> {
        let place = world.host.place(cgroup);
        let kinds = [Kind::Tcp, Kind::UdpConnected, Kind::UdpUnconnected, Kind::UdpPktinfo];
        let storm = |kind| place.storm(&Flow::new(kind, at_echo(SERVERS[0])).from(source));
        Ok(Self(kinds.into_iter().map(storm).collect::<Result<_>>()?))
    }

    /// Fails if a flow did not arrive. Each kind was opened at least once since the last check.
    fn check(&mut self, when: &str) -> Result<()> {
        for storm in &mut self.0 {
            let summary = storm.so_far()?;
            ensure!(summary.arrived == summary.opened, "{when}: {summary:?}");
        }
        Ok(())
    }
}

/// The installation that a daemon without configuration makes, but with other sizes.
fn other_sizes(site: &Site, cgroup: &Cgroup) -> Plan {
    let sizes = Sizes { pvds: 16, ..Sizes::default() };
    Plan { directory: site.pins(), cgroup: cgroup.path().to_owned(), sizes, tc: TcBackend::Auto }
}

#[test]
fn no_moment_without_enforcement() {
    bounded(6 * PATIENCE, || {
        let world = World::two_uplinks(Speaker::Radvd)?;
        let cgroup = Cgroup::new("host")?;
        let second = world.source(&ISP_B)?;
        let alone = world.host.place(&cgroup).open_all(&[
            Flow::new(Kind::UdpUnconnected, at_echo(SERVERS[0])).from(world.source(&ISP_A)?),
            Flow::new(Kind::UdpUnconnected, at_echo(SERVERS[0])).from(second),
        ])?;
        ensure!(alone.iter().any(|report| !report.arrived), "the kernel alone needs no help here: {alone:?}");
        let site = Site::new(world.host.namespace(), &cgroup)?;
        let mut daemon = site.daemon::<&str>([])?;
        site.wait_for_routers()?;
        world.forget()?;
        let mut storms = Storms::start(&world, &cgroup, second)?;
        for (when, kill) in [("after SIGKILL", true), ("after SIGTERM", false)] {
            if kill {
                daemon.kill()?
            } else {
                daemon.stop()?
            }
            storms.check(when)?;
            daemon = site.daemon::<&str>([])?;
            ensure!(daemon.log()?.contains("adopted"), "{}", daemon.log()?);
            storms.check("after a restart")?;
        }
        daemon.kill()?;
        // Another version's daemon, as far as the maps can tell: everything is replaced, here and by the next daemon.
        let plan = other_sizes(&site, &cgroup);
        let origin = world.host.namespace().run(|| Installation::start(&plan).map(|made| made.origin))?;
        ensure!(matches!(origin, Origin::Replaced(_)), "{origin:?}");
        storms.check("after other programs and maps took over")?;
        world.check_no_foreign()?;
        let daemon = site.daemon::<&str>([])?;
        ensure!(daemon.log()?.contains("replaced"), "{}", daemon.log()?);
        storms.check("after they were replaced again")?;
        world.check_no_foreign()?;
        daemon.stop()
    });
}

#[test]
fn a_second_daemon_is_refused() {
    bounded(2 * PATIENCE, || {
        let world = World::two_uplinks(Speaker::Radvd)?;
        let cgroup = Cgroup::new("host")?;
        let site = Site::new(world.host.namespace(), &cgroup)?;
        let daemon = site.daemon::<&str>([])?;
        let path = cgroup.path().display().to_string();
        let complaint = site.complains(["daemon", "--cgroup", &path])?;
        ensure!(complaint.contains(&daemon.id().to_string()), "{complaint}");
        // The first one goes on.
        let with = matrix::run(&world, Some(&cgroup))?;
        ensure!(with.is_clean(), "{with}");
        daemon.stop()
    });
}

/// Waits for an instant of the boot-time clock.
fn until(instant: u64) -> Result<()> {
    let timer = TimerFd::new(ClockId::CLOCK_BOOTTIME, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)?;
    let at = TimeSpec::from_duration(Duration::from_nanos(instant));
    timer.set(Expiration::OneShot(at), TimerSetTimeFlags::TFD_TIMER_ABSTIME)?;
    Deadline::new("a lifetime to end").readable(timer.as_fd())
}

#[test]
fn a_dead_daemons_pvd_is_chosen_until_its_lifetime_ends() {
    /// Seconds that the first provider's router and addresses last.
    const SHORT: u16 = 4;
    bounded(4 * PATIENCE, || {
        let mut world = World::two_uplinks(Speaker::Embedded)?;
        let cgroup = Cgroup::new("host")?;
        let (first, second) = (world.source(&ISP_A)?, world.source(&ISP_B)?);
        let site = Site::new(world.host.namespace(), &cgroup)?;
        let daemon = site.daemon::<&str>([])?;
        site.wait_for_routers()?;
        let maps = site.maps()?;
        let mut notices = daemon.watch()?;

        let mut advertisement = ISP_A.advertisement();
        advertisement.header.router_lifetime = SHORT;
        for option in &mut advertisement.options {
            if let NdOption::PrefixInformation(prefix) = option {
                prefix.preferred_lifetime = SHORT.into();
            }
        }
        world.router(&ISP_A).advertise(&advertisement)?;
        let decision = notices.until("the short lifetime to be in the tables", |_| {
            let decision = maps.decision(abi::DEFAULT_VIEW, SERVERS[0])?;
            Ok(decision.filter(|decision| decision.valid_until < mif_user::clock::now().0 + 10_000_000_000))
        })?;
        ensure!(Ipv6Addr::from(decision.source) == first, "{decision:?}");
        world.router(&ISP_A).fall_silent();
        daemon.kill()?;

        let open = || world.host.place(&cgroup).open(&Flow::new(Kind::Tcp, at_echo(SERVERS[0])));
        let expired = || -> Result<u64> {
            let counts = maps.counts()?;
            Ok(counts.iter().filter(|(_, reason, _)| *reason == Reason::Expired).map(|(.., n)| n.count).sum())
        };
        let before = open()?;
        ensure!(before.arrived && before.source() == Some(first.into()), "{before:?}");
        ensure!(expired()? == 0, "counted as expired before the lifetime ended");
        until(decision.valid_until)?;
        let after = open()?;
        ensure!(after.arrived && after.source() == Some(second.into()), "{after:?}");
        ensure!(expired()? > 0, "nothing was counted as expired");
        world.check_no_foreign()
    });
}

#[test]
fn detaching_leaves_nothing() {
    bounded(4 * PATIENCE, || {
        let world = World::two_uplinks(Speaker::Radvd)?;
        let cgroup = Cgroup::new("host")?;
        let site = Site::new(world.host.namespace(), &cgroup)?;
        let alone = matrix::run(&world, Some(&cgroup))?;
        let daemon = site.daemon::<&str>([])?;
        let with = matrix::run(&world, Some(&cgroup))?;
        ensure!(with.is_clean(), "with mif:\n{with}");
        let interfaces = pins::pinned_interfaces(&site.pins());
        ensure!(interfaces.len() == 2, "{interfaces:?}");
        daemon.stop()?;

        site.says(["detach", "--all"])?;
        ensure!(!site.pins().exists(), "pins are left");
        for ifindex in interfaces {
            let query =
                || aya::programs::SchedClassifier::query_tcx(ifindex, aya::programs::TcAttachType::Egress);
            let left = world.host.namespace().run(query).map_or(0, |(_, programs)| programs.len());
            ensure!(left == 0, "{left} programs are left at interface {ifindex}");
        }
        let after = matrix::run(&world, Some(&cgroup))?;
        for (when, matrix) in [("before mif came", alone), ("after it was detached", after)] {
            let needs_help = matrix.arrived() < matrix.total() && !matrix.foreign().is_empty();
            ensure!(needs_help, "{when} the kernel alone does everything right:\n{matrix}");
        }
        Ok(())
    });
}
