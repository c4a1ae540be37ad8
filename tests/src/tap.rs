//! Listens where the host's packets reach a router, before the router's filter.

use std::{
    net::Ipv6Addr,
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

/// Records every IPv6 packet that comes in by an interface and is not of link scope.
#[derive(Debug)]
pub struct Tap {
    shared: Arc<Shared>,
    _reader: Worker,
}

#[derive(Debug)]
struct Shared {
    name: String,
    socket: PacketSocket,
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
            socket: PacketSocket::open(namespace, interface, Sees::Incoming)?,
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
    /// The record, with all that waits in the socket added.
    fn current(&self) -> Result<MutexGuard<'_, Record>> {
        let mut record = self.record.lock().map_err(|_| poisoned())?;
        self.drain(&mut record);
        record.check(&self.name)?;
        Ok(record)
    }

    fn drain(&self, record: &mut Record) {
        if let Err(error) = self.try_drain(&mut record.seen) {
            record.failure.get_or_insert(format!("{error:#}"));
        }
        self.grown.notify_all();
    }

    fn try_drain(&self, seen: &mut Vec<Seen>) -> Result<()> {
        let mut buffer = [0; SNAP];
        while let Some(packet) = self.socket.receive(&mut buffer)? {
            let headers = Headers::parse(packet.octets)
                .with_context(|| format!("cannot read the headers of {:02x?}", packet.octets))?;
            let link_scope = |address: Ipv6Addr| is_link_scope(address);
            if !link_scope(headers.source) && !link_scope(headers.destination) {
                seen.push(Seen { headers, at: packet.at });
            }
        }
        match self.socket.lost()? {
            0 => Ok(()),
            lost => bail!("{lost} packets were lost"),
        }
    }

    fn read_until(&self, stop: &Stop) {
        while stop.wait([self.socket.as_fd()]) {
            let Ok(mut record) = self.record.lock() else { return };
            self.drain(&mut record);
            if record.failure.is_some() {
                return;
            }
        }
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
