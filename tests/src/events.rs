//! Waits for states of a namespace's network: looks, and looks again at every change that the kernel tells.

use std::os::fd::{AsRawFd as _, OwnedFd};

use anyhow::{Context as _, Result};
use nix::{
    errno::Errno,
    sys::socket::{
        AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket,
    },
};

use crate::{deadline::Deadline, netns::Namespace, state};

/// Groups of rtnetlink(7): links, neighbours, IPv6 addresses, IPv6 routes, IPv6 rules.
const GROUPS: u32 = 0x1 | 0x4 | 0x100 | 0x400 | 0x4_0000;

/// Tells that something changed; what it was, the waiting one reads for itself.
#[derive(Debug)]
pub struct Events {
    socket: OwnedFd,
}

impl Events {
    /// Listens from now on.
    ///
    /// # Errors
    /// The kernel gave no socket.
    pub fn subscribe(namespace: &Namespace) -> Result<Self> {
        let open = || {
            let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
            let fd = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
            let kernel_picks_port = 0;
            bind(fd.as_raw_fd(), &NetlinkAddr::new(kernel_picks_port, GROUPS))?;
            Ok::<_, Errno>(fd)
        };
        let socket =
            namespace.run(open).with_context(|| format!("listen to netlink in {}", namespace.name()))?;
        Ok(Self { socket })
    }

    /// Calls `look` now and after each change until it finds something.
    ///
    /// # Errors
    /// It did not in time, or failed.
    pub fn until<T>(&self, what: &str, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
        let deadline = Deadline::new(what);
        loop {
            // Emptied before looking, so that a change while looking wakes us again.
            self.drain()?;
            if let Some(found) = look()? {
                return Ok(found);
            }
            deadline.readable(&self.socket)?;
        }
    }

    fn drain(&self) -> Result<()> {
        let mut buffer = [0; 1 << 12];
        loop {
            match recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                // ENOBUFS: changes were lost. We look at the state anyway.
                Ok(_) | Err(Errno::ENOBUFS) => {}
                Err(Errno::EAGAIN) => return Ok(()),
                Err(errno) => return Err(errno).context("read from netlink"),
            }
        }
    }
}

/// Waits until each of these interfaces [is ready](state::is_ready).
///
/// # Errors
/// One was not in time.
pub fn until_ready(namespace: &Namespace, interfaces: &[&str]) -> Result<()> {
    let events = Events::subscribe(namespace)?;
    interfaces.iter().try_for_each(|interface| {
        let what = format!("{interface} of {} to be ready", namespace.name());
        events.until(&what, || Ok(state::is_ready(namespace, interface)?.then_some(())))
    })
}
