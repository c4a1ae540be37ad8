//! The log goes to standard error: warnings of the commands, and what the daemon does.

use tracing_subscriber::{EnvFilter, filter::LevelFilter};

use super::Verb;

/// Filters the log in the syntax of tracing's `EnvFilter`, over `--verbose`.
const VARIABLE: &str = "MIF_LOG";
/// Set by systemd for services whose output the journal stamps with the time.
const JOURNAL: &str = "JOURNAL_STREAM";

/// Starts the log, once in a process.
pub(super) fn init(verb: &Verb, verbose: u8) {
    let quiet = if matches!(verb, Verb::Daemon(_)) { LevelFilter::INFO } else { LevelFilter::WARN };
    let level = match verbose {
        0 => quiet,
        1 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let filter =
        EnvFilter::builder().with_default_directive(level.into()).with_env_var(VARIABLE).from_env_lossy();
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(verbose > 0);
    let colour = anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never;
    let log = log.with_ansi(colour);
    if std::env::var_os(JOURNAL).is_some() { log.without_time().init() } else { log.init() }
}
