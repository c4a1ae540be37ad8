//! Small numbers for PvDs, as the kernel's tables want them.

use std::collections::{BTreeMap, BTreeSet};

use mif_common::abi::PvdIndex;

use super::{key::PvdKey, limits::Limits};

/// Hands out 1..=`max_pvds`, the lowest free number first; a PvD keeps its number while it lives, and over a restart.
#[derive(Clone, Debug)]
pub(super) struct Indices {
    limits: Limits,
    taken: BTreeMap<PvdIndex, PvdKey>,
    /// Freed numbers below [`Self::next`].
    freed: BTreeSet<PvdIndex>,
    /// Numbers below [`Self::next`] that wait for the PvDs that had them before.
    reserved: BTreeMap<PvdKey, PvdIndex>,
    /// The lowest number never handed out.
    next: PvdIndex,
    /// How many of the taken are made by networks.
    network: PvdIndex,
}

impl Indices {
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            taken: BTreeMap::new(),
            freed: BTreeSet::new(),
            reserved: BTreeMap::new(),
            next: 1,
            network: 0,
        }
    }

    /// Keeps a number for the PvD that had it. One that is taken, or out of range, is not kept.
    pub fn reserve(&mut self, key: PvdKey, index: PvdIndex) {
        if index > self.limits.max_pvds || self.reserved.contains_key(&key) {
            return;
        }
        if index >= self.next {
            self.freed.extend(self.next..index);
            self.next = index + 1;
        } else if !self.freed.remove(&index) {
            return;
        }
        self.reserved.insert(key, index);
    }

    /// Whether a PvD of this key would get a number.
    pub fn has_room_for(&self, key: &PvdKey) -> bool {
        let free = !self.freed.is_empty() || self.next <= self.limits.max_pvds || !self.reserved.is_empty();
        free && (!key.is_network() || self.network < self.limits.network_pvds())
    }

    /// A number for a new PvD; `None` when there is none left for its kind.
    pub fn take(&mut self, key: &PvdKey) -> Option<PvdIndex> {
        if !self.has_room_for(key) {
            return None;
        }
        let index = if let Some(own) = self.reserved.remove(key) {
            own
        } else if let Some(freed) = self.freed.pop_first() {
            freed
        } else if self.next <= self.limits.max_pvds {
            self.next += 1;
            self.next - 1
        } else {
            // All that is left waits for PvDs that may never come back.
            self.reserved.pop_first()?.1
        };
        self.network += PvdIndex::from(key.is_network());
        self.taken.insert(index, key.clone());
        Some(index)
    }

    /// Gives a number back.
    pub fn release(&mut self, index: PvdIndex) {
        if let Some(key) = self.taken.remove(&index) {
            self.network -= PvdIndex::from(key.is_network());
            self.freed.insert(index);
        }
    }

    /// Whose number this is.
    pub fn key(&self, index: PvdIndex) -> Option<&PvdKey> {
        self.taken.get(&index)
    }

    /// Every PvD, by number.
    pub fn iter(&self) -> impl Iterator<Item = (PvdIndex, &PvdKey)> {
        self.taken.iter().map(|(index, key)| (*index, key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pvd::testing::implicit;

    #[test]
    fn lowest_free_first_and_a_share_for_the_administrator() {
        let mut indices = Indices::new(Limits { max_pvds: 4 });
        let keys = ["fe80::1", "fe80::2", "fe80::3", "fe80::4"].map(|router| implicit(2, router));
        let interface = |ifindex| PvdKey::Interface { ifindex };
        assert_eq!(
            keys.iter().map(|key| indices.take(key)).collect::<Vec<_>>(),
            [Some(1), Some(2), Some(3), None]
        );
        assert_eq!(indices.take(&interface(2)), Some(4));
        assert_eq!(indices.take(&interface(3)), None);
        indices.release(2);
        indices.release(1);
        indices.release(1);
        assert_eq!(indices.key(1), None);
        assert_eq!(indices.take(&interface(3)), Some(1));
        assert_eq!(indices.take(&keys[3]), Some(2));
        assert_eq!(indices.key(2), Some(&keys[3]));
        assert_eq!(indices.iter().map(|(index, _)| index).collect::<Vec<_>>(), [1, 2, 3, 4]);
    }

    #[test]
    fn reserved_numbers_wait_for_their_owners() {
        let mut indices = Indices::new(Limits { max_pvds: 4 });
        let keys: Vec<PvdKey> = (1..=4).map(|ifindex| PvdKey::Interface { ifindex }).collect();
        indices.reserve(keys[0].clone(), 3);
        indices.reserve(keys[1].clone(), 3);
        indices.reserve(keys[2].clone(), 5);
        // key, number: its own, then the lowest that nobody waits for
        for (key, number) in [(1, 1), (0, 3), (2, 2), (3, 4)] {
            assert_eq!(indices.take(&keys[key]), Some(number), "{key}");
        }
        indices.release(3);
        assert_eq!(indices.take(&keys[1]), Some(3), "a reservation is used once");
        assert_eq!(indices.take(&PvdKey::Interface { ifindex: 9 }), None);
        let mut indices = Indices::new(Limits { max_pvds: 1 });
        indices.reserve(keys[0].clone(), 1);
        assert_eq!(indices.take(&keys[1]), Some(1), "rather than refuse one that is there");
    }
}
