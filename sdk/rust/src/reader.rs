//! The values that can be read out of columns.

use crate::abi::{DataType, Failure, Values};
use crate::bitmap;
use crate::slot::Slot;
use crate::time::{Date, Timestamp};
use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;

/// A value that can be read out of a column. Borrowed types read without a copy.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an argument of a transform",
    label = "not a type of the platform",
    note = "an argument is one of `bool`, `i32`, `i64`, `f32`, `f64`, `&str`, `String`, `&[u8]`, `Vec<u8>`, `Date`, `Timestamp`, `&[i64]`, `&[f32]`, `&[f64]`, `StrList`, `Vec<i64>`, `Vec<f32>`, `Vec<f64>`, `Vec<&str>`, `Vec<String>`, or an `Option` of one"
)]
pub trait InputValue<'a>: Sized {
    /// The type of the column.
    const DATA_TYPE: DataType;
    /// Whether the column has an item of so many bytes for each row.
    const FIXED_WIDTH: bool = false;
    /// A checked view of a column's values.
    type Reader;

    /// Checks the values in `slot`.
    ///
    /// # Errors
    /// Where they are not of this type and well formed for as many rows as the batch has.
    fn reader(slot: &Slot<'a>) -> Result<Self::Reader, Failure>;

    /// The value of `row`, which is one of the batch; arbitrary where the row is null.
    fn get(reader: &Self::Reader, row: usize) -> Self;
}

impl<'a> InputValue<'a> for bool {
    const DATA_TYPE: DataType = DataType::Boolean;
    type Reader = &'a [u8];

    fn reader(slot: &Slot<'a>) -> Result<Self::Reader, Failure> {
        match &slot.column.values {
            Values::Boolean(bytes) => slot.bitmap(bytes),
            _ => Err(slot.wrong_type(Self::DATA_TYPE)),
        }
    }

    #[inline]
    fn get(reader: &Self::Reader, row: usize) -> Self {
        bitmap::get(reader, row)
    }
}

/// Reads a type of fixed width, one item for each row.
macro_rules! fixed_width {
    ($($type:ty, $stored:ty, $variant:ident, $from:expr;)*) => {$(
        impl<'a> InputValue<'a> for $type {
            const DATA_TYPE: DataType = DataType::$variant;
            const FIXED_WIDTH: bool = true;
            type Reader = &'a [$stored];

            #[inline]
            fn reader(slot: &Slot<'a>) -> Result<Self::Reader, Failure> {
                match &slot.column.values {
                    Values::$variant(values) => slot.one_for_each_row(values),
                    _ => Err(slot.wrong_type(Self::DATA_TYPE)),
                }
            }

            #[inline]
            fn get(reader: &Self::Reader, row: usize) -> Self {
                $from(reader[row])
            }
        }
    )*};
}

fixed_width! {
    i32, i32, Int32, core::convert::identity;
    i64, i64, Int64, core::convert::identity;
    f32, f32, Float32, core::convert::identity;
    f64, f64, Float64, core::convert::identity;
    Date, i32, Date, Date::from_days;
    Timestamp, i64, Timestamp, Timestamp::from_micros;
}

/// Values of varying length laid end to end, with offsets that [`Slot::offsets`] has checked.
#[derive(Debug, Clone, Copy)]
pub struct Spans<'a, T: ?Sized> {
    offsets: &'a [i32],
    values: &'a T,
}

impl<T: ?Sized> Spans<'_, T> {
    /// Where the values of `row` begin and end. The offsets were checked, so none is negative.
    #[inline]
    fn range(&self, row: usize) -> core::ops::Range<usize> {
        self.offsets[row] as usize..self.offsets[row + 1] as usize
    }
}

/// Reads slices of a column's items.
macro_rules! slices {
    ($($item:ty, $variant:ident, $items:ident;)*) => {$(
        impl<'a> InputValue<'a> for &'a [$item] {
            const DATA_TYPE: DataType = DataType::$variant;
            type Reader = Spans<'a, [$item]>;

            fn reader(slot: &Slot<'a>) -> Result<Self::Reader, Failure> {
                let Values::$variant(var) = &slot.column.values else {
                    return Err(slot.wrong_type(Self::DATA_TYPE));
                };
                let offsets = slot.offsets(&var.offsets, slot.rows, var.$items.len())?;
                Ok(Spans { offsets, values: &var.$items })
            }

            #[inline]
            fn get(reader: &Self::Reader, row: usize) -> Self {
                &reader.values[reader.range(row)]
            }
        }
    )*};
}

slices! {
    u8, Binary, bytes;
    i64, ListInt64, items;
    f32, ListFloat32, items;
    f64, ListFloat64, items;
}

impl<'a> InputValue<'a> for &'a str {
    const DATA_TYPE: DataType = DataType::Utf8;
    type Reader = Spans<'a, str>;

    fn reader(slot: &Slot<'a>) -> Result<Self::Reader, Failure> {
        let Values::Utf8(var) = &slot.column.values else {
            return Err(slot.wrong_type(Self::DATA_TYPE));
        };
        let offsets = slot.offsets(&var.offsets, slot.rows, var.bytes.len())?;
        Ok(Spans { offsets, values: slot.text(&var.bytes, offsets)? })
    }

    #[inline]
    fn get(reader: &Self::Reader, row: usize) -> Self {
        // SAFETY: `Slot` found that the offsets ascend to the end of the text, between characters.
        unsafe { reader.values.get_unchecked(reader.range(row)) }
    }
}

/// A list of strings, read in place.
#[derive(Debug, Clone, Copy)]
pub struct StrList<'a> {
    /// One more than strings.
    offsets: &'a [i32],
    text: &'a str,
}

impl<'a> StrList<'a> {
    /// How many strings the list has.
    pub fn len(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    /// Whether the list has no string.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The string at `index`, or `None` past the end.
    pub fn get(&self, index: usize) -> Option<&'a str> {
        let start = *self.offsets.get(index)? as usize;
        let end = *self.offsets.get(index + 1)? as usize;
        Some(&self.text[start..end])
    }

    /// The strings in order.
    pub fn iter(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let text = self.text;
        self.offsets.windows(2).map(move |pair| {
            // SAFETY: as for a text on its own.
            unsafe { text.get_unchecked(pair[0] as usize..pair[1] as usize) }
        })
    }
}

impl<'a> InputValue<'a> for StrList<'a> {
    const DATA_TYPE: DataType = DataType::ListUtf8;
    /// The rows over the strings, and the strings over the text.
    type Reader = (Spans<'a, [i32]>, &'a str);

    fn reader(slot: &Slot<'a>) -> Result<Self::Reader, Failure> {
        let Values::ListUtf8(var) = &slot.column.values else {
            return Err(slot.wrong_type(Self::DATA_TYPE));
        };
        let strings = var.items.offsets.len().saturating_sub(1);
        let offsets = slot.offsets(&var.offsets, slot.rows, strings)?;
        let values = slot.offsets(&var.items.offsets, strings, var.items.bytes.len())?;
        Ok((Spans { offsets, values }, slot.text(&var.items.bytes, values)?))
    }

    #[inline]
    fn get((spans, text): &Self::Reader, row: usize) -> Self {
        let strings = spans.range(row);
        Self { offsets: &spans.values[strings.start..=strings.end], text }
    }
}

/// Reads an owned type by way of the borrowed one.
macro_rules! owned {
    ($($owned:ty, $borrowed:ty, $to_owned:expr;)*) => {$(
        impl<'a> InputValue<'a> for $owned {
            const DATA_TYPE: DataType = <$borrowed as InputValue<'a>>::DATA_TYPE;
            type Reader = <$borrowed as InputValue<'a>>::Reader;

            fn reader(slot: &Slot<'a>) -> Result<Self::Reader, Failure> {
                <$borrowed as InputValue<'a>>::reader(slot)
            }

            fn get(reader: &Self::Reader, row: usize) -> Self {
                $to_owned(<$borrowed as InputValue<'a>>::get(reader, row))
            }
        }
    )*};
}

owned! {
    String, &'a str, str::to_owned;
    Vec<u8>, &'a [u8], <[u8]>::to_vec;
    Vec<i64>, &'a [i64], <[i64]>::to_vec;
    Vec<f32>, &'a [f32], <[f32]>::to_vec;
    Vec<f64>, &'a [f64], <[f64]>::to_vec;
    Vec<&'a str>, StrList<'a>, |list: StrList<'a>| list.iter().collect();
    Vec<String>, StrList<'a>, |list: StrList<'a>| list.iter().map(str::to_owned).collect();
}
