//! Arrow → guest.

use std::{borrow::Cow, sync::Arc};

use arrow::{
    array::{
        Array, ArrayRef, ArrowPrimitiveType, AsArray, GenericByteArray, ListArray, PrimitiveArray,
        UInt32Array,
    },
    buffer::{BooleanBuffer, NullBuffer, ScalarBuffer},
    compute::take,
    datatypes::{
        ArrowNativeTypeOp, BinaryType, ByteArrayType, Date32Type, Float32Type, Float64Type,
        Int32Type, Int64Type, TimestampMicrosecondType, Utf8Type,
    },
};

use crate::{
    error::{Error, Result},
    value::DataType,
    wasm::bindings::v1,
};

/// The array with what a guest must not see taken out: values left behind in null rows, which
/// differ with the way the array was made. Where there is nothing of the kind, which is usual,
/// this is the same array.
pub(in crate::wasm) fn settle(array: &ArrayRef, data_type: DataType) -> Result<ArrayRef> {
    let array = Arc::clone(array);
    let Some(nulls) = array.nulls().filter(|nulls| nulls.null_count() > 0) else {
        return Ok(array);
    };
    let settled = match data_type {
        DataType::Boolean => None, // `bitmap_under` leaves nothing behind.
        DataType::Int32 => clear::<Int32Type>(&array, nulls),
        DataType::Int64 => clear::<Int64Type>(&array, nulls),
        DataType::Float32 => clear::<Float32Type>(&array, nulls),
        DataType::Float64 => clear::<Float64Type>(&array, nulls),
        DataType::Date => clear::<Date32Type>(&array, nulls),
        DataType::Timestamp => clear::<TimestampMicrosecondType>(&array, nulls),
        DataType::Utf8 => close_up(&array, array.as_string::<i32>().value_offsets(), nulls)?,
        DataType::Binary => close_up(&array, array.as_binary::<i32>().value_offsets(), nulls)?,
        DataType::ListInt64
        | DataType::ListFloat32
        | DataType::ListFloat64
        | DataType::ListUtf8 => close_up(&array, array.as_list::<i32>().value_offsets(), nulls)?,
    };
    Ok(settled.unwrap_or(array))
}

/// Zeros in null rows, or nothing where that is so already.
fn clear<T: ArrowPrimitiveType>(array: &ArrayRef, nulls: &NullBuffer) -> Option<ArrayRef> {
    let array = array.as_primitive::<T>();
    let (zero, null_rows) = (T::Native::ZERO, !nulls.inner());
    if null_rows.set_indices().all(|row| array.values()[row].is_eq(zero)) {
        return None;
    }
    let mut values = array.values().to_vec();
    null_rows.set_indices().for_each(|row| values[row] = zero);
    let cleared = PrimitiveArray::<T>::new(ScalarBuffer::from(values), Some(nulls.clone()));
    Some(Arc::new(cleared.with_data_type(array.data_type().clone())))
}

/// Nothing in null rows, or nothing to do where that is so already.
fn close_up(array: &ArrayRef, offsets: &[i32], nulls: &NullBuffer) -> Result<Option<ArrayRef>> {
    if (!nulls.inner()).set_indices().all(|row| offsets[row] == offsets[row + 1]) {
        return Ok(None);
    }
    let rows = u32::try_from(array.len())
        .map_err(|_| Error::internal(format!("a batch of {} rows", array.len())))?;
    let every = UInt32Array::new((0..rows).collect(), Some(nulls.clone()));
    let closed = take(array, &every, None);
    closed.map(Some).map_err(|error| Error::internal(format!("cannot copy a column: {error}")))
}

/// A column as the guest gets it, borrowed from an Arrow array wherever that has the layout.
#[derive(Debug)]
pub(in crate::wasm) struct Lowered<'a> {
    values: Values<'a>,
    validity: Cow<'a, [u8]>,
}

#[derive(Debug)]
enum Values<'a> {
    Boolean(Cow<'a, [u8]>),
    Int32(&'a [i32]),
    Int64(&'a [i64]),
    Float32(&'a [f32]),
    Float64(&'a [f64]),
    Utf8(Bytes<'a>),
    Binary(Bytes<'a>),
    Date(&'a [i32]),
    Timestamp(&'a [i64]),
    ListInt64(Cow<'a, [i32]>, &'a [i64]),
    ListFloat32(Cow<'a, [i32]>, &'a [f32]),
    ListFloat64(Cow<'a, [i32]>, &'a [f64]),
    ListUtf8(Cow<'a, [i32]>, Bytes<'a>),
}

#[derive(Debug)]
struct Bytes<'a> {
    offsets: Cow<'a, [i32]>,
    bytes: &'a [u8],
}

/// Lowers a column of this type; [`settle`] comes before.
pub(in crate::wasm) fn lower(array: &ArrayRef, data_type: DataType) -> Lowered<'_> {
    let values = match data_type {
        DataType::Boolean => {
            let array = array.as_boolean();
            Values::Boolean(bitmap_under(array.values(), array.nulls()))
        }
        DataType::Int32 => Values::Int32(array.as_primitive::<Int32Type>().values()),
        DataType::Int64 => Values::Int64(array.as_primitive::<Int64Type>().values()),
        DataType::Float32 => Values::Float32(array.as_primitive::<Float32Type>().values()),
        DataType::Float64 => Values::Float64(array.as_primitive::<Float64Type>().values()),
        DataType::Utf8 => Values::Utf8(bytes::<Utf8Type>(array.as_bytes(), 0, array.len())),
        DataType::Binary => Values::Binary(bytes::<BinaryType>(array.as_bytes(), 0, array.len())),
        DataType::Date => Values::Date(array.as_primitive::<Date32Type>().values()),
        DataType::Timestamp => {
            Values::Timestamp(array.as_primitive::<TimestampMicrosecondType>().values())
        }
        DataType::ListInt64 => {
            let (offsets, items) = list::<Int64Type>(array.as_list());
            Values::ListInt64(offsets, items)
        }
        DataType::ListFloat32 => {
            let (offsets, items) = list::<Float32Type>(array.as_list());
            Values::ListFloat32(offsets, items)
        }
        DataType::ListFloat64 => {
            let (offsets, items) = list::<Float64Type>(array.as_list());
            Values::ListFloat64(offsets, items)
        }
        DataType::ListUtf8 => {
            let array = array.as_list::<i32>();
            let (start, end) = ends(array.value_offsets());
            let items = bytes::<Utf8Type>(array.values().as_bytes(), start, end);
            Values::ListUtf8(from_zero(array.value_offsets()), items)
        }
    };
    Lowered { values, validity: validity(array) }
}

fn validity(array: &ArrayRef) -> Cow<'_, [u8]> {
    match array.nulls().filter(|nulls| nulls.null_count() > 0) {
        Some(nulls) => bitmap(nulls.inner()),
        None => Cow::Borrowed(&[]),
    }
}

/// The bits where a row has a value, zeros elsewhere.
fn bitmap_under<'a>(bits: &'a BooleanBuffer, nulls: Option<&NullBuffer>) -> Cow<'a, [u8]> {
    match nulls.filter(|nulls| nulls.null_count() > 0) {
        Some(nulls) => Cow::Owned(bitmap(&(bits & nulls.inner())).into_owned()),
        None => bitmap(bits),
    }
}

/// A bitmap that starts at bit 0 and has zeros behind its last bit.
fn bitmap(bits: &BooleanBuffer) -> Cow<'_, [u8]> {
    let length = bits.len().div_ceil(8);
    let stray = |last: u8| !bits.len().is_multiple_of(8) && last >> (bits.len() % 8) != 0;
    if bits.offset().is_multiple_of(8) {
        let aligned = &bits.values()[bits.offset() / 8..][..length];
        if !aligned.last().is_some_and(|last| stray(*last)) {
            return Cow::Borrowed(aligned);
        }
    }
    let mut aligned = bits.sliced().as_slice()[..length].to_vec();
    if let Some(last) = aligned.last_mut().filter(|last| stray(**last)) {
        *last &= (1 << (bits.len() % 8)) - 1;
    }
    Cow::Owned(aligned)
}

/// The items from `start` to `end`.
fn bytes<T: ByteArrayType<Offset = i32>>(
    array: &GenericByteArray<T>,
    start: usize,
    end: usize,
) -> Bytes<'_> {
    let offsets = &array.value_offsets()[start..=end];
    let (first, last) = ends(offsets);
    Bytes { offsets: from_zero(offsets), bytes: &array.value_data()[first..last] }
}

fn list<T: ArrowPrimitiveType>(array: &ListArray) -> (Cow<'_, [i32]>, &[T::Native]) {
    let (start, end) = ends(array.value_offsets());
    let items = array.values().as_primitive::<T>().values();
    (from_zero(array.value_offsets()), &items[start..end])
}

/// The first and the last of the offsets of an Arrow array: never negative, never none.
fn ends(offsets: &[i32]) -> (usize, usize) {
    let end = |offset: Option<&i32>| offset.map_or(0, |offset| offset.unsigned_abs() as usize);
    (end(offsets.first()), end(offsets.last()))
}

/// The offsets as they are when the first item lies at 0, which it does not in a slice.
fn from_zero(offsets: &[i32]) -> Cow<'_, [i32]> {
    match offsets.first() {
        Some(0) | None => Cow::Borrowed(offsets),
        Some(first) => offsets.iter().map(|offset| offset - first).collect(),
    }
}

impl Lowered<'_> {
    /// The column for the call.
    pub(in crate::wasm) fn param(&self) -> v1::ColumnParam<'_> {
        v1::ColumnParam { values: self.values.param(), validity: &self.validity }
    }

    /// The bytes that cross the boundary.
    pub(in crate::wasm) fn size(&self) -> u64 {
        (self.values.size() + self.validity.len()) as u64
    }
}

impl Values<'_> {
    fn param(&self) -> v1::ValuesParam<'_> {
        match self {
            Self::Boolean(bits) => v1::ValuesParam::Boolean(bits),
            Self::Int32(values) => v1::ValuesParam::Int32(values),
            Self::Int64(values) => v1::ValuesParam::Int64(values),
            Self::Float32(values) => v1::ValuesParam::Float32(values),
            Self::Float64(values) => v1::ValuesParam::Float64(values),
            Self::Utf8(bytes) => v1::ValuesParam::Utf8(bytes.param()),
            Self::Binary(bytes) => v1::ValuesParam::Binary(bytes.param()),
            Self::Date(values) => v1::ValuesParam::Date(values),
            Self::Timestamp(values) => v1::ValuesParam::Timestamp(values),
            Self::ListInt64(offsets, items) => {
                v1::ValuesParam::ListInt64(v1::VarInt64Param { offsets, items })
            }
            Self::ListFloat32(offsets, items) => {
                v1::ValuesParam::ListFloat32(v1::VarFloat32Param { offsets, items })
            }
            Self::ListFloat64(offsets, items) => {
                v1::ValuesParam::ListFloat64(v1::VarFloat64Param { offsets, items })
            }
            Self::ListUtf8(offsets, items) => {
                v1::ValuesParam::ListUtf8(v1::VarUtf8Param { offsets, items: items.param() })
            }
        }
    }

    fn size(&self) -> usize {
        match self {
            Self::Boolean(bits) => bits.len(),
            Self::Int32(values) | Self::Date(values) => size_of_val(*values),
            Self::Int64(values) | Self::Timestamp(values) => size_of_val(*values),
            Self::Float32(values) => size_of_val(*values),
            Self::Float64(values) => size_of_val(*values),
            Self::Utf8(bytes) | Self::Binary(bytes) => bytes.size(),
            Self::ListInt64(offsets, items) => size_of_val(&**offsets) + size_of_val(*items),
            Self::ListFloat32(offsets, items) => size_of_val(&**offsets) + size_of_val(*items),
            Self::ListFloat64(offsets, items) => size_of_val(&**offsets) + size_of_val(*items),
            Self::ListUtf8(offsets, items) => size_of_val(&**offsets) + items.size(),
        }
    }
}

impl Bytes<'_> {
    fn param(&self) -> v1::VarBytesParam<'_> {
        v1::VarBytesParam { offsets: &self.offsets, bytes: self.bytes }
    }

    fn size(&self) -> usize {
        size_of_val(&*self.offsets) + self.bytes.len()
    }
}

#[cfg(test)]
mod tests {
    use arrow::{
        array::{
            BinaryArray, BooleanArray, Date32Array, Float32Array, Float64Array, Int32Array,
            Int64Array, StringArray, TimestampMicrosecondArray,
        },
        buffer::{Buffer, OffsetBuffer},
        datatypes::Field,
    };
    use proptest::prelude::*;

    use super::*;

    /// The same rows, with nothing in common in memory: cut out of a longer column, and with
    /// something left behind in the null rows.
    fn disguised(array: &ArrayRef, from: usize, rows: usize) -> (ArrayRef, ArrayRef) {
        let cut = array.slice(from, rows);
        let every = UInt32Array::from_iter_values(from as u32..(from + rows) as u32);
        (cut, take(array, &every, None).unwrap())
    }

    proptest! {
        #[test]
        fn what_a_guest_sees_depends_on_the_rows_alone(
            (fields, columns) in crate::value::tests::any_columns(0..40),
            from in 0_usize..12,
        ) {
            let from = from.min(columns[0].len());
            let rows = columns[0].len() - from;
            for (field, column) in fields.iter().zip(&columns) {
                let (cut, copy) = disguised(column, from, rows);
                let settled = settle(&cut, field.data_type).unwrap();
                let other = settle(&copy, field.data_type).unwrap();
                let (one, two) = (lower(&settled, field.data_type), lower(&other, field.data_type));
                prop_assert_eq!(format!("{:?}", one.param()), format!("{:?}", two.param()));
                prop_assert_eq!(one.size(), two.size());
            }
        }
    }

    fn nulls() -> Option<NullBuffer> {
        Some(NullBuffer::from(vec![true, false, true]))
    }

    fn left_behind<T: ArrowPrimitiveType>(values: [T::Native; 3]) -> ArrayRef {
        Arc::new(PrimitiveArray::<T>::new(values.to_vec().into(), nulls()))
    }

    #[track_caller]
    fn check(array: ArrayRef, data_type: DataType, expected: &str) {
        let settled = settle(&array, data_type).unwrap();
        assert_eq!(&settled, &array, "the values stay");
        assert_eq!(settled.data_type(), &data_type.to_arrow());
        let lowered = lower(&settled, data_type);
        assert_eq!(format!("{:?}", lowered.param().values), expected);
        assert_eq!(lowered.param().validity, [0b101]);
    }

    #[test]
    fn nothing_is_left_behind_in_null_rows() {
        check(
            left_behind::<Int32Type>([1, 2, 3]),
            DataType::Int32,
            "ValuesParam::Int32([1, 0, 3])",
        );
        check(
            left_behind::<Int64Type>([1, 2, 3]),
            DataType::Int64,
            "ValuesParam::Int64([1, 0, 3])",
        );
        check(left_behind::<Date32Type>([1, 2, 3]), DataType::Date, "ValuesParam::Date([1, 0, 3])");
        let floats = left_behind::<Float32Type>([1.0, -0.0, 3.0]);
        check(floats, DataType::Float32, "ValuesParam::Float32([1.0, 0.0, 3.0])");
        let floats = left_behind::<Float64Type>([1.0, f64::NAN, 3.0]);
        check(floats, DataType::Float64, "ValuesParam::Float64([1.0, 0.0, 3.0])");
        let moments = TimestampMicrosecondArray::new(vec![1, 2, 3].into(), nulls());
        let moments = Arc::new(moments.with_timezone("UTC"));
        check(moments, DataType::Timestamp, "ValuesParam::Timestamp([1, 0, 3])");
        let bits = BooleanBuffer::from(vec![true, true, true]);
        let bits = Arc::new(BooleanArray::new(bits, nulls()));
        check(bits, DataType::Boolean, "ValuesParam::Boolean([5])");
        let offsets = || OffsetBuffer::new(vec![0, 1, 2, 3].into());
        let text = Arc::new(StringArray::new(offsets(), Buffer::from(b"abc"), nulls()));
        let closed = "VarBytesParam { offsets: [0, 1, 1, 2], bytes: [97, 99] }";
        check(text, DataType::Utf8, &format!("ValuesParam::Utf8({closed})"));
        let bytes = Arc::new(BinaryArray::new(offsets(), Buffer::from(b"abc"), nulls()));
        check(bytes, DataType::Binary, &format!("ValuesParam::Binary({closed})"));
        let items = Arc::new(Int64Array::from(vec![7, 8, 9]));
        let field = Arc::new(Field::new_list_field(items.data_type().clone(), true));
        let lists = Arc::new(ListArray::new(field, offsets(), items, nulls()));
        check(
            lists,
            DataType::ListInt64,
            "ValuesParam::ListInt64(VarInt64Param { offsets: [0, 1, 1, 2], items: [7, 9] })",
        );
    }

    #[test]
    fn buffers_are_borrowed_where_they_fit() {
        let borrowed = |array: ArrayRef, data_type: DataType| {
            let settled = settle(&array, data_type).unwrap();
            let buffers = array.to_data();
            let (address, end) = {
                let values = &buffers.buffers()[buffers.buffers().len() - 1];
                (values.as_ptr() as usize, values.as_ptr() as usize + values.len())
            };
            let lowered = lower(&settled, data_type);
            let start = match &lowered.values {
                Values::Boolean(bits) => bits.as_ptr() as usize,
                Values::Int32(values) => values.as_ptr() as usize,
                Values::Float32(values) => values.as_ptr() as usize,
                Values::Float64(values) => values.as_ptr() as usize,
                Values::Utf8(bytes) => bytes.bytes.as_ptr() as usize,
                Values::Date(values) => values.as_ptr() as usize,
                other => panic!("not in this test: {other:?}"),
            };
            assert!((address..end).contains(&start), "{data_type} is copied");
        };
        borrowed(Arc::new(BooleanArray::from(vec![true; 24]).slice(8, 16)), DataType::Boolean);
        borrowed(Arc::new(Int32Array::from(vec![Some(1), None])), DataType::Int32);
        borrowed(Arc::new(Float32Array::from(vec![1.0; 9]).slice(3, 2)), DataType::Float32);
        borrowed(Arc::new(Float64Array::from(vec![Some(1.0), None])), DataType::Float64);
        borrowed(Arc::new(StringArray::from(vec!["a", "b", "c"]).slice(1, 1)), DataType::Utf8);
        borrowed(Arc::new(Date32Array::from(vec![1, 2])), DataType::Date);
    }

    #[test]
    fn bitmaps_start_at_bit_0_and_end_in_zeros() {
        let bits = BooleanBuffer::from(vec![true; 24]);
        for (from, length, expected) in [
            (0, 24, vec![0xff, 0xff, 0xff]),
            (8, 8, vec![0xff]),
            (8, 3, vec![0b111]),
            (3, 9, vec![0xff, 1]),
            (5, 0, vec![]),
        ] {
            assert_eq!(*bitmap(&bits.slice(from, length)), expected, "{length} from {from}");
        }
    }
}
