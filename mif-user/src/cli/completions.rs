//! `mif completions`: shell completions.

use std::process::ExitCode;

use anyhow::Result;
use clap_complete::Shell;

use super::output;

/// Print the completions of a shell
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  mif completions bash > /etc/bash_completion.d/mif
  mif completions zsh > /usr/local/share/zsh/site-functions/_mif
  mif completions fish > ~/.config/fish/completions/mif.fish")]
pub struct Args {
    /// For this shell
    shell: Shell,
}

/// Prints them.
///
/// # Errors
/// When standard output cannot be written.
pub fn run(args: &Args) -> Result<ExitCode> {
    let mut command = super::command();
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "mif", &mut script);
    output::print(&String::from_utf8(script)?)?;
    Ok(ExitCode::SUCCESS)
}
