//! A cgroup that is pinned strictly sends nothing by another provider: every attack of the table, at every stage of its
//! provider's life, counted at the other provider's router.

use std::{collections::BTreeSet, net::SocketAddr, os::fd::AsFd as _, time::Duration};

use anyhow::{Result, ensure};
use mif_tests::{
    application::{Attacker, Server},
    attack::{self, Aim},
    cgroup::Cgroup,
    deadline::{Deadline, PATIENCE, bounded},
    family::Family,
    flow::{Flow, Kind},
    internet::{SERVERS, SERVERS_IPV4, at_echo},
    isp::{ISP_A, ISP_B},
    mif::{Daemon as Mif, Site},
    router::Daemon,
    tap::Seen,
    world::{SHARED_LINK, World},
};
use mif_user::{
    kernel::{
        attach::TcBackend,
        object::Sizes,
        pins::{Installation, Plan},
    },
    mode::Mode,
};
use nix::{
    errno::Errno,
    sys::{
        time::TimeSpec,
        timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags},
    },
};

/// The ports of the listeners in the pinned cgroup.
const LISTENER: u16 = 4666;
const LISTENER_IPV4: u16 = 4667;

/// The pinned cgroup and who is in it.
struct Scene {
    world: World,
    root: Cgroup,
    pinned: Cgroup,
    /// The host's interface to the first provider.
    device: &'static str,
    families: &'static [Family],
}

/// The attackers of a scene.
struct Attackers {
    /// In the cgroup from their first instruction on, one for each family.
    inside: Vec<Attacker>,
    _listener: Server,
}

impl Attackers {
    /// One whole pass of every attacker.
    fn pass(&mut self) -> Result<()> {
        self.inside.iter_mut().try_for_each(|attacker| attacker.pass().map(drop))
    }
}

impl Scene {
    fn new(world: World, device: &'static str) -> Result<Self> {
        // Whose groups may open ping sockets: root's, as distributions have it.
        world.host.namespace().sysctl("net/ipv4/ping_group_range", "0 0")?;
        let root = Cgroup::new("host")?;
        let pinned = root.child("pinned")?;
        let families = world.families();
        Ok(Self { world, root, pinned, device, families })
    }

    fn aim(&self, family: Family) -> Result<Aim> {
        let server = match family {
            Family::Ipv6 => SERVERS[0].into(),
            Family::Ipv4 | Family::Mapped => family.written(SERVERS_IPV4[0]),
        };
        Ok(Aim {
            server,
            forbidden: self.world.source_of(family, &ISP_A)?,
            own: self.world.source_of(family, &ISP_B)?,
            device: self.device.into(),
            router: ISP_A.number as u8,
            enter: None,
        })
    }

    fn attackers(&self) -> Result<Attackers> {
        let place = self.world.host.place(&self.pinned);
        let inside = self.inside()?;
        let any = |address: &str, port| Ok::<_, anyhow::Error>(SocketAddr::new(address.parse()?, port));
        let listener = place.serve(&[any("::", LISTENER)?, any("0.0.0.0", LISTENER_IPV4)?])?;
        Ok(Attackers { inside, _listener: listener })
    }

    fn forget(&self) -> Result<()> {
        self.world.routers()[0].tap().forget()
    }

    fn inside(&self) -> Result<Vec<Attacker>> {
        let place = self.world.host.place(&self.pinned);
        self.families.iter().map(|&family| place.attack(&self.aim(family)?)).collect()
    }

    /// What came to the first provider's router.
    fn by_a(&self) -> Result<Vec<Seen>> {
        self.world.routers()[0].tap().seen()
    }

    /// Clients in the internet, which know the first provider's addresses of the host.
    fn clients(&self) -> Result<Vec<Flow>> {
        let mut flows = Vec::new();
        for (family, port) in
            [(Family::Ipv6, LISTENER), (Family::Ipv4, LISTENER), (Family::Ipv4, LISTENER_IPV4)]
        {
            if self.families.contains(&family) {
                let to = SocketAddr::new(self.world.source_of(family, &ISP_A)?, port);
                flows.extend([Kind::Tcp, Kind::UdpConnected].map(|kind| Flow::new(kind, to)));
            }
        }
        Ok(flows)
    }

    /// The policy is in force: from now on everything counts, also what is sent between two stages.
    fn count_from_now_on(&self, attackers: &mut Attackers) -> Result<()> {
        // What a pass that was going on sent before the policy.
        attackers.pass()?;
        self.forget()
    }

    /// Whole passes of every attacker and clients to the listeners: nothing of it comes to the first provider's router.
    fn nothing_leaks(&self, attackers: &mut Attackers, stage: &str) -> Result<()> {
        // The first sees the change going on, the second begins after it.
        attackers.pass()?;
        attackers.pass()?;
        for report in self.world.internet.place().open_all(&self.clients()?)? {
            ensure!(!report.arrived, "{stage}: a listener answered: {report:?}");
        }
        self.check(stage)
    }

    /// Nothing came to the first provider's router since it last forgot.
    fn check(&self, stage: &str) -> Result<()> {
        let seen = self.by_a()?;
        ensure!(
            seen.is_empty(),
            "{stage}: {} packets leaked: {:#?}\n{}",
            seen.len(),
            told(&seen),
            first(&seen)
        );
        Ok(())
    }
}

fn told(seen: &[Seen]) -> BTreeSet<(String, &'static str)> {
    seen.iter()
        .flat_map(|seen| attack::of(&seen.headers))
        .map(|(family, name)| (family.to_string(), name))
        .collect()
}

fn first(seen: &[Seen]) -> String {
    seen.iter().take(8).map(|seen| format!("{:?}\n", seen.headers)).collect()
}

/// Waits for an instant of the boot-time clock.
fn until(instant: u64) -> Result<()> {
    let timer = TimerFd::new(ClockId::CLOCK_BOOTTIME, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)?;
    let at = TimeSpec::from_duration(Duration::from_nanos(instant));
    timer.set(Expiration::OneShot(at), TimerSetTimeFlags::TFD_TIMER_ABSTIME)?;
    Deadline::new("a lifetime to end").readable(timer.as_fd())
}

/// The PvDs of the second provider at an uplink of its own.
fn own() -> [String; 2] {
    [ISP_B.pvd(ISP_B.name), format!("{}/ipv4", ISP_B.name)]
}

fn two_uplinks() -> Result<Scene> {
    Scene::new(World::two_uplinks(Daemon::Embedded)?.dual_stack()?, ISP_A.name)
}

/// Rows that the kernel alone does not send by the first provider.
const HARMLESS: [(Family, &str); 4] = [
    // An IPv4 route is only found for a source of the host (ip_route_output_key_hash_rcu in the kernel's net/ipv4/route.c).
    (Family::Ipv4, "tcp, freebind to a stranger"),
    (Family::Ipv4, "udp, freebind to a stranger"),
    (Family::Mapped, "tcp, freebind to a stranger"),
    (Family::Mapped, "udp, freebind to a stranger"),
];

#[test]
fn without_a_policy_the_attacks_get_through() {
    bounded(4 * PATIENCE, || {
        let scene = two_uplinks()?;
        let mut attackers = scene.attackers()?;
        scene.forget()?;
        let mut passes = Vec::new();
        for attacker in &mut attackers.inside {
            passes.push(attacker.pass()?);
        }
        for report in scene.world.internet.place().open_all(&scene.clients()?)? {
            ensure!(report.arrived, "a listener did not answer: {report:?}");
        }
        let seen = told(&scene.by_a()?);
        let mut missing = Vec::new();
        for (&family, pass) in scene.families.iter().zip(&passes) {
            for (name, errno) in attack::names(family).zip(pass.iter().map(|(_, errno)| *errno)) {
                if !seen.contains(&(family.to_string(), name)) && !HARMLESS.contains(&(family, name)) {
                    missing.push((family, name, errno));
                }
            }
        }
        ensure!(missing.is_empty(), "attacks that are none: {missing:#?}");
        Ok(())
    });
}

/// Sends what it has by its own provider: what is refused everywhere would prove nothing.
fn arrives(scene: &Scene) -> Result<()> {
    for server in [at_echo(SERVERS[0]), at_echo(SERVERS_IPV4[0])] {
        let report = scene.world.host.place(&scene.pinned).open(&Flow::new(Kind::Tcp, server))?;
        ensure!(report.arrived && report.source().is_some_and(|source| ISP_B.owns(source)), "{report:?}");
    }
    Ok(())
}

/// A pinned scene in its steady state.
fn pinned<'a>(scene: &Scene, site: &'a Site, attackers: &mut Attackers) -> Result<Mif<'a>> {
    let daemon = site.daemon::<&str>([])?;
    site.wait_for_routers()?;
    daemon.attach_all(&scene.pinned, &own(), Mode::Strict)?;
    scene.count_from_now_on(attackers)?;
    scene.nothing_leaks(attackers, "attached while they run")?;
    Ok(daemon)
}

#[test]
fn steady_and_through_restarts() {
    bounded(8 * PATIENCE, || {
        let scene = two_uplinks()?;
        let mut attackers = scene.attackers()?;
        let site = Site::new(scene.world.host.namespace(), &scene.root)?;
        let mut daemon = pinned(&scene, &site, &mut attackers)?;
        arrives(&scene)?;
        attackers.inside.extend(scene.inside()?);
        scene.nothing_leaks(&mut attackers, "and others started under the policy")?;
        for kill in [true, false] {
            if kill {
                daemon.kill()?
            } else {
                daemon.stop()?
            }
            attackers.pass()?;
            daemon = site.daemon::<&str>([])?;
            ensure!(daemon.log()?.contains("adopted"), "{}", daemon.log()?);
            attackers.pass()?;
            scene.check("through an adoption")?;
        }
        daemon.kill()?;
        let sizes = Sizes { pvds: 16, ..Sizes::default() };
        let plan =
            Plan { directory: site.pins(), cgroup: scene.root.path().to_owned(), sizes, tc: TcBackend::Auto };
        scene.world.host.namespace().run(|| Installation::start(&plan).map(drop))?;
        attackers.pass()?;
        scene.check("other programs and maps took over")?;
        let daemon = site.daemon::<&str>([])?;
        ensure!(daemon.log()?.contains("replaced"), "{}", daemon.log()?);
        attackers.pass()?;
        scene.check("they were replaced again")?;
        arrives(&scene)?;
        daemon.stop()
    });
}

#[test]
fn without_its_provider() {
    bounded(8 * PATIENCE, || {
        let mut scene = two_uplinks()?;
        let mut attackers = scene.attackers()?;
        let site = Site::new(scene.world.host.namespace(), &scene.root)?;
        let daemon = pinned(&scene, &site, &mut attackers)?;
        scene.world.router(&ISP_B).withdraw()?;
        scene.world.host.wait_for_default_router(ISP_B.link_local(), false)?;
        scene.nothing_leaks(&mut attackers, "its router withdrew")?;
        let (b, b4) = (scene.world.source(&ISP_B)?, ISP_B.host_ipv4());
        let host = scene.world.host.namespace().clone();
        host.ip(&format!("addr del {b}/64 dev {}", ISP_B.name))?;
        host.ip4(&format!("addr del {b4}/25 dev {}", ISP_B.name))?;
        scene.nothing_leaks(&mut attackers, "its addresses are gone")?;
        // Moved to the other provider's interface, on both, and back.
        host.ip(&format!("addr add {b}/64 dev {} nodad", ISP_A.name))?;
        host.ip4(&format!("addr add {b4}/25 dev {}", ISP_A.name))?;
        scene.nothing_leaks(&mut attackers, "its addresses moved to the other interface")?;
        host.ip(&format!("addr add {b}/64 dev {} nodad", ISP_B.name))?;
        host.ip4(&format!("addr add {b4}/25 dev {}", ISP_B.name))?;
        scene.nothing_leaks(&mut attackers, "its addresses are on both interfaces")?;
        daemon.kill()?;
        scene.nothing_leaks(&mut attackers, "and the daemon is dead")
    });
}

#[test]
fn its_interface_goes() {
    bounded(8 * PATIENCE, || {
        let scene = two_uplinks()?;
        let mut attackers = scene.attackers()?;
        let site = Site::new(scene.world.host.namespace(), &scene.root)?;
        let daemon = pinned(&scene, &site, &mut attackers)?;
        let host = scene.world.host.namespace();
        let b = ISP_B.name;
        host.ip(&format!("link set {b} down\nlink set {b} name renamed\nlink set renamed up"))?;
        scene.nothing_leaks(&mut attackers, "renamed")?;
        host.ip("link set renamed down")?;
        scene.nothing_leaks(&mut attackers, "down")?;
        // Another interface takes its index.
        let index = ISP_B.number | 0x100;
        host.ip(&format!("link del renamed\nlink add other index {index} type veth peer name peer"))?;
        host.ip("link set other up\nlink set peer up")?;
        scene.nothing_leaks(&mut attackers, "removed, its index reused")?;
        daemon.kill()?;
        scene.nothing_leaks(&mut attackers, "and the daemon is dead")
    });
}

#[test]
fn its_lifetime_ends_with_a_dead_daemon() {
    /// Seconds that the second provider's router stays one.
    const SHORT: u16 = 4;
    bounded(8 * PATIENCE, || {
        let mut scene = two_uplinks()?;
        let mut attackers = scene.attackers()?;
        let site = Site::new(scene.world.host.namespace(), &scene.root)?;
        let daemon = site.daemon::<&str>([])?;
        site.wait_for_routers()?;
        let policy = daemon.attach_all(&scene.pinned, &own(), Mode::Strict)?;
        scene.count_from_now_on(&mut attackers)?;
        let (maps, mut notices) = (site.maps()?, daemon.watch()?);
        let mut advertisement = ISP_B.advertisement();
        advertisement.header.router_lifetime = SHORT;
        scene.world.router(&ISP_B).advertise(&advertisement)?;
        let decision = notices.until("the short lifetime to be in the tables", |_| {
            let decision = maps.decision(policy.view, SERVERS[0])?;
            Ok(decision.filter(|decision| decision.valid_until < mif_user::clock::now().0 + 10_000_000_000))
        })?;
        scene.world.router(&ISP_B).fall_silent();
        daemon.kill()?;
        until(decision.valid_until)?;
        scene.nothing_leaks(&mut attackers, "expired")
    });
}

/// IPv6: the two providers are on one link. IPv4: the link has one configuration, which the view has not.
#[test]
fn on_one_link_with_the_other_router() {
    bounded(8 * PATIENCE, || {
        let mut scene =
            Scene::new(World::two_routers_one_link(Daemon::Embedded)?.dual_stack()?, SHARED_LINK)?;
        let mut attackers = scene.attackers()?;
        let site = Site::new(scene.world.host.namespace(), &scene.root)?;
        let daemon = site.daemon::<&str>([])?;
        site.wait_for_routers()?;
        daemon.attach(&scene.pinned, &ISP_B.pvd(SHARED_LINK), Mode::Strict)?;
        scene.count_from_now_on(&mut attackers)?;
        scene.nothing_leaks(&mut attackers, "attached while they run")?;
        attackers.inside.extend(scene.inside()?);
        scene.nothing_leaks(&mut attackers, "and others started under the policy")?;
        scene.world.router(&ISP_B).withdraw()?;
        scene.world.host.wait_for_default_router(ISP_B.link_local(), false)?;
        scene.nothing_leaks(&mut attackers, "its router withdrew, its address stays")?;
        daemon.kill()?;
        scene.nothing_leaks(&mut attackers, "and the daemon is dead")
    });
}

/// A process opens sockets elsewhere and enters the cgroup: as by inheritance and SCM_RIGHTS, the sockets are the other cgroup's.
#[test]
fn sockets_of_another_cgroup() {
    bounded(8 * PATIENCE, || {
        let scene = two_uplinks()?;
        let site = Site::new(scene.world.host.namespace(), &scene.root)?;
        let daemon = site.daemon::<&str>([])?;
        site.wait_for_routers()?;
        daemon.attach_all(&scene.pinned, &own(), Mode::Strict)?;
        let other = scene.root.child("other")?;
        for &family in scene.families {
            let procs = Some(scene.pinned.path().join("cgroup.procs"));
            let aim = Aim { enter: procs, ..scene.aim(family)? };
            let mut attacker = scene.world.host.place(&other).attack(&aim)?;
            scene.forget()?;
            let pass = attacker.pass()?;
            let leaked = told(&scene.by_a()?);
            // A mapped socket asks the hook of sendmsg also where it is connected (udpv6_sendmsg in the kernel's net/ipv6/udp.c
            // hands the address on).
            let expected: BTreeSet<_> = attack::names(family)
                .filter(|name| attack::OF_THEIR_CREATOR.contains(name) && family != Family::Mapped)
                .map(|name| (family.to_string(), name))
                .collect();
            for (name, errno) in &pass {
                let refused = *errno == Errno::ENETUNREACH as i32;
                ensure!(
                    refused || family != Family::Mapped || !name.starts_with("kept: udp connected"),
                    "{pass:?}"
                );
            }
            ensure!(leaked == expected, "{leaked:#?}, and what is the creator's is {expected:#?}");
        }
        daemon.stop()
    });
}
