//! The mode of a policy, and what it does when none of its PvDs will do, as people write them.

use std::fmt;

use mif_common::abi;
use serde::{Deserialize, Serialize};

/// What a policy does with its decisions.
#[derive(
    Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd, Deserialize, Serialize, clap::ValueEnum,
)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Decide and count, change nothing
    Observe,
    /// Repair what can be repaired, pass what cannot; refuse only what has the address of an interface that is down
    #[default]
    Prefer,
    /// Refuse or drop what the policy does not allow
    Strict,
}

impl From<Mode> for abi::Mode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Observe => Self::Observe,
            Mode::Prefer => Self::Prefer,
            Mode::Strict => Self::Strict,
        }
    }
}

impl From<abi::Mode> for Mode {
    fn from(mode: abi::Mode) -> Self {
        match mode {
            abi::Mode::Observe => Self::Observe,
            abi::Mode::Prefer => Self::Prefer,
            abi::Mode::Strict => Self::Strict,
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Observe => "observe",
            Self::Prefer => "prefer",
            Self::Strict => "strict",
        })
    }
}

/// What happens to a destination that no PvD of any group reaches.
#[derive(
    Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd, Deserialize, Serialize, clap::ValueEnum,
)]
#[serde(rename_all = "kebab-case")]
pub enum Otherwise {
    /// Refused: what strict does
    Refuse,
    /// Left to the kernel
    #[default]
    Kernel,
    /// The best of all PvDs, as for processes without a policy
    Default,
}

/// A mode that does not go with an [`Otherwise`].
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum OtherwiseError {
    /// Strict refuses.
    #[error("strict refuses what no group reaches, expected `refuse` here, or the mode prefer")]
    Strict,
    /// The others do not.
    #[error("{0} refuses nothing, expected `kernel` or `default` here, or the mode strict")]
    NotStrict(Mode),
}

impl Otherwise {
    /// What a mode does, given what was asked for: strict refuses, the others leave it to the kernel or to all PvDs.
    ///
    /// # Errors
    /// When the two contradict each other.
    pub const fn of(mode: Mode, asked: Option<Self>) -> Result<Self, OtherwiseError> {
        match (mode, asked) {
            (Mode::Strict, None | Some(Self::Refuse)) => Ok(Self::Refuse),
            (Mode::Strict, Some(Self::Kernel | Self::Default)) => Err(OtherwiseError::Strict),
            (Mode::Observe | Mode::Prefer, Some(Self::Refuse)) => Err(OtherwiseError::NotStrict(mode)),
            (Mode::Observe | Mode::Prefer, None | Some(Self::Kernel)) => Ok(Self::Kernel),
            (Mode::Observe | Mode::Prefer, Some(Self::Default)) => Ok(Self::Default),
        }
    }
}

impl fmt::Display for Otherwise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Refuse => "refuse",
            Self::Kernel => "kernel",
            Self::Default => "default",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_with_a_mode() {
        let not_strict = |mode| Err(OtherwiseError::NotStrict(mode));
        for (mode, asked, expected) in [
            (Mode::Strict, None, Ok(Otherwise::Refuse)),
            (Mode::Strict, Some(Otherwise::Refuse), Ok(Otherwise::Refuse)),
            (Mode::Strict, Some(Otherwise::Kernel), Err(OtherwiseError::Strict)),
            (Mode::Strict, Some(Otherwise::Default), Err(OtherwiseError::Strict)),
            (Mode::Prefer, None, Ok(Otherwise::Kernel)),
            (Mode::Prefer, Some(Otherwise::Kernel), Ok(Otherwise::Kernel)),
            (Mode::Prefer, Some(Otherwise::Default), Ok(Otherwise::Default)),
            (Mode::Prefer, Some(Otherwise::Refuse), not_strict(Mode::Prefer)),
            (Mode::Observe, Some(Otherwise::Default), Ok(Otherwise::Default)),
            (Mode::Observe, Some(Otherwise::Refuse), not_strict(Mode::Observe)),
        ] {
            assert_eq!(Otherwise::of(mode, asked), expected, "{mode} {asked:?}");
        }
    }
}
