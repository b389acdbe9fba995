//! What is measured of answers: by view, by status, by stage.

use std::time::{Duration, Instant};

use super::Status;
use crate::metrics::{Histogram, IntCounter, STAGE_SECONDS, Stripes, VALUES, VIEW_SECONDS};

/// The meters of a view. They are looked up once, when a plan is made.
pub(super) struct ViewMeters {
    values: [Stripes<IntCounter>; Status::ALL.len()],
    seconds: Stripes<Histogram>,
}

impl std::fmt::Debug for ViewMeters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ViewMeters")
    }
}

impl ViewMeters {
    pub(super) fn new(view: &str) -> Self {
        let values = |status: Status| VALUES.with_label_values(&[view, status.as_str()]);
        Self { values: Status::ALL.map(values), seconds: VIEW_SECONDS.with_label_values(&[view]) }
    }

    /// Counts the values of an answer by status: missing and stale features show here first.
    pub(super) fn count(&self, counts: &StatusCounts) {
        for (counter, count) in self.values.iter().zip(counts.0) {
            if count > 0 {
                counter.inc_by(count);
            }
        }
    }

    /// Records how long an answer took that the view is part of.
    pub(super) fn took(&self, time: Duration) {
        self.seconds.observe(time.as_secs_f64());
    }
}

/// How many values of an answer have each status. They are counted here first: a counter that all
/// threads write to is dear.
#[derive(Debug, Clone, Default)]
pub(super) struct StatusCounts([u64; Status::ALL.len()]);

impl StatusCounts {
    /// Counts the values of a column.
    pub(super) fn add(&mut self, statuses: &[Status]) {
        for status in statuses {
            self.0[*status as usize] += 1;
        }
    }
}

/// The meters of the stages of an answer, looked up once.
#[derive(Debug, Clone)]
pub struct StageMeters {
    /// Parsing the body of the request.
    pub parse: Stage,
    /// Waiting for a turn.
    pub queue: Stage,
    /// Reading the stores.
    pub store: Stage,
    /// Computing, and putting the columns together.
    pub compute: Stage,
    /// Writing the body of the answer.
    pub write: Stage,
}

impl StageMeters {
    /// Those of this process.
    pub fn look_up() -> Self {
        let stage = |name| Stage(STAGE_SECONDS.with_label_values(&[name]));
        Self {
            parse: stage("parse"),
            queue: stage("queue"),
            store: stage("store"),
            compute: stage("compute"),
            write: stage("write"),
        }
    }
}

/// The meter of a stage.
#[derive(Clone)]
pub struct Stage(Stripes<Histogram>);

impl std::fmt::Debug for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Stage")
    }
}

impl Stage {
    /// Records how long it took, and gives the moment at which it was over.
    pub fn took(&self, since: Instant) -> Instant {
        let end = Instant::now();
        self.0.observe((end - since).as_secs_f64());
        end
    }
}
