//! A server that says what it is told, for what no real one sends.

use std::{
    io,
    mem::MaybeUninit,
    net::{Ipv6Addr, SocketAddrV6},
};

use anyhow::{Context as _, Result};
use mif_core::wire::dhcpv6::{DhcpOption, DraftCodes, IdentityAssociation, Lease, Message, MessageType};
use nix::net::if_::if_nametoindex;
use socket2::{Domain, Socket, Type};

use crate::{deadline::Deadline, events::until_ready, netns::Namespace};

/// All_DHCP_Relay_Agents_and_Servers (RFC 8415 §7.1), and the port where servers listen.
const ALL_SERVERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2);
const SERVER_PORT: u16 = 547;

/// The socket of a server.
#[derive(Debug)]
pub struct EmbeddedServer {
    socket: Socket,
    ifindex: u32,
}

/// A message of a client.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The message.
    pub message: Message,
    /// Who sent it.
    pub client: SocketAddrV6,
}

impl EmbeddedServer {
    /// Listens on an interface.
    ///
    /// # Errors
    /// There is no such interface, or it has a server.
    pub fn listen(namespace: &Namespace, interface: &str) -> Result<Self> {
        until_ready(namespace, &[interface])?;
        let open = || -> io::Result<Self> {
            let ifindex = if_nametoindex(interface)?;
            let socket = Socket::new(Domain::IPV6, Type::DGRAM, None)?;
            socket.set_only_v6(true)?;
            socket.bind_device(Some(interface.as_bytes()))?;
            socket.bind(&SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, SERVER_PORT, 0, 0).into())?;
            socket.join_multicast_v6(&ALL_SERVERS, ifindex)?;
            socket.set_nonblocking(true)?;
            Ok(Self { socket, ifindex })
        };
        namespace.run(open).with_context(|| format!("listen for DHCPv6 on {interface}"))
    }

    /// The next message of this kind; others are passed over.
    ///
    /// # Errors
    /// None came in time.
    pub fn next(&self, kind: MessageType) -> Result<Asked> {
        let deadline = Deadline::new(format!("a DHCPv6 message: {kind:?}"));
        loop {
            deadline.readable(&self.socket)?;
            let mut buffer = [MaybeUninit::uninit(); 2048];
            let (length, client) = self.socket.recv_from(&mut buffer)?;
            // SAFETY: recv_from wrote `length` octets.
            let octets: Vec<u8> =
                buffer[..length].iter().map(|octet| unsafe { octet.assume_init() }).collect();
            let message = Message::parse(&octets, &DraftCodes::default())?.message;
            let client = client.as_socket_ipv6().context("an IPv6 source")?;
            if message.kind == kind {
                return Ok(Asked { message, client });
            }
        }
    }

    /// Sends a message to a client, by this link.
    ///
    /// # Errors
    /// The link is down.
    pub fn send(&self, message: &Message, client: &SocketAddrV6) -> Result<()> {
        let to = SocketAddrV6::new(*client.ip(), client.port(), 0, self.ifindex);
        let octets = message.emit(&DraftCodes::default())?;
        self.socket.send_to(&octets, &to.into()).map(drop).context("send a DHCPv6 message")
    }
}

impl Asked {
    /// An answer of this kind with the client's lease of `address` for so many seconds, and these options.
    #[must_use]
    pub fn answer(
        &self,
        kind: MessageType,
        address: Ipv6Addr,
        valid_lifetime: u32,
        more: impl IntoIterator<Item = DhcpOption>,
    ) -> Message {
        let mut options = vec![DhcpOption::ServerId(vec![0, 2, 0, 0, 0x7e, 0xd9, 1])];
        for option in &self.message.options {
            match option {
                DhcpOption::ClientId(_) => options.push(option.clone()),
                DhcpOption::IaNa(asked) => {
                    let prefix = address.into();
                    let lease =
                        Lease { prefix, preferred_lifetime: valid_lifetime, valid_lifetime, status: None };
                    let (t1, t2) = (valid_lifetime / 2, valid_lifetime / 5 * 4);
                    options.push(DhcpOption::IaNa(IdentityAssociation {
                        iaid: asked.iaid,
                        t1,
                        t2,
                        leases: vec![lease],
                        status: None,
                    }));
                }
                _ => {}
            }
        }
        options.extend(more);
        Message { kind, transaction_id: self.message.transaction_id, options }
    }
}
