//! Columns into rows.

use arrow::{
    array::{
        Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, ListArray, PrimitiveArray,
    },
    datatypes::{
        Date32Type, Float32Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType,
    },
};

use super::RowSchema;
use crate::{
    digest::Digest,
    error::Result,
    value::{DataType, Field},
};

/// Writes rows of some columns.
pub struct RowEncoder<'a> {
    pub(super) columns: Vec<([u8; 4], Source<'a>)>,
}

pub(super) enum Source<'a> {
    Boolean(&'a BooleanArray),
    Int32(&'a PrimitiveArray<Int32Type>),
    Int64(&'a PrimitiveArray<Int64Type>),
    Float32(&'a PrimitiveArray<Float32Type>),
    Float64(&'a PrimitiveArray<Float64Type>),
    Utf8(&'a arrow::array::StringArray),
    Binary(&'a arrow::array::BinaryArray),
    Date(&'a PrimitiveArray<Date32Type>),
    Timestamp(&'a PrimitiveArray<TimestampMicrosecondType>),
    List(&'a ListArray),
}

impl<'a> RowEncoder<'a> {
    /// An encoder for columns of these names and types, in any order: it writes them in the order
    /// of their names, so that the bytes of a row depend on its content alone.
    ///
    /// # Errors
    /// Those of [`RowSchema::new`] and [`RowSchema::encoder`].
    pub fn new(fields: &[Field], columns: &'a [ArrayRef]) -> Result<Self> {
        RowSchema::new(fields)?.encoder(columns)
    }

    /// Appends the bytes of a row.
    pub fn encode(&self, row: usize, out: &mut Vec<u8>) {
        for (tag, column) in &self.columns {
            out.extend_from_slice(tag);
            column.write(row, out);
        }
    }

    /// The first eight bytes of the SHA-256 of a row's bytes: a fixed total order over content.
    /// `scratch` is a buffer to reuse.
    pub fn hash(&self, row: usize, scratch: &mut Vec<u8>) -> u64 {
        scratch.clear();
        self.encode(row, scratch);
        let digest = Digest::of(&scratch);
        let [a, b, c, d, e, f, g, h, ..] = *digest.as_bytes();
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }
}

/// [`RowEncoder::hash`] of one row, for callers with a single one.
///
/// # Errors
/// Those of [`RowEncoder::new`].
pub fn content_hash(fields: &[Field], columns: &[ArrayRef], row: usize) -> Result<u64> {
    Ok(RowEncoder::new(fields, columns)?.hash(row, &mut Vec::new()))
}

impl<'a> Source<'a> {
    pub(super) fn new(column: &'a ArrayRef, data_type: DataType) -> Self {
        match data_type {
            DataType::Boolean => Self::Boolean(column.as_boolean()),
            DataType::Int32 => Self::Int32(column.as_primitive()),
            DataType::Int64 => Self::Int64(column.as_primitive()),
            DataType::Float32 => Self::Float32(column.as_primitive()),
            DataType::Float64 => Self::Float64(column.as_primitive()),
            DataType::Utf8 => Self::Utf8(column.as_string()),
            DataType::Binary => Self::Binary(column.as_binary()),
            DataType::Date => Self::Date(column.as_primitive()),
            DataType::Timestamp => Self::Timestamp(column.as_primitive()),
            DataType::ListInt64
            | DataType::ListFloat32
            | DataType::ListFloat64
            | DataType::ListUtf8 => Self::List(column.as_list()),
        }
    }

    fn array(&self) -> &dyn Array {
        match self {
            Self::Boolean(column) => *column,
            Self::Int32(column) => *column,
            Self::Int64(column) => *column,
            Self::Float32(column) => *column,
            Self::Float64(column) => *column,
            Self::Utf8(column) => *column,
            Self::Binary(column) => *column,
            Self::Date(column) => *column,
            Self::Timestamp(column) => *column,
            Self::List(column) => *column,
        }
    }

    fn write(&self, row: usize, out: &mut Vec<u8>) {
        if self.array().is_null(row) {
            out.push(0);
            return;
        }
        match self {
            Self::Boolean(column) => write_sized(out, &[u8::from(column.value(row))]),
            Self::Int32(column) => write_sized(out, &column.value(row).to_le_bytes()),
            Self::Int64(column) => write_sized(out, &column.value(row).to_le_bytes()),
            Self::Float32(column) => write_sized(out, &column.value(row).to_le_bytes()),
            Self::Float64(column) => write_sized(out, &column.value(row).to_le_bytes()),
            Self::Utf8(column) => write_sized(out, column.value(row).as_bytes()),
            Self::Binary(column) => write_sized(out, column.value(row)),
            Self::Date(column) => write_sized(out, &column.value(row).to_le_bytes()),
            Self::Timestamp(column) => write_sized(out, &column.value(row).to_le_bytes()),
            Self::List(column) => write_list(out, &column.value(row)),
        }
    }
}

fn write_length(out: &mut Vec<u8>, length: usize) {
    let mut rest = length as u64 + 1;
    while rest >= 0x80 {
        out.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

fn write_sized(out: &mut Vec<u8>, bytes: &[u8]) {
    write_length(out, bytes.len());
    out.extend_from_slice(bytes);
}

fn write_list(out: &mut Vec<u8>, items: &ArrayRef) {
    if let Some(items) = items.as_primitive_opt::<Int64Type>() {
        write_numbers(out, items, |x| x.to_le_bytes());
    } else if let Some(items) = items.as_primitive_opt::<Float32Type>() {
        write_numbers(out, items, |x| x.to_le_bytes());
    } else if let Some(items) = items.as_primitive_opt::<Float64Type>() {
        write_numbers(out, items, |x| x.to_le_bytes());
    } else {
        let items = items.as_string::<i32>();
        let total: usize = (0..items.len()).map(|i| 4 + items.value(i).len()).sum();
        write_length(out, total);
        for i in 0..items.len() {
            let item = items.value(i).as_bytes();
            out.extend_from_slice(&(item.len() as u32).to_le_bytes());
            out.extend_from_slice(item);
        }
    }
}

fn write_numbers<T: ArrowPrimitiveType, const N: usize>(
    out: &mut Vec<u8>,
    items: &PrimitiveArray<T>,
    to_bytes: impl Fn(T::Native) -> [u8; N],
) {
    write_length(out, items.len() * N);
    for item in items.values() {
        out.extend_from_slice(&to_bytes(*item));
    }
}
