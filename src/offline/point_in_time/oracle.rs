//! The contract on point-in-time joins, written out as nested loops, and the join held against it.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, BooleanArray, RecordBatch, UInt64Array},
    compute::concat_batches,
    datatypes::Schema,
};
use datafusion::physical_plan::displayable;
use proptest::{collection::vec, option, prelude::*, sample::select};

use super::{
    JoinSpec, ViewJoin, in_order, join_views,
    merge::{Merge, Step},
};
use crate::{
    definition::Visible,
    offline::{
        ROW_NUMBER, Resources,
        testing::{
            FeatureRow, any_feature_row, any_keys, any_product, any_resources, any_time, any_user,
            collect, content_columns, content_fields, feature_batch, key_values, layout,
            same_columns, table, times,
        },
    },
    time::Span,
    value::Field,
};

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

prop_compose! {
    fn any_entity_row()(user in any_user(), product in any_product(), time in any_time()) -> EntityRow {
        EntityRow { user, product, time }
    }
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
            let known = self.visible == Visible::Event
                || row.created.is_none_or(|created| created <= entity.time);
            self.keys.iter().all(same) && event <= time && young && known
        };
        self.rows.iter().filter(qualifies).max_by_key(|row| row.rank())
    }
}

// --- rows as columns ----------------------------------------------------------------------------

fn entity_batch(rows: &[EntityRow]) -> RecordBatch {
    let users = rows.iter().map(|row| row.user).collect();
    let products = rows.iter().map(|row| row.product).collect();
    let columns: [(&str, ArrayRef); 5] = [
        ("user", key_values("user", users, vec![])),
        ("product", key_values("product", vec![], products)),
        ("at", times(rows.iter().map(|row| Some(row.time)))),
        (
            "label",
            Arc::new(rows.iter().map(|row| Some(row.time % 2 == 0)).collect::<BooleanArray>()),
        ),
        (ROW_NUMBER, Arc::new((0..rows.len() as u64).collect::<UInt64Array>())),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true)))
        .unwrap()
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
        let (_, joined) = merge(&view, &entity_batch(&entities), sizes);
        same_columns(&joined, &view.expected(&entities));
    }
}

/// Runs the merge over batches of these sizes; gives the most bytes that it held, and the outputs.
fn merge(
    view: &View,
    entities: &RecordBatch,
    (entity_rows, feature_rows): (usize, usize),
) -> (usize, Vec<ArrayRef>) {
    let spec = Arc::new(view.spec(0));
    let fields = entities.schema().fields().iter().cloned().collect::<Vec<_>>();
    let outputs = spec.output_fields().unwrap().into_iter().map(Arc::new);
    let schema = Arc::new(Schema::new(fields.into_iter().chain(outputs).collect::<Vec<_>>()));
    let mut merge = Merge::new(spec, Arc::clone(&schema)).unwrap();
    let features = feature_batch(&view.rows, &view.keys);
    let mut entity_batches = batches(entities, entity_rows);
    let mut feature_batches = batches(&features, feature_rows);
    let mut given = Vec::new();
    let mut most = 0;
    loop {
        most = most.max(merge.held_bytes());
        match merge.step().unwrap() {
            Step::Entities => merge.push_entities(entity_batches.next()).unwrap(),
            Step::Features => merge.push_features(feature_batches.next()).unwrap(),
            Step::Output(batch) => given.push(batch),
            Step::Done => break,
        }
    }
    let all = concat_batches(&schema, &given).unwrap();
    (most, all.columns()[entities.num_columns()..].to_vec())
}

fn batches(batch: &RecordBatch, rows: usize) -> impl Iterator<Item = RecordBatch> {
    let starts = (0..batch.num_rows()).step_by(rows);
    starts.map(move |start| batch.slice(start, rows.min(batch.num_rows() - start)))
}

/// Entity rows that match one row in each of very many batches do not keep all those batches.
#[test]
fn what_is_held_is_bounded() {
    let rows = |user| {
        let feature = FeatureRow {
            user: Some(user),
            product: None,
            event: 0,
            created: None,
            amount: None,
            note: None,
            tags: None,
        };
        (EntityRow { user: Some(user), product: None, time: 0 }, feature)
    };
    let (entities, features): (Vec<_>, Vec<_>) = (0..500).map(rows).unzip();
    let view = View { keys: vec!["user"], rows: features, ttl: None, visible: Visible::Event };
    let (most, all) = merge(&view, &entity_batch(&entities), (500, 1));
    same_columns(&all, &view.expected(&entities));
    let one = merge(&view, &entity_batch(&entities), (1, 1)).0;
    assert!(most < 40 * one, "{most} bytes held, {one} for one batch");
}

/// The plan of joins with these keys, one after the other.
fn plan(keys: &[&[&'static str]]) -> String {
    let resources = Resources { partitions: 4, ..Resources::default() };
    let view = |(number, keys): (usize, &&[&'static str])| {
        let view = View { keys: keys.to_vec(), rows: vec![], ttl: None, visible: Visible::Event };
        ViewJoin { rows: table(&feature_batch(&[], keys), &resources), spec: view.spec(number) }
    };
    let joined =
        join_views(table(&entity_batch(&[]), &resources), keys.iter().enumerate().map(view))
            .unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let plan = runtime.block_on(joined.create_physical_plan()).unwrap();
    displayable(plan.as_ref()).indent(false).to_string()
}

#[test]
fn entity_rows_are_sorted_once_for_all_views_with_the_same_keys() {
    let sorts = |keys: &[&[&'static str]]| plan(keys).matches("SortExec").count();
    let features = 3;
    assert_eq!(sorts(&[&["user"], &["user"], &["user"]]), 1 + features);
    assert_eq!(sorts(&[&["user"], &["product"], &["product"]]), 2 + features);
}

/// More rows than fit into memory are sorted on disk, and give the same.
#[test]
fn memory_that_is_short_changes_nothing() {
    let number = |row: i64| row.wrapping_mul(0x9e37_79b9_7f4a_7c15_u64 as i64) >> 48;
    let features = (0..150_000).map(|row| FeatureRow {
        user: Some(number(row) % 500),
        product: Some("a name that takes some room, as texts in tables do"),
        event: number(row * 3),
        created: None,
        amount: Some(row as f64),
        note: Some("a note that takes some room, as texts in tables do"),
        tags: Some(vec![row; 8]),
    });
    let entities: Vec<_> = (0..20_000)
        .map(|row| EntityRow {
            user: Some(number(row * 7) % 500),
            product: None,
            time: number(row * 5),
        })
        .collect();
    let view =
        View { keys: vec!["user"], rows: features.collect(), ttl: None, visible: Visible::Event };
    let run = |memory| {
        let resources =
            Resources { partitions: 2, batch_size: 1000, memory, ..Resources::default() };
        let join = ViewJoin {
            rows: table(&feature_batch(&view.rows, &view.keys), &resources),
            spec: view.spec(0),
        };
        let joined = join_views(table(&entity_batch(&entities), &resources), [join]).unwrap();
        collect(in_order(joined).unwrap())
    };
    same_columns(run(Some(20_000_000)).columns(), run(None).columns());
}

#[test]
fn no_two_columns_get_one_name() {
    let resources = Resources::default();
    let view = View { keys: vec!["user"], rows: vec![], ttl: None, visible: Visible::Event };
    let mut spec = view.spec(0);
    spec.outputs[0].1 = "label".into();
    let join = ViewJoin { rows: table(&feature_batch(&[], &view.keys), &resources), spec };
    let error = join_views(table(&entity_batch(&[]), &resources), [join]).unwrap_err();
    assert_eq!(error.message(), "two columns of the result have the name \"label\"");
}
