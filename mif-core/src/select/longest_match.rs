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
struct Member<'w> {
    prefix: Prefix,
    pair: Candidate<'w>,
}

/// Calls `emit` with the best pair of the cell and, behind it, with the prefixes inside of the cell at which another
/// pair becomes the best. Pairs without source must not be among them; without any pair nothing is emitted.
pub(super) fn longest_match<'w>(
    cell: Prefix,
    pairs: &[Candidate<'w>],
    emit: &mut impl FnMut(Prefix, Candidate<'w>),
) {
    let members = pairs.iter().filter_map(|pair| {
        let source = pair.source?;
        Some(Member { prefix: Prefix::new(source.address, source.prefix_len), pair: *pair })
    });
    let (mut inside, outside): (Vec<_>, Vec<_>) = members.partition(|member| cell.covers(member.prefix));
    if inside.is_empty() {
        // No source shares more than the cell does, so all of the cell's destinations share as much with each.
        let best = outside
            .iter()
            .min_by_key(|m| (Reverse(m.prefix.common_len(cell)), m.pair.tie_break()))
            .map(|m| m.pair);
        if let Some(best) = best {
            emit(cell, best);
        }
        return;
    }
    inside.sort_unstable_by_key(|member| member.prefix);
    let best = best(&inside);
    emit(cell, best);
    descend(&inside, best, emit);
}

/// The best of a subtree's members, which are at least one.
fn best<'w>(members: &[Member<'w>]) -> Candidate<'w> {
    members.iter().map(|member| member.pair).min_by_key(Candidate::tie_break).expect("a subtree has members")
}

/// Emits what differs from `above` below the point where `members`, in depth-first order and at least one, part.
fn descend<'w>(members: &[Member<'w>], above: Candidate<'w>, emit: &mut impl FnMut(Prefix, Candidate<'w>)) {
    let (first, last) = (members[0].prefix, members[members.len() - 1].prefix);
    // Until here all go the same way. The first is the shortest of those that end on that way.
    let depth = common_bits(first.bits(), last.bits()).min(first.len());
    let deeper = &members[members.partition_point(|member| member.prefix.len() <= depth)..];
    let goes_left = |member: &Member<'_>| member.prefix.bits() << depth >> 127 == 0;
    let (left, right) = deeper.split_at(deeper.partition_point(goes_left));
    for side in [left, right] {
        if let Some(member) = side.first() {
            let best = best(side);
            // Equal keys are equal answers.
            if best.tie_break() != above.tie_break() {
                emit(Prefix::from_bits(member.prefix.bits(), depth + 1), best);
            }
            descend(side, best, emit);
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
            longest_match(cell.into(), &pairs, &mut |prefix, pair| {
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
        longest_match(Prefix::ALL, &pairs, &mut |prefix, pair| table.push((prefix, pair)));
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
