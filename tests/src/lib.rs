//! The lab: a host with several uplinks, its routers and an internet, in namespaces of this process.

pub mod application;
pub mod bpffs;
pub mod cgroup;
pub mod deadline;
pub mod echo;
pub mod enforced;
pub mod events;
pub mod flow;
pub mod footprint;
pub mod host;
pub mod internet;
pub mod isp;
pub mod matrix;
pub mod mif;
pub mod need;
pub mod netns;
pub mod packet;
pub mod peer;
pub mod process;
pub mod ra_sender;
pub mod ra_watch;
pub mod radvd;
pub mod router;
pub mod tap;
pub mod world;
