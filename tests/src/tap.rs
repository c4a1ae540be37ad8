//! Listens where the host's packets reach a router, before the router's filter.

use std::{
    os::fd::AsFd as _,
    sync::{Arc, Condvar, Mutex, MutexGuard},
    time::SystemTime,
};

use anyhow::{Context as _, Result, anyhow, bail};

use crate::{
    deadline::Deadline,
    netns::{Namespace, is_link_scope},
    packet::{Headers, PacketSocket, Sees},
    worker::{Stop, Worker},
};

/// Octets kept of a packet: all the headers that occur in the lab.
const SNAP: usize = 256;

/// A packet that came in.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Seen {
    /// Addresses, protocol, ports.
    pub headers: Headers,
    /// When the kernel received it.
    pub at: SystemTime,
}

/// Records every IP packet that comes in by an interface and is not of link scope.
#[derive(Debug)]
pub struct Tap {
    shared: Arc<Shared>,
    _reader: Worker,
}

#[derive(Debug)]
struct Shared {
    name: String,
    /// One for each version of IP.
    sockets: [PacketSocket; 2],
    record: Mutex<Record>,
    grown: Condvar,
}

#[derive(Debug, Default)]
struct Record {
    seen: Vec<Seen>,
    failure: Option<String>,
}

impl Tap {
    /// Listens from now on.
    ///
    /// # Errors
    /// See [`PacketSocket::open`].
    pub fn new(namespace: &Namespace, interface: &str) -> Result<Self> {
        let shared = Arc::new(Shared {
            name: format!("{interface} of {}", namespace.name()),
            sockets: [
                PacketSocket::open(namespace, interface, Sees::IncomingIpv6)?,
                PacketSocket::open(namespace, interface, Sees::IncomingIpv4)?,
            ],
            record: Mutex::default(),
            grown: Condvar::new(),
        });
        let reader = Arc::clone(&shared);
        let reader = Worker::start("lab-tap", move |stop| reader.read_until(stop))?;
        Ok(Self { shared, _reader: reader })
    }

    /// All packets that had come in when this was called.
    ///
    /// # Errors
    /// Some were lost, so that the record proves nothing.
    pub fn seen(&self) -> Result<Vec<Seen>> {
        Ok(self.shared.current()?.seen.clone())
    }

    /// Forgets what had come in when this was called.
    ///
    /// # Errors
    /// As [`Self::seen`].
    pub fn forget(&self) -> Result<()> {
        self.shared.current()?.seen.clear();
        Ok(())
    }

    /// Waits for the first packet that `fits`, which may have come in already.
    ///
    /// # Errors
    /// None came in time, or packets were lost.
    pub fn wait_for(&self, what: &str, fits: impl Fn(&Headers) -> bool) -> Result<Seen> {
        let deadline = Deadline::new(format!("{what} on {}", self.shared.name));
        let mut record = self.shared.current()?;
        loop {
            record.check(&self.shared.name)?;
            if let Some(seen) = record.seen.iter().find(|seen| fits(&seen.headers)) {
                return Ok(seen.clone());
            }
            record = self.shared.grown.wait_timeout(record, deadline.left()?).map_err(|_| poisoned())?.0;
        }
    }
}

impl Shared {
    /// The record, with all that waits in the sockets added.
    fn current(&self) -> Result<MutexGuard<'_, Record>> {
        let mut record = self.record.lock().map_err(|_| poisoned())?;
        self.drain(&mut record);
        record.check(&self.name)?;
        Ok(record)
    }

    fn drain(&self, record: &mut Record) {
        let before = record.seen.len();
        for socket in &self.sockets {
            if let Err(error) = try_drain(socket, &mut record.seen) {
                record.failure.get_or_insert(format!("{error:#}"));
            }
        }
        record.seen[before..].sort_by_key(|seen| seen.at);
        self.grown.notify_all();
    }

    fn read_until(&self, stop: &Stop) {
        while stop.wait(self.sockets.iter().map(|socket| socket.as_fd())) {
            let Ok(mut record) = self.record.lock() else { return };
            self.drain(&mut record);
            if record.failure.is_some() {
                return;
            }
        }
    }
}

/// Adds what waits in a socket.
fn try_drain(socket: &PacketSocket, seen: &mut Vec<Seen>) -> Result<()> {
    let mut buffer = [0; SNAP];
    while let Some(packet) = socket.receive(&mut buffer)? {
        let headers = Headers::parse(packet.octets)
            .with_context(|| format!("cannot read the headers of {:02x?}", packet.octets))?;
        if !is_link_scope(headers.source) && !is_link_scope(headers.destination) {
            seen.push(Seen { headers, at: packet.at });
        }
    }
    match socket.lost()? {
        0 => Ok(()),
        lost => bail!("{lost} packets were lost"),
    }
}

impl Record {
    fn check(&self, name: &str) -> Result<()> {
        match &self.failure {
            None => Ok(()),
            Some(failure) => bail!("the tap on {name} is blind: {failure}"),
        }
    }
}

fn poisoned() -> anyhow::Error {
    anyhow!("the tap's reader panicked")
}
