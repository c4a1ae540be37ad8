//! Which address selection policy each PvD has (RFC 7078 §3).

use super::{
    super::{key::PvdKey, link::LinkState, set::PvdSet},
    Share,
};
use crate::{
    select::policy_table::in_force::{Policy, Reach, Settings},
    time::Time,
    wire::dhcpv6::AddressSelection,
};

/// The policies of networks, as the administrator wants them.
pub(in super::super) struct Policies<'a> {
    settings: &'a Settings,
    of_host: OfHost<'a>,
}

/// The policy of all PvDs, where networks may give one.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(in super::super) enum OfHost<'a> {
    /// None has given one, or each is for its own PvDs.
    #[default]
    Nothing,
    /// All that gave one gave this.
    Agreed(&'a AddressSelection),
    /// They gave different ones: none counts (RFC 7078 §3.3).
    Conflict,
}

impl<'a> Policies<'a> {
    pub fn of(set: &'a PvdSet, now: Time, settings: &'a Settings) -> Self {
        let of_host = if settings.reach == Reach::Host { set.policy_of_host(now) } else { OfHost::Nothing };
        Self { settings, of_host }
    }

    /// The policy of a PvD, where it is not the default one.
    pub fn of_pvd(
        &self,
        link: &LinkState,
        key: &PvdKey,
        share: &Share<'_>,
        now: Time,
    ) -> Option<Box<Policy>> {
        let said = match (self.settings.reach, self.of_host) {
            (Reach::Host, OfHost::Agreed(policy)) => Some(policy),
            (Reach::Host, _) => None,
            (Reach::Pvd, _) => of_network(link, key, share, now),
        };
        self.settings.policy(said).map(Box::new)
    }
}

/// What the network of a PvD says. It speaks of IPv4 as well, whose PvD is one of its own.
fn of_network<'a>(
    link: &'a LinkState,
    key: &PvdKey,
    share: &Share<'a>,
    now: Time,
) -> Option<&'a AddressSelection> {
    let general = || link.dhcpv6.as_ref()?.general.address_selection.as_ref();
    let (policy, until) = match key {
        PvdKey::Ipv4 { .. } => general().map(|(policy, until)| (policy, *until)),
        _ => share.policy(),
    }?;
    (!until.passed(now)).then_some(policy)
}

impl PvdSet {
    /// What the networks of the host say together, of what they say of themselves. What is in containers is said of one PvD.
    pub(in super::super) fn policy_of_host(&self, now: Time) -> OfHost<'_> {
        let given = self.links.values().filter_map(|link| link.dhcpv6.as_ref());
        let said = given.filter_map(|given| given.general.address_selection.as_ref());
        said.filter(|(_, until)| !until.passed(now)).fold(OfHost::Nothing, |so_far, (policy, _)| match so_far
        {
            OfHost::Nothing => OfHost::Agreed(policy),
            OfHost::Agreed(agreed) if agreed == policy => so_far,
            _ => OfHost::Conflict,
        })
    }
}

#[cfg(test)]
mod tests;
