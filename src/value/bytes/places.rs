//! Values where they lie in rows.

use std::ops::Range;

use super::{RowSchema, bad_bytes, locate, texts};
use crate::{error::Result, value::DataType};

/// Values of rows where they lie: found and checked, and not decoded. What is only written into an
/// answer never becomes an array.
#[derive(Debug)]
pub struct RowPlaces {
    /// The type of each column, and how many rows have no value in it although they are there.
    pub(super) columns: Vec<(DataType, usize)>,
    /// Where each value is among the bytes that hold the rows, row by row.
    pub(super) places: Vec<Option<Range<usize>>>,
}

impl RowPlaces {
    /// Adds a row that is null in every column, and is not there.
    pub fn push_null(&mut self) {
        self.places.resize(self.places.len() + self.columns.len(), None);
    }

    /// Adds the row that lies at `start`; see [`RowDecoder::push`](super::RowDecoder::push).
    ///
    /// # Errors
    /// [`crate::error::Kind::Corrupt`] when the bytes are no row. The places are of no use then.
    pub fn push(&mut self, schema: &RowSchema, start: usize, row: &[u8]) -> Result<()> {
        let first = self.places.len();
        self.push_null();
        let (places, columns) = (&mut self.places[first..], &mut self.columns);
        locate(&schema.columns, row, |wanted, found| {
            match &found {
                Some(place) if !is_sound(wanted.data_type, &row[place.clone()]) => {
                    return Err(bad_bytes(wanted));
                }
                Some(_) => {}
                None => columns[wanted.place].1 += 1,
            }
            places[wanted.place] = found.map(|place| start + place.start..start + place.end);
            Ok(())
        })
    }

    /// Whether a row that is there has no value in this column.
    pub fn has_nulls(&self, column: usize) -> bool {
        self.columns[column].1 > 0
    }

    /// The values of a column, row by row, as their places in the bytes.
    pub fn column(&self, column: usize) -> impl ExactSizeIterator<Item = Option<Range<usize>>> {
        self.places.iter().skip(column).step_by(self.columns.len().max(1)).cloned()
    }

    /// The type of a column.
    pub fn data_type(&self, column: usize) -> DataType {
        self.columns[column].0
    }
}

/// Whether bytes are a value of a type: whether [`RowDecoder::push`](super::RowDecoder::push) takes them.
fn is_sound(data_type: DataType, bytes: &[u8]) -> bool {
    match data_type {
        DataType::Boolean => matches!(bytes, [0 | 1]),
        DataType::Int32 | DataType::Float32 | DataType::Date => bytes.len() == 4,
        DataType::Int64 | DataType::Float64 | DataType::Timestamp => bytes.len() == 8,
        DataType::Utf8 => std::str::from_utf8(bytes).is_ok(),
        DataType::Binary => true,
        DataType::ListFloat32 => bytes.len().is_multiple_of(4),
        DataType::ListInt64 | DataType::ListFloat64 => bytes.len().is_multiple_of(8),
        DataType::ListUtf8 => texts(bytes, |_| ()).is_some(),
    }
}
