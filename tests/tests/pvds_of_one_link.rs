//! Several PvDs on one interface: each cgroup has the one that its policy names.

use anyhow::{Context as _, Result, ensure};
use mif_core::wire::{DomainName, NdOption, PvdOption, RouterAdvertisement};
use mif_tests::{
    before::{Before, flows},
    cgroup::Cgroup,
    deadline::{PATIENCE, bounded},
    family::Family,
    internet::at_echo,
    isp::{ISP_A, ISP_B, Isp},
    matrix,
    mif::{Daemon, Site},
    router::Daemon as Speaker,
    script::Script,
    world::{SHARED_LINK, World},
};
use mif_user::mode::Mode;
use nix::errno::Errno;

/// What a cgroup that is pinned to one PvD gets in one version of IP.
#[derive(Clone, Copy, Debug)]
enum Gets {
    /// The addresses of these providers and no others; the first of them where it has no wish.
    By(&'static [Isp]),
    /// Nothing: every flow is refused at once.
    Nothing,
}

const BOTH: [Isp; 2] = [ISP_A, ISP_B];

/// A PvD, and what a cgroup that is pinned to it gets in IPv6 and in IPv4.
type Row = (String, Gets, Gets);

fn check(world: &World, cgroup: &Cgroup, daemon: &Daemon<'_>, rows: &[Row]) -> Result<()> {
    for (pvd, ipv6, ipv4) in rows {
        let pinned = cgroup.child(&pvd.replace(['/', ':', '%'], "-"))?;
        daemon.attach(&pinned, pvd, Mode::Strict)?;
        for family in Family::ALL {
            let gets = if family == Family::Ipv6 { *ipv6 } else { *ipv4 };
            check_family(world, &pinned, family, gets)
                .with_context(|| format!("pinned to {pvd}, {family} gets {gets:?}"))?;
        }
        daemon.detach(&pinned)?;
    }
    // Who has no policy has all of it.
    let all = matrix::run(world, Some(cgroup))?;
    ensure!(all.is_clean(), "without a policy:\n{all}");
    Ok(())
}

fn check_family(world: &World, pinned: &Cgroup, family: Family, gets: Gets) -> Result<()> {
    let place = world.host.place(pinned);
    let [first, _, last] = family.servers();
    let allowed = |isp: &Isp| matches!(gets, Gets::By(isps) if isps.contains(isp));
    world.forget()?;
    for server in [first, last] {
        for (flow, report) in Before::of(place, flows(server, &[]))?.each() {
            match gets {
                Gets::By(isps) => ensure!(
                    report.arrived && report.source().is_some_and(|source| isps[0].owns(source)),
                    "{flow:?}: {report:?}"
                ),
                Gets::Nothing => {
                    ensure!(report.errno == Some(Errno::ENETUNREACH as i32), "{flow:?}: {report:?}");
                }
            }
        }
        for isp in &BOTH {
            let source = world.source_of(family, isp)?;
            let bound = flows(server, &[source]).into_iter().filter(|flow| flow.bind == Some(source));
            for (flow, report) in Before::of(place, bound.collect())?.each() {
                // A source that is not allowed is refused where it is named.
                let refused = !report.arrived && report.errno.is_some();
                let as_wanted = if allowed(isp) { report.arrived } else { refused };
                ensure!(as_wanted, "{flow:?}: {report:?}");
            }
        }
    }
    world.check_no_foreign()?;
    for router in world.routers().iter().filter(|router| !allowed(router.isp())) {
        let seen = router.tap().seen()?;
        ensure!(seen.is_empty(), "{} got packets: {seen:#?}", router.isp().name);
    }
    Ok(())
}

#[test]
fn a_cgroup_has_the_router_that_its_policy_names() {
    bounded(10 * PATIENCE, || {
        let world = World::two_routers_one_link(Speaker::Radvd)?.dual_stack()?;
        let cgroup = Cgroup::new("host")?;
        let site = Site::new(world.host.namespace(), &cgroup)?;
        let daemon = site.daemon::<&str>([])?;
        site.wait_for_routers()?;
        let rows = [
            (ISP_A.pvd(SHARED_LINK), Gets::By(&[ISP_A]), Gets::Nothing),
            (ISP_B.pvd(SHARED_LINK), Gets::By(&[ISP_B]), Gets::Nothing),
            // The link's IPv4 is one PvD, whatever the number of its gateways.
            (format!("{SHARED_LINK}/ipv4"), Gets::Nothing, Gets::By(&BOTH)),
        ];
        check(&world, &cgroup, &daemon, &rows)?;
        daemon.stop()
    });
}

/// What a provider advertises as a PvD with a name; `legacy` is the L flag (RFC 8801 §3.1).
fn named(isp: &Isp, name: &str, legacy: bool) -> Result<RouterAdvertisement> {
    let mut advertisement = isp.advertisement();
    let id: DomainName = name.parse()?;
    advertisement.options.push(NdOption::Pvd(PvdOption {
        id,
        http: false,
        legacy,
        delay: 0,
        sequence: 0,
        header: None,
        options: Vec::new(),
    }));
    Ok(advertisement)
}

#[test]
fn ipv4_goes_with_the_explicit_pvd_that_claims_it() {
    bounded(10 * PATIENCE, || {
        let mut world = World::two_routers_one_link(Speaker::Embedded)?.dual_stack()?;
        world.router(&ISP_A).advertise(&named(&ISP_A, "a.example", false)?)?;
        world.router(&ISP_B).advertise(&named(&ISP_B, "b.example", true)?)?;
        let cgroup = Cgroup::new("host")?;
        let site = Site::new(world.host.namespace(), &cgroup)?;
        let daemon = site.daemon::<&str>([])?;
        let names = ["a.example", "b.example"];
        site.wait_for_state("both named PvDs", |state| {
            let known = |name| state.pvds.iter().any(|pvd| pvd.id.starts_with(name));
            names.into_iter().all(known).then_some(())
        })?;
        let rows = [
            (names[0].to_owned(), Gets::By(&[ISP_A]), Gets::Nothing),
            (names[1].to_owned(), Gets::By(&[ISP_B]), Gets::By(&BOTH)),
        ];
        check(&world, &cgroup, &daemon, &rows)?;
        daemon.stop()
    });
}

/// A socket with a port but without a source cannot be given one: the kernel chooses among the addresses of the link. Whichever it is, the
/// packets go to that one's router; under a strict policy they go nowhere if it is not the view's.
#[test]
fn a_port_without_a_source_leaves_the_choice_to_the_kernel() {
    bounded(10 * PATIENCE, || {
        let world = World::two_routers_one_link(Speaker::Embedded)?;
        let cgroup = Cgroup::new("host")?;
        let site = Site::new(world.host.namespace(), &cgroup)?;
        let daemon = site.daemon::<&str>([])?;
        site.wait_for_routers()?;
        let server = at_echo(Family::Ipv6.servers()[0]).to_string();
        let connect = format!("connect={server}");
        // What the kernel takes, which a policy does not change.
        let mut taken = Vec::new();
        for (isp, mode) in
            BOTH.iter().flat_map(|isp| [Mode::Prefer, Mode::Strict].into_iter().map(move |mode| (isp, mode)))
        {
            let pinned = cgroup.child(&format!("{}-{mode}", isp.name))?;
            daemon.attach(&pinned, &isp.pvd(SHARED_LINK), mode)?;
            for protocol in ["tcp", "udp"] {
                world.forget()?;
                let words = [protocol, "bind=[::]:0", &connect, "exchange"];
                let report = world.host.place(&pinned).play(&Script::new(false, words)?)?.report()?;
                let source = report.source().context("no source")?;
                taken.push(source);
                let own = isp.owns(source);
                let what = format!("{}, {mode}, {words:?}: {report:?}", isp.name);
                ensure!(report.arrived == (own || mode == Mode::Prefer), "{what}");
                world.check_no_foreign().with_context(|| what.clone())?;
                for router in world.routers() {
                    let seen = !router.tap().seen()?.is_empty();
                    ensure!(seen == (report.arrived && router.isp().owns(source)), "{what}: {router:?}");
                }
                // Each datagram of a socket that is not connected has its own source.
                let to = format!("to={server}");
                let sent = Script::new(false, ["udp", "bind=[::]:0", &to])?;
                let report = world.host.place(&pinned).play(&sent)?.report()?;
                ensure!(report.source().is_some_and(|source| isp.owns(source)), "{what}: {report:?}");
            }
        }
        ensure!(taken.windows(2).all(|pair| pair[0] == pair[1]), "{taken:?}");
        daemon.stop()
    });
}
