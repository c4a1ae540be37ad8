//! The changes that turn the stored tables into the wanted ones, in an order that breaks nothing on the way.
//!
//! Add, then replace, then delete. Added decisions come longest prefix first, deleted ones shortest first: then a
//! lookup finds the old answer of its destination up to one change, and the new one from there on, never a third, and
//! a destination whose answer stays keeps it at every moment. (Adding a short prefix before a longer one inside of it
//! would give the latter's destinations the answer of the former for a moment; deleting a long one before the shorter
//! one around it, likewise.)
//!
//! What decisions name - PvDs, sources, members of views - is added before and deleted after them.
//!
//! The price is room: for a moment a store holds the old and the new keys.

use std::{cmp::Reverse, collections::BTreeMap};

use super::tables::{Op, Tables};

/// The changes from `old` to `new`, to be applied in order. None if they are equal.
#[must_use]
pub fn diff(old: &Tables, new: &Tables) -> Vec<Op> {
    let pvds = changes(&old.pvds, &new.pvds, |k, v| Op::PutPvd(*k, *v), |k| Op::DeletePvd(*k));
    let sources = changes(&old.sources, &new.sources, |k, v| Op::PutSource(*k, *v), |k| Op::DeleteSource(*k));
    let members = changes(
        &old.members,
        &new.members,
        |k, v| Op::PutMember(k.0, k.1, *v),
        |k| Op::DeleteMember(k.0, k.1),
    );
    let mut decisions = changes(
        &old.decisions,
        &new.decisions,
        |k, v| Op::PutDecision(k.0, k.1, *v),
        |k| Op::DeleteDecision(k.0, k.1),
    );
    decisions.added.sort_by_key(|op| Reverse(prefix_len(op)));
    decisions.deleted.sort_by_key(prefix_len);
    let tables = [pvds, sources, members, decisions];
    let mut ops = Vec::with_capacity(tables.iter().map(Changes::len).sum());
    ops.extend(tables.iter().flat_map(|changes| &changes.added));
    ops.extend(tables.iter().flat_map(|changes| &changes.replaced));
    ops.extend(tables.iter().rev().flat_map(|changes| &changes.deleted));
    ops
}

/// The changes of one table.
struct Changes {
    added: Vec<Op>,
    replaced: Vec<Op>,
    deleted: Vec<Op>,
}

impl Changes {
    fn len(&self) -> usize {
        self.added.len() + self.replaced.len() + self.deleted.len()
    }
}

/// What differs between two tables, each list in the order of the keys.
fn changes<K: Ord, V: Eq>(
    old: &BTreeMap<K, V>,
    new: &BTreeMap<K, V>,
    put: impl Fn(&K, &V) -> Op,
    delete: impl Fn(&K) -> Op,
) -> Changes {
    let mut changes = Changes { added: Vec::new(), replaced: Vec::new(), deleted: Vec::new() };
    // Both are sorted: one walk over the two.
    let (mut old, mut new) = (old.iter().peekable(), new.iter().peekable());
    loop {
        let order = match (old.peek(), new.peek()) {
            (Some((a, _)), Some((b, _))) => a.cmp(b),
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (None, None) => return changes,
        };
        let gone = if order.is_le() { old.next() } else { None };
        let come = if order.is_ge() { new.next() } else { None };
        match (gone, come) {
            (Some((key, _)), None) => changes.deleted.push(delete(key)),
            (None, Some((key, value))) => changes.added.push(put(key, value)),
            (Some((_, before)), Some((key, value))) if before != value => {
                changes.replaced.push(put(key, value))
            }
            _ => {}
        }
    }
}

/// The length of the prefix of a decision, 0 of other changes.
fn prefix_len(op: &Op) -> u8 {
    match op {
        Op::PutDecision(_, prefix, _) | Op::DeleteDecision(_, prefix) => prefix.prefix_len(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests;
