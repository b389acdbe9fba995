//! Columns for tests that go through a whole batch.

use crate::abi::{Batch, Column};
use crate::input::Input;
use crate::output::OutputField;
use crate::room::Room;
use crate::slot::Slot;
use crate::writer::ColumnWriter;
use alloc::vec::Vec;

/// A column of these rows: values, or options of values.
pub fn column<T: OutputField>(rows: impl IntoIterator<Item = T>) -> Column {
    let rows: Vec<T> = rows.into_iter().collect();
    let mut writer = ColumnWriter::<T::Value>::new(Room { rows: rows.len(), bytes: 0 });
    rows.into_iter().enumerate().for_each(|(row, value)| writer.put(row, value));
    writer.finish().expect("a test's column is small")
}

/// A batch of columns that have `rows` rows each.
pub fn batch(rows: u32, columns: impl IntoIterator<Item = Column>) -> Batch {
    Batch { rows, columns: columns.into_iter().collect() }
}

/// The values of a column of `rows` rows.
///
/// # Panics
/// Where the column is not of `T` or not of `rows` rows, or where it has nulls and `T` is not an
/// `Option`.
pub fn rows<'a, T: Input<'a>>(column: &'a Column, rows: u32) -> Vec<T> {
    let slot =
        Slot { function: "rows", kind: "column", name: "given", column, rows: rows as usize };
    let reader = match T::open(&slot) {
        Ok(reader) => reader,
        Err(failure) => panic!("{}", failure.message),
    };
    assert!(T::NULLABLE || column.validity.is_empty(), "the column has nulls: read options");
    (0..slot.rows).map(|row| T::read(&reader, row)).collect()
}
