//! The far end: answers exchanges and takes streams, in a namespace of its own.

use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
};

use anyhow::{Context as _, Result};
use mif_core::family::Family;
use mif_tests::netns::Namespace;
use socket2::{Domain, Socket, Type};

use crate::{
    population,
    traffic::{EXCHANGE_PORT, MESSAGE, STREAM_PORT},
    worker,
};

/// Connections that may wait: the kernel's own bound (`net.core.somaxconn`).
const BACKLOG: i32 = 4096;

/// Octets read at once from a stream.
const CHUNK: usize = 128 * 1024;

/// Starts the servers in a namespace, IPv6 and IPv4; their threads end with the process.
pub fn start(namespace: &Namespace, cpu: usize) -> Result<()> {
    for family in Family::ALL {
        let listen = |port| namespace.run(|| listen(SocketAddr::new(population::destination(family), port)));
        let (exchanges, streams) = (listen(EXCHANGE_PORT)?, listen(STREAM_PORT)?);
        serve("exchanges", cpu, exchanges, exchange)?;
        serve("streams", cpu, streams, take)?;
    }
    Ok(())
}

fn listen(address: SocketAddr) -> Result<TcpListener> {
    let open = || {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok::<_, io::Error>(socket.into())
    };
    open().with_context(|| format!("listen at {address}"))
}

fn serve(
    name: &str,
    cpu: usize,
    listener: TcpListener,
    connection: impl Fn(TcpStream) -> io::Result<()> + Send + 'static,
) -> Result<()> {
    let serve = move || {
        if let Err(error) = worker::settle_on_cpu(cpu) {
            eprintln!("mif-bench: {error:#}");
        }
        loop {
            match listener.accept() {
                // What went wrong with a connection is missed by the client, where it counts.
                Ok((stream, _)) => drop(connection(stream)),
                Err(error) => eprintln!("mif-bench: accept: {error}"),
            }
        }
    };
    thread::Builder::new().name(format!("bench-{name}")).spawn(serve).context("start a thread")?;
    Ok(())
}

fn exchange(mut stream: TcpStream) -> io::Result<()> {
    let mut request = [0; MESSAGE.len()];
    stream.read_exact(&mut request)?;
    stream.write_all(&request)
}

fn take(mut stream: TcpStream) -> io::Result<()> {
    let mut room = vec![0; CHUNK];
    while stream.read(&mut room)? > 0 {}
    Ok(())
}
