//! Builds the two-uplink world, shows what the kernel alone makes of it, and on request keeps it for a look around.

use std::io::{self, IsTerminal as _, Read as _};

use anyhow::Result;
use clap::Parser;
use mif_tests::{cgroup::Cgroup, footprint::Footprint, matrix, router::Daemon, world::World};

/// A host with two uplinks, in namespaces of this process
#[derive(Parser)]
struct Args {
    /// Keep the lab until standard input ends
    #[arg(long)]
    hold: bool,
    /// Let real radvd speak for the routers
    #[arg(long)]
    radvd: bool,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let daemon = if args.radvd { Daemon::Radvd } else { Daemon::Embedded };
    let world = World::two_uplinks(daemon)?;
    let cgroup = Cgroup::new("applications")?;
    println!("With the kernel alone:\n{}", matrix::run(&world, Some(&cgroup))?);
    if args.hold || io::stdin().is_terminal() {
        let _server = world.host.place(&cgroup).serve(&["[::]:7".parse()?])?;
        println!("The host:      nsenter --net={} bash", world.host.namespace().path().display());
        println!("The internet:  nsenter --net={} bash", world.internet.namespace().path().display());
        println!("The cgroup:    {}", cgroup.path().display());
        println!("The files:     {}", Footprint::get()?.files().display());
        println!("Ready; the lab goes with Ctrl-C.");
        io::stdin().read_to_end(&mut Vec::new())?;
    }
    Ok(())
}
