//! The contract on point-in-time joins, written out as nested loops, and the join held against it.

use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, BooleanArray, Float64Array, Int64Array, ListArray, RecordBatch,
        StringArray, TimestampMicrosecondArray, UInt64Array,
    },
    compute::concat_batches,
    datatypes::Int64Type,
};
use datafusion::{datasource::MemTable, prelude::DataFrame};
use proptest::{collection::vec, option, prelude::*, sample::select};

use super::{
    super::{
        ROW_NUMBER, Resources,
        feature_rows::{CREATED, EVENT, Layout, key_column},
        session,
    },
    JoinSpec, ViewJoin, in_order, join_views,
    merge::{Merge, Step},
};
use crate::{
    definition::Visible,
    time::Span,
    value::{DataType, Field, content_hash},
};

/// A row of a source, as a view reads it.
#[derive(Debug, Clone)]
pub(crate) struct FeatureRow {
    user: Option<i64>,
    product: Option<&'static str>,
    pub(crate) event: i64,
    pub(crate) created: Option<i64>,
    amount: Option<f64>,
    note: Option<&'static str>,
    tags: Option<Vec<i64>>,
}

#[derive(Debug, Clone)]
struct EntityRow {
    user: Option<i64>,
    product: Option<&'static str>,
    time: i64,
}

#[derive(Debug, Clone)]
struct View {
    keys: Vec<&'static str>,
    rows: Vec<FeatureRow>,
    ttl: Option<i64>,
    visible: Visible,
}

#[derive(Debug, Clone)]
struct Case {
    entities: Vec<EntityRow>,
    views: Vec<View>,
    resources: Resources,
}

/// Few moments, so that ties are common and a ttl is often met or missed by one.
fn any_time() -> impl Strategy<Value = i64> {
    prop_oneof![20 => -3..4_i64, 1 => select(vec![i64::MIN, i64::MAX])]
}

fn any_user() -> impl Strategy<Value = Option<i64>> {
    option::weighted(0.9, -1..2_i64)
}

fn any_product() -> impl Strategy<Value = Option<&'static str>> {
    option::weighted(0.9, select(vec!["", "a", "a longer name"]))
}

prop_compose! {
    pub(crate) fn any_feature_row()(
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

prop_compose! {
    fn any_entity_row()(user in any_user(), product in any_product(), time in any_time()) -> EntityRow {
        EntityRow { user, product, time }
    }
}

pub(crate) fn any_keys() -> impl Strategy<Value = Vec<&'static str>> {
    select(vec![vec!["user"], vec!["product"], vec!["product", "user"]])
}

prop_compose! {
    fn any_view(most: usize)(
        keys in any_keys(),
        rows in vec(any_feature_row(), 0..most),
        ttl in option::of(prop_oneof![10 => 0..3_i64, 1 => Just(i64::MAX)]),
        visible in select(vec![Visible::Event, Visible::Created]),
    ) -> View {
        View { keys, rows, ttl, visible }
    }
}

pub(crate) fn any_resources() -> impl Strategy<Value = Resources> {
    (select(vec![1, 2, 4]), 1..6_usize).prop_map(|(partitions, batch_size)| Resources {
        partitions,
        batch_size,
        ..Resources::default()
    })
}

prop_compose! {
    fn any_case()(
        entities in vec(any_entity_row(), 0..20),
        views in vec(any_view(40), 1..4),
        resources in any_resources(),
    ) -> Case {
        Case { entities, views, resources }
    }
}

// --- the contract -------------------------------------------------------------------------------

impl View {
    /// The row that an entity row gets.
    fn answer(&self, entity: &EntityRow) -> Option<&FeatureRow> {
        let qualifies = |row: &&FeatureRow| {
            let same = |key: &&str| match *key {
                "user" => row.user.is_some() && row.user == entity.user,
                _ => row.product.is_some() && row.product == entity.product,
            };
            let (event, time) = (i128::from(row.event), i128::from(entity.time));
            let young = self.ttl.is_none_or(|ttl| event >= time - i128::from(ttl));
            let known = self.visible == Visible::Event || row.created.is_none_or(|created| created <= entity.time);
            self.keys.iter().all(same) && event <= time && young && known
        };
        self.rows.iter().filter(qualifies).max_by_key(|row| row.rank())
    }
}

impl FeatureRow {
    /// What is greatest in the newest row.
    pub(crate) fn rank(&self) -> (i64, Option<i64>, u64) {
        let content = content_columns(&[Some(self)]);
        (self.event, self.created, content_hash(&content_fields(), &content, 0).unwrap())
    }

    /// The values of the keys; `None` where one is null.
    pub(crate) fn key(&self, keys: &[&str]) -> Option<Vec<String>> {
        let value = |key: &&str| match *key {
            "user" => self.user.map(|user| user.to_string()),
            _ => self.product.map(str::to_owned),
        };
        keys.iter().map(value).collect()
    }
}

// --- rows as columns ----------------------------------------------------------------------------

fn content_fields() -> Vec<Field> {
    let field = |(name, data_type): (&str, DataType)| Field {
        name: name.into(),
        data_type,
        nullable: true,
        documentation: String::new(),
    };
    [("amount", DataType::Float64), ("note", DataType::Utf8), ("tags", DataType::ListInt64)].map(field).to_vec()
}

fn content_columns(rows: &[Option<&FeatureRow>]) -> Vec<ArrayRef> {
    let amounts: Float64Array = rows.iter().map(|row| row.and_then(|row| row.amount)).collect();
    let notes: StringArray = rows.iter().map(|row| row.and_then(|row| row.note)).collect();
    let tags = rows.iter().map(|row| Some(row.as_ref()?.tags.clone()?.into_iter().map(Some)));
    let tags = ListArray::from_iter_primitive::<Int64Type, _, _>(tags);
    vec![Arc::new(amounts), Arc::new(notes), Arc::new(tags)]
}

fn times(times: impl IntoIterator<Item = Option<i64>>) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from_iter(times).with_timezone("UTC"))
}

fn key_values(key: &str, users: Vec<Option<i64>>, products: Vec<Option<&str>>) -> ArrayRef {
    match key {
        "user" => Arc::new(Int64Array::from(users)),
        _ => Arc::new(StringArray::from(products)),
    }
}

pub(crate) fn layout(keys: &[&str]) -> Layout {
    let key = |key: &&str| match *key {
        "user" => ("user".to_owned(), DataType::Int64),
        _ => ("product".to_owned(), DataType::Utf8),
    };
    Layout { keys: keys.iter().map(key).collect(), content: content_fields() }
}

/// Feature rows as a batch of the layout.
pub(crate) fn feature_batch(rows: &[FeatureRow], keys: &[&str]) -> RecordBatch {
    let users: Vec<_> = rows.iter().map(|row| row.user).collect();
    let products: Vec<_> = rows.iter().map(|row| row.product).collect();
    let keys = keys.iter().map(|key| (key_column(key), key_values(key, users.clone(), products.clone())));
    let mut columns: Vec<(String, ArrayRef)> = keys.collect();
    columns.push((EVENT.to_owned(), times(rows.iter().map(|row| Some(row.event)))));
    columns.push((CREATED.to_owned(), times(rows.iter().map(|row| row.created))));
    let content = content_columns(&rows.iter().map(Some).collect::<Vec<_>>());
    columns.extend(content_fields().into_iter().map(|field| field.name).zip(content));
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true))).unwrap()
}

fn entity_batch(rows: &[EntityRow]) -> RecordBatch {
    let users = rows.iter().map(|row| row.user).collect();
    let products = rows.iter().map(|row| row.product).collect();
    let columns: [(&str, ArrayRef); 5] = [
        ("user", key_values("user", users, vec![])),
        ("product", key_values("product", vec![], products)),
        ("at", times(rows.iter().map(|row| Some(row.time)))),
        ("label", Arc::new(rows.iter().map(|row| Some(row.time % 2 == 0)).collect::<BooleanArray>())),
        (ROW_NUMBER, Arc::new((0..rows.len() as u64).collect::<UInt64Array>())),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).unwrap()
}

/// The batch as a table of several partitions of several batches.
pub(crate) fn table(batch: &RecordBatch, resources: &Resources) -> DataFrame {
    let mut partitions = vec![Vec::new(); resources.partitions];
    for (i, start) in (0..batch.num_rows()).step_by(resources.batch_size).enumerate() {
        let rows = resources.batch_size.min(batch.num_rows() - start);
        partitions[i % resources.partitions].push(batch.slice(start, rows));
    }
    let table = MemTable::try_new(batch.schema(), partitions).unwrap();
    session(resources).unwrap().read_table(Arc::new(table)).unwrap()
}

impl View {
    fn spec(&self, number: usize) -> JoinSpec {
        let output = |field: Field| (field.name.clone(), format!("v{number}__{}", field.name));
        JoinSpec {
            layout: Arc::new(layout(&self.keys)),
            time: "at".into(),
            ttl: self.ttl.map(Span),
            visible: self.visible,
            outputs: content_fields().into_iter().map(output).collect(),
            matched_event: Some(format!("v{number}__event")),
        }
    }

    /// What the join has to give, column by column.
    fn expected(&self, entities: &[EntityRow]) -> Vec<ArrayRef> {
        let answers: Vec<_> = entities.iter().map(|entity| self.answer(entity)).collect();
        let mut columns = content_columns(&answers);
        columns.push(times(answers.iter().map(|row| row.map(|row| row.event))));
        columns
    }
}

pub(crate) fn same_columns(found: &[ArrayRef], expected: &[ArrayRef]) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        // As data: equal in every bit, NaN and -0.0 included.
        assert_eq!(found.to_data(), expected.to_data());
    }
}

pub(crate) fn collect(frame: DataFrame) -> RecordBatch {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let schema = Arc::clone(frame.schema().inner());
    let batches = runtime.block_on(frame.collect()).unwrap();
    concat_batches(&schema, &batches).unwrap()
}

// --- the join against the contract --------------------------------------------------------------

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn the_join_gives_what_the_contract_says(case in any_case()) {
        let entities = entity_batch(&case.entities);
        let views = case.views.iter().enumerate().map(|(number, view)| ViewJoin {
            rows: table(&feature_batch(&view.rows, &view.keys), &case.resources),
            spec: view.spec(number),
        });
        let joined = join_views(table(&entities, &case.resources), views).unwrap();
        let joined = collect(in_order(joined).unwrap());

        let mut expected = entities.columns()[..4].to_vec();
        expected.extend(case.views.iter().flat_map(|view| view.expected(&case.entities)));
        same_columns(joined.columns(), &expected);
    }

    /// Batches of any size on either side, far more of them than are held at once.
    #[test]
    fn the_merge_gives_what_the_contract_says(
        mut entities in vec(any_entity_row(), 0..60),
        mut view in any_view(200),
        sizes in (1..60_usize, 1..4_usize),
    ) {
        let has_user = view.keys.contains(&"user");
        let has_product = view.keys.contains(&"product");
        let key = |user: Option<i64>, product: Option<&'static str>| {
            (product.filter(|_| has_product), user.filter(|_| has_user))
        };
        entities.sort_by_key(|row| (key(row.user, row.product), row.time));
        view.rows.sort_by_key(|row| (key(row.user, row.product), row.event, row.created));
        let joined = merge(&view, &entity_batch(&entities), sizes);
        same_columns(&joined, &view.expected(&entities));
    }
}

/// Runs the merge over batches of these sizes; gives the outputs.
fn merge(view: &View, entities: &RecordBatch, (entity_rows, feature_rows): (usize, usize)) -> Vec<ArrayRef> {
    let spec = Arc::new(view.spec(0));
    let fields = entities.schema().fields().iter().cloned().collect::<Vec<_>>();
    let outputs = spec.output_fields().unwrap().into_iter().map(Arc::new);
    let schema = Arc::new(arrow::datatypes::Schema::new(fields.into_iter().chain(outputs).collect::<Vec<_>>()));
    let mut merge = Merge::new(spec, Arc::clone(&schema)).unwrap();
    let features = feature_batch(&view.rows, &view.keys);
    let mut entity_batches = batches(entities, entity_rows);
    let mut feature_batches = batches(&features, feature_rows);
    let mut given = Vec::new();
    loop {
        match merge.step().unwrap() {
            Step::Entities => merge.push_entities(entity_batches.next()).unwrap(),
            Step::Features => merge.push_features(feature_batches.next()).unwrap(),
            Step::Output(batch) => given.push(batch),
            Step::Done => break,
        }
    }
    concat_batches(&schema, &given).unwrap().columns()[entities.num_columns()..].to_vec()
}

fn batches(batch: &RecordBatch, rows: usize) -> impl Iterator<Item = RecordBatch> {
    let starts = (0..batch.num_rows()).step_by(rows);
    starts.map(move |start| batch.slice(start, rows.min(batch.num_rows() - start)))
}
