//! `cargo xtask build`: everything, the kernel programs included.

use anyhow::Result;

use crate::{setup, sh, workspace::Workspace};

/// What to build.
#[derive(clap::Args)]
pub struct Args {
    /// Optimised, as for an installation
    #[arg(long)]
    release: bool,
}

/// mif-user's build script compiles the kernel programs into the `mif` binary, so that one `cargo build` does it all.
pub fn task(workspace: &Workspace, args: &Args) -> Result<()> {
    setup::ensure(workspace, &[])?;
    let mut build = workspace.cargo("build");
    build.arg("--workspace");
    if args.release {
        build.arg("--release");
    }
    sh::run(&mut build, "the compiler's messages above say why")?;
    let profile = if args.release { "release" } else { "debug" };
    println!("Built: {}", workspace.target.join(profile).join("mif").display());
    Ok(())
}
