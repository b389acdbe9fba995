//! Answers, from an embedded store with a few rows in it.

use serde_json::{Value, json};
use tempfile::{TempDir, tempdir};

use super::*;
use crate::{
    error::Kind,
    evaluate::testing::in_force,
    materialize::{Target, push},
    name::FeatureRef,
    online::{EmbeddedOptions, EmbeddedStore, OnlineStore, UnopenedStore},
    time::Timestamp,
};

const VIEWS: &str = r#"
[source.visits]
path = "orders.parquet"
timestamp = "ordered_at"
created = "written_at"
visible = "created"

[feature_view.spend]
entities = ["customer"]
source = "orders"
ttl = "10us"
features = { amount = "int64", total = { type = "int64", column = "amount", default = -1 } }

[feature_view.visit]
entities = ["customer"]
source = "visits"
features = { seen = { type = "int64", column = "amount" } }

[feature_view.price]
entities = ["product"]
source = "visits"
features = { price = { type = "int64", column = "amount" } }

[feature_view.hidden]
entities = ["product"]
source = "visits"
online = false
features = { secret = { type = "int64", column = "amount" } }

[on_demand_feature_view.again]
transform = "t/echo@1.0.0#f"
inputs = { a = "spend:amount", b = "request:word" }
features = { one = "int64", two = "utf8" }

[on_demand_feature_view.three]
transform = "t/three@1.0.0#g"
inputs = { a = "spend:amount" }
features = { value = { type = "int64", column = "one", default = 0 } }

[on_demand_feature_view.sight]
transform = "t/echo@1.0.0#f"
inputs = { a = "visit:seen", b = "request:word" }
features = { sight = { type = "int64", column = "one" } }

[on_demand_feature_view.onward]
transform = "t/echo@1.0.0#f"
inputs = { a = "sight:sight", b = "again:two" }
features = { onward = { type = "int64", column = "one", default = 4 } }

[feature_service.both]
features = ["spend:amount", "again:one"]

[feature_service.twins]
features = ["spend:total", "renamed:total"]

[feature_view.renamed]
entities = ["customer"]
source = "orders"
features = { total = { type = "int64", column = "amount" } }
"#;

struct Shop {
    store: Arc<EmbeddedStore>,
    _folder: TempDir,
}

impl Shop {
    /// A store with these rows pushed under these declarations.
    async fn with(declarations: &str, pushes: &[(&str, Value)]) -> Self {
        let folder = tempdir().unwrap();
        let options = EmbeddedOptions { map_size: 1 << 20, ..EmbeddedOptions::default() };
        let store = Arc::new(EmbeddedStore::open(folder.path(), options).unwrap());
        let in_force = in_force(declarations);
        for (target, rows) in pushes {
            let rows = serde_json::from_value(rows.clone()).unwrap();
            let target = Target::SourceOrView(target);
            push(&in_force, target, &rows, Timestamp(i64::MAX), &(*store).clone().into())
                .await
                .unwrap();
        }
        Self { store, _folder: folder }
    }

    async fn answer(&self, asked: &Asked) -> Result<Answer<'static>, Refused> {
        let server = FeatureServer::new(Arc::new(in_force(VIEWS)), (*self.store).clone().into());
        // An answer borrows from its plan: this one is kept for as long as the tests run.
        let prepared = Box::leak(Box::new(server.prepare(&asked.wanted, asked.full_names)?));
        server.answer(prepared, &asked.request).await
    }
}

/// The rows that most tests have: customer 1 at time 100, customer 2 at time 100 with a null.
async fn shop() -> Shop {
    let rows = json!({
        "customer_id": [1, 2], "ordered_at": [micros(100), micros(100)], "amount": [7, null],
    });
    let visits = json!({
        "customer_id": [1, 2], "product": ["tea", null], "amount": [8, 9],
        "ordered_at": [micros(100), micros(100)], "created": [micros(200), null],
    });
    Shop::with(VIEWS, &[("orders", rows), ("visits", visits)]).await
}

fn micros(micros: i64) -> Value {
    Timestamp(micros).to_string().into()
}

fn features(names: &[&str]) -> Wanted {
    Wanted::Features(names.iter().map(|name| name.parse::<FeatureRef>().unwrap()).collect())
}

struct Asked {
    wanted: Wanted,
    full_names: bool,
    request: Request,
}

fn asked(wanted: Wanted, entities: Value, event_time: i64) -> Asked {
    let entities = serde_json::from_value(entities).unwrap();
    let event_time = Timestamp(event_time);
    let request = Request { entities, event_time, max_rows: 3, partial: false };
    Asked { wanted, full_names: false, request }
}

/// Each column in a line: its name, and for each row value, status and event time.
fn told(answer: &Answer<'_>) -> Vec<String> {
    let column = |column: &AnswerColumn<'_>| {
        let mut values = Vec::new();
        answer.write_values(column, &mut values);
        let values: Vec<Value> = serde_json::from_slice(&values).unwrap();
        let provenance = answer.provenance(column);
        let rows = values.iter().zip(&provenance.statuses).zip(&provenance.event_timestamps);
        let rows: Vec<String> = rows
            .map(|((value, status), time)| format!("{value} {} {}", status.as_str(), time.0))
            .collect();
        format!("{}: {}", column.name, rows.join(", "))
    };
    answer.columns.iter().map(column).collect()
}

#[tokio::test]
async fn values_statuses_and_times_are_those_of_the_request_time() {
    let shop = shop().await;
    let check = async |wanted: &[&str], event_time, expected: &[&str]| {
        let ids = json!({"customer_id": [1, 2, 3]});
        let answer = shop.answer(&asked(features(wanted), ids, event_time)).await.unwrap();
        assert_eq!(told(&answer)[1..], *expected, "at {event_time}");
    };
    // The ttl is of 10 microseconds; both of its ends are in it.
    for (event_time, expected) in [
        (99, "amount: null NOT_FOUND 0, null NOT_FOUND 0, null NOT_FOUND 0"),
        (100, "amount: 7 PRESENT 100, null NULL_VALUE 100, null NOT_FOUND 0"),
        (110, "amount: 7 PRESENT 100, null NULL_VALUE 100, null NOT_FOUND 0"),
        (111, "amount: null OUTSIDE_MAX_AGE 100, null OUTSIDE_MAX_AGE 100, null NOT_FOUND 0"),
        (i64::MAX, "amount: null OUTSIDE_MAX_AGE 100, null OUTSIDE_MAX_AGE 100, null NOT_FOUND 0"),
        (i64::MIN, "amount: null NOT_FOUND 0, null NOT_FOUND 0, null NOT_FOUND 0"),
    ] {
        check(&["spend:amount"], event_time, &[expected]).await;
    }
    // A default stands for every null, and the status still tells.
    for (event_time, expected) in [
        (99, "total: -1 NOT_FOUND 0, -1 NOT_FOUND 0, -1 NOT_FOUND 0"),
        (100, "total: 7 PRESENT 100, -1 NULL_VALUE 100, -1 NOT_FOUND 0"),
        (111, "total: -1 OUTSIDE_MAX_AGE 100, -1 OUTSIDE_MAX_AGE 100, -1 NOT_FOUND 0"),
    ] {
        check(&["spend:total"], event_time, &[expected]).await;
    }
    // Rows that were written down later cannot be seen before; those that do not say when can.
    for (event_time, expected) in [
        (199, "seen: null NOT_FOUND 0, 9 PRESENT 100, null NOT_FOUND 0"),
        (200, "seen: 8 PRESENT 100, 9 PRESENT 100, null NOT_FOUND 0"),
    ] {
        check(&["visit:seen"], event_time, &[expected]).await;
    }
    // An on-demand feature has the time of the request; a row that its function refuses is told.
    check(
        &["three:value", "spend:amount"],
        105,
        &[
            "value: 7 PRESENT 105, 0 INVALID 105, 9 PRESENT 105",
            "amount: 7 PRESENT 100, null NULL_VALUE 100, null NOT_FOUND 0",
        ],
    )
    .await;
}

#[tokio::test]
async fn join_keys_come_first_and_features_as_they_were_asked_for() {
    let shop = shop().await;
    let entities = json!({"customer_id": ["1"], "product": ["tea"], "word": ["x"], "more": [[]]});
    let wanted = features(&["again:two", "price:price", "spend:amount", "again:one"]);
    let mut asked = asked(wanted, entities, 300);
    asked.request.event_time = Timestamp(105);
    let answer = shop.answer(&asked).await.unwrap();
    assert_eq!(
        told(&answer),
        [
            "customer_id: 1 PRESENT 0",
            "product: \"tea\" PRESENT 0",
            "two: \"x\" PRESENT 105",
            "price: null NOT_FOUND 0",
            "amount: 7 PRESENT 100",
            "one: 7 PRESENT 105",
        ]
    );
    let told_of = |name: &str| answer.columns.iter().find(|column| column.name == name).unwrap();
    assert!(told_of("customer_id").feature.is_none());
    assert_eq!(told_of("two").feature.as_ref().unwrap().reference.to_string(), "again:two");
    asked.full_names = true;
    let answer = shop.answer(&asked).await.unwrap();
    assert_eq!(answer.columns[2].name, "again__two");
}

#[tokio::test]
async fn a_view_whose_join_keys_are_not_brought_has_no_rows() {
    let wanted = features(&["price:price", "spend:amount"]);
    let answer =
        shop().await.answer(&asked(wanted, json!({"customer_id": [2, 1]}), 105)).await.unwrap();
    assert_eq!(
        told(&answer),
        [
            "customer_id: 2 PRESENT 0, 1 PRESENT 0",
            "price: null NOT_FOUND 0, null NOT_FOUND 0",
            "amount: null NULL_VALUE 100, 7 PRESENT 100",
        ]
    );
}

#[tokio::test]
async fn errors_and_defaults_are_told_beside_the_values() {
    let ids = json!({"customer_id": [1, 1, 1]});
    let wanted = features(&["three:value", "spend:total", "spend:amount"]);
    let answer = shop().await.answer(&asked(wanted, ids, 105)).await.unwrap();
    assert_eq!(answer.errors, [("three".to_owned(), 1, "no eight".to_owned())]);
    let defaulted: Vec<bool> = answer.columns.iter().map(|column| column.defaulted).collect();
    assert_eq!(defaulted, [false, true, false, false]);
    let statuses = [Status::Present, Status::Invalid, Status::Present];
    assert_eq!(answer.provenance(&answer.columns[1]).statuses, statuses);
}

#[tokio::test]
async fn rows_of_another_definition_are_told() {
    let other = VIEWS.replacen("ordered_at", "written_at", 1);
    let other =
        other.replacen("created = \"written_at\"\n", "", 1).replace("visible = \"created\"\n", "");
    let row = |id| json!({"customer_id": [id], "product": ["tea"], "event_timestamp": [micros(100)], "amount": [id]});
    let shop = Shop::with(&other, &[("visits", row(1)), ("visits", row(2))]).await;
    let server = in_force(VIEWS);
    push(
        &server,
        Target::SourceOrView("visits"),
        &serde_json::from_value(row(2)).unwrap(),
        Timestamp(i64::MAX),
        &(*shop.store).clone().into(),
    )
    .await
    .unwrap();
    // Of the join key, then of each feature.
    let check = async |wanted: &[&str], event_time, expected: &[&[u32]]| {
        let entities = json!({"customer_id": [2, 1, 3], "word": ["x", "x", "x"]});
        let answer = shop.answer(&asked(features(wanted), entities, event_time)).await.unwrap();
        let flagged = answer.columns.iter().map(|column| {
            let rows = &answer.provenance(column).computed_by_other_definition;
            rows.iter().copied().collect::<Vec<u32>>()
        });
        assert_eq!(flagged.collect::<Vec<_>>(), expected, "{wanted:?} at {event_time}");
    };
    check(&["visit:seen", "spend:amount"], 105, &[&[], &[1], &[]]).await;
    // What is computed from such a row is no more of the definition in force than the row is,
    // whether the row is asked for too or not, and however many functions are between.
    check(&["sight:sight"], 105, &[&[], &[1]]).await;
    check(&["onward:onward", "again:one"], 105, &[&[], &[1], &[]]).await;
    check(&["sight:sight", "visit:seen"], 105, &[&[], &[1], &[1]]).await;
    // A row that cannot be seen gives no value that could be another.
    check(&["visit:seen", "spend:amount", "onward:onward"], 99, &[&[], &[], &[], &[]]).await;
}

#[tokio::test]
async fn a_store_that_fails_takes_only_its_views_with_it() {
    let folder = tempdir().unwrap();
    let options = EmbeddedOptions { map_size: 1 << 20, ..EmbeddedOptions::default() };
    let store = EmbeddedStore::open(folder.path(), options).unwrap();
    let declarations =
        VIEWS.replace("[feature_view.spend]\n", "[feature_view.spend]\nstore = \"weak\"\n");
    let in_force = Arc::new(in_force(&declarations));
    let weak: Arc<dyn OnlineStore> =
        Arc::new(UnopenedStore(Error::unavailable("the disk is gone")));
    let named = [("weak".to_owned(), weak)].into();
    let server = FeatureServer::new(in_force, Stores::new(Arc::new(store), named));
    let entities = json!({"customer_id": [1], "word": ["x"]});
    // The function of `three` fails as a whole for a single row.
    let wanted =
        ["visit:seen", "spend:total", "again:one", "three:value", "sight:sight", "onward:onward"];
    let mut asked = asked(features(&wanted), entities, 105);
    let prepared = server.prepare(&asked.wanted, false).unwrap();
    let refused = server.answer(&prepared, &asked.request).await.unwrap_err();
    assert_eq!((refused.class, refused.error.kind()), (Class::Failed, Kind::Unavailable));
    asked.request.partial = true;
    let answer = server.answer(&prepared, &asked.request).await.unwrap();
    assert_eq!(
        told(&answer)[1..],
        [
            "seen: null NOT_FOUND 0",
            "total: null INVALID 0",
            "one: null INVALID 105",
            "value: null INVALID 105",
            "sight: null NULL_VALUE 105",
            "onward: null INVALID 105",
        ]
    );
    assert_eq!(answer.unavailable, [("spend".to_owned(), "the disk is gone".to_owned())].into());
    // With three rows the function would have an error for the second one.
    asked.request.entities =
        serde_json::from_value(json!({"customer_id": [1, 2, 3], "word": ["x", "x", "x"]})).unwrap();
    let answer = server.answer(&prepared, &asked.request).await.unwrap();
    assert_eq!(answer.errors, []);
    assert_eq!(server.failing_stores(Duration::from_secs(9)).await.len(), 1);
}

#[tokio::test]
async fn what_is_wrong_with_a_store_is_not_the_callers_mistake() {
    let declarations =
        VIEWS.replace("[feature_view.spend]\n", "[feature_view.spend]\nstore = \"weak\"\n");
    let in_force = Arc::new(in_force(&declarations));
    let weak = |error: Error| -> Arc<dyn OnlineStore> { Arc::new(UnopenedStore(error)) };
    let check = async |store: Option<Arc<dyn OnlineStore>>, expected: &str| {
        let named = store.map(|store| ("weak".to_owned(), store));
        let stores = Stores::new(weak(Error::internal("x")), named.into_iter().collect());
        let server = FeatureServer::new(Arc::clone(&in_force), stores);
        let asked = asked(features(&["spend:total"]), json!({"customer_id": [1]}), 105);
        let prepared = server.prepare(&asked.wanted, false).unwrap();
        let Refused { class, error } = server.answer(&prepared, &asked.request).await.unwrap_err();
        assert_eq!(
            (class, error.kind(), error.message()),
            (Class::Failed, Kind::Unavailable, expected)
        );
        check_stores(&in_force.state.definitions, server.stores())
            .map_err(|error| error.message().to_owned())
    };
    let full = Error::limit("readers", 1, 1, 2);
    let found = check(Some(weak(full)), "readers over the limit: limit 1, current 1, requested 2");
    assert_eq!(found.await, Ok(()));
    let found = check(Some(weak(Error::invalid("it is no folder"))), "it is no folder");
    assert_eq!(found.await, Ok(()));
    let found = check(None, "there is no online store weak").await;
    assert_eq!(found.unwrap_err(), "feature view spend: there is no online store weak");
}

#[tokio::test]
async fn refusals_have_a_class_and_say_what_is_wrong() {
    let shop = shop().await;
    let check = async |wanted: &Wanted, entities: Value, class: Class, expected: &str| {
        let refused = shop.answer(&asked(wanted.clone(), entities, 105)).await.unwrap_err();
        assert_eq!((refused.class, refused.error.message()), (class, expected));
    };
    let ids = || json!({"customer_id": [1]});
    let amount = features(&["spend:amount"]);
    check(
        &Wanted::Service("bot".into()),
        ids(),
        Class::FeatureServiceNotFound,
        "Feature service bot does not exist",
    )
    .await;
    check(
        &features(&["spend:amount", "spent:amount"]),
        ids(),
        Class::FeatureViewNotFound,
        "Feature view spent does not exist",
    )
    .await;
    check(
        &features(&["spend:amounts"]),
        ids(),
        Class::FeatureNotFound,
        "Feature amounts not found in view spend",
    )
    .await;
    check(&features(&[]), ids(), Class::Invalid, "No features specified for retrieval").await;
    check(
        &features(&["hidden:secret"]),
        ids(),
        Class::Invalid,
        "Feature view hidden is not online",
    )
    .await;
    check(
        &Wanted::Service("twins".into()),
        ids(),
        Class::NameCollision,
        "two columns of the answer would be called \"total\": feature spend:total and feature \
         renamed:total",
    )
    .await;
    check(
        &Wanted::Service("both".into()),
        ids(),
        Class::RequestDataNotFound,
        "Required request data source features [\"word\"] not found in the entity rows, but \
         required by feature views [\"again\"]",
    )
    .await;
    check(&amount, json!({"customer": [1]}), Class::Invalid, "No join key in the entities").await;
    check(
        &amount,
        json!({"customer_id": [1, null]}),
        Class::Invalid,
        "Join key customer_id is null in a row",
    )
    .await;
    check(&amount, json!({}), Class::Invalid, "No entities: nothing to answer for").await;
    check(
        &amount,
        json!({"customer_id": []}),
        Class::Invalid,
        "No entity rows: nothing to answer for",
    )
    .await;
    check(
        &amount,
        json!({"customer_id": [1], "unused": [1, 2]}),
        Class::Invalid,
        "All entity rows must have the same columns: customer_id has 1 rows, unused has 2",
    )
    .await;
    check(
        &amount,
        json!({"customer_id": [1, 2, 3, 4]}),
        Class::Invalid,
        "rows of a request over the limit: limit 3, current 0, requested 4",
    )
    .await;
    // The function takes three rows, and fails as a whole otherwise.
    let two = asked(features(&["three:value"]), json!({"customer_id": [1, 2]}), 105);
    assert_eq!(shop.answer(&two).await.unwrap_err().class, Class::Failed);
}

#[tokio::test]
async fn a_service_whose_names_collide_can_be_asked_with_full_names() {
    let mut asked = asked(Wanted::Service("twins".into()), json!({"customer_id": [1]}), 105);
    asked.full_names = true;
    let answer = shop().await.answer(&asked).await.unwrap();
    assert_eq!(
        told(&answer)[1..],
        ["spend__total: 7 PRESENT 100", "renamed__total: 7 PRESENT 100"]
    );
}

#[test]
fn refusals_of_others_are_the_callers_mistake_or_ours() {
    use crate::error::{Error, Kind};
    for (kind, class) in [
        (Kind::Invalid, Class::Invalid),
        (Kind::NotFound, Class::Invalid),
        (Kind::Limit, Class::Invalid),
        (Kind::Transform, Class::Failed),
        (Kind::Corrupt, Class::Failed),
        (Kind::Unavailable, Class::Failed),
        (Kind::Internal, Class::Failed),
    ] {
        assert_eq!(Refused::from(Error::new(kind, "x")).class, class, "{kind:?}");
    }
}
