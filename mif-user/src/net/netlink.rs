//! rtnetlink: a subscription and dumps, as events.
//!
//! `netlink-sys` opens the socket and `netlink-packet-route` reads the messages. `netlink-proto` and `rtnetlink` are not
//! used: they hide overruns (ENOBUFS), and an overrun that nobody hears of is a table that stays wrong.
//!
//! * `session`: the order of things (subscribe, dump, resynchronise), without I/O.
//! * `convert`: from one kernel message to events.
//! * `rules`: which policy rules are foreign.

use std::{io, sync::Arc};

use mif_core::time::Deadline;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::{
    errno::Errno,
    sys::socket::{setsockopt, sockopt},
};
use tokio::sync::{Notify, mpsc};

use super::{DATAGRAMS_PER_WAKEUP, Message};
use crate::{
    clock::{self, Timer},
    fd::Reader,
};

mod convert;
mod rules;
mod session;

pub use rules::RuleInfo;
use session::Session;

/// The socket's receive buffer, octets: some 4,000 route changes between two turns of the task. The kernel doubles it.
pub const RECEIVE_BUFFER: usize = 4 << 20;

/// The largest datagram read. Dumps are cut at 32 KiB (`NLMSG_GOODSIZE` and `max_recvmsg_len`, af_netlink.c); a
/// notification is one message.
const DATAGRAM: usize = 64 << 10;

/// What is subscribed to, as bits of `sockaddr_nl.nl_groups`.
const GROUPS: u32 = group(libc::RTNLGRP_LINK)
    | group(libc::RTNLGRP_NEIGH)
    | group(libc::RTNLGRP_IPV4_IFADDR)
    | group(libc::RTNLGRP_IPV4_ROUTE)
    | group(libc::RTNLGRP_IPV4_RULE)
    | group(libc::RTNLGRP_IPV6_IFADDR)
    | group(libc::RTNLGRP_IPV6_ROUTE)
    | group(libc::RTNLGRP_IPV6_RULE)
    | group(libc::RTNLGRP_NEXTHOP);

const fn group(number: libc::c_uint) -> u32 {
    1 << (number - 1)
}

/// What ends the task.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A system call failed.
    #[error("netlink: cannot {action}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// The kernel refused a dump.
    #[error("netlink: the kernel refuses to list its {subject}: {source}")]
    Dump {
        /// What was asked for.
        subject: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
}

impl Error {
    fn io(action: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, source }
    }
}

/// The subscription of one network namespace.
#[derive(Debug)]
pub struct Monitor {
    socket: Reader<Socket>,
    timer: Timer,
    session: Session,
    unsure: Arc<Notify>,
}

impl Monitor {
    /// Subscribes in the calling thread's network namespace. Changes from here on are not missed; [`Self::run`] reads
    /// them. Inside a tokio runtime with I/O enabled.
    ///
    /// # Errors
    /// [`Error::Io`] when the kernel has no rtnetlink, or the process no descriptors left.
    pub fn open() -> Result<Self, Error> {
        Self::with_receive_buffer(RECEIVE_BUFFER)
    }

    /// [`Self::open`] with a receive buffer of this many octets, for machines with little memory and for tests.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn with_receive_buffer(octets: usize) -> Result<Self, Error> {
        let mut socket = Socket::new(NETLINK_ROUTE).map_err(Error::io("open a socket"))?;
        socket.set_non_blocking(true).map_err(Error::io("make the socket non-blocking"))?;
        // Lets the kernel filter dumps (by table) and refuse what it does not understand. Linux 4.20.
        socket.set_netlink_get_strict_chk(true).map_err(Error::io("set NETLINK_GET_STRICT_CHK"))?;
        // FORCE goes past net.core.rmem_max and wants CAP_NET_ADMIN, which a daemon has and a reader need not.
        setsockopt(&socket, sockopt::RcvBufForce, &octets)
            .or_else(|_| setsockopt(&socket, sockopt::RcvBuf, &octets))
            .map_err(|errno| Error::io("set SO_RCVBUF")(errno.into()))?;
        socket.bind(&SocketAddr::new(0, GROUPS)).map_err(Error::io("subscribe"))?;
        let mut address = SocketAddr::new(0, 0);
        socket.get_address(&mut address).map_err(Error::io("read the socket's address"))?;
        Ok(Self {
            socket: Reader::new(socket).map_err(Error::io("register the socket"))?,
            timer: Timer::new().map_err(Error::io("make a timer"))?,
            session: Session::new(address.port_number()),
            unsure: Arc::default(),
        })
    }

    /// Tells the task that a dump is wanted ([`mif_core::pvd::PvdSet::wants_resync`]); it makes one when it may.
    #[must_use]
    pub fn unsure(&self) -> Arc<Notify> {
        Arc::clone(&self.unsure)
    }

    /// Dumps, then follows the changes, until the receiver is gone.
    ///
    /// # Errors
    /// [`Error`] when the socket fails or the kernel refuses a dump; the subscription is over then.
    pub async fn run(self, messages: mpsc::Sender<Message>) -> Result<(), Error> {
        let Self { socket, mut timer, mut session, unsure } = self;
        let kernel = SocketAddr::new(0, 0);
        let mut out = Vec::new();
        let mut datagrams = Vec::new();
        let mut buffer = vec![0; DATAGRAM];
        session.begin(clock::now(), &mut out);
        loop {
            if let Some(request) = session.take_request() {
                socket.get().send_to(&request, &kernel, 0).map_err(Error::io("ask for a dump"))?;
            }
            for message in out.drain(..) {
                if messages.send(message).await.is_err() {
                    return Ok(());
                }
            }
            let due = session.next_deadline().map_or(Deadline::NEVER, Deadline::at);
            tokio::select! {
                read = socket.read(DATAGRAMS_PER_WAKEUP, |socket| {
                    datagrams.push(receive(socket, &mut buffer)?);
                    Ok(())
                }) => read.map_err(Error::io("receive"))?,
                () = unsure.notified() => session.unsure(clock::now()),
                fired = timer.wait_until(due) => {
                    fired.map_err(Error::io("wait for the timer"))?;
                    session.poll(clock::now(), &mut out);
                }
            }
            for datagram in datagrams.drain(..) {
                match datagram {
                    Some(bytes) => session.datagram(&bytes, clock::now(), &mut out)?,
                    None => session.overrun(clock::now(), &mut out),
                }
            }
        }
    }
}

/// One datagram of the kernel's, empty when somebody else sent it; `None` when the kernel lost some, or when this one did
/// not fit.
fn receive(socket: &Socket, buffer: &mut [u8]) -> io::Result<Option<Vec<u8>>> {
    match socket.recv_from(&mut &mut *buffer, libc::MSG_TRUNC) {
        // Only the kernel, port 0, speaks for the kernel.
        Ok((_, from)) if from.port_number() != 0 => Ok(Some(Vec::new())),
        // With MSG_TRUNC the length is the true one.
        Ok((length, _)) => Ok(buffer.get(..length).map(<[u8]>::to_vec)),
        Err(error) if error.raw_os_error() == Some(Errno::ENOBUFS as i32) => Ok(None),
        Err(error) => Err(error),
    }
}
