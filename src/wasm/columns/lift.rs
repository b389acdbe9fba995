//! Guest → Arrow. Everything here is untrusted until it has become an array.
//!
//! How many bytes there are is bounded before: the store of the call lets a guest hand over no
//! more than [`Limits::output_bytes`](crate::wasm::Limits::output_bytes).

use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, ArrowPrimitiveType, BooleanArray, GenericByteArray, ListArray,
        PrimitiveArray,
    },
    buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer},
    datatypes::{
        ArrowNativeType, BinaryType, ByteArrayType, Date32Type, Field, Float32Type, Float64Type,
        Int32Type, Int64Type, TimestampMicrosecondType, Utf8Type,
    },
};

use crate::{
    error::{Error, Result},
    value::{DataType, canonical_nan},
    wasm::bindings::v1,
};

/// What an answer has to look like.
#[derive(Debug, Clone, Copy)]
pub(in crate::wasm) struct Answer<'a> {
    /// The type declared for the column.
    pub data_type: DataType,
    /// The rows that went in.
    pub rows: usize,
    /// Rows that are null whatever the guest says.
    pub mask: Option<&'a NullBuffer>,
}

/// The column as an array of the declared type, every NaN canonical.
///
/// # Errors
/// [`Kind::Transform`](crate::error::Kind::Transform) for a column of another type or length, or
/// one that breaks a rule of the layout: offsets that start elsewhere than 0, decrease or end
/// elsewhere than the data; text that is not UTF-8; a bitmap of another size or with bits behind
/// the last row.
pub(in crate::wasm) fn lift(column: v1::ColumnResult, answer: Answer<'_>) -> Result<ArrayRef> {
    let nulls = validity(column.validity, answer)?;
    let array = values(column.values, answer, nulls)?;
    Ok(canonical_nan(&array))
}

fn values(
    values: v1::ValuesResult,
    answer: Answer<'_>,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef> {
    let Answer {
        data_type, rows, ..
    } = answer;
    use v1::ValuesResult as Values;
    Ok(match (data_type, values) {
        (DataType::Boolean, Values::Boolean(bits)) => {
            Arc::new(BooleanArray::new(bitmap(bits, rows, "values")?, nulls))
        }
        (DataType::Int32, Values::Int32(values)) => primitive::<Int32Type>(values, rows, nulls)?,
        (DataType::Int64, Values::Int64(values)) => primitive::<Int64Type>(values, rows, nulls)?,
        (DataType::Float32, Values::Float32(values)) => {
            primitive::<Float32Type>(values, rows, nulls)?
        }
        (DataType::Float64, Values::Float64(values)) => {
            primitive::<Float64Type>(values, rows, nulls)?
        }
        (DataType::Utf8, Values::Utf8(items)) => {
            Arc::new(bytes::<Utf8Type>(items, Some(rows), nulls)?)
        }
        (DataType::Binary, Values::Binary(items)) => {
            Arc::new(bytes::<BinaryType>(items, Some(rows), nulls)?)
        }
        (DataType::Date, Values::Date(values)) => primitive::<Date32Type>(values, rows, nulls)?,
        (DataType::Timestamp, Values::Timestamp(values)) => timestamps(values, rows, nulls)?,
        (DataType::ListInt64, Values::ListInt64(v1::VarInt64Result { offsets, items })) => {
            list(offsets, self::items::<Int64Type>(items), rows, nulls)?
        }
        (DataType::ListFloat32, Values::ListFloat32(v1::VarFloat32Result { offsets, items })) => {
            list(offsets, self::items::<Float32Type>(items), rows, nulls)?
        }
        (DataType::ListFloat64, Values::ListFloat64(v1::VarFloat64Result { offsets, items })) => {
            list(offsets, self::items::<Float64Type>(items), rows, nulls)?
        }
        (DataType::ListUtf8, Values::ListUtf8(v1::VarUtf8Result { offsets, items })) => {
            let strings =
                bytes::<Utf8Type>(items, None, None).map_err(|error| error.context("items"))?;
            list(offsets, Arc::new(strings), rows, nulls)?
        }
        (declared, returned) => {
            let returned = type_of(&returned);
            return Err(Error::transform(format!(
                "it is {returned} and declared {declared}"
            )));
        }
    })
}

fn type_of(values: &v1::ValuesResult) -> DataType {
    use v1::ValuesResult as Values;
    match values {
        Values::Boolean(_) => DataType::Boolean,
        Values::Int32(_) => DataType::Int32,
        Values::Int64(_) => DataType::Int64,
        Values::Float32(_) => DataType::Float32,
        Values::Float64(_) => DataType::Float64,
        Values::Utf8(_) => DataType::Utf8,
        Values::Binary(_) => DataType::Binary,
        Values::Date(_) => DataType::Date,
        Values::Timestamp(_) => DataType::Timestamp,
        Values::ListInt64(_) => DataType::ListInt64,
        Values::ListFloat32(_) => DataType::ListFloat32,
        Values::ListFloat64(_) => DataType::ListFloat64,
        Values::ListUtf8(_) => DataType::ListUtf8,
    }
}

/// What the guest calls null and what has to be null.
fn validity(bytes: Vec<u8>, answer: Answer<'_>) -> Result<Option<NullBuffer>> {
    let said = match bytes.is_empty() {
        true => None,
        false => Some(NullBuffer::new(bitmap(bytes, answer.rows, "validity")?)),
    };
    let nulls = NullBuffer::union(said.as_ref(), answer.mask);
    Ok(nulls.filter(|nulls| nulls.null_count() > 0))
}

fn bitmap(bytes: Vec<u8>, rows: usize, what: &str) -> Result<BooleanBuffer> {
    if bytes.len() != rows.div_ceil(8) {
        return Err(Error::transform(format!(
            "its {what} bitmap has {} bytes for {rows} rows, and needs {}",
            bytes.len(),
            rows.div_ceil(8)
        )));
    }
    let stray = |last: &u8| rows % 8 != 0 && last >> (rows % 8) != 0;
    if bytes.last().is_some_and(stray) {
        return Err(Error::transform(format!(
            "its {what} bitmap has bits set behind its {rows} rows"
        )));
    }
    Ok(BooleanBuffer::new(Buffer::from_vec(bytes), 0, rows))
}

fn check_length(length: usize, rows: usize) -> Result<()> {
    match length == rows {
        true => Ok(()),
        false => Err(Error::transform(format!(
            "it has {length} values for {rows} rows"
        ))),
    }
}

fn primitive<T: ArrowPrimitiveType>(
    values: Vec<T::Native>,
    rows: usize,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef> {
    check_length(values.len(), rows)?;
    Ok(Arc::new(PrimitiveArray::<T>::new(
        ScalarBuffer::from(values),
        nulls,
    )))
}

fn timestamps(values: Vec<i64>, rows: usize, nulls: Option<NullBuffer>) -> Result<ArrayRef> {
    check_length(values.len(), rows)?;
    let array = PrimitiveArray::<TimestampMicrosecondType>::new(ScalarBuffer::from(values), nulls);
    Ok(Arc::new(
        array.with_data_type(DataType::Timestamp.to_arrow()),
    ))
}

/// Strings or bytes; of a list of strings the number of items is not known before.
fn bytes<T: ByteArrayType<Offset = i32>>(
    items: v1::VarBytesResult,
    rows: Option<usize>,
    nulls: Option<NullBuffer>,
) -> Result<GenericByteArray<T>> {
    let rows = rows.unwrap_or(items.offsets.len().saturating_sub(1));
    let offsets = offsets(items.offsets, rows, items.bytes.len())?;
    let data = Buffer::from_vec(items.bytes);
    GenericByteArray::try_new(offsets.clone(), data.clone(), nulls).map_err(|_| {
        let bad = offsets.windows(2).position(|ends| {
            let (start, end) = (ends[0].as_usize(), ends[1].as_usize());
            std::str::from_utf8(&data[start..end]).is_err()
        });
        let bad = bad.map_or(String::new(), |item| format!(": item {item}"));
        Error::transform(format!("it is not UTF-8{bad}"))
    })
}

fn items<T: ArrowPrimitiveType>(items: Vec<T::Native>) -> ArrayRef {
    Arc::new(PrimitiveArray::<T>::new(ScalarBuffer::from(items), None))
}

fn list(
    offsets: Vec<i32>,
    items: ArrayRef,
    rows: usize,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef> {
    let offsets = self::offsets(offsets, rows, items.len())?;
    let item = Arc::new(Field::new_list_field(items.data_type().clone(), true));
    Ok(Arc::new(ListArray::new(item, offsets, items, nulls)))
}

/// Offsets that lie within `length` items, in order, and leave none out.
fn offsets(offsets: Vec<i32>, rows: usize, length: usize) -> Result<OffsetBuffer<i32>> {
    let wrong = |what: String| Err(Error::transform(format!("its offsets {what}")));
    if offsets.len() != rows + 1 {
        return wrong(format!(
            "are {} for {rows} rows, and have to be {}",
            offsets.len(),
            rows + 1
        ));
    }
    if offsets[0] != 0 {
        return wrong(format!("start at {}, not at 0", offsets[0]));
    }
    if let Some(row) = offsets.windows(2).position(|ends| ends[1] < ends[0]) {
        return wrong(format!(
            "decrease in row {row}, from {} to {}",
            offsets[row],
            offsets[row + 1]
        ));
    }
    let last = offsets[rows];
    if last.as_usize() != length {
        return wrong(format!("end at {last}, and there are {length} items"));
    }
    Ok(OffsetBuffer::new(ScalarBuffer::from(offsets)))
}
