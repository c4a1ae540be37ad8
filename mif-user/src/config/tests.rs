use mif_core::{
    pvd::Selector,
    select::{
        policy_table::{
            PolicyTable, Row,
            in_force::{Reach, Use},
        },
        rfc6724::Privacy,
    },
    wire::dhcpv6::DraftCodes,
};

use super::*;

const EXAMPLE: &str = include_str!("../../../docs/mif.toml");

fn path(text: &str) -> Pattern {
    Pattern::path(text).expect("a path")
}

fn groups(groups: &[&[&str]]) -> Groups {
    groups.iter().map(|group| group.iter().map(|&text| selector(text)).collect()).collect()
}

/// JSON, or a word.
fn selector(text: &str) -> Selector {
    if text.starts_with('{') { serde_json::from_str(text).expect(text) } else { text.into() }
}

fn policy(cgroup: Pattern, given: &[&[&str]], mode: Mode) -> Policy {
    let otherwise = Otherwise::of(mode.into(), None).expect("every mode has one");
    Policy { cgroup, groups: groups(given), otherwise, mode }
}

fn example_policies() -> Vec<Policy> {
    let uplinks = ["wan0", r#"{"kind":"explicit","internet":true}"#, r#"{"interface":"wwan0"}"#];
    let unit = Pattern::unit("browser-*.scope").expect("a unit");
    vec![
        policy(path("/system.slice/backup-*.service"), &[&["isp-b.example.net"]], Mode::Strict),
        Policy {
            otherwise: Otherwise::Default,
            ..policy(unit, &[&["corp.example.com"], &uplinks], Mode::Prefer)
        },
    ]
}

#[test]
fn an_empty_file_is_the_default() {
    assert_eq!(Config::parse(""), Ok(Config::default()));
}

/// As it stands, and with each commented key in force: what it shows as a default is the default.
#[test]
fn the_example() {
    assert_eq!(Config::parse(EXAMPLE), Ok(Config::default()), "as it stands it changes nothing");

    let in_force: String = EXAMPLE
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(key) if key.starts_with(|first: char| first.is_alphabetic() || first == '[') => {
                format!("{key}\n")
            }
            _ => format!("{line}\n"),
        })
        .collect();
    let dhcpv6 = InterfaceDhcpv6 { mode: Some(Dhcpv6::Stateful), prefix: Some(56), ..Default::default() };
    let interface = Interface { metric: Some(100), merge_ipv4: false, dhcpv6 };
    let dhcpv6_options = DraftCodes {
        next_hop: Some(242),
        route_prefix: Some(243),
        pvd: Some(65_000),
        pvd_identity: Some(65_001),
        pvd_signature: Some(65_002),
    };
    let examples = Config {
        policies: example_policies(),
        interface: BTreeMap::from([("wan0".to_owned(), interface)]),
        cgroup: Some("/sys/fs/cgroup".into()),
        dhcpv6_options,
        address_selection: Settings { privacy: Some(Privacy::Temporary), ..Settings::default() },
        ..Config::default()
    };
    assert_eq!(Config::parse(&in_force), Ok(examples));
}

/// The list of known keys comes from the error for an unknown one.
#[test]
fn the_example_has_every_key() {
    for section in [
        "",
        "[limits]\n",
        "[address_selection]\n",
        "[dhcpv6_options]\n",
        "[interface.x]\n",
        "[group.x]\n",
        "[[policy]]\n",
    ] {
        let problem = Config::parse(&format!("{section}nope = 1")).expect_err("unknown");
        let known: Vec<&str> = problem.message.split('`').skip(3).step_by(2).collect();
        assert!(!known.is_empty(), "{}", problem.message);
        for key in known {
            let documented = [format!("#{key} = "), format!("#[{key}"), format!("#[[{key}]]")];
            let found =
                EXAMPLE.lines().any(|line| documented.iter().any(|form| line.starts_with(form.as_str())));
            assert!(found, "docs/mif.toml says nothing of {section}{key}");
        }
    }
}

#[test]
fn values() {
    let base = Config::default;
    let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<BTreeSet<_>>();
    let limits = Limits { pvds: 16_384, sources: 1, decisions: ENTRIES_MAX, policies: 65_536 };
    for (text, expected) in [
        ("mode = 'observe'", Config { mode: Mode::Observe, ..base() }),
        ("mode = 'strict'", Config { mode: Mode::Strict, ..base() }),
        ("interfaces = ['wan0', 'wan1']", Config { interfaces: names(&["wan0", "wan1"]), ..base() }),
        ("ignore_interfaces = ['docker0']", Config { ignore_interfaces: names(&["docker0"]), ..base() }),
        ("bpffs = '/mnt/bpf'", Config { bpffs: "/mnt/bpf".into(), ..base() }),
        (
            "cgroup = '/sys/fs/cgroup/unified'",
            Config { cgroup: Some("/sys/fs/cgroup/unified".into()), ..base() },
        ),
        ("state_dir = '/tmp/mif'", Config { state_dir: "/tmp/mif".into(), ..base() }),
        (
            "limits = { pvds = 16384, sources = 1, decisions = 16777216, policies = 65536 }",
            Config { limits, ..base() },
        ),
        ("foreign_rules = 'ignore'", Config { foreign_rules: ForeignRules::Ignore, ..base() }),
        ("dhcpv6 = 'off'", Config { dhcpv6: Dhcpv6::Off, ..base() }),
        (
            "[interface.wan0]\ndhcpv6 = 'information'\ndhcpv6_prefix = 0\ndhcpv6_rapid_commit = true\ndhcpv6_rdnss_selection = true",
            Config {
                interface: BTreeMap::from([(
                    "wan0".to_owned(),
                    Interface {
                        dhcpv6: InterfaceDhcpv6 {
                            mode: Some(Dhcpv6::Information),
                            prefix: Some(0),
                            rapid_commit: true,
                            rdnss_selection: true,
                        },
                        ..Default::default()
                    },
                )]),
                ..base()
            },
        ),
        (
            "dhcpv6_options = { next_hop = 242 }",
            Config { dhcpv6_options: DraftCodes { next_hop: Some(242), ..Default::default() }, ..base() },
        ),
        (
            "[address_selection]\ndistributed = 'always'\nreach = 'host'\nprivacy = 'public'\nrows = [{ prefix = '0.0.0.0/0', precedence = 9, label = 3 }]",
            Config {
                address_selection: Settings {
                    table: Some(PolicyTable::new([Row {
                        prefix: mif_core::family::IPV4.into(),
                        precedence: 9,
                        label: 3,
                    }])),
                    distributed: Use::Always,
                    reach: Reach::Host,
                    privacy: Some(Privacy::Public),
                },
                ..base()
            },
        ),
        (
            "[[policy]]\ncgroup = '//a/b/'\npvds = ['x']\nmode = 'observe'",
            Config { policies: vec![policy(path("/a/b"), &[&["x"]], Mode::Observe)], ..base() },
        ),
    ] {
        assert_eq!(Config::parse(text), Ok(expected), "{text}");
    }
}

/// Where it is, what was read, what was expected.
#[test]
fn mistakes() {
    for (text, line, column, says) in [
        // Unknown keys, with the list of the known ones.
        ("\nmodus = 'strict'", 2, 1, &["unknown field `modus`", "`mode`", "`interfaces`", "`policy`"][..]),
        ("[limits]\n  pvd = 1", 2, 3, &["unknown field `pvd`", "`pvds`", "`sources`", "`decisions`"]),
        ("[interface.wan0]\nmetrik = 1", 2, 1, &["unknown field `metrik`", "`metric`"]),
        ("[[policy]]\ncgroup = '/a'\npvd = 'x'", 3, 1, &["unknown field `pvd`", "`pvds`", "`groups`"]),
        // Wrong types.
        ("mode = 1", 1, 8, &["invalid type: integer `1`", "expected a string"]),
        ("interfaces = 'wan0'", 1, 14, &["invalid type: string \"wan0\"", "expected a sequence"]),
        ("interfaces = [1]", 1, 15, &["invalid type: integer `1`", "expected a string"]),
        ("[interface.wan0]\nmetric = 'high'", 2, 10, &["invalid type: string \"high\"", "expected u32"]),
        ("[limits]\npvds = '9'", 2, 8, &["invalid type: string \"9\"", "expected i64"]),
        // Bad values.
        ("mode = 'strct'", 1, 8, &["`strct` is no mode", "`observe`, `prefer` or `strict`"]),
        ("foreign_rules = 'x'", 1, 17, &["`x` is not known here", "`observe` or `ignore`"]),
        ("dhcpv6 = true", 1, 10, &["invalid type: boolean `true`", "expected a string"]),
        ("dhcpv6 = 'on'", 1, 10, &["`on` is not known here", "`auto`, `information`, `stateful` or `off`"]),
        ("[interface.wan0]\ndhcpv6 = 'on'", 2, 10, &["`on` is not known here"]),
        ("[interface.wan0]\ndhcpv6_prefix = 65", 2, 17, &["65 is out of range", "0 to 64"]),
        ("[dhcpv6_options]\nnexthop = 242", 2, 1, &["unknown field `nexthop`", "`next_hop`"]),
        ("[dhcpv6_options]\nnext_hop = 23", 2, 12, &["23 is no number for this option", "160 to 65535"]),
        ("[dhcpv6_options]\nnext_hop = 65536", 2, 12, &["65536 is no number for this option"]),
        (
            "[dhcpv6_options]\nnext_hop = 242\nroute_prefix = 242",
            3,
            16,
            &["242 is the number of next_hop already"],
        ),
        ("[dhcpv6_options]\npvd = 242", 2, 7, &["pvd without pvd_identity"]),
        ("address_selection.distributed = 'x'", 1, 33, &["`x` is not known here", "`always` or `never`"]),
        ("address_selection.privacy = 'x'", 1, 29, &["`x` is not known here", "`temporary` or `public`"]),
        ("address_selection.reach = 'x'", 1, 27, &["`x` is not known here", "`pvd` or `host`"]),
        (
            "[address_selection]\nrows = [{ prefix = 'x', precedence = 1, label = 1 }]",
            2,
            20,
            &["`x` is no prefix"],
        ),
        (
            "[address_selection]\nrows = [{ prefix = '::/0', precedence = 1, label = 1 }, { prefix = '::/0', precedence = 1, label = 1 }]",
            2,
            57,
            &["a second row of this prefix"],
        ),
        ("interfaces = ['a-name-of-more-than-15']", 1, 15, &["`a-name-of-more-than-15`", "1 to 15 octets"]),
        ("interfaces = ['wan*', '..']", 1, 23, &["`..` is no interface name"]),
        ("[interface.'a b']\nmetric = 1", 1, 12, &["`a b` is no interface name"]),
        ("[interface.wan0]\nmetric = -1", 2, 10, &["-1", "expected u32"]),
        ("bpffs = 'sys/fs/bpf'", 1, 9, &["`sys/fs/bpf` is no absolute path"]),
        ("[limits]\npvds = 0", 2, 8, &["0 is out of range", "1 to 16384"]),
        ("[limits]\npvds = 16385", 2, 8, &["16385 is out of range"]),
        ("[limits]\npolicies = 65537", 2, 12, &["65537 is out of range", "1 to 65536"]),
        ("[limits]\nsources = -5", 2, 11, &["-5 is out of range", "1 to 16777216"]),
        ("[[policy]]\ncgroup = 'a'\npvds = ['x']", 2, 10, &["`a` is no cgroup"]),
        ("[[policy]]\ncgroup = '/a/../b'\npvds = ['x']", 2, 10, &["`/a/../b` is no cgroup"]),
        // Values that do not go together, or lack something.
        ("interfaces = ['a']\nignore_interfaces = ['b', 'a']", 2, 27, &["`a` stands in interfaces and in"]),
        ("[[policy]]\npvds = ['x']", 1, 1, &["a policy of nobody", "cgroup = ", "unit = "]),
        (
            "[[policy]]\ncgroup = '/a'\nunit = 'a.service'\npvds = ['x']",
            3,
            8,
            &["cgroup and unit in one policy"],
        ),
        ("[[policy]]\nunit = 'a'\npvds = ['x']", 2, 8, &["`a` is no systemd unit"]),
        ("[[policy]]\ncgroup = '/a[b'\npvds = ['x']", 2, 10, &["`a[b` is no pattern"]),
        ("[[policy]]\ncgroup = '/a'", 2, 10, &["a policy without PvDs", "pvds = "]),
        ("[[policy]]\ncgroup = '/a'\npvds = ['x']\ngroups = [['x']]", 4, 10, &["pvds and groups"]),
        ("[[policy]]\ncgroup = '/a'\npvds = []", 3, 8, &["an empty group"]),
        ("[[policy]]\ncgroup = '/a'\ngroups = [['x'], []]", 3, 18, &["an empty group"]),
        ("[[policy]]\ncgroup = '/a'\ngroups = []", 3, 10, &["an empty group"]),
        ("[[policy]]\ncgroup = '/a'\ngroups = [['x'], ['x']]", 3, 19, &["`x` stands here twice"]),
        ("[[policy]]\ncgroup = '/a'\npvds = ['']", 3, 9, &["an empty name"]),
        (
            "[[policy]]\ncgroup = '/a'\npvds = ['x']\n[[policy]]\ncgroup = '/a/'\npvds = ['y']",
            5,
            10,
            &["a second policy for `/a`"],
        ),
        // Not TOML at all; a column counts characters.
        ("mode = ", 1, 8, &["value"]),
        ("interfaces = ['ä', 'ö', 1]", 1, 25, &["integer `1`"]),
    ] {
        let problem = Config::parse(text).expect_err(text);
        assert_eq!((problem.line, problem.column), (line, column), "{text}: {problem}");
        for word in says {
            assert!(problem.message.contains(word), "{text}: `{word}` is missing in: {problem}");
        }
    }
}

#[test]
fn selectors() {
    for (text, expected) in [
        ("'wan0'", "wan0"),
        ("'wan0/fe80::1'", "wan0/fe80::1"),
        ("{ kind = 'explicit' }", r#"{"kind":"explicit"}"#),
        ("{ kind = 'ipv4', interface = 'wan0' }", r#"{"kind":"ipv4","interface":"wan0"}"#),
        ("{ name = 'a.example', internet = false }", r#"{"name":"a.example","internet":false}"#),
        ("{ id = 'wan0' }", r#"{"id":"wan0"}"#),
    ] {
        let config = Config::parse(&format!("[[policy]]\ncgroup = '/a'\npvds = [{text}]")).expect(text);
        assert_eq!(config.policies[0].groups, [[selector(expected)]], "{text}");
    }
    for (text, column, says) in [
        ("{}", 9, &["a selector without conditions"][..]),
        ("1", 9, &["invalid type: integer `1`", "the name of a PvD or an interface, or a table"]),
        ("'a', { colour = 'red' }", 16, &["unknown field `colour`", "`kind`", "`group`"]),
        ("{ kind = 'wireless' }", 18, &["`wireless` is no kind of PvD"]),
        ("{ kind = 1 }", 18, &["integer `1`", "expected a string"]),
        ("{ interface = 'a b' }", 23, &["`a b` is no interface name"]),
        ("{ internet = 'yes' }", 22, &["string \"yes\"", "expected a boolean"]),
        ("{ group = 'x', kind = 'ipv4' }", 9, &["group and conditions in one selector"]),
    ] {
        let text = format!("[[policy]]\ncgroup = '/a'\npvds = [{text}]");
        let problem = Config::parse(&text).expect_err(&text);
        assert_eq!((problem.line, problem.column), (3, column), "{text}: {problem}");
        for word in says {
            assert!(problem.message.contains(word), "{text}: `{word}` is missing in: {problem}");
        }
    }
}

#[test]
fn named_groups() {
    let text = "[group.a]\npvds = ['wan0', { group = 'b' }]\n[group.b]\npvds = [{ kind = 'ipv4' }, 'wan0']\n\
                [[policy]]\ncgroup = '/a'\ngroups = [[{ group = 'a' }, 'wan1'], [{ group = 'b' }]]";
    let config = Config::parse(text).expect("right");
    let ipv4 = r#"{"kind":"ipv4"}"#;
    assert_eq!(config.policies[0].groups, groups(&[&["wan0", ipv4, "wan1"], &[ipv4, "wan0"]]));

    let policy = |group: &str| format!("[[policy]]\ncgroup = '/a'\npvds = [{{ group = '{group}' }}]\n");
    for (text, line, column, says) in [
        (policy("x"), 3, 9, &["there is no group `x`", "there are none"][..]),
        (
            format!("{}[group.a]\npvds = ['wan0']\n[group.b]\npvds = ['wan1']", policy("x")),
            3,
            9,
            &["there is no group `x`", "`a`, `b`"],
        ),
        // Also where no policy names the group.
        ("[group.a]\npvds = []".to_owned(), 2, 8, &["an empty group"]),
        ("[group.a]\npvds = [{ group = 'a' }]".to_owned(), 2, 9, &["a group within itself: `a` has `a`"]),
        (
            "[group.a]\npvds = [{ group = 'b' }]\n[group.b]\npvds = ['wan0',\n{ group = 'c' }]\n\
             [group.c]\npvds = [{ group = 'b' }]"
                .to_owned(),
            7,
            9,
            &["a group within itself: `b` has `c` has `b`"],
        ),
        ("[group.a]\ngroups = [['wan0']]".to_owned(), 2, 1, &["unknown field `groups`", "`pvds`"]),
        ("[group.a]".to_owned(), 1, 1, &["missing field `pvds`"]),
    ] {
        let problem = Config::parse(&text).expect_err(&text);
        assert_eq!((problem.line, problem.column), (line, column), "{text}: {problem}");
        for word in says {
            assert!(problem.message.contains(word), "{text}: `{word}` is missing in: {problem}");
        }
    }
}

#[test]
fn what_follows_the_last_group() {
    let parse = |rest: &str| Config::parse(&format!("[[policy]]\ncgroup = '/a'\npvds = ['x']\n{rest}"));
    for (rest, mode, otherwise) in [
        ("", Mode::Strict, Otherwise::Refuse),
        ("otherwise = 'refuse'", Mode::Strict, Otherwise::Refuse),
        ("otherwise = 'kernel'", Mode::Prefer, Otherwise::Kernel),
        ("otherwise = 'default'", Mode::Prefer, Otherwise::Default),
        ("mode = 'prefer'", Mode::Prefer, Otherwise::Kernel),
        ("mode = 'observe'\notherwise = 'default'", Mode::Observe, Otherwise::Default),
    ] {
        let policy = parse(rest).expect(rest).policies.remove(0);
        assert_eq!((policy.mode, policy.otherwise), (mode, otherwise), "{rest}");
    }
    for (rest, line, column, says) in [
        ("mode = 'strict'\notherwise = 'kernel'", 5, 13, "strict refuses what no group reaches"),
        ("mode = 'strict'\notherwise = 'default'", 5, 13, "strict refuses what no group reaches"),
        ("mode = 'prefer'\notherwise = 'refuse'", 5, 13, "prefer refuses nothing"),
        ("otherwise = 'wait'", 4, 13, "`wait` is not known here, expected `refuse`, `kernel` or `default`"),
    ] {
        let problem = parse(rest).expect_err(rest);
        assert_eq!((problem.line, problem.column), (line, column), "{rest}: {problem}");
        assert!(problem.message.contains(says), "{rest}: {problem}");
    }
}

#[test]
fn an_error_names_the_file_and_shows_the_line() {
    let dir = std::env::temp_dir().join(format!("mif-config-{}", std::process::id()));
    fs::create_dir_all(&dir).expect("a directory");
    let path = dir.join("mif.toml");
    fs::write(&path, "# first\nmode = 'strct'\n").expect("written");
    let error = Config::load(&path).expect_err("a wrong mode").to_string();
    fs::remove_dir_all(&dir).expect("removed");
    let expected =
        "mif.toml:2:8: `strct` is no mode, expected `observe`, `prefer` or `strict`\n  mode = 'strct'";
    assert!(error.ends_with(expected), "{error}");
    assert!(error.starts_with(&dir.display().to_string()), "{error}");
}

#[test]
fn a_file_that_is_not_there() {
    let path = Path::new("/nonexistent/mif.toml");
    assert_eq!(Config::load_or_default(path).expect("it need not be there"), Config::default());
    let error = Config::load(path).expect_err("it must be there").to_string();
    assert!(
        error.starts_with("/nonexistent/mif.toml: cannot read the configuration: No such file"),
        "{error}"
    );
}

#[test]
fn which_interfaces_are_used() {
    for (text, interface, uses) in [
        ("", "wan0", true),
        ("interfaces = ['wan0']", "wan0", true),
        ("interfaces = ['wan0']", "wan01", false),
        ("ignore_interfaces = ['wan0']", "wan0", false),
        ("ignore_interfaces = ['wan0']", "wan1", true),
    ] {
        assert_eq!(Config::parse(text).expect(text).uses(interface), uses, "{text}: {interface}");
    }
    let config = Config::parse("[interface.wan0]\nmetric = 7\n[interface.wan1]").expect("right");
    assert_eq!(["wan0", "wan1", "wan2"].map(|name| config.metric(name)), [Some(7), None, None]);
}

#[test]
fn interfaces_that_are_not_there_are_told() {
    let text = "interfaces = ['wan0', 'nope']\nignore_interfaces = ['docker0']\n[interface.wan9]\nmetric = 1";
    let named = Config::parse(text).expect("right").named_interfaces();
    let told: Vec<_> =
        named.iter().filter(|named| named.interface != "wan0").map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "interfaces names `nope`, but there is no such interface now; it counts once one appears",
            "ignore_interfaces names `docker0`, but there is no such interface now; it counts once one appears",
            "[interface] names `wan9`, but there is no such interface now; it counts once one appears",
        ]
    );
}
