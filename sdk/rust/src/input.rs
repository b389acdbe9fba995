//! What the arguments of a function may be.

use crate::abi::Failure;
use crate::bitmap;
use crate::reader::InputValue;
use crate::slot::Slot;
use crate::time::{Date, Timestamp};
use alloc::string::String;
use alloc::vec::Vec;

/// The type of an argument: an [`InputValue`], which is never null, or an `Option` of one.
///
/// Where an argument without `Option` is null, the row is null and the function never sees it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an argument of a transform",
    label = "not a type of the platform",
    note = "an argument is one of `bool`, `i32`, `i64`, `f32`, `f64`, `&str`, `String`, `&[u8]`, `Vec<u8>`, `Date`, `Timestamp`, `&[i64]`, `&[f32]`, `&[f64]`, `StrList`, `Vec<i64>`, `Vec<f32>`, `Vec<f64>`, `Vec<&str>`, `Vec<String>`, or an `Option` of one"
)]
pub trait Input<'a>: Sized {
    /// The type of a value.
    type Value: InputValue<'a>;
    /// Whether the function is given nulls.
    const NULLABLE: bool;
    /// A checked view of a column.
    type Reader;

    /// Checks the column in `slot`.
    ///
    /// # Errors
    /// Where the column is not of this type and of as many rows as the batch.
    fn open(slot: &Slot<'a>) -> Result<Self::Reader, Failure>;

    /// What the function is given for `row`, which is one of the batch; arbitrary where the row is
    /// null and the function is not given nulls.
    fn read(reader: &Self::Reader, row: usize) -> Self;
}

#[diagnostic::do_not_recommend]
impl<'a, T: InputValue<'a>> Input<'a> for T {
    type Value = T;
    const NULLABLE: bool = false;
    type Reader = T::Reader;

    #[inline]
    fn open(slot: &Slot<'a>) -> Result<Self::Reader, Failure> {
        T::reader(slot)
    }

    #[inline]
    fn read(reader: &Self::Reader, row: usize) -> Self {
        T::get(reader, row)
    }
}

impl<'a, T: InputValue<'a>> Input<'a> for Option<T> {
    type Value = T;
    const NULLABLE: bool = true;
    type Reader = (T::Reader, Option<&'a [u8]>);

    #[inline]
    fn open(slot: &Slot<'a>) -> Result<Self::Reader, Failure> {
        Ok((T::reader(slot)?, slot.validity()?))
    }

    #[inline]
    fn read((reader, validity): &Self::Reader, row: usize) -> Self {
        validity.is_none_or(|bytes| bitmap::get(bytes, row)).then(|| T::get(reader, row))
    }
}

/// The type of a `#[param]`: a [`Scalar`], for which null fails the call, or an `Option` of one.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a parameter of a transform",
    label = "not a scalar type of the platform",
    note = "a parameter is one of `bool`, `i32`, `i64`, `f32`, `f64`, `&str`, `String`, `&[u8]`, `Vec<u8>`, `Date`, `Timestamp`, or an `Option` of one"
)]
pub trait Param<'a>: Clone {
    /// The type of a value.
    type Value: Scalar<'a>;
    /// Whether the parameter may be null.
    const NULLABLE: bool;

    /// What the function is given for every row.
    ///
    /// # Errors
    /// Where the column in `slot` is not one row of this type, or is null and must not be.
    fn read(slot: &Slot<'a>) -> Result<Self, Failure>;
}

#[diagnostic::do_not_recommend]
impl<'a, T: Scalar<'a>> Param<'a> for T {
    type Value = T;
    const NULLABLE: bool = false;

    fn read(slot: &Slot<'a>) -> Result<Self, Failure> {
        <Option<T> as Param>::read(slot)?
            .ok_or_else(|| slot.failure("is null, but must have a value"))
    }
}

impl<'a, T: Scalar<'a>> Param<'a> for Option<T> {
    type Value = T;
    const NULLABLE: bool = true;

    fn read(slot: &Slot<'a>) -> Result<Self, Failure> {
        let reader = T::reader(slot)?;
        let valid = slot.validity()?.is_none_or(|bytes| bitmap::get(bytes, 0));
        Ok(valid.then(|| T::get(&reader, 0)))
    }
}

/// An [`InputValue`] that is not a list.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a parameter of a transform",
    label = "not a scalar type of the platform",
    note = "a parameter is one of `bool`, `i32`, `i64`, `f32`, `f64`, `&str`, `String`, `&[u8]`, `Vec<u8>`, `Date`, `Timestamp`, or an `Option` of one"
)]
pub trait Scalar<'a>: InputValue<'a> + Clone {}

/// Marks the types a parameter may have.
macro_rules! scalars {
    ($($type:ty),*) => {$(impl<'a> Scalar<'a> for $type {})*};
}

scalars!(bool, i32, i64, f32, f64, &'a str, String, &'a [u8], Vec<u8>, Date, Timestamp);
