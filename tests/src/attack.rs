//! Every way in which a process can try to send by another provider than its policy allows: one table, one row each.
//!
//! An attacker is a process (`mif-lab-flow attack`) that goes through the table again and again. Each row has a port of its own at
//! the server, so that a tap tells which one got through.

use std::{
    ffi::OsString,
    fs,
    io::{self, BufRead as _},
    net::{IpAddr, SocketAddr},
    os::fd::AsFd as _,
    path::PathBuf,
};

use nix::{
    libc,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};
use serde::{Deserialize, Serialize};

use crate::{
    datagram::{self, Origin},
    family::Family,
    packet::{Headers, TCP, UDP},
};

mod sys;

use sys::{Frame, Target};

/// The first row's port at the server; nobody listens there.
const FIRST_PORT: u16 = 40_000;
/// Where IPv4 and mapped sockets of IPv6 begin, so that a tap can tell the families.
const MAPPED_PORT: u16 = FIRST_PORT + 1_000;
/// Milliseconds between two passes through the table: the taps record what arrives.
const PAUSE: u16 = 20;

/// What an attacker is up to.
#[derive(Clone, Debug, clap::Args)]
pub struct Aim {
    /// Whom it wants to reach
    pub server: IpAddr,
    /// The host's address from the forbidden provider
    #[arg(long)]
    pub forbidden: IpAddr,
    /// The host's address from its own provider
    #[arg(long)]
    pub own: IpAddr,
    /// The interface to the forbidden provider
    #[arg(long)]
    pub device: String,
    /// The last octet of the link-layer address of the forbidden provider's router
    #[arg(long)]
    pub router: u8,
    /// The `cgroup.procs` of the cgroup that it enters after it has opened the sockets that it keeps
    #[arg(long)]
    pub enter: Option<PathBuf>,
}

impl Aim {
    /// The command line that clap reads this from.
    pub fn args(&self) -> Vec<OsString> {
        let mut args: Vec<OsString> = vec![
            self.server.to_string().into(),
            "--forbidden".into(),
            self.forbidden.to_string().into(),
            "--own".into(),
            self.own.to_string().into(),
            "--device".into(),
            (&self.device).into(),
            "--router".into(),
            self.router.to_string().into(),
        ];
        args.extend(self.enter.iter().flat_map(|procs| ["--enter".into(), procs.into()]));
        args
    }

    fn family(&self) -> Family {
        Family::of(self.server)
    }
}

/// What became of one pass: each row with the errno(3) of the call that failed, 0 for none.
pub type Pass = Vec<(String, i32)>;

/// Sockets that were opened before the policy, or in another cgroup.
struct Kept {
    udp: Option<sys::Fd>,
    from: Option<sys::Fd>,
    connected: Option<sys::Fd>,
    device: Option<sys::Fd>,
    raw: Option<sys::Fd>,
    frames: Option<sys::Fd>,
}

/// A kept socket, if it could be opened at all.
fn open(kept: &Option<sys::Fd>) -> io::Result<&sys::Fd> {
    kept.as_ref().ok_or_else(|| io::Error::from_raw_os_error(libc::EBADF))
}

/// What was connected, or writes its own headers, sends under the policy of the cgroup in which it was opened: no hook sees who
/// sends.
pub const OF_THEIR_CREATOR: [&str; 3] = [KEPT_CONNECTED, KEPT_RAW, KEPT_FRAMES];
const KEPT_CONNECTED: &str = "kept: udp connected";
const KEPT_RAW: &str = "kept: raw, header with its address";
const KEPT_FRAMES: &str = "kept: frame with its address";

/// A row.
struct Attack {
    name: &'static str,
    /// Whether it is an attack of mapped sockets too; raw, ping and packet sockets have no such form.
    mapped: bool,
    run: fn(&Target, &Kept) -> io::Result<()>,
}

const fn any(name: &'static str, run: fn(&Target, &Kept) -> io::Result<()>) -> Attack {
    Attack { name, mapped: true, run }
}

const fn plain(name: &'static str, run: fn(&Target, &Kept) -> io::Result<()>) -> Attack {
    Attack { name, mapped: false, run }
}

/// The table.
static ATTACKS: &[Attack] = &[
    any("tcp", |t, _| t.connect(&t.tcp()?)),
    any("tcp, bound to its address", |t, _| t.connect(&t.bound(t.tcp()?, t.forbidden)?)),
    any("tcp, bound to its interface", |t, _| t.connect(&t.on_device(t.tcp()?)?)),
    any("tcp, both", |t, _| t.connect(&t.bound(t.on_device(t.tcp()?)?, t.forbidden)?)),
    any("tcp, unicast interface", |t, _| t.connect(&t.unicast_interface(t.tcp()?)?)),
    any("tcp, bound to a port", |t, _| t.connect(&t.bound(t.tcp()?, t.nowhere())?)),
    any("tcp, freebind", |t, _| t.connect(&t.bound(t.freebind(t.tcp()?)?, t.forbidden)?)),
    any("tcp, freebind to a stranger", |t, _| t.connect(&t.bound(t.freebind(t.tcp()?)?, t.stranger())?)),
    any("tcp, transparent", |t, _| t.connect(&t.bound(t.transparent(t.tcp()?)?, t.stranger())?)),
    any("tcp fast open", |t, _| t.fast_open(&t.tcp()?)),
    any("tcp fast open, bound", |t, _| t.fast_open(&t.bound(t.tcp()?, t.forbidden)?)),
    any("mptcp", |t, _| t.connect(&t.mptcp()?)),
    any("mptcp, bound to its address", |t, _| t.connect(&t.bound(t.mptcp()?, t.forbidden)?)),
    any("mptcp, bound to its interface", |t, _| t.connect(&t.on_device(t.mptcp()?)?)),
    any("udp connected", |t, _| t.connect_send(&t.udp()?)),
    any("udp connected, bound to its address", |t, _| t.connect_send(&t.bound(t.udp()?, t.forbidden)?)),
    any("udp connected, bound to its interface", |t, _| t.connect_send(&t.on_device(t.udp()?)?)),
    any("udp connected, bound to a port", |t, _| t.connect_send(&t.bound(t.udp()?, t.nowhere())?)),
    any("udp connected, unicast interface", |t, _| t.connect_send(&t.unicast_interface(t.udp()?)?)),
    any("udp connected twice", |t, _| t.reconnect(false)),
    any("udp connected twice, dissolved between", |t, _| t.reconnect(true)),
    any("udp", |t, _| t.send(&t.udp()?)),
    any("udp, bound to its address", |t, _| t.send(&t.bound(t.udp()?, t.forbidden)?)),
    any("udp, bound to its interface", |t, _| t.send(&t.on_device(t.udp()?)?)),
    any("udp, unicast interface", |t, _| t.send(&t.unicast_interface(t.udp()?)?)),
    any("udp, freebind to a stranger", |t, _| t.send(&t.bound(t.freebind(t.udp()?)?, t.stranger())?)),
    any("udp, transparent", |t, _| t.send(&t.bound(t.transparent(t.udp()?)?, t.stranger())?)),
    any("udp, its address in pktinfo", |t, _| t.pktinfo(Some(t.forbidden), 0)),
    any("udp, its interface in pktinfo", |t, _| t.pktinfo(None, t.ifindex)),
    any("udp, both in pktinfo", |t, _| t.pktinfo(Some(t.forbidden), t.ifindex)),
    any("udp, own address and its interface in pktinfo", |t, _| t.pktinfo(Some(t.own), t.ifindex)),
    any("udp segments (GSO)", |t, _| t.segments(&t.bound(t.udp()?, t.forbidden)?)),
    any("udp segments (GSO), its interface", |t, _| t.segments(&t.on_device(t.udp()?)?)),
    any("udp fragments", |t, _| t.send_large(&t.bound(t.udp()?, t.forbidden)?)),
    any("udp fragments, its interface", |t, _| t.send_large(&t.on_device(t.udp()?)?)),
    any("udp to an own address by its interface", |t, _| t.send_to_own(&t.on_device(t.udp()?)?)),
    any("udp held back (UDP_CORK), bound to its address", |t, _| t.corked(&t.bound(t.udp()?, t.forbidden)?)),
    any("udp held back (UDP_CORK), bound to its interface", |t, _| t.corked(&t.on_device(t.udp()?)?)),
    any("udp held back (MSG_MORE), bound to its address", |t, _| t.more(&t.bound(t.udp()?, t.forbidden)?)),
    any("udp held back (MSG_MORE), bound to its interface", |t, _| t.more(&t.on_device(t.udp()?)?)),
    any("kept: udp", |t, kept| t.send(open(&kept.udp)?)),
    any("kept: udp, bound to its address", |t, kept| t.send(open(&kept.from)?)),
    any(KEPT_CONNECTED, |t, kept| t.send_connected(open(&kept.connected)?)),
    any("kept: udp, bound to its interface", |t, kept| t.send(open(&kept.device)?)),
    plain("raw, header with its address", |t, _| t.raw_header(&t.raw()?, t.forbidden)),
    plain("raw, header with its address, its interface", |t, _| {
        t.raw_header(&t.on_device(t.raw()?)?, t.forbidden)
    }),
    plain("raw, header with the own address, its interface", |t, _| {
        t.raw_header(&t.on_device(t.raw()?)?, t.own)
    }),
    plain("raw, header with a stranger's address", |t, _| t.raw_header(&t.raw()?, t.stranger())),
    plain("raw udp", |t, _| t.raw_udp(&t.raw_of_udp()?)),
    plain("raw udp, bound to its address", |t, _| t.raw_udp(&t.bound(t.raw_of_udp()?, t.forbidden)?)),
    plain("raw udp, bound to its interface", |t, _| t.raw_udp(&t.on_device(t.raw_of_udp()?)?)),
    plain("ping", |t, _| t.ping(&t.icmp()?)),
    plain("ping, bound to its address", |t, _| t.ping(&t.bound(t.icmp()?, t.forbidden)?)),
    plain("ping, bound to its interface", |t, _| t.ping(&t.on_device(t.icmp()?)?)),
    plain("ping disguised as Neighbor Discovery", |t, _| t.disguised(&t.on_device(t.raw()?)?)),
    plain("frame with its address", |t, _| t.frame(&t.packet()?, Frame::from(t.forbidden))),
    plain("frame with the own address", |t, _| t.frame(&t.packet()?, Frame::from(t.own))),
    plain("frame with a stranger's address", |t, _| t.frame(&t.packet()?, Frame::from(t.stranger()))),
    plain("frame that lies about its protocol", |t, _| {
        t.frame(&t.packet()?, Frame { lie: true, ..Frame::from(t.forbidden) })
    }),
    plain("frame with a priority tag", |t, _| {
        t.frame(&t.packet()?, Frame { tag: true, ..Frame::from(t.forbidden) })
    }),
    plain("frame with a priority tag that lies about its protocol", |t, _| {
        t.frame(&t.packet()?, Frame { tag: true, lie: true, ..Frame::from(t.forbidden) })
    }),
    plain("packet in a frame of the kernel's", |t, _| t.headed(&t.packet_without_header()?)),
    plain(KEPT_RAW, |t, kept| t.raw_header(open(&kept.raw)?, t.forbidden)),
    plain(KEPT_FRAMES, |t, kept| t.frame(open(&kept.frames)?, Frame::from(t.forbidden))),
];

/// The rows of a family.
pub fn names(family: Family) -> impl Iterator<Item = &'static str> {
    rows(family).map(|(_, attack)| attack.name)
}

fn rows(family: Family) -> impl Iterator<Item = (u16, &'static Attack)> {
    let first = if family == Family::Mapped { MAPPED_PORT } else { FIRST_PORT };
    (first..).zip(ATTACKS).filter(move |(_, attack)| attack.mapped || family != Family::Mapped)
}

/// Which rows a packet is of: more than one where it bears no ports.
pub fn of(headers: &Headers) -> Vec<(Family, &'static str)> {
    let family = Family::of(headers.destination);
    let named = |family: Family, fits: &dyn Fn(u16, &Attack) -> bool| -> Vec<_> {
        rows(family).filter(|(port, row)| fits(*port, row)).map(|(_, row)| (family, row.name)).collect()
    };
    match headers.ports {
        Some((_, to)) if to >= MAPPED_PORT => named(Family::Mapped, &|port, _| port == to),
        Some((_, to)) => named(family, &|port, _| port == to),
        // Fragments behind the first, echo requests.
        None if headers.protocol == UDP || headers.protocol == TCP => Vec::new(),
        None => named(family, &|_, row| row.name.starts_with("ping")),
    }
}

/// Goes through the table until standard input ends; for each line of it tells `out` of one pass that began after the line.
///
/// # Errors
/// `out` or standard input fail. What becomes of attacks is no error.
pub fn run(aim: &Aim, mut out: impl io::Write) -> io::Result<()> {
    let target = Target::new(aim, FIRST_PORT);
    let raw = aim.family() != Family::Mapped;
    let port =
        rows(aim.family()).find(|(_, row)| row.name == KEPT_CONNECTED).map_or(FIRST_PORT, |(port, _)| port);
    let connected = || {
        let socket = target.bound(target.udp()?, aim.forbidden)?;
        Target::new(aim, port).connect(&socket)?;
        io::Result::Ok(socket)
    };
    // Under a policy some cannot be opened; that is no more an error than what becomes of the rows.
    let kept = Kept {
        udp: target.udp().ok(),
        from: target.udp().and_then(|socket| target.bound(socket, aim.forbidden)).ok(),
        connected: connected().ok(),
        device: target.udp().and_then(|socket| target.on_device(socket)).ok(),
        raw: target.raw().ok().filter(|_| raw),
        frames: target.packet().ok().filter(|_| raw),
    };
    if let Some(procs) = &aim.enter {
        fs::write(procs, "0")?;
    }
    let pass = || -> Pass {
        rows(aim.family())
            .map(|(port, row)| {
                let done = (row.run)(&Target::new(aim, port), &kept);
                let errno = done.err().map_or(0, |error| error.raw_os_error().unwrap_or(libc::EIO));
                (row.name.to_owned(), errno)
            })
            .collect()
    };
    let (mut stdin, mut line) = (io::stdin().lock(), String::new());
    loop {
        let asked = {
            let mut fds = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
            poll(&mut fds, PollTimeout::from(PAUSE))?;
            fds[0].any() == Some(true)
        };
        if !asked {
            pass();
            continue;
        }
        line.clear();
        if stdin.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let mut answer = serde_json::to_vec(&Answer { pass: pass() })?;
        answer.push(b'\n');
        out.write_all(&answer)?;
    }
}

/// A line of an attacker.
#[derive(Debug, Deserialize, Serialize)]
pub struct Answer {
    /// The pass.
    pub pass: Pass,
}

/// Sends with control data.
fn with_pktinfo(socket: &sys::Fd, origin: Origin, to: SocketAddr) -> io::Result<()> {
    Ok(datagram::send(socket, Some(origin), to, b"attack")?)
}
