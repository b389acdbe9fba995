//! The same rows, the same fifty features over five views, for both servers.

use std::{
    fmt::Write as _,
    fs,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
};

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, TimestampMicrosecondArray};
use parquet::arrow::ArrowWriter;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::load::body;

/// How many entities there are rows for.
pub const ENTITIES: i64 = 10_000;
pub const VIEWS: usize = 5;
pub const FEATURES: usize = 10;

/// A server, stopped when this is dropped.
pub struct Running {
    child: Child,
    pub address: SocketAddr,
}

impl Drop for Running {
    fn drop(&mut self) {
        // Asked to, so that it stops its workers.
        if let Some(id) = rustix::process::Pid::from_raw(self.child.id().cast_signed()) {
            let _ = rustix::process::kill_process(id, rustix::process::Signal::TERM);
        }
        let _ = self.child.wait();
    }
}

/// A folder with the rows and both projects' definitions.
pub struct Project {
    folder: TempDir,
}

impl Project {
    /// Writes the rows and our definitions, with this `[online]` section, and materializes.
    pub fn new(online: &str) -> Self {
        let project = Self { folder: tempfile::tempdir().expect("a folder can be made") };
        let settings = format!("[project]\nname = \"bench\"\n{online}");
        fs::write(project.path("unskew.toml"), settings).expect("it is written");
        fs::create_dir(project.path("features")).expect("it is made");
        fs::write(project.path("features/bench.toml"), definitions()).expect("it is written");
        for view in 0..VIEWS {
            write_rows(&project.path(&format!("view_{view}.parquet")), view);
        }
        let transform = Path::new(env!("CARGO_MANIFEST_DIR")).join("transforms/scale");
        project.run(&["transform", "publish", transform.to_str().expect("it is text")]);
        project.run(&["apply"]);
        project.run(&["materialize"]);
        project
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_unskew"));
        command.args(arguments).current_dir(self.folder.path()).env("UNSKEW_LOG", "error");
        command
    }

    fn run(&self, arguments: &[&str]) {
        let output = self.command(arguments).output().expect("the command starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "unskew {}: {said}", arguments.join(" "));
    }

    /// Our server.
    pub fn serve(&self) -> Running {
        let arguments = ["serve", "--listen", "127.0.0.1:0", "--json"];
        let mut child =
            self.command(&arguments).stdout(Stdio::piped()).spawn().expect("the server starts");
        let mut said = String::new();
        let mut stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        while !said.ends_with("}\n") {
            assert_ne!(stdout.read_line(&mut said).expect("it is text"), 0, "it said: {said}");
        }
        let said: Value = serde_json::from_str(&said).expect("it is JSON");
        let url = said["url"].as_str().expect("it is text");
        Running { child, address: url.trim_start_matches("http://").parse().expect("an address") }
    }

    /// Feast's server, with as many workers, over the same rows in the online store of `store`.
    pub fn serve_feast(&self, store: &str, workers: &str) -> Running {
        let python =
            std::env::var("UNSKEW_PYTHON").expect("UNSKEW_PYTHON: make bench-online sets it");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/online/feast_server.py");
        let mut child = Command::new(python)
            .arg(script)
            .args([store, workers])
            .current_dir(self.folder.path())
            .stdout(Stdio::piped())
            .stderr(fs::File::create(self.path("feast.log")).expect("it is made"))
            .spawn()
            .expect("Feast starts");
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        while !line.starts_with("serving ") {
            line.clear();
            if stdout.read_line(&mut line).expect("it is text") == 0 {
                panic!("{}", fs::read_to_string(self.path("feast.log")).unwrap_or_default());
            }
        }
        let address = line.trim_start_matches("serving ").trim();
        Running { child, address: address.parse().expect("an address") }
    }
}

/// The entities of a request.
pub fn ids(number: usize, entities: usize) -> impl Iterator<Item = i64> {
    (0..entities as i64).map(move |row| (number as i64 * 7_919 + row * 104_729) % ENTITIES)
}

/// Requests over HTTP for so many entities each, with an on-demand feature or without.
pub fn questions(entities: usize, on_demand: bool) -> Arc<Vec<Vec<u8>>> {
    let mut features: Vec<String> = (0..VIEWS)
        .flat_map(|view| (0..FEATURES).map(move |feature| format!("view_{view}:f{view}_{feature}")))
        .collect();
    if on_demand {
        features.push("scaled:scaled".to_owned());
    }
    let question = |number| {
        let ids: Vec<i64> = ids(number, entities).collect();
        let body = json!({"features": features, "entities": {"user_id": ids}}).to_string();
        let head = "POST /get-online-features HTTP/1.1\r\nhost: localhost\r\n\
                    content-type: application/json\r\n";
        format!("{head}content-length: {}\r\n\r\n{body}", body.len()).into_bytes()
    };
    Arc::new((0..200).map(question).collect())
}

/// Whether the answer to a question has every value that was written, and all of them present.
pub fn check(place: usize, entities: usize, on_demand: bool, answer: &[u8]) {
    let answer: Value = serde_json::from_slice(body(answer)).expect("it is JSON");
    let names = answer["metadata"]["feature_names"].as_array().expect("it names its features");
    let column = |name: &str| {
        let place = names.iter().position(|known| known == name).expect("the feature is there");
        let column = &answer["results"][place];
        assert!(
            column["statuses"].as_array().is_some_and(|all| all.iter().all(|s| s == "PRESENT"))
        );
        let values = column["values"].as_array().expect("it has values");
        values.iter().map(|value| value.as_f64().expect("it is a number")).collect::<Vec<_>>()
    };
    let expect = |view, feature| -> Vec<f64> {
        ids(place, entities).map(|id| value(view, feature, id)).collect()
    };
    for view in 0..VIEWS {
        for feature in 0..FEATURES {
            assert_eq!(column(&format!("f{view}_{feature}")), expect(view, feature));
        }
    }
    if on_demand {
        let scaled: Vec<f64> = expect(0, 1).iter().map(|x| (x - 10.0) / 2.0).collect();
        assert_eq!(column("scaled"), scaled);
    }
}

/// Whole numbers and fractions by turns.
fn value(view: usize, feature: usize, id: i64) -> f64 {
    let number = number(view, feature, id) as f64;
    if feature.is_multiple_of(2) { number } else { number / 7.0 }
}

fn number(view: usize, feature: usize, id: i64) -> i64 {
    (id * 31 + view as i64 * 7 + feature as i64) % 100_003
}

fn definitions() -> String {
    let mut text = "[entity.user]\njoin_keys = { user_id = \"int64\" }\n".to_owned();
    for view in 0..VIEWS {
        write!(
            text,
            "[source.view_{view}]\npath = \"view_{view}.parquet\"\ntimestamp = \"event_timestamp\"\n\
             [feature_view.view_{view}]\nentities = [\"user\"]\nsource = \"view_{view}\"\n\
             [feature_view.view_{view}.features]\n"
        )
        .expect("a text takes all");
        for feature in 0..FEATURES {
            let data_type = if feature % 2 == 0 { "int64" } else { "float64" };
            writeln!(text, "f{view}_{feature} = \"{data_type}\"").expect("a text takes all");
        }
    }
    text.push_str(
        "[on_demand_feature_view.scaled]\ntransform = \"commerce/scale@1.0.0#standardize\"\n\
         inputs = { x = \"view_0:f0_1\" }\nparams = { mean = 10.0, std = 2.0 }\n\
         features = { scaled = { type = \"float64\", column = \"standardize\" } }\n",
    );
    text
}

/// A row for each entity, all at one moment.
fn write_rows(path: &Path, view: usize) {
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..ENTITIES));
    let moment = 1_767_225_600_000_000_i64 + view as i64;
    let times = TimestampMicrosecondArray::from_value(moment, ENTITIES as usize);
    let mut columns = vec![
        ("user_id".to_owned(), ids),
        ("event_timestamp".to_owned(), Arc::new(times.with_timezone("UTC")) as _),
    ];
    for feature in 0..FEATURES {
        let numbers = (0..ENTITIES).map(|id| number(view, feature, id));
        let fractions = (0..ENTITIES).map(|id| value(view, feature, id));
        let column: ArrayRef = match feature % 2 {
            0 => Arc::new(Int64Array::from_iter_values(numbers)),
            _ => Arc::new(Float64Array::from_iter_values(fractions)),
        };
        columns.push((format!("f{view}_{feature}"), column));
    }
    let batch = RecordBatch::try_from_iter(columns).expect("the columns are even");
    let file = fs::File::create(path).expect("it is made");
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).expect("it is Parquet");
    writer.write(&batch).expect("it is written");
    writer.close().expect("it is closed");
}
