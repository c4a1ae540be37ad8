//! A cgroup that is pinned strictly sends nothing by another provider: every attack of the table, at every stage of its
//! provider's life, counted at the other provider's router.

use std::{collections::BTreeSet, net::SocketAddr, os::fd::AsFd as _, time::Duration};

use anyhow::{Context as _, Result, ensure};
use mif_tests::{
    application::{Attacker, Server},
    attack::{self, Aim},
    cgroup::Cgroup,
    deadline::{Deadline, PATIENCE, bounded},
    family::Family,
    flow::{Flow, Kind},
    internet::{SERVERS, SERVERS_IPV4},
    isp::{ISP_A, ISP_B},
    mif::Site,
    netns::{End, veth},
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
use nix::sys::{
    time::TimeSpec,
    timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags},
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

impl Scene {
    fn new(world: World, device: &'static str) -> Result<Self> {
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
        let inside =
            self.families.iter().map(|&family| place.attack(&self.aim(family)?)).collect::<Result<_>>()?;
        let any = |address: &str, port| Ok::<_, anyhow::Error>(SocketAddr::new(address.parse()?, port));
        let listener = place.serve(&[any("::", LISTENER)?, any("0.0.0.0", LISTENER_IPV4)?])?;
        Ok(Attackers { inside, _listener: listener })
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

    /// One whole pass of every attacker and clients to the listeners: nothing of it comes to the first provider's router.
    fn nothing_leaks(&self, attackers: &mut Attackers, stage: &str) -> Result<()> {
        self.world.forget()?;
        for attacker in &mut attackers.inside {
            attacker.pass()?;
        }
        for report in self.world.internet.place().open_all(&self.clients()?)? {
            ensure!(!report.arrived, "{stage}: a listener answered: {report:?}");
        }
        self.check(stage)
    }

    /// Nothing came to the first provider's router since it last forgot.
    fn check(&self, stage: &str) -> Result<()> {
        let seen = self.by_a()?;
        ensure!(seen.is_empty(), "{stage}: {} packets leaked: {:#?}\n{}", seen.len(), told(&seen), first(&seen));
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

fn two_uplinks() -> Result<Scene> {
    Scene::new(World::two_uplinks(Daemon::Embedded)?.dual_stack()?, ISP_A.name)
}

/// Rows that the kernel alone does not send by the first provider.
const HARMLESS: [(Family, &str); 0] = [];

#[test]
fn without_a_policy_the_attacks_get_through() {
    bounded(4 * PATIENCE, || {
        let scene = two_uplinks()?;
        let mut attackers = scene.attackers()?;
        scene.world.forget()?;
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

#[test]
fn nothing_leaves_by_another_provider() {
    bounded(12 * PATIENCE, || {
        let scene = two_uplinks()?;
        // They run before there is a policy, and through all that follows.
        let mut attackers = scene.attackers()?;
        let site = Site::new(scene.world.host.namespace(), &scene.root)?;
        let daemon = site.daemon::<&str>([])?;
        site.wait_for_routers()?;
        daemon.attach(&scene.pinned, ISP_B.name, Mode::Strict)?;
        scene.nothing_leaks(&mut attackers, "attached while they run")?;
        scene.nothing_leaks(&mut scene.attackers()?, "started under the policy")?;
        Ok(())
    });
}
