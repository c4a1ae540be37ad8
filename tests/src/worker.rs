//! Threads that serve descriptors until their owner is dropped.

use std::{
    io::{PipeReader, PipeWriter, pipe},
    os::fd::{AsFd as _, BorrowedFd},
    thread::{self, JoinHandle},
};

use anyhow::{Context as _, Result};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};

/// A thread that ends, and is waited for, when this is dropped.
#[derive(Debug)]
pub(crate) struct Worker {
    /// Never written to; closing it is the sign.
    stop: Option<PipeWriter>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread has to see the sign.
#[derive(Debug)]
pub(crate) struct Stop(PipeReader);

impl Worker {
    /// Starts `work`, which calls [`Stop::wait`] again and again and returns when that says `false`.
    pub(crate) fn start(name: &str, work: impl FnOnce(&Stop) + Send + 'static) -> Result<Self> {
        let (reader, writer) = pipe().context("make a pipe")?;
        let stop = Stop(reader);
        let thread =
            thread::Builder::new().name(name.into()).spawn(move || work(&stop)).context("start a thread")?;
        Ok(Self { stop: Some(writer), thread: Some(thread) })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // One that panicked has said so on standard error, and what it no longer did is missed where it counts.
            let _ = thread.join();
        }
    }
}

impl Stop {
    /// Waits until one of `fds` has something to read; `false` when it is time to end.
    pub(crate) fn wait<'a>(&self, fds: impl IntoIterator<Item = BorrowedFd<'a>>) -> bool {
        let mut polled = vec![PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
        polled.extend(fds.into_iter().map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
        loop {
            match poll(&mut polled, PollTimeout::NONE) {
                Err(Errno::EINTR) => {}
                Err(errno) => panic!("poll: {errno}"),
                Ok(_) => return polled[0].any() != Some(true),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Read as _, sync::mpsc};

    use super::*;

    #[test]
    fn serves_until_dropped() {
        let (mut served, server) = pipe().unwrap();
        let (done, ended) = mpsc::channel();
        let (read, words) = mpsc::channel();
        let worker = Worker::start("test", move |stop| {
            while stop.wait([served.as_fd()]) {
                let mut word = [0];
                served.read_exact(&mut word).unwrap();
                read.send(word[0]).unwrap();
            }
            done.send(()).unwrap();
        })
        .unwrap();
        std::io::Write::write_all(&mut &server, b"w").unwrap();
        assert_eq!(words.recv(), Ok(b'w'));
        drop(worker);
        assert_eq!(ended.try_recv(), Ok(()));
    }
}
