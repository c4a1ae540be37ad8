//! Router Advertisements, Router Solicitations and Neighbor Discovery options: owned values, `parse` and `emit`. DHCPv6 is in
//! [`dhcpv6`].
//!
//! Any octets give a value or an error, never a panic, and never a value much larger than the octets. A broken message
//! is discarded as a whole ([`ParseError`], RFC 4861 §6.1.2); an option that is not well formed is ignored alone
//! ([`IgnoredOption`]); unknown options are kept. How many of a thing a host takes in is not decided here.
//!
//! `parse(emit(x)) == x` for every `x` that can be sent. Bits that mean nothing are not kept in either direction: those
//! of a prefix past its length, Prf of a header with lifetime 0, reserved ones. A value that the format cannot express,
//! or that every receiver would ignore, is an [`EmitError`].

mod captive_portal;
mod checksum;
pub mod dhcpv6;
mod dnssl;
mod encrypted_dns;
mod error;
mod header;
mod link_layer;
mod message;
mod mtu;
mod name;
mod ns;
mod octets;
mod option;
mod pref64;
mod preference;
mod prefix_information;
mod pvd;
mod ra;
mod rdnss;
mod route_information;
mod rs;
mod svc_params;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use dnssl::DnsSearchList;
pub use encrypted_dns::{EncryptedDns, EncryptedDnsEndpoint};
pub use error::{EmitError, IgnoredOption, OptionError, PacketError, ParseError};
pub use header::RaHeader;
pub use message::{
    ALL_NODES, ALL_ROUTERS, ChecksumMode, HOP_LIMIT, MESSAGE_MAX, PacketMeta, ROUTER_ADVERTISEMENT,
    ROUTER_SOLICITATION,
};
pub use name::{DomainName, LABEL_MAX, NAME_MAX, NameError};
pub use ns::NeighborSolicitation;
pub use option::{NdOption, OPTION_MAX, OptionList, UNIT, kind};
pub use pref64::Pref64;
pub use preference::RouterPreference;
pub use prefix_information::PrefixInformation;
pub use pvd::PvdOption;
pub use ra::{Parsed, RouterAdvertisement};
pub use rdnss::RecursiveDnsServers;
use rdnss::check_server;
pub use route_information::RouteInformation;
pub use rs::RouterSolicitation;
pub use svc_params::{ParameterError, key as svc_param_key};
