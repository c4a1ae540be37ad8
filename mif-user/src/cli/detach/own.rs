//! What of `mif`'s own protocol is in the kernel's configuration: routes, and addresses that were leased.

use anyhow::{Context as _, Result};

use crate::net::configure;

/// How many routes there are, of all tables, and how many addresses.
///
/// # Errors
/// When the kernel refuses to list them.
pub fn count() -> Result<(usize, usize)> {
    let routes = configure::own_routes().context("cannot list the routes")?.len();
    Ok((routes, configure::own_addresses().context("cannot list the addresses")?.len()))
}

/// Removes them; how many there were.
///
/// # Errors
/// When the kernel refuses.
pub fn remove() -> Result<(usize, usize)> {
    let counted = count()?;
    for route in configure::own_routes().context("cannot list the routes")? {
        configure::remove_told_route(route).context("cannot remove a route")?;
    }
    for (ifindex, address) in configure::own_addresses().context("cannot list the addresses")? {
        configure::remove_address(ifindex, address).with_context(|| format!("cannot remove {address}"))?;
    }
    Ok(counted)
}
