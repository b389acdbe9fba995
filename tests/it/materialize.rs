//! The materializer as a process: killed at random moments, run twice at once, watched, pruned.
//!
//! `UNSKEW_KILLS=100` kills it so often with each of the stores; without it, eight times.
//! `UNSKEW_SEED` repeats a run.

use std::{
    collections::BTreeMap,
    env, fs,
    path::Path,
    process::{Child, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

use arrow::array::{ArrayRef, Int64Array, TimestampMicrosecondArray};
use serde_json::{Value, json};
use unskew::online::{EmbeddedOptions, EmbeddedStore, OnlineStore, Rows, ViewId};

use crate::{
    redis::servers::{PLAIN, Server},
    support::{Project, Stop, block_on, write_parquet},
};

const DEFINITIONS: &str = r#"
[entity.customer]
join_keys = { customer_id = "int64" }

[source.orders]
path = "orders"
timestamp = "ordered_at"
created = "written_at"

[feature_view.spend]
entities = ["customer"]
source = "orders"
features = { amount = "int64" }
"#;

const CUSTOMERS: i64 = 300;

/// A generator of numbers that is the same everywhere: SplitMix64.
struct Random(u64);

impl Random {
    /// A number below `end`.
    fn below(&mut self, end: i64) -> i64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % end.cast_unsigned()).cast_signed()
    }
}

/// A row: customer, event time, created time, amount.
type Row = (i64, i64, i64, i64);

/// The files of the source, by name, and whoever changes them.
struct Files {
    random: Random,
    files: BTreeMap<String, Vec<Row>>,
    /// How many rows were ever written: every row has an amount of its own.
    rows: i64,
}

impl Files {
    /// Rows of random customers with event times all over: most of them are late.
    fn rows(&mut self, count: usize) -> Vec<Row> {
        let row = |_| {
            self.rows += 1;
            let (customer, event) = (self.random.below(CUSTOMERS), self.random.below(500));
            // No two rows were written down at once, so the newest is never a tie.
            (customer, event, 1000 + self.rows, self.rows)
        };
        (0..count).map(row).collect()
    }

    fn write(&mut self, folder: &Path, name: &str, rows: Vec<Row>) {
        let ints = |value: fn(&Row) -> i64| -> ArrayRef {
            Arc::new(rows.iter().map(|row| Some(value(row))).collect::<Int64Array>())
        };
        let times = |value: fn(&Row) -> i64| -> ArrayRef {
            let micros = rows.iter().map(|row| Some(value(row) * 1_000_000));
            Arc::new(micros.collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
        };
        let columns = [
            ("customer_id", ints(|row| row.0)),
            ("ordered_at", times(|row| row.1)),
            ("written_at", times(|row| row.2)),
            ("amount", ints(|row| row.3)),
        ];
        // A file comes whole, as those who write files for others see to.
        let unfinished = folder.join(format!("_{name}"));
        write_parquet(&unfinished, &columns);
        fs::rename(unfinished, folder.join(name)).unwrap();
        self.files.insert(name.to_owned(), rows);
    }

    /// A new file, a file that grew, one that was written again with corrections, or none of it.
    fn change(&mut self, folder: &Path) {
        let place = self.random.below(self.files.len() as i64);
        let (name, old) = self.files.iter().nth(place as usize).unwrap();
        let (name, mut old) = (name.clone(), old.clone());
        match self.random.below(4) {
            0 => {
                let (name, rows) = (format!("{:04}.parquet", self.files.len()), self.rows(50));
                self.write(folder, &name, rows);
            }
            1 => {
                old.extend(self.rows(20));
                self.write(folder, &name, old);
            }
            2 => {
                // The same event times, written down later.
                for row in old.iter_mut().step_by(3) {
                    self.rows += 1;
                    (row.2, row.3) = (1000 + self.rows, self.rows);
                }
                self.write(folder, &name, old);
            }
            _ => {}
        }
    }

    /// What has to be stored, found the obvious way: of each customer, the newest row.
    fn newest(&self) -> BTreeMap<i64, Row> {
        let mut found: BTreeMap<i64, Row> = BTreeMap::new();
        for row in self.files.values().flatten() {
            let newest = found.entry(row.0).or_insert(*row);
            if (row.1, row.2) > (newest.1, newest.2) {
                *newest = *row;
            }
        }
        found
    }
}

/// A child that is killed when it is forgotten.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(project: &Project, arguments: &[&str]) -> Running {
    let mut command = project.command(arguments);
    Running(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
}

/// A group of files is as small as can be, so that there is much to be cut off.
const RUN: &[&str] = &["materialize", "--incremental", "--checkpoint", "1"];

/// The event and created times that are stored, by key.
async fn stored(store: &dyn OnlineStore) -> BTreeMap<Vec<u8>, (i64, i64)> {
    let rows = store.sample(ViewId::of("probe", "spend"), 1_000_000, 0).await.unwrap();
    let times = rows
        .iter()
        .map(|(key, row)| (key.to_vec(), (row.version.event.0, row.version.created.unwrap().0)));
    times.collect()
}

/// Reads all the time: no row may ever be older than it was.
async fn poll(store: &dyn OnlineStore, done: &AtomicBool, polls: &AtomicU64) {
    let mut before = BTreeMap::new();
    while !done.load(Ordering::Relaxed) {
        let now = stored(store).await;
        for (key, times) in &before {
            let seen = now.get(key);
            assert!(seen >= Some(times), "{key:?} went from {times:?} back to {seen:?}");
        }
        before = now;
        polls.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// What is served of every customer.
fn served(project: &Project) -> Value {
    let ids: Vec<String> = (0..CUSTOMERS).map(|id| format!("customer_id={id}")).collect();
    let mut arguments = vec!["get", "--features", "spend:amount"];
    arguments.extend(ids.iter().flat_map(|id| ["--entity", id.as_str()]));
    project.json(&arguments)["results"][1]["values"].clone()
}

fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().unwrap())
}

fn embedded(project: &Project) -> EmbeddedStore {
    EmbeddedStore::open(project.path("online"), EmbeddedOptions::default()).unwrap()
}

#[test]
fn killed_at_any_moment_it_loses_nothing() {
    let project = Project::new();
    check_kills(
        &project,
        || Box::new(embedded(&project)),
        || fs::remove_dir_all(project.path("online")).unwrap(),
    );
    let (project, server) = (Project::new(), Server::start(PLAIN));
    let settings = format!("[project]\nname = \"probe\"\n[online]\nurl = \"{}\"\n", server.url());
    project.write("unskew.toml", &settings);
    check_kills(
        &project,
        || Box::new(server.store()),
        || redis::cmd("FLUSHALL").exec(&mut server.connect()).unwrap(),
    );
}

/// Kills runs into a store that `open` opens and `empty` empties.
fn check_kills(
    project: &Project,
    open: impl Fn() -> Box<dyn OnlineStore> + Sync,
    empty: impl Fn(),
) {
    let kills = number("UNSKEW_KILLS").unwrap_or(8);
    let clock = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let seed = number("UNSKEW_SEED").unwrap_or(clock.as_nanos() as u64);
    println!("UNSKEW_SEED={seed}");
    let folder = project.path("orders");
    fs::create_dir(&folder).unwrap();
    let mut files = Files { random: Random(seed), files: BTreeMap::new(), rows: 0 };
    for name in 0..20 {
        let rows = files.rows(100);
        files.write(&folder, &format!("{name:04}.parquet"), rows);
    }
    project.write("features/shop.toml", DEFINITIONS);
    project.ok(&["apply"]);
    // How long a whole run takes, in an empty store: the first kills come within it.
    let start_of_run = Instant::now();
    project.ok(&["materialize", "--checkpoint", "1"]);
    let mut within = start_of_run.elapsed().as_micros() as i64;
    empty();

    let (done, polls) = (AtomicBool::new(false), AtomicU64::new(0));
    let (mut killed, mut ended) = (0, 0);
    thread::scope(|scope| {
        let stop = Stop(&done);
        let poller = scope.spawn(|| block_on(async { poll(&*open(), &done, &polls).await }));
        while killed < kills {
            files.change(&folder);
            let mut run = start(project, RUN);
            // Now and then, two at once.
            let other = (files.random.below(4) == 0).then(|| start(project, RUN));
            thread::sleep(Duration::from_micros(files.random.below(within) as u64));
            match run.0.try_wait().unwrap() {
                // About half of the runs are to be killed, at moments all over them.
                None => {
                    killed += 1;
                    within += within / 8;
                }
                Some(status) => {
                    assert!(status.success() || other.is_some(), "{status}");
                    ended += 1;
                    within -= within / 8;
                }
            }
            drop((run, other));
        }
        project.ok(RUN);
        drop(stop);
        poller.join().unwrap();
    });
    println!("killed {killed} times, ended {ended} times, read {polls:?} times");
    let newest = files.newest();
    let expected = (0..CUSTOMERS).map(|id| newest.get(&id).map_or(Value::Null, |row| row.3.into()));
    assert_eq!(served(project), expected.collect::<Value>(), "with UNSKEW_SEED={seed}");
    // What was read is not read again.
    let again: Value = serde_json::from_str(&project.ok(&[RUN, &["--json"]].concat())).unwrap();
    assert_eq!((&again["files"], &again["unchanged"]), (&json!(0), &json!(files.files.len())));
}

/// A project with two files of orders.
fn shop() -> (Project, Files) {
    let project = Project::new();
    fs::create_dir(project.path("orders")).unwrap();
    let mut files = Files { random: Random(7), files: BTreeMap::new(), rows: 0 };
    for name in ["a.parquet", "b.parquet"] {
        let rows = files.rows(10);
        files.write(&project.path("orders"), name, rows);
    }
    project.write("features/shop.toml", DEFINITIONS);
    project.ok(&["apply"]);
    (project, files)
}

#[test]
fn a_dry_run_says_what_would_be_read_and_why() {
    let (project, mut files) = shop();
    let planned = |arguments: &[&str]| -> Vec<(String, String, Value)> {
        let said = project.json(&[&["materialize", "--dry-run"][..], arguments].concat());
        let file = |file: &Value| {
            let path = file["path"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
            (path, file["why"].as_str().unwrap().to_owned(), file["rows"].clone())
        };
        let mut planned: Vec<_> = said["files"].as_array().unwrap().iter().map(file).collect();
        planned.sort_by(|one, other| one.0.cmp(&other.0));
        planned
    };
    let reads = |path: &str, why: &str, rows: i64| (path.to_owned(), why.to_owned(), json!(rows));
    let all = [reads("a.parquet", "definition", 10), reads("b.parquet", "definition", 10)];
    assert_eq!(planned(&["--incremental"]), all);
    assert_eq!(
        served(&project),
        json!(vec![Value::Null; CUSTOMERS as usize]),
        "nothing is written"
    );
    project.ok(&["materialize"]);
    assert!(planned(&["--incremental"]).is_empty());
    let (old, new) = (files.files["a.parquet"].clone(), files.rows(5));
    files.write(&project.path("orders"), "a.parquet", [old, new.clone()].concat());
    files.write(&project.path("orders"), "c.parquet", new);
    let changed = [reads("a.parquet", "changed", 15), reads("c.parquet", "new", 5)];
    assert_eq!(planned(&["--incremental"]), changed);
    assert_eq!(planned(&["--to", "1970-01-01"]).len(), 3);
    let text = project.ok(&["materialize", "--dry-run", "--incremental"]);
    assert!(text.contains("1 files unchanged") && text.contains("changed"), "{text}");
    let said = project.fails(2, &["materialize", "--dry-run", "--to", "2999-01-01"]);
    assert!(said.contains("is after now"), "{said}");
}

#[test]
fn one_view_that_fails_keeps_no_other_from_being_written() {
    let (project, _) = shop();
    let more = "[source.visits]\npath = \"visits.parquet\"\ntimestamp = \"at\"\n\
                [feature_view.aside]\nentities = [\"customer\"]\nsource = \"visits\"\n\
                features = { page = \"int64\" }\n";
    project.write("features/more.toml", more);
    let ints: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let times: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![1]).with_timezone("UTC"));
    let columns = [("customer_id", Arc::clone(&ints)), ("at", times), ("page", ints)];
    write_parquet(&project.path("visits.parquet"), &columns);
    project.ok(&["apply"]);
    fs::remove_file(project.path("visits.parquet")).unwrap();
    let output = project.run(&["materialize", "--json"]);
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.lines().count() == 1 && said.contains("\"view\":\"spend\""), "{said}");
    let error: Value = serde_json::from_slice(&output.stderr).unwrap();
    let message = error["error"]["message"].as_str().unwrap();
    assert!(message.starts_with("materializing aside: "), "{error}");
}

/// Waits until something holds.
fn wait_for(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < deadline, "{what} did not come");
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn watching_brings_in_what_comes_and_goes_on_after_failures() {
    let (project, mut files) = shop();
    let log = fs::File::create(project.path("log.jsonl")).unwrap();
    let errors = fs::File::create(project.path("errors.jsonl")).unwrap();
    let mut command = project.command(&["materialize", "--watch", "--every", "50ms", "--json"]);
    let mut watching = Running(command.stdout(log).stderr(errors).spawn().unwrap());
    let amount = |project: &Project, row: &Row| served(project)[row.0 as usize] == row.3;
    let newest = *files.newest().values().next().unwrap();
    wait_for("the first rows", || amount(&project, &newest));
    // The source cannot be read for a while.
    fs::rename(project.path("orders"), project.path("away")).unwrap();
    let lines = |file: &str| fs::read_to_string(project.path(file)).unwrap().lines().count();
    wait_for("two failures", || lines("errors.jsonl") >= 2);
    let (customer, late) = (files.rows(1)[0].0, files.rows);
    files.write(&project.path("away"), "late.parquet", vec![(customer, 600, 9000, late)]);
    fs::rename(project.path("away"), project.path("orders")).unwrap();
    wait_for("the row that came late", || amount(&project, &(customer, 600, 9000, late)));
    // Asked to stop, it ends in order.
    let process = watching.0.id().to_string();
    let asked = std::process::Command::new("kill").args(["-TERM", &process]).status().unwrap();
    assert!(asked.success());
    let status = watching.0.wait().unwrap();
    assert_eq!(status.code(), Some(0));
    let log = fs::read_to_string(project.path("log.jsonl")).unwrap();
    for line in log.lines() {
        let run: Value = serde_json::from_str(line).unwrap();
        assert_eq!(run["view"], "spend");
    }
}

#[test]
fn what_is_left_of_views_that_are_gone_is_pruned() {
    let (project, _) = shop();
    let second = DEFINITIONS.replace("feature_view.spend", "feature_view.kept");
    let kept = second.split("[feature_view").nth(1).unwrap();
    project.write("features/kept.toml", &format!("[feature_view{kept}"));
    project.ok(&["apply"]);
    project.ok(&["materialize"]);
    let count = |view: &str| {
        block_on(embedded(&project).count(ViewId::of("probe", view), Rows::All)).unwrap()
    };
    let nothing = project.json(&["materialize", "--prune"]);
    assert_eq!(nothing, json!({"deleted": true, "views": []}));
    let rows = count("spend");
    assert!(rows > 0);
    let without = DEFINITIONS.split("[feature_view").next().unwrap();
    project.write("features/shop.toml", without);
    project.ok(&["apply"]);
    let leftover = json!([{"view": "spend", "store": null, "why": "removed", "rows": rows}]);
    let planned = project.json(&["materialize", "--prune", "--dry-run"]);
    assert_eq!(planned, json!({"deleted": false, "views": leftover}));
    assert_eq!(count("spend"), rows, "a dry run deletes nothing");
    let done = project.json(&["materialize", "--prune"]);
    assert_eq!(done, json!({"deleted": true, "views": leftover}));
    assert_eq!((count("spend"), count("kept")), (0, rows));
    let ledgers = fs::read_dir(project.path("registry/ledgers/default/spend"));
    assert_eq!(ledgers.map_or(0, Iterator::count), 0);
    // A view of the same name that comes later starts from the beginning.
    project.write("features/shop.toml", DEFINITIONS);
    project.ok(&["apply"]);
    project.ok(&["materialize", "--incremental", "spend"]);
    assert_eq!(count("spend"), rows);
    project.write(
        "features/shop.toml",
        &DEFINITIONS.replace("features =", "online = false\nfeatures ="),
    );
    project.ok(&["apply"]);
    let text = project.ok(&["materialize", "--prune"]);
    assert!(text.contains(&format!("spend, not online any more: {rows} rows deleted")), "{text}");
}

/// What `--prune` is to find of these: the view `spend`, defined otherwise.
fn redefined(rows: u64) -> Value {
    json!([{"view": "spend", "store": null, "why": "redefined", "rows": rows}])
}

#[test]
fn rows_of_an_earlier_definition_are_pruned_once_the_view_is_materialized_again() {
    check_redefined("");
    let redis = Server::start(PLAIN);
    check_redefined(&format!("[online]\nurl = \"{}\"\n", redis.url()));
}

fn check_redefined(online: &str) {
    let (project, mut files) = shop();
    project.write("unskew.toml", &format!("[project]\nname = \"probe\"\n{online}"));
    let source = project.path("orders");
    files.write(&source, "more.parquet", vec![(CUSTOMERS + 1, 1, 1, 1), (CUSTOMERS + 2, 1, 1, 2)]);
    project.ok(&["materialize"]);
    let prune = |arguments: &[&str]| {
        let arguments = ["materialize", "--prune"].into_iter().chain(arguments.iter().copied());
        project.json(&arguments.collect::<Vec<_>>())["views"].clone()
    };
    assert_eq!(prune(&[]), json!([]));
    let more = "amount = \"int64\", written_at = \"timestamp\"";
    project.write("features/shop.toml", &DEFINITIONS.replace("amount = \"int64\"", more));
    project.ok(&["apply"]);
    assert_eq!(prune(&[]), json!([]), "what was not materialized again is better than nothing");
    fs::remove_file(source.join("more.parquet")).unwrap();
    project.ok(&["materialize", "--incremental"]);
    assert_eq!(prune(&["--dry-run"]), redefined(2));
    assert_eq!(prune(&[]), redefined(2));
    assert_eq!(prune(&[]), json!([]));
    for (customer, status) in
        [(CUSTOMERS + 1, "NOT_FOUND"), (files.files["a.parquet"][0].0, "PRESENT")]
    {
        let entity = format!("customer_id={customer}");
        let got = project.json(&["get", "--features", "spend:amount", "--entity", &entity]);
        assert_eq!(got["results"][1]["statuses"], json!([status]), "{got}");
    }
}
