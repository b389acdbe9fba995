//! What the feature server answers.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use arrow::array::ArrayRef;

use crate::{name::FeatureRef, online::FoundFeatures, time::Timestamp, value::write_column};

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
    /// The views whose store failed, with what it said: what is of them, or computed from them, is
    /// null and [`Status::Invalid`].
    pub unavailable: BTreeMap<String, String>,
}

impl Answer {
    /// The views that the features are of, each once, in the order of their first feature.
    pub fn views(&self) -> impl Iterator<Item = &str> {
        let features = self.columns.iter().filter_map(|column| column.feature.as_ref());
        let mut seen = BTreeSet::new();
        features
            .map(|feature| feature.reference.view.as_str())
            .filter(move |view| seen.insert(*view))
    }
}

/// The feature that a column of an answer is.
#[derive(Debug, PartialEq, Eq)]
pub struct AnswerFeature {
    /// Which.
    pub reference: FeatureRef,
    /// Its fingerprint, as text.
    pub fingerprint: String,
}

/// The values of a column, as they came: nothing is made of stored ones before they are written.
#[derive(Debug, Clone)]
pub enum Values {
    /// Join keys, and what a function computed.
    Array(ArrayRef),
    /// A feature of a stored view, by the place of its column.
    Stored {
        /// All that was found of the view.
        features: Arc<FoundFeatures>,
        /// Which of them.
        column: usize,
        /// What stands for null, as JSON.
        missing: Arc<[u8]>,
    },
}

impl Values {
    /// Appends them as a JSON list.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Array(array) => write_column(array, out),
            Self::Stored { features, column, missing } => features.write(*column, missing, out),
        }
    }
}

/// One column of an answer: a value, a status and a time for every entity row.
#[derive(Debug)]
pub struct AnswerColumn {
    /// Its name in the answer.
    pub name: Arc<str>,
    /// The feature; `None` for a join key.
    pub feature: Option<Arc<AnswerFeature>>,
    /// The values, defaults filled in.
    pub values: Values,
    /// How each came to be, whatever default stands there.
    pub statuses: Arc<Vec<Status>>,
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
