//! One NaN for all: rule 9 of the contract on values.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, ListArray, PrimitiveArray},
    datatypes::{ArrowPrimitiveType, DataType, Float32Type, Float64Type},
};

/// The column with every NaN replaced by the one canonical quiet NaN (sign clear, payload zero),
/// also inside lists; without a copy where there is no other NaN. `-0.0` is kept.
pub fn canonical_nan(column: &ArrayRef) -> ArrayRef {
    match column.data_type() {
        DataType::Float32 => replace(
            column,
            |x: f32| {
                if x.is_nan() { f32::from_bits(0x7fc0_0000) } else { x }
            },
            |x| x.is_nan(),
            |x| x.to_bits() == 0x7fc0_0000,
            column.as_primitive::<Float32Type>(),
        ),
        DataType::Float64 => replace(
            column,
            |x: f64| {
                if x.is_nan() { f64::from_bits(0x7ff8_0000_0000_0000) } else { x }
            },
            |x| x.is_nan(),
            |x| x.to_bits() == 0x7ff8_0000_0000_0000,
            column.as_primitive::<Float64Type>(),
        ),
        DataType::List(field) if field.data_type().is_floating() => {
            let lists: &ListArray = column.as_list();
            let items = canonical_nan(lists.values());
            if Arc::ptr_eq(&items, lists.values()) {
                return Arc::clone(column);
            }
            let (field, offsets, _, nulls) = lists.clone().into_parts();
            Arc::new(ListArray::new(field, offsets, items, nulls))
        }
        _ => Arc::clone(column),
    }
}

fn replace<T: ArrowPrimitiveType>(
    column: &ArrayRef,
    canonical: impl Fn(T::Native) -> T::Native,
    is_nan: impl Fn(&T::Native) -> bool,
    is_canonical: impl Fn(&T::Native) -> bool,
    values: &PrimitiveArray<T>,
) -> ArrayRef {
    let floats = values.values();
    // No early exit, so that the compiler makes SIMD of it; and two at once, which takes one
    // comparison. Where the halves are not equal, the last is left over.
    let (left, right) = floats.split_at(floats.len() / 2);
    let any = left.iter().zip(right).fold(false, |any, (x, y)| any | is_nan(x) | is_nan(y));
    let any = any | floats.last().is_some_and(&is_nan);
    match any && floats.iter().any(|x| is_nan(x) && !is_canonical(x)) {
        true => Arc::new(values.unary::<_, T>(canonical)),
        false => Arc::clone(column),
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Float32Array, Float64Array};

    use super::*;

    #[test]
    fn every_nan_becomes_the_canonical_one() {
        let odd = [f64::from_bits(0x7ff0_0000_0000_0001), f64::from_bits(0xfff8_0000_0000_0000)];
        let column: ArrayRef =
            Arc::new(Float64Array::from(vec![Some(odd[0]), None, Some(odd[1]), Some(-0.0)]));
        let clean = canonical_nan(&column);
        let bits: Vec<_> =
            clean.as_primitive::<Float64Type>().iter().map(|x| x.map(f64::to_bits)).collect();
        let nan = Some(0x7ff8_0000_0000_0000);
        assert_eq!(bits, [nan, None, nan, Some((-0.0_f64).to_bits())]);
    }

    /// Wherever it is, in columns of even and of odd length.
    #[test]
    fn no_nan_is_overlooked() {
        for rows in 1..70 {
            for row in 0..rows {
                let values = (0..rows).map(|other| if other == row { -f32::NAN } else { 1.0 });
                let clean = canonical_nan(&(Arc::new(Float32Array::from_iter_values(values)) as _));
                let bits = clean.as_primitive::<Float32Type>().value(row).to_bits();
                assert_eq!(bits, 0x7fc0_0000, "row {row} of {rows}");
            }
        }
    }

    #[test]
    fn lists_too() {
        let lists = ListArray::from_iter_primitive::<Float32Type, _, _>([Some([
            Some(-f32::NAN),
            Some(1.0),
        ])]);
        let clean = canonical_nan(&(Arc::new(lists) as ArrayRef));
        let bits = clean.as_list::<i32>().values().as_primitive::<Float32Type>().value(0).to_bits();
        assert_eq!(bits, 0x7fc0_0000);
    }

    #[test]
    fn clean_columns_are_not_copied() {
        let column: ArrayRef = Arc::new(Float32Array::from(vec![1.0, f32::from_bits(0x7fc0_0000)]));
        assert!(Arc::ptr_eq(&canonical_nan(&column), &column));
    }
}
