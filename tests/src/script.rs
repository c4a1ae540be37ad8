//! An application that is told each call on its socket: for the ways in which programs use sockets that no [`Kind`](crate::flow::Kind)
//! has. `udp bind=[::]:0 connect=[2001:db8::1]:7 exchange` opens a datagram socket, binds a wildcard port, connects, sends, and waits for
//! the answer.

use std::{
    ffi::OsString,
    fmt, io,
    net::{IpAddr, SocketAddr},
    os::fd::AsRawFd as _,
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

use nix::{
    libc,
    net::if_::if_nametoindex,
    sys::socket::{setsockopt, sockopt},
    unistd::{Gid, Uid, setgroups, setresgid, setresuid},
};
use socket2::{Domain, SockAddr, Socket, Type};

use crate::{
    datagram::{self, Origin},
    exchange::{self, Words},
    flow::{PATIENCE, Report},
    handed,
};

/// What kind of socket.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Protocol {
    /// SOCK_STREAM
    Tcp,
    /// SOCK_STREAM with IPPROTO_MPTCP (RFC 8684)
    Mptcp,
    /// SOCK_DGRAM
    Udp,
    /// SOCK_DGRAM with IPPROTO_ICMP or IPPROTO_ICMPV6: echo requests for everybody (icmp(7))
    Ping,
    /// SOCK_RAW with the same
    Raw,
    /// SOCK_RAW with protocol 253, for experiments (RFC 3692 §2.1): nobody answers
    Raw253,
}

impl Protocol {
    const NAMES: [(&str, Self); 6] = [
        ("tcp", Self::Tcp),
        ("mptcp", Self::Mptcp),
        ("udp", Self::Udp),
        ("ping", Self::Ping),
        ("raw", Self::Raw),
        ("raw-253", Self::Raw253),
    ];

    fn open(self, ipv4: bool) -> io::Result<Socket> {
        let icmp = if ipv4 { libc::IPPROTO_ICMP } else { libc::IPPROTO_ICMPV6 };
        let (kind, protocol) = match self {
            Self::Tcp => (Type::STREAM, libc::IPPROTO_TCP),
            Self::Mptcp => (Type::STREAM, libc::IPPROTO_MPTCP),
            Self::Udp => (Type::DGRAM, libc::IPPROTO_UDP),
            Self::Ping => (Type::DGRAM, icmp),
            Self::Raw => (Type::RAW, icmp),
            Self::Raw253 => (Type::RAW, 253),
        };
        let domain = if ipv4 { Domain::IPV4 } else { Domain::IPV6 };
        Socket::new(domain, kind, Some(protocol.into()))
    }
}

/// Who has no privileges, on all distributions.
const NOBODY: u32 = 65_534;

/// One call.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Step {
    /// setresuid(2) and its kin: from now on the process is nobody's and has no capabilities
    Nobody,
    /// bind(2)
    Bind(SocketAddr),
    /// SO_BINDTODEVICE
    Device(String),
    /// Nothing but to see that SO_BINDTODEVICE names this interface; none where the name is empty
    BoundTo(String),
    /// IP_UNICAST_IF or IPV6_UNICAST_IF
    UnicastIf(String),
    /// IPV6_PKTINFO of all that the socket sends, with that interface and no address
    StickyIf(String),
    /// SO_BROADCAST
    Broadcast,
    /// connect(2)
    Connect(SocketAddr),
    /// connect(2) with AF_UNSPEC
    Disconnect,
    /// IP_PKTINFO or IPV6_PKTINFO of what is sent from now on: an address or the name of an interface
    Named(String),
    /// Octets of what is sent from now on
    Size(usize),
    /// UDP_SEGMENT: the kernel cuts what is sent into datagrams of so many octets
    Segment(u16),
    /// UDP_CORK: whether what is sent waits in the socket for more
    Cork(bool),
    /// send(2) on the connected socket, and the answer
    Exchange,
    /// sendto(2), and the answer
    To(SocketAddr),
    /// sendto(2), and no answer is waited for
    SendTo(SocketAddr),
    /// Tells of what was exchanged so far, and goes on when a line comes in
    Wait,
    /// fork(2): a child in that cgroup does the rest, with the socket that it inherited
    Inherit(PathBuf),
    /// SCM_RIGHTS: a process in that cgroup does the rest, with the socket that it was sent
    Pass(PathBuf),
}

/// What an application does.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Script {
    ipv4: bool,
    protocol: Protocol,
    words: Vec<String>,
}

/// A word that no script has.
#[derive(Debug)]
pub struct UnknownWord(String);

impl fmt::Display for UnknownWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is no step of a script", self.0)
    }
}

impl std::error::Error for UnknownWord {}

impl FromStr for Step {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        let unknown = || UnknownWord(word.to_owned());
        let (name, value) = word.split_once('=').unwrap_or((word, ""));
        let address = || value.parse().map_err(|_| unknown());
        Ok(match name {
            "nobody" => Self::Nobody,
            "bind" => Self::Bind(address()?),
            "device" => Self::Device(value.into()),
            "bound-to" => Self::BoundTo(value.into()),
            "unicast-if" => Self::UnicastIf(value.into()),
            "sticky-if" => Self::StickyIf(value.into()),
            "broadcast" => Self::Broadcast,
            "connect" => Self::Connect(address()?),
            "disconnect" => Self::Disconnect,
            "named" => Self::Named(value.into()),
            "size" => Self::Size(value.parse().map_err(|_| unknown())?),
            "segment" => Self::Segment(value.parse().map_err(|_| unknown())?),
            "cork" => Self::Cork(true),
            "uncork" => Self::Cork(false),
            "exchange" => Self::Exchange,
            "to" => Self::To(address()?),
            "send-to" => Self::SendTo(address()?),
            "wait" => Self::Wait,
            "inherit" => Self::Inherit(value.into()),
            "pass" => Self::Pass(value.into()),
            _ => return Err(unknown()),
        })
    }
}

impl Script {
    /// From its words; `ipv4` for an AF_INET socket.
    ///
    /// # Errors
    /// One of them is no step.
    pub fn new<'a>(ipv4: bool, words: impl IntoIterator<Item = &'a str>) -> Result<Self, UnknownWord> {
        let mut words = words.into_iter();
        let name = words.next().unwrap_or_default();
        let protocol = Protocol::NAMES.into_iter().find(|(known, _)| *known == name);
        let protocol = protocol.ok_or_else(|| UnknownWord(name.to_owned()))?.1;
        let script = Self { ipv4, protocol, words: words.map(str::to_owned).collect() };
        script.steps().map(|_| script.clone())
    }

    /// The command line that [`Self::parse`] reads.
    pub fn args(&self) -> Vec<OsString> {
        let name = Protocol::NAMES.into_iter().find(|(_, known)| *known == self.protocol);
        let family = if self.ipv4 { "ipv4" } else { "ipv6" };
        let first = [family, name.map_or("", |(name, _)| name)];
        first.into_iter().chain(self.words.iter().map(String::as_str)).map(OsString::from).collect()
    }

    /// From the command line.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn parse(args: &[String]) -> Result<Self, UnknownWord> {
        let (family, words) = args.split_first().ok_or_else(|| UnknownWord(String::new()))?;
        Self::new(family == "ipv4", words.iter().map(String::as_str))
    }

    fn steps(&self) -> Result<Vec<Step>, UnknownWord> {
        self.words.iter().map(|word| word.parse()).collect()
    }

    /// Does it in this process and namespace, on a socket of another process if one is given, and tells what became of it.
    ///
    /// # Errors
    /// `out` cannot be written or standard input not be read. What the system refuses is never an error.
    pub fn run(&self, socket: Option<Socket>, mut out: impl io::Write) -> io::Result<()> {
        let report = match socket.map_or_else(|| self.protocol.open(self.ipv4), Ok) {
            Ok(socket) => {
                Player { script: self, socket, origin: None, words: Words::default(), source: None }
                    .play(&mut out)?
            }
            Err(error) => Some(failure("socket", &error, None)),
        };
        report.map_or(Ok(()), |report| tell(&report, &mut out))
    }
}

fn tell(report: &Report, out: &mut impl io::Write) -> io::Result<()> {
    let mut line = serde_json::to_vec(report)?;
    line.push(b'\n');
    out.write_all(&line)
}

fn failure(step: &str, error: &io::Error, local: Option<SocketAddr>) -> Report {
    match error.raw_os_error() {
        Some(libc::EINPROGRESS | libc::EAGAIN) => {
            let error = format!("{step}: no answer within {} s", PATIENCE.as_secs());
            Report { arrived: false, error: Some(error), errno: None, local }
        }
        errno => Report { arrived: false, error: Some(format!("{step}: {error}")), errno, local },
    }
}

struct Player<'a> {
    script: &'a Script,
    socket: Socket,
    origin: Option<Origin>,
    words: Words,
    /// What the last answer came to.
    source: Option<IpAddr>,
}

impl Player<'_> {
    /// `None` where another process tells the end.
    fn play(&mut self, out: &mut impl io::Write) -> io::Result<Option<Report>> {
        let steps = self.script.steps().map_err(io::Error::other)?;
        if let Err(error) = self.prepare() {
            return Ok(Some(failure("options", &error, None)));
        }
        for (at, step) in steps.iter().enumerate() {
            let rest = || Script { words: self.script.words[at + 1..].to_vec(), ..self.script.clone() };
            match step {
                Step::Wait => {
                    tell(&self.success(), out)?;
                    io::stdin().read_line(&mut String::new())?;
                }
                Step::Inherit(cgroup) => {
                    return handed::inherit(&self.socket, cgroup, &rest()).map(|()| None);
                }
                Step::Pass(cgroup) => return handed::pass(&self.socket, cgroup, &rest()).map(|()| None),
                step => {
                    if let Err(error) = self.call(step) {
                        let name = &self.script.words[at];
                        return Ok(Some(failure(name, &error, self.local())));
                    }
                }
            }
        }
        Ok(Some(self.success()))
    }

    fn success(&self) -> Report {
        Report { arrived: true, error: None, errno: None, local: self.local() }
    }

    fn local(&self) -> Option<SocketAddr> {
        let local = self.socket.local_addr().ok()?.as_socket()?;
        Some(SocketAddr::new(self.source.unwrap_or(local.ip()), local.port()))
    }

    fn prepare(&self) -> io::Result<()> {
        self.socket.set_read_timeout(Some(PATIENCE))?;
        self.socket.set_write_timeout(Some(PATIENCE))?;
        match self.script.protocol {
            // So that the port is free for the next test at once.
            Protocol::Tcp => self.socket.set_linger(Some(Duration::ZERO)),
            Protocol::Mptcp => Ok(()),
            _ => Ok(datagram::tell_destinations(&self.socket)?),
        }
    }

    fn call(&mut self, step: &Step) -> io::Result<()> {
        match step {
            Step::Nobody => become_nobody(),
            Step::Bind(address) => self.socket.bind(&(*address).into()),
            Step::Device(name) => self.socket.bind_device(Some(name.as_bytes())),
            Step::BoundTo(name) => {
                let device = self.socket.device()?.unwrap_or_default();
                let device = String::from_utf8_lossy(&device).into_owned();
                if device == *name { Ok(()) } else { Err(io::Error::other(format!("it is {device:?}"))) }
            }
            Step::UnicastIf(name) => self.unicast_if(if_nametoindex(name.as_str())?),
            Step::StickyIf(name) => {
                let none = libc::in6_addr { s6_addr: [0; 16] };
                let info =
                    libc::in6_pktinfo { ipi6_addr: none, ipi6_ifindex: if_nametoindex(name.as_str())? };
                self.set_option(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &info)
            }
            Step::Broadcast => self.socket.set_broadcast(true),
            Step::Connect(address) => self.socket.connect(&(*address).into()),
            Step::Disconnect => disconnect(&self.socket),
            Step::Named(name) => {
                self.origin = Some(match name.parse() {
                    Ok(address) => Origin { address: Some(address), ifindex: 0 },
                    Err(_) => Origin { address: None, ifindex: if_nametoindex(name.as_str())? },
                });
                Ok(())
            }
            Step::Size(size) => {
                self.words.size = *size;
                Ok(())
            }
            Step::Segment(size) => Ok(setsockopt(&self.socket, sockopt::UdpGsoSegment, &i32::from(*size))?),
            Step::Cork(on) => self.set_option(libc::IPPROTO_UDP, libc::UDP_CORK, &i32::from(*on)),
            Step::Exchange | Step::To(_) | Step::SendTo(_) => self.exchange(step),
            Step::Wait | Step::Inherit(_) | Step::Pass(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    fn exchange(&mut self, step: &Step) -> io::Result<()> {
        let Self { script, socket, origin, words, .. } = self;
        let message = match script.protocol {
            Protocol::Ping | Protocol::Raw => exchange::echo_request(script.ipv4, words),
            _ => words.octets(),
        };
        let stream = matches!(script.protocol, Protocol::Tcp | Protocol::Mptcp);
        match step {
            Step::To(address) | Step::SendTo(address) => {
                // Raw sockets take no port (raw(7)).
                let raw = matches!(script.protocol, Protocol::Raw | Protocol::Raw253);
                let address = if raw { SocketAddr::new(address.ip(), 0) } else { *address };
                datagram::send(&*socket, *origin, address, &message)?;
            }
            _ if stream => return exchange::stream(socket, &message),
            _ => {
                socket.send(&message)?;
            }
        }
        if matches!(step, Step::SendTo(_)) {
            return Ok(());
        }
        self.source = Some(match script.protocol {
            Protocol::Ping | Protocol::Raw => exchange::echo_reply(socket, script.ipv4, words)?,
            _ => exchange::datagrams(socket, &message)?,
        });
        Ok(())
    }

    fn unicast_if(&self, ifindex: u32) -> io::Result<()> {
        // Both in network byte order (ip(7); do_ipv6_setsockopt in the kernel's net/ipv6/ipv6_sockglue.c).
        let value = ifindex.to_be();
        let (level, name) = if self.script.ipv4 {
            (libc::IPPROTO_IP, libc::IP_UNICAST_IF)
        } else {
            (libc::IPPROTO_IPV6, libc::IPV6_UNICAST_IF)
        };
        self.set_option(level, name, &value)
    }

    fn set_option<T>(&self, level: libc::c_int, name: libc::c_int, value: &T) -> io::Result<()> {
        // SAFETY: the value is borrowed for the call and has the length given; the kernel checks what it says.
        let done = unsafe {
            libc::setsockopt(
                self.socket.as_raw_fd(),
                level,
                name,
                (&raw const *value).cast(),
                size_of::<T>() as libc::socklen_t,
            )
        };
        if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

fn become_nobody() -> io::Result<()> {
    let (user, group) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
    setgroups(&[])?;
    setresgid(group, group, group)?;
    Ok(setresuid(user, user, user)?)
}

/// connect(2) with AF_UNSPEC: the socket is connected to nobody any more.
fn disconnect(socket: &Socket) -> io::Result<()> {
    // SAFETY: an all-zero sockaddr_storage is one of AF_UNSPEC, and both fields that are written belong to it.
    let ((), nobody) = unsafe {
        SockAddr::try_init(|storage, length| {
            storage.write(std::mem::zeroed());
            *length = size_of::<libc::sockaddr>() as libc::socklen_t;
            Ok(())
        })
    }?;
    socket.connect(&nobody)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        for (text, good) in [
            ("udp bind=[::]:0 connect=[2001:db8::1]:7 exchange", true),
            ("raw to=198.18.0.1:0", true),
            ("udp named=isp-b segment=1000 size=5000 to=198.18.0.1:7", true),
            ("udp to=nowhere", false),
            ("udp size=much", false),
            ("udp stay", false),
            ("sctp", false),
            ("", false),
        ] {
            let script = Script::new(false, text.split_whitespace());
            assert_eq!(script.is_ok(), good, "{text}");
            if let Ok(script) = script {
                let args: Vec<_> = script.args().into_iter().map(|arg| arg.into_string().unwrap()).collect();
                assert_eq!(Script::parse(&args).unwrap(), script, "{text}");
            }
        }
    }
}
