//! Non-blocking descriptors on the tokio reactor.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, OwnedFd, RawFd},
    sync::Arc,
};

use nix::sys::{inotify::Inotify, timerfd::TimerFd};
use tokio::io::{Interest, unix::AsyncFd};

/// Lets this process have as many descriptors as it is allowed at most (RLIMIT_NOFILE): the usual 1024 are few where a thousand links
/// come up at once, and each has a socket while its DHCPv6 client asks.
pub(crate) fn raise_limit() -> io::Result<()> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel writes to a value of the right type.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: the kernel reads a value of the right type.
    if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Something that owns one descriptor.
///
/// # Safety
/// `as_fd` gives the same open descriptor for as long as the value lives.
pub(crate) unsafe trait OneFd: AsFd {}

// SAFETY: it owns the descriptor and has no way to exchange it through a shared reference.
unsafe impl OneFd for OwnedFd {}
// SAFETY: a wrapper around an OwnedFd that never changes.
unsafe impl OneFd for TimerFd {}
// SAFETY: a wrapper around an OwnedFd that never changes.
unsafe impl OneFd for Inotify {}
// SAFETY: what it shares cannot be exchanged while it lives.
unsafe impl<T: OneFd> OneFd for Arc<T> {}
// SAFETY: it keeps the number it was made with and closes it on drop.
unsafe impl OneFd for netlink_sys::Socket {}

/// A non-blocking descriptor that can be waited for.
#[derive(Debug)]
pub(crate) struct Reader<T: OneFd> {
    fd: AsyncFd<Raw<T>>,
}

#[derive(Debug)]
struct Raw<T>(T);

impl<T: OneFd> AsRawFd for Raw<T> {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl<T: OneFd> Reader<T> {
    /// Registers a non-blocking descriptor with the current runtime.
    pub(crate) fn new(inner: T) -> io::Result<Self> {
        // SAFETY: `OneFd` promises one open descriptor for the value's life; `inner` moves into the AsyncFd and is lent
        // out by shared reference only.
        let fd = unsafe { AsyncFd::register_with_interest(Raw(inner), Interest::READABLE) }?;
        Ok(Self { fd })
    }

    pub(crate) fn get(&self) -> &T {
        &self.fd.get_ref().0
    }

    /// Waits until there is something to read, then calls `read` until it would block, fails, or was called `most`
    /// times. May be dropped while it waits: nothing has been read then.
    pub(crate) async fn read(
        &self,
        most: usize,
        mut read: impl FnMut(&T) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut ready = self.fd.readable().await?;
        for _ in 0..most {
            match ready.try_io(|fd| read(&fd.get_ref().0)) {
                Err(_would_block) => break,
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(result) => result?,
            }
        }
        Ok(())
    }
}
