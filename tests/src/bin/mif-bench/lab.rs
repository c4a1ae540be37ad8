//! Hosts and servers in namespaces, two cables between each host and its server.

use std::{io::Write as _, path::Path, process::Stdio};

use anyhow::{Context as _, Result, ensure};
use mif_core::family::{Family, shown, shown_net};
use mif_tests::{
    cgroup::Cgroup,
    netns::{End, Namespace, veth},
};
use nix::net::if_::if_nametoindex;

use crate::{
    population, server,
    worker::{CLIENT_CPU, Worker},
};

/// The uplinks of a host.
pub const UPLINKS: [&str; 2] = ["up0", "up1"];

/// A host, its server, and the process that works at the host.
pub struct Site {
    /// The host.
    pub host: Namespace,
    /// The interface indices of its uplinks.
    pub ifindices: [u32; 2],
    /// Works there.
    pub worker: Worker,
}

impl Site {
    /// Builds one; `number` tells it from others.
    pub fn new(name: &str, number: u16, cgroup: &Cgroup) -> Result<Self> {
        let (host, server) = (Namespace::new(name)?, Namespace::new(&format!("server of {name}"))?);
        for family in Family::ALL {
            let destination = population::destination(family);
            batch(&server, family, &format!("addr add {destination} dev lo"))?;
        }
        for (place, uplink) in (0u16..).zip(UPLINKS) {
            // Indices 1 to 15 are the kernel's to give.
            let end = 0x10 + 8 * number + 2 * place;
            let near = End { namespace: &host, interface: uplink, number: end };
            let far = End { namespace: &server, interface: uplink, number: end + 1 };
            veth(near, far)?;
            host.ip(&format!("link set {uplink} up"))?;
            server.ip(&format!("link set {uplink} up"))?;
            for family in Family::ALL {
                connect(&host, &server, family, place, [end, end + 1])?;
            }
        }
        mif_tests::events::until_ready(&host, &UPLINKS)?;
        mif_tests::events::until_ready(&server, &UPLINKS)?;
        server::start(&server, CLIENT_CPU)?;
        let index = |name| host.run(|| if_nametoindex(name)).context("the interface is there");
        let ifindices = [index(UPLINKS[0])?, index(UPLINKS[1])?];
        let worker = Worker::start(&host, &server, cgroup)?;
        Ok(Self { host, ifindices, worker })
    }
}

/// Gives both ends of a cable their addresses and routes. Neighbours are known for ever: their resolution is none of what
/// is measured.
fn connect(host: &Namespace, server: &Namespace, family: Family, place: u16, ends: [u16; 2]) -> Result<()> {
    let (pvd, uplink, metric) = (u32::from(place), UPLINKS[usize::from(place)], 1024 + place);
    let prefix = shown_net(population::prefix(family, pvd));
    let (source, router) = (shown(population::source(family, pvd)), shown(population::router(family, pvd)));
    let ([near, far], bits) = (ends.map(lladdr), prefix.prefix_len());
    batch(
        server,
        family,
        &format!(
            "addr add {router}/{bits} dev {uplink}\nroute replace {prefix} dev {uplink}\n\
             neigh add {source} lladdr {near} dev {uplink} nud permanent"
        ),
    )?;
    batch(
        host,
        family,
        &format!(
            "addr add {source}/{bits} dev {uplink}\n\
             neigh add {router} lladdr {far} dev {uplink} nud permanent\n\
             route add default via {router} dev {uplink} metric {metric}"
        ),
    )
}

/// Runs lines of `ip -batch` for a family.
pub fn batch(namespace: &Namespace, family: Family, lines: &str) -> Result<()> {
    if family == Family::Ipv6 {
        return namespace.ip(lines);
    }
    let mut command = namespace.command("ip");
    command.args(["-4", "-batch", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().context("start ip")?;
    // A failed line makes `ip` end before it has read all; its status tells more than the broken pipe.
    if let Some(mut stdin) = child.stdin.take() {
        let _ = stdin.write_all(lines.as_bytes());
    }
    let output = child.wait_with_output().context("wait for ip")?;
    ensure!(
        output.status.success(),
        "ip -4 in {}: {}",
        namespace.name(),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}

/// The address that [`veth`] gives an end.
fn lladdr(number: u16) -> String {
    let [high, low] = number.to_be_bytes();
    format!("02:00:00:00:{high:02x}:{low:02x}")
}

/// A cgroup for all that works.
pub fn cgroup() -> Result<Cgroup> {
    Cgroup::new("bench")
}

/// The descriptor of a cgroup, to attach to.
pub fn open(cgroup: &Path) -> Result<std::fs::File> {
    std::fs::File::open(cgroup).with_context(|| format!("open {}", cgroup.display()))
}
