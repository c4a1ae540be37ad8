//! Sees the Router Advertisements of a link, also those that this side sends.

use std::{
    net::{IpAddr, Ipv6Addr},
    time::SystemTime,
};

use anyhow::Result;

use crate::{
    deadline::Deadline,
    netns::Namespace,
    packet::{Headers, ICMPV6, PacketSocket, Sees},
};

/// ICMPv6 type (RFC 4861 §4.2).
pub const ROUTER_ADVERTISEMENT: u8 = 134;

/// The longest IPv6 packet.
const WHOLE_PACKET: usize = 65_575;

/// A Router Advertisement that passed.
#[derive(Clone, Debug)]
pub struct SeenRa {
    /// The router's link-local address.
    pub source: Ipv6Addr,
    /// The ICMPv6 message.
    pub message: Vec<u8>,
    /// When the kernel saw it.
    pub at: SystemTime,
}

impl SeenRa {
    /// The router lifetime (RFC 4861 §4.2) in seconds, 0 if the message ends before it.
    pub fn router_lifetime(&self) -> u16 {
        self.message.get(6..8).map_or(0, |field| u16::from_be_bytes([field[0], field[1]]))
    }
}

/// Listens on an interface.
#[derive(Debug)]
pub struct RaWatch {
    socket: PacketSocket,
    name: String,
}

impl RaWatch {
    /// Listens from now on.
    ///
    /// # Errors
    /// See [`PacketSocket::open`].
    pub fn new(namespace: &Namespace, interface: &str) -> Result<Self> {
        let name = format!("{interface} of {}", namespace.name());
        Ok(Self { socket: PacketSocket::open(namespace, interface, Sees::All)?, name })
    }

    /// Takes what waits and returns the first that `fits`.
    ///
    /// # Errors
    /// The interface went away.
    pub fn poll(&self, fits: impl Fn(&SeenRa) -> bool) -> Result<Option<SeenRa>> {
        let mut buffer = vec![0; WHOLE_PACKET];
        while let Some(packet) = self.socket.receive(&mut buffer)? {
            let Some(headers) = Headers::parse(packet.octets) else { continue };
            let message = &packet.octets[headers.payload..];
            let IpAddr::V6(source) = headers.source else { continue };
            if headers.protocol == ICMPV6 && message.first() == Some(&ROUTER_ADVERTISEMENT) {
                let seen = SeenRa { source, message: message.to_vec(), at: packet.at };
                if fits(&seen) {
                    return Ok(Some(seen));
                }
            }
        }
        Ok(None)
    }

    /// Waits for the next that `fits`. Those before it are gone.
    ///
    /// # Errors
    /// None came in time.
    pub fn wait_for(&self, what: &str, fits: impl Fn(&SeenRa) -> bool) -> Result<SeenRa> {
        let deadline = Deadline::new(format!("{what} on {}", self.name));
        loop {
            if let Some(seen) = self.poll(&fits)? {
                return Ok(seen);
            }
            deadline.readable(&self.socket)?;
        }
    }
}

impl std::os::fd::AsFd for RaWatch {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
