//! Generated feature rows for the tests of this module, and how tables are made of them.

use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, Float64Array, Int64Array, ListArray, RecordBatch, StringArray,
        TimestampMicrosecondArray,
    },
    compute::concat_batches,
    datatypes::Int64Type,
};
use datafusion::{datasource::MemTable, prelude::DataFrame};
use proptest::{collection::vec, option, prelude::*, sample::select};

use super::{CREATED, EVENT, Layout, Resources, key_column, session};
use crate::value::{DataType, Field, content_hash};

/// A row of a source, as a view reads it.
#[derive(Debug, Clone)]
pub(super) struct FeatureRow {
    pub(super) user: Option<i64>,
    pub(super) product: Option<&'static str>,
    pub(super) event: i64,
    pub(super) created: Option<i64>,
    pub(super) amount: Option<f64>,
    pub(super) note: Option<&'static str>,
    pub(super) tags: Option<Vec<i64>>,
}

/// Few moments, so that ties are common and a ttl is often met or missed by one.
pub(super) fn any_time() -> impl Strategy<Value = i64> {
    prop_oneof![20 => -3..4_i64, 1 => select(vec![i64::MIN, i64::MAX])]
}

pub(super) fn any_user() -> impl Strategy<Value = Option<i64>> {
    option::weighted(0.9, -1..2_i64)
}

pub(super) fn any_product() -> impl Strategy<Value = Option<&'static str>> {
    option::weighted(0.9, select(vec!["", "a", "a longer name"]))
}

prop_compose! {
    pub(super) fn any_feature_row()(
        user in any_user(),
        product in any_product(),
        event in any_time(),
        created in option::weighted(0.8, any_time()),
        amount in option::of(select(vec![f64::NAN, -0.0, 0.0, 1.5])),
        note in option::of(select(vec!["", "x"])),
        tags in option::of(vec(0..2_i64, 0..3)),
    ) -> FeatureRow {
        FeatureRow { user, product, event, created, amount, note, tags }
    }
}

pub(super) fn any_keys() -> impl Strategy<Value = Vec<&'static str>> {
    select(vec![vec!["user"], vec!["product"], vec!["product", "user"]])
}

/// How many cases a property is tried on: `UNSKEW_CASES`, or what is given here.
pub(super) fn cases(usual: u32) -> ProptestConfig {
    let asked = std::env::var("UNSKEW_CASES").ok().and_then(|text| text.parse().ok());
    ProptestConfig::with_cases(asked.unwrap_or(usual))
}

pub(super) fn any_resources() -> impl Strategy<Value = Resources> {
    (select(vec![1, 2, 8]), 1..6_usize).prop_map(|(partitions, batch_size)| Resources {
        partitions,
        batch_size,
        ..Resources::default()
    })
}

impl FeatureRow {
    /// What is greatest in the newest row.
    pub(super) fn rank(&self) -> (i64, Option<i64>, u64) {
        let content = content_columns(&[Some(self)]);
        (self.event, self.created, content_hash(&content_fields(), &content, 0).unwrap())
    }

    /// The values of the keys; `None` where one is null.
    pub(super) fn key(&self, keys: &[&str]) -> Option<Vec<String>> {
        let value = |key: &&str| match *key {
            "user" => self.user.map(|user| user.to_string()),
            _ => self.product.map(str::to_owned),
        };
        keys.iter().map(value).collect()
    }
}

pub(super) fn content_fields() -> Vec<Field> {
    let field = |(name, data_type): (&str, DataType)| Field {
        name: name.into(),
        data_type,
        nullable: true,
        documentation: String::new(),
    };
    [("amount", DataType::Float64), ("note", DataType::Utf8), ("tags", DataType::ListInt64)]
        .map(field)
        .to_vec()
}

pub(super) fn content_columns(rows: &[Option<&FeatureRow>]) -> Vec<ArrayRef> {
    let amounts: Float64Array = rows.iter().map(|row| row.and_then(|row| row.amount)).collect();
    let notes: StringArray = rows.iter().map(|row| row.and_then(|row| row.note)).collect();
    let tags = rows.iter().map(|row| Some(row.as_ref()?.tags.clone()?.into_iter().map(Some)));
    let tags = ListArray::from_iter_primitive::<Int64Type, _, _>(tags);
    vec![Arc::new(amounts), Arc::new(notes), Arc::new(tags)]
}

pub(super) fn times(times: impl IntoIterator<Item = Option<i64>>) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from_iter(times).with_timezone("UTC"))
}

pub(super) fn key_values(
    key: &str,
    users: Vec<Option<i64>>,
    products: Vec<Option<&str>>,
) -> ArrayRef {
    match key {
        "user" => Arc::new(Int64Array::from(users)),
        _ => Arc::new(StringArray::from(products)),
    }
}

pub(super) fn layout(keys: &[&str]) -> Layout {
    let key = |key: &&str| match *key {
        "user" => ("user".to_owned(), DataType::Int64),
        _ => ("product".to_owned(), DataType::Utf8),
    };
    Layout { keys: keys.iter().map(key).collect(), content: content_fields() }
}

/// Feature rows as a batch of the layout.
pub(super) fn feature_batch(rows: &[FeatureRow], keys: &[&str]) -> RecordBatch {
    let users: Vec<_> = rows.iter().map(|row| row.user).collect();
    let products: Vec<_> = rows.iter().map(|row| row.product).collect();
    let keys =
        keys.iter().map(|key| (key_column(key), key_values(key, users.clone(), products.clone())));
    let mut columns: Vec<(String, ArrayRef)> = keys.collect();
    columns.push((EVENT.to_owned(), times(rows.iter().map(|row| Some(row.event)))));
    columns.push((CREATED.to_owned(), times(rows.iter().map(|row| row.created))));
    let content = content_columns(&rows.iter().map(Some).collect::<Vec<_>>());
    columns.extend(content_fields().into_iter().map(|field| field.name).zip(content));
    RecordBatch::try_from_iter_with_nullable(
        columns.into_iter().map(|(name, column)| (name, column, true)),
    )
    .unwrap()
}

/// The batch as a table of several partitions of several batches.
pub(super) fn partitioned(batch: &RecordBatch, resources: &Resources) -> MemTable {
    let mut partitions = vec![Vec::new(); resources.partitions];
    for (i, start) in (0..batch.num_rows()).step_by(resources.batch_size).enumerate() {
        let rows = resources.batch_size.min(batch.num_rows() - start);
        partitions[i % resources.partitions].push(batch.slice(start, rows));
    }
    MemTable::try_new(batch.schema(), partitions).unwrap()
}

/// [`partitioned`], in a session of its own.
pub(super) fn table(batch: &RecordBatch, resources: &Resources) -> DataFrame {
    let table = partitioned(batch, resources);
    session(resources).unwrap().read_table(Arc::new(table)).unwrap()
}

pub(super) fn same_columns(found: &[ArrayRef], expected: &[ArrayRef]) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        // As data: equal in every bit, NaN and -0.0 included.
        assert_eq!(found.to_data(), expected.to_data());
    }
}

pub(super) fn collect(frame: DataFrame) -> RecordBatch {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let schema = Arc::clone(frame.schema().inner());
    let batches = runtime.block_on(frame.collect()).unwrap();
    concat_batches(&schema, &batches).unwrap()
}
