//! Facts, who said them and until when; and those that routers announce, in a capped list.

use std::{fmt, net::Ipv6Addr};

use serde::{Deserialize, Serialize};

use super::limits::{Refused, RefusedReason};
use crate::time::{Deadline, Time};

/// Who said something.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SaidBy {
    /// The router of this address, in an advertisement.
    Router(Ipv6Addr),
    /// The DHCPv6 server, or relay, of this address.
    Dhcpv6(Ipv6Addr),
    /// The kernel, and so whoever configured it.
    Kernel,
}

impl SaidBy {
    /// The router, if it was one.
    #[must_use]
    pub const fn router(self) -> Option<Ipv6Addr> {
        match self {
            Self::Router(router) => Some(router),
            Self::Dhcpv6(_) | Self::Kernel => None,
        }
    }
}

impl fmt::Display for SaidBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Router(router) => router.fmt(f),
            Self::Dhcpv6(server) => write!(f, "DHCPv6 {server}"),
            Self::Kernel => f.write_str("kernel"),
        }
    }
}

/// Something that somebody said.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct Fact<T> {
    /// What.
    pub value: T,
    /// Who said so last.
    pub said_by: SaidBy,
    /// How long it holds.
    pub valid_until: Deadline,
}

/// What a piece of news did.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Effect {
    /// Nothing.
    #[default]
    Nothing,
    /// Something known holds for another time.
    Lifetimes,
    /// Something is new, gone or different.
    Changed,
}

/// What a list takes in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Admission {
    /// At most so many.
    pub room: usize,
    /// What is counted when there is none.
    pub reason: RefusedReason,
    /// The procedure of RFC 8106 §6.2: what is new goes in front, and the soonest to expire makes room for it.
    /// Otherwise what is new goes behind, and is refused where there is no room.
    pub newest_first: bool,
}

/// A list of different facts.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Facts<T>(Vec<Fact<T>>);

impl<T> Default for Facts<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: PartialEq> Facts<T> {
    /// Takes in what one advertisement says: values with lifetimes in seconds, 0 withdraws, `u32::MAX` for ever.
    pub fn announce(
        &mut self,
        said_by: Ipv6Addr,
        news: impl IntoIterator<Item = (T, u32)>,
        admission: Admission,
        now: Time,
        refused: &mut Refused,
    ) -> Effect {
        let said_by = SaidBy::Router(said_by);
        let mut effect = Effect::Nothing;
        let mut fresh: Vec<Fact<T>> = Vec::new();
        for (value, lifetime) in news {
            let valid_until = Deadline::from_lifetime(lifetime, now);
            if let Some(place) = self.0.iter().position(|fact| fact.value == value) {
                if lifetime == 0 {
                    self.0.remove(place);
                    effect = Effect::Changed;
                } else {
                    // Known: only the expiry changes, the place in the order does not (RFC 8106 §6.2 c).
                    let fact = &mut self.0[place];
                    if fact.valid_until != valid_until {
                        effect = effect.max(Effect::Lifetimes);
                    }
                    (fact.said_by, fact.valid_until) = (said_by, valid_until);
                }
            } else if let Some(place) = fresh.iter().position(|fact| fact.value == value) {
                if lifetime == 0 {
                    fresh.remove(place);
                } else {
                    fresh[place].valid_until = valid_until;
                }
            } else if lifetime == 0 {
                // Unknown and withdrawn: nothing to do, although §6.2 d read literally would add it.
            } else if fresh.len() == admission.room {
                refused.count(admission.reason);
            } else {
                fresh.push(Fact { value, said_by, valid_until });
            }
        }
        if fresh.is_empty() {
            return effect;
        }
        self.admit(fresh, admission, refused).max(effect)
    }

    fn admit(&mut self, mut fresh: Vec<Fact<T>>, admission: Admission, refused: &mut Refused) -> Effect {
        let surplus = (self.0.len() + fresh.len()).saturating_sub(admission.room);
        refused.add(admission.reason, surplus);
        if admission.newest_first {
            for _ in 0..surplus {
                let soonest = self.0.iter().enumerate().min_by_key(|(_, fact)| fact.valid_until);
                if let Some((place, _)) = soonest {
                    self.0.remove(place);
                }
            }
            fresh.append(&mut self.0);
            self.0 = fresh;
        } else {
            fresh.truncate(fresh.len() - surplus);
            if fresh.is_empty() {
                return Effect::Nothing;
            }
            self.0.append(&mut fresh);
        }
        Effect::Changed
    }
}

impl<T> Facts<T> {
    /// Drops what has ended.
    pub fn expire(&mut self, now: Time) -> Effect {
        let before = self.0.len();
        self.0.retain(|fact| !fact.valid_until.passed(now));
        if self.0.len() == before { Effect::Nothing } else { Effect::Changed }
    }

    /// In order of preference.
    pub fn iter(&self) -> impl Iterator<Item = &Fact<T>> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pvd::testing::{at, ip, until};

    const DNS: Admission = Admission { room: 3, reason: RefusedReason::DnsServers, newest_first: true };
    const PREF64: Admission = Admission { room: 3, reason: RefusedReason::Pref64, newest_first: false };

    /// What is said (with lifetimes), what the list is then, and what that did.
    type Step<'a> = (&'a [(&'static str, u32)], &'a [&'static str], Effect);

    /// Takes the steps; how many refusals there were.
    fn run(admission: Admission, steps: &[Step<'_>]) -> u64 {
        let (mut facts, mut refused) = (Facts::default(), Refused::default());
        for (news, left, effect) in steps {
            let got = facts.announce(ip("fe80::1"), news.iter().copied(), admission, at(0), &mut refused);
            assert_eq!(facts.iter().map(|fact| fact.value).collect::<Vec<_>>(), *left, "{news:?}");
            assert_eq!(got, *effect, "{news:?}");
        }
        refused.of(admission.reason)
    }

    /// DN-8106-5.1-c, DN-8106-6.2-a: refreshed in place, new in front in their order, the soonest to expire leaves.
    #[test]
    fn resolvers() {
        let refused = run(
            DNS,
            &[
                (&[("a", 600), ("b", 900)], &["a", "b"], Effect::Changed),
                (&[("b", 900)], &["a", "b"], Effect::Nothing),
                (&[("b", 901)], &["a", "b"], Effect::Lifetimes),
                (&[("c", 100)], &["c", "a", "b"], Effect::Changed),
                (&[("d", 50), ("e", 60)], &["d", "e", "b"], Effect::Changed),
                (&[("x", 0)], &["d", "e", "b"], Effect::Nothing),
                (&[("e", 0)], &["d", "b"], Effect::Changed),
                (&[("f", 1), ("g", 1), ("h", 1), ("i", 1)], &["f", "g", "h"], Effect::Changed),
                (&[("j", 9), ("j", 0)], &["f", "g", "h"], Effect::Nothing),
            ],
        );
        assert_eq!(refused, 2 + 1 + 2);
    }

    #[test]
    fn others_refuse_what_is_new() {
        let refused = run(
            PREF64,
            &[
                (&[("a", 600), ("b", 900)], &["a", "b"], Effect::Changed),
                (&[("c", 1), ("d", 900)], &["a", "b", "c"], Effect::Changed),
                (&[("e", 900)], &["a", "b", "c"], Effect::Nothing),
                (&[("a", 0), ("e", 900)], &["b", "c", "e"], Effect::Changed),
            ],
        );
        assert_eq!(refused, 2);
    }

    #[test]
    fn expiry() {
        let (mut facts, mut refused) = (Facts::default(), Refused::default());
        facts.announce(ip("fe80::1"), [("a", 10), ("b", 20)], DNS, at(0), &mut refused);
        assert_eq!(facts.expire(at(9)), Effect::Nothing);
        assert_eq!(facts.expire(at(10)), Effect::Changed);
        assert_eq!(
            facts.iter().map(|fact| (fact.value, fact.valid_until)).collect::<Vec<_>>(),
            [("b", until(20))]
        );
    }
}
