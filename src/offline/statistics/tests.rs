//! Statistics against the obvious: sorted values, sets, sums.

use std::{collections::HashSet, sync::Arc};

use arrow::{
    array::{
        ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int8Array, Int64Array,
        StringArray, UInt64Array,
    },
    compute::concat,
};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::value::{Cell, DataType, tests::any_columns};

fn statistics(batches: &[RecordBatch]) -> Vec<ColumnStatistics> {
    let mut statistics = Statistics::new(batches[0].schema_ref()).unwrap();
    batches.iter().for_each(|batch| statistics.update(batch));
    statistics.finish().unwrap()
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(
        columns.into_iter().map(|(name, column)| (name, column, true)),
    )
    .unwrap()
}

fn of(column: ArrayRef) -> ColumnStatistics {
    statistics(&[batch(vec![("x", column)])]).remove(0)
}

/// The numbers that a histogram and quantiles are of, in their order; none for other types.
fn number(cell: &Cell) -> Option<f64> {
    match cell {
        Cell::Int32(value) | Cell::Date(value) => Some(f64::from(*value)),
        Cell::Int64(value) | Cell::Timestamp(value) => Some(*value as f64),
        Cell::Float32(bits) => Some(f64::from(f32::from_bits(*bits))),
        Cell::Float64(bits) => Some(f64::from_bits(*bits)),
        _ => None,
    }
    .filter(|value| !value.is_nan())
}

fn is_nan(cell: &Cell) -> bool {
    match cell {
        Cell::Float32(bits) => f32::from_bits(*bits).is_nan(),
        Cell::Float64(bits) => f64::from_bits(*bits).is_nan(),
        _ => false,
    }
}

proptest! {
    #[test]
    fn few_rows_are_told_exactly((fields, columns) in any_columns(1..40), cut in 0..40_usize) {
        let names = fields.iter().map(|field| field.name.as_str());
        let whole = batch(names.zip(columns.clone()).collect());
        let cut = cut.min(whole.num_rows());
        let found = statistics(&[whole.slice(0, cut), whole.slice(cut, whole.num_rows() - cut)]);
        prop_assert_eq!(&found, &statistics(std::slice::from_ref(&whole)));
        for ((field, column), found) in fields.iter().zip(&columns).zip(found) {
            let cells: Vec<Cell> =
                (0..column.len()).map(|row| Cell::of(column, row, field.data_type)).collect();
            prop_assert_eq!(found.nulls, cells.iter().filter(|cell| **cell == Cell::Null).count() as u64);
            prop_assert_eq!(found.nans, cells.iter().filter(|cell| is_nan(cell)).count() as u64);
            if field.data_type.item().is_none() {
                let distinct: HashSet<&Cell> = cells.iter().filter(|cell| **cell != Cell::Null).collect();
                prop_assert_eq!(found.distinct, Some(distinct.len() as u64));
            }
            let mut numbers: Vec<f64> = cells.iter().filter_map(number).collect();
            numbers.sort_unstable_by(f64::total_cmp);
            let Some(spread) = found.spread else {
                prop_assert!(numbers.is_empty());
                continue;
            };
            prop_assert_eq!(spread.sampled, numbers.len() as u64);
            let counted: u64 = spread.histogram.iter().map(|bin| bin.count).sum();
            prop_assert_eq!(counted, numbers.iter().filter(|value| value.is_finite()).count() as u64);
            let middle = numbers[numbers.len().div_ceil(2) - 1];
            let told = crate::value::Scalar::from_json(&spread.quantiles[4].value, field.data_type).unwrap();
            let told = number(&Cell::of(&told.to_array().unwrap(), 0, field.data_type)).unwrap();
            prop_assert_eq!(told.to_bits(), middle.to_bits());
        }
    }
}

#[test]
fn what_is_told_of_each_type() {
    let floats = vec![Some(0.5), None, Some(f64::NAN), Some(2.5), Some(-0.0), Some(0.0)];
    let found = of(Arc::new(Float64Array::from(floats)));
    assert_eq!((found.nulls, found.nans, found.distinct), (1, 1, Some(5)));
    assert_eq!(
        (found.min, found.max, found.mean),
        (Some(json!(-0.0)), Some(json!(2.5)), Some(json!(0.75)))
    );
    let spread = found.spread.unwrap();
    assert_eq!((spread.sampled, spread.histogram.len()), (4, 20));
    assert_eq!(spread.histogram[0], Bin { from: json!(-0.0), to: json!(0.125), count: 2 });
    assert_eq!(spread.histogram[19].to, json!(2.5));

    let found = of(Arc::new(Int8Array::from(vec![1, 3, 3, 2])));
    assert_eq!((found.data_type.as_str(), found.mean), ("int32", Some(json!(2.25))));
    let counts: Vec<u64> = found.spread.unwrap().histogram.iter().map(|bin| bin.count).collect();
    assert_eq!(counts, [1, 1, 2]);
    let found = of(Arc::new(Int64Array::from(vec![i64::MIN, i64::MAX])));
    assert_eq!((found.min, found.max), (Some(json!(i64::MIN)), Some(json!(i64::MAX))));
    assert_eq!(found.spread.unwrap().histogram.len(), 20);

    let found = of(Arc::new(Date32Array::from(vec![0, 1, 4])));
    assert_eq!((found.mean, found.max), (Some(json!("1970-01-02")), Some(json!("1970-01-05"))));
    let found = of(Arc::new(BooleanArray::from(vec![Some(true), Some(true), None, Some(false)])));
    assert_eq!((found.min, found.mean), (Some(json!(false)), Some(json!(2.0 / 3.0))));
    let long = "ä".repeat(40);
    let found = of(Arc::new(StringArray::from(vec!["x", "", long.as_str()])));
    assert_eq!((found.min, found.max), (Some(json!("")), Some(json!("ä".repeat(32)))));
    assert_eq!((found.distinct, found.spread), (Some(3), None));
    let infinite = of(Arc::new(Float64Array::from(vec![f64::INFINITY, 1.0, -1.0])));
    assert_eq!((infinite.max, infinite.mean), (Some(json!("Infinity")), Some(json!("Infinity"))));
    let wide = of(Arc::new(Float64Array::from(vec![f64::MIN, f64::MAX])));
    assert_eq!(wide.spread.unwrap().histogram[9].to, json!(0.0));
}

#[test]
fn of_other_types_the_nulls_are_counted() {
    let found = of(Arc::new(Decimal128Array::from(vec![Some(1), None])));
    assert_eq!((found.nulls, found.distinct), (1, None));
    assert_eq!(found.data_type, "Decimal128(38, 10)");
    let found = of(Arc::new(UInt64Array::from(vec![Some(1), Some(u64::MAX), None])));
    assert_eq!((found.nulls, found.distinct, found.min), (1, None, None));
}

#[test]
fn many_rows_are_told_the_same_however_they_are_cut() {
    let rows = 100_000;
    let number = |row: i64| (row * 7_919) % 50_021;
    let integers: ArrayRef =
        Arc::new((0..rows).map(|row| (row % 10 > 0).then(|| number(row))).collect::<Int64Array>());
    let floats: ArrayRef =
        Arc::new((0..rows).map(|row| Some(number(row) as f64 / 3.0)).collect::<Float64Array>());
    let texts: ArrayRef = Arc::new(StringArray::from_iter_values(
        (0..rows).map(|row| format!("{}", number(row) % 300)),
    ));
    let whole = batch(vec![("i", integers), ("f", floats), ("t", texts)]);
    let found = statistics(std::slice::from_ref(&whole));
    for cut in [777, 8_192, 70_000] {
        let pieces: Vec<RecordBatch> = (0..rows as usize)
            .step_by(cut)
            .map(|first| whole.slice(first, cut.min(rows as usize - first)))
            .collect();
        assert_eq!(statistics(&pieces), found, "{cut}");
    }
    let mean = (0..rows).map(|row| number(row) as f64 / 3.0).sum::<f64>() / rows as f64;
    let told = found[1].mean.as_ref().unwrap().as_f64().unwrap();
    assert!((told - mean).abs() < 1e-6, "{told} {mean}");
    assert_eq!(found[0].nulls, 10_000);
    for (column, distinct) in found.iter().zip([50_021.0, 50_021.0, 300.0]) {
        let told = column.distinct.unwrap() as f64;
        assert!((told / distinct - 1.0).abs() < 0.03, "{told} for {distinct}");
    }
    let spread = found[1].spread.as_ref().unwrap();
    assert!((8_192 * 8 / 10..=16_384).contains(&spread.sampled), "{}", spread.sampled);
    let median = spread.quantiles[4].value.as_f64().unwrap();
    assert!((median / (50_021.0 / 6.0) - 1.0).abs() < 0.03, "{median}");
}

#[test]
fn values_of_a_list_are_not_compared() {
    let lists =
        crate::value::column_from_json(&[json!([1, 2]), json!(null)], DataType::ListInt64).unwrap();
    let lists = concat(&[&lists, &lists]).unwrap();
    let found = of(lists);
    assert_eq!((found.data_type.as_str(), found.nulls, found.distinct), ("list<int64>", 2, None));
}
