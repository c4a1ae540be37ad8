//! The DHCPv6 clients in `mif status`.

use std::net::Ipv6Addr;

use mif_core::time::{Deadline, Time};
use serde::Serialize;

use super::super::{
    format,
    names::Names,
    output::{Cell, GOOD, Table, WARNING},
};
use crate::{
    config::Dhcpv6,
    state::{Dhcpv6Client, Dhcpv6State},
};

/// A client.
#[derive(Debug, Serialize)]
pub struct Row {
    interface: String,
    ifindex: u32,
    wish: Dhcpv6,
    state: Dhcpv6State,
    asking: Option<String>,
    others: Option<String>,
    server: Option<Ipv6Addr>,
    server_duid: String,
    leases: Vec<String>,
    t1_seconds: Option<u64>,
    t2_seconds: Option<u64>,
    valid_seconds: Option<u64>,
}

/// The clients that the state file names.
pub fn rows(names: &Names, now: Time) -> Vec<Row> {
    let clients = names.state().map(|state| state.dhcpv6.as_slice()).unwrap_or_default();
    clients.iter().map(|client| row(client, now)).collect()
}

fn row(client: &Dhcpv6Client, now: Time) -> Row {
    let left = |deadline: Deadline| deadline.remaining(now).map(|left| left.as_secs());
    let end = client.leases.iter().map(|lease| lease.valid_until).max().unwrap_or(Deadline::NEVER);
    let kind = client.asking.map(|kind| serde_json::to_value(kind).ok()?.as_str().map(str::to_owned));
    let shown = |prefix: ipnet::Ipv6Net| match prefix.prefix_len() {
        128 => prefix.addr().to_string(),
        _ => prefix.to_string(),
    };
    Row {
        interface: client.interface.clone(),
        ifindex: client.ifindex,
        wish: client.wish,
        state: client.state,
        asking: kind.flatten(),
        others: client.others.clone(),
        server: client.server,
        server_duid: client.server_duid.clone(),
        leases: client.leases.iter().map(|lease| shown(lease.prefix)).collect(),
        t1_seconds: left(client.t1),
        t2_seconds: left(client.t2),
        valid_seconds: left(end),
    }
}

/// The rows for people.
pub fn table(rows: &[Row]) -> Table {
    let mut table = Table::new(["DHCPV6", "STATE", "SERVER", "LEASES", "T1", "T2", "VALID"]);
    let left = |seconds: Option<u64>| {
        seconds.map_or_else(|| "-".into(), |seconds| Cell::from(format::seconds(seconds)))
    };
    for row in rows {
        let asking = row.asking.as_deref();
        let others = row.others.as_deref().unwrap_or("another client has it");
        let state = match row.state {
            Dhcpv6State::Left => Cell::styled(format!("left alone: {others}"), WARNING),
            Dhcpv6State::Waiting => Cell::styled("waiting for the link", WARNING),
            Dhcpv6State::Asking => Cell::styled(format!("asking: {}", asking.unwrap_or("soon")), WARNING),
            Dhcpv6State::Bound => Cell::styled(with("bound", asking), GOOD),
            Dhcpv6State::Informed => Cell::styled(with("informed", asking), GOOD),
        };
        table.row([
            row.interface.clone().into(),
            state,
            row.server.map_or_else(|| "-".into(), |server| Cell::from(server.to_string())),
            if row.leases.is_empty() { "-".into() } else { row.leases.join(", ").into() },
            left(row.t1_seconds),
            left(row.t2_seconds),
            left(row.valid_seconds),
        ]);
    }
    table
}

fn with(state: &str, asking: Option<&str>) -> String {
    asking.map_or_else(|| state.to_owned(), |asking| format!("{state}, asking: {asking}"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use mif_core::{dhcpv6::HeldLease, wire::dhcpv6::MessageType};

    use super::{super::super::output::plain, *};

    #[test]
    fn clients() {
        let now = Time(1_000_000_000_000);
        let after = |seconds| Deadline::at(now.after(Duration::from_secs(seconds)));
        let lease = |prefix: &str| HeldLease {
            prefix: prefix.parse().expect("a prefix"),
            preferred_until: after(60),
            valid_until: after(120),
        };
        let left = Dhcpv6Client {
            interface: "wan0".into(),
            ifindex: 2,
            wish: Dhcpv6::Auto,
            state: Dhcpv6State::Left,
            asking: None,
            others: Some("NetworkManager configures this link".into()),
            server: None,
            server_duid: String::new(),
            leases: Vec::new(),
            t1: Deadline::NEVER,
            t2: Deadline::NEVER,
            next: Deadline::NEVER,
        };
        let bound = Dhcpv6Client {
            interface: "wan1".into(),
            state: Dhcpv6State::Bound,
            asking: Some(MessageType::Renew),
            others: None,
            server: Some("fe80::1".parse().expect("a literal")),
            leases: vec![lease("2001:db8::7/128"), lease("2001:db8:99::/56")],
            t1: after(0),
            t2: after(50),
            ..left.clone()
        };
        let rows: Vec<Row> = [&left, &bound].into_iter().map(|client| row(client, now)).collect();
        assert_eq!(
            plain(table(&rows)),
            "DHCPV6  STATE                                            SERVER   LEASES                         T1  T2   VALID\n\
             wan0    left alone: NetworkManager configures this link  -        -                              -   -    -\n\
             wan1    bound, asking: renew                             fe80::1  2001:db8::7, 2001:db8:99::/56  0s  50s  2m\n"
        );
    }
}
