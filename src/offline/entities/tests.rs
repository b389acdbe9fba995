//! Entity dataframes of every kind.

use std::fs::{self, File};

use ::parquet::arrow::ArrowWriter;
use arrow::{
    array::{
        Array, AsArray, BooleanArray, Date32Array, Float64Array, Int8Array, Int64Array,
        RecordBatch, StringArray, TimestampNanosecondArray, new_null_array,
    },
    compute::concat_batches,
    datatypes::{TimeUnit, TimestampMicrosecondType, UInt64Type},
    ipc::{
        CompressionType,
        writer::{FileWriter, IpcWriteOptions, StreamWriter},
    },
};

use super::*;
use crate::{
    definition::{About, Source, SourceData, Visible},
    error::Kind,
    offline::{Places, Resources, Sample, in_order, session},
    time::Timestamp,
};

fn write(path: &Path, columns: Vec<(&str, ArrayRef)>) {
    let batch = RecordBatch::try_from_iter_with_nullable(
        columns.into_iter().map(|(name, column)| (name, column, true)),
    );
    let batch = batch.unwrap();
    let mut writer =
        ArrowWriter::try_new(fs::File::create(path).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

/// A dataframe of so many rows; the times of the rows in `null` are.
fn dataframe(path: &Path, time: &str, rows: i64, null: &[i64]) {
    let times = (0..rows).map(|row| (!null.contains(&row)).then_some(row * 1000));
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("label", Arc::new((0..rows).map(|row| Some((row % 2) as i8)).collect::<Int8Array>())),
        ("user_id", Arc::new((0..rows).map(|row| Some((row % 7) as i8)).collect::<Int8Array>())),
        (time, Arc::new(times.collect::<TimestampNanosecondArray>())),
    ];
    write(path, columns);
}

fn typed() -> BTreeMap<String, DataType> {
    [("user_id".to_owned(), DataType::Int64)].into()
}

/// The rows of a dataframe, with user_id as int64.
fn rows(request: &EntityRequest, sources: &[(&str, &Path)]) -> Result<RecordBatch> {
    opened(request, sources).map(|(_, rows)| rows)
}

fn opened(
    request: &EntityRequest,
    sources: &[(&str, &Path)],
) -> Result<(EntityDataframe, RecordBatch)> {
    let source = |(name, path): &(&str, &Path)| {
        let source = Source {
            data: SourceData::Path(path.display().to_string()),
            timestamp: String::new(),
            created: None,
            visible: Visible::Event,
            about: About::default(),
        };
        ((*name).to_owned(), source)
    };
    let definitions = sources.iter().map(source).collect();
    let resources = Resources { partitions: 4, batch_size: 100, ..Resources::default() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let context = session(&resources)?;
        let mut sources = Sources::new(context, Places::default(), definitions);
        let entities = EntityDataframe::open(request, &typed(), &mut sources).await?;
        let rows = entities.read(sources.context())?;
        let schema = Arc::clone(rows.schema().inner());
        let batches = rows.collect().await.map_err(from_datafusion)?;
        Ok((entities, concat_batches(&schema, &batches).unwrap()))
    })
}

fn of_file(path: impl Into<PathBuf>, time: &str) -> EntityRequest {
    EntityRequest::all(EntityOrigin::File(path.into()), time)
}

fn read(path: &Path, time: Option<&str>) -> Result<RecordBatch> {
    rows(&of_file(path, time.unwrap_or(DEFAULT_TIME)), &[])
}

#[test]
fn rows_are_numbered_in_the_order_of_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("entities.parquet");
    dataframe(&path, "event_timestamp", 1234, &[]);
    let request = of_file(&path, DEFAULT_TIME);
    let (entities, rows) = opened(&request, &[]).unwrap();
    assert_eq!(entities.rows(), Some(1234));
    assert_eq!(entities.period(), Period { from: Some(Timestamp(0)), to: Some(Timestamp(1233)) });
    let names: Vec<_> = rows.schema().fields().iter().map(|field| field.name().clone()).collect();
    assert_eq!(names, ["label", "user_id", "event_timestamp", ROW_NUMBER]);
    assert_eq!(*rows.column(0).data_type(), ArrowType::Int8, "carried through as it is");
    assert_eq!(*rows.column(1).data_type(), ArrowType::Int64);
    let times = rows.column(2).as_primitive::<TimestampMicrosecondType>();
    let numbers = rows.column(3).as_primitive::<UInt64Type>();
    for row in 0..1234 {
        assert_eq!((times.value(row), numbers.value(row)), (row as i64, row as u64));
    }
}

#[test]
fn the_order_can_be_restored() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("entities.parquet");
    dataframe(&path, "event_timestamp", 500, &[]);
    let context =
        session(&Resources { partitions: 4, batch_size: 10, ..Resources::default() }).unwrap();
    let (entities, _) = opened(&of_file(&path, DEFAULT_TIME), &[]).unwrap();
    let rows = entities.read(&context).unwrap();
    let shuffled = rows.sort_by(vec![datafusion::logical_expr::ident("user_id")]).unwrap();
    let ordered = crate::offline::testing::collect(in_order(shuffled).unwrap());
    assert_eq!(ordered.num_columns(), 3);
    let times = ordered.column(2).as_primitive::<TimestampMicrosecondType>();
    assert!((0..500).all(|row| times.value(row) == row as i64));
}

#[test]
fn what_is_wrong_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("entities.parquet");
    let check = |time: Option<&str>, kind: Kind, expect: &str| {
        let error = read(&path, time).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(expect), "{error}");
    };
    check(None, Kind::NotFound, "the entity dataframe cannot be read");
    dataframe(&path, "label", 10, &[]);
    check(None, Kind::Invalid, "has two columns \"label\"");
    dataframe(&path, "ts", 10, &[]);
    let message = "has no column \"event_timestamp\" with the times; it has: label, user_id, ts";
    check(None, Kind::Invalid, message);
    check(None, Kind::Invalid, "--timestamp-column");
    assert_eq!(read(&path, Some("ts")).unwrap().num_rows(), 10);
    check(Some("label"), Kind::Invalid, "column \"label\": type int32 cannot be read as timestamp");
    dataframe(&path, "event_timestamp", 345, &[321, 330]);
    check(None, Kind::Invalid, "has no time in row 321: column \"event_timestamp\" is null there");
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    check(None, Kind::Corrupt, "cut off or damaged");
    let time = || new_null_array(&ArrowType::Timestamp(TimeUnit::Second, None), 1);
    write(
        &path,
        vec![("event_timestamp", time()), ("user_ids", Arc::new(Int64Array::from(vec![1])))],
    );
    check(
        None,
        Kind::Invalid,
        "has no column user_id; it has: event_timestamp, user_ids\nhint: did you mean \"user_ids\"? --map user_id=user_ids",
    );
    write(
        &path,
        vec![("event_timestamp", time()), ("user_id", Arc::new(StringArray::from(vec!["x"])))],
    );
    check(None, Kind::Invalid, "column \"user_id\": type utf8 cannot be read as int64");
    write(&path, vec![("event_timestamp", time()), ("__row", Arc::new(Int64Array::from(vec![1])))]);
    check(None, Kind::Invalid, "a column \"__row\", which is kept for the number of the row");
}

/// Columns of every kind, as they are expected of every format.
fn columns() -> Vec<(&'static str, ArrayRef)> {
    let times = (0..250).map(|row| Some(row * 1_000_000_000)).collect::<TimestampNanosecondArray>();
    let number = |row: i64| (row % 5 != 0).then_some(row);
    vec![
        ("user_id", Arc::new((0..250).map(number).collect::<Int64Array>())),
        ("event_timestamp", Arc::new(times)),
        (
            "score",
            Arc::new((0..250).map(|row| Some(f64::from(row) / 4.0)).collect::<Float64Array>()),
        ),
        ("kept", Arc::new((0..250).map(|row| Some(row % 2 == 0)).collect::<BooleanArray>())),
        ("day", Arc::new((0..250).map(Some).collect::<Date32Array>())),
        (
            "note",
            Arc::new(StringArray::from_iter_values((0..250).map(|row| format!("a, \"{row}\"\nb")))),
        ),
    ]
}

fn batch() -> RecordBatch {
    let columns = columns().into_iter().map(|(name, column)| (name, column, true));
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

fn csv_file(path: &Path) {
    let mut text = "user_id,event_timestamp,score,kept,day,note\n".to_owned();
    for row in 0..250 {
        let user = if row % 5 == 0 { String::new() } else { row.to_string() };
        let (time, day) =
            (Timestamp(row * 1_000_000), crate::time::format_date(row as i32).unwrap());
        let (score, kept) = (row as f64 / 4.0, row % 2 == 0);
        text.push_str(&format!("{user},{time},{score},{kept},{day},\"a, \"\"{row}\"\"\nb\"\r\n"));
    }
    fs::write(path, text).unwrap();
}

#[test]
fn every_format_gives_the_same_rows() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    write(&at("e.parquet"), columns());
    let expected = read(&at("e.parquet"), None).unwrap();
    assert_eq!(expected.num_rows(), 250);
    let schema = batch().schema();
    let options =
        IpcWriteOptions::default().try_with_compression(Some(CompressionType::LZ4_FRAME)).unwrap();
    let file = File::create(at("e.feather")).unwrap();
    let mut writer = FileWriter::try_new_with_options(file, &schema, options).unwrap();
    [batch().slice(0, 13), batch().slice(13, 237)].iter().for_each(|b| writer.write(b).unwrap());
    writer.finish().unwrap();
    let mut writer = StreamWriter::try_new(File::create(at("e.arrows")).unwrap(), &schema).unwrap();
    writer.write(&batch()).unwrap();
    writer.finish().unwrap();
    csv_file(&at("e.CSV"));
    for name in ["e.feather", "e.arrows", "e.CSV"] {
        let rows = read(&at(name), None).unwrap();
        assert_eq!(rows, expected, "{name}");
    }
    let (csv, _) = opened(&of_file(at("e.CSV"), DEFAULT_TIME), &[]).unwrap();
    assert_eq!(csv.rows(), Some(250));
    let last = Timestamp(249_000_000);
    assert_eq!(csv.period(), Period { from: Some(Timestamp(0)), to: Some(last) });
}

#[test]
fn a_query_over_sources_gives_rows_in_its_order() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("e.parquet");
    write(&path, columns());
    let query = |sql: &str| EntityRequest {
        origin: EntityOrigin::Sql(sql.to_owned()),
        ..of_file("", DEFAULT_TIME)
    };
    let sql = "SELECT event_timestamp, user_id, note FROM visits WHERE user_id > 100 ORDER BY user_id DESC";
    let (entities, found) = opened(&query(sql), &[("visits", &path)]).unwrap();
    assert_eq!(entities.sources(), ["visits"]);
    assert_eq!((entities.rows(), found.num_rows()), (None, 120));
    let users = found.column(1).as_primitive::<arrow::datatypes::Int64Type>();
    assert_eq!((users.value(0), users.value(119)), (249, 101));
    let check = |sql: &str, expect: &str| {
        let error = rows(&query(sql), &[("visits", &path)]).unwrap_err().to_string();
        assert!(error.starts_with("the query of entities") && error.contains(expect), "{error}");
    };
    check("SELECT * FROM visit", "no such source: \"visit\"\nhint: did you mean \"visits\"?");
    check(
        "SELECT user_id FROM visits",
        "has no column \"event_timestamp\" with the times; it has: user_id",
    );
    check("SELECT *, now() AS x FROM visits", "calls now(), whose result changes from run to run");
    check("DROP TABLE visits", "");
    check(
        "SELECT user_id AS u, event_timestamp FROM visits",
        "has no column user_id; it has: u, event_timestamp",
    );
}

#[test]
fn columns_are_read_under_other_names() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("e.csv");
    fs::write(&path, "customer,at,user\n7,1998-01-01,x\n").unwrap();
    let mapped = |pairs: &[(&str, &str)]| {
        let pair = |(name, held): &(&str, &str)| ((*name).to_owned(), (*held).to_owned());
        let names = pairs.iter().map(pair).collect();
        rows(&EntityRequest { names, ..of_file(&path, DEFAULT_TIME) }, &[])
    };
    let rows = mapped(&[("user_id", "customer"), ("event_timestamp", "at")]).unwrap();
    let schema = rows.schema();
    let names: Vec<_> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(names, ["user_id", "event_timestamp", "user", ROW_NUMBER]);
    let check = |pairs: &[(&str, &str)], expect: &str| {
        let error = mapped(pairs).unwrap_err().to_string();
        assert!(error.contains(expect), "{error}");
    };
    check(
        &[("user_id", "costumer"), ("event_timestamp", "at")],
        "has no column \"costumer\", which is to be \"user_id\"; it has: customer, at, user\nhint: did you mean \"customer\"?",
    );
    check(
        &[("user_id", "customer"), ("user", "at")],
        "has two columns \"user\"\nhint: they are \"at\" and \"user\" there",
    );
    check(
        &[("user_id", "at"), ("event_timestamp", "at")],
        "column \"at\" is to be both \"event_timestamp\" and \"user_id\"",
    );
    check(
        &[("event_timestamp", "at")],
        "has no column user_id; it has: customer, event_timestamp, user",
    );
    check(
        &[("user_id", "user"), ("event_timestamp", "at")],
        "line 2, column \"user\": \"x\" is not a value of type int64",
    );
}

#[test]
fn a_part_of_the_rows_is_numbered_from_zero() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("e.parquet");
    write(&path, columns());
    let all = read(&path, None).unwrap();
    let selection = Selection { sample: Some(Sample { fraction: 0.5, seed: 3 }), limit: Some(70) };
    let request = EntityRequest { selection, ..of_file(&path, DEFAULT_TIME) };
    let (entities, some) = opened(&request, &[]).unwrap();
    assert_eq!((some.num_rows(), entities.rows()), (70, Some(70)));
    let expected = selection.take(&all, 0, 0).unwrap();
    assert_eq!(some.columns()[..6], expected.columns()[..6]);
    let numbers = some.column(6).as_primitive::<UInt64Type>();
    assert!(numbers.values().iter().copied().eq(0..70));
}

#[test]
fn what_is_wrong_in_a_file_is_said_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let check = |name: &str, content: &[u8], kind: Kind, expect: &str| {
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        let error = read(&path, None).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(&format!("{name}{expect}")), "{error}");
    };
    let csv = |rows: &str, expect: &str| {
        let content = format!("user_id,event_timestamp,x\n1,1998-01-01,\"a\nb\"\n{rows}");
        check("e.csv", content.as_bytes(), Kind::Invalid, expect);
    };
    csv("a,1998-01-02,c\n", ", line 4, column \"user_id\": \"a\" is not a value of type int64");
    csv(
        "99999999999999999999,1998-01-02,c\n",
        ", line 4, column \"user_id\": \"99999999999999999999\" is not a value of type int64",
    );
    csv(
        "2,soon,c\n",
        ", line 4, column \"event_timestamp\": \"soon\" is not a value of type timestamp\nhint: a timestamp is written 1997-06-30T12:00:00.5Z",
    );
    csv("2,,c\n", ", line 4, column \"event_timestamp\": there is no time");
    csv("2,1998-01-02\n", ", line 4 has 2 fields, and the first line has 3");
    check(
        "e.csv",
        b"user_id,event_timestamp\n1,\xff\n",
        Kind::Invalid,
        ", line 2 has text that is not UTF-8",
    );
    check(
        "e.csv",
        b"user_id,user_id,event_timestamp\n",
        Kind::Invalid,
        " has two columns \"user_id\"",
    );
    check(
        "e.csv",
        b"",
        Kind::Invalid,
        " has no column \"event_timestamp\" with the times; it has: ",
    );
    check("e.arrow", b"user_id", Kind::Corrupt, " is no Arrow IPC file or stream, or was cut off");
    let mut stream = StreamWriter::try_new(Vec::new(), &batch().schema()).unwrap();
    stream.write(&batch()).unwrap();
    let stream = stream.into_inner().unwrap();
    check(
        "e.arrows",
        &stream[..stream.len() / 2],
        Kind::Corrupt,
        " is no Arrow IPC file or stream, or was cut off",
    );
    let mut file = FileWriter::try_new(Vec::new(), &batch().schema()).unwrap();
    file.write(&batch()).unwrap();
    let file = file.into_inner().unwrap();
    check(
        "e.ipc",
        &file[..file.len() / 2],
        Kind::Corrupt,
        " is no Arrow IPC file or stream, or was cut off",
    );

    let path = folder.path().join("late.parquet");
    let time: ArrayRef = Arc::new(arrow::array::TimestampSecondArray::from(vec![1, 2, i64::MAX]));
    write(
        &path,
        vec![("user_id", Arc::new(Int64Array::from(vec![1, 1, 1]))), ("event_timestamp", time)],
    );
    let error = read(&path, None).unwrap_err().to_string();
    let expect = "late.parquet, row 2, column \"event_timestamp\": timestamp out of range: 9223372036854775807 Seconds";
    assert!(error.contains(expect), "{error}");
}
