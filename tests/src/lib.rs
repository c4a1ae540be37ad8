//! The lab: a host with several uplinks, its routers and an internet, in namespaces of this process.
