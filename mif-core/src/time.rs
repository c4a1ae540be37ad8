//! Instants on the boot-time clock, and deadlines on it.
//!
//! `CLOCK_BOOTTIME` counts while the host sleeps, so a lifetime does not stretch over a suspend.

use core::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

/// An instant: nanoseconds since boot (`CLOCK_BOOTTIME`).
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd, Deserialize, Serialize)]
#[serde(transparent)]
pub struct Time(pub u64);

impl Time {
    /// This long after the instant; the far end of the clock where that is later.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// How long until `later`, zero if it has passed.
    #[must_use]
    pub const fn until(self, later: Self) -> Duration {
        Duration::from_nanos(later.0.saturating_sub(self.0))
    }
}

/// A lifetime on the wire in seconds that is infinite (RFC 4861 §4.6.2, RFC 4191 §2.3, RFC 8106 §5.1).
pub const INFINITE_LIFETIME: u32 = u32::MAX;

/// When something stops being true: an instant, or never.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Deserialize, Serialize)]
#[serde(transparent)]
pub struct Deadline(u64);

impl Default for Deadline {
    /// Never.
    fn default() -> Self {
        Self::NEVER
    }
}

impl Deadline {
    /// It never stops being true. The same value as `mif_common::abi::FOREVER`.
    pub const NEVER: Self = Self(mif_common::abi::FOREVER);

    /// Boot-time nanoseconds, `u64::MAX` for never: the form of the kernel's tables.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The deadline at an instant.
    #[must_use]
    pub const fn at(time: Time) -> Self {
        Self(time.0)
    }

    /// The deadline of a wire lifetime in seconds received `now`; [`INFINITE_LIFETIME`] is never.
    #[must_use]
    pub fn from_lifetime(seconds: u32, now: Time) -> Self {
        if seconds == INFINITE_LIFETIME {
            return Self::NEVER;
        }
        Self::at(now.after(Duration::from_secs(seconds.into())))
    }

    /// Whether it has passed. A deadline has passed when its instant has come.
    #[must_use]
    pub fn passed(self, now: Time) -> bool {
        self != Self::NEVER && self.0 <= now.0
    }

    /// The instant, `None` for never.
    #[must_use]
    pub fn time(self) -> Option<Time> {
        (self != Self::NEVER).then_some(Time(self.0))
    }

    /// The same deadline on another clock, which shows `there` when this one shows `here`: what was kept over a boot.
    #[must_use]
    pub fn on_other_clock(self, here: Time, there: Time) -> Self {
        let Some(Time(at)) = self.time() else { return self };
        let moved = i128::from(at) - i128::from(here.0) + i128::from(there.0);
        // What has passed before that clock began has passed.
        Self(u64::try_from(moved.max(0)).unwrap_or(u64::MAX))
    }

    /// What is left, `None` for ever, zero when passed.
    #[must_use]
    pub fn remaining(self, now: Time) -> Option<Duration> {
        self.time().map(|time| now.until(time))
    }
}

impl fmt::Display for Deadline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.time() {
            Some(time) => write!(f, "{:.3} s after boot", Duration::from_nanos(time.0).as_secs_f64()),
            None => f.write_str("never"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes() {
        let now = Time(5_000_000_000);
        for (seconds, nanos, passed) in [
            (0, 5_000_000_000, true),
            (1, 6_000_000_000, false),
            (INFINITE_LIFETIME - 1, (5 + u64::from(u32::MAX) - 1) * 1_000_000_000, false),
            (INFINITE_LIFETIME, u64::MAX, false),
        ] {
            let deadline = Deadline::from_lifetime(seconds, now);
            assert_eq!(deadline.as_nanos(), nanos, "{seconds}");
            assert_eq!(deadline.passed(now), passed, "{seconds}");
        }
    }

    #[test]
    fn clocks() {
        for (at, here, there, expected) in
            [(10, 5, 100, 105), (10, 20, 100, 90), (10, 20, 5, 0), (u64::MAX, 20, 5, u64::MAX)]
        {
            assert_eq!(
                Deadline(at).on_other_clock(Time(here), Time(there)),
                Deadline(expected),
                "{at} {here}"
            );
        }
    }
}
