//! `mif man`: manual pages.

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::{Context as _, Result};
use clap_mangen::Man;

use super::output;

/// Print the manual page, or write one for each verb into a directory
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  mif man | man -l -
  mif man /usr/local/share/man/man1")]
pub struct Args {
    /// Write mif.1 and a page for each verb there
    #[arg(value_name = "DIR")]
    directory: Option<PathBuf>,
}

/// Prints or writes them.
///
/// # Errors
/// When standard output or the directory cannot be written.
pub fn run(args: &Args) -> Result<ExitCode> {
    let Some(directory) = &args.directory else {
        let mut page = Vec::new();
        Man::new(super::command()).render(&mut page)?;
        output::print(&String::from_utf8(page)?)?;
        return Ok(ExitCode::SUCCESS);
    };
    fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    clap_mangen::generate_to(super::command(), directory)
        .with_context(|| format!("cannot write manual pages into {}", directory.display()))?;
    Ok(ExitCode::SUCCESS)
}
