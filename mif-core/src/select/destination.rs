//! The destination address rules of RFC 6724 §6: in which order to try the addresses of a name.
//!
//! Both families are compared together, IPv4 in its mapped form (§3.2). Rule 9 compares within one family only, so pairs
//! do not compare transitively: of A6, B4 and C6, alike up to rule 8, rule 10 puts A6 before B4 and B4 before C6, but rule
//! 9 may put C6 before A6. `sort_by` may panic on such an order. Hence elimination, as for sources: the rules one by one
//! over all that are left give the first one, then the rules again over the rest.

use std::{cmp::Reverse, net::Ipv6Addr};

use super::{
    policy_table::{PolicyTable, Scope, common_prefix_len},
    prefix::Prefix,
    rfc6724::{self, Mobility, keep_best},
};
use crate::family::Family;

/// Source(D): what the source rules, or for IPv4 the system, chose for a destination.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Source {
    /// The address.
    pub address: Ipv6Addr,
    /// The length of the part that is not interface ID (§2.2), 0..=128; of an IPv4 source 96 and its netmask.
    pub prefix_len: u8,
    /// Deprecated or optimistic. Not looked at where §3.2 and §3.3 say that addresses of this form are preferred.
    pub deprecated: bool,
    /// Home or care-of.
    pub mobility: Mobility,
}

/// A destination, and what is known of the way there.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Destination {
    /// The address.
    pub address: Ipv6Addr,
    /// The source of packets to there, `None` where there is none.
    pub source: Option<Source>,
    /// False where it is known that nothing arrives there; true where nothing is known.
    pub reachable: bool,
    /// Packets to there are encapsulated (6rd, ISATAP, a tunnel).
    pub encapsulated: bool,
}

/// A rule of §6.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Rule {
    /// Rule 1
    AvoidUnusable,
    /// Rule 2
    MatchingScope,
    /// Rule 3
    AvoidDeprecated,
    /// Rule 4
    HomeAddress,
    /// Rule 5
    MatchingLabel,
    /// Rule 6
    HigherPrecedence,
    /// Rule 7
    NativeTransport,
    /// Rule 8
    SmallerScope,
    /// Rule 9
    LongestMatchingPrefix,
    /// Rule 10
    Unchanged,
}

impl Rule {
    /// All of them, in the order in which they are asked.
    pub const ALL: [Self; 10] = [
        Self::AvoidUnusable,
        Self::MatchingScope,
        Self::AvoidDeprecated,
        Self::HomeAddress,
        Self::MatchingLabel,
        Self::HigherPrecedence,
        Self::NativeTransport,
        Self::SmallerScope,
        Self::LongestMatchingPrefix,
        Self::Unchanged,
    ];

    /// Its number in §6.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8 + 1
    }

    /// For people: why the one stands before the other.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::AvoidUnusable => "it can be reached, and there is a source for it",
            Self::MatchingScope => "its source is of its scope",
            Self::AvoidDeprecated => "its source is not deprecated",
            Self::HomeAddress => "its source is a home address",
            Self::MatchingLabel => "its source has its label",
            Self::HigherPrecedence => "the policy table gives it more precedence",
            Self::NativeTransport => "packets to it are not encapsulated",
            Self::SmallerScope => "its scope is smaller",
            Self::LongestMatchingPrefix => "its source shares more bits with it",
            Self::Unchanged => "it stood before the other",
        }
    }
}

/// Rule 1: avoid destinations that nothing reaches, and those without a source.
#[must_use]
pub const fn rule_1(destination: &Destination) -> bool {
    destination.reachable && destination.source.is_some()
}

/// Rule 2: prefer destinations of the scope of their source.
#[must_use]
pub fn rule_2(destination: &Destination, source: &Source) -> bool {
    scope(destination.address) == scope(source.address)
}

/// Rule 3: avoid those with a deprecated source.
#[must_use]
pub fn rule_3(source: &Source) -> bool {
    rfc6724::rule_3(source.deprecated && !always_preferred(source.address))
}

/// Rule 4: prefer those with a home address as their source.
#[must_use]
pub fn rule_4(source: &Source) -> impl Ord + use<> {
    rfc6724::rule_4(source.mobility)
}

/// Rule 5: prefer those with a source of their label.
#[must_use]
pub fn rule_5(destination: &Destination, source: &Source, policy: &PolicyTable) -> bool {
    let label = |address| policy.label(Prefix::host(address));
    rfc6724::rule_6(label(source.address), label(destination.address))
}

/// Rule 6: prefer the higher precedence; what no row of the table covers has none, which is the least.
#[must_use]
pub fn rule_6(destination: &Destination, policy: &PolicyTable) -> Option<u8> {
    policy.lookup(Prefix::host(destination.address)).map(|row| row.precedence)
}

/// Rule 7: prefer those that packets reach without encapsulation.
#[must_use]
pub const fn rule_7(destination: &Destination) -> bool {
    !destination.encapsulated
}

/// Rule 8: prefer the smaller scope.
#[must_use]
pub fn rule_8(destination: &Destination) -> impl Ord + use<> {
    Reverse(scope(destination.address))
}

/// Rule 9: prefer the longest common prefix with the source; says nothing between the families.
#[must_use]
pub const fn rule_9(destination: &Destination, source: &Source) -> u8 {
    common_prefix_len(source.address, source.prefix_len, destination.address)
}

fn scope(address: Ipv6Addr) -> Scope {
    Scope::of(Prefix::host(address))
}

/// Addresses that count as preferred whatever is known of them: IPv4 (§3.2) and, of the forms that §3.3 names, the two that
/// an address tells by itself.
fn always_preferred(address: Ipv6Addr) -> bool {
    const IPV4_COMPATIBLE: Prefix = Prefix::new(Ipv6Addr::UNSPECIFIED, 96);
    Family::of(address) == Family::Ipv4 || IPV4_COMPATIBLE.covers(Prefix::host(address))
}

/// A destination in its place.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Placed<'a> {
    /// The destination.
    pub destination: &'a Destination,
    /// Its place in what was given, 0 being the first.
    pub was: usize,
    /// The rule by which it stands before the next one, `None` for the last.
    pub before_next: Option<Rule>,
}

/// The destinations in the order in which to try them.
///
/// The outcome is a permutation of the input, and its own order: given again, it stays as it is. Takes time with the square
/// of their number, which for the addresses of a name are some dozens at most.
#[must_use]
pub fn order<'a>(destinations: &'a [Destination], policy: &'a PolicyTable) -> Vec<Placed<'a>> {
    order_by(destinations, |_| policy)
}

/// The same with a policy table for each destination, by its place: that of the PvD that leads there (RFC 7078 §3.3).
#[must_use]
pub fn order_by<'a>(
    destinations: &'a [Destination],
    policy: impl Fn(usize) -> &'a PolicyTable,
) -> Vec<Placed<'a>> {
    let entry = |(was, destination)| Entry { was, destination, policy: policy(was) };
    let mut left: Vec<Entry<'_>> = destinations.iter().enumerate().map(entry).collect();
    let mut placed: Vec<Placed<'a>> = Vec::with_capacity(left.len());
    let mut before: Option<Entry<'_>> = None;
    while let Some(best) = first(&left) {
        left.retain(|entry| entry.was != best.was);
        if let (Some(last), Some(before)) = (placed.last_mut(), before) {
            last.before_next = Some(decided_by(&before, &best));
        }
        placed.push(Placed { destination: best.destination, was: best.was, before_next: None });
        before = Some(best);
    }
    placed
}

/// A destination and its place in the input.
#[derive(Clone, Copy)]
struct Entry<'a> {
    was: usize,
    destination: &'a Destination,
    policy: &'a PolicyTable,
}

impl Rule {
    /// Keeps those that are best by this rule. What has no source stands behind, by the rules that ask for one.
    fn keep(self, set: &mut Vec<Entry<'_>>) {
        let lost = |_: &Entry<'_>| ();
        match self {
            Self::AvoidUnusable => keep_best(set, |e| rule_1(e.destination), lost),
            Self::MatchingScope => {
                keep_best(set, |e| e.destination.source.map(|s| rule_2(e.destination, &s)), lost);
            }
            Self::AvoidDeprecated => keep_best(set, |e| e.destination.source.map(|s| rule_3(&s)), lost),
            Self::HomeAddress => keep_best(set, |e| e.destination.source.map(|s| rule_4(&s)), lost),
            Self::MatchingLabel => {
                keep_best(set, |e| e.destination.source.map(|s| rule_5(e.destination, &s, e.policy)), lost);
            }
            Self::HigherPrecedence => keep_best(set, |e| rule_6(e.destination, e.policy), lost),
            Self::NativeTransport => keep_best(set, |e| rule_7(e.destination), lost),
            Self::SmallerScope => keep_best(set, |e| rule_8(e.destination), lost),
            Self::LongestMatchingPrefix => {
                let rank = |e: &Entry<'_>| e.destination.source.map(|s| rule_9(e.destination, &s));
                let family = |e: &Entry<'_>| Family::of(e.destination.address);
                for of in Family::ALL {
                    let best = set.iter().filter(|e| family(e) == of).map(rank).max();
                    set.retain(|e| family(e) != of || Some(rank(e)) == best);
                }
            }
            Self::Unchanged => keep_best(set, |e| Reverse(e.was), lost),
        }
    }
}

/// The one to try first.
fn first<'a>(left: &[Entry<'a>]) -> Option<Entry<'a>> {
    let mut set = left.to_vec();
    for rule in Rule::ALL {
        rule.keep(&mut set);
    }
    set.first().copied()
}

/// The rule that tells the two apart.
fn decided_by(one: &Entry<'_>, other: &Entry<'_>) -> Rule {
    let tells = |rule: &Rule| {
        let mut set = vec![*one, *other];
        rule.keep(&mut set);
        set.len() == 1
    };
    // Of two places one is the first.
    Rule::ALL.into_iter().find(tells).unwrap_or(Rule::Unchanged)
}

#[cfg(test)]
mod laws;
#[cfg(test)]
mod tests;
