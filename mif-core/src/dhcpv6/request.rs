//! What a client's messages say (RFC 8415 §18.2.1 to §18.2.8).

use core::time::Duration;

use super::{
    client::Settings,
    lease::{HeldLease, Leases},
};
use crate::wire::dhcpv6::{
    DhcpOption, IdentityAssociation, Lease, Message, MessageType, TransactionId, code,
};

/// What every client of this project wants to know: DNS (RFC 3646), NTP (RFC 5908, and RFC 4075 for servers that are older), the address selection policy (RFC 7078), the
/// captive portal (RFC 8910) and encrypted resolvers (RFC 9463).
pub const OPTION_REQUEST: [u16; 7] = [
    code::DNS_SERVERS,
    code::DOMAIN_SEARCH_LIST,
    code::SNTP_SERVERS,
    code::NTP_SERVER,
    code::ADDRESS_SELECTION,
    code::CAPTIVE_PORTAL,
    code::ENCRYPTED_DNS,
];

/// One message to be.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Which.
    pub kind: MessageType,
    /// Its number.
    pub transaction_id: TransactionId,
    /// Since the first of this exchange was sent.
    pub elapsed: Duration,
    /// The server that it is for.
    pub server: Option<&'a [u8]>,
    /// What is held, offered or given up: the subject of all but Solicit and Information-request.
    pub leases: &'a [HeldLease],
}

/// The message.
#[must_use]
pub fn message(request: &Request<'_>, settings: &Settings, client_id: &[u8]) -> Message {
    let kind = request.kind;
    let mut options = vec![DhcpOption::ClientId(client_id.into())];
    // MUST NOT in Solicit, Confirm and Rebind (§16): any server may answer those.
    options.extend(request.server.map(|server| DhcpOption::ServerId(server.into())));
    if kind != MessageType::InformationRequest {
        options.extend(associations(request, settings));
    }
    options.push(DhcpOption::ElapsedTime(hundredths(request.elapsed)));
    let asks = !matches!(kind, MessageType::Confirm | MessageType::Release | MessageType::Decline);
    if asks {
        options.push(DhcpOption::OptionRequest(option_request(kind, settings)));
    }
    if asks {
        // §21.20: the server may then send a key, and with it Reconfigure messages.
        options.push(DhcpOption::ReconfigureAccept);
    }
    if kind == MessageType::Solicit && settings.rapid_commit {
        options.push(DhcpOption::RapidCommit);
    }
    Message { kind, transaction_id: request.transaction_id, options }
}

/// §21.9: hundredths of a second, no more than two octets hold.
fn hundredths(elapsed: Duration) -> u16 {
    u16::try_from(elapsed.as_millis() / 10).unwrap_or(u16::MAX)
}

/// §21.7, §21.23, §21.24: what is asked for in this message, in ascending order.
fn option_request(kind: MessageType, settings: &Settings) -> Vec<u16> {
    let of_kind: &[u16] = match kind {
        MessageType::InformationRequest => &[code::INFORMATION_REFRESH_TIME, code::INF_MAX_RT],
        _ => &[code::SOL_MAX_RT],
    };
    let codes = &settings.codes;
    let drafts = [codes.next_hop, codes.route_prefix, codes.pvd].into_iter().flatten();
    let rdnss_selection = settings.rdnss_selection.then_some(code::RDNSS_SELECTION);
    let mut wanted: Vec<u16> =
        OPTION_REQUEST.iter().chain(of_kind).copied().chain(rdnss_selection).chain(drafts).collect();
    wanted.sort_unstable();
    wanted
}

/// The associations with what they are about. In what extends or takes an offer also those without a lease: a server that had
/// nothing before may have something now (§18.2.4).
fn associations(request: &Request<'_>, settings: &Settings) -> impl Iterator<Item = DhcpOption> {
    let gives_up = matches!(request.kind, MessageType::Confirm | MessageType::Release | MessageType::Decline);
    let of = |addresses: bool| {
        let leases = request.leases.iter().filter(|lease| lease.address().is_some() == addresses);
        // T1, T2 and lifetimes SHOULD be 0: servers ignore them (§21.4, §21.6).
        leases.map(|lease| asked(lease.prefix)).collect::<Vec<_>>()
    };
    let association = |leases| IdentityAssociation { iaid: settings.iaid, leases, ..Default::default() };
    let (addresses, mut prefixes) = (of(true), of(false));
    let wants_addresses = settings.addresses && !gives_up || !addresses.is_empty();
    // §18.2.8: no IA_PD in a Decline; a Confirm is about addresses (§18.2.3).
    let about_addresses = matches!(request.kind, MessageType::Confirm | MessageType::Decline);
    let wants_prefixes = settings.prefix.is_some() && !gives_up || !prefixes.is_empty();
    if prefixes.is_empty() && request.kind == MessageType::Solicit {
        // §18.2.4: `::` and a length is a wish for that length.
        prefixes.extend(
            settings.prefix.filter(|length| *length > 0).and_then(|length| {
                ipnet::Ipv6Net::new(std::net::Ipv6Addr::UNSPECIFIED, length).ok().map(asked)
            }),
        );
    }
    let addresses = wants_addresses.then(|| DhcpOption::IaNa(association(addresses)));
    let prefixes = (wants_prefixes && !about_addresses).then(|| DhcpOption::IaPd(association(prefixes)));
    addresses.into_iter().chain(prefixes)
}

const fn asked(prefix: ipnet::Ipv6Net) -> Lease {
    Lease { prefix, preferred_lifetime: 0, valid_lifetime: 0, status: None }
}

/// What is held, as the subject of a message.
#[must_use]
pub fn held(leases: &Leases) -> Vec<HeldLease> {
    leases.iter().copied().collect()
}
