//! The I/O tasks on a real kernel. Each test makes a network namespace of its own in a thread of its own. They need root
//! (CAP_SYS_ADMIN, CAP_NET_ADMIN, CAP_NET_RAW), veth and iproute2, and fail without them.

mod namespace;
mod neighbour;
mod netlink;
mod ra;
mod watch;
