//! What is written is read back, in its order, and is there whole or not at all.

use std::{fs, path::Path, sync::Arc};

use arrow::{
    array::{
        ArrayRef, BooleanArray, Date32Array, Float64Array, Int64Array, RecordBatch, StringArray,
    },
    compute::concat_batches,
};
use datafusion::{
    error::DataFusionError, execution::SendableRecordBatchStream,
    physical_plan::stream::RecordBatchStreamAdapter,
};
use futures::stream;

use super::*;
use crate::{
    error::{Error, Kind, Result},
    offline::{Content, ContentHasher},
    storage::testing::names,
};

const TEXTS: [Option<&str>; 6] =
    [Some("DE"), None, Some(""), Some("a/b=c%[x]"), Some("a b\n"), Some("ä")];

fn batch(from: i64, rows: i64) -> RecordBatch {
    let places = from..from + rows;
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("x", Arc::new(places.clone().map(Some).collect::<Int64Array>())),
        (
            "text",
            Arc::new(
                places
                    .clone()
                    .map(|row| TEXTS[(row * row % 37 % 6) as usize])
                    .collect::<StringArray>(),
            ),
        ),
        (
            "odd",
            Arc::new(
                places
                    .clone()
                    .map(|row| (row % 5 > 0).then_some(row % 2 == 1))
                    .collect::<BooleanArray>(),
            ),
        ),
        (
            "day",
            Arc::new(places.clone().map(|row| Some((row % 3) as i32)).collect::<Date32Array>()),
        ),
        ("f", Arc::new(places.map(|row| Some(row as f64 / 7.0)).collect::<Float64Array>())),
    ];
    RecordBatch::try_from_iter_with_nullable(
        columns.into_iter().map(|(name, column)| (name, column, true)),
    )
    .unwrap()
}

fn rows(batches: Vec<Result<RecordBatch, DataFusionError>>) -> SendableRecordBatchStream {
    Box::pin(RecordBatchStreamAdapter::new(batch(0, 0).schema(), stream::iter(batches)))
}

fn columns(by: &[&str]) -> Vec<String> {
    by.iter().map(|name| (*name).to_owned()).collect()
}

fn write(
    batches: Vec<Result<RecordBatch, DataFusionError>>,
    path: &Path,
    by: &[&str],
) -> Result<Content> {
    let by = columns(by);
    let manifest = async |content: &Content| Ok(content.hash.to_string());
    futures::executor::block_on(write_partitioned(rows(batches), path, &by, manifest))
}

fn read(path: &Path, by: &[&str]) -> Result<RecordBatch> {
    let rows = rows_in_order(path, &columns(by))?;
    let schema = rows.schema();
    let batches = rows.collect::<Result<Vec<_>>>()?;
    Ok(concat_batches(&schema, &batches).unwrap())
}

#[test]
fn rows_come_back_in_their_order_whatever_they_are_partitioned_by() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out");
    let whole = batch(0, 5_000);
    let mut hasher = ContentHasher::new(&whole.schema());
    hasher.update(&whole).unwrap();
    let hash = hasher.finish();
    for by in [&["text"][..], &["odd", "text"], &["day"], &["x"], &["day", "odd"]] {
        // As many rows as there may be partitions.
        let rows = if by == ["x"] { 1_000 } else { 5_000 };
        let content =
            write(vec![Ok(batch(0, 700)), Ok(batch(700, rows - 700))], &path, by).unwrap();
        assert_eq!(read(&path, by).unwrap(), batch(0, rows), "{by:?}");
        assert_eq!(content.rows, rows as u64);
        if rows == 5_000 {
            assert_eq!(content.hash, hash, "{by:?}");
            assert_eq!(fs::read_to_string(path.join(MANIFEST)).unwrap(), hash.to_string());
        }
        assert_eq!(names(folder.path()), ["out"]);
    }
    write(vec![Ok(whole)], &path, &["text"]).unwrap();
    let expected = [
        "_manifest.json",
        "_order.parquet",
        "text=",
        "text=DE",
        "text=__HIVE_DEFAULT_PARTITION__",
        "text=a%2Fb%3Dc%25%5Bx%5D",
    ];
    assert!(
        expected.iter().all(|name| names(&path).contains(&(*name).to_owned())),
        "{:?}",
        names(&path)
    );
}

#[test]
fn what_cannot_be_partitioned_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out");
    let check = |batches: Vec<Result<RecordBatch, DataFusionError>>,
                 by: &[&str],
                 kind: Kind,
                 expect: &str| {
        let error = write(batches, &path, by).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(&format!("out was not written: {expect}")), "{error}");
        assert!(names(folder.path()).is_empty());
    };
    check(
        vec![],
        &["texts"],
        Kind::Invalid,
        "cannot partition by \"texts\": there is no such column\nhint: did you mean \"text\"?",
    );
    check(
        vec![],
        &["f"],
        Kind::Invalid,
        "cannot partition by \"f\": its type is float64\nhint: partition by booleans, integers, dates or text",
    );
    check(vec![], &["x", "x"], Kind::Invalid, "cannot partition by \"x\" twice");
    check(
        vec![Ok(batch(0, 1_001))],
        &["x"],
        Kind::Limit,
        "partitions over the limit: limit 1000, current 0, requested 1001",
    );
    let null: ArrayRef = Arc::new(StringArray::from(vec!["__HIVE_DEFAULT_PARTITION__"; 3]));
    let mut columns = batch(0, 3).columns().to_vec();
    columns[1] = null;
    let nulls = RecordBatch::try_new(batch(0, 0).schema(), columns).unwrap();
    check(
        vec![Ok(nulls)],
        &["text"],
        Kind::Invalid,
        "a value is __HIVE_DEFAULT_PARTITION__, which stands for null",
    );
    let lost = || Err(DataFusionError::ResourcesExhausted("no memory".into()));
    check(vec![Ok(batch(0, 10)), lost()], &["text"], Kind::Limit, "");
}

#[test]
fn only_a_dataset_is_replaced_and_only_by_a_whole_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out");
    write(vec![Ok(batch(0, 10))], &path, &["text"]).unwrap();
    let lost = Err(DataFusionError::ResourcesExhausted("no memory".into()));
    write(vec![Ok(batch(0, 20)), lost], &path, &["text"]).unwrap_err();
    assert_eq!(read(&path, &["text"]).unwrap(), batch(0, 10));
    write(vec![Ok(batch(0, 20))], &path, &["text"]).unwrap();
    assert_eq!(read(&path, &["text"]).unwrap(), batch(0, 20));
    fs::remove_file(path.join(MANIFEST)).unwrap();
    let error = write(vec![Ok(batch(0, 20))], &path, &["text"]).unwrap_err();
    assert!(
        error.message().contains("it is there already, and is no partitioned dataset"),
        "{error}"
    );
    assert_eq!(names(folder.path()), ["out"]);
}

#[test]
fn what_a_killed_run_left_is_removed_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out");
    for name in [".out.aaaaaa.parts", ".out.b-b.parts", ".outer.aaaaaa.parts"] {
        fs::create_dir(folder.path().join(name)).unwrap();
        fs::write(folder.path().join(name).join("x"), "").unwrap();
    }
    let living = draft::DraftFolder::create(&path).unwrap();
    let held = living.path().file_name().unwrap().to_str().unwrap().to_owned();
    write(vec![Ok(batch(0, 10))], &path, &["text"]).unwrap();
    let mut expected = [&held, ".out.b-b.parts", ".outer.aaaaaa.parts", "out"];
    expected.sort_unstable();
    assert_eq!(names(folder.path()), expected);
}

#[test]
fn what_was_altered_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out");
    write(vec![Ok(batch(0, 100))], &path, &["day"]).unwrap();
    let first = data_file(&path, "day=1970-01-01");
    let second = data_file(&path, "day=1970-01-02");
    let bytes = fs::read(&first).unwrap();
    let check = |kind: Kind, expect: &str| {
        let error: Error = read(&path, &["day"]).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.message().contains(expect), "{error}");
    };
    fs::copy(&second, &first).unwrap();
    check(Kind::Corrupt, "day=1970-01-01/data.parquet has fewer rows than _order.parquet says");
    fs::write(&second, &bytes).unwrap();
    fs::write(&first, &bytes).unwrap();
    check(Kind::Corrupt, "day=1970-01-02/data.parquet has more rows than _order.parquet says");
    fs::write(&first, &bytes[..bytes.len() / 2]).unwrap();
    check(
        Kind::Corrupt,
        "day=1970-01-01/data.parquet is no Parquet file, or was cut off or damaged",
    );
    fs::remove_file(&first).unwrap();
    check(Kind::NotFound, "day=1970-01-01/data.parquet cannot be opened");
}
