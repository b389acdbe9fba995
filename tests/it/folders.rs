//! `transform run` over many files: parts, what is kept and what is made again, and what a killed
//! run leaves.
//!
//! `UNSKEW_KILLS` is the number of kills; 20 is what has to hold before a release.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::Stdio,
    sync::Arc,
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use arrow::{
    array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray},
    datatypes::Schema,
};
use parquet::{arrow::ArrowWriter, file::properties::WriterProperties};
use serde_json::{Value, json};

use crate::{
    s3::S3,
    support::{Project, read_parquet, write_parquet},
};

const LINE: &str = "commerce/basket@1.0.0#line";

/// A project with the transform, and files of so many rows each in `lines`.
fn project(rows: &[i64]) -> Project {
    let project = Project::new();
    project.publish("transforms/basket");
    for (day, rows) in rows.iter().enumerate() {
        lines(&project, day, *rows);
    }
    project
}

fn lines(project: &Project, day: usize, rows: i64) {
    let path = project.path(&format!("lines/day={day}/lines.parquet"));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let first = 1_000_000 * day as i64;
    let rows: Vec<i64> = (first..first + rows).collect();
    let countries = rows.iter().map(|row| ["de", "us", "jp"][(row % 3) as usize]);
    let columns: [(&str, ArrayRef); 4] = [
        (
            "items",
            Arc::new(
                rows.iter().map(|row| (row % 7 > 0).then_some(row % 40)).collect::<Int64Array>(),
            ),
        ),
        (
            "amount",
            Arc::new(rows.iter().map(|row| Some(*row as f64 / 7.0)).collect::<Float64Array>()),
        ),
        ("country", Arc::new(StringArray::from_iter_values(countries))),
        (
            "sku",
            Arc::new(StringArray::from_iter_values(rows.iter().map(|row| format!("sku-{row}")))),
        ),
    ];
    write_parquet(&path, &columns);
}

fn run<'a>(input: &'a str, output: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["transform", "run", LINE, "--input", input, "--output", output], more].concat()
}

/// Every file in a folder, by its path, but for what says that the folder is complete.
fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut waiting = vec![folder.to_owned()];
    while let Some(next) = waiting.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => waiting.push(path),
                false => found.push(path.strip_prefix(folder).unwrap().display().to_string()),
            }
        }
    }
    found.sort();
    found.retain(|path| path != "_run.json");
    found
}

fn part(day: usize) -> String {
    format!("day={day}/lines.parquet")
}

/// The rows of every part, by its path, without what it says of itself.
fn parts(folder: &Path) -> BTreeMap<String, RecordBatch> {
    let paths = files(folder).into_iter().filter(|path| path.ends_with(".parquet"));
    let rows = |path: &String| {
        let rows = read_parquet(&folder.join(path));
        let schema = Schema::new(rows.schema().fields().clone());
        RecordBatch::try_new(Arc::new(schema), rows.columns().to_vec()).unwrap()
    };
    paths.map(|path| (path.clone(), rows(&path))).collect()
}

#[test]
fn a_folder_of_parts_has_the_rows_of_one_file() {
    let project = project(&[300, 0, 40, 500]);
    let whole = project.json(&run("lines", "whole.parquet", &["--batch-rows", "128"]));
    let made = project.json(&run("lines", "parts", &[]));
    assert_eq!(made["parts"], json!({"made": 4, "kept": 0}));
    assert_eq!((&made["rows"], &whole["rows"]), (&json!(840), &json!(840)));
    assert_eq!(files(&project.path("parts")), [0, 1, 2, 3].map(part));
    let whole = read_parquet(&project.path("whole.parquet"));
    let pieces = parts(&project.path("parts"));
    let joined = arrow::compute::concat_batches(&whole.schema(), pieces.values()).unwrap();
    assert_eq!(joined, whole);

    // The same with a pattern, with more threads, and with rows from a bucket.
    let server = S3::start();
    for day in 0..4 {
        server.upload(&format!("lines/{}", part(day)), &project.path("lines").join(part(day)));
    }
    project.write("unskew.toml", &format!("[project]\nname = \"probe\"\n{}", server.settings()));
    for (place, input) in ["lines/day=*", "s3://lake/lines"].into_iter().enumerate() {
        let output = format!("again{place}");
        let arguments = run(input, &output, &["--threads", "3", "--json"]);
        let mut command = project.command(&arguments);
        let ran = command.env("LAKE_KEY", "test").env("LAKE_SECRET", "test").output().unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        let said: Value = serde_json::from_slice(&ran.stdout).unwrap();
        assert_eq!(said["content_hash"], made["content_hash"], "{input}");
        assert_eq!(parts(&project.path(&output)), pieces, "{input}");
    }
}

/// However many pieces are computed side by side, and wherever row groups end.
#[test]
fn the_rows_of_a_large_file_stay_in_order() {
    let project = project(&[400_000]);
    let file = format!("lines/{}", part(0));
    let groups = WriterProperties::builder().set_max_row_group_row_count(Some(30_000)).build();
    let rows = read_parquet(&project.path(&file));
    let cut = fs::File::create(project.path("cut.parquet")).unwrap();
    let mut writer = ArrowWriter::try_new(cut, rows.schema(), Some(groups)).unwrap();
    writer.write(&rows).unwrap();
    writer.close().unwrap();
    let hash = |input: &str, threads: &str| {
        let more = ["--threads", threads, "--batch-rows", "5000"];
        project.json(&run(input, "out.parquet", &more))["content_hash"].clone()
    };
    let expected = hash(&file, "1");
    for threads in ["1", "3", "8"] {
        assert_eq!(hash("cut.parquet", threads), expected, "{threads}");
    }
    let made = read_parquet(&project.path("out.parquet"));
    assert_eq!(made.column_by_name("sku"), rows.column_by_name("sku"));
}

#[test]
fn parts_that_are_complete_are_kept() {
    let project = project(&[300, 200, 100]);
    let again = || project.json(&run("lines", "parts", &[]))["parts"].clone();
    let first = project.json(&run("lines", "parts", &[]))["content_hash"].clone();
    let folder = project.path("parts");
    assert_eq!(again(), json!({"made": 0, "kept": 3}));
    // Written again with the same bytes: the same file.
    let bytes = fs::read(project.path("lines").join(part(1))).unwrap();
    fs::write(project.path("lines").join(part(1)), bytes).unwrap();
    assert_eq!(again(), json!({"made": 0, "kept": 3}));
    // A part that is gone or broken, a file that changed, one that is new, one that is gone.
    fs::remove_file(folder.join(part(0))).unwrap();
    fs::write(folder.join(part(1)), "no Parquet").unwrap();
    assert_eq!(again(), json!({"made": 2, "kept": 1}));
    assert_eq!(project.json(&run("lines", "parts", &[]))["content_hash"], first);
    lines(&project, 2, 101);
    lines(&project, 3, 7);
    assert_eq!(again(), json!({"made": 2, "kept": 2}));
    fs::remove_dir_all(project.path("lines/day=0")).unwrap();
    let now = project.json(&run("lines", "parts", &[]));
    assert_eq!((&now["parts"], &now["rows"]), (&json!({"made": 0, "kept": 3}), &json!(308)));
    assert_eq!(files(&folder), [1, 2, 3].map(part));
    let fresh = project.json(&run("lines", "fresh", &[]));
    assert_eq!(fresh["content_hash"], now["content_hash"]);
}

#[test]
fn folders_of_something_else_are_left_alone() {
    let project = project(&[30, 20]);
    project.ok(&run("lines", "parts", &[]));
    let before = parts(&project.path("parts"));
    let check = |arguments: &[&str], expect: &[&str]| {
        let said = project.fails(2, arguments);
        assert!(expect.iter().all(|part| said.contains(part)), "{said}");
        assert_eq!(parts(&project.path("parts")), before);
    };
    let other = ["holds the parts of another run", "columns was", "delete this one"];
    check(&run("lines", "parts", &["--column", "amount=items"]), &other);
    check(&run("lines/day=1", "parts", &[]), &["input was \"lines\" and is \"lines/day=1\""]);
    check(&run("lines", "parts", &["--fail-on-row-error"]), &["on_error was"]);
    fs::create_dir(project.path("other")).unwrap();
    fs::copy(project.path("lines/day=0/lines.parquet"), project.path("other/x.parquet")).unwrap();
    check(&run("lines", "other", &[]), &["has a Parquet file that no run has made: x.parquet"]);
    // What is not complete is no source.
    fs::copy(project.path("parts/_run.json"), project.path("parts/_unfinished.json")).unwrap();
    check(
        &run("parts", "more", &[]),
        &["the folder is not complete", "run the same command again"],
    );
}

#[test]
fn what_is_read_is_not_replaced_and_not_added_to() {
    let project = project(&[30, 20]);
    project.ok(&run("lines/day=0/lines.parquet", "made.parquet", &[]));
    let lines = || parts(&project.path("lines"));
    let before = lines();
    let check = |input: &str, output: &str, expect: &str| {
        let said = project.fails(2, &run(input, output, &[]));
        assert!(said.contains(expect) && said.contains("\nhint: "), "{said}");
        assert_eq!(lines(), before);
    };
    let file = "lines/day=0/lines.parquet";
    check(file, file, "lines.parquet was not written: it is a file that is read");
    check(file, "lines/day=0", "is read, and is in that folder");
    check("lines", "lines", "lines was not written: ");
    check("lines", "lines/out", "lines/out was not written: it is within ");
    check("lines/*", "lines/out.parquet", "so the next run would read it");
    check("made.parquet", "again.parquet", "made.parquet has a column \"");
    project.ok(&run("lines", "lines/_out", &[]));
    project.ok(&run("lines/day=*", "lines/out", &[]));
}

#[test]
fn the_first_rows_alone() {
    let project = project(&[300, 200, 100]);
    for (limit, expect) in [(0, vec![]), (300, vec![300]), (450, vec![300, 150])] {
        let limit = limit.to_string();
        let made = project.json(&run("lines", "parts", &["--limit", &limit]));
        let rows: Vec<usize> =
            parts(&project.path("parts")).values().map(RecordBatch::num_rows).collect();
        assert_eq!(rows, expect, "{made}");
        let one = project.json(&run("lines", "one.parquet", &["--limit", &limit]));
        assert_eq!(
            (&one["rows"], &made["rows"]),
            (&json!(rows.iter().sum::<usize>()), &one["rows"])
        );
    }
    let all = project.json(&run("lines", "parts", &[]));
    assert_eq!(all["parts"], json!({"made": 2, "kept": 1}));
}

/// `kill -9` at random moments: what is there under its name is whole, and the second run completes
/// the folder to what it would have been.
#[test]
fn a_killed_run_is_completed_by_the_next() {
    let kills = std::env::var("UNSKEW_KILLS").map_or(3, |kills| kills.parse().unwrap());
    let project = project(&[20_000, 200_000, 30_000, 10_000]);
    let started = Instant::now();
    let whole = project.json(&run("lines", "whole", &[]));
    let (takes, expected) = (started.elapsed(), parts(&project.path("whole")));
    let mut kept = 0;
    for kill in 0..kills {
        let output = format!("killed{kill}");
        let folder = project.path(&output);
        let mut command = project.command(&run("lines", &output, &[]));
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        thread::sleep(random(takes));
        child.kill().unwrap();
        child.wait().unwrap();
        if folder.exists() {
            let there = parts(&folder);
            assert!(there.iter().all(|(path, rows)| expected[path] == *rows));
            assert!(!folder.join("_run.json").exists() || there.len() == expected.len());
        }
        let completed = project.json(&run("lines", &output, &[]));
        assert_eq!(completed["content_hash"], whole["content_hash"]);
        assert_eq!(files(&folder), [0, 1, 2, 3].map(part), "nothing is left behind");
        assert_eq!(parts(&folder), expected);
        kept += completed["parts"]["kept"].as_u64().unwrap();
        fs::remove_dir_all(&folder).unwrap();
    }
    println!("{kills} kills within {takes:?}: {kept} of {} parts kept", 4 * kills);
}

/// A random share of a time.
fn random(most: Duration) -> Duration {
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos();
    most.mul_f64(f64::from(nanos.wrapping_mul(2_654_435_769)) / f64::from(u32::MAX))
}
