//! What the values of a dataset are like, column by column: for drift, and for whoever looks for
//! features.
//!
//! Rows are taken in one pass and in their order, so that the same dataset has the same statistics
//! however it was cut and computed. Counts, least, greatest and mean are exact. Distinct values are
//! estimated by HyperLogLog. Quantiles and histograms are those of a sample of the rows ([`sample`]):
//! exact as long as all rows fit into it, and far cheaper than sketches that take in every value.

mod column;
mod sample;
mod shown;
mod stage;
#[cfg(test)]
mod tests;

use arrow::{array::RecordBatch, datatypes::Schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use self::{column::Column, sample::Sampler};
use crate::error::Result;

pub(super) use stage::watch;

/// What the values of a column are like. Values are in the form of JSON that answers have.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ColumnStatistics {
    /// The column.
    pub column: String,
    /// Its type; Arrow's name of it, where it is none of ours. Of such a column only the nulls are
    /// counted.
    #[serde(rename = "type")]
    pub data_type: String,
    /// In how many rows it is null.
    pub nulls: u64,
    /// In how many rows it is NaN, which is left out of what follows, apart from the distinct
    /// values.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub nans: u64,
    /// About how many distinct values there are: within 2 percent in most cases, and close to exact
    /// where there are few. Lists are not compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distinct: Option<u64>,
    /// The least value; of text and bytes, what it begins with. Lists are not compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<Value>,
    /// The greatest value; of text and bytes, what it begins with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<Value>,
    /// The mean of numbers, dates and times; of booleans, the part that is true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean: Option<Value>,
    /// How numbers, dates and times are spread.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spread: Option<Spread>,
}

/// How the values of a sample of the rows are spread.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// How many values the sample has, without nulls and NaN: all of them, in a dataset of up to
    /// 16,384 rows.
    pub sampled: u64,
    /// Quantiles: each is one of the values.
    pub quantiles: Vec<Quantile>,
    /// How many values are in each of some intervals that are equally wide. Infinite values are in
    /// none.
    pub histogram: Vec<Bin>,
}

/// A value, and which part of the values are at most that great.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Quantile {
    /// The part: 0.5 of the median.
    pub at: f64,
    /// The value.
    pub value: Value,
}

/// An interval of a histogram.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Bin {
    /// Where it begins, inclusive.
    pub from: Value,
    /// Where it ends: exclusive, but for the last one.
    pub to: Value,
    /// How many values are in it.
    pub count: u64,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// The statistics of a dataset in the making.
pub(super) struct Statistics {
    sampler: Sampler,
    columns: Vec<Column>,
}

impl Statistics {
    /// The statistics of a dataset of these columns, without rows so far.
    ///
    /// # Errors
    /// None in practice.
    pub(super) fn new(schema: &Schema) -> Result<Self> {
        let columns = schema.fields().iter().map(|field| Column::new(field));
        Ok(Self { sampler: Sampler::default(), columns: columns.collect::<Result<_>>()? })
    }

    /// Adds rows.
    pub(super) fn update(&mut self, batch: &RecordBatch) {
        let picked = self.sampler.pick(batch.num_rows());
        for (column, values) in self.columns.iter_mut().zip(batch.columns()) {
            column.update(values, &picked);
        }
        if self.sampler.thin() {
            self.columns.iter_mut().for_each(|column| column.thin(&self.sampler));
        }
    }

    /// What all rows added are like, in the order of the columns.
    ///
    /// # Errors
    /// None in practice.
    pub(super) fn finish(self) -> Result<Vec<ColumnStatistics>> {
        self.columns.into_iter().map(Column::finish).collect()
    }
}
