//! How the kernel takes Router Advertisements, and who else configures the network.

use std::{fs, path::Path, time::Duration};

use anyhow::{Result, anyhow};
use tokio::sync::mpsc;

use super::Check;
use crate::net::{CHANNEL_MESSAGES, Message, netlink::Monitor};

/// Settings of each interface.
const CONF: &str = "/proc/sys/net/ipv6/conf";
/// A kernel that does not answer netlink in this time is a finding of its own.
const NETLINK_TIMEOUT: Duration = Duration::from_secs(5);

pub fn checks() -> Vec<Check> {
    if !Path::new(CONF).exists() {
        return vec![
            Check::missing("IPv6", "this kernel has no IPv6, or it is switched off")
                .remedy("boot without ipv6.disable=1"),
        ];
    }
    let mut checks = vec![rules(foreign_rules())];
    checks.extend(managers(Path::new("/run")));
    for interface in interfaces() {
        let settings = Settings::read(&interface);
        checks.extend(settings.advertisements(&interface));
        checks.extend(settings.route_information(&interface));
    }
    checks
}

fn rules(rules: Result<Vec<String>>) -> Check {
    match rules {
        Ok(rules) if rules.is_empty() => Check::ok("policy rules", "none but the kernel's own"),
        Ok(rules) => Check::warning("policy rules", rules.join("; ")).remedy(
            "somebody routes by policy already, so processes without a policy of mif's are only observed; \
             set foreign_rules = \"ignore\" in the configuration if mif is to decide",
        ),
        Err(error) => Check::warning("policy rules", format!("cannot be listed: {error:#}")),
    }
}

/// The foreign policy rules as the daemon sees them.
fn foreign_rules() -> Result<Vec<String>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (sender, mut receiver) = mpsc::channel(CHANNEL_MESSAGES);
        let monitor = Monitor::open()?;
        let heard = async {
            while let Some(message) = receiver.recv().await {
                if let Message::ForeignRules(rules) = message {
                    return Ok(rules.into_iter().map(|rule| rule.text).collect());
                }
            }
            Err(anyhow!("the kernel told none"))
        };
        tokio::select! {
            rules = heard => rules,
            ended = monitor.run(sender) => match ended {
                Ok(()) => Err(anyhow!("netlink ended")),
                Err(error) => Err(error.into()),
            },
            () = tokio::time::sleep(NETLINK_TIMEOUT) => Err(anyhow!("netlink does not answer")),
        }
    })
}

/// Who configures addresses and routes, by the directories that they keep under `/run`.
fn managers(run: &Path) -> Vec<Check> {
    let mut checks = Vec::new();
    if run.join("systemd/netif").exists() {
        checks.push(Check::note(
            "systemd-networkd",
            "runs: it takes Router Advertisements itself (accept_ra reads 0 then) and sets addresses and routes; mif \
             follows them, and takes RouteMetric= for the order of uplinks",
        ));
    }
    if run.join("NetworkManager").exists() {
        checks.push(Check::note(
            "NetworkManager",
            "runs: it takes Router Advertisements itself (accept_ra reads 0 then) and sets addresses and routes; mif \
             follows them, and takes ipv6.route-metric for the order of uplinks",
        ));
    }
    checks
}

/// The interfaces of this namespace that can hear a router.
fn interfaces() -> Vec<String> {
    let Ok(entries) = fs::read_dir(CONF) else { return Vec::new() };
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| !["all", "default", "lo"].contains(&name.as_str()))
        .collect();
    names.sort();
    names
}

/// The sysctls of an interface that matter (`Documentation/networking/ip-sysctl.rst`).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Settings {
    disable_ipv6: i64,
    forwarding: i64,
    accept_ra: i64,
    accept_ra_rt_info_max_plen: i64,
}

impl Settings {
    fn read(interface: &str) -> Self {
        let read = |name: &str| {
            let text = fs::read_to_string(Path::new(CONF).join(interface).join(name)).unwrap_or_default();
            text.trim().parse().unwrap_or(0)
        };
        Self {
            disable_ipv6: read("disable_ipv6"),
            forwarding: read("forwarding"),
            accept_ra: read("accept_ra"),
            accept_ra_rt_info_max_plen: read("accept_ra_rt_info_max_plen"),
        }
    }

    /// Whether the kernel makes addresses and routes of Router Advertisements.
    fn advertisements(self, interface: &str) -> Option<Check> {
        if self.disable_ipv6 != 0 {
            return Some(Check::note(interface, "IPv6 is switched off here"));
        }
        match (self.accept_ra, self.forwarding) {
            (1, 0) | (2.., _) => Some(Check::ok(interface, "takes Router Advertisements")),
            (1, _) => Some(
                Check::warning(interface, "forwards, and so ignores Router Advertisements (accept_ra=1)")
                    .remedy(format!("sysctl -w net.ipv6.conf.{}.accept_ra=2", sysctl_name(interface))),
            ),
            _ => Some(Check::note(
                interface,
                "the kernel ignores Router Advertisements (accept_ra=0): right if somebody else configures it",
            )),
        }
    }

    /// Whether the kernel takes routes of Route Information options (RFC 4191).
    fn route_information(self, interface: &str) -> Option<Check> {
        let takes_advertisements =
            self.disable_ipv6 == 0 && (self.accept_ra >= 2 || (self.accept_ra == 1 && self.forwarding == 0));
        (takes_advertisements && self.accept_ra_rt_info_max_plen == 0).then(|| {
            Check::note(interface, "the kernel ignores Route Information options; mif knows them nevertheless").remedy(
                format!(
                    "for next hops by the kernel as well: sysctl -w net.ipv6.conf.{}.accept_ra_rt_info_max_plen=128",
                    sysctl_name(interface)
                ),
            )
        })
    }
}

/// An interface's name in a sysctl's: its dots are written as slashes (sysctl(8)).
fn sysctl_name(interface: &str) -> String {
    interface.replace('.', "/")
}

#[cfg(test)]
mod tests {
    use super::{super::Verdict, *};

    #[test]
    fn accept_ra() {
        for (disable_ipv6, forwarding, accept_ra, max_plen, expected) in [
            (0, 0, 1, 128, vec![Verdict::Ok]),
            (0, 1, 2, 128, vec![Verdict::Ok]),
            (0, 0, 2, 0, vec![Verdict::Ok, Verdict::Note]),
            (0, 1, 1, 128, vec![Verdict::Warning]),
            (0, 1, 1, 0, vec![Verdict::Warning]),
            (0, 0, 0, 0, vec![Verdict::Note]),
            (1, 0, 1, 0, vec![Verdict::Note]),
        ] {
            let settings =
                Settings { disable_ipv6, forwarding, accept_ra, accept_ra_rt_info_max_plen: max_plen };
            let checks: Vec<Verdict> = settings
                .advertisements("eth0")
                .into_iter()
                .chain(settings.route_information("eth0"))
                .map(|check| check.verdict)
                .collect();
            assert_eq!(checks, expected, "{settings:?}");
        }
        let forwards = Settings { forwarding: 1, accept_ra: 1, ..Settings::default() };
        let remedy = forwards.advertisements("eth0.5").and_then(|check| check.remedy).expect("there is one");
        assert_eq!(remedy, "sysctl -w net.ipv6.conf.eth0/5.accept_ra=2");
    }

    #[test]
    fn policy_rules() {
        for (found, verdict) in [
            (Ok(vec![]), Verdict::Ok),
            (Ok(vec!["32765: not fwmark 0xca6c lookup 51820".to_owned()]), Verdict::Warning),
            (Err(anyhow!("no")), Verdict::Warning),
        ] {
            assert_eq!(rules(found).verdict, verdict);
        }
    }

    #[test]
    fn network_managers() {
        let run = std::env::temp_dir().join(format!("mif-run-{}", std::process::id()));
        fs::create_dir_all(run.join("systemd/netif")).expect("made");
        let names = |checks: Vec<Check>| checks.into_iter().map(|check| check.check).collect::<Vec<_>>();
        assert_eq!(names(managers(&run)), ["systemd-networkd"]);
        fs::create_dir_all(run.join("NetworkManager")).expect("made");
        assert_eq!(names(managers(&run)), ["systemd-networkd", "NetworkManager"]);
        fs::remove_dir_all(&run).expect("removed");
        assert!(managers(&run).is_empty());
    }
}
