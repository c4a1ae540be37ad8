//! Sockets, netlink, maps, pins, the daemon and the CLI of `mif`: moves data in and out of `mif-core`.

pub mod control;
pub mod files;
pub mod kernel;
pub mod mode;
pub mod policy;
pub mod state;
