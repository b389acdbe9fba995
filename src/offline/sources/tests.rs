use std::{fs, path::Path};

use arrow::{
    array::{
        Array, ArrayRef, AsArray, Decimal128Array, Float64Array, Int32Array, Int64Array,
        RecordBatch, StringArray, TimestampMicrosecondArray, TimestampMillisecondArray,
    },
    compute::{cast, concat_batches},
    datatypes::TimeUnit,
};
use parquet::{arrow::ArrowWriter, file::properties::WriterProperties};
use tempfile::TempDir;

use super::*;
use crate::{
    definition::{About, Visible},
    error::Kind,
    offline::{Resources, session},
    time::Timestamp,
    value::{
        Field,
        int96::tests::{FAR_DAYS, days},
    },
};

fn write(path: &Path, columns: Vec<(&str, ArrayRef)>) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let batch = RecordBatch::try_from_iter_with_nullable(
        columns.into_iter().map(|(name, column)| (name, column, true)),
    )
    .unwrap();
    let mut writer =
        ArrowWriter::try_new(fs::File::create(path).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

fn orders(path: &Path, users: Vec<Option<i64>>, times: Vec<Option<i64>>) {
    let amounts: Float64Array =
        users.iter().map(|user| user.map(|user| user as f64 / 2.0)).collect();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("user_id", Arc::new(Int64Array::from(users))),
        ("at", Arc::new(TimestampMillisecondArray::from(times))),
        ("Amount", Arc::new(amounts)),
    ];
    write(path, columns);
}

fn source(data: SourceData) -> Source {
    Source {
        data,
        timestamp: "at".into(),
        created: None,
        visible: Visible::Event,
        about: About::default(),
    }
}

fn path(path: &str) -> Source {
    source(SourceData::Path(path.into()))
}

fn sql(sql: &str) -> Source {
    source(SourceData::Sql(sql.into()))
}

/// Opens `wanted` of the sources in the folder.
fn open(folder: &TempDir, sources: Vec<(&str, Source)>, wanted: &str) -> Result<Sources> {
    let sources = sources.into_iter().map(|(name, source)| (name.to_owned(), source)).collect();
    let context = session(&Resources { partitions: 2, ..Resources::default() }).unwrap();
    let mut sources = Sources::new(context, places(folder), sources);
    block_on(sources.open([wanted]))?;
    Ok(sources)
}

fn places(folder: &TempDir) -> Places {
    Places { folder: folder.path().to_owned(), ..Places::default() }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn layout(content: &str, data_type: DataType) -> Layout {
    let field =
        Field { name: content.into(), data_type, nullable: true, documentation: String::new() };
    Layout { keys: [("user_id".to_owned(), DataType::Int64)].into(), content: vec![field] }
}

fn collect(sources: &Sources, source: &str, layout: &Layout) -> Result<RecordBatch> {
    collect_period(sources, source, layout, Period::ALL)
}

fn collect_period(
    sources: &Sources,
    source: &str,
    layout: &Layout,
    period: Period,
) -> Result<RecordBatch> {
    let rows = sources.rows(source, layout, period)?;
    let schema = Arc::clone(rows.schema().inner());
    let batches = block_on(rows.collect()).map_err(from_datafusion)?;
    Ok(concat_batches(&schema, &batches).unwrap())
}

/// The users of the rows, in ascending order.
fn users(sources: &Sources, source: &str) -> Vec<i64> {
    let rows = collect(sources, source, &layout("user_id", DataType::Int64)).unwrap();
    let mut users = rows.column(0).as_primitive::<arrow::datatypes::Int64Type>().values().to_vec();
    users.sort_unstable();
    users
}

#[test]
fn a_file_has_the_columns_of_the_layout() {
    let folder = tempfile::tempdir().unwrap();
    orders(
        &folder.path().join("orders.parquet"),
        vec![Some(1), None, Some(3)],
        vec![Some(-1), None, Some(2)],
    );
    let sources = open(&folder, vec![("orders", path("orders.parquet"))], "orders").unwrap();
    let expected =
        [("user_id", DataType::Int64), ("at", DataType::Timestamp), ("Amount", DataType::Float64)];
    assert_eq!(
        sources.columns("orders").unwrap(),
        expected.map(|(name, data_type)| (name.to_owned(), Ok(data_type)))
    );
    assert_eq!(sources.files("orders").unwrap().len(), 1);

    let rows = collect(&sources, "orders", &layout("Amount", DataType::Float64)).unwrap();
    let names: Vec<_> = rows.schema().fields().iter().map(|field| field.name().clone()).collect();
    assert_eq!(names, ["__key_user_id", "__event", "__created", "Amount"]);
    let events = rows.column(1).as_primitive::<arrow::datatypes::TimestampMicrosecondType>();
    assert_eq!(events.values().to_vec(), [-1000, 2000], "the row without a key is left out");
    assert_eq!(rows.column(2).null_count(), 2);
}

#[test]
fn times_as_spark_writes_them_are_read_in_every_year() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("far.parquet"), days(&FAR_DAYS)).unwrap();
    let sources = open(&folder, vec![("far", path("far.parquet"))], "far").unwrap();
    assert_eq!(sources.columns("far").unwrap()[1], ("at".to_owned(), Ok(DataType::Timestamp)));
    let rows = collect(&sources, "far", &layout("user_id", DataType::Int64)).unwrap();
    let events = rows.column(1).as_primitive::<arrow::datatypes::TimestampMicrosecondType>();
    let noons = FAR_DAYS.map(|day| day * 86_400_000_000 + 43_200_000_000);
    assert_eq!(events.values().to_vec(), noons);
}

#[test]
fn times_of_two_kinds_make_one_column() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join("orders").join(name);
    let epoch: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![0]).with_timezone("UTC"));
    let seven: ArrayRef = Arc::new(Int64Array::from(vec![7]));
    write(&at("new.parquet"), vec![("user_id", seven), ("at", epoch)]);
    fs::write(at("old.parquet"), days(&[0])).unwrap();
    let sources = open(&folder, vec![("orders", path("orders"))], "orders").unwrap();
    assert_eq!(users(&sources, "orders"), [1, 7]);
}

#[test]
fn a_folder_is_all_its_files() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("or*ders [x]%");
    orders(&root.join("b.parquet"), vec![Some(2)], vec![Some(2)]);
    orders(&root.join("day=1/a.parquet"), vec![Some(1)], vec![Some(1)]);
    orders(&root.join(".hidden.parquet"), vec![Some(8)], vec![Some(1)]);
    orders(&root.join("_temporary/c.parquet"), vec![Some(9)], vec![Some(1)]);
    fs::write(root.join("_SUCCESS"), "").unwrap();
    fs::write(root.join("README"), "").unwrap();
    let sources = open(&folder, vec![("orders", path("or*ders [x]%"))], "orders").unwrap();
    assert_eq!(users(&sources, "orders"), [1, 2]);
    assert_eq!(sources.files("orders").unwrap().len(), 2);
}

#[test]
fn queries_read_other_sources_in_whatever_order() {
    let folder = tempfile::tempdir().unwrap();
    orders(&folder.path().join("a.parquet"), vec![Some(1), Some(2)], vec![Some(1), Some(2)]);
    orders(&folder.path().join("b.parquet"), vec![Some(3)], vec![Some(3)]);
    let sources = vec![
        (
            "all_big",
            sql(
                "with big as (select * from all_orders where Amount >= 1) select user_id, at, count(*) as n from big group by user_id, at",
            ),
        ),
        ("all_orders", sql("select * from a union all select * from b")),
        ("a", path("a.parquet")),
        ("b", path("b.parquet")),
        ("c", path("missing.parquet")),
    ];
    let sources = open(&folder, sources, "all_big").unwrap();
    assert_eq!(users(&sources, "all_big"), [2, 3]);
    assert_eq!(sources.files("all_big").unwrap().len(), 2);
    assert_eq!(sources.columns("c").unwrap_err().kind(), Kind::Internal, "not opened");
}

#[test]
fn queries_only_read() {
    let folder = tempfile::tempdir().unwrap();
    orders(&folder.path().join("a.parquet"), vec![Some(1)], vec![Some(1)]);
    let out = folder.path().join("stolen.parquet");
    let check = |query: &str, expect: &str| {
        let sources =
            vec![("q", sql(query)), ("a", path("a.parquet")), ("r", sql("select * from q"))];
        let error = open(&folder, sources, "q").err().unwrap();
        let text = error.to_string();
        assert!(text.contains("source \"q\"") || text.contains("circle"), "{text}");
        assert!(text.contains(expect), "{query}: {text}");
        assert!(!out.exists());
    };
    check("drop table a", "DDL not supported");
    check("insert into a select * from a", "DML not supported");
    check(&format!("copy a to '{}'", out.display()), "COPY");
    check("set datafusion.execution.batch_size = 1", "Statement not supported");
    check(
        &format!("create external table a stored as parquet location '{}'", out.display()),
        "DDL not supported",
    );
    check("select *, now() as at2 from a", "the query calls now()");
    check("select * from a where Amount > (select random())", "the query calls random()");
    check("select * from nowhere", "no such source: \"nowhere\"\nhint: there are: a, q, r");
    check("select * from r", "sources read one another in a circle: q -> r -> q");
    check("select nothing from a", "nothing");
    check("selec", "selec");
    check(
        &format!("select * from '{}'", folder.path().join("a.parquet").display()),
        "no such source",
    );
}

#[test]
fn what_is_wrong_with_a_file_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole.parquet");
    orders(&whole, vec![Some(1)], vec![Some(1)]);
    let bytes = fs::read(&whole).unwrap();
    fs::write(folder.path().join("half.parquet"), &bytes[..bytes.len() / 2]).unwrap();
    fs::write(folder.path().join("empty.parquet"), "").unwrap();
    fs::create_dir(folder.path().join("folder")).unwrap();
    let check = |file: &str, kind: Kind, expect: &str| {
        let error = open(&folder, vec![("orders", path(file))], "orders").err().unwrap();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.message().starts_with("source \"orders\": "), "{error}");
        assert!(error.message().contains(file) && error.message().contains(expect), "{error}");
    };
    check("half.parquet", Kind::Corrupt, "cut off or damaged");
    check("empty.parquet", Kind::Corrupt, "cut off or damaged");
    check("folder", Kind::NotFound, "has no Parquet files");
    check("missing.parquet", Kind::NotFound, "cannot be read");
    let error = open(&folder, vec![("orders", path("whole.parquet"))], "order").err().unwrap();
    assert_eq!(error.to_string(), "no such source: \"order\"\nhint: did you mean \"orders\"?");
}

#[test]
fn files_that_do_not_fit_together_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join("orders").join(name);
    write(&file("a.parquet"), vec![("x", Arc::new(Int64Array::from(vec![1])))]);
    write(&file("b.parquet"), vec![("x", Arc::new(StringArray::from(vec!["1"])))]);
    let error = open(&folder, vec![("orders", path("orders"))], "orders").err().unwrap();
    let (one, other) = (file("a.parquet"), file("b.parquet"));
    let expect = format!(
        "source \"orders\": {}: column \"x\" has type Utf8, and type Int64 in {}",
        other.display(),
        one.display()
    );
    assert_eq!(error.message(), expect);
}

#[test]
fn what_is_wrong_with_a_column_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let times =
        |times: Vec<Option<i64>>| Arc::new(TimestampMillisecondArray::from(times)) as ArrayRef;
    let columns = |at: ArrayRef| -> Vec<(&str, ArrayRef)> {
        vec![
            ("user_id", Arc::new(Int32Array::from(vec![1, 2]))),
            ("at", at),
            ("price", Arc::new(Decimal128Array::from(vec![1, 2]))),
        ]
    };
    write(&folder.path().join("null.parquet"), columns(times(vec![Some(1), None])));
    write(&folder.path().join("far.parquet"), columns(times(vec![Some(i64::MAX), Some(0)])));
    let check = |file: &str, layout: &Layout, expect: &str| {
        let sources = open(&folder, vec![("orders", path(file))], "orders").unwrap();
        let error = collect(&sources, "orders", layout).unwrap_err();
        assert_eq!(error.kind(), Kind::Invalid, "{error}");
        assert!(error.to_string().contains(expect), "{error}");
    };
    let user = layout("user_id", DataType::Int32);
    check(
        "null.parquet",
        &user,
        "source \"orders\", column \"at\": 1 of 2 rows read at once have no event time",
    );
    check("far.parquet", &user, "source \"orders\", column \"at\": timestamp out of range");
    let price = layout("price", DataType::Float64);
    check(
        "far.parquet",
        &price,
        "source \"orders\", column \"price\": Arrow type Decimal128(38, 10) cannot be read as float64",
    );
    let missing = layout("user_di", DataType::Int64);
    check(
        "far.parquet",
        &missing,
        "source \"orders\" has no column \"user_di\"\nhint: did you mean \"user_id\"?",
    );
}

#[test]
fn what_is_outside_the_period_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let period = Period { from: Some(Timestamp(-1_500_000)), to: Some(Timestamp(2_000_000)) };
    let user = layout("user_id", DataType::Int64);
    // In every unit the moments -3 s to 3 s, and one off either end of the period where the unit has it.
    let check = |unit: TimeUnit, per_second: i64| {
        let moments: Vec<_> = (-3..=3)
            .map(|second| second * per_second)
            .chain([-3 * per_second / 2, 2 * per_second + 1])
            .collect();
        let times = Int64Array::from(moments.clone());
        let times =
            cast(&times, &arrow::datatypes::DataType::Timestamp(unit, Some("+01:00".into())))
                .unwrap();
        let users = Int64Array::from_iter_values(0..moments.len() as i64);
        write(
            &folder.path().join("orders.parquet"),
            vec![("user_id", Arc::new(users)), ("at", times)],
        );
        let sources = open(&folder, vec![("orders", path("orders.parquet"))], "orders").unwrap();
        let found = |period| {
            let rows = collect_period(&sources, "orders", &user, period).unwrap();
            let events =
                rows.column(1).as_primitive::<arrow::datatypes::TimestampMicrosecondType>();
            events.values().to_vec()
        };
        let within = |moments: Vec<i64>| -> Vec<i64> {
            moments.into_iter().filter(|moment| (-1_500_000..=2_000_000).contains(moment)).collect()
        };
        assert_eq!(within(found(period)), within(found(Period::ALL)), "{unit:?}: none is lost");
        assert!(found(period).len() < found(Period::ALL).len(), "{unit:?}: some are left out");
    };
    check(TimeUnit::Second, 1);
    check(TimeUnit::Millisecond, 1_000);
    check(TimeUnit::Microsecond, 1_000_000);
    check(TimeUnit::Nanosecond, 1_000_000_000);

    orders(&folder.path().join("null.parquet"), vec![Some(1), Some(2)], vec![Some(1), None]);
    let sources = open(&folder, vec![("orders", path("null.parquet"))], "orders").unwrap();
    let error = collect_period(&sources, "orders", &user, period).unwrap_err();
    assert!(error.message().contains("have no event time"), "{error}");
}

/// What SQL leaves open comes out the same, whatever the session may use.
#[tokio::test]
async fn a_query_gives_the_same_bits_on_any_machine() {
    let folder = tempfile::tempdir().unwrap();
    let rows = 40_000;
    let keys = Int64Array::from_iter_values((0..rows).map(|row| row % 50));
    let values = (0..rows).map(|row| match row % 7 {
        0 => f64::NAN,
        1 => -0.0,
        _ => 1.0 / (row as f64 + 0.1),
    });
    let values = Float64Array::from_iter_values(values);
    let batch = RecordBatch::try_from_iter([
        ("k", Arc::new(keys) as ArrayRef),
        ("x", Arc::new(values) as ArrayRef),
    ]);
    let batch = batch.unwrap();
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(500)).build();
    let file = fs::File::create(folder.path().join("many.parquet")).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let query = "select k, sum(x) as s, max(x) as m, first_value(x) as f from many group by k";
    let mut seen = Vec::new();
    for (partitions, batch_size) in [(1, 8192), (2, 8192), (7, 8192), (4, 100), (2, 8192)] {
        let resources = Resources { partitions, batch_size, ..Resources::default() };
        let definitions = BTreeMap::from([
            ("many".to_owned(), path("many.parquet")),
            ("sums".to_owned(), sql(query)),
        ]);
        let context = session(&resources).unwrap();
        let mut sources = Sources::new(context, places(&folder), definitions);
        sources.open(["sums"]).await.unwrap();
        let rows = sources.context().table("sums").await.unwrap();
        let rows = rows.sort(vec![ident("k").sort(true, true)]).unwrap();
        let schema = Arc::clone(rows.schema().inner());
        let batches = rows.collect().await.unwrap();
        seen.push(concat_batches(&schema, &batches).unwrap());
    }
    for other in &seen[1..] {
        for (one, two) in seen[0].columns().iter().zip(other.columns()) {
            assert_eq!(one.to_data(), two.to_data());
        }
    }
}

#[test]
fn the_pieces_of_files_are_their_rows_in_order() {
    const GROUP: i64 = 50_000;
    let folder = tempfile::tempdir().unwrap();
    let groups = WriterProperties::builder().set_max_row_group_row_count(Some(GROUP as usize));
    for (name, first, end) in [("a", 0, 7 * GROUP), ("b", 7 * GROUP, 7 * GROUP + 3)] {
        let numbers: ArrayRef = Arc::new((first..end).collect::<Int64Array>());
        let batch = RecordBatch::try_from_iter([("x", numbers)]).unwrap();
        let file = fs::File::create(folder.path().join(format!("{name}.parquet"))).unwrap();
        let properties = Some(groups.clone().build());
        let mut writer = ArrowWriter::try_new(file, batch.schema(), properties).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
    }
    let sources = open(&folder, vec![("numbers", path("."))], "numbers").unwrap();
    let state = sources.context().state_ref();
    state.write().config_mut().options_mut().optimizer.repartition_file_scans = false;
    let files = block_on(sources.pieces("numbers")).unwrap();
    let sizes = files.iter().map(|(_, pieces)| pieces.iter().map(|piece| piece.rows).collect());
    let sizes: Vec<Vec<u64>> = sizes.collect();
    assert_eq!(sizes, [vec![150_000, 150_000, 50_000], vec![3]]);
    let read = |piece: &Piece| {
        let rows = sources.rows_of_piece("numbers", piece).unwrap();
        let batches = block_on(rows.collect()).unwrap();
        let values = batches.iter().flat_map(|batch| {
            batch.column(0).as_primitive::<arrow::datatypes::Int64Type>().values().to_vec()
        });
        values.collect::<Vec<i64>>()
    };
    let pieces: Vec<Piece> = files.into_iter().flat_map(|(_, pieces)| pieces).collect();
    let all: Vec<i64> = pieces.iter().flat_map(read).collect();
    assert!(all.into_iter().eq(0..7 * GROUP + 3));
    let [_, second, ..] = pieces.as_slice() else { panic!("one piece") };
    assert_eq!(read(&second.clone().first(2)), [150_000, 150_001]);
    assert_eq!(read(&second.clone().first(u64::MAX)).len(), 150_000);
}
