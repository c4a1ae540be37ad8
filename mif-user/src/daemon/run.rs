//! Start, the loop, the end.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result};
use mif_core::{
    pvd::{Limits, Preferences, PvdSet, event::Event},
    time::{Deadline, Time},
    wire::{ChecksumMode, PacketMeta, RouterAdvertisement},
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{broadcast, mpsc},
};
use tracing::{debug, error, info, warn};

use super::{
    Options,
    filter::Filter,
    journal::{Heard, Journal},
    owner::{HostPolicy, Owner},
    server::{self, Call},
    soliciting::Soliciting,
    watch::{self, Names, Ring},
};
use crate::{
    clock::{self, Timer},
    config::Named,
    control::{self, Notice, Reply, Request},
    kernel::{
        mounts,
        pins::{self, Installation, Origin, Plan},
        privileges,
    },
    lock,
    net::{
        CHANNEL_MESSAGES, Loss, Message,
        netlink::Monitor,
        ra::{RaMessage, RaSocket},
    },
    policy::{self, Policies},
    state::{FORMAT, Link, State},
};

/// Notices that wait for a slow watcher; what is older is lost to it.
const NOTICES: usize = 256;

/// The state file is written at most this often: under a flood of advertisements nobody reads every version.
const STATE_INTERVAL: Duration = Duration::from_millis(200);

/// Runs the daemon until SIGTERM or SIGINT.
///
/// # Errors
/// When it cannot start, or a socket that it lives on fails.
pub fn run(options: &Options) -> Result<()> {
    privileges::check()?;
    let _lock = lock::acquire(&options.state_dir)?;
    mounts::ensure_bpffs(&options.pins)?;
    let cgroup = match &options.cgroup {
        Some(cgroup) => {
            mounts::check_cgroup(cgroup)?;
            cgroup.clone()
        }
        None => mounts::cgroup2()?,
    };
    let plan = Plan { directory: options.pins.clone(), cgroup, sizes: options.sizes, tc: options.tc };
    let installation = Installation::start(&plan)?;
    match &installation.origin {
        Origin::Fresh => info!("programs attached to {}", plan.cgroup.display()),
        Origin::Adopted => info!("adopted what is pinned at {}", plan.directory.display()),
        Origin::Replaced(why) => info!("replaced what was pinned at {}: {why}", plan.directory.display()),
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().context("no runtime")?;
    let result = runtime.block_on(Daemon::start(options, installation)?.serve());
    // The runtime's tasks hold sockets and the ring; end them before the pins go.
    drop(runtime);
    if options.detach_on_exit {
        pins::remove(&options.pins)?;
        info!("detached");
    }
    result
}

/// The state of the one task.
struct Daemon<'a> {
    options: &'a Options,
    owner: Owner,
    filter: Filter,
    soliciting: Soliciting,
    journal: Journal,
    links: BTreeMap<u32, mif_core::pvd::event::Link>,
    refused: BTreeMap<String, u64>,
    /// What was wrong at the start and stays so.
    warnings: Vec<String>,
    /// Advertisements that came before the first dump was complete.
    early: Vec<RaMessage>,
    /// The first dump is complete: the maps may be changed.
    synchronised: bool,
    /// The maps and the state file say what this daemon found; systemd was told.
    ready: bool,
    started: Time,
    /// When the state file is due, and the journal with it.
    state_due: Option<Time>,
    state_written: Time,
    notices: broadcast::Sender<Notice>,
}

impl<'a> Daemon<'a> {
    fn start(options: &'a Options, installation: Installation) -> Result<Self> {
        let mut warnings = Vec::new();
        let (mut policies, warning) = Policies::load(&options.state_dir);
        warnings.extend(warning);
        let (journal, warning) = Journal::open(&options.state_dir);
        warnings.extend(warning);
        for policy in &options.policies {
            let cgroup = below_cgroup2(&policy.cgroup);
            let attached =
                policies.attach(&cgroup, policy.groups.clone(), policy.mode, policy::Origin::Config);
            if let Err(error) = attached {
                warnings
                    .push(format!("the configured policy of {} is not in force: {error}", cgroup.display()));
            }
        }
        for warning in &warnings {
            warn!("{warning}");
        }
        let host = HostPolicy {
            mode: options.mode,
            observe_foreign_rules: options.observe_foreign_rules,
            netns_cookie: clock::netns_cookie().context("cannot read the network namespace's cookie")?,
        };
        let mut set = PvdSet::new(Limits { max_pvds: options.sizes.pvds - 1 });
        // The places that the PvDs had: the counters in STATS stay theirs.
        let (state, warning) = State::read_or_set_aside(&options.state_dir);
        if let Some(warning) = warning {
            warn!("{warning}");
            warnings.push(warning);
        }
        if let Some(state) = state {
            set.reserve(state.pvds.iter().map(|pvd| (pvd.key.clone(), pvd.index)));
        }
        let preferences = Preferences { metrics: options.metrics.clone(), views: Vec::new() };
        Ok(Self {
            options,
            owner: Owner::new(set, policies, host, preferences, installation)?,
            filter: Filter::new(&options.interfaces, &options.ignore_interfaces),
            soliciting: Soliciting::default(),
            journal,
            links: BTreeMap::new(),
            refused: BTreeMap::new(),
            warnings,
            early: Vec::new(),
            synchronised: false,
            ready: false,
            started: clock::now(),
            state_due: None,
            state_written: Time(0),
            notices: broadcast::Sender::new(NOTICES),
        })
    }

    /// The loop.
    async fn serve(mut self) -> Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let (sender, mut messages) = mpsc::channel(CHANNEL_MESSAGES);
        // Subscribed before anything is read: no advertisement and no change falls between.
        let advertisements = Arc::new(RaSocket::open().context("cannot open a raw ICMPv6 socket")?);
        let monitor = Monitor::open()?;
        let mut reading = {
            let (socket, sender) = (Arc::clone(&advertisements), sender.clone());
            tokio::spawn(async move { socket.run(sender).await })
        };
        let mut following = tokio::spawn(monitor.run(sender));
        let path = control::socket(&self.options.state_dir);
        let listener =
            server::listen(&path).with_context(|| format!("cannot listen at {}", path.display()))?;
        let _cleanup = server::Cleanup(path);
        let (calls, mut requests) = mpsc::channel(CHANNEL_MESSAGES);
        tokio::spawn(server::serve(listener, calls, self.notices.clone()));
        let mut timer = Timer::new()?;
        let mut ring: Option<Ring> = None;
        loop {
            let cause = tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                Some(message) = messages.recv() => {
                    let cause = clock::now();
                    self.message(message);
                    while let Ok(message) = messages.try_recv() {
                        self.message(message);
                    }
                    cause
                }
                Some(Call { request, reply }) = requests.recv() => {
                    let cause = clock::now();
                    if matches!(request, Request::Watch) && ring.is_none() {
                        ring = Ring::open(&self.options.pins).map_err(|error| warn!("no kernel events: {error}")).ok();
                    }
                    // Who asked may have gone away meanwhile.
                    let _ = reply.send(self.request(request));
                    cause
                }
                events = read(&mut ring) => {
                    match events {
                        Ok(events) if self.notices.receiver_count() > 0 => {
                            for event in &events {
                                let _ = self.notices.send(watch::notice(event, &self));
                            }
                        }
                        Ok(_) => ring = None,
                        Err(error) => {
                            warn!("no more kernel events: {error}");
                            ring = None;
                        }
                    }
                    continue;
                }
                fired = timer.wait_until(self.next_deadline()) => {
                    fired?;
                    clock::now()
                }
                ended = &mut reading => {
                    ended?.context("reading Router Advertisements")?;
                    anyhow::bail!("the Router Advertisement task ended");
                }
                ended = &mut following => {
                    ended??;
                    anyhow::bail!("the netlink task ended");
                }
            };
            self.turn(cause, &advertisements);
        }
        info!("stopping; what is pinned stays in force until its lifetimes end");
        self.write_state(clock::now());
        sd_notify(&[sd_notify::NotifyState::Stopping]);
        Ok(())
    }

    /// What follows every batch of messages: expiry, solicitations, the maps, the readers.
    fn turn(&mut self, cause: Time, advertisements: &RaSocket) {
        let now = clock::now();
        self.owner.expire(now);
        for ifindex in self.soliciting.due(now) {
            if let Err(error) = advertisements.send_rs(ifindex) {
                debug!("no solicitation on {}: {error}", self.filter.name(ifindex).unwrap_or("?"));
            }
        }
        if self.synchronised {
            let committed = self.owner.commit(now);
            self.soliciting.default_routers(self.owner.interfaces_with_default_router(), now);
            self.tell(cause, committed.operations);
            if !self.ready {
                self.ready = true;
                self.write_state(now);
                info!("{} interfaces, {} PvDs", self.links.len(), self.owner.set.len());
                sd_notify(&[sd_notify::NotifyState::Ready]);
            }
        }
        if self.state_due.is_some_and(|due| due <= now) {
            self.write_state(now);
        }
    }

    /// Tells the log and the watchers what changed.
    fn tell(&mut self, cause: Time, operations: usize) {
        let changes = self.owner.take_changes();
        if operations == 0 && changes.is_empty() {
            return;
        }
        for change in changes {
            debug!("{change}");
            // Nobody may be watching.
            let _ = self.notices.send(Notice::Pvd(change));
        }
        let now = clock::now();
        if operations > 0 {
            let took = cause.until(now);
            let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
            debug!("{operations} table entries changed within {} µs", took / 1000);
            let _ = self.notices.send(Notice::Tables { at: now.0, operations, took });
        }
        self.state_is_stale(now);
    }

    fn state_is_stale(&mut self, now: Time) {
        if self.state_due.is_none() {
            self.state_due = Some(self.state_written.after(STATE_INTERVAL).max(now));
        }
    }

    fn next_deadline(&self) -> Deadline {
        [self.owner.set.next_deadline(), self.soliciting.next_deadline(), self.state_due]
            .into_iter()
            .flatten()
            .min()
            .map_or(Deadline::NEVER, Deadline::at)
    }

    fn message(&mut self, message: Message) {
        match message {
            Message::Event(event) => self.event(event),
            Message::ForeignRules(rules) => {
                self.owner.foreign_rules(rules.into_iter().map(|rule| rule.text).collect());
                self.state_is_stale(clock::now());
            }
            Message::RouterAdvertisement(message) if self.synchronised => self.advertisement(message),
            Message::RouterAdvertisement(message) => self.early.push(message),
            Message::Lost(loss) => {
                let (what, count) = match loss {
                    Loss::RouterAdvertisements(count) => ("advertisement-dropped-by-kernel", count.into()),
                    Loss::NetlinkOverrun => ("netlink-overrun", 1),
                    Loss::NetlinkUnreadable => ("netlink-unreadable", 1),
                };
                self.refuse(what, count);
            }
        }
    }

    fn event(&mut self, event: Event) {
        let now = clock::now();
        let Some(event) = self.filter.pass(event) else { return };
        match &event {
            Event::Link(link) => {
                self.links.insert(link.ifindex, link.clone());
                if self.filter.takes(link.ifindex) {
                    self.soliciting.link(link, now);
                }
                if !link.up {
                    self.journal.forget_link(link.ifindex);
                }
                self.state_is_stale(now);
            }
            Event::LinkGone { ifindex } => {
                self.links.remove(ifindex);
                self.soliciting.gone(*ifindex);
                self.journal.forget_link(*ifindex);
            }
            _ => {}
        }
        let complete = event == Event::ResyncEnd;
        self.owner.event(event, now);
        if complete && !self.synchronised {
            self.synchronise(now);
        }
    }

    /// The first dump is complete: hear again what routers said before this start, then what they said meanwhile.
    fn synchronise(&mut self, now: Time) {
        self.synchronised = true;
        for absent in self.absent_interfaces() {
            warn!("{absent}");
        }
        for Heard { ifindex, router, at, advertisement } in self.journal.replay() {
            if self.links.get(&ifindex).is_some_and(|link| link.up) {
                self.owner.event(Event::RouterAdvertisement { ifindex, router, advertisement }, at);
            }
        }
        self.owner.expire(now);
        for message in std::mem::take(&mut self.early) {
            self.advertisement(message);
        }
    }

    /// What is wrong now with the names in the configuration.
    fn absent_interfaces(&self) -> impl Iterator<Item = String> {
        let absent = |named: &&Named| !self.filter.exists(&named.interface);
        self.options.named_interfaces.iter().filter(absent).map(ToString::to_string)
    }

    fn advertisement(&mut self, message: RaMessage) {
        let RaMessage { ifindex, source, destination, hop_limit, bytes, received } = message;
        if !self.filter.takes(ifindex) {
            return;
        }
        let meta = PacketMeta { source, destination, hop_limit, checksum: ChecksumMode::VerifiedByKernel };
        let parsed = match RouterAdvertisement::parse_packet(&meta, &bytes) {
            Ok(parsed) => parsed,
            Err(error) => {
                debug!("from {source} on {}: {error}", self.filter.name(ifindex).unwrap_or("?"));
                return self.refuse(&format!("advertisement-{}", error.name()), 1);
            }
        };
        for ignored in &parsed.ignored {
            debug!("from {source}: {ignored}");
            self.refuse(&format!("option-{}", ignored.reason.name()), 1);
        }
        let advertisement = parsed.advertisement;
        self.soliciting.heard(ifindex, &advertisement);
        let heard = Heard { ifindex, router: source, at: received, advertisement: advertisement.clone() };
        self.journal.hear(heard);
        self.owner.event(Event::RouterAdvertisement { ifindex, router: source, advertisement }, received);
        self.state_is_stale(received);
    }

    fn refuse(&mut self, what: &str, count: u64) {
        *self.refused.entry(what.to_owned()).or_default() += count;
        self.state_is_stale(clock::now());
    }

    fn request(&mut self, request: Request) -> Reply {
        match request {
            Request::Watch => Reply::Watching,
            Request::Attach { cgroup, groups, mode } => {
                let groups = match self.owner.resolve(groups) {
                    Ok(groups) => groups,
                    Err(error) => return Reply::Refused(error.to_string()),
                };
                match self.owner.policies.attach(&cgroup, groups, mode, policy::Origin::Command) {
                    Ok(policy) => self.in_force(Reply::Policy(policy)),
                    Err(error) => Reply::Refused(error.to_string()),
                }
            }
            Request::Detach { cgroup } => match self.owner.policies.detach(&cgroup) {
                Ok(policy) => self.in_force(Reply::Policy(policy)),
                Err(error) => Reply::Refused(error.to_string()),
            },
        }
    }

    /// The answer once the maps say what the policies say.
    fn in_force(&mut self, reply: Reply) -> Reply {
        let now = clock::now();
        self.owner.policies_changed();
        self.owner.commit(now);
        self.write_state(now);
        match self.owner.problems().first() {
            Some(problem) => {
                error!("{problem}");
                Reply::Refused(problem.clone())
            }
            None => reply,
        }
    }

    fn write_state(&mut self, now: Time) {
        self.state_due = None;
        self.state_written = now;
        let attached: &BTreeSet<u32> = self.owner.attached();
        let link = |link: &mif_core::pvd::event::Link| Link {
            ifindex: link.ifindex,
            name: link.name.clone(),
            up: link.up,
            egress: attached.contains(&link.ifindex),
        };
        let mut refused = self.refused.clone();
        refused
            .extend(self.owner.set.refused().iter().map(|(reason, count)| (reason.name().to_owned(), count)));
        let state = State {
            format: FORMAT,
            pid: std::process::id(),
            started: self.started,
            written: now,
            mode: self.options.mode,
            foreign_rules: self.owner.current_foreign_rules().to_vec(),
            foreign_rules_observed: self.options.observe_foreign_rules,
            links: self.links.values().map(link).collect(),
            pvds: self.owner.snapshot(now),
            policies: self.owner.policies.iter().cloned().collect(),
            refused,
            problems: self
                .absent_interfaces()
                .chain(self.warnings.iter().chain(self.owner.problems()).cloned())
                .collect(),
        };
        let written = state.write(&self.options.state_dir).and_then(|()| self.journal.write());
        if let Err(error) = written {
            warn!("cannot write the state to {}: {error}", self.options.state_dir.display());
        }
    }
}

impl Names for Daemon<'_> {
    fn pvd(&self, index: u32) -> Option<String> {
        self.owner.set.id_of(index)
    }

    fn interface(&self, ifindex: u32) -> Option<String> {
        self.filter.name(ifindex).map(str::to_owned)
    }

    fn cgroup(&self, id: u64) -> Option<PathBuf> {
        self.owner.policies.iter().find(|policy| policy.cgroup_id == id).map(|policy| policy.cgroup.clone())
    }
}

/// The next events, never without a ring.
async fn read(ring: &mut Option<Ring>) -> std::io::Result<Vec<mif_common::abi::Event>> {
    match ring {
        Some(ring) => ring.read().await,
        None => std::future::pending().await,
    }
}

/// A configured cgroup: a path below the cgroup2 root, or the directory itself.
fn below_cgroup2(configured: &std::path::Path) -> PathBuf {
    let relative = configured.strip_prefix("/").unwrap_or(configured);
    match mounts::cgroup2() {
        Ok(root) if !configured.starts_with(&root) => root.join(relative),
        _ => configured.into(),
    }
}

/// Tells systemd, if it started us.
fn sd_notify(states: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        debug!("systemd was not told: {error}");
    }
}
