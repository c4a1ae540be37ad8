//! Whether the kernel takes Router Advertisements on an interface (`accept_ra`, `forwarding` in the kernel's ip-sysctl).

use super::conf::setting;

/// Whether the kernel itself takes advertisements on the interface of this name.
pub fn by_kernel(interface: &str) -> bool {
    takes(setting(interface, "accept_ra"), setting(interface, "forwarding"))
}

/// 0: never; 1: unless the interface forwards; 2: also then. What cannot be read is the default, 1 and 0.
const fn takes(accept_ra: Option<i32>, forwarding: Option<i32>) -> bool {
    match accept_ra {
        Some(0) => false,
        Some(2) => true,
        _ => !matches!(forwarding, Some(1..)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings() {
        for (accept_ra, forwarding, expected) in [
            (Some(0), Some(0), false),
            (Some(1), Some(0), true),
            (Some(1), Some(1), false),
            (Some(1), Some(2), false),
            (Some(2), Some(1), true),
            (None, None, true),
        ] {
            assert_eq!(takes(accept_ra, forwarding), expected, "{accept_ra:?} {forwarding:?}");
        }
    }
}
