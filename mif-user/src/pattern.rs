//! Which cgroups a configured policy is for: a path, or the name of a systemd unit, both with `*`, `?` and `[...]`.
//!
//! systemd gives each unit a cgroup that bears its name, wherever in the hierarchy: that of a user's unit is below
//! `user.slice/user-UID.slice/user@UID.service`.

use std::{fmt, path::Path};

use glob::MatchOptions;

/// Names of cgroups are compared octet by octet; a `*` also stands for a dot in front.
const PLAIN: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: false,
    require_literal_leading_dot: false,
};

/// The cgroups of a policy.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Pattern {
    /// As people wrote it.
    text: String,
    form: Form,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Form {
    /// A path below the root of cgroup2.
    Path(Vec<Step>),
    /// The last part of a path.
    Unit(glob::Pattern),
}

/// A part of a path.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Step {
    /// A directory.
    One(glob::Pattern),
    /// `**`: any number of directories, also none.
    Any,
}

/// Why a text is no pattern.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PatternError {
    /// No path from the root.
    #[error("`{0}` is no cgroup, expected a path below the cgroup2 root such as `/system.slice/ssh.service`")]
    Path(String),
    /// No unit.
    #[error("`{0}` is no systemd unit, expected a name with its type such as `ssh.service`")]
    Unit(String),
    /// A wildcard that is not closed, or so.
    #[error("`{0}` is no pattern ({1}), expected names with `*`, `?` or `[...]` in them")]
    Glob(String, &'static str),
}

impl Pattern {
    /// A path below the root of cgroup2, as in `/proc/PID/cgroup`. A wildcard stands for something within one directory's
    /// name, `**` for any number of directories.
    ///
    /// # Errors
    /// [`PatternError`]
    pub fn path(text: &str) -> Result<Self, PatternError> {
        let parts: Vec<&str> = text.split('/').filter(|part| !part.is_empty()).collect();
        if !text.starts_with('/') || parts.iter().any(|part| matches!(*part, "." | "..")) {
            return Err(PatternError::Path(text.into()));
        }
        let step = |part: &&str| if *part == "**" { Ok(Step::Any) } else { glob(part).map(Step::One) };
        let steps = parts.iter().map(step).collect::<Result<_, _>>()?;
        // One text for one pattern: policies are compared by it.
        Ok(Self { text: format!("/{}", parts.join("/")), form: Form::Path(steps) })
    }

    /// A unit of systemd, with its type.
    ///
    /// # Errors
    /// [`PatternError`]
    pub fn unit(text: &str) -> Result<Self, PatternError> {
        let has_type = text.contains(['.', '*']);
        if text.is_empty() || text.contains('/') || !has_type {
            return Err(PatternError::Unit(text.into()));
        }
        Ok(Self { text: text.into(), form: Form::Unit(glob(text)?) })
    }

    /// The same with the path below the root of cgroup2, where somebody wrote the path of the directory.
    #[must_use]
    pub fn below(self, root: &Path) -> Self {
        let below = Path::new(&self.text).strip_prefix(root).ok().filter(|_| !self.is_unit());
        let below = below.and_then(Path::to_str).map(|below| Self::path(&format!("/{below}")));
        match below {
            Some(Ok(pattern)) => pattern,
            _ => self,
        }
    }

    /// Whether it names a unit.
    #[must_use]
    pub const fn is_unit(&self) -> bool {
        matches!(self.form, Form::Unit(_))
    }

    /// Whether it is for the cgroup at a path below the root of cgroup2.
    #[must_use]
    pub fn matches(&self, path: &Path) -> bool {
        match &self.form {
            Form::Path(steps) => fits(steps, &parts(path)),
            Form::Unit(unit) => parts(path).last().is_some_and(|name| {
                // systemd puts `_` before names that the kernel could take for its own files (`cg_escape`).
                let unescaped = name.strip_prefix('_').unwrap_or(name);
                unit.matches_with(unescaped, PLAIN)
            }),
        }
    }

    /// Whether it can be for a cgroup below the one at this path.
    #[must_use]
    pub fn may_match_below(&self, path: &Path) -> bool {
        match &self.form {
            Form::Path(steps) => leads_below(steps, &parts(path)),
            Form::Unit(_) => true,
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_unit() { "unit " } else { "" })?;
        f.write_str(&self.text)
    }
}

fn glob(text: &str) -> Result<glob::Pattern, PatternError> {
    if text.contains("**") {
        return Err(PatternError::Glob(text.into(), "`**` stands for whole directories, so alone"));
    }
    glob::Pattern::new(text).map_err(|error| PatternError::Glob(text.into(), error.msg))
}

fn parts(path: &Path) -> Vec<String> {
    path.iter().map(|part| part.to_string_lossy().into_owned()).filter(|part| part != "/").collect()
}

fn fits(steps: &[Step], parts: &[String]) -> bool {
    match (steps.split_first(), parts.split_first()) {
        (None, None) => true,
        (Some((Step::Any, rest)), next) => {
            fits(rest, parts) || next.is_some_and(|(_, further)| fits(steps, further))
        }
        (Some((Step::One(step), rest)), Some((part, further))) => {
            step.matches_with(part, PLAIN) && fits(rest, further)
        }
        (None, Some(_)) | (Some((Step::One(_), _)), None) => false,
    }
}

fn leads_below(steps: &[Step], parts: &[String]) -> bool {
    match (steps.split_first(), parts.split_first()) {
        (None, _) => false,
        (Some((Step::Any, _)), _) | (Some(_), None) => true,
        (Some((Step::One(step), rest)), Some((part, further))) => {
            step.matches_with(part, PLAIN) && leads_below(rest, further)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        // pattern, path, whether it is for it, whether for something below it
        for (pattern, path, matches, below) in [
            ("/a/b", "a/b", true, false),
            ("/a/b", "a", false, true),
            ("/a/b", "", false, true),
            ("/a/b", "b", false, false),
            ("/a/b", "a/b/c", false, false),
            ("//a//b/", "a/b", true, false),
            ("/", "", true, false),
            ("/", "a", false, false),
            ("/system.slice/backup-*.service", "system.slice/backup-db.service", true, false),
            ("/system.slice/backup-*.service", "system.slice/backup.service", false, false),
            ("/system.slice/backup-*.service", "system.slice", false, true),
            ("/system.slice/backup-*.service", "user.slice", false, false),
            ("/a/*/c", "a/b/c", true, false),
            ("/a/*/c", "a/b/b/c", false, false),
            ("/a/*/c", "a/b", false, true),
            ("/a/?", "a/x", true, false),
            ("/a/[bc]", "a/c", true, false),
            ("/a/[!bc]", "a/c", false, false),
            ("/a/**", "a", true, true),
            ("/a/**", "a/b/c", true, true),
            ("/a/**/z", "a/z", true, true),
            ("/a/**/z", "a/b/c/z", true, true),
            ("/a/**/z", "a/b/c", false, true),
            ("/**", "", true, true),
            ("/dev-disk\\x2dby.mount", "dev-disk\\x2dby.mount", true, false),
            ("/*", ".hidden", true, false),
        ] {
            let pattern = Pattern::path(pattern).expect(pattern);
            let path = Path::new(path);
            assert_eq!(pattern.matches(path), matches, "{pattern} {}", path.display());
            assert_eq!(pattern.may_match_below(path), below, "{pattern} below {}", path.display());
        }
    }

    #[test]
    fn units() {
        for (pattern, path, matches) in [
            ("backup.service", "system.slice/backup.service", true),
            ("backup.service", "user.slice/user-0.slice/user@0.service/app.slice/backup.service", true),
            ("backup.service", "backup.service/child", false),
            ("backup.service", "system.slice/Backup.service", false),
            ("backup-*.service", "system.slice/backup-db.service", true),
            ("getty@*.service", "system.slice/system-getty.slice/getty@tty1.service", true),
            ("cgroup.service", "system.slice/_cgroup.service", true),
            ("*", "", false),
        ] {
            let pattern = Pattern::unit(pattern).expect(pattern);
            assert_eq!(pattern.matches(Path::new(path)), matches, "{pattern} {path}");
            assert!(pattern.may_match_below(Path::new(path)), "a unit may be anywhere");
        }
    }

    #[test]
    fn texts_that_are_no_patterns() {
        for (text, says) in [
            ("a", "`a` is no cgroup"),
            ("", "`` is no cgroup"),
            ("/a/../b", "`/a/../b` is no cgroup"),
            ("/a/[b", "`[b` is no pattern (invalid range pattern)"),
            ("/a/b**", "`b**` is no pattern"),
            ("/a/***", "`***` is no pattern"),
        ] {
            let said = Pattern::path(text).expect_err(text).to_string();
            assert!(said.starts_with(says), "{text}: {said}");
        }
        for text in ["", "backup", "system.slice/backup.service"] {
            let said = Pattern::unit(text).expect_err(text).to_string();
            assert!(said.starts_with(&format!("`{text}` is no systemd unit")), "{said}");
        }
    }

    #[test]
    fn paths_of_directories() {
        let root = Path::new("/sys/fs/cgroup");
        for (text, expected) in [
            ("/sys/fs/cgroup/a/b*", "/a/b*"),
            ("/sys/fs/cgroup", "/"),
            ("/sys/fs/cgroups/a", "/sys/fs/cgroups/a"),
            ("/a", "/a"),
        ] {
            assert_eq!(Pattern::path(text).expect("a path").below(root).to_string(), expected);
        }
        let unit = Pattern::unit("a.service").expect("a unit");
        assert_eq!(unit.clone().below(root), unit);
        assert_eq!(Pattern::path("/a").expect("a path").below(Path::new("/")).to_string(), "/a");
    }

    #[test]
    fn as_people_wrote_it() {
        assert_eq!(Pattern::path("/a//b*/").expect("right").to_string(), "/a/b*");
        assert_eq!(Pattern::unit("b*.service").expect("right").to_string(), "unit b*.service");
    }
}
