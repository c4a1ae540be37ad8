//! Why a hook did what it did.

/// The reasons, each counted per PvD in STATS. The texts are the one table that the CLI and the documentation show.
macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $value:literal, $key:literal, $text:literal;)*) => {
        /// Why a hook did what it did; every outcome has one and is counted.
        #[repr(u32)]
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub enum Reason { $(#[doc = $text] $name = $value,)* }

        impl Reason {
            /// All of them, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The name used by the CLI, in JSON and in metrics.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $key,)* }
            }

            /// One sentence for people.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

reasons! {
    NotConfigured = 0, "not-configured", "no daemon has filled CONFIG yet; left alone";
    OtherNamespace = 1, "other-namespace", "the socket lives in another network namespace; left alone";
    NotOurs = 2, "not-ours", "loopback, link-local, multicast or host-local destination; left alone";
    Applied = 3, "applied", "source and interface of one PvD were set";
    FollowedSource = 4, "followed-source", "the socket had a source already; its interface was made to follow it";
    InterfaceOnly = 5, "interface-only", "the socket had a port already; only the interface could be set";
    Consistent = 6, "consistent", "source and interface were of one PvD already; nothing to do";
    UnknownSource = 7, "unknown-source", "the source belongs to no PvD; left alone";
    ApplicationDevice = 8, "application-device", "the application bound the socket to an interface, or chose one for it; respected";
    Administrator = 9, "administrator", "a route of the administrator decides for this destination; left alone";
    NoDecision = 10, "no-decision", "no PvD reaches the destination; left to the kernel";
    Expired = 11, "expired", "the tables' answer has outlived its lifetime; left to the kernel";
    Observed = 12, "observed", "would have been changed or refused, but the mode is observe";
    Unreachable = 13, "unreachable", "refused: no PvD of the strict view reaches the destination, or the interface of the source is down";
    Vetoed = 14, "vetoed", "refused or dropped: source or interface of a PvD that the strict view does not allow";
    BindFailed = 15, "bind-failed", "the kernel would not bind the chosen source; left to the kernel, refused under a strict policy";
    DeviceFailed = 16, "device-failed", "the kernel would not bind the chosen interface; left to the kernel, refused under a strict policy";
    Redirected = 17, "redirected", "the packet was about to leave by another PvD's interface and was sent to its own";
    Forwarded = 18, "forwarded", "the packet is not of this host; left alone";
    Malformed = 19, "malformed", "the packet is too short for its IP header, or has IPv4 addresses in an IPv6 header; left alone, dropped under a strict policy";
    NextHop = 20, "next-hop", "several routers share the link; the packet was sent to that of its source, or of the policy's view";
    Readdressed = 21, "readdressed", "the echo request of a socket without a source was given that of the view's PvD";
    SeveralInterfaces = 22, "several-interfaces", "the source is an address of several interfaces; left to the kernel";
}

/// How many reasons there are.
pub const COUNT: u32 = Reason::ALL.len() as u32;

impl Reason {
    /// The reason of a raw value, `None` for a number of a newer version.
    #[must_use]
    pub fn from_raw(raw: u32) -> Option<Self> {
        Self::ALL.get(usize::try_from(raw).ok()?).copied()
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;

    #[test]
    fn each_is_documented() {
        let maps = include_str!("../../docs/maps.md");
        for reason in Reason::ALL {
            let row = std::format!("| `{}` | {} |", reason.name(), reason.text());
            assert!(maps.contains(&row), "docs/maps.md lacks the row {row}");
        }
    }

    #[test]
    fn numbers_are_dense() {
        for (place, reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, place, "{}", reason.name());
            assert_eq!(Reason::from_raw(*reason as u32), Some(*reason));
        }
        assert_eq!(Reason::from_raw(COUNT), None);
    }
}
