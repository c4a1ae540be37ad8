//! Policies: a cgroup that was pinned to one provider uses that provider or nothing.

use std::net::Ipv6Addr;

use anyhow::{Context as _, Result, ensure};
use mif_common::{Reason, abi};
use mif_tests::{
    application::Place,
    cgroup::Cgroup,
    deadline::{PATIENCE, bounded},
    flow::{Flow, Kind},
    internet::{SERVERS, at_echo},
    isp::{ISP_A, ISP_B},
    mif::Site,
    router::Daemon,
    world::World,
};
use mif_user::mode::Mode;
use nix::errno::Errno;

const FREE: [Kind; 3] = [Kind::Tcp, Kind::UdpConnected, Kind::UdpUnconnected];
const BOUND: [Kind; 4] = [Kind::Tcp, Kind::UdpConnected, Kind::UdpUnconnected, Kind::UdpPktinfo];

fn free() -> Vec<Flow> {
    FREE.map(|kind| Flow::new(kind, at_echo(SERVERS[0]))).to_vec()
}

fn bound(source: Ipv6Addr) -> Vec<Flow> {
    BOUND.map(|kind| Flow::new(kind, at_echo(SERVERS[0])).from(source)).to_vec()
}

/// All flows arrive, from `source`.
fn arrive(place: Place<'_>, flows: &[Flow], source: Ipv6Addr) -> Result<()> {
    for (flow, report) in flows.iter().zip(place.open_all(flows)?) {
        let named = flow.kind == Kind::UdpPktinfo || report.source() == Some(source.into());
        ensure!(report.arrived && named, "{flow:?}: {report:?}, expected to arrive from {source}");
    }
    Ok(())
}

/// All flows are refused: with EADDRNOTAVAIL where a source is bound that the policy does not allow, else with ENETUNREACH.
fn refused(place: Place<'_>, flows: &[Flow]) -> Result<()> {
    for (flow, report) in flows.iter().zip(place.open_all(flows)?) {
        let binds = flow.bind.is_some() && flow.kind != Kind::UdpPktinfo;
        let expected = if binds { Errno::EADDRNOTAVAIL } else { Errno::ENETUNREACH };
        ensure!(report.errno == Some(expected as i32), "{flow:?}: {report:?}, expected {expected}");
    }
    Ok(())
}

/// A host with two uplinks of which the first is the one that processes without a policy use.
struct Scene {
    world: World,
    root: Cgroup,
    a: Ipv6Addr,
    b: Ipv6Addr,
}

impl Scene {
    fn new() -> Result<Self> {
        let world = World::two_uplinks(Daemon::Radvd)?;
        let (a, b) = (world.source(&ISP_A)?, world.source(&ISP_B)?);
        Ok(Self { world, root: Cgroup::new("host")?, a, b })
    }

    fn site(&self) -> Result<Site> {
        Site::new(self.world.host.namespace(), &self.root)
    }

    fn within<'a>(&'a self, cgroup: &'a Cgroup) -> Place<'a> {
        self.world.host.place(cgroup)
    }

    /// Nothing came to the first provider's router since the last [`World::forget`], and nothing wrong to any.
    fn check_nothing_by_a(&self) -> Result<()> {
        let seen = self.world.routers()[0].tap().seen()?;
        ensure!(seen.is_empty(), "packets left by the provider that is not allowed: {seen:#?}");
        self.world.check_no_foreign()
    }
}

#[test]
fn a_strict_policy_is_for_all_flows_of_the_cgroup_and_below() {
    bounded(4 * PATIENCE, || {
        let scene = Scene::new()?;
        let (a, b) = (scene.a, scene.b);
        let (pinned, other) = (scene.root.child("pinned")?, scene.root.child("other")?);
        let child = pinned.child("child")?;
        let exempted = child.child("exempted")?;
        let site = scene.site()?;
        let daemon = site.daemon::<&str>([])?;
        for cgroup in [&pinned, &other, &child, &exempted] {
            arrive(scene.within(cgroup), &free(), a)?;
        }
        daemon.attach(&pinned, &ISP_B.pvd(ISP_B.name), Mode::Strict)?;
        daemon.attach(&exempted, &ISP_A.pvd(ISP_A.name), Mode::Strict)?;
        scene.world.forget()?;
        for cgroup in [&pinned, &child] {
            arrive(scene.within(cgroup), &[free(), bound(b)].concat(), b)?;
            refused(scene.within(cgroup), &bound(a))?;
        }
        scene.check_nothing_by_a()?;
        // The nearest ancestor decides, and who has none is as before.
        arrive(scene.within(&exempted), &[free(), bound(a)].concat(), a)?;
        refused(scene.within(&exempted), &bound(b))?;
        arrive(scene.within(&other), &[free(), bound(a)].concat(), a)?;
        arrive(scene.within(&other), &bound(b), b)?;
        scene.world.check_no_foreign()?;

        daemon.detach(&pinned)?;
        arrive(scene.within(&pinned), &[free(), bound(a)].concat(), a)?;
        arrive(scene.within(&child), &[free(), bound(a)].concat(), a)?;
        daemon.detach(&exempted)?;
        arrive(scene.within(&exempted), &bound(b), b)?;
        daemon.stop()
    });
}

#[test]
fn sockets_opened_before_the_policy_do_not_leak() {
    bounded(4 * PATIENCE, || {
        let scene = Scene::new()?;
        let pinned = scene.root.child("pinned")?;
        let site = scene.site()?;
        let daemon = site.daemon::<&str>([])?;
        let stay = |flow: Flow| Flow { stay: true, ..flow };
        let flows: Vec<_> = free().into_iter().chain(bound(scene.a)).map(stay).collect();
        let place = scene.within(&pinned);
        let mut applications = flows.iter().map(|flow| place.start(flow)).collect::<Result<Vec<_>>>()?;
        for (flow, application) in flows.iter().zip(&mut applications) {
            let report = application.report()?;
            ensure!(report.arrived, "{flow:?}: {report:?}");
        }
        daemon.attach(&pinned, &ISP_B.pvd(ISP_B.name), Mode::Strict)?;
        scene.world.forget()?;
        for (flow, application) in flows.iter().zip(&mut applications) {
            let report = application.again()?;
            let chooses_anew = flow.kind == Kind::UdpUnconnected && flow.bind.is_none();
            ensure!(report.arrived == chooses_anew, "{flow:?}: {report:?}");
        }
        scene.check_nothing_by_a()?;
        daemon.stop()
    });
}

#[test]
fn without_its_provider_strict_refuses_and_prefer_falls_back() {
    bounded(4 * PATIENCE, || {
        let mut scene = Scene::new()?;
        let (a, b) = (scene.a, scene.b);
        let (strict, prefer) = (scene.root.child("strict")?, scene.root.child("prefer")?);
        let site = scene.site()?;
        let daemon = site.daemon::<&str>([])?;
        let pvd = ISP_B.pvd(ISP_B.name);
        let policy = daemon.attach(&strict, &pvd, Mode::Strict)?;
        daemon.attach(&prefer, &pvd, Mode::Prefer)?;
        arrive(scene.within(&strict), &free(), b)?;
        arrive(scene.within(&prefer), &free(), b)?;

        let mut notices = daemon.watch()?;
        let maps = site.maps()?;
        scene.world.router(&ISP_B).withdraw()?;
        scene.world.host.namespace().ip(&format!("addr del {b}/64 dev {}", ISP_B.name))?;
        let usable = |view| -> Result<bool> {
            let decision = maps.decision(view, SERVERS[0])?;
            Ok(decision.is_some_and(|decision| decision.verdict == abi::Verdict::Use as u32))
        };
        notices.until("the second provider to be gone", |_| {
            Ok((maps.source(b)?.is_none() && !usable(policy.view)?).then_some(()))
        })?;
        scene.world.forget()?;
        refused(scene.within(&strict), &[free(), bound(a)].concat())?;
        scene.check_nothing_by_a()?;
        arrive(scene.within(&prefer), &free(), a)?;

        let advertisement = ISP_B.advertisement();
        scene.world.router(&ISP_B).speak(Daemon::Radvd, &advertisement)?;
        notices.until("the second provider to be back", |_| {
            Ok((maps.source(b)?.is_some() && usable(policy.view)?).then_some(()))
        })?;
        arrive(scene.within(&strict), &free(), b)?;
        arrive(scene.within(&prefer), &free(), b)?;
        scene.world.check_no_foreign()?;
        daemon.stop()
    });
}

#[test]
fn other_network_namespaces_of_the_cgroup_are_left_alone() {
    bounded(2 * PATIENCE, || {
        let scene = Scene::new()?;
        let pinned = scene.root.child("pinned")?;
        let site = scene.site()?;
        let daemon = site.daemon::<&str>([])?;
        daemon.attach(&pinned, &ISP_B.pvd(ISP_B.name), Mode::Strict)?;
        let _server = scene.within(&scene.root).serve(&[at_echo(Ipv6Addr::UNSPECIFIED)])?;
        let maps = site.maps()?;
        let count = || -> Result<u64> {
            let counts = maps.counts()?;
            Ok(counts
                .iter()
                .filter(|(_, reason, _)| *reason == Reason::OtherNamespace)
                .map(|(.., count)| count.count)
                .sum())
        };
        let before = count()?;
        let elsewhere = Place::new(scene.world.internet.namespace()).within(&pinned);
        let flows = FREE.map(|kind| Flow::new(kind, at_echo(scene.a)));
        for (flow, report) in flows.iter().zip(elsewhere.open_all(&flows)?) {
            ensure!(report.arrived, "{flow:?}: {report:?}");
        }
        let counted = count()?.checked_sub(before).context("a counter went backwards")?;
        ensure!(counted >= flows.len() as u64, "only {counted} calls of the other namespace were counted");
        daemon.stop()
    });
}
