//! Routes by DHCPv6.

use super::*;

/// draft-ietf-mif-dhcpv6-route-option.
#[test]
fn routes() {
    let mut host = Host::new(&[2]);
    host.tell(says(2, A, advertises(ForLeases, None)));
    host.tell(given(
        &[lease(LEASE, 600)],
        vec![
            by("fe80::9", vec![to("2001:db8:1::/48", 300), to("fe80::/64", 300), to("2001:db8:4::/48", 0)]),
            by("::", vec![to("2001:db8:2::/48", INFINITE_LIFETIME)]),
            by("fe80::8", vec![]),
            by(A, vec![to("::/0", 300)]),
            DhcpOption::RoutePrefix(to("2001:db8:3::/64", 300)),
            DhcpOption::RoutePrefix(to("::/0", 300)),
        ],
    ));
    let said = |host: &Host| -> Vec<(String, String, Deadline)> {
        let routes = host.pvd("eth2/fe80::a").routes.into_iter();
        let row = |route: crate::pvd::snapshot::RouteSnapshot| {
            (
                crate::pvd::testing::route_text(&route.route),
                route.said_by.to_string(),
                route.route.valid_until,
            )
        };
        routes.map(row).collect()
    };
    let dhcpv6 = |text: &str, end| (text.to_owned(), "DHCPv6 fe80::547".to_owned(), end);
    let announced = ("::/0 via fe80::a".to_owned(), A.to_owned(), until(9000));
    assert_eq!(
        said(&host),
        [
            announced.clone(),
            dhcpv6("::/0 via fe80::8", until(600)),
            dhcpv6("2001:db8:1::/48 via fe80::9", until(300)),
            dhcpv6("2001:db8:2::/48 via fe80::547", Deadline::NEVER),
            dhcpv6("2001:db8:3::/64 on-link", until(300)),
        ]
    );
    assert_eq!(host.set.refused().of(RefusedReason::Dhcpv6Routes), 2, "link-local, and everything on-link");
    // Unreachable next hops count as with routers.
    host.tell(Event::Neighbour { ifindex: 2, address: ip("fe80::9"), reachable: false });
    assert!(host.pvd("eth2/fe80::a").routes.iter().any(|route| !route.route.reachable));
    assert_eq!(host.wait(300), ["PvD 1 eth2/fe80::a changed: routes lifetimes"]);
    assert_eq!(said(&host).len(), 3);
    host.tell(GONE);
    assert_eq!(said(&host), [announced]);
}

/// A default route by DHCPv6 makes a PvD fit to carry its addresses.
#[test]
fn a_default_route_carries() {
    let mut host = Host::new(&[2]);
    host.tell(Event::Route(route(2, "fd00::/8", Some(B))));
    host.tell(given(&[lease(LEASE, 600)], vec![by("fe80::9", vec![])]));
    host.tell(Event::Address(Address { prefix_len: 128, ..address(2, ADDRESS) }));
    let world = host.world();
    assert_eq!(compile(&world).sources[&ip(ADDRESS)].next_hop, ip("fe80::9").into());
}
