//! From what was asked for to addresses.

use std::{
    io,
    net::{IpAddr, Ipv6Addr, ToSocketAddrs as _},
};

use anyhow::{Result, bail};
use mif_core::family::{Family, mapped, shown};

use super::output;

/// An argument and its addresses.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Target {
    /// The name, `None` if it is an address.
    pub name: Option<String>,
    /// Its addresses, those of a name once [`resolve`] has asked for them.
    pub addresses: Vec<Ipv6Addr>,
    /// It named an interface too (`fe80::1%eth0`).
    pub has_zone: bool,
}

/// The arguments as addresses and names.
///
/// # Errors
/// When an address is not of the family of the source that the socket is bound to.
pub(super) fn of_addresses(arguments: &[String], source: Option<Ipv6Addr>) -> Result<Vec<Target>> {
    let mut targets = Vec::new();
    for argument in arguments {
        let Some(address) = address(argument) else {
            targets.push(Target { name: Some(argument.clone()), addresses: Vec::new(), has_zone: false });
            continue;
        };
        if let Some(source) = source
            && Family::of(source) != Family::of(address)
        {
            bail!("{} and {argument} are of two families: no packet has both", shown(source));
        }
        targets.push(Target { name: None, addresses: vec![address], has_zone: argument.contains('%') });
    }
    Ok(targets)
}

/// An address; the zone of a link-local one does not matter here, such destinations are left alone. `::` is the host itself, by
/// `::1`: the kernel puts that in its place after the hooks (`tcp_v6_connect`), and has none for it among its routes.
fn address(text: &str) -> Option<Ipv6Addr> {
    let address = text.split_once('%').map_or(text, |(address, _)| address);
    let address = address.parse::<IpAddr>().ok().map(mapped)?;
    Some(if address.is_unspecified() { Ipv6Addr::LOCALHOST } else { address })
}

/// Asks the system's resolver for the addresses of the names, in its order; those that cannot go with the source that the
/// socket is bound to are left out.
///
/// # Errors
/// When a name cannot be resolved, or has no address that can be asked about.
pub(super) fn resolve(targets: &mut [Target], source: Option<Ipv6Addr>) -> Result<()> {
    for target in targets {
        let Some(name) = &target.name else { continue };
        target.addresses = lookup(name).or_else(|error| bail!("cannot resolve {name:?}: {error}"))?;
        if let Some(source) = source {
            let all = target.addresses.len();
            target.addresses.retain(|address| Family::of(*address) == Family::of(source));
            let left_out = all - target.addresses.len();
            if target.addresses.is_empty() {
                bail!("{name:?} has no address of the family of {}", shown(source));
            }
            if left_out > 0 {
                output::note(&format!(
                    "{left_out} of {name}'s addresses are not of the family of the source"
                ));
            }
        }
    }
    Ok(())
}

fn lookup(name: &str) -> io::Result<Vec<Ipv6Addr>> {
    let any_port = 0;
    let mut addresses = Vec::new();
    for address in (name, any_port).to_socket_addrs()?.map(|found| mapped(found.ip())) {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    if addresses.is_empty() {
        return Err(io::Error::other("it has no addresses"));
    }
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_names() {
        let arguments =
            ["2001:db8::1", "fe80::1%eth0", "192.0.2.1", "::ffff:192.0.2.1", "example.org", "", "::"]
                .map(str::to_owned);
        let found: Vec<_> = of_addresses(&arguments, None)
            .expect("no source")
            .into_iter()
            .map(|target| (target.name, target.addresses.first().map(|address| shown(*address).to_string())))
            .collect();
        let is = |text: &str| (None, Some(text.to_owned()));
        let named = |text: &str| (Some(text.to_owned()), None);
        assert_eq!(
            found,
            [
                is("2001:db8::1"),
                is("fe80::1"),
                is("192.0.2.1"),
                is("192.0.2.1"),
                named("example.org"),
                named(""),
                is("::1")
            ]
        );
    }

    #[test]
    fn families_do_not_mix() {
        let source = mapped("192.0.2.9".parse().expect("a literal"));
        assert!(of_addresses(&["192.0.2.1".to_owned()], Some(source)).is_ok());
        let error = of_addresses(&["2001:db8::1".to_owned()], Some(source)).expect_err("two families");
        assert_eq!(error.to_string(), "192.0.2.9 and 2001:db8::1 are of two families: no packet has both");
    }

    #[test]
    fn names_that_are_none() {
        let mut targets = [Target { name: Some("a..b".into()), addresses: Vec::new(), has_zone: false }];
        let error = resolve(&mut targets, None).expect_err("an empty label");
        assert!(error.to_string().starts_with("cannot resolve \"a..b\": "), "{error}");
        let mut targets = [Target { name: Some("localhost".into()), addresses: Vec::new(), has_zone: false }];
        let source = "2001:db8::1".parse().expect("a literal");
        match resolve(&mut targets, Some(source)) {
            Ok(()) => {
                assert!(targets[0].addresses.iter().all(|address| Family::of(*address) == Family::Ipv6))
            }
            Err(error) => assert!(error.to_string().contains("no address of the family"), "{error}"),
        }
    }
}
