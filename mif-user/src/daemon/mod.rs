//! The daemon: sockets and timers send messages to one task, which owns the PvDs and writes the maps.
//!
//! * [`owner`]: that task's state.
//! * [`journal`]: the Router Advertisements kept for the next start.
//! * [`server`]: the control socket.

pub mod journal;
pub mod owner;
pub mod server;
