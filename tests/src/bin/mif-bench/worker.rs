//! The measuring process: lives in the namespace of a host and in the bench's cgroup, takes orders on its standard input.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufRead as _, Write as _, stdin, stdout},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    thread,
};

use anyhow::{Context as _, Result, bail};
use mif_core::family::Family;
use mif_tests::{cgroup::Cgroup, netns::Namespace, process::Process};
use nix::{
    libc,
    sched::{CloneFlags, CpuSet, sched_setaffinity, setns},
    unistd::Pid,
};
use socket2::{Socket, Type};

use crate::{
    population,
    traffic::{self, Done, EXCHANGE_PORT, Order, Traffic},
};

/// The word that makes this program a worker; nobody types it.
pub const WORD: &str = "worker";

/// A worker.
pub struct Worker(Process);

impl Worker {
    /// Starts one in the namespace of a host. It has the receivers of its datagrams in the namespace of the server.
    pub fn start(host: &Namespace, server: &Namespace, cgroup: &Cgroup) -> Result<Self> {
        let program = std::env::current_exe().context("this program has a file")?;
        let mut command = host.command(program);
        command.arg(WORD).arg(server.path()).stdin(Stdio::piped()).stdout(Stdio::piped());
        cgroup.hold(&mut command)?;
        let mut process = Process::spawn(command)?;
        match process.read_line()?.as_str() {
            "ready" => Ok(Self(process)),
            other => bail!("a worker in {} said {other:?}", host.name()),
        }
    }

    /// Makes it work.
    pub fn order(&mut self, order: &Order) -> Result<Done> {
        self.0.write_line(&order.line())?;
        self.0.read_line().with_context(|| format!("a worker at {}", order.line()))?.parse()
    }

    /// Its process id, for a profiler.
    pub fn id(&self) -> u32 {
        self.0.id()
    }
}

/// What a worker's process does until its standard input ends.
pub fn run(server: &Path) -> Result<()> {
    settle_on_cpu(CLIENT_CPU)?;
    let server = PathBuf::from(server);
    let receivers = thread::spawn(move || receivers(&server));
    let receivers = receivers.join().map_err(|_| anyhow::anyhow!("a thread panicked"))??;
    let mut traffic = Traffic::new(receivers);
    println!("ready");
    for line in stdin().lock().lines() {
        let done = traffic.carry_out(&line?.parse()?)?;
        writeln!(stdout(), "{}", done.line())?;
    }
    Ok(())
}

/// Sockets stay in the namespace in which they were made; this thread ends there.
fn receivers(server: &Path) -> Result<BTreeMap<Family, Socket>> {
    let namespace = File::open(server).context("the server's namespace")?;
    setns(namespace, CloneFlags::CLONE_NEWNET).context("setns")?;
    let receiver = |family| {
        let socket = Socket::new(traffic::domain(family), Type::DGRAM, None)?;
        socket.bind(&SocketAddr::new(population::destination(family), EXCHANGE_PORT).into())?;
        socket.set_nonblocking(true)?;
        Ok::<_, std::io::Error>((family, socket))
    };
    Family::ALL.into_iter().map(receiver).collect::<Result<_, _>>().context("a receiver")
}

/// The CPU of the workers.
pub const CLIENT_CPU: usize = 0;

/// Keeps the calling thread, and those that it starts, on one CPU, and before everything else that wants to run there: what the
/// machine does besides should not be measured.
pub fn settle_on_cpu(cpu: usize) -> Result<()> {
    /// The first in turn (sched(7)).
    const NICEST: i32 = -20;
    let mut set = CpuSet::new();
    set.set(cpu)?;
    let this_thread = Pid::from_raw(0);
    sched_setaffinity(this_thread, &set).with_context(|| format!("cannot stay on CPU {cpu}"))?;
    // SAFETY: the call takes three numbers; 0 is the calling thread.
    if unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICEST) } != 0 {
        return Err(std::io::Error::last_os_error()).context("setpriority");
    }
    Ok(())
}
