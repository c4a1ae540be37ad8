//! An application that asks the kernel what it makes of destinations: a connected and an unconnected UDP socket to each.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    os::fd::{AsFd, AsRawFd as _},
};

use nix::libc;
use serde::{Deserialize, Serialize};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

/// What to try.
#[derive(Clone, Debug, clap::Args)]
pub struct Probe {
    /// Where to; an IPv4 address is tried on an AF_INET socket, `::ffff:192.0.2.1` on an AF_INET6 one
    #[arg(required = true)]
    pub destinations: Vec<IpAddr>,
    /// The source address to bind
    #[arg(long)]
    pub bind: Option<IpAddr>,
    /// The interface to bind (SO_BINDTODEVICE)
    #[arg(long)]
    pub device: Option<String>,
    /// The first port to send to: each destination gets two, for the connected and for the unconnected socket
    #[arg(long)]
    pub port: u16,
}

/// What became of one destination.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Probed {
    /// The destination.
    pub destination: IpAddr,
    /// The port that the connected socket sent to; the unconnected one sent to the next.
    pub port: u16,
    /// The connected socket, or the errno(3) of bind(2) or connect(2).
    pub connected: Result<Bound, i32>,
    /// The errno(3) of sendto(2), if it failed.
    pub unconnected: Result<(), i32>,
}

/// What a socket is bound to.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct Bound {
    /// getsockname(2), without the v4-mapped form.
    pub source: IpAddr,
    /// SO_BINDTOIFINDEX, 0 for none.
    pub ifindex: u32,
}

impl Probe {
    /// The command line that clap reads this from.
    pub fn args(&self) -> Vec<String> {
        let mut args = vec!["--port".into(), self.port.to_string()];
        args.extend(self.bind.iter().flat_map(|source| ["--bind".into(), source.to_string()]));
        args.extend(self.device.iter().flat_map(|device| ["--device".into(), device.clone()]));
        args.extend(self.destinations.iter().map(ToString::to_string));
        args
    }

    /// Tries all of them in this process and namespace.
    pub fn run(&self) -> Vec<Probed> {
        let ports = (self.port..).step_by(2);
        let tried = self.destinations.iter().zip(ports).map(|(&destination, port)| Probed {
            destination,
            port,
            connected: self.connected(SocketAddr::new(destination, port)).map_err(errno),
            unconnected: self.unconnected(SocketAddr::new(destination, port + 1)).map_err(errno),
        });
        tried.collect()
    }

    fn connected(&self, to: SocketAddr) -> io::Result<Bound> {
        let socket = self.socket(to)?;
        socket.connect(&to.into())?;
        // What becomes of the packet is seen where it arrives.
        let _ = socket.send(b"probe");
        let source = socket.local_addr()?.as_socket().ok_or(io::ErrorKind::Unsupported)?;
        Ok(Bound { source: source.ip().to_canonical(), ifindex: bound_ifindex(&socket)? })
    }

    fn unconnected(&self, to: SocketAddr) -> io::Result<()> {
        self.socket(to)?.send_to(b"probe", &to.into()).map(drop)
    }

    fn socket(&self, to: SocketAddr) -> io::Result<Socket> {
        let socket = Socket::new(Domain::for_address(to), Type::DGRAM, Some(Protocol::UDP))?;
        if let Some(device) = &self.device {
            socket.bind_device(Some(device.as_bytes()))?;
        }
        if let Some(source) = self.bind {
            let source = match (source, to) {
                (IpAddr::V4(source), SocketAddr::V6(_)) => source.to_ipv6_mapped().into(),
                (source, _) => source,
            };
            socket.bind(&SockAddr::from(SocketAddr::new(source, 0)))?;
        }
        Ok(socket)
    }
}

fn errno(error: io::Error) -> i32 {
    error.raw_os_error().unwrap_or(0)
}

/// The interface that a socket is bound to.
fn bound_ifindex(socket: impl AsFd) -> io::Result<u32> {
    let mut ifindex: libc::c_int = 0;
    let mut length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` octets, the size of the number.
    let done = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_BINDTOIFINDEX,
            (&raw mut ifindex).cast(),
            &raw mut length,
        )
    };
    if done == 0 { Ok(ifindex.cast_unsigned()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    #[test]
    fn loopback_is_told_as_it_is() {
        let probe = Probe {
            destinations: vec![Ipv4Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.to_ipv6_mapped().into()],
            bind: None,
            device: None,
            port: 9,
        };
        for probed in probe.run() {
            let expected = Bound { source: Ipv4Addr::LOCALHOST.into(), ifindex: 0 };
            assert_eq!(probed.connected, Ok(expected), "{probed:?}");
        }
        let nowhere = Probe { bind: Some(Ipv6Addr::UNSPECIFIED.into()), ..probe };
        assert_eq!(nowhere.run()[0].connected, Err(libc::EAFNOSUPPORT), "an IPv4 socket, an IPv6 source");
    }
}
