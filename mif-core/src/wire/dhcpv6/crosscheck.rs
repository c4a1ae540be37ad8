//! A second reader: `dhcproto`, which shares no code with this one. What is sent here, it reads, and what it sends again, is read
//! here as what it was. Only well-formed messages: it panics on some others, which is why it reads nothing in `mif`.

use dhcproto::{Decodable as _, Decoder, Encodable as _, Encoder, v6};
use proptest::{collection::vec, prelude::*};

use super::*;
use crate::wire::DomainName;

fn status() -> impl Strategy<Value = Status> {
    (0..7_u16, "[a-z ]{0,20}").prop_map(|(code, message)| Status { code: code.into(), message })
}

fn lease(length: u8) -> impl Strategy<Value = Lease> {
    (any::<u128>(), any::<u32>(), any::<u32>(), prop::option::of(status())).prop_map(
        move |(bits, preferred_lifetime, valid_lifetime, status)| Lease {
            prefix: ipnet::Ipv6Net::new_assert(bits.into(), length).trunc(),
            preferred_lifetime,
            valid_lifetime,
            status,
        },
    )
}

fn association(length: u8) -> impl Strategy<Value = IdentityAssociation> {
    (any::<[u32; 3]>(), vec(lease(length), 0..3), prop::option::of(status()))
        .prop_map(|([iaid, t1, t2], leases, status)| IdentityAssociation { iaid, t1, t2, leases, status })
}

fn name() -> impl Strategy<Value = DomainName> {
    "[a-z]{1,9}(\\.[a-z]{1,9}){0,3}".prop_map(|text| text.parse().expect("labels of letters"))
}

/// Names that end differently: `dhcproto` writes an end that was there before as a pointer, which is forbidden (RFC 8415 §10).
fn search_list() -> impl Strategy<Value = Vec<DomainName>> {
    vec(name(), 1..4).prop_map(|names| {
        let named = |(name, end): (&DomainName, char)| format!("{name}.{end}").parse().expect("short labels");
        names.iter().zip('a'..).map(named).collect()
    })
}

fn servers() -> impl Strategy<Value = Vec<std::net::Ipv6Addr>> {
    vec((1..u128::from(u64::MAX)).prop_map(|bits| (0x2001_0db8_u128 << 96 | bits).into()), 1..4)
}

/// One of each, or none.
fn options() -> impl Strategy<Value = Vec<DhcpOption>> {
    let duid = || vec(any::<u8>(), 3..=130);
    let each: [BoxedStrategy<DhcpOption>; 14] = [
        duid().prop_map(DhcpOption::ClientId).boxed(),
        duid().prop_map(DhcpOption::ServerId).boxed(),
        association(128).prop_map(DhcpOption::IaNa).boxed(),
        association(56).prop_map(DhcpOption::IaPd).boxed(),
        vec(any::<u16>(), 0..9).prop_map(DhcpOption::OptionRequest).boxed(),
        any::<u8>().prop_map(DhcpOption::Preference).boxed(),
        any::<u16>().prop_map(DhcpOption::ElapsedTime).boxed(),
        status().prop_map(DhcpOption::StatusCode).boxed(),
        Just(DhcpOption::RapidCommit).boxed(),
        Just(DhcpOption::ReconfigureAccept).boxed(),
        servers().prop_map(DhcpOption::DnsServers).boxed(),
        search_list().prop_map(DhcpOption::DomainSearchList).boxed(),
        any::<u32>().prop_map(DhcpOption::InformationRefreshTime).boxed(),
        (any::<u64>(), any::<[u8; 16]>())
            .prop_map(|(counter, key)| {
                DhcpOption::Authentication(Authentication::of_rkap(counter, Rkap::Key(key)))
            })
            .boxed(),
    ];
    each.map(prop::option::of).to_vec().prop_map(|options| options.into_iter().flatten().collect())
}

/// In the order in which `dhcproto` sends: by code, and leases in any.
fn sorted(mut message: Message) -> Message {
    message.options.sort_by_key(|option| option.code(&DraftCodes::default()));
    for option in &mut message.options {
        if let DhcpOption::IaNa(association) | DhcpOption::IaPd(association) = option {
            association.leases.sort_by_key(|lease| format!("{lease:?}"));
        }
    }
    message
}

proptest! {
    #[test]
    fn another_reader(kind in 1..12_u8, id in 0..1_u32 << 24, options in options()) {
        let sent = Message { kind: kind.into(), transaction_id: TransactionId::new(id), options };
        let octets = sent.emit(&DraftCodes::default()).expect("it fits");
        let read = v6::Message::decode(&mut Decoder::new(&octets)).expect("well formed");
        prop_assert_eq!(u8::from(read.msg_type()), kind);
        prop_assert_eq!(read.xid(), sent.transaction_id.0);
        prop_assert_eq!(read.opts().iter().count(), sent.options.len());
        let mut again = Vec::new();
        read.encode(&mut Encoder::new(&mut again)).expect("what it read");
        let parsed = Message::parse(&again, &DraftCodes::default()).expect("well formed");
        prop_assert_eq!(&parsed.ignored, &[]);
        prop_assert_eq!(sorted(parsed.message), sorted(sent));
    }
}
