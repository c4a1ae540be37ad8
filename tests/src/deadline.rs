//! Nothing in the lab waits for ever: each wait has a deadline that knows what was waited for.

use std::{
    os::fd::AsFd,
    panic,
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};

/// How long a thing that happens at once may take on a machine that has much else to do.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A moment until which something has to happen, and the words for it.
#[derive(Debug)]
pub struct Deadline {
    what: String,
    limit: Duration,
    end: Instant,
}

impl Deadline {
    /// [`PATIENCE`] from now. `what` completes "waited in vain for ...".
    pub fn new(what: impl Into<String>) -> Self {
        Self::within(what, PATIENCE)
    }

    /// `limit` from now.
    pub fn within(what: impl Into<String>, limit: Duration) -> Self {
        Self { what: what.into(), limit, end: Instant::now() + limit }
    }

    /// The time that is left.
    ///
    /// # Errors
    /// None is left; the message names what was waited for.
    pub fn left(&self) -> Result<Duration> {
        let left = self.end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            bail!("waited {:.1} s in vain for {}", self.limit.as_secs_f64(), self.what);
        }
        Ok(left)
    }

    /// Waits until `fd` has something to read (or was hung up on).
    ///
    /// # Errors
    /// The deadline passed, or poll(2) failed.
    pub fn readable(&self, fd: impl AsFd) -> Result<()> {
        self.ready(fd, PollFlags::POLLIN)
    }

    /// Waits until poll(2) reports one of `events` for `fd`.
    ///
    /// # Errors
    /// The deadline passed, or poll(2) failed.
    pub fn ready(&self, fd: impl AsFd, events: PollFlags) -> Result<()> {
        let mut fds = [PollFd::new(fd.as_fd(), events)];
        loop {
            // Rounded up, so that the last millisecond is slept and not spun through.
            let timeout =
                PollTimeout::try_from(self.left()? + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX);
            match poll(&mut fds, timeout) {
                Ok(0) | Err(Errno::EINTR) => {}
                Ok(_) => return Ok(()),
                Err(errno) => return Err(errno).with_context(|| format!("poll for {}", self.what)),
            }
        }
    }
}

/// Runs the body of a test on a thread of its own; panics with the whole error chain if it fails or has not ended after `limit`.
///
/// The deadlines of the single waits speak first; this one is for code that hangs without waiting. Its thread stays
/// behind then and ends with the process.
///
/// # Panics
/// The body failed, panicked or took longer than `limit`.
pub fn bounded(limit: Duration, body: impl FnOnce() -> Result<()> + Send + 'static) {
    let (done, end) = mpsc::channel();
    let thread = thread::Builder::new()
        .name("scenario".into())
        .spawn(move || {
            let result = body();
            // The receiver is gone only if it gave up already.
            let _ = done.send(());
            result
        })
        .expect("a thread can be started");
    if end.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
        panic!("the scenario has not ended after {} s", limit.as_secs());
    }
    match thread.join() {
        Ok(Ok(())) => {}
        Ok(Err(error)) => panic!("{error:?}"),
        Err(panicked) => panic::resume_unwind(panicked),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_missed_deadline_names_what_was_awaited() {
        let (reader, _writer) = std::io::pipe().unwrap();
        let deadline = Deadline::within("a word from the silent", Duration::from_millis(5));
        let error = deadline.readable(&reader).unwrap_err().to_string();
        assert!(error.ends_with("in vain for a word from the silent"), "{error}");
    }

    #[test]
    fn bounded_hands_on_the_error() {
        let panicked = panic::catch_unwind(|| bounded(PATIENCE, || bail!("the reason"))).unwrap_err();
        let message = panicked.downcast_ref::<String>().unwrap();
        assert!(message.starts_with("the reason"), "{message}");
    }

    #[test]
    #[should_panic(expected = "has not ended")]
    fn bounded_ends_what_hangs() {
        bounded(Duration::from_millis(5), || {
            thread::park();
            Ok(())
        });
    }
}
