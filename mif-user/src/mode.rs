//! The mode of a policy, as people write it.

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
    /// Repair what can be repaired, pass what cannot
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
