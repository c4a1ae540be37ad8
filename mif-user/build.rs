//! Builds the kernel programs and leaves the object in `OUT_DIR`.
//!
//! `mif-ebpf` is a workspace of its own, built for the BPF target with `core` from source. Both want unstable flags of
//! the pinned stable toolchain, hence RUSTC_BOOTSTRAP, for that one child only.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

/// Compiler flags of the kernel programs.
///
/// * BTF is made of the debug information.
/// * v3 of the instruction set (Linux 5.1) has 32-bit registers and jumps; without, each comparison of a `u32` takes two shifts
///   more.
/// * bpf-linker has small values copied and cleared in calls and word by word, for kernels that see through nothing else; these
///   programs copy contexts word by word themselves.
const FLAGS: [&str; 4] =
    ["-Cdebuginfo=2", "-Ctarget-cpu=v3", "-Clink-arg=--btf", "-Clink-arg=--disable-expand-memcpy-in-order"];

/// Where `cargo xtask setup` puts bpf-linker, under the target directory.
const TOOLS: &str = "tools/bin";

fn main() -> ExitCode {
    let manifest = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    let workspace = manifest.parent().expect("the crate is in the workspace's folder");
    let programs = workspace.join("mif-ebpf");
    for path in ["src", "Cargo.toml", "Cargo.lock"] {
        println!("cargo::rerun-if-changed={}", programs.join(path).display());
    }
    println!("cargo::rerun-if-changed={}", workspace.join("mif-common/src").display());

    let target = match env::var("CARGO_CFG_TARGET_ENDIAN").as_deref() {
        Ok("big") => "bpfeb-unknown-none",
        _ => "bpfel-unknown-none",
    };
    let target_dir = out.join("bpf");
    let mut cargo = Command::new(env::var_os("CARGO").expect("cargo sets it"));
    cargo
        .current_dir(&programs)
        .args(["build", "--release", "--locked", "--quiet", "-Z", "build-std=core", "--target", target])
        .arg("--target-dir")
        .arg(&target_dir)
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\u{1f}"))
        .env("PATH", path_with_tools(&out))
        // The outer build may run under clippy-driver or with flags for another target.
        .env_remove("RUSTC")
        .env_remove("RUSTC_WRAPPER")
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_BUILD_TARGET");
    match cargo.status() {
        Ok(status) if status.success() => {}
        Ok(status) => {
            println!(
                "cargo::error=building mif-ebpf failed ({status}); is bpf-linker there? Run: cargo xtask setup"
            );
            return ExitCode::FAILURE;
        }
        Err(error) => {
            println!("cargo::error=cannot run cargo for mif-ebpf: {error}");
            return ExitCode::FAILURE;
        }
    }
    let object = target_dir.join(target).join("release/mif");
    println!("cargo::rustc-env=MIF_EBPF_OBJECT={}", object.display());
    ExitCode::SUCCESS
}

/// PATH with the project's own tools in front: OUT_DIR is `<target>/<profile>/build/<crate>/out`.
fn path_with_tools(out: &Path) -> std::ffi::OsString {
    let tools = out.ancestors().map(|ancestor| ancestor.join(TOOLS)).filter(|tools| tools.is_dir());
    let path = env::var_os("PATH").unwrap_or_default();
    env::join_paths(tools.chain(env::split_paths(&path))).expect("both came from valid paths")
}
