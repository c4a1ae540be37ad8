//! One question to rtnetlink, and all that the kernel answers.

use std::io;

use netlink_packet_core::{NLM_F_ACK, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

/// Netlink messages are aligned to this (NLMSG_ALIGNTO).
const ALIGNMENT: usize = 4;

/// Sends requests with these flags (`NLM_F_REQUEST` among them) in one datagram, which the kernel carries out one after the other, and
/// waits until the last one is.
///
/// # Errors
/// The kernel's for one of them, or when the socket fails.
pub fn tell(messages: impl IntoIterator<Item = RouteNetlinkMessage>, flags: u16) -> io::Result<()> {
    let mut bytes = Vec::new();
    let mut messages = messages.into_iter().peekable();
    while let Some(message) = messages.next() {
        let last = if messages.peek().is_none() { NLM_F_ACK } else { 0 };
        bytes.extend(request(message, flags | last));
        bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
    }
    exchange(&bytes).map(drop)
}

/// Sends a request with these flags (`NLM_F_REQUEST` among them, and `NLM_F_DUMP` or `NLM_F_ACK`, so that the answer has
/// an end) and waits for the whole answer.
///
/// # Errors
/// The kernel's own, or when the socket fails.
pub fn ask(message: RouteNetlinkMessage, flags: u16) -> io::Result<Vec<RouteNetlinkMessage>> {
    exchange(&request(message, flags))
}

fn request(message: RouteNetlinkMessage, flags: u16) -> Vec<u8> {
    let mut header = NetlinkHeader::default();
    header.flags = flags;
    let mut request = NetlinkMessage::new(header, NetlinkPayload::from(message));
    request.finalize();
    let mut bytes = vec![0; request.buffer_len()];
    request.serialize(&mut bytes);
    bytes
}

fn exchange(requests: &[u8]) -> io::Result<Vec<RouteNetlinkMessage>> {
    let socket = Socket::new(NETLINK_ROUTE)?;
    socket.connect(&SocketAddr::new(0, 0))?;
    socket.send(requests, 0)?;
    let mut answers = Vec::new();
    loop {
        let (datagram, _) = socket.recv_from_full()?;
        let mut rest = datagram.as_slice();
        while !rest.is_empty() {
            let message =
                NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest).map_err(io::Error::other)?;
            let length = (message.header.length as usize).next_multiple_of(ALIGNMENT);
            match message.payload {
                NetlinkPayload::Done(_) => return Ok(answers),
                NetlinkPayload::Error(error) => {
                    // An error of code 0 is the acknowledgement.
                    return if error.code.is_none() { Ok(answers) } else { Err(error.to_io()) };
                }
                NetlinkPayload::InnerMessage(message) => answers.push(message),
                _ => {}
            }
            rest = rest.get(length..).unwrap_or_default();
        }
    }
}
