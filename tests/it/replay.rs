//! A training dataset can be built again from its manifest, and whatever changed is named.

use std::{fs, path::Path, thread, time::Duration};

use serde_json::Value;

use crate::{
    shop::{DEFINITIONS, shop, write_many_entities, write_orders},
    support::Project,
};

const TRAIN: [&str; 7] =
    ["training-set", "--entities", "entities.parquet", "--service", "churn", "-o", "train.parquet"];

/// Replays the dataset, which ends with this exit code, and gives what was found.
fn replay(project: &Project, code: i32) -> Value {
    let output = project.run(&["replay", "train.parquet", "--json"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found["identical"], code == 0);
    found
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &target),
            false => fs::write(&target, fs::read(entry.path()).unwrap()).unwrap(),
        }
    }
}

#[test]
fn a_replay_is_identical_here_and_in_a_clone_elsewhere() {
    let project = shop();
    project.ok(&TRAIN);
    let found = replay(&project, 0);
    assert_eq!(found["inputs"], serde_json::json!([]));
    assert_eq!(found["content_hash"], found["manifest"]["content_hash"]);
    // What is in force has changed since: the replay is of what was in force then.
    project.write("features/shop.toml", &DEFINITIONS.replace("ttl = \"10d\"", "ttl = \"2d\""));
    project.ok(&["apply"]);
    replay(&project, 0);
    let clone = Project::new();
    copy(&project.path("."), &clone.path("."));
    fs::remove_dir_all(project.path("registry")).unwrap();
    fs::remove_file(project.path("orders.parquet")).unwrap();
    replay(&clone, 0);
    assert!(clone.ok(&["replay", "train.parquet"]).contains("train.parquet: identical"));
}

#[test]
fn a_file_of_which_one_row_was_altered_is_named() {
    let project = shop();
    project.ok(&TRAIN);
    write_orders(&project, &[1, 1, 2, 3], &[0, 5, 5, 20], &[1.5, -0.0, 3.25, 4.5]);
    let found = replay(&project, 1);
    let input = &found["inputs"][0];
    assert_eq!((&input["path"], &input["change"]), (&"orders.parquet".into(), &"altered".into()));
    assert_ne!(input["was"]["hash"], input["is"]["hash"]);
    assert_eq!(found["rows_changed"], serde_json::json!({"amount": 1}));
    let said = project.run(&["replay", "train.parquet"]);
    let said = String::from_utf8(said.stdout).unwrap();
    for part in ["not identical", "orders.parquet was altered", "amount: 1 of 4 rows differ"] {
        assert!(said.contains(part), "{said}");
    }
    fs::remove_file(project.path("orders.parquet")).unwrap();
    let found = replay(&project, 1);
    assert_eq!(found["inputs"][0]["change"], "missing");
    assert!(found["error"].as_str().unwrap().contains("orders.parquet"), "{found}");
}

#[test]
fn a_file_that_was_added_and_one_that_lacks_rows_are_named() {
    let project = shop();
    fs::create_dir(project.path("orders")).unwrap();
    fs::rename(project.path("orders.parquet"), project.path("orders/a.parquet")).unwrap();
    project.write("features/shop.toml", &DEFINITIONS.replace("orders.parquet", "orders"));
    project.ok(&["apply"]);
    project.ok(&TRAIN);
    replay(&project, 0);
    write_orders(&project, &[1], &[6], &[9.5]);
    fs::rename(project.path("orders.parquet"), project.path("orders/b.parquet")).unwrap();
    let found = replay(&project, 1);
    assert_eq!(found["inputs"][0]["path"], "orders/b.parquet");
    assert_eq!(found["inputs"][0]["change"], "added");
    assert_eq!(found["rows_changed"], serde_json::json!({"amount": 1, "user_age": 1}));
}

#[test]
fn a_dataset_that_was_altered_itself_is_told() {
    let project = shop();
    project.ok(&TRAIN);
    let manifest = project.ok(&["manifest", "train.parquet"]);
    for part in ["orders.parquet: ", "entities.parquet: ", "snapshot 1", "user_age:user_age"] {
        assert!(manifest.contains(part), "{manifest}");
    }
    assert_eq!(project.json(&["manifest", "train.parquet"])["format"], 2);
    forge(&project);
    let found = replay(&project, 1);
    assert_ne!(found["file_hash"], found["manifest"]["content_hash"]);
    assert_eq!(found["content_hash"], found["manifest"]["content_hash"]);
    assert_eq!(found["rows_changed"], serde_json::json!({"amount": 4}));
}

/// Writes other amounts into the dataset, and keeps its manifest.
fn forge(project: &Project) {
    use arrow::array::{ArrayRef, Float64Array, RecordBatch};
    use parquet::{arrow::ArrowWriter, file::metadata::KeyValue};
    let path = project.path("train.parquet");
    let rows = crate::support::read_parquet(&path);
    let schema = rows.schema();
    let columns = rows.columns().iter().zip(schema.fields()).map(|(column, field)| {
        match field.name().as_str() {
            "amount" => std::sync::Arc::new(Float64Array::from(vec![7.0; 4])) as ArrayRef,
            _ => column.clone(),
        }
    });
    let forged = RecordBatch::try_new(rows.schema(), columns.collect()).unwrap();
    let manifest = project.json(&["manifest", "train.parquet"]).to_string();
    let mut writer =
        ArrowWriter::try_new(fs::File::create(&path).unwrap(), forged.schema(), None).unwrap();
    writer.append_key_value_metadata(KeyValue::new("unskew.manifest".to_owned(), manifest));
    writer.write(&forged).unwrap();
    writer.close().unwrap();
}

#[test]
fn a_file_that_changes_while_it_is_read_is_an_error_and_no_output() {
    let project = shop();
    write_many_entities(&project, 400_000);
    let mut child = project.command(&TRAIN).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let writing = || {
        let names =
            fs::read_dir(project.path(".")).unwrap().map(|entry| entry.unwrap().file_name());
        names
            .map(|name| name.to_string_lossy().into_owned())
            .any(|name| name.starts_with(".train.parquet"))
    };
    while !writing() {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it wrote");
        thread::sleep(Duration::from_millis(1));
    }
    write_orders(&project, &[1], &[0], &[2.5]);
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("orders.parquet changed while it was read: it had "), "{said}");
    assert!(!project.path("train.parquet").exists() && !writing());
}
