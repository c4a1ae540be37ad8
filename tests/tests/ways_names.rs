//! getaddrinfo(3) sorts addresses by the sources that connect(2) would choose (RFC 6724 §6): glibc connects a datagram socket to each
//! and looks. So the order must follow what `mif` decides.

use std::{fs, net::IpAddr};

use anyhow::{Context as _, Result, ensure};
use mif_tests::{
    application::Place,
    cgroup::Cgroup,
    deadline::{PATIENCE, bounded},
    footprint::Folder,
    isp::{ISP_A, ISP_B},
    ways::Stage,
};
use mif_user::mode::Mode;

/// The names of the tests; the order in the file is the one that is kept where the rules do not decide.
const HOSTS: &str = "\
2001:db8:a:ffff::1 near-a-then-b
2001:db8:b:ffff::1 near-a-then-b
2001:db8:b:ffff::1 near-b-then-a
2001:db8:a:ffff::1 near-b-then-a
203.0.113.1 both-families
2001:db8:ffff::1 both-families
";

/// What getaddrinfo says to a program in `place`, in its order. The program has a mount namespace with /etc/hosts of its own.
fn resolve(place: Place<'_>, hosts: &Folder, name: &str) -> Result<Vec<IpAddr>> {
    let file = hosts.path().join("hosts");
    fs::write(&file, HOSTS)?;
    let output = place
        .command("unshare")?
        .args(["--mount", "sh", "-c", "mount --bind \"$1\" /etc/hosts && exec getent ahosts \"$2\"", "sh"])
        .arg(&file)
        .arg(name)
        .output()
        .context("start unshare")?;
    let (said, complaint) = (String::from_utf8(output.stdout)?, String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "getent ahosts {name}: {said} {complaint}");
    // A line for each type of socket.
    let lines = said.lines().filter(|line| line.contains("STREAM"));
    lines.map(|line| Ok(line.split_whitespace().next().unwrap_or_default().parse()?)).collect()
}

#[test]
fn the_order_follows_the_sources() {
    bounded(6 * PATIENCE, || {
        let stage = Stage::new()?;
        let hosts = Folder::new("hosts")?;
        let child = |name| stage.root().child(name);
        let (a, b, only_ipv4, only_ipv6) = (child("a")?, child("b")?, child("ipv4")?, child("ipv6")?);
        let check = |cgroup: &Cgroup, name: &str, expected: &[&str]| -> Result<()> {
            let found = resolve(stage.world.host.place(cgroup), &hosts, name)?;
            let expected: Vec<IpAddr> =
                expected.iter().map(|address| address.parse()).collect::<Result<_, _>>()?;
            ensure!(
                found == expected,
                "{}, {name}: {found:?}, expected {expected:?}",
                cgroup.path().display()
            );
            Ok(())
        };
        let [near_a, near_b] = ["2001:db8:a:ffff::1", "2001:db8:b:ffff::1"];
        let [ipv4, ipv6] = ["203.0.113.1", "2001:db8:ffff::1"];

        // The kernel alone has the first provider's source for both: rule 9 of §6 prefers the address near it.
        check(&stage.free, "near-a-then-b", &[near_a, near_b])?;
        check(&stage.free, "near-b-then-a", &[near_a, near_b])?;

        let daemon = stage.daemon()?;
        let ipv4_of = |isp: &mif_tests::isp::Isp| format!("{}/ipv4", isp.name);
        daemon.attach(&a, &ISP_A.pvd(ISP_A.name), Mode::Strict)?;
        daemon.attach(&b, &ISP_B.pvd(ISP_B.name), Mode::Strict)?;
        daemon.attach(&only_ipv6, &ISP_B.pvd(ISP_B.name), Mode::Strict)?;
        daemon.attach(&only_ipv4, &ipv4_of(&ISP_B), Mode::Strict)?;
        for (cgroup, name, expected) in [
            // Each has the source of its own provider (rule 8 of §5): equally near, so that the order of the file stays.
            (&stage.free, "near-a-then-b", [near_a, near_b]),
            (&stage.free, "near-b-then-a", [near_b, near_a]),
            (&a, "near-a-then-b", [near_a, near_b]),
            (&a, "near-b-then-a", [near_a, near_b]),
            (&b, "near-a-then-b", [near_b, near_a]),
            (&b, "near-b-then-a", [near_b, near_a]),
            (&stage.prefer, "near-a-then-b", [near_b, near_a]),
            (&stage.strict, "near-a-then-b", [near_b, near_a]),
            // Rule 6 prefers IPv6; rule 1 avoids what a strict policy refuses.
            (&stage.free, "both-families", [ipv6, ipv4]),
            (&stage.strict, "both-families", [ipv6, ipv4]),
            (&only_ipv6, "both-families", [ipv6, ipv4]),
            (&only_ipv4, "both-families", [ipv4, ipv6]),
        ] {
            check(cgroup, name, &expected)?;
        }
        stage.world.check_no_foreign()?;
        daemon.stop()
    });
}
