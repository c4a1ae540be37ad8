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
    Ipv4 = 3, "ipv4", "an IPv4 destination on an IPv6 socket; left alone";
    Applied = 4, "applied", "source and interface of one PvD were set";
    FollowedSource = 5, "followed-source", "the socket had a source already; its interface was made to follow it";
    InterfaceOnly = 6, "interface-only", "the socket had a port already; only the interface could be set";
    Consistent = 7, "consistent", "source and interface were of one PvD already; nothing to do";
    UnknownSource = 8, "unknown-source", "the source belongs to no PvD; left alone";
    ApplicationDevice = 9, "application-device", "the application bound the socket to an interface; respected";
    Administrator = 10, "administrator", "a route of the administrator decides for this destination; left alone";
    NoDecision = 11, "no-decision", "no PvD reaches the destination; left to the kernel";
    Expired = 12, "expired", "the tables' answer has outlived its lifetime; left to the kernel";
    Observed = 13, "observed", "would have been changed or refused, but the mode is observe";
    Unreachable = 14, "unreachable", "refused: no PvD of the strict view reaches the destination";
    Vetoed = 15, "vetoed", "refused or dropped: source or interface of a PvD that the strict view does not allow";
    BindFailed = 16, "bind-failed", "the kernel would not bind the chosen source; left to the kernel";
    DeviceFailed = 17, "device-failed", "the kernel would not bind the chosen interface; left to the kernel";
    Redirected = 18, "redirected", "the packet was about to leave by another PvD's interface and was sent to its own";
    Forwarded = 19, "forwarded", "the packet is not of this host; left alone";
    Malformed = 20, "malformed", "the packet is too short for an IPv6 header; left alone";
    NextHop = 21, "next-hop", "several routers share the link; the packet was sent to that of its source";
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
    use super::*;

    #[test]
    fn numbers_are_dense() {
        for (place, reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, place, "{}", reason.name());
            assert_eq!(Reason::from_raw(*reason as u32), Some(*reason));
        }
        assert_eq!(Reason::from_raw(COUNT), None);
    }
}
