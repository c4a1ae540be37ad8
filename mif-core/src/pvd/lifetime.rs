//! The lifetime of an address under repeated advertisements: the two-hour rule (RFC 4862 §5.5.3 e).

use std::time::Duration;

use crate::time::{Deadline, Time};

/// What an unauthenticated advertisement can shorten a valid lifetime to: two hours.
pub const TWO_HOURS: Duration = Duration::from_secs(7200);

/// Until when an address is valid, after an advertisement `received` a valid lifetime (seconds, `u32::MAX` for ever)
/// for its prefix. `current` is the deadline until now, `None` without such an address.
///
/// The rule keeps a forged advertisement from taking an address away at once. It holds for addresses only: on-link
/// prefixes end when their router says so (RFC 4861 §6.3.4).
#[must_use]
pub fn valid_until(current: Option<Deadline>, received: u32, now: Time) -> Deadline {
    let announced = Deadline::from_lifetime(received, now);
    let Some(current) = current.filter(|current| !current.passed(now)) else { return announced };
    if u64::from(received) > TWO_HOURS.as_secs() || announced > current {
        return announced;
    }
    current.min(Deadline::at(now.after(TWO_HOURS)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{pvd::testing::at, time::INFINITE_LIFETIME};

    /// SL-4862-5.5.3-f to -i, and the rest of the rule's table.
    #[test]
    fn two_hour_rule() {
        let now = at(100_000);
        for (remaining, received, expected) in [
            (Some(86_400), 604_800, 604_800),
            (Some(86_400), 10_000, 10_000),
            (Some(86_400), 3600, 7200),
            (Some(86_400), 0, 7200),
            (Some(7200), 3600, 7200),
            (Some(7200), 7200, 7200),
            (Some(5000), 6000, 6000),
            (Some(5000), 0, 5000),
            (Some(INFINITE_LIFETIME), 0, 7200),
            (Some(INFINITE_LIFETIME), INFINITE_LIFETIME, INFINITE_LIFETIME),
            (Some(60), INFINITE_LIFETIME, INFINITE_LIFETIME),
            (None, 60, 60),
            (None, 0, 0),
            (Some(0), 60, 60),
        ] {
            let current = remaining.map(|seconds| Deadline::from_lifetime(seconds, now));
            assert_eq!(
                valid_until(current, received, now),
                Deadline::from_lifetime(expected, now),
                "remaining {remaining:?}, received {received}"
            );
        }
    }
}
