//! `cargo xtask run`: the main job, in the lab or on this machine.

use anyhow::Result;

use crate::{
    setup::{self, Need},
    sh,
    workspace::Workspace,
};

/// Where to run.
#[derive(clap::Args)]
pub struct Args {
    /// Run `mif daemon ARGS` on this machine instead of the lab
    #[arg(long)]
    host: bool,
    /// Arguments of the program
    #[arg(last = true)]
    args: Vec<String>,
}

/// Builds, then becomes the program: exit status, terminal and Ctrl-C are its own.
pub fn task(workspace: &Workspace, args: &Args) -> Result<()> {
    let mut command = if args.host {
        setup::ensure(workspace, &[])?;
        let [mif] = workspace.build_release(["mif"])?;
        let mut command = workspace.as_root(mif)?;
        command.arg("daemon");
        command
    } else {
        setup::ensure(workspace, &[Need::Lab])?;
        // The lab starts `mif` and its applications from the folder that it lies in itself.
        let [lab, _mif, _flow] = workspace.build_release(["mif-lab", "mif", "mif-lab-flow"])?;
        workspace.as_root(lab)?
    };
    sh::exec(command.args(&args.args), "build it again with `cargo xtask build --release`")
}
