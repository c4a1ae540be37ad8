//! Strategies for every value that can be sent, in the form in which it comes back.

use std::{collections::BTreeMap, net::Ipv6Addr};

use ipnet::Ipv6Net;
use proptest::{collection::vec, option, prelude::*, sample};

use crate::wire::{
    DnsSearchList, DomainName, EncryptedDns, EncryptedDnsEndpoint, LABEL_MAX, NAME_MAX, NdOption, OPTION_MAX,
    Pref64, PrefixInformation, PvdOption, RaHeader, RecursiveDnsServers, RouteInformation,
    RouterAdvertisement, RouterPreference, RouterSolicitation, UNIT, kind, svc_param_key,
};

/// Options beside the PvD option, in a message and in a PvD option.
const OPTIONS: usize = 8;

/// Any preference.
pub fn router_preference() -> impl Strategy<Value = RouterPreference> {
    sample::select(vec![RouterPreference::Low, RouterPreference::Medium, RouterPreference::High])
}

/// Any name, short ones mostly.
pub fn domain_name() -> impl Strategy<Value = DomainName> {
    let octets: Vec<char> = ('a'..='z').chain('A'..='Z').chain('0'..='9').chain(['-', '_']).collect();
    let length = prop_oneof![8 => 1..=12_usize, 1 => 1..=LABEL_MAX];
    let label = length.prop_flat_map(move |length| vec(sample::select(octets.clone()), length));
    vec(label.prop_map(String::from_iter), 1..=5).prop_map(|mut labels| {
        // Two octets more than the text, the dots being the length octets.
        while labels.join(".").len() + 2 > NAME_MAX {
            labels.pop();
        }
        labels.join(".").parse().expect("labels of letters, short enough")
    })
}

/// Any prefix of a length of these, bits past it zero.
pub fn prefix(length: impl Strategy<Value = u8>) -> impl Strategy<Value = Ipv6Net> {
    (any::<u128>(), length)
        .prop_map(|(bits, length)| Ipv6Net::new(bits.into(), length).expect("at most 128").trunc())
}

/// An address that a server can have.
pub fn server() -> impl Strategy<Value = Ipv6Addr> {
    any::<u128>().prop_map(Ipv6Addr::from).prop_filter("unicast of another host", |address| {
        !address.is_multicast() && !address.is_unspecified() && !address.is_loopback()
    })
}

/// Any header; Prf is Medium with lifetime 0.
pub fn ra_header() -> impl Strategy<Value = RaHeader> {
    (
        any::<(u8, bool, bool, bool, bool, bool)>(),
        router_preference(),
        prop_oneof![Just(0), any::<u16>()],
        any::<(u32, u32)>(),
    )
        .prop_map(|(flags, preference, router_lifetime, (reachable_time, retrans_timer))| {
            let (cur_hop_limit, managed, other_config, home_agent, proxy, snac) = flags;
            RaHeader {
                cur_hop_limit,
                managed,
                other_config,
                home_agent,
                preference: if router_lifetime == 0 { RouterPreference::Medium } else { preference },
                proxy,
                snac,
                router_lifetime,
                reachable_time,
                retrans_timer,
            }
        })
}

/// Octets that fill so many units behind type and length.
fn data(units: std::ops::RangeInclusive<usize>) -> impl Strategy<Value = Vec<u8>> {
    units.prop_flat_map(|units| vec(any::<u8>(), units * UNIT - 2))
}

/// Any Prefix Information.
pub fn prefix_information() -> impl Strategy<Value = PrefixInformation> {
    (prefix(0..=128_u8), any::<(bool, bool, bool, u32, u32)>()).prop_map(|(prefix, fields)| {
        let (on_link, autonomous, router_address, valid_lifetime, preferred_lifetime) = fields;
        PrefixInformation { prefix, on_link, autonomous, router_address, valid_lifetime, preferred_lifetime }
    })
}

/// Any Route Information.
pub fn route_information() -> impl Strategy<Value = RouteInformation> {
    (prefix(0..=128_u8), router_preference(), any::<u32>()).prop_map(
        |(prefix, preference, route_lifetime)| RouteInformation { prefix, preference, route_lifetime },
    )
}

/// RDNSS with a few servers.
pub fn recursive_dns_servers() -> impl Strategy<Value = RecursiveDnsServers> {
    (any::<u32>(), vec(server(), 1..=6))
        .prop_map(|(lifetime, servers)| RecursiveDnsServers { lifetime, servers })
}

/// DNSSL with a few names.
pub fn dns_search_list() -> impl Strategy<Value = DnsSearchList> {
    (any::<u32>(), vec(domain_name(), 1..=4))
        .prop_map(|(lifetime, suffixes)| DnsSearchList { lifetime, suffixes })
}

/// Octets of a URI, not necessarily one that leads anywhere.
pub fn captive_portal() -> impl Strategy<Value = String> {
    vec(sample::select(('!'..='~').collect::<Vec<_>>()), 1..=300).prop_map(String::from_iter)
}

/// Any PREF64.
pub fn pref64() -> impl Strategy<Value = Pref64> {
    (prefix(sample::select(vec![32, 40, 48, 56, 64, 96])), any::<u16>())
        .prop_map(|(prefix, lifetime)| Pref64 { prefix, lifetime: lifetime & !7 })
}

/// Service parameters that are well formed.
pub fn parameters() -> impl Strategy<Value = Vec<(u16, Vec<u8>)>> {
    let alpn = vec(vec(any::<u8>(), 1..=10), 1..=3);
    let others = proptest::collection::btree_map(7..=u16::MAX, vec(any::<u8>(), 0..=20), 0..=3);
    (option::of((alpn, any::<bool>())), any::<Option<u16>>(), others, any::<bool>()).prop_map(
        |(alpn, port, others, mandatory)| {
            let mut parameters: BTreeMap<u16, Vec<u8>> = others;
            if let Some((protocols, no_default)) = alpn {
                let list = protocols
                    .iter()
                    .flat_map(|name| [&[u8::try_from(name.len()).expect("short")][..], name].concat());
                parameters.insert(svc_param_key::ALPN, list.collect());
                if no_default {
                    parameters.insert(svc_param_key::NO_DEFAULT_ALPN, vec![]);
                }
            }
            if let Some(port) = port {
                parameters.insert(svc_param_key::PORT, port.to_be_bytes().into());
            }
            if mandatory && !parameters.is_empty() {
                let keys = parameters.keys().flat_map(|key| key.to_be_bytes()).collect();
                parameters.insert(svc_param_key::MANDATORY, keys);
            }
            parameters.into_iter().collect()
        },
    )
}

/// Any Encrypted DNS option, ADN-only ones too.
pub fn encrypted_dns() -> impl Strategy<Value = EncryptedDns> {
    let endpoint = (vec(server(), 1..=4), parameters())
        .prop_map(|(addresses, parameters)| EncryptedDnsEndpoint { addresses, parameters });
    (any::<(u16, u32)>(), domain_name(), option::of(endpoint)).prop_map(
        |((service_priority, lifetime), authentication_domain_name, endpoint)| EncryptedDns {
            service_priority,
            lifetime,
            authentication_domain_name,
            endpoint,
        },
    )
}

/// Any option but PvD.
pub fn plain_option() -> impl Strategy<Value = NdOption> {
    prop_oneof![
        data(1..=3).prop_map(NdOption::SourceLinkLayerAddress),
        prefix_information().prop_map(NdOption::PrefixInformation),
        any::<u32>().prop_map(NdOption::Mtu),
        route_information().prop_map(NdOption::RouteInformation),
        recursive_dns_servers().prop_map(NdOption::RecursiveDnsServers),
        dns_search_list().prop_map(NdOption::DnsSearchList),
        captive_portal().prop_map(NdOption::CaptivePortal),
        pref64().prop_map(NdOption::Pref64),
        encrypted_dns().prop_map(NdOption::EncryptedDns),
        (any::<u8>().prop_filter("unknown", |&kind| !kind::is_known(kind)), data(1..=10))
            .prop_map(|(kind, data)| NdOption::Unknown { kind, data }),
    ]
}

/// Any PvD option; as many of its options as fit.
pub fn pvd_option() -> impl Strategy<Value = PvdOption> {
    (
        domain_name(),
        any::<(bool, bool, u16)>(),
        0..=15_u8,
        option::of(ra_header()),
        vec(plain_option(), 0..=OPTIONS),
    )
        .prop_map(|(id, (http, legacy, sequence), delay, header, options)| {
            let mut pvd = PvdOption { id, http, legacy, delay, sequence, header, options };
            while pvd.buffer_len() > OPTION_MAX {
                pvd.options.pop();
            }
            pvd
        })
}

/// Any option.
pub fn nd_option() -> impl Strategy<Value = NdOption> {
    prop_oneof![8 => plain_option(), 2 => pvd_option().prop_map(NdOption::Pvd)]
}

/// Any Router Advertisement, with a PvD option in any place or none.
pub fn router_advertisement() -> impl Strategy<Value = RouterAdvertisement> {
    (ra_header(), vec(plain_option(), 0..=OPTIONS), option::of((pvd_option(), any::<sample::Index>())))
        .prop_map(|(header, mut options, pvd)| {
            if let Some((pvd, place)) = pvd {
                options.insert(place.index(options.len() + 1), NdOption::Pvd(pvd));
            }
            RouterAdvertisement { header, options }
        })
}

/// Any Router Solicitation.
pub fn router_solicitation() -> impl Strategy<Value = RouterSolicitation> {
    option::of(data(1..=3))
        .prop_map(|source_link_layer_address| RouterSolicitation { source_link_layer_address })
}
