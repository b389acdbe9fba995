//! What a webhook is told of a view, and when.

use crate::time::{Span, Timestamp};

/// Something to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// The view is not fresh; said again at intervals to those who expect that.
    Firing {
        /// When the incident began: however often it is told, this names it.
        since: Timestamp,
    },
    /// It is fresh again.
    Resolved {
        /// When the incident began.
        since: Timestamp,
        /// When it was over.
        until: Timestamp,
    },
}

/// What one webhook was told of one view. An incident of which it heard nothing, since it could not
/// be reached, is not told to be over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Told(Option<Open>);

/// An incident that it was told of, and not yet of its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Open {
    since: Timestamp,
    until: Option<Timestamp>,
    at: Timestamp,
}

impl Told {
    /// What to tell now, where the incident that goes on began at `incident`, if there is one.
    /// Without `repeat`, a firing alert is told once.
    pub fn next(
        &mut self,
        incident: Option<Timestamp>,
        repeat: Option<Span>,
        now: Timestamp,
    ) -> Option<Notice> {
        let Some(open) = &mut self.0 else {
            return incident.map(|since| Notice::Firing { since });
        };
        let since = open.since;
        if incident == Some(since) {
            let due = repeat.is_some_and(|repeat| now.0.saturating_sub(open.at.0) >= repeat.0);
            return due.then_some(Notice::Firing { since });
        }
        Some(Notice::Resolved { since, until: *open.until.get_or_insert(now) })
    }

    /// Takes down that it was told.
    pub fn delivered(&mut self, notice: Notice, now: Timestamp) {
        self.0 = match notice {
            Notice::Firing { since } => Some(Open { since, until: None, at: now }),
            Notice::Resolved { .. } => None,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Round by round: the incident that goes on and whether the webhook can be reached; and what
    /// it is told.
    fn check(repeat: Option<i64>, rounds: &[(Option<i64>, bool, Option<Notice>)]) {
        let mut told = Told::default();
        for (now, (incident, reachable, expected)) in (0..).map(Timestamp).zip(rounds) {
            let notice = told.next(incident.map(Timestamp), repeat.map(Span), now);
            assert_eq!(notice, *expected, "round {now:?} of {rounds:?}");
            if let Some(notice) = notice.filter(|_| *reachable) {
                told.delivered(notice, now);
            }
        }
    }

    fn firing(since: i64) -> Option<Notice> {
        Some(Notice::Firing { since: Timestamp(since) })
    }

    fn resolved(since: i64, until: i64) -> Option<Notice> {
        Some(Notice::Resolved { since: Timestamp(since), until: Timestamp(until) })
    }

    #[test]
    fn an_incident_is_told_once_and_so_is_its_end() {
        check(
            None,
            &[
                (None, true, None),
                (Some(1), true, firing(1)),
                (Some(1), true, None),
                (Some(1), true, None),
                (None, true, resolved(1, 4)),
                (None, true, None),
                (Some(6), true, firing(6)),
            ],
        );
    }

    #[test]
    fn a_firing_alert_is_repeated_at_its_interval_with_one_beginning() {
        check(
            Some(2),
            &[
                (Some(0), true, firing(0)),
                (Some(0), true, None),
                (Some(0), true, firing(0)),
                (Some(0), true, None),
                (None, true, resolved(0, 4)),
                (None, true, None),
            ],
        );
    }

    #[test]
    fn what_was_not_delivered_is_told_later_if_it_still_matters() {
        check(
            None,
            &[
                (Some(0), false, firing(0)),
                (Some(0), true, firing(0)),
                (None, false, resolved(0, 2)),
                (None, false, resolved(0, 2)),
                // Another incident waits until the end of the first is told.
                (Some(4), true, resolved(0, 2)),
                (Some(4), true, firing(4)),
            ],
        );
        check(None, &[(Some(0), false, firing(0)), (None, true, None)]);
    }
}
