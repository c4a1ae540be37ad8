//! What each link's client has, kept for the next start: one small file for each, written after each change.
//!
//! Instants are on the clock of a boot; a state directory that outlives the boot has the wall clock beside it, so that what was leased
//! before is asked about after (RFC 8415 §18.2.12).

use std::{
    fs, io,
    net::Ipv6Addr,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use mif_core::{
    dhcpv6::{Configuration, Leases},
    time::{Deadline, Time},
};
use serde::{Deserialize, Serialize};

use super::identity::to_hex;
use crate::{clock, files};

/// Version of the files.
const FORMAT: u32 = 1;

/// What is kept of a client.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Kept {
    /// Its IAID.
    pub iaid: u32,
    /// Where its server's messages came from.
    pub server: Ipv6Addr,
    /// What it was given.
    pub configuration: Configuration,
    /// Its leases, with the times to ask for more.
    pub leases: Leases,
}

#[derive(Debug, Deserialize, Serialize)]
struct File {
    format: u32,
    /// The DUID that this was given to.
    duid: String,
    boot: String,
    /// When it was written: on the clock of the boot, and nanoseconds since 1970.
    at: Time,
    wall: Time,
    #[serde(flatten)]
    kept: Kept,
}

/// Where they are in a state directory.
#[must_use]
pub fn directory(state_dir: &Path) -> PathBuf {
    state_dir.join("dhcpv6")
}

/// The files of a state directory.
#[derive(Clone, Debug)]
pub struct Keeping {
    directory: PathBuf,
    duid: String,
    boot: String,
}

impl Keeping {
    /// For the host of this DUID.
    #[must_use]
    pub fn new(state_dir: &Path, duid: &[u8]) -> Self {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        Self { directory: directory(state_dir), duid: to_hex(duid), boot: boot.trim().to_owned() }
    }

    /// What was kept of an interface, and whether that was since the host started. What is not ours is kept aside, and the last value
    /// says so.
    #[must_use]
    pub fn read(&self, interface: &str) -> (Option<(Kept, bool)>, Option<String>) {
        let path = self.path(interface);
        let (file, warning) = files::read_json_or_set_aside::<File>(&path);
        let Some(File { format, duid, boot, at, wall, kept }) = file else { return (None, warning) };
        if (format, &duid) != (FORMAT, &self.duid) {
            let why = io::Error::other("it is of another host or another version");
            return (None, Some(files::set_aside(&path, &why)));
        }
        if boot == self.boot {
            return (Some((kept, true)), None);
        }
        // On that boot's clock it was `at` when the wall clock showed `wall`; now this boot's shows something, and the wall clock too.
        let passed = Duration::from_nanos(wall_clock().0.saturating_sub(wall.0));
        let (here, there) = (at.after(passed), clock::now());
        let moved = |deadline: Deadline| deadline.on_other_clock(here, there);
        let Kept { iaid, server, mut configuration, leases } = kept;
        configuration.received =
            configuration.received.and_then(|received| moved(Deadline::at(received)).time());
        configuration.refresh_at = moved(configuration.refresh_at);
        let leases = leases.on_other_clock(here, there);
        configuration.leases = leases.iter().copied().collect();
        (Some((Kept { iaid, server, configuration, leases }, false)), None)
    }

    /// Keeps it. A reader finds the old or the new one, after a power cut too.
    ///
    /// # Errors
    /// When the state directory cannot be written.
    pub fn write(&self, interface: &str, kept: Kept) -> io::Result<()> {
        let Self { duid, boot, .. } = self.clone();
        let file = File { format: FORMAT, duid, boot, at: clock::now(), wall: wall_clock(), kept };
        files::write_json_durably(&self.path(interface), &file)
    }

    /// Forgets it.
    ///
    /// # Errors
    /// When the state directory cannot be written.
    pub fn remove(&self, interface: &str) -> io::Result<()> {
        match fs::remove_file(self.path(interface)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn path(&self, interface: &str) -> PathBuf {
        // The kernel allows no `/` in names, and neither `.` nor `..` (dev_valid_name).
        self.directory.join(format!("{interface}.json"))
    }
}

/// Nanoseconds since 1970, which end in 2554.
fn wall_clock() -> Time {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Time(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use mif_core::wire::dhcpv6::{IdentityAssociation, Lease};

    use super::*;

    fn kept(now: Time) -> Kept {
        let mut leases = Leases::default();
        let lease = Lease {
            prefix: "2001:db8::7/128".parse().expect("a literal"),
            preferred_lifetime: 100,
            valid_lifetime: 200,
            status: None,
        };
        let association = IdentityAssociation { iaid: 7, t1: 50, t2: 80, leases: vec![lease], status: None };
        leases.update(&association, now, &mut |error| panic!("{error}")).expect("taken");
        let configuration = Configuration {
            server: vec![0, 3, 0, 1],
            leases: leases.iter().copied().collect(),
            options: Vec::new(),
            received: Some(now),
            refresh_at: Deadline::NEVER,
        };
        Kept { iaid: 7, server: "fe80::1".parse().expect("a literal"), configuration, leases }
    }

    #[test]
    fn over_starts_and_boots() {
        let directory = std::env::temp_dir().join(format!("mif-kept-{}", std::process::id()));
        let keeping = Keeping::new(&directory, &[0, 4, 1]);
        let now = clock::now();
        let written = kept(now);
        keeping.write("eth0", written.clone()).expect("written");
        assert_eq!(keeping.read("eth0"), (Some((written.clone(), true)), None));
        assert_eq!(keeping.read("eth1"), (None, None));

        // Another boot of the same host: as much is left as the wall clock says, to the second.
        let (found, warning) = Keeping { boot: "another".into(), ..keeping.clone() }.read("eth0");
        let (found, same_boot) = found.expect("kept");
        assert!(!same_boot && warning.is_none());
        let left = |kept: &Kept| {
            let lease = kept.configuration.leases[0];
            assert_eq!(kept.leases.iter().next(), Some(&lease));
            lease.valid_until.remaining(now).expect("a lifetime").as_secs_f64()
        };
        assert!((left(&found) - left(&written)).abs() < 1.0, "{found:?}");

        // Another host's.
        let (found, warning) = Keeping::new(&directory, &[0, 4, 2]).read("eth0");
        assert!(found.is_none() && warning.is_some_and(|warning| warning.contains("eth0.json.bad")));
        assert_eq!(keeping.read("eth0"), (None, None));

        // Cut off.
        keeping.write("eth0", written).expect("written");
        let path = keeping.path("eth0");
        let text = fs::read_to_string(&path).expect("written");
        fs::write(&path, &text[..text.len() / 2]).expect("cut off");
        let (found, warning) = keeping.read("eth0");
        assert!(found.is_none() && warning.is_some_and(|warning| warning.contains("eth0.json.bad")));
        fs::remove_dir_all(&directory).expect("removed");
    }
}
