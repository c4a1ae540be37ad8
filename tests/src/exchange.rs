//! What the lab's scripts say to an echo server, and how they know its answer.

use std::{
    io::{self, Read as _, Write as _},
    net::IpAddr,
};

use socket2::Socket;

use crate::{datagram, packet};

/// What is said.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Words {
    /// How many octets.
    pub(crate) size: usize,
}

impl Default for Words {
    fn default() -> Self {
        Self { size: 26 }
    }
}

impl Words {
    /// Octets that do not repeat with any power of two, so that a lost or doubled piece shows.
    pub(crate) fn octets(self) -> Vec<u8> {
        const PRIME: u8 = 251;
        (0..PRIME).cycle().take(self.size).collect()
    }
}

/// ICMP echo request and reply (RFC 792, RFC 4443 §4).
const ECHO: [(u8, u8); 2] = [(128, 129), (8, 0)];
/// Octets before the data: type, code, checksum, identifier, sequence number.
const ECHO_HEADER: usize = 8;

/// An echo request. The kernel gives that of a ping socket its identifier and checksum, and that of a raw ICMPv6 socket its
/// checksum.
pub(crate) fn echo_request(ipv4: bool, words: &Words) -> Vec<u8> {
    let identifier = identifier();
    let mut message = vec![ECHO[usize::from(ipv4)].0, 0, 0, 0, identifier[0], identifier[1], 0, 1];
    message.extend(words.octets());
    let checksum = packet::checksum(&message);
    message[2..4].copy_from_slice(&checksum);
    message
}

/// Tells the echoes of one process from those of others.
fn identifier() -> [u8; 2] {
    (std::process::id() as u16).to_be_bytes()
}

/// Waits for the reply; returns the address that it came to.
pub(crate) fn echo_reply(socket: &Socket, ipv4: bool, words: &Words) -> io::Result<IpAddr> {
    let raw = socket.r#type()? == socket2::Type::RAW;
    let mut buffer = vec![0; packet::IPV4_HEADER + ECHO_HEADER + words.size];
    loop {
        let datagram = datagram::receive(socket, &mut buffer)?;
        // A raw IPv4 socket sees the IP header as well (raw(7)), and any raw socket the ICMP of all others.
        let skip = if ipv4 && raw { packet::IPV4_HEADER } else { 0 };
        let Some(message) = buffer[..datagram.length].get(skip..) else { continue };
        let mine = !raw || message.get(4..6) == Some(&identifier());
        if mine
            && message.first() == Some(&ECHO[usize::from(ipv4)].1)
            && message.get(ECHO_HEADER..) == Some(&words.octets())
        {
            return Ok(datagram.destination.ip());
        }
    }
}

/// Sends on a stream while the answer comes in, which must be the same.
pub(crate) fn stream(socket: &Socket, message: &[u8]) -> io::Result<()> {
    /// Less than the buffers of both ends, and many segments of any MTU.
    const PIECE: usize = 50_000;
    let mut answer = [0; PIECE];
    for piece in message.chunks(PIECE) {
        (&*socket).write_all(piece)?;
        let answer = &mut answer[..piece.len()];
        (&*socket).read_exact(answer)?;
        if answer != piece {
            return Err(io::Error::other("the answer says something else"));
        }
    }
    Ok(())
}

/// Waits for all of a message that may come in several datagrams; returns the address that they came to.
pub(crate) fn datagrams(socket: &Socket, message: &[u8]) -> io::Result<IpAddr> {
    let mut left = message;
    let mut buffer = vec![0; message.len()];
    loop {
        let datagram = datagram::receive(socket, &mut buffer)?;
        let answer = &buffer[..datagram.length];
        left = left.strip_prefix(answer).ok_or_else(|| io::Error::other("the answer says something else"))?;
        if left.is_empty() {
            return Ok(datagram.destination.ip());
        }
    }
}
