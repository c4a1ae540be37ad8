//! The last Router Advertisements, kept for the next start.
//!
//! A router repeats itself within minutes to half an hour (RFC 4861 §6.2.1), and a restarted daemon must know before
//! that which PvD its addresses belong to. So the daemon keeps what each router said last, with the time it said so, and
//! hears it again when it starts: deadlines count from the time of reception, on a clock that does not stop with the
//! daemon. The file is in the state directory, which does not outlive the boot.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::Ipv6Addr,
    path::{Path, PathBuf},
};

use mif_core::{
    time::Time,
    wire::{NdOption, RouterAdvertisement},
};
use serde::{Deserialize, Serialize};

use crate::files;

/// Advertisements held between two calls of [`Journal::keep`]: what 10,000 forged routers say must not fill the memory.
const HELD: usize = 1024;

/// An advertisement as it was heard.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct Heard {
    /// On this interface,
    pub ifindex: u32,
    /// from this router,
    pub router: Ipv6Addr,
    /// at this time,
    pub at: Time,
    /// this.
    pub advertisement: RouterAdvertisement,
}

/// The journal.
#[derive(Debug)]
pub struct Journal {
    file: PathBuf,
    heard: BTreeMap<(u32, Ipv6Addr, Option<String>), Heard>,
}

impl Journal {
    /// Opens the journal of a state directory; the second value says what was wrong with it.
    #[must_use]
    pub fn open(state_dir: &Path) -> (Self, Option<String>) {
        let file = state_dir.join("advertisements.json");
        let (heard, warning) = files::read_json_or_set_aside::<Vec<Heard>>(&file);
        let heard = heard.unwrap_or_default().into_iter().map(|heard| (key(&heard), heard)).collect();
        (Self { file, heard }, warning)
    }

    /// What was heard, oldest first.
    #[must_use]
    pub fn replay(&self) -> Vec<Heard> {
        let mut heard: Vec<Heard> = self.heard.values().cloned().collect();
        heard.sort_by_key(|heard| heard.at);
        heard
    }

    /// Keeps an advertisement in place of the router's last one for the same PvD.
    pub fn hear(&mut self, heard: Heard) {
        let key = key(&heard);
        if self.heard.len() < HELD || self.heard.contains_key(&key) {
            self.heard.insert(key, heard);
        }
    }

    /// Forgets the routers of an interface that is gone or down.
    pub fn forget_link(&mut self, ifindex: u32) {
        self.heard.retain(|(link, ..), _| *link != ifindex);
    }

    /// Keeps what these routers said, each on its interface; the others are gone, or were refused by the caps.
    pub fn keep(&mut self, routers: &BTreeSet<(u32, Ipv6Addr)>) {
        self.heard.retain(|(ifindex, router, _), _| routers.contains(&(*ifindex, *router)));
    }

    /// Writes it.
    ///
    /// # Errors
    /// When the state directory cannot be written.
    pub fn write(&self) -> io::Result<()> {
        files::write_json(&self.file, &self.replay())
    }
}

/// One router may speak for several explicit PvDs and for an implicit one (RFC 8801 §3.2).
fn key(heard: &Heard) -> (u32, Ipv6Addr, Option<String>) {
    let pvd = heard.advertisement.options.iter().find_map(|option| match option {
        NdOption::Pvd(pvd) => Some(pvd.id.as_str().to_ascii_lowercase()),
        _ => None,
    });
    (heard.ifindex, heard.router, pvd)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(ifindex: u32, router: u16, at: u64) -> Heard {
        let router = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, router);
        Heard { ifindex, router, at: Time(at), advertisement: RouterAdvertisement::default() }
    }

    #[test]
    fn what_routers_said_last_is_heard_again_in_order() {
        let directory = std::env::temp_dir().join(format!("mif-journal-{}", std::process::id()));
        let (mut journal, warning) = Journal::open(&directory);
        assert_eq!(warning, None);
        for heard in [heard(2, 1, 10), heard(3, 1, 20), heard(2, 2, 30), heard(2, 1, 40)] {
            journal.hear(heard);
        }
        journal.write().expect("written");
        let (mut journal, _) = Journal::open(&directory);
        assert_eq!(journal.replay(), [heard(3, 1, 20), heard(2, 2, 30), heard(2, 1, 40)]);
        journal.keep(&BTreeSet::from([(2, heard(2, 1, 0).router), (3, heard(3, 1, 0).router)]));
        assert_eq!(journal.replay(), [heard(3, 1, 20), heard(2, 1, 40)]);
        journal.forget_link(2);
        assert_eq!(journal.replay(), [heard(3, 1, 20)]);
        std::fs::remove_dir_all(&directory).expect("removed");
    }

    #[test]
    fn a_flood_of_routers_is_bounded() {
        let (mut journal, _) = Journal::open(Path::new("/nonexistent"));
        for router in 0..10_000 {
            journal.hear(heard(2, router, 1));
        }
        assert_eq!(journal.replay().len(), HELD);
    }
}
