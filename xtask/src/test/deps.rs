//! What the project may depend on: the law that keeps mif-core free of I/O, and the licences and sources of everything.

use std::{collections::BTreeSet, fs, process::Command};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::steps::all;
use crate::{
    sh,
    workspace::{EBPF_MANIFEST, FUZZ_MANIFEST, Workspace},
};

/// All that mif-core may stand on, directly or not: crates that cannot open a socket, read a clock or touch a file. A new
/// name belongs here only when its sources show the same.
const PURE: [&str; 17] = [
    "bytemuck",
    "ipnet",
    "mif-common",
    "mif-core",
    "serde",
    "serde_core",
    "thiserror",
    // HMAC-MD5, for Reconfigure messages of DHCPv6 (RFC 8415 §20.4); all of them without the standard library.
    "block-buffer",
    "cfg-if",
    "cmov",
    "crypto-common",
    "ctutils",
    "digest",
    "hmac",
    "hybrid-array",
    "md-5",
    "typenum",
];
/// The only registry that packages come from, as cargo names it whatever mirror it uses.
const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";
/// cargo-deny's configuration; the licences it allows are the ones allowed here.
const DENY_FILE: &str = "deny.toml";

/// Checks all of it.
pub fn check(workspace: &Workspace) -> Result<()> {
    let deny = fs::read_to_string(workspace.root.join(DENY_FILE)).context("cannot read deny.toml")?;
    let licences = allowed_licences(&deny);
    ensure!(!licences.is_empty(), "{DENY_FILE} allows no licence");
    let packages = ["Cargo.toml", EBPF_MANIFEST, FUZZ_MANIFEST]
        .map(|manifest| packages(workspace, manifest, &licences).with_context(|| manifest.to_owned()));
    all(std::iter::once(purity(workspace)).chain(packages))
}

/// mif-core has bytes and events in, values out; nothing below it can do more.
fn purity(workspace: &Workspace) -> Result<()> {
    let mut tree = workspace.cargo("tree");
    // Procedural macros run in the compiler, not in mif-core.
    tree.args(["--locked", "--package", "mif-core", "--edges", "normal,no-proc-macro", "--prefix", "none"]);
    let tree = sh::output(&mut tree, "see cargo's message above")?;
    let names: BTreeSet<_> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    ensure!(names.contains("mif-core"), "cargo tree does not show mif-core");
    let foreign: Vec<_> = names.iter().copied().filter(|name| !PURE.contains(name)).collect();
    if !foreign.is_empty() {
        bail!(
            "mif-core depends on {}\n  it may not depend on what can do I/O: move that part to mif-user, or, when the \
             crate cannot, add it to PURE in xtask/src/test/deps.rs (`cargo tree -p mif-core` shows where it comes from)",
            foreign.join(", ")
        );
    }
    println!("mif-core stands on {} crates, none of which can do I/O", names.len() - 1);
    Ok(())
}

/// Every package of a workspace comes from crates.io under a licence that deny.toml allows, and its lock file is up to date.
fn packages(workspace: &Workspace, manifest: &str, licences: &[String]) -> Result<()> {
    let mut metadata = Command::new("cargo");
    metadata.current_dir(&workspace.root).args([
        "metadata",
        "--format-version=1",
        "--locked",
        "--manifest-path",
        manifest,
    ]);
    let remedy =
        format!("see cargo's message above; a stale lock file: cargo metadata --manifest-path {manifest}");
    let metadata: Value = serde_json::from_str(&sh::output(&mut metadata, &remedy)?)?;
    let packages = metadata["packages"].as_array().context("cargo metadata shows no packages")?;
    let mut foreign = 0;
    let mut refused = Vec::new();
    // A package without a source is one of ours.
    for package in packages.iter().filter(|package| !package["source"].is_null()) {
        foreign += 1;
        let text = |key: &str| package[key].as_str().unwrap_or("(none)");
        let name = format!("{} {}", text("name"), text("version"));
        if text("source") != CRATES_IO {
            refused.push(format!("{name} comes from {}", text("source")));
        }
        if !permitted(text("license"), licences) {
            refused.push(format!("{name} has the licence {}", text("license")));
        }
    }
    if !refused.is_empty() {
        bail!("{}\n  {DENY_FILE} says what is allowed", refused.join("\n"));
    }
    println!("{manifest}: {foreign} packages, all from crates.io under allowed licences");
    Ok(())
}

/// The strings of the first `allow = [...]` in `[licenses]`.
fn allowed_licences(deny: &str) -> Vec<String> {
    let list = deny
        .split_once("[licenses]")
        .and_then(|(_, section)| section.split_once("allow = ["))
        .and_then(|(_, list)| list.split_once(']'));
    let Some((list, _)) = list else { return Vec::new() };
    list.lines()
        .filter_map(|line| line.split('#').next())
        .flat_map(|line| line.split('"').skip(1).step_by(2))
        .map(str::to_owned)
        .collect()
}

/// Whether an SPDX expression can be met with the `allowed` licences: AND binds closer than OR, as in SPDX annex D. The
/// slash of older manifests means OR.
fn permitted(expression: &str, allowed: &[String]) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let mut words = spaced.split_whitespace().peekable();
    let verdict = either(&mut words, allowed);
    // A word left over means that the expression was not understood.
    verdict && words.next().is_none()
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn either(words: &mut Words<'_>, allowed: &[String]) -> bool {
    let mut verdict = both(words, allowed);
    while words.next_if_eq(&"OR").is_some() {
        verdict |= both(words, allowed);
    }
    verdict
}

fn both(words: &mut Words<'_>, allowed: &[String]) -> bool {
    let mut verdict = term(words, allowed);
    while words.next_if_eq(&"AND").is_some() {
        verdict &= term(words, allowed);
    }
    verdict
}

fn term(words: &mut Words<'_>, allowed: &[String]) -> bool {
    match words.next() {
        Some("(") => either(words, allowed) & words.next_if_eq(&")").is_some(),
        Some(licence) => {
            let exception = words.next_if_eq(&"WITH").and_then(|_| words.next());
            let name =
                exception.map_or(licence.to_owned(), |exception| format!("{licence} WITH {exception}"));
            allowed.contains(&name)
        }
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn licences_are_read_from_the_deny_file() {
        let deny = "[bans]\nallow = [\"x\"]\n[licenses]\n# \"no\"\nallow = [\n  \"MIT\", \"ISC\", # \"GPL\"\n  \"Zlib\",\n]\n";
        assert_eq!(allowed_licences(deny), ["MIT", "ISC", "Zlib"]);
        assert_eq!(allowed_licences("[bans]\nallow = [\"x\"]\n"), [""; 0]);
    }

    #[test]
    fn expressions_are_met_or_not() {
        let allowed = ["MIT", "Unicode-3.0", "Apache-2.0 WITH LLVM-exception"].map(str::to_owned);
        let cases = [
            ("MIT", true),
            ("GPL-3.0", false),
            ("GPL-3.0 OR MIT", true),
            ("GPL-3.0/MIT", true),
            ("MIT AND GPL-3.0", false),
            ("MIT OR GPL-3.0 AND GPL-2.0", true),
            ("(MIT OR GPL-3.0) AND Unicode-3.0", true),
            ("(MIT OR Apache-2.0) AND GPL-3.0", false),
            ("Apache-2.0", false),
            ("Apache-2.0 WITH LLVM-exception OR GPL-3.0", true),
            ("MIT WITH strings", false),
            ("(MIT", false),
            ("MIT MIT", false),
            ("MIT AND", false),
            ("", false),
            ("(none)", false),
        ];
        for (expression, expected) in cases {
            assert_eq!(permitted(expression, &allowed), expected, "{expression}");
        }
    }
}
