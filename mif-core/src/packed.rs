//! Trees that grew, in no more room than they need.
//!
//! A `BTreeMap` splits a full node into two halves. One that grew in the order of its keys is half empty, and with a thousand PvDs
//! that is megabytes; one that is built at once has full nodes.

use std::collections::BTreeMap;

/// A tree is packed again when it has grown by one in so many.
const GROWTH: usize = 8;

/// Elements that are not worth the work.
const FEW: usize = 64;

/// How many elements a tree had when it was packed.
#[derive(Debug, Default)]
pub(crate) struct Packed(usize);

impl Packed {
    /// Packs the tree, if it has grown enough since.
    pub fn pack<K: Ord, V>(&mut self, tree: &mut BTreeMap<K, V>) {
        self.0 = self.0.min(tree.len());
        if tree.len() >= FEW + self.0 + self.0 / GROWTH {
            *tree = std::mem::take(tree).into_iter().collect();
            self.0 = tree.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_when_grown_and_nothing_lost() {
        let (mut tree, mut packed) = (BTreeMap::new(), Packed::default());
        // grown by, packed at
        for (more, at) in [(63, 0), (1, 64), (71, 64), (1, 136)] {
            let from = tree.len();
            tree.extend((from..from + more).map(|key| (key, key)));
            packed.pack(&mut tree);
            assert_eq!(packed.0, at, "{}", tree.len());
        }
        assert!((0..136).map(|key| (key, key)).eq(tree.clone()));
        tree.retain(|key, _| *key < 10);
        packed.pack(&mut tree);
        assert_eq!((packed.0, tree.len()), (10, 10));
    }
}
