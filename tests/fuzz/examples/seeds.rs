//! Writes the seeds of every target, from the golden octets of mif-core's tests, to `seeds/TARGET/NAME` beside the
//! manifest. To run after the golden octets have changed:
//!
//! ```text
//! cargo run --manifest-path tests/fuzz/Cargo.toml --example seeds
//! ```

use std::{fs, io, net::Ipv6Addr, path::Path};

use mif_core::wire::{
    ALL_NODES, HOP_LIMIT, NdOption, RouterSolicitation, kind,
    testing::golden::{self, Golden},
};

fn main() -> io::Result<()> {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds");
    let write = |target: &str, name: &str, octets: &[u8]| {
        let folder = seeds.join(target);
        fs::create_dir_all(&folder)?;
        fs::write(folder.join(name), octets)
    };

    let router = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
    for Golden { name, octets, value } in golden::advertisements() {
        write("router_advertisement", name, &octets)?;
        let icmp = value.emit_between(router, ALL_NODES).expect("golden values can be sent");
        let packet = [&router.octets()[..], &ALL_NODES.octets(), &[HOP_LIMIT], &icmp].concat();
        write("router_advertisement_packet", name, &packet)?;
    }

    let address = Some(vec![0x02, 0, 0x5e, 0x10, 0, 1]);
    for (name, source_link_layer_address) in [("unspecified", None), ("ethernet", address)] {
        let solicitation = RouterSolicitation { source_link_layer_address };
        write("router_solicitation", name, &solicitation.emit().expect("six octets fill a unit"))?;
    }

    for Golden { name, octets, value } in golden::options() {
        write("nd_option", name, &octets)?;
        // These targets make type and length themselves.
        match octets.split_at(2) {
            ([kind::PVD, _], data) => write("pvd_option", name, data)?,
            ([kind::ENCRYPTED_DNS, _], data) => write("encrypted_dns", name, data)?,
            _ => {}
        }
        if let NdOption::DnsSearchList(list) = value {
            for suffix in list.suffixes {
                let mut octets = Vec::new();
                suffix.emit(&mut octets);
                write("dns_name", &format!("wire-{suffix}"), &octets)?;
                write("dns_name", &format!("text-{suffix}"), suffix.as_str().as_bytes())?;
            }
        }
    }
    Ok(())
}
