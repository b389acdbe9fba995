//! What a function may return, and how it is written into columns.

use crate::abi::{Column, Field};
use crate::room::Room;
use crate::writer::{ColumnWriter, OutputValue};
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::fmt::Display;

/// The return type of a function: [`Outputs`], an `Option` of them (`None` is a null row), or a
/// `Result` of either (an error is a null row with a message).
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be returned by a transform",
    label = "not a type of the platform",
    note = "a function returns a value, an `Option` of one, or a `Result` of either whose error is `Display`; a value is one of `bool`, `i32`, `i64`, `f32`, `f64`, `&str`, `String`, `&[u8]`, `Vec<u8>`, `Date`, `Timestamp`, lists of `i64`, `f32`, `f64` or strings (`Vec` or borrowed, or `StringList`), or a struct with `#[derive(Outputs)]`"
)]
pub trait Returned {
    /// What is written where there is a value.
    type Outputs: Outputs;
    /// Whether a row may be null although no input was.
    const NULLABLE: bool;

    /// The outputs of a row, `None` for a null row, or the row's error.
    ///
    /// # Errors
    /// Where the function returned one.
    fn resolve(self) -> Result<Option<Self::Outputs>, String>;
}

#[diagnostic::do_not_recommend]
impl<T: Outputs> Returned for T {
    type Outputs = T;
    const NULLABLE: bool = false;

    #[inline]
    fn resolve(self) -> Result<Option<T>, String> {
        Ok(Some(self))
    }
}

impl<T: Outputs> Returned for Option<T> {
    type Outputs = T;
    const NULLABLE: bool = true;

    #[inline]
    fn resolve(self) -> Result<Option<T>, String> {
        Ok(self)
    }
}

impl<R: Returned, E: Display> Returned for Result<R, E> {
    type Outputs = R::Outputs;
    const NULLABLE: bool = true;

    #[inline]
    fn resolve(self) -> Result<Option<R::Outputs>, String> {
        self.map_err(|error| error.to_string())?.resolve()
    }
}

/// One or several output columns: an [`OutputValue`], or a struct with `#[derive(Outputs)]`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be returned by a transform",
    label = "not a type of the platform",
    note = "a function returns a value, an `Option` of one, or a `Result` of either whose error is `Display`; a value is one of `bool`, `i32`, `i64`, `f32`, `f64`, `&str`, `String`, `&[u8]`, `Vec<u8>`, `Date`, `Timestamp`, lists of `i64`, `f32`, `f64` or strings (`Vec` or borrowed, or `StringList`), or a struct with `#[derive(Outputs)]`"
)]
pub trait Outputs: Sized {
    /// Whether the outputs carry names of their own.
    const NAMED: bool;
    /// Whether every column has an item of so many bytes for each row.
    const FIXED_WIDTH: bool;
    /// The columns under construction.
    type Writers;

    /// The columns in order. A single output without a name of its own takes `name` and
    /// `documentation`; `nullable` holds for all.
    fn fields(name: &str, documentation: &str, nullable: bool) -> Vec<Field>;

    /// Columns with this room.
    fn writers(room: Room) -> Self::Writers;

    /// Writes `row`. Rows come in order, each once.
    fn put(self, writers: &mut Self::Writers, row: usize);

    /// Makes `row` null in every column.
    fn put_null(writers: &mut Self::Writers, row: usize);

    /// Makes all rows null in every column that are not among these, a bit each.
    fn keep(writers: &mut Self::Writers, rows: &[u64]);

    /// The finished columns.
    ///
    /// # Errors
    /// The reason why a column is not possible: it has grown past what offsets can count.
    fn columns(writers: Self::Writers) -> Result<Vec<Column>, String>;
}

#[diagnostic::do_not_recommend]
impl<T: OutputValue> Outputs for T {
    const NAMED: bool = false;
    const FIXED_WIDTH: bool = T::FIXED_WIDTH;
    type Writers = ColumnWriter<T>;

    fn fields(name: &str, documentation: &str, nullable: bool) -> Vec<Field> {
        vec![ColumnWriter::<T>::field(name, documentation, nullable)]
    }

    #[inline]
    fn writers(room: Room) -> Self::Writers {
        ColumnWriter::new(room)
    }

    #[inline]
    fn put(self, writers: &mut Self::Writers, row: usize) {
        writers.put(row, self);
    }

    #[inline]
    fn put_null(writers: &mut Self::Writers, row: usize) {
        writers.put_null(row);
    }

    fn keep(writers: &mut Self::Writers, rows: &[u64]) {
        writers.keep(rows);
    }

    fn columns(writers: Self::Writers) -> Result<Vec<Column>, String> {
        Ok(vec![writers.finish()?])
    }
}

/// The type of a field of a struct with `#[derive(Outputs)]`: an [`OutputValue`] or an `Option`
/// of one.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an output of a transform",
    label = "not a type of the platform",
    note = "an output is one of `bool`, `i32`, `i64`, `f32`, `f64`, `&str`, `String`, `&[u8]`, `Vec<u8>`, `Date`, `Timestamp`, lists of `i64`, `f32`, `f64` or strings (`Vec` or borrowed, or `StringList`), or an `Option` of one"
)]
pub trait OutputField: Sized {
    /// The type of a value.
    type Value: OutputValue;
    /// Whether the field may be null.
    const NULLABLE: bool;

    /// The value, if there is one.
    fn value(self) -> Option<Self::Value>;
}

#[diagnostic::do_not_recommend]
impl<T: OutputValue> OutputField for T {
    type Value = T;
    const NULLABLE: bool = false;

    #[inline]
    fn value(self) -> Option<T> {
        Some(self)
    }
}

impl<T: OutputValue> OutputField for Option<T> {
    type Value = T;
    const NULLABLE: bool = true;

    #[inline]
    fn value(self) -> Option<T> {
        self
    }
}
