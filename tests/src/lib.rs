//! The lab: a host with several uplinks, its routers and an internet, in namespaces of this process.
//!
//! ```text
//!            +- isp-a [lan ISP_A wan] -+
//!     host --+                         +-- internet: echo servers that remember sources
//!            +- isp-b [lan ISP_B wan] -+
//! ```
//!
//! Start at [`world::World`], which builds all of this, and [`matrix::run`], which sends every kind of flow through it:
//!
//! ```no_run
//! use mif_tests::{flow::{Flow, Kind}, internet::{SERVERS, at_echo}, isp::ISP_B, router::Daemon, world::World};
//!
//! # fn main() -> anyhow::Result<()> {
//! let mut world = World::two_uplinks(Daemon::Radvd)?;
//! let source = world.source(&ISP_B)?;
//! let report = world.host.place(None).open(&Flow::new(Kind::Tcp, at_echo(SERVERS[0])).from(source))?;
//! println!("arrived: {}, filtered on the way: {}", report.arrived, world.foreign()?.len());
//! world.router(&ISP_B).withdraw()?;
//! world.host.wait_for_default_router(ISP_B.link_local(), false)?;
//! # Ok(())
//! # }
//! ```
//!
//! Tests run in parallel and on any machine: nothing has a name that others could have too, all addresses are of
//! prefixes for documentation and benchmarks and inside, and [`footprint`] says how nothing is left behind.

pub mod application;
pub mod attack;
pub mod before;
pub mod bpffs;
pub mod cgroup;
mod datagram;
pub mod deadline;
pub mod dhcp_server;
pub mod echo;
pub mod enforced;
pub mod events;
mod exchange;
pub mod family;
pub mod flow;
pub mod footprint;
pub mod handed;
pub mod host;
pub mod internet;
pub mod isp;
pub mod matrix;
pub mod mif;
pub mod need;
pub mod netns;
pub mod packet;
pub mod peer;
pub mod probe;
pub mod process;
pub mod ra_sender;
pub mod ra_watch;
pub mod radvd;
pub mod random;
pub mod router;
pub mod script;
pub mod state;
pub mod storm;
pub mod tap;
pub mod ways;
mod worker;
pub mod world;
