//! From the cells of a view to the entries of the table.

use std::collections::BTreeMap;

use ipnet::Ipv6Net;
use mif_common::abi::Decision;

use super::{
    all_exempt,
    view::{Kind, ViewCells},
};
use crate::select::{candidate::Answer, prefix::Prefix};

impl ViewCells {
    /// Brings the table to the cells: the longest-prefix table without entries equal to their parents and without those
    /// that no destination asks for.
    pub fn write(&mut self, view: u32, table: &mut BTreeMap<(u32, Ipv6Net), Decision>) {
        let mut removed = std::mem::take(&mut self.unwritten);
        let mut put = Vec::new();
        // The cells around the current one, in depth-first order: prefix, the innermost base, the answer.
        let mut around: Vec<(Prefix, Prefix, Decision)> = Vec::new();
        for (key, cell) in &mut self.cells {
            while around.pop_if(|(outer, ..)| !outer.covers(key.prefix)).is_some() {}
            let parent = around.last();
            let hidden = match key.kind {
                Kind::Host | Kind::Base | Kind::Ipv4 => {
                    parent.is_some_and(|(outer, ..)| *outer == key.prefix)
                }
                Kind::Part => parent.is_none_or(|(_, base, _)| *base != key.base_prefix()),
            };
            let above = parent.map_or(Decision::from(Answer::NONE), |(.., decision)| *decision);
            let wanted = if hidden || all_exempt(key.prefix) {
                None
            } else {
                around.push((key.prefix, key.base_prefix(), cell.decision));
                (above != cell.decision).then_some(cell.decision)
            };
            match wanted {
                Some(decision) if cell.fresh || !cell.written => put.push((key.prefix, decision)),
                None if cell.written => removed.push(key.prefix),
                _ => {}
            }
            (cell.written, cell.fresh) = (wanted.is_some(), false);
        }
        // Another cell of the same prefix may be written now.
        for prefix in removed {
            table.remove(&(view, prefix.into()));
        }
        for (prefix, decision) in put {
            table.insert((view, prefix.into()), decision);
        }
    }
}
