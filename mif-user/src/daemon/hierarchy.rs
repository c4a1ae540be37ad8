//! Cgroups that come and go, by inotify: no polling.
//!
//! Each directory in which a cgroup of interest can appear has a watch. A directory is looked through after its watch was
//! added, so that nothing falls between. cgroup2 tells of a removed directory only its parent's watch, and leaves the
//! watch of the removed one in place: it is removed here.
//!
//! Names come late and out of order: every event makes this look at what is there now (`reconcile`), and the inode number,
//! which is the cgroup's id, tells a cgroup from another one of the same name.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use nix::{
    errno::Errno,
    sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor},
};
use tokio::sync::mpsc;

use crate::{fd::Reader, kernel::attach, pattern::Pattern};

/// The most directories that are watched. A watch costs some 1 KiB of kernel memory, and `fs.inotify.max_user_watches` is
/// one limit for all programs of a user: this leaves most of its usual value to others.
const WATCHES: usize = 1 << 14;

/// Reads of the descriptor before others have their turn, some hundred events each.
const READS: usize = 16;

/// Something that happened in the hierarchy.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum News {
    /// A cgroup is there.
    Appeared {
        /// Its directory.
        path: PathBuf,
        /// Its path below the root of cgroup2.
        below_root: PathBuf,
        /// Its id.
        id: u64,
    },
    /// A cgroup is gone.
    Gone {
        /// Its id.
        id: u64,
    },
    /// Some of what comes from now on will not be seen, and why.
    Blind(String),
    /// The kernel's queue was full: the hierarchy was looked through, and what differs follows.
    Lost,
}

/// A cgroup whose end is of interest, because a command gave it a policy.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Follow {
    /// Its directory.
    pub path: PathBuf,
    /// Its id; `None`: its end is of no interest any more.
    pub id: Option<u64>,
}

#[derive(Debug)]
struct Node {
    id: u64,
    watch: Option<WatchDescriptor>,
}

/// The part of the hierarchy that is looked at.
#[derive(Debug)]
pub struct Hierarchy {
    inotify: Option<Arc<Inotify>>,
    /// Nothing outside of this is of interest: the cgroup that the hooks are attached to.
    top: PathBuf,
    /// Where cgroup2 is mounted.
    root: PathBuf,
    patterns: Vec<Pattern>,
    followed: BTreeSet<PathBuf>,
    nodes: BTreeMap<PathBuf, Node>,
    watched: HashMap<WatchDescriptor, PathBuf>,
    /// The most watches.
    most: usize,
    /// Why a directory could not be watched.
    blind: Option<String>,
}

impl Hierarchy {
    /// Looks through the hierarchy below `top`; `root` is where cgroup2 is mounted. What is there is news.
    pub fn open(top: &Path, root: &Path, patterns: Vec<Pattern>, follow: Vec<Follow>) -> (Self, Vec<News>) {
        Self::limited(top, root, patterns, follow, WATCHES)
    }

    fn limited(
        top: &Path,
        root: &Path,
        patterns: Vec<Pattern>,
        follow: Vec<Follow>,
        most: usize,
    ) -> (Self, Vec<News>) {
        let (inotify, blind) = match Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK) {
            Ok(inotify) => (Some(Arc::new(inotify)), None),
            Err(errno) => (None, Some(format!("no inotify: {}", errno.desc()))),
        };
        let mut hierarchy = Self {
            inotify,
            top: top.into(),
            root: root.into(),
            patterns,
            followed: BTreeSet::new(),
            nodes: BTreeMap::new(),
            watched: HashMap::new(),
            most,
            blind,
        };
        let mut news = Vec::new();
        hierarchy.reconcile(top, &mut news);
        for follow in follow {
            news.extend(hierarchy.follow(follow));
        }
        news.extend(hierarchy.blind.clone().map(News::Blind));
        (hierarchy, news)
    }

    /// Whether a pattern can be for anything here.
    #[must_use]
    pub fn can_match(&self, pattern: &Pattern) -> bool {
        let top = self.below_root(&self.top);
        pattern.matches(top) || pattern.may_match_below(top)
    }

    /// Begins or ends to look for the end of a cgroup. It may be gone already: then that is the news.
    pub fn follow(&mut self, Follow { path, id }: Follow) -> Vec<News> {
        let mut news = Vec::new();
        let Some(id) = id else {
            self.followed.remove(&path);
            return news;
        };
        let Ok(below) = path.strip_prefix(&self.top).map(Path::to_path_buf) else { return news };
        self.followed.insert(path.clone());
        self.nodes.entry(path).or_insert(Node { id, watch: None });
        let mut step = self.top.clone();
        self.reconcile(&step, &mut news);
        for part in below.iter() {
            step.push(part);
            self.reconcile(&step, &mut news);
        }
        news
    }

    /// Takes in what inotify told.
    fn take(&mut self, events: Vec<InotifyEvent>) -> Vec<News> {
        let mut news = Vec::new();
        let was_blind = self.blind.is_some();
        for event in &events {
            self.event(event, &mut news);
        }
        if !was_blind {
            news.extend(self.blind.clone().map(News::Blind));
        }
        news
    }

    fn event(&mut self, event: &InotifyEvent, news: &mut Vec<News>) {
        if event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
            news.push(News::Lost);
            return self.rescan(news);
        }
        if event.mask.contains(AddWatchFlags::IN_IGNORED) {
            // The directory is gone; on file systems that give inode numbers again, the next one looks the same.
            if let Some(path) = self.watched.remove(&event.wd) {
                if let Some(node) = self.nodes.get_mut(&path) {
                    node.watch = None;
                }
                self.reconcile(&path, news);
            }
            return;
        }
        // A watch that was removed may have had events in the queue.
        if let (Some(directory), Some(name)) = (self.watched.get(&event.wd), &event.name) {
            let path = directory.join(name);
            self.reconcile(&path, news);
        }
    }

    /// Looks at everything again.
    fn rescan(&mut self, news: &mut Vec<News>) {
        let known: Vec<PathBuf> = self.nodes.keys().cloned().collect();
        for path in known {
            self.reconcile(&path, news);
        }
        let watched: Vec<PathBuf> = self.watched.values().cloned().collect();
        for directory in watched {
            self.scan(&directory, news);
        }
    }

    /// Brings what is known of a path to what is there.
    fn reconcile(&mut self, path: &Path, news: &mut Vec<News>) {
        let now = fs::symlink_metadata(path).ok().filter(fs::Metadata::is_dir);
        let now = now.and_then(|_| attach::cgroup_id(path).ok());
        let known = self.nodes.get(path).map(|node| node.id);
        if let Some(id) = known
            && now != Some(id)
        {
            self.forget(path, news);
        }
        let Some(id) = now else { return };
        let watch = self.may_contain(path);
        if known != Some(id) {
            let wanted = self.wants(path);
            if !wanted && !watch {
                return;
            }
            self.nodes.insert(path.into(), Node { id, watch: None });
            if wanted {
                let below_root = self.below_root(path).to_path_buf();
                news.push(News::Appeared { path: path.into(), below_root, id });
            }
        }
        let unwatched = self.nodes.get(path).is_some_and(|node| node.watch.is_none());
        if watch && unwatched && self.watch(path) {
            self.scan(path, news);
        }
    }

    /// Looks at what is in a directory.
    fn scan(&mut self, directory: &Path, news: &mut Vec<News>) {
        // Gone meanwhile: the watch of its parent tells.
        let Ok(entries) = fs::read_dir(directory) else { return };
        for entry in entries.filter_map(Result::ok) {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                self.reconcile(&entry.path(), news);
            }
        }
    }

    /// Watches a directory; false where it is gone. One that cannot be watched is looked through all the same.
    fn watch(&mut self, path: &Path) -> bool {
        let Some(inotify) = &self.inotify else { return true };
        if self.watched.len() >= self.most {
            let why = format!("more than {} cgroups can contain one that a policy is for", self.most);
            self.blind.get_or_insert(why);
            return true;
        }
        let flags = AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_MOVE
            | AddWatchFlags::IN_ONLYDIR
            | AddWatchFlags::IN_DONT_FOLLOW;
        match inotify.add_watch(path, flags) {
            Ok(watch) => {
                self.watched.insert(watch, path.into());
                if let Some(node) = self.nodes.get_mut(path) {
                    node.watch = Some(watch);
                }
                true
            }
            Err(Errno::ENOENT | Errno::ENOTDIR) => false,
            Err(Errno::ENOSPC) => {
                let why = "fs.inotify.max_user_watches is used up; raise it and restart the daemon";
                self.blind.get_or_insert(why.into());
                true
            }
            Err(errno) => {
                self.blind.get_or_insert(format!("cannot watch {}: {}", path.display(), errno.desc()));
                true
            }
        }
    }

    /// A directory is gone, and all below it.
    fn forget(&mut self, path: &Path, news: &mut Vec<News>) {
        let gone: Vec<PathBuf> = self
            .nodes
            .range(path.to_path_buf()..)
            .take_while(|(below, _)| below.starts_with(path))
            .map(|(below, _)| below.clone())
            .collect();
        for below in gone {
            let Some(Node { id, watch }) = self.nodes.remove(&below) else { continue };
            if let (Some(watch), Some(inotify)) = (watch, &self.inotify) {
                self.watched.remove(&watch);
                // The kernel may have removed it with the directory.
                let _ = inotify.rm_watch(watch);
            }
            if self.wants(&below) {
                news.push(News::Gone { id });
            }
            self.followed.remove(&below);
        }
    }

    fn wants(&self, path: &Path) -> bool {
        let below_root = self.below_root(path);
        self.followed.contains(path) || self.patterns.iter().any(|pattern| pattern.matches(below_root))
    }

    fn may_contain(&self, path: &Path) -> bool {
        let below_root = self.below_root(path);
        let mut within = self.followed.range(path.to_path_buf()..);
        // The first one that is not the path itself is below it, or none is.
        within.find(|followed| *followed != path).is_some_and(|followed| followed.starts_with(path))
            || self.patterns.iter().any(|pattern| pattern.may_match_below(below_root))
    }

    fn below_root<'a>(&self, path: &'a Path) -> &'a Path {
        path.strip_prefix(&self.root).unwrap_or(path)
    }

    /// Sends what happens until nobody listens.
    ///
    /// # Errors
    /// When the descriptor fails.
    pub async fn run(
        mut self,
        news: mpsc::Sender<Vec<News>>,
        mut follow: mpsc::UnboundedReceiver<Follow>,
    ) -> io::Result<()> {
        let reader = self.inotify.clone().map(Reader::new).transpose()?;
        loop {
            let found = tokio::select! {
                events = read(reader.as_ref()) => self.take(events?),
                Some(asked) = follow.recv() => self.follow(asked),
                else => return Ok(()),
            };
            if !found.is_empty() && news.send(found).await.is_err() {
                return Ok(());
            }
        }
    }
}

/// The next events; never without inotify.
async fn read(reader: Option<&Reader<Arc<Inotify>>>) -> io::Result<Vec<InotifyEvent>> {
    let Some(reader) = reader else { return std::future::pending().await };
    let mut events = Vec::new();
    reader
        .read(READS, |inotify| {
            events.extend(inotify.read_events()?);
            Ok(())
        })
        .await?;
    Ok(events)
}

#[cfg(test)]
mod tests;
