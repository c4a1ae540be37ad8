//! Policy rules: which of them mean that somebody else routes by policy.

use std::fmt::Write as _;

use netlink_packet_route::{
    route::{RouteHeader, RouteProtocol},
    rule::{RuleAction, RuleAttribute, RuleFlags, RuleMessage},
};

use super::super::ROUTE_PROTOCOL_MIF;

/// `RT_TABLE_LOCAL` (rtnetlink.h).
const RT_TABLE_LOCAL: u32 = 255;

/// `RT_TABLE_MAIN`.
const RT_TABLE_MAIN: u32 = RouteHeader::RT_TABLE_MAIN as u32;

/// A policy rule that neither the kernel nor `mif` made.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RuleInfo {
    /// FRA_PRIORITY: the smaller is looked at first.
    pub priority: u32,
    /// FRA_TABLE, `None` where the rule looks nothing up.
    pub table: Option<u32>,
    /// The rule as `ip -6 rule` would show it.
    pub text: String,
}

/// The foreign rules, in the order in which the kernel looks at them.
pub(super) fn foreign(rules: &[RuleMessage]) -> Vec<RuleInfo> {
    let mut foreign: Vec<_> = rules.iter().filter(|rule| is_foreign(rule)).map(info).collect();
    foreign.sort_by_key(|rule| rule.priority);
    foreign
}

fn is_foreign(rule: &RuleMessage) -> bool {
    let own = rule.attributes.contains(&RuleAttribute::Protocol(RouteProtocol::from(ROUTE_PROTOCOL_MIF)));
    !own && !is_default(rule) && !is_l3mdev(rule)
}

/// `from all lookup local` and `from all lookup main`, at whatever priority: together they are what the kernel does
/// without rules. (A host with VRFs moves the first one behind the VRFs' rule.)
fn is_default(rule: &RuleMessage) -> bool {
    let selects = rule.attributes.iter().any(|attribute| match attribute {
        RuleAttribute::Priority(_) | RuleAttribute::Table(_) | RuleAttribute::Protocol(_) => false,
        // The kernel always sends this one; all ones: not in use.
        RuleAttribute::SuppressPrefixLen(length) => *length != u32::MAX,
        RuleAttribute::SuppressIfGroup(group) => *group != u32::MAX,
        _ => true,
    });
    rule.header.action == RuleAction::ToTable
        && !selects
        && !rule.header.flags.contains(RuleFlags::Invert)
        && rule.header.tos == 0
        && matches!(table(rule), RT_TABLE_LOCAL | RT_TABLE_MAIN)
}

/// The rule that the kernel makes with the first VRF (`vrf_add_fib_rules`): it only concerns sockets bound to a VRF.
fn is_l3mdev(rule: &RuleMessage) -> bool {
    rule.attributes.contains(&RuleAttribute::L3MDev(true))
        && rule.attributes.contains(&RuleAttribute::Protocol(RouteProtocol::Kernel))
}

fn table(rule: &RuleMessage) -> u32 {
    let wide = rule.attributes.iter().find_map(|attribute| match attribute {
        RuleAttribute::Table(table) => Some(*table),
        _ => None,
    });
    wide.unwrap_or_else(|| rule.header.table.into())
}

fn info(rule: &RuleMessage) -> RuleInfo {
    let priority = rule.attributes.iter().find_map(|attribute| match attribute {
        RuleAttribute::Priority(priority) => Some(*priority),
        _ => None,
    });
    let looks_up = rule.header.action == RuleAction::ToTable && !is_vrf(rule);
    // The kernel leaves FRA_PRIORITY out where it is 0.
    let priority = priority.unwrap_or(0);
    RuleInfo { priority, table: looks_up.then(|| table(rule)), text: text(rule, priority) }
}

fn is_vrf(rule: &RuleMessage) -> bool {
    rule.attributes.contains(&RuleAttribute::L3MDev(true))
}

fn text(rule: &RuleMessage, priority: u32) -> String {
    let mut text = format!("{priority}:");
    let mut add = |words: std::fmt::Arguments<'_>| {
        text.write_char(' ').and_then(|()| text.write_fmt(words)).expect("a String takes all");
    };
    if rule.header.flags.contains(RuleFlags::Invert) {
        add(format_args!("not"));
    }
    let find =
        |wanted: fn(&RuleAttribute) -> bool| rule.attributes.iter().find(|attribute| wanted(attribute));
    match find(|attribute| matches!(attribute, RuleAttribute::Source(_))) {
        Some(RuleAttribute::Source(address)) => add(format_args!("from {address}/{}", rule.header.src_len)),
        _ => add(format_args!("from all")),
    }
    if rule.header.tos != 0 {
        add(format_args!("tos {:#x}", rule.header.tos));
    }
    let mask = rule.attributes.iter().find_map(|attribute| match attribute {
        RuleAttribute::FwMask(mask) => Some(*mask),
        _ => None,
    });
    for attribute in &rule.attributes {
        match attribute {
            RuleAttribute::Destination(address) => add(format_args!("to {address}/{}", rule.header.dst_len)),
            RuleAttribute::FwMark(mark) => match mask {
                None | Some(u32::MAX) => add(format_args!("fwmark {mark:#x}")),
                Some(mask) => add(format_args!("fwmark {mark:#x}/{mask:#x}")),
            },
            RuleAttribute::Iifname(name) => add(format_args!("iif {name}")),
            RuleAttribute::Oifname(name) => add(format_args!("oif {name}")),
            RuleAttribute::UidRange(range) => add(format_args!("uidrange {}-{}", range.start, range.end)),
            RuleAttribute::IpProtocol(protocol) => add(format_args!("ipproto {}", u8::from(*protocol))),
            RuleAttribute::SourcePortRange(range) => add(format_args!("sport {}-{}", range.start, range.end)),
            RuleAttribute::DestinationPortRange(range) => {
                add(format_args!("dport {}-{}", range.start, range.end))
            }
            RuleAttribute::TunId(id) => add(format_args!("tun_id {id}")),
            _ => {}
        }
    }
    match rule.header.action {
        RuleAction::ToTable if is_vrf(rule) => add(format_args!("lookup [l3mdev-table]")),
        RuleAction::ToTable => match table(rule) {
            RT_TABLE_LOCAL => add(format_args!("lookup local")),
            RT_TABLE_MAIN => add(format_args!("lookup main")),
            table => add(format_args!("lookup {table}")),
        },
        RuleAction::Goto => match find(|attribute| matches!(attribute, RuleAttribute::Goto(_))) {
            Some(RuleAttribute::Goto(priority)) => add(format_args!("goto {priority}")),
            _ => add(format_args!("goto none")),
        },
        RuleAction::Nop => add(format_args!("nop")),
        RuleAction::Blackhole => add(format_args!("blackhole")),
        RuleAction::Unreachable => add(format_args!("unreachable")),
        RuleAction::Prohibit => add(format_args!("prohibit")),
        other => add(format_args!("action {}", u8::from(other))),
    }
    for attribute in &rule.attributes {
        match attribute {
            RuleAttribute::SuppressPrefixLen(length) if *length != u32::MAX => {
                add(format_args!("suppress_prefixlength {length}"));
            }
            RuleAttribute::SuppressIfGroup(group) if *group != u32::MAX => {
                add(format_args!("suppress_ifgroup {group}"));
            }
            RuleAttribute::Protocol(protocol) if *protocol != RouteProtocol::Unspec => {
                add(format_args!("proto {protocol}"));
            }
            _ => {}
        }
    }
    text
}
