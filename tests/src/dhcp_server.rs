//! Real DHCPv6 servers on a router's interface: Kea, dnsmasq, ISC dhcpd.

use std::{
    fs::{self, File},
    net::Ipv6Addr,
    process::Stdio,
};

use anyhow::{Context as _, Result, bail};
use ipnet::Ipv6Net;
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        inotify::{AddWatchFlags, InitFlags, Inotify},
        signal::Signal,
    },
};

use crate::{
    deadline::{Deadline, PATIENCE},
    events::until_ready,
    footprint::Folder,
    netns::Namespace,
    process::Process,
};

mod config;
pub mod embedded;
pub mod scene;

/// Which program.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Program {
    /// `kea-dhcp6`
    Kea,
    /// `dnsmasq`
    Dnsmasq,
    /// `dhcpd -6`
    IscDhcpd,
}

/// What a server gives.
#[derive(Clone, Debug)]
pub struct Offer {
    /// The subnet of the link.
    pub subnet: Ipv6Net,
    /// First and last address of the pool; without one there are no addresses available.
    pub pool: Option<(Ipv6Addr, Ipv6Addr)>,
    /// Seconds.
    pub preferred_lifetime: u32,
    /// Seconds.
    pub valid_lifetime: u32,
    /// T1 and T2, seconds.
    pub times: (u32, u32),
    /// The Preference option.
    pub preference: Option<u8>,
    /// What is delegated, in pieces of this length.
    pub delegated: Option<(Ipv6Net, u8)>,
    /// DNS servers.
    pub dns_servers: Vec<Ipv6Addr>,
    /// Other options: code and data in hexadecimal.
    pub options: Vec<(u16, String)>,
    /// Tells the server's DUID from others'.
    pub number: u16,
}

impl Offer {
    /// Addresses of `subnet`, for as long as they are given by default.
    #[must_use]
    pub fn new(subnet: Ipv6Net, number: u16) -> Self {
        let host = |number: u128| Ipv6Addr::from(u128::from(subnet.network()) | number);
        Self {
            subnet,
            pool: Some((host(0x1000), host(0x1fff))),
            preferred_lifetime: 3000,
            valid_lifetime: 4000,
            times: (1000, 2000),
            preference: None,
            delegated: None,
            dns_servers: vec![host(0x53)],
            options: Vec::new(),
            number,
        }
    }

    /// Leases that are to be extended within seconds.
    #[must_use]
    pub fn short(self) -> Self {
        Self { preferred_lifetime: 6, valid_lifetime: 8, times: (2, 4), ..self }
    }
}

/// A running server. Dropping it kills it without a word, as a power cut does; its leases are forgotten with it.
#[derive(Debug)]
pub struct DhcpServer {
    program: Program,
    namespace: Namespace,
    interface: String,
    process: Option<Process>,
    folder: Folder,
}

impl DhcpServer {
    /// Starts it and waits until it listens.
    ///
    /// # Errors
    /// It refused or ended; the message has its log.
    pub fn start(namespace: &Namespace, interface: &str, program: Program, offer: &Offer) -> Result<Self> {
        until_ready(namespace, &[interface])?;
        let folder = Folder::new("dhcp6-server")?;
        let mut server = Self {
            program,
            namespace: namespace.clone(),
            interface: interface.to_owned(),
            process: None,
            folder,
        };
        server.go_on(offer)?;
        Ok(server)
    }

    /// Ends it without a word; its leases are kept.
    ///
    /// # Errors
    /// It does not die.
    pub fn crash(&mut self) -> Result<()> {
        let Some(mut process) = self.process.take() else { return Ok(()) };
        process.signal(Signal::SIGKILL)?;
        process.wait()?;
        Ok(())
    }

    /// Starts it again with what it had leased, and with this offer.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn go_on(&mut self, offer: &Offer) -> Result<()> {
        self.crash()?;
        let folder = self.folder.path();
        config::write(folder, self.program, &self.interface, offer)?;
        let log = File::create(folder.join("log")).context("create the server's log")?;
        let watch = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        watch.add_watch(&folder.join("log"), AddWatchFlags::IN_MODIFY)?;
        let mut command = self.namespace.command(self.program.name());
        command.args(config::arguments(folder, self.program, &self.interface, offer));
        // Kea has paths of its own that are not in its configuration.
        command.env("KEA_PIDFILE_DIR", folder).env("KEA_LOCKFILE_DIR", "none");
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let mut process = Process::spawn(command)?;
        let ready = self.program.says_when_ready();
        let deadline = Deadline::within(format!("{} on {}", self.program.name(), self.interface), PATIENCE);
        loop {
            match watch.read_events() {
                Ok(_) | Err(Errno::EAGAIN) => {}
                Err(errno) => return Err(errno).context("read what happened to the server's log"),
            }
            if self.log().contains(ready) {
                break;
            }
            if let Some(status) = process.ended()? {
                bail!("{} ended: {status}\n{}", self.program.name(), self.log());
            }
            let left = deadline.left().with_context(|| self.log())?;
            let end = process.end();
            let mut fds = [
                PollFd::new(std::os::fd::AsFd::as_fd(&watch), PollFlags::POLLIN),
                PollFd::new(std::os::fd::AsFd::as_fd(&end), PollFlags::POLLIN),
            ];
            // An interrupted or early return only makes us look again.
            let _ = poll(&mut fds, PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX));
        }
        self.process = Some(process);
        Ok(())
    }

    /// What it said, for messages to people.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Program {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Kea, Self::Dnsmasq, Self::IscDhcpd];

    const fn name(self) -> &'static str {
        match self {
            Self::Kea => "kea-dhcp6",
            Self::Dnsmasq => "dnsmasq",
            Self::IscDhcpd => "dhcpd",
        }
    }

    const fn says_when_ready(self) -> &'static str {
        match self {
            Self::Kea => "DHCP6_STARTED",
            Self::Dnsmasq => "sockets bound",
            Self::IscDhcpd => "Server starting service",
        }
    }
}
