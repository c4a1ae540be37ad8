//! What the configuration says of the DHCPv6 client.

use std::collections::BTreeMap;

use mif_core::wire::dhcpv6::{DraftCodes, code};
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use toml::Spanned;

use super::file::Mistake;

/// The longest prefix that may be wished for: a subnet (RFC 4291 §2.5.4).
const PREFIX_MAX: u8 = 64;

/// Numbers below this are IANA's to give, and nearly all of them are given (Dynamic Host Configuration Protocol for IPv6,
/// Option Codes). One of those for an option of a draft would spoil what it is meant for.
const UNASSIGNED: u16 = 160;

/// When the client of a link asks, and what for.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dhcpv6 {
    /// What the routers of the link ask hosts to (the M and O flags), unless somebody else is the client there.
    #[default]
    Auto,
    /// Configuration without leases, whatever routers say.
    Information,
    /// Leases too, whatever routers say.
    Stateful,
    /// Never.
    Off,
}

/// How the client of one interface asks.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct InterfaceDhcpv6 {
    /// In the place of what is said for the host.
    pub mode: Option<Dhcpv6>,
    /// A prefix for what is behind the host, of this length; 0: of any.
    pub prefix: Option<u8>,
    /// Two messages instead of four.
    pub rapid_commit: bool,
    /// The link is trusted to say which resolver knows which names (RFC 6731 §4.5).
    pub rdnss_selection: bool,
}

/// [`Dhcpv6`], through a string as all such words here.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Dhcpv6Name(pub(super) Dhcpv6);

impl TryFrom<String> for Dhcpv6Name {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        Ok(Self(match name.as_str() {
            "auto" => Dhcpv6::Auto,
            "information" => Dhcpv6::Information,
            "stateful" => Dhcpv6::Stateful,
            "off" => Dhcpv6::Off,
            _ => {
                return Err(format!(
                    "`{name}` is not known here, expected `auto`, `information`, `stateful` or `off`"
                ));
            }
        }))
    }
}

/// The length of a prefix to wish for.
#[derive(Clone, Copy)]
pub(super) struct PrefixLength(pub(super) u8);

impl<'de> Deserialize<'de> for PrefixLength {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let length = i64::deserialize(deserializer)?;
        u8::try_from(length).ok().filter(|length| *length <= PREFIX_MAX).map(Self).ok_or_else(|| {
            D::Error::custom(format!("{length} is out of range, expected 0 to {PREFIX_MAX}; 0: any length"))
        })
    }
}

/// The numbers of options that have none.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileOptions {
    next_hop: Option<Spanned<i64>>,
    route_prefix: Option<Spanned<i64>>,
    pvd: Option<Spanned<i64>>,
    pvd_identity: Option<Spanned<i64>>,
    pvd_signature: Option<Spanned<i64>>,
}

impl FileOptions {
    /// The numbers, each fit for an option and no two the same.
    pub(super) fn check(self) -> Result<DraftCodes, Mistake> {
        let mut taken: BTreeMap<u16, &str> = BTreeMap::new();
        let mut number = |name, given: Option<Spanned<i64>>| {
            let Some(given) = given else { return Ok(None) };
            let value = *given.as_ref();
            let wrong = |message| Mistake { at: given.span(), message };
            let Some(code) = u16::try_from(value).ok().filter(|code| *code >= UNASSIGNED) else {
                return Err(wrong(format!(
                    "{value} is no number for this option, expected {UNASSIGNED} to 65535: those below are IANA's for others (such as {} for the addresses of DNS servers)",
                    code::DNS_SERVERS
                )));
            };
            match taken.insert(code, name) {
                Some(other) => {
                    Err(wrong(format!("{code} is the number of {other} already, expected another one")))
                }
                None => Ok(Some(code)),
            }
        };
        let with_identity = self.pvd.as_ref().map(Spanned::span);
        let codes = DraftCodes {
            next_hop: number("next_hop", self.next_hop)?,
            route_prefix: number("route_prefix", self.route_prefix)?,
            pvd: number("pvd", self.pvd)?,
            pvd_identity: number("pvd_identity", self.pvd_identity)?,
            pvd_signature: number("pvd_signature", self.pvd_signature)?,
        };
        match with_identity {
            // A container must name its PvD, so nothing would ever come of it.
            Some(at) if codes.pvd_identity.is_none() => {
                Err(Mistake { at, message: "pvd without pvd_identity, expected both".into() })
            }
            _ => Ok(codes),
        }
    }
}
