//! The contract on point-in-time joins, written out as nested loops, and the join held against it.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, BooleanArray, RecordBatch, UInt64Array},
    compute::concat_batches,
};
use datafusion::{
    physical_plan::{collect, displayable},
    prelude::DataFrame,
};
use proptest::{collection::vec, option, prelude::*, sample::select};

use super::{JoinSpec, ViewJoin, in_order, join_views};
use crate::{
    definition::Visible,
    error::{Kind, Result},
    offline::{
        ROW_NUMBER, Resources,
        errors::from_datafusion,
        session,
        testing::{
            FeatureRow, any_feature_row, any_keys, any_product, any_resources, any_time, any_user,
            cases, content_columns, content_fields, feature_batch, key_values, layout, partitioned,
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

/// The joined rows in their order.
fn join(case: &Case, resources: &Resources) -> DataFrame {
    let context = session(resources).unwrap();
    let table = |batch| context.read_table(Arc::new(partitioned(&batch, resources))).unwrap();
    let views = case.views.iter().enumerate().map(|(number, view)| ViewJoin {
        rows: table(feature_batch(&view.rows, &view.keys)),
        spec: view.spec(number),
    });
    in_order(join_views(table(entity_batch(&case.entities)), views).unwrap()).unwrap()
}

fn expected(case: &Case) -> Vec<ArrayRef> {
    let mut columns = entity_batch(&case.entities).columns()[..4].to_vec();
    columns.extend(case.views.iter().flat_map(|view| view.expected(&case.entities)));
    columns
}

/// Runs a plan: what came out, and how often an operator of it wrote to the disk.
fn run(rows: DataFrame) -> Result<(RecordBatch, usize)> {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.worker_threads(2).enable_all().build().unwrap().block_on(async {
        let (state, plan) = rows.into_parts();
        let plan = state.create_physical_plan(&plan).await.map_err(from_datafusion)?;
        let collected = collect(Arc::clone(&plan), state.task_ctx()).await;
        let batches = collected.map_err(from_datafusion)?;
        let mut spilled = 0;
        let mut plans = vec![Arc::clone(&plan)];
        while let Some(plan) = plans.pop() {
            spilled += plan.metrics().and_then(|metrics| metrics.spill_count()).unwrap_or(0);
            plans.extend(plan.children().into_iter().cloned());
        }
        Ok((concat_batches(&plan.schema(), &batches).unwrap(), spilled))
    })
}

/// Checks a case at one, two and eight partitions, and with less and less memory, down to where a
/// single entity row has too much of it; gives how often it went to the disk.
fn check(case: &Case) -> usize {
    let expected = expected(case);
    let mut spilled = 0;
    for partitions in [1, 2, 8] {
        let resources = Resources { partitions, ..case.resources.clone() };
        same_columns(run(join(case, &resources)).unwrap().0.columns(), &expected);
    }
    for memory in [64_000, 32_000, 16_000, 12_000, 8_000] {
        let resources = Resources { memory: Some(memory), ..case.resources.clone() };
        match run(join(case, &resources)) {
            Ok((found, times)) => {
                same_columns(found.columns(), &expected);
                spilled += times;
            }
            Err(error) => {
                assert_eq!(error.kind(), Kind::Limit, "{error}");
                assert!(memory < 64_000, "{error}");
                break;
            }
        }
    }
    spilled
}

proptest! {
    #![proptest_config(cases(32))]

    #[test]
    fn the_join_gives_what_the_contract_says(case in any_case()) {
        check(&case);
    }
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

/// The order of a table in memory is not known, so that the entity rows are sorted once, by their
/// numbers; those of an entity dataframe come in order. Nothing else is sorted or moved.
#[test]
fn one_operator_joins_all_views_and_feature_rows_stay_where_they_are() {
    let plan = plan(&[&["user"], &["product"], &["user"]]);
    let count = |operator: &str| plan.matches(operator).count();
    let found = ["PointInTimeJoinExec", "SortExec", "RepartitionExec"].map(count);
    assert_eq!(found, [1, 1, 0], "{plan}");
}

/// Half of the rows are those of one key, and memory is for a fraction of them.
#[test]
fn memory_that_is_short_changes_nothing() {
    let number = |row: i64| row.wrapping_mul(0x9e37_79b9_7f4a_7c15_u64 as i64) >> 48;
    let user = |row: i64| Some(if row % 2 == 0 { 7 } else { number(row) % 500 });
    let features = (0..60_000).map(|row| FeatureRow {
        user: user(row),
        product: Some("a name that takes some room, as texts in tables do"),
        event: number(row * 3),
        created: None,
        amount: Some(row as f64),
        note: Some("a note that takes some room, as texts in tables do"),
        tags: Some(vec![row; 8]),
    });
    let entities = (0..20_000).map(|row| EntityRow {
        user: user(row * 7),
        product: None,
        time: number(row * 5),
    });
    let view =
        View { keys: vec!["user"], rows: features.collect(), ttl: None, visible: Visible::Event };
    let case = |memory| Case {
        entities: entities.clone().collect(),
        views: vec![view.clone()],
        resources: Resources { partitions: 2, batch_size: 1000, memory, ..Resources::default() },
    };
    let run = |memory| {
        let case = case(memory);
        run(join(&case, &case.resources)).unwrap()
    };
    let (whole, spilled) = run(None);
    assert_eq!(spilled, 0);
    for memory in [10_000_000, 3_000_000] {
        let (found, spilled) = run(Some(memory));
        same_columns(found.columns(), whole.columns());
        assert!(spilled > 0, "{memory} bytes");
    }
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
