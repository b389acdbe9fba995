//! A server that fails again and again is left alone for a while.

use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
    time::Duration,
};

/// Counts failures in a row. Moments are times since whatever beginning its owner chose.
#[derive(Debug)]
pub(super) struct Breaker {
    failures: AtomicU32,
    /// Until when nobody asks, in microseconds; 0 while everybody may.
    until: AtomicU64,
    limit: u32,
    pause: u64,
}

impl Breaker {
    /// Opens after `limit` failures in a row, for `pause`.
    pub(super) fn new(limit: u32, pause: Duration) -> Self {
        Self {
            failures: AtomicU32::new(0),
            until: AtomicU64::new(0),
            limit,
            pause: micros(pause).max(1),
        }
    }

    /// Whether to ask now. When a pause is over, one caller may; the others wait for what comes of
    /// it, or for another pause.
    pub(super) fn allows(&self, now: Duration) -> bool {
        let until = self.until.load(Ordering::Relaxed);
        if until == 0 {
            return true;
        }
        let now = micros(now);
        let next = now + self.pause;
        now >= until
            && self
                .until
                .compare_exchange(until, next, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }

    pub(super) fn succeeded(&self) {
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
            self.until.store(0, Ordering::Relaxed);
        }
    }

    pub(super) fn failed(&self, now: Duration) {
        let failures = self.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        if failures >= self.limit {
            self.until.store(micros(now) + self.pause, Ordering::Relaxed);
        }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_failures_in_a_row_one_asks_at_a_time() {
        let at = Duration::from_millis;
        let breaker = Breaker::new(3, at(100));
        breaker.failed(at(0));
        breaker.failed(at(1));
        breaker.succeeded();
        breaker.failed(at(2));
        breaker.failed(at(3));
        assert!(breaker.allows(at(4)), "two in a row are not three");
        breaker.failed(at(4));
        assert!(!breaker.allows(at(4)) && !breaker.allows(at(103)));
        assert!(breaker.allows(at(104)), "one tries");
        assert!(!breaker.allows(at(105)), "the others wait");
        breaker.failed(at(106));
        assert!(!breaker.allows(at(205)));
        assert!(breaker.allows(at(206)));
        breaker.succeeded();
        assert!(breaker.allows(at(207)) && breaker.allows(at(207)));
        breaker.failed(at(208));
        assert!(breaker.allows(at(209)), "the count began anew");
    }

    #[test]
    fn one_who_tried_and_was_never_heard_of_does_not_close_it_for_ever() {
        let at = Duration::from_millis;
        let breaker = Breaker::new(1, at(100));
        breaker.failed(at(0));
        assert!(breaker.allows(at(100)));
        assert!(!breaker.allows(at(199)));
        assert!(breaker.allows(at(200)));
    }
}
