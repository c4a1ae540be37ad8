//! The lab: a host with several uplinks, its routers and an internet, in namespaces of this process.

pub mod bpffs;
pub mod cgroup;
pub mod deadline;
pub mod events;
pub mod footprint;
pub mod mif;
pub mod need;
pub mod netns;
pub mod packet;
pub mod process;
pub mod ra_sender;
pub mod ra_watch;
pub mod radvd;
pub mod tap;
