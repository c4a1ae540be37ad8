//! A cgroup that is pinned strictly sends nothing by an interface that appears while no daemon runs: tc egress is not there, the
//! guard is.

use std::{
    collections::BTreeSet,
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use anyhow::{Context as _, Result, ensure};
use mif_tests::{
    application::Place,
    attack::{self, Aim},
    cgroup::Cgroup,
    deadline::{PATIENCE, bounded},
    events::until_ready,
    family::Family,
    flow::{Flow, Kind},
    internet::{SERVERS, SERVERS_IPV4, at_echo},
    isp::ISP_B,
    mif::Site,
    netns::{End, Namespace, veth},
    router::Daemon,
    tap::Tap,
    world::World,
};
use mif_user::{kernel::object::GUARD_PROGRAM, mode::Mode};

/// The interface, and its numbers: see [`End::number`].
const LATE: &str = "late";
const NUMBERS: [u16; 2] = [0xa01, 0xa02];
const NUMBERS_ELSEWHERE: [u16; 2] = [0xa03, 0xa04];
/// The host's addresses there and the neighbour's.
const HOST: (Ipv6Addr, Ipv4Addr) =
    (Ipv6Addr::new(0x2001, 0xdb8, 0x1a7e, 0, 0, 0, 0, 1), Ipv4Addr::new(198, 19, 15, 1));
const NEIGHBOUR: (Ipv6Addr, Ipv4Addr) =
    (Ipv6Addr::new(0x2001, 0xdb8, 0x1a7e, 0, 0, 0, 0, 2), Ipv4Addr::new(198, 19, 15, 2));

/// A third provider, which the kernel prefers to all others: it hears what is sent to it and forwards nothing.
struct Late {
    _namespace: Namespace,
    tap: Tap,
}

impl Late {
    fn new(host: &Namespace, name: &str, numbers: [u16; 2]) -> Result<Self> {
        let namespace = Namespace::new(name)?;
        let end = |namespace, interface, number| End { namespace, interface, number };
        veth(end(host, LATE, numbers[0]), end(&namespace, "lan", numbers[1]))?;
        namespace.ip(&format!("addr add {}/64 dev lan nodad\nlink set lan up", NEIGHBOUR.0))?;
        namespace.ip4(&format!("addr add {}/24 dev lan", NEIGHBOUR.1))?;
        host.ip(&format!("addr add {}/64 dev {LATE} nodad\nlink set {LATE} up", HOST.0))?;
        host.ip4(&format!("addr add {}/24 dev {LATE}", HOST.1))?;
        until_ready(host, &[LATE])?;
        until_ready(&namespace, &["lan"])?;
        let tap = Tap::new(&namespace, "lan")?;
        host.ip(&format!("route add default via {} dev {LATE} metric 1", NEIGHBOUR.0))?;
        host.ip4(&format!("route add default via {} dev {LATE} metric 1", NEIGHBOUR.1))?;
        Ok(Self { _namespace: namespace, tap })
    }

    /// The rows of the attacks that came here since the last call.
    fn heard(&self) -> Result<BTreeSet<(String, &'static str)>> {
        let seen = self.tap.seen()?;
        self.tap.forget()?;
        let rows = seen.iter().flat_map(|seen| attack::of(&seen.headers));
        Ok(rows.map(|(family, name)| (family.to_string(), name)).collect())
    }
}

fn aim(world: &World, family: Family) -> Result<Aim> {
    let (server, forbidden): (IpAddr, IpAddr) = match family {
        Family::Ipv6 => (SERVERS[0].into(), HOST.0.into()),
        Family::Ipv4 | Family::Mapped => (family.written(SERVERS_IPV4[0]), family.written(HOST.1)),
    };
    let (own, device) = (world.source_of(family, &ISP_B)?, LATE.into());
    Ok(Aim { server, forbidden, own, device, router: NUMBERS[1] as u8, enter: None })
}

/// What a packet(7) socket sends comes by no hook of a cgroup.
fn is_frame(name: &str) -> bool {
    name.contains("frame") && !name.contains("udp")
}

#[test]
fn that_appears_while_no_daemon_runs() {
    bounded(4 * PATIENCE, || {
        let world = World::two_uplinks(Daemon::Embedded)?.dual_stack()?;
        let host = world.host.namespace();
        host.sysctl("net/ipv4/ping_group_range", "0 0")?;
        let root = Cgroup::new("host")?;
        let pinned = root.child("pinned")?;
        let site = Site::new(host, &root)?;
        let daemon = site.daemon::<&str>([])?;
        site.wait_for_routers()?;
        let links = site.pins().join("links");
        let guard = links.join(format!("{GUARD_PROGRAM}@{}", root.id()?));
        ensure!(!guard.exists(), "nobody needs a guard yet");
        let own = [ISP_B.pvd(ISP_B.name), format!("{}/ipv4", ISP_B.name)];
        daemon.attach_all(&pinned, &own, Mode::Strict)?;
        ensure!(guard.exists(), "{} is not there", guard.display());
        daemon.kill()?;
        let late = Late::new(host, "late", NUMBERS)?;
        let mut attackers = Vec::new();
        for &family in world.families() {
            attackers.push(world.host.place(&pinned).attack(&aim(&world, family)?)?);
        }
        for attacker in &mut attackers {
            attacker.pass()?;
        }
        let heard = late.heard()?;
        let leaked: BTreeSet<_> = heard.iter().filter(|(_, name)| !is_frame(name)).collect();
        ensure!(leaked.is_empty(), "{leaked:#?}");
        // Its own provider is as near as ever.
        for server in [at_echo(SERVERS[0]), at_echo(SERVERS_IPV4[0])] {
            let report = world.host.place(&pinned).open(&Flow::new(Kind::Tcp, server))?;
            ensure!(report.arrived && report.source().is_some_and(|source| ISP_B.owns(source)), "{report:?}");
        }
        // What it does in another namespace is that one's.
        let other = Namespace::new("other")?;
        let elsewhere = Late::new(&other, "late-other", NUMBERS_ELSEWHERE)?;
        for address in [NEIGHBOUR.0.into(), NEIGHBOUR.1.into()] {
            let refused = SocketAddr::new(address, 9);
            Place::new(&other).within(&pinned).open(&Flow::new(Kind::Tcp, refused))?;
            elsewhere.tap.wait_for("a SYN in another namespace", |headers| headers.destination == address)?;
        }
        // Without the guard they get through.
        fs::remove_file(&guard).with_context(|| format!("remove {}", guard.display()))?;
        for attacker in &mut attackers {
            attacker.pass()?;
            attacker.pass()?;
        }
        let heard = late.heard()?;
        for family in ["IPv6", "IPv4"] {
            for name in ["raw, header with its address, its interface", "ping, bound to its interface"] {
                ensure!(heard.contains(&(family.to_owned(), name)), "{family} {name}: {heard:#?}");
            }
        }
        // A daemon that comes back puts it there again, though it finds nothing else to do.
        let daemon = site.daemon::<&str>([])?;
        site.wait_for_routers()?;
        ensure!(daemon.log()?.contains("adopted"), "{}", daemon.log()?);
        ensure!(guard.exists(), "{} is not there", guard.display());
        // The interface is known now and has a tc hook: what the guard was for, tc egress does, frames included.
        site.wait_for_state("the late interface", |state| {
            state.links.iter().any(|link| link.name == LATE && link.egress).then_some(())
        })?;
        for attacker in &mut attackers {
            attacker.pass()?;
        }
        late.heard()?;
        for attacker in &mut attackers {
            attacker.pass()?;
            attacker.pass()?;
        }
        let heard = late.heard()?;
        ensure!(heard.is_empty(), "{heard:#?}");
        daemon.detach(&pinned)?;
        ensure!(!guard.exists(), "nobody needs the guard any more");
        daemon.stop()
    });
}
