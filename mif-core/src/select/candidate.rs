//! What competes for a destination - pairs of a route and a source of one PvD, and routes that the kernel decides -
//! and the criteria that it competes by. The literal procedure and the compiler both use these.

use std::{cmp::Reverse, net::Ipv6Addr};

use mif_common::abi::{self, PvdIndex, decision_flags};

use super::{
    policy_table::Scope,
    prefix::Prefix,
    rfc6724::{self, Advertised, keep_advertised, keep_best},
    world::{AddressState, NextHop, Origin, Pvd, Route, Source},
};
use crate::{
    family::{Family, is_default_route},
    time::Deadline,
};

/// The answer for a destination in a view.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Answer {
    /// What to do.
    pub verdict: abi::Verdict,
    /// [`decision_flags`].
    pub flags: u32,
    /// The PvD of all that follows, [`abi::NO_PVD`] for none.
    pub pvd: PvdIndex,
    /// The source, `::` where the kernel chooses.
    pub source: Ipv6Addr,
    /// The interface, 0 where the kernel chooses.
    pub ifindex: u32,
    /// The router, `::` where the destination is on-link or the kernel chooses.
    pub next_hop: Ipv6Addr,
    /// Until when it holds: as long as both route and source do.
    pub valid_until: Deadline,
}

impl Answer {
    /// No PvD of the view reaches the destination.
    pub const NONE: Self = Self::without_pvd(abi::Verdict::None, 0);

    /// The destination is the host itself.
    pub const LOCAL: Self = Self::without_pvd(abi::Verdict::Pass, decision_flags::LOCAL);

    /// The destination is exempt: loopback, link-local, multicast ([`mif_common::decide::exempt`]).
    pub const EXEMPT: Self = Self::without_pvd(abi::Verdict::Pass, 0);

    const fn without_pvd(verdict: abi::Verdict, flags: u32) -> Self {
        Self {
            verdict,
            flags,
            pvd: abi::NO_PVD,
            source: Ipv6Addr::UNSPECIFIED,
            ifindex: 0,
            next_hop: Ipv6Addr::UNSPECIFIED,
            valid_until: Deadline::NEVER,
        }
    }
}

impl From<Answer> for abi::Decision {
    fn from(answer: Answer) -> Self {
        Self {
            valid_until: answer.valid_until.as_nanos(),
            source: answer.source.into(),
            next_hop: answer.next_hop.into(),
            ifindex: answer.ifindex,
            pvd: answer.pvd,
            verdict: answer.verdict as u32,
            flags: answer.flags,
        }
    }
}

/// A route, and a source of the same PvD. That both are of one PvD satisfies rule 5 of RFC 6724: the source is on the
/// outgoing interface.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Candidate<'w> {
    /// The PvD.
    pub pvd: &'w Pvd,
    /// Its route.
    pub route: &'w Route,
    /// Its source. `None`: the route is the administrator's and the kernel chooses the source, because the route
    /// says so ([`Route::kernel_decides`]) or the PvD has none, as a tunnel without addresses.
    pub source: Option<&'w Source>,
}

/// Whether a source may be used at all: a tentative address is not assigned yet (RFC 4862 §2).
pub(super) fn usable(source: &Source) -> bool {
    source.state != AddressState::Tentative
}

/// Whether a source can go with a route: usable, of its family, and the one that it names if it names one.
fn fits(route: &Route, source: &Source) -> bool {
    usable(source)
        && Family::of(source.address) == Family::of_net(route.prefix)
        && route.preferred_source.is_none_or(|named| named == source.address)
}

/// Whether the route is the administrator's word: set by hand, or the on-link prefix of an interface that no router
/// configures.
fn of_administrator(pvd: &Pvd, route: &Route) -> bool {
    route.origin == Origin::Administrator
        || (pvd.origin == Origin::Administrator && route.next_hop == NextHop::OnLink)
}

/// Whether the route takes part. A PvD without Internet offers no default route (RFC 8801 §4.3), but this is the
/// network's word about its own: a default route of the administrator stands.
fn offered(pvd: &Pvd, route: &Route) -> bool {
    !(pvd.no_internet
        && is_default_route(route.prefix)
        && route.origin == Origin::Network
        && !route.kernel_decides)
}

/// The candidates of a route.
pub fn of_route<'w>(pvd: &'w Pvd, route: &'w Route) -> impl Iterator<Item = Candidate<'w>> {
    let with = move |source| Candidate { pvd, route, source };
    let pairs = !route.kernel_decides && pvd.sources.iter().any(|source| fits(route, source));
    let alone = !pairs && (route.kernel_decides || of_administrator(pvd, route));
    let sources = pvd.sources.iter().filter(move |source| pairs && fits(route, source));
    let all = alone.then(|| with(None)).into_iter().chain(sources.map(move |source| with(Some(source))));
    all.filter(move |_| offered(pvd, route))
}

impl Candidate<'_> {
    /// What choosing this one means.
    #[must_use]
    pub fn answer(&self) -> Answer {
        let (pvd, route) = (self.pvd, self.route);
        let Some(source) = self.source else {
            return Answer {
                verdict: abi::Verdict::Pass,
                flags: decision_flags::ADMINISTRATOR,
                pvd: pvd.index,
                ifindex: pvd.ifindex,
                valid_until: route.valid_until,
                ..Answer::NONE
            };
        };
        let mut flags = 0;
        // The flag lets packets of any source leave there. With a default route, which reaches everything, that would
        // allow just what mif repairs: two uplinks configured by hand, and one's source on the other. More specific
        // routes mean these destinations, whatever the source.
        if of_administrator(pvd, route) && !is_default_route(route.prefix) {
            flags |= decision_flags::ADMINISTRATOR;
        }
        let next_hop = match route.next_hop {
            NextHop::OnLink => {
                flags |= decision_flags::ON_LINK;
                Ipv6Addr::UNSPECIFIED
            }
            NextHop::Router(router) => router,
        };
        Answer {
            verdict: abi::Verdict::Use,
            flags,
            pvd: pvd.index,
            source: source.address,
            ifindex: pvd.ifindex,
            next_hop,
            valid_until: route.valid_until.min(source.valid_until),
        }
    }

    /// The fixed order of candidates that no criterion tells apart, the first being the best. Candidates of equal
    /// keys have equal answers.
    ///
    /// The PvD that carries an address ([`Source::carried`]) stands first, so that decision
    /// and SOURCE name the same PvD. The PvD's index depends on the order of arrival and stands last.
    pub(super) fn tie_break(&self) -> impl Ord + Copy + use<> {
        let next_hop = match self.route.next_hop {
            NextHop::OnLink => None,
            NextHop::Router(router) => Some(router.to_bits()),
        };
        let valid_until = self
            .source
            .map_or(self.route.valid_until, |source| source.valid_until.min(self.route.valid_until));
        (
            Reverse(self.source.is_some_and(|source| source.carried)),
            self.pvd.ifindex,
            next_hop,
            self.source.is_some_and(|source| source.secondary),
            self.source.map(|source| source.address.to_bits()),
            Reverse(self.route.origin),
            Reverse(valid_until),
            self.pvd.index,
        )
    }
}

/// What two candidates are compared by, in the order of comparison.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Criterion {
    /// Reachable routers before those known to be unreachable (RFC 4191 §3.2).
    Reachability,
    /// The longest route.
    RouteLength,
    /// RFC 6724 rule 2
    Scope,
    /// RFC 6724 rule 3
    Deprecation,
    /// RFC 6724 rule 6, by the policy table of each one's PvD.
    Label,
    /// The smallest metric.
    Metric,
    /// RFC 4191 §2.1
    RouterPreference,
    /// RFC 6724 rule 5.5
    Advertiser,
    /// RFC 6724 rule 7
    Temporary,
    /// RFC 6724 rule 8
    LongestMatch,
    /// The fixed order of what nothing else tells apart.
    TieBreak,
    /// Between the best pair and the best route that the kernel decides: the latter unless its metric is larger.
    Administrator,
}

impl Criterion {
    /// The criteria that choose among pairs whose routes are of one length, except the last two. Their outcome is
    /// the same for all destinations of a cell that no row of the policy table and no scope boundary cuts.
    ///
    /// Rule 1 is not among them: a destination that equals a source is the host itself and does not get here.
    pub(super) const OF_PAIRS: [Self; 7] = [
        Self::Scope,
        Self::Deprecation,
        Self::Label,
        Self::Metric,
        Self::RouterPreference,
        Self::Advertiser,
        Self::Temporary,
    ];

    /// The criteria that choose among routes that the kernel decides.
    pub(super) const OF_ROUTES: [Self; 2] = [Self::Metric, Self::RouterPreference];

    /// For people: why the winner won.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Reachability => "its router is not known to be unreachable (RFC 4191 §3.2)",
            Self::RouteLength => "its route is more specific",
            Self::Scope => "the scope of its source fits better (RFC 6724 rule 2)",
            Self::Deprecation => "its source is not deprecated (RFC 6724 rule 3)",
            Self::Label => "its source has the destination's label (RFC 6724 rule 6)",
            Self::Metric => "its metric is smaller",
            Self::RouterPreference => "its router is preferred (RFC 4191)",
            Self::Advertiser => "its router advertised the prefix of its source (RFC 6724 rule 5.5)",
            Self::Temporary => "its source is temporary (RFC 6724 rule 7)",
            Self::LongestMatch => "its source shares more bits with the destination (RFC 6724 rule 8)",
            Self::TieBreak => "nothing tells them apart; interface, router and address are in a fixed order",
            Self::Administrator => "it is the administrator's route, and its metric is not larger",
        }
    }

    /// Keeps the candidates that are best by this criterion for the destinations of `cell` - one address, or what the
    /// boundaries leave of a prefix - and hands the others to `lost`.
    pub(super) fn keep<'w>(
        self,
        cell: Prefix,
        set: &mut Vec<Candidate<'w>>,
        lost: impl FnMut(&Candidate<'w>),
    ) {
        match self {
            Self::Reachability => keep_best(set, |c| c.route.reachable, lost),
            Self::RouteLength => keep_best(set, |c| c.route.prefix.prefix_len(), lost),
            Self::Scope => {
                let destination = Scope::of(cell);
                keep_best(set, |c| c.source.map(|s| rfc6724::rule_2(Scope::of(host(s)), destination)), lost);
            }
            Self::Deprecation => {
                keep_best(
                    set,
                    |c| c.source.map(|s| rfc6724::rule_3(s.state == AddressState::Deprecated)),
                    lost,
                );
            }
            Self::Label => {
                // Each pair by the table of its PvD (RFC 7078 §3.3).
                let matches = |c: &Candidate<'w>, s| {
                    let policy = c.pvd.policy_table();
                    rfc6724::rule_6(policy.label(host(s)), policy.label(cell))
                };
                keep_best(set, |c| c.source.map(|s| matches(c, s)), lost);
            }
            Self::Metric => keep_best(set, |c| Reverse(c.route.metric), lost),
            Self::RouterPreference => keep_best(set, |c| c.route.preference, lost),
            Self::Advertiser => keep_advertised(
                set,
                |c| {
                    let next_hop = match c.route.next_hop {
                        NextHop::OnLink => None,
                        NextHop::Router(router) => Some(router),
                    };
                    let advertised =
                        rfc6724::rule_5_5(c.source.map_or(&[][..], |s| &s.advertisers), next_hop);
                    // An IPv4 source is of the subnet that it is in: without a gateway there, of no other one's either.
                    if advertised == Advertised::Unknown
                        && next_hop.is_some()
                        && c.source.is_some_and(|s| Family::of(s.address) == Family::Ipv4)
                    {
                        return Advertised::ByOthers;
                    }
                    advertised
                },
                lost,
            ),
            Self::Temporary => {
                keep_best(set, |c| c.source.map(|s| rfc6724::rule_7(s.temporary, c.pvd.privacy())), lost);
            }
            Self::LongestMatch => {
                let destination = Ipv6Addr::from_bits(cell.bits());
                keep_best(
                    set,
                    |c| c.source.map(|s| rfc6724::rule_8(s.address, s.prefix_len, destination)),
                    lost,
                );
            }
            Self::TieBreak => {
                keep_best(set, |c| Reverse(c.tie_break()), lost);
                // Equal keys are equal answers.
                set.truncate(1);
            }
            // Between two sets, not within one.
            Self::Administrator => {}
        }
    }
}

fn host(source: &Source) -> Prefix {
    Prefix::host(source.address)
}

/// Whether the route that the kernel decides beats the pair, their routes being equally long and reachable.
pub(super) fn administrator_wins(route: &Candidate<'_>, pair: &Candidate<'_>) -> bool {
    route.route.metric <= pair.route.metric
}
