//! A source that no router of its link announced, as DHCPv6 gives it or somebody sets it by hand, on a link with two routers: a
//! cgroup that is pinned strictly sends with it to the router of its view alone, whatever router the kernel's routes name.

use std::net::IpAddr;

use anyhow::{Context as _, Result, ensure};
use mif_core::wire::{RaHeader, RouterAdvertisement};
use mif_tests::{
    before::KINDS,
    cgroup::Cgroup,
    deadline::{PATIENCE, bounded},
    family::Family,
    flow::Flow,
    internet::at_echo,
    isp::{ISP_A, ISP_B, Isp},
    mif::Site,
    router::Daemon as Speaker,
    world::{SHARED_LINK, World},
};
use mif_user::mode::Mode;

/// In no prefix that anybody announces, and in no gateway's subnet.
const UNANNOUNCED: &str = "2001:db8:d::1";
const UNANNOUNCED_IPV4: &str = "198.18.63.1";

const BOTH: [Isp; 2] = [ISP_A, ISP_B];

/// Flows of all kinds that name this source, of which only the router of `to` sees something.
fn go_to(world: &World, pinned: &Cgroup, source: &str, to: &Isp) -> Result<()> {
    let source: IpAddr = source.parse()?;
    let server = at_echo(Family::of(source).servers()[0]);
    let flows: Vec<Flow> = KINDS.into_iter().map(|kind| Flow::new(kind, server).from(source)).collect();
    world.forget()?;
    // No answer comes: neither provider has the address.
    let reports = world.host.place(pinned).open_all(&flows)?;
    for router in world.routers() {
        let seen = router.tap().seen()?;
        let from = seen.iter().filter(|seen| seen.headers.source == source).count();
        let own = router.isp() == to;
        ensure!(
            if own { from >= flows.len() } else { seen.is_empty() },
            "{}, for {}: {seen:#?} of {reports:#?}",
            router.isp().name,
            to.name
        );
    }
    Ok(())
}

#[test]
fn goes_to_the_router_of_the_view() {
    bounded(10 * PATIENCE, || {
        let mut world = World::two_routers_one_link(Speaker::Embedded)?;
        // From now on addresses come from elsewhere.
        let header = RaHeader { router_lifetime: 1800, ..RaHeader::default() };
        let without_prefix = RouterAdvertisement { header, options: Vec::new() };
        for isp in &BOTH {
            world.router(isp).speak(Speaker::Embedded, &without_prefix)?;
        }
        let host = world.host.namespace().clone();
        for isp in &BOTH {
            host.ip(&format!("addr del {}/64 dev {SHARED_LINK}", world.source(isp)?))?;
        }
        host.ip(&format!(
            "addr add {UNANNOUNCED}/128 dev {SHARED_LINK} nodad valid_lft 3600 preferred_lft 3600"
        ))?;
        let cgroup = Cgroup::new("host")?;
        let site = Site::new(&host, &cgroup)?;
        let daemon = site.daemon::<&str>([])?;
        site.wait_for_routers()?;
        // A router is resolved as soon as it is known, also one that nothing leads to yet.
        for isp in &BOTH {
            let entry = format!("{} dev {SHARED_LINK} lladdr", isp.link_local());
            world.host.events().until(&format!("the neighbour entry {entry}"), || {
                Ok(host.ip_show(&["neigh"])?.contains(&entry).then_some(()))
            })?;
        }
        for mode in [Mode::Strict, Mode::Prefer] {
            for isp in &BOTH {
                let pinned = cgroup.child(&format!("{}-{mode}", isp.name))?;
                daemon.attach(&pinned, &isp.pvd(SHARED_LINK), mode)?;
                go_to(&world, &pinned, UNANNOUNCED, isp)
                    .with_context(|| format!("pinned to {}, {mode}", isp.name))?;
                daemon.detach(&pinned)?;
            }
        }
        // The router of the view is one no more: nothing is sent, by the other one least of all.
        let pinned = cgroup.child("left")?;
        daemon.attach(&pinned, &ISP_B.pvd(SHARED_LINK), Mode::Strict)?;
        let last = RouterAdvertisement { header: RaHeader::default(), options: Vec::new() };
        world.router(&ISP_B).advertise(&last)?;
        world.host.wait_for_default_router(ISP_B.link_local(), false)?;
        world.forget()?;
        let server = at_echo(Family::Ipv6.servers()[0]);
        for kind in KINDS {
            let flow = Flow::new(kind, server).from(UNANNOUNCED.parse::<IpAddr>()?);
            world.host.place(&pinned).open(&flow)?;
        }
        for router in world.routers() {
            let seen = router.tap().seen()?;
            ensure!(seen.is_empty(), "{}: {seen:#?}", router.isp().name);
        }
        daemon.stop()
    });
}

/// The kernel is told by a policy rule to send by the other gateway; a pinned cgroup stays with its view's.
#[test]
fn goes_to_the_gateway_of_the_view_in_ipv4() {
    const TABLE: u32 = 4242;
    bounded(8 * PATIENCE, || {
        let world = World::two_routers_one_link(Speaker::Embedded)?.dual_stack()?;
        let host = world.host.namespace().clone();
        let gateway = ISP_B.gateway_ipv4();
        host.ip4(&format!(
            "addr add {UNANNOUNCED_IPV4}/32 dev {SHARED_LINK}\n\
             route add default via {gateway} dev {SHARED_LINK} table {TABLE}\n\
             rule add from {UNANNOUNCED_IPV4} lookup {TABLE}"
        ))?;
        let cgroup = Cgroup::new("host")?;
        let site = Site::new(&host, &cgroup)?;
        let daemon = site.daemon::<&str>([])?;
        site.wait_for_routers()?;
        let pinned = cgroup.child("pinned")?;
        go_to(&world, &pinned, UNANNOUNCED_IPV4, &ISP_B).context("without a policy")?;
        daemon.attach(&pinned, &format!("{SHARED_LINK}/ipv4"), Mode::Strict)?;
        go_to(&world, &pinned, UNANNOUNCED_IPV4, &ISP_A).context("pinned")?;
        daemon.stop()
    });
}
