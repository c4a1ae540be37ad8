//! What is leased: addresses and delegated prefixes, with their lifetimes and with the times at which to ask for more.

use std::{collections::BTreeMap, net::Ipv6Addr};

use core::time::Duration;

use ipnet::Ipv6Net;
use serde::{Deserialize, Serialize};

use crate::{
    time::{Deadline, Time},
    wire::dhcpv6::{IdentityAssociation, Lease},
};

/// The most leases of a client. A host takes one address and one prefix from a server, and some more while a network is
/// renumbered; each address becomes one in the kernel.
pub const LEASES: usize = 64;

/// The least time until a client asks again where the server leaves it to the client (T1 = 0, §14.2): REN_TIMEOUT, what lies
/// between two Renews as well.
const OWN_T1_MINIMUM: Duration = Duration::from_secs(10);

/// T1 and T2 in tenths of the shortest preferred lifetime, where the client chooses: what §21.4 recommends to servers.
const OWN_T1_TENTHS: u32 = 5;
const OWN_T2_TENTHS: u32 = 8;

/// Bits of an address.
const ADDRESS_BITS: u8 = 128;

/// A lease.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct HeldLease {
    /// An address (128 bits) or a delegated prefix.
    pub prefix: Ipv6Net,
    /// Until when new flows may use it.
    pub preferred_until: Deadline,
    /// Until when it is the client's.
    pub valid_until: Deadline,
}

impl HeldLease {
    /// The address, where it is one.
    #[must_use]
    pub fn address(&self) -> Option<Ipv6Addr> {
        (self.prefix.prefix_len() == ADDRESS_BITS).then_some(self.prefix.addr())
    }
}

/// Why something of an association is not taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum LeaseError {
    /// §21.4, §21.21
    #[error("T1 {t1} s after T2 {t2} s, expected it before")]
    T1AfterT2 {
        /// T1
        t1: u32,
        /// T2
        t2: u32,
    },
    /// §21.6, §21.22
    #[error("preferred for {preferred} s and valid for {valid} s, expected it to be valid as long")]
    PreferredAfterValid {
        /// The preferred lifetime.
        preferred: u32,
        /// The valid lifetime.
        valid: u32,
    },
    /// Not an address, or a prefix, that a host could use beyond its link.
    #[error("{0} as a lease, expected a global unicast prefix")]
    Prefix(Ipv6Net),
    /// [`LEASES`]
    #[error("more than {LEASES} leases, expected fewer")]
    TooMany,
}

impl LeaseError {
    /// A short stable name for counters.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::T1AfterT2 { .. } => "t1-after-t2",
            Self::PreferredAfterValid { .. } => "preferred-after-valid",
            Self::Prefix(_) => "lease-prefix",
            Self::TooMany => "too-many-leases",
        }
    }
}

/// All leases of a client.
#[derive(Clone, Debug, Default, Eq, PartialEq, Deserialize, Serialize)]
pub struct Leases {
    held: BTreeMap<Ipv6Net, HeldLease>,
    /// When the server that gave them is to be asked; the earliest of the associations (§18.2.4).
    t1: Deadline,
    /// When any server is to be asked.
    t2: Deadline,
}

impl Leases {
    /// Takes in an association of a Reply (§18.2.10.1). What it does not mention stays as it is.
    ///
    /// # Errors
    /// The association is not taken. `refused` is told of single leases.
    pub fn update(
        &mut self,
        association: &IdentityAssociation,
        now: Time,
        refused: &mut impl FnMut(LeaseError),
    ) -> Result<(), LeaseError> {
        let &IdentityAssociation { t1, t2, .. } = association;
        if t1 > t2 && t2 > 0 {
            return Err(LeaseError::T1AfterT2 { t1, t2 });
        }
        let mut shortest = u32::MAX;
        for lease in &association.leases {
            if let Err(error) = self.take(lease, now) {
                refused(error);
            } else if lease.valid_lifetime > 0 {
                shortest = shortest.min(lease.preferred_lifetime);
            }
        }
        let (t1, t2) = times(t1, t2, shortest, now);
        self.t1 = self.t1.min(t1);
        self.t2 = self.t2.min(t2);
        Ok(())
    }

    fn take(&mut self, lease: &Lease, now: Time) -> Result<(), LeaseError> {
        let &Lease { prefix, preferred_lifetime, valid_lifetime, .. } = lease;
        if preferred_lifetime > valid_lifetime {
            let (preferred, valid) = (preferred_lifetime, valid_lifetime);
            return Err(LeaseError::PreferredAfterValid { preferred, valid });
        }
        let address = prefix.addr();
        let useless = address.is_unspecified()
            || address.is_loopback()
            || address.is_multicast()
            || address.is_unicast_link_local()
            || address.to_ipv4_mapped().is_some();
        if useless {
            return Err(LeaseError::Prefix(prefix));
        }
        if valid_lifetime == 0 {
            self.held.remove(&prefix);
            return Ok(());
        }
        if self.held.len() >= LEASES && !self.held.contains_key(&prefix) {
            return Err(LeaseError::TooMany);
        }
        let held = HeldLease {
            prefix,
            preferred_until: Deadline::from_lifetime(preferred_lifetime, now),
            valid_until: Deadline::from_lifetime(valid_lifetime, now),
        };
        self.held.insert(prefix, held);
        Ok(())
    }

    /// Forgets when to ask: a new Reply says it anew.
    pub fn forget_times(&mut self) {
        (self.t1, self.t2) = (Deadline::NEVER, Deadline::NEVER);
    }

    /// Lets go what has ended. True if something has.
    pub fn expire(&mut self, now: Time) -> bool {
        let before = self.held.len();
        self.held.retain(|_, lease| !lease.valid_until.passed(now));
        before != self.held.len()
    }

    /// The same leases on another clock: see [`Deadline::on_other_clock`].
    #[must_use]
    pub fn on_other_clock(&self, here: Time, there: Time) -> Self {
        let moved = |deadline: Deadline| deadline.on_other_clock(here, there);
        let lease = |lease: &HeldLease| HeldLease {
            prefix: lease.prefix,
            preferred_until: moved(lease.preferred_until),
            valid_until: moved(lease.valid_until),
        };
        Self {
            held: self.held.iter().map(|(prefix, held)| (*prefix, lease(held))).collect(),
            t1: moved(self.t1),
            t2: moved(self.t2),
        }
    }

    /// Gives one up.
    pub fn remove(&mut self, prefix: Ipv6Net) -> Option<HeldLease> {
        self.held.remove(&prefix)
    }

    /// Gives up all.
    pub fn clear(&mut self) {
        self.held.clear();
        self.forget_times();
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// In the order of their prefixes.
    pub fn iter(&self) -> impl Iterator<Item = &HeldLease> {
        self.held.values()
    }

    /// Whether a prefix is delegated.
    #[must_use]
    pub fn has_prefix(&self) -> bool {
        self.iter().any(|lease| lease.address().is_none())
    }

    /// T1
    #[must_use]
    pub const fn t1(&self) -> Deadline {
        self.t1
    }

    /// T2
    #[must_use]
    pub const fn t2(&self) -> Deadline {
        self.t2
    }

    /// When the next lease ends.
    #[must_use]
    pub fn next_end(&self) -> Deadline {
        self.iter().map(|lease| lease.valid_until).min().unwrap_or(Deadline::NEVER)
    }

    /// When the last one ends.
    #[must_use]
    pub fn last_end(&self) -> Deadline {
        self.iter().map(|lease| lease.valid_until).max().unwrap_or(Deadline::NEVER)
    }
}

/// T1 and T2 of an association, of which `shortest` is the shortest preferred lifetime. 0 leaves the choice to the client,
/// which must not ask at once (§14.2).
fn times(t1: u32, t2: u32, shortest: u32, now: Time) -> (Deadline, Deadline) {
    let own = |tenths: u32| match shortest {
        u32::MAX => u32::MAX,
        seconds => (seconds / 10).saturating_mul(tenths).max(OWN_T1_MINIMUM.as_secs() as u32),
    };
    let (t1, t2) = match (t1, t2) {
        (0, 0) => (own(OWN_T1_TENTHS), own(OWN_T2_TENTHS)),
        (0, t2) => (own(OWN_T1_TENTHS).min(t2), t2),
        (t1, 0) => (t1, own(OWN_T2_TENTHS).max(t1)),
        given => given,
    };
    (Deadline::from_lifetime(t1, now), Deadline::from_lifetime(t2, now))
}
