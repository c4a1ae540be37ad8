//! Start, the loop, the end.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use mif_common::abi;
use mif_core::{
    family,
    nud::NextHops,
    pvd::{Limits, Preferences, PvdSet},
    time::{Deadline, Time},
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{Notify, broadcast, mpsc},
};
use tracing::{debug, info, warn};

use super::{
    Options,
    dhcpv6::Clients,
    filter::Filter,
    hierarchy::{Follow, Hierarchy},
    intake::Unaccepted,
    journal::Journal,
    owner::{HostPolicy, Owner},
    server::{self, Call},
    soliciting::Soliciting,
    watch::{self, Ring},
};
use crate::{
    clock::{self, Timer},
    control::{self, Notice, Request},
    fd,
    kernel::{
        mounts,
        pins::{self, Installation, Origin, Plan},
        privileges,
    },
    lock,
    net::{
        CHANNEL_MESSAGES, neighbour,
        netlink::Monitor,
        ra::{RaMessage, RaSocket},
    },
    policy::{Caps, Configured, Policies},
    state::State,
};

/// Notices that wait for a slow watcher; what is older is lost to it.
const NOTICES: usize = 256;

/// How long to wait, before telling systemd that all is ready, for routers that share a link to say who announces what:
/// the first solicitation leaves within `MAX_RTR_SOLICITATION_DELAY` (1 s), the answer within `MAX_RA_DELAY_TIME`
/// (0.5 s, RFC 4861 §10). Enforcement does not wait.
const ROUTERS_ANSWER: Duration = Duration::from_secs(2);

/// Runs the daemon until SIGTERM or SIGINT.
///
/// # Errors
/// When it cannot start, or a socket that it lives on fails.
pub fn run(options: &Options) -> Result<()> {
    privileges::check()?;
    if let Err(error) = fd::raise_limit() {
        warn!("the limit of descriptors stays as it is: {error}");
    }
    let _lock = lock::acquire(&options.state_dir)?;
    mounts::ensure_bpffs(&options.pins)?;
    let _pins = lock::acquire_pins(&options.pins)?;
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
    let result = runtime.block_on(Daemon::start(options, installation, plan.cgroup)?.serve());
    // The runtime's tasks hold sockets and the ring; end them before the pins go.
    drop(runtime);
    if options.detach_on_exit {
        pins::remove(&options.pins)?;
        info!("detached");
    }
    result
}

/// The state of the one task.
pub(super) struct Daemon<'a> {
    pub(super) options: &'a Options,
    pub(super) owner: Owner,
    /// The cgroup that the hooks are attached to.
    pub(super) attached_cgroup: PathBuf,
    /// Where cgroup2 is mounted.
    pub(super) cgroup_root: PathBuf,
    /// The command's policy that found no room, and why.
    pub(super) no_room: Option<String>,
    /// Until its task has it.
    hierarchy: Option<Hierarchy>,
    /// Why cgroups that appear may go unseen.
    pub(super) blind: Option<String>,
    /// Tells the task which cgroups have a policy by command.
    pub(super) follow: Option<mpsc::UnboundedSender<Follow>>,
    pub(super) filter: Filter,
    pub(super) soliciting: Soliciting,
    pub(super) journal: Journal,
    pub(super) clients: Clients,
    pub(super) links: BTreeMap<u32, mif_core::pvd::event::Link>,
    pub(super) refused: BTreeMap<String, u64>,
    /// What was wrong at the start and stays so.
    pub(super) warnings: Vec<String>,
    /// Advertisements that came before the first dump was complete.
    pub(super) early: Vec<RaMessage>,
    /// Advertisements of routers that may not configure their interface, or not yet.
    pub(super) unaccepted: Unaccepted,
    /// The first dump is complete: the maps may be changed.
    pub(super) synchronised: bool,
    /// The maps and the state file say what this daemon found; systemd was told.
    pub(super) ready: bool,
    pub(super) started: Time,
    /// When the state file is due, and the journal with it.
    pub(super) state_due: Option<Time>,
    pub(super) state_written: Time,
    pub(super) notices: broadcast::Sender<Notice>,
    /// Asks for a dump.
    pub(super) unsure: Arc<Notify>,
    pub(super) next_hops: NextHops,
}

impl<'a> Daemon<'a> {
    fn start(options: &'a Options, installation: Installation, cgroup: PathBuf) -> Result<Self> {
        let attached_cgroup = cgroup.canonicalize().context("cannot look at the cgroup")?;
        let mut warnings = Vec::new();
        let caps = Caps { policies: options.sizes.policies, ..Caps::default() };
        let (mut policies, warning) = Policies::load(&options.state_dir, caps, clock::now());
        warnings.extend(warning);
        let root = mounts::cgroup2()?.canonicalize().context("cannot look at cgroup2")?;
        let configured: Vec<Configured> = options.policies.iter().map(|policy| policy.below(&root)).collect();
        warnings.extend(policies.configure(configured.clone()));
        let (journal, warning) = Journal::open(&options.state_dir);
        warnings.extend(warning);
        let (clients, warning) = Clients::open(&options.state_dir, options.dhcpv6.clone());
        warnings.extend(warning);
        let patterns = configured.iter().map(|policy| policy.cgroup.clone()).collect();
        let follow =
            policies.iter().map(|policy| Follow { path: policy.cgroup.clone(), id: Some(policy.cgroup_id) });
        let (hierarchy, news) = Hierarchy::open(&attached_cgroup, &root, patterns, follow.collect());
        for policy in &configured {
            if !hierarchy.can_match(&policy.cgroup) {
                warnings.push(format!(
                    "the configured policy of {} is not in force: no such cgroup can be in {}, which the daemon is attached to",
                    policy.cgroup,
                    attached_cgroup.display()
                ));
            }
        }
        warnings.extend(installation.missing.iter().cloned());
        for warning in &warnings {
            warn!("{warning}");
        }
        let host = HostPolicy {
            mode: options.mode,
            observe_foreign_rules: options.observe_foreign_rules,
            netns_cookie: clock::netns_cookie().context("cannot read the network namespace's cookie")?,
        };
        let mut set = PvdSet::new(Limits { max_pvds: options.sizes.pvds - 1 });
        set.merge_ipv4(options.merge_ipv4.iter().cloned());
        // The places that the PvDs had: the counters in STATS stay theirs.
        let (state, warning) = State::read_or_set_aside(&options.state_dir);
        if let Some(warning) = warning {
            warn!("{warning}");
            warnings.push(warning);
        }
        let mut counted = BTreeMap::new();
        if let Some(state) = state {
            set.reserve(state.pvds.iter().map(|pvd| (pvd.key.clone(), pvd.index)));
            if installation.origin == Origin::Adopted {
                counted.extend(state.pvds.iter().map(|pvd| (pvd.index, pvd.id.clone())));
            }
        }
        let preferences = Preferences {
            metrics: options.metrics.clone(),
            views: Vec::new(),
            address_selection: options.address_selection.clone(),
        };
        let mut daemon = Self {
            options,
            attached_cgroup,
            cgroup_root: root,
            no_room: None,
            hierarchy: Some(hierarchy),
            blind: None,
            follow: None,
            owner: Owner::new(set, policies, host, preferences, installation, counted)?,
            filter: Filter::new(&options.interfaces, &options.ignore_interfaces),
            soliciting: Soliciting::default(),
            journal,
            clients,
            links: BTreeMap::new(),
            refused: BTreeMap::new(),
            warnings,
            early: Vec::new(),
            unaccepted: Unaccepted::new(),
            synchronised: false,
            ready: false,
            started: clock::now(),
            state_due: None,
            state_written: Time(0),
            notices: broadcast::Sender::new(NOTICES),
            unsure: Arc::default(),
            next_hops: NextHops::default(),
        };
        daemon.cgroups(news);
        Ok(daemon)
    }

    /// The loop.
    async fn serve(mut self) -> Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let (sender, mut messages) = mpsc::channel(CHANNEL_MESSAGES);
        // Subscribed before anything is read: no advertisement and no change falls between.
        let advertisements = Arc::new(RaSocket::open().context("cannot open a raw ICMPv6 socket")?);
        let monitor = Monitor::open()?;
        self.unsure = monitor.unsure();
        let mut reading = {
            let (socket, sender) = (Arc::clone(&advertisements), sender.clone());
            tokio::spawn(async move { socket.run(sender).await })
        };
        self.clients.read_into(sender.clone());
        let mut following = tokio::spawn(monitor.run(sender));
        let path = control::socket(&self.options.state_dir);
        let listener =
            server::listen(&path).with_context(|| format!("cannot listen at {}", path.display()))?;
        let _cleanup = server::Cleanup(path);
        let (calls, mut requests) = mpsc::channel(CHANNEL_MESSAGES);
        tokio::spawn(server::serve(listener, calls, self.notices.clone(), Timer::new()?));
        let (news, mut cgroups) = mpsc::channel(CHANNEL_MESSAGES);
        let (follow, followed) = mpsc::unbounded_channel();
        self.follow = Some(follow);
        let hierarchy = self.hierarchy.take().context("the hierarchy has a task already")?;
        let mut watching = tokio::spawn(hierarchy.run(news, followed));
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
                Some(news) = cgroups.recv() => {
                    let cause = clock::now();
                    self.cgroups(news);
                    while let Ok(news) = cgroups.try_recv() {
                        self.cgroups(news);
                    }
                    cause
                }
                // Before the first dump is complete nobody knows what a request is about, and no table may change.
                Some(Call { request, reply }) = requests.recv(), if self.synchronised => {
                    let cause = clock::now();
                    if matches!(request, Request::Watch) && ring.is_none() {
                        ring = Ring::open(&self.options.pins).map_err(|error| warn!("no kernel events: {error}")).ok();
                        self.watched(ring.is_some());
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
                    if ring.is_none() {
                        self.watched(false);
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
                ended = &mut watching => {
                    ended?.context("watching cgroups")?;
                    anyhow::bail!("the task that watches cgroups ended");
                }
            };
            self.turn(cause, &advertisements);
        }
        info!("stopping; what is pinned stays in force until its lifetimes end");
        if self.options.detach_on_exit {
            self.release_leases();
        }
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
            self.dhcpv6(now);
            let committed = self.owner.commit(now);
            for &(ifindex, router) in &committed.new_next_hops {
                if let Err(error) = neighbour::resolve(ifindex, family::shown(router)) {
                    debug!("{router} on {}: {error}", self.filter.name(ifindex).unwrap_or("?"));
                }
            }
            self.ask_dead_next_hops(advertisements, now);
            self.soliciting.default_routers(self.owner.interfaces_with_default_router(), now);
            self.tell(cause, committed.operations);
            self.keep_leases();
            if !self.ready && (now >= self.ready_at_last() || !self.owner.guesses_routers(now)) {
                self.ready = true;
                self.write_state(now);
                info!("ready; interfaces: {}, PvDs: {}", self.links.len(), self.owner.set.len());
                sd_notify(&[sd_notify::NotifyState::Ready]);
            }
        }
        // Before that an older daemon's state says more.
        if self.ready && self.state_due.is_some_and(|due| due <= now) {
            self.write_state(now);
        }
    }

    fn watched(&mut self, watched: bool) {
        if let Err(error) = self.owner.set_watched(watched) {
            warn!("the hooks were not told whether somebody watches: {error}");
        }
    }

    /// When to be ready at the latest.
    fn ready_at_last(&self) -> Time {
        self.started.after(ROUTERS_ANSWER)
    }

    fn next_deadline(&self) -> Deadline {
        let ready = (self.synchronised && !self.ready).then(|| self.ready_at_last());
        let state_due = self.state_due.filter(|_| self.ready);
        let dead = self.next_hops.next_deadline().time().filter(|_| self.synchronised);
        let policies = self.owner.policies.next_deadline();
        let pvds = self.owner.set.next_deadline();
        let clients = self.clients.next_deadline().filter(|_| self.synchronised);
        [dead, pvds, clients, self.soliciting.next_deadline(), policies, state_due, ready]
            .into_iter()
            .flatten()
            .min()
            .map_or(Deadline::NEVER, Deadline::at)
    }
}

/// The next events, never without a ring.
async fn read(ring: &mut Option<Ring>) -> std::io::Result<Vec<abi::Event>> {
    match ring {
        Some(ring) => ring.read().await,
        None => std::future::pending().await,
    }
}

/// Tells systemd, if it started us.
fn sd_notify(states: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        debug!("systemd was not told: {error}");
    }
}
