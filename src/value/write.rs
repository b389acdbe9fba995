//! Columns as JSON text, without a [`serde_json::Value`] in between: what an answer is made of.

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

use crate::time::{Timestamp, format_date};

/// Appends the values of a column as a JSON list: to the byte what serde_json makes of
/// [`column_to_json`](super::column_to_json).
pub fn write_column(column: &ArrayRef, out: &mut Vec<u8>) {
    match column.data_type() {
        ArrowType::Boolean => {
            let column = column.as_boolean();
            list(column, out, |row, out| {
                let text: &[u8] = if column.value(row) { b"true" } else { b"false" };
                out.extend_from_slice(text);
            });
        }
        ArrowType::Int32 => numbers(column.as_primitive::<Int32Type>(), out, json),
        ArrowType::Int64 => numbers(column.as_primitive::<Int64Type>(), out, json),
        ArrowType::Float32 => {
            numbers(column.as_primitive::<Float32Type>(), out, |value, out| {
                float(value.into(), out)
            });
        }
        ArrowType::Float64 => numbers(column.as_primitive::<Float64Type>(), out, float),
        ArrowType::Date32 => numbers(column.as_primitive::<Date32Type>(), out, date),
        ArrowType::Timestamp(..) => {
            numbers(column.as_primitive::<TimestampMicrosecondType>(), out, |micros, out| {
                timestamp(Timestamp(micros), out);
            });
        }
        ArrowType::Utf8 => {
            let column = column.as_string::<i32>();
            list(column, out, |row, out| json(column.value(row), out));
        }
        ArrowType::Binary => {
            let column = column.as_binary::<i32>();
            list(column, out, |row, out| json(BASE64_STANDARD.encode(column.value(row)), out));
        }
        ArrowType::List(_) => {
            let column = column.as_list::<i32>();
            list(column, out, |row, out| write_column(&column.value(row), out));
        }
        // A column of unskew is of one of these types.
        _ => list(column, out, |_, out| out.extend_from_slice(b"null")),
    }
}

/// Appends a moment as a JSON string.
pub fn timestamp(moment: Timestamp, out: &mut Vec<u8>) {
    out.push(b'"');
    moment.write(out);
    out.push(b'"');
}

fn list(column: &dyn Array, out: &mut Vec<u8>, mut write: impl FnMut(usize, &mut Vec<u8>)) {
    out.push(b'[');
    for row in 0..column.len() {
        if row > 0 {
            out.push(b',');
        }
        match column.is_null(row) {
            true => out.extend_from_slice(b"null"),
            false => write(row, out),
        }
    }
    out.push(b']');
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
    use crate::value::column_to_json;

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
    }
}
