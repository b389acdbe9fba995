//! What the feature server answers.

use std::{collections::BTreeSet, sync::Arc};

use arrow::array::ArrayRef;

use crate::{digest::Digest, name::FeatureRef, time::Timestamp};

/// How a value of the answer came to be; the words are Feast's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It was there, or was computed.
    Present,
    /// The newest row is there, and its feature is null; or a function gave null.
    NullValue,
    /// There is no row for the entity at the request's time.
    NotFound,
    /// The newest row is older than the view's ttl.
    OutsideMaxAge,
    /// The function refused the row: its message is among the errors.
    Invalid,
}

impl Status {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Present, Self::NullValue, Self::NotFound, Self::OutsideMaxAge, Self::Invalid];

    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Present => "PRESENT",
            Self::NullValue => "NULL_VALUE",
            Self::NotFound => "NOT_FOUND",
            Self::OutsideMaxAge => "OUTSIDE_MAX_AGE",
            Self::Invalid => "INVALID",
        }
    }
}

/// The answer to a request.
#[derive(Debug)]
pub struct Answer {
    /// Join keys first, then the features in the order asked for.
    pub columns: Vec<AnswerColumn>,
    /// Rows for which an on-demand view's function had no value: view, row, message.
    pub errors: Vec<(String, u32, String)>,
}

/// One column of an answer: a value, a status and a time for every entity row.
#[derive(Debug)]
pub struct AnswerColumn {
    /// Its name in the answer.
    pub name: String,
    /// The feature, with its fingerprint; `None` for a join key.
    pub feature: Option<(FeatureRef, Digest)>,
    /// The values, defaults filled in.
    pub values: ArrayRef,
    /// How each came to be, whatever default stands there.
    pub statuses: Vec<Status>,
    /// The event time of the row each comes from; the epoch where there is none; the request's
    /// time for on-demand features.
    pub event_timestamps: Arc<Vec<Timestamp>>,
    /// Whether a default stands in some row: in those whose status is not
    /// [`Status::Present`].
    pub defaulted: bool,
    /// The rows whose stored value was computed by another definition than the one in force: the
    /// view has to be materialized again before the fingerprint holds for them.
    pub computed_by_other_definition: Arc<BTreeSet<u32>>,
}

impl AnswerColumn {
    /// How many values have each status; statuses that none has are left out.
    pub fn statuses(&self) -> impl Iterator<Item = (Status, u64)> {
        Status::ALL.into_iter().filter_map(|status| {
            let values = self.statuses.iter().filter(|other| **other == status).count() as u64;
            (values > 0).then_some((status, values))
        })
    }
}
