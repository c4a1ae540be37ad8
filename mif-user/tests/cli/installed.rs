//! Readers on the real maps, and `detach`, which leaves nothing.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::Stdio,
};

use mif_core::select::tables::{Op, TableStore as _};
use mif_user::{control::Notice, lock};
use serde_json::json;

use super::fixture::{Host, LOOPBACK, StandIn, end_of, ip, run, two_pvds};

#[test]
fn status_without_a_daemon() {
    let host = Host::new();
    let _installation = two_pvds(&host);
    let text = host.run(["status"]).ok();
    for expected in [
        "not running; the kernel goes on with what it was told",
        "mode      prefer",
        &format!("connect4, connect6, sendmsg4, sendmsg6, bind4, bind6 at cgroup {}", host.cgroup.display()),
        "egress at lo",
        "something to look at",
        "checksum: 3",
        "lo/fe80::a",
        "29m",
        "strict  lo/fe80::b",
    ] {
        assert!(text.contains(expected), "{expected:?} in\n{text}");
    }
    assert!(!text.contains('\x1b'), "colours only on a terminal");
    let status = host.run(["status", "--json"]).json();
    assert_eq!(status["daemon"]["running"], json!(false));
    assert_eq!(status["effective_mode"], json!({"ipv4": "prefer", "ipv6": "prefer"}));
    assert_eq!(
        status["interfaces"],
        json!([{"name": "lo", "ifindex": LOOPBACK, "up": true, "egress": true}])
    );
    assert_eq!(status["pvds"][0]["id"], json!("lo/fe80::a"));
    assert_eq!(status["policies"][0]["groups"], json!([["lo/fe80::b"]]));
    assert_eq!(status["problems"], json!(["something to look at"]));
}

#[test]
fn colours() {
    let host = Host::new();
    let _installation = two_pvds(&host);
    for (variables, coloured) in
        [(vec![], false), (vec!["CLICOLOR_FORCE"], true), (vec!["CLICOLOR_FORCE", "NO_COLOR"], false)]
    {
        let mut command = host.mif(["status"]);
        command.env_remove("NO_COLOR").env_remove("CLICOLOR_FORCE");
        command.envs(variables.iter().map(|variable| (variable, "1")));
        assert_eq!(run(&mut command).ok().contains('\x1b'), coloured, "{variables:?}");
    }
}

#[test]
fn another_network_namespace_is_said() {
    let host = Host::new();
    let _installation = two_pvds(&host);
    let ask = ["explain", "2001:db8:f::80"];
    assert_eq!(host.run(ask).err, "");
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).expect("root");
    let said = host.run(ask);
    assert!(said.err.contains("another network namespace than the daemon's"), "{}", said.err);
    assert!(said.out.contains("they leave this network namespace alone"), "{}", said.out);
}

#[test]
fn status_with_a_daemon() {
    let host = Host::new();
    let _installation = two_pvds(&host);
    let _lock = lock::acquire(&host.state_dir).expect("free");
    let pid = std::process::id();
    assert!(host.run(["status"]).ok().contains(&format!("running, process {pid}")));
    let status = host.run(["status", "--json"]).json();
    assert_eq!(status["daemon"]["running"], json!(true));
    assert_eq!(status["daemon"]["pid"], json!(pid));
}

#[test]
fn pvds() {
    let host = Host::new();
    let _installation = two_pvds(&host);
    let text = host.run(["pvd"]).ok();
    assert!(text.starts_with("INDEX  PVD         KIND      INTERFACE  ADDRESSES  ROUTES  VALID\n"), "{text}");
    assert_eq!(text.lines().count(), 3, "{text}");
    for name in ["lo/fe80::b", "2", "LO/FE80::B"] {
        let text = host.run(["pvd", name]).ok();
        assert!(text.contains("2001:db8:b::10  preferred  yes      forever"), "{text}");
        let pvd = host.run(["pvd", name, "--json"]).json();
        assert_eq!(pvd["index"], json!(2));
        assert_eq!(
            pvd["kind"],
            json!("implicit"),
            "as the state file has it, which knows better than the map"
        );
        assert_eq!(pvd["facts"]["sources"][0]["address"], json!("2001:db8:b::10"));
    }
    for (name, message) in [
        ("wlan0", "there is no PvD \"wlan0\"; PvDs here: lo/fe80::a, lo/fe80::b"),
        ("lo/", "\"lo/\" can be any of"),
    ] {
        host.run(["pvd", name]).fails(1, message);
    }
}

#[test]
fn readers_without_a_state_file_show_numbers() {
    let host = Host::new();
    let _installation = two_pvds(&host);
    fs::remove_dir_all(&host.state_dir).expect("removed");
    assert!(host.run(["status"]).ok().contains("it has left no state file"));
    assert!(host.run(["pvd", "2"]).ok().contains("#2"));
    let policies = host.run(["policy", "list", "--json"]).json();
    assert_eq!(policies[0]["groups"], json!([["#2"]]));
    assert_eq!(policies[0]["cgroup"], json!(host.cgroup));
    fs::create_dir_all(&host.state_dir).expect("made");
    fs::write(host.state_dir.join("state.json"), "{").expect("written");
    let ran = host.run(["pvd"]);
    assert!(ran.err.contains("names are not known, numbers are shown"), "{}", ran.err);
    assert!(ran.ok().contains("#1"));
}

#[test]
fn explanations() {
    let host = Host::new();
    let _installation = two_pvds(&host);
    let cgroup = host.cgroup.to_str().expect("UTF-8");
    let below = host.cgroup.join("below");
    fs::create_dir(&below).expect("made");
    let below = below.to_str().expect("UTF-8");
    let relative = host.cgroup.file_name().and_then(|name| name.to_str()).expect("UTF-8");
    let far = "2001:db8:f::80";
    let unknown = ["--source", "2001:db8:c::10", far];
    // Arguments, the policy's mode, and verdict, reason, PvD and source of connect.
    for (arguments, mode, connect) in [
        (vec![far], "prefer", json!(["apply", "applied", "lo/fe80::a", "2001:db8:a::10"])),
        (
            vec!["--cgroup", cgroup, far],
            "strict",
            json!(["apply", "applied", "lo/fe80::b", "2001:db8:b::10"]),
        ),
        (vec!["--cgroup", below, far], "strict", json!(["apply", "applied", "lo/fe80::b", "2001:db8:b::10"])),
        (
            vec!["--cgroup", relative, far],
            "strict",
            json!(["apply", "applied", "lo/fe80::b", "2001:db8:b::10"]),
        ),
        (
            vec!["--source", "2001:db8:b::10", far],
            "prefer",
            json!(["apply", "followed-source", "lo/fe80::b", null]),
        ),
        (
            vec!["--cgroup", cgroup, "--source", "2001:db8:a::10", far],
            "strict",
            json!(["refuse", "vetoed", "lo/fe80::a", null]),
        ),
        (unknown.to_vec(), "prefer", json!(["pass", "unknown-source", null, null])),
        (
            vec!["--interface", "lo", far],
            "prefer",
            json!(["apply", "applied", "lo/fe80::a", "2001:db8:a::10"]),
        ),
        (vec!["fe80::1%lo"], "prefer", json!(["pass", "not-ours", null, null])),
        (vec!["::ffff:192.0.2.1"], "prefer", json!(["pass", "no-decision", null, null])),
        (vec!["192.0.2.1"], "prefer", json!(["pass", "no-decision", null, null])),
    ] {
        let report = host.run([&["explain", "--json"], arguments.as_slice()].concat()).json();
        assert_eq!(report["rule"]["mode"], json!(mode), "{arguments:?}");
        let told = &report["connect"];
        assert_eq!(
            json!([told["verdict"], told["reason"], told["pvd"], told["source"]]),
            connect,
            "{arguments:?}: {report}"
        );
    }
    let text = host.run(["explain", "--cgroup", cgroup, far]).ok();
    for expected in [
        &format!("strict, of {cgroup}: lo/fe80::b"),
        "lo/fe80::b: source 2001:db8:b::10, interface lo, next hop fe80::b, for 29m",
        "from 2001:db8:b::10 by lo",
        "applied: source and interface of one PvD were set",
        "sendto       from 2001:db8:b::10\n             applied: the source of one PvD is set; each packet follows it at tc egress",
        "leave by lo, next hop fe80::b",
    ] {
        assert!(text.contains(expected), "{expected:?} in\n{text}");
    }
    for (arguments, expected) in [
        // Two compete in the default view, and the policy's view has one.
        (vec![far], json!([1, 1, "tie-break", ["lo/fe80::a", null], ["lo/fe80::b", "tie-break"]])),
        (vec!["--cgroup", cgroup, far], json!([1, 1, null, ["lo/fe80::b", null]])),
        // By rule 8 it would be the other one, which is not what the tables of this test say.
        (vec!["2001:db8:b:1::9"], json!(null)),
        (vec!["::1"], json!(null)),
    ] {
        let report = host.run([&["explain", "--json"], arguments.as_slice()].concat()).json();
        let choice = &report["choice"];
        let found = choice["candidates"].as_array().map(|candidates| {
            let one = |candidate: &serde_json::Value| {
                json!([candidate["pvd"], candidate["lost_by"].get("criterion")])
            };
            let mut found = vec![choice["group"].clone(), choice["groups"].clone()];
            found.push(choice["decided_by"].get("criterion").cloned().unwrap_or_default());
            found.extend(candidates.iter().map(one));
            found
        });
        assert_eq!(json!(found), expected, "{arguments:?}: {report}");
    }
    for expected in [
        "because      lo/fe80::b is the only one that reaches it",
        "candidates   lo/fe80::b: source 2001:db8:b::10, route ::/0 by fe80::b, metric 0",
    ] {
        assert!(text.contains(expected), "{expected:?} in\n{text}");
    }
    let text = host.run(["explain", far]).ok();
    for expected in [
        "because      lo/fe80::a rather than lo/fe80::b: nothing tells them apart",
        "lo/fe80::b: source 2001:db8:b::10, route ::/0 by fe80::b, metric 0; behind the first: tie-break",
    ] {
        assert!(text.contains(expected), "{expected:?} in\n{text}");
    }
    for (arguments, message) in [
        (["explain", "--cgroup=/tmp", far], "/tmp is not a cgroup"),
        (["explain", "--interface=nonesuch", far], "there is no interface \"nonesuch\""),
    ] {
        host.run(arguments).fails(1, message);
    }
}

/// What the state file says does not go with the tables: nothing is said of candidates.
#[test]
fn explanations_of_another_moment() {
    let host = Host::new();
    let mut installation = two_pvds(&host);
    let far = "2001:db8:f::80";
    let choice = |host: &Host| host.run(["explain", "--json", far]).json()["choice"].clone();
    assert!(choice(&host).is_object());
    installation
        .maps
        .apply(&Op::DeleteDecision(0, "::/0".parse().expect("a literal")))
        .expect("it was there");
    assert!(choice(&host).is_null());
    assert!(host.run(["explain", far]).ok().contains("no PvD of this view reaches it"));
}

#[test]
fn explanations_of_several_destinations() {
    let host = Host::new();
    let _installation = two_pvds(&host);
    ip("-6 addr add 2001:db8:a::10/64 dev lo nodad");
    ip("-6 addr add 2001:db8:b::10/64 dev lo nodad");
    ip("-6 route add default dev lo");
    let order = |arguments: &[&str]| -> Vec<serde_json::Value> {
        let list = host.run([&["explain", "--json"], arguments].concat()).json();
        let one = |report: &serde_json::Value| {
            json!([report["destination"], report["path"]["source"], report["before_next"].get("rule")])
        };
        list.as_array().expect("a list").iter().map(one).collect()
    };
    // The source shares 47 bits with the third and 45 with the second; for IPv4 there is none.
    assert_eq!(
        order(&["192.0.2.1", "2001:db8:f::80", "2001:db8:a:1::80", "::1"]),
        [
            json!(["::1", "::1", 6]),
            json!(["2001:db8:a:1::80", "2001:db8:a::10", 9]),
            json!(["2001:db8:f::80", "2001:db8:a::10", 1]),
            json!(["192.0.2.1", null, null]),
        ]
    );
    let text = host.run(["explain", "2001:db8:f::80", "192.0.2.1"]).ok();
    for expected in [
        "ORDER  DESTINATION     FLOWS                      BEFORE THE NEXT, BECAUSE",
        "1      2001:db8:f::80  from 2001:db8:a::10 by lo  it can be reached, and there is a source for it (rule 1)",
        "2      192.0.2.1       cannot be reached",
        "kernel       has no route there: Network is unreachable",
    ] {
        assert!(text.contains(expected), "{expected:?} in\n{text}");
    }
    let exempt = host.run(["explain", "fe80::1"]).ok();
    assert!(!exempt.contains("table"), "the hooks do not ask the tables:\n{exempt}");
    let named = host.run(["explain", "--json", "localhost"]).json();
    assert_eq!(named[0]["name"], json!("localhost"));
    assert_eq!(named[0]["connect"]["reason"], json!("not-ours"));
    assert_eq!(named[0]["path"]["by"], json!("kernel"));
    host.run(["explain", "a..b"]).fails(1, "cannot resolve \"a..b\"");
}

#[test]
fn maps_decoded() {
    let host = Host::new();
    let _installation = two_pvds(&host);
    let text = host.run(["map"]).ok();
    for heading in
        ["CONFIG", "POLICY", "VIEW", "DECISION", "SOURCE", "PVD", "STATS", "EVENTS", "SOCKET", "GATE"]
    {
        assert!(text.lines().any(|line| line.starts_with(&format!("{heading}  "))), "{heading} in\n{text}");
    }
    let decisions = host.run(["map", "DECISION"]).ok();
    assert!(
        decisions.contains("1     ::/0         use      lo/fe80::b  2001:db8:b::10  lo         fe80::b"),
        "{decisions}"
    );
    let maps = host.run(["map", "--json"]).json();
    assert_eq!(maps["config"]["strict"], json!(true));
    assert_eq!(maps["policy"][0]["mode"], json!("strict"));
    assert_eq!(
        maps["view"],
        json!([{"view": 1, "pvd": "lo/fe80::b", "pvd_index": 2, "interface": null, "ifindex": 0, "group": 0}])
    );
    assert_eq!(maps["source"][0]["valid_seconds"], json!(null), "for ever");
    assert_eq!(maps["decision"][0]["next_hop"], json!("fe80::a"));
    assert_eq!(maps["pvd"][1]["explicit"], json!(true));
    assert!(maps["events"]["note"].is_string());
}

#[test]
fn policies_listed() {
    let host = Host::new();
    let installation = two_pvds(&host);
    let text = host.run(["policy", "list"]).ok();
    assert!(text.contains("strict  lo/fe80::b  1     command"), "{text}");
    let mut installation = installation;
    let id = fs::metadata(&host.cgroup)
        .map(|metadata| std::os::unix::fs::MetadataExt::ino(&metadata))
        .expect("there");
    installation.maps.remove_policy(id).expect("removed");
    assert!(host.run(["policy", "list"]).ok().contains("No cgroup has a policy"));
    assert_eq!(host.run(["policy", "list", "--json"]).json(), json!([]));
}

#[test]
fn watching_the_ring_without_a_daemon() {
    let host = Host::new();
    let _installation = two_pvds(&host);
    ip("-6 route add default dev lo");
    let mut watch = host.mif(["watch", "--count", "1", "--json"]);
    let mut watch = watch.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary runs");
    // The hooks send nothing while nobody watches, and the note is written when somebody does.
    let mut note = String::new();
    BufReader::new(watch.stderr.take().expect("piped")).read_line(&mut note).expect("a line");
    assert!(note.contains("no daemon runs: showing the kernel's events only"), "{note}");
    host.in_cgroup("exec 3<>/dev/udp/2001:db8:f::80/9");
    let notice = end_of(watch).json();
    assert_eq!(notice["kernel"]["hook"], json!("connect6"));
    assert_eq!(notice["kernel"]["destination"], json!("2001:db8:f::80"));
    assert_eq!(notice["kernel"]["pvd"], json!("lo/fe80::b"));
    assert_eq!(notice["kernel"]["cgroup"], json!(host.cgroup));
    let counters = host.run(["status", "--json"]).json()["counters"].clone();
    assert_eq!(counters[0]["reason"], notice["kernel"]["reason"]);
    let watched = host.run(["map", "config", "--json"]).json()["config"]["watched"].clone();
    assert_eq!(watched, json!(false), "whoever asked for events says when it goes");
}

#[test]
fn watching_a_daemon() {
    let host = Host::new();
    let notices = (1..=3).map(|at| Notice::Tables { at, operations: 7, took: 1_000_000 }).collect();
    let stand_in = StandIn::start(&host.state_dir, None, notices);
    let text = host.run(["watch", "--count", "2"]).ok();
    assert_eq!(text.lines().count(), 2, "{text}");
    assert!(text.contains("tables: 7 operations, 1.0 ms after the cause"), "{text}");
    assert_eq!(stand_in.asked().len(), 1);
}

#[test]
fn a_filled_terminal_stops_reading() {
    let host = Host::new();
    let _installation = two_pvds(&host);
    let mut child =
        host.mif(["map"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary runs");
    drop(child.stdout.take());
    let ran = end_of(child);
    assert_eq!(ran.err, "");
    ran.ok();
}

#[test]
fn detach_leaves_nothing() {
    let host = Host::new();
    drop(two_pvds(&host));
    ip("-6 route add 2001:db8:dead::/48 dev lo proto 201");
    ip("-6 route add 2001:db8:beef::/48 dev lo proto static");
    let inventory = host.run(["detach"]);
    assert_eq!(inventory.status, Some(0));
    for expected in ["1 route", "state.json", "Nothing was removed"] {
        assert!(inventory.out.contains(expected), "{expected:?} in\n{}", inventory.out);
    }
    let lock = lock::acquire(&host.state_dir).expect("free");
    let pid = std::process::id();
    host.run(["detach", "--all"]).fails(1, &format!("runs already: process {pid}"));
    assert!(host.bpffs.exists(), "nothing is removed under a daemon's feet");
    drop(lock);
    let text = host.run(["detach", "--all"]).ok();
    assert!(text.contains("programs and maps in") && text.contains("1 route"), "{text}");
    assert!(!host.bpffs.exists() && !host.state_dir.exists());
    let routes = run(std::process::Command::new("ip").args(["-6", "route", "show", "dev", "lo"])).ok();
    assert!(routes.contains("2001:db8:beef::/48") && !routes.contains("dead"), "{routes}");
    let programs = aya::programs::SchedClassifier::query_tcx(LOOPBACK, aya::programs::TcAttachType::Egress);
    assert!(programs.is_ok_and(|(_, programs)| programs.is_empty()));
    assert_eq!(host.run(["detach", "--all"]).ok(), "There was nothing to remove.\n");
}
