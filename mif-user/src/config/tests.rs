use super::*;

const EXAMPLE: &str = include_str!("../../../docs/mif.toml");

fn policy(cgroup: &str, groups: &[&[&str]], mode: Mode) -> Policy {
    let groups = groups.iter().map(|group| group.iter().map(|&id| id.into()).collect()).collect();
    Policy { cgroup: cgroup.into(), groups, mode }
}

fn example_policies() -> Vec<Policy> {
    vec![
        policy("/system.slice/backup.service", &[&["isp-b.example.net"]], Mode::Strict),
        policy(
            "/user.slice",
            &[&["corp.example.com"], &["isp-a.example.net", "isp-b.example.net"]],
            Mode::Prefer,
        ),
    ]
}

#[test]
fn an_empty_file_is_the_default() {
    assert_eq!(Config::parse(""), Ok(Config::default()));
}

/// As it stands, and with each commented key in force: what it shows as a default is the default.
#[test]
fn the_example() {
    let interface = |metric| BTreeMap::from([("wan0".to_owned(), Interface { metric, merge_ipv4: false })]);
    let expected = Config { policies: example_policies(), interface: interface(None), ..Config::default() };
    assert_eq!(Config::parse(EXAMPLE), Ok(expected.clone()));

    let in_force: String = EXAMPLE
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(key) if key.starts_with(char::is_alphabetic) => format!("{key}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    // The two that have no default.
    let examples =
        Config { interface: interface(Some(100)), cgroup: Some("/sys/fs/cgroup".into()), ..expected };
    assert_eq!(Config::parse(&in_force), Ok(examples));
}

/// The list of known keys comes from the error for an unknown one.
#[test]
fn the_example_has_every_key() {
    for section in ["", "[limits]\n", "[interface.x]\n", "[[policy]]\n"] {
        let problem = Config::parse(&format!("{section}nope = 1")).expect_err("unknown");
        let known: Vec<&str> = problem.message.split('`').skip(3).step_by(2).collect();
        assert!(!known.is_empty(), "{}", problem.message);
        for key in known {
            let documented =
                [format!("#{key} = "), format!("{key} = "), format!("[{key}"), format!("[[{key}]]")];
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
    let limits = Limits { pvds: 16_384, sources: 1, decisions: ENTRIES_MAX };
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
        ("limits = { pvds = 16384, sources = 1, decisions = 16777216 }", Config { limits, ..base() }),
        ("foreign_rules = 'ignore'", Config { foreign_rules: ForeignRules::Ignore, ..base() }),
        (
            "[[policy]]\ncgroup = '//a/b/'\npvds = ['x']\nmode = 'observe'",
            Config { policies: vec![policy("/a/b", &[&["x"]], Mode::Observe)], ..base() },
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
        ("interfaces = ['a-name-of-more-than-15']", 1, 15, &["`a-name-of-more-than-15`", "1 to 15 octets"]),
        ("interfaces = ['wan*', '..']", 1, 23, &["`..` is no interface name"]),
        ("[interface.'a b']\nmetric = 1", 1, 12, &["`a b` is no interface name"]),
        ("[interface.wan0]\nmetric = -1", 2, 10, &["-1", "expected u32"]),
        ("bpffs = 'sys/fs/bpf'", 1, 9, &["`sys/fs/bpf` is no absolute path"]),
        ("[limits]\npvds = 0", 2, 8, &["0 is out of range", "1 to 16384"]),
        ("[limits]\npvds = 16385", 2, 8, &["16385 is out of range"]),
        ("[limits]\nsources = -5", 2, 11, &["-5 is out of range", "1 to 16777216"]),
        ("[[policy]]\ncgroup = 'a'\npvds = ['x']", 2, 10, &["`a` is no cgroup"]),
        ("[[policy]]\ncgroup = '/a/../b'\npvds = ['x']", 2, 10, &["`/a/../b` is no cgroup"]),
        // Values that do not go together, or lack something.
        ("interfaces = ['a']\nignore_interfaces = ['b', 'a']", 2, 27, &["`a` stands in interfaces and in"]),
        ("[[policy]]\npvds = ['x']", 1, 1, &["missing field `cgroup`"]),
        ("[[policy]]\ncgroup = '/a'", 2, 10, &["a policy without PvDs", "pvds = "]),
        ("[[policy]]\ncgroup = '/a'\npvds = ['x']\ngroups = [['x']]", 4, 10, &["pvds and groups"]),
        ("[[policy]]\ncgroup = '/a'\npvds = []", 3, 8, &["an empty group"]),
        ("[[policy]]\ncgroup = '/a'\ngroups = [['x'], []]", 3, 10, &["an empty group"]),
        ("[[policy]]\ncgroup = '/a'\ngroups = [['x'], ['x']]", 3, 10, &["`x` stands here twice"]),
        ("[[policy]]\ncgroup = '/a'\npvds = ['']", 3, 8, &["an empty PvD ID"]),
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
