//! The kernel's settings of an interface (`conf/` in its ip-sysctl).

use std::{fs, path::Path, str::FromStr};

/// Where the kernel keeps those of IPv6.
const CONF: &str = "/proc/sys/net/ipv6/conf";

/// A setting of the interface of this name; `None` where there is none or it cannot be read.
pub fn setting<T: FromStr>(interface: &str, name: &str) -> Option<T> {
    fs::read_to_string(Path::new(CONF).join(interface).join(name)).ok()?.trim().parse().ok()
}
