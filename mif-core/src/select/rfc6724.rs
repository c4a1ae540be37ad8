//! The source address rules of RFC 6724 §5, one function each, and the selection among plain candidates.
//!
//! A rule function ranks one candidate; [`keep_best`] keeps the candidates of the highest rank. Going rule by rule
//! over the whole set, as §5 describes it, rather than sorting by a comparison: with rule 5.5, that says nothing of an
//! address of unknown origin, pairs do not compare transitively, and `sort_by` may panic on such an order.

use std::net::Ipv6Addr;

use serde::{Deserialize, Serialize};

use super::{
    policy_table::{PolicyTable, Scope, common_prefix_len},
    prefix::Prefix,
};

/// Which kinds of address a mobile node's address is (RFC 6275), by rank for rule 4.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Mobility {
    /// A care-of address, or one of a host that is not mobile.
    #[default]
    CareOf,
    /// A home address, the node being elsewhere.
    Home,
    /// A home address, the node being at home.
    HomeAndCareOf,
}

/// Whether the next hop advertised the prefix of a source, for rule 5.5.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Advertised {
    /// By the next hop, maybe by others too.
    ByNextHop,
    /// By other routers only.
    ByOthers,
    /// Not known of the source, or there is no next hop: the rule says nothing.
    Unknown,
}

/// The Privacy Preference (§2, §5 rule 7).
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Privacy {
    /// Temporary addresses rather than public ones: the default of §5.
    #[default]
    Temporary,
    /// Public addresses rather than temporary ones.
    Public,
}

/// Rule 1: prefer the destination itself.
#[must_use]
pub fn rule_1(source: Ipv6Addr, destination: Ipv6Addr) -> bool {
    source == destination
}

/// Rule 2: prefer the smallest scope that is not smaller than the destination's, else the largest.
#[must_use]
pub fn rule_2(source: Scope, destination: Scope) -> impl Ord {
    let reaches = source >= destination;
    let bits = i16::from(source.bits());
    (reaches, if reaches { -bits } else { bits })
}

/// Rule 3: avoid deprecated addresses, and optimistic ones (RFC 4429 §3.3).
#[must_use]
pub fn rule_3(deprecated: bool) -> bool {
    !deprecated
}

/// Rule 4: prefer home addresses, and among them those of a node that is at home.
#[must_use]
pub fn rule_4(mobility: Mobility) -> Mobility {
    mobility
}

/// Rule 5: prefer addresses of the outgoing interface.
#[must_use]
pub fn rule_5(ifindex: u32, outgoing: u32) -> bool {
    ifindex == outgoing
}

/// Rule 5.5: prefer addresses of prefixes that the next hop advertised; see [`keep_advertised`].
///
/// `advertisers` and `next_hop` are routers of one link; `None` for destinations that are on-link.
#[must_use]
pub fn rule_5_5(advertisers: &[Ipv6Addr], next_hop: Option<Ipv6Addr>) -> Advertised {
    match next_hop {
        Some(next_hop) if advertisers.contains(&next_hop) => Advertised::ByNextHop,
        Some(_) if !advertisers.is_empty() => Advertised::ByOthers,
        _ => Advertised::Unknown,
    }
}

/// Rule 6: prefer the label of the destination. No label matches none.
#[must_use]
pub fn rule_6(source: Option<u8>, destination: Option<u8>) -> bool {
    source.is_some() && source == destination
}

/// Rule 7: prefer temporary addresses, or public ones where that is wanted.
#[must_use]
pub fn rule_7(temporary: bool, privacy: Privacy) -> bool {
    temporary == (privacy == Privacy::Temporary)
}

/// Rule 8: prefer the longest common prefix.
#[must_use]
pub fn rule_8(source: Ipv6Addr, prefix_len: u8, destination: Ipv6Addr) -> u8 {
    common_prefix_len(source, prefix_len, destination)
}

/// Keeps the elements of the highest rank and hands the others to `lost`.
pub fn keep_best<T, R: Ord>(set: &mut Vec<T>, rank: impl Fn(&T) -> R, mut lost: impl FnMut(&T)) {
    let Some(best) = set.iter().map(&rank).max() else { return };
    set.retain(|element| {
        let keep = rank(element) == best;
        if !keep {
            lost(element);
        }
        keep
    });
}

/// Rule 5.5 over a set: where one is advertised by the next hop, those advertised by others only are lost; those of
/// unknown origin stay, because the rule applies between known origins only.
pub fn keep_advertised<T>(set: &mut Vec<T>, advertised: impl Fn(&T) -> Advertised, mut lost: impl FnMut(&T)) {
    if !set.iter().any(|element| advertised(element) == Advertised::ByNextHop) {
        return;
    }
    set.retain(|element| {
        let keep = advertised(element) != Advertised::ByOthers;
        if !keep {
            lost(element);
        }
        keep
    });
}

/// A rule of §5.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Rule {
    /// Rule 1
    SameAddress,
    /// Rule 2
    AppropriateScope,
    /// Rule 3
    AvoidDeprecated,
    /// Rule 4
    HomeAddress,
    /// Rule 5
    OutgoingInterface,
    /// Rule 5.5
    AdvertisedByNextHop,
    /// Rule 6
    MatchingLabel,
    /// Rule 7
    TemporaryAddress,
    /// Rule 8
    LongestMatchingPrefix,
}

impl Rule {
    /// All of them, in the order in which they are asked.
    pub const ALL: [Self; 9] = [
        Self::SameAddress,
        Self::AppropriateScope,
        Self::AvoidDeprecated,
        Self::HomeAddress,
        Self::OutgoingInterface,
        Self::AdvertisedByNextHop,
        Self::MatchingLabel,
        Self::TemporaryAddress,
        Self::LongestMatchingPrefix,
    ];
}

/// A candidate source (§4), outside of any PvD.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Candidate {
    /// The address.
    pub address: Ipv6Addr,
    /// The length of the part that is not interface ID (§2.2), 0..=128.
    pub prefix_len: u8,
    /// Its interface.
    pub ifindex: u32,
    /// Deprecated or optimistic.
    pub deprecated: bool,
    /// Temporary (RFC 8981).
    pub temporary: bool,
    /// Home or care-of.
    pub mobility: Mobility,
    /// The routers of its link that advertised its prefix; empty where unknown.
    pub advertisers: Vec<Ipv6Addr>,
}

/// What the candidates are for.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// Where to.
    pub destination: Ipv6Addr,
    /// The outgoing interface.
    pub ifindex: u32,
    /// The router chosen, `None` where the destination is on-link.
    pub next_hop: Option<Ipv6Addr>,
    /// The table for rule 6.
    pub policy: &'a PolicyTable,
    /// For rule 7.
    pub privacy: Privacy,
}

/// How a selection went.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Selection<'a> {
    /// The candidates that no rule told apart, in the order given; empty only if there were none. RFC 6724 leaves
    /// the choice among them open.
    pub best: Vec<&'a Candidate>,
    /// The others, each with the rule that it lost by.
    pub lost: Vec<(&'a Candidate, Rule)>,
}

/// Goes through the rules for the candidates.
#[must_use]
pub fn select<'a>(target: &Target<'_>, candidates: impl IntoIterator<Item = &'a Candidate>) -> Selection<'a> {
    let mut set: Vec<&Candidate> = candidates.into_iter().collect();
    let mut losses = Vec::new();
    let destination = Prefix::host(target.destination);
    for rule in Rule::ALL {
        let lost = |candidate: &&'a Candidate| losses.push((*candidate, rule));
        match rule {
            Rule::SameAddress => keep_best(&mut set, |c| rule_1(c.address, target.destination), lost),
            Rule::AppropriateScope => keep_best(
                &mut set,
                |c| rule_2(Scope::of(Prefix::host(c.address)), Scope::of(destination)),
                lost,
            ),
            Rule::AvoidDeprecated => keep_best(&mut set, |c| rule_3(c.deprecated), lost),
            Rule::HomeAddress => keep_best(&mut set, |c| rule_4(c.mobility), lost),
            Rule::OutgoingInterface => keep_best(&mut set, |c| rule_5(c.ifindex, target.ifindex), lost),
            Rule::AdvertisedByNextHop => {
                keep_advertised(&mut set, |c| rule_5_5(&c.advertisers, target.next_hop), lost);
            }
            Rule::MatchingLabel => keep_best(
                &mut set,
                |c| rule_6(target.policy.label(Prefix::host(c.address)), target.policy.label(destination)),
                lost,
            ),
            Rule::TemporaryAddress => keep_best(&mut set, |c| rule_7(c.temporary, target.privacy), lost),
            Rule::LongestMatchingPrefix => {
                keep_best(&mut set, |c| rule_8(c.address, c.prefix_len, target.destination), lost);
            }
        }
    }
    Selection { best: set, lost: losses }
}

#[cfg(test)]
mod tests;
