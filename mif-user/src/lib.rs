//! Sockets, netlink, maps, pins, the daemon and the CLI of `mif`: moves data in and out of `mif-core`.

pub mod cli;
pub mod clock;
pub mod config;
pub mod control;
pub mod daemon;
mod fd;
pub mod files;
pub mod kernel;
pub mod lock;
mod memory;
pub mod mode;
pub mod net;
pub mod pattern;
pub mod policy;
pub mod state;
