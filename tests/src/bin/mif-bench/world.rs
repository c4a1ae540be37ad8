//! A host with as many PvDs as wanted, in a network namespace of this process: one veth for each of two uplinks, the rest of the
//! PvDs only in the tables, which is where their number could cost.

use std::{
    collections::BTreeMap,
    net::Ipv6Addr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};
use mif_common::abi::{self, Config, Mode};
use mif_core::{
    select::{
        compile::compile,
        diff::diff,
        tables::{TableStore as _, Tables},
        world::{AddressState, NextHop, Origin, Pvd, Route, Source, World},
    },
    time::Deadline,
    wire::RouterPreference,
};
use mif_tests::{bpffs::Bpffs, cgroup::Cgroup};
use mif_user::{
    clock,
    kernel::{
        attach::TcBackend,
        mounts,
        object::Sizes,
        pins::{self, Installation, Plan},
    },
};
use nix::sched::{CloneFlags, unshare};

/// The uplinks that exist as interfaces.
pub const UPLINKS: [&str; 2] = ["up0", "up1"];

/// A destination that every PvD's default route covers.
pub const DESTINATION: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 1);

/// The host.
pub struct Bench {
    /// How many PvDs the tables have.
    pub pvds: u32,
    /// The source that the tables choose for [`DESTINATION`].
    pub source: Ipv6Addr,
    bpffs: Bpffs,
    cgroup: Cgroup,
    world: World,
}

impl Bench {
    /// Makes the namespace, and a cgroup that this process is in.
    pub fn set_up(pvds: u32) -> Result<Self> {
        unshare(CloneFlags::CLONE_NEWNET).context("cannot make a network namespace; this needs root")?;
        let mut ifindices = BTreeMap::new();
        ip("link set lo up")?;
        for (number, name) in UPLINKS.iter().enumerate() {
            ip(&format!("link add {name} type veth peer name {name}p"))?;
            for interface in [(*name).to_owned(), format!("{name}p")] {
                std::fs::write(format!("/proc/sys/net/ipv6/conf/{interface}/accept_dad"), "0")
                    .with_context(|| format!("cannot configure {interface}"))?;
                ip(&format!("link set {interface} up"))?;
            }
            ip(&format!("addr add {}/64 dev {name} nodad", source(number as u32)))?;
            // A neighbour that never answers must not cost the kernel a queue of waiting packets.
            ip(&format!("neigh add fe80::1 lladdr 02:00:00:00:00:01 dev {name} nud permanent"))?;
            ip(&format!("route add default via fe80::1 dev {name} metric {}", 1024 + number))?;
            let ifindex = nix::net::if_::if_nametoindex(*name).context("the interface is there")?;
            ifindices.insert(number as u32, ifindex);
        }
        let world = World {
            pvds: (0..pvds)
                .map(|number| pvd(number, *ifindices.get(&number).unwrap_or(&(1000 + number))))
                .collect(),
            local_addresses: (0..2).map(source).collect(),
            views: Vec::new(),
        };
        let cgroup = Cgroup::new("bench")?;
        join(cgroup.path())?;
        Ok(Self { pvds, source: source(0), bpffs: Bpffs::mount()?, cgroup, world })
    }

    /// Installs the programs and fills the tables.
    pub fn attach(&self) -> Result<Installation> {
        let plan = Plan {
            directory: self.bpffs.directory(),
            cgroup: self.cgroup.path().to_owned(),
            sizes: Sizes { pvds: self.pvds + 1, ..Sizes::default() },
            tc: TcBackend::Auto,
        };
        let mut installation = Installation::start(&plan)?;
        for op in diff(&Tables::default(), &compile(&self.world)) {
            installation.maps.apply(&op)?;
        }
        installation.maps.set_config(Config {
            netns_cookie: clock::netns_cookie()?,
            mode: Mode::Prefer as u32,
            flags: 0,
            pvds: self.pvds + 1,
            layout: abi::LAYOUT,
        })?;
        Ok(installation)
    }

    /// Removes the programs.
    pub fn detach(&self, installation: Installation) -> Result<()> {
        drop(installation);
        pins::remove(&self.bpffs.directory())?;
        Ok(())
    }

    /// Where a program is pinned.
    pub fn program(&self, name: &str) -> PathBuf {
        self.bpffs.directory().join("programs").join(name)
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        // Back to the root of the hierarchy, or the cgroup could not be removed; what stays is the lab's to sweep.
        if let Err(error) = mounts::cgroup2().map_err(Into::into).and_then(|root| join(&root)) {
            eprintln!("{error:#}");
        }
    }
}

/// Moves this process into a cgroup.
fn join(cgroup: &Path) -> Result<()> {
    std::fs::write(cgroup.join("cgroup.procs"), std::process::id().to_string())
        .with_context(|| format!("cannot join {}", cgroup.display()))
}

/// The address of an uplink: `2001:db8:1:NUMBER::1`.
pub fn source(number: u32) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, (number >> 16) as u16 + 1, number as u16, 0, 0, 0, 1)
}

fn pvd(number: u32, ifindex: u32) -> Pvd {
    let router = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
    let route = |prefix, next_hop, metric| Route {
        prefix,
        next_hop,
        preference: RouterPreference::Medium,
        metric,
        reachable: true,
        origin: Origin::Network,
        kernel_decides: false,
        preferred_source: None,
        valid_until: Deadline::NEVER,
    };
    let address = source(number);
    let on_link = ipnet::Ipv6Net::new_assert(address, 64).trunc();
    Pvd {
        index: number + 1,
        ifindex,
        origin: Origin::Network,
        explicit: false,
        no_internet: false,
        sources: vec![Source {
            address,
            prefix_len: 64,
            state: AddressState::Preferred,
            temporary: false,
            secondary: false,
            valid_until: Deadline::NEVER,
            carried: true,
            several_interfaces: false,
            advertisers: vec![router],
        }],
        routes: vec![
            route(ipnet::Ipv6Net::default(), NextHop::Router(router), 1024 + number),
            route(on_link, NextHop::OnLink, 256),
        ],
        valid_until: Deadline::NEVER,
    }
}

/// Runs `ip -6 ARGS`.
fn ip(args: &str) -> Result<()> {
    let output = Command::new("ip")
        .arg("-6")
        .args(args.split(' '))
        .stdin(Stdio::null())
        .output()
        .context("cannot run ip; install iproute2 (cargo xtask setup)")?;
    if !output.status.success() {
        bail!("ip -6 {args}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
