//! Columns as JSON text, without a [`serde_json::Value`] in between: what an answer is made of.
//! Values are arrays, or still lie in the rows that were read; both are written by the same rules.

use std::io::Write as _;

use arrow::{
    array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray},
    datatypes::{
        DataType as ArrowType, Date32Type, Float32Type, Float64Type, Int32Type, Int64Type,
        TimestampMicrosecondType,
    },
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::Serialize;

use super::{
    DataType,
    bytes::{RowPlaces, texts},
};
use crate::time::{Timestamp, format_date};

/// Appends the values of a column as a JSON list: to the byte what serde_json makes of
/// [`column_to_json`](super::column_to_json).
pub fn write_column(column: &ArrayRef, out: &mut Vec<u8>) {
    match column.data_type() {
        ArrowType::Boolean => {
            let column = column.as_boolean();
            list(column, out, |row, out| boolean(column.value(row), out));
        }
        ArrowType::Int32 => numbers(column.as_primitive::<Int32Type>(), out, json),
        ArrowType::Int64 => numbers(column.as_primitive::<Int64Type>(), out, json),
        ArrowType::Float32 => {
            numbers(column.as_primitive::<Float32Type>(), out, wide);
        }
        ArrowType::Float64 => numbers(column.as_primitive::<Float64Type>(), out, float),
        ArrowType::Date32 => numbers(column.as_primitive::<Date32Type>(), out, date),
        ArrowType::Timestamp(..) => {
            numbers(column.as_primitive::<TimestampMicrosecondType>(), out, micros);
        }
        ArrowType::Utf8 => {
            let column = column.as_string::<i32>();
            list(column, out, |row, out| json(column.value(row), out));
        }
        ArrowType::Binary => {
            let column = column.as_binary::<i32>();
            list(column, out, |row, out| base64(column.value(row), out));
        }
        ArrowType::List(_) => {
            let column = column.as_list::<i32>();
            list(column, out, |row, out| write_column(&column.value(row), out));
        }
        // A column of unskew is of one of these types.
        _ => list(column, out, |_, out| out.extend_from_slice(b"null")),
    }
}

/// Appends the values of a column of rows that lie in `bytes`: to the byte what [`write_column`]
/// makes of it decoded. `missing` stands for values that are null.
pub fn write_places(
    places: &RowPlaces,
    column: usize,
    bytes: &[u8],
    missing: &[u8],
    out: &mut Vec<u8>,
) {
    let mut write = |value: fn(&[u8], &mut Vec<u8>)| {
        let mut list = List::begin(out);
        for place in places.column(column) {
            match place.and_then(|place| bytes.get(place)) {
                Some(bytes) => value(bytes, list.item()),
                None => list.item().extend_from_slice(missing),
            }
        }
        list.end();
    };
    match places.data_type(column) {
        DataType::Boolean => write(|bytes, out| boolean(bytes == [1], out)),
        DataType::Int32 => write(|bytes, out| number(bytes, i32::from_le_bytes, json, out)),
        DataType::Int64 => write(|bytes, out| number(bytes, i64::from_le_bytes, json, out)),
        DataType::Float32 => write(|bytes, out| number(bytes, f32::from_le_bytes, wide, out)),
        DataType::Float64 => write(|bytes, out| number(bytes, f64::from_le_bytes, float, out)),
        DataType::Date => write(|bytes, out| number(bytes, i32::from_le_bytes, date, out)),
        DataType::Timestamp => {
            write(|bytes, out| number(bytes, i64::from_le_bytes, micros, out));
        }
        DataType::Utf8 => write(|bytes, out| json(String::from_utf8_lossy(bytes), out)),
        DataType::Binary => write(base64),
        DataType::ListInt64 => write(|bytes, out| items(bytes, i64::from_le_bytes, json, out)),
        DataType::ListFloat32 => write(|bytes, out| items(bytes, f32::from_le_bytes, wide, out)),
        DataType::ListFloat64 => write(|bytes, out| items(bytes, f64::from_le_bytes, float, out)),
        DataType::ListUtf8 => write(|bytes, out| {
            let mut list = List::begin(out);
            // Whoever found the places has checked that these are texts.
            let _ = texts(bytes, |text| json(text, list.item()));
            list.end();
        }),
    }
}

/// Writes a number that lies in bytes; they are as many as it takes, for whoever found the places
/// has checked it.
fn number<T, const N: usize>(
    bytes: &[u8],
    read: fn([u8; N]) -> T,
    write: fn(T, &mut Vec<u8>),
    out: &mut Vec<u8>,
) {
    match bytes.as_array() {
        Some(bytes) => write(read(*bytes), out),
        None => out.extend_from_slice(b"null"),
    }
}

fn items<T, const N: usize>(
    bytes: &[u8],
    read: fn([u8; N]) -> T,
    write: fn(T, &mut Vec<u8>),
    out: &mut Vec<u8>,
) {
    let mut list = List::begin(out);
    for item in bytes.as_chunks().0 {
        write(read(*item), list.item());
    }
    list.end();
}

/// A JSON list in the making.
struct List<'a> {
    out: &'a mut Vec<u8>,
    empty: bool,
}

impl<'a> List<'a> {
    fn begin(out: &'a mut Vec<u8>) -> Self {
        out.push(b'[');
        Self { out, empty: true }
    }

    /// Where the next item is to be written.
    fn item(&mut self) -> &mut Vec<u8> {
        if !std::mem::take(&mut self.empty) {
            self.out.push(b',');
        }
        self.out
    }

    fn end(self) {
        self.out.push(b']');
    }
}

/// Appends a moment as a JSON string.
pub fn timestamp(moment: Timestamp, out: &mut Vec<u8>) {
    out.push(b'"');
    moment.write(out);
    out.push(b'"');
}

fn list(column: &dyn Array, out: &mut Vec<u8>, mut write: impl FnMut(usize, &mut Vec<u8>)) {
    let mut list = List::begin(out);
    for row in 0..column.len() {
        match column.is_null(row) {
            true => list.item().extend_from_slice(b"null"),
            false => write(row, list.item()),
        }
    }
    list.end();
}

fn numbers<T: ArrowPrimitiveType>(
    column: &PrimitiveArray<T>,
    out: &mut Vec<u8>,
    write: impl Fn(T::Native, &mut Vec<u8>),
) {
    list(column, out, |row, out| write(column.value(row), out));
}

fn json(value: impl Serialize, out: &mut Vec<u8>) {
    // A number or a text is JSON, and a vector takes all that is written to it.
    let _ = serde_json::to_writer(out, &value);
}

fn boolean(value: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(if value { b"true" } else { b"false" });
}

fn base64(bytes: &[u8], out: &mut Vec<u8>) {
    json(BASE64_STANDARD.encode(bytes), out);
}

fn micros(micros: i64, out: &mut Vec<u8>) {
    timestamp(Timestamp(micros), out);
}

fn wide(value: f32, out: &mut Vec<u8>) {
    float(value.into(), out);
}

fn float(value: f64, out: &mut Vec<u8>) {
    match value {
        value if value.is_finite() => json(value, out),
        value if value.is_nan() => out.extend_from_slice(b"\"NaN\""),
        value if value > 0.0 => out.extend_from_slice(b"\"Infinity\""),
        _ => out.extend_from_slice(b"\"-Infinity\""),
    }
}

fn date(days: i32, out: &mut Vec<u8>) {
    let _ = match format_date(days).filter(|text| text.len() == 10) {
        Some(text) => write!(out, "\"{text}\""),
        None => write!(out, "\"{days} days\""),
    };
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::tests::any_columns, *};
    use crate::value::{RowEncoder, RowSchema, column_to_json};

    proptest! {
        #[test]
        fn the_text_is_that_of_the_values((_, columns) in any_columns(0..20)) {
            for column in &columns {
                let mut text = Vec::new();
                write_column(column, &mut text);
                let expected = serde_json::to_vec(&column_to_json(column)).unwrap();
                prop_assert_eq!(String::from_utf8(text), String::from_utf8(expected));
            }
        }

        #[test]
        fn values_that_still_lie_in_rows_are_written_as_decoded_ones(
            (fields, columns) in any_columns(0..20),
        ) {
            let encoder = RowEncoder::new(&fields, &columns).unwrap();
            let schema = RowSchema::new(&fields).unwrap();
            let rows = columns[0].len();
            let (mut bytes, mut places) = (vec![0], schema.places(rows));
            for row in 0..rows {
                let start = bytes.len();
                encoder.encode(row, &mut bytes);
                places.push(&schema, start, &bytes[start..]).unwrap();
            }
            for (place, column) in columns.iter().enumerate() {
                let (mut text, mut expected) = (Vec::new(), Vec::new());
                write_places(&places, place, &bytes, b"null", &mut text);
                write_column(column, &mut expected);
                prop_assert_eq!(String::from_utf8(text), String::from_utf8(expected));
                prop_assert_eq!(places.has_nulls(place), column.null_count() > 0);
            }
        }
    }
}
