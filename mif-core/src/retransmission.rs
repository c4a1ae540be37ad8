//! When to send again what nobody answered: RFC 8415 §15, which RFC 7559 takes for Router Solicitations.
//!
//! Random numbers and `now` come in, deadlines go out.

use core::time::Duration;

use crate::time::Time;

/// RAND is uniform between minus and plus this many hundredths.
const RANDOM_PERCENT: u64 = 10;

/// A uniformly distributed random number, all 32 bits. Values in, values out: nothing here draws one itself.
pub type Random = u32;

/// The parameters of one kind of message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Parameters {
    /// IRT: the first interval.
    pub initial: Duration,
    /// MRT: the interval stops growing here; `None`: it does not.
    pub maximum: Option<Duration>,
    /// MRC: given up after so many; `None`: not by number.
    pub count: Option<u32>,
    /// MRD: given up so long after the first; `None`: not by time.
    pub duration: Option<Duration>,
    /// The first interval is not shorter than IRT (RFC 8415 §18.2.1 of a Solicit, RFC 4861 §6.3.7 of a Router Solicitation).
    pub first_not_shorter: bool,
}

/// What is due.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Due {
    /// The message.
    Send,
    /// Nobody has answered as often, or for as long, as there is to wait.
    GiveUp,
}

/// The sending of one message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Retransmission {
    parameters: Parameters,
    /// When something is due next.
    at: Time,
    /// RT, once the message was sent.
    interval: Duration,
    sent: u32,
    /// When the message was sent first.
    first: Option<Time>,
}

impl Retransmission {
    /// The first sending is due at `at`.
    #[must_use]
    pub const fn new(parameters: Parameters, at: Time) -> Self {
        Self { parameters, at, interval: Duration::ZERO, sent: 0, first: None }
    }

    /// When [`Self::poll`] is due.
    #[must_use]
    pub const fn next_deadline(&self) -> Time {
        self.at
    }

    /// How often the message was sent.
    #[must_use]
    pub const fn sent(&self) -> u32 {
        self.sent
    }

    /// When it was sent first.
    #[must_use]
    pub const fn first(&self) -> Option<Time> {
        self.first
    }

    /// Another MRT, from the next interval on.
    pub const fn set_maximum(&mut self, maximum: Duration) {
        self.parameters.maximum = Some(maximum);
    }

    /// Not before this instant.
    pub fn postpone(&mut self, at: Time) {
        self.at = self.at.max(at);
    }

    /// What is due now; nothing before the deadline. A call that comes late (the host slept) counts once, not once for each
    /// interval missed.
    #[must_use = "the answer is to be acted on"]
    pub fn poll(&mut self, now: Time, random: Random) -> Option<Due> {
        if now < self.at {
            return None;
        }
        let first = *self.first.get_or_insert(now);
        let end = self.parameters.duration.map(|duration| first.after(duration));
        let too_often = self.parameters.count.is_some_and(|count| self.sent >= count);
        if too_often || self.sent > 0 && end.is_some_and(|end| end <= now) {
            return Some(Due::GiveUp);
        }
        self.interval = if self.sent == 0 { self.first_interval(random) } else { self.next_interval(random) };
        self.sent = self.sent.saturating_add(1);
        self.at = now.after(self.interval);
        if let Some(end) = end {
            self.at = self.at.min(end);
        }
        Some(Due::Send)
    }

    /// `RT = IRT + RAND*IRT`
    fn first_interval(&self, random: Random) -> Duration {
        let initial = self.parameters.initial;
        if self.parameters.first_not_shorter {
            // Strictly longer than IRT (RFC 8415 §18.2.1).
            return initial + fraction(percent(initial), random) + Duration::from_nanos(1);
        }
        spread(initial, initial, random)
    }

    /// `RT = 2*RTprev + RAND*RTprev`, then MRT in the place of `2*RTprev` where that is longer.
    fn next_interval(&self, random: Random) -> Duration {
        let doubled = spread(2 * self.interval, self.interval, random);
        match self.parameters.maximum {
            Some(maximum) if doubled > maximum => spread(maximum, maximum, random),
            _ => doubled,
        }
    }
}

/// `base + RAND*of`.
fn spread(base: Duration, of: Duration, random: Random) -> Duration {
    base - percent(of) + fraction(2 * percent(of), random)
}

/// The largest RAND times `of`.
fn percent(of: Duration) -> Duration {
    Duration::from_nanos(nanos(of) / 100 * RANDOM_PERCENT)
}

/// `of` times `random / 2^32`: in `[0, of)`.
#[must_use]
pub fn fraction(of: Duration, random: Random) -> Duration {
    Duration::from_nanos(((u128::from(nanos(of)) * u128::from(random)) >> Random::BITS) as u64)
}

/// `u64` nanoseconds end after 584 years.
fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Time = Time(1_000_000_000_000);
    const PARAMETERS: Parameters = Parameters {
        initial: Duration::from_secs(1),
        maximum: Some(Duration::from_secs(4)),
        count: None,
        duration: None,
        first_not_shorter: false,
    };

    /// The intervals until it is given up, at most `most` of them.
    fn intervals(parameters: Parameters, random: Random, most: usize) -> (Vec<f64>, bool) {
        let mut sending = Retransmission::new(parameters, START);
        let mut found = Vec::new();
        let mut now = START;
        while found.len() < most {
            match sending.poll(now, random) {
                Some(Due::Send) => {}
                Some(Due::GiveUp) => return (found, true),
                None => panic!("due at its own deadline"),
            }
            let next = sending.next_deadline();
            found.push((now.until(next).as_secs_f64() * 1e3).round() / 1e3);
            now = next;
        }
        (found, false)
    }

    #[test]
    fn both_ends_of_the_random_range() {
        let count = Parameters { count: Some(3), ..PARAMETERS };
        let duration = Parameters { duration: Some(Duration::from_secs(10)), ..PARAMETERS };
        let solicit = Parameters { first_not_shorter: true, ..PARAMETERS };
        let endless = Parameters { maximum: None, count: Some(4), ..PARAMETERS };
        for (row, parameters, random, expected, given_up) in [
            ("lowest", PARAMETERS, 0, &[0.9, 1.71, 3.249, 3.6, 3.6][..], false),
            ("middle", PARAMETERS, 1 << 31, &[1.0, 2.0, 4.0, 4.0, 4.0], false),
            ("highest", PARAMETERS, Random::MAX, &[1.1, 2.31, 4.4, 4.4, 4.4], false),
            ("never shorter at first", solicit, 0, &[1.0, 1.9, 3.61, 3.6, 3.6], false),
            ("so many", count, 1 << 31, &[1.0, 2.0, 4.0], true),
            ("so long", duration, 1 << 31, &[1.0, 2.0, 4.0, 3.0], true),
            ("no greatest interval", endless, 1 << 31, &[1.0, 2.0, 4.0, 8.0], true),
        ] {
            let most = if given_up { usize::MAX } else { expected.len() };
            assert_eq!(intervals(parameters, random, most), (expected.into(), given_up), "{row}");
        }
    }

    #[test]
    fn a_sleep_is_not_made_up_for() {
        let mut sending = Retransmission::new(PARAMETERS, START);
        assert_eq!(sending.poll(Time(0), 0), None, "early");
        let wake = START.after(Duration::from_secs(10_000));
        assert_eq!(sending.poll(wake, 1 << 31), Some(Due::Send));
        assert_eq!(sending.poll(wake, 1 << 31), None, "once");
        assert_eq!(sending.next_deadline(), wake.after(Duration::from_secs(1)));
    }
}
