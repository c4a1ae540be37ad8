//! One flow of an application: what it asks for, and what became of it.
//!
//! Policies are for cgroups and a cgroup holds processes, so each flow is a process: the binary `mif-lab-flow`. Everything it
//! does is in this file; what it reports is one line of JSON for each exchange.

use std::{
    ffi::OsString,
    io::{self, Read as _, Write as _},
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use clap::ValueEnum;
use nix::{libc, net::if_::if_nametoindex};
use serde::{Deserialize, Serialize};
use socket2::{Domain, Protocol, Socket, Type};

use crate::{
    datagram::{self, Origin},
    echo::Transport,
    family::Family,
};

/// How long a flow waits for its answer before it counts as lost. In the lab an answer takes less than a millisecond; the rest
/// is for a machine that has much else to do.
pub const PATIENCE: Duration = Duration::from_secs(2);

/// The ways in which applications open flows.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Deserialize, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// connect(2) on a stream socket.
    Tcp,
    /// connect(2) on a datagram socket.
    UdpConnected,
    /// sendto(2) on a datagram socket.
    UdpUnconnected,
    /// sendmsg(2) with the source in IP_PKTINFO (ip(7)) or IPV6_PKTINFO (RFC 3542 §6.2); the source is `bind`, the socket is
    /// bound to nothing.
    UdpPktinfo,
}

impl Kind {
    /// The transport protocol.
    pub fn transport(self) -> Transport {
        if self == Self::Tcp { Transport::Tcp } else { Transport::Udp }
    }

    /// As on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::UdpConnected => "udp-connected",
            Self::UdpUnconnected => "udp-unconnected",
            Self::UdpPktinfo => "udp-pktinfo",
        }
    }
}

/// What an application wants.
#[derive(Clone, Debug, Eq, PartialEq, clap::Args)]
pub struct Flow {
    /// How it opens the flow
    pub kind: Kind,
    /// Whom it talks to: an echo server, `[2001:db8::1]:7`, `203.0.113.1:7`, or `[::ffff:203.0.113.1]:7` for IPv4 over an
    /// AF_INET6 socket
    pub destination: SocketAddr,
    /// The source address that it insists on
    #[arg(long)]
    pub bind: Option<IpAddr>,
    /// The interface that it insists on (SO_BINDTODEVICE)
    #[arg(long)]
    pub device: Option<String>,
    /// Stay, and make another exchange on the same socket for each line on standard input
    #[arg(long)]
    pub stay: bool,
}

/// What became of an exchange.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct Report {
    /// The answer came.
    pub arrived: bool,
    /// The step that failed, in words.
    pub error: Option<String>,
    /// Its errno(3); none for an answer that did not come.
    pub errno: Option<i32>,
    /// Source address and port as far as the socket knows: of an unconnected one the address is known from the answer only.
    pub local: Option<SocketAddr>,
}

impl Report {
    /// The source address that is known; an IPv4 one as such, whatever the socket.
    pub fn source(&self) -> Option<IpAddr> {
        self.local.map(|local| local.ip().to_canonical())
    }
}

impl Flow {
    /// From no address in particular.
    pub fn new(kind: Kind, destination: SocketAddr) -> Self {
        Self { kind, destination, bind: None, device: None, stay: false }
    }

    /// From this address; an IPv4 one is written as the family of the flow has it.
    pub fn from(self, source: impl Into<IpAddr>) -> Self {
        let source = self.family().written(source);
        Self { bind: Some(source), ..self }
    }

    /// The family of its socket.
    pub fn family(&self) -> Family {
        Family::of(self.destination.ip())
    }

    /// By this interface.
    pub fn by(self, device: &str) -> Self {
        Self { device: Some(device.into()), ..self }
    }

    /// The command line that clap reads this from.
    pub fn args(&self) -> Vec<OsString> {
        let mut args = vec![self.kind.name().into(), self.destination.to_string().into()];
        args.extend(self.bind.iter().flat_map(|source| ["--bind".into(), source.to_string().into()]));
        args.extend(self.device.iter().flat_map(|device| ["--device".into(), device.into()]));
        args.extend(self.stay.then(|| "--stay".into()));
        args
    }

    /// Opens the flow in this process and namespace and tells `out` of each exchange.
    ///
    /// # Errors
    /// `out` cannot be written or standard input not be read. What happens to the flow is never an error.
    pub fn run(&self, mut out: impl io::Write) -> io::Result<()> {
        let mut tell = |report: &Report| {
            let mut line = serde_json::to_vec(report)?;
            line.push(b'\n');
            // In one piece, so that a reader never sees half a line.
            out.write_all(&line)
        };
        let open = match self.socket() {
            Ok(socket) => Open { flow: self, socket },
            Err(failure) => return tell(&failure.report(None)),
        };
        if let Err(failure) = open.prepare() {
            return tell(&failure.report(open.local()));
        }
        tell(&open.exchange())?;
        if self.stay {
            for line in io::stdin().lines() {
                line?;
                tell(&open.exchange())?;
            }
        }
        Ok(())
    }

    /// Opens the flow in this process and namespace, makes one exchange and ends it; a connection by a reset, so that
    /// thousands a minute leave no ports in TIME-WAIT.
    pub fn once(&self) -> Report {
        let open = match self.socket() {
            Ok(socket) => Open { flow: self, socket },
            Err(failure) => return failure.report(None),
        };
        let reset = || open.socket.set_linger(Some(Duration::ZERO)).map_err(failed("SO_LINGER"));
        match open.prepare().and_then(|()| reset()) {
            Ok(()) => open.exchange(),
            Err(failure) => failure.report(open.local()),
        }
    }

    fn socket(&self) -> Result<Socket, Failure> {
        let (kind, protocol) = match self.kind.transport() {
            Transport::Tcp => (Type::STREAM, Protocol::TCP),
            Transport::Udp => (Type::DGRAM, Protocol::UDP),
        };
        Socket::new(Domain::for_address(self.destination), kind, Some(protocol)).map_err(failed("socket"))
    }
}

/// A flow with its socket.
struct Open<'a> {
    flow: &'a Flow,
    socket: Socket,
}

impl Open<'_> {
    fn prepare(&self) -> Result<(), Failure> {
        let Self { flow, socket } = self;
        socket.set_read_timeout(Some(PATIENCE)).map_err(failed("SO_RCVTIMEO"))?;
        // The kernel waits this long for connect(2) too (socket(7)).
        socket.set_write_timeout(Some(PATIENCE)).map_err(failed("SO_SNDTIMEO"))?;
        if let Some(device) = &flow.device {
            socket.bind_device(Some(device.as_bytes())).map_err(failed("SO_BINDTODEVICE"))?;
        }
        if let Some(source) = flow.bind.filter(|_| flow.kind != Kind::UdpPktinfo) {
            let any_port = SocketAddr::new(source, 0);
            socket.bind(&any_port.into()).map_err(failed("bind"))?;
        }
        if flow.kind.transport() == Transport::Udp {
            datagram::tell_destinations(socket).map_err(failed("IP_PKTINFO or IPV6_RECVPKTINFO"))?;
        }
        match flow.kind {
            Kind::Tcp | Kind::UdpConnected => {
                socket.connect(&flow.destination.into()).map_err(failed("connect"))
            }
            Kind::UdpUnconnected | Kind::UdpPktinfo => Ok(()),
        }
    }

    fn exchange(&self) -> Report {
        let exchanged = self.try_exchange();
        // Only now does a socket that was bound to nothing have its port.
        let local = self.local();
        match exchanged {
            Err(failure) => failure.report(local),
            Ok(answered_to) => {
                let local =
                    local.map(|local| SocketAddr::new(answered_to.unwrap_or(local.ip()), local.port()));
                Report { arrived: true, error: None, errno: None, local }
            }
        }
    }

    /// Sends, and waits for the same words. Returns the address that the answer came to, where the system tells.
    fn try_exchange(&self) -> Result<Option<IpAddr>, Failure> {
        const WORDS: &[u8] = b"mif-lab: is anybody there?";
        let Self { flow, socket } = self;
        match flow.kind {
            Kind::Tcp | Kind::UdpConnected => (&*socket).write_all(WORDS).map_err(failed("send"))?,
            Kind::UdpUnconnected => {
                datagram::send(socket, None, flow.destination, WORDS).map_err(failed("sendto"))?;
            }
            Kind::UdpPktinfo => {
                let device = flow.device.as_deref().map_or(Ok(0), if_nametoindex);
                let ifindex = device.map_err(failed("if_nametoindex"))?;
                let origin = Origin { address: flow.bind, ifindex };
                datagram::send(socket, Some(origin), flow.destination, WORDS).map_err(failed("sendmsg"))?;
            }
        }
        let mut answer = [0; WORDS.len()];
        let answered_to = match flow.kind.transport() {
            Transport::Tcp => {
                (&*socket).read_exact(&mut answer).map_err(failed("receive"))?;
                None
            }
            Transport::Udp => {
                let datagram = datagram::receive(socket, &mut answer).map_err(failed("receive"))?;
                if datagram.source.ip() != flow.destination.ip() {
                    let error = io::Error::other(format!("the answer is from {}", datagram.source));
                    return Err(failed("receive")(error));
                }
                Some(datagram.destination.ip())
            }
        };
        if answer != WORDS {
            return Err(failed("receive")(io::Error::other("the answer says something else")));
        }
        Ok(answered_to)
    }

    fn local(&self) -> Option<SocketAddr> {
        self.socket.local_addr().ok()?.as_socket()
    }
}

/// A step that failed.
#[derive(Debug)]
struct Failure {
    step: &'static str,
    error: io::Error,
}

fn failed<E: Into<io::Error>>(step: &'static str) -> impl FnOnce(E) -> Failure {
    move |error| Failure { step, error: error.into() }
}

impl Failure {
    fn report(self, local: Option<SocketAddr>) -> Report {
        let Self { step, error } = self;
        match error.raw_os_error() {
            // What SO_SNDTIMEO makes of a connect(2), and SO_RCVTIMEO of a read(2), without an answer.
            Some(libc::EINPROGRESS | libc::EAGAIN) => {
                let error = format!("{step}: no answer within {} s", PATIENCE.as_secs());
                Report { arrived: false, error: Some(error), errno: None, local }
            }
            errno => Report { arrived: false, error: Some(format!("{step}: {error}")), errno, local },
        }
    }
}
