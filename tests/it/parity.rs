//! The promise: the same inputs give the same bits, whichever path computed them.

use std::{collections::BTreeMap, fmt::Write as _, io::Write as _, sync::Arc};

use arrow::array::{Array, ArrayRef, Int64Array, TimestampMicrosecondArray};
use serde_json::{Value, json};
use unskew::value::{DataType, Field, Function, column_from_json, column_to_json, conform};

use crate::support::{Project, Server, read_parquet, write_parquet};

/// Every honest transform of the repository.
const TRANSFORMS: [(&str, &str); 6] = [
    ("transforms/echo", "reference/echo@1.0.0"),
    ("transforms/user_age", "commerce/user_age@1.0.0"),
    ("transforms/recency", "commerce/recency@1.0.0"),
    ("transforms/scale", "commerce/scale@1.0.0"),
    ("transforms/basket", "commerce/basket@1.0.0"),
    ("transforms/text", "commerce/text@1.0.0"),
];

/// The constants for their params, by name.
const PARAMS: [(&str, &str); 5] =
    [("mean", "37.25"), ("std", "11.5"), ("low", "-250.0"), ("high", "1000.5"), ("buckets", "7")];

/// How many rows; more than one batch of seven, and not a multiple of it.
const ROWS: usize = 211;

/// A function of a transform, as the test calls it.
struct Case {
    transform: &'static str,
    function: Function,
    view: String,
}

impl Case {
    /// The column that each input is read from.
    fn inputs(&self) -> impl Iterator<Item = (&str, String)> {
        self.function.inputs.iter().map(|input| (input.name.as_str(), column_name(input.data_type)))
    }

    /// The constant of each param, as `name`, this between, value.
    fn params(&self, between: &str) -> Vec<String> {
        let value = |name: &str| PARAMS.iter().find(|(param, _)| *param == name).unwrap().1;
        let params = self.function.params.iter().map(|param| &param.name);
        params.map(|name| format!("{name}{between}{}", value(name))).collect()
    }

    fn output(&self, prefix: &str, field: &Field) -> String {
        format!("{prefix}{}__{}", self.view, field.name)
    }
}

fn column_name(data_type: DataType) -> String {
    format!("c_{}", data_type.name().replace('<', "_").replace('>', ""))
}

/// The awkward values of a type, repeated in different company: nulls, NaN, both zeros, extremes,
/// empty and long texts.
fn values(data_type: DataType) -> ArrayRef {
    let floats = json!([
        0.0,
        -0.0,
        "NaN",
        "Infinity",
        "-Infinity",
        5e-324,
        1.7976931348623157e308,
        -1.5,
        37.25,
        null,
        1e-7
    ]);
    let texts = json!([
        "",
        "a",
        "Ada.Lovelace@Example.COM",
        "straße",
        " Deutschland ",
        "usa",
        "no at sign",
        "@",
        "a@b@c",
        "\u{0}x",
        null,
        "x y  z\tx",
        "🦀 crab 🦀",
        "x".repeat(5000)
    ]);
    let pool = match data_type {
        DataType::Boolean => json!([true, false, null]),
        DataType::Int32 => json!([0, -1, i32::MAX, i32::MIN, null, 7]),
        DataType::Int64 => json!([0, 1, -1, i64::MAX, i64::MIN, null, 9007199254740993_i64, 3, 12]),
        DataType::Float32 => json!([
            0.0,
            -0.0,
            "NaN",
            "Infinity",
            1.401298464324817e-45,
            3.4028234663852886e38,
            null,
            0.5
        ]),
        DataType::Float64 => floats,
        DataType::Utf8 => texts,
        DataType::Binary => json!(["", "AA==", "/////w==", null, "aGVsbG8="]),
        DataType::Date => {
            json!(["1970-01-01", "1969-12-31", "0001-01-01", "9999-12-31", null, "2000-02-29"])
        }
        DataType::Timestamp => json!([
            "1970-01-01",
            "1969-12-31T23:59:59.999999Z",
            "0001-01-01",
            "9999-12-31T23:59:59.999999Z",
            null,
            "2026-02-28T12:34:56.789012Z"
        ]),
        DataType::ListInt64 => json!([[], [1], [i64::MIN, i64::MAX, 0], null, [1, 2, 3, 4, 5]]),
        DataType::ListFloat32 => json!([[], [-0.0, "NaN"], null, [0.1]]),
        DataType::ListFloat64 => json!([[], [-0.0, "NaN", "Infinity"], null, [0.1, 0.2]]),
        DataType::ListUtf8 => json!([[], [""], ["a", "", "a", "ß"], null, ["x".repeat(300)]]),
    };
    let pool = pool.as_array().unwrap();
    // Steps that are prime to the lengths, so that columns meet in ever new combinations.
    let step = 1 + data_type as usize;
    let values: Vec<Value> =
        (0..ROWS).map(|row| pool[(row + row / pool.len() * step) % pool.len()].clone()).collect();
    column_from_json(&values, data_type).unwrap()
}

/// The event time of each row: all different, so that each is a row of its own.
fn times() -> ArrayRef {
    let micros = (0..ROWS as i64).map(|row| 883_612_800_000_000 + row * 1_000_001);
    Arc::new(TimestampMicrosecondArray::from_iter_values(micros).with_timezone("UTC"))
}

fn write_inputs(project: &Project) {
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..ROWS as i64));
    let names: Vec<String> = DataType::ALL.map(column_name).to_vec();
    let mut columns = vec![("id", ids), ("event_timestamp", times())];
    for (name, data_type) in names.iter().zip(DataType::ALL) {
        columns.push((name, values(data_type)));
    }
    write_parquet(&project.path("rows.parquet"), &columns);
}

fn publish(project: &Project) -> Vec<Case> {
    let mut cases = Vec::new();
    for (folder, name) in TRANSFORMS {
        project.publish(folder);
        let inspected = project.json(&["transform", "inspect", name]);
        let functions: Vec<Function> =
            serde_json::from_value(inspected["functions"].clone()).unwrap();
        let short = name.split(['/', '@']).nth(1).unwrap();
        cases.extend(functions.into_iter().map(|function| Case {
            transform: name,
            view: format!("{short}_{}", function.name),
            function,
        }));
    }
    cases
}

fn define(project: &Project, cases: &[Case]) {
    let mut text = "[entity.row]\njoin_keys = { id = \"int64\" }\n\n[source.rows]\npath = \"rows.parquet\"\ntimestamp = \"event_timestamp\"\n".to_owned();
    for case in cases {
        let Case { transform, function, view } = case;
        let inputs = |brought: &str| {
            let inputs: Vec<_> = case
                .inputs()
                .map(|(input, column)| format!("{input} = \"{brought}{column}\""))
                .collect();
            inputs.join(", ")
        };
        let params = match case.params(" = ").join(", ") {
            none if none.is_empty() => none,
            params => format!("params = {{ {params} }}\n"),
        };
        let used = format!("transform = \"{transform}#{}\"\n{params}", function.name);
        let features: Vec<_> = function
            .outputs
            .iter()
            .map(|field| format!("{} = \"{}\"\n", field.name, field.data_type))
            .collect();
        let features = features.concat();
        write!(
            text,
            "\n[feature_view.s_{view}]\nentities = [\"row\"]\nsource = \"rows\"\n{used}inputs = {{ {} }}\n[feature_view.s_{view}.features]\n{features}\
             \n[on_demand_feature_view.d_{view}]\n{used}inputs = {{ {} }}\n[on_demand_feature_view.d_{view}.features]\n{features}",
            inputs(""),
            inputs("request:"),
        )
        .unwrap();
    }
    for (service, prefix) in [("stored", "s_"), ("computed", "d_"), ("all", "")] {
        let views: Vec<_> = cases
            .iter()
            .flat_map(|case| match prefix {
                "" => vec![format!("\"s_{}\"", case.view), format!("\"d_{}\"", case.view)],
                prefix => vec![format!("\"{prefix}{}\"", case.view)],
            })
            .collect();
        write!(text, "\n[feature_service.{service}]\nfeatures = [{}]\n", views.join(", ")).unwrap();
    }
    project.write("features/all.toml", &text);
    project.ok(&["apply"]);
}

type Columns = BTreeMap<String, ArrayRef>;

/// `transform run` of every function, this many rows at a time; columns are called
/// `view__output`.
fn run_files(project: &Project, cases: &[Case], rows: &str) -> Columns {
    let mut columns = Columns::new();
    for case in cases {
        let function = format!("{}#{}", case.transform, case.function.name);
        let inputs: Vec<_> =
            case.inputs().map(|(input, column)| format!("{input}={column}")).collect();
        let mut arguments = vec![
            "transform",
            "run",
            &function,
            "--input",
            "rows.parquet",
            "--output",
            "run.parquet",
            "--batch-rows",
            rows,
        ];
        inputs.iter().for_each(|input| arguments.extend(["--column", input]));
        let params = case.params("=");
        params.iter().for_each(|param| arguments.extend(["--param", param]));
        project.ok(&arguments);
        let batch = read_parquet(&project.path("run.parquet"));
        for field in &case.function.outputs {
            let column = batch.column_by_name(&field.name).unwrap();
            columns.insert(case.output("", field), conform(column, field.data_type).unwrap());
        }
    }
    columns
}

/// The training dataset of a service, this many rows at a time.
fn train(project: &Project, cases: &[Case], prefix: &str, rows: &str) -> Columns {
    project.ok(&[
        "training-set",
        "--entities",
        "rows.parquet",
        "--service",
        "all",
        "--full-feature-names",
        "--batch-rows",
        rows,
        "-o",
        "train.parquet",
    ]);
    let batch = read_parquet(&project.path("train.parquet"));
    pick(cases, |case, field| {
        let column = batch.column_by_name(&case.output(prefix, field)).unwrap();
        conform(column, field.data_type).unwrap()
    })
}

fn pick(cases: &[Case], column: impl Fn(&Case, &Field) -> ArrayRef) -> Columns {
    let mut columns = Columns::new();
    for case in cases {
        for field in &case.function.outputs {
            columns.insert(case.output("", field), column(case, field));
        }
    }
    columns
}

/// Answers, several of them one below the other.
fn read_answers(cases: &[Case], prefix: &str, answers: &[Value]) -> Columns {
    pick(cases, |case, field| {
        let name = case.output(prefix, field);
        let values = answers.iter().flat_map(|answer| {
            let names = answer["metadata"]["feature_names"].as_array().unwrap();
            let place = names.iter().position(|other| *other == name.as_str()).unwrap();
            answer["results"][place]["values"].as_array().unwrap().clone()
        });
        column_from_json(&values.collect::<Vec<_>>(), field.data_type).unwrap()
    })
}

fn ids(rows: std::ops::Range<usize>) -> Value {
    rows.collect::<Vec<_>>().into()
}

/// What is stored, asked for this many rows at a time.
fn stored(server: &Server, cases: &[Case], rows: usize) -> Columns {
    let answers = ask(
        server,
        rows,
        |range| json!({"feature_service": "stored", "full_feature_names": true, "entities": {"id": ids(range)}}),
    );
    read_answers(cases, "s_", &answers)
}

/// What is computed on demand, asked for this many rows at a time.
fn computed(server: &Server, cases: &[Case], rows: usize) -> Columns {
    let inputs =
        DataType::ALL.map(|data_type| (column_name(data_type), column_to_json(&values(data_type))));
    let answers = ask(server, rows, |range| {
        let mut entities = json!({});
        for (name, values) in &inputs {
            entities[name] = values[range.clone()].into();
        }
        json!({"feature_service": "computed", "full_feature_names": true, "entities": entities})
    });
    read_answers(cases, "d_", &answers)
}

fn ask(server: &Server, rows: usize, body: impl Fn(std::ops::Range<usize>) -> Value) -> Vec<Value> {
    let ranges = (0..ROWS).step_by(rows).map(|start| start..(start + rows).min(ROWS));
    ranges
        .map(|range| {
            let (status, answer) = server.post("/get-online-features", &body(range));
            assert_eq!(status, 200, "{answer}");
            answer
        })
        .collect()
}

#[test]
fn every_path_gives_the_same_bits() {
    let project = Project::new();
    write_inputs(&project);
    let cases = publish(&project);
    define(&project, &cases);
    project.ok(&["materialize", "--batch-rows", "7"]);
    let server = project.serve();
    let reference = run_files(&project, &cases, "8192");
    let paths: Vec<(&str, Columns)> = vec![
        ("run by 1", run_files(&project, &cases, "1")),
        ("run by 7", run_files(&project, &cases, "7")),
        ("training, stored", train(&project, &cases, "s_", "8192")),
        ("training by 7", train(&project, &cases, "s_", "7")),
        ("training, on demand", train(&project, &cases, "d_", "8192")),
        ("training, on demand by 1", train(&project, &cases, "d_", "1")),
        ("materialized by 7, read by 1", stored(&server, &cases, 1)),
        ("materialized by 7, read by 8192", stored(&server, &cases, 8192)),
        ("HTTP by 1", computed(&server, &cases, 1)),
        ("HTTP by 7", computed(&server, &cases, 7)),
        ("HTTP by 8192", computed(&server, &cases, 8192)),
    ];
    let (matrix, differences) = compare(&cases, &reference, &paths);
    // Past the capture of the test runner: the matrix is there to be seen.
    std::io::stdout().write_all(matrix.as_bytes()).unwrap();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    nothing_trivial(&cases, &reference);
}

/// One line for each function: the bits of its outputs, equal on every path or not.
fn compare(
    cases: &[Case],
    reference: &Columns,
    paths: &[(&str, Columns)],
) -> (String, Vec<String>) {
    let mut matrix = "\nthe same bits on every path, against `transform run` by 8192:\n".to_owned();
    let mut differences = Vec::new();
    for (number, (name, _)) in paths.iter().enumerate() {
        writeln!(matrix, "path {:>2}: {name}", number + 1).unwrap();
    }
    for case in cases {
        write!(matrix, "{:50}", format!("{}#{}", case.transform, case.function.name)).unwrap();
        for (path, columns) in paths {
            let mut equal = true;
            for field in &case.function.outputs {
                let name = case.output("", field);
                let (expected, got) = (&reference[&name], &columns[&name]);
                if expected.to_data() != got.to_data() {
                    equal = false;
                    let (expected, got) = (column_to_json(expected), column_to_json(got));
                    let row = (0..ROWS).find(|row| expected[*row] != got[*row]);
                    let at = |values: &[Value]| row.map_or(Value::Null, |row| values[row].clone());
                    differences.push(format!(
                        "{path}: {name}, row {row:?}: expected {}, got {}",
                        at(&expected),
                        at(&got)
                    ));
                }
            }
            write!(matrix, " {}", if equal { " = " } else { "≠  " }).unwrap();
        }
        writeln!(matrix).unwrap();
    }
    (matrix, differences)
}

/// That the rows would show a difference: every output has values, and all but the total functions
/// have nulls.
fn nothing_trivial(cases: &[Case], reference: &Columns) {
    assert!(cases.len() >= 20, "{} functions", cases.len());
    for case in cases {
        for field in &case.function.outputs {
            let column = &reference[&case.output("", field)];
            assert_eq!(column.len(), ROWS);
            let values = column.len() - column.null_count();
            assert!(values > 10, "{} has {values} values", case.output("", field));
            assert!(column.null_count() > 0, "{} has no nulls", case.output("", field));
        }
    }
}
