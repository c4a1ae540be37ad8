//! `cargo xtask run`: the main job on a host with two providers, in namespaces of this process.
//!
//! Ends with 0 if every flow arrived with `mif` and some did not without, and if the pinned cgroup kept to its provider; else
//! with 1. On a terminal the lab stays until Ctrl-C.

use std::{
    io::{self, IsTerminal as _, Read as _},
    process::ExitCode,
};

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use mif_tests::{
    cgroup::Cgroup,
    dhcp_server::{DhcpServer, Offer, Program},
    family::Family,
    flow::{Flow, Kind},
    internet::{SERVERS, at_echo},
    isp::{ISP_A, ISP_B},
    matrix::{self, Matrix},
    mif::{Daemon as Mif, Site},
    router::{Daemon, LAN},
    world::World,
};

/// Show a host with two providers, first with the kernel alone, then with mif
#[derive(Parser)]
#[command(name = "cargo xtask run --")]
struct Args {
    /// Keep the lab until standard input ends, also when that is not a terminal
    #[arg(long)]
    hold: bool,
    /// Let radvd speak for the routers; by default the lab does that itself
    #[arg(long)]
    radvd: bool,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("mif-lab: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<bool> {
    println!(
        "A host with two providers, isp-a ({}, {}) and isp-b ({}, {}).",
        ISP_A.prefix, ISP_A.prefix_ipv4, ISP_B.prefix, ISP_B.prefix_ipv4,
    );
    println!(
        "Each provider's router drops what does not come from its own prefixes, as real ones do (BCP 38).\n"
    );
    let mut world =
        World::two_uplinks(if args.radvd { Daemon::Radvd } else { Daemon::Embedded })?.dual_stack()?;
    let applications = Cgroup::new("applications")?;

    println!("With the kernel alone");
    let alone = matrix::run(&world, Some(&applications))?;
    println!("{alone}");

    println!("isp-b leases addresses as well (DHCPv6, Kea); nobody but mif asks.\n");
    let _server = lease(&mut world)?;
    let site = Site::new(world.host.namespace(), &applications)?;
    let daemon = site.daemon::<&str>([])?;
    wait_for_lease(&site)?;
    println!("With mif");
    let with = matrix::run(&world, Some(&applications))?;
    println!("{with}");
    println!("{}", site.says(["status"])?);

    // It stays pinned for who looks around afterwards.
    let backup = applications.child("backup")?;
    let pinned = pin(&world, &backup, &site)?;
    let good = verdict(&alone, &with, pinned);
    if args.hold || io::stdin().is_terminal() {
        stay(&world, &applications, &site, &daemon)?;
    }
    daemon.stop()?;
    site.says(["detach", "--all"])?;
    Ok(good)
}

/// Lets the second provider lease addresses too, and its router say so.
fn lease(world: &mut World) -> Result<DhcpServer> {
    let router = world.router(&ISP_B);
    let server =
        DhcpServer::start(router.namespace(), LAN, Program::Kea, &Offer::new(ISP_B.lan, ISP_B.number))?;
    let mut advertisement = ISP_B.advertisement();
    advertisement.header.managed = true;
    router.advertise(&advertisement)?;
    Ok(server)
}

fn wait_for_lease(site: &Site) -> Result<()> {
    site.wait_for_state("an address leased by isp-b to be used", |state| {
        let client = state.dhcpv6.iter().find(|client| client.interface == ISP_B.name)?;
        let leased = client.leases.first()?.address()?;
        let mut sources = state.pvds.iter().flat_map(|pvd| &pvd.sources);
        sources.any(|source| source.address == leased).then_some(())
    })
}

/// Pins a cgroup to the second provider, and shows where its flows go and what `mif explain` says of one.
fn pin(world: &World, backup: &Cgroup, site: &Site) -> Result<bool> {
    let path = backup.path().display().to_string();
    println!("mif policy attach {path} --pvd {} --mode strict\n", ISP_B.name);
    site.says(["policy", "attach", path.as_str(), "--pvd", ISP_B.name, "--mode", "strict"])?;
    let mut all_by_b = true;
    for kind in [Kind::Tcp, Kind::UdpConnected, Kind::UdpUnconnected] {
        for server in [Family::Ipv6, Family::Ipv4].into_iter().flat_map(Family::servers) {
            let report = world.host.place(backup).open(&Flow::new(kind, at_echo(server)))?;
            let source = report.source();
            let by_b = report.arrived && source.is_some_and(|source| ISP_B.owns(source));
            all_by_b &= by_b;
            let from = source.map_or_else(|| "no address".into(), |source| source.to_string());
            println!(
                "  {:<16} to {:<18} from {from:<28} {}",
                kind.name(),
                server.to_string(),
                if by_b { "isp-b" } else { "NOT isp-b" }
            );
        }
    }
    println!("\nmif explain --cgroup {path} {}", SERVERS[0]);
    println!("{}", site.says(["explain", "--cgroup", path.as_str(), &SERVERS[0].to_string()])?);
    Ok(all_by_b)
}

fn verdict(alone: &Matrix, with: &Matrix, pinned: bool) -> bool {
    let row = |who: &str, matrix: &Matrix| {
        let (arrived, total, filtered) = (matrix.arrived(), matrix.total(), matrix.foreign().len());
        println!(
            "{who:<22} {arrived:>3} of {total} flows arrived, {filtered:>2} packets went to the wrong provider"
        );
    };
    row("With the kernel alone:", alone);
    row("With mif:", with);
    println!("The pinned cgroup {} isp-b.", if pinned { "kept to" } else { "DID NOT keep to" });
    let shown = alone.arrived() < alone.total();
    if !shown {
        println!("The kernel alone had no trouble: this run shows nothing.");
    }
    with.is_clean() && pinned && shown
}

/// Keeps the lab, with hints.
fn stay(world: &World, applications: &Cgroup, site: &Site, daemon: &Mif<'_>) -> Result<()> {
    // Something to connect to from the internet, for replies.
    let _server = world.host.place(applications).serve(&["[::]:7".parse().context("a literal")?])?;
    let mif = site.command::<&str>([])?;
    let mif = std::iter::once(mif.get_program()).chain(mif.get_args());
    let mif: Vec<_> = mif.map(|word| word.to_string_lossy()).collect();
    let enter = format!("nsenter --net={}", world.host.namespace().path().display());
    ensure!(daemon.id() != 0, "the daemon has a number");
    println!("\nIn another terminal, as root:\n");
    println!("  alias mif='{enter} {}'", mif.join(" "));
    println!("  mif status; mif pvd; mif watch; mif explain {}", SERVERS[1]);
    println!(
        "  mif exec --pvd {} --parent {} -- bash -c 'exec 3<>/dev/udp/{}/7; ss --udp --numeric'",
        ISP_B.name,
        applications.path().display(),
        SERVERS[0]
    );
    println!(
        "  {enter} bash                  # the host; `echo $$ > {}/cgroup.procs` puts the shell under mif",
        applications.path().display()
    );
    println!("  nsenter --net={} bash    # the internet", world.internet.namespace().path().display());
    println!("  tail -f {}/daemon.log", site.state_dir().display());
    println!("\nReady; the lab stays until Ctrl-C.");
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
