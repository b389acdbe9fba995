//! Training datasets of some size: against Feast, with little memory, explained.
//!
//! `UNSKEW_PYTHON` names a Python with the packages of tests/requirements.txt; `make test` sets it.

use std::{path::Path, process::Command, sync::Arc};

use arrow::{
    array::{
        Array, ArrayRef, AsArray, BooleanArray, Int64Array, StringArray, TimestampMicrosecondArray,
    },
    compute::{cast, filter_record_batch},
    datatypes::Int64Type,
};
use serde_json::Value;

use crate::support::{Project, checkout, python, read_parquet, write_parquet};

fn run_python(arguments: &[&str]) {
    let output = Command::new(python()).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", arguments.join(" "));
}

/// The same values, in the same order; the widths of texts and of integers with nulls aside.
fn same(ours: &ArrayRef, theirs: &ArrayRef, what: &str) {
    let theirs = cast(theirs, ours.data_type()).unwrap();
    assert_eq!(ours.to_data(), theirs.to_data(), "{what}");
}

fn training_set(project: &Project, output: &str, more: &[&str]) -> Value {
    let mut arguments = vec![
        "training-set",
        "--entities",
        "entities.parquet",
        "--service",
        "all",
        "--full-feature-names",
        "--output",
        output,
    ];
    arguments.extend(more);
    project.json(&arguments)
}

/// Point-in-time results are those of Feast's DuckDB store, and the rows are there that Feast's
/// default store loses: those too late or too early for every row of their entity, and twins.
#[test]
fn feast_says_the_same() {
    const ROWS: i64 = 2000;
    let project = Project::new();
    let folder = project.path("");
    let script = checkout().join("tests/feast_join.py");
    run_python(&[script.to_str().unwrap(), folder.to_str().unwrap(), &ROWS.to_string()]);
    project.ok(&["apply"]);
    training_set(&project, "ours.parquet", &[]);
    let ours = read_parquet(&project.path("ours.parquet"));
    let duckdb = read_parquet(&project.path("feast_duckdb.parquet"));
    assert_eq!(ours.num_rows() as i64, ROWS + 8);
    for (field, theirs) in duckdb.schema().fields().iter().zip(duckdb.columns()) {
        same(ours.column_by_name(field.name()).unwrap(), theirs, field.name());
    }

    let default = read_parquet(&project.path("feast_default.parquet"));
    let kept = default.column_by_name("row_id").unwrap().as_primitive::<Int64Type>();
    let lost: BooleanArray = (0..ROWS + 8).map(|row| Some(!kept.values().contains(&row))).collect();
    let lost = filter_record_batch(&ours, &lost).unwrap();
    assert!(lost.num_rows() > 100, "Feast's default store lost {} rows", lost.num_rows());
    let rows = lost.column_by_name("row_id").unwrap().as_primitive::<Int64Type>();
    for row in [ROWS + 2, ROWS + 3, ROWS + 5] {
        assert!(rows.values().contains(&row), "row {row}");
    }
}

/// A project with one view over files that are cut in pieces of so many rows.
fn project(pieces: &[i64]) -> Project {
    const ROWS: i64 = 40_000;
    const MINUTE: i64 = 60_000_000;
    let project = Project::new();
    let number =
        |row: i64| (row.wrapping_mul(0x9e37_79b9_7f4a_7c15_u64 as i64) >> 40).rem_euclid(1 << 20);
    let times = |values: Vec<i64>| -> ArrayRef {
        Arc::new(TimestampMicrosecondArray::from(values).with_timezone("UTC"))
    };
    let users = |rows: &[i64]| -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| number(*row) % 700)))
    };
    let entities: Vec<i64> = (0..20_000).map(|row| row * 7 + 1).collect();
    let at = entities.iter().map(|row| number(row * 3) * MINUTE).collect();
    write_parquet(
        &project.path("entities.parquet"),
        &[("user_id", users(&entities)), ("event_timestamp", times(at))],
    );
    std::fs::create_dir(project.path("events")).unwrap();
    let mut first = 0;
    for piece in 0.. {
        let rows: Vec<i64> = (first..ROWS.min(first + pieces[piece % pieces.len()])).collect();
        if rows.is_empty() {
            break;
        }
        first += rows.len() as i64;
        let text = rows.iter().map(|row| format!("text {} of some length", number(row * 11)));
        // Coarse times, so that many rows are equal in them.
        let at = rows.iter().map(|row| number(row * 5) / 4096 * 4096 * MINUTE).collect();
        let amounts: ArrayRef = Arc::new(Int64Array::from(rows.clone()));
        write_parquet(
            &project.path(&format!("events/{piece:04}.parquet")),
            &[
                ("user_id", users(&rows)),
                ("at", times(at)),
                ("amount", amounts),
                ("text", Arc::new(StringArray::from_iter_values(text))),
            ],
        );
    }
    project.write(
        "features/all.toml",
        "[entity.user]\njoin_keys = { user_id = \"int64\" }\n\
         [source.events]\npath = \"events\"\ntimestamp = \"at\"\n\
         [feature_view.last]\nentities = [\"user\"]\nsource = \"events\"\nttl = \"300d\"\n\
         [feature_view.last.features]\namount = \"int64\"\ntext = \"utf8\"\n\
         [feature_service.all]\nfeatures = [\"last\"]\n",
    );
    project.ok(&["apply"]);
    project
}

/// The operator of this name in a plan.
fn operator<'a>(plan: &'a Value, name: &str) -> Option<&'a Value> {
    if plan["name"] == name {
        return Some(plan);
    }
    plan["inputs"].as_array().unwrap().iter().find_map(|input| operator(input, name))
}

/// One content, however the files are cut, the work is spread, and much or little memory there is.
#[test]
fn the_content_hash_is_the_same_every_time() {
    let mut hashes = Vec::new();
    for pieces in [&[40_000][..], &[1, 17_000, 300], &[2_500]] {
        let project = project(pieces);
        for threads in ["1", "2", "8"] {
            let more = ["--threads", threads, "--batch-rows", "777"];
            hashes.push(training_set(&project, "out.parquet", &more)["content_hash"].clone());
        }
        for memory in ["4MB", "1MB"] {
            let more = ["--memory-limit", memory, "--explain", "--batch-rows", "500"];
            let made = training_set(&project, "out.parquet", &more);
            let join = operator(&made["plan"], "PointInTimeJoinExec").unwrap();
            assert!(join["spilled_bytes"].as_u64() > Some(0), "{memory}: {join}");
            assert!(join["memory_bytes"].as_u64() > Some(0), "{memory}: {join}");
            hashes.push(made["content_hash"].clone());
        }
    }
    assert!(hashes.iter().all(|hash| *hash == hashes[0] && hash.is_string()), "{hashes:?}");
}

#[test]
fn a_plan_is_explained() {
    let project = project(&[40_000]);
    let arguments = [
        "training-set",
        "--entities",
        "entities.parquet",
        "--service",
        "all",
        "--output",
        "out.parquet",
        "--explain",
    ];
    let said = project.ok(&arguments);
    for part in ["PointInTimeJoinExec  rows=20000  time=", "TransformExec  rows=20000", "memory="] {
        assert!(said.contains(part), "no {part} in {said}");
    }
    assert!(!said.contains("SortExec"), "{said}");
    assert!(!project.ok(&arguments[..7]).contains("PointInTimeJoinExec"));
}

/// What a spill folder may hold, or can: the error names it, and no file is there.
#[test]
fn a_spill_folder_that_is_too_small_is_named() {
    let project = project(&[40_000]);
    let spill = project.path("spilled");
    let mut arguments = vec![
        "training-set",
        "--entities",
        "entities.parquet",
        "--service",
        "all",
        "--output",
        "out.parquet",
        "--memory-limit",
        "1MB",
        "--spill",
        spill.to_str().unwrap(),
    ];
    project.ok(&arguments);
    assert_eq!(std::fs::read_dir(&spill).unwrap().count(), 0, "nothing is left behind");
    std::fs::remove_file(project.path("out.parquet")).unwrap();
    arguments.extend(["--spill-limit", "100KB"]);
    let said = project.fails(2, &arguments);
    for part in [spill.to_str().unwrap(), "limit 100000", "--spill-limit"] {
        assert!(said.contains(part), "no {part} in {said}");
    }
    assert!(!project.path("out.parquet").exists());

    // A disk that is full, as far as a process can tell: no file may be larger than this.
    arguments.truncate(arguments.len() - 2);
    let full = limited(&project, &arguments);
    for part in [spill.to_str().unwrap(), "cannot spill to", "--spill"] {
        assert!(full.contains(part), "no {part} in {full}");
    }
    assert!(!project.path("out.parquet").exists());
}

/// Runs the command, which has to fail, where no file can grow beyond 200 kB.
fn limited(project: &Project, arguments: &[&str]) -> String {
    let command = project.command(arguments);
    let mut shell = Command::new("sh");
    shell.args(["-c", "trap '' XFSZ; ulimit -f 200; exec \"$0\" \"$@\""]);
    shell.arg(command.get_program()).args(command.get_args());
    shell.current_dir(command.get_current_dir().unwrap_or(Path::new(".")));
    let output = shell.output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    String::from_utf8(output.stderr).unwrap()
}
