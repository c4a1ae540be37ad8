use proptest::{collection::vec, prelude::*, sample::select};

use super::*;
use crate::{
    pvd::{
        event::Event,
        testing::{Host, ipv4, learnt, link, permanent, pvd, ra, route, says},
    },
    select::world::Route,
};

/// eth0: explicit example.org and its own; eth1: example.org again, one router and its own; `eth0.100` has none.
fn roster() -> Roster {
    let entry = |index, id: &str, name: Option<&str>, interface: &str, kind, internet| Entry {
        index,
        id: id.into(),
        name: name.map(str::to_owned),
        interface: interface.into(),
        kind,
        internet,
    };
    Roster {
        pvds: vec![
            entry(1, "example.org%eth0", Some("example.org"), "eth0", Kind::Explicit, true),
            entry(2, "eth0", None, "eth0", Kind::Interface, false),
            entry(3, "example.org%eth1", Some("example.org"), "eth1", Kind::Explicit, false),
            entry(4, "eth1/fe80::1", None, "eth1", Kind::Implicit, true),
            entry(5, "eth1", None, "eth1", Kind::Interface, true),
            // A network that calls itself like an interface.
            entry(6, "eth0%wlan0", Some("eth0"), "wlan0", Kind::Explicit, true),
            entry(7, "eth0.100%wlan0", Some("eth0.100"), "wlan0", Kind::Explicit, true),
            entry(8, "eth1/ipv4", None, "eth1", Kind::Ipv4, true),
        ],
        interfaces: ["eth0", "eth1", "eth0.100", "wlan0"].map(str::to_owned).into(),
    }
}

fn picked(text: &str) -> Vec<PvdIndex> {
    let groups = [vec![text.parse().expect("a selector")]];
    roster().pick(&groups).remove(0)
}

#[test]
fn what_selectors_pick() {
    for (text, expected) in [
        // Interfaces, before all else.
        ("eth0", &[1, 2][..]),
        ("eth1", &[3, 4, 5, 8]),
        ("ETH1", &[]),
        ("eth0.100", &[]),
        ("name=eth0.100", &[7]),
        // Names, on whatever interface.
        ("example.org", &[1, 3]),
        ("Example.ORG", &[1, 3]),
        ("example", &[]),
        // Ids.
        ("example.org%eth0", &[1]),
        ("EXAMPLE.org%eth0", &[1]),
        ("example.org%ETH0", &[]),
        ("eth1/fe80::1", &[4]),
        ("eth1/fe80::2", &[]),
        ("id=eth1", &[5]),
        ("id=eth1/fe80::1", &[4]),
        // An index is a command's word only.
        ("3", &[]),
        ("eth1/ipv4", &[8]),
        ("eth0/ipv4", &[]),
        ("interface=eth1", &[3, 4, 5, 8]),
        ("interface=eth9", &[]),
        ("kind=explicit", &[1, 3, 6, 7]),
        ("kind=implicit", &[4]),
        ("kind=interface", &[2, 5]),
        ("kind=ipv4", &[8]),
        ("internet=true", &[1, 4, 5, 6, 7, 8]),
        ("internet=false", &[2, 3]),
    ] {
        assert_eq!(picked(text), expected, "{text}");
    }
}

#[test]
fn all_conditions_hold() {
    let roster = roster();
    for (json, text, expected) in [
        (r#"{"kind":"explicit","internet":true}"#, "kind=explicit+internet=true", &[1, 6, 7][..]),
        (r#"{"interface":"eth1","kind":"explicit"}"#, "interface=eth1+kind=explicit", &[3]),
        (r#"{"name":"example.org","internet":false}"#, "name=example.org+internet=false", &[3]),
        (r#"{"id":"eth1","internet":false}"#, "id=eth1+internet=false", &[]),
        (r#"{"id":"eth1"}"#, "eth1", &[5]),
        (r#""eth1""#, "eth1", &[3, 4, 5, 8]),
        (r#"{}"#, "", &[1, 2, 3, 4, 5, 6, 7, 8]),
    ] {
        let selector: Selector = serde_json::from_str(json).expect(json);
        assert_eq!(serde_json::to_string(&selector).expect("plain data"), json);
        assert_eq!(selector.to_string(), text);
        assert_eq!(roster.pick(&[vec![selector]]), [expected], "{json}");
    }
    for wrong in [r#"{"kind":"wireless"}"#, r#"{"color":"red"}"#, "1"] {
        serde_json::from_str::<Selector>(wrong).expect_err(wrong);
    }
}

#[test]
fn groups_keep_their_order_and_may_be_empty() {
    let groups: Groups = [&["eth1/fe80::1", "eth1"][..], &["eth9"], &["example.org"]]
        .map(|g| g.iter().map(|&s| s.into()).collect())
        .into();
    assert_eq!(roster().pick(&groups), [vec![3, 4, 5, 8], vec![], vec![1, 3]]);
    assert_eq!(roster().all(), [1, 2, 3, 4, 5, 6, 7, 8]);
}

#[test]
fn texts_that_are_no_selectors() {
    for (text, says) in [
        ("", "an empty name"),
        ("kind=", "nothing after `kind=`"),
        ("=", "`` is no property"),
        ("kind=wireless", "`wireless` is no kind of PvD, expected explicit, implicit, interface or ipv4"),
        ("colour=red", "`colour` is no property of a PvD"),
        ("internet=yes", "internet is true or false, not `yes`"),
        ("kind=explicit+colour=red", "`colour` is no property of a PvD"),
        ("eth0+kind=explicit", "`eth0` is no property of a PvD"),
        ("kind=explicit+interface=", "nothing after `interface=`"),
        ("kind=explicit+kind=ipv4", "`kind` stands here twice"),
        ("kind=explicit+eth0", "`explicit+eth0` is no kind of PvD"),
    ] {
        let said = text.parse::<Selector>().expect_err(text).to_string();
        assert!(said.contains(says), "{text}: {said}");
    }
}

#[test]
fn several_conditions_on_a_command_line() {
    for (text, expected) in [
        ("kind=explicit+internet=true", &[1, 6, 7][..]),
        ("interface=eth1+kind=explicit", &[3]),
        ("internet=false+name=example.org", &[3]),
        ("id=eth1+internet=false", &[]),
    ] {
        assert_eq!(picked(text), expected, "{text}");
    }
    // A name may have the sign in it.
    let odd: Selector = "interface=wlan0+a+kind=implicit".parse().expect("two conditions");
    let expected =
        Conditions { interface: Some("wlan0+a".into()), kind: Some(Kind::Implicit), ..Conditions::default() };
    assert_eq!(odd, Selector::Where(expected));
}

#[test]
fn words_of_commands() {
    let exactly = |id: &str| Ok(Selector::exactly(id.into()));
    let same = |word: &str| Ok(Selector::from(word));
    for (word, expected) in [
        ("eth1", same("eth1")),
        ("eth0.100", same("eth0.100")),
        ("Example.org", same("Example.org")),
        ("eth1/fe80::1", exactly("eth1/fe80::1")),
        ("eth1/f", exactly("eth1/fe80::1")),
        ("eth1/ipv4", exactly("eth1/ipv4")),
        ("EXAMPLE.org%eth0", exactly("example.org%eth0")),
        ("5", exactly("eth1")),
        ("exam", Err("\"exam\" can be any of example.org%eth0, example.org%eth1; say more of it")),
        ("nope", Err("there is no PvD \"nope\"")),
    ] {
        let resolved = roster().resolve(word.into()).map_err(|error| error.to_string());
        match expected {
            Ok(expected) => assert_eq!(resolved, Ok(expected), "{word}"),
            Err(says) => {
                assert!(resolved.clone().is_err_and(|said| said.starts_with(says)), "{word}: {resolved:?}")
            }
        }
    }
    let conditions: Selector = "interface=eth9".parse().expect("a selector");
    assert_eq!(roster().resolve(conditions.clone()), Ok(conditions), "it may come");
}

#[test]
fn from_what_a_host_knows() {
    let mut host = Host::new(&[2, 3, 4, 5]);
    host.tell_all([
        Event::Address(permanent(3, "fd00::1")),
        Event::Route(route(3, "::/0", Some("fe80::3"))),
        Event::Route(learnt(2, "::/0", Some("fe80::2"))),
        Event::Address(ipv4(4, "192.0.2.4/24")),
        Event::Route(route(4, "::ffff:0:0/96", Some("::ffff:192.0.2.1"))),
        says(2, "fe80::1", ra(0, vec![pvd("A.example", None, Vec::new())])),
    ]);
    let roster = host.set.roster(&host.world());
    let seen: Vec<_> = roster
        .pvds
        .iter()
        .map(|pvd| (pvd.id.as_str(), pvd.name.as_deref(), pvd.interface.as_str(), pvd.kind, pvd.internet))
        .collect();
    for expected in
        [("eth3", None, "eth3", Kind::Interface, true), ("eth2/fe80::2", None, "eth2", Kind::Implicit, true)]
    {
        assert!(seen.contains(&expected), "{expected:?} is not in {seen:?}");
    }
    assert!(roster.interfaces.contains("eth5"), "an interface without a PvD: {:?}", roster.interfaces);
    // Whose interface is down is still of it, but leads nowhere.
    host.tell(Event::Link(crate::pvd::event::Link { up: false, ..link(3) }));
    let down = host.set.roster(&host.world());
    assert!(down.pvds.iter().any(|pvd| pvd.id == "eth3" && !pvd.internet), "{down:?}");
}

#[test]
fn internet_is_a_default_route_of_either_family() {
    let mut host = Host::new(&[3]);
    host.tell_all([
        Event::Address(permanent(3, "fd00::1")),
        Event::Route(route(3, "2001:db8::/32", Some("fe80::3"))),
    ]);
    let world = host.world();
    let with = |prefix: &str, change: &dyn Fn(&mut world::Pvd)| {
        let mut pvd = world.pvds[0].clone();
        pvd.routes[0] = Route { prefix: prefix.parse().expect("a literal"), ..pvd.routes[0].clone() };
        change(&mut pvd);
        offers_internet(&pvd)
    };
    for (prefix, expected) in [
        ("2001:db8::/32", false),
        ("2000::/3", false),
        ("::/0", true),
        ("::ffff:0:0/96", true),
        ("::ffff:10.0.0.0/104", false),
        ("64:ff9b::/96", false),
    ] {
        assert_eq!(with(prefix, &|_| ()), expected, "{prefix}");
    }
    assert!(!with("::/0", &|pvd| pvd.no_internet = true));
    assert!(!with("::/0", &|pvd| pvd.routes[0].kernel_decides = true), "a blackhole leads nowhere");
}

fn word() -> impl Strategy<Value = String> {
    select(vec!["eth0", "eth1", "wlan0", "a.example", "b.example", "eth0/fe80::1", "a.example%eth1", "1"])
        .prop_map(str::to_owned)
}

fn random_selector() -> impl Strategy<Value = Selector> {
    let option = |word| proptest::option::of(word);
    let conditions = (
        option(word().boxed()),
        option(word().boxed()),
        option(word().boxed()),
        proptest::option::of(select(Kind::ALL.to_vec())),
        proptest::option::of(any::<bool>()),
    );
    let conditions = conditions.prop_map(|(id, name, interface, kind, internet)| Conditions {
        id,
        name,
        interface,
        kind,
        internet,
    });
    prop_oneof![word().prop_map(Selector::Word), conditions.prop_map(Selector::Where)]
}

/// PvDs as a host has them: each of an interface that exists, with the id that goes with it.
fn random_roster() -> impl Strategy<Value = Roster> {
    let pvd = (select(vec!["eth0", "eth1", "wlan0"]), 0..5_usize, any::<bool>());
    vec(pvd, 0..8).prop_map(|pvds| {
        let mut roster = Roster::default();
        for (index, (interface, form, internet)) in (1..).zip(pvds) {
            let (id, name, kind) = match form {
                0 => (interface.to_owned(), None, Kind::Interface),
                1 => (format!("{interface}/fe80::1"), None, Kind::Implicit),
                4 => (format!("{interface}/ipv4"), None, Kind::Ipv4),
                2 => (format!("a.example%{interface}"), Some("a.example"), Kind::Explicit),
                _ => (format!("eth1%{interface}"), Some("eth1"), Kind::Explicit),
            };
            if roster.pvds.iter().all(|pvd| pvd.id != id) {
                let name = name.map(str::to_owned);
                roster.interfaces.insert(interface.to_owned());
                roster.pvds.push(Entry { index, id, name, interface: interface.into(), kind, internet });
            }
        }
        roster
    })
}

proptest! {
    /// Conditions pick what each of them alone picks.
    #[test]
    fn conditions_are_an_intersection(roster in random_roster(), selector in random_selector()) {
        let Selector::Where(conditions) = selector else { return Ok(()) };
        let Conditions { id, name, interface, kind, internet } = conditions.clone();
        let base = Conditions::default;
        let alone = [
            Conditions { id, ..base() },
            Conditions { name, ..base() },
            Conditions { interface, ..base() },
            Conditions { kind, ..base() },
            Conditions { internet, ..base() },
        ];
        let by = |conditions: Conditions| roster.pick(&[vec![Selector::Where(conditions)]]).remove(0);
        let each: Vec<Vec<PvdIndex>> = alone.into_iter().map(by).collect();
        let expected: Vec<PvdIndex> =
            roster.all().into_iter().filter(|index| each.iter().all(|picked| picked.contains(index))).collect();
        prop_assert_eq!(by(conditions), expected);
    }

    /// A group picks what its selectors pick, whatever their order; a repeated one changes nothing.
    #[test]
    fn a_group_is_a_union(roster in random_roster(), mut group in vec(random_selector(), 0..5)) {
        let mut expected: Vec<PvdIndex> =
            group.iter().flat_map(|selector| roster.pick(&[vec![selector.clone()]]).remove(0)).collect();
        expected.sort_unstable();
        expected.dedup();
        prop_assert_eq!(&roster.pick(std::slice::from_ref(&group))[0], &expected);
        group.extend(group.clone());
        group.reverse();
        prop_assert_eq!(&roster.pick(&[group])[0], &expected);
    }

    /// What happens on one interface changes nothing of what the name of another picks.
    #[test]
    fn an_interface_is_its_own(roster in random_roster(), name in select(vec!["eth0", "eth1", "wlan0"])) {
        let own = roster.pvds.iter().filter(|pvd| pvd.interface == name).cloned().collect();
        let alone = Roster { pvds: own, interfaces: roster.interfaces.clone() };
        let groups = [vec![Selector::Where(Conditions { interface: Some(name.into()), ..Conditions::default() })]];
        prop_assert_eq!(roster.pick(&groups), alone.pick(&groups));
        if roster.interfaces.contains(name) {
            prop_assert_eq!(roster.pick(&[vec![name.into()]]), alone.pick(&groups));
        }
    }

    /// What a command's word resolves to picks what the word meant, and an id or an index picks exactly that PvD.
    #[test]
    fn resolved_words_pick_one_or_all_of_a_name(roster in random_roster()) {
        for pvd in &roster.pvds {
            for word in [pvd.index.to_string(), pvd.id.clone()] {
                let resolved = roster.resolve(Selector::Word(word.clone())).expect("it exists");
                let picked = roster.pick(&[vec![resolved]]).remove(0);
                let is_interface = roster.interfaces.contains(&word);
                prop_assert!(picked.contains(&pvd.index) || is_interface, "{word} picks {picked:?}");
                prop_assert!(picked.len() == 1 || is_interface, "{word} picks {picked:?}");
            }
        }
    }

    /// Selectors survive the files that they are kept in.
    /// What is shown can be typed again.
    #[test]
    fn conditions_survive_their_text(selector in random_selector()) {
        if let Selector::Where(conditions) = &selector
            && (!conditions.is_empty() && selector != Selector::exactly(conditions.id.clone().unwrap_or_default()))
        {
            prop_assert_eq!(selector.to_string().parse(), Ok(selector));
        }
    }

    #[test]
    fn selectors_survive_json(selector in random_selector()) {
        let json = serde_json::to_string(&selector).expect("plain data");
        prop_assert_eq!(serde_json::from_str::<Selector>(&json).expect("its own output"), selector);
    }
}
