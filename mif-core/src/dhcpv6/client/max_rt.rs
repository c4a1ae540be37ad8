//! The longest intervals, which servers may set (RFC 8415 §21.24, §21.25).

use core::time::Duration;

use crate::dhcpv6::timing::{MAX_RT, MAX_RT_RANGE};

/// SOL_MAX_RT or INF_MAX_RT (§21.24, §21.25).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct MaxRt {
    /// What the answers to this question say, as long as they agree.
    pub said: Option<u32>,
    pub value: Duration,
}

impl Default for MaxRt {
    fn default() -> Self {
        Self { said: None, value: MAX_RT }
    }
}

impl MaxRt {
    pub fn hear(&mut self, seconds: u32) {
        if !MAX_RT_RANGE.contains(&seconds) {
            return;
        }
        // §18.2.9: where servers disagree the default holds.
        let agreed = self.said.is_none_or(|said| said == seconds);
        self.value = if agreed { Duration::from_secs(seconds.into()) } else { MAX_RT };
        self.said = Some(seconds);
    }
}
