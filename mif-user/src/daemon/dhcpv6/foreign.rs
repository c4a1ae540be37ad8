//! Whether somebody else is the DHCPv6 client of a link: two of them would take each other's answers, and spend two leases.

use std::{fmt, fs, net::Ipv6Addr, path::Path};

/// Where the others say what they do.
const RUN: &str = "/run";

/// Who else.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Foreign {
    /// systemd-networkd has the link.
    Networkd,
    /// NetworkManager has the link.
    NetworkManager,
    /// Somebody has UDP port 546 there.
    Port,
    /// Somebody has leased this address.
    Lease(Ipv6Addr),
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Networkd => f.write_str("systemd-networkd configures this link"),
            Self::NetworkManager => f.write_str("NetworkManager configures this link"),
            Self::Port => f.write_str("another program has UDP port 546 on this link"),
            Self::Lease(address) => write!(f, "another program has leased {address}"),
        }
    }
}

/// Whether networkd or NetworkManager has a link, by what they say in `/run`.
#[must_use]
pub fn manager(ifindex: u32) -> Option<Foreign> {
    manager_in(Path::new(RUN), ifindex)
}

fn manager_in(run: &Path, ifindex: u32) -> Option<Foreign> {
    let text = |directory: &str| fs::read_to_string(run.join(directory).join(ifindex.to_string())).ok();
    let value = |text: &str, key: &str| {
        let mut lines = text.lines();
        lines.find_map(|line| {
            Some(line.split_once('=')?)
                .filter(|(found, _)| found.trim() == key)
                .map(|(_, value)| value.trim().to_owned())
        })
    };
    // Without a .network file that fits, networkd leaves a link alone.
    let networkd = text("systemd/netif/links").and_then(|text| value(&text, "ADMIN_STATE"));
    if networkd.is_some_and(|state| state != "unmanaged") {
        return Some(Foreign::Networkd);
    }
    let managed = text("NetworkManager/devices").and_then(|text| value(&text, "managed"));
    managed
        .filter(|managed| !matches!(managed.as_str(), "false" | "0" | "no"))
        .map(|_| Foreign::NetworkManager)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_others_say() {
        let run = std::env::temp_dir().join(format!("mif-foreign-{}", std::process::id()));
        let (networkd, manager) = ("systemd/netif/links", "NetworkManager/devices");
        for (ifindex, directory, text, expected) in [
            (
                2,
                networkd,
                "# This is private data. Do not parse.\nADMIN_STATE=configured\nOPER_STATE=routable\n",
                Some(Foreign::Networkd),
            ),
            (3, networkd, "ADMIN_STATE=pending\n", Some(Foreign::Networkd)),
            (4, networkd, "ADMIN_STATE=unmanaged\nOPER_STATE=carrier\n", None),
            (5, networkd, "OPER_STATE=carrier\n", None),
            (6, manager, "[device]\nmanaged=true\nconnection-uuid=7d1f\n", Some(Foreign::NetworkManager)),
            (7, manager, "[device]\nmanaged=false\n", None),
            (8, manager, "[device]\n", None),
        ] {
            fs::create_dir_all(run.join(directory)).expect("made");
            fs::write(run.join(directory).join(ifindex.to_string()), text).expect("written");
            assert_eq!(manager_in(&run, ifindex), expected, "{text}");
        }
        assert_eq!(manager_in(&run, 9), None, "nobody says anything");
        fs::remove_dir_all(&run).expect("removed");
    }
}
