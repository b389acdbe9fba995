//! `kill -9` of Redis at random moments, while eight writers write and readers read.
//!
//! What Redis has acknowledged is on the disk with `appendfsync always`, and what it shows to
//! readers is as well: so nothing is lost, and no reader sees an entity go back in time.
//!
//! `UNSKEW_KILLS` is the number of kills; 20 is what has to hold before a release.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use unskew::{
    error::Kind,
    online::{OnlineStore, RedisStore, RowVersion, Rows},
};

use super::{
    rows::{Lottery, Row, batch, found, stored, view},
    servers::{DURABLE, Server},
};

const ENTITIES: u64 = 200;
const WRITERS: u64 = 8;

/// The newest row of every entity that any writer has written.
type Oracle = Mutex<BTreeMap<i64, Row>>;

fn random_row(lottery: &mut Lottery) -> Row {
    let event = lottery.draw(1_000_000) as i64;
    Row::at(lottery.draw(ENTITIES) as i64, event)
}

async fn write(store: &RedisStore, seed: u64, stop: &AtomicBool, oracle: &Oracle) {
    let mut lottery = Lottery(seed);
    while !stop.load(Ordering::Relaxed) {
        let rows: Vec<Row> = (0..40).map(|_| random_row(&mut lottery)).collect();
        // A write that fails is written again, as a materializer does: nothing is lost by it.
        while let Err(error) = store.write(view("kill"), batch(&rows), None).await {
            assert_eq!(error.kind(), Kind::Unavailable, "{error}");
        }
        let mut oracle = oracle.lock().unwrap();
        for row in rows {
            let newest = oracle.entry(row.id).or_insert(row);
            if newest.version() < row.version() {
                *newest = row;
            }
        }
    }
}

/// Reads all entities time and again; none may go back.
async fn read(store: &RedisStore, stop: &AtomicBool, reads: &AtomicU64) {
    let mut seen: BTreeMap<i64, RowVersion> = BTreeMap::new();
    while !stop.load(Ordering::Relaxed) {
        match stored(store, view("kill"), 0..ENTITIES as i64).await {
            Ok(rows) => {
                for (id, row) in (0..).zip(rows) {
                    let now = row.map(|(version, _)| version);
                    let before = seen.get(&id).copied();
                    assert!(now >= before, "entity {id} went from {before:?} to {now:?}");
                    seen.extend(now.map(|now| (id, now)));
                }
                reads.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => {
                assert_eq!(error.kind(), Kind::Unavailable, "{error}");
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_and_nothing_goes_back_when_redis_is_killed() {
    let kills = std::env::var("UNSKEW_KILLS").map_or(3, |kills| kills.parse().unwrap());
    let mut server = Server::start(DURABLE);
    let mut options = server.options();
    options.breaker_pause = Duration::from_millis(20);
    let store = Arc::new(RedisStore::new(options).unwrap());
    let (stop, oracle) = (Arc::new(AtomicBool::new(false)), Arc::new(Oracle::default()));
    let reads = Arc::new(AtomicU64::new(0));
    let mut tasks = Vec::new();
    for seed in 0..WRITERS {
        let (store, stop, oracle) = (Arc::clone(&store), Arc::clone(&stop), Arc::clone(&oracle));
        tasks.push(tokio::spawn(async move { write(&store, seed, &stop, &oracle).await }));
    }
    for _ in 0..2 {
        let (store, stop, reads) = (Arc::clone(&store), Arc::clone(&stop), Arc::clone(&reads));
        tasks.push(tokio::spawn(async move { read(&store, &stop, &reads).await }));
    }
    let mut lottery = Lottery(kills);
    for _ in 0..kills {
        tokio::time::sleep(Duration::from_millis(50 + lottery.draw(300))).await;
        server.kill();
        tokio::time::sleep(Duration::from_millis(lottery.draw(50))).await;
        server.restart();
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    stop.store(true, Ordering::Relaxed);
    for task in tasks {
        task.await.unwrap();
    }
    assert!(reads.load(Ordering::Relaxed) > kills);
    let oracle = oracle.lock().unwrap().clone();
    let expected: Vec<_> = (0..ENTITIES as i64).map(|id| oracle.get(&id).and_then(found)).collect();
    assert_eq!(stored(&*store, view("kill"), 0..ENTITIES as i64).await.unwrap(), expected);
    assert_eq!(store.count(view("kill"), Rows::All).await, Ok(oracle.len() as u64));
}
