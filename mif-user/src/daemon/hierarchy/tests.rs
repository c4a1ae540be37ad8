use proptest::{collection::vec, prelude::*, sample::select};

use super::*;

/// A directory tree in the place of cgroup2: inotify and inode numbers are the same.
struct Tree {
    root: PathBuf,
}

impl Tree {
    fn new(name: &str) -> Self {
        let root = std::env::temp_dir().join(format!("mif-hierarchy-{name}-{}", std::process::id()));
        // Left by a run that was killed.
        let _ = fs::remove_dir_all(&root);
        let _ = fs::remove_dir_all(root.with_extension("gone"));
        fs::create_dir_all(&root).expect("a directory");
        Self { root: root.canonicalize().expect("it is there") }
    }

    fn make(&self, path: &str) -> u64 {
        let path = self.root.join(path);
        fs::create_dir_all(&path).expect("a directory");
        attach::cgroup_id(&path).expect("it is there")
    }

    fn remove(&self, path: &str) {
        fs::remove_dir_all(self.root.join(path)).expect("it was there");
    }

    /// As [`Self::remove`] of cgroup2: the inode number is not given again, and the watch stays.
    fn move_away(&self, path: &str) {
        let id = attach::cgroup_id(&self.root.join(path)).expect("it is there");
        fs::create_dir_all(self.graveyard()).expect("a directory");
        let grave = self.graveyard().join(id.to_string());
        fs::rename(self.root.join(path), grave).expect("renamed");
    }

    fn graveyard(&self) -> PathBuf {
        self.root.with_extension("gone")
    }

    fn open(&self, patterns: &[&str], follow: &[(&str, u64)]) -> (Hierarchy, Vec<String>) {
        self.limited(patterns, follow, WATCHES)
    }

    fn limited(&self, patterns: &[&str], follow: &[(&str, u64)], most: usize) -> (Hierarchy, Vec<String>) {
        let pattern = |text: &&str| match text.strip_prefix("unit ") {
            Some(unit) => Pattern::unit(unit).expect("a unit"),
            None => Pattern::path(text).expect("a path"),
        };
        let follow = follow.iter().map(|(path, id)| Follow { path: self.root.join(path), id: Some(*id) });
        let (hierarchy, news) = Hierarchy::limited(
            &self.root,
            &self.root,
            patterns.iter().map(pattern).collect(),
            follow.collect(),
            most,
        );
        (hierarchy, texts(&news))
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        // Nothing depends on it.
        let _ = fs::remove_dir_all(&self.root);
        let _ = fs::remove_dir_all(self.graveyard());
    }
}

fn texts(news: &[News]) -> Vec<String> {
    let text = |news: &News| match news {
        News::Appeared { below_root, id, .. } => format!("+{} {id}", below_root.display()),
        News::Gone { id } => format!("-{id}"),
        News::Blind(why) => format!("blind: {why}"),
        News::Lost => "lost".into(),
    };
    news.iter().map(text).collect()
}

/// What happened since the last call. inotify queues events before the call that causes them returns.
fn news(hierarchy: &mut Hierarchy) -> Vec<String> {
    let mut events = Vec::new();
    loop {
        match hierarchy.inotify.as_ref().expect("inotify").read_events() {
            Ok(more) => events.extend(more),
            Err(Errno::EAGAIN) => return texts(&hierarchy.take(events)),
            Err(errno) => panic!("{errno}"),
        }
    }
}

#[test]
fn what_is_there_and_what_appears() {
    let tree = Tree::new("appears");
    let there = tree.make("system.slice/backup-1.service");
    tree.make("system.slice/other.service");
    let (mut hierarchy, found) = tree.open(&["/system.slice/backup-*.service"], &[]);
    assert_eq!(found, [format!("+system.slice/backup-1.service {there}")]);
    // Only directories that can contain one are watched: the root and system.slice.
    assert_eq!(hierarchy.watched.len(), 2);
    tree.make("user.slice/backup-9.service");
    tree.make("system.slice/other-2.service");
    assert_eq!(news(&mut hierarchy), [""; 0]);
    let second = tree.make("system.slice/backup-2.service/child");
    let second = attach::cgroup_id(&tree.root.join("system.slice/backup-2.service")).map_err(|_| second);
    let second = second.expect("it is there");
    assert_eq!(news(&mut hierarchy), [format!("+system.slice/backup-2.service {second}")]);
    tree.remove("system.slice/backup-1.service");
    assert_eq!(news(&mut hierarchy), [format!("-{there}")]);
    // With all around it, and again.
    tree.remove("system.slice");
    assert_eq!(news(&mut hierarchy), [format!("-{second}")]);
    assert_eq!(hierarchy.watched.len(), 1);
    let third = tree.make("system.slice/backup-3.service");
    assert_eq!(news(&mut hierarchy), [format!("+system.slice/backup-3.service {third}")]);
}

/// Directories that were made before the watch of the one around them was there.
#[test]
fn whole_trees_at_once() {
    let tree = Tree::new("trees");
    let (mut hierarchy, found) = tree.open(&["unit deep.service", "/a/**"], &[]);
    assert_eq!(found, [""; 0]);
    let ids = [tree.make("x/y/deep.service"), tree.make("a"), tree.make("a/b"), tree.make("a/b/c")];
    let mut found = news(&mut hierarchy);
    found.sort_unstable();
    let mut expected: Vec<_> = ["x/y/deep.service", "a", "a/b", "a/b/c"]
        .iter()
        .zip(ids)
        .map(|(path, id)| format!("+{path} {id}"))
        .collect();
    expected.sort_unstable();
    assert_eq!(found, expected);
    assert_eq!(news(&mut hierarchy), [""; 0]);
}

/// The name is the same, the cgroup is not: both are told, whatever happened before anybody looked.
#[test]
fn a_cgroup_made_again() {
    let tree = Tree::new("again");
    let first = tree.make("a");
    let (mut hierarchy, _) = tree.open(&["/a"], &[]);
    // Made while the first one is there, so that it has another inode number.
    let second = tree.make("b");
    tree.remove("a");
    fs::rename(tree.root.join("b"), tree.root.join("a")).expect("renamed");
    assert_ne!(first, second);
    assert_eq!(news(&mut hierarchy), [format!("-{first}"), format!("+a {second}")]);
    // What came and went is no news.
    tree.make("c/d");
    tree.remove("c");
    assert_eq!(news(&mut hierarchy), [""; 0]);
}

#[test]
fn cgroups_with_a_policy_by_command() {
    let tree = Tree::new("follow");
    let (kept, other) = (tree.make("x/y/kept"), tree.make("x/y/other"));
    let (mut hierarchy, found) = tree.open(&[], &[("x/y/kept", kept), ("x/gone", 1), ("x/y/other", 1)]);
    assert_eq!(found, ["-1", "-1"], "gone, or another one, before anybody looked; {other}");
    assert_eq!(hierarchy.watched.len(), 3, "the root, x, x/y");
    let late = tree.make("z/late");
    let path = tree.root.join("z/late");
    assert_eq!(hierarchy.follow(Follow { path: path.clone(), id: Some(late) }), []);
    tree.remove("z");
    assert_eq!(news(&mut hierarchy), [format!("-{late}")]);
    tree.make("z/late");
    assert_eq!(news(&mut hierarchy), [""; 0], "it is another one");
    hierarchy.follow(Follow { path: tree.root.join("x/y/kept"), id: None });
    tree.remove("x");
    assert_eq!(news(&mut hierarchy), [""; 0], "its policy was taken away before");
    assert_eq!(hierarchy.follow(Follow { path: "/elsewhere".into(), id: Some(7) }), []);
}

#[test]
fn lost_events() {
    let tree = Tree::new("lost");
    let (mut hierarchy, _) = tree.open(&["/s/*"], &[]);
    let gone = tree.make("s/gone");
    assert_eq!(news(&mut hierarchy), [format!("+s/gone {gone}")]);
    let come = tree.make("s/come");
    tree.remove("s/gone");
    // Read and thrown away, as the kernel does when its queue is full.
    let mut events = hierarchy.inotify.as_ref().expect("inotify").read_events().expect("events");
    let mut overflow = events.pop().expect("three events");
    overflow.mask = AddWatchFlags::IN_Q_OVERFLOW;
    overflow.name = None;
    let found = texts(&hierarchy.take(vec![overflow]));
    assert_eq!(found, ["lost".to_owned(), format!("-{gone}"), format!("+s/come {come}")]);
}

#[test]
fn more_directories_than_watches() {
    let tree = Tree::new("most");
    let there = tree.make("a/b/c/x.service");
    let (mut hierarchy, found) = tree.limited(&["unit x.service"], &[], 2);
    let blind = "blind: more than 2 cgroups can contain one that a policy is for";
    assert_eq!(found, [format!("+a/b/c/x.service {there}"), blind.to_owned()]);
    let seen = tree.make("a/x.service");
    assert_eq!(news(&mut hierarchy), [format!("+a/x.service {seen}")]);
    tree.make("a/b/x.service");
    assert_eq!(news(&mut hierarchy), [""; 0], "b has no watch");
}

#[test]
fn patterns_that_can_fit_nothing_here() {
    let tree = Tree::new("outside");
    tree.make("part");
    let top = tree.root.join("part");
    let (hierarchy, _) = Hierarchy::open(&top, &tree.root, Vec::new(), Vec::new());
    for (pattern, can) in
        [("/part", true), ("/part/x", true), ("/*/x", true), ("/", false), ("/other/x", false)]
    {
        assert_eq!(hierarchy.can_match(&Pattern::path(pattern).expect("a path")), can, "{pattern}");
    }
    assert!(hierarchy.can_match(&Pattern::unit("x.service").expect("a unit")));
}

/// Directories of three levels with names of two letters.
fn directory() -> impl Strategy<Value = String> {
    vec(select(vec!["a", "b"]), 1..4).prop_map(|parts| parts.join("/"))
}

/// Every directory below.
fn walk(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        walk(&path, found);
        found.push(path);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is made and removed, and whenever somebody looks: those that have appeared and are not gone are those that are
    /// there and wanted.
    #[test]
    fn news_lead_to_what_is_there(
        steps in vec((directory(), any::<bool>(), any::<bool>()), 1..24),
        pattern in select(vec!["/a/b", "/*/*", "/b/**", "unit b*"]),
    ) {
        let tree = Tree::new("law");
        let (mut hierarchy, known) = tree.open(&[pattern], &[]);
        prop_assert!(known.is_empty());
        let mut known = BTreeSet::new();
        let last = steps.len() - 1;
        for (number, (path, make, look)) in steps.into_iter().enumerate() {
            if make {
                tree.make(&path);
            } else if tree.root.join(&path).exists() {
                tree.move_away(&path);
            }
            if !look && number != last {
                continue;
            }
            for text in news(&mut hierarchy) {
                match (text.strip_prefix('+').and_then(|text| text.split_once(' ')), text.strip_prefix('-')) {
                    (Some((_, id)), _) => prop_assert!(known.insert(id.to_owned()), "{} again", text),
                    (_, Some(id)) => prop_assert!(known.remove(id), "{} was not there", text),
                    _ => prop_assert!(false, "{}", text),
                }
            }
            let mut there = Vec::new();
            walk(&tree.root, &mut there);
            let wanted: BTreeSet<String> = there
                .iter()
                .filter(|path| hierarchy.wants(path))
                .map(|path| attach::cgroup_id(path).expect("it is there").to_string())
                .collect();
            prop_assert_eq!(&known, &wanted);
            let watched = there.iter().filter(|path| hierarchy.may_contain(path)).count();
            prop_assert_eq!(hierarchy.watched.len(), 1 + watched, "the root and what may contain one");
        }
    }
}
