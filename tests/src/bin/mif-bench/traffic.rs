//! The work of an application, from a socket's birth to its end: what a worker does for some milliseconds.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    io::{self, Read as _},
    mem::MaybeUninit,
    net::SocketAddr,
    os::fd::AsRawFd as _,
    str::FromStr,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;
use mif_core::family::Family;
use nix::libc;
use socket2::{Domain, SockAddr, Socket, Type};

use crate::{lab::UPLINKS, population};

/// The port of the exchanging server and of the receiver of datagrams.
pub const EXCHANGE_PORT: u16 = 7;
/// The port of the server that takes a stream.
pub const STREAM_PORT: u16 = 9;

/// What is sent and comes back in an exchange.
pub const MESSAGE: [u8; 64] = [0x6d; 64];

/// Calls between two looks at the clock.
const BATCH: u32 = 64;

/// Octets written at once into a stream.
const CHUNK: usize = 128 * 1024;

/// A kind of work.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, ValueEnum)]
pub enum Kind {
    /// `socket`, `connect`, `close` of a UDP socket: the route lookup and the hook, without a peer.
    Connect,
    /// A TCP connection with a request and a response, closed by a reset so that no TIME_WAIT piles up.
    Exchange,
    /// Datagrams from one unconnected socket.
    Send,
    /// One TCP connection that is written to all the time, always the same.
    Stream,
}

/// What to do, as a line of text.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Order {
    /// What.
    pub kind: Kind,
    /// With sockets of this family.
    pub family: Family,
    /// With SO_BINDTODEVICE to the first uplink, by the application itself.
    pub bind_device: bool,
    /// For how long, milliseconds.
    pub milliseconds: u32,
}

/// What was done.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Done {
    /// Calls, exchanges, datagrams or octets.
    pub count: u64,
    /// In this time, nanoseconds.
    pub nanoseconds: u64,
}

impl Order {
    /// The line.
    pub fn line(&self) -> String {
        let kind = self.kind.to_possible_value().map_or_else(String::new, |value| value.get_name().into());
        format!("{kind} {} {} {}", self.family == Family::Ipv6, self.bind_device, self.milliseconds)
    }
}

impl FromStr for Order {
    type Err = anyhow::Error;

    fn from_str(line: &str) -> Result<Self> {
        let [kind, ipv6, bind_device, milliseconds] = words(line)?;
        Ok(Self {
            kind: Kind::from_str(kind, false).map_err(anyhow::Error::msg)?,
            family: if ipv6.parse()? { Family::Ipv6 } else { Family::Ipv4 },
            bind_device: bind_device.parse()?,
            milliseconds: milliseconds.parse()?,
        })
    }
}

impl Done {
    /// The line.
    pub fn line(&self) -> String {
        format!("{} {}", self.count, self.nanoseconds)
    }

    /// Nanoseconds for one.
    pub fn each(self) -> f64 {
        self.nanoseconds as f64 / self.count.max(1) as f64
    }
}

impl FromStr for Done {
    type Err = anyhow::Error;

    fn from_str(line: &str) -> Result<Self> {
        let [count, nanoseconds] = words(line)?;
        Ok(Self { count: count.parse()?, nanoseconds: nanoseconds.parse()? })
    }
}

fn words<const N: usize>(line: &str) -> Result<[&str; N]> {
    let words: Vec<&str> = line.split(' ').collect();
    words.try_into().map_err(|_| anyhow::anyhow!("{line:?} has not {N} words"))
}

/// The sockets of a worker that live longer than an order.
pub struct Traffic {
    /// The receivers of datagrams, in the server's namespace.
    receivers: BTreeMap<Family, Socket>,
    /// The streams. A connection of its own for each order would be up to speed at another time, with other buffers.
    streams: BTreeMap<Family, Socket>,
}

impl Traffic {
    /// With the receivers; they must not block.
    pub fn new(receivers: BTreeMap<Family, Socket>) -> Self {
        Self { receivers, streams: BTreeMap::new() }
    }

    /// Does it.
    ///
    /// # Errors
    /// A call failed: then there is nothing to measure.
    pub fn carry_out(&mut self, order: &Order) -> Result<Done> {
        let limit = Duration::from_millis(order.milliseconds.into());
        match order.kind {
            Kind::Connect => repeat(limit, || {
                socket(order, Type::DGRAM)?.connect(&destination(order, STREAM_PORT)).context("connect")
            }),
            Kind::Exchange => repeat(limit, || exchange(order)),
            Kind::Send => self.send(order, limit),
            Kind::Stream => self.stream(order, limit),
        }
    }

    /// Only the sending is timed. Between the batches the receiver empties its queue, so that each datagram goes all the
    /// way into it.
    fn send(&self, order: &Order, limit: Duration) -> Result<Done> {
        let receiver = self.receivers.get(&order.family).context("each family has a receiver")?;
        let (to, sender) = (destination(order, EXCHANGE_PORT), socket(order, Type::DGRAM)?);
        let (mut done, started) = (Done { count: 0, nanoseconds: 0 }, Instant::now());
        while started.elapsed() < limit {
            let batch = Instant::now();
            for _ in 0..BATCH {
                sender.send_to(&MESSAGE, &to).context("sendto")?;
            }
            done.nanoseconds += elapsed(batch);
            done.count += u64::from(BATCH);
            let mut room = [MaybeUninit::uninit(); MESSAGE.len()];
            let mut arrived = 0;
            loop {
                match receiver.recv(&mut room) {
                    Ok(_) => arrived += 1,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error).context("recv"),
                }
            }
            if arrived != BATCH {
                bail!("{arrived} of {BATCH} datagrams arrived");
            }
        }
        Ok(done)
    }

    /// Until the other end has all of it.
    fn stream(&mut self, order: &Order, limit: Duration) -> Result<Done> {
        let socket = match self.streams.entry(order.family) {
            Entry::Occupied(stream) => stream.into_mut(),
            Entry::Vacant(place) => {
                let socket = socket(order, Type::STREAM)?;
                socket.connect(&destination(order, STREAM_PORT)).context("connect")?;
                place.insert(socket)
            }
        };
        let chunk = vec![0x6d; CHUNK];
        let (mut count, started) = (0, Instant::now());
        while started.elapsed() < limit {
            count += socket.send(&chunk).context("send")? as u64;
        }
        while unacknowledged(socket)? > 0 {
            // The reader has the same CPU.
            thread::yield_now();
        }
        Ok(Done { count, nanoseconds: elapsed(started) })
    }
}

/// Octets of a connection that its peer's kernel has not acknowledged (`SIOCOUTQ`, tcp(7)).
fn unacknowledged(socket: &Socket) -> Result<i32> {
    let mut octets = 0;
    // SAFETY: the call writes an int to where the pointer leads.
    let status = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut octets) };
    if status != 0 {
        return Err(io::Error::last_os_error()).context("SIOCOUTQ");
    }
    Ok(octets)
}

/// Calls `work` until the time is over.
fn repeat(limit: Duration, work: impl Fn() -> Result<()>) -> Result<Done> {
    let (mut count, started) = (0, Instant::now());
    while started.elapsed() < limit {
        for _ in 0..BATCH {
            work()?;
        }
        count += u64::from(BATCH);
    }
    Ok(Done { count, nanoseconds: elapsed(started) })
}

fn exchange(order: &Order) -> Result<()> {
    let socket = socket(order, Type::STREAM)?;
    socket.connect(&destination(order, EXCHANGE_PORT)).context("connect")?;
    socket.send(&MESSAGE).context("send")?;
    let mut answer = [0; MESSAGE.len()];
    (&socket).read_exact(&mut answer).context("the server's answer")?;
    socket.set_linger(Some(Duration::ZERO)).context("SO_LINGER")
}

fn socket(order: &Order, kind: Type) -> Result<Socket> {
    let socket = Socket::new(domain(order.family), kind, None).context("socket")?;
    if order.bind_device {
        socket.bind_device(Some(UPLINKS[0].as_bytes())).context("SO_BINDTODEVICE")?;
    }
    Ok(socket)
}

/// The domain of a family's sockets.
pub fn domain(family: Family) -> Domain {
    match family {
        Family::Ipv4 => Domain::IPV4,
        Family::Ipv6 => Domain::IPV6,
    }
}

fn destination(order: &Order, port: u16) -> SockAddr {
    SocketAddr::new(population::destination(order.family), port).into()
}

fn elapsed(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_say_what_they_were_made_of() {
        for kind in [Kind::Connect, Kind::Exchange, Kind::Send, Kind::Stream] {
            let order = Order { kind, family: Family::Ipv4, bind_device: false, milliseconds: 7 };
            assert_eq!(order.line().parse::<Order>().unwrap(), order);
        }
        let done = Done { count: 3, nanoseconds: 12 };
        assert_eq!(done.line().parse::<Done>().unwrap(), done);
        assert_eq!(done.each(), 4.0);
        assert!("send true".parse::<Order>().is_err());
    }
}
