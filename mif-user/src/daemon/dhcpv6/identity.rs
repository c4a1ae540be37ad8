//! Who this host is to DHCPv6 servers: its DUID (RFC 8415 §11), and the IAIDs of its links (§12).
//!
//! A DUID-UUID (RFC 6355) made of the machine id. It must survive what the state directory does not: the default one is in
//! `/run` and ends with the boot. A DUID-LLT would have to be kept to stay what it is, and depends on a network card, which may be
//! exchanged. The machine id itself is nobody's business but the host's (machine-id(5)), so the UUID is a keyed hash of it, made as
//! `sd_id128_get_machine_app_specific` does. A host without a machine id gets a random UUID, which is kept.

use std::{fs, path::Path};

use hmac_sha256::HMAC;
use serde::{Deserialize, Serialize};

use crate::files;

/// Version of the file.
const FORMAT: u32 = 1;

/// DUID-UUID (RFC 6355 §4).
const DUID_UUID: u16 = 4;

/// What the machine id is hashed with: for the DUID, and for the mark by which a state directory tells its host.
const FOR_DUID: [u8; 16] = 0x8f1e_6a0c_53d7_4b29_9c04_e1b7_2a65_f3d8_u128.to_be_bytes();
const FOR_HOST: [u8; 16] = 0x2b90_c4f7_61ae_4d03_b8d2_7f5e_0913_ca46_u128.to_be_bytes();

/// The host's identity.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Identity {
    /// The DUID, with its type.
    pub duid: Vec<u8>,
}

#[derive(Debug, Deserialize, Serialize)]
struct File {
    format: u32,
    /// A hash of the machine id of the host that wrote this; none where it had none.
    host: Option<String>,
    /// Hexadecimal.
    duid: String,
}

impl Identity {
    /// The identity that a state directory holds, or a new one, which is kept there; the second value says what was wrong.
    #[must_use]
    pub fn open(state_dir: &Path) -> (Self, Option<String>) {
        Self::of_machine(state_dir, fs::read_to_string("/etc/machine-id").ok().as_deref())
    }

    fn of_machine(state_dir: &Path, machine_id: Option<&str>) -> (Self, Option<String>) {
        let path = state_dir.join("duid.json");
        let machine = machine_id.and_then(|text| from_hex(text.trim())).filter(|id| id.len() == 16);
        let host = machine.as_ref().map(|id| to_hex(&keyed(id, FOR_HOST)));
        let (file, mut warning) = files::read_json_or_set_aside::<File>(&path);
        let own = |file: &File| file.host.is_none() || file.host == host;
        match file {
            Some(file) if own(&file) && file.format == FORMAT => {
                if let Some(duid) = from_hex(&file.duid).filter(|duid| duid.len() > size_of::<u16>()) {
                    return (Self { duid }, warning);
                }
                warning = Some(files::set_aside(&path, &std::io::Error::other("there is no DUID in it")));
            }
            Some(file) => {
                let why =
                    if file.format == FORMAT { "it is of another host" } else { "it is of another version" };
                warning = Some(files::set_aside(&path, &std::io::Error::other(why)));
            }
            None => {}
        }
        let uuid = machine.map_or_else(random_uuid, |id| keyed(&id, FOR_DUID));
        let duid = [&DUID_UUID.to_be_bytes()[..], &uuid].concat();
        let file = File { format: FORMAT, host, duid: to_hex(&duid) };
        if let Err(error) = files::write_json_durably(&path, &file) {
            warning.get_or_insert_with(|| format!("the DUID is not kept in {}: {error}", path.display()));
        }
        if let Some(warning) = &mut warning {
            warning.push_str(&format!("; servers know this host by the DUID {} from now on", file.duid));
        }
        (Self { duid }, warning)
    }
}

/// `sd_id128_get_machine_app_specific`: HMAC-SHA-256, cut to a UUID of version 4.
fn keyed(machine_id: &[u8], purpose: [u8; 16]) -> [u8; 16] {
    let mut uuid = [0; 16];
    uuid.copy_from_slice(&HMAC::mac(purpose, machine_id)[..16]);
    // RFC 9562 §4: version 4, variant 10.
    uuid[6] = uuid[6] & 0x0f | 0x40;
    uuid[8] = uuid[8] & 0x3f | 0x80;
    uuid
}

/// From the kernel; one of zeros, which is unique to nobody but works, where /proc is not there.
fn random_uuid() -> [u8; 16] {
    let text = fs::read_to_string("/proc/sys/kernel/random/uuid").unwrap_or_default();
    from_hex(&text.trim().replace('-', "")).and_then(|octets| octets.try_into().ok()).unwrap_or_default()
}

/// The IAID of a link: made of its name (FNV-1a), so that it needs no keeping, and the next free one where two links have the same.
#[must_use]
pub fn iaid(interface: &str, taken: impl Fn(u32) -> bool) -> u32 {
    let hash = interface
        .bytes()
        .fold(0x811c_9dc5_u32, |hash, octet| (hash ^ u32::from(octet)).wrapping_mul(0x0100_0193));
    let mut iaid = hash;
    while taken(iaid) {
        iaid = iaid.wrapping_add(1);
    }
    iaid
}

/// Lower case, without separators.
#[must_use]
pub fn to_hex(octets: &[u8]) -> String {
    use std::fmt::Write as _;
    octets.iter().fold(String::new(), |mut text, octet| {
        let _ = write!(text, "{octet:02x}");
        text
    })
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok().filter(|_| pair.len() == 2))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MACHINE: &str = "0123456789abcdef0123456789abcdef\n";
    const OTHER: &str = "fedcba9876543210fedcba9876543210\n";

    #[test]
    fn identities() {
        let directory = std::env::temp_dir().join(format!("mif-identity-{}", std::process::id()));
        let path = directory.join("duid.json");
        let open = |machine| Identity::of_machine(&directory, machine);
        let (first, warning) = open(Some(MACHINE));
        assert_eq!((first.duid.len(), &first.duid[..2], warning), (18, &[0, 4][..], None));
        assert!(!to_hex(&first.duid).contains("0123456789abcdef"), "the machine id is nobody's business");
        assert_eq!(open(Some(MACHINE)), (first.clone(), None));

        // Gone with the boot, as /run: the same again.
        fs::remove_file(&path).expect("it was written");
        assert_eq!(open(Some(MACHINE)), (first.clone(), None));

        // Cut off: kept aside and said.
        fs::write(&path, "{\"format\":1,\"host\":\"c").expect("written");
        let (found, warning) = open(Some(MACHINE));
        assert!(found == first && warning.is_some_and(|warning| warning.contains("duid.json.bad")));

        // From another host.
        let (found, warning) = open(Some(OTHER));
        assert_ne!(found, first);
        let warning = warning.expect("it is said");
        assert!(warning.contains("of another host") && warning.contains(&to_hex(&found.duid)), "{warning}");
        assert!(
            fs::read_to_string(directory.join("duid.json.bad")).expect("kept").contains(&to_hex(&first.duid))
        );

        // Without a machine id: random, and kept.
        fs::remove_file(&path).expect("it was written");
        let (random, warning) = open(None);
        assert!(warning.is_none() && random != first && random != found);
        assert_eq!(open(None), (random, None));
        fs::remove_dir_all(&directory).expect("removed");
    }

    #[test]
    fn iaids() {
        let first = iaid("eth0", |_| false);
        assert_eq!(first, iaid("eth0", |_| false));
        assert_ne!(first, iaid("eth1", |_| false));
        assert_eq!(iaid("eth0", |taken| taken == first), first.wrapping_add(1));
    }
}
