//! `cargo xtask bench`: what the hooks cost, beside the same work without them.

use anyhow::Result;

use crate::{
    setup::{self, Need},
    sh,
    workspace::Workspace,
};

/// What to measure.
#[derive(clap::Args)]
pub struct Args {
    /// Arguments of the benchmark program; `--help` lists them
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

/// Builds optimised, then becomes the benchmark program.
pub fn task(workspace: &Workspace, args: &Args) -> Result<()> {
    setup::ensure(workspace, &[Need::Lab])?;
    let [bench, _mif] = workspace.build_release(["mif-bench", "mif"])?;
    sh::exec(workspace.as_root(bench)?.args(&args.args), "build it again with `cargo xtask build --release`")
}
