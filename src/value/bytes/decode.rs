//! Rows into columns.

use std::sync::Arc;

use arrow::{
    array::{
        ArrayRef, BinaryBuilder, BooleanBuilder, ListBuilder, PrimitiveBuilder, StringBuilder,
    },
    datatypes::{
        Date32Type, Float32Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType,
    },
};

use super::{Wanted, bad_bytes, locate, texts};
use crate::{error::Result, value::DataType};

/// Reads rows into columns.
pub struct RowDecoder<'a> {
    pub(super) columns: &'a [Wanted],
    pub(super) builders: Vec<Builder>,
}

pub(super) enum Builder {
    Boolean(BooleanBuilder),
    Int32(PrimitiveBuilder<Int32Type>),
    Int64(PrimitiveBuilder<Int64Type>),
    Float32(PrimitiveBuilder<Float32Type>),
    Float64(PrimitiveBuilder<Float64Type>),
    Utf8(StringBuilder),
    Binary(BinaryBuilder),
    Date(PrimitiveBuilder<Date32Type>),
    Timestamp(PrimitiveBuilder<TimestampMicrosecondType>),
    ListInt64(ListBuilder<PrimitiveBuilder<Int64Type>>),
    ListFloat32(ListBuilder<PrimitiveBuilder<Float32Type>>),
    ListFloat64(ListBuilder<PrimitiveBuilder<Float64Type>>),
    ListUtf8(ListBuilder<StringBuilder>),
}

impl RowDecoder<'_> {
    /// Adds a row that is null in every column.
    pub fn push_null(&mut self) {
        for builder in &mut self.builders {
            builder.push_null();
        }
    }

    /// Adds a row. A column that the bytes do not have is null in it; one that nobody asked for is
    /// passed over.
    ///
    /// # Errors
    /// [`crate::error::Kind::Corrupt`] when the bytes are no row. The decoder is of no use then.
    pub fn push(&mut self, row: &[u8]) -> Result<()> {
        let mut builders = self.builders.iter_mut();
        locate(self.columns, row, |wanted, found| {
            let Some(builder) = builders.next() else { return Ok(()) };
            match found.map(|place| &row[place]) {
                Some(bytes) => builder.push(bytes).ok_or_else(|| bad_bytes(wanted)),
                None => {
                    builder.push_null();
                    Ok(())
                }
            }
        })
    }

    /// The columns.
    pub fn finish(self) -> Vec<ArrayRef> {
        let mut columns: Vec<(usize, ArrayRef)> = self
            .columns
            .iter()
            .zip(self.builders)
            .map(|(wanted, builder)| (wanted.place, builder.finish()))
            .collect();
        columns.sort_unstable_by_key(|(place, _)| *place);
        columns.into_iter().map(|(_, column)| column).collect()
    }
}

macro_rules! number {
    ($builder:expr, $bytes:expr, $native:ty) => {
        $builder.append_value(<$native>::from_le_bytes($bytes.try_into().ok()?))
    };
}

macro_rules! numbers {
    ($builder:expr, $bytes:expr, $native:ty) => {{
        let (items, rest) = $bytes.as_chunks::<{ size_of::<$native>() }>();
        if !rest.is_empty() {
            return None;
        }
        for item in items {
            $builder.values().append_value(<$native>::from_le_bytes(*item));
        }
        $builder.append(true);
    }};
}

macro_rules! each {
    ($self:expr, $builder:ident => $do:expr) => {
        match $self {
            Builder::Boolean($builder) => $do,
            Builder::Int32($builder) => $do,
            Builder::Int64($builder) => $do,
            Builder::Float32($builder) => $do,
            Builder::Float64($builder) => $do,
            Builder::Utf8($builder) => $do,
            Builder::Binary($builder) => $do,
            Builder::Date($builder) => $do,
            Builder::Timestamp($builder) => $do,
            Builder::ListInt64($builder) => $do,
            Builder::ListFloat32($builder) => $do,
            Builder::ListFloat64($builder) => $do,
            Builder::ListUtf8($builder) => $do,
        }
    };
}

impl Builder {
    pub(super) fn new(data_type: DataType, rows: usize) -> Self {
        match data_type {
            DataType::Boolean => Self::Boolean(BooleanBuilder::with_capacity(rows)),
            DataType::Int32 => Self::Int32(PrimitiveBuilder::with_capacity(rows)),
            DataType::Int64 => Self::Int64(PrimitiveBuilder::with_capacity(rows)),
            DataType::Float32 => Self::Float32(PrimitiveBuilder::with_capacity(rows)),
            DataType::Float64 => Self::Float64(PrimitiveBuilder::with_capacity(rows)),
            DataType::Utf8 => Self::Utf8(StringBuilder::with_capacity(rows, rows * 8)),
            DataType::Binary => Self::Binary(BinaryBuilder::with_capacity(rows, rows * 8)),
            DataType::Date => Self::Date(PrimitiveBuilder::with_capacity(rows)),
            DataType::Timestamp => Self::Timestamp(
                PrimitiveBuilder::with_capacity(rows).with_data_type(data_type.to_arrow()),
            ),
            DataType::ListInt64 => Self::ListInt64(ListBuilder::default()),
            DataType::ListFloat32 => Self::ListFloat32(ListBuilder::default()),
            DataType::ListFloat64 => Self::ListFloat64(ListBuilder::default()),
            DataType::ListUtf8 => Self::ListUtf8(ListBuilder::default()),
        }
    }

    fn push_null(&mut self) {
        each!(self, builder => builder.append_null());
    }

    /// `None` where the bytes are no value of the type.
    fn push(&mut self, bytes: &[u8]) -> Option<()> {
        match self {
            Self::Boolean(builder) => match bytes {
                [0] => builder.append_value(false),
                [1] => builder.append_value(true),
                _ => return None,
            },
            Self::Int32(builder) => number!(builder, bytes, i32),
            Self::Int64(builder) => number!(builder, bytes, i64),
            Self::Float32(builder) => number!(builder, bytes, f32),
            Self::Float64(builder) => number!(builder, bytes, f64),
            Self::Date(builder) => number!(builder, bytes, i32),
            Self::Timestamp(builder) => number!(builder, bytes, i64),
            Self::Utf8(builder) => builder.append_value(std::str::from_utf8(bytes).ok()?),
            Self::Binary(builder) => builder.append_value(bytes),
            Self::ListInt64(builder) => numbers!(builder, bytes, i64),
            Self::ListFloat32(builder) => numbers!(builder, bytes, f32),
            Self::ListFloat64(builder) => numbers!(builder, bytes, f64),
            Self::ListUtf8(builder) => {
                texts(bytes, |text| builder.values().append_value(text))?;
                builder.append(true);
            }
        }
        Some(())
    }

    fn finish(mut self) -> ArrayRef {
        each!(&mut self, builder => Arc::new(builder.finish()))
    }
}
