//! An application of the lab: opens one flow or serves echo, and reports in JSON.

use std::{
    io::{self, Read as _},
    net::SocketAddr,
};

use anyhow::Result;
use clap::Parser;
use mif_tests::{
    attack::{self, Aim},
    echo::EchoServer,
    flow::Flow,
    handed::Hand,
    probe::Probe,
    script::Script,
    storm,
};

/// An application of the lab
#[derive(Parser)]
enum Command {
    /// Open a flow and report what became of it
    Open(Flow),
    /// Open the flow again and again until standard input ends, and report what became of them for each line of it
    Storm(Flow),
    /// Try UDP sockets to destinations and report what they are bound to
    Probe(Probe),
    /// Do what a script says with a socket, and report what became of it
    Script {
        /// The socket is another process's
        #[arg(long)]
        hand: Option<Hand>,
        /// `ipv4` or `ipv6`, the protocol, and the calls
        #[arg(required = true)]
        words: Vec<String>,
    },
    /// Try to send by a forbidden provider until standard input ends, and report one pass for each line of it
    Attack(Aim),
    /// Serve echo on TCP and UDP until standard input ends
    Serve {
        /// What to serve: `[2001:db8::1]:7`, `203.0.113.1:7`, `0.0.0.0:7` for all IPv4 addresses, `[::]:7` for all addresses
        #[arg(required = true)]
        addresses: Vec<SocketAddr>,
    },
}

fn main() -> Result<()> {
    match Command::parse() {
        Command::Open(flow) => flow.run(io::stdout())?,
        Command::Storm(flow) => storm::run(&flow, io::stdout())?,
        Command::Probe(probe) => println!("{}", serde_json::to_string(&probe.run())?),
        Command::Script { hand, words } => {
            let socket = hand.map(Hand::take).transpose()?;
            Script::parse(&words)?.run(socket, io::stdout())?;
        }
        Command::Attack(aim) => attack::run(&aim, io::stdout())?,
        Command::Serve { addresses } => {
            let _server = EchoServer::here(&addresses)?;
            println!("ready");
            io::stdin().read_to_end(&mut Vec::new())?;
        }
    }
    Ok(())
}
