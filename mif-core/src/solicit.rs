//! When to send Router Solicitations: RFC 4861 §6.3.7 with the back-off of RFC 7559 ([`crate::retransmission`]).
//!
//! One [`Solicitor`] per interface. It keeps one deadline and says when to send; the caller sends, hears the answers
//! and keeps the clock. The kernel solicits too, but only when an interface comes up: a daemon that starts later would
//! wait for the next unsolicited advertisement, up to half an hour (RFC 4861 §6.2.1, `MaxRtrAdvInterval`).

use core::time::Duration;

use crate::{
    retransmission::{Due, Parameters, Random, Retransmission, fraction},
    time::Time,
};

/// `MAX_RTR_SOLICITATION_DELAY` (RFC 4861 §10): the first solicitation waits a random part of this, so that hosts that
/// start together do not all solicit in the same instant.
pub const MAX_RTR_SOLICITATION_DELAY: Duration = Duration::from_secs(1);

/// IRT (RFC 7559 §2), the same as `RTR_SOLICITATION_INTERVAL` (RFC 4861 §10): the least time between two solicitations.
pub const INITIAL_RETRANSMISSION_TIME: Duration = Duration::from_secs(4);

/// MRT (RFC 7559 §2): the interval stops growing here.
pub const MAXIMUM_RETRANSMISSION_TIME: Duration = Duration::from_secs(3600);

/// RFC 7559 §2; MRC and MRD are 0.
const PARAMETERS: Parameters = Parameters {
    initial: INITIAL_RETRANSMISSION_TIME,
    maximum: Some(MAXIMUM_RETRANSMISSION_TIME),
    count: None,
    duration: None,
    first_not_shorter: true,
};

/// The solicitations of one interface.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Solicitor {
    /// RFC 7559 §2.1: only on a multicast link does an advertisement end the soliciting.
    multicast: bool,
    state: State,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum State {
    /// The link is down or nothing was started.
    Idle,
    /// Under way. The first solicitation of this event is sent even if `answered` (RFC 4861 §6.3.7: a host SHOULD send at
    /// least one): routers may put more into a solicited advertisement.
    Sending { sending: Retransmission, answered: bool },
    /// A default router is known.
    Satisfied,
}

impl Solicitor {
    /// A solicitor at rest.
    #[must_use]
    pub const fn new(multicast: bool) -> Self {
        Self { multicast, state: State::Idle }
    }

    /// Begins to solicit: at start, when the link came up, or when the host stopped being a router on it
    /// (RFC 4861 §6.3.7). What was under way begins anew.
    pub fn start(&mut self, now: Time, random: Random) {
        let at = now.after(fraction(MAX_RTR_SOLICITATION_DELAY, random));
        self.state = State::Sending { sending: Retransmission::new(PARAMETERS, at), answered: false };
    }

    /// The link came up: another link perhaps, so all is asked again.
    pub fn on_link_up(&mut self, now: Time, random: Random) {
        self.start(now, random);
    }

    /// The link went down: nothing can be sent.
    pub fn on_link_down(&mut self) {
        self.state = State::Idle;
    }

    /// A valid advertisement arrived. `default_route` says whether it gave the host a default route: a Router Lifetime
    /// that is not zero (in a PvD that has a header of its own that one, RFC 8801 §3.4), or a Route Information option
    /// for `::/0` with a lifetime that is not zero (RFC 4191 §3.1). Without one the soliciting goes on (RFC 7559 §2.1).
    pub fn on_router_advertisement(&mut self, default_route: bool) {
        if !default_route || !self.multicast {
            return;
        }
        if let State::Sending { sending, answered } = &mut self.state {
            if sending.sent() == 0 {
                *answered = true;
            } else {
                self.state = State::Satisfied;
            }
        }
    }

    /// The link lost its last default router: by Router Lifetime 0, or because the lifetime ran out. Soliciting begins
    /// again unless it is under way (RFC 7559 §2.1 demands it after a lifetime of 0; after expiry it is our choice).
    pub fn on_no_default_router(&mut self, now: Time, random: Random) {
        match &mut self.state {
            State::Sending { answered, .. } => *answered = false,
            State::Satisfied => self.start(now, random),
            State::Idle => {}
        }
    }

    /// When [`Self::poll`] is due; `None`: not before something happens.
    #[must_use]
    pub const fn next_deadline(&self) -> Option<Time> {
        match &self.state {
            State::Sending { sending, .. } => Some(sending.next_deadline()),
            State::Idle | State::Satisfied => None,
        }
    }

    /// Whether to send one Router Solicitation now. A call before the deadline answers false and changes nothing; one
    /// that comes late (the host slept) answers true once, not once per interval missed.
    #[must_use = "the answer is to be sent"]
    pub fn poll(&mut self, now: Time, random: Random) -> bool {
        let State::Sending { sending, answered } = &mut self.state else { return false };
        let due = sending.poll(now, random) == Some(Due::Send);
        if due && *answered {
            self.state = State::Satisfied;
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LOW: Random = 0;
    const HIGH: Random = Random::MAX;
    const START: Time = Time(1_000_000_000_000);

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    /// Runs the virtual clock to the next deadline and takes what is due then.
    fn step(solicitor: &mut Solicitor, random: Random) -> Option<Time> {
        let at = solicitor.next_deadline()?;
        assert!(solicitor.poll(at, random), "due at its own deadline");
        Some(at)
    }

    /// The times at which solicitations leave within `span`, nothing being heard.
    fn silence(random: Random, span: Duration) -> Vec<Time> {
        let mut solicitor = Solicitor::new(true);
        solicitor.start(START, random);
        let end = START.after(span);
        std::iter::from_fn(|| step(&mut solicitor, random)).take_while(|at| *at <= end).collect()
    }

    /// RS-4861-6.3.7-a
    #[test]
    fn the_first_one_waits_up_to_a_second() {
        for (random, earliest, latest) in [
            (LOW, Duration::ZERO, Duration::ZERO),
            (HIGH / 2, Duration::from_millis(499), Duration::from_millis(501)),
            (HIGH, Duration::from_millis(999), seconds(1)),
        ] {
            let mut solicitor = Solicitor::new(true);
            solicitor.on_link_up(START, random);
            let waited = START.until(solicitor.next_deadline().expect("started"));
            assert!((earliest..=latest).contains(&waited), "{random}: {waited:?}");
        }
    }

    /// RS-7559-2-a: the intervals of silence, at both ends of the random range and in its middle.
    #[test]
    fn silence_backs_off() {
        for (random, expected) in [
            // 4, then times 1.9 until twice as long would pass 3600 s; then 3600 s - 10 %.
            (
                LOW,
                &[
                    4.0, 7.6, 14.44, 27.436, 52.128, 99.044, 188.183, 357.549, 679.342, 1290.751, 2452.426,
                    3240.0,
                ][..],
            ),
            (
                HIGH / 2 + 1,
                &[4.2, 8.4, 16.8, 33.6, 67.2, 134.4, 268.8, 537.6, 1075.2, 2150.4, 3600.0, 3600.0],
            ),
            (
                HIGH,
                &[
                    4.4, 9.24, 19.404, 40.748, 85.571, 179.7, 377.37, 792.477, 1664.202, 3494.823, 3960.0,
                    3960.0,
                ],
            ),
        ] {
            let sent = silence(random, seconds(86_400));
            for (pair, expected) in sent.windows(2).zip(expected) {
                let got = pair[0].until(pair[1]).as_secs_f64();
                assert!((got - expected).abs() < 0.01, "{random}: {got} instead of {expected}");
            }
            assert!((30..=40).contains(&sent.len()), "a day of silence: {} sent", sent.len());
        }
    }

    /// What is heard, and whether soliciting goes on. RS-4861-6.3.7-c, RS-4861-6.3.7-d, RS-7559-2.1-a, RS-7559-2.1-b.
    #[test]
    fn advertisements() {
        #[derive(Clone, Copy, Debug)]
        enum Step {
            /// The next solicitation is sent.
            Send,
            /// An advertisement with, or without, a default route.
            Heard(bool),
            /// The last default router is gone.
            Lost,
            /// The link changes.
            Up,
            Down,
        }
        use Step::{Down, Heard, Lost, Send, Up};
        for (row, multicast, steps, goes_on) in [
            ("silence", true, &[Send, Send][..], true),
            ("answer to the first", true, &[Send, Heard(true)], false),
            ("answer to the third", true, &[Send, Send, Send, Heard(true)], false),
            ("heard before the first: one is still sent", true, &[Heard(true)], true),
            ("heard before the first: one is enough", true, &[Heard(true), Send], false),
            ("heard and withdrawn before the first", true, &[Heard(true), Lost, Send], true),
            ("lifetime 0 only", true, &[Send, Heard(false), Send, Heard(false)], true),
            (
                "lifetime 0 from one router after 1800 from another",
                true,
                &[Send, Heard(true), Heard(false)],
                false,
            ),
            ("the last router withdrew", true, &[Send, Heard(true), Lost], true),
            ("lost while soliciting", true, &[Send, Lost, Send], true),
            ("lost while down", true, &[Down, Lost], false),
            ("the link came up again", true, &[Send, Heard(true), Up], true),
            ("the link went down", true, &[Send, Down], false),
            ("no multicast, default route", false, &[Send, Heard(true), Send, Heard(true)], true),
            ("no multicast, heard before the first", false, &[Heard(true), Send], true),
        ] {
            let mut solicitor = Solicitor::new(multicast);
            solicitor.start(START, HIGH);
            let mut now = START;
            for step in steps {
                match step {
                    Send => now = self::step(&mut solicitor, LOW).expect(row),
                    Heard(default_route) => solicitor.on_router_advertisement(*default_route),
                    Lost => solicitor.on_no_default_router(now, LOW),
                    Up => solicitor.on_link_up(now, LOW),
                    Down => solicitor.on_link_down(),
                }
            }
            assert_eq!(solicitor.next_deadline().is_some(), goes_on, "{row}");
        }
    }

    #[test]
    fn nothing_is_sent_early_and_a_sleep_is_not_made_up_for() {
        let mut solicitor = Solicitor::new(true);
        assert!(!solicitor.poll(START, LOW), "not started");
        solicitor.start(START, HIGH);
        assert!(!solicitor.poll(START, LOW), "early");
        let wake = START.after(seconds(10_000));
        assert!(solicitor.poll(wake, LOW));
        assert!(!solicitor.poll(wake, LOW), "one, not one per interval missed");
        assert!(
            solicitor.next_deadline() > Some(wake.after(INITIAL_RETRANSMISSION_TIME)),
            "RAND is above zero"
        );
    }

    proptest! {
        /// RS-4861-6.3.7-b and the bounds of RFC 7559 §2, whatever is drawn.
        #[test]
        fn intervals_stay_in_bounds(randoms in prop::collection::vec(any::<Random>(), 1..40)) {
            let mut solicitor = Solicitor::new(true);
            solicitor.start(START, randoms[0]);
            let mut last: Option<Time> = None;
            let mut previous: Option<Duration> = None;
            for random in randoms {
                let at = step(&mut solicitor, random).expect("silence");
                if let Some(last) = last {
                    let interval = last.until(at);
                    prop_assert!(interval >= INITIAL_RETRANSMISSION_TIME);
                    prop_assert!(interval <= MAXIMUM_RETRANSMISSION_TIME.mul_f64(1.1));
                    if let Some(previous) = previous {
                        let tick = Duration::from_nanos(2);
                        let most = previous.mul_f64(2.1);
                        // Past MRT the interval is drawn around MRT, whatever the previous one was.
                        prop_assert!(interval <= most + tick || most > MAXIMUM_RETRANSMISSION_TIME);
                        let least = previous.mul_f64(1.9).min(MAXIMUM_RETRANSMISSION_TIME.mul_f64(0.9));
                        prop_assert!(interval + tick >= least);
                    }
                    previous = Some(interval);
                }
                last = Some(at);
            }
        }
    }
}
