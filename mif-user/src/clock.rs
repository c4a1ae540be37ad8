//! `CLOCK_BOOTTIME`: now, a timer that fires on it, and the cookie of the network namespace.
//!
//! tokio's own timers run on `CLOCK_MONOTONIC`, which stands still while the host sleeps; a lifetime does not.

use std::{future, io};

use mif_core::time::{Deadline, Time};
use nix::{
    errno::Errno,
    sys::{
        socket::{AddressFamily, SockFlag, SockType, getsockopt, socket, sockopt::GetStruct},
        time::TimeSpec,
        timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags},
    },
    time::{ClockId as ReadClock, clock_gettime},
};

use crate::fd::Reader;

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// The instant.
#[must_use]
pub fn now() -> Time {
    let now = clock_gettime(ReadClock::CLOCK_BOOTTIME).expect("CLOCK_BOOTTIME exists since Linux 2.6.39");
    let seconds = u64::try_from(now.tv_sec()).expect("time since boot is not negative");
    let nanos = u64::try_from(now.tv_nsec()).expect("time since boot is not negative");
    Time(seconds * NANOS_PER_SECOND + nanos)
}

/// A timer on `CLOCK_BOOTTIME` (timerfd): it fires at its instant also when the host slept through it, as soon as the
/// host is awake.
#[derive(Debug)]
pub struct Timer {
    fd: Reader<TimerFd>,
}

impl Timer {
    /// A timer at rest. Inside a tokio runtime with I/O enabled.
    ///
    /// # Errors
    /// When the process is out of file descriptors.
    pub fn new() -> io::Result<Self> {
        let fd = TimerFd::new(ClockId::CLOCK_BOOTTIME, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)?;
        Ok(Self { fd: Reader::new(fd)? })
    }

    /// Waits until the deadline has passed; for ever for [`Deadline::NEVER`]. Each call sets the timer anew, so it may
    /// stand in a `select!` loop and be dropped at any time.
    ///
    /// # Errors
    /// When the kernel refuses to set or read the timer, which it has no reason to.
    pub async fn wait_until(&mut self, deadline: Deadline) -> io::Result<()> {
        let Some(time) = deadline.time() else {
            return future::pending().await;
        };
        // The kernel takes 0 for "disarm", and the first instant has passed anyway.
        let at = TimeSpec::new(seconds(time), nanos(time.0.max(1)));
        self.fd.get().set(Expiration::OneShot(at), TimerSetTimeFlags::TFD_TIMER_ABSTIME)?;
        // A setting that was given up may have left its readiness behind: then nothing is to be read yet.
        let mut fired = false;
        while !fired {
            self.fd
                .read(1, |timer| {
                    fired = take_expiration(timer)?;
                    Ok(())
                })
                .await?;
        }
        Ok(())
    }
}

/// Without blocking: `TimerFd::wait` tries again for ever on a non-blocking descriptor.
fn take_expiration(timer: &TimerFd) -> io::Result<bool> {
    let mut expirations = [0; size_of::<u64>()];
    Ok(nix::unistd::read(timer, &mut expirations)? == expirations.len())
}

/// Whole seconds; a time beyond the kernel's clock (584 years) saturates.
fn seconds(time: Time) -> libc::time_t {
    libc::time_t::try_from(time.0 / NANOS_PER_SECOND).unwrap_or(libc::time_t::MAX)
}

fn nanos(nanos: u64) -> libc::c_long {
    libc::c_long::try_from(nanos % NANOS_PER_SECOND).expect("below 10^9")
}

/// `SO_NETNS_COOKIE` (Linux 5.14).
#[derive(Clone, Copy)]
struct NetnsCookie;

nix::getsockopt_impl!(NetnsCookie, libc::SOL_SOCKET, libc::SO_NETNS_COOKIE, u64, GetStruct<u64>);

/// The cookie of the calling thread's network namespace, the number that `bpf_get_netns_cookie` gives the hooks.
///
/// # Errors
/// When no socket can be made, or with ENOPROTOOPT on Linux before 5.14.
pub fn netns_cookie() -> io::Result<u64> {
    let any = socket(AddressFamily::Inet6, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    getsockopt(&any, NetnsCookie).map_err(Errno::into)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn run<F: Future>(future: F) -> F::Output {
        tokio::runtime::Builder::new_current_thread().enable_io().build().expect("a runtime").block_on(future)
    }

    #[test]
    fn the_clock_does_not_go_back() {
        let first = now();
        assert!(first.0 > 0);
        assert!(now() >= first);
    }

    #[test]
    fn the_timer_fires_after_its_deadline_and_not_before() {
        run(async {
            let mut timer = Timer::new().expect("a timer");
            for offset in [0, 1, 1_000_000, 20_000_000] {
                let at = now().after(Duration::from_nanos(offset));
                timer.wait_until(Deadline::at(at)).await.expect("it fires");
                assert!(now() >= at);
            }
            timer.wait_until(Deadline::at(Time(0))).await.expect("long past");
        });
    }

    #[test]
    fn a_timer_that_was_given_up_can_be_set_again() {
        run(async {
            let mut timer = Timer::new().expect("a timer");
            let late = Deadline::at(now().after(Duration::from_secs(3600)));
            let soon = Deadline::at(now().after(Duration::from_millis(1)));
            for given_up in [late, soon, Deadline::NEVER] {
                tokio::select! {
                    biased;
                    _ = timer.wait_until(given_up) => {}
                    () = tokio::task::yield_now() => {}
                }
                let at = now().after(Duration::from_millis(5));
                timer.wait_until(Deadline::at(at)).await.expect("it fires");
                assert!(now() >= at, "not for the deadline that was given up");
            }
        });
    }

    #[test]
    fn the_cookie_is_that_of_the_namespace() {
        let cookie = netns_cookie().expect("Linux 5.14");
        assert_ne!(cookie, 0);
        assert_eq!(netns_cookie().expect("Linux 5.14"), cookie);
    }
}
