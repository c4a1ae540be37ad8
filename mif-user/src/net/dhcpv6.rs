//! DHCPv6 messages in and out (RFC 8415 §7.2): a UDP socket of one link, which is there while the link's client asks, or may be told
//! to.
//!
//! Not one for all links, and not all the time: where no server has given it a key for Reconfigure messages, a client hears nobody
//! between its questions and needs no port; and a port that is held is one that another client of the host, started later, does
//! not get. The socket is bound
//! to the interface and to its link-local address, so that an answer by another link is none of it; and without SO_REUSEADDR, so that
//! another client there is noticed: two sockets that share the port would take each other's answers.

use std::{
    io,
    net::{Ipv6Addr, SocketAddrV6},
    os::fd::{AsRawFd as _, OwnedFd},
    sync::Arc,
};

use mif_core::time::Time;
use nix::{
    errno::Errno,
    sys::socket::{
        AddressFamily, MsgFlags, SockFlag, SockType, SockaddrIn6, bind, recv, recvfrom, sendto, setsockopt,
        socket, sockopt,
    },
};
use tokio::{sync::mpsc, task::JoinHandle};

use super::{DATAGRAMS_PER_WAKEUP, Message};
use crate::{clock, fd::Reader};

/// All_DHCP_Relay_Agents_and_Servers (RFC 8415 §7.1).
const ALL_SERVERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2);

/// Where clients listen, and servers and relays (RFC 8415 §7.2).
const CLIENT_PORT: u16 = 546;
const SERVER_PORT: u16 = 547;

/// A datagram as it came to a link's socket.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Dhcpv6Message {
    /// The link.
    pub ifindex: u32,
    /// Its IPv6 source: the server, or the relay of the link.
    pub source: Ipv6Addr,
    /// The UDP payload.
    pub bytes: Vec<u8>,
    /// When it was read.
    pub received: Time,
}

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// EADDRINUSE: another client of this host has the port on this link.
    #[error("another program has UDP port 546 on this link")]
    PortTaken,
    /// EADDRNOTAVAIL, ENODEV: the address or the interface is gone by now; what follows comes on netlink.
    #[error("the interface or its link-local address is gone")]
    Gone,
    /// Anything else.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// The socket of one link, and the task that reads it, which ends with it.
#[derive(Debug)]
pub struct Dhcpv6Socket {
    fd: Arc<Reader<OwnedFd>>,
    ifindex: u32,
    reading: JoinHandle<()>,
}

impl Drop for Dhcpv6Socket {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

impl Dhcpv6Socket {
    /// Opens it in the calling thread's network namespace. Inside a tokio runtime with I/O enabled.
    ///
    /// # Errors
    /// [`OpenError`]
    pub fn open(
        ifindex: u32,
        interface: &str,
        address: Ipv6Addr,
        messages: mpsc::Sender<Message>,
    ) -> Result<Self, OpenError> {
        let fd = bound(ifindex, interface, address).map_err(|errno| match errno {
            Errno::EADDRINUSE => OpenError::PortTaken,
            Errno::EADDRNOTAVAIL | Errno::ENODEV => OpenError::Gone,
            errno => OpenError::Io(errno.into()),
        })?;
        let fd = Arc::new(Reader::new(fd)?);
        let reader = Arc::clone(&fd);
        let reading = tokio::spawn(async move {
            // An interface that goes down is no error of a socket; what else may happen, the client's next message meets too.
            let _ = read(&reader, ifindex, messages).await;
        });
        Ok(Self { fd, ifindex, reading })
    }

    /// Sends a message to all servers and relays of the link.
    ///
    /// # Errors
    /// The kernel's. Nothing waits: a socket buffer that is full is an error too.
    pub fn send(&self, message: &[u8]) -> io::Result<()> {
        let to = SockaddrIn6::from(SocketAddrV6::new(ALL_SERVERS, SERVER_PORT, 0, self.ifindex));
        sendto(self.fd.get().as_raw_fd(), message, &to, MsgFlags::empty())?;
        Ok(())
    }
}

fn bound(ifindex: u32, interface: &str, address: Ipv6Addr) -> nix::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket(AddressFamily::Inet6, SockType::Datagram, flags, None)?;
    setsockopt(&fd, sockopt::Ipv6V6Only, &true)?;
    setsockopt(&fd, sockopt::BindToDevice, &interface.into())?;
    bind(fd.as_raw_fd(), &SockaddrIn6::from(SocketAddrV6::new(address, CLIENT_PORT, 0, ifindex)))?;
    Ok(fd)
}

/// Reads datagrams until the receiver is gone.
async fn read(fd: &Reader<OwnedFd>, ifindex: u32, messages: mpsc::Sender<Message>) -> io::Result<()> {
    let mut out = Vec::new();
    loop {
        fd.read(DATAGRAMS_PER_WAKEUP, |fd| {
            out.extend(receive(fd, ifindex)?);
            Ok(())
        })
        .await?;
        for message in out.drain(..) {
            if messages.send(Message::Dhcpv6(message)).await.is_err() {
                return Ok(());
            }
        }
    }
}

/// One datagram. Its size is asked for first: a buffer for the largest there may be, for each of a thousand links, is 64 MiB.
fn receive(fd: &OwnedFd, ifindex: u32) -> nix::Result<Option<Dhcpv6Message>> {
    let fd = fd.as_raw_fd();
    let size = recv(fd, &mut [], MsgFlags::MSG_PEEK | MsgFlags::MSG_TRUNC)?;
    let mut bytes = vec![0; size];
    let (octets, source) = recvfrom::<SockaddrIn6>(fd, &mut bytes)?;
    bytes.truncate(octets);
    let source = source.map(|source| source.ip());
    Ok(source.map(|source| Dhcpv6Message { ifindex, source, bytes, received: clock::now() }))
}
