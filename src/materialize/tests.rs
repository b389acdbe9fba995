//! Runs, ledgers and pushes, on an embedded store.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    path::{Path, PathBuf},
    sync::Arc,
};

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use async_trait::async_trait;
use futures::future::join_all;
use parquet::arrow::ArrowWriter;
use serde_json::{Value, json};
use tempfile::{TempDir, tempdir};
use tokio::{runtime::Handle, task::block_in_place};

use super::{ledger::key, run::claim, *};
use crate::{
    definition::{About, Entity, retrieval::Wanted},
    digest::Digest,
    error::Kind,
    evaluate::testing::in_force,
    offline::{Places, Resources, SourceFile, Sources, session},
    online::{
        EmbeddedOptions, EmbeddedStore, Lookup, OnlineStore, ReadRows, RowBatch, Rows, Stores,
        UnopenedStore, ViewId, WriteReport,
    },
    registry::{Registry, Snapshot},
    serve::{FeatureServer, Request},
    time::Span,
};

const VIEWS: &str = r#"
[source.late]
path = "orders.parquet"
timestamp = "ordered_at"

[feature_view.spend]
entities = ["customer"]
source = "orders"
features = { amount = "int64" }

[feature_view.pairs]
entities = ["customer", "product"]
source = "orders"
features = { of_pair = { type = "int64", column = "amount" } }

[feature_view.offline_only]
entities = ["customer"]
source = "orders"
online = false
features = { note = "utf8" }

[feature_view.timed]
entities = ["customer"]
source = "late"
transform = "t/echo@1.0.0#moment"
inputs = { a = "ordered_at" }
features = { at = { type = "timestamp", column = "one" } }
"#;

/// The first moment of 2000, when rows are pushed.
const PUSHED_AT: Timestamp = Timestamp(946_684_800_000_000);

const NOW: Timestamp = Timestamp(1_000_000_000);

struct Shop {
    folder: TempDir,
    stores: Stores,
    registry: Registry,
}

impl Shop {
    fn new() -> Self {
        let folder = tempdir().unwrap();
        let options = EmbeddedOptions { map_size: 1 << 20, ..EmbeddedOptions::default() };
        let store = EmbeddedStore::open(folder.path().join("online"), options).unwrap();
        let registry = Registry::open(&folder.path().join("registry")).unwrap();
        Self { folder, stores: store.into(), registry }
    }

    fn store(&self) -> &dyn OnlineStore {
        self.stores.get(None).unwrap().as_ref()
    }

    /// The files of the ledgers of the view.
    fn ledgers(&self) -> Vec<PathBuf> {
        let folder = self.folder.path().join("registry/ledgers/default/spend");
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
    }

    /// Writes the source: customer, event time and amount of each row.
    fn write(&self, rows: &[(i64, i64, i64)]) {
        let ints = |value: fn(&(i64, i64, i64)) -> i64| -> ArrayRef {
            Arc::new(rows.iter().map(|row| Some(value(row))).collect::<Int64Array>())
        };
        let times = |times: Vec<Option<i64>>| -> ArrayRef {
            Arc::new(TimestampMicrosecondArray::from(times).with_timezone("UTC"))
        };
        let texts = |text| -> ArrayRef { Arc::new(StringArray::from(vec![text; rows.len()])) };
        let columns = [
            ("customer_id", ints(|row| row.0), true),
            ("ordered_at", times(rows.iter().map(|row| Some(row.1)).collect()), true),
            ("amount", ints(|row| row.2), true),
            ("product", texts("tea"), true),
            ("note", texts("n"), true),
            ("written_at", times(vec![None; rows.len()]), true),
        ];
        write_parquet(&self.folder.path().join("orders.parquet"), columns);
    }

    async fn run(&self, views: &str, window: Window) -> Result<Report> {
        let in_force = in_force(views);
        let definitions = in_force.state.definitions.sources.clone();
        let session = session(&Resources::default())?;
        let places = Places { folder: self.folder.path().to_owned(), ..Places::default() };
        let mut sources = Sources::new(session, places, definitions);
        sources.open(["orders"]).await?;
        self.materializer(&in_force, &sources).run("spend", window, NOW, &|_| ()).await
    }

    fn materializer<'a>(&'a self, in_force: &'a InForce, sources: &'a Sources) -> Materializer<'a> {
        let (stores, registry) = (&self.stores, &self.registry);
        Materializer { in_force, sources, stores, registry }
    }

    async fn leftovers(&self, in_force: &InForce) -> Vec<Result<Leftover>> {
        let first =
            |newest: Option<&Snapshot>| Ok(newest.is_none().then(|| in_force.state.clone()));
        self.registry.commit(NOW, first).await.unwrap();
        leftovers(in_force, &self.stores, &self.registry).await.unwrap()
    }

    async fn push(&self, target: &str, rows: Value) -> Result<Pushed> {
        self.push_under(VIEWS, Target::SourceOrView(target), rows).await
    }

    async fn push_under(&self, views: &str, to: Target<'_>, rows: Value) -> Result<Pushed> {
        let rows = serde_json::from_value(rows).unwrap();
        push(&in_force(views), to, &rows, PUSHED_AT, &self.stores).await
    }

    /// The feature of customers 1, 2 and 3, as it is served.
    async fn served(&self, feature: &str) -> Value {
        let server = FeatureServer::new(Arc::new(in_force(VIEWS)), self.stores.clone());
        let ids = json!({"customer_id": [1, 2, 3], "product": ["tea", "tea", "tea"]});
        let request = Request {
            entities: serde_json::from_value(ids).unwrap(),
            event_time: Timestamp(i64::MAX),
            max_rows: 3,
            partial: false,
        };
        let wanted = Wanted::Features(vec![feature.parse().unwrap()]);
        let prepared = server.prepare(&wanted, true);
        let prepared = prepared.map_err(Error::from).unwrap();
        let answer = server.answer(&prepared, &request).await.map_err(Error::from).unwrap();
        let mut values = Vec::new();
        answer.write_values(answer.columns.last().unwrap(), &mut values);
        serde_json::from_slice(&values).unwrap()
    }
}

fn write_parquet<'a>(path: &Path, columns: impl IntoIterator<Item = (&'a str, ArrayRef, bool)>) {
    let batch = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
    let file = File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

const ROWS: [(i64, i64, i64); 3] = [(1, 10, 100), (2, 20, 200), (3, 30, 300)];

fn all(to: i64) -> Window {
    Window::Between(None, Timestamp(to))
}

fn part(from: i64, to: i64) -> Window {
    Window::Between(Some(Timestamp(from)), Timestamp(to))
}

fn incremental(to: i64) -> Window {
    Window::Incremental(Timestamp(to))
}

/// From where a run read; `None` if it read nothing.
fn started(report: &Report) -> Option<Option<i64>> {
    let read = !report.plan.files.is_empty();
    read.then(|| report.plan.from().map(|from| from.0))
}

/// From the beginning.
const BEGINNING: Option<Option<i64>> = Some(None);

/// From a moment on.
fn from(moment: i64) -> Option<Option<i64>> {
    Some(Some(moment))
}

/// Runs one window after the other on one store: where each started, and what is served then.
async fn check(runs: &[(Window, Option<Option<i64>>)], served: Value) {
    let shop = Shop::new();
    shop.write(&ROWS);
    for (place, (window, expected)) in runs.iter().enumerate() {
        let report = shop.run(VIEWS, *window).await.unwrap();
        assert_eq!(started(&report), *expected, "run {place} of {runs:?}");
    }
    assert_eq!(shop.served("spend:amount").await, served, "after {runs:?}");
}

#[tokio::test]
async fn no_row_is_lost_whatever_ran_before() {
    let everything = || json!([100, 200, 300]);
    check(&[(all(30), BEGINNING)], everything()).await;
    check(&[(incremental(30), BEGINNING)], everything()).await;
    check(&[(part(10, 20), from(10))], json!([100, 200, null])).await;
    check(&[(all(20), BEGINNING), (incremental(30), from(20))], everything()).await;
    check(&[(all(19), BEGINNING), (incremental(20), from(19))], json!([100, 200, null])).await;
    // Nothing is read twice.
    check(&[(all(30), BEGINNING), (incremental(30), None), (incremental(40), None)], everything())
        .await;
    // A run over a part does not say how far all is read.
    check(&[(part(30, 30), from(30)), (incremental(30), BEGINNING)], everything()).await;
    check(
        &[(all(10), BEGINNING), (part(30, 30), from(30)), (incremental(30), from(10))],
        everything(),
    )
    .await;
    // An earlier end after a later one takes nothing back and claims no more than was read.
    check(
        &[(all(20), BEGINNING), (incremental(10), None), (incremental(30), from(20))],
        everything(),
    )
    .await;
    check(&[(all(20), BEGINNING), (all(10), BEGINNING), (incremental(30), from(10))], everything())
        .await;
}

#[tokio::test]
async fn a_changed_file_is_read_from_the_beginning() {
    let shop = Shop::new();
    shop.write(&ROWS);
    shop.run(VIEWS, all(30)).await.unwrap();
    let late = [&ROWS[..], &[(2, 25, 250)]].concat();
    shop.write(&late);
    let report = shop.run(VIEWS, incremental(30)).await.unwrap();
    let written = report.written.clone();
    assert_eq!((started(&report), written.rows, written.store.written), (BEGINNING, 3, 1));
    assert_eq!(shop.served("spend:amount").await, json!([100, 250, 300]));
}

#[tokio::test]
async fn a_changed_view_is_read_from_the_beginning() {
    let changed = |old: &str, new: &str| {
        assert!(VIEWS.contains(old), "{old}");
        VIEWS.replacen(old, new, 1)
    };
    for views in [
        changed("features = { amount", "features = { note = \"utf8\", amount"),
        changed(
            "source = \"orders\"\nfeatures = { amount = \"int64\" }",
            "source = \"orders\"\ntransform = \"t/echo@1.0.0#f\"\n\
             inputs = { a = \"amount\", b = \"note\" }\n\
             features = { amount = { type = \"int64\", column = \"one\" } }",
        ),
    ] {
        let shop = Shop::new();
        shop.write(&ROWS);
        shop.run(VIEWS, all(30)).await.unwrap();
        let again = async || started(&shop.run(&views, incremental(30)).await.unwrap());
        assert_eq!(again().await, BEGINNING);
        assert_eq!(again().await, None);
        // A run over a part leaves rows of one definition among those of the other.
        shop.run(VIEWS, part(30, 30)).await.unwrap();
        assert_eq!(again().await, BEGINNING);
    }
    let described = changed("amount = \"int64\"", "amount = { type = \"int64\", default = 1 }");
    let shop = Shop::new();
    shop.write(&ROWS);
    shop.run(VIEWS, all(30)).await.unwrap();
    assert_eq!(started(&shop.run(&described, incremental(30)).await.unwrap()), None);
}

#[tokio::test]
async fn a_ledger_that_cannot_be_read_is_replaced_by_a_run_that_does_not_need_it() {
    let shop = Shop::new();
    shop.write(&ROWS);
    shop.run(VIEWS, all(30)).await.unwrap();
    for ledger in shop.ledgers() {
        fs::write(ledger, "{").unwrap();
    }
    let error = shop.run(VIEWS, incremental(30)).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt);
    assert_eq!(error.hint(), Some("unskew materialize without --incremental writes it anew"));
    shop.run(VIEWS, all(30)).await.unwrap();
    assert_eq!(started(&shop.run(VIEWS, incremental(30)).await.unwrap()), None);
}

#[tokio::test]
async fn a_ledger_speaks_only_of_the_store_that_names_it() {
    let full = |report: Report| (started(&report), report.written.rows);
    let shop = Shop::new();
    shop.write(&ROWS);
    shop.run(VIEWS, all(30)).await.unwrap();
    // Another store of a project that shares the registry.
    let other = Shop { folder: tempdir().unwrap(), registry: shop.registry.clone(), ..Shop::new() };
    other.write(&ROWS);
    assert_eq!(full(other.run(VIEWS, incremental(30)).await.unwrap()), (BEGINNING, 3));
    assert_eq!(full(other.run(VIEWS, incremental(30)).await.unwrap()).0, None);
    assert_eq!(full(shop.run(VIEWS, incremental(30)).await.unwrap()).0, None);
    // A store that was emptied.
    let emptied = Shop { stores: Shop::new().stores, ..shop };
    assert_eq!(full(emptied.run(VIEWS, incremental(30)).await.unwrap()), (BEGINNING, 3));
    assert_eq!(emptied.served("spend:amount").await, json!([100, 200, 300]));
    // A registry that was made anew, with a ledger of the same number.
    let anew = Registry::open(&emptied.folder.path().join("anew")).unwrap();
    let shop = Shop { registry: anew, ..emptied };
    assert_eq!(full(shop.run(VIEWS, incremental(30)).await.unwrap()), (BEGINNING, 3));
    assert_eq!(full(shop.run(VIEWS, incremental(30)).await.unwrap()).0, None);
}

#[tokio::test]
async fn a_store_that_loses_rows_while_they_are_written_is_found_out() {
    let (shop, view) = (Shop::new(), in_force(VIEWS));
    let ledgers = || Ledgers::new("shop", "spend", &shop.registry, None, shop.store());
    let unfinished = |_| Ok(Ledger::begun(Digest::of("one"), None));
    let mut writing = ledgers();
    writing.write(unfinished).await.unwrap();
    shop.store().delete(ViewId::of(&view.project, "spend:ledger"), Rows::All).await.unwrap();
    let error = writing.write(unfinished).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    ledgers().write(unfinished).await.unwrap();
}

#[tokio::test]
async fn runs_under_two_definitions_at_once_leave_no_ledger_to_go_on_from() {
    let shop = Shop::new();
    let mut ledgers = Ledgers::new("shop", "spend", &shop.registry, None, shop.store());
    let begun = |definition: &str| Ledger::begun(Digest::of(definition), None);
    let done = |ledger: Ledger| Ledger { through: Some(NOW), ..ledger };
    let is_done = |ledger: &mut Ledger| ledger.through = Some(NOW);
    let (old, new) = (begun("old"), begun("new"));
    ledgers.write(|_| Ok(done(new.clone()))).await.unwrap();
    let anew = Ledger { resets: 1, ..new.clone() };
    // Neither of both can say what is stored: not the one that finds the other's ledger, and not
    // the other afterwards.
    for run in [&old, &new] {
        let error = claim(&mut ledgers, run, is_done).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Conflict);
        assert_eq!(ledgers.current().await.unwrap(), Some(anew.clone()));
    }
    claim(&mut ledgers, &anew, is_done).await.unwrap();
    assert_eq!(ledgers.current().await.unwrap(), Some(done(anew.clone())));
    // Nor one whose ledger was deleted with what it speaks of.
    shop.registry.delete_ledgers(&key("spend", None)).await.unwrap();
    let error = claim(&mut ledgers, &anew, is_done).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Conflict);
    assert_eq!(ledgers.current().await.unwrap(), Some(anew.reset()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_is_made_of_what_another_run_wrote_meanwhile() {
    let shop = Shop::new();
    let ledgers = || Ledgers::new("shop", "spend", &shop.registry, None, shop.store());
    let ledger = Ledger { through: Some(NOW), ..Ledger::begun(Digest::of("now"), None) };
    ledgers().write(|_| Ok(ledger.clone())).await.unwrap();
    let mut other = Some(ledgers());
    let slow = |current: Result<Option<Ledger>>| {
        if let Some(mut other) = other.take() {
            let reset = async { other.write(|_| Ok(ledger.reset())).await.unwrap() };
            block_in_place(|| Handle::current().block_on(reset));
        }
        Ok(Ledger { succeeded_at: Some(NOW), ..current?.unwrap() })
    };
    let written = ledgers().write(slow).await.unwrap();
    assert_eq!(written, Ledger { succeeded_at: Some(NOW), ..ledger.reset() });
    assert_eq!(ledgers().current().await.unwrap(), Some(written));
}

#[tokio::test(flavor = "multi_thread")]
async fn ledgers_that_are_written_at_once_lose_nothing() {
    for round in 0..5 {
        let shop = Shop::new();
        let ledgers = || Ledgers::new("shop", "spend", &shop.registry, None, shop.store());
        let begun = Ledger::begun(Digest::of("now"), None);
        ledgers().write(|_| Ok(begun.clone())).await.unwrap();
        let names: Vec<String> = (0..12).map(|name| name.to_string()).collect();
        let runs = names.chunks(4).map(async |names| {
            let mut ledgers = ledgers();
            for name in names {
                let file = || SourceFile {
                    path: name.as_str().into(),
                    size: 1,
                    modified: NOW,
                    etag: None,
                    hash: None,
                };
                let add = |ledger: &mut Ledger| {
                    ledger.files.retain(|read| read.file != file());
                    ledger.files.push(ReadFile { file: file(), through: NOW, last: None });
                };
                claim(&mut ledgers, &begun, add).await.unwrap();
            }
        });
        join_all(runs).await;
        let files = ledgers().current().await.unwrap().unwrap().files;
        let found: BTreeSet<_> = files.iter().map(|read| read.file.path.to_string()).collect();
        assert_eq!(found, names.into_iter().collect(), "round {round}");
    }
}

/// Defined otherwise than in [`VIEWS`].
fn wider() -> String {
    let wider = VIEWS.replacen("features = { amount", "features = { note = \"utf8\", amount", 1);
    assert_ne!(wider, VIEWS);
    wider
}

#[tokio::test]
async fn what_came_into_force_since_is_not_pruned() {
    let shop = Shop::new();
    shop.write(&ROWS);
    shop.run(VIEWS, all(30)).await.unwrap();
    let before = in_force(VIEWS);
    let refused = async |why, expected: &str| {
        let leftover = Leftover { view: "spend".to_owned(), store: None, why, rows: Some(1) };
        let deleted = delete_leftover(&leftover, &before, &shop.stores, &shop.registry).await;
        let error = deleted.unwrap_err();
        assert_eq!((error.kind(), error.message()), (Kind::Conflict, expected));
        let rows = shop.store().count(ViewId::of("shop", "spend"), Rows::All).await.unwrap();
        assert_eq!(rows, 3, "{expected}");
    };
    shop.run(&wider(), all(30)).await.unwrap();
    refused(Gone::Redefined, "the view was materialized under another definition since").await;
    for attempt in 0..2 {
        let entity = Entity { join_keys: BTreeMap::new(), about: About::default() };
        let next = |newest: Option<&Snapshot>| {
            let mut state = newest.map(|snapshot| snapshot.state.clone()).unwrap_or_default();
            state.definitions.entities.insert(format!("entity_{attempt}"), entity.clone());
            Ok(Some(state))
        };
        shop.registry.commit(NOW, next).await.unwrap();
    }
    for why in [Gone::Redefined, Gone::Removed] {
        refused(why, "other definitions came into force meanwhile").await;
    }
}

#[tokio::test]
async fn what_was_older_than_pruned_rows_is_read_again() {
    let shop = Shop::new();
    shop.write(&[&ROWS[..], &[(1, 40, 400), (2, 40, 400)]].concat());
    shop.run(&wider(), all(40)).await.unwrap();
    shop.write(&ROWS);
    shop.run(VIEWS, incremental(40)).await.unwrap();
    assert_eq!(started(&shop.run(VIEWS, incremental(40)).await.unwrap()), None);
    let now = in_force(VIEWS);
    let left =
        async || shop.leftovers(&now).await.into_iter().map(Result::unwrap).collect::<Vec<_>>();
    let found = left().await;
    let redefined = |rows| {
        let (view, why) = ("spend".to_owned(), Gone::Redefined);
        Leftover { view, store: None, why, rows: Some(rows) }
    };
    assert_eq!(found, [redefined(2)]);
    delete_leftover(&found[0], &now, &shop.stores, &shop.registry).await.unwrap();
    assert_eq!(shop.served("spend:amount").await, json!([null, null, 300]));
    assert_eq!(left().await, []);
    assert_eq!(started(&shop.run(VIEWS, incremental(40)).await.unwrap()), BEGINNING);
    assert_eq!(shop.served("spend:amount").await, json!([100, 200, 300]));
    assert_eq!(left().await, []);
    assert_eq!(started(&shop.run(VIEWS, incremental(40)).await.unwrap()), None);
}

#[tokio::test]
async fn no_ledger_claims_rows_that_prune_kept_from_being_written() {
    let shop = Shop::new();
    shop.write(&ROWS);
    let current = async || {
        let mut ledgers = Ledgers::new("shop", "spend", &shop.registry, None, shop.store());
        ledgers.current().await.unwrap().unwrap()
    };
    let check = async |meanwhile: fn(&Ledger) -> Ledger, down: bool| {
        shop.run(VIEWS, all(30)).await.unwrap();
        let begun = meanwhile(&current().await);
        let (store, registry) = (Arc::clone(shop.stores.get(None).unwrap()), shop.registry.clone());
        let stores = Meanwhile { store, registry, begun: begun.clone(), down }.into();
        let (view, why) = ("spend".to_owned(), Gone::Redefined);
        let leftover = Leftover { view, store: None, why, rows: Some(1) };
        let deleted = delete_leftover(&leftover, &in_force(VIEWS), &stores, &shop.registry).await;
        assert_eq!(deleted.map_err(|error| error.kind()).err(), down.then_some(Kind::Unavailable));
        assert_eq!(current().await, begun.reset());
    };
    // It ends before it has deleted all.
    check(Ledger::clone, true).await;
    // A run that is at its end while rows are deleted: one that began before, and one since.
    check(Ledger::clone, false).await;
    check(|whole| Ledger { through: whole.through, ..whole.reset() }, false).await;
}

#[tokio::test]
async fn a_store_that_fails_hides_nothing_that_is_left_in_others() {
    let shop = Shop::new();
    shop.write(&ROWS);
    shop.run(VIEWS, all(30)).await.unwrap();
    let down: Arc<dyn OnlineStore> = Arc::new(UnopenedStore(Error::unavailable("no route")));
    let stores =
        Stores::new(Arc::clone(shop.stores.get(None).unwrap()), [("weak".to_owned(), down)].into());
    let shop = Shop { stores, ..shop };
    let views = VIEWS.replace("[feature_view.pairs]\n", "[feature_view.pairs]\nstore = \"weak\"\n");
    let found =
        shop.leftovers(&in_force(&views.replace("feature_view.spend", "feature_view.z"))).await;
    let found = found.iter().map(|left| match left {
        Ok(left) => format!("{}: {:?}", left.view, left.rows),
        Err(error) => error.message().to_owned(),
    });
    assert_eq!(
        found.collect::<Vec<_>>(),
        ["what is left of pairs in store weak is not known: no route", "spend: Some(3)"]
    );
}

/// A store in which another run begins while rows are deleted.
#[derive(Debug)]
struct Meanwhile {
    store: Arc<dyn OnlineStore>,
    registry: Registry,
    begun: Ledger,
    /// Whether it fails instead.
    down: bool,
}

#[async_trait]
impl OnlineStore for Meanwhile {
    async fn read(&self, lookups: &[Lookup<'_>]) -> Result<Vec<ReadRows>> {
        self.store.read(lookups).await
    }

    async fn write(&self, view: ViewId, rows: RowBatch, ttl: Option<Span>) -> Result<WriteReport> {
        self.store.write(view, rows, ttl).await
    }

    async fn sample(&self, view: ViewId, limit: usize, seed: u64) -> Result<RowBatch> {
        self.store.sample(view, limit, seed).await
    }

    async fn count(&self, view: ViewId, rows: Rows) -> Result<u64> {
        self.store.count(view, rows).await
    }

    async fn delete(&self, view: ViewId, rows: Rows) -> Result<u64> {
        if self.down {
            return Err(Error::unavailable("down"));
        }
        let mut ledgers = Ledgers::new("shop", "spend", &self.registry, None, &*self.store);
        ledgers.write(|_| Ok(self.begun.clone())).await?;
        self.store.delete(view, rows).await
    }
}

#[tokio::test]
async fn rows_that_were_pruned_as_they_were_written_are_claimed_by_no_ledger() {
    let shop = Shop::new();
    shop.write(&ROWS);
    shop.run(VIEWS, all(30)).await.unwrap();
    let begun = Ledger { through: Some(NOW), ..Ledger::begun(Digest::of("other"), None) };
    let (store, registry) = (Arc::clone(shop.stores.get(None).unwrap()), shop.registry.clone());
    let stores = Meanwhile { store, registry, begun: begun.clone(), down: false }.into();
    let (view, why) = ("spend".to_owned(), Gone::Redefined);
    let leftover = Leftover { view, store: None, why, rows: Some(1) };
    let deleted = delete_leftover(&leftover, &in_force(VIEWS), &stores, &shop.registry).await;
    assert_eq!(deleted.unwrap_err().kind(), Kind::Conflict);
    let mut ledgers = Ledgers::new("shop", "spend", &shop.registry, None, shop.store());
    assert_eq!(ledgers.current().await.unwrap(), Some(begun.reset()));
    assert_eq!(claim(&mut ledgers, &begun, |_| ()).await.unwrap_err().kind(), Kind::Conflict);
}

#[tokio::test]
async fn windows_end_by_now_and_after_they_start() {
    let shop = Shop::new();
    shop.write(&ROWS);
    let refused = async |window, expected: &str| {
        let error = shop.run(VIEWS, window).await.unwrap_err();
        assert_eq!(error.message(), expected);
        assert_eq!(shop.served("spend:amount").await, json!([null, null, null]));
    };
    let late = "nothing materialized: the end 1970-01-01T00:16:40.000001Z is after now, \
                1970-01-01T00:16:40Z";
    refused(all(NOW.0 + 1), late).await;
    refused(incremental(NOW.0 + 1), late).await;
    refused(
        part(31, 30),
        "nothing materialized: the start 1970-01-01T00:00:00.000031Z is after the end \
         1970-01-01T00:00:00.000030Z",
    )
    .await;
    shop.run(VIEWS, part(NOW.0, NOW.0)).await.unwrap();
}

#[test]
fn views_are_those_named_or_all_that_are_online() {
    let in_force = in_force(VIEWS);
    let check = |named: &[&str], expected: Result<&[&str], &str>| {
        let named: Vec<String> = named.iter().map(|name| (*name).to_owned()).collect();
        let found = views(&in_force, &named).map(|views| views.into_keys().collect::<Vec<_>>());
        let found = found.map_err(|error| error.to_string());
        assert_eq!(found.as_deref().map_err(String::as_str), expected);
    };
    check(&[], Ok(&["pairs", "spend", "timed"]));
    check(&["spend"], Ok(&["spend"]));
    check(
        &["spend", "offline_only"],
        Err("Feature view offline_only is not online\n\
             hint: set online = true in its definition and apply"),
    );
    check(&["spent"], Err("Feature view spent does not exist\nhint: did you mean \"spend\"?"));
}

#[tokio::test]
async fn pushed_rows_are_in_every_view_of_the_source() {
    let shop = Shop::new();
    let rows = json!({
        "customer_id": [1, 2, 3], "product": ["tea", "tea", null],
        "event_timestamp": ["1998-01-01", "1998-01-01", "1998-01-01"], "amount": [5, 6, null],
    });
    let pushed = shop.push("orders", rows).await.unwrap();
    let counts = |view: &str| {
        let written = &pushed[view];
        (written.rows, written.store.written, written.without_key)
    };
    assert_eq!(pushed.keys().collect::<Vec<_>>(), ["pairs", "spend"]);
    assert_eq!(counts("spend"), (3, 3, 0));
    assert_eq!(counts("pairs"), (3, 2, 1));
    assert_eq!(shop.served("spend:amount").await, json!([5, 6, null]));
    assert_eq!(shop.served("pairs:of_pair").await, json!([5, 6, null]));
}

#[tokio::test]
async fn a_view_that_is_called_as_a_source_is_written_alone() {
    let shop = Shop::new();
    let views = VIEWS.replace("feature_view.spend", "feature_view.orders");
    let push = async |target: Target<'_>, rows: Value| {
        let pushed = shop.push_under(&views, target, rows).await;
        pushed.map(|pushed| pushed.into_keys().collect()).map_err(|error| error.kind())
    };
    // The other view of the source would need a column more.
    let rows = || json!({"customer_id": [1], "ordered_at": ["1998-01-01"], "amount": [5]});
    let check = async |target: Target<'_>, expected: Result<&[&str], Kind>| {
        let pushed: Result<Vec<String>, Kind> = push(target, rows()).await;
        let expected = expected.map(|views| views.iter().map(|view| (*view).to_owned()).collect());
        assert_eq!(pushed, expected, "{target:?}");
    };
    check(Target::View("orders"), Ok(&["orders"])).await;
    check(Target::SourceOrView("orders"), Err(Kind::Invalid)).await;
    check(Target::View("late"), Err(Kind::NotFound)).await;
    check(Target::View("offline_only"), Err(Kind::Invalid)).await;
}

#[tokio::test]
async fn pushes_keep_the_newest_row() {
    let shop = Shop::new();
    let pushed = async |event: &str, created: Value, amount: i64, expected: i64| {
        let rows = json!({
            "customer_id": [1], "ordered_at": [event], "created": [created], "amount": [amount],
        });
        shop.push("spend", rows).await.unwrap();
        assert_eq!(shop.served("spend:amount").await, json!([expected, null, null]));
    };
    pushed("1998-01-02", Value::Null, 1, 1).await;
    pushed("1998-01-01", json!("1999-01-01"), 2, 1).await;
    pushed("1998-01-02", json!("1998-01-03"), 3, 3).await;
    pushed("1998-01-02", json!("1998-01-02"), 4, 3).await;
    pushed("1998-01-02", Value::Null, 5, 3).await;
    pushed("1998-01-03", Value::Null, 6, 6).await;
}

#[tokio::test]
async fn the_event_time_is_content_too_under_either_name() {
    for name in ["ordered_at", "event_timestamp"] {
        let shop = Shop::new();
        let rows = json!({"customer_id": [1], name: ["1998-01-02"]});
        shop.push("late", rows).await.unwrap();
        assert_eq!(shop.served("timed:at").await, json!(["1998-01-02T00:00:00Z", null, null]));
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_push_is_said_and_nothing_is_written() {
    let shop = Shop::new();
    let good = || json!({"customer_id": [1], "product": ["tea"], "ordered_at": ["1998-01-01"], "amount": [5]});
    let check = async |target: &str, edit: fn(&mut Value), expected: &str| {
        let mut rows = good();
        edit(&mut rows);
        let error = shop.push(target, rows).await.unwrap_err();
        assert_eq!(error.to_string(), expected);
        assert_eq!(shop.served("spend:amount").await, json!([null, null, null]), "{expected}");
    };
    check(
        "orders",
        |rows| rows["customer_id"] = json!([null]),
        "nothing pushed: row 0 has no join key",
    )
    .await;
    check(
        "orders",
        |rows| rows["ordered_at"] = json!(["2999-01-01"]),
        &format!(
            "nothing pushed: row 0 has \"ordered_at\" 2999-01-01T00:00:00Z, which is after now, {PUSHED_AT}"
        ),
    )
    .await;
    check(
        "order",
        |_| (),
        "nothing pushed: order is neither a source of online feature views nor one of them\n\
         hint: did you mean \"orders\"?",
    )
    .await;
    check(
        "offline_only",
        |_| (),
        "nothing pushed: offline_only is neither a source of online feature views nor one of \
         them\nhint: there are: late, orders, pairs, spend, timed",
    )
    .await;
    check(
        "orders",
        |rows| rows["amuont"] = json!([1]),
        "nothing pushed: unknown column \"amuont\"\nhint: did you mean \"amount\"?",
    )
    .await;
    check("orders", |rows| rows["event_timestamp"] = json!(["1998-01-01"]), "nothing pushed: unknown column \"event_timestamp\"\nhint: there are: amount, customer_id, ordered_at, product, written_at").await;
    check(
        "orders",
        |rows| rows["amount"] = json!([1, 2]),
        "nothing pushed: column \"amount\" has 2 rows, column \"customer_id\" has 1",
    )
    .await;
    check(
        "orders",
        |rows| rows["amount"] = json!(["x"]),
        "nothing pushed: column \"amount\": row 0: \"x\" is not a value of type int64",
    )
    .await;
    check(
        "orders",
        |rows| rows["ordered_at"] = json!([null]),
        "nothing pushed: row 0 has no event time in \"ordered_at\"",
    )
    .await;
    check("orders", |rows| *rows = json!({}), "nothing pushed: there are no columns").await;
    check("orders", |rows| *rows = json!({"customer_id": [1], "ordered_at": ["1998-01-01"], "amount": [1]}), "nothing pushed: column \"product\" is missing\nhint: the columns are: amount, customer_id, ordered_at").await;
    check("orders", |rows| *rows = json!({"customer_id": [1], "product": ["tea"], "amount": [1]}), "nothing pushed: column \"ordered_at\" is missing\nhint: the columns are: amount, customer_id, product").await;
    // The source says nothing of when rows were written down.
    check(
        "late",
        |rows| {
            *rows =
                json!({"customer_id": [1], "ordered_at": ["1998-01-01"], "created": ["1998-01-01"]})
        },
        "nothing pushed: unknown column \"created\"\nhint: there are: customer_id, ordered_at",
    )
    .await;
}

#[tokio::test]
async fn what_is_wrong_with_a_store_is_not_wrong_with_the_rows() {
    let views = VIEWS.replace("[feature_view.spend]\n", "[feature_view.spend]\nstore = \"weak\"\n");
    let full: Arc<dyn OnlineStore> =
        Arc::new(UnopenedStore(Error::limit("the map in bytes", 1, 1, 2)));
    for (named, expected) in [
        (
            vec![("weak".to_owned(), full)],
            "not pushed to spend: the map in bytes over the limit: limit 1, current 1, requested 2",
        ),
        (vec![], "not pushed to spend: there is no online store weak"),
    ] {
        let shop = Shop::new();
        let stores =
            Stores::new(Arc::clone(shop.stores.get(None).unwrap()), named.into_iter().collect());
        let shop = Shop { stores, ..shop };
        let rows = json!({"customer_id": [1], "ordered_at": ["1998-01-01"], "amount": [5]});
        let error = shop.push_under(&views, Target::View("spend"), rows).await.unwrap_err();
        assert_eq!((error.kind(), error.message()), (Kind::Unavailable, expected));
    }
}

#[tokio::test]
async fn rows_that_one_view_refuses_are_in_none() {
    let views = format!(
        "{VIEWS}\n[feature_view.three]\nentities = [\"customer\"]\nsource = \"orders\"\n\
         transform = \"t/three@1.0.0#g\"\ninputs = {{ a = \"amount\" }}\non_error = \"fail\"\n\
         features = {{ value = {{ type = \"int64\", column = \"one\" }} }}"
    );
    let shop = Shop::new();
    let rows = json!({
        "customer_id": [1, 2, 3], "product": ["tea", "tea", "tea"], "amount": [1, 2, 3],
        "ordered_at": ["1998-01-01", "1998-01-01", "1998-01-01"],
    });
    let orders = Target::SourceOrView("orders");
    let error = shop.push_under(&views, orders, rows).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Transform);
    assert_eq!(shop.served("spend:amount").await, json!([null, null, null]));
}

#[tokio::test]
async fn a_store_that_fails_keeps_no_other_view_from_pushed_rows() {
    let views = VIEWS.replace("[feature_view.spend]\n", "[feature_view.spend]\nstore = \"weak\"\n");
    assert_ne!(views, VIEWS);
    let (shop, in_force) = (Shop::new(), in_force(&views));
    let rows = json!({"customer_id": [1], "product": ["tea"], "ordered_at": ["1998-01-01"], "amount": [5]});
    let rows = serde_json::from_value(rows).unwrap();
    let well = || Arc::clone(shop.stores.get(None).unwrap());
    let down = || Arc::new(UnopenedStore(Error::unavailable("down"))) as Arc<dyn OnlineStore>;
    let check = async |default, weak, missing: &str, written: &str| {
        let stores = Stores::new(default, [("weak".to_owned(), weak)].into());
        let error = push(&in_force, Target::SourceOrView("orders"), &rows, PUSHED_AT, &stores)
            .await
            .unwrap_err();
        assert_eq!((error.kind(), error.message()), (Kind::Unavailable, missing));
        let count = shop.store().count(ViewId::of("shop", written), Rows::All).await.unwrap();
        assert_eq!(count, 1, "{missing}");
    };
    check(down(), well(), "not pushed to pairs: down", "spend").await;
    check(well(), down(), "not pushed to spend: down", "pairs").await;
}

#[test]
fn reports_add_up_and_keep_a_few_examples() {
    let written = |rows, examples: &[&str]| Written {
        rows,
        examples: examples.iter().map(|text| (*text).to_owned()).collect(),
        ..Written::default()
    };
    let mut sum = written(1, &["a", "b"]);
    sum += written(2, &["c", "d"]);
    assert_eq!(sum, written(3, &["a", "b", "c"]));
}

#[tokio::test]
async fn a_feature_that_was_added_is_in_every_row_after_the_next_run() {
    let shop = Shop::new();
    let customers: Vec<i64> = (0..40).collect();
    let rows = |columns: &[&str]| {
        let mut rows = json!({"customer_id": customers, "ordered_at": vec!["1998-01-01"; 40]});
        for column in columns {
            rows[column] = customers.iter().map(ToString::to_string).collect();
        }
        serde_json::from_value(rows).unwrap()
    };
    let push = async |views: &str, columns: &[&str]| {
        let server = in_force(views);
        let spend = Target::View("spend");
        push(&server, spend, &rows(columns), PUSHED_AT, &shop.stores).await.unwrap()
    };
    push(VIEWS, &["amount"]).await;
    let pushed = push(&wider(), &["amount", "note"]).await;
    assert_eq!(pushed["spend"].store.written, 40);
}
