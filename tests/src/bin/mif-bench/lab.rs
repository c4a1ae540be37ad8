//! Hosts and servers in namespaces, two cables between each host and its server.

use std::path::Path;

use anyhow::{Context as _, Result};
use mif_tests::{
    cgroup::Cgroup,
    netns::{End, Namespace, veth},
};
use nix::net::if_::if_nametoindex;

use crate::{
    population::{self, ROUTER},
    server,
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
        let (v6, v4) = (population::destination(true), population::destination(false));
        server.ip(&format!("addr add {v6}/128 dev lo nodad"))?;
        ip4(&server, &format!("addr add {v4}/32 dev lo"))?;
        for (place, uplink) in (0u16..).zip(UPLINKS) {
            // Indices 1 to 15 are the kernel's to give.
            let end = 0x10 + 8 * number + 2 * place;
            let near = End { namespace: &host, interface: uplink, number: end };
            let far = End { namespace: &server, interface: uplink, number: end + 1 };
            veth(near, far)?;
            let (pvd, metric) = (u32::from(place), 1024 + place);
            let source = population::source(pvd);
            // Neighbours that are known for ever: their resolution is none of what is measured.
            server.ip(&format!(
                "addr add {ROUTER}/64 dev {uplink} nodad\nlink set {uplink} up\n\
                 route add {} dev {uplink}\n\
                 neigh add {source} lladdr {} dev {uplink} nud permanent",
                population::prefix(pvd),
                lladdr(end),
            ))?;
            host.ip(&format!(
                "link set {uplink} up\naddr add {source}/64 dev {uplink} nodad\n\
                 neigh add {ROUTER} lladdr {} dev {uplink} nud permanent\n\
                 route add default via {ROUTER} dev {uplink} metric {metric}",
                lladdr(end + 1),
            ))?;
        }
        mif_tests::events::until_ready(&host, &UPLINKS)?;
        mif_tests::events::until_ready(&server, &UPLINKS)?;
        let last_cpu = std::thread::available_parallelism().map_or(0, |cpus| cpus.get() - 1);
        server::start(&server, CLIENT_CPU, last_cpu)?;
        let index = |name| host.run(|| if_nametoindex(name)).context("the interface is there");
        let ifindices = [index(UPLINKS[0])?, index(UPLINKS[1])?];
        let worker = Worker::start(&host, &server, cgroup)?;
        Ok(Self { host, ifindices, worker })
    }
}

/// Runs `ip -4 ARGS`.
fn ip4(namespace: &Namespace, args: &str) -> Result<()> {
    let args: Vec<&str> = std::iter::once("-4").chain(args.split(' ')).collect();
    namespace.ip_show(&args).map(drop)
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
