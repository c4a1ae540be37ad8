//! A figure of several rounds, and what it should be.

use std::fmt;

use serde::{Serialize, Serializer};

/// Median and quartiles.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Figure {
    /// The median.
    pub median: f64,
    /// The lower quartile.
    pub lower: f64,
    /// The upper quartile.
    pub upper: f64,
}

impl Figure {
    /// Of the rounds; `None` without any.
    pub fn of(rounds: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut rounds: Vec<f64> = rounds.into_iter().collect();
        rounds.sort_by(f64::total_cmp);
        let at = |quarter: usize| rounds.get((rounds.len().checked_sub(1)? * quarter + 2) / 4).copied();
        Some(Self { median: at(2)?, lower: at(1)?, upper: at(3)? })
    }

    /// What was counted once.
    pub const fn exact(value: f64) -> Self {
        Self { median: value, lower: value, upper: value }
    }

    /// Each value put through a function that keeps the order, or turns it round.
    pub fn map(self, function: impl Fn(f64) -> f64) -> Self {
        let [a, b] = [function(self.lower), function(self.upper)];
        Self { median: function(self.median), lower: a.min(b), upper: a.max(b) }
    }
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
    /// Whether it is.
    pub fn is_met(self, value: f64) -> bool {
        match self {
            Self::AtLeast(bound) => value >= bound,
            Self::AtMost(bound) => value <= bound,
        }
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
        assert_eq!(five, Figure { median: 3.0, lower: 2.0, upper: 4.0 });
        assert_eq!(five.map(|value| 12.0 / value), Figure { median: 4.0, lower: 3.0, upper: 6.0 });
    }

    #[test]
    fn goals() {
        assert!(Goal::AtLeast(0.98).is_met(0.98) && !Goal::AtLeast(0.98).is_met(0.979));
        assert!(Goal::AtMost(60.0).is_met(60.0) && !Goal::AtMost(60.0).is_met(60.1));
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
