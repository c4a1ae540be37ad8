//! The maps as typed collections.

use std::{
    collections::BTreeSet,
    io,
    net::Ipv6Addr,
    path::{Path, PathBuf},
};

use aya::maps::{
    Array, HashMap, LpmTrie, Map, MapData, MapError, PerCpuArray, PerCpuValues, RingBuf, lpm_trie::Key,
};
use bytemuck::Pod;
use ipnet::Ipv6Net;
use mif_common::{
    Addr, Reason,
    abi::{self, Config, Count, Decision, DecisionKey, Member, Policy, Pvd, PvdIndex, Source},
    reason,
};
use mif_core::select::tables::{Op, TableStore, Tables};

use super::pins;

/// A value of the map ABI in the form that aya takes.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub struct Raw<T>(pub T);

// SAFETY: a transparent wrapper of a type that is plain data without padding, as bytemuck's trait demands and its
// derive checks.
unsafe impl<T: Pod> aya::Pod for Raw<T> {}

/// Why a map operation failed.
#[derive(Debug, thiserror::Error)]
pub enum MapsError {
    /// There is no installation.
    #[error(
        "no mif at {0}: nothing is pinned there; start the daemon (mif daemon), or name its directory with --bpffs"
    )]
    Absent(PathBuf),
    /// A pin cannot be opened.
    #[error("cannot open the pinned map {path}: {source}")]
    Open {
        /// Which.
        path: PathBuf,
        /// Why.
        source: MapError,
    },
    /// A pin is not the map that it should be.
    #[error(
        "{path} is not the map of this version: {what}; restart the daemon of this version to replace it"
    )]
    Foreign {
        /// Which.
        path: PathBuf,
        /// What is different.
        what: String,
    },
    /// A map is full.
    #[error("map {name} is full; {remedy}")]
    Full {
        /// Which.
        name: &'static str,
        /// What to do.
        remedy: &'static str,
    },
    /// The kernel refused an operation.
    #[error("map {name}: {source}")]
    Kernel {
        /// Which.
        name: &'static str,
        /// Why.
        source: MapError,
    },
}

/// All maps of an installation.
pub struct Maps {
    config: Array<MapData, Raw<Config>>,
    policy: HashMap<MapData, u64, Raw<Policy>>,
    view: HashMap<MapData, Raw<Member>, u32>,
    decision: LpmTrie<MapData, Raw<DecisionKey>, Raw<Decision>>,
    source: HashMap<MapData, Raw<Addr>, Raw<Source>>,
    interface: HashMap<MapData, u32, u32>,
    pvd: Array<MapData, Raw<Pvd>>,
    stats: PerCpuArray<MapData, Raw<Count>>,
}

/// Opens one pinned map and gives it its type; aya checks the sizes of key and value.
macro_rules! typed {
    ($directory:expr, $name:literal, $variant:ident) => {{
        let path = $directory.join($name);
        let data = open_pin(&path)?;
        Map::$variant(data)
            .try_into()
            .map_err(|source: MapError| MapsError::Foreign { path, what: source.to_string() })?
    }};
}

impl Maps {
    /// Opens the pinned maps of the installation at `directory` (the one that `--bpffs` names).
    ///
    /// # Errors
    /// When there are none, or they are not of this version.
    pub fn open(directory: &Path) -> Result<Self, MapsError> {
        if !directory.is_dir() {
            return Err(MapsError::Absent(directory.into()));
        }
        let maps = directory.join(pins::MAPS);
        let maps = Self {
            config: typed!(maps, "CONFIG", Array),
            policy: typed!(maps, "POLICY", HashMap),
            view: typed!(maps, "VIEW", HashMap),
            decision: typed!(maps, "DECISION", LpmTrie),
            source: typed!(maps, "SOURCE", HashMap),
            interface: typed!(maps, "INTERFACE", HashMap),
            pvd: typed!(maps, "PVD", Array),
            stats: typed!(maps, "STATS", PerCpuArray),
        };
        let layout = maps.config()?.layout;
        if layout != abi::LAYOUT {
            let what = format!("its layout is {layout}, this program's is {}", abi::LAYOUT);
            return Err(MapsError::Foreign { path: directory.into(), what });
        }
        Ok(maps)
    }

    /// The configuration that the hooks see.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn config(&self) -> Result<Config, MapsError> {
        self.config.get(&0, 0).map(|Raw(config)| config).map_err(kernel("CONFIG"))
    }

    /// Replaces the configuration. Its fields are independent of each other but for [`Config::netns_cookie`], which a
    /// writer sets last when it sets it first; the kernel copies the element word by word.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn set_config(&mut self, config: Config) -> Result<(), MapsError> {
        self.config.set(0, &Raw(config), 0).map_err(kernel("CONFIG"))
    }

    /// All policies: cgroup id and policy, by id.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn policies(&self) -> Result<Vec<(u64, Policy)>, MapsError> {
        let mut policies = self
            .policy
            .iter()
            .map(|row| row.map(|(id, Raw(policy))| (id, policy)))
            .collect::<Result<Vec<_>, _>>();
        if let Ok(policies) = &mut policies {
            policies.sort_by_key(|(id, _)| *id);
        }
        policies.map_err(kernel("POLICY"))
    }

    /// The policy of exactly this cgroup.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn policy(&self, cgroup: u64) -> Result<Option<Policy>, MapsError> {
        found(self.policy.get(&cgroup, 0)).map(|row| row.map(|Raw(policy)| policy)).map_err(kernel("POLICY"))
    }

    /// Sets the policy of a cgroup.
    ///
    /// # Errors
    /// When the map is full or the kernel refuses.
    pub fn set_policy(&mut self, cgroup: u64, policy: Policy) -> Result<(), MapsError> {
        self.policy.insert(&cgroup, &Raw(policy), 0).map_err(full("POLICY", "detach some policies"))
    }

    /// Removes the policy of a cgroup; false if it had none.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn remove_policy(&mut self, cgroup: u64) -> Result<bool, MapsError> {
        found(self.policy.remove(&cgroup)).map(|removed| removed.is_some()).map_err(kernel("POLICY"))
    }

    /// The interfaces that the guard leaves to tc egress.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn interfaces(&self) -> Result<BTreeSet<u32>, MapsError> {
        self.interface.keys().collect::<Result<_, _>>().map_err(kernel("INTERFACE"))
    }

    /// The guard leaves this interface to tc egress, which is attached to it.
    ///
    /// # Errors
    /// When the map is full or the kernel refuses.
    pub fn put_interface(&mut self, ifindex: u32) -> Result<(), MapsError> {
        self.interface.insert(&ifindex, &1, 0).map_err(full("INTERFACE", "name fewer interfaces"))
    }

    /// The guard judges what leaves by this interface.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn delete_interface(&mut self, ifindex: u32) -> Result<(), MapsError> {
        found(self.interface.remove(&ifindex)).map(drop).map_err(kernel("INTERFACE"))
    }

    /// The longest match for a destination in a view.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn decision(&self, view: u32, destination: Ipv6Addr) -> Result<Option<Decision>, MapsError> {
        let key = Key::new(DecisionKey::VIEW_BITS + 128, Raw(DecisionKey::new(view, destination.into())));
        found(self.decision.get(&key, 0))
            .map(|row| row.map(|Raw(decision)| decision))
            .map_err(kernel("DECISION"))
    }

    /// Who owns a local address.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn source(&self, address: Ipv6Addr) -> Result<Option<Source>, MapsError> {
        found(self.source.get(&Raw(address.into()), 0))
            .map(|row| row.map(|Raw(source)| source))
            .map_err(kernel("SOURCE"))
    }

    /// Whether a PvD is in a view.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn permits(&self, view: u32, pvd: PvdIndex) -> Result<bool, MapsError> {
        found(self.view.get(&Raw(Member { view, pvd }), 0)).map(|row| row.is_some()).map_err(kernel("VIEW"))
    }

    /// The PvDs of a view, each with the place of its group, by number.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn members(&self, view: u32) -> Result<Vec<(PvdIndex, u32)>, MapsError> {
        let mut members = Vec::new();
        for row in self.view.iter() {
            let (Raw(member), group) = row.map_err(kernel("VIEW"))?;
            if member.view == view && member.pvd < Member::INTERFACE {
                members.push((member.pvd, group));
            }
        }
        members.sort_unstable();
        Ok(members)
    }

    /// All non-zero counters, summed over the CPUs, by PvD and reason.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn counts(&self) -> Result<Vec<(PvdIndex, Reason, Count)>, MapsError> {
        let mut counts = Vec::new();
        for (place, values) in (0u32..).zip(self.stats.iter()) {
            let values = values.map_err(kernel("STATS"))?;
            let sum = values.iter().fold(Count::default(), |sum, Raw(count)| Count {
                count: sum.count + count.count,
                bytes: sum.bytes + count.bytes,
            });
            if let Some(reason) = Reason::from_raw(place % reason::COUNT)
                && sum.count != 0
            {
                counts.push((place / reason::COUNT, reason, sum));
            }
        }
        Ok(counts)
    }

    /// All that was counted for a PvD, whatever the reason.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn packets(&self, pvd: PvdIndex) -> Result<u64, MapsError> {
        let of = |reason| -> Result<u64, MapsError> {
            let values = self.stats.get(&(pvd * reason::COUNT + reason), 0).map_err(kernel("STATS"))?;
            Ok(values.iter().map(|Raw(count)| count.count).sum())
        };
        (0..reason::COUNT).map(of).sum()
    }

    /// Zeroes the counters of a PvD whose place is given to another one.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn clear_counts(&mut self, pvd: PvdIndex) -> Result<(), MapsError> {
        let cpus = aya::util::nr_cpus().map_err(|(_, error)| io_error("STATS", error))?;
        for reason in 0..reason::COUNT {
            let zeroes = PerCpuValues::try_from(vec![Raw(Count::default()); cpus.get() as usize])
                .map_err(|error| io_error("STATS", error))?;
            self.stats.set(pvd * reason::COUNT + reason, zeroes, 0).map_err(kernel("STATS"))?;
        }
        Ok(())
    }

    /// How many PvDs fit, the place 0 included.
    #[must_use]
    pub fn pvd_places(&self) -> u32 {
        self.pvd.len()
    }
}

impl TableStore for Maps {
    type Error = MapsError;

    fn load(&self) -> Result<Tables, MapsError> {
        let mut tables = Tables::default();
        for row in self.decision.iter() {
            let (key, Raw(decision)) = row.map_err(kernel("DECISION"))?;
            let Raw(DecisionKey { view_be, destination }) = key.data();
            let bits = key.prefix_len().saturating_sub(DecisionKey::VIEW_BITS);
            if let Some(prefix) =
                u8::try_from(bits).ok().and_then(|bits| Ipv6Net::new(destination.into(), bits).ok())
            {
                tables.decisions.insert((u32::from_be(view_be), prefix), decision);
            }
        }
        for row in self.source.iter() {
            let (Raw(address), Raw(source)) = row.map_err(kernel("SOURCE"))?;
            tables.sources.insert(address.into(), source);
        }
        for (index, pvd) in (0u32..).zip(self.pvd.iter()) {
            let Raw(pvd) = pvd.map_err(kernel("PVD"))?;
            if pvd.flags & abi::pvd_flags::PRESENT != 0 {
                tables.pvds.insert(index, pvd);
            }
        }
        for row in self.view.iter() {
            let (Raw(Member { view, pvd }), group) = row.map_err(kernel("VIEW"))?;
            tables.members.insert((view, pvd), group);
        }
        Ok(tables)
    }

    fn apply(&mut self, op: &Op) -> Result<(), MapsError> {
        match *op {
            Op::PutDecision(view, prefix, decision) => {
                self.decision.insert(&decision_key(view, prefix), &Raw(decision), 0).map_err(full(
                    "DECISION",
                    "raise limits.decisions in the configuration and restart the daemon",
                ))
            }
            Op::DeleteDecision(view, prefix) => {
                found(self.decision.remove(&decision_key(view, prefix))).map(drop).map_err(kernel("DECISION"))
            }
            Op::PutSource(address, source) => self
                .source
                .insert(&Raw(address.into()), &Raw(source), 0)
                .map_err(full("SOURCE", "raise limits.sources in the configuration and restart the daemon")),
            Op::DeleteSource(address) => {
                found(self.source.remove(&Raw(address.into()))).map(drop).map_err(kernel("SOURCE"))
            }
            Op::PutPvd(index, pvd) => self.pvd.set(index, &Raw(pvd), 0).map_err(kernel("PVD")),
            Op::DeletePvd(index) => self.pvd.set(index, &Raw(Pvd::default()), 0).map_err(kernel("PVD")),
            Op::PutMember(view, pvd, group) => self
                .view
                .insert(&Raw(Member { view, pvd }), &group, 0)
                .map_err(full("VIEW", "let policies name fewer PvDs")),
            Op::DeleteMember(view, pvd) => {
                found(self.view.remove(&Raw(Member { view, pvd }))).map(drop).map_err(kernel("VIEW"))
            }
        }
    }
}

/// Opens the ring of events. Each reader takes what it reads: there should be one.
///
/// # Errors
/// When there is no installation.
pub fn events(directory: &Path) -> Result<RingBuf<MapData>, MapsError> {
    if !directory.exists() {
        return Err(MapsError::Absent(directory.into()));
    }
    let path = directory.join(pins::MAPS).join("EVENTS");
    RingBuf::try_from(Map::RingBuf(open_pin(&path)?))
        .map_err(|source| MapsError::Foreign { path, what: source.to_string() })
}

fn open_pin(path: &Path) -> Result<MapData, MapsError> {
    MapData::from_pin(path).map_err(|source| MapsError::Open { path: path.into(), source })
}

fn decision_key(view: u32, prefix: Ipv6Net) -> Key<Raw<DecisionKey>> {
    let bits = DecisionKey::VIEW_BITS + u32::from(prefix.prefix_len());
    Key::new(bits, Raw(DecisionKey::new(view, prefix.network().into())))
}

fn kernel(name: &'static str) -> impl FnOnce(MapError) -> MapsError {
    move |source| MapsError::Kernel { name, source }
}

fn io_error(name: &'static str, error: io::Error) -> MapsError {
    MapsError::Kernel { name, source: MapError::IoError(error) }
}

/// An insertion's error: E2BIG of a hash and ENOSPC of a trie mean that the map is full.
fn full(name: &'static str, remedy: &'static str) -> impl FnOnce(MapError) -> MapsError {
    move |source| match &source {
        MapError::SyscallError(error)
            if matches!(error.io_error.raw_os_error(), Some(libc::E2BIG | libc::ENOSPC)) =>
        {
            MapsError::Full { name, remedy }
        }
        _ => MapsError::Kernel { name, source },
    }
}

/// A missing key is an answer, not an error.
fn found<T>(result: Result<T, MapError>) -> Result<Option<T>, MapError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(MapError::KeyNotFound) => Ok(None),
        Err(MapError::SyscallError(error)) if error.io_error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        Err(error) => Err(error),
    }
}
