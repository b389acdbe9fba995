//! Values: the types there are, how they look in Arrow, in JSON and as bytes.
//!
//! A column of unskew is an Arrow array of exactly [`DataType::to_arrow`]. Whatever a file, a
//! request or a query brings is made one by [`conform`], once, at the border.

mod arrow_types;
mod bytes;
mod cell;
pub(crate) mod int96;
mod json;
mod nan;
mod write;

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

pub use arrow_types::conform;
pub use bytes::{RowDecoder, RowEncoder, RowPlaces, RowSchema, content_hash};
pub use cell::{Cell, NAN_32, NAN_64, Row, column_from_cells, show_row};
pub use int96::{int96_as_timestamp, parquet_reader};
pub use json::{Scalar, column_from_json, column_to_json};
pub use nan::canonical_nan;
pub use write::{timestamp as write_timestamp, write_column, write_places};

use crate::error::{Error, Result, did_you_mean};

/// The type of a value. Any value may be null; an item of a list may not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DataType {
    /// True or false.
    Boolean,
    /// A signed integer of 32 bits.
    Int32,
    /// A signed integer of 64 bits.
    Int64,
    /// IEEE 754 binary32; every NaN is the canonical one.
    Float32,
    /// IEEE 754 binary64; every NaN is the canonical one.
    Float64,
    /// Unicode text.
    Utf8,
    /// Bytes.
    Binary,
    /// Days since 1970-01-01.
    Date,
    /// Microseconds since 1970-01-01T00:00:00Z.
    Timestamp,
    /// A list of [`DataType::Int64`].
    ListInt64,
    /// A list of [`DataType::Float32`].
    ListFloat32,
    /// A list of [`DataType::Float64`].
    ListFloat64,
    /// A list of [`DataType::Utf8`].
    ListUtf8,
}

impl DataType {
    /// All types, in the order of the ABI.
    pub const ALL: [Self; 13] = [
        Self::Boolean,
        Self::Int32,
        Self::Int64,
        Self::Float32,
        Self::Float64,
        Self::Utf8,
        Self::Binary,
        Self::Date,
        Self::Timestamp,
        Self::ListInt64,
        Self::ListFloat32,
        Self::ListFloat64,
        Self::ListUtf8,
    ];

    /// The name in definitions: `int64`, `list<utf8>`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Boolean => "boolean",
            Self::Int32 => "int32",
            Self::Int64 => "int64",
            Self::Float32 => "float32",
            Self::Float64 => "float64",
            Self::Utf8 => "utf8",
            Self::Binary => "binary",
            Self::Date => "date",
            Self::Timestamp => "timestamp",
            Self::ListInt64 => "list<int64>",
            Self::ListFloat32 => "list<float32>",
            Self::ListFloat64 => "list<float64>",
            Self::ListUtf8 => "list<utf8>",
        }
    }

    /// The type of the items of a list.
    pub fn item(self) -> Option<Self> {
        match self {
            Self::ListInt64 => Some(Self::Int64),
            Self::ListFloat32 => Some(Self::Float32),
            Self::ListFloat64 => Some(Self::Float64),
            Self::ListUtf8 => Some(Self::Utf8),
            _ => None,
        }
    }

    /// Whether the type may be that of a join key: equality has to mean what people think it
    /// means, which leaves out floats and lists.
    pub fn is_join_key(self) -> bool {
        matches!(
            self,
            Self::Boolean
                | Self::Int32
                | Self::Int64
                | Self::Utf8
                | Self::Binary
                | Self::Date
                | Self::Timestamp
        )
    }
}

impl fmt::Display for DataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for DataType {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let known = Self::ALL.into_iter().find(|known| known.name() == text);
        known.ok_or_else(|| {
            Error::invalid(format!("not a type: {text:?}"))
                .with_hint(did_you_mean(text, Self::ALL.map(Self::name)))
        })
    }
}

impl Serialize for DataType {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for DataType {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A named column of a function's signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Field {
    /// The name; an identifier.
    pub name: String,
    /// The type.
    #[serde(rename = "type")]
    pub data_type: DataType,
    /// Inputs: whether the function is given nulls; otherwise a null gives nulls without a call.
    /// Outputs: whether a result may be null although no input was.
    pub nullable: bool,
    /// What it means, in its author's words; may be empty.
    pub documentation: String,
}

/// A function of a transform: its signature, as `describe` gave it and the host checked it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Function {
    /// The name; an identifier, unique in the transform.
    pub name: String,
    /// What it computes, in its author's words; may be empty.
    pub documentation: String,
    /// Constants, fixed by the definition that uses the function.
    pub params: Vec<Field>,
    /// Columns it takes, in order.
    pub inputs: Vec<Field>,
    /// Columns it gives, in order; at least one.
    pub outputs: Vec<Field>,
}

/// `name(inputs; params) -> outputs`, with types.
impl fmt::Display for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |fields: &[Field]| -> String {
            let typed = fields.iter().map(|field| {
                let mark = if field.nullable { "?" } else { "" };
                format!("{}: {}{mark}", field.name, field.data_type)
            });
            typed.collect::<Vec<_>>().join(", ")
        };
        write!(f, "{}({}", self.name, list(&self.inputs))?;
        if !self.params.is_empty() {
            write!(f, "; {}", list(&self.params))?;
        }
        write!(f, ") -> ({})", list(&self.outputs))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::ops::Range;

    use arrow::array::BooleanBuilder;
    use arrow::array::{
        ArrayRef, BinaryBuilder, Date32Builder, Float32Builder, Float64Builder, Int32Builder,
        Int64Builder, ListBuilder, StringBuilder, TimestampMicrosecondBuilder,
    };
    use proptest::{collection::vec, option, prelude::*};
    use std::sync::Arc;

    use super::*;

    /// One column of every type, with nulls and the awkward values of each.
    pub(crate) fn any_columns(
        rows: Range<usize>,
    ) -> impl Strategy<Value = (Vec<Field>, Vec<ArrayRef>)> {
        rows.prop_flat_map(|rows| {
            let columns = DataType::ALL.map(|data_type| any_column(data_type, rows));
            columns.to_vec().prop_map(|columns| {
                let field = |data_type: DataType| Field {
                    name: format!("c_{}", data_type.name().replace(['<', '>'], "_")),
                    data_type,
                    nullable: true,
                    documentation: String::new(),
                };
                (DataType::ALL.map(field).to_vec(), columns)
            })
        })
    }

    /// Floats among which the awkward ones are common; every NaN is the canonical one.
    fn any_float() -> impl Strategy<Value = f64> {
        prop_oneof![
            any::<f64>().prop_filter("canonical NaN only", |x| !x.is_nan()),
            proptest::sample::select(vec![
                0.0,
                -0.0,
                f64::INFINITY,
                f64::NEG_INFINITY,
                f64::MIN_POSITIVE,
                f64::MAX,
                5e-324
            ]),
            Just(f64::from_bits(0x7ff8_0000_0000_0000)),
        ]
    }

    fn any_float32() -> impl Strategy<Value = f32> {
        any_float().prop_map(|x| if x.is_nan() { f32::from_bits(0x7fc0_0000) } else { x as f32 })
    }

    macro_rules! column {
        ($values:expr, $rows:expr, $builder:expr) => {
            vec(option::of($values), $rows)
                .prop_map(|values| {
                    let mut builder = $builder;
                    for value in values {
                        builder.append_option(value);
                    }
                    Arc::new(builder.finish()) as ArrayRef
                })
                .boxed()
        };
    }

    macro_rules! lists {
        ($values:expr, $rows:expr, $builder:expr) => {
            vec(option::of(vec($values, 0..4)), $rows)
                .prop_map(|lists| {
                    let mut builder = ListBuilder::new($builder);
                    for list in lists {
                        builder.append_option(list.map(|list| list.into_iter().map(Some)));
                    }
                    Arc::new(builder.finish()) as ArrayRef
                })
                .boxed()
        };
    }

    /// A column of a type.
    pub(crate) fn any_column(data_type: DataType, rows: usize) -> BoxedStrategy<ArrayRef> {
        match data_type {
            DataType::Boolean => column!(any::<bool>(), rows, BooleanBuilder::new()),
            DataType::Int32 => column!(any::<i32>(), rows, Int32Builder::new()),
            DataType::Int64 => column!(any::<i64>(), rows, Int64Builder::new()),
            DataType::Float32 => column!(any_float32(), rows, Float32Builder::new()),
            DataType::Float64 => column!(any_float(), rows, Float64Builder::new()),
            DataType::Utf8 => column!(any::<String>(), rows, StringBuilder::new()),
            DataType::Binary => column!(vec(any::<u8>(), 0..9), rows, BinaryBuilder::new()),
            DataType::Date => column!(any::<i32>(), rows, Date32Builder::new()),
            DataType::Timestamp => column!(
                any::<i64>(),
                rows,
                TimestampMicrosecondBuilder::new().with_data_type(DataType::Timestamp.to_arrow())
            ),
            DataType::ListInt64 => lists!(any::<i64>(), rows, Int64Builder::new()),
            DataType::ListFloat32 => lists!(any_float32(), rows, Float32Builder::new()),
            DataType::ListFloat64 => lists!(any_float(), rows, Float64Builder::new()),
            DataType::ListUtf8 => lists!(any::<String>(), rows, StringBuilder::new()),
        }
    }

    #[test]
    fn functions_are_shown_with_their_types() {
        let field = |name: &str, data_type, nullable| Field {
            name: name.into(),
            data_type,
            nullable,
            documentation: String::new(),
        };
        let function = Function {
            name: "standardize".into(),
            documentation: String::new(),
            params: vec![field("mean", DataType::Float64, false)],
            inputs: vec![field("x", DataType::Float64, true)],
            outputs: vec![field("z", DataType::ListUtf8, false)],
        };
        assert_eq!(
            function.to_string(),
            "standardize(x: float64?; mean: float64) -> (z: list<utf8>)"
        );
    }
}
