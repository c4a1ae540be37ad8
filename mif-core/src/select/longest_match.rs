//! Rule 8 of RFC 6724 for all destinations of a cell at once.
//!
//! The sources' own prefixes, each as long as its common prefix may count (§2.2), form a binary trie. A destination
//! follows it down bit by bit; where it leaves the trie, or the trie ends, the sources below that point share the
//! most bits with it, and the fixed order chooses among them. So the answers are a longest-prefix table over the
//! trie's points, and the best below a point can change only where the trie branches and one bit past the end of a
//! source's prefix.

use std::cmp::Reverse;

use super::{
    candidate::Candidate,
    prefix::{Prefix, common_bits},
};

/// A pair and the prefix of its source that counts.
#[derive(Clone, Copy)]
struct Member<'w> {
    prefix: Prefix,
    /// Its place in the fixed order, which is compared often. Equal ones have equal answers.
    rank: u32,
    pair: Candidate<'w>,
}

/// The pairs among which rule 8 divides cells, in depth-first order of their prefixes.
pub(super) struct Field<'w>(Box<[Member<'w>]>);

impl<'w> Field<'w> {
    /// Of these pairs. What has no source takes no part.
    pub fn of(pairs: &[Candidate<'w>]) -> Self {
        let mut pairs: Vec<Candidate<'w>> =
            pairs.iter().filter(|pair| pair.source.is_some()).copied().collect();
        pairs.sort_by_cached_key(Candidate::tie_break);
        let mut rank = 0;
        let mut before: Option<Candidate<'w>> = None;
        let member = |pair: Candidate<'w>| {
            let source = pair.source?;
            rank +=
                u32::from(before.replace(pair).is_some_and(|before| before.tie_break() != pair.tie_break()));
            Some(Member { prefix: Prefix::new(source.address, source.prefix_len), rank, pair })
        };
        let mut members: Box<[_]> = pairs.into_iter().filter_map(member).collect();
        members.sort_unstable_by_key(|member| (member.prefix, member.rank));
        Self(members)
    }

    /// Calls `emit` with the best pair of the cell and, behind it, with the prefixes inside of the cell at which another
    /// pair becomes the best. Without any pair nothing is emitted.
    pub fn divide(&self, cell: Prefix, emit: &mut impl FnMut(Prefix, Candidate<'w>)) {
        let behind = &self.0[self.0.partition_point(|member| member.prefix < cell)..];
        let inside = &behind[..behind.partition_point(|member| cell.covers(member.prefix))];
        if inside.is_empty() {
            // No source shares more than the cell does, so all of the cell's destinations share as much with each.
            let best = self.0.iter().min_by_key(|m| (Reverse(m.prefix.common_len(cell)), m.rank));
            if let Some(best) = best {
                emit(cell, best.pair);
            }
            return;
        }
        let best = best(inside);
        emit(cell, best.pair);
        descend(inside, best.rank, emit);
    }
}

/// The best of a subtree's members, which are at least one.
fn best<'m, 'w>(members: &'m [Member<'w>]) -> &'m Member<'w> {
    members.iter().min_by_key(|member| member.rank).expect("a subtree has members")
}

/// Emits what differs from the rank `above` below the point where `members`, in depth-first order and at least one, part.
fn descend<'w>(members: &[Member<'w>], above: u32, emit: &mut impl FnMut(Prefix, Candidate<'w>)) {
    let (first, last) = (members[0].prefix, members[members.len() - 1].prefix);
    // Until here all go the same way. The first is the shortest of those that end on that way.
    let depth = common_bits(first.bits(), last.bits()).min(first.len());
    let deeper = &members[members.partition_point(|member| member.prefix.len() <= depth)..];
    let goes_left = |member: &Member<'_>| member.prefix.bits() << depth >> 127 == 0;
    let (left, right) = deeper.split_at(deeper.partition_point(goes_left));
    for side in [left, right] {
        if let Some(member) = side.first() {
            let best = best(side);
            if best.rank != above {
                emit(Prefix::from_bits(member.prefix.bits(), depth + 1), best.pair);
            }
            descend(side, best.rank, emit);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::select::{
        candidate::{Criterion, of_route},
        testing::world,
    };

    #[test]
    fn changes_only_where_prefixes_part_or_end() {
        for (sources, cell, expected) in [
            // Two addresses of one prefix never part.
            (&["2001:db8:a::1/64", "2001:db8:a::2/64"][..], "::/0", &["::/0 2001:db8:a::1"][..]),
            // a = 1010, b = 1011: they part behind bit 47; only b's side has another best.
            (
                &["2001:db8:a::1/64", "2001:db8:b::1/64"],
                "::/0",
                &["::/0 2001:db8:a::1", "2001:db8:b::/48 2001:db8:b::1"],
            ),
            (
                &["2001:db8:a::1/64", "2001:db8:b::1/64"],
                "2001:db8:a:1::/64",
                &["2001:db8:a:1::/64 2001:db8:a::1"],
            ),
            (
                &["2001:db8:a::1/64", "2001:db8:b::1/64"],
                "2001:db8:b:1::/64",
                &["2001:db8:b:1::/64 2001:db8:b::1"],
            ),
            // One ends: a bit further on the other has more, on its own side.
            (
                &["2001:db8::1/32", "2001:db8:8000:1::1/64"],
                "::/0",
                &["::/0 2001:db8::1", "2001:db8:8000::/33 2001:db8:8000:1::1"],
            ),
            (&["2001:db8::1/0", "8000::1/64"], "::/0", &["::/0 2001:db8::1", "8000::/1 8000::1"]),
        ] {
            let text: String = sources.iter().map(|source| format!("source {source}\n")).collect();
            let world = world(&format!("pvd 1 2\n{text}route ::/0"));
            let pairs: Vec<Candidate<'_>> = of_route(&world.pvds[0], &world.pvds[0].routes[0]).collect();
            let cell: ipnet::Ipv6Net = cell.parse().expect("a literal");
            let mut found = Vec::new();
            Field::of(&pairs).divide(cell.into(), &mut |prefix, pair| {
                found.push((ipnet::Ipv6Net::from(prefix), pair.answer().source));
            });
            let found: Vec<String> =
                found.iter().map(|(prefix, source)| format!("{prefix} {source}")).collect();
            assert_eq!(found, expected, "{sources:?} in {cell}");
        }
    }

    #[test]
    fn agrees_with_the_rule_at_every_bit() {
        let world = world(
            "pvd 1 2
             source 2001:db8:a::1/64
             source 2001:db8:a::2/128
             source 2001:db8::3/32
             source 2001:db8:a:0:8000::4/65
             source 2001:db8:a:0:8000::5/80
             source 8000::6/0
             source fd00::7/8
             route ::/0",
        );
        let pairs: Vec<Candidate<'_>> = of_route(&world.pvds[0], &world.pvds[0].routes[0]).collect();
        let mut table = Vec::new();
        Field::of(&pairs).divide(Prefix::ALL, &mut |prefix, pair| table.push((prefix, pair)));
        for pair in &pairs {
            for bit in 0..128 {
                let cell = Prefix::from_bits(
                    pair.source.expect("a pair").address.to_bits() ^ (1 << (127 - bit)),
                    128,
                );
                let mut set = pairs.clone();
                Criterion::LongestMatch.keep(cell, &mut set, |_| ());
                Criterion::TieBreak.keep(cell, &mut set, |_| ());
                let found = table
                    .iter()
                    .filter(|(prefix, _)| prefix.covers(cell))
                    .max_by_key(|(prefix, _)| prefix.len())
                    .map(|(_, pair)| pair.answer());
                assert_eq!(found, set.first().map(Candidate::answer), "{cell:?}");
            }
        }
    }
}
