//! The latest rows against the contract, written out as a loop over all rows of a key.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{ArrayRef, RecordBatch, UInt64Array},
    compute::{SortColumn, lexsort_to_indices, take},
};
use proptest::{collection::vec, option, prelude::*};

use super::latest;
use crate::{
    offline::{
        Period,
        testing::{
            FeatureRow, any_feature_row, any_keys, any_resources, any_time, cases, collect,
            feature_batch, layout, same_columns, table,
        },
    },
    time::Timestamp,
};

/// The newest row of every key, by key.
fn expected(
    rows: &[FeatureRow],
    keys: &[&str],
    (from, to): (Option<i64>, Option<i64>),
) -> BTreeMap<Vec<String>, FeatureRow> {
    let mut newest: BTreeMap<Vec<String>, FeatureRow> = BTreeMap::new();
    for row in rows {
        let within =
            from.is_none_or(|from| row.event >= from) && to.is_none_or(|to| row.event <= to);
        let Some(key) = row.key(keys).filter(|_| within) else {
            continue;
        };
        if newest.get(&key).is_none_or(|other| other.rank() < row.rank()) {
            newest.insert(key, row.clone());
        }
    }
    newest
}

/// The columns of the rows in the order of their keys.
fn by_key(batch: &RecordBatch, keys: usize) -> Vec<ArrayRef> {
    let column = |column: &ArrayRef| SortColumn { values: Arc::clone(column), options: None };
    let sorted =
        lexsort_to_indices(&batch.columns()[..keys].iter().map(column).collect::<Vec<_>>(), None)
            .unwrap();
    batch.columns().iter().map(|column| take(column, &sorted, None).unwrap()).collect()
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn the_latest_rows_are_those_the_contract_names(
        rows in vec(any_feature_row(), 0..60),
        keys in any_keys(),
        bounds in (option::of(any_time()), option::of(any_time())),
        resources in any_resources(),
    ) {
        let period = Period { from: bounds.0.map(Timestamp), to: bounds.1.map(Timestamp) };
        let found = latest(table(&feature_batch(&rows, &keys), &resources), layout(&keys), period).unwrap();
        let newest: Vec<FeatureRow> = expected(&rows, &keys, bounds).into_values().collect();
        let mut columns = feature_batch(&newest, &keys).columns().to_vec();
        columns.push(Arc::new(newest.iter().map(|row| Some(row.rank().2)).collect::<UInt64Array>()));
        same_columns(&by_key(&collect(found), keys.len()), &columns);
    }
}
