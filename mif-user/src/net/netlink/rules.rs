//! Policy rules: which of them mean that somebody else routes by policy.

use std::fmt::{self, Write as _};

use mif_core::family::Family;
use netlink_packet_route::{
    AddressFamily,
    route::{RouteHeader, RouteProtocol},
    rule::{RuleAction, RuleAttribute, RuleFlags, RuleMessage},
};

use super::super::ROUTE_PROTOCOL_MIF;

/// `RT_TABLE_LOCAL` (rtnetlink.h).
const RT_TABLE_LOCAL: u32 = 255;

/// `RT_TABLE_MAIN`.
const RT_TABLE_MAIN: u32 = RouteHeader::RT_TABLE_MAIN as u32;

/// `RT_TABLE_DEFAULT` (rtnetlink.h), behind the main table in IPv4.
const RT_TABLE_DEFAULT: u32 = 253;

/// A policy rule that neither the kernel nor `mif` made.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RuleInfo {
    /// The destinations that it is about: each family has rules of its own.
    pub family: Family,
    /// FRA_PRIORITY: the smaller is looked at first.
    pub priority: u32,
    /// FRA_TABLE, `None` where the rule looks nothing up.
    pub table: Option<u32>,
    /// The rule as `ip rule` or `ip -6 rule` would show it.
    pub text: String,
}

impl fmt::Display for RuleInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.family {
            Family::Ipv4 => write!(f, "IPv4 {}", self.text),
            Family::Ipv6 => write!(f, "IPv6 {}", self.text),
        }
    }
}

/// The foreign rules, in the order in which the kernel looks at them.
pub(super) fn foreign(rules: &[RuleMessage]) -> Vec<RuleInfo> {
    let mut foreign: Vec<_> = rules.iter().filter(|rule| is_foreign(rule)).map(info).collect();
    foreign.sort_by_key(|rule| (rule.family, rule.priority));
    foreign
}

fn is_foreign(rule: &RuleMessage) -> bool {
    let own = rule.attributes.contains(&RuleAttribute::Protocol(RouteProtocol::from(ROUTE_PROTOCOL_MIF)));
    !own && !is_default(rule) && !is_l3mdev(rule)
}

/// `from all lookup local`, `main` and, in IPv4, `default`, at whatever priority: together they are what the kernel does
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
        && (matches!(table(rule), RT_TABLE_LOCAL | RT_TABLE_MAIN)
            || family(rule) == Family::Ipv4 && table(rule) == RT_TABLE_DEFAULT)
}

/// The rule that the kernel makes with the first VRF (`vrf_add_fib_rules`): it only concerns sockets bound to a VRF.
fn is_l3mdev(rule: &RuleMessage) -> bool {
    rule.attributes.contains(&RuleAttribute::L3MDev(true))
        && rule.attributes.contains(&RuleAttribute::Protocol(RouteProtocol::Kernel))
}

fn family(rule: &RuleMessage) -> Family {
    if rule.header.family == AddressFamily::Inet { Family::Ipv4 } else { Family::Ipv6 }
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
    let table = looks_up.then(|| table(rule));
    RuleInfo { family: family(rule), priority, table, text: text(rule, priority) }
}

fn is_vrf(rule: &RuleMessage) -> bool {
    rule.attributes.contains(&RuleAttribute::L3MDev(true))
}

fn text(rule: &RuleMessage, priority: u32) -> String {
    let mut text = format!("{priority}:");
    let mut add = |words: fmt::Arguments<'_>| {
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

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv6Addr};

    use netlink_packet_route::rule::{RulePortRange, RuleUidRange};

    use super::*;

    /// A rule as the kernel sends it, which always tells these two.
    fn rule(action: RuleAction, table: u32, attributes: &[RuleAttribute]) -> RuleMessage {
        let mut rule = RuleMessage::default();
        rule.header.action = action;
        rule.attributes = vec![RuleAttribute::Table(table), RuleAttribute::SuppressPrefixLen(u32::MAX)];
        rule.attributes.extend_from_slice(attributes);
        rule
    }

    fn of_ipv4(mut rule: RuleMessage) -> RuleMessage {
        rule.header.family = AddressFamily::Inet;
        rule
    }

    #[test]
    fn which_are_foreign_and_how_they_read() {
        use RuleAction::{Goto, Prohibit, ToTable};
        use RuleAttribute as A;
        let source = A::Source(IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0)));
        let kernel = A::Protocol(RouteProtocol::Kernel);
        let mut from =
            rule(ToTable, 100, &[A::Priority(1000), source.clone(), A::Protocol(RouteProtocol::Static)]);
        from.header.src_len = 64;
        let mut not_marked =
            rule(ToTable, 51820, &[A::Priority(32765), A::FwMark(0xca6c), A::FwMask(u32::MAX)]);
        not_marked.header.flags = RuleFlags::Invert;
        let mut not_default = rule(ToTable, 254, &[A::Priority(9)]);
        not_default.header.flags = RuleFlags::Invert;
        let mut with_tos = rule(ToTable, 254, &[A::Priority(9)]);
        with_tos.header.tos = 0x10;
        let mark = [A::Priority(3), A::FwMark(1), A::FwMask(0xff)];
        let suppressing = {
            let mut rule = rule(ToTable, 254, &[A::Priority(32764)]);
            rule.attributes[1] = A::SuppressPrefixLen(0);
            rule
        };
        let ports = RulePortRange { start: 53, end: 53 };
        let users = RuleUidRange { start: 0, end: 99 };
        for (rule, expected) in [
            (rule(ToTable, 255, std::slice::from_ref(&kernel)), None),
            (of_ipv4(rule(ToTable, 254, &[A::Priority(32766)])), None),
            (of_ipv4(rule(ToTable, 253, &[A::Priority(32767)])), None),
            (of_ipv4(rule(ToTable, 7, &[A::Priority(9)])), Some("9: from all lookup 7")),
            (rule(ToTable, 254, &[A::Priority(32766), kernel.clone()]), None),
            (rule(ToTable, 255, &[A::Priority(32765)]), None),
            (rule(ToTable, 0, &[A::Priority(1000), A::L3MDev(true), kernel]), None),
            (rule(ToTable, 201, &[A::Priority(5), A::Protocol(ROUTE_PROTOCOL_MIF.into())]), None),
            (from, Some("1000: from 2001:db8:1::/64 lookup 100 proto static")),
            (not_marked, Some("32765: not from all fwmark 0xca6c lookup 51820")),
            (not_default, Some("9: not from all lookup main")),
            (with_tos, Some("9: from all tos 0x10 lookup main")),
            (suppressing, Some("32764: from all lookup main suppress_prefixlength 0")),
            (rule(ToTable, 253, &mark), Some("3: from all fwmark 0x1/0xff lookup 253")),
            (rule(Prohibit, 0, &[A::Oifname("tun0".into())]), Some("0: from all oif tun0 prohibit")),
            (rule(Goto, 0, &[A::Priority(2), A::Goto(99)]), Some("2: from all goto 99")),
            (
                rule(ToTable, 7, &[A::UidRange(users), A::DestinationPortRange(ports)]),
                Some("0: from all uidrange 0-99 dport 53-53 lookup 7"),
            ),
            (rule(ToTable, 0, &[A::Priority(8), A::L3MDev(true)]), Some("8: from all lookup [l3mdev-table]")),
        ] {
            let told = foreign(std::slice::from_ref(&rule));
            assert_eq!(told.first().map(|rule| rule.text.as_str()), expected, "{rule:?}");
        }
    }

    #[test]
    fn they_are_told_in_the_kernels_order() {
        let rules = [7, 3, 5]
            .map(|priority| rule(RuleAction::ToTable, 100 + priority, &[RuleAttribute::Priority(priority)]));
        let told: Vec<_> = foreign(&rules).iter().map(|rule| (rule.priority, rule.table)).collect();
        assert_eq!(told, [(3, Some(103)), (5, Some(105)), (7, Some(107))]);
    }
}
