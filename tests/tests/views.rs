//! Views: groups in order, selectors that follow the network, and what happens when no group will do.

use std::net::{IpAddr, Ipv6Addr};

use anyhow::{Context as _, Result, ensure};
use mif_common::abi;
use mif_core::wire::{DomainName, NdOption, PvdOption, RouterAdvertisement};
use mif_tests::{
    cgroup::Cgroup,
    deadline::{PATIENCE, bounded},
    enforced::check_words,
    family::Family,
    flow::{Flow, Kind, Report},
    internet::{SERVERS, SERVERS_IPV4, at_echo},
    isp::{ISP_A, ISP_B, Isp},
    mif::{Daemon, Site},
    router::Daemon as Speaker,
    world::World,
};
use mif_user::{
    mode::{Mode, Otherwise},
    state::State,
};
use nix::errno::Errno;

/// How flows of a cgroup fare.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Fate {
    /// They arrive from this address.
    From(IpAddr),
    /// They are refused with ENETUNREACH.
    Refused,
}

/// What the view has for destinations in the internet.
fn decided(site: &Site, view: u32) -> Result<Option<Ipv6Addr>> {
    let decision = site.maps()?.decision(view, SERVERS[0])?;
    let usable = decision.filter(|decision| decision.verdict == abi::Verdict::Use as u32);
    Ok(usable.map(|decision| decision.source.into()))
}

/// A host with two uplinks of which the first is the one that processes without a policy use, and its daemon's place.
fn scene() -> Result<(World, Cgroup, Site)> {
    let world = World::two_uplinks(Speaker::Embedded)?;
    let root = Cgroup::new("host")?;
    let site = Site::new(world.host.namespace(), &root)?;
    Ok((world, root, site))
}

/// Makes a router say something, and waits until the views have what follows from it.
fn say(
    (world, daemon, site): (&mut World, &Daemon<'_>, &Site),
    isp: &Isp,
    advertisement: &RouterAdvertisement,
    expected: &[(u32, Option<Ipv6Addr>)],
) -> Result<()> {
    let mut notices = daemon.watch()?;
    world.router(isp).advertise(advertisement)?;
    notices.until(&format!("views to have {expected:?}"), |_| {
        for (view, source) in expected {
            if decided(site, *view)? != *source {
                return Ok(None);
            }
        }
        Ok(Some(()))
    })
}

/// Flows of all kinds fare so.
fn check(world: &World, cgroup: &Cgroup, expected: Fate) -> Result<()> {
    check_to(world, cgroup, SERVERS[0].into(), expected)
}

/// As [`check`], to this server.
fn check_to(world: &World, cgroup: &Cgroup, server: IpAddr, expected: Fate) -> Result<()> {
    let flows =
        [Kind::Tcp, Kind::UdpConnected, Kind::UdpUnconnected].map(|kind| Flow::new(kind, at_echo(server)));
    for (flow, report) in flows.iter().zip(world.host.place(cgroup).open_all(&flows)?) {
        ensure!(fate(&report)? == expected, "{flow:?}: {report:?}, expected {expected:?}");
    }
    world.check_no_foreign()
}

fn from(source: impl Into<IpAddr>) -> Fate {
    Fate::From(source.into())
}

fn fate(report: &Report) -> Result<Fate> {
    if report.errno == Some(Errno::ENETUNREACH as i32) {
        return Ok(Fate::Refused);
    }
    ensure!(report.arrived, "{report:?}");
    Ok(Fate::From(report.source().context("it has a source")?))
}

/// All as it was, but no default router.
fn withdrawn(isp: &Isp) -> RouterAdvertisement {
    let mut advertisement = isp.advertisement();
    advertisement.header.router_lifetime = 0;
    advertisement
}

/// All as it was, in a PvD of this name.
fn named(isp: &Isp, name: &str) -> Result<RouterAdvertisement> {
    let mut advertisement = isp.advertisement();
    advertisement.options.push(NdOption::Pvd(PvdOption {
        id: name.parse::<DomainName>()?,
        http: false,
        legacy: false,
        delay: 0,
        sequence: 0,
        header: None,
        options: Vec::new(),
    }));
    Ok(advertisement)
}

#[test]
fn a_later_group_is_for_what_no_earlier_one_reaches() {
    bounded(4 * PATIENCE, || {
        let (mut world, root, site) = scene()?;
        let (a, b) = (world.source(&ISP_A)?, world.source(&ISP_B)?);
        let (ordered, single) = (root.child("ordered")?, root.child("single")?);
        let daemon = site.daemon::<&str>([])?;
        site.wait_for_routers()?;
        let groups: [&[&str]; 3] = [&["name=no-such.example"], &[ISP_B.name], &[ISP_A.name]];
        let view = daemon.attach_groups(&ordered, &groups, Mode::Strict, None)?.view;
        let only = daemon.attach(&single, ISP_B.name, Mode::Strict)?.view;
        ensure!(view != only);
        check(&world, &ordered, from(b))?;
        check(&world, &single, from(b))?;

        let gone = [(view, Some(a)), (only, None)];
        say((&mut world, &daemon, &site), &ISP_B, &withdrawn(&ISP_B), &gone)?;
        check(&world, &ordered, from(a))?;
        check(&world, &single, Fate::Refused)?;

        let back = [(view, Some(b)), (only, Some(b))];
        say((&mut world, &daemon, &site), &ISP_B, &ISP_B.advertisement(), &back)?;
        check(&world, &ordered, from(b))?;
        check(&world, &single, from(b))?;

        // One who shares the view of a policy shares its changes; the order is what makes a view another one.
        let other = root.child("other")?;
        ensure!(daemon.attach_groups(&other, &groups, Mode::Prefer, None)?.view == view);
        let reversed: [&[&str]; 2] = [&[ISP_A.name], &[ISP_B.name]];
        let reversed = daemon.attach_groups(&other, &reversed, Mode::Prefer, None)?;
        ensure!(reversed.view != view);
        check(&world, &other, from(a))?;
        daemon.stop()
    });
}

#[test]
fn what_selectors_pick_follows_the_network() {
    bounded(6 * PATIENCE, || {
        let (mut world, root, site) = scene()?;
        let b = world.source(&ISP_B)?;
        let daemon = site.daemon::<&str>([])?;
        site.wait_for_routers()?;
        let exact = ISP_B.pvd(ISP_B.name);
        // What --pvd takes; whether it picks the second provider's PvD without a name, and with.
        let table = [
            (exact.as_str(), true, false),
            (ISP_B.name, true, true),
            ("interface=isp-b", true, true),
            ("kind=explicit", false, true),
            ("kind=implicit", true, false),
            ("name=b.example", false, true),
            ("id=b.example%isp-b", false, true),
            ("name=c.example", false, false),
        ];
        let mut cgroups = Vec::new();
        for (number, (pvd, before, after)) in table.into_iter().enumerate() {
            let cgroup = root.child(&format!("selector-{number}"))?;
            let groups: [&[&str]; 1] = [&[pvd]];
            let view = daemon.attach_groups(&cgroup, &groups, Mode::Strict, None)?.view;
            cgroups.push((pvd, cgroup, view, before, after));
        }
        let a = world.source(&ISP_A)?;
        // The first provider is without a name as well.
        let source = |pvd: &str, picks: bool| match (pvd, picks) {
            ("kind=implicit", _) => Some(a),
            (_, picks) => picks.then_some(b),
        };
        let fate = |source: Option<Ipv6Addr>| source.map_or(Fate::Refused, from);
        for (pvd, cgroup, view, before, _) in &cgroups {
            ensure!(decided(&site, *view)? == source(pvd, *before), "{pvd}");
            check(&world, cgroup, fate(source(pvd, *before)))?;
        }
        let listed = site.says(["policy", "list"])?;
        check_words("policy list", &listed, &["name=b.example (no such PvD now)"])?;

        let after: Vec<_> =
            cgroups.iter().map(|(pvd, _, view, _, after)| (*view, source(pvd, *after))).collect();
        say((&mut world, &daemon, &site), &ISP_B, &named(&ISP_B, "B.example")?, &after)?;
        for (pvd, cgroup, _, _, after) in &cgroups {
            check(&world, cgroup, fate(source(pvd, *after)))?;
        }
        // A name that is there now, as one word.
        let word = root.child("word")?;
        daemon.attach(&word, "b.example", Mode::Strict)?;
        check(&world, &word, from(b))?;
        let rows: serde_json::Value = serde_json::from_str(&site.says(["policy", "list", "--json"])?)?;
        let none: Vec<_> =
            rows.as_array().context("an array")?.iter().filter(|row| row["none_now"] == true).collect();
        ensure!(none.len() == 1 && none[0]["groups"][0][0]["name"] == "c.example", "{none:?}");
        daemon.stop()
    });
}

#[test]
fn what_follows_the_last_group() {
    bounded(4 * PATIENCE, || {
        let (mut world, root, site) = scene()?;
        let (a, b) = (world.source(&ISP_A)?, world.source(&ISP_B)?);
        let daemon = site.daemon::<&str>([])?;
        site.wait_for_routers()?;
        let mut views = Vec::new();
        for (name, mode, otherwise) in [
            ("refuse", Mode::Strict, None),
            ("kernel", Mode::Prefer, None),
            ("default", Mode::Prefer, Some(Otherwise::Default)),
        ] {
            let cgroup = root.child(name)?;
            let groups: [&[&str]; 1] = [&[ISP_B.name]];
            let view = daemon.attach_groups(&cgroup, &groups, mode, otherwise)?.view;
            check(&world, &cgroup, from(b))?;
            views.push((cgroup, view));
        }
        let [(refuse, of_refuse), (kernel, of_kernel), (default, of_default)] = &views[..] else {
            anyhow::bail!("there are three");
        };
        ensure!(of_refuse == of_kernel && of_kernel != of_default);
        let gone = [(*of_kernel, None), (*of_default, Some(a))];
        say((&mut world, &daemon, &site), &ISP_B, &withdrawn(&ISP_B), &gone)?;
        check(&world, refuse, Fate::Refused)?;
        // The kernel has one default route left.
        check(&world, kernel, from(a))?;
        check(&world, default, from(a))?;
        let applied = |reason: mif_common::Reason| -> Result<u64> {
            let counts = site.maps()?.counts()?;
            Ok(counts.iter().filter(|(_, of, _)| *of == reason).map(|(.., count)| count.count).sum())
        };
        // Who decided is what tells the two apart.
        let (before, undecided) =
            (applied(mif_common::Reason::Applied)?, applied(mif_common::Reason::NoDecision)?);
        check(&world, kernel, from(a))?;
        ensure!(applied(mif_common::Reason::Applied)? == before);
        ensure!(applied(mif_common::Reason::NoDecision)? > undecided);
        check(&world, default, from(a))?;
        ensure!(applied(mif_common::Reason::Applied)? > before);

        let said = site.complains([
            "policy",
            "attach",
            kernel.path().to_str().context("UTF-8")?,
            "--pvd",
            ISP_B.name,
            "--otherwise",
            "refuse",
        ])?;
        check_words("attach", &said, &["prefer refuses nothing", "the mode strict"])?;
        daemon.stop()
    });
}

#[test]
fn an_interfaces_ipv4_is_a_pvd_of_its_own() {
    bounded(6 * PATIENCE, || {
        let (world, root, site) = scene()?;
        let world = world.dual_stack()?;
        let (a, b) = (world.source(&ISP_A)?, world.source(&ISP_B)?);
        let (a4, b4) = (ISP_A.host_ipv4(), ISP_B.host_ipv4());
        let daemon = site.daemon::<&str>([])?;
        site.wait_for_routers()?;
        let id = format!("{}/ipv4", ISP_B.name);
        // What --pvd takes; how flows of IPv6 and of IPv4 fare.
        for (number, (pvd, ipv6, ipv4)) in [
            (id.as_str(), Fate::Refused, from(b4)),
            ("kind=ipv4", Fate::Refused, from(a4)),
            (ISP_B.name, from(b), from(b4)),
            ("kind=implicit", from(a), Fate::Refused),
            ("internet=true", from(a), from(a4)),
        ]
        .into_iter()
        .enumerate()
        {
            let cgroup = root.child(&format!("family-{number}"))?;
            daemon.attach(&cgroup, pvd, Mode::Strict)?;
            check(&world, &cgroup, ipv6).context(pvd.to_owned())?;
            for family in [Family::Ipv4, Family::Mapped] {
                check_to(&world, &cgroup, family.servers()[0], ipv4).context(pvd.to_owned())?;
            }
        }

        // Groups in order, and the first without IPv4 from now on.
        let ordered = root.child("ordered")?;
        let groups: [&[&str]; 2] = [&[ISP_B.name], &[ISP_A.name]];
        let view = daemon.attach_groups(&ordered, &groups, Mode::Strict, None)?.view;
        let mut notices = daemon.watch()?;
        world.host.namespace().ip4(&format!("route del default dev {}", ISP_B.name))?;
        let maps = site.maps()?;
        notices.until("the other provider for IPv4", |_| {
            let decision = maps.decision(view, SERVERS_IPV4[0].to_ipv6_mapped())?;
            let source = decision.map(|decision| Ipv6Addr::from(decision.source));
            Ok((source == Some(a4.to_ipv6_mapped())).then_some(()))
        })?;
        check(&world, &ordered, from(b))?;
        check_to(&world, &ordered, SERVERS_IPV4[0].into(), from(a4))?;
        daemon.stop()
    });
}

#[test]
fn a_policy_that_the_tables_do_not_hold_is_refused_and_in_nobodys_way() {
    bounded(4 * PATIENCE, || {
        let (mut world, root, site) = scene()?;
        let (a, b) = (world.source(&ISP_A)?, world.source(&ISP_B)?);
        let (first, second) = (root.child("first")?, root.child("second")?);
        // What the default view and one policy take.
        let daemon = site.daemon::<&str>([])?;
        site.wait_for_routers()?;
        daemon.attach(&first, ISP_B.name, Mode::Strict)?;
        let room = site.enforced()?.decisions.len();
        daemon.detach(&first)?;
        daemon.stop()?;
        let daemon = site.daemon_configured(&format!("[limits]\ndecisions = {}\n", room + 1))?;
        site.wait_for_routers()?;
        let view = daemon.attach(&first, ISP_B.name, Mode::Strict)?.view;
        let before = site.enforced()?;
        let path = second.path().to_str().context("UTF-8")?;
        let said = site.complains(["policy", "attach", path, "--pvd", ISP_A.name, "--mode", "strict"])?;
        check_words(
            "attach",
            &said,
            &["the old tables stay in force", "DECISION is full", "limits.decisions"],
        )?;
        ensure!(site.enforced()? == before);
        let state = site.state()?;
        ensure!(state.policies.len() == 1 && state.refused["tables-full"] == 1, "{state:#?}");
        let words = ["the last policy given by command", "DECISION is full", "tables-full: 1"];
        check_words("status", &site.says(["status"])?, &words)?;
        check(&world, &first, from(b))?;
        check(&world, &second, from(a))?;
        // What comes after it is not held up.
        say((&mut world, &daemon, &site), &ISP_B, &withdrawn(&ISP_B), &[(view, None)])?;
        check(&world, &first, Fate::Refused)?;
        say((&mut world, &daemon, &site), &ISP_B, &ISP_B.advertisement(), &[(view, Some(b))])?;
        check(&world, &first, from(b))?;
        daemon.detach(&first)?;
        daemon.attach(&second, ISP_A.name, Mode::Strict)?;
        ensure!(site.state()?.problems.is_empty());
        check(&world, &second, from(a))?;
        daemon.stop()
    });
}

#[test]
fn a_configuration_that_the_tables_do_not_hold_leaves_the_old_ones_in_force() {
    bounded(4 * PATIENCE, || {
        let (_world, root, site) = scene()?;
        let daemon = site.daemon::<&str>([])?;
        site.wait_for_routers()?;
        let room = site.enforced()?.decisions.len();
        daemon.stop()?;
        let policy = |pvd: &str| -> Result<String> {
            Ok(format!("[[policy]]\ncgroup = '{}/{pvd}'\npvds = ['{pvd}']\n", root.below_root()?))
        };
        let limits = format!("[limits]\ndecisions = {}\n", room + 1);
        site.daemon_configured(&limits)?.stop()?;
        let before = site.enforced()?;
        let daemon = site.daemon_configured(&(limits + &policy(ISP_A.name)? + &policy(ISP_B.name)?))?;
        let state = site.until_state("the problem", |state| {
            state.problems.iter().any(|problem| problem.contains("DECISION is full")).then(|| state.clone())
        })?;
        check_words("the problem", &state.problems.concat(), &["the old tables stay in force"])?;
        check_words("status", &site.says(["status"])?, &["DECISION is full", "limits.decisions"])?;
        ensure!(site.enforced()?.decisions == before.decisions);
        daemon.stop()
    });
}

/// While the tables are full a cgroup that appears gets its policy, whose view they hold; and they heal when there is room.
#[test]
fn full_tables_confine_who_comes_and_heal() {
    bounded(4 * PATIENCE, || {
        let (world, root, site) = scene()?;
        let policy =
            format!("[[policy]]\ncgroup = '{}/late'\npvds = ['{}']\n", root.below_root()?, ISP_B.name);
        let daemon = site.daemon_configured(&policy)?;
        site.wait_for_routers()?;
        let room = site.enforced()?.decisions.len();
        daemon.stop()?;
        let daemon = site.daemon_configured(&format!("[limits]\ndecisions = {}\n{policy}", room + 30))?;
        site.wait_for_routers()?;

        let route = |verb: &str, number: u32| {
            world.host.namespace().ip(&format!("route {verb} 2001:db8:f:{number:x}::/64 dev {}", ISP_A.name))
        };
        (0..40).try_for_each(|number| route("add", number))?;
        let full = |state: &State| state.problems.iter().any(|problem| problem.contains("DECISION is full"));
        site.until_state("full tables", |state| full(state).then_some(()))?;
        let late = root.child("late")?;
        let id = late.id()?;
        site.until_state("its policy", |state| {
            state.policies.iter().any(|policy| policy.cgroup_id == id).then_some(())
        })?;
        ensure!(site.maps()?.policy(id)?.is_some(), "a strict cgroup goes without its policy");

        // Others in their place, so that what goes makes the room for what comes.
        (0..40).try_for_each(|number| route("del", number))?;
        (40..44).try_for_each(|number| route("add", number))?;
        site.until_state("tables that hold all again", |state| (!full(state)).then_some(()))?;
        let decisions = site.enforced()?.decisions;
        ensure!(decisions.len() <= (room + 30), "{}", decisions.len());
        daemon.stop()
    });
}
