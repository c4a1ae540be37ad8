//! Every way out of the host as a table: what an application does, and what becomes of it in each place.

use std::{
    fmt::Write as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use anyhow::{Context as _, Result, ensure};
use mif_user::{mode::Mode, policy::Policy};
use nix::errno::Errno;

use crate::{
    application::Application,
    cgroup::Cgroup,
    family::Family,
    flow::Report,
    internet::at_echo,
    isp::{ISP_A, ISP_B},
    mif::{Daemon as Mif, Site},
    router::Daemon,
    script::Script,
    world::World,
};

/// What an application does, and what becomes of it: with the kernel alone, with `mif`, and in cgroups that prefer the second
/// provider or may use no other.
///
/// The script is one of [`Script`], in which `{server}` and `{other}` are echo servers, `{a}` and `{b}` the host's addresses from the two
/// providers with port 0, `{a-ip}` and `{b-ip}` the same without, `{any}` is no address, and `{loopback}` the host itself. An outcome is
/// - `a` or `b`: the answer came, to the host's address from that provider
/// - `lost`: it went to the other provider, whose filter dropped it
/// - `dropped`: it did not leave the host; the call says ENOBUFS or nothing (`IP_RECVERR` of ip(7) decides)
/// - the name of an errno(3): the call was refused
#[derive(Clone, Copy, Debug)]
pub struct Way {
    /// What the application does.
    pub script: &'static str,
    /// With the kernel alone.
    pub alone: &'static str,
    /// In a cgroup without a policy.
    pub free: &'static str,
    /// In a cgroup that prefers the second provider.
    pub prefer: &'static str,
    /// In a cgroup that may use only the second provider.
    pub strict: &'static str,
}

/// A row of a table of ways.
pub const fn way(script: &'static str, outcomes: [&'static str; 4]) -> Way {
    let [alone, free, prefer, strict] = outcomes;
    Way { script, alone, free, prefer, strict }
}

/// A host with two providers in both families, and the cgroups of the table.
#[derive(Debug)]
pub struct Stage {
    /// Where `mif` keeps its things.
    pub site: Site,
    /// Prefers the second provider.
    pub prefer: Cgroup,
    /// May use no other.
    pub strict: Cgroup,
    /// No policy.
    pub free: Cgroup,
    root: Cgroup,
    /// Applications have no privileges.
    unprivileged: bool,
    /// Host, routers, internet.
    pub world: World,
}

impl Stage {
    /// No daemon yet.
    ///
    /// # Errors
    /// The lab cannot run here.
    pub fn new() -> Result<Self> {
        let world = World::two_uplinks(Daemon::Embedded)?.dual_stack()?;
        let root = Cgroup::new("host")?;
        Ok(Self {
            site: Site::new(world.host.namespace(), &root)?,
            prefer: root.child("prefer")?,
            strict: root.child("strict")?,
            free: root.child("free")?,
            root,
            unprivileged: false,
            world,
        })
    }

    /// Applications run as nobody, without capabilities.
    #[must_use]
    pub fn unprivileged(self) -> Self {
        Self { unprivileged: true, ..self }
    }

    /// The cgroup of all of them.
    pub fn root(&self) -> &Cgroup {
        &self.root
    }

    /// A daemon with the policies.
    ///
    /// # Errors
    /// It did not come up.
    pub fn daemon(&self) -> Result<Mif<'_>> {
        let daemon = self.site.daemon::<&str>([])?;
        self.site.wait_for_routers()?;
        attach(&daemon, &self.prefer, Mode::Prefer)?;
        attach(&daemon, &self.strict, Mode::Strict)?;
        Ok(daemon)
    }

    /// A script with its places filled in.
    ///
    /// # Errors
    /// One of its words is none.
    pub fn script(&self, family: Family, text: &str) -> Result<Script> {
        let [server, other, _] = family.servers().map(at_echo);
        let (a, b) = (self.world.source_of(family, &ISP_A)?, self.world.source_of(family, &ISP_B)?);
        let (any, any_mapped) =
            (if family == Family::Ipv4 { "0.0.0.0:0" } else { "[::]:0" }, "[::ffff:0.0.0.0]:0");
        let any = if family == Family::Mapped { any_mapped } else { any };
        let port_0 = |address| SocketAddr::new(address, 0).to_string();
        let places = [
            ("{server}", server.to_string()),
            ("{other}", other.to_string()),
            ("{a}", port_0(a)),
            ("{b}", port_0(b)),
            ("{a-ip}", a.to_string()),
            ("{b-ip}", b.to_string()),
            ("{any}", any.to_owned()),
            ("{loopback}", SocketAddr::new(loopback(family), DISCARD).to_string()),
            ("{prefer}", self.prefer.path().display().to_string()),
            ("{strict}", self.strict.path().display().to_string()),
            ("{free}", self.free.path().display().to_string()),
        ];
        let filled = places.iter().fold(text.to_owned(), |text, (place, value)| text.replace(place, value));
        let (protocol, steps) = filled.split_once(' ').unwrap_or((&filled, ""));
        let nobody = self.unprivileged.then_some("nobody");
        let words = [protocol].into_iter().chain(nobody).chain(steps.split_whitespace());
        Script::new(family == Family::Ipv4, words).with_context(|| format!("the script `{filled}`"))
    }

    /// Starts a script at the host.
    ///
    /// # Errors
    /// See [`Self::script`]; or the application could not be started.
    pub fn play(&self, cgroup: &Cgroup, family: Family, text: &str) -> Result<Application> {
        self.world.host.place(cgroup).play(&self.script(family, text)?)
    }

    /// Plays all tables, each in its families, first with the kernel alone, and compares. With `mif` nothing may reach the wrong
    /// provider, and nothing of the strict cgroup the first one.
    ///
    /// # Errors
    /// An outcome is another one; the message has all of them.
    pub fn check(&self, tables: &[(&[Family], &[Way])]) -> Result<()> {
        let mut rows = Vec::new();
        for (families, ways) in tables {
            rows.extend(families.iter().flat_map(|&family| ways.iter().map(move |way| (family, way))));
        }
        let mut wrong = String::new();
        self.column("alone", &self.free, &rows, |way| way.alone, &mut wrong)?;
        let expects_lost = rows.iter().any(|(_, way)| way.alone == "lost");
        let lost = !self.world.foreign()?.is_empty();
        ensure!(lost == expects_lost, "with the kernel alone packets were filtered: {lost}\n{wrong}");
        let daemon = self.daemon()?;
        for (name, cgroup, expected) in [
            ("free", &self.free, (|way| way.free) as fn(&Way) -> &'static str),
            ("prefer", &self.prefer, |way| way.prefer),
            ("strict", &self.strict, |way| way.strict),
        ] {
            self.column(name, cgroup, &rows, expected, &mut wrong)?;
            let foreign = self.world.foreign()?;
            if !foreign.is_empty() {
                writeln!(wrong, "{name}: packets went to the wrong provider: {foreign:#?}")?;
            }
        }
        let by_a = self.world.routers()[0].tap().seen()?;
        if !by_a.is_empty() {
            writeln!(wrong, "strict: packets went to the first provider: {by_a:#?}")?;
        }
        ensure!(wrong.is_empty(), "{wrong}\nthe daemon said:\n{}", daemon.log()?);
        daemon.stop()
    }

    fn column(
        &self,
        name: &str,
        cgroup: &Cgroup,
        rows: &[(Family, &Way)],
        expected: impl Fn(&Way) -> &'static str,
        wrong: &mut String,
    ) -> Result<()> {
        self.world.forget()?;
        let mut started = Vec::new();
        for &(family, way) in rows {
            started.push((family, way, self.play(cgroup, family, way.script)?));
        }
        for (family, way, mut application) in started {
            let report = application.report()?;
            let (outcome, expected) = (outcome(&report), expected(way));
            let lost = outcome == "dropped" && expected == "lost";
            if outcome != expected && !lost {
                writeln!(
                    wrong,
                    "{name}, {family}, `{}`: {outcome}, expected {expected}; {report:?}",
                    way.script
                )?;
            }
        }
        Ok(())
    }
}

/// Port (RFC 863) of which nothing is expected.
const DISCARD: u16 = 9;

fn loopback(family: Family) -> IpAddr {
    match family {
        Family::Ipv6 => Ipv6Addr::LOCALHOST.into(),
        Family::Ipv4 | Family::Mapped => family.written(Ipv4Addr::LOCALHOST),
    }
}

/// Pins a cgroup to the second provider, in both families.
///
/// # Errors
/// The daemon refused.
pub fn attach(daemon: &Mif<'_>, cgroup: &Cgroup, mode: Mode) -> Result<Policy> {
    daemon.attach(cgroup, ISP_B.name, mode)
}

/// The outcome of a way in one word.
pub fn outcome(report: &Report) -> String {
    if let Some(errno) = report.errno {
        if errno == Errno::ENOBUFS as i32 {
            return "dropped".into();
        }
        return format!("{:?}", Errno::from_raw(errno));
    }
    let source = report.source();
    match source {
        _ if report.error.as_ref().is_some_and(|error| error.contains("no answer")) => "dropped".into(),
        _ if report.error.is_some() => format!("{report:?}"),
        Some(source) if ISP_A.owns(source) => "a".into(),
        Some(source) if ISP_B.owns(source) => "b".into(),
        _ => format!("{source:?}"),
    }
}
