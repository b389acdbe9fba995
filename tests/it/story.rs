//! The story of the README, with a small shop: train, materialize, serve, audit, change, audit.

use std::fs;

use arrow::array::{Array, AsArray};
use arrow::datatypes::Float64Type;
use serde_json::{Value, json};

use crate::{
    shop::{DEFINITIONS, shop, write_orders},
    support::{Project, read_parquet},
};

const TRAIN: [&str; 7] =
    ["training-set", "--entities", "entities.parquet", "--service", "churn", "-o", "train.parquet"];

#[test]
fn a_training_dataset_is_correct_at_every_rows_time() {
    let project = shop();
    project.ok(&TRAIN);
    let rows = read_parquet(&project.path("train.parquet"));
    let floats = |name: &str| {
        let column = rows.column_by_name(name).unwrap().as_primitive::<Float64Type>().clone();
        column.iter().map(|value| value.map(f64::to_bits)).collect::<Vec<_>>()
    };
    // Customer 1 on day 6 has the order of day 5; customer 2 on day 15 that of day 5, exactly as
    // old as may be; customer 1 on day 0 the order of that very instant; customer 9 has none.
    let expected =
        [Some(-0.0), Some(3.5), Some(1.5), Some(0.0)].map(|x: Option<f64>| x.map(f64::to_bits));
    assert_eq!(floats("amount"), expected);
    let ages = rows.column_by_name("user_age").unwrap();
    assert_eq!(
        (0..4).map(|row| ages.is_null(row)).collect::<Vec<_>>(),
        [false, false, false, true]
    );
    assert_eq!(floats("user_age")[2], Some(0.0_f64.to_bits()));
}

fn answer(project: &Project, event_time: &str) -> Value {
    project.json(&[
        "get",
        "--service",
        "churn",
        "--event-time",
        event_time,
        "--entity",
        "customer_id=1",
        "--entity",
        "customer_id=2",
        "--entity",
        "customer_id=9",
    ])
}

#[test]
fn answers_keep_to_the_ttl_and_say_how_they_came_to_be() {
    let project = shop();
    project.ok(&["materialize"]);
    let column = |answer: &Value, place: usize| {
        (answer["results"][place]["values"].clone(), answer["results"][place]["statuses"].clone())
    };
    let now = answer(&project, "1998-01-16");
    assert_eq!(now["metadata"]["feature_names"], json!(["customer_id", "amount", "user_age"]));
    assert_eq!(
        column(&now, 1),
        (json!([-0.0, 3.5, 0.0]), json!(["PRESENT", "PRESENT", "NOT_FOUND"]))
    );
    assert_eq!(now["results"][1]["defaulted"], true);
    assert_eq!(column(&now, 2).1, json!(["PRESENT", "PRESENT", "NULL_VALUE"]));
    let later = answer(&project, "1998-01-16T00:00:00.000001Z");
    assert_eq!(column(&later, 1).1, json!(["OUTSIDE_MAX_AGE", "OUTSIDE_MAX_AGE", "NOT_FOUND"]));
    let before = answer(&project, "1998-01-05");
    assert_eq!(column(&before, 1).1, json!(["NOT_FOUND", "NOT_FOUND", "NOT_FOUND"]));
}

#[test]
fn newest_wins_and_late_rows_land() {
    let project = shop();
    project.ok(&["materialize"]);
    let amount =
        |project: &Project| answer(project, "1998-01-08")["results"][1]["values"][0].clone();
    let push = |at: &str, amount: f64| {
        let rows = json!({"customer_id": [1], "ordered_at": [at], "amount": [amount]});
        project.write("rows.json", &rows.to_string());
        project.ok(&["push", "orders", "rows.json"]);
    };
    push("1998-01-04", 7.0);
    assert_eq!(amount(&project), json!(-0.0), "an older row does not overwrite a newer one");
    push("1998-01-07", 8.0);
    assert_eq!(amount(&project), json!(8.0));
    let again = project.json(&["materialize", "--incremental"]);
    assert_eq!(again["written"]["store"]["written"], 0, "{again}");
    // A row that comes late: its event time is before the end of the last run.
    write_orders(&project, &[1, 1, 2, 3, 2], &[0, 5, 5, 20, 6], &[1.5, -0.0, 3.5, 4.5, 9.5]);
    let late = project.json(&["materialize", "--incremental"]);
    assert_eq!(late["written"]["store"]["written"], 1, "{late}");
    assert_eq!(answer(&project, "1998-01-08")["results"][1]["values"][1], json!(9.5));
}

#[test]
fn the_server_takes_pushes_and_counts() {
    let project = shop();
    let server = project.serve();
    let rows = json!({"push_source_name": "orders", "df": {"customer_id": [5], "event_timestamp": ["1998-01-02"]}});
    assert_eq!(server.post("/push", &rows).0, 422, "the content of the view is missing");
    let rows = json!({"push_source_name": "orders", "df": {"customer_id": [5], "ordered_at": ["1998-01-02"], "amount": [2.5]}});
    assert_eq!(server.post("/push", &rows).0, 200);
    let body = json!({"features": ["orders:amount"], "entities": {"customer_id": [5]}, "event_time": "1998-01-03T00:00:00Z"});
    let (status, answer) = server.post("/get-online-features", &body);
    assert_eq!((status, &answer["results"][1]["values"]), (200, &json!([2.5])));
    assert_eq!(server.get("/health").0, 200);
    let (_, metrics) = server.get("/metrics");
    assert!(
        metrics.contains(
            "unskew_requests_total{consumer=\"anonymous\",route=\"/push\",status=\"200\"} 1"
        ),
        "{metrics}"
    );
    assert!(
        metrics.contains("unskew_values_total{status=\"PRESENT\",view=\"orders\"} 1"),
        "{metrics}"
    );
}

#[test]
fn an_audit_names_the_transform_that_differs() {
    let project = shop();
    project.ok(&TRAIN);
    let audit = ["audit", "training-set", "train.parquet"];
    let standings = |output: &std::process::Output| -> Vec<String> {
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        report["columns"]
            .as_array()
            .unwrap()
            .iter()
            .map(|column| column["standing"].as_str().unwrap().to_owned())
            .collect()
    };
    let check = |code: i32, expected: [&str; 2]| {
        let output = project.run(&["audit", "training-set", "train.parquet", "--json"]);
        assert_eq!(
            (output.status.code(), standings(&output)),
            (Some(code), expected.map(str::to_owned).to_vec())
        );
    };
    check(0, ["same", "same"]);
    project.publish("examples/cdnow/transforms/user_age_v2");
    let other = DEFINITIONS.replace("user_age@1.0.0", "user_age@2.0.0").replace("ada@", "grace@");
    project.write("features/shop.toml", &other);
    project.ok(&["apply"]);
    check(1, ["same", "transform_differs"]);
    let output = project.run(&audit);
    let said = String::from_utf8(output.stdout).unwrap();
    for part in [
        "was commerce/user_age@1.0.0 sha256:",
        "is  commerce/user_age@2.0.0 sha256:",
        "of 4 rows would change",
    ] {
        assert!(said.contains(part), "{said}");
    }
    let server = project.serve();
    let output = project.run(&["audit", "training-set", "train.parquet", "--server", &server.url]);
    assert_eq!(output.status.code(), Some(1));
    project.write("features/shop.toml", &DEFINITIONS.replace("ttl = \"10d\"", "ttl = \"11d\""));
    project.ok(&["apply"]);
    check(1, ["definition_differs", "definition_differs"]);
    let unserved = DEFINITIONS
        .replace("amount = { type = \"float64\", default = 0.0 }\n", "")
        .replace("\"orders:amount\", ", "");
    project.write("features/shop.toml", &unserved);
    project.ok(&["apply"]);
    check(1, ["no_longer_served", "same"]);
    project.write("features/shop.toml", DEFINITIONS);
    project.ok(&["apply"]);
    check(0, ["same", "same"]);
    // Without the data it is still said what differs.
    project.write("features/shop.toml", &DEFINITIONS.replace("ttl = \"10d\"", "ttl = \"11d\""));
    project.ok(&["apply"]);
    fs::remove_file(project.path("orders.parquet")).unwrap();
    check(1, ["definition_differs", "definition_differs"]);
    let output = project.run(&audit);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("Which rows would change is not known: source \"orders\""), "{said}");
}

#[test]
fn a_source_that_is_gone_stops_nobody_who_does_not_read_it() {
    let project = shop();
    fs::copy(project.path("orders.parquet"), project.path("visits.parquet")).unwrap();
    let visits = r#"
[source.visits]
path = "visits.parquet"
timestamp = "ordered_at"

[feature_view.visits]
entities = ["customer"]
source = "visits"
features = { visits = { type = "float64", column = "amount" } }
"#;
    project.write("features/visits.toml", visits);
    project.ok(&["apply"]);
    fs::remove_file(project.path("visits.parquet")).unwrap();
    project.ok(&TRAIN);
    project.ok(&["replay", "train.parquet"]);
    let asked = ["training-set", "--entities", "entities.parquet", "--features", "visits:visits"];
    let said = project.fails(2, &[&asked[..], &["-o", "other.parquet"]].concat());
    assert!(said.contains("visits.parquet"), "{said}");
}

#[test]
fn a_dataset_of_the_same_request_has_the_same_content() {
    let project = shop();
    let hash = |arguments: &[&str]| {
        let arguments: Vec<_> = TRAIN.iter().chain(arguments).copied().collect();
        project.json(&arguments)["content_hash"].clone()
    };
    let once = hash(&[]);
    for arguments in [["--threads", "1"], ["--batch-rows", "1"], ["--threads", "7"]] {
        assert_eq!(hash(&arguments), once);
    }
}
