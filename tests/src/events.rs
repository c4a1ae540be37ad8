//! Waits for states of a namespace's network: looks, and looks again at every change that the kernel tells.

use std::os::fd::{AsRawFd as _, OwnedFd};

use anyhow::{Context as _, Result};
use nix::{
    errno::Errno,
    sys::socket::{
        AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket,
    },
};

use crate::{deadline::Deadline, netns::Namespace};

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

    /// Waits until IPv6 is ready on `interface` of `namespace`, which are those of the subscription: it is up, the kernel has noticed
    /// that the other end of its cable is too, and it can send to multicast groups.
    ///
    /// # Errors
    /// It was not in time.
    pub fn until_ready(&self, namespace: &Namespace, interface: &str) -> Result<()> {
        self.until(&format!("{interface} of {} to be ready", namespace.name()), || {
            let routes = namespace.proc_net("ipv6_route")?;
            Ok(routes.lines().any(|line| is_multicast_route(line, interface)).then_some(()))
        })
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

/// Whether a line of `/proc/net/ipv6_route` is the route for ff00::/8 that the kernel adds when an interface becomes ready
/// (addrconf_add_mroute in net/ipv6/addrconf.c).
fn is_multicast_route(line: &str, interface: &str) -> bool {
    line.starts_with("ff000000000000000000000000000000 08 ")
        && line.split_whitespace().next_back() == Some(interface)
}
