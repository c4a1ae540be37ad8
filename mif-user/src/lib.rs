//! Sockets, netlink, maps, pins, the daemon and the CLI of `mif`: moves data in and out of `mif-core`.

pub mod clock;
pub mod config;
mod fd;
pub mod net;
