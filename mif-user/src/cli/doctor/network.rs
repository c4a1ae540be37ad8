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
    checks.extend(managers(&process_names()));
    let interfaces: Vec<(String, Settings)> =
        interfaces().into_iter().map(|name| (name.clone(), Settings::read(&name))).collect();
    checks.extend(advertisements(&interfaces));
    checks.extend(route_information(&interfaces));
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
                    return Ok(rules.iter().map(ToString::to_string).collect());
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

/// The names of all processes that this user can see, each cut at 15 characters (`TASK_COMM_LEN`).
fn process_names() -> Vec<String> {
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    processes
        .filter_map(|entry| fs::read_to_string(entry.ok()?.path().join("comm")).ok())
        .map(|name| name.trim_end().to_owned())
        .collect()
}

/// Who configures addresses and routes.
fn managers(processes: &[String]) -> Vec<Check> {
    const MANAGERS: [(&str, &str, &str); 2] = [
        ("systemd-network", "systemd-networkd", "RouteMetric="),
        ("NetworkManager", "NetworkManager", "ipv6.route-metric"),
    ];
    MANAGERS
        .iter()
        .filter(|(process, ..)| processes.iter().any(|running| running == process))
        .map(|(_, name, metric)| {
            Check::note(
                *name,
                format!(
                    "runs: it takes Router Advertisements in the kernel's place (accept_ra reads 0 then) and sets \
                     addresses and routes; mif follows them, and takes {metric} for the order of uplinks"
                ),
            )
        })
        .collect()
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

    /// What the kernel does with Router Advertisements.
    const fn takes(self) -> Advertisements {
        match (self.disable_ipv6, self.accept_ra, self.forwarding) {
            (0, 1, 0) | (0, 2.., _) => Advertisements::Taken,
            (0, 1, _) => Advertisements::IgnoredBecauseForwarding,
            (0, ..) => Advertisements::Ignored,
            _ => Advertisements::NoIpv6,
        }
    }
}

/// What the kernel does with the Router Advertisements of an interface.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Advertisements {
    Taken,
    IgnoredBecauseForwarding,
    Ignored,
    NoIpv6,
}

/// One check for all interfaces alike: a host may have hundreds.
fn advertisements(interfaces: &[(String, Settings)]) -> Vec<Check> {
    const CHECK: &str = "Router Advertisements";
    let that = |what: Advertisements| names(interfaces, |settings| settings.takes() == what);
    let mut checks = Vec::new();
    let forwarding = that(Advertisements::IgnoredBecauseForwarding);
    if !forwarding.is_empty() {
        let found =
            format!("ignored on {}, which forwards (forwarding=1, accept_ra=1)", forwarding.join(", "));
        checks.push(Check::warning(CHECK, found).remedy(sysctls(&forwarding, "accept_ra=2")));
    }
    let taken = that(Advertisements::Taken);
    if !taken.is_empty() {
        checks.push(Check::ok(CHECK, format!("taken by the kernel on {}", taken.join(", "))));
    }
    let ignored = that(Advertisements::Ignored);
    if !ignored.is_empty() {
        let found = format!("ignored by the kernel on {} (accept_ra=0)", ignored.join(", "));
        checks.push(Check::note(CHECK, found + ": right where somebody else configures the interface"));
    }
    let without = that(Advertisements::NoIpv6);
    if !without.is_empty() {
        checks.push(Check::note("IPv6", format!("switched off on {}", without.join(", "))));
    }
    checks
}

/// Whether the kernel makes routes of Route Information options (RFC 4191).
fn route_information(interfaces: &[(String, Settings)]) -> Option<Check> {
    let without = names(interfaces, |settings| {
        settings.takes() == Advertisements::Taken && settings.accept_ra_rt_info_max_plen == 0
    });
    let found = format!("ignored by the kernel on {}; mif knows them nevertheless", without.join(", "));
    (!without.is_empty()).then(|| {
        Check::note("Route Information", found).remedy(format!(
            "so that the kernel finds their next hops as well: {}",
            sysctls(&without, "accept_ra_rt_info_max_plen=128")
        ))
    })
}

fn names(interfaces: &[(String, Settings)], which: impl Fn(Settings) -> bool) -> Vec<&str> {
    interfaces.iter().filter(|(_, settings)| which(*settings)).map(|(name, _)| name.as_str()).collect()
}

/// The command that sets something on interfaces. In a sysctl's name, an interface's dots are slashes (sysctl(8)).
fn sysctls(interfaces: &[&str], setting: &str) -> String {
    let settings =
        interfaces.iter().map(|name| format!(" net.ipv6.conf.{}.{setting}", name.replace('.', "/")));
    std::iter::once("sysctl -w".to_owned()).chain(settings).collect()
}

#[cfg(test)]
mod tests {
    use super::{super::Verdict, *};

    #[test]
    fn accept_ra() {
        for (disable_ipv6, forwarding, accept_ra, expected) in [
            (0, 0, 1, Advertisements::Taken),
            (0, 1, 2, Advertisements::Taken),
            (0, 0, 2, Advertisements::Taken),
            (0, 1, 1, Advertisements::IgnoredBecauseForwarding),
            (0, 0, 0, Advertisements::Ignored),
            (0, 1, 0, Advertisements::Ignored),
            (1, 0, 1, Advertisements::NoIpv6),
        ] {
            let settings = Settings { disable_ipv6, forwarding, accept_ra, accept_ra_rt_info_max_plen: 0 };
            assert_eq!(settings.takes(), expected, "{settings:?}");
        }
    }

    #[test]
    fn interfaces_alike_share_a_check() {
        let taken = Settings { accept_ra: 1, accept_ra_rt_info_max_plen: 0, ..Settings::default() };
        let forwards = Settings { forwarding: 1, ..taken };
        let interfaces = [("eth0", taken), ("eth0.5", forwards), ("br0", forwards), ("wlan0", taken)]
            .map(|(name, settings)| (name.to_owned(), settings));
        let checks: Vec<_> =
            advertisements(&interfaces).into_iter().chain(route_information(&interfaces)).collect();
        assert_eq!(
            checks,
            [
                Check::warning(
                    "Router Advertisements",
                    "ignored on eth0.5, br0, which forwards (forwarding=1, accept_ra=1)"
                )
                .remedy("sysctl -w net.ipv6.conf.eth0/5.accept_ra=2 net.ipv6.conf.br0.accept_ra=2"),
                Check::ok("Router Advertisements", "taken by the kernel on eth0, wlan0"),
                Check::note(
                    "Route Information",
                    "ignored by the kernel on eth0, wlan0; mif knows them nevertheless"
                )
                .remedy(
                    "so that the kernel finds their next hops as well: sysctl -w \
                     net.ipv6.conf.eth0.accept_ra_rt_info_max_plen=128 \
                     net.ipv6.conf.wlan0.accept_ra_rt_info_max_plen=128"
                ),
            ]
        );
        assert!(advertisements(&[]).is_empty());
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
        for (processes, expected) in [
            (vec!["init", "systemd-network"], vec!["systemd-networkd"]),
            (vec!["NetworkManager", "systemd-network"], vec!["systemd-networkd", "NetworkManager"]),
            (vec!["NetworkManagerX"], vec![]),
        ] {
            let processes: Vec<String> = processes.into_iter().map(str::to_owned).collect();
            let found: Vec<String> = managers(&processes).into_iter().map(|check| check.check).collect();
            assert_eq!(found, expected);
        }
    }
}
