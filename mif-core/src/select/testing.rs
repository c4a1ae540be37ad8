//! Worlds for tests: written as text, or random.

pub mod random;

use std::net::Ipv6Addr;

use super::{
    policy_table::{
        PolicyTable, Row,
        in_force::{Policy, PolicyOrigin},
    },
    rfc6724::Privacy,
    world::{AddressState, NextHop, Origin, Pvd, Route, Source, View, World},
};
use crate::{
    family::{mapped, mapped_net},
    time::{Deadline, Time},
    wire::RouterPreference,
};

/// A world from lines:
///
/// ```text
/// pvd INDEX IFINDEX [admin] [explicit] [no-internet]
/// source ADDRESS/LEN [deprecated] [tentative] [temporary] [secondary] [shared] [until N] [from ROUTER]...
/// route PREFIX [via ROUTER] [low|high] [metric N] [unreachable] [admin] [kernel] [src ADDRESS] [until N]
/// row PREFIX PRECEDENCE LABEL [public]
/// view ID INDEX... [| INDEX...]...
/// local ADDRESS
/// ```
///
/// Sources and routes belong to the PvD above them, and rows make a policy table of its own; `public` is its preference. `shared` is a source that another PvD carries.
pub fn world(text: &str) -> World {
    let mut world = World::default();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let mut words = line.split_whitespace();
        let mut word = || words.next();
        match word().expect("not empty") {
            "pvd" => {
                let mut pvd = Pvd {
                    index: number(word()),
                    ifindex: number(word()),
                    origin: Origin::Network,
                    explicit: false,
                    no_internet: false,
                    sources: Vec::new(),
                    routes: Vec::new(),
                    policy: None,
                    valid_until: Deadline::NEVER,
                };
                for flag in words {
                    match flag {
                        "admin" => pvd.origin = Origin::Administrator,
                        "explicit" => pvd.explicit = true,
                        "no-internet" => pvd.no_internet = true,
                        _ => panic!("{line}: {flag}"),
                    }
                }
                world.pvds.push(pvd);
            }
            "source" => {
                let (address, len) = word().and_then(|w| w.split_once('/')).expect("ADDRESS/LEN");
                let net = mapped_net(format!("{address}/{len}").parse().expect(line));
                let mut source = source(one_form(address), net.prefix_len());
                while let Some(flag) = word() {
                    match flag {
                        "deprecated" => source.state = AddressState::Deprecated,
                        "tentative" => source.state = AddressState::Tentative,
                        "temporary" => source.temporary = true,
                        "secondary" => source.secondary = true,
                        "shared" => source.carried = false,
                        "several" => source.several_interfaces = true,
                        "until" => source.valid_until = Deadline::at(Time(number(word()))),
                        "from" => source.advertisers.push(one_form(word().expect(line))),
                        _ => panic!("{line}: {flag}"),
                    }
                }
                world.pvds.last_mut().expect("a PvD above").sources.push(source);
            }
            "route" => {
                let mut route = Route {
                    prefix: mapped_net(word().expect(line).parse().expect(line)),
                    next_hop: NextHop::OnLink,
                    preference: RouterPreference::Medium,
                    metric: 0,
                    reachable: true,
                    origin: Origin::Network,
                    kernel_decides: false,
                    preferred_source: None,
                    valid_until: Deadline::NEVER,
                };
                while let Some(flag) = word() {
                    match flag {
                        "via" => route.next_hop = NextHop::Router(one_form(word().expect(line))),
                        "low" => route.preference = RouterPreference::Low,
                        "high" => route.preference = RouterPreference::High,
                        "metric" => route.metric = number(word()),
                        "unreachable" => route.reachable = false,
                        "admin" => route.origin = Origin::Administrator,
                        "kernel" => route.kernel_decides = true,
                        "src" => route.preferred_source = Some(one_form(word().expect(line))),
                        "until" => route.valid_until = Deadline::at(Time(number(word()))),
                        _ => panic!("{line}: {flag}"),
                    }
                }
                world.pvds.last_mut().expect("a PvD above").routes.push(route);
            }
            "row" => {
                let prefix = mapped_net(word().expect(line).parse().expect(line)).into();
                let row = Row { prefix, precedence: number(word()), label: number(word()) };
                let privacy = if word() == Some("public") { Privacy::Public } else { Privacy::Temporary };
                let policy = &mut world.pvds.last_mut().expect("a PvD above").policy;
                let rows = policy.take().map_or_else(Vec::new, |policy| policy.table.into());
                let table = PolicyTable::new(rows.into_iter().chain([row]));
                *policy = Some(Box::new(Policy { origin: PolicyOrigin::Network, table, privacy }));
            }
            "view" => {
                let id = number(word());
                let groups: Vec<&str> = words.collect();
                let groups = groups
                    .split(|word| *word == "|")
                    .map(|group| group.iter().map(|index| number(Some(index))).collect())
                    .collect();
                world.views.push(View { id, groups });
            }
            "local" => world.local_addresses.push(one_form(word().expect(line))),
            other => panic!("{line}: {other}"),
        }
    }
    world
}

fn source(address: Ipv6Addr, prefix_len: u8) -> Source {
    Source {
        address,
        prefix_len,
        state: AddressState::Preferred,
        temporary: false,
        secondary: false,
        valid_until: Deadline::NEVER,
        carried: true,
        several_interfaces: false,
        advertisers: Vec::new(),
    }
}

/// An address of either family, in the one form.
fn one_form(text: &str) -> Ipv6Addr {
    mapped(text.parse().expect(text))
}

fn number<N: std::str::FromStr>(word: Option<&str>) -> N {
    word.and_then(|word| word.parse().ok()).unwrap_or_else(|| panic!("{word:?}: a number"))
}
