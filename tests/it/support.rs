//! A project in a temporary folder, and the command line run on it.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::atomic::{AtomicBool, Ordering},
};

use arrow::array::{ArrayRef, RecordBatch};
use parquet::arrow::{ArrowWriter, arrow_reader::ParquetRecordBatchReaderBuilder};
use serde_json::Value;
use tempfile::TempDir;

/// The folder of the checkout.
pub fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The Python that has the packages of `tests/requirements.txt`.
pub fn python() -> PathBuf {
    let python = std::env::var_os("UNSKEW_PYTHON").expect(
        "UNSKEW_PYTHON names a Python with the packages of tests/requirements.txt; make test makes one",
    );
    PathBuf::from(python)
}

/// A project of its own.
pub struct Project {
    folder: TempDir,
}

impl Project {
    /// A new project called `probe`.
    pub fn new() -> Self {
        let project = Self { folder: tempfile::tempdir().unwrap() };
        project.write("unskew.toml", "[project]\nname = \"probe\"\n");
        fs::create_dir(project.path("features")).unwrap();
        project
    }

    /// A path in the project's folder.
    pub fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    pub fn write(&self, path: &str, text: &str) {
        fs::write(self.path(path), text).unwrap();
    }

    /// The command, ready to be run in the project's folder.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_unskew"));
        command.args(arguments).current_dir(self.folder.path()).stdin(Stdio::null());
        command.env("XDG_CACHE_HOME", checkout_cache());
        // What the command logs passes the capture of the test runner.
        command.env("UNSKEW_LOG", "off");
        command
    }

    /// Runs the command to its end.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs the command, which has to succeed, and gives what it printed.
    pub fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(
            output.status.success(),
            "unskew {} failed with {}:\n{}{}",
            arguments.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        String::from_utf8(output.stdout).unwrap()
    }

    /// As [`Project::ok`], with `--json`.
    pub fn json(&self, arguments: &[&str]) -> Value {
        let mut arguments = arguments.to_vec();
        arguments.push("--json");
        serde_json::from_str(&self.ok(&arguments)).unwrap()
    }

    /// Runs the command, which has to fail with this exit code, and gives what it said.
    pub fn fails(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "unskew {}:\n{said}", arguments.join(" "));
        said
    }

    /// Publishes a transform of the repository.
    pub fn publish(&self, folder: &str) {
        let folder = checkout().join(folder);
        self.ok(&["transform", "publish", folder.to_str().unwrap()]);
    }

    /// Starts the server on a free port.
    pub fn serve(&self) -> Server {
        self.serve_with(&[])
    }

    /// Starts the server on a free port, in this environment.
    pub fn serve_with(&self, environment: &[(&str, &str)]) -> Server {
        let mut child = self
            .command(&["serve", "--listen", "127.0.0.1:0", "--json"])
            .envs(environment.iter().copied())
            .stdout(Stdio::piped())
            // Tests provoke errors, and look at the answers.
            .env("UNSKEW_LOG", "off")
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut text = String::new();
        while !text.ends_with("}\n") {
            assert_ne!(stdout.read_line(&mut text).unwrap(), 0, "the server said: {text}");
        }
        let said: Value = serde_json::from_str(&text).unwrap();
        Server { child, url: said["url"].as_str().unwrap().to_owned() }
    }
}

/// Where compiled transforms are kept between tests.
fn checkout_cache() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache")
}

/// A running server; it stops when this is dropped.
pub struct Server {
    child: Child,
    /// Where it listens.
    pub url: String,
}

impl Server {
    /// The number of the process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The address, without `http://`.
    pub fn address(&self) -> &str {
        self.url.trim_start_matches("http://")
    }

    /// Asks the server to stop.
    pub fn ask_to_stop(&self) {
        let id = rustix::process::Pid::from_raw(self.child.id().cast_signed()).unwrap();
        rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
    }

    /// Waits until the server has stopped, and gives its exit code.
    pub fn stopped(mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }

    /// Posts a body: the status and the body of the answer.
    pub fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let (url, body) = (format!("{}{path}", self.url), body.to_string());
        block_on(async move {
            let client = reqwest::Client::new();
            let request = client.post(url).header("content-type", "application/json").body(body);
            let response = request.send().await.unwrap();
            (response.status().as_u16(), response.json().await.unwrap_or_default())
        })
    }

    /// Gets a path: the status and the text of the answer.
    pub fn get(&self, path: &str) -> (u16, String) {
        let url = format!("{}{path}", self.url);
        block_on(async move {
            let response = reqwest::get(url).await.unwrap();
            (response.status().as_u16(), response.text().await.unwrap())
        })
    }
}

/// Tells others that a test is at its end, however it ends.
pub struct Stop<'a>(pub &'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs something asynchronous to its end.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Writes columns to a Parquet file.
pub fn write_parquet(path: &Path, columns: &[(&str, ArrayRef)]) {
    let batch = RecordBatch::try_from_iter_with_nullable(
        columns.iter().map(|(name, column)| (*name, column.clone(), true)),
    )
    .unwrap();
    let mut writer =
        ArrowWriter::try_new(fs::File::create(path).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

/// All rows of a Parquet file in one batch.
pub fn read_parquet(path: &Path) -> RecordBatch {
    let builder = ParquetRecordBatchReaderBuilder::try_new(fs::File::open(path).unwrap()).unwrap();
    let schema = builder.schema().clone();
    let batches: Vec<_> = builder.build().unwrap().map(Result::unwrap).collect();
    arrow::compute::concat_batches(&schema, &batches).unwrap()
}
