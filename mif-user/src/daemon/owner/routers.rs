//! The routers that a commit brings.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv6Addr,
};

use mif_common::abi;
use mif_core::select::{Update, tables::Op, world};

use super::Owner;

impl Owner {
    /// The routers that PvDs have now and had not before, each with its interface; of the others nothing changed.
    pub(super) fn new_routers(&mut self, touched: &BTreeSet<abi::PvdIndex>) -> BTreeSet<(u32, Ipv6Addr)> {
        let mut new = BTreeSet::new();
        let mut before: BTreeMap<_, _> =
            touched.iter().filter_map(|index| self.routers.remove_entry(index)).collect();
        for pvd in self.world.pvds.iter().filter(|pvd| touched.contains(&pvd.index)) {
            let now: BTreeSet<_> = routers(pvd).collect();
            let before = before.remove(&pvd.index).unwrap_or_default();
            new.extend(now.difference(&before));
            if !now.is_empty() {
                self.routers.insert(pvd.index, now);
            }
        }
        new
    }

    /// The routers that an update names and the tables before do not, each with its interface.
    pub(super) fn new_next_hops(&self, Update { ops, before }: &Update) -> BTreeSet<(u32, Ipv6Addr)> {
        let mut new = next_hops(ops);
        let put: BTreeSet<_> = ops.iter().filter_map(|op| op.decision_key()).collect();
        let of_sources = before.sources.values().map(|source| (source.ifindex, source.next_hop));
        let replaced = before.decisions.values();
        // Last, because they are many: what stands as it stood.
        let kept =
            self.compiler.decisions().filter(|(key, _)| !put.contains(key)).map(|(_, decision)| decision);
        let of_decisions = replaced.chain(kept).map(|decision| (decision.ifindex, decision.next_hop));
        for (ifindex, next_hop) in of_sources.chain(of_decisions) {
            if new.is_empty() {
                break;
            }
            new.remove(&(ifindex, next_hop.into()));
        }
        new
    }
}

/// The routers of a PvD, each with its interface.
fn routers(pvd: &world::Pvd) -> impl Iterator<Item = (u32, Ipv6Addr)> {
    pvd.routes.iter().filter(|route| !route.kernel_decides).filter_map(|route| match route.next_hop {
        world::NextHop::Router(router) => Some((pvd.ifindex, router)),
        world::NextHop::OnLink => None,
    })
}

/// The routers that changes name, each with its interface.
fn next_hops(ops: &[Op]) -> BTreeSet<(u32, Ipv6Addr)> {
    let named = |op: &Op| match op {
        Op::PutSource(_, source) => Some((source.ifindex, source.next_hop)),
        Op::PutDecision(.., decision) => Some((decision.ifindex, decision.next_hop)),
        _ => None,
    };
    let routers = ops.iter().filter_map(named).filter(|(_, next_hop)| !next_hop.is_unspecified());
    routers.map(|(ifindex, next_hop)| (ifindex, next_hop.into())).collect()
}
