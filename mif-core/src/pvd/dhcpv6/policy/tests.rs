//! Policies of networks, from a Reply to selection.

use super::super::super::{
    Event, RefusedReason,
    event::Link,
    testing::{Host, ip, ipv4, link, net, ra, route, says, until},
};
use crate::{
    dhcpv6::Configuration,
    select::{
        policy_table::{
            PolicyTable,
            in_force::{PolicyOrigin, Reach},
        },
        prefix::Prefix,
        world::World,
    },
    time::Deadline,
    wire::dhcpv6::{AddressSelection, DhcpOption, PolicyRow},
};

fn gives(ifindex: u32, label: u8, refresh_at: Deadline) -> Event {
    let row = PolicyRow { prefix: net("::/0"), precedence: 40, label };
    let policy =
        AddressSelection { rows: vec![row], privacy_preference: true, ..AddressSelection::default() };
    let configuration = Configuration {
        options: vec![DhcpOption::AddressSelection(policy)],
        refresh_at,
        ..Configuration::default()
    };
    Event::Dhcpv6 { ifindex, server: ip("fe80::547"), configuration }
}

/// The label of `::/0` in each PvD.
fn labels(world: &World) -> Vec<Option<u8>> {
    world.pvds.iter().map(|pvd| pvd.policy_table().label(Prefix::ALL)).collect()
}

/// Two links with a router each.
fn host() -> Host {
    let mut host = Host::new(&[2, 3]);
    host.tell_all([says(2, "fe80::a", ra(9000, vec![])), says(3, "fe80::b", ra(9000, vec![]))]);
    host
}

/// RFC 7078 §3.3: no policy here is the default one, not another network's.
#[test]
fn each_network_has_its_own() {
    let mut host = host();
    assert_eq!(
        host.tell(gives(2, 7, Deadline::NEVER)),
        ["PvD 1 eth2/fe80::a changed: address-selection lifetimes"]
    );
    assert_eq!(labels(&host.world()), [Some(7), Some(1)]);
    host.tell(gives(3, 8, Deadline::NEVER));
    assert_eq!(labels(&host.world()), [Some(7), Some(8)]);
    // It speaks of IPv4 too, whose PvD is another one of the link.
    host.tell_all([
        Event::Address(ipv4(2, "192.0.2.1/24")),
        Event::Route(route(3, "fd00::/8", Some("fe80::9"))),
    ]);
    assert_eq!(host.ids(), ["eth2/fe80::a", "eth2/ipv4", "eth3", "eth3/fe80::b"]);
    assert_eq!(labels(&host.world()), [Some(7), Some(8), Some(7), Some(1)]);
    let explained = host.pvd("eth2/ipv4");
    assert_eq!(explained.for_selection().map(|pvd| pvd.policy_origin()), Some(PolicyOrigin::Network));
    host.tell(Event::Dhcpv6Gone { ifindex: 2 });
    assert_eq!(labels(&host.world()), [Some(1), Some(8), Some(1), Some(1)]);
}

/// D6-7078-3.2-a: what is stale is dropped, and the local table is there again.
#[test]
fn stale_policies() {
    for (row, event, wait) in [
        ("the refresh time, and a minute for the answer", None, 660),
        ("the link", Some(Event::Link(Link { up: false, ..link(2) })), 1),
        ("the lease", Some(Event::Dhcpv6Gone { ifindex: 2 }), 1),
    ] {
        let mut host = host();
        host.tell(gives(2, 7, until(600)));
        host.wait(wait - 1);
        assert_eq!(labels(&host.world()), [Some(7), Some(1)], "{row}");
        host.tell_all(event);
        host.wait(wait);
        assert!(labels(&host.world()).iter().all(|label| *label == Some(1)), "{row}");
    }
}

/// For the host: where networks agree, and none where they do not.
#[test]
fn for_the_host() {
    let mut host = host();
    host.preferences.address_selection.reach = Reach::Host;
    let mut kept = World::default();
    let mut refresh = |host: &mut Host| {
        let touched = host.set.refresh(&mut kept, host.now, &host.preferences);
        assert_eq!(kept.pvds, host.world().pvds);
        (labels(&kept), touched.len())
    };
    assert_eq!(refresh(&mut host), (vec![Some(1), Some(1)], 2));
    host.tell(gives(2, 7, Deadline::NEVER));
    assert_eq!(refresh(&mut host), (vec![Some(7), Some(7)], 2));
    host.tell(gives(3, 7, Deadline::NEVER));
    assert_eq!(refresh(&mut host).0, [Some(7), Some(7)]);
    assert_eq!(host.set.refused().of(RefusedReason::PolicyConflict), 0);
    host.tell(gives(3, 8, Deadline::NEVER));
    assert_eq!(refresh(&mut host), (vec![Some(1), Some(1)], 2));
    assert_eq!(host.set.refused().of(RefusedReason::PolicyConflict), 1);
    host.tell(Event::Dhcpv6Gone { ifindex: 2 });
    assert_eq!(refresh(&mut host), (vec![Some(8), Some(8)], 2));
}

#[test]
fn the_administrators_stays() {
    let mut host = host();
    host.preferences.address_selection.table = Some(PolicyTable::new([]));
    host.tell(gives(2, 7, Deadline::NEVER));
    assert_eq!(labels(&host.world()), [None, None]);
    assert!(host.world().pvds.iter().all(|pvd| pvd.policy_origin() == PolicyOrigin::Administrator));
}
