//! What is known of some rows so far, column by column.

use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef};

use crate::error::{Error, Result};

/// Columns by name, each of as many rows: stored features (`view:feature`), request columns and the
/// event time, as [`crate::definition::retrieval`] says; and behind them what is computed from these.
#[derive(Debug, Clone)]
pub struct Working {
    rows: usize,
    columns: Vec<(Arc<str>, ArrayRef)>,
}

impl Working {
    /// Nothing yet of so many rows.
    pub fn new(rows: usize) -> Self {
        Self { rows, columns: Vec::new() }
    }

    /// How many rows each column has.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Adds a column.
    ///
    /// # Errors
    /// [`Kind::Internal`](crate::error::Kind::Internal) where it has another number of rows.
    pub fn put(&mut self, name: Arc<str>, column: ArrayRef) -> Result<()> {
        if column.len() != self.rows {
            let (rows, there) = (column.len(), self.rows);
            return Err(Error::internal(format!(
                "working column \"{name}\" has {rows} rows instead of {there}"
            )));
        }
        self.columns.push((name, column));
        Ok(())
    }

    /// The column of this name.
    ///
    /// # Errors
    /// [`Kind::Internal`](crate::error::Kind::Internal) where there is none.
    pub fn column(&self, name: &str) -> Result<&ArrayRef> {
        self.place(name).map(|place| &self.columns[place].1)
    }

    /// As [`column`](Self::column), to be replaced by another of as many rows.
    pub(super) fn column_mut(&mut self, name: &str) -> Result<&mut ArrayRef> {
        self.place(name).map(|place| &mut self.columns[place].1)
    }

    fn place(&self, name: &str) -> Result<usize> {
        let place = self.columns.iter().position(|(known, _)| **known == *name);
        place.ok_or_else(|| Error::internal(format!("there is no working column \"{name}\"")))
    }
}
