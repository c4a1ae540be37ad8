//! Whose something by DHCPv6 is (RFC 8801 §3.4.1).

use super::*;

/// RFC 8801 §3.4.1: configuration is of the PvDs whose routers ask for it.
#[test]
fn whose_configuration_is() {
    let table: Vec<(&str, Vec<Event>, Vec<&str>)> = vec![
        ("PV-8801-3.4.1-a: O", vec![says(2, A, advertises(ForOther, None))], vec!["eth2/fe80::a"]),
        ("M implies O", vec![says(2, A, advertises(ForLeases, None))], vec!["eth2/fe80::a"]),
        (
            "not those that do not ask",
            vec![says(2, A, advertises(ForOther, None)), says(2, B, advertises(Not, None))],
            vec!["eth2/fe80::a"],
        ),
        (
            "all that ask, named or not",
            vec![
                says(2, A, advertises(ForOther, None)),
                says(2, B, names("b.example", ForOther, None)),
                says(2, B, names("c.example", Not, None)),
            ],
            vec!["b.example%eth2", "eth2/fe80::a"],
        ),
        (
            "the inner header counts",
            vec![
                says(2, A, {
                    let mut said = names("a.example", Not, None);
                    said.header.other_config = true;
                    said
                }),
                says(2, B, advertises(ForOther, None)),
            ],
            vec!["eth2/fe80::b"],
        ),
        (
            "nobody asks: the unnamed ones",
            vec![says(2, A, advertises(Not, None)), says(2, B, names("b.example", Not, None))],
            vec!["eth2/fe80::a"],
        ),
        ("no advertisement: the interface's own", vec![], vec!["eth2"]),
        (
            "only named ones that do not ask: the same",
            vec![says(2, B, names("b.example", Not, None))],
            vec!["eth2"],
        ),
        ("another link says nothing", vec![says(3, A, advertises(ForOther, None))], vec!["eth2"]),
    ];
    for (row, heard, expected) in table {
        for first in [true, false] {
            let mut host = Host::new(&[2, 3]);
            let reply = information(3600, vec![dns("2001:db8::53")]);
            if first {
                host.tell(reply.clone());
            }
            host.tell_all(heard.clone());
            if !first {
                host.tell(reply);
            }
            assert_eq!(resolving(&host), expected, "{row}, told first: {first}");
            host.tell(GONE);
            assert_eq!(resolving(&host), [""; 0], "{row}");
        }
    }
}

/// RFC 8801 §3.4.1: a lease is of the PvD that asks for leases and has a prefix around it.
#[test]
fn whose_leases_are() {
    let inside = Some("2001:db8::/64");
    let table: Vec<(&str, Vec<Event>, Vec<&str>)> = vec![
        (
            "PV-8801-3.4.1-b: M and the prefix",
            vec![says(2, A, advertises(ForLeases, inside)), says(2, B, advertises(ForLeases, None))],
            vec!["eth2/fe80::a"],
        ),
        (
            "of two with the prefix the one with M",
            vec![says(2, A, advertises(Not, inside)), says(2, B, names("b.example", ForLeases, inside))],
            vec!["b.example%eth2"],
        ),
        (
            "none with both: of the unnamed ones that with the prefix",
            vec![says(2, A, advertises(Not, inside)), says(2, B, advertises(ForLeases, None))],
            vec!["eth2/fe80::a"],
        ),
        (
            "PV-8801-3.4.1-c: no prefix around it: the unnamed ones",
            vec![
                says(2, A, advertises(Not, None)),
                says(2, B, advertises(Not, None)),
                says(2, B, names("b.example", ForLeases, None)),
            ],
            vec!["eth2/fe80::a", "eth2/fe80::b"],
        ),
        (
            "a name with the prefix and without M comes after unnamed ones",
            vec![says(2, A, names("a.example", Not, inside)), says(2, B, advertises(ForLeases, None))],
            vec!["eth2/fe80::b"],
        ),
        (
            "no unnamed ones: the name with the prefix",
            vec![
                says(2, A, names("a.example", Not, inside)),
                says(2, B, names("b.example", ForLeases, None)),
            ],
            vec!["a.example%eth2"],
        ),
        ("no advertisement: the interface's own", vec![], vec!["eth2"]),
    ];
    for (row, heard, expected) in table {
        // An infinite lease looks to the kernel as if it was set by hand.
        for permanent in [false, true] {
            let mut host = Host::new(&[2]);
            host.tell(given(&[lease(LEASE, 600)], vec![]));
            host.tell_all(heard.clone());
            host.tell(Event::Address(Address { prefix_len: 128, permanent, ..address(2, ADDRESS) }));
            assert_eq!(leasing(&host), expected, "{row}");
            let mut sourced: Vec<_> =
                host.snapshot().into_iter().filter(|pvd| !pvd.sources.is_empty()).map(|pvd| pvd.id).collect();
            sourced.sort_unstable();
            assert_eq!(sourced, expected, "{row}: the address, permanent: {permanent}");
        }
    }
}

#[test]
fn whose_delegated_prefixes_are() {
    let table: Vec<(&str, Vec<Event>, Vec<&str>)> = vec![
        (
            "inside a prefix of the one with M",
            vec![
                says(2, A, advertises(Not, None)),
                says(2, B, names("b.example", ForLeases, Some("2001:db8::/32"))),
            ],
            vec!["b.example%eth2"],
        ),
        (
            "as usual, inside of none: the unnamed ones",
            vec![
                says(2, A, advertises(ForLeases, Some("2001:db8::/64"))),
                says(2, B, names("b.example", ForLeases, None)),
            ],
            vec!["eth2/fe80::a"],
        ),
        (
            "without these, the named ones with M",
            vec![says(2, A, names("a.example", Not, None)), says(2, B, names("b.example", ForLeases, None))],
            vec!["b.example%eth2"],
        ),
        ("no advertisement", vec![], vec!["eth2"]),
    ];
    for (row, heard, expected) in table {
        let mut host = Host::new(&[2]);
        host.tell(given(&[lease(DELEGATED, 600)], vec![]));
        host.tell_all(heard);
        assert_eq!(leasing(&host), expected, "{row}");
    }
}

/// Flags and prefixes that change move what was given.
#[test]
fn it_follows_the_advertisements() {
    let mut host = Host::new(&[2]);
    host.tell(given(&[lease(LEASE, 6000)], vec![dns("2001:db8::53")]));
    assert_eq!((resolving(&host), leasing(&host)), (vec!["eth2".into()], vec!["eth2".into()]));
    let changes = host.tell(says(2, A, advertises(ForOther, None)));
    assert_eq!(changes, ["PvD 2 eth2/fe80::a added", "PvD 1 eth2 removed"]);
    assert_eq!(resolving(&host), ["eth2/fe80::a"]);
    host.tell(says(2, B, advertises(Not, Some("2001:db8::/64"))));
    assert_eq!(
        (resolving(&host), leasing(&host)),
        (vec!["eth2/fe80::a".into()], vec!["eth2/fe80::b".into()])
    );
    let changes = host.tell(says(2, B, advertises(ForLeases, None)));
    assert_eq!(changes, ["PvD 1 eth2/fe80::b changed: flags dns-servers lifetimes"]);
    let changes = host.tell(says(2, A, advertises(Not, None)));
    assert_eq!(changes, ["PvD 2 eth2/fe80::a changed: flags dns-servers lifetimes"]);
    assert_eq!(resolving(&host), ["eth2/fe80::b"]);
}
