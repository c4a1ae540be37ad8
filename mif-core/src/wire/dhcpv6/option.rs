//! The options of a message, and of a PvD container.

use std::{collections::BTreeSet, net::Ipv6Addr};

use serde::{Deserialize, Serialize};

use super::{
    AddressSelection, Authentication, EmitError, EncryptedResolver, IdentityAssociation, NextHop, NtpServer,
    OptionError, ParseError, PvdContainer, RdnssSelection, RoutePrefix, Status,
    identity_association::Kind,
    tlv::{self, Ignored, Tlv},
};
use crate::wire::{
    self, DomainName, captive_portal, check_server,
    octets::{addresses, u16_at, u32_at},
};

/// The numbers of options (IANA, DHCPv6 Option Codes).
pub mod code {
    /// RFC 8415 §21.2
    pub const CLIENT_ID: u16 = 1;
    /// RFC 8415 §21.3
    pub const SERVER_ID: u16 = 2;
    /// RFC 8415 §21.4
    pub const IA_NA: u16 = 3;
    /// RFC 8415 §21.6, in an IA_NA.
    pub const IA_ADDRESS: u16 = 5;
    /// RFC 8415 §21.7
    pub const OPTION_REQUEST: u16 = 6;
    /// RFC 8415 §21.8
    pub const PREFERENCE: u16 = 7;
    /// RFC 8415 §21.9
    pub const ELAPSED_TIME: u16 = 8;
    /// RFC 8415 §21.11
    pub const AUTHENTICATION: u16 = 11;
    /// RFC 8415 §21.13
    pub const STATUS_CODE: u16 = 13;
    /// RFC 8415 §21.14
    pub const RAPID_COMMIT: u16 = 14;
    /// RFC 8415 §21.19
    pub const RECONFIGURE_MESSAGE: u16 = 19;
    /// RFC 8415 §21.20
    pub const RECONFIGURE_ACCEPT: u16 = 20;
    /// RFC 3646 §3
    pub const DNS_SERVERS: u16 = 23;
    /// RFC 3646 §4
    pub const DOMAIN_SEARCH_LIST: u16 = 24;
    /// RFC 8415 §21.21
    pub const IA_PD: u16 = 25;
    /// RFC 8415 §21.22, in an IA_PD.
    pub const IA_PREFIX: u16 = 26;
    /// RFC 4075 §4, which NTP_SERVER has replaced (RFC 5908 §7).
    pub const SNTP_SERVERS: u16 = 31;
    /// RFC 8415 §21.23
    pub const INFORMATION_REFRESH_TIME: u16 = 32;
    /// RFC 5908 §4
    pub const NTP_SERVER: u16 = 56;
    /// RFC 6731 §4.2
    pub const RDNSS_SELECTION: u16 = 74;
    /// RFC 8415 §21.24
    pub const SOL_MAX_RT: u16 = 82;
    /// RFC 8415 §21.25
    pub const INF_MAX_RT: u16 = 83;
    /// RFC 7078 §2
    pub const ADDRESS_SELECTION: u16 = 84;
    /// RFC 7078 §2, in an Address Selection option.
    pub const POLICY_TABLE_ROW: u16 = 85;
    /// RFC 8910 §2.2
    pub const CAPTIVE_PORTAL: u16 = 103;
    /// RFC 9463 §4.1
    pub const ENCRYPTED_DNS: u16 = 144;
}

/// The numbers that IANA never gave to the options of the working group's drafts; `None`: unknown, as any other option.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Deserialize, Serialize)]
pub struct DraftCodes {
    /// OPTION_NEXT_HOP (draft-ietf-mif-dhcpv6-route-option).
    pub next_hop: Option<u16>,
    /// OPTION_RT_PREFIX (the same).
    pub route_prefix: Option<u16>,
    /// OPTION_PVD (draft-ietf-mif-mpvd-dhcp-support).
    pub pvd: Option<u16>,
    /// OPTION_PVD_ID (the same).
    pub pvd_identity: Option<u16>,
    /// OPTION_PVD_AUTH (the same).
    pub pvd_signature: Option<u16>,
}

/// An option.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DhcpOption {
    /// The client's DUID (RFC 8415 §11): opaque.
    ClientId(Vec<u8>),
    /// The server's DUID.
    ServerId(Vec<u8>),
    /// Addresses.
    IaNa(IdentityAssociation),
    /// Delegated prefixes.
    IaPd(IdentityAssociation),
    /// The options that a client wants.
    OptionRequest(Vec<u16>),
    /// How much a server wants to be chosen; absent is 0.
    Preference(u8),
    /// Hundredths of a second since the exchange began, at most 0xffff.
    ElapsedTime(u16),
    /// Proof of who sent the message, or the key for it.
    Authentication(Authentication),
    /// The server's word on the message.
    StatusCode(Status),
    /// Two messages instead of four.
    RapidCommit,
    /// The type of message that a server asks for.
    ReconfigureMessage(u8),
    /// The client takes Reconfigure messages.
    ReconfigureAccept,
    /// At least one, in the order of preference.
    DnsServers(Vec<Ipv6Addr>),
    /// At least one, in the order of use.
    DomainSearchList(Vec<DomainName>),
    /// At least one time source, in the order of preference.
    SntpServers(Vec<Ipv6Addr>),
    /// Seconds, `u32::MAX` for ever.
    InformationRefreshTime(u32),
    /// A time source.
    NtpServer(NtpServer),
    /// A resolver and what it knows.
    RdnssSelection(RdnssSelection),
    /// Seconds: a new SOL_MAX_RT.
    SolMaxRt(u32),
    /// Seconds: a new INF_MAX_RT.
    InfMaxRt(u32),
    /// A policy table.
    AddressSelection(AddressSelection),
    /// The URI of the captive portal API.
    CaptivePortal(String),
    /// An encrypted resolver.
    EncryptedDns(EncryptedResolver),
    /// A router and what it leads to.
    NextHop(NextHop),
    /// An on-link prefix.
    RoutePrefix(RoutePrefix),
    /// The options of a PvD.
    Pvd(PvdContainer),
    /// Kept as it came.
    Unknown {
        /// Its code.
        code: u16,
        /// Its data.
        data: Vec<u8>,
    },
}

/// The options of which there is one, as far as they have come.
#[derive(Debug, Default)]
pub(super) struct Seen(BTreeSet<u16>);

/// Options that may come several times: RFC 8415 §21 for associations, and the RFC of each other one.
const SEVERAL: [u16; 6] = [
    code::IA_NA,
    code::IA_PD,
    code::NTP_SERVER,
    code::RDNSS_SELECTION,
    code::ENCRYPTED_DNS,
    // Vendor options come once for each enterprise; nothing here reads them.
    17,
];

impl Seen {
    /// Whether the option is the second one of which there is one.
    fn again(&mut self, option: u16, codes: &DraftCodes) -> bool {
        let of_drafts = [codes.next_hop, codes.route_prefix, codes.pvd];
        !SEVERAL.contains(&option) && !of_drafts.contains(&Some(option)) && !self.0.insert(option)
    }
}

/// The options of a message.
pub(super) fn parse_list(
    octets: &[u8],
    offset: usize,
    codes: &DraftCodes,
    ignored: &mut Ignored,
) -> Result<Vec<DhcpOption>, ParseError> {
    let mut seen = Seen::default();
    let mut options = Vec::new();
    for option in tlv::split(octets, offset)? {
        if codes.pvd == Some(option.code) {
            options.extend(PvdContainer::parse(&option, codes, ignored)?.map(DhcpOption::Pvd));
        } else {
            options.extend(parse(&option, codes, &mut seen, ignored)?);
        }
    }
    Ok(options)
}

/// One option that is no container. `Ok(None)`: ignored.
pub(super) fn parse(
    at: &Tlv<'_>,
    codes: &DraftCodes,
    seen: &mut Seen,
    ignored: &mut Ignored,
) -> Result<Option<DhcpOption>, ParseError> {
    if seen.again(at.code, codes) {
        ignored.push(at, OptionError::Second);
        return Ok(None);
    }
    let nested = match at.code {
        code::IA_NA => IdentityAssociation::parse(at, Kind::Addresses, ignored)?.map(DhcpOption::IaNa),
        code::IA_PD => IdentityAssociation::parse(at, Kind::Prefixes, ignored)?.map(DhcpOption::IaPd),
        code::NTP_SERVER => NtpServer::parse(at, ignored)?.map(DhcpOption::NtpServer),
        code::ADDRESS_SELECTION => AddressSelection::parse(at, ignored)?.map(DhcpOption::AddressSelection),
        option if codes.next_hop == Some(option) => {
            NextHop::parse(at, codes, ignored)?.map(DhcpOption::NextHop)
        }
        _ => return Ok(ignored.unless(at, flat(at.code, at.data, codes))),
    };
    Ok(nested)
}

/// An option without options in it.
fn flat(code: u16, data: &[u8], codes: &DraftCodes) -> Result<DhcpOption, OptionError> {
    Ok(match code {
        code::CLIENT_ID => DhcpOption::ClientId(duid(data)?),
        code::SERVER_ID => DhcpOption::ServerId(duid(data)?),
        code::OPTION_REQUEST => {
            let (codes, []) = data.as_chunks() else {
                return Err(length(data, "a multiple of 2"));
            };
            DhcpOption::OptionRequest(codes.iter().map(|code| u16::from_be_bytes(*code)).collect())
        }
        code::PREFERENCE => DhcpOption::Preference(exactly::<1>(data, "1")?[0]),
        code::ELAPSED_TIME => DhcpOption::ElapsedTime(u16_at(exactly::<2>(data, "2")?, 0..2)),
        code::AUTHENTICATION => DhcpOption::Authentication(Authentication::parse(data)?),
        code::STATUS_CODE => DhcpOption::StatusCode(Status::parse(data)?),
        code::RAPID_COMMIT => exactly::<0>(data, "0").map(|_| DhcpOption::RapidCommit)?,
        code::RECONFIGURE_MESSAGE => DhcpOption::ReconfigureMessage(exactly::<1>(data, "1")?[0]),
        code::RECONFIGURE_ACCEPT => exactly::<0>(data, "0").map(|_| DhcpOption::ReconfigureAccept)?,
        code::DNS_SERVERS => DhcpOption::DnsServers(servers(data)?),
        code::DOMAIN_SEARCH_LIST => DhcpOption::DomainSearchList(names(data)?),
        code::SNTP_SERVERS => DhcpOption::SntpServers(servers(data)?),
        code::INFORMATION_REFRESH_TIME => DhcpOption::InformationRefreshTime(seconds(data)?),
        code::RDNSS_SELECTION => DhcpOption::RdnssSelection(RdnssSelection::parse(data)?),
        code::SOL_MAX_RT => DhcpOption::SolMaxRt(seconds(data)?),
        code::INF_MAX_RT => DhcpOption::InfMaxRt(seconds(data)?),
        code::CAPTIVE_PORTAL => DhcpOption::CaptivePortal(captive_portal::parse_uri(data)?),
        code::ENCRYPTED_DNS => DhcpOption::EncryptedDns(EncryptedResolver::parse(data)?),
        code::IA_ADDRESS => return Err(OptionError::Misplaced { expected: "in an IA_NA" }),
        code::IA_PREFIX => return Err(OptionError::Misplaced { expected: "in an IA_PD" }),
        code::POLICY_TABLE_ROW => {
            return Err(OptionError::Misplaced { expected: "in an Address Selection option" });
        }
        _ if codes.route_prefix == Some(code) => DhcpOption::RoutePrefix(RoutePrefix::parse(data)?),
        _ => DhcpOption::Unknown { code, data: data.into() },
    })
}

/// RFC 8415 §11.1: a type and at most 128 octets; nobody is told apart by nothing.
const DUID: std::ops::RangeInclusive<usize> = 3..=130;

fn duid(data: &[u8]) -> Result<Vec<u8>, OptionError> {
    if DUID.contains(&data.len()) { Ok(data.into()) } else { Err(length(data, "3 to 130")) }
}

fn length(data: &[u8], expected: &'static str) -> OptionError {
    OptionError::Length { octets: data.len(), expected }
}

fn exactly<'a, const N: usize>(data: &'a [u8], expected: &'static str) -> Result<&'a [u8; N], OptionError> {
    data.try_into().map_err(|_| length(data, expected))
}

fn seconds(data: &[u8]) -> Result<u32, OptionError> {
    Ok(u32_at(exactly::<4>(data, "4")?, 0..4))
}

/// Servers. One that cannot be a server's address is left out; nobody else's is spoilt by it.
fn servers(data: &[u8]) -> Result<Vec<Ipv6Addr>, OptionError> {
    if data.is_empty() || !data.len().is_multiple_of(16) {
        return Err(length(data, "a multiple of 16 above 0"));
    }
    let servers: Vec<_> = addresses(data).filter(|&address| check_server(address).is_ok()).collect();
    if servers.is_empty() {
        return Err(wire::OptionError::Empty { what: "server" }.into());
    }
    Ok(servers)
}

/// Names. One that is none spoils the option: what follows it cannot be told apart.
fn names(data: &[u8]) -> Result<Vec<DomainName>, OptionError> {
    let mut names = Vec::new();
    let mut rest = data;
    while !rest.is_empty() {
        let (name, taken) = DomainName::from_wire(rest)?;
        names.push(name);
        rest = &rest[taken..];
    }
    if names.is_empty() {
        return Err(wire::OptionError::Empty { what: "search domain" }.into());
    }
    Ok(names)
}

impl DhcpOption {
    /// Its code, `None` where it is a draft's and has none.
    #[must_use]
    pub const fn code(&self, codes: &DraftCodes) -> Option<u16> {
        Some(match self {
            Self::ClientId(_) => code::CLIENT_ID,
            Self::ServerId(_) => code::SERVER_ID,
            Self::IaNa(_) => code::IA_NA,
            Self::IaPd(_) => code::IA_PD,
            Self::OptionRequest(_) => code::OPTION_REQUEST,
            Self::Preference(_) => code::PREFERENCE,
            Self::ElapsedTime(_) => code::ELAPSED_TIME,
            Self::Authentication(_) => code::AUTHENTICATION,
            Self::StatusCode(_) => code::STATUS_CODE,
            Self::RapidCommit => code::RAPID_COMMIT,
            Self::ReconfigureMessage(_) => code::RECONFIGURE_MESSAGE,
            Self::ReconfigureAccept => code::RECONFIGURE_ACCEPT,
            Self::DnsServers(_) => code::DNS_SERVERS,
            Self::DomainSearchList(_) => code::DOMAIN_SEARCH_LIST,
            Self::SntpServers(_) => code::SNTP_SERVERS,
            Self::InformationRefreshTime(_) => code::INFORMATION_REFRESH_TIME,
            Self::NtpServer(_) => code::NTP_SERVER,
            Self::RdnssSelection(_) => code::RDNSS_SELECTION,
            Self::SolMaxRt(_) => code::SOL_MAX_RT,
            Self::InfMaxRt(_) => code::INF_MAX_RT,
            Self::AddressSelection(_) => code::ADDRESS_SELECTION,
            Self::CaptivePortal(_) => code::CAPTIVE_PORTAL,
            Self::EncryptedDns(_) => code::ENCRYPTED_DNS,
            Self::NextHop(_) => return codes.next_hop,
            Self::RoutePrefix(_) => return codes.route_prefix,
            Self::Pvd(_) => return codes.pvd,
            Self::Unknown { code, .. } => *code,
        })
    }

    /// Appends the option.
    pub(super) fn emit(&self, codes: &DraftCodes, out: &mut Vec<u8>) -> Result<(), EmitError> {
        let code = self.code(codes).ok_or(EmitError::NoCode { option: "an option of a draft" })?;
        tlv::put(out, code, |out| self.emit_data(codes, out))
    }

    fn emit_data(&self, codes: &DraftCodes, out: &mut Vec<u8>) -> Result<(), EmitError> {
        match self {
            Self::ClientId(data) | Self::ServerId(data) | Self::Unknown { data, .. } => {
                out.extend_from_slice(data)
            }
            Self::Authentication(authentication) => authentication.emit(out),
            Self::IaNa(association) => association.emit(Kind::Addresses, out)?,
            Self::IaPd(association) => association.emit(Kind::Prefixes, out)?,
            Self::OptionRequest(codes) => out.extend(codes.iter().flat_map(|code| code.to_be_bytes())),
            Self::Preference(octet) | Self::ReconfigureMessage(octet) => out.push(*octet),
            Self::ElapsedTime(hundredths) => out.extend_from_slice(&hundredths.to_be_bytes()),
            Self::StatusCode(status) => status.emit(out),
            Self::RapidCommit | Self::ReconfigureAccept => {}
            Self::DnsServers(servers) | Self::SntpServers(servers) => {
                out.extend(servers.iter().flat_map(Ipv6Addr::octets))
            }
            Self::DomainSearchList(names) => names.iter().for_each(|name| name.emit(out)),
            Self::InformationRefreshTime(seconds) | Self::SolMaxRt(seconds) | Self::InfMaxRt(seconds) => {
                out.extend_from_slice(&seconds.to_be_bytes());
            }
            Self::NtpServer(server) => server.emit(out)?,
            Self::RdnssSelection(selection) => selection.emit(out)?,
            Self::AddressSelection(selection) => selection.emit(out)?,
            Self::CaptivePortal(uri) => out.extend_from_slice(uri.as_bytes()),
            Self::EncryptedDns(resolver) => resolver.emit(out)?,
            Self::NextHop(next_hop) => next_hop.emit(codes, out)?,
            Self::RoutePrefix(route) => route.emit(out),
            Self::Pvd(container) => container.emit(codes, out)?,
        }
        Ok(())
    }
}
