//! What happens when, by itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv6Addr,
};

use mif_common::abi::PvdIndex;

use super::routes::RouteId;
use crate::time::{Deadline, Time};

/// Whose deadline it is.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Timer {
    /// The next fact of a PvD to end.
    Pvd(PvdIndex),
    /// The next lifetime of an address of an interface to end.
    Address(u32, Ipv6Addr),
    /// The end of a kernel route of an interface.
    Route(u32, RouteId),
    /// The end of something that DHCPv6 gave an interface.
    Dhcpv6(u32),
}

/// One deadline a timer, the earliest first. Every operation costs the logarithm of their number.
#[derive(Clone, Debug, Default)]
pub(super) struct Timers {
    queue: BTreeSet<(Time, Timer)>,
    armed: BTreeMap<Timer, Time>,
}

impl Timers {
    /// Sets a timer, in place of what it was set to; [`Deadline::NEVER`] and `None` stop it.
    pub fn arm(&mut self, timer: Timer, deadline: Option<Deadline>) {
        self.stop(&timer);
        if let Some(time) = deadline.and_then(Deadline::time) {
            self.queue.insert((time, timer.clone()));
            self.armed.insert(timer, time);
        }
    }

    /// Stops a timer.
    pub fn stop(&mut self, timer: &Timer) {
        if let Some(time) = self.armed.remove(timer) {
            self.queue.remove(&(time, timer.clone()));
        }
    }

    /// Takes out one timer whose time has come.
    pub fn pop(&mut self, now: Time) -> Option<Timer> {
        if self.queue.first()?.0 > now {
            return None;
        }
        let (_, timer) = self.queue.pop_first()?;
        self.armed.remove(&timer);
        Some(timer)
    }

    /// The earliest.
    pub fn next(&self) -> Option<Time> {
        self.queue.first().map(|(time, _)| *time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pvd::testing::{at, until};

    #[test]
    fn earliest_first_and_one_deadline_each() {
        let mut timers = Timers::default();
        timers.arm(Timer::Pvd(1), Some(until(30)));
        timers.arm(Timer::Pvd(2), Some(until(20)));
        timers.arm(Timer::Pvd(3), Some(Deadline::NEVER));
        assert_eq!(timers.next(), Some(at(20)));
        timers.arm(Timer::Pvd(2), Some(until(40)));
        assert_eq!(timers.pop(at(29)), None);
        assert_eq!(timers.pop(at(40)), Some(Timer::Pvd(1)));
        assert_eq!(timers.pop(at(40)), Some(Timer::Pvd(2)));
        assert_eq!(timers.pop(at(40)), None);
        timers.arm(Timer::Pvd(1), Some(until(50)));
        timers.stop(&Timer::Pvd(1));
        assert_eq!(timers.next(), None);
    }
}
