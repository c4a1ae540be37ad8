//! The DHCPv6 client (RFC 8415 §18.2, RFC 9915): bytes, `now` and random numbers in; bytes, deadlines and a [`Configuration`]
//! out. One [`Client`] for each link.
//!
//! * [`client`]: the state machine: what is under way and what follows.
//! * [`request`]: what the messages of a client say (§18.2.1 to §18.2.8, §21.7).
//! * [`answer`]: which answers count (§16), and why others do not.
//! * [`lease`]: what is leased, and until when (§14.2, §18.2.10.1).
//! * [`reconfigure`]: who may make the client ask (§18.2.11).
//! * [`timing`]: the table of §7.6 and the limit on what is sent (§14.1).

pub mod answer;
pub mod client;
pub mod lease;
pub mod reconfigure;
pub mod request;
pub mod timing;

pub use answer::Discarded;
pub use client::{Client, Configuration, Mode, Settings};
pub use lease::{HeldLease, Leases};

#[cfg(test)]
mod tests;
