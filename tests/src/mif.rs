//! A real `mif daemon` for a lab: in the lab's host namespace, attached to the lab's cgroup, with pins and state of its own.

use std::{
    ffi::OsStr,
    io::{BufRead as _, BufReader},
    os::unix::net::{UnixDatagram, UnixStream},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use anyhow::{Context as _, Result, bail};
use mif_user::{
    control::{self, Notice, Request},
    kernel::maps::Maps,
    mode::{Mode, Otherwise},
    policy::Policy,
    state::State,
};
use nix::{
    errno::Errno,
    sys::{
        inotify::{AddWatchFlags, InitFlags, Inotify},
        signal::Signal,
    },
};

use crate::{
    bpffs::Bpffs, cgroup::Cgroup, deadline::Deadline, footprint::Folder, need, netns::Namespace,
    process::Process,
};

/// Where a daemon runs and keeps its things; outlives the daemon, as on a real host.
#[derive(Debug)]
pub struct Site {
    namespace: Namespace,
    cgroup: PathBuf,
    folder: Folder,
    bpffs: Bpffs,
}

impl Site {
    /// A site in a namespace, for the processes of a cgroup.
    ///
    /// # Errors
    /// Without root, or when no bpf file system can be mounted.
    pub fn new(namespace: &Namespace, cgroup: &Cgroup) -> Result<Self> {
        Ok(Self {
            namespace: namespace.clone(),
            cgroup: cgroup.path().to_owned(),
            folder: Folder::new("mif")?,
            bpffs: Bpffs::mount()?,
        })
    }

    /// The pin directory.
    #[must_use]
    pub fn pins(&self) -> PathBuf {
        self.bpffs.directory()
    }

    /// The state directory.
    #[must_use]
    pub fn state_dir(&self) -> &Path {
        self.folder.path()
    }

    /// The pinned maps.
    ///
    /// # Errors
    /// Nothing is pinned.
    pub fn maps(&self) -> Result<Maps> {
        Ok(Maps::open(&self.pins())?)
    }

    /// Waits until the daemon's state file is as `look` wants it. What it says is in force: it is written after the maps.
    ///
    /// # Errors
    /// It was not in time; the message says what for.
    pub fn wait_for_state<T>(&self, what: &str, mut look: impl FnMut(&State) -> Option<T>) -> Result<T> {
        let deadline = Deadline::new(what);
        let watch = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        watch.add_watch(self.state_dir(), AddWatchFlags::IN_MOVED_TO)?;
        loop {
            match watch.read_events() {
                Ok(_) | Err(Errno::EAGAIN) => {}
                Err(errno) => return Err(errno).context("read what happened in the state directory"),
            }
            if let Some(found) = State::read(self.state_dir())?.as_ref().and_then(&mut look) {
                return Ok(found);
            }
            deadline.readable(&watch)?;
        }
    }

    /// Waits until the daemon has heard every router that the kernel knows.
    ///
    /// # Errors
    /// It did not in time.
    pub fn wait_for_routers(&self) -> Result<()> {
        self.wait_for_state("all routers to be heard", |state| {
            (!state.pvds.is_empty() && state.pvds.iter().all(|pvd| !pvd.provisional)).then_some(())
        })
    }

    /// `mif ARGS` with the options that name this site.
    ///
    /// # Errors
    /// The binary was not built.
    pub fn command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Result<Command> {
        self.command_at(&self.pins(), args)
    }

    /// As [`Self::command`], with another pin directory.
    ///
    /// # Errors
    /// The binary was not built.
    pub fn command_at<S: AsRef<OsStr>>(
        &self,
        pins: &Path,
        args: impl IntoIterator<Item = S>,
    ) -> Result<Command> {
        let mut command = self.namespace.command(need::sibling("mif")?);
        command.arg("--bpffs").arg(pins).arg("--state-dir").arg(self.state_dir()).args(args);
        command.stdin(Stdio::null());
        Ok(command)
    }

    /// The cgroup that its daemons are attached to.
    #[must_use]
    pub fn cgroup(&self) -> &Path {
        &self.cgroup
    }

    /// Runs `mif ARGS` to its end.
    ///
    /// # Errors
    /// It cannot be started. That it fails is not an error here.
    pub fn mif<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Result<Output> {
        self.command(args)?.stdin(Stdio::null()).output().context("run mif")
    }

    /// Runs `mif ARGS`, which succeeds, and returns what it printed.
    ///
    /// # Errors
    /// It failed; the message has what it said.
    pub fn says<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Result<String> {
        let output = self.mif(args)?;
        if !output.status.success() {
            bail!("mif failed: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs `mif ARGS`, which fails, and returns its complaint.
    ///
    /// # Errors
    /// It succeeded.
    pub fn complains<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Result<String> {
        let output = self.mif(args)?;
        if output.status.success() {
            bail!(
                "mif succeeded and should not have; it printed: {}",
                String::from_utf8_lossy(&output.stdout)
            );
        }
        Ok(String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// Starts `mif daemon ARGS` and waits until it says that it is ready (sd_notify).
    ///
    /// # Errors
    /// It ended instead; the message has what it said.
    pub fn daemon<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Result<Daemon<'_>> {
        self.daemon_with(args, |_| {})
    }

    /// As [`Self::daemon`], with this configuration.
    ///
    /// # Errors
    /// As [`Self::daemon`], or the file cannot be written.
    pub fn daemon_configured(&self, text: &str) -> Result<Daemon<'_>> {
        let path = self.state_dir().join("mif.toml");
        std::fs::write(&path, text)?;
        self.daemon([OsStr::new("--config"), path.as_os_str()])
    }

    /// As [`Self::daemon`], with something done to the command before it starts.
    ///
    /// # Errors
    /// As [`Self::daemon`].
    pub fn daemon_with<S: AsRef<OsStr>>(
        &self,
        args: impl IntoIterator<Item = S>,
        prepare: impl FnOnce(&mut Command),
    ) -> Result<Daemon<'_>> {
        let socket = self.state_dir().join("notify.sock");
        // Left by a daemon before this one.
        let _ = std::fs::remove_file(&socket);
        let notify = UnixDatagram::bind(&socket).context("bind the notify socket")?;
        let mut command = self.command(["daemon", "--cgroup"])?;
        command.arg(&self.cgroup).args(args).env("NOTIFY_SOCKET", &socket).stdin(Stdio::null());
        let log = self.state_dir().join("daemon.log");
        command.stderr(std::fs::File::create(&log)?).stdout(Stdio::null());
        prepare(&mut command);
        let mut process = Process::spawn(command)?;
        let deadline = Deadline::new("mif daemon to be ready");
        loop {
            use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
            let end = process.end();
            let mut fds = [
                PollFd::new(std::os::fd::AsFd::as_fd(&notify), PollFlags::POLLIN),
                PollFd::new(std::os::fd::AsFd::as_fd(&end), PollFlags::POLLIN),
            ];
            let timeout = PollTimeout::try_from(deadline.left()?).unwrap_or(PollTimeout::MAX);
            poll(&mut fds, timeout).context("poll for the daemon")?;
            let ready = fds[0].any() == Some(true);
            if ready {
                let mut message = [0; 256];
                let length = notify.recv(&mut message)?;
                if message[..length].split(|octet| *octet == b'\n').any(|line| line == b"READY=1") {
                    break;
                }
            }
            drop(end);
            if let Some(status) = process.ended()? {
                bail!("mif daemon ended ({status}): {}", std::fs::read_to_string(&log)?.trim());
            }
        }
        Ok(Daemon { site: self, process, log })
    }
}

/// A running daemon; killed when dropped, its pins stay with the site.
#[derive(Debug)]
pub struct Daemon<'a> {
    site: &'a Site,
    process: Process,
    log: PathBuf,
}

impl Daemon<'_> {
    /// What it logged.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn log(&self) -> Result<String> {
        std::fs::read_to_string(&self.log).context("read the daemon's log")
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Ends it with SIGTERM and waits.
    ///
    /// # Errors
    /// It failed or did not end in time.
    pub fn stop(mut self) -> Result<()> {
        self.process.signal(Signal::SIGTERM)?;
        let status = self.process.wait()?;
        if !status.success() {
            bail!("mif daemon failed ({status}): {}", self.log()?);
        }
        Ok(())
    }

    /// Ends it with SIGKILL: a crash.
    ///
    /// # Errors
    /// It did not end.
    pub fn kill(mut self) -> Result<()> {
        self.process.signal(Signal::SIGKILL)?;
        self.process.wait().map(drop)
    }

    /// Gives a cgroup a policy; it is in force when this returns. `pvd` is what `--pvd` takes.
    ///
    /// # Errors
    /// The daemon refused.
    pub fn attach(&self, cgroup: &Cgroup, pvd: &str, mode: Mode) -> Result<Policy> {
        self.attach_groups(cgroup, &[&[pvd]], mode, None)
    }

    /// As [`Self::attach`], with groups in order of preference, and what happens to what none of them reaches.
    ///
    /// # Errors
    /// The daemon refused.
    pub fn attach_groups(
        &self,
        cgroup: &Cgroup,
        groups: &[&[&str]],
        mode: Mode,
        otherwise: Option<Otherwise>,
    ) -> Result<Policy> {
        let group = |group: &&[&str]| group.iter().map(|pvd| pvd.parse()).collect::<Result<Vec<_>, _>>();
        let groups = groups.iter().map(group).collect::<Result<_, _>>()?;
        let request =
            Request::Attach { cgroup: cgroup.path().to_owned(), groups, otherwise, mode: Some(mode) };
        Ok(control::change(self.site.state_dir(), &request)?)
    }

    /// As [`Self::attach`], with several PvDs of one rank.
    ///
    /// # Errors
    /// The daemon refused.
    pub fn attach_all<S: AsRef<str>>(&self, cgroup: &Cgroup, pvds: &[S], mode: Mode) -> Result<Policy> {
        let pvds: Vec<&str> = pvds.iter().map(AsRef::as_ref).collect();
        self.attach_groups(cgroup, &[&pvds], mode, None)
    }

    /// Takes the policy from a cgroup.
    ///
    /// # Errors
    /// It has none.
    pub fn detach(&self, cgroup: &Cgroup) -> Result<Policy> {
        Ok(control::change(self.site.state_dir(), &Request::Detach { cgroup: cgroup.path().to_owned() })?)
    }

    /// Watches from now on: everything that happens after this call is seen.
    ///
    /// # Errors
    /// The daemon does not answer.
    pub fn watch(&self) -> Result<Notices> {
        let stream = control::open_watch(self.site.state_dir())?;
        Ok(Notices { stream })
    }
}

/// What a daemon tells.
#[derive(Debug)]
pub struct Notices {
    stream: BufReader<UnixStream>,
}

impl Notices {
    /// Waits for the first notice from which `look` finds something.
    ///
    /// # Errors
    /// None came in time; the message says what for.
    pub fn until<T>(&mut self, what: &str, mut look: impl FnMut(&Notice) -> Result<Option<T>>) -> Result<T> {
        let deadline = Deadline::new(what);
        loop {
            if self.stream.buffer().is_empty() {
                deadline.readable(self.stream.get_ref())?;
            }
            let mut line = String::new();
            if self.stream.read_line(&mut line).context("read a notice")? == 0 {
                bail!("the daemon ended while the test waited for {what}");
            }
            let notice = serde_json::from_str(&line).with_context(|| format!("a notice: {line}"))?;
            if let Some(found) = look(&notice)? {
                return Ok(found);
            }
        }
    }
}
