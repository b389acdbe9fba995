//! Feast itself (0.67) against a running server: its client (`online_store: remote`), and its own
//! server beside ours, asked the same. The scripts are in `tests/feast`.
//!
//! The comparison takes 200 requests with each of the stores; `UNSKEW_DIFFERENTIAL_REQUESTS=5000` makes
//! it the long one, and `UNSKEW_DIFFERENTIAL_SEED` another one.

use std::{env, io::Write as _, process::Command, sync::Arc};

use arrow::array::{
    ArrayRef, BooleanArray, Float32Array, Float64Array, Int64Array, StringArray,
    TimestampMicrosecondArray,
};
use unskew::time::Timestamp;

use crate::{
    redis::servers::{PLAIN, Server},
    support::{Project, checkout, python, write_parquet},
};

/// 2026-01-01.
const START: i64 = 1_767_225_600_000_000;
const DAY: i64 = 86_400_000_000;

/// What the client of `tests/feast/client.py` finds on the server.
const DEFINITIONS: &str = r#"
[entity.driver]
join_keys = { driver_id = "int64" }

[source.driver_stats]
path = "driver_stats.parquet"
timestamp = "event_timestamp"
created = "created"

[feature_view.driver_hourly_stats]
entities = ["driver"]
source = "driver_stats"
features = { conv_rate = "float32", acc_rate = "float32", avg_daily_trips = "int64" }

[source.driver_stats_fresh]
path = "driver_stats.parquet"
timestamp = "event_timestamp"
created = "created"

[feature_view.driver_hourly_stats_fresh]
entities = ["driver"]
source = "driver_stats_fresh"
features = { conv_rate = "float32", acc_rate = "float32", avg_daily_trips = "int64" }

[source.kinds]
path = "kinds.parquet"
timestamp = "event_timestamp"

[feature_view.kinds]
entities = ["driver"]
source = "kinds"
[feature_view.kinds.features]
a_bool = { type = "boolean", column = "c_bool" }
an_int32 = { type = "int32", column = "c_int32" }
an_int64 = { type = "int64", column = "c_int64" }
a_float32 = { type = "float32", column = "c_float32" }
a_float64 = { type = "float64", column = "c_float64" }
a_string = { type = "utf8", column = "c_string" }
a_moment = { type = "timestamp", column = "c_moment" }
int64s = { type = "list<int64>", column = "c_int64s" }
float32s = { type = "list<float32>", column = "c_float32s" }
float64s = { type = "list<float64>", column = "c_float64s" }
strings = { type = "list<utf8>", column = "c_strings" }

[on_demand_feature_view.scaled]
transform = "commerce/scale@1.0.0#standardize"
inputs = { x = "rates:trips" }
params = { mean = 10.0, std = 2.0 }
features = { trips_scaled = { type = "float64", column = "standardize" } }

[feature_view.rates]
entities = ["driver"]
source = "driver_stats"
features = { trips = { type = "float64", column = "trips" } }

[on_demand_feature_view.with_request]
transform = "commerce/scale@1.0.0#standardize"
inputs = { x = "request:value" }
params = { mean = 10.0, std = 2.0 }
features = { value_scaled = { type = "float64", column = "standardize" } }

[feature_service.driver_activity]
features = ["driver_hourly_stats:conv_rate", "scaled:trips_scaled"]
"#;

fn drivers() -> Project {
    let project = Project::new();
    let at = |days: &[i64]| -> ArrayRef {
        let micros = days.iter().map(|day| START + day * DAY);
        Arc::new(TimestampMicrosecondArray::from_iter_values(micros).with_timezone("UTC"))
    };
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![1001, 1001, 1002]));
    let trips: ArrayRef = Arc::new(Int64Array::from(vec![10, 11, 22]));
    let floats = |values: [f32; 3]| -> ArrayRef { Arc::new(Float32Array::from(values.to_vec())) };
    write_parquet(
        &project.path("driver_stats.parquet"),
        &[
            ("driver_id", ids.clone()),
            ("conv_rate", floats([0.5, 0.75, 0.1])),
            ("acc_rate", floats([0.5, 0.25, -0.0])),
            ("avg_daily_trips", trips),
            ("trips", Arc::new(Float64Array::from(vec![10.0, 11.0, 22.0]))),
            ("event_timestamp", at(&[0, 2, 2])),
            ("created", at(&[0, 2, 2])),
        ],
    );
    write_kinds(&project, ids, at(&[0, 2, 2]));
    project.publish("transforms/scale");
    project.write("features/drivers.toml", DEFINITIONS);
    project.ok(&["apply"]);
    project
}

/// A column of every type that Feast can send, for its name and type.
fn write_kinds(project: &Project, ids: ArrayRef, times: ArrayRef) {
    use unskew::value::{DataType, column_from_json};
    let empty = |data_type| column_from_json(&vec![serde_json::Value::Null; 3], data_type).unwrap();
    let text: ArrayRef = Arc::new(StringArray::from(vec!["a", "b", "c"]));
    write_parquet(
        &project.path("kinds.parquet"),
        &[
            ("driver_id", ids),
            ("event_timestamp", times),
            ("c_bool", empty(DataType::Boolean)),
            ("c_int32", empty(DataType::Int32)),
            ("c_int64", empty(DataType::Int64)),
            ("c_float32", empty(DataType::Float32)),
            ("c_float64", empty(DataType::Float64)),
            ("c_string", text),
            ("c_moment", empty(DataType::Timestamp)),
            ("c_int64s", empty(DataType::ListInt64)),
            ("c_float32s", empty(DataType::ListFloat32)),
            ("c_float64s", empty(DataType::ListFloat64)),
            ("c_strings", empty(DataType::ListUtf8)),
        ],
    );
}

#[test]
fn feasts_own_client_works_unchanged() {
    let project = drivers();
    let server = project.serve();
    std::fs::create_dir(project.path("client")).unwrap();
    let said = run(&project, "client.py", &[&server.url, "client"]);
    assert!(said.trim_end().ends_with("checks hold"), "{said}");
}

#[test]
fn feasts_own_test_of_its_client_holds() {
    let project = drivers();
    project.ok(&["materialize"]);
    let server = project.serve();
    let said = run(&project, "remote_online_store.py", &[&server.url, "."]);
    assert!(said.trim_end().ends_with("holds"), "{said}");
}

/// Runs a script of `tests/feast`, which has to succeed, and gives what it printed.
fn run(project: &Project, script: &str, arguments: &[&str]) -> String {
    let output = Command::new(python())
        .arg(checkout().join("tests/feast").join(script))
        .args(arguments)
        .current_dir(project.path("."))
        .env("FEAST_USAGE", "False")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    said
}

/// What the requests of `tests/feast/differential.py` are about.
const COMPARED: &str = r#"
[entity.driver]
join_keys = { driver_id = "int64" }

[entity.zone]
join_keys = { zone = "utf8" }

[source.trips]
path = "trips.parquet"
timestamp = "event_timestamp"

[feature_view.trips]
entities = ["driver"]
source = "trips"
[feature_view.trips.features]
count = "int64"
rate = "float32"
amount = "float64"
note = "utf8"
active = "boolean"

[source.recent]
path = "recent.parquet"
timestamp = "event_timestamp"

[feature_view.recent]
entities = ["driver"]
source = "recent"
ttl = "10d"
features = { count = "int64", last = "timestamp" }

[source.pairs]
path = "pairs.parquet"
timestamp = "event_timestamp"

[feature_view.pairs]
entities = ["driver", "zone"]
source = "pairs"
features = { visits = "int64" }

[on_demand_feature_view.scaled]
transform = "commerce/scale@1.0.0#standardize"
inputs = { x = "trips:amount" }
params = { mean = 10.0, std = 2.0 }
features = { amount_scaled = { type = "float64", column = "standardize" } }

[on_demand_feature_view.asked]
transform = "commerce/scale@1.0.0#standardize"
inputs = { x = "request:value" }
params = { mean = 10.0, std = 2.0 }
features = { value_scaled = { type = "float64", column = "standardize" } }

[feature_service.everything]
features = [
    "trips:count", "trips:rate", "trips:amount", "trips:note", "trips:active",
    "recent:count", "recent:last", "scaled:amount_scaled",
]
"#;

/// Forty drivers with three rows each, nulls and odd floats among them; recent rows of the last twenty
/// days, half of them older than the ttl.
fn compared(online: &str) -> Project {
    let project = Project::new();
    project.write("unskew.toml", &format!("[project]\nname = \"probe\"\n{online}"));
    let now = Timestamp::now().0 / 1_000_000 * 1_000_000;
    let rows: Vec<i64> = (0..120).collect();
    let ids = |of: fn(i64) -> i64| -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| of(*row))))
    };
    let ints = |of: fn(i64) -> Option<i64>| -> ArrayRef {
        Arc::new(Int64Array::from_iter(rows.iter().map(|row| of(*row))))
    };
    let at = |of: &dyn Fn(i64) -> i64| -> ArrayRef {
        let micros = rows.iter().map(|row| of(*row));
        Arc::new(TimestampMicrosecondArray::from_iter_values(micros).with_timezone("UTC"))
    };
    let amount = |row: i64| match row % 11 {
        0 => None,
        1 => Some(f64::NAN),
        2 => Some(f64::INFINITY),
        3 => Some(-0.0),
        4 => Some(5e-324),
        other => Some(other as f64 / 7.0 * 1e5),
    };
    let note = |row: i64| (row % 5 != 0).then(|| format!("note {row} ß \u{1f980}"));
    write_parquet(
        &project.path("trips.parquet"),
        &[
            ("driver_id", ids(|row| row % 40)),
            ("count", ints(|row| (row % 4 != 0).then_some(row * 1_000_003))),
            (
                "rate",
                Arc::new(Float32Array::from_iter_values(rows.iter().map(|row| *row as f32 / 3.0))),
            ),
            ("amount", Arc::new(Float64Array::from_iter(rows.iter().map(|row| amount(*row))))),
            ("note", Arc::new(StringArray::from_iter(rows.iter().map(|row| note(*row))))),
            (
                "active",
                Arc::new(BooleanArray::from_iter(rows.iter().map(|row| Some(row % 3 == 0)))),
            ),
            ("event_timestamp", at(&|row| START + row * 7_000_001)),
        ],
    );
    let last = rows.iter().map(|row| (row % 6 != 0).then_some(START + row * 1_000_000));
    let last = TimestampMicrosecondArray::from_iter(last).with_timezone("UTC");
    write_parquet(
        &project.path("recent.parquet"),
        &[
            ("driver_id", ids(|row| row % 40)),
            ("count", ids(|row| row)),
            ("last", Arc::new(last)),
            ("event_timestamp", at(&|row| now - (row % 40) * DAY / 2 - (60 + row) * 1_000_000)),
        ],
    );
    let zones = rows.iter().map(|row| ["n", "s", "e"][*row as usize % 3]);
    write_parquet(
        &project.path("pairs.parquet"),
        &[
            ("driver_id", ids(|row| row % 40)),
            ("zone", Arc::new(StringArray::from_iter_values(zones))),
            ("visits", ids(|row| row)),
            ("event_timestamp", at(&|row| START + row)),
        ],
    );
    project.publish("transforms/scale");
    project.write("features/compared.toml", COMPARED);
    project.ok(&["apply"]);
    project.ok(&["materialize"]);
    project
}

#[test]
fn the_same_requests_get_the_same_answers_as_from_feasts_own_server() {
    check("", None);
    let (ours, theirs) = (Server::start(PLAIN), Server::start(PLAIN));
    check(&format!("[online]\nurl = \"{}\"\n", ours.url()), Some(&theirs));
}

/// Asks both servers the same, ours with an online store of these settings, Feast's with this Redis,
/// or SQLite.
fn check(online: &str, redis: Option<&Server>) {
    let project = compared(online);
    let server = project.serve();
    let requests = env::var("UNSKEW_DIFFERENTIAL_REQUESTS").unwrap_or_else(|_| "200".to_owned());
    let seed = env::var("UNSKEW_DIFFERENTIAL_SEED").unwrap_or_else(|_| "1".to_owned());
    let redis = redis.map(|redis| format!("127.0.0.1:{}", redis.port));
    let mut arguments = vec![&*server.url, ".", &requests, &seed];
    arguments.extend(redis.as_deref());
    let said = run(&project, "differential.py", &arguments);
    // Past the capture of the test runner: the list of differences is there to be seen.
    std::io::stdout().write_all(said.as_bytes()).unwrap();
    assert!(said.trim_end().ends_with(&format!("{requests} requests agree")), "{said}");
}
