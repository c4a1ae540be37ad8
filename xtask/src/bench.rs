//! `cargo xtask bench`: what `mif` costs, beside the bare kernel and other ways of choosing a provider.

use anyhow::Result;

use crate::{
    setup::{self, Need},
    sh,
    workspace::Workspace,
};

/// What to measure.
#[derive(clap::Args)]
#[command(
    after_help = "Everything is set up in network namespaces and a cgroup of its own and gone afterwards, also after \
Ctrl-C. The figures and the chart go to target/bench; docs/benchmarks.md says how each figure comes to \
be. A machine with nothing else to do gives the steadiest figures. Where a goal is missed or not shown, \
perf tells where the time goes, if it is installed.

Examples:
  cargo xtask bench                         all of it, some ten minutes
  cargo xtask bench --quick                 a minute or two, with more noise
  cargo xtask bench --only egress,control
  cargo xtask bench --profile connect       nothing is measured; for perf to look at"
)]
pub struct Args {
    /// Fewer PvDs, fewer and shorter rounds
    #[arg(long)]
    quick: bool,
    /// Only these parts: sockets (connections, datagrams, throughput, the hooks' run time), egress (tc, packet by packet),
    /// control (from events to the maps), daemon (memory, wake-ups), dhcpv6 (a thousand clients at rest, and an answer)
    #[arg(long, value_name = "PART,...")]
    only: Option<String>,
    /// Put figures and chart into docs/ as well
    #[arg(long)]
    docs: bool,
    /// Do this work for 20 s with the hooks on: connect, exchange, send or stream
    #[arg(long, value_name = "WORK")]
    profile: Option<String>,
    /// With --profile: on IPv4 sockets
    #[arg(long, requires = "profile")]
    ipv4: bool,
    /// With --profile: so many PvDs (default: 1000)
    #[arg(long, requires = "profile", value_name = "NUMBER")]
    pvds: Option<u32>,
}

/// Builds optimised, then becomes the benchmark program.
pub fn task(workspace: &Workspace, args: &Args) -> Result<()> {
    setup::ensure(workspace, &[Need::Lab])?;
    let [bench, _mif] = workspace.build_release(["mif-bench", "mif"])?;
    let mut command = workspace.as_root(bench)?;
    command.arg("--out").arg(workspace.target.join("bench"));
    if args.quick {
        command.arg("--quick");
    }
    if args.ipv4 {
        command.arg("--ipv4");
    }
    if args.docs {
        command.arg("--docs").arg(workspace.root.join("docs"));
    }
    if let Some(pvds) = args.pvds {
        command.args(["--pvds", &pvds.to_string()]);
    }
    for (option, value) in [("--only", &args.only), ("--profile", &args.profile)] {
        if let Some(value) = value {
            command.arg(option).arg(value);
        }
    }
    sh::exec(&mut command, "build it again with `cargo xtask build --release`")
}
