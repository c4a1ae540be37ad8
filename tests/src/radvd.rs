//! A real radvd(8) on a router's interface.

use std::{
    fmt::Write as _,
    fs::{self, File, Permissions},
    os::{fd::AsFd as _, unix::fs::PermissionsExt as _},
    path::PathBuf,
    process::Stdio,
};

use anyhow::{Context as _, Result, bail};
use mif_core::wire::{NdOption, RouterAdvertisement, RouterPreference};
use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::signal::Signal,
};

use crate::{
    deadline::{Deadline, PATIENCE},
    footprint::Folder,
    netns::Namespace,
    process::Process,
    ra_watch::{RaWatch, SeenRa},
};

/// A running radvd. Dropping it kills it without a last word; [`Self::stop`] is the polite way.
#[derive(Debug)]
pub struct Radvd {
    interface: String,
    process: Process,
    watch: RaWatch,
    folder: Folder,
}

impl Radvd {
    /// Starts radvd and waits until it has sent its first Router Advertisement.
    ///
    /// # Errors
    /// radvd cannot say what `advertisement` says, or it refused or ended; the message has its log.
    pub fn start(
        namespace: &Namespace,
        interface: &str,
        advertisement: &RouterAdvertisement,
    ) -> Result<Self> {
        let folder = Folder::new("radvd")?;
        let watch = RaWatch::new(namespace, interface)?;
        write_config(&folder, interface, advertisement)?;
        let log = File::create(folder.path().join("log")).context("create radvd's log")?;
        let mut command = namespace.command("radvd");
        command
            .args(["--nodaemon", "--debug", "1", "--logmethod", "stderr", "--config"])
            .arg(folder.path().join("radvd.conf"))
            .arg("--pidfile")
            .arg(folder.path().join("pid"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        let mut radvd =
            Self { interface: interface.to_owned(), process: Process::spawn(command)?, watch, folder };
        radvd.wait_for_ra("the first advertisement", |_| true)?;
        Ok(radvd)
    }

    /// Changes what it advertises, at once: radvd reads its configuration anew and sends.
    /// Returns the advertisement as it was sent.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn advertise(&mut self, advertisement: &RouterAdvertisement) -> Result<SeenRa> {
        write_config(&self.folder, &self.interface, advertisement)?;
        // What was sent before does not count.
        self.watch.poll(|_| false)?;
        self.process.signal(Signal::SIGHUP)?;
        let lifetime = advertisement.header.router_lifetime;
        self.wait_for_ra("the changed advertisement", |seen| seen.router_lifetime() == lifetime)
    }

    /// Ends it: radvd takes its leave with an advertisement of router lifetime 0, which is returned.
    ///
    /// # Errors
    /// It did not.
    pub fn stop(mut self) -> Result<SeenRa> {
        self.watch.poll(|_| false)?;
        self.process.signal(Signal::SIGTERM)?;
        let status = self.process.wait().with_context(|| self.log())?;
        let last = self.watch.poll(|seen| seen.router_lifetime() == 0)?;
        last.with_context(|| format!("radvd ended ({status}) without a last advertisement\n{}", self.log()))
    }

    /// Ends it as a power cut does: nobody is told.
    ///
    /// # Errors
    /// It does not die.
    pub fn kill(mut self) -> Result<()> {
        self.process.signal(Signal::SIGKILL)?;
        self.process.wait()?;
        Ok(())
    }

    /// Waits for an advertisement that `fits`, or for radvd's end, which is an error.
    fn wait_for_ra(&mut self, what: &str, fits: impl Fn(&SeenRa) -> bool) -> Result<SeenRa> {
        let deadline = Deadline::within(format!("{what} of radvd on {}", self.interface), PATIENCE);
        loop {
            if let Some(seen) = self.watch.poll(&fits)? {
                return Ok(seen);
            }
            if let Some(status) = self.process.ended()? {
                bail!("radvd ended: {status}\n{}", self.log());
            }
            let left = deadline.left().with_context(|| self.log())?;
            let end = self.process.end();
            let mut fds = [
                PollFd::new(self.watch.as_fd(), PollFlags::POLLIN),
                PollFd::new(end.as_fd(), PollFlags::POLLIN),
            ];
            // An interrupted or early return only makes us look again.
            let _ = poll(&mut fds, PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX));
        }
    }

    fn log(&self) -> String {
        let text = |file: &str| fs::read_to_string(self.folder.path().join(file)).unwrap_or_default();
        format!("radvd's configuration:\n{}\nradvd's log:\n{}", text("radvd.conf"), text("log"))
    }
}

fn write_config(folder: &Folder, interface: &str, advertisement: &RouterAdvertisement) -> Result<PathBuf> {
    let path = folder.path().join("radvd.conf");
    fs::write(&path, config(interface, advertisement)?)
        .with_context(|| format!("write {}", path.display()))?;
    // radvd refuses a configuration that others may write, whatever the umask.
    fs::set_permissions(&path, Permissions::from_mode(0o644))?;
    Ok(path)
}

/// radvd.conf(5) for one interface.
///
/// # Errors
/// radvd 2.19 has no words for one of the options.
pub fn config(interface: &str, advertisement: &RouterAdvertisement) -> Result<String> {
    let header = advertisement.header;
    let mut text = String::new();
    let mut line = |depth: usize, line: String| {
        let _ = writeln!(text, "{:indent$}{line}", "", indent = 4 * depth);
    };
    line(0, format!("interface {interface} {{"));
    line(1, "AdvSendAdvert on;".into());
    line(1, "AdvRASolicitedUnicast on;".into());
    line(1, format!("MaxRtrAdvInterval {};", interval(header.router_lifetime)));
    line(1, format!("AdvDefaultLifetime {};", header.router_lifetime));
    line(1, format!("AdvDefaultPreference {};", preference(header.preference)));
    line(1, format!("AdvManagedFlag {};", on_off(header.managed)));
    line(1, format!("AdvOtherConfigFlag {};", on_off(header.other_config)));
    line(1, format!("AdvCurHopLimit {};", header.cur_hop_limit));
    line(1, format!("AdvReachableTime {};", header.reachable_time));
    line(1, format!("AdvRetransTimer {};", header.retrans_timer));
    for option in &advertisement.options {
        match option {
            NdOption::SourceLinkLayerAddress(_) => {} // AdvSourceLLAddress is on by default.
            NdOption::Mtu(mtu) => line(1, format!("AdvLinkMTU {mtu};")),
            NdOption::PrefixInformation(prefix) => {
                line(1, format!("prefix {} {{", prefix.prefix));
                line(2, format!("AdvOnLink {};", on_off(prefix.on_link)));
                line(2, format!("AdvAutonomous {};", on_off(prefix.autonomous)));
                line(2, format!("AdvRouterAddr {};", on_off(prefix.router_address)));
                line(2, format!("AdvValidLifetime {};", lifetime(prefix.valid_lifetime)));
                line(2, format!("AdvPreferredLifetime {};", lifetime(prefix.preferred_lifetime)));
                line(1, "};".into());
            }
            NdOption::RouteInformation(route) => {
                line(1, format!("route {} {{", route.prefix));
                line(2, format!("AdvRoutePreference {};", preference(route.preference)));
                line(2, format!("AdvRouteLifetime {};", lifetime(route.route_lifetime)));
                line(2, "RemoveRoute off;".into());
                line(1, "};".into());
            }
            NdOption::RecursiveDnsServers(dns) => {
                let servers: Vec<_> = dns.servers.iter().map(ToString::to_string).collect();
                line(1, format!("RDNSS {} {{", servers.join(" ")));
                line(2, format!("AdvRDNSSLifetime {};", lifetime(dns.lifetime)));
                line(1, "};".into());
            }
            other => bail!("radvd 2.19 cannot send {other:?}; use the embedded sender"),
        }
    }
    line(0, "};".into());
    Ok(text)
}

/// radvd wants a lifetime of 0 or at least this, and at least 4 (radvd.conf(5)). The longest that fits, up to RFC 4861's
/// default, so that what arrives is what a test asked for and not a repetition.
fn interval(router_lifetime: u16) -> u16 {
    const SMALLEST: u16 = 4;
    const DEFAULT: u16 = 600;
    match router_lifetime {
        0 => DEFAULT,
        seconds => seconds.clamp(SMALLEST, DEFAULT),
    }
}

fn on_off(flag: bool) -> &'static str {
    if flag { "on" } else { "off" }
}

fn preference(preference: RouterPreference) -> &'static str {
    match preference {
        RouterPreference::Low => "low",
        RouterPreference::Medium => "medium",
        RouterPreference::High => "high",
    }
}

fn lifetime(seconds: u32) -> String {
    if seconds == u32::MAX { "infinity".into() } else { seconds.to_string() }
}
