//! A figure of several rounds, and what it should be.

use std::fmt;

use serde::{Serialize, Serializer};

/// Median, quartiles, and between what the median lies.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Figure {
    /// The median.
    pub median: f64,
    /// The lower quartile.
    pub lower: f64,
    /// The upper quartile.
    pub upper: f64,
    /// The median of more rounds would not be less than this, with a confidence of 95 %,
    pub low: f64,
    /// nor more than this.
    pub high: f64,
}

/// Of a normal distribution 95 % lie within so many standard deviations.
const DEVIATIONS: f64 = 1.96;

impl Figure {
    /// Of the rounds; `None` without any.
    pub fn of(rounds: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut rounds: Vec<f64> = rounds.into_iter().collect();
        rounds.sort_by(f64::total_cmp);
        let at = |quarter: usize| rounds.get((rounds.len().checked_sub(1)? * quarter + 2) / 4).copied();
        let (low, high) = interval(rounds.len());
        Some(Self {
            median: at(2)?,
            lower: at(1)?,
            upper: at(3)?,
            low: *rounds.get(low)?,
            high: *rounds.get(high)?,
        })
    }

    /// What was counted once.
    pub const fn exact(value: f64) -> Self {
        Self { median: value, lower: value, upper: value, low: value, high: value }
    }

    /// Each value put through a function that keeps the order, or turns it round.
    pub fn map(self, function: impl Fn(f64) -> f64) -> Self {
        let [a, b] = [function(self.lower), function(self.upper)];
        let [c, d] = [function(self.low), function(self.high)];
        Self {
            median: function(self.median),
            lower: a.min(b),
            upper: a.max(b),
            low: c.min(d),
            high: c.max(d),
        }
    }
}

/// The places, in the order of their size, of the rounds between which the median lies: how many rounds fall below the true median is
/// binomial, whatever the distribution of the rounds, and near enough to normal.
fn interval(rounds: usize) -> (usize, usize) {
    let all = rounds as f64;
    let below = ((all - DEVIATIONS * all.sqrt()) / 2.0).round().max(1.0) as usize;
    (below - 1, rounds.saturating_sub(below))
}

/// What a figure should be (issue "It must reach").
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Goal {
    /// This or more.
    AtLeast(f64),
    /// This or less.
    AtMost(f64),
}

impl Goal {
    /// What a figure says of it: all that the median may be must lie on one side.
    pub fn judge(self, Figure { low, high, .. }: Figure) -> Verdict {
        let (met, missed) = match self {
            Self::AtLeast(bound) => (low >= bound, high < bound),
            Self::AtMost(bound) => (high <= bound, low > bound),
        };
        match (met, missed) {
            (true, _) => Verdict::Met,
            (_, true) => Verdict::Missed,
            _ => Verdict::NotShown,
        }
    }
}

/// Whether a goal is met.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// It is.
    Met,
    /// It is not.
    Missed,
    /// The rounds lie too far apart to tell.
    NotShown,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Met => "met",
            Self::Missed => "missed",
            Self::NotShown => "not shown",
        })
    }
}

impl Serialize for Verdict {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtLeast(bound) => write!(f, "≥ {}", short(*bound)),
            Self::AtMost(bound) => write!(f, "≤ {}", short(*bound)),
        }
    }
}

impl Serialize for Goal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A number with as many digits as tell something, thousands apart.
pub fn short(value: f64) -> String {
    let digits = match value.abs() {
        0.0 => 0,
        small if small < 1.0 => 3,
        small if small < 10.0 => 2,
        middle if middle < 100.0 => 1,
        _ => 0,
    };
    let text = format!("{value:.digits$}");
    let (whole, rest) = text.split_once('.').unwrap_or((&text, ""));
    let rest = rest.trim_end_matches('0');
    let dot = if rest.is_empty() { "" } else { "." };
    format!("{}{dot}{rest}", thousands(whole))
}

/// Commas between the thousands of a number.
pub fn thousands(number: impl fmt::Display) -> String {
    let number = number.to_string();
    let digits = number.trim_start_matches('-').len();
    let sign = &number[..number.len() - digits];
    let mut text = String::from(sign);
    for (place, digit) in number[sign.len()..].chars().enumerate() {
        if place > 0 && (digits - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(Figure::of([]), None);
        assert_eq!(Figure::of([3.0]), Some(Figure::exact(3.0)));
        let five = Figure::of([5.0, 1.0, 4.0, 2.0, 3.0]).unwrap();
        assert_eq!(five, Figure { median: 3.0, lower: 2.0, upper: 4.0, low: 1.0, high: 5.0 });
        let halves = five.map(|value| 12.0 / value);
        assert_eq!(halves, Figure { median: 4.0, lower: 3.0, upper: 6.0, low: 2.4, high: 12.0 });
    }

    /// As tables of the binomial distribution have them.
    #[test]
    fn intervals_of_the_median() {
        for (rounds, low, high) in [(1, 0, 0), (5, 0, 4), (7, 0, 6), (10, 1, 8), (21, 5, 15), (100, 39, 60)] {
            assert_eq!(interval(rounds), (low, high), "{rounds}");
        }
    }

    #[test]
    fn goals() {
        let between = |low, high| Figure { low, high, ..Figure::exact(f64::midpoint(low, high)) };
        for (goal, low, high, expected) in [
            (Goal::AtLeast(0.98), 0.98, 0.99, Verdict::Met),
            (Goal::AtLeast(0.98), 0.979, 0.99, Verdict::NotShown),
            (Goal::AtLeast(0.98), 0.96, 0.979, Verdict::Missed),
            (Goal::AtMost(60.0), 59.0, 60.0, Verdict::Met),
            (Goal::AtMost(60.0), 59.0, 60.1, Verdict::NotShown),
            (Goal::AtMost(60.0), 60.1, 60.1, Verdict::Missed),
        ] {
            assert_eq!(goal.judge(between(low, high)), expected, "{goal} {low} {high}");
        }
        assert_eq!(Goal::AtMost(200.0).to_string(), "≤ 200");
    }

    #[test]
    fn numbers_for_people() {
        for (value, expected) in [
            (0.0, "0"),
            (0.9876, "0.988"),
            (0.05, "0.05"),
            (1.5, "1.5"),
            (59.94, "59.9"),
            (123.4, "123"),
            (1234.5, "1,234"),
            (1_000_000.0, "1,000,000"),
            (-1234.0, "-1,234"),
            (-12.0, "-12"),
        ] {
            assert_eq!(short(value), expected, "{value}");
        }
    }
}
