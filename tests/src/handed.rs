//! Sockets that change hands: inherited by a child, or sent by SCM_RIGHTS (unix(7)). Who gets one runs in a cgroup of its own.

use std::{
    fs::OpenOptions,
    io::{self, IoSlice, IoSliceMut, Write as _},
    os::{
        fd::{AsFd as _, AsRawFd as _, FromRawFd as _, OwnedFd},
        unix::{net::UnixStream, process::CommandExt as _},
    },
    path::Path,
    process::{Command, Stdio},
};

use clap::ValueEnum;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use socket2::Socket;

use crate::script::Script;

/// How a process gets its socket, always by its standard input.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Hand {
    /// It is the socket.
    Inherited,
    /// It is a Unix socket through which the socket comes.
    Passed,
}

/// A child in `cgroup` goes on with the socket, and tells the end on our standard output.
pub(crate) fn inherit(socket: &Socket, cgroup: &Path, rest: &Script) -> io::Result<()> {
    let socket = socket.as_fd().try_clone_to_owned()?;
    finish(&mut child("inherited", cgroup, rest, socket.into())?)
}

/// A process in `cgroup` is sent the socket and goes on with it.
pub(crate) fn pass(socket: &Socket, cgroup: &Path, rest: &Script) -> io::Result<()> {
    let (ours, theirs) = UnixStream::pair()?;
    let mut receiver = child("passed", cgroup, rest, OwnedFd::from(theirs).into())?;
    let fds = [socket.as_raw_fd()];
    let message = [ControlMessage::ScmRights(&fds)];
    sendmsg::<()>(ours.as_raw_fd(), &[IoSlice::new(b"!")], &message, MsgFlags::empty(), None)?;
    finish(&mut receiver)
}

fn child(hand: &str, cgroup: &Path, rest: &Script, stdin: Stdio) -> io::Result<std::process::Child> {
    let procs = OpenOptions::new().write(true).open(cgroup.join("cgroup.procs"))?;
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["script", "--hand", hand]).args(rest.args()).stdin(stdin);
    // SAFETY: between fork and exec only write(2) is called, on a file that the closure owns.
    unsafe { command.pre_exec(move || (&procs).write_all(b"0")) };
    command.spawn()
}

fn finish(child: &mut std::process::Child) -> io::Result<()> {
    match child.wait()?.success() {
        true => Ok(()),
        false => Err(io::Error::other("the process that was handed the socket failed")),
    }
}

impl Hand {
    /// Takes the socket.
    ///
    /// # Errors
    /// There is none.
    pub fn take(self) -> io::Result<Socket> {
        let stdin = io::stdin().as_fd().try_clone_to_owned()?;
        match self {
            Self::Inherited => Ok(stdin.into()),
            Self::Passed => receive(&stdin),
        }
    }
}

fn receive(from: &OwnedFd) -> io::Result<Socket> {
    let mut control = nix::cmsg_space!([i32; 1]);
    let mut octet = [0];
    let mut slices = [IoSliceMut::new(&mut octet)];
    let message = recvmsg::<()>(from.as_raw_fd(), &mut slices, Some(&mut control), MsgFlags::empty())?;
    let fd = message.cmsgs()?.find_map(|control| match control {
        ControlMessageOwned::ScmRights(fds) => fds.first().copied(),
        _ => None,
    });
    let fd = fd.ok_or_else(|| io::Error::other("no socket came"))?;
    // SAFETY: the kernel just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) }.into())
}
