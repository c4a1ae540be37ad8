//! What people are shown of a client.

use mif_core::{dhcpv6::Mode, time::Deadline};

use super::{identity::to_hex, link::Link, wish::Wishes};
use crate::state::{Dhcpv6Client, Dhcpv6State};

/// The client of a link; nothing where none has anything to ask.
#[must_use]
pub fn client(link: &Link, wishes: &Wishes) -> Option<Dhcpv6Client> {
    let (client, foreign) = (link.client(), link.foreign());
    if client.is_none() && foreign.is_none() {
        return None;
    }
    let mut shown = Dhcpv6Client {
        interface: link.name.clone(),
        ifindex: link.ifindex,
        wish: wishes.mode(&link.name),
        state: Dhcpv6State::Left,
        asking: None,
        others: foreign.map(|foreign| foreign.to_string()),
        server: None,
        server_duid: String::new(),
        leases: Vec::new(),
        t1: Deadline::NEVER,
        t2: Deadline::NEVER,
        next: Deadline::NEVER,
    };
    let Some(client) = client else { return Some(shown) };
    let configuration = client.configuration();
    shown.asking = client.asking();
    shown.state = match (shown.asking, configuration.leases.is_empty(), client.settings().mode) {
        _ if !link.is_ready() => Dhcpv6State::Waiting,
        (_, false, _) => Dhcpv6State::Bound,
        (None, _, Mode::Information) => Dhcpv6State::Informed,
        _ => Dhcpv6State::Asking,
    };
    if configuration.received.is_some() || !configuration.leases.is_empty() {
        shown.server = Some(link.server());
    }
    shown.server_duid = to_hex(&configuration.server);
    (shown.t1, shown.t2) = (client.leases().t1(), client.leases().t2());
    shown.next = client.next_deadline().map_or(Deadline::NEVER, Deadline::at);
    shown.leases = configuration.leases;
    Some(shown)
}
