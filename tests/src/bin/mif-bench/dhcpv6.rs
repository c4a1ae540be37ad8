//! A real `mif daemon` with a DHCPv6 client on each of a thousand links: its memory and what it does while nothing happens, and how
//! long after a server's answer the tables hold what follows.

use std::{
    fs,
    io::ErrorKind,
    mem::MaybeUninit,
    net::{Ipv6Addr, SocketAddrV6},
    sync::mpsc,
    thread,
};

use anyhow::{Context as _, Result};
use ipnet::Ipv6Net;
use mif_core::{
    time::Time,
    wire::{
        NdOption, PrefixInformation, RaHeader, RouterAdvertisement,
        dhcpv6::{DhcpOption, DraftCodes, IdentityAssociation, Lease, Message, MessageType},
    },
};
use mif_tests::{cgroup::Cgroup, host::Host, mif::Site, netns::Namespace};
use mif_user::{clock, control::Notice};
use socket2::{Domain, Protocol, Socket, Type};

use crate::{
    Plan, aftermath,
    figure::{Figure, Goal, thousands},
    lab,
    progress::Progress,
    report::{Report, Row},
    rest::Rest,
};

/// Links whose clients come to rest.
const LINKS: u16 = 1_000;
/// Index of the host's end of the first cable, and of the far end.
const NEAR: u32 = 0x1000;
const FAR: u32 = 0x3000;
/// Clients that ask at the same time.
const BURST: u16 = 100;
/// Places for PvDs: three in four are for networks.
const PLACES: u32 = 2048;

const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// RFC 8415 §7.1, §7.2.
const ALL_SERVERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2);
const SERVER_PORT: u16 = 547;
/// What neighbour discovery sends and accepts (RFC 4861 §6.1).
const HOP_LIMIT: u32 = 255;
const DAY: u32 = 86_400;

/// Measures it.
pub fn measure(plan: &Plan, progress: &mut Progress, report: &mut Report) -> Result<()> {
    let links = LINKS + u16::try_from(plan.rounds)?;
    let n = format!("{} links", thousands(LINKS));
    progress.step(format!("DHCPv6, {n}: setting up"));
    aftermath::wait();
    let cgroup: Cgroup = lab::cgroup()?;
    let host = Host::new()?;
    let servers = Namespace::new("servers")?;
    cables(host.namespace(), &servers, links)?;
    let (socket, replies) = serve(&servers, links)?;
    let site = Site::new(host.namespace(), &cgroup)?;
    let config = site.state_dir().join("mif.toml");
    fs::write(&config, format!("[limits]\npvds = {}\n", PLACES - 1))?;
    let config = config.to_str().context("the lab's folder has a plain name")?;
    let daemon = site.daemon(["--config", config])?;

    progress.step(format!("DHCPv6, {n}: leasing"));
    for first in (0..LINKS).step_by(BURST.into()) {
        let burst = first..first + BURST;
        burst.clone().try_for_each(|link| advertise(&socket, link))?;
        site.wait_for_state(&format!("{} leases", burst.end), |state| {
            let leases = state.dhcpv6.iter().filter(|client| !client.leases.is_empty()).count();
            (leases >= usize::from(burst.end)).then_some(())
        })?;
    }
    progress.step(format!("DHCPv6, {n}: at rest"));
    let rest = Rest::of(daemon.id(), plan.idle)?;
    report.rows.extend(rest.rows(("DHCPv6 clients at rest", "DHCPv6 clients at rest"), &n, plan.idle, 40.0));

    progress.step("DHCPv6: from an answer to the tables");
    let (maps, mut notices) = (site.maps()?, daemon.watch()?);
    while replies.try_recv().is_ok() {}
    let mut rounds = Vec::new();
    for round in 1..=plan.rounds {
        progress.round(round, plan.rounds);
        let link = LINKS + u16::try_from(round - 1)?;
        advertise(&socket, link)?;
        let at = notices.until("a leased address in the tables", |notice| match notice {
            Notice::Tables { at, .. } => Ok(maps.source(leased(link))?.map(|_| Time(*at))),
            _ => Ok(None),
        })?;
        let sent = loop {
            let (answered, sent) = replies.recv().context("the server answers")?;
            if answered == link {
                break sent;
            }
        };
        rounds.push(sent.until(at).as_secs_f64() * 1e3);
    }
    let mut row = Row::new("a DHCPv6 Reply in force, ms", &n);
    row.mif = Figure::of(rounds);
    row.note =
        "from sending it to the last entry of the leased address; the kernel makes the address in between"
            .into();
    report.rows.push(row.with_goal(Goal::AtMost(5.0)));
    daemon.stop()?;
    site.says(["detach", "--all"])?;
    Ok(())
}

fn prefix(link: u16) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(0x2001, 0xdb8, 0xd6, link, 0, 0, 0, 0), 64)
}

fn leased(link: u16) -> Ipv6Addr {
    Ipv6Addr::from_bits(prefix(link).network().to_bits() | 0x1000)
}

/// A cable for each link. Both ends know each other for ever, so that the kernel's table of neighbours does not overflow.
fn cables(host: &Namespace, servers: &Namespace, links: u16) -> Result<()> {
    let lladdr = |end: u32| format!("02:00:00:00:{:02x}:{:02x}", end >> 8, end & 0xff);
    let link_local = |end: u32| format!("fe80::ff:fe00:{end:x}");
    let each = |line: &dyn Fn(u32) -> String| (0..u32::from(links)).map(line).collect::<String>();
    let far = servers.path();
    host.ip(&each(&|link| {
        let (a, b) = (NEAR + link, FAR + link);
        format!(
            "link add c{link} index {a} address {} type veth peer name c{link} index {b} address {} netns {}\n",
            lladdr(a),
            lladdr(b),
            far.display()
        )
    }))?;
    servers.ip(&each(&|link| format!("link set c{link} up\n")))?;
    host.ip(&each(&|link| format!("link set c{link} up\n")))?;
    let known = |of: u32| {
        each(&|link| {
            let other = of + link;
            format!(
                "neigh replace {} lladdr {} dev c{link} nud permanent\n",
                link_local(other),
                lladdr(other)
            )
        })
    };
    host.ip(&known(FAR))?;
    servers.ip(&known(NEAR))
}

/// Lets the router of a link ask its host to lease an address.
fn advertise(socket: &Socket, link: u16) -> Result<()> {
    let prefix = NdOption::PrefixInformation(PrefixInformation {
        prefix: prefix(link),
        on_link: true,
        autonomous: false,
        router_address: false,
        valid_lifetime: DAY,
        preferred_lifetime: DAY,
    });
    let header = RaHeader { router_lifetime: 9000, managed: true, ..RaHeader::default() };
    let message = RouterAdvertisement { header, options: vec![prefix] }.emit()?;
    let to = SocketAddrV6::new(ALL_NODES, 0, 0, FAR + u32::from(link));
    socket.send_to(&message, &to.into()).with_context(|| format!("advertise on link {link}"))?;
    Ok(())
}

/// A socket to advertise with; and a server of all links, which says when it sent which Reply. It ends with the process.
fn serve(servers: &Namespace, links: u16) -> Result<(Socket, mpsc::Receiver<(u16, Time)>)> {
    let (advertising, socket) = servers.run(|| {
        let advertising = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6))?;
        advertising.set_multicast_hops_v6(HOP_LIMIT)?;
        let socket = Socket::new(Domain::IPV6, Type::DGRAM, None)?;
        socket.set_only_v6(true)?;
        socket.bind(&SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, SERVER_PORT, 0, 0).into())?;
        for link in 0..u32::from(links) {
            socket.join_multicast_v6(&ALL_SERVERS, FAR + link)?;
        }
        Ok::<_, std::io::Error>((advertising, socket))
    })?;
    let (sender, replies) = mpsc::channel();
    thread::spawn(move || {
        while let Ok(Some((link, sent))) = answer(&socket) {
            if sender.send((link, sent)).is_err() {
                return;
            }
        }
    });
    Ok((advertising, replies))
}

/// Answers until a Reply was sent.
fn answer(socket: &Socket) -> Result<Option<(u16, Time)>> {
    loop {
        let mut buffer = [MaybeUninit::uninit(); 2048];
        let (length, client) = match socket.recv_from(&mut buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            received => received?,
        };
        // SAFETY: recv_from wrote `length` octets.
        let octets: Vec<u8> = buffer[..length].iter().map(|octet| unsafe { octet.assume_init() }).collect();
        let client = client.as_socket_ipv6().context("an IPv6 source")?;
        let link = u16::try_from(client.scope_id() - FAR)?;
        let asked = Message::parse(&octets, &DraftCodes::default())?.message;
        let kind = match asked.kind {
            MessageType::Solicit => MessageType::Advertise,
            _ => MessageType::Reply,
        };
        let message = given(kind, link, &asked).emit(&DraftCodes::default())?;
        let sent = clock::now();
        socket.send_to(&message, &client.into())?;
        if kind == MessageType::Reply {
            return Ok(Some((link, sent)));
        }
    }
}

/// What the server says.
fn given(kind: MessageType, link: u16, asked: &Message) -> Message {
    let lease =
        Lease { prefix: leased(link).into(), preferred_lifetime: DAY, valid_lifetime: DAY, status: None };
    let of = |option: &DhcpOption| match option {
        DhcpOption::ClientId(_) => Some(option.clone()),
        DhcpOption::IaNa(association) => Some(DhcpOption::IaNa(IdentityAssociation {
            iaid: association.iaid,
            t1: DAY / 2,
            t2: DAY / 5 * 4,
            leases: vec![lease.clone()],
            status: None,
        })),
        _ => None,
    };
    let mut options: Vec<_> = asked.options.iter().filter_map(of).collect();
    options.push(DhcpOption::ServerId(vec![0, 2, 0, 0, 0x7e, 0xd9, 1]));
    options.push(DhcpOption::Preference(u8::MAX));
    options.push(DhcpOption::DnsServers(vec![leased(link)]));
    Message { kind, transaction_id: asked.transaction_id, options }
}
