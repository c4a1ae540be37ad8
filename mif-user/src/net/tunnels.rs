//! Which interfaces put packets into others.

use std::{collections::BTreeSet, io};

use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST};
use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{InfoKind, LinkAttribute, LinkInfo, LinkLayerType, LinkMessage},
};

use super::ask::ask;

/// The interfaces of this network namespace that are tunnels, by index.
///
/// # Errors
/// The kernel's own.
pub fn tunnels() -> io::Result<BTreeSet<u32>> {
    let answers = ask(RouteNetlinkMessage::GetLink(LinkMessage::default()), NLM_F_REQUEST | NLM_F_DUMP)?;
    Ok(answers
        .iter()
        .filter_map(|answer| match answer {
            RouteNetlinkMessage::NewLink(link) if is_tunnel(link) => Some(link.header.index),
            _ => None,
        })
        .collect())
}

/// Whether it is one. Those in the kernel have a hardware type of their own. What has none (`ARPHRD_NONE`) may be a modem as well: of
/// these the driver's name tells (IFLA_INFO_KIND).
fn is_tunnel(link: &LinkMessage) -> bool {
    match link.header.link_layer_type {
        LinkLayerType::Tunnel
        | LinkLayerType::Tunnel6
        | LinkLayerType::Sit
        | LinkLayerType::Ipgre
        | LinkLayerType::Ip6gre => true,
        LinkLayerType::None => {
            let kinds = link.attributes.iter().filter_map(|attribute| match attribute {
                LinkAttribute::LinkInfo(infos) => infos.iter().find_map(kind),
                _ => None,
            });
            kinds.into_iter().any(|kind| ["tun", "wireguard", "xfrm"].contains(&kind.as_str()))
        }
        _ => false,
    }
}

fn kind(info: &LinkInfo) -> Option<String> {
    match info {
        LinkInfo::Kind(InfoKind::Other(name)) => Some(name.clone()),
        LinkInfo::Kind(kind) => Some(kind.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_that_encapsulate() {
        for (hardware, kind, expected) in [
            (LinkLayerType::Loopback, "", false),
            (LinkLayerType::Ether, "veth", false),
            // A tap: frames of a virtual machine.
            (LinkLayerType::Ether, "tun", false),
            (LinkLayerType::Sit, "sit", true),
            (LinkLayerType::Ip6gre, "ip6gre", true),
            (LinkLayerType::None, "tun", true),
            (LinkLayerType::None, "wireguard", true),
            // Modems (qmi_wwan and the wwan class).
            (LinkLayerType::None, "", false),
            (LinkLayerType::None, "wwan", false),
        ] {
            let mut link = LinkMessage::default();
            link.header.link_layer_type = hardware;
            if !kind.is_empty() {
                link.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(kind.into())]));
            }
            assert_eq!(is_tunnel(&link), expected, "{hardware:?} {kind}");
        }
    }

    #[test]
    fn the_kernel_answers() {
        // The loopback is the first interface of every namespace.
        assert!(!tunnels().expect("a dump of links").contains(&1));
    }
}
