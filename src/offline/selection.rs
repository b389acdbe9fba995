//! Which of the rows of an entity dataframe are taken: a sample, the first ones, or all.

use arrow::{
    array::{BooleanArray, RecordBatch},
    compute::filter_record_batch,
};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// A sample of the rows, by their places alone: whoever asks for it again gets the same rows.
///
/// The row at place `p`, counted from 0, is taken where the number at place `p` of the generator
/// SplitMix64 that starts from `seed` is below `fraction` times 2^64.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Which part of the rows: above 0, at most 1.
    pub fraction: f64,
    /// Another seed takes other rows.
    pub seed: u64,
}

/// Which rows are taken: of those in the sample, the first ones.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Selection {
    /// The sample; without it, all rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample: Option<Sample>,
    /// The most rows that are taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
}

/// The number at a place, counted from 0, of the generator SplitMix64 that starts from `seed`.
pub(super) fn draw(seed: u64, place: u64) -> u64 {
    let mut number = seed.wrapping_add(place.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

impl Sample {
    fn takes(self, place: u64) -> bool {
        (draw(self.seed, place) as f64) < self.fraction * 2_f64.powi(64)
    }
}

impl Selection {
    /// Whether every row is taken.
    pub(super) fn is_all(&self) -> bool {
        *self == Self::default()
    }

    /// How many of so many rows are taken.
    pub(super) fn count(&self, rows: u64) -> u64 {
        let taken = match self.sample {
            Some(sample) => (0..rows).filter(|place| sample.takes(*place)).count() as u64,
            None => rows,
        };
        self.limit.map_or(taken, |limit| taken.min(limit))
    }

    /// The rows of a batch that are taken; its first row is at place `first`, and `taken` were taken
    /// before.
    ///
    /// # Errors
    /// [`crate::error::Kind::Internal`] when the batch cannot be filtered.
    pub(super) fn take(&self, batch: &RecordBatch, first: u64, taken: u64) -> Result<RecordBatch> {
        let sampled = match self.sample {
            Some(sample) => {
                let places = first..first + batch.num_rows() as u64;
                let taken: BooleanArray = places.map(|place| Some(sample.takes(place))).collect();
                filter_record_batch(batch, &taken)
                    .map_err(|error| Error::internal(format!("cannot sample rows: {error}")))?
            }
            None => batch.clone(),
        };
        let left = self.limit.map_or(u64::MAX, |limit| limit.saturating_sub(taken));
        let rows = usize::try_from(left).unwrap_or(usize::MAX).min(sampled.num_rows());
        Ok(sampled.slice(0, rows))
    }

    /// Whether no more rows are taken after so many.
    pub(super) fn is_complete(&self, taken: u64) -> bool {
        self.limit.is_some_and(|limit| taken >= limit)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::{
        array::{ArrayRef, AsArray, Int64Array},
        datatypes::Int64Type,
    };

    use super::*;

    #[test]
    fn the_generator_is_splitmix64() {
        // The first numbers of the reference implementation, seeded with 1234567.
        let expected = [6_457_827_717_110_365_317, 3_203_168_211_198_807_973];
        assert_eq!([draw(1_234_567, 0), draw(1_234_567, 1)], expected);
    }

    fn taken(selection: Selection, rows: i64, cut: i64) -> Vec<i64> {
        let mut taken = Vec::new();
        let mut first = 0;
        while first < rows && !selection.is_complete(taken.len() as u64) {
            let end = rows.min(first + cut);
            let column: ArrayRef = Arc::new((first..end).collect::<Int64Array>());
            let batch = RecordBatch::try_from_iter([("x", column)]).unwrap();
            let some = selection.take(&batch, first as u64, taken.len() as u64).unwrap();
            taken.extend_from_slice(some.column(0).as_primitive::<Int64Type>().values());
            first = end;
        }
        taken
    }

    #[test]
    fn batches_do_not_matter_and_rows_are_counted() {
        let sample = |fraction, seed| Some(Sample { fraction, seed });
        for selection in [
            Selection::default(),
            Selection { sample: sample(0.1, 0), limit: None },
            Selection { sample: sample(0.5, 7), limit: Some(1_000) },
            Selection { sample: sample(1.0, 7), limit: None },
            Selection { sample: None, limit: Some(17) },
            Selection { sample: None, limit: Some(0) },
        ] {
            let whole = taken(selection, 10_000, 10_000);
            assert_eq!(taken(selection, 10_000, 777), whole);
            assert_eq!(selection.count(10_000), whole.len() as u64, "{selection:?}");
        }
        let some = taken(Selection { sample: sample(0.1, 0), limit: None }, 10_000, 100);
        assert!((900..1_100).contains(&some.len()), "{}", some.len());
        let others = taken(Selection { sample: sample(0.1, 1), limit: None }, 10_000, 100);
        assert_ne!(some, others);
    }
}
