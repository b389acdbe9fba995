//! Wrong input gets a message that says what, where and what instead, its exit code, and nothing
//! changes.

use std::{fs, net::TcpListener, process::Command};

use serde_json::{Value, json};

use crate::{
    shop::{DEFINITIONS, shop, write_many_entities},
    support::{Project, Server},
};

fn says(said: &str, parts: &[&str]) {
    for part in parts {
        assert!(said.contains(part), "{said:?} should contain {part:?}");
    }
}

fn snapshots(project: &Project) -> usize {
    fs::read_dir(project.path("registry/snapshots")).map_or(0, Iterator::count)
}

const TRAIN: [&str; 7] =
    ["training-set", "--entities", "entities.parquet", "--service", "churn", "-o", "train.parquet"];

#[test]
fn definitions_with_mistakes_are_refused_all_at_once() {
    let project = shop();
    let mistaken = DEFINITIONS
        .replace("source = \"orders\"", "source = \"order\"")
        .replace("amount = { type = \"float64\"", "amount = { typ = \"float64\"")
        .replace("\"user_age:user_age\"", "\"user_age:age\"");
    project.write("features/shop.toml", &mistaken);
    let said = project.fails(2, &["apply"]);
    says(
        &said,
        &["features/shop.toml:14", "\"orders\"", "typ", "user_age:age", "hint: did you mean"],
    );
    assert_eq!(snapshots(&project), 1);
}

#[test]
fn unknown_names_in_a_request_get_feasts_typed_errors() {
    let project = shop();
    let server = project.serve();
    let check = |body: Value, status: u16, class: &str, message: &str| {
        let (given, answer) = server.post("/get-online-features", &body);
        let inner: Value = serde_json::from_str(answer.as_str().unwrap()).unwrap();
        assert_eq!((given, inner["module"].as_str()), (status, Some("feast.errors")), "{answer}");
        assert_eq!(inner["class"], class, "{answer}");
        says(inner["message"].as_str().unwrap(), &[message]);
    };
    let entities = json!({"customer_id": [1]});
    let features = |features: Value| json!({"features": features, "entities": entities});
    check(
        features(json!(["order:amount"])),
        404,
        "FeatureViewNotFoundException",
        "did you mean \"orders\"?",
    );
    check(
        features(json!(["orders:amont"])),
        404,
        "FeastObjectNotFoundException",
        "did you mean \"amount\"?",
    );
    check(features(json!([])), 422, "FeastError", "No features specified");
    check(features(json!(["amount"])), 422, "FeastError", "not a feature: \"amount\"");
    check(
        json!({"feature_service": "chum", "entities": entities}),
        404,
        "FeatureServiceNotFoundException",
        "did you mean \"churn\"?",
    );
    let of = |entities: Value| json!({"feature_service": "churn", "entities": entities});
    check(
        of(json!({"customer_id": ["abc"]})),
        422,
        "FeastError",
        "row 0: \"abc\" is not a value of type int64",
    );
    check(of(json!({"customer_id": [null]})), 422, "FeastError", "customer_id is null");
    check(of(json!({"customer_id": []})), 422, "FeastError", "No entity rows");
    check(of(json!({})), 422, "FeastError", "No entities");
    check(of(json!({"id": [1]})), 422, "FeastError", "No join key");
    check(
        of(json!({"customer_id": [1], "x": [1, 2]})),
        422,
        "FeastError",
        "must have the same columns",
    );
    check(json!({"features": []}), 422, "FeastError", "missing field `entities`");
    let (status, _) = server.post("/nowhere", &json!({}));
    assert_eq!(status, 404);
    still_serves(&server);
}

fn still_serves(server: &Server) {
    let body = json!({"feature_service": "churn", "entities": {"customer_id": [1]}});
    assert_eq!(server.post("/get-online-features", &body).0, 200);
}

#[test]
fn a_parquet_file_cut_in_half_is_named() {
    let project = shop();
    for (file, arguments) in [
        ("entities.parquet", TRAIN.as_slice()),
        ("orders.parquet", &TRAIN),
        ("orders.parquet", &["materialize"]),
    ] {
        let whole = fs::read(project.path(file)).unwrap();
        fs::write(project.path(file), &whole[..whole.len() / 2]).unwrap();
        let output = project.run(arguments);
        assert_eq!(output.status.code(), Some(2));
        says(&String::from_utf8(output.stderr).unwrap(), &["error: ", file]);
        assert!(!project.path("train.parquet").exists());
        fs::write(project.path(file), whole).unwrap();
    }
}

#[test]
fn an_entity_file_without_a_time_column_is_told_what_there_is() {
    let project = shop();
    let mut arguments = TRAIN.to_vec();
    arguments.extend(["--timestamp-column", "when"]);
    let said = project.fails(2, &arguments);
    says(&said, &["\"when\"", "customer_id", "event_timestamp", "--timestamp-column"]);
    let said = project.fails(
        2,
        &[
            "training-set",
            "--entities",
            "orders.parquet",
            "--service",
            "churn",
            "-o",
            "train.parquet",
        ],
    );
    says(&said, &["event_timestamp", "ordered_at"]);
    assert!(!project.path("train.parquet").exists());
}

#[test]
fn what_is_no_transform_is_not_published() {
    let project = Project::new();
    let publish =
        |file: &str| project.fails(2, &["transform", "publish", file, "--name", "tests/bad@1.0.0"]);
    project.write("text.wasm", "this is no component");
    says(&publish("text.wasm"), &["not published"]);
    let importing = wat::parse_str(r#"(component (import "clock" (func)))"#).unwrap();
    fs::write(project.path("importing.wasm"), importing).unwrap();
    says(&publish("importing.wasm"), &["not published", "clock"]);
    let empty = wat::parse_str("(component)").unwrap();
    fs::write(project.path("empty.wasm"), empty).unwrap();
    says(&publish("empty.wasm"), &["not published", "unskew:transform"]);
    says(&publish("missing.wasm"), &["missing.wasm"]);
    assert!(!project.path("registry/transforms").exists());
    assert!(!project.path("registry/components").exists());
}

#[test]
fn a_version_is_published_once() {
    let project = Project::new();
    project.publish("transforms/user_age");
    project.publish("transforms/user_age");
    let other = crate::support::checkout().join("transforms/recency");
    let other = other.to_str().unwrap();
    let said =
        project.fails(2, &["transform", "publish", other, "--name", "commerce/user_age@1.0.0"]);
    says(&said, &["commerce/user_age@1.0.0", "sha256:", "hint: "]);
}

#[test]
fn a_corrupted_object_in_the_registry_is_named() {
    let project = shop();
    let folder = project.path("registry/components/sha256");
    let component = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let component =
        component.into_iter().find(|path| path.extension().is_some_and(|e| e == "wasm")).unwrap();
    let mut bytes = fs::read(&component).unwrap();
    bytes[100] ^= 1;
    fs::write(&component, bytes).unwrap();
    let said = project.fails(2, &TRAIN);
    says(&said, &["components/sha256/", component.file_name().unwrap().to_str().unwrap()]);
    fs::write(project.path("registry/snapshots/00000000000000000001.json"), "{}").unwrap();
    says(&project.fails(2, &TRAIN), &["snapshots/00000000000000000001.json"]);
    assert!(!project.path("train.parquet").exists());
}

#[test]
fn folders_that_cannot_be_used_are_named() {
    let project = shop();
    // A file where a folder should be stands for a folder without permission: the tests may run
    // as a user who may do everything.
    fs::write(project.path("occupied"), "").unwrap();
    project.write("unskew.toml", "[project]\nname = \"probe\"\n[online]\npath = \"occupied\"\n");
    says(&project.fails(2, &["materialize"]), &["occupied"]);
    project.write("unskew.toml", "[project]\nname = \"probe\"\nregistry = \"occupied\"\n");
    says(&project.fails(2, &["apply"]), &["occupied"]);
    project.write("unskew.toml", "[project]\nname = \"probe\"\n");
    let mut arguments = TRAIN.to_vec();
    arguments[6] = "nowhere/train.parquet";
    says(&project.fails(2, &arguments), &["nowhere"]);
}

#[test]
fn a_port_in_use_is_named() {
    let project = shop();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let said = project.fails(2, &["serve", "--listen", &address]);
    says(&said, &[&address, "hint: another address"]);
}

#[test]
fn a_full_disk_leaves_no_half_file() {
    let project = shop();
    write_many_entities(&project, 700_000);
    // A limit on the size of a file is what a full disk is to a program: writes fail. It is above
    // what compiled code takes and below what the dataset does.
    let script = "trap '' XFSZ; ulimit -f 4096; exec \"$@\"";
    let command = project.command(&TRAIN);
    let output = Command::new("sh")
        .args(["-c", script, "sh"])
        .arg(command.get_program())
        .args(command.get_args())
        .current_dir(project.path("."))
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    says(&said, &["train.parquet was not written", "File too large"]);
    let left: Vec<_> =
        fs::read_dir(project.path(".")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    let expected = [
        "entities.parquet",
        "features",
        "orders.parquet",
        "registry",
        "unskew.lock",
        "unskew.toml",
    ];
    let mut left: Vec<_> = left.iter().map(|name| name.to_str().unwrap()).collect();
    left.sort_unstable();
    assert_eq!(left, expected);
    project.ok(&TRAIN);
}

#[test]
fn what_cannot_be_written_online_is_told() {
    let project = shop();
    let said = project.fails(2, &["materialize", "user_age"]);
    says(&said, &["On-demand feature view user_age is never materialized", "hint: it is computed"]);
    let rows = "{\"customer_id\": [1], \"customer_id\": [2]}";
    project.write("rows.json", rows);
    let said = project.fails(2, &["push", "orders", "rows.json"]);
    says(&said, &["nothing pushed: rows.json: column \"customer_id\" is there twice"]);
}

#[test]
fn an_end_in_the_future_is_refused() {
    let project = shop();
    let said = project.fails(2, &["materialize", "--to", "2999-01-01"]);
    says(&said, &["after now", "hint: "]);
}
