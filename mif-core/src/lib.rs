//! The protocol brain of `mif`: bytes and events in, values out. `now` is an argument; there is no socket, no clock,
//! no file and no async in here.
//!
//! * [`dhcpv6`]: the DHCPv6 client.
//! * [`family`]: IPv4 and IPv6 in one space.
//! * [`nud`]: next hops that do not answer.
//! * [`wire`]: Router Advertisements and DHCPv6 with their options.
//! * [`pvd`]: provisioning domains from events ([`pvd::PvdSet`]).
//! * [`retransmission`]: RFC 8415 §15.
//! * [`select`]: RFC 6724 and RFC 4191 over PvDs, compiled into the kernel's tables.
//! * [`solicit`]: when to send Router Solicitations.
//! * [`time`]: instants and deadlines.

pub mod dhcpv6;
pub mod family;
pub mod nud;
mod packed;
pub mod pvd;
pub mod retransmission;
pub mod select;
pub mod solicit;
pub mod time;
pub mod wire;
