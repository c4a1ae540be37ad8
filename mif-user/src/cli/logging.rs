//! The log goes to standard error: warnings of the commands, and what the daemon does.

use tracing::warn;
use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

use super::Verb;

/// Filters the log in the syntax of tracing's `Targets` (`debug`, `mif_user::net=trace,info`), over `--verbose`.
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
    let wanted = std::env::var(VARIABLE).ok().map(|words| words.parse::<Targets>());
    let (filter, misread) = match wanted {
        Some(Ok(filter)) => (filter, None),
        Some(Err(error)) => (Targets::new().with_default(level), Some(error)),
        None => (Targets::new().with_default(level), None),
    };
    let colour = anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never;
    let log = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::TRACE)
        .with_writer(std::io::stderr)
        .with_target(verbose > 0)
        .with_ansi(colour);
    if std::env::var_os(JOURNAL).is_some() {
        log.without_time().finish().with(filter).init();
    } else {
        log.finish().with(filter).init();
    }
    if let Some(error) = misread {
        warn!("{VARIABLE} is not understood: {error}");
    }
}
