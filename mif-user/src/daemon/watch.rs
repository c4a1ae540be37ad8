//! What watchers are told: events of the hooks, with names for their numbers.

use std::{io, path::Path};

use aya::maps::{MapData, RingBuf};
use mif_common::{
    Reason,
    abi::{Event, Hook},
};
use mif_core::family::shown;
use tokio::io::{Interest, unix::AsyncFd};

use crate::{
    control::{KernelEvent, Notice},
    kernel::maps,
};

/// The names that an event's numbers have.
pub trait Names {
    /// A PvD's id.
    fn pvd(&self, index: u32) -> Option<String>;
    /// An interface's name.
    fn interface(&self, ifindex: u32) -> Option<String>;
    /// The cgroup of a policy.
    fn cgroup(&self, id: u64) -> Option<std::path::PathBuf>;
}

/// A notice of an event.
#[must_use]
pub fn notice(event: &Event, names: &impl Names) -> Notice {
    let reason = Reason::from_raw(event.reason);
    Notice::Kernel(KernelEvent {
        at: event.at,
        hook: Hook::name(event.hook).into(),
        reason: reason.map_or_else(|| format!("reason {}", event.reason), |reason| reason.name().into()),
        pvd: names.pvd(event.pvd),
        source: specified(event.source),
        destination: specified(event.destination),
        interface: names.interface(event.ifindex),
        cgroup: names.cgroup(event.cgroup),
        pid: (event.pid != 0).then_some(event.pid),
        suppressed: event.suppressed,
    })
}

fn specified(address: mif_common::Addr) -> Option<std::net::IpAddr> {
    (!address.is_unspecified()).then(|| shown(address.into()))
}

/// The ring, read only while somebody watches: a daemon that nobody watches is not woken by traffic.
pub struct Ring {
    fd: AsyncFd<RingBuf<MapData>>,
}

impl Ring {
    /// Opens the ring and throws away what happened before.
    ///
    /// # Errors
    /// When the pin is gone.
    pub fn open(pins: &Path) -> io::Result<Self> {
        let mut ring = maps::events(pins).map_err(io::Error::other)?;
        while ring.next().is_some() {}
        // SAFETY: the ring owns one descriptor for its life, and reading it does not exchange that.
        let fd = unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) }?;
        Ok(Self { fd })
    }

    /// The events that came; at least one.
    ///
    /// # Errors
    /// When the descriptor fails.
    pub async fn read(&mut self) -> io::Result<Vec<Event>> {
        loop {
            let mut ready = self.fd.readable_mut().await?;
            let events = drain(ready.get_inner_mut());
            ready.clear_ready();
            if !events.is_empty() {
                return Ok(events);
            }
        }
    }
}

/// Takes what is in the ring. Records of another size are of another version and left out.
pub fn drain(ring: &mut RingBuf<MapData>) -> Vec<Event> {
    let mut events = Vec::new();
    while let Some(item) = ring.next() {
        events.extend(bytemuck::try_pod_read_unaligned::<Event>(&item).ok());
    }
    events
}
