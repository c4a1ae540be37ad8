//! Child processes that do not outlive the lab.

use std::{
    io::{self, Read as _, Write as _},
    os::{
        fd::{AsFd, FromRawFd as _, OwnedFd},
        unix::process::CommandExt as _,
    },
    process::{Child, Command, ExitStatus},
    sync::{LazyLock, mpsc},
    thread,
};

use anyhow::{Context as _, Result, bail};
use nix::{
    libc,
    sys::{
        prctl,
        signal::{self, SigHandler, Signal},
    },
    unistd::{self, Pid},
};

use crate::deadline::Deadline;

/// A running program; it is killed and reaped when this is dropped, and dies with this process.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    pidfd: OwnedFd,
    unread: Vec<u8>,
}

impl Process {
    /// Starts `command`.
    ///
    /// # Errors
    /// The program does not exist or one of the steps before exec failed.
    pub fn spawn(mut command: Command) -> Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        let parent = unistd::getpid();
        // SAFETY: sigaction(2), prctl(2) and getppid(2) are async-signal-safe.
        unsafe {
            command.pre_exec(move || {
                // A shell without job control starts what it puts into the background with SIGINT ignored, and that is inherited.
                for signal in [Signal::SIGINT, Signal::SIGTERM] {
                    signal::signal(signal, SigHandler::SigDfl)?;
                }
                prctl::set_pdeathsig(Signal::SIGKILL)?;
                // The parent may have died before the line above.
                if unistd::getppid() == parent { Ok(()) } else { Err(io::ErrorKind::NotFound.into()) }
            })
        };
        let child = spawn_from_lasting_thread(command).with_context(|| format!("start {name}"))?;
        let pidfd = pidfd_open(child.id()).with_context(|| format!("pidfd_open of {name}"))?;
        Ok(Self { name, child, pidfd, unread: Vec::new() })
    }

    /// Its number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The child, for its pipes.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// It has been waited for already.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = Pid::from_raw(self.child.id().cast_signed());
        signal::kill(pid, signal).with_context(|| format!("send {signal} to {}", self.name))
    }

    /// Whether it has ended.
    ///
    /// # Errors
    /// waitpid(2) failed.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().with_context(|| format!("wait for {}", self.name))
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// It did not end in time.
    pub fn wait(&mut self) -> Result<ExitStatus> {
        self.wait_until(&Deadline::new(format!("{} to end", self.name)))
    }

    /// Waits for its end until `deadline`.
    ///
    /// # Errors
    /// The deadline passed.
    pub fn wait_until(&mut self, deadline: &Deadline) -> Result<ExitStatus> {
        deadline.readable(&self.pidfd)?;
        self.child.wait().with_context(|| format!("wait for {}", self.name))
    }

    /// The next line of its standard output, which is a pipe, without the line's end.
    ///
    /// # Errors
    /// It ended or closed its output before the end of a line, or wrote none in time.
    pub fn read_line(&mut self) -> Result<String> {
        let deadline = Deadline::new(format!("a line from {}", self.name));
        let stdout =
            self.child.stdout.as_mut().with_context(|| format!("the output of {} is no pipe", self.name))?;
        loop {
            if let Some(end) = self.unread.iter().position(|&octet| octet == b'\n') {
                let line = self.unread.drain(..=end).take(end).collect();
                return String::from_utf8(line).with_context(|| format!("{} wrote no UTF-8", self.name));
            }
            deadline.readable(&*stdout)?;
            let mut chunk = [0; 4096];
            let length = stdout.read(&mut chunk).with_context(|| format!("read what {} wrote", self.name))?;
            if length == 0 {
                bail!("{} ended before it had written a line", self.name);
            }
            self.unread.extend(&chunk[..length]);
        }
    }

    /// Writes a line to its standard input, which is a pipe.
    ///
    /// # Errors
    /// It ended.
    pub fn write_line(&mut self, line: &str) -> Result<()> {
        let stdin =
            self.child.stdin.as_mut().with_context(|| format!("the input of {} is no pipe", self.name))?;
        stdin.write_all(format!("{line}\n").as_bytes()).with_context(|| format!("write to {}", self.name))
    }

    /// Readable from its end on.
    pub fn end(&self) -> impl AsFd + '_ {
        self.pidfd.as_fd()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Fails only if it was waited for already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The parent-death signal is sent when the *thread* that forked ends, so all are forked by one that ends with the process.
fn spawn_from_lasting_thread(command: Command) -> io::Result<Child> {
    type Order = (Command, mpsc::SyncSender<io::Result<Child>>);
    static ORDERS: LazyLock<mpsc::Sender<Order>> = LazyLock::new(|| {
        let (orders, queue) = mpsc::channel::<Order>();
        let serve = move || {
            for (mut command, reply) in queue {
                // Without a receiver nobody wants the child any more; it is dropped and dies with this process.
                let _ = reply.send(command.spawn());
            }
        };
        thread::Builder::new().name("lab-spawner".into()).spawn(serve).expect("a thread can be started");
        orders
    });
    let (reply, child) = mpsc::sync_channel(1);
    ORDERS.send((command, reply)).expect("the spawner serves as long as the process lives");
    child.recv().expect("the spawner answers every order")
}

fn pidfd_open(pid: u32) -> io::Result<OwnedFd> {
    let no_flags = 0;
    // SAFETY: the system call takes two numbers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, no_flags) };
    let fd = i32::try_from(fd).expect("descriptors are small numbers");
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

#[cfg(test)]
mod tests {
    use std::process::Stdio;

    use super::*;

    #[test]
    fn lines_are_read_one_by_one() {
        let mut command = Command::new("sh");
        command.args(["-c", "printf 'one\\ntwo\\nhalf'; exit 3"]).stdout(Stdio::piped());
        let mut process = Process::spawn(command).unwrap();
        assert_eq!(process.read_line().unwrap(), "one");
        assert_eq!(process.read_line().unwrap(), "two");
        let error = process.read_line().unwrap_err().to_string();
        assert_eq!(error, "sh ended before it had written a line");
        assert_eq!(process.wait().unwrap().code(), Some(3));
    }

    #[test]
    fn a_child_outlives_the_thread_that_asked_for_it() {
        let start = || {
            let mut command = Command::new("cat");
            command.stdin(Stdio::piped()).stdout(Stdio::piped());
            Process::spawn(command).unwrap()
        };
        let mut cat = thread::spawn(start).join().unwrap();
        drop(cat.child().stdin.take());
        assert!(cat.wait().unwrap().success());
    }
}
