//! Provisioning domains (RFC 7556) from events: [`PvdSet`] is told what happens and says which PvDs there are.
//!
//! * [`event`]: what can happen.
//! * [`set`]: the machine, `apply(event, now)` and `expire(now)`; [`change`]: what it answers.
//! * [`key`]: what makes a PvD itself, and how people name it; [`selector`]: how views pick PvDs.
//! * [`snapshot`]: everything known, for people and programs; [`world`]: what selection needs of it.
//! * `dhcpv6`: what DHCPv6 gave, and to which PvDs it belongs.
//! * [`limits`]: every cap, with its reason, and the counters of what was refused.
//! * [`lifetime`]: the two-hour rule of RFC 4862.
//!
//! The kernel (or networkd, or NetworkManager) configures addresses and routes; nothing here competes with it. Router
//! Advertisements say who is behind them, the kernel says what exists, and who owns an address is derived from both
//! whenever somebody asks, never from the order in which things arrived.

mod addresses;
pub mod change;
mod dhcpv6;
pub mod event;
mod fact;
pub mod find;
mod index;
mod ipv4;
mod kernel;
pub mod key;
mod learnt;
pub mod lifetime;
pub mod limits;
mod link;
mod ownership;
mod prefix;
mod ra;
mod refresh;
mod routes;
pub mod selector;
pub mod set;
mod settle;
pub mod snapshot;
mod timers;
pub mod world;

#[cfg(test)]
mod laws;
#[cfg(test)]
mod testing;

pub use change::{Change, What};
pub use event::Event;
pub use fact::{Fact, SaidBy};
pub use find::FindError;
pub use key::{PvdKey, PvdName};
pub use learnt::{EncryptedResolver, PvdFlags, Router};
pub use limits::{Limits, Refused, RefusedReason};
pub use prefix::Prefix;
pub use selector::{Groups, Selector};
pub use set::PvdSet;
pub use snapshot::PvdSnapshot;
pub use world::Preferences;
