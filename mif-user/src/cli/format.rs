//! Numbers as people read them.

use std::time::Duration;

use mif_common::abi::source_flags;
use mif_core::time::{Deadline, Time};

const SECONDS_PER_MINUTE: u64 = 60;
const SECONDS_PER_HOUR: u64 = 60 * SECONDS_PER_MINUTE;
const SECONDS_PER_DAY: u64 = 24 * SECONDS_PER_HOUR;

/// A duration in its two largest units, rounded down: `29m 58s`, `3d 4h`, `0s`.
#[must_use]
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let units = [(SECONDS_PER_DAY, "d"), (SECONDS_PER_HOUR, "h"), (SECONDS_PER_MINUTE, "m"), (1, "s")];
    let largest = units.iter().position(|(size, _)| seconds >= *size).unwrap_or(units.len() - 1);
    let mut rest = seconds;
    let mut words = Vec::new();
    for (size, unit) in units.iter().skip(largest).take(2) {
        if rest >= *size || words.is_empty() {
            words.push(format!("{}{unit}", rest / size));
        }
        rest %= size;
    }
    words.join(" ")
}

/// A number of seconds, as [`duration`] writes it.
#[must_use]
pub fn seconds(seconds: u64) -> String {
    duration(Duration::from_secs(seconds))
}

/// What is left until a deadline: a duration, `forever` or `expired`.
#[must_use]
pub fn remaining(deadline: Deadline, now: Time) -> String {
    match deadline.remaining(now) {
        None => "forever".into(),
        Some(_) if deadline.passed(now) => "expired".into(),
        Some(left) => duration(left),
    }
}

/// Seconds until a deadline for JSON: `None` for ever, 0 when passed.
#[must_use]
pub fn remaining_seconds(deadline: Deadline, now: Time) -> Option<u64> {
    deadline.remaining(now).map(|left| left.as_secs())
}

/// The deadline of a raw map value.
#[must_use]
pub fn deadline(nanos: u64) -> Deadline {
    if nanos == mif_common::abi::FOREVER { Deadline::NEVER } else { Deadline::at(Time(nanos)) }
}

/// The names of the flags of a source (SOURCE), as docs/maps.md explains them.
#[must_use]
pub fn source_flag_names(flags: u32) -> Vec<&'static str> {
    const NAMES: [(u32, &str); 5] = [
        (source_flags::NEXT_HOP, "next-hop"),
        (source_flags::LEADS_ON, "leads-on"),
        (source_flags::SHARED, "shared"),
        (source_flags::SEVERAL_INTERFACES, "several-interfaces"),
        (source_flags::STRANDED, "stranded"),
    ];
    NAMES.into_iter().filter(|(flag, _)| flags & flag != 0).map(|(_, name)| name).collect()
}

/// Octets in binary units (IEC 80000-13): `0 B`, `1.5 KiB`.
#[must_use]
pub fn octets(octets: u64) -> String {
    const STEP: u64 = 1024;
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if octets < STEP {
        return format!("{octets} B");
    }
    // Tenths by integer arithmetic: the quotient of the largest unit that fits, rounded down.
    let exponent = octets.ilog(STEP).min(UNITS.len() as u32);
    let tenths = u128::from(octets) * 10 / u128::from(STEP.pow(exponent));
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[exponent as usize - 1])
}

/// A number with its noun: `1 PvD`, `2 PvDs`.
#[must_use]
pub fn counted(number: usize, noun: &str) -> String {
    let plural = match (number, noun.strip_suffix('y')) {
        (1, _) => return format!("1 {noun}"),
        (_, Some(stem)) => format!("{stem}ies"),
        (_, None) => format!("{noun}s"),
    };
    format!("{number} {plural}")
}

/// Text from outside (names that a network chose, paths) without what a terminal would obey.
#[must_use]
pub fn printable(text: &str) -> String {
    text.chars().map(|char| if char.is_control() { char::REPLACEMENT_CHARACTER } else { char }).collect()
}

/// An error with its causes, each line [`printable`]. Many an error says its cause already; then it is not said twice.
#[must_use]
pub fn complaint(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.contains(&cause) {
            continue;
        }
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&cause);
    }
    text.lines().map(printable).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (seconds, expected) in [
            (0, "0s"),
            (59, "59s"),
            (60, "1m"),
            (1798, "29m 58s"),
            (3600, "1h"),
            (3605, "1h"),
            (3660, "1h 1m"),
            (86_400 * 3 + 3600 * 4 + 59, "3d 4h"),
            (86_400 * 30, "30d"),
        ] {
            assert_eq!(duration(Duration::from_secs(seconds)), expected, "{seconds}");
        }
        assert_eq!(duration(Duration::from_millis(999)), "0s");
    }

    #[test]
    fn lifetimes() {
        let now = Time(100_000_000_000);
        for (nanos, text, seconds) in [
            (mif_common::abi::FOREVER, "forever", None),
            (100_000_000_000, "expired", Some(0)),
            (0, "expired", Some(0)),
            (100_500_000_000, "0s", Some(0)),
            (190_000_000_000, "1m 30s", Some(90)),
        ] {
            assert_eq!(remaining(deadline(nanos), now), text, "{nanos}");
            assert_eq!(remaining_seconds(deadline(nanos), now), seconds, "{nanos}");
        }
    }

    #[test]
    fn amounts() {
        for (amount, expected) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (1024 * 1024 - 1, "1023.9 KiB"),
            (1 << 30, "1.0 GiB"),
            (u64::MAX, "15.9 EiB"),
        ] {
            assert_eq!(octets(amount), expected, "{amount}");
        }
    }

    #[test]
    fn nouns() {
        for (number, noun, expected) in [
            (0, "PvD", "0 PvDs"),
            (1, "PvD", "1 PvD"),
            (2, "policy", "2 policies"),
            (1, "policy", "1 policy"),
        ] {
            assert_eq!(counted(number, noun), expected);
        }
    }

    #[test]
    fn a_network_does_not_talk_to_the_terminal() {
        for (text, expected) in
            [("isp.example%eth0", "isp.example%eth0"), ("a\x1b[2Jb\n", "a\u{fffd}[2Jb\u{fffd}"), ("ü", "ü")]
        {
            assert_eq!(printable(text), expected);
        }
    }

    #[test]
    fn complaints_say_nothing_twice_and_keep_their_lines() {
        let eperm = || std::io::Error::from(std::io::ErrorKind::PermissionDenied);
        let lock = crate::lock::LockError::Io { path: "/x".into(), source: eperm() };
        for (error, expected) in [
            (anyhow::Error::from(eperm()).context("cannot read /y"), "cannot read /y: permission denied"),
            (lock.into(), "cannot lock /x: permission denied; run this as root"),
            (anyhow::anyhow!("f:1:8: wrong\n  mode = \x1b1"), "f:1:8: wrong\n  mode = \u{fffd}1"),
        ] {
            assert_eq!(complaint(&error), expected);
        }
    }
}
