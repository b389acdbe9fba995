//! Sources of every kind give the same rows: files, folders, patterns, Hive's layout, URLs, Delta.

use std::{fs, path::Path, process::Output, sync::Arc};

use arrow::array::{ArrayRef, Float32Array, Float64Array, Int32Array, StringArray};
use serde_json::{Value, json};

use crate::{
    s3::{S3, answering},
    shop::{DEFINITIONS, days, ids, shop},
    support::{Project, write_parquet},
};

const TRAIN: [&str; 7] =
    ["training-set", "--entities", "entities.parquet", "--service", "churn", "-o", "train.parquet"];

/// The content of the training dataset, with the orders at a path.
fn content(project: &Project, path: &str) -> Value {
    redefine(project, &format!("path = \"{path}\""));
    project.ok(&["apply"]);
    trained(project)
}

fn redefine(project: &Project, data: &str) {
    let definitions = DEFINITIONS.replace("path = \"orders.parquet\"", data);
    project.write("features/shop.toml", &definitions);
}

fn trained(project: &Project) -> Value {
    let output = with_keys(project, &TRAIN);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    serde_json::from_slice::<Value>(&output.stdout).unwrap()["content_hash"].clone()
}

/// Runs a command with the credentials in its environment.
fn with_keys(project: &Project, arguments: &[&str]) -> Output {
    let mut command = project.command(arguments);
    command
        .arg("--json")
        .env("LAKE_KEY", "test")
        .env("LAKE_SECRET", "very-secret")
        .output()
        .unwrap()
}

/// The orders of the shop, one file each.
fn order_files(project: &Project, name: impl Fn(usize) -> String) {
    let (customers, at) = ([1, 1, 2, 3], [0, 5, 5, 20]);
    let amounts = [1.5, -0.0, 3.5, 4.5];
    for row in 0..4 {
        let path = project.path(&name(row));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let amount: ArrayRef = Arc::new(Float64Array::from(vec![amounts[row]]));
        let columns =
            [("customer_id", ids(&customers[row..=row])), ("ordered_at", days(&at[row..=row]))];
        write_parquet(&path, &[columns.as_slice(), &[("amount", amount)]].concat());
    }
}

#[test]
fn folders_patterns_and_urls_are_the_same_rows() {
    let project = shop();
    let expected = content(&project, "orders.parquet");
    order_files(&project, |row| format!("orders/year=1998/part={row}/data.parquet"));
    order_files(&project, |row| format!("mixed/batch-{row}.parquet"));
    project.write("mixed/README.parquet.txt", "");
    let url = format!("file://{}/orders", project.path("").canonicalize().unwrap().display());
    for path in
        ["orders", "mixed/batch-?.parquet", "*/year=1998", "orders/**/data.parquet", url.as_str()]
    {
        assert_eq!(content(&project, path), expected, "{path}");
    }
    // What the folders' names say are columns.
    let sql = "sql = \"\"\"SELECT customer_id, ordered_at, amount FROM raw \
               WHERE part < 4 AND year = 1998\"\"\"\ntimestamp = \"ordered_at\"\n\n\
               [source.raw]\npath = \"orders\"";
    redefine(&project, sql);
    project.ok(&["apply"]);
    assert_eq!(trained(&project), expected);
    for (path, says) in [
        ("nowhere/*.parquet", "no Parquet file matches"),
        ("features", "has no Parquet files"),
        ("ftp://host/x", "there is no scheme ftp"),
    ] {
        redefine(&project, &format!("path = \"{path}\""));
        let said = project.fails(2, &["apply"]);
        assert!(said.contains(says), "{said}");
    }
}

#[test]
fn columns_are_added_and_widen_from_file_to_file() {
    let project = shop();
    let expected = content(&project, "orders.parquet");
    fs::create_dir(project.path("orders")).unwrap();
    let write = |name: &str, customer: ArrayRef, at: &[i64], more: &[(&str, ArrayRef)]| {
        let columns = [("customer_id", customer), ("ordered_at", days(at))];
        let path = project.path(&format!("orders/{name}.parquet"));
        write_parquet(&path, &[columns.as_slice(), more].concat());
    };
    let narrow = |ids: &[i32]| Arc::new(Int32Array::from(ids.to_vec())) as ArrayRef;
    let amounts = |amounts: &[f32]| Arc::new(Float32Array::from(amounts.to_vec())) as ArrayRef;
    write("a", narrow(&[1]), &[0], &[("amount", amounts(&[1.5]))]);
    let wide: ArrayRef = Arc::new(Float64Array::from(vec![-0.0, 3.5]));
    write("b", ids(&[1, 2]), &[5, 5], &[("amount", wide)]);
    write("c", ids(&[3]), &[20], &[]);
    assert_eq!(content(&project, "orders"), expected, "a missing amount is null, and 0.0");
    let text: ArrayRef = Arc::new(StringArray::from(vec!["4.5"]));
    write("d", ids(&[3]), &[20], &[("amount", text)]);
    let said = project.fails(2, &["apply"]);
    let (one, other) = (
        "orders/b.parquet",
        "orders/d.parquet: column \"amount\" has type Utf8, and type Float64 in ",
    );
    assert!(said.contains(one) && said.contains(other), "{said}");
}

#[test]
fn objects_of_s3_are_the_same_rows_and_refusals_are_told() {
    let project = shop();
    let expected = content(&project, "orders.parquet");
    let server = S3::start();
    order_files(&project, |row| format!("orders/part={row}/data.parquet"));
    for row in 0..4 {
        let path = format!("orders/part={row}/data.parquet");
        server.upload(&path, &project.path(&path));
    }
    server.upload("orders.parquet", &project.path("orders.parquet"));
    let settings = format!("[project]\nname = \"probe\"\n{}", server.settings());
    project.write("unskew.toml", &settings);
    for path in
        ["s3://lake/orders.parquet", "s3://lake/orders", "s3://lake/orders/part=*/*.parquet"]
    {
        redefine(&project, &format!("path = \"{path}\""));
        assert!(with_keys(&project, &["apply"]).status.success());
        assert_eq!(trained(&project), expected, "{path}");
    }
    let output = with_keys(&project, &["manifest", "train.parquet"]);
    let manifest: Value = serde_json::from_slice(&output.stdout).unwrap();
    let input = &manifest["inputs"][0];
    assert!(input["etag"].is_string() && input["hash"].is_string(), "{input}");
    let replayed = with_keys(&project, &["replay", "train.parquet"]);
    assert_eq!(replayed.status.code(), Some(0));
    // Another row in one object: the replay names it.
    server.upload("orders/part=2/data.parquet", &project.path("orders/part=1/data.parquet"));
    let replayed = with_keys(&project, &["replay", "train.parquet"]);
    let found: Value = serde_json::from_slice(&replayed.stdout).unwrap();
    assert_eq!(found["inputs"][0]["path"], "s3://lake/orders/part=2/data.parquet", "{found}");

    let refused = |output: Output, parts: &[&str]| {
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(parts.iter().all(|part| said.contains(part)), "{said}");
        assert!(!said.contains("very-secret"), "{said}");
    };
    refused(project.run(&TRAIN), &["no environment variable LAKE_"]);
    drop(server);
    fs::remove_file(project.path("train.parquet")).unwrap();
    refused(with_keys(&project, &TRAIN), &["s3://lake/orders", "no answer after 3 attempts"]);
    assert!(!project.path("train.parquet").exists());
}

#[test]
fn a_store_that_denies_access_is_told() {
    let project = shop();
    let settings = format!(
        "[project]\nname = \"probe\"\n[storage.\"s3://\"]\nendpoint = \"{}\"\nallow_http = true\n\
         access_key_id_env = \"LAKE_KEY\"\nsecret_access_key_env = \"LAKE_SECRET\"\n",
        answering(|_| ("403 Forbidden", "<Error><Code>AccessDenied</Code></Error>"))
    );
    project.write("unskew.toml", &settings);
    redefine(&project, "path = \"s3://lake/orders.parquet\"");
    let output = with_keys(&project, &["apply"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    let expect = "s3://lake/orders.parquet: access was denied, at the first attempt";
    assert!(said.contains(expect), "{said}");
    assert!(!said.contains("very-secret"), "{said}");
}

/// Adds a commit to the log of a Delta table.
fn commit(table: &Path, version: u64, actions: &[Value]) {
    let log = table.join("_delta_log");
    fs::create_dir_all(&log).unwrap();
    let lines: Vec<String> = actions.iter().map(Value::to_string).collect();
    fs::write(log.join(format!("{version:020}.json")), lines.join("\n")).unwrap();
}

fn table_actions(features: &[&str], configuration: Value) -> [Value; 2] {
    let field = |name: &str, data_type: &str| json!({"name": name, "type": data_type, "nullable": true, "metadata": {}});
    let fields = json!([
        field("customer_id", "long"),
        field("ordered_at", "timestamp"),
        field("amount", "double"),
        field("day", "date"),
    ]);
    let schema = json!({"type": "struct", "fields": fields}).to_string();
    let protocol = match features {
        [] => json!({"protocol": {"minReaderVersion": 1, "minWriterVersion": 2}}),
        features => json!({"protocol": {
            "minReaderVersion": 3, "minWriterVersion": 7,
            "readerFeatures": features, "writerFeatures": features,
        }}),
    };
    let metadata = json!({"metaData": {
        "id": "5fba94ed-9794-4965-ba6e-6ee3c0d22af9", "schemaString": schema,
        "format": {"provider": "parquet", "options": {}}, "partitionColumns": ["day"],
        "configuration": configuration, "createdTime": 0,
    }});
    [protocol, metadata]
}

fn add(table: &Path, path: &str, day: &str) -> Value {
    let size = fs::metadata(table.join(path)).unwrap().len();
    json!({"add": {
        "path": path, "partitionValues": {"day": day}, "size": size,
        "modificationTime": 0, "dataChange": true,
    }})
}

#[test]
fn delta_tables_are_read_at_a_version_that_the_manifest_names() {
    let project = shop();
    let expected = content(&project, "orders.parquet");
    order_files(&project, |row| format!("delta/day=1998-01-0{row}/data.parquet"));
    let table = project.path("delta");
    let file = |row: usize| format!("day=1998-01-0{row}/data.parquet");
    let added = |row: usize| add(&table, &file(row), &format!("1998-01-0{}", row + 1));
    let [protocol, metadata] = table_actions(&[], json!({}));
    commit(&table, 0, &[protocol, metadata, added(0), added(1)]);
    commit(&table, 1, &[added(2), added(3)]);
    let removed = json!({"remove": {"path": file(2), "deletionTimestamp": 1, "dataChange": true}});
    commit(&table, 2, &[removed]);

    let newest = content(&project, "delta");
    assert_ne!(newest, expected);
    redefine(&project, "path = \"delta\"\nversion = 1");
    project.ok(&["apply"]);
    assert_eq!(trained(&project), expected);
    let manifest = project.json(&["manifest", "train.parquet"]);
    assert_eq!(manifest["tables"], json!({"orders": {"path": "delta", "version": 1}}));
    assert_eq!(manifest["inputs"].as_array().unwrap().len(), 4);
    // More is written: the version stays what it is, and so does the replay.
    commit(
        &table,
        3,
        &[json!({"remove": {"path": file(0), "deletionTimestamp": 1, "dataChange": true}})],
    );
    assert_eq!(trained(&project), expected);
    project.ok(&["replay", "train.parquet"]);

    let refused = |path: &str, parts: &[&str]| {
        redefine(&project, path);
        let said = project.fails(2, &["apply"]);
        assert!(parts.iter().all(|part| said.contains(part)), "{said}");
    };
    refused("path = \"delta\"\nversion = 9", &["at version 9 cannot be read"]);
    refused("path = \"orders.parquet\"\nversion = 1", &["has no version 1: it is no Delta table"]);
    let broken = |name: &str, features: &[&str], configuration: Value, extra: Option<Value>| {
        order_files(&project, |row| format!("{name}/{}", file(row)));
        let table = project.path(name);
        let [protocol, metadata] = table_actions(features, configuration);
        let mut action = add(&table, &file(0), "1998-01-01");
        if let Some(extra) = extra {
            action["add"]["deletionVector"] = extra;
        }
        commit(&table, 0, &[protocol, metadata, action]);
    };
    let vector = json!({"storageType": "u", "pathOrInlineDv": "ab^-aqEH.-t@S}K{vb[*k^", "offset": 1,
        "sizeInBytes": 36, "cardinality": 1});
    broken("deleted", &["deletionVectors"], json!({}), Some(vector));
    refused(
        "path = \"deleted\"",
        &["deleted cannot be read: it needs the reader feature deletionVectors"],
    );
    broken("mapped", &["columnMapping"], json!({"delta.columnMapping.mode": "name"}), None);
    let said = ["mapped", "columnMapping"];
    refused("path = \"mapped\"", &said);
}
