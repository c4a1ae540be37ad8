//! Where the project lies on this machine, and the commands that every task builds on.

use std::{
    env,
    ffi::{OsStr, OsString},
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::sh;

/// The kernel programs: a workspace of its own, built for the BPF target.
pub const EBPF_MANIFEST: &str = "mif-ebpf/Cargo.toml";
/// The fuzz targets: a workspace of its own, built with libFuzzer and sanitizers.
pub const FUZZ_MANIFEST: &str = "tests/fuzz/Cargo.toml";
/// Lets the pinned stable toolchain take the unstable flags that the BPF target and the sanitizers need.
const BOOTSTRAP: (&str, &str) = ("RUSTC_BOOTSTRAP", "1");

/// The project's folders.
pub struct Workspace {
    /// Where the top `Cargo.toml` is.
    pub root: PathBuf,
    /// Cargo's target directory, wherever the user put it.
    pub target: PathBuf,
}

impl Workspace {
    /// Asks cargo, which knows `CARGO_TARGET_DIR` and the user's configuration.
    pub fn find() -> Result<Self> {
        let mut metadata = Command::new("cargo");
        metadata.args(["metadata", "--no-deps", "--format-version=1"]);
        let answer = sh::output(&mut metadata, "run `cargo xtask` inside the project, with cargo in PATH")?;
        let answer: Value = serde_json::from_str(&answer).context("cargo metadata did not write JSON")?;
        let folder = |key: &str| {
            let path = answer[key].as_str().with_context(|| format!("cargo metadata has no `{key}`"))?;
            Ok::<_, anyhow::Error>(PathBuf::from(path))
        };
        Ok(Self { root: folder("workspace_root")?, target: folder("target_directory")? })
    }

    /// The project's own tools, installed by `cargo install --root`.
    pub fn tools(&self) -> PathBuf {
        self.target.join("tools")
    }

    /// Cargo in the project's root, with the project's own tools in front of PATH.
    pub fn cargo(&self, subcommand: &str) -> Command {
        let mut cargo = Command::new("cargo");
        cargo.arg(subcommand).current_dir(&self.root).env("PATH", self.path());
        cargo
    }

    /// As [`Self::cargo`], for the workspaces that need unstable flags. Not for the main one: several build scripts there
    /// look at the variable and would build again whenever it changes.
    pub fn unstable_cargo(&self, subcommand: &str) -> Command {
        let mut cargo = self.cargo(subcommand);
        cargo.env(BOOTSTRAP.0, BOOTSTRAP.1);
        cargo
    }

    /// `program` with root's rights: itself when we have them, under sudo with the present environment when not. It starts
    /// in the user's folder, where the relative paths among its arguments begin.
    pub fn as_root(&self, program: impl AsRef<OsStr>) -> Result<Command> {
        let mut command = match root_prefix()? {
            None => Command::new(program),
            Some(prefix) => {
                let mut sudo = Command::new(prefix[0]);
                sudo.args(&prefix[1..]).arg(program);
                sudo
            }
        };
        command.env("PATH", self.path());
        Ok(command)
    }

    /// Builds `binaries` optimised and returns their files in the same order, as cargo reports them.
    pub fn build_release<const N: usize>(&self, binaries: [&str; N]) -> Result<[PathBuf; N]> {
        let mut build = self.cargo("build");
        build.args(["--release", "--message-format=json-render-diagnostics"]);
        for binary in binaries {
            build.args(["--bin", binary]);
        }
        eprintln!("+ {}", sh::line(&build));
        let messages = sh::output(&mut build, "the compiler's messages above say why")?;
        let built = executables(&messages);
        let mut files = std::array::from_fn(|_| PathBuf::new());
        for (file, binary) in files.iter_mut().zip(binaries) {
            let found = built.iter().find(|(name, _)| name == binary);
            *file = found.with_context(|| format!("cargo built no executable `{binary}`"))?.1.clone();
        }
        Ok(files)
    }

    fn path(&self) -> OsString {
        let path = env::var_os("PATH").unwrap_or_default();
        let directories = std::iter::once(self.tools().join("bin")).chain(env::split_paths(&path));
        // A target directory with a colon in its name cannot be in PATH; cargo refuses to work in one as well.
        env::join_paths(directories).unwrap_or(path)
    }
}

/// What to put in front of a command that needs root: nothing when we are root.
pub fn root_prefix() -> Result<Option<&'static [&'static str]>> {
    if is_root()? {
        return Ok(None);
    }
    if sh::which("sudo").is_none() {
        bail!("this needs root, and sudo is not installed\n  run the same command as root");
    }
    Ok(Some(&["sudo", "-E"]))
}

/// Whether the effective user is root: it owns this process's folder in /proc (proc(5)).
pub fn is_root() -> Result<bool> {
    Ok(fs::metadata("/proc/self").context("/proc is not mounted")?.uid() == 0)
}

/// Name and file of every executable in cargo's JSON messages.
fn executables(messages: &str) -> Vec<(String, PathBuf)> {
    let artifact = |line: &str| {
        let message: Value = serde_json::from_str(line).ok()?;
        let name = message["target"]["name"].as_str()?;
        Some((name.to_owned(), Path::new(message["executable"].as_str()?).to_owned()))
    };
    messages.lines().filter_map(artifact).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn executables_are_told_from_other_messages() {
        let messages = r#"{"reason":"compiler-artifact","target":{"name":"mif_core"},"executable":null}
{"reason":"build-script-executed","out_dir":"/t"}
not JSON
{"reason":"compiler-artifact","target":{"name":"mif"},"executable":"/t/release/mif"}
{"reason":"build-finished","success":true}"#;
        assert_eq!(executables(messages), [("mif".to_owned(), PathBuf::from("/t/release/mif"))]);
    }

    #[test]
    fn the_project_is_found_from_inside() {
        let workspace = Workspace::find().expect("the tests run inside the project");
        assert!(workspace.root.join("xtask/Cargo.toml").is_file());
        assert!(workspace.target.is_absolute());
    }
}
