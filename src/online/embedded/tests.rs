//! Tests of the embedded store: the contract, and what is its own: processes, crashes, maps, files.

use std::{
    fs::{self, OpenOptions},
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use heed::{
    byteorder::BE,
    types::{Str, U64},
};
use tempfile::{TempDir, tempdir};

use super::*;
use crate::{
    error::Kind,
    online::{RowVersion, contract::contract},
    time::Timestamp,
};

const SMALL: u64 = 1 << 20;

fn small() -> EmbeddedOptions {
    EmbeddedOptions { map_size: SMALL, ..EmbeddedOptions::default() }
}

fn open(folder: &TempDir, options: EmbeddedOptions) -> EmbeddedStore {
    EmbeddedStore::open(folder.path(), options).unwrap()
}

fn view() -> ViewId {
    ViewId::of("test", "view")
}

/// A thousand rows of four kilobytes, all with one event time.
fn thousand(event: i64) -> RowBatch {
    let mut rows = RowBatch::default();
    for id in 0..1000_u64 {
        let version = RowVersion { event: Timestamp(event), created: None, content: id };
        rows.push(&id.to_be_bytes(), version, |out| out.extend_from_slice(&[event as u8; 4096]));
    }
    rows
}

/// The event time that all thousand rows have, in one snapshot; `None` where there is no row.
fn event_of_all(store: &EmbeddedStore) -> Option<i64> {
    let sampled =
        store.environment.read(|txn, tables| sample::sample(txn, tables, view(), 1000, 0)).unwrap();
    let (_, first) = sampled.iter().next()?;
    assert_eq!(sampled.len(), 1000);
    assert!(
        sampled.iter().all(|(_, row)| row.version.event == first.version.event
            && row.value[4095] == first.value[0])
    );
    Some(first.version.event.0)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_contract_holds() {
    let folder = tempdir().unwrap();
    contract(&open(&folder, EmbeddedOptions::default())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_contract_holds_while_the_map_grows() {
    let folder = tempdir().unwrap();
    let store = open(&folder, small());
    contract(&store).await;
    assert!(fs::metadata(folder.path().join("data.mdb")).unwrap().len() > SMALL);
}

#[test]
fn readers_are_safe_while_the_map_grows() {
    let folder = tempdir().unwrap();
    let store = open(&folder, small());
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut last = None;
                while !done.load(Ordering::Relaxed) {
                    let seen = event_of_all(&store);
                    assert!(seen >= last, "{seen:?} after {last:?}");
                    last = seen;
                }
            });
        }
        let written = (0..20).try_for_each(|event| {
            write(
                &store.environment,
                ViewId::of("test", &format!("filler {event}")),
                &thousand(event),
            )?;
            write(&store.environment, view(), &thousand(event)).map(drop)
        });
        done.store(true, Ordering::Relaxed);
        written.unwrap();
    });
    assert_eq!(event_of_all(&store), Some(19));
}

#[test]
fn a_full_store_says_so_and_keeps_what_it_has() {
    let folder = tempdir().unwrap();
    let store = open(&folder, EmbeddedOptions { max_map_size: 8 * SMALL, ..small() });
    write(&store.environment, view(), &thousand(1)).unwrap();
    let error = write(&store.environment, ViewId::of("test", "other"), &thousand(2)).unwrap_err();
    assert_eq!(error.kind(), Kind::Limit);
    assert!(
        error.message().ends_with("limit 8388608, current 8388608, requested 16777216"),
        "{error}"
    );
    assert_eq!(event_of_all(&store), Some(1));
}

#[test]
fn a_folder_opened_twice_is_one_store() {
    let folder = tempdir().unwrap();
    let first = open(&folder, small());
    let second = open(&folder, EmbeddedOptions::default());
    write(&first.environment, view(), &thousand(1)).unwrap();
    assert_eq!(event_of_all(&second), Some(1));
    drop((first, second));
    assert_eq!(event_of_all(&open(&folder, small())), Some(1));
}

#[test]
fn opening_and_closing_at_once_is_safe() {
    let folder = tempdir().unwrap();
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..50 {
                    assert_eq!(event_of_all(&open(&folder, small())), None);
                }
            });
        }
    });
}

#[tokio::test]
async fn keys_that_are_too_long_are_refused() {
    let folder = tempdir().unwrap();
    let mut rows = thousand(1);
    let version = RowVersion { event: Timestamp(0), created: None, content: 0 };
    rows.push(&[0; MAX_ENTITY_KEY + 1], version, |_| ());
    let error = open(&folder, small()).write(view(), rows, None).await.unwrap_err();
    assert_eq!(
        error.message(),
        "an entity's key in bytes over the limit: limit 503, current 0, requested 504"
    );
}

/// The error of opening a folder in which `prepare` did something.
fn refused(prepare: impl FnOnce(&Path)) -> Error {
    let folder = tempdir().unwrap();
    prepare(folder.path());
    EmbeddedStore::open(folder.path().join("store"), small()).unwrap_err()
}

fn with_data(folder: &Path, change: impl FnOnce(&Path)) {
    let store = EmbeddedStore::open(folder.join("store"), small()).unwrap();
    write(&store.environment, view(), &thousand(1)).unwrap();
    drop(store);
    change(&folder.join("store/data.mdb"));
}

#[test]
fn a_file_is_no_store() {
    let error = refused(|folder| fs::write(folder.join("store"), "text").unwrap());
    assert_eq!(error.kind(), Kind::Invalid);
    assert!(error.message().ends_with("it is no folder"), "{error}");
}

/// Makes a store of a format that is yet to come.
fn write_format_3(folder: &Path) {
    fs::create_dir(folder).unwrap();
    // SAFETY: nobody else knows the folder.
    let env = unsafe { heed::EnvOpenOptions::new().max_dbs(1).open(folder) }.unwrap();
    let created = env.create_databases_and_commit(env.write_txn().unwrap(), |opener, txn| {
        let meta: heed::Database<Str, U64<BE>> = opener.create_database(txn, Some("meta"))?;
        meta.put(txn, "format", &3)?;
        heed::Result::Ok(heed::CommitOrAbort::<_, ()>::Commit(meta))
    });
    assert!(created.is_ok());
}

#[test]
fn another_format_is_refused() {
    let error = refused(|folder| write_format_3(&folder.join("store")));
    assert_eq!(error.kind(), Kind::Invalid);
    assert!(
        error.message().ends_with("has format 3; this version of unskew has format 2"),
        "{error}"
    );
}

#[test]
fn a_damaged_data_file_is_corrupt() {
    let garbage =
        refused(|folder| with_data(folder, |data| fs::write(data, [7; 100_000]).unwrap()));
    assert_eq!(garbage.kind(), Kind::Corrupt, "{garbage}");
    let emptied = refused(|folder| with_data(folder, |data| fs::write(data, []).unwrap()));
    assert!(emptied.message().ends_with("the data file is lost or empty"), "{emptied}");
    let lost = refused(|folder| with_data(folder, |data| fs::remove_file(data).unwrap()));
    assert_eq!((emptied.kind(), lost.kind()), (Kind::Corrupt, Kind::Corrupt));
    let cut = refused(|folder| {
        with_data(folder, |data| {
            OpenOptions::new().write(true).open(data).unwrap().set_len(SMALL).unwrap()
        });
    });
    assert_eq!(cut.kind(), Kind::Corrupt, "{cut}");
    assert!(cut.message().contains("the data file lost its end"), "{cut}");
}

/// Runs a test of this file that is for another process: `name` with `folder` in its environment.
fn spawn(name: &str, folder: &TempDir) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    let test = format!("{}::{name}", module_path!().split_once("::").unwrap().1);
    command.args([&test, "--exact", "--ignored", "--nocapture"]);
    command.env(FOLDER, folder.path()).stdout(Stdio::piped()).spawn().unwrap()
}

const FOLDER: &str = "UNSKEW_TEST_FOLDER";

#[test]
#[ignore = "run by other tests, in a process of its own"]
fn write_until_killed() {
    let store = EmbeddedStore::open(std::env::var_os(FOLDER).unwrap(), small()).unwrap();
    for event in 0.. {
        write(&store.environment, view(), &thousand(event)).unwrap();
        write(
            &store.environment,
            ViewId::of("test", &format!("filler {}", event % 30)),
            &thousand(event),
        )
        .unwrap();
        println!("\nwritten {event}");
    }
}

#[test]
#[ignore = "run by other tests, in a process of its own"]
fn read_until_killed() {
    let store = EmbeddedStore::open(std::env::var_os(FOLDER).unwrap(), small()).unwrap();
    let endless = |_: &heed::RoTxn, _| loop {
        println!("\nreading");
        thread::park();
    };
    store.environment.read::<()>(endless).unwrap();
}

#[test]
fn a_reader_that_died_does_not_fill_the_store() {
    let folder = tempdir().unwrap();
    let store = open(&folder, EmbeddedOptions { max_map_size: 32 * SMALL, ..small() });
    write(&store.environment, view(), &thousand(0)).unwrap();
    let mut child = spawn("read_until_killed", &folder);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap() == "reading"));
    child.kill().unwrap();
    child.wait().unwrap();
    for event in 1..20 {
        write(&store.environment, view(), &thousand(event)).unwrap();
    }
    assert_eq!(event_of_all(&store), Some(19));
}

/// The next event that the other process says it has written.
fn next_written(lines: &mut impl Iterator<Item = std::io::Result<String>>) -> i64 {
    let mut written =
        lines.filter_map(|line| line.unwrap().strip_prefix("written ").map(str::to_owned));
    written.next().unwrap().parse().unwrap()
}

#[test]
fn another_process_writes_while_this_one_reads_and_is_killed() {
    let folder = tempdir().unwrap();
    let store = open(&folder, small());
    for _ in 0..3 {
        let mut child = spawn("write_until_killed", &folder);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut written = 0;
        while written < 20 {
            written = next_written(&mut lines);
            assert!(event_of_all(&store) >= Some(written), "what was committed is seen");
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(event_of_all(&store) >= Some(written), "what was committed stays");
        write(&store.environment, view(), &thousand(-1)).unwrap();
    }
    assert!(
        fs::metadata(folder.path().join("data.mdb")).unwrap().len() > 64 * SMALL,
        "the map had to grow"
    );
}
