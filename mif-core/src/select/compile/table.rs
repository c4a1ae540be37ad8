//! From the cells of a view to the entries of the table.

use std::{
    collections::BTreeMap,
    ops::Bound::{Excluded, Included, Unbounded},
};

use mif_common::abi::Decision;

use super::{
    all_exempt,
    view::{CellKey, Kind, ViewCells},
};
use crate::select::{candidate::Answer, prefix::Prefix};

/// All cells are walked when more than one in so many has changed: finding what is around each costs more then.
const WALK_ALL: usize = 8;

/// Entries of a view that are not what they were.
#[derive(Default)]
pub(super) struct Entries {
    /// What stood there.
    pub before: BTreeMap<Prefix, Decision>,
    /// What stands there now.
    pub after: BTreeMap<Prefix, Decision>,
}

impl ViewCells {
    /// Marks the cells that make the table: the longest-prefix table without entries equal to their parents and without
    /// those that no destination asks for. What a cell says concerns itself and the cells in it: only there is looked.
    pub fn write(&mut self) -> Entries {
        let mut entries = Entries { before: std::mem::take(&mut self.before), after: BTreeMap::new() };
        let mut affected = std::mem::take(&mut self.affected);
        if affected.len() > self.cells.len() / WALK_ALL {
            affected = vec![Prefix::ALL];
        }
        affected.sort_unstable();
        let mut walked: Option<Prefix> = None;
        for top in affected {
            // What covers others stands before them.
            if walked.is_none_or(|walked| !walked.covers(top)) {
                self.walk(top, &mut entries);
                walked = Some(top);
            }
        }
        entries
    }

    /// The cells in a prefix, in depth-first order.
    fn walk(&mut self, top: Prefix, entries: &mut Entries) {
        let mut around = self.around(top);
        let inside =
            self.cells.range_mut(CellKey::first(top)..).take_while(|(key, _)| top.covers(key.prefix));
        for (key, cell) in inside {
            let wanted = around.enter(key, cell.decision);
            match wanted {
                Some(decision) if cell.fresh || !cell.written => {
                    entries.after.insert(key.prefix, decision);
                }
                None if cell.written => {
                    entries.before.entry(key.prefix).or_insert(cell.decision);
                }
                _ => {}
            }
            (cell.written, cell.fresh) = (wanted.is_some(), false);
        }
    }

    /// The cells around a prefix.
    fn around(&self, top: Prefix) -> Around {
        let mut covering = Vec::new();
        let mut end = Excluded(CellKey::first(top));
        // As in `Tables::lookup`: the last cell before either covers the prefix, or parts from it behind some bit, and
        // then so does all that is longer and not behind it.
        while let Some((key, cell)) = self.cells.range((Unbounded, end)).next_back() {
            end = if key.prefix.covers(top) {
                covering.push((key, cell.decision));
                Excluded(*key)
            } else {
                Included(CellKey::last(Prefix::from_bits(top.bits(), key.prefix.common_len(top))))
            };
        }
        let mut around = Around(Vec::new());
        for (key, decision) in covering.into_iter().rev() {
            around.enter(key, decision);
        }
        around
    }
}

/// The cells around the current one that are not hidden, the innermost last: prefix, that of the base cell, what they say.
struct Around(Vec<(Prefix, Prefix, Decision)>);

impl Around {
    /// Goes to the next cell in depth-first order. What the entry of its prefix says, if there is to be one for it.
    fn enter(&mut self, key: &CellKey, decision: Decision) -> Option<Decision> {
        while self.0.pop_if(|(outer, ..)| !outer.covers(key.prefix)).is_some() {}
        let parent = self.0.last();
        let hidden = match key.kind {
            Kind::Host | Kind::Base | Kind::Ipv4 => parent.is_some_and(|(outer, ..)| *outer == key.prefix),
            Kind::Part => parent.is_none_or(|(_, base, _)| *base != key.base_prefix()),
        };
        let above = parent.map_or(Decision::from(Answer::NONE), |(.., decision)| *decision);
        if hidden || all_exempt(key.prefix) {
            return None;
        }
        self.0.push((key.prefix, key.base_prefix(), decision));
        (above != decision).then_some(decision)
    }
}
