//! Keys as bytes.

use arrow::{
    array::{Array, ArrayRef},
    buffer::NullBuffer,
    row::{RowConverter, Rows, SortField},
};
use datafusion::common::Result;

use crate::{offline::operator::ASCENDING, value::DataType};

/// Turns the keys of batches into bytes that compare as the keys sort.
#[derive(Debug)]
pub(in crate::offline) struct KeyConverter(RowConverter);

/// The keys of a batch.
pub(in crate::offline) struct Keys {
    rows: Rows,
    nulls: Option<NullBuffer>,
}

impl KeyConverter {
    pub(in crate::offline) fn new(types: impl IntoIterator<Item = DataType>) -> Result<Self> {
        let field = |key: DataType| SortField::new_with_options(key.to_arrow(), ASCENDING);
        Ok(Self(RowConverter::new(types.into_iter().map(field).collect())?))
    }

    pub(in crate::offline) fn convert(&self, columns: &[ArrayRef]) -> Result<Keys> {
        let nulls = columns.iter().fold(None, |nulls: Option<NullBuffer>, column| {
            NullBuffer::union(nulls.as_ref(), column.nulls())
        });
        Ok(Keys { rows: self.0.convert_columns(columns)?, nulls })
    }
}

impl Keys {
    /// The key of a row; it compares as the key sorts.
    pub(in crate::offline) fn get(&self, row: usize) -> &[u8] {
        self.rows.row(row).data()
    }

    /// Whether a part of the key is null: such a key matches no other.
    pub(in crate::offline) fn is_null(&self, row: usize) -> bool {
        self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row))
    }

    pub(in crate::offline) fn size(&self) -> usize {
        self.rows.size()
    }
}
