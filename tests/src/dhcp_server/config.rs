//! An [`Offer`] in the words of each program.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use anyhow::Result;
use serde_json::json;

use super::{Offer, Program};

/// The file in a server's folder.
fn file(folder: &Path) -> PathBuf {
    folder.join("config")
}

/// Writes the configuration, and what the program wants to find.
pub fn write(folder: &Path, program: Program, interface: &str, offer: &Offer) -> Result<()> {
    let text = match program {
        Program::Kea => kea(folder, interface, offer).to_string(),
        Program::IscDhcpd => isc(interface, offer),
        // All of it is in the arguments.
        Program::Dnsmasq => String::new(),
    };
    fs::write(file(folder), text)?;
    if program == Program::IscDhcpd {
        // It does not make this itself.
        fs::OpenOptions::new().create(true).append(true).open(folder.join("leases"))?;
    }
    Ok(())
}

/// The program's arguments.
pub fn arguments(folder: &Path, program: Program, interface: &str, offer: &Offer) -> Vec<OsString> {
    let leases = folder.join("leases");
    let words = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
    match program {
        Program::Kea => vec!["-c".into(), file(folder).into()],
        Program::IscDhcpd => {
            let mut arguments = words(&["-6", "-f", "-d", "-cf"]);
            arguments.extend([file(folder).into(), "-lf".into(), leases.into(), "-pf".into()]);
            arguments.extend([folder.join("pid").into(), interface.into()]);
            arguments
        }
        Program::Dnsmasq => {
            let mut arguments =
                words(&["--keep-in-foreground", "--log-facility=-", "--log-dhcp", "--port=0"]);
            arguments.extend(words(&[
                "--no-resolv",
                "--no-hosts",
                "--bind-interfaces",
                "--user=root",
                "--conf-file",
            ]));
            arguments.push(format!("--interface={interface}").into());
            let mut leasefile = OsString::from("--dhcp-leasefile=");
            leasefile.push(&leases);
            arguments.push(leasefile);
            if let Some((first, last)) = offer.pool {
                arguments.push(format!("--dhcp-range={first},{last},64,{}", offer.valid_lifetime).into());
            } else {
                arguments.push(format!("--dhcp-range={},static", offer.subnet.network()).into());
            }
            let servers: Vec<String> = offer.dns_servers.iter().map(|server| format!("[{server}]")).collect();
            arguments.push(format!("--dhcp-option=option6:dns-server,{}", servers.join(",")).into());
            arguments
        }
    }
}

fn kea(folder: &Path, interface: &str, offer: &Offer) -> serde_json::Value {
    let mut options = vec![json!({
        "name": "dns-servers",
        "data": offer.dns_servers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    })];
    options.extend(offer.preference.map(
        |preference| json!({ "name": "preference", "data": preference.to_string(), "always-send": true }),
    ));
    options.extend(
        offer.options.iter().map(|(code, data)| json!({ "code": code, "csv-format": false, "data": data })),
    );
    let pools = offer.pool.iter().map(|(first, last)| json!({ "pool": format!("{first} - {last}") }));
    let delegated = offer.delegated.iter().map(|(prefix, length)| {
        json!({ "prefix": prefix.network(), "prefix-len": prefix.prefix_len(), "delegated-len": length })
    });
    json!({ "Dhcp6": {
        "interfaces-config": { "interfaces": [interface] },
        "server-id": {
            "type": "EN",
            // The number of documentation (RFC 5612).
            "enterprise-id": 32_473,
            "identifier": format!("{:04x}", offer.number),
            "persist": false,
        },
        "lease-database": { "type": "memfile", "persist": true, "name": folder.join("leases"), "lfc-interval": 0 },
        "preferred-lifetime": offer.preferred_lifetime,
        "valid-lifetime": offer.valid_lifetime,
        "renew-timer": offer.times.0,
        "rebind-timer": offer.times.1,
        "decline-probation-period": 3600,
        "subnet6": [{
            "id": 1,
            "subnet": offer.subnet,
            "interface": interface,
            "pools": pools.collect::<Vec<_>>(),
            "pd-pools": delegated.collect::<Vec<_>>(),
            "option-data": options,
        }],
        "loggers": [{
            "name": "kea-dhcp6",
            "severity": "DEBUG",
            "debuglevel": 55,
            "output_options": [{ "output": "stdout" }],
        }],
    }})
}

fn isc(interface: &str, offer: &Offer) -> String {
    let servers: Vec<String> = offer.dns_servers.iter().map(ToString::to_string).collect();
    let pool = offer.pool.map(|(first, last)| format!("range6 {first} {last};")).unwrap_or_default();
    let preference = offer
        .preference
        .map(|preference| format!("option dhcp6.preference {preference};"))
        .unwrap_or_default();
    let delegated = offer.delegated.map(|(prefix, length)| {
        // First and last piece.
        let pieces =
            prefix.subnets(length).ok().and_then(|mut pieces| Some((pieces.next()?, pieces.last()?)));
        pieces.map(|(first, last)| format!("prefix6 {} {} /{length};", first.network(), last.network()))
    });
    format!(
        "server-duid EN 32473 \"{number:04x}\";\n\
         default-lease-time {valid};\npreferred-lifetime {preferred};\n\
         option dhcp-renewal-time {t1};\noption dhcp-rebinding-time {t2};\n\
         subnet6 {subnet} {{\n  interface {interface};\n  {pool}\n  {delegated}\n  {preference}\n\
           option dhcp6.name-servers {servers};\n}}\n",
        number = offer.number,
        valid = offer.valid_lifetime,
        preferred = offer.preferred_lifetime,
        t1 = offer.times.0,
        t2 = offer.times.1,
        subnet = offer.subnet,
        delegated = delegated.flatten().unwrap_or_default(),
        servers = servers.join(", "),
    )
}
