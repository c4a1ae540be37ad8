//! What the tests stand on: the binary, and an installation that goes with the test.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::Ipv6Addr,
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::Duration,
};

use mif_common::abi;
use mif_core::{
    pvd::{
        PvdKey, PvdSnapshot,
        snapshot::{RouteSnapshot, SaidBy},
    },
    select::{
        tables::{Op, TableStore as _},
        world::{AddressState, NextHop, Origin, Route, Source},
    },
    time::{Deadline, Time},
    wire::RouterPreference,
};
use mif_user::{
    clock,
    control::{Notice, Reply, Request},
    kernel::{
        attach, mounts,
        object::Sizes,
        pins::{Installation, Plan},
    },
    mode::{Mode, Otherwise},
    policy::{self, Policy},
    state::{self, State},
};
use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, unshare},
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// The loopback interface of the test's own network namespace.
pub const LOOPBACK: u32 = 1;

/// How long a command of the tests may take: none waits for anything that takes seconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// What ran: status and both outputs.
pub struct Ran {
    pub status: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Ran {
    /// Asserts the status and gives the output.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.status, Some(0), "{}{}", self.out, self.err);
        self.out
    }

    /// Asserts the status, and that the message says something.
    #[track_caller]
    pub fn fails(self, status: i32, message: &str) {
        assert_eq!(self.status, Some(status), "{}{}", self.out, self.err);
        assert!(self.err.contains(message), "expected {message:?} in {:?}", self.err);
    }

    /// The output as JSON.
    #[track_caller]
    pub fn json(self) -> serde_json::Value {
        let out = self.ok();
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error} in {out}"))
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            status: output.status.code(),
            out: String::from_utf8(output.stdout).expect("text"),
            err: String::from_utf8(output.stderr).expect("text"),
        }
    }
}

/// The binary, with arguments.
pub fn mif<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mif"));
    command.args(arguments).env_remove("MIF_LOG");
    command
}

/// Runs to the end, without input.
pub fn run(command: &mut Command) -> Ran {
    let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    end_of(command.spawn().expect("the binary runs"))
}

/// Waits for the end of what was started, and ends it where that takes too long: its status is then none.
pub fn end_of(child: Child) -> Ran {
    let pid = Pid::from_raw(i32::try_from(child.id()).expect("the kernel's ids are positive"));
    let (ended, end) = mpsc::channel::<()>();
    thread::scope(|scope| {
        scope.spawn(move || {
            if matches!(end.recv_timeout(PATIENCE), Err(RecvTimeoutError::Timeout)) {
                // It may have ended this moment.
                let _ = kill(pid, Signal::SIGKILL);
            }
        });
        let output = child.wait_with_output().expect("it can be waited for");
        drop(ended);
        output.into()
    })
}

/// A folder that goes with the test.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let place = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("mif-cli-{}-{place}", std::process::id()));
        fs::create_dir_all(&path).expect("the temporary folder can be written");
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A host of its own: network namespace (of this thread and what it starts), bpf file system, cgroup, state directory.
pub struct Host {
    pub cgroup: PathBuf,
    pub bpffs: PathBuf,
    pub state_dir: PathBuf,
    folder: Folder,
}

impl Host {
    pub fn new() -> Self {
        assert!(
            nix::unistd::geteuid().is_root(),
            "this test needs root: it mounts, makes cgroups and loads programs"
        );
        unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace");
        ip("link set lo up");
        let folder = Folder::new();
        let mounted = folder.path().join("bpf");
        fs::create_dir(&mounted).expect("a mount point");
        mount(Some("bpf"), &mounted, Some("bpf"), MsFlags::empty(), Some("mode=0700"))
            .expect("a bpf file system");
        let name = folder.path().file_name().expect("it has one").to_owned();
        let cgroup = mounts::cgroup2().expect("cgroup2").join(name);
        fs::create_dir(&cgroup).expect("a cgroup");
        Self { cgroup, bpffs: mounted.join("mif"), state_dir: folder.path().join("state"), folder }
    }

    /// The binary on this host.
    pub fn mif<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = mif(arguments);
        command.arg("--bpffs").arg(&self.bpffs).arg("--state-dir").arg(&self.state_dir);
        command
    }

    pub fn run<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Ran {
        run(&mut self.mif(arguments))
    }

    /// Installs the programs, attached to this host's cgroup.
    pub fn install(&self) -> Installation {
        let sizes = Sizes { pvds: 16, sources: 64, decisions: 64, ..Sizes::default() };
        Installation::start(&Plan {
            directory: self.bpffs.clone(),
            cgroup: self.cgroup.clone(),
            sizes,
            tc: attach::TcBackend::Auto,
        })
        .expect("the programs are installed")
    }

    /// Runs a shell script in this host's cgroup.
    pub fn in_cgroup(&self, script: &str) {
        let enter = format!("echo 0 > {}/cgroup.procs; {script}", self.cgroup.display());
        Command::new("bash").args(["-c", &enter]).output().expect("bash runs");
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // Lazily: whoever is left holding a file does not hold up the others.
        let _ = umount2(&self.folder.path().join("bpf"), MntFlags::MNT_DETACH);
        remove_cgroup(&self.cgroup);
    }
}

/// Ends what is left in a cgroup, and removes it with those below it.
fn remove_cgroup(cgroup: &Path) {
    let _ = fs::write(cgroup.join("cgroup.kill"), "1");
    for below in fs::read_dir(cgroup).into_iter().flatten().filter_map(Result::ok) {
        if below.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_cgroup(&below.path());
        }
    }
    // A process that is killed takes a moment to end; rmdir is refused meanwhile.
    while fs::remove_dir(cgroup).is_err_and(|error| error.kind() == std::io::ErrorKind::ResourceBusy) {
        thread::yield_now();
    }
}

/// Runs ip(8) in the thread's network namespace.
pub fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status().expect("iproute2 is installed");
    assert!(status.success(), "ip {arguments}");
}

pub fn address(text: &str) -> Ipv6Addr {
    text.parse().expect("a literal")
}

/// In half an hour.
pub fn later() -> u64 {
    clock::now().after(Duration::from_secs(1800)).0
}

/// A host with the PvDs `lo/fe80::a` (1) and `lo/fe80::b` (2): all destinations by the first, a strict policy of the
/// host's cgroup for the second, and a daemon that has ended.
pub fn two_pvds(host: &Host) -> Installation {
    let mut installation = host.install();
    installation.attach_interface(LOOPBACK).expect("attached");
    let decision = |pvd, source, next_hop| abi::Decision {
        valid_until: later(),
        source: address(source).into(),
        next_hop: address(next_hop).into(),
        ifindex: LOOPBACK,
        pvd,
        verdict: abi::Verdict::Use as u32,
        flags: 0,
    };
    let source = |pvd, next_hop| abi::Source {
        valid_until: abi::FOREVER,
        next_hop: address(next_hop).into(),
        ifindex: LOOPBACK,
        pvd,
        on_link_bits: 64,
        flags: abi::source_flags::LEADS_ON,
    };
    let pvd = abi::Pvd { valid_until: later(), ifindex: LOOPBACK, flags: abi::pvd_flags::PRESENT };
    let all = "::/0".parse().expect("a literal");
    let maps = &mut installation.maps;
    for op in [
        Op::PutPvd(1, pvd),
        Op::PutPvd(2, abi::Pvd { flags: pvd.flags | abi::pvd_flags::EXPLICIT, ..pvd }),
        Op::PutSource(address("2001:db8:a::10"), source(1, "fe80::a")),
        Op::PutSource(address("2001:db8:b::10"), source(2, "fe80::b")),
        Op::PutMember(1, 2, 0),
        Op::PutDecision(0, all, decision(1, "2001:db8:a::10", "fe80::a")),
        Op::PutDecision(
            0,
            mif_core::family::IPV4,
            abi::Decision { verdict: abi::Verdict::None as u32, ..abi::Decision::default() },
        ),
        Op::PutDecision(1, all, decision(2, "2001:db8:b::10", "fe80::b")),
    ] {
        maps.apply(&op).expect("it fits");
    }
    let cgroup_id = attach::cgroup_id(&host.cgroup).expect("a cgroup");
    maps.set_policy(cgroup_id, abi::Policy { view: 1, mode: abi::Mode::Strict as u32 }).expect("it fits");
    maps.set_config(abi::Config {
        netns_cookie: clock::netns_cookie().expect("a cookie"),
        mode: abi::Mode::Prefer as u32,
        flags: abi::config_flags::POLICIES | abi::config_flags::STRICT,
        pvds: maps.pvd_places(),
        layout: abi::LAYOUT,
    })
    .expect("written");
    state(host, cgroup_id).write(&host.state_dir).expect("written");
    installation
}

fn state(host: &Host, cgroup_id: u64) -> State {
    State {
        format: state::FORMAT,
        pid: 1,
        started: Time(1),
        written: clock::now(),
        links: vec![state::Link { ifindex: LOOPBACK, name: "lo".into(), up: true, egress: true }],
        pvds: vec![snapshot(1, "fe80::a", "2001:db8:a::10"), snapshot(2, "fe80::b", "2001:db8:b::10")],
        policies: vec![Policy {
            cgroup: host.cgroup.clone(),
            cgroup_id,
            groups: vec![vec!["lo/fe80::b".into()]],
            otherwise: Otherwise::Refuse,
            mode: Mode::Strict,
            view: 1,
            origin: policy::Origin::Command,
        }],
        refused: [("checksum".to_owned(), 3)].into(),
        problems: vec!["something to look at".into()],
        ..State::default()
    }
}

fn snapshot(index: u32, router: &str, source: &str) -> PvdSnapshot {
    PvdSnapshot {
        index,
        id: format!("lo/{router}"),
        key: PvdKey::Implicit { ifindex: LOOPBACK, router: address(router) },
        link: "lo".into(),
        ifindex: LOOPBACK,
        up: true,
        origin: Origin::Network,
        provisional: false,
        routers: vec![],
        prefixes: vec![],
        sources: vec![Source {
            address: address(source),
            prefix_len: 64,
            state: AddressState::Preferred,
            temporary: false,
            secondary: false,
            valid_until: Deadline::NEVER,
            carried: true,
            several_interfaces: false,
            advertisers: vec![],
        }],
        routes: vec![RouteSnapshot {
            said_by: SaidBy::Router(address(router)),
            route: Route {
                prefix: "::/0".parse().expect("a literal"),
                next_hop: NextHop::Router(address(router)),
                preference: RouterPreference::Medium,
                metric: 0,
                reachable: true,
                origin: Origin::Network,
                kernel_decides: false,
                preferred_source: None,
                valid_until: Deadline::at(Time(later())),
            },
        }],
        leases: vec![],
        dns_servers: vec![],
        search_list: vec![],
        pref64: vec![],
        encrypted_dns: vec![],
        rdnss_selection: vec![],
        ntp_servers: vec![],
        dhcpv6_portal: None,
        address_selection: None,
        policy: None,
        valid_until: Deadline::at(Time(later())),
    }
}

/// Stands in for the daemon at the control socket; all it does is to write down what it is asked.
pub struct StandIn {
    pub asked: Arc<Mutex<Vec<Request>>>,
}

impl StandIn {
    /// Grants everything, or refuses everything with a reason, and gives watchers these notices.
    pub fn start(state_dir: &Path, refusal: Option<&'static str>, notices: Vec<Notice>) -> Self {
        fs::create_dir_all(state_dir).expect("made");
        let listener = UnixListener::bind(mif_user::control::socket(state_dir)).expect("bound");
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        // Ends with the process; the folder of its socket goes before.
        thread::spawn(move || {
            for stream in listener.incoming() {
                converse(stream.expect("a connection"), refusal, &notices, &log);
            }
        });
        Self { asked }
    }

    /// What was asked so far.
    pub fn asked(&self) -> Vec<Request> {
        self.asked.lock().expect("nobody panicked").clone()
    }
}

fn converse(mut stream: UnixStream, refusal: Option<&str>, notices: &[Notice], log: &Mutex<Vec<Request>>) {
    let mut line = String::new();
    BufReader::new(&stream).read_line(&mut line).expect("a request");
    let request: Request = serde_json::from_str(&line).expect("a request");
    let policy = |cgroup: &Path, groups, otherwise: Option<Otherwise>, mode| {
        Reply::Policy(Policy {
            cgroup: cgroup.into(),
            cgroup_id: 0,
            groups,
            otherwise: otherwise.unwrap_or_default(),
            mode,
            view: 1,
            origin: policy::Origin::Command,
        })
    };
    let reply = match (&request, refusal) {
        (_, Some(why)) => Reply::Refused(why.into()),
        (Request::Attach { cgroup, groups, otherwise, mode }, None) => {
            policy(cgroup, groups.clone(), *otherwise, mode.unwrap_or_default())
        }
        (Request::Detach { cgroup }, None) => policy(cgroup, vec![], None, Mode::Prefer),
        (Request::Watch, None) => Reply::Watching,
    };
    log.lock().expect("nobody panicked").push(request);
    let mut send = |json: String| {
        // The other side may have what it wanted.
        let _ = writeln!(stream, "{json}");
    };
    send(serde_json::to_string(&reply).expect("it serialises"));
    if matches!(reply, Reply::Watching) {
        notices.iter().for_each(|notice| send(serde_json::to_string(notice).expect("it serialises")));
    }
}
