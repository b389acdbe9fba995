//! Values in JSON, both ways, by one set of rules.
//!
//! | type | written | read besides |
//! |---|---|---|
//! | boolean | `true` | `"true"` |
//! | int32, int64 | `42`, also above 2^53 | `"42"` |
//! | float32, float64 | `1.5`, `2.0`, `-0.0`, `"NaN"`, `"Infinity"`, `"-Infinity"` | `2`, `"2.5"` |
//! | utf8 | `"text"` | |
//! | binary | base64, standard alphabet, padded | |
//! | date | `"1997-06-30"` | |
//! | timestamp | RFC 3339, UTC: `"1997-06-30T12:00:00.000001Z"` | no zone (UTC), a date alone, Unix seconds as a number |
//! | lists | arrays, never with nulls | |
//!
//! A 32-bit float is written as the 64-bit float of the same value, so that reading it gives the
//! same bits. A date or timestamp outside the years 0 to 9999 is written as its count of days or
//! microseconds in a string (`"9223372036854775807 µs"`), and read back.

use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, AsArray, BinaryBuilder, BooleanBuilder, Float32Builder, Float64Builder,
        Int32Builder, Int64Builder, ListBuilder, PrimitiveBuilder, StringBuilder,
    },
    datatypes::{
        Date32Type, Float32Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType,
    },
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::{Deserialize, Serialize};
use serde_json::{Number, Value};

use super::{DataType, canonical_nan};
use crate::{
    error::{Error, Result},
    time::{Timestamp, format_date, parse_date},
};

/// A constant of a type: the default of a feature, the parameter of a function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct Scalar {
    #[serde(rename = "type")]
    data_type: DataType,
    value: Value,
}

#[derive(Deserialize)]
struct Unchecked {
    #[serde(rename = "type")]
    data_type: DataType,
    value: Value,
}

impl TryFrom<Unchecked> for Scalar {
    type Error = Error;

    fn try_from(unchecked: Unchecked) -> Result<Self> {
        Self::from_json(&unchecked.value, unchecked.data_type)
    }
}

impl Scalar {
    /// The constant that `value` is, read as `data_type` and kept in the one form that is written,
    /// so that equal constants are equal and have equal digests.
    ///
    /// # Errors
    /// [`crate::error::Kind::Invalid`] when `value` is null or no value of the type.
    pub fn from_json(value: &Value, data_type: DataType) -> Result<Self> {
        let column = parse(std::slice::from_ref(value), data_type).map_err(|(_, error)| error)?;
        if column.is_null(0) {
            return Err(Error::invalid("a constant cannot be null"));
        }
        let value = column_to_json(&column).into_iter().next().unwrap_or_default();
        Ok(Self { data_type, value })
    }

    /// The type.
    pub fn data_type(&self) -> DataType {
        self.data_type
    }

    /// The value, in the form of this module.
    pub fn json(&self) -> &Value {
        &self.value
    }

    /// A column of one row, with the constant in it.
    ///
    /// # Errors
    /// None in practice: the value was read as this type before.
    pub fn to_array(&self) -> Result<ArrayRef> {
        column_from_json(std::slice::from_ref(&self.value), self.data_type)
    }
}

/// A column of `data_type` from JSON values; JSON null is null.
///
/// # Errors
/// [`crate::error::Kind::Invalid`], naming the row and its value, when one is not of the type. The
/// message does not name the column: the caller knows it.
pub fn column_from_json(values: &[Value], data_type: DataType) -> Result<ArrayRef> {
    parse(values, data_type).map_err(|(row, error)| error.context(format!("row {row}")))
}

type RowResult<T> = Result<T, (usize, Error)>;

fn parse(values: &[Value], data_type: DataType) -> RowResult<ArrayRef> {
    let column: ArrayRef = match data_type {
        DataType::Boolean => {
            let mut builder = BooleanBuilder::with_capacity(values.len());
            each(values, data_type, boolean, |value| builder.append_option(value))?;
            Arc::new(builder.finish())
        }
        DataType::Int32 => {
            let mut builder = Int32Builder::with_capacity(values.len());
            let read = |value: &Value| i32::try_from(integer(value)?).ok();
            each(values, data_type, read, |value| builder.append_option(value))?;
            Arc::new(builder.finish())
        }
        DataType::Int64 => {
            let mut builder = Int64Builder::with_capacity(values.len());
            each(values, data_type, integer, |value| builder.append_option(value))?;
            Arc::new(builder.finish())
        }
        DataType::Float32 => {
            let mut builder = Float32Builder::with_capacity(values.len());
            each(values, data_type, float32, |value| builder.append_option(value))?;
            Arc::new(builder.finish())
        }
        DataType::Float64 => {
            let mut builder = Float64Builder::with_capacity(values.len());
            each(values, data_type, float, |value| builder.append_option(value))?;
            Arc::new(builder.finish())
        }
        DataType::Utf8 => {
            let mut builder = StringBuilder::new();
            each(values, data_type, text, |value| builder.append_option(value))?;
            Arc::new(builder.finish())
        }
        DataType::Binary => {
            let mut builder = BinaryBuilder::new();
            let read = |value: &Value| BASE64_STANDARD.decode(value.as_str()?).ok();
            each(values, data_type, read, |value| builder.append_option(value))?;
            Arc::new(builder.finish())
        }
        DataType::Date => {
            let mut builder = PrimitiveBuilder::<Date32Type>::with_capacity(values.len());
            each(values, data_type, date, |value| builder.append_option(value))?;
            Arc::new(builder.finish())
        }
        DataType::Timestamp => {
            let mut builder =
                PrimitiveBuilder::<TimestampMicrosecondType>::with_capacity(values.len())
                    .with_data_type(data_type.to_arrow());
            each(values, data_type, timestamp, |value| builder.append_option(value))?;
            Arc::new(builder.finish())
        }
        DataType::ListInt64 => {
            let mut builder = ListBuilder::new(Int64Builder::new());
            each(
                values,
                data_type,
                |value| items(value, integer),
                |value| {
                    builder.append_option(value.map(|items| items.into_iter().map(Some)));
                },
            )?;
            Arc::new(builder.finish())
        }
        DataType::ListFloat32 => {
            let mut builder = ListBuilder::new(Float32Builder::new());
            each(
                values,
                data_type,
                |value| items(value, float32),
                |value| {
                    builder.append_option(value.map(|items| items.into_iter().map(Some)));
                },
            )?;
            Arc::new(builder.finish())
        }
        DataType::ListFloat64 => {
            let mut builder = ListBuilder::new(Float64Builder::new());
            each(
                values,
                data_type,
                |value| items(value, float),
                |value| {
                    builder.append_option(value.map(|items| items.into_iter().map(Some)));
                },
            )?;
            Arc::new(builder.finish())
        }
        DataType::ListUtf8 => {
            let mut builder = ListBuilder::new(StringBuilder::new());
            each(
                values,
                data_type,
                |value| items(value, text),
                |value| {
                    builder.append_option(value.map(|items| items.into_iter().map(Some)));
                },
            )?;
            Arc::new(builder.finish())
        }
    };
    Ok(canonical_nan(&column))
}

fn each<'a, T>(
    values: &'a [Value],
    data_type: DataType,
    read: impl Fn(&'a Value) -> Option<T>,
    mut append: impl FnMut(Option<T>),
) -> RowResult<()> {
    for (row, value) in values.iter().enumerate() {
        match (value, read(value)) {
            (Value::Null, _) => append(None),
            (_, Some(read)) => append(Some(read)),
            (_, None) => return Err((row, not_of(value, data_type))),
        }
    }
    Ok(())
}

fn not_of(value: &Value, data_type: DataType) -> Error {
    let mut shown = value.to_string();
    if shown.len() > 80 {
        let end = (0..=77).rev().find(|i| shown.is_char_boundary(*i)).unwrap_or(0);
        shown.truncate(end);
        shown.push_str("...");
    }
    let error = Error::invalid(format!("{shown} is not a value of type {data_type}"));
    match data_type {
        DataType::Binary => error.with_hint("bytes are written as base64"),
        DataType::Date => error.with_hint("a date is written \"1997-06-30\""),
        DataType::Timestamp => error.with_hint(
            "a timestamp is written \"1997-06-30T12:00:00Z\" with up to six fraction digits, \
             or as a number of seconds since 1970",
        ),
        _ if has_null(value) => error.with_hint("a list has no null items"),
        _ => error,
    }
}

fn has_null(value: &Value) -> bool {
    value.as_array().is_some_and(|items| items.contains(&Value::Null))
}

fn boolean(value: &Value) -> Option<bool> {
    value.as_bool().or_else(|| value.as_str()?.parse().ok())
}

fn integer(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.parse().ok())
}

fn float(value: &Value) -> Option<f64> {
    match value {
        // This takes "NaN", "Infinity" and "-Infinity" too; digits are never one of them.
        Value::String(text) => {
            let number: f64 = text.parse().ok()?;
            let is_named = !text.contains(|c: char| c.is_ascii_digit());
            (number.is_finite() || is_named).then_some(number)
        }
        number => number.as_f64(),
    }
}

/// The nearest 32-bit float; none where only infinity is near.
fn float32(value: &Value) -> Option<f32> {
    let wide = float(value)?;
    let narrow = wide as f32;
    (narrow.is_infinite() == wide.is_infinite()).then_some(narrow)
}

fn text(value: &Value) -> Option<&str> {
    value.as_str()
}

fn date(value: &Value) -> Option<i32> {
    let text = value.as_str()?;
    match text.strip_suffix(" days") {
        Some(days) => days.parse().ok(),
        None => parse_date(text).ok(),
    }
}

fn timestamp(value: &Value) -> Option<i64> {
    if let Some(seconds) = value.as_i64() {
        return seconds.checked_mul(1_000_000);
    }
    let text = value.as_str()?;
    match text.strip_suffix(" µs") {
        Some(micros) => micros.parse().ok(),
        None => text.parse::<Timestamp>().ok().map(|moment| moment.0),
    }
}

fn items<'a, T>(value: &'a Value, read: impl Fn(&'a Value) -> Option<T>) -> Option<Vec<T>> {
    value.as_array()?.iter().map(read).collect()
}

/// The values of a column, one for each row, by the rules of this module.
pub fn column_to_json(column: &ArrayRef) -> Vec<Value> {
    (0..column.len()).map(|row| value_to_json(column, row)).collect()
}

fn value_to_json(column: &dyn Array, row: usize) -> Value {
    use arrow::datatypes::DataType as ArrowType;
    if column.is_null(row) {
        return Value::Null;
    }
    match column.data_type() {
        ArrowType::Boolean => column.as_boolean().value(row).into(),
        ArrowType::Int32 => column.as_primitive::<Int32Type>().value(row).into(),
        ArrowType::Int64 => column.as_primitive::<Int64Type>().value(row).into(),
        ArrowType::Float32 => float_to_json(column.as_primitive::<Float32Type>().value(row).into()),
        ArrowType::Float64 => float_to_json(column.as_primitive::<Float64Type>().value(row)),
        ArrowType::Utf8 => column.as_string::<i32>().value(row).into(),
        ArrowType::Binary => BASE64_STANDARD.encode(column.as_binary::<i32>().value(row)).into(),
        ArrowType::Date32 => date_to_json(column.as_primitive::<Date32Type>().value(row)),
        ArrowType::Timestamp(..) => {
            let micros = column.as_primitive::<TimestampMicrosecondType>().value(row);
            Timestamp(micros).to_string().into()
        }
        ArrowType::List(_) => Value::Array(column_to_json(&column.as_list::<i32>().value(row))),
        _ => Value::Null,
    }
}

fn float_to_json(value: f64) -> Value {
    match Number::from_f64(value) {
        Some(number) => Value::Number(number),
        None if value.is_nan() => "NaN".into(),
        None if value > 0.0 => "Infinity".into(),
        None => "-Infinity".into(),
    }
}

fn date_to_json(days: i32) -> Value {
    match format_date(days).filter(|text| text.len() == 10) {
        Some(text) => text.into(),
        None => format!("{days} days").into(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::{super::tests::any_columns, *};

    proptest! {
        #[test]
        fn columns_round_trip_through_text((fields, columns) in any_columns(0..20)) {
            for (field, column) in fields.iter().zip(&columns) {
                let text = serde_json::to_string(&column_to_json(column)).unwrap();
                let values: Vec<Value> = serde_json::from_str(&text).unwrap();
                let back = column_from_json(&values, field.data_type).unwrap();
                prop_assert_eq!(&back.to_data(), &column.to_data());
            }
        }
    }

    #[test]
    fn what_is_read_besides() {
        let check = |value: Value, data_type, written: Value| {
            let column = column_from_json(&[value], data_type).unwrap();
            assert_eq!(column_to_json(&column), [written]);
        };
        check(json!("1001"), DataType::Int64, json!(1001));
        check(json!(2), DataType::Float64, json!(2.0));
        check(json!("2.5"), DataType::Float32, json!(2.5));
        check(json!("-Infinity"), DataType::Float64, json!("-Infinity"));
        check(json!("true"), DataType::Boolean, json!(true));
        check(json!([1.0, 2]), DataType::ListFloat64, json!([1.0, 2.0]));
        check(json!([]), DataType::ListUtf8, json!([]));
        check(
            json!(["Infinity", "NaN", 3e38, "2.5"]),
            DataType::ListFloat32,
            json!(["Infinity", "NaN", f64::from(3e38_f32), 2.5]),
        );
        check(json!(1), DataType::Timestamp, json!("1970-01-01T00:00:01Z"));
        check(json!("1997-06-30"), DataType::Timestamp, json!("1997-06-30T00:00:00Z"));
    }

    #[test]
    fn wrong_values_are_named_with_their_row() {
        let check = |value: Value, data_type, expect: &str| {
            let error = column_from_json(&[Value::Null, value], data_type).unwrap_err();
            assert_eq!(error.message(), expect);
        };
        check(json!("abc"), DataType::Int64, "row 1: \"abc\" is not a value of type int64");
        check(json!(1.5), DataType::Int64, "row 1: 1.5 is not a value of type int64");
        check(
            json!(3_000_000_000_i64),
            DataType::Int32,
            "row 1: 3000000000 is not a value of type int32",
        );
        check(
            json!([1, null]),
            DataType::ListInt64,
            "row 1: [1,null] is not a value of type list<int64>",
        );
        // There is a nearest float for each of them, and for the first it is infinity.
        check(json!(1e39), DataType::Float32, "row 1: 1e+39 is not a value of type float32");
        check(
            json!("-1e999"),
            DataType::Float64,
            "row 1: \"-1e999\" is not a value of type float64",
        );
        check(
            json!([1.5, 1e39]),
            DataType::ListFloat32,
            "row 1: [1.5,1e+39] is not a value of type list<float32>",
        );
        check(
            json!(i64::MAX),
            DataType::Timestamp,
            "row 1: 9223372036854775807 is not a value of type timestamp",
        );
    }

    #[test]
    fn equal_constants_are_equal() {
        let scalar = |value: Value| Scalar::from_json(&value, DataType::Float64).unwrap();
        assert_eq!(scalar(json!(37)), scalar(json!(37.0)));
        let stored = serde_json::to_value(scalar(json!(37))).unwrap();
        assert_eq!(stored, json!({"type": "float64", "value": 37.0}));
        assert_eq!(serde_json::from_value::<Scalar>(stored).unwrap(), scalar(json!(37.0)));
        assert!(serde_json::from_value::<Scalar>(json!({"type": "int64", "value": "x"})).is_err());
    }
}
