//! Selection: which source, interface and next hop for a destination.
//!
//! * [`world`]: what selection looks at.
//! * [`policy_table`], [`rfc6724`]: the table and the rules of RFC 6724.
//! * [`destination`]: in which order to try destinations (RFC 6724 §6).
//! * [`candidate`]: pairs of route and source, and the criteria that choose among them.
//! * [`literal`]: the procedure for one destination, with its reasons.
//! * [`mod@compile`]: the tables of all destinations at once; [`mod@diff`]: from one set of tables to the next.
//! * [`tables`]: the tables and the trait of their stores; [`fake`]: a store for tests; [`host`]: the hooks' view of
//!   the tables, on the host.

pub mod candidate;
pub mod compile;
pub mod destination;
pub mod diff;
pub mod fake;
pub mod host;
pub mod literal;
pub mod policy_table;
pub mod prefix;
pub mod rfc6724;
pub mod tables;
pub mod world;

#[cfg(test)]
mod candidate_sets;
mod longest_match;
pub(crate) mod owners;
#[cfg(test)]
mod testing;

pub use compile::{Compiler, Touched, Update, compile};
pub use diff::diff;
