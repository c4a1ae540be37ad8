//! Selection: which source, interface and next hop for a destination.

pub mod policy_table;
pub mod prefix;
pub mod rfc6724;
pub mod tables;
pub mod world;
