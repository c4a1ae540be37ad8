//! Echo servers, TCP and UDP, that remember who came.

use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::fd::{AsFd as _, BorrowedFd},
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use socket2::{Domain, Protocol, Socket, Type};

use crate::{
    datagram::{self, Datagram, Origin},
    family::canonical,
    netns::Namespace,
    worker::{Stop, Worker},
};

/// The echo service (RFC 862).
pub const PORT: u16 = 7;

/// Connections that may wait to be accepted; more than any scenario starts at once.
const BACKLOG: i32 = 1024;

/// Octets of one read: the longest datagram.
const CHUNK: usize = 65_536;

/// A transport protocol.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Transport {
    /// A connection was accepted.
    Tcp,
    /// A datagram was received.
    Udp,
}

/// Who came, and to which of the server's addresses. IPv4 addresses are written as such, also where the socket is AF_INET6.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Arrival {
    /// How.
    pub transport: Transport,
    /// From where.
    pub source: SocketAddr,
    /// To what.
    pub destination: SocketAddr,
}

/// Answers on TCP and UDP until dropped.
#[derive(Debug)]
pub struct EchoServer {
    arrivals: Arc<Mutex<Vec<Arrival>>>,
    _service: Worker,
}

impl EchoServer {
    /// Serves each of `addresses` in `namespace`; `[::]` is all addresses of both versions of IP.
    ///
    /// # Errors
    /// One of them is not an address of the namespace, or taken.
    pub fn start(namespace: &Namespace, addresses: &[SocketAddr]) -> Result<Self> {
        namespace.run(|| Self::here(addresses)).with_context(|| format!("serve in {}", namespace.name()))
    }

    /// Serves each of `addresses` in the namespace of the calling thread.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn here(addresses: &[SocketAddr]) -> Result<Self> {
        let (mut listeners, mut sockets) = (Vec::new(), Vec::new());
        for &address in addresses {
            listeners.push(listen(address).with_context(|| format!("listen to TCP {address}"))?);
            sockets.push(receive(address).with_context(|| format!("receive UDP {address}"))?);
        }
        let arrivals = Arc::<Mutex<Vec<_>>>::default();
        let mut service =
            Service { listeners, sockets, streams: Vec::new(), arrivals: Arc::clone(&arrivals) };
        let service = Worker::start("lab-echo", move |stop| service.run(stop))?;
        Ok(Self { arrivals, _service: service })
    }

    /// Who came so far. A flow that got its answer is among them.
    pub fn arrivals(&self) -> Vec<Arrival> {
        self.arrivals.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Forgets who came so far.
    pub fn forget(&self) {
        self.arrivals.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

fn receive(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(address)?;
    datagram::tell_destinations(&socket)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

struct Service {
    listeners: Vec<TcpListener>,
    sockets: Vec<UdpSocket>,
    streams: Vec<TcpStream>,
    arrivals: Arc<Mutex<Vec<Arrival>>>,
}

impl Service {
    fn run(&mut self, stop: &Stop) {
        while stop.wait(self.descriptors()) {
            for listener in &self.listeners {
                while let Ok((stream, peer)) = listener.accept() {
                    // A connection that was reset meanwhile has no addresses any more.
                    if let (Ok(local), Ok(())) = (stream.local_addr(), stream.set_nonblocking(true)) {
                        self.note(Transport::Tcp, peer, local);
                        self.streams.push(stream);
                    }
                }
            }
            for socket in &self.sockets {
                let mut buffer = [0; CHUNK];
                while let Ok(datagram) = datagram::receive(socket, &mut buffer) {
                    // Before the answer, so that who has that finds this.
                    self.note(Transport::Udp, datagram.source, datagram.destination);
                    send_back(socket, &datagram, &buffer[..datagram.length]);
                }
            }
            self.streams.retain_mut(|stream| echo_stream(stream).is_ok());
        }
    }

    fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let listeners = self.listeners.iter().map(TcpListener::as_fd);
        let sockets = self.sockets.iter().map(UdpSocket::as_fd);
        listeners.chain(sockets).chain(self.streams.iter().map(TcpStream::as_fd))
    }

    fn note(&self, transport: Transport, source: SocketAddr, destination: SocketAddr) {
        let mut arrivals = self.arrivals.lock().unwrap_or_else(PoisonError::into_inner);
        arrivals.push(Arrival { transport, source: canonical(source), destination: canonical(destination) });
    }
}

/// Sends back what is there; an error is the end of the stream.
fn echo_stream(stream: &mut TcpStream) -> io::Result<()> {
    let mut buffer = [0; CHUNK];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(length) => stream.write_all(&buffer[..length])?,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// Sends a datagram back from the address that it was sent to, as a well-made server on a wildcard address does. That an answer
/// cannot be sent is the client's to find out.
fn send_back(socket: &UdpSocket, datagram: &Datagram, words: &[u8]) {
    let origin = Origin { address: Some(datagram.destination.ip()), ifindex: 0 };
    let _ = datagram::send(socket, Some(origin), datagram.source, words);
}
