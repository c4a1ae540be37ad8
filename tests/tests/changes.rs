//! What a router says anew is in force within 50 ms.

use std::{
    net::{IpAddr, Ipv6Addr},
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, Result, bail, ensure};
use mif_common::abi;
use mif_core::{
    select::tables::TableStore as _,
    time::Time,
    wire::{NdOption, RouterAdvertisement, RouterPreference},
};
use mif_tests::{
    cgroup::Cgroup,
    deadline::{PATIENCE, bounded},
    flow::{Flow, Kind},
    internet::{SERVERS, at_echo},
    isp::{ISP_A, ISP_B, Isp},
    mif::{Daemon, Site},
    ra_watch::{RaWatch, SeenRa},
    router::Daemon as Speaker,
    world::World,
};
use mif_user::{clock, control::Notice, kernel::maps::Maps};

/// From the arrival of an advertisement at the host's interface to the last table entry.
const LIMIT: Duration = Duration::from_millis(50);

/// A subnet that the first provider does not advertise at first.
const RENUMBERED: u16 = 2;

/// How new flows are opened.
const KINDS: [Kind; 3] = [Kind::Tcp, Kind::UdpConnected, Kind::UdpUnconnected];

/// A flow from no address in particular.
fn free(kind: Kind) -> Flow {
    Flow::new(kind, at_echo(SERVERS[0]))
}

/// What a router is made to say.
#[derive(Clone, Copy, Debug)]
enum Say {
    /// What it said at first.
    AllIsWell,
    /// A router lifetime of zero.
    NoDefaultRouter,
    /// A preferred lifetime of zero.
    Deprecated,
    /// A default router of high preference.
    Preferred,
    /// A new prefix; the old one is deprecated.
    Renumbered,
    /// Its last words: it ends.
    Farewell,
}

impl Say {
    fn advertisement(self, isp: &Isp) -> RouterAdvertisement {
        let mut advertisement = isp.advertisement();
        match self {
            Self::AllIsWell => {}
            Self::NoDefaultRouter | Self::Farewell => advertisement.header.router_lifetime = 0,
            Self::Deprecated => deprecate(&mut advertisement),
            Self::Preferred => advertisement.header.preference = RouterPreference::High,
            Self::Renumbered => {
                deprecate(&mut advertisement);
                advertisement.options.extend(isp.renumbered(RENUMBERED).advertisement().options);
            }
        }
        advertisement
    }
}

fn deprecate(advertisement: &mut RouterAdvertisement) {
    for option in &mut advertisement.options {
        if let NdOption::PrefixInformation(prefix) = option {
            prefix.preferred_lifetime = 0;
        }
    }
}

/// One after the other: who says what, and the prefix of the source of new flows then.
fn changes() -> Vec<(Isp, Say, Isp)> {
    let renumbered = ISP_A.renumbered(RENUMBERED);
    vec![
        (ISP_A, Say::Preferred, ISP_A),
        (ISP_A, Say::NoDefaultRouter, ISP_B),
        (ISP_A, Say::Preferred, ISP_A),
        (ISP_A, Say::Deprecated, ISP_B),
        (ISP_A, Say::Preferred, ISP_A),
        (ISP_A, Say::AllIsWell, ISP_A),
        (ISP_B, Say::Preferred, ISP_B),
        (ISP_B, Say::AllIsWell, ISP_A),
        (ISP_B, Say::Preferred, ISP_B),
        (ISP_B, Say::Deprecated, ISP_A),
        (ISP_A, Say::Renumbered, renumbered),
        (ISP_A, Say::Farewell, ISP_B),
    ]
}

/// A host with its daemon.
struct Scene<'a> {
    world: World,
    site: &'a Site,
    daemon: Daemon<'a>,
    cgroup: &'a Cgroup,
    maps: Maps,
}

impl Scene<'_> {
    /// The source of new flows, as the tables say; only if the tables also say who carries it.
    fn source(&self) -> Result<Option<Ipv6Addr>> {
        let Some(decision) = self.maps.decision(abi::DEFAULT_VIEW, SERVERS[0])? else { return Ok(None) };
        let source = Ipv6Addr::from(decision.source);
        let used = decision.verdict == abi::Verdict::Use as u32;
        Ok((used && self.maps.source(source)?.is_some_and(|owner| owner.pvd == decision.pvd))
            .then_some(source))
    }

    /// Makes a router say something and waits until it is in force. Returns how long that took since it arrived.
    fn change(&mut self, isp: &Isp, say: Say, previous: &Isp, expected: &Isp) -> Result<Duration> {
        let before = self.source()?.context("the tables name no source")?;
        ensure!(previous.lan.contains(&before), "{before} is the source, expected one of {}", previous.lan);
        let what = format!("{}, which says {say:?}, to make {} the source", isp.name, expected.lan);
        let watch = RaWatch::new(self.world.host.namespace(), isp.name)?;
        let mut notices = self.daemon.watch()?;
        let router = self.world.router(isp);
        let advertisement = say.advertisement(isp);
        match say {
            Say::Farewell => router.withdraw()?,
            _ => router.advertise(&advertisement)?,
        }
        let lifetime = advertisement.header.router_lifetime;
        let said = |seen: &SeenRa| seen.source == isp.link_local() && seen.router_lifetime() == lifetime;
        let arrived = boot_time(watch.wait_for(&what, said)?.at)?;
        if previous == expected {
            // Nothing to wait for: the next change checks that the source stayed.
            return Ok(Duration::ZERO);
        }
        let enforced = notices.until(&what, |notice| {
            let Notice::Tables { at, .. } = notice else { return Ok(None) };
            let source = self.source()?;
            Ok(source.filter(|source| expected.lan.contains(source)).map(|_| Time(*at)))
        })?;
        Ok(arrived.until(enforced))
    }

    /// New flows have a source of this provider and arrive.
    fn check_flows(&self, expected: &Isp) -> Result<()> {
        let flows = KINDS.map(free);
        for (flow, report) in flows.iter().zip(self.world.host.place(self.cgroup).open_all(&flows)?) {
            let IpAddr::V6(source) = report.source().context("no source")? else {
                bail!("{flow:?}: {report:?}")
            };
            ensure!(report.arrived && expected.lan.contains(&source), "{flow:?}: {report:?}");
        }
        self.world.check_no_foreign()
    }
}

/// The kernel stamps packets on the clock of the wall, the daemon counts from boot.
fn boot_time(at: SystemTime) -> Result<Time> {
    let (now, wall) = (clock::now(), SystemTime::now());
    let ago = u64::try_from(wall.duration_since(at).context("the clock was set back")?.as_nanos())?;
    Ok(Time(now.0.saturating_sub(ago)))
}

fn enforced_in_time(speaker: Speaker) {
    bounded(6 * PATIENCE, move || {
        let world = World::two_uplinks(speaker)?;
        let cgroup = Cgroup::new("host")?;
        let site = Site::new(world.host.namespace(), &cgroup)?;
        let daemon = site.daemon::<&str>([])?;
        site.wait_for_routers()?;
        let maps = site.maps()?;
        let mut scene = Scene { world, site: &site, daemon, cgroup: &cgroup, maps };
        let renumbered =
            format!("addr add {}/64 dev lan nodad", ISP_A.renumbered(RENUMBERED).router_address());
        scene.world.router(&ISP_A).namespace().ip(&renumbered)?;
        let mut previous = ISP_A;
        for (isp, say, expected) in changes() {
            let took = scene
                .change(&isp, say, &previous, &expected)
                .with_context(|| scene.site.says(["status"]).unwrap_or_default())?;
            println!("{speaker:?}: {} says {say:?}: in force after {took:?}", isp.name);
            ensure!(took < LIMIT, "{} says {say:?}: in force after {took:?} only", isp.name);
            scene.check_flows(&expected).with_context(|| format!("{} says {say:?}", isp.name))?;
            previous = expected;
        }
        scene.daemon.stop()
    });
}

/// RFC 6724 §8: what applications are told is not based on what is older than a second.
const STALE: Duration = Duration::from_secs(1);

#[test]
fn an_address_that_is_removed_is_out_of_the_tables_within_a_second() {
    bounded(3 * PATIENCE, || {
        let world = World::two_uplinks(Speaker::Embedded)?;
        let cgroup = Cgroup::new("host")?;
        let site = Site::new(world.host.namespace(), &cgroup)?;
        let daemon = site.daemon::<&str>([])?;
        site.wait_for_routers()?;
        let maps = site.maps()?;
        let (gone, other) = (world.source(&ISP_A)?, world.source(&ISP_B)?);
        let uses = |address: Ipv6Addr| -> Result<bool> {
            Ok(maps.load()?.decisions.values().any(|row| Ipv6Addr::from(row.source) == address))
        };
        ensure!(uses(gone)? && maps.source(gone)?.is_some(), "the tables do not have {gone} to begin with");
        let mut notices = daemon.watch()?;
        let removed = clock::now();
        world.host.namespace().ip(&format!("addr del {gone}/64 dev {}", ISP_A.name))?;
        let enforced = notices.until("the address to leave the tables", |notice| {
            let Notice::Tables { at, .. } = notice else { return Ok(None) };
            Ok((maps.source(gone)?.is_none() && !uses(gone)?).then_some(Time(*at)))
        })?;
        let took = removed.until(enforced);
        println!("an address was removed: out of the tables after {took:?}");
        ensure!(took < STALE, "{gone} was in the tables for {took:?} after its removal");
        for (flow, report) in
            KINDS.map(free).iter().zip(world.host.place(&cgroup).open_all(&KINDS.map(free))?)
        {
            ensure!(report.arrived && report.source() == Some(other.into()), "{flow:?}: {report:?}");
        }
        world.check_no_foreign()?;
        daemon.stop()
    });
}

#[test]
fn what_radvd_says_anew_is_in_force_within_50_ms() {
    enforced_in_time(Speaker::Radvd);
}

#[test]
fn what_the_embedded_sender_says_anew_is_in_force_within_50_ms() {
    enforced_in_time(Speaker::Embedded);
}
