//! What the administrator connected to the host goes on working, in both versions of IP: bridges, tunnels, VPNs. Routes are in
//! `administrator_routes.rs`.

use std::net::{IpAddr, Ipv6Addr};

use anyhow::{Context as _, Result, ensure};
use mif_common::abi::config_flags::{FOREIGN_RULES_IPV4, FOREIGN_RULES_IPV6};
use mif_tests::{
    application::Place,
    before::{Before, flows},
    cgroup::Cgroup,
    deadline::{PATIENCE, bounded},
    family::Family,
    internet::at_echo,
    isp::{ISP_A, ISP_B},
    matrix,
    mif::{Daemon as Mif, Site},
    peer::Peer,
    router::Daemon,
    world::World,
};
use mif_user::mode::Mode;

/// The versions of IP that have rules and routes of their own.
const VERSIONS: [Family; 2] = [Family::Ipv6, Family::Ipv4];

/// Gives the peer a way back to all addresses of the host.
fn answer_all(peer: &Peer, routes: [&str; 2]) -> Result<()> {
    peer.namespace().ip(&format!("route add default {}", routes[0]))?;
    peer.namespace().ip4(&format!("route add default {}", routes[1]))
}

/// The host's addresses: of both providers and on the links to `peers`.
fn addresses(world: &World, family: Family, peers: &[&Peer]) -> Result<Vec<IpAddr>> {
    let mut addresses = vec![world.source_of(family, &ISP_A)?, world.source_of(family, &ISP_B)?];
    addresses.extend(peers.iter().map(|peer| peer.host_address_of(family)));
    Ok(addresses)
}

/// All flows between host and providers arrive.
fn clean(world: &World, cgroup: &Cgroup, daemon: &Mif<'_>) -> Result<()> {
    let with = matrix::run(world, Some(cgroup))?;
    ensure!(with.is_clean(), "with mif:\n{with}\nthe daemon said:\n{}", daemon.log()?);
    Ok(())
}

#[test]
fn a_container_bridge_and_a_tunnel_go_on_working() {
    bounded(6 * PATIENCE, || {
        let world = World::two_uplinks(Daemon::Radvd)?.dual_stack()?;
        let (container, tunnel) = (world.container()?, world.tunnel()?);
        answer_all(&container, ["via 2001:db8:c:1::1 dev eth0", "via 198.19.12.1 dev eth0"])?;
        answer_all(&tunnel, ["dev tun0"; 2])?;
        let cgroup = Cgroup::new("host")?;
        let host = world.host.place(&cgroup);
        let inside = Place::new(container.namespace());
        let (mut outwards, mut to_host) = (Vec::new(), Vec::new());
        for family in Family::ALL {
            let addresses = addresses(&world, family, &[&container, &tunnel])?;
            for peer in [&container, &tunnel] {
                outwards.extend(flows(peer.address_of(family), &addresses));
            }
            to_host.extend(addresses.iter().flat_map(|&address| flows(address, &[])));
        }

        let server = host.serve(&[at_echo(Ipv6Addr::UNSPECIFIED)])?;
        let before = [(host, Before::of(host, outwards)?), (inside, Before::of(inside, to_host)?)];
        for (_, before) in &before {
            before.all_arrived().context("the kernel alone")?;
        }
        let site = Site::new(world.host.namespace(), &cgroup)?;
        let daemon = site.daemon::<&str>([])?;
        for (place, before) in &before {
            before.compare(*place)?;
        }
        drop(server);
        clean(&world, &cgroup, &daemon)?;
        daemon.stop()
    });
}

/// A VPN set up as by wg-quick(8) for `families`.
struct Vpn {
    world: World,
    peer: Peer,
    cgroup: Cgroup,
}

impl Vpn {
    fn new(families: &[Family]) -> Result<Self> {
        let world = World::two_uplinks(Daemon::Radvd)?.dual_stack()?;
        let peer = world.vpn_for(families)?;
        Ok(Self { world, peer, cgroup: Cgroup::new("host")? })
    }

    /// Flows that the VPN takes, in the version of IP of `family`.
    fn taken(&self, family: Family) -> Result<Before> {
        let addresses = addresses(&self.world, family, &[&self.peer])?;
        let [first, _, last] = family.servers();
        let all = [self.peer.address_of(family), first, last].map(|address| flows(address, &addresses));
        let before = Before::of(self.world.host.place(&self.cgroup), all.concat())?;
        before.all_arrived().context("the kernel alone")?;
        Ok(before)
    }

    /// Waits until the daemon knows of `count` foreign rules, and returns them.
    fn rules(site: &Site, count: usize) -> Result<String> {
        site.wait_for_state(&format!("{count} rules in the state"), |state| {
            (state.foreign_rules.len() == count).then(|| state.foreign_rules.join("\n"))
        })
    }
}

#[test]
fn a_vpn_with_policy_rules_decides_until_its_rules_go() {
    bounded(8 * PATIENCE, || {
        let scene = Vpn::new(&VERSIONS)?;
        let (world, cgroup) = (&scene.world, &scene.cgroup);
        let host = world.host.place(cgroup);
        let before = Family::ALL.map(|family| scene.taken(family));
        let site = Site::new(world.host.namespace(), cgroup)?;
        let daemon = site.daemon::<&str>([])?;
        world.forget()?;
        for before in before {
            before?.compare(host)?;
        }
        ensure!(world.internet.echo().arrivals().is_empty(), "the VPN takes all traffic");
        let rules = Vpn::rules(&site, 4)?;
        let both = FOREIGN_RULES_IPV6 | FOREIGN_RULES_IPV4;
        ensure!(site.maps()?.config()?.flags & both == both);
        ensure!(rules.matches("51820").count() >= 2, "{rules}");

        // A cgroup that was pinned on purpose stays pinned.
        let pinned = cgroup.child("pinned")?;
        daemon.attach(&pinned, &ISP_B.pvd(ISP_B.name), Mode::Strict)?;
        let source = world.source_of(Family::Ipv6, &ISP_B)?;
        let to_internet: Vec<_> =
            Family::Ipv6.servers().into_iter().flat_map(|server| flows(server, &[])).collect();
        let by_b = Before::of(world.host.place(&pinned), to_internet)?;
        for (flow, report) in by_b.each() {
            ensure!(report.arrived && report.source() == Some(source), "{flow:?}: {report:?}");
        }
        ensure!(world.internet.echo().arrivals().len() == by_b.each().count());
        world.check_no_foreign()?;

        for family in VERSIONS {
            Peer::drop_rules(world.host.namespace(), family)?;
        }
        Vpn::rules(&site, 0)?;
        ensure!(site.maps()?.config()?.flags & both == 0);
        clean(world, cgroup, &daemon)?;
        daemon.stop()
    });
}

/// Rules of one version of IP say nothing about the other.
fn rules_in_one_version(ruled: Family, free: Family) -> Result<()> {
    let scene = Vpn::new(&[ruled])?;
    let (world, cgroup) = (&scene.world, &scene.cgroup);
    let host = world.host.place(cgroup);
    let before = scene.taken(ruled)?;
    let site = Site::new(world.host.namespace(), cgroup)?;
    let daemon = site.daemon::<&str>([])?;
    Vpn::rules(&site, 2)?;
    let flag = if ruled == Family::Ipv6 { FOREIGN_RULES_IPV6 } else { FOREIGN_RULES_IPV4 };
    ensure!(site.maps()?.config()?.flags & (FOREIGN_RULES_IPV6 | FOREIGN_RULES_IPV4) == flag);
    world.forget()?;
    before.compare(host)?;
    ensure!(world.internet.echo().arrivals().is_empty(), "the VPN takes all traffic of {ruled}");
    let by_provider = |isp| -> Result<Vec<_>> {
        let source = world.source_of(free, isp)?;
        Ok(flows(free.servers()[0], &[source]).into_iter().filter(|flow| flow.bind.is_some()).collect())
    };
    let both = [by_provider(&ISP_A)?, by_provider(&ISP_B)?].concat();
    Before::of(host, both)?.all_arrived().with_context(|| format!("{free} is enforced"))?;
    world.check_no_foreign()?;
    Peer::drop_rules(world.host.namespace(), ruled)?;
    Vpn::rules(&site, 0)?;
    clean(world, cgroup, &daemon)?;
    daemon.stop()
}

#[test]
fn ipv6_rules_leave_ipv4_enforced() {
    bounded(8 * PATIENCE, || rules_in_one_version(Family::Ipv6, Family::Ipv4));
}

#[test]
fn ipv4_rules_leave_ipv6_enforced() {
    bounded(8 * PATIENCE, || rules_in_one_version(Family::Ipv4, Family::Ipv6));
}

#[test]
fn an_interface_that_is_down_is_not_used() {
    bounded(4 * PATIENCE, || {
        let world = World::two_uplinks(Daemon::Radvd)?.dual_stack()?;
        let cgroup = Cgroup::new("host")?;
        let host = world.host.place(&cgroup);
        let a = world.source(&ISP_A)?;
        world.host.namespace().ip("link set isp-a down")?;
        let site = Site::new(world.host.namespace(), &cgroup)?;
        let daemon = site.daemon::<&str>([])?;
        for family in Family::ALL {
            let b = world.source_of(family, &ISP_B)?;
            let flows = Before::of(host, flows(family.servers()[0], &[b]))?;
            for (flow, report) in flows.each() {
                ensure!(report.arrived && report.source() == Some(b.to_canonical()), "{flow:?}: {report:?}");
            }
        }
        let maps = site.maps()?;
        ensure!(maps.source(a)?.is_none(), "an address of an interface that is down is a source");
        let a4 = world.source_ipv4(&ISP_A);
        // Unlike those of IPv6, IPv4 addresses outlive their interface's being down. Nothing may be sent from them.
        let source = maps.source(a4.to_ipv6_mapped())?;
        ensure!(source.is_none(), "an IPv4 address of an interface that is down is a source");
        world.host.namespace().ip("link set isp-a up")?;
        // The kernel took the route away, and a DHCP client puts it back.
        world.host.namespace().ip4(&format!(
            "route add default via {} dev isp-a proto dhcp src {a4} metric 100",
            ISP_A.gateway_ipv4()
        ))?;
        world.host.wait_for_address(&ISP_A.lan)?;
        let mut notices = daemon.watch()?;
        let carried = |address: Ipv6Addr| -> Result<bool> { Ok(maps.source(address)?.is_some()) };
        let both = || -> Result<bool> { Ok(carried(a)? && carried(a4.to_ipv6_mapped())?) };
        if !both()? {
            notices.until("the first uplink to be a PvD again", |_| Ok(both()?.then_some(())))?;
        }
        world.check_no_foreign()?;
        daemon.stop()
    });
}
