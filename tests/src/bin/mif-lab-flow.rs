//! An application of the lab: opens one flow or serves echo, and reports in JSON.

use std::{
    io::{self, Read as _},
    net::SocketAddrV6,
};

use anyhow::Result;
use clap::Parser;
use mif_tests::{echo::EchoServer, flow::Flow, storm};

/// An application of the lab
#[derive(Parser)]
enum Command {
    /// Open a flow and report what became of it
    Open(Flow),
    /// Open the flow again and again until standard input ends, and report what became of them for each line of it
    Storm(Flow),
    /// Serve echo on TCP and UDP until standard input ends
    Serve {
        /// What to serve: `[2001:db8::1]:7`, or `[::]:7` for all addresses
        #[arg(required = true)]
        addresses: Vec<SocketAddrV6>,
    },
}

fn main() -> Result<()> {
    match Command::parse() {
        Command::Open(flow) => flow.run(io::stdout())?,
        Command::Storm(flow) => storm::run(&flow, io::stdout())?,
        Command::Serve { addresses } => {
            let _server = EchoServer::here(&addresses)?;
            println!("ready");
            io::stdin().read_to_end(&mut Vec::new())?;
        }
    }
    Ok(())
}
