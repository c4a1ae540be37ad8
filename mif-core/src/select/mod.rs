//! Selection: which source, interface and next hop for a destination.

pub mod tables;
pub mod world;
