//! The I/O halves of the daemon: each task reads one socket and sends typed messages to the one task that owns the
//! state. Nothing is decided here.
//!
//! * [`ra`]: Router Advertisements in, Router Solicitations out, on a raw ICMPv6 socket.
//! * [`arp`]: asks all on a link for a router.
//! * [`ask`]: one question to rtnetlink and its answer; [`lookup`]: the kernel's own choice of route and source.
//! * [`configure`]: the addresses and routes that `mif` itself puts into the kernel.
//! * [`dhcpv6`]: DHCPv6 messages in and out, link by link.
//! * [`neighbour`]: asks the kernel to resolve the routers that the tables name, and about those that are dead.
//! * [`netlink`]: links, addresses, routes, neighbours and policy rules from rtnetlink.

use mif_core::{nud::Neighbour, pvd::event::Event};

pub mod arp;
pub mod ask;
pub mod configure;
pub mod dhcpv6;
pub mod lookup;
pub mod neighbour;
pub mod netlink;
pub mod ra;
pub mod tunnels;

/// `rtm_protocol` and `FRA_PROTOCOL` of what `mif` itself puts into the kernel, so that it can tell its own routes and
/// remove them. In the range that iproute2's `rt_protos` leaves free for local use; no daemon is known to use it.
pub const ROUTE_PROTOCOL_MIF: u8 = 201;

/// `IFA_PROTO` of the addresses that `mif` leased, for the same. The kernel's own numbers end at 3 (linux/if_addr.h).
pub const ADDRESS_PROTOCOL_MIF: u8 = ROUTE_PROTOCOL_MIF;

/// Messages that wait for the owner. A full channel stops the reading; the sockets' own buffers, which are larger and
/// count what they lose, take over then.
pub const CHANNEL_MESSAGES: usize = 1024;

/// Datagrams read from one socket before other tasks get their turn: a flood on one link must not keep the owner from
/// its timers.
const DATAGRAMS_PER_WAKEUP: usize = 32;

/// What an I/O task tells the owner.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Message {
    /// From the kernel's own configuration.
    Event(Event),
    /// What the kernel says of a router. What [`Event::Neighbour`] says is made of this, see [`mif_core::nud`].
    Neighbour(Neighbour),
    /// All policy rules that are neither the kernel's defaults nor of `mif`, whenever they changed, and once after the
    /// first dump. Empty: nobody else routes by policy.
    ForeignRules(Vec<netlink::RuleInfo>),
    /// An ICMPv6 message of type 134, not yet validated.
    RouterAdvertisement(ra::RaMessage),
    /// A datagram to the DHCPv6 client of a link, not yet validated.
    Dhcpv6(dhcpv6::Dhcpv6Message),
    /// Input was lost; see each kind for what that means.
    Lost(Loss),
}

/// Input that was lost, for the counters.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Loss {
    /// The kernel dropped that many advertisements at the raw socket: their checksum was wrong, or its buffer full. One
    /// count (`sk_drops`) has both. Routers repeat what was good.
    RouterAdvertisements(u32),
    /// The netlink socket's buffer overflowed. A new dump follows, which repairs it.
    NetlinkOverrun,
    /// A netlink message could not be read and was left out: a kernel newer than this program, most likely.
    NetlinkUnreadable,
}
