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
    let Answer { data_type, rows, .. } = answer;
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
            return Err(Error::transform(format!("it is {returned} and declared {declared}")));
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
    let stray = |last: &u8| !rows.is_multiple_of(8) && last >> (rows % 8) != 0;
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
        false => Err(Error::transform(format!("it has {length} values for {rows} rows"))),
    }
}

fn primitive<T: ArrowPrimitiveType>(
    values: Vec<T::Native>,
    rows: usize,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef> {
    check_length(values.len(), rows)?;
    Ok(Arc::new(PrimitiveArray::<T>::new(ScalarBuffer::from(values), nulls)))
}

fn timestamps(values: Vec<i64>, rows: usize, nulls: Option<NullBuffer>) -> Result<ArrayRef> {
    check_length(values.len(), rows)?;
    let array = PrimitiveArray::<TimestampMicrosecondType>::new(ScalarBuffer::from(values), nulls);
    Ok(Arc::new(array.with_data_type(DataType::Timestamp.to_arrow())))
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
    if data.is_ascii() {
        // SAFETY: `offsets` has found one for each row, in order and within the data; `validity`
        // has as many rows; and wherever ASCII is cut, the pieces are UTF-8.
        return Ok(unsafe { GenericByteArray::new_unchecked(offsets, data, nulls) });
    }
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
    let pairs = || offsets.iter().zip(&offsets[1..]);
    // No early exit, as with NaN.
    let any = pairs().fold(false, |any, (start, end)| any | (end < start));
    if let Some(row) = any.then(|| pairs().position(|(start, end)| end < start)).flatten() {
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

#[cfg(test)]
mod tests {
    use super::*;
    use v1::ValuesResult as Values;

    const NONE: &[u8] = &[];

    fn lift_column(
        values: Values,
        validity: &[u8],
        data_type: DataType,
        rows: usize,
    ) -> Result<ArrayRef> {
        let column = v1::ColumnResult { values, validity: validity.to_vec() };
        lift(column, Answer { data_type, rows, mask: None })
    }

    #[track_caller]
    fn check(values: Values, validity: &[u8], rows: usize, expected: &str) {
        let data_type = type_of(&values);
        let error = lift_column(values, validity, data_type, rows).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }

    fn strings(offsets: &[i32], bytes: &[u8]) -> v1::VarBytesResult {
        v1::VarBytesResult { offsets: offsets.to_vec(), bytes: bytes.to_vec() }
    }

    #[test]
    fn every_type_is_only_itself() {
        let empty = || strings(&[0], b"");
        let int64 = v1::VarInt64Result { offsets: vec![0], items: vec![] };
        let float32 = v1::VarFloat32Result { offsets: vec![0], items: vec![] };
        let float64 = v1::VarFloat64Result { offsets: vec![0], items: vec![] };
        let utf8 = v1::VarUtf8Result { offsets: vec![0], items: empty() };
        let columns = [
            Values::Boolean(vec![]),
            Values::Int32(vec![]),
            Values::Int64(vec![]),
            Values::Float32(vec![]),
            Values::Float64(vec![]),
            Values::Utf8(empty()),
            Values::Binary(empty()),
            Values::Date(vec![]),
            Values::Timestamp(vec![]),
            Values::ListInt64(int64),
            Values::ListFloat32(float32),
            Values::ListFloat64(float64),
            Values::ListUtf8(utf8),
        ];
        for (returned, values) in DataType::ALL.into_iter().zip(columns) {
            for declared in DataType::ALL {
                let lifted = lift_column(values.clone(), NONE, declared, 0);
                let lifted = lifted.map(|array| array.data_type().clone());
                let expected = match returned == declared {
                    true => Ok(declared.to_arrow()),
                    false => {
                        Err(Error::transform(format!("it is {returned} and declared {declared}")))
                    }
                };
                assert_eq!(lifted, expected);
            }
        }
    }

    #[test]
    fn lengths_are_those_of_the_batch() {
        check(Values::Int32(vec![1]), NONE, 2, "it has 1 values for 2 rows");
        check(Values::Timestamp(vec![1; 3]), NONE, 2, "it has 3 values for 2 rows");
        check(
            Values::Boolean(vec![0]),
            NONE,
            9,
            "its values bitmap has 1 bytes for 9 rows, and needs 2",
        );
        check(
            Values::Int32(vec![1; 8]),
            &[0, 0],
            8,
            "its validity bitmap has 2 bytes for 8 rows, and needs 1",
        );
        check(
            Values::Int32(vec![1; 3]),
            &[0b1111],
            3,
            "its validity bitmap has bits set behind its 3 rows",
        );
        check(
            Values::Boolean(vec![0xff, 0x03]),
            NONE,
            9,
            "its values bitmap has bits set behind its 9 rows",
        );
    }

    #[test]
    fn offsets_lie_in_order_within_the_data() {
        let check = |offsets: &[i32], expected: &str| {
            check(Values::Binary(strings(offsets, b"abc")), NONE, 2, expected);
            let lists = v1::VarInt64Result { offsets: offsets.to_vec(), items: vec![1, 2, 3] };
            super::tests::check(Values::ListInt64(lists), NONE, 2, expected);
        };
        check(&[], "its offsets are 0 for 2 rows, and have to be 3");
        check(&[0, 3], "its offsets are 2 for 2 rows, and have to be 3");
        check(&[0, 1, 2, 3], "its offsets are 4 for 2 rows, and have to be 3");
        check(&[1, 2, 3], "its offsets start at 1, not at 0");
        check(&[-1, 2, 3], "its offsets start at -1, not at 0");
        check(&[0, 3, 2], "its offsets decrease in row 1, from 3 to 2");
        check(&[0, -1, 3], "its offsets decrease in row 0, from 0 to -1");
        check(&[0, 2, 4], "its offsets end at 4, and there are 3 items");
        check(&[0, 2, i32::MAX], "its offsets end at 2147483647, and there are 3 items");
        check(&[0, 1, 2], "its offsets end at 2, and there are 3 items");
    }

    #[test]
    fn text_is_utf8_item_by_item() {
        let bad = |offsets: &[i32], bytes: &[u8]| Values::Utf8(strings(offsets, bytes));
        check(bad(&[0, 1, 2], b"a\xff"), NONE, 2, "it is not UTF-8: item 1");
        // Valid as a whole and cut within a character.
        check(bad(&[0, 1, 2], "ä".as_bytes()), NONE, 2, "it is not UTF-8: item 0");
        let items = strings(&[0, 1], b"\xc0");
        let lists = v1::VarUtf8Result { offsets: vec![0, 1], items };
        check(Values::ListUtf8(lists), NONE, 1, "items: it is not UTF-8: item 0");
        let lists = v1::VarUtf8Result { offsets: vec![0, 1], items: strings(&[], b"") };
        let expected = "items: its offsets are 0 for 0 rows, and have to be 1";
        check(Values::ListUtf8(lists), NONE, 1, expected);
    }

    #[test]
    fn a_buffer_is_moved_and_not_copied() {
        let values = vec![1.5_f64; 1000];
        let address = values.as_ptr();
        let array = lift_column(Values::Float64(values), NONE, DataType::Float64, 1000).unwrap();
        assert_eq!(array.to_data().buffers()[0].as_ptr().cast(), address);
    }
}
