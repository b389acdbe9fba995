//! What the feature server answers.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::{Array as _, ArrayRef};

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

/// How many values, or bytes of a column, make an answer large.
const LARGE_CELLS: usize = 100_000;
const LARGE_BYTES: usize = 1 << 20;

/// The answer to a request, by a plan that it borrows what is the same every time from.
#[derive(Debug)]
pub struct Answer<'a> {
    /// Join keys first, then the features in the order asked for.
    pub columns: Vec<AnswerColumn<'a>>,
    /// What was found of each stored view.
    pub found: Vec<FoundFeatures>,
    /// How values came to be: the columns have places in it, many of them the same.
    pub provenances: Vec<Provenance>,
    /// What the features are.
    pub described: &'a Described,
    /// Rows for which an on-demand view's function had no value: view, row, message.
    pub errors: Vec<(String, u32, String)>,
    /// The views whose store failed, with what it said: what is of them, or computed from them, is
    /// null and [`Status::Invalid`].
    pub unavailable: BTreeMap<String, String>,
}

impl Answer<'_> {
    /// How many entity rows it is for.
    pub fn rows(&self) -> usize {
        self.provenances.first().map_or(0, |provenance| provenance.statuses.len())
    }

    /// Whether to write it takes so long that others should not wait for that.
    pub fn is_large(&self) -> bool {
        self.columns.len() * self.rows() > LARGE_CELLS
            || self.columns.iter().any(|column| self.size(column) > LARGE_BYTES)
    }

    /// About how many bytes the values of a column are; where they are few, at the most.
    pub fn size(&self, column: &AnswerColumn<'_>) -> usize {
        match &column.values {
            Values::Array(array) => array.get_array_memory_size(),
            Values::Stored(StoredColumn { view, column, .. }) => {
                let found = &self.found[*view];
                match found.bytes() {
                    few if few <= LARGE_BYTES => few,
                    _ => found.column_bytes(*column),
                }
            }
        }
    }

    /// How the values of a column came to be.
    pub fn provenance(&self, column: &AnswerColumn<'_>) -> &Provenance {
        &self.provenances[column.provenance]
    }

    /// Appends the values of a column as a JSON list.
    pub fn write_values(&self, column: &AnswerColumn<'_>, out: &mut Vec<u8>) {
        match &column.values {
            Values::Array(array) => write_column(array, out),
            Values::Stored(StoredColumn { view, column, missing }) => {
                self.found[*view].write(*column, missing, out);
            }
        }
    }

    /// The views that the features are of, each once, in the order of their first feature.
    pub fn views(&self) -> impl Iterator<Item = &str> {
        let features = self.columns.iter().filter_map(|column| column.feature);
        let mut seen = BTreeSet::new();
        features
            .map(|feature| feature.reference.view.as_str())
            .filter(move |view| seen.insert(*view))
    }
}

/// What the features of every answer by a plan are, written once: JSON texts with commas between.
#[derive(Debug, Default)]
pub struct Described {
    /// Their names in the answer.
    pub names: Vec<u8>,
    /// Their fingerprints.
    pub fingerprints: Vec<u8>,
}

impl Described {
    /// Describes features by their names in the answer.
    pub fn new<'a>(features: impl Iterator<Item = (&'a str, &'a AnswerFeature)>) -> Self {
        let mut described = Self::default();
        for (name, feature) in features {
            append(&mut described.names, name);
            append(&mut described.fingerprints, &feature.fingerprint);
        }
        described
    }
}

fn append(list: &mut Vec<u8>, text: &str) {
    if !list.is_empty() {
        list.push(b',');
    }
    // A text is JSON, and a vector takes all that is written to it.
    let _ = serde_json::to_writer(list, text);
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
pub enum Values<'a> {
    /// Join keys, and what a function computed.
    Array(ArrayRef),
    /// A feature of a stored view.
    Stored(&'a StoredColumn),
}

/// Where the values of a feature of a stored view are.
#[derive(Debug)]
pub struct StoredColumn {
    /// The view, by its place in [`Answer::found`].
    pub view: usize,
    /// Which of its features.
    pub column: usize,
    /// What stands for null, as JSON: the default, or null.
    pub missing: Vec<u8>,
}

/// How the values of a column came to be, row by row. The features of a view that have a value in
/// the same rows share it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provenance {
    /// How each came to be, whatever default stands there.
    pub statuses: Vec<Status>,
    /// The event time of the row each comes from; the epoch where there is none; the request's
    /// time for on-demand features.
    pub event_timestamps: Vec<Timestamp>,
    /// The rows whose stored value, or one that theirs is computed from, was computed by another
    /// definition than the one in force: the stored view has to be materialized again before the
    /// fingerprint holds for them.
    pub computed_by_other_definition: BTreeSet<u32>,
}

impl Provenance {
    /// So many rows, all of them there, of one time.
    pub fn present(rows: usize, event_time: Timestamp) -> Self {
        Self {
            statuses: vec![Status::Present; rows],
            event_timestamps: vec![event_time; rows],
            computed_by_other_definition: BTreeSet::new(),
        }
    }
}

/// One column of an answer: a value, a status and a time for every entity row.
#[derive(Debug)]
pub struct AnswerColumn<'a> {
    /// Its name in the answer.
    pub name: &'a str,
    /// The feature; `None` for a join key.
    pub feature: Option<&'a AnswerFeature>,
    /// The values, defaults filled in.
    pub values: Values<'a>,
    /// How they came to be, by the place in [`Answer::provenances`].
    pub provenance: usize,
    /// Whether a default stands in some row: in those whose status is not
    /// [`Status::Present`].
    pub defaulted: bool,
}
