//! What a webhook is told of a view, and when.

use crate::time::{Span, Timestamp};

/// That a view is not fresh, from when that began until it is over. However often it is told, and
/// whatever becomes of the view's definition meanwhile, this names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incident {
    /// When it began.
    pub since: Timestamp,
    /// Who answered for the view then.
    pub owner: String,
    /// The team of the view then.
    pub team: String,
}

/// How an incident ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The view is fresh again.
    Fresh,
    /// The view is gone, or does not say any more how fresh it should be.
    NotWatched,
}

/// Something to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// The view is not fresh; said again at intervals to those who expect that.
    Firing(Incident),
    /// The incident is over.
    Resolved {
        /// What is over.
        incident: Incident,
        /// Since when.
        until: Timestamp,
        /// Why.
        end: End,
    },
}

/// What one webhook was told of one view. An incident of which it heard nothing, since it could not
/// be reached, is not told to be over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told(Option<Open>);

/// An incident that it was told of, and not yet of its end.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Open {
    incident: Incident,
    /// When it was over, and why.
    over: Option<(Timestamp, End)>,
    /// When it was told last.
    at: Timestamp,
}

impl Told {
    /// What to tell now, given the incident that goes on, or how the last one ended. Without
    /// `repeat`, a firing alert is told once.
    pub fn next(
        &mut self,
        incident: Result<&Incident, End>,
        repeat: Option<Span>,
        now: Timestamp,
    ) -> Option<Notice> {
        let Some(open) = &mut self.0 else {
            return incident.ok().cloned().map(Notice::Firing);
        };
        if incident == Ok(&open.incident) {
            let due = repeat.is_some_and(|repeat| now.0.saturating_sub(open.at.0) >= repeat.0);
            return due.then(|| Notice::Firing(open.incident.clone()));
        }
        // A view with an incident of its own was fresh before that began.
        let end = incident.err().unwrap_or(End::Fresh);
        let (until, end) = *open.over.get_or_insert((now, end));
        Some(Notice::Resolved { incident: open.incident.clone(), until, end })
    }

    /// Takes down that it was told.
    pub fn delivered(&mut self, notice: Notice, now: Timestamp) {
        self.0 = match notice {
            Notice::Firing(incident) => Some(Open { incident, over: None, at: now }),
            Notice::Resolved { .. } => None,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Round by round: the incident that goes on and whether the webhook can be reached; and what
    /// it is told.
    fn check(repeat: Option<i64>, rounds: &[(Result<i64, End>, bool, Option<Notice>)]) {
        let mut told = Told::default();
        for (now, (began, reachable, expected)) in (0..).map(Timestamp).zip(rounds) {
            let incident = began.map(incident);
            let notice = told.next(incident.as_ref().map_err(|end| *end), repeat.map(Span), now);
            assert_eq!(notice, *expected, "round {now:?} of {rounds:?}");
            if let Some(notice) = notice.filter(|_| *reachable) {
                told.delivered(notice, now);
            }
        }
    }

    const FRESH: Result<i64, End> = Err(End::Fresh);

    fn incident(since: i64) -> Incident {
        Incident {
            since: Timestamp(since),
            owner: format!("owner at {since}"),
            team: String::new(),
        }
    }

    fn firing(since: i64) -> Option<Notice> {
        Some(Notice::Firing(incident(since)))
    }

    fn resolved(since: i64, until: i64, end: End) -> Option<Notice> {
        Some(Notice::Resolved { incident: incident(since), until: Timestamp(until), end })
    }

    #[test]
    fn an_incident_is_told_once_and_so_is_its_end() {
        check(
            None,
            &[
                (FRESH, true, None),
                (Ok(1), true, firing(1)),
                (Ok(1), true, None),
                (Ok(1), true, None),
                (FRESH, true, resolved(1, 4, End::Fresh)),
                (FRESH, true, None),
                (Ok(6), true, firing(6)),
            ],
        );
    }

    #[test]
    fn a_firing_alert_is_repeated_at_its_interval_with_one_beginning() {
        check(
            Some(2),
            &[
                (Ok(0), true, firing(0)),
                (Ok(0), true, None),
                (Ok(0), true, firing(0)),
                (Ok(0), true, None),
                (FRESH, true, resolved(0, 4, End::Fresh)),
                (FRESH, true, None),
            ],
        );
    }

    #[test]
    fn what_was_not_delivered_is_told_later_if_it_still_matters() {
        check(
            None,
            &[
                (Ok(0), false, firing(0)),
                (Ok(0), true, firing(0)),
                (FRESH, false, resolved(0, 2, End::Fresh)),
                (FRESH, false, resolved(0, 2, End::Fresh)),
                // Another incident waits until the end of the first is told.
                (Ok(4), true, resolved(0, 2, End::Fresh)),
                (Ok(4), true, firing(4)),
            ],
        );
        check(None, &[(Ok(0), false, firing(0)), (FRESH, true, None)]);
        // Why it ended is what it was then.
        check(
            None,
            &[
                (Ok(0), true, firing(0)),
                (Err(End::NotWatched), false, resolved(0, 1, End::NotWatched)),
                (Ok(2), false, resolved(0, 1, End::NotWatched)),
                (FRESH, true, resolved(0, 1, End::NotWatched)),
                (FRESH, true, None),
            ],
        );
    }
}
