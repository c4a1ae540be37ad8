//! What one router said about one prefix.

use serde::{Deserialize, Serialize};

use super::{fact::Effect, lifetime};
use crate::{
    time::{Deadline, Time},
    wire::PrefixInformation,
};

/// The state that Prefix Information options leave behind.
///
/// Addresses themselves are the kernel's; this says whose they are, and mirrors their lifetimes by the same rules so
/// that a withdrawal counts before the kernel has told of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct Prefix {
    /// The router accounts for addresses of the prefix until then: for autoconfigured ones by the two-hour rule
    /// (RFC 4862 §5.5.3 e). Both flags unset still mean that the router carries the prefix (RFC 8028 §2.1).
    pub valid_until: Deadline,
    /// Autoconfigured addresses are preferred until then.
    pub preferred_until: Deadline,
    /// The prefix is on-link until then (RFC 4861 §6.3.4); `None` where nobody said so.
    pub on_link_until: Option<Deadline>,
    /// Said with the A flag: addresses are autoconfigured from it.
    pub autonomous: bool,
}

impl Prefix {
    /// The state after an option. `previous` is the state before, `assigned` the end of the kernel's address of the
    /// prefix, which counts where there is no state yet (the daemon is younger than the address).
    ///
    /// `None`: nothing holds.
    pub(super) fn after(
        previous: Option<Self>,
        assigned: Option<Deadline>,
        option: &PrefixInformation,
        now: Time,
    ) -> Option<Self> {
        let announced = Deadline::from_lifetime(option.valid_lifetime, now);
        let preferred = Deadline::from_lifetime(option.preferred_lifetime, now);
        let ended = Deadline::at(now);
        let mut prefix = previous.unwrap_or(Self {
            valid_until: ended,
            preferred_until: ended,
            on_link_until: None,
            autonomous: false,
        });
        if option.on_link {
            prefix.on_link_until = Some(announced);
        }
        // RFC 4862 §5.5.3 c: not for autoconfiguration if preferred outlives valid.
        if option.preferred_lifetime <= option.valid_lifetime {
            if option.autonomous {
                let current =
                    previous.map(|previous| previous.valid_until).filter(|until| !until.passed(now));
                prefix.valid_until = lifetime::valid_until(current.or(assigned), option.valid_lifetime, now);
                prefix.preferred_until = preferred;
                prefix.autonomous = true;
            } else if prefix.autonomous {
                // §5.5.3 a: without A nothing is said of the addresses that there are.
                prefix.valid_until = prefix.valid_until.max(announced);
            } else {
                (prefix.valid_until, prefix.preferred_until) = (announced, preferred);
            }
        }
        prefix.expire(now);
        prefix.holds(now).then_some(prefix)
    }

    /// Whether the router accounts for addresses of the prefix.
    #[must_use]
    pub fn claims(&self, now: Time) -> bool {
        !self.valid_until.passed(now)
    }

    /// Whether the prefix is on-link.
    #[must_use]
    pub fn is_on_link(&self, now: Time) -> bool {
        self.on_link_until.is_some_and(|until| !until.passed(now))
    }

    /// Whether autoconfigured addresses of it are for new flows.
    #[must_use]
    pub fn is_preferred(&self, now: Time) -> bool {
        !self.preferred_until.passed(now)
    }

    /// Whether any of it holds.
    pub(super) fn holds(&self, now: Time) -> bool {
        self.claims(now) || self.is_on_link(now)
    }

    /// Forgets an on-link statement that has ended.
    pub(super) fn expire(&mut self, now: Time) {
        self.on_link_until = self.on_link_until.filter(|until| !until.passed(now));
    }

    /// The deadlines in it.
    pub(super) fn deadlines(&self) -> impl Iterator<Item = Deadline> {
        [Some(self.valid_until), Some(self.preferred_until), self.on_link_until].into_iter().flatten()
    }

    /// What it means that this came after `before`.
    pub(super) fn effect(&self, before: &Self, now: Time) -> Effect {
        let meaning = |prefix: &Self| {
            (prefix.claims(now), prefix.is_preferred(now), prefix.is_on_link(now), prefix.autonomous)
        };
        if meaning(self) != meaning(before) {
            Effect::Changed
        } else if self != before {
            Effect::Lifetimes
        } else {
            Effect::Nothing
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pvd::testing::{at, pio, until};

    /// (valid, preferred, on-link), all in seconds from the option; 0 is ended, `None` never said.
    type Left = Option<(u64, u64, Option<u64>)>;

    #[test]
    fn options_in_sequence() {
        let first = pio("2001:db8::/64", 86_400, 3600);
        let a0 = |option: PrefixInformation| PrefixInformation { autonomous: false, ..option };
        let l0 = |option: PrefixInformation| PrefixInformation { on_link: false, ..option };
        let table: &[(&str, &[PrefixInformation], Left)] = &[
            ("SL-4862-5.5.3-e", &[first], Some((86_400, 3600, Some(86_400)))),
            ("SL-4862-5.5.3-f", &[first, pio("2001:db8::/64", 3600, 3600)], Some((7200, 3600, Some(3600)))),
            ("SL-4862-5.5.3-i", &[first, pio("2001:db8::/64", 10_000, 1)], Some((10_000, 1, Some(10_000)))),
            ("SL-4862-5.5.3-j", &[first, pio("2001:db8::/64", 86_400, 0)], Some((86_400, 0, Some(86_400)))),
            ("RA-4861-6.3.4-m", &[first, pio("2001:db8::/64", 0, 0)], Some((7200, 0, None))),
            (
                "RA-4861-6.3.4-l",
                &[first, l0(pio("2001:db8::/64", 86_400, 60))],
                Some((86_400, 60, Some(86_400))),
            ),
            (
                "SL-4862-5.5.3-b existing",
                &[first, pio("2001:db8::/64", 60, 61)],
                Some((86_400, 3600, Some(60))),
            ),
            ("SL-4862-5.5.3-b new", &[l0(pio("2001:db8::/64", 60, 61))], None),
            ("SL-4862-5.5.3-a", &[a0(first)], Some((86_400, 3600, Some(86_400)))),
            ("A=0 has no two-hour rule", &[a0(first), a0(pio("2001:db8::/64", 0, 0))], None),
            (
                "A=0 after A=1",
                &[first, a0(l0(pio("2001:db8::/64", 0, 0)))],
                Some((86_400, 3600, Some(86_400))),
            ),
            ("RT-8028-2.1-a", &[a0(l0(first))], Some((86_400, 3600, None))),
            ("unknown and withdrawn", &[pio("2001:db8::/64", 0, 0)], None),
        ];
        for (id, options, left) in table {
            let mut prefix = None;
            for option in *options {
                prefix = Prefix::after(prefix, None, option, at(0));
            }
            let got = prefix.map(|prefix| (prefix.valid_until, prefix.preferred_until, prefix.on_link_until));
            assert_eq!(got, left.map(|(v, p, l)| (until(v), until(p), l.map(until))), "{id}");
        }
    }

    /// SL-4862-5.5.3-g, -h: the remaining lifetime counts, not the one once announced.
    #[test]
    fn remaining_lifetime() {
        let prefix =
            Prefix::after(None, None, &pio("2001:db8::/64", 86_400, 86_400), at(0)).expect("announced");
        let now = at(81_400);
        for (id, valid, end) in [("g", 0, 86_400), ("h", 6000, 81_400 + 6000)] {
            let after =
                Prefix::after(Some(prefix), None, &pio("2001:db8::/64", valid, 0), now).expect("holds");
            assert_eq!(after.valid_until, until(end), "{id}");
            assert!(!after.is_preferred(now), "{id}");
        }
    }

    /// A withdrawal heard first: the kernel's address stands in for the record that a young daemon lacks.
    #[test]
    fn assigned_address_stands_in() {
        for (assigned, end) in [(500, 500), (86_400, 7200)] {
            let after = Prefix::after(None, Some(until(assigned)), &pio("2001:db8::/64", 0, 0), at(0));
            assert_eq!(after.map(|prefix| prefix.valid_until), Some(until(end)), "{assigned}");
        }
    }

    #[test]
    fn effects() {
        let now = at(0);
        let of = |valid, preferred| Prefix::after(None, None, &pio("2001:db8::/64", valid, preferred), now);
        let before = of(100, 50).expect("holds");
        for (valid, preferred, effect) in
            [(100, 50, Effect::Nothing), (200, 50, Effect::Lifetimes), (100, 0, Effect::Changed)]
        {
            let after = of(valid, preferred).expect("holds");
            assert_eq!(after.effect(&before, now), effect, "{valid} {preferred}");
        }
    }
}
