//! One value of any type, apart from columns: to be made up, compared and shown.

use std::{fmt, sync::Arc};

use arrow::{
    array::{
        Array, ArrayRef, AsArray, BinaryBuilder, BooleanBuilder, Float32Builder, Float64Builder,
        ListBuilder, PrimitiveBuilder, StringBuilder,
    },
    datatypes::{
        Date32Type, Float32Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType,
    },
};

use super::{DataType, Field, column_to_json};

/// A value, or none. Floats are kept as their bits: equal cells are equal bit for bit.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the variants are the types, and documented there")]
pub enum Cell {
    Null,
    Boolean(bool),
    Int32(i32),
    Int64(i64),
    Float32(u32),
    Float64(u64),
    Utf8(String),
    Binary(Vec<u8>),
    Date(i32),
    Timestamp(i64),
    /// Items, none of which is null.
    List(Vec<Cell>),
}

/// A value for each column.
pub type Row = Vec<Cell>;

/// The bits of the canonical NaN of 32 bits.
pub const NAN_32: u32 = 0x7fc0_0000;
/// The bits of the canonical NaN of 64 bits.
pub const NAN_64: u64 = 0x7ff8_0000_0000_0000;

/// A column of these cells, which are of the type or null.
pub fn column_from_cells<'a>(
    cells: impl IntoIterator<Item = &'a Cell>,
    data_type: DataType,
) -> ArrayRef {
    let cells = cells.into_iter();
    macro_rules! build {
        ($builder:expr, $pattern:pat => $value:expr) => {{
            let mut builder = $builder;
            for cell in cells {
                match cell {
                    $pattern => builder.append_value($value),
                    _ => builder.append_null(),
                }
            }
            Arc::new(builder.finish())
        }};
    }
    macro_rules! lists {
        ($builder:expr, $pattern:pat => $value:expr) => {{
            let mut builder = ListBuilder::new($builder);
            for cell in cells {
                let Cell::List(items) = cell else {
                    builder.append_null();
                    continue;
                };
                for item in items {
                    if let $pattern = item {
                        builder.values().append_value($value);
                    }
                }
                builder.append(true);
            }
            Arc::new(builder.finish())
        }};
    }
    match data_type {
        DataType::Boolean => build!(BooleanBuilder::new(), Cell::Boolean(x) => *x),
        DataType::Int32 => build!(PrimitiveBuilder::<Int32Type>::new(), Cell::Int32(x) => *x),
        DataType::Int64 => build!(PrimitiveBuilder::<Int64Type>::new(), Cell::Int64(x) => *x),
        DataType::Float32 => build!(Float32Builder::new(), Cell::Float32(x) => f32::from_bits(*x)),
        DataType::Float64 => build!(Float64Builder::new(), Cell::Float64(x) => f64::from_bits(*x)),
        DataType::Utf8 => build!(StringBuilder::new(), Cell::Utf8(x) => x),
        DataType::Binary => build!(BinaryBuilder::new(), Cell::Binary(x) => x),
        DataType::Date => build!(PrimitiveBuilder::<Date32Type>::new(), Cell::Date(x) => *x),
        DataType::Timestamp => build!(
            PrimitiveBuilder::<TimestampMicrosecondType>::new()
                .with_data_type(DataType::Timestamp.to_arrow()),
            Cell::Timestamp(x) => *x
        ),
        DataType::ListInt64 => {
            lists!(PrimitiveBuilder::<Int64Type>::new(), Cell::Int64(x) => *x)
        }
        DataType::ListFloat32 => {
            lists!(Float32Builder::new(), Cell::Float32(x) => f32::from_bits(*x))
        }
        DataType::ListFloat64 => {
            lists!(Float64Builder::new(), Cell::Float64(x) => f64::from_bits(*x))
        }
        DataType::ListUtf8 => lists!(StringBuilder::new(), Cell::Utf8(x) => x),
    }
}

impl Cell {
    /// The value of a row of a column of this type.
    pub fn of(column: &ArrayRef, row: usize, data_type: DataType) -> Self {
        if column.is_null(row) {
            return Self::Null;
        }
        match data_type {
            DataType::Boolean => Self::Boolean(column.as_boolean().value(row)),
            DataType::Int32 => Self::Int32(column.as_primitive::<Int32Type>().value(row)),
            DataType::Int64 => Self::Int64(column.as_primitive::<Int64Type>().value(row)),
            DataType::Float32 => {
                Self::Float32(column.as_primitive::<Float32Type>().value(row).to_bits())
            }
            DataType::Float64 => {
                Self::Float64(column.as_primitive::<Float64Type>().value(row).to_bits())
            }
            DataType::Utf8 => Self::Utf8(column.as_string::<i32>().value(row).to_owned()),
            DataType::Binary => Self::Binary(column.as_binary::<i32>().value(row).to_vec()),
            DataType::Date => Self::Date(column.as_primitive::<Date32Type>().value(row)),
            DataType::Timestamp => {
                Self::Timestamp(column.as_primitive::<TimestampMicrosecondType>().value(row))
            }
            DataType::ListInt64 => Self::items(column, row, DataType::Int64),
            DataType::ListFloat32 => Self::items(column, row, DataType::Float32),
            DataType::ListFloat64 => Self::items(column, row, DataType::Float64),
            DataType::ListUtf8 => Self::items(column, row, DataType::Utf8),
        }
    }

    fn items(column: &ArrayRef, row: usize, item: DataType) -> Self {
        let items = column.as_list::<i32>().value(row);
        Self::List((0..items.len()).map(|place| Self::of(&items, place, item)).collect())
    }

    /// Whether this is a NaN, or a list with one.
    pub fn has_nan(&self) -> bool {
        match self {
            Self::Float32(bits) => f32::from_bits(*bits).is_nan(),
            Self::Float64(bits) => f64::from_bits(*bits).is_nan(),
            Self::List(items) => items.iter().any(Self::has_nan),
            _ => false,
        }
    }
}

/// `column = value` for each column of a row.
pub fn show_row(fields: &[Field], row: &[Cell]) -> String {
    let named = fields.iter().zip(row).map(|(field, cell)| format!("{} = {cell}", field.name));
    named.collect::<Vec<_>>().join(", ")
}

/// Characters of a text, bytes and items of a list that are shown.
const SHOWN: usize = 48;

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Boolean(x) => write!(f, "{x}"),
            Self::Int32(x) => write!(f, "{x}"),
            Self::Int64(x) => write!(f, "{x}"),
            Self::Float32(NAN_32) | Self::Float64(NAN_64) => f.write_str("NaN"),
            Self::Float32(bits) if f32::from_bits(*bits).is_nan() => write!(f, "NaN 0x{bits:08x}"),
            Self::Float64(bits) if f64::from_bits(*bits).is_nan() => write!(f, "NaN 0x{bits:016x}"),
            Self::Float32(bits) => write!(f, "{:?}", f32::from_bits(*bits)),
            Self::Float64(bits) => write!(f, "{:?}", f64::from_bits(*bits)),
            Self::Utf8(text) => match text.char_indices().nth(SHOWN) {
                None => write!(f, "{text:?}"),
                Some((end, _)) => write!(f, "{:?}… ({} bytes)", &text[..end], text.len()),
            },
            Self::Binary(bytes) => match bytes.get(..SHOWN / 2) {
                Some(head) if bytes.len() > head.len() => {
                    write!(f, "0x{}… ({} bytes)", hex::encode(head), bytes.len())
                }
                _ => write!(f, "0x{}", hex::encode(bytes)),
            },
            Self::Date(_) => self.show_time(f, DataType::Date),
            Self::Timestamp(_) => self.show_time(f, DataType::Timestamp),
            Self::List(items) => {
                let shown: Vec<_> = items.iter().take(SHOWN / 4).map(Self::to_string).collect();
                match items.len() - shown.len() {
                    0 => write!(f, "[{}]", shown.join(", ")),
                    more => write!(f, "[{}, … {more} more]", shown.join(", ")),
                }
            }
        }
    }
}

impl Cell {
    fn show_time(&self, f: &mut fmt::Formatter<'_>, data_type: DataType) -> fmt::Result {
        let json = column_to_json(&column_from_cells([self], data_type)).pop().unwrap_or_default();
        f.write_str(json.as_str().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_value_is_taken_out_of_a_column_and_put_back() {
        proptest!(ProptestConfig::with_cases(64), |((fields, columns) in crate::value::tests::any_columns(0..9))| {
            for (field, array) in fields.iter().zip(&columns) {
                let data_type = field.data_type;
                let cells: Vec<_> =
                    (0..array.len()).map(|row| Cell::of(array, row, data_type)).collect();
                prop_assert_eq!(&column_from_cells(&cells, data_type), array);
            }
        });
    }

    #[test]
    fn values_are_shown_as_people_write_them() {
        for (cell, shown) in [
            (Cell::Float64((-0.0_f64).to_bits()), "-0.0"),
            (Cell::Float64(NAN_64), "NaN"),
            (Cell::Float64(0x7ff0_0000_0000_0001), "NaN 0x7ff0000000000001"),
            (Cell::Float32(0xffc0_0000), "NaN 0xffc00000"),
            (Cell::Utf8("a\"\0".to_owned()), "\"a\\\"\\0\""),
            (Cell::Binary(vec![0, 255]), "0x00ff"),
            (Cell::Date(0), "1970-01-01"),
            (Cell::Timestamp(1), "1970-01-01T00:00:00.000001Z"),
            (Cell::List(vec![Cell::Int64(1), Cell::Int64(-1)]), "[1, -1]"),
        ] {
            assert_eq!(cell.to_string(), shown);
        }
        let long = Cell::Utf8("ä".repeat(100)).to_string();
        assert_eq!(long, format!("\"{}\"… (200 bytes)", "ä".repeat(48)));
    }
}
