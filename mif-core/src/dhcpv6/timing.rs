//! How often each message is sent (RFC 8415 §7.6, §18.2), and how many there may be at all (§14.1).

use core::time::Duration;

use crate::{
    retransmission::{Parameters, Random, fraction},
    time::Time,
    wire::dhcpv6::MessageType,
};

/// SOL_MAX_DELAY, CNF_MAX_DELAY and INF_MAX_DELAY: the first message waits a random part of this.
pub const MAX_DELAY: Duration = Duration::from_secs(1);

/// SOL_MAX_RT and INF_MAX_RT, unless a server says otherwise.
pub const MAX_RT: Duration = Duration::from_secs(3600);

/// What a server may say of them, seconds; anything else is ignored (§21.24, §21.25).
pub const MAX_RT_RANGE: core::ops::RangeInclusive<u32> = 60..=86_400;

/// IRT_DEFAULT: when to ask again for what has no lease, where the server does not say.
pub const IRT_DEFAULT: Duration = Duration::from_secs(86_400);

/// IRT_MINIMUM
pub const IRT_MINIMUM: Duration = Duration::from_secs(600);

/// §14.1: messages in [`RATE_SPAN`], the RFC's own example. A server that answers so that the client asks again at once must
/// not make the two of them fill the link.
pub const RATE: usize = 20;

/// See [`RATE`].
pub const RATE_SPAN: Duration = Duration::from_secs(20);

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// The rows of §7.6 for what a client sends. `maximum` is SOL_MAX_RT or INF_MAX_RT; `end` is how long there is to ask: until
/// T2 for a Renew, until the last lease ends for a Rebind.
#[must_use]
pub fn parameters(kind: MessageType, maximum: Duration, end: Option<Duration>) -> Parameters {
    let row = |initial, maximum, count, duration| Parameters {
        initial,
        maximum,
        count,
        duration,
        first_not_shorter: false,
    };
    match kind {
        MessageType::Solicit => {
            Parameters { first_not_shorter: true, ..row(secs(1), Some(maximum), None, None) }
        }
        MessageType::Request => row(secs(1), Some(secs(30)), Some(10), None),
        MessageType::Confirm => row(secs(1), Some(secs(4)), None, Some(secs(10))),
        MessageType::Renew | MessageType::Rebind => row(secs(10), Some(secs(600)), None, end),
        MessageType::Release | MessageType::Decline => row(secs(1), None, Some(4), None),
        // Information-request; a client sends nothing else.
        _ => row(secs(1), Some(maximum), None, None),
    }
}

/// How long the first message waits: §18.2.1 SHOULD, §18.2.3 and §18.2.6 MUST.
#[must_use]
pub fn delay(random: Random) -> Duration {
    fraction(MAX_DELAY, random)
}

/// When the last messages left.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Rate {
    sent: std::collections::VecDeque<Time>,
}

impl Rate {
    /// Whether one may leave now; otherwise when.
    ///
    /// # Errors
    /// The instant before which none may.
    pub fn take(&mut self, now: Time) -> Result<(), Time> {
        while self.sent.front().is_some_and(|sent| sent.after(RATE_SPAN) <= now) {
            self.sent.pop_front();
        }
        match self.sent.front() {
            Some(first) if self.sent.len() >= RATE => Err(first.after(RATE_SPAN)),
            _ => {
                self.sent.push_back(now);
                Ok(())
            }
        }
    }
}
